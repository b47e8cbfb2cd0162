"""GoogLeNet against AlexNet: costs from the catalog, and the verdict on made-up times."""

from __future__ import annotations

import pytest

from made_up import names, setting, verdict
from residuum.experiments.claims.googlenet import (
    ALEXNET,
    CLAIM,
    FEWER,
    GOOGLENET,
    PRINTED_PARAMETERS,
    PUBLISHED,
    SPEED,
    TIME,
    Counted,
    conclude,
    counted,
)
from residuum.nets import catalog
from residuum.records.finding import Verdict, judge
from residuum.records.quantity import Measured

COSTS = {name: Counted(61_000_000, 700_000_000) for name in PUBLISHED}


def seconds(googlenet: list[float]) -> dict[str, Measured]:
    return {name: Measured((0.10, 0.11, 0.12)) for name in PUBLISHED} | {GOOGLENET: Measured(tuple(googlenet))}


def test_costs_are_the_catalogs_without_the_auxiliary_heads() -> None:
    assert counted(GOOGLENET) == Counted(6_998_552, catalog.entry(GOOGLENET).macs)
    alexnet = catalog.entry(ALEXNET)
    assert counted(ALEXNET) == Counted(alexnet.parameters, alexnet.macs)


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [(61_000_000 // 12, Verdict.HOLDS), (6_998_552, Verdict.DOES_NOT_HOLD), (61_000_000 // 13, Verdict.DOES_NOT_HOLD)],
)
def test_verdict_on_parameters(parameters: int, expected: Verdict) -> None:
    costs = COSTS | {GOOGLENET: Counted(parameters, 1_500_000_000)}
    assert verdict(conclude(costs, seconds([0.05, 0.055, 0.06]))) is expected


@pytest.mark.parametrize(
    ("taken", "expected"),
    [
        ([0.05, 0.055, 0.06], Verdict.HOLDS),  # twice
        ([0.064, 0.070, 0.077], Verdict.HOLDS),  # just over 1.5 times
        ([0.075, 0.083, 0.090], Verdict.DOES_NOT_HOLD),
        ([0.20, 0.22, 0.24], Verdict.DOES_NOT_HOLD),
        ([0.05, 0.08, 0.11], Verdict.NOT_DECIDED),
    ],
)
def test_verdict_on_times(taken: list[float], expected: Verdict) -> None:
    found = conclude(COSTS | {GOOGLENET: Counted(61_000_000 // 12, 1)}, seconds(taken))
    assert verdict(found) is expected


def test_speed_is_compared_round_by_round_and_time_is_that_of_one_image() -> None:
    found = conclude(COSTS, seconds([0.2, 0.22, 0.24]))
    arms = {arm.name: arm.measured for arm in found.arms}
    assert arms[GOOGLENET][SPEED.name].values == pytest.approx((0.5, 0.5, 0.5))
    assert arms[GOOGLENET][TIME.name].values == pytest.approx((25.0, 27.5, 30.0))
    assert arms[ALEXNET][FEWER.name].mean == 1
    assert judge(found.comparisons[0], arms).verdict is Verdict.DOES_NOT_HOLD
    assert "0.50 times the speed" in found.summary.en
    assert "AlexNet의 0.50배" in found.summary.ko
    assert names(CLAIM.plan(setting())) == []


def test_what_table_1_adds_up_to_is_told_beside_what_twelve_times_fewer_would_be() -> None:
    assert sum(PRINTED_PARAMETERS) == pytest.approx(6_797.7)
    assert PRINTED_PARAMETERS[1] * 1024 == 64 * 64 + 9 * 64 * 192, "a K is 1,024"
    assert PRINTED_PARAMETERS[-1] * 1024 == 1024 * 1000
    assert sum(PRINTED_PARAMETERS) * 1024 == pytest.approx(counted(GOOGLENET).parameters, rel=0.006)
    costs = {name: counted(name) for name in PUBLISHED}
    summary = conclude(costs, seconds([0.2, 0.22, 0.24])).summary
    assert "8.7 times fewer" in summary.en
    assert "twelve times fewer would be 5.1 million" in summary.en
    assert "adds up to 6.8 million (7.0 with a K of 1,024)" in summary.en
    assert "2.2 times as many multiply-adds" in summary.en
    assert "6.8 M" in summary.ko
