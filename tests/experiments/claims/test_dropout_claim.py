"""Dropout: the comparison on both sides of its margin and within the spread."""

from __future__ import annotations

from pathlib import Path

import pytest

from made_up import made_up, names, setting, verdict_of
from residuum.experiments.claims.dropout import CLAIM, NETS
from residuum.records.finding import Verdict


def errors(without: float, with_it: float, spread: float = 0.001) -> dict[str, list[float]]:
    means = zip(NETS.values(), (without, with_it), strict=True)
    return {net: [mean - spread, mean, mean + spread] for net, mean in means}


@pytest.mark.parametrize(
    ("without", "with_it", "spread", "expected"),
    [
        (0.08, 0.08, 0.001, Verdict.HOLDS),
        (0.08, 0.12, 0.001, Verdict.HOLDS),
        (0.12, 0.08, 0.001, Verdict.DOES_NOT_HOLD),
        (0.08, 0.08, 0.01, Verdict.NOT_DECIDED),
    ],
)
def test_verdict(tmp_path: Path, without: float, with_it: float, spread: float, expected: Verdict) -> None:
    assert verdict_of(CLAIM, tmp_path, errors(without, with_it, spread)) is expected


def test_summary(tmp_path: Path) -> None:
    found = CLAIM.measure(made_up(tmp_path, errors(0.08, 0.07)))
    assert "dropout changes it by -1.00 points" in found.summary.en
    assert "드롭아웃을 쓰면 오차가 -1.00 %p 달라집니다" in found.summary.ko
    assert [arm.label.ko for arm in found.arms] == ["드롭아웃 없음", "비율 0.5의 드롭아웃"]


def test_plan() -> None:
    assert names(CLAIM.plan(setting())) == ["resnet20", "resnet20+dropout=0.5"]
