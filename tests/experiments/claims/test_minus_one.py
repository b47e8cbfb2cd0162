"""Parts of a gradient where F is known; the verdict on both sides."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from made_up import made_up, names, setting, verdict
from residuum.experiments.claims.minus_one import CLAIM, IMAGES, NETS, POST, PRE, Look, Part, conclude, look, part
from residuum.insight.gradients import GradientSplit
from residuum.records.finding import Verdict
from tiny_evidence import concluded, silent, tiny_net, undrawn


def data(images: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    shown = torch.randn(images, 1, 4, 4, generator=generator, dtype=torch.float64)
    return shown, torch.randint(0, 10, (images,), generator=generator)


def test_where_f_is_zero_it_takes_nothing_back() -> None:
    found = look(silent(tiny_net(PRE).double()), *data())
    assert {each.block for each in found.parts} == {1, 2, 4}
    assert len(found.parts) == 9
    assert len(found.stages) == 6
    for each in found.parts:
        assert (each.along, each.size, each.kept) == pytest.approx((0, 0, 1))
    assert found.stages == pytest.approx([1.0] * 6)


def test_where_f_takes_nine_tenths_back_one_tenth_is_kept() -> None:
    net = silent(tiny_net(PRE).double())
    net.layer1[0].branch = lambda x: -0.9 * x  # its activation is the identity: it follows that of the stem
    found = look(net, *data())
    for each in found.parts:
        expected = (-0.9, 0.9, 0.1) if each.block == 1 else (0, 0, 1)
        assert (each.along, each.size, each.kept) == pytest.approx(expected)
    assert found.stages == pytest.approx([0.1, 1.0] * 3)


def test_parts_are_told_by_what_comes_through_the_shortcut() -> None:
    split = GradientSplit(
        block="b", shortcut="identity", arriving=2.5, whole=1.0, identity=2.0, residual=1.0, cosine=-1.0, error=0.0
    )
    assert part(7, split) == Part(block=7, along=-0.5, size=0.5, kept=0.5)


def looks(halved: Sequence[float], stages: Sequence[float] = (0, 0, 0)) -> list[Look]:
    """For each seed a hundred gradients of which this share loses more than half."""

    def values(share: float) -> list[float]:
        return [0.2 if place < 100 * share else 0.9 for place in range(100)]

    return [
        Look([Part(block=1, along=kept - 1, size=1.0, kept=kept) for kept in values(share)], values(stage))
        for share, stage in zip(halved, stages, strict=True)
    ]


@pytest.mark.parametrize(
    ("deep", "pre", "expected", "said"),
    [
        (looks([0, 0, 0]), looks([0, 0, 0]), Verdict.HOLDS, "here F never takes back half"),
        (looks([0, 0.01, 0]), looks([0, 0, 0]), Verdict.HOLDS, "only now and then"),
        (looks([0.2, 0.3, 0.2]), looks([0, 0, 0]), Verdict.DOES_NOT_HOLD, "need not be exactly -1"),
        (looks([0, 0.01, 0]), looks([0, 0, 0], stages=[0.2, 0.3, 0.2]), Verdict.DOES_NOT_HOLD, "need not be"),
        # where the sum over blocks is not exact, stages are not judged
        (looks([0, 0.01, 0], stages=[0.2, 0.3, 0.2]), looks([0, 0, 0]), Verdict.HOLDS, "only now and then"),
        (looks([0, 0.3, 0]), looks([0, 0, 0]), Verdict.NOT_DECIDED, "not clear at this budget"),
    ],
)
def test_hardly_any_gradient_may_lose_half(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, deep: list[Look], pre: list[Look], expected: Verdict, said: str
) -> None:
    undrawn(monkeypatch, conclude)
    evidence = made_up(tmp_path, {net: [0.1] * 3 for net in NETS})
    conclusion = conclude(evidence, {POST: deep, PRE: pre})
    assert verdict(conclusion) is expected
    assert said in conclusion.summary.en


def test_it_runs_from_end_to_end_and_tells_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conclusion = concluded(CLAIM, NETS, tmp_path, monkeypatch)
    assert [arm.name for arm in conclusion.arms] == [POST, PRE]
    assert IMAGES >= 8


def test_it_plans_nets_that_others_train_as_well() -> None:
    assert names(CLAIM.plan(setting(1))) == [POST, PRE]
