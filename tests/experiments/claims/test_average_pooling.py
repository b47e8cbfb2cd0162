"""Average pooling: the measured comparison on both sides of its margin, and parameters by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from made_up import made_up, names, setting, verdict_of
from residuum.experiments.claims.average_pooling import (
    AVERAGE,
    CLAIM,
    LINEAR,
    NETS,
    VGG,
    VGG_AVERAGE,
    multiple,
    parameters,
)
from residuum.records.finding import Verdict


def errors(average: float, linear: float, spread: float = 0.001) -> dict[str, list[float]]:
    means = zip(NETS.values(), (average, linear), strict=True)
    return {net: [mean - spread, mean, mean + spread] for net, mean in means}


@pytest.mark.parametrize(
    ("average", "linear", "spread", "expected"),
    [
        (0.08, 0.08, 0.001, Verdict.HOLDS),
        (0.08, 0.10, 0.001, Verdict.HOLDS),
        (0.10, 0.08, 0.001, Verdict.DOES_NOT_HOLD),
        (0.08, 0.08, 0.01, Verdict.NOT_DECIDED),
    ],
)
def test_verdict(tmp_path: Path, average: float, linear: float, spread: float, expected: Verdict) -> None:
    assert verdict_of(CLAIM, tmp_path, errors(average, linear, spread)) is expected


def test_parameters_by_hand() -> None:
    assert parameters(LINEAR) - parameters(AVERAGE) == (64 * 16 + 1) * 256 + (256 + 1) * 10 - (64 + 1) * 10
    linear_layers = (512 * 49 + 1) * 4096 + (4096 + 1) * 4096 + (4096 + 1) * 1000
    assert parameters(VGG) - parameters(VGG_AVERAGE) == linear_layers - (512 + 1) * 1000
    assert linear_layers / parameters(VGG) == pytest.approx(0.89, abs=0.005)
    assert multiple(VGG) == pytest.approx(138_357_544 / 15_227_688)
    assert multiple(AVERAGE) == multiple(VGG_AVERAGE) == 1


def test_summary(tmp_path: Path) -> None:
    found = CLAIM.measure(made_up(tmp_path, errors(0.08, 0.07)))
    assert "the average changes it by +1.00 points" in found.summary.en
    assert "138,357,544 with its linear layers and 15,227,688" in found.summary.en
    assert "0.6 points better top-1, dropout still essential" in found.comparisons[0].published.en
    assert found.arms[1].label.ko == "ResNet-20, 완전 연결 층"
    assert all(number in found.summary.ko for number in ("+1.00 %p", "138,357,544개", "15,227,688개"))


def test_plan() -> None:
    assert names(CLAIM.plan(setting())) == ["resnet20", "resnet20+head=linear"]
