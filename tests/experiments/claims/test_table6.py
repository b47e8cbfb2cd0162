"""Table 6: parameters are counted, the order decides everywhere, nearness to the printed errors in `paper` only."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_of_kinds import setting_of
from made_up import made_up, names, setting, verdict, verdict_of
from residuum.experiments.claims.table6 import CLAIM, PARAMETERS, PRINTED, parameters
from residuum.records.finding import Verdict, judge

FALLING = {
    "resnet20": [0.0875, 0.0880, 0.0870],
    "resnet32": [0.0751, 0.0755, 0.0747],
    "resnet44": [0.0717, 0.0720, 0.0714],
    "resnet56": [0.0697, 0.0700, 0.0694],
}
DEEPEST = {"resnet110": [0.0661, 0.0665, 0.0657]}


def test_parameters_by_hand() -> None:
    convolutions = 9 * (3 * 16 + 6 * 16**2 + 16 * 32 + 5 * 32**2 + 32 * 64 + 5 * 64**2)
    normalisations = 2 * (7 * 16 + 6 * 32 + 6 * 64)
    assert parameters("resnet20") == convolutions + normalisations + 64 * 10 + 10 == 269_722


@pytest.mark.parametrize("net", PRINTED)
def test_printed_parameters_are_the_counted_ones_rounded(net: str) -> None:
    row = PRINTED[net]
    decimals = len(str(row.parameters).partition(".")[2])
    assert round(parameters(net) / 1e6, decimals) == row.parameters
    assert row.rounding == 0.5 * 10**-decimals


@pytest.mark.parametrize(
    ("deep", "expected"),
    [
        ([0.0697, 0.0700, 0.0694], Verdict.HOLDS),
        ([0.0997, 0.1000, 0.0994], Verdict.DOES_NOT_HOLD),
        ([0.0697, 0.1100, 0.0594], Verdict.NOT_DECIDED),
        ([0.0875, 0.0880, 0.0870], Verdict.NOT_DECIDED),
    ],
)
def test_the_order_of_20_and_56_layers_decides(tmp_path: Path, deep: list[float], expected: Verdict) -> None:
    assert verdict_of(CLAIM, tmp_path, FALLING | {"resnet56": deep}) is expected


def test_summary_says_which_way_it_went(tmp_path: Path) -> None:
    assert "it falls by 1.78 points" in CLAIM.measure(made_up(tmp_path / "falls", FALLING)).summary.en
    rising = FALLING | {"resnet56": [0.0975, 0.0980, 0.0970]}
    assert "it rises by 1.00 points" in CLAIM.measure(made_up(tmp_path / "rises", rising)).summary.en


def test_what_is_not_trained_has_parameters_all_the_same(tmp_path: Path) -> None:
    found = CLAIM.measure(made_up(tmp_path, FALLING))
    measured = {arm.name: set(arm.measured) for arm in found.arms}
    assert [*measured] == [*PRINTED]
    assert measured["resnet110"] == measured["resnet1202"] == {PARAMETERS.name}


def test_only_the_papers_budget_is_held_against_the_printed_errors(tmp_path: Path) -> None:
    everything = FALLING | DEEPEST
    found = CLAIM.measure(made_up(tmp_path / "near", everything, setting_of("colour", "paper")))
    assert verdict(found) is Verdict.HOLDS
    assert sum(each.relation == "near" and each.quantity == "test error" for each in found.comparisons) == 5
    assert [(each.a, each.b) for each in found.comparisons if each.relation == "above"] == [
        ("resnet20", "resnet56"),
        ("resnet56", "resnet110"),
    ]
    rising = everything | {"resnet110": [0.0709, 0.0710, 0.0708]}  # near the printed value, above 56 layers
    found = CLAIM.measure(made_up(tmp_path / "rising", rising, setting_of("colour", "paper")))
    assert verdict(found) is Verdict.DOES_NOT_HOLD
    off = everything | {"resnet44": [0.0817, 0.0820, 0.0814]}
    found = CLAIM.measure(made_up(tmp_path / "far", off, setting_of("colour", "paper")))
    arms = {arm.name: arm.measured for arm in found.arms}
    assert [each.a for each in found.comparisons if judge(each, arms).verdict is Verdict.DOES_NOT_HOLD] == ["resnet44"]
    in_short = {net: errors for net, errors in off.items() if net != "resnet44"}
    found = CLAIM.measure(made_up(tmp_path / "short", in_short, setting_of("colour", "short")))
    assert verdict(found) is Verdict.HOLDS
    assert [arm.name for arm in found.arms if "test error" in arm.measured] == [*in_short][:3]


def test_plan() -> None:
    assert names(CLAIM.plan(setting())) == ["resnet20", "resnet32", "resnet44", "resnet56"]
    assert len(CLAIM.plan(setting(seeds=3))) == 12
    assert names(CLAIM.plan(setting_of("colour", "short"))) == ["resnet20", "resnet32", "resnet56"]
    published = CLAIM.plan(setting_of("colour", "paper"))
    assert names(published) == ["resnet20", "resnet32", "resnet44", "resnet56", "resnet110"]
    assert all(planned.recipe.name == "paper_cifar" for planned in published)
