"""What was found when the claims were last reproduced, as the package keeps it: a condensed form of `results/`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources

FILE = "known.json"


@dataclass(frozen=True)
class Known:
    """The last verdict on a claim: by which budget, and what that cost on which processor."""

    verdict: str
    budget: str
    cost: str
    cpu: str


def last_findings() -> dict[str, Known]:
    """By the name of the claim; empty where the package has none."""
    file = resources.files("residuum.experiments") / FILE
    if not file.is_file():
        return {}
    return {name: Known(**known) for name, known in json.loads(file.read_text()).items()}
