"""One layer: both comparisons on both sides, and three nets that differ in their shortcuts alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn

from made_up import made_up, names, setting, verdict_of
from residuum.experiments.claims.one_layer import CLAIM, NETS
from residuum.nets import catalog
from residuum.records.finding import Verdict

JITTER = (-0.001, 0.0, 0.001)


def errors(plain: float, one: float, two: float) -> dict[str, list[float]]:
    return {net: [mean + each for each in JITTER] for net, mean in zip(NETS.values(), (plain, one, two), strict=True)}


@pytest.mark.parametrize(
    ("means", "expected"),
    [
        ((0.10, 0.10, 0.08), Verdict.HOLDS),
        ((0.105, 0.10, 0.08), Verdict.HOLDS),  # half a point is no advantage
        ((0.12, 0.10, 0.08), Verdict.DOES_NOT_HOLD),  # an advantage of two points
        ((0.10, 0.08, 0.10), Verdict.DOES_NOT_HOLD),  # better than two layers
        ((0.10, 0.10, 0.0995), Verdict.NOT_DECIDED),  # within the spread
    ],
)
def test_verdict(tmp_path: Path, means: tuple[float, float, float], expected: Verdict) -> None:
    assert verdict_of(CLAIM, tmp_path, errors(*means)) is expected


def test_summary(tmp_path: Path) -> None:
    found = CLAIM.measure(made_up(tmp_path, errors(0.10, 0.11, 0.08)))
    assert "by +1.00 points, and shortcuts over two layers by -2.00" in found.summary.en
    assert "지름길을 두면 +1.00 %p, 두 층마다 두면 -2.00 %p 달라집니다" in found.summary.ko
    assert [arm.label.ko for arm in found.arms] == ["지름길 없음", "블록마다 한 층", "블록마다 두 층"]


def test_the_nets_have_the_same_convolutions() -> None:
    shapes = []
    for net in NETS.values():
        modules = catalog.net(net).modules()
        shapes.append([tuple(each.weight.shape) for each in modules if isinstance(each, nn.Conv2d)])
    assert shapes[0] == shapes[1] == shapes[2]
    assert len(shapes[0]) == 19  # and the linear layer: 20


def test_plan() -> None:
    assert names(CLAIM.plan(setting())) == ["plain20", "resnet20+block=single+blocks=6,6,6", "resnet20"]
