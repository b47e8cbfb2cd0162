"""Bottlenecks: the counted cost against formulas, the error on both sides, the nets for each kind of data."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_of_kinds import setting_of
from made_up import made_up, names, setting, verdict, verdict_of
from residuum.experiments.claims import bottleneck
from residuum.experiments.claims.bottleneck import CLAIM, COUNTED, MACS, SMALL, macs
from residuum.nets import catalog
from residuum.records.finding import Verdict
from residuum.records.quantity import exactly

BASIC = [0.09, 0.091, 0.089]


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ([0.08, 0.081, 0.079], Verdict.HOLDS),
        ([0.1, 0.101, 0.099], Verdict.DOES_NOT_HOLD),
        ([0.08, 0.095, 0.089], Verdict.NOT_DECIDED),
    ],
)
def test_the_error_decides_where_the_cost_is_right(tmp_path: Path, errors: list[float], expected: Verdict) -> None:
    assert verdict_of(CLAIM, tmp_path, dict(zip(SMALL, (BASIC, errors), strict=True))) is expected


@pytest.mark.parametrize(("cost", "expected"), [(4.03, Verdict.HOLDS), (4.04, Verdict.DOES_NOT_HOLD)])
def test_a_cost_beyond_a_tenth_does_not_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cost: float, expected: Verdict
) -> None:
    costs = {"resnet50_v1": cost}
    monkeypatch.setattr(bottleneck, "macs", lambda net: exactly(costs.get(net, catalog.entry(net).macs / 1e9)))
    better = dict(zip(SMALL, (BASIC, [0.08, 0.081, 0.079]), strict=True))
    assert verdict_of(CLAIM, tmp_path, better) is expected


def test_the_exchange_in_resnet20_by_hand() -> None:
    """Nine bottlenecks, 29 layers; projections at the first block of each stage, the stride on the first 1x1."""
    assert catalog.entry(SMALL[0]).macs == 40_551_040 + 16 * 32 * 16**2 + 32 * 64 * 8**2
    total, channels = 9 * 3 * 16 * 32**2, 16
    for width, side in ((16, 32), (32, 16), (64, 8)):
        wide = 4 * width
        first = channels * width + 9 * width**2 + width * wide + channels * wide
        total += (first + 2 * (2 * width * wide + 9 * width**2)) * side**2
        channels = wide
    assert catalog.entry(SMALL[1]).macs == total + channels * 10


def test_summary_and_arms(tmp_path: Path) -> None:
    found = CLAIM.measure(made_up(tmp_path, dict(zip(SMALL, (BASIC, [0.08, 0.081, 0.079]), strict=True))))
    assert [arm.name for arm in found.arms] == [*COUNTED, "resnet20 of option B", "resnet20 of bottlenecks"]
    assert [arm.label.ko for arm in found.arms][2:] == ["resnet20(옵션 B)", "병목 블록을 쓴 resnet20"]
    assert set(found.arms[0].measured) == {MACS.name}
    assert "take 5.3 % more multiply-adds" in found.summary.en
    assert "1.00 points lower. Published" in found.summary.en
    assert macs("resnet50_v1").mean == 3.857973248
    worse = CLAIM.measure(made_up(tmp_path / "worse", dict(zip(SMALL, (BASIC, [0.1, 0.1, 0.1]), strict=True))))
    assert "1.00 points higher" in worse.summary.en


def test_a_folder_trains_the_published_pair(tmp_path: Path) -> None:
    folder = setting_of("folder", "quick")
    assert names(CLAIM.plan(folder)) == [*COUNTED]
    found = CLAIM.measure(made_up(tmp_path, dict(zip(COUNTED, (BASIC, [0.08, 0.081, 0.079]), strict=True)), folder))
    assert [arm.name for arm in found.arms] == [*COUNTED]
    assert found.comparisons[1].quantity == "val error"
    assert verdict(found) is Verdict.HOLDS


def test_plan() -> None:
    assert names(CLAIM.plan(setting())) == [*SMALL]
    assert len(CLAIM.plan(setting(seeds=3))) == 6
