"""Depth: training error at 110 layers on both sides of the margin; 1202 layers in the paper's budget only."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_of_kinds import setting_of
from made_up import made_up, names, setting, verdict, verdict_of
from residuum.experiments.claims.depth import CLAIM, NETS_AS_PUBLISHED, panels
from residuum.records.finding import Verdict, judge

EASY = {"resnet20": [0.02, 0.021, 0.019], "resnet56": [0.005, 0.006, 0.004], "resnet110": [0.002, 0.003, 0.001]}
BETWEEN = {"resnet32": [0.01, 0.011, 0.009], "resnet44": [0.007, 0.008, 0.006]}


@pytest.mark.parametrize(
    ("deepest", "expected"),
    [
        ([0.002, 0.003, 0.001], Verdict.HOLDS),
        ([0.012, 0.013, 0.011], Verdict.HOLDS),  # 0.7 points above 56 layers: within the margin
        ([0.018, 0.019, 0.017], Verdict.DOES_NOT_HOLD),  # 1.3 points above 56, below 20
        ([0.002, 0.003, 0.06], Verdict.NOT_DECIDED),
    ],
)
def test_training_error_at_110_layers_decides(tmp_path: Path, deepest: list[float], expected: Verdict) -> None:
    assert verdict_of(CLAIM, tmp_path, EASY | {"resnet110": deepest}) is expected


@pytest.mark.parametrize(
    ("every", "expected"),
    [
        ([0.9, 0.9, 0.9], Verdict.DOES_NOT_HOLD),  # level with each other, at chance
        ([0.81, 0.811, 0.809], Verdict.DOES_NOT_HOLD),
        ([0.79, 0.791, 0.789], Verdict.HOLDS),
    ],
)
def test_nets_that_learned_nothing_show_no_ease(tmp_path: Path, every: list[float], expected: Verdict) -> None:
    assert verdict_of(CLAIM, tmp_path, dict.fromkeys(EASY, every)) is expected


def test_seeds_far_apart_are_told_one_by_one(tmp_path: Path) -> None:
    apart = CLAIM.measure(made_up(tmp_path / "apart", EASY | {"resnet110": [0.0, 0.4281, 0.0883]})).summary
    assert "The seeds of resnet110 end at 0.00 %, 42.81 %, 8.83 %." in apart.en
    assert "시드별 학습 오차는 0.00 %, 42.81 %, 8.83 %입니다" in apart.ko
    close = CLAIM.measure(made_up(tmp_path / "close", EASY | {"resnet110": [0.0, 0.1, 0.05]})).summary
    assert "The seeds" not in close.en


def test_the_start_of_110_layers_is_told_where_it_is_not_the_papers(tmp_path: Path) -> None:
    assert "until its training error is below 80 %" in CLAIM.measure(made_up(tmp_path / "quick", EASY)).summary.en
    ended = EASY | BETWEEN | {"resnet1202": [0.0, 0.0, 0.0]}
    found = CLAIM.measure(made_up(tmp_path / "paper", ended, setting_of("colour", "paper")))
    assert "80 %" not in found.summary.en


def test_summary_says_which_way_it_went(tmp_path: Path) -> None:
    assert "ends 1.80 points below the shallowest" in CLAIM.measure(made_up(tmp_path / "easy", EASY)).summary.en
    hard = EASY | {"resnet110": [0.12, 0.12, 0.12]}
    assert "ends 10.00 points above the shallowest" in CLAIM.measure(made_up(tmp_path / "hard", hard)).summary.en
    level = {net: [0.0, 0.0, 0.0] for net in EASY}
    assert "ends level with the shallowest" in CLAIM.measure(made_up(tmp_path / "level", level)).summary.en


@pytest.mark.parametrize(
    ("errors", "failing"),
    [
        ([0.0004, 0.0005, 0.0006], ["resnet1202 does worse on new images than resnet110"]),
        ([0.0104, 0.0105, 0.0106], ["resnet1202 trains to almost no error"]),
    ],
)
def test_1202_layers(tmp_path: Path, errors: list[float], failing: list[str]) -> None:
    """Made-up Runs have one error for all splits: it cannot be below 0.1 % and above that of 110 layers."""
    ended = EASY | BETWEEN | {"resnet110": [0.0049, 0.005, 0.0051], "resnet1202": errors}
    found = CLAIM.measure(made_up(tmp_path, ended, setting_of("colour", "paper")))
    arms = {arm.name: arm.measured for arm in found.arms}
    judged = {each.statement.en: judge(each, arms).verdict for each in found.comparisons}
    assert [statement for statement, came in judged.items() if came is Verdict.DOES_NOT_HOLD] == failing
    assert [*judged.values()].count(Verdict.HOLDS) == 4
    assert verdict(found) is Verdict.DOES_NOT_HOLD


def test_no_panel_has_more_nets_than_fit_its_legend() -> None:
    first, second = panels(NETS_AS_PUBLISHED).items()
    assert first == ("20 to 44 layers", ("resnet20", "resnet32", "resnet44"))
    assert second == ("56 to 1202 layers", ("resnet56", "resnet110", "resnet1202"))


def test_plan() -> None:
    assert names(CLAIM.plan(setting())) == ["resnet20", "resnet56", "resnet110"]
    assert names(CLAIM.plan(setting_of("colour", "short"))) == ["resnet20", "resnet56", "resnet110"]
    published = CLAIM.plan(setting_of("colour", "paper"))
    assert names(published)[-2:] == ["resnet110", "resnet1202"]
    assert {each.net for each in published if each.recipe.warm_up is not None} == {"resnet110", "resnet1202"}
