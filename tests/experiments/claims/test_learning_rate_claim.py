"""Learning rate: each comparison on both sides, and trainings that diverged count as chance."""

from __future__ import annotations

from pathlib import Path

import pytest

from made_up import diverging, made_up, names, setting, verdict, verdict_of
from residuum.experiments.claims.learning_rate import BARE_HIGH, CLAIM, NORMALISED_HIGH
from residuum.records.finding import Verdict

JITTER = (-0.001, 0.0, 0.001)
RUNS = ("plain20", "plain20,learning_rate=0.01", "plain20+batch_norm=no", "plain20+batch_norm=no,learning_rate=0.01")


def errors(*means: float) -> dict[str, list[float]]:
    return {name: [mean + each for each in JITTER] for name, mean in zip(RUNS, means, strict=True)}


@pytest.mark.parametrize(
    ("means", "expected"),
    [
        ((0.05, 0.05, 0.8, 0.1), Verdict.HOLDS),
        ((0.10, 0.05, 0.8, 0.1), Verdict.DOES_NOT_HOLD),  # worse with normalisation
        ((0.05, 0.05, 0.15, 0.1), Verdict.DOES_NOT_HOLD),  # works without
        ((0.05, 0.05, 0.2, 0.1), Verdict.NOT_DECIDED),  # at its margin
        ((0.05, 0.05, 0.9, 0.85), Verdict.DOES_NOT_HOLD),  # neither rate works without
    ],
)
def test_verdict(tmp_path: Path, means: tuple[float, ...], expected: Verdict) -> None:
    assert verdict_of(CLAIM, tmp_path, errors(*means)) is expected


@pytest.mark.parametrize("left", [0, 1])
def test_diverged_trainings_count_as_chance(tmp_path: Path, left: int) -> None:
    evidence = made_up(tmp_path, errors(0.05, 0.05, 0.8, 0.1))
    gone = [f"{RUNS[2]}-seed{seed}" for seed in range(left, 3)]
    evidence = diverging(evidence, gone)
    found = CLAIM.measure(evidence)
    arms = {arm.name: arm for arm in found.arms}
    expected = [0.799, 0.9, 0.9][-3:] if left else [0.9, 0.9, 0.9]
    for quantity in ("training error", "test error"):
        assert arms[BARE_HIGH].measured[quantity].values == pytest.approx(expected)
    assert len(arms[BARE_HIGH].runs) == left
    assert arms[NORMALISED_HIGH].measured["training error"].mean == pytest.approx(0.05)
    assert evidence.diverged_in_words.en.startswith(f"{len(gone)} trainings diverged")
    assert found.summary.en.endswith(evidence.diverged_in_words.en)
    assert found.summary.ko.endswith(evidence.diverged_in_words.ko)
    assert verdict(found) is Verdict.HOLDS


@pytest.mark.parametrize(
    ("high", "low", "said"),
    [
        ([0.2, 0.2, 0.2], [0.1, 0.1, 0.1], "there 3 of 3 trainings learn at 0.1 and 3 of 3 at 0.01"),
        ([0.85, 0.9, 0.9], [0.1, 0.1, 0.1], "there 0 of 3 trainings learn at 0.1 and 3 of 3 at 0.01"),
        ([0.898, 0.755, 0.898], [0.836, 0.898, 0.568], "there 1 of 3 trainings learn at 0.1 and 1 of 3 at 0.01"),
    ],
)
def test_summary_counts_the_trainings_that_learn(
    tmp_path: Path, high: list[float], low: list[float], said: str
) -> None:
    found = CLAIM.measure(made_up(tmp_path, errors(0.05, 0.05, 0.8, 0.1) | {RUNS[2]: high, RUNS[3]: low}))
    assert f"{said}, ending more than 10 points below chance. No training diverged." in found.summary.en


def test_summary_says_the_same_in_korean(tmp_path: Path) -> None:
    found = CLAIM.measure(made_up(tmp_path, errors(0.05, 0.05, 0.85, 0.1)))
    assert "0.1에서는 3번 중 0번, 0.01에서는 3번 중 3번이" in found.summary.ko
    assert [arm.label.ko for arm in found.arms][1:3] == ["BN 있음, 학습률 0.01", "BN 없음, 학습률 0.1"]


def test_plan_changes_the_rate_alone() -> None:
    plan = CLAIM.plan(setting(seeds=1))
    assert names(plan) == list(RUNS)
    assert [each.recipe.learning_rate for each in plan] == [0.1, 0.01, 0.1, 0.01]
    assert CLAIM.excuses_failures
