"""Strided: both comparisons on both sides, and costs by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from made_up import made_up, names, setting, verdict_of
from residuum.experiments.claims.strided import AVERAGE, CLAIM, FLOPS, MACS, MAXIMUM, NETS, STRIDE, counted
from residuum.records.finding import Verdict

JITTER = (-0.001, 0.0, 0.001)


def errors(stride: float, maximum: float, average: float) -> dict[str, list[float]]:
    means = zip(NETS.values(), (stride, maximum, average), strict=True)
    return {net: [mean + each for each in JITTER] for net, mean in means}


@pytest.mark.parametrize(
    ("means", "expected"),
    [
        ((0.08, 0.08, 0.08), Verdict.HOLDS),
        ((0.085, 0.08, 0.08), Verdict.HOLDS),
        ((0.10, 0.08, 0.12), Verdict.DOES_NOT_HOLD),
        ((0.10, 0.12, 0.08), Verdict.DOES_NOT_HOLD),
        ((0.09, 0.08, 0.08), Verdict.NOT_DECIDED),
    ],
)
def test_verdict(tmp_path: Path, means: tuple[float, float, float], expected: Verdict) -> None:
    assert verdict_of(CLAIM, tmp_path, errors(*means)) is expected


def test_pooling_adds_no_multiply_adds() -> None:
    costs = {name: {quantity: one.mean for quantity, one in counted(net).items()} for name, net in NETS.items()}
    assert {each[MACS.name] for each in costs.values()} == {40_551_040}
    assert costs[MAXIMUM][FLOPS.name] > costs[STRIDE][FLOPS.name]
    assert costs[AVERAGE][FLOPS.name] > costs[STRIDE][FLOPS.name]


def test_summary(tmp_path: Path) -> None:
    found = CLAIM.measure(made_up(tmp_path, errors(0.08, 0.07, 0.09)))
    assert "8.00 ± 0.10 % with stride, 7.00 ± 0.10 % with maximum pooling" in found.summary.en
    assert "take the same number of multiply-adds, 40.55 million" in found.summary.en
    assert "A 13.46 against 12.47" in found.comparisons[0].published.en
    assert [arm.label.ko for arm in found.arms] == ["보폭", "최대 풀링", "평균 풀링"]
    assert "최대 풀링 7.00 ± 0.10 %" in found.summary.ko
    assert "곱셈-덧셈 수는 같으며, 보폭을 쓸 때 32x32 이미지 한 장에 4,055만 번" in found.summary.ko


def test_plan() -> None:
    assert names(CLAIM.plan(setting())) == [
        "resnet20",
        "resnet20+downsampling=max_pool",
        "resnet20+downsampling=average_pool",
    ]
