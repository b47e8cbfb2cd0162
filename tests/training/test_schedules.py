"""Every schedule as a table of (step, rate), and the states that remember."""

from __future__ import annotations

import pytest

from residuum.errors import InputError
from residuum.training.recipes import paper_cifar
from residuum.training.schedules import (
    OneCycle,
    Plateau,
    ScheduleState,
    StepDecay,
    WarmUp,
    after_epoch,
    after_step,
    rate,
)


@pytest.mark.parametrize(
    ("step", "expected"),
    [(0, 0.1), (31_999, 0.1), (32_000, 0.01), (47_999, 0.01), (48_000, 0.001), (63_999, 0.001)],
)
def test_the_papers_cifar_schedule(step: int, expected: float) -> None:
    recipe = paper_cifar()
    assert recipe.num_steps(50_000) == 64_000
    got = rate(recipe.learning_rate, recipe.schedule, recipe.warm_up, ScheduleState(), step, 64_000)
    assert got == pytest.approx(expected)


@pytest.mark.parametrize(
    ("step", "expected"),
    [(0, 0.004), (15, 0.052), (30, 0.1), (65, 0.05), (100, 0.0)],
)
def test_one_cycle_rises_linearly_and_falls_as_a_cosine(step: int, expected: float) -> None:
    assert rate(0.1, OneCycle(), None, ScheduleState(), step, 100) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("step", "expected"),
    [(0, 0.008), (5, 0.104), (10, 0.2), (55, 0.1), (100, 0.0)],
)
def test_one_cycle_may_rise_sooner(step: int, expected: float) -> None:
    """As in `fast_cifar`: over a tenth of the steps; half-way through the fall it is at half the peak."""
    assert rate(0.2, OneCycle(rise=0.1), None, ScheduleState(), step, 100) == pytest.approx(expected)


def test_warm_up_ends_when_the_error_of_a_window_is_below_the_bound_and_returns_to_the_full_rate() -> None:
    warm_up, schedule = WarmUp(factor=0.1, until_error=0.8, window=3), StepDecay(milestones=(100,))
    state = ScheduleState()
    seen = []
    for step in range(9):
        seen.append(rate(0.1, schedule, warm_up, state, step, 200))
        wrong = 90 if step < 3 else 70  # of 100: the first window stays above 80 %, the second does not
        state = after_step(warm_up, state, step, wrong, 100)
    assert seen == pytest.approx([0.01] * 6 + [0.1] * 3)
    assert rate(0.1, schedule, warm_up, state, 100, 200) == pytest.approx(0.01), "milestones count from the start"


def test_the_bound_itself_does_not_end_the_warm_up() -> None:
    warm_up = WarmUp(until_error=0.8, window=1)
    assert not after_step(warm_up, ScheduleState(), 0, 80, 100).warm
    assert after_step(warm_up, ScheduleState(), 0, 79, 100).warm


def test_plateau_drops_after_patience_epochs_without_a_fall() -> None:
    schedule = Plateau(patience=2, factor=0.1, threshold=0.01)
    errors = [0.5, 0.4, 0.395, 0.399, 0.3, 0.31, 0.31, 0.2]
    rates, state = [], ScheduleState()
    for error in errors:
        state = after_epoch(schedule, state, error)
        rates.append(rate(1.0, schedule, None, state, 0, 10))
    assert rates == pytest.approx([1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01])


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (WarmUp, {"window": 0}, "window: must be at least 1, got 0. Try: 100"),
        (WarmUp, {"factor": 0.0}, "factor: must be above 0 and at most 1, got 0.0. Try: 0.1"),
        (WarmUp, {"until_error": float("nan")}, "until_error: must be above 0 and at most 1, got nan. Try: 0.8"),
        (StepDecay, {"milestones": (-1, 5)}, "milestones: must be at least 0, got (-1, 5). Try: (32000, 48000)"),
        (StepDecay, {"milestones": (5,), "factor": 0.0}, "factor: must be above 0, got 0.0. Try: 0.1"),
        (OneCycle, {"rise": 1.5}, "rise: must be at least 0 and at most 1, got 1.5. Try: 0.3"),
        (OneCycle, {"start": -0.1}, "start: must be at least 0 and at most 1, got -0.1. Try: 0.04"),
        (Plateau, {"patience": 0}, "patience: must be at least 1, got 0. Try: 5"),
        (Plateau, {"factor": -1.0}, "factor: must be above 0, got -1.0. Try: 0.1"),
        (Plateau, {"threshold": -0.1}, "threshold: must be at least 0 and below 1, got -0.1. Try: 0.001"),
    ],
)
def test_values_that_cannot_be_are_refused(kind: type, values: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as caught:
        kind(**values)
    assert str(caught.value) == message


def test_other_schedules_forget_epochs() -> None:
    assert after_epoch(OneCycle(), ScheduleState(), 0.5) == ScheduleState()
