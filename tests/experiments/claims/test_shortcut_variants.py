"""Shortcut variants: every one must be worse, ties decide nothing, and dropout is judged by new images."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_of_kinds import setting_of
from made_up import diverging, made_up, names, setting, verdict, verdict_of
from residuum.experiments.claims.shortcut_variants import (
    CLAIM,
    DROPOUT,
    IDENTITY,
    MEAN_TRAINING_ERROR,
    NEARLY_IDENTITY,
    VARIANTS,
    nets,
)
from residuum.records.finding import Verdict

JITTER = (-0.001, 0.0, 0.001)


def errors(identity: float = 0.05, others: float = 0.1, **changed: float) -> dict[str, list[float]]:
    means = dict.fromkeys(VARIANTS, others) | {IDENTITY: identity} | changed
    return {net: [means[name] + each for each in JITTER] for name, net in nets(setting()).items()}


@pytest.mark.parametrize(
    ("means", "expected"),
    [
        ({}, Verdict.HOLDS),
        ({"none": 0.04}, Verdict.DOES_NOT_HOLD),
        ({"none": 0.0505}, Verdict.NOT_DECIDED),  # within the spread
        ({DROPOUT: 0.04}, Verdict.DOES_NOT_HOLD),
        ({NEARLY_IDENTITY: 0.045}, Verdict.HOLDS),  # better by less than 1 point
        ({NEARLY_IDENTITY: 0.03}, Verdict.DOES_NOT_HOLD),
    ],
)
def test_verdict(tmp_path: Path, means: dict[str, float], expected: Verdict) -> None:
    assert verdict_of(CLAIM, tmp_path, errors(**means)) is expected


def test_nets_that_all_fit_their_images_decide_nothing(tmp_path: Path) -> None:
    ended = {net: [0.0, 0.0, 0.0] for net in nets(setting()).values()}
    assert verdict_of(CLAIM, tmp_path, ended) is Verdict.NOT_DECIDED


def test_arms_comparisons_and_summary(tmp_path: Path) -> None:
    found = CLAIM.measure(made_up(tmp_path, errors(**{"none": 0.04})))
    assert [arm.name for arm in found.arms] == list(VARIANTS)
    assert {each.a: each.quantity for each in found.comparisons}[DROPOUT] == "test error"
    assert [each.b for each in found.comparisons if each.a == IDENTITY] == [NEARLY_IDENTITY]
    assert {each.quantity for each in found.comparisons if each.a != DROPOUT} == {"training error"}
    assert found.arms[0].measured[MEAN_TRAINING_ERROR.name].mean == pytest.approx(0.05)  # as recorded, each epoch
    assert "lower with none (4.00 %)" in found.summary.en
    assert "higher with x and F times 0.5 (10.00 %)" in found.summary.en
    assert "dropout of 0.5 (" not in found.summary.en
    assert "이보다 작은 것: 지름길 없음 (4.00 %)" in found.summary.ko
    assert found.comparisons[0].published.en == "12.35 against 6.61 (test, median of 5)"


def test_diverged_trainings_count_as_chance(tmp_path: Path) -> None:
    dropped = nets(setting())[DROPOUT]
    evidence = diverging(made_up(tmp_path, errors()), [f"{dropped}-seed{seed}" for seed in (0, 1, 2)])
    found = CLAIM.measure(evidence)
    arm = next(arm for arm in found.arms if arm.name == DROPOUT)
    assert arm.measured["test error"].values == (0.9, 0.9, 0.9)
    assert not arm.runs
    assert arm.measured[MEAN_TRAINING_ERROR.name].values == (0.9, 0.9, 0.9)
    assert evidence.diverged_in_words.en.startswith("3 trainings diverged")
    assert found.summary.en.endswith(evidence.diverged_in_words.en)
    assert verdict(found) is Verdict.HOLDS
    assert CLAIM.excuses_failures


def test_plan() -> None:
    found = names(CLAIM.plan(setting()))
    assert found[0] == "resnet56"
    assert len(found) == 9
    assert "plain56" in found
    assert "resnet56+shortcut=gated_shortcut+gate_bias=0" in found
    deep = names(CLAIM.plan(setting_of("colour", "paper")))
    assert {each.partition("+")[0] for each in deep} == {"resnet110", "plain110"}
    short = names(CLAIM.plan(setting_of("colour", "short")))
    assert short == found
