"""A Finding with made-up numbers, and a picture to go with it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from PIL import Image

from residuum.records.finding import Arm, Comparison, Finding, judge
from residuum.records.quantity import Measured, Quantity
from residuum.records.text import NOTHING, Text

ERROR = Quantity("training error")


def finding(name: str = "degradation", error: float = 0.3, **changes: Any) -> Finding:
    """A claim that plain56 is worse than plain20, which is at 0.1."""
    arms = tuple(
        Arm(name=net, published=published, measured={ERROR.name: Measured((value, value + 0.01, value))})
        for net, published, value in (("plain56", Text("figure only", "그림만 있음"), error), ("plain20", NOTHING, 0.1))
    )
    comparison = Comparison(
        statement=Text("plain56 trains worse", "plain56이 더 나쁘다"), a="plain56", b="plain20",
        relation="above", margin=0.01, quantity=ERROR.name,
        published=Text("figure only: worse", "그림만 있음: 더 나쁨"),
    )  # fmt: skip
    values: dict[str, Any] = {
        "name": name, "claim": Text(f"{name} is so", f"{name}은 그렇다"),
        "source": Text("He et al. 2015, Figure 1", "He 등 2015, 그림 1"),
        "group": "He et al. 2015", "budget": "quick", "conditions": Text.same("digits, 1,297 training images; 3 seeds"),
        "summary": Text("It came out so.", "이렇게 나왔다."), "caption": Text("How to read it.", "보는 법."),
        "basis": "measured", "quantities": (ERROR,),
        "arms": arms, "judged": (judge(comparison, {arm.name: arm.measured for arm in arms}),), "seeds": (0, 1, 2),
        "runs": {"plain20-seed0": {"train": 0.1}, "plain56-seed0": {"train": 0.3}}, "seconds": 100.0,
        "measuring_seconds": 2.0, "recipe": {}, "environment": {"cpu": "AMD EPYC", "threads": 2},
        "command": f"residuum reproduce {name} --budget quick", "directory": Path("x"),
    }  # fmt: skip
    return Finding(**values | changes)


def figure(width: int = 1800, height: int = 700) -> bytes:
    """A PNG file."""
    written = io.BytesIO()
    Image.linear_gradient("L").resize((width, height)).convert("RGB").save(written, format="PNG")
    return written.getvalue()
