"""Table 1 is counted: the counts against formulas and published totals, the verdict against figures that differ."""

from __future__ import annotations

from dataclasses import replace

import pytest

from made_up import setting, verdict
from residuum.experiments.claims.table1 import CLAIM, COLUMNS, ROWS, Counted, Row, conclude, count
from residuum.experiments.evidence import Evidence
from residuum.plans.plan import Executed
from residuum.records.finding import Verdict, judge

# Exact counts of He et al.'s nets, options A (18 and 34 layers) and B, stride on the first 1x1.
TOTALS = {
    "resnet18_a": 1_794_805_760,
    "resnet34_a": 3_644_493_824,
    "resnet50_v1": 3_857_973_248,
    "resnet101_v1": 7_570_194_432,
    "resnet152_v1": 11_282_415_616,
}


@pytest.fixture(scope="module")
def counts() -> dict[str, Counted]:
    """Of the two small nets as they are; of the others as the table has them, with their exact totals."""
    rest = {net: Counted(COLUMNS[net].rows, macs) for net, macs in TOTALS.items()}
    beside = {
        "resnet34": Counted(COLUMNS["resnet34_a"].rows, 3_663_761_408),
        "resnet50": Counted(COLUMNS["resnet50_v1"].rows, 4_089_184_256),
    }
    return {**rest, "resnet18_a": count("resnet18_a"), "resnet50_v1": count("resnet50_v1"), **beside}


def test_small_net_by_hand() -> None:
    counted = count("resnet20+blocks=1,1,1+shortcut=project")
    assert counted.rows == (
        Row(32, ((3, 16),)),
        Row(32, ((3, 16),) * 2),
        Row(16, ((3, 32),) * 2),
        Row(8, ((3, 64),) * 2),
        Row(1, ((1, 10),)),
    )
    assert counted.num_layers == 8
    stages = 2 * 9 * 16 * 16 * 32**2 + 9 * (16 * 32 + 32 * 32) * 16**2 + 9 * (32 * 64 + 64 * 64) * 8**2
    projections = 16 * 32 * 16**2 + 32 * 64 * 8**2
    assert counted.macs == 9 * 3 * 16 * 32**2 + stages + projections + 64 * 10


def test_counts_are_those_of_the_published_nets(counts: dict[str, Counted]) -> None:
    for net in ("resnet18_a", "resnet50_v1"):
        assert counts[net] == Counted(COLUMNS[net].rows, TOTALS[net])
        assert counts[net].num_layers == COLUMNS[net].num_layers
        assert counts[net].rows_as(COLUMNS[net]) == 6


@pytest.mark.parametrize("net", COLUMNS)
def test_printed_rows_have_as_many_layers_as_the_net_is_called_by(net: str) -> None:
    assert sum(len(row.layers) for row in COLUMNS[net].rows) == COLUMNS[net].num_layers


def test_the_one_figure_that_rounding_does_not_give_decides(counts: dict[str, Counted]) -> None:
    found = conclude(counts)
    arms = {arm.name: arm.measured for arm in found.arms}
    off = [each for each in found.comparisons if judge(each, arms).verdict is not Verdict.HOLDS]
    assert [(each.a, each.published.en) for each in off] == [("resnet50_v1", "3.8e9")]
    assert verdict(found) is Verdict.DOES_NOT_HOLD
    assert found.basis == "counted"
    assert "3,857,973,248" in found.summary.en
    assert "4 cost what is printed" in found.summary.en


def test_a_cost_within_rounding_holds(counts: dict[str, Counted]) -> None:
    within = counts | {"resnet50_v1": replace(counts["resnet50_v1"], macs=3_849_999_999)}
    assert verdict(conclude(within)) is Verdict.HOLDS
    assert "5 cost what is printed" in conclude(within).summary.en
    beyond = counts | {"resnet50_v1": replace(counts["resnet50_v1"], macs=3_850_000_001)}
    assert verdict(conclude(beyond)) is Verdict.DOES_NOT_HOLD


def test_a_net_of_another_shape_does_not_hold(counts: dict[str, Counted]) -> None:
    net = counts["resnet18_a"]
    wider = replace(net, rows=(Row(112, ((5, 64),)), *net.rows[1:]))
    found = conclude(counts | {"resnet18_a": wider, "resnet50_v1": replace(counts["resnet50_v1"], macs=3_800_000_000)})
    assert verdict(found) is Verdict.DOES_NOT_HOLD
    assert found.arms[0].measured[ROWS.name].mean == 5


def test_it_trains_nothing_and_tells_how_far_it_is(monkeypatch: pytest.MonkeyPatch, counts: dict[str, Counted]) -> None:
    told: list[tuple[int, int]] = []
    monkeypatch.setattr("residuum.experiments.claims.table1.count", counts.__getitem__)
    evidence = Evidence(
        setting=setting(), done=Executed({}, ()), progress=lambda done, total: told.append((done, total))
    )
    found = CLAIM.measure(evidence)
    assert not CLAIM.plan(setting())
    assert [done for done, _ in told] == [*range(7)]
    assert {arm.name for arm in found.arms} == {*COLUMNS, "resnet34", "resnet50"}
