"""Learning rates as functions of the step, and the little state that some of them need.

A schedule is data; `rate` is a pure function of it, the step and a `ScheduleState`, which is kept in every checkpoint.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from residuum.errors import InputError


@dataclass(frozen=True, kw_only=True)
class StepDecay:
    """Multiply by `factor` at each milestone, a step counted from the start (He et al. 2015, section 4.2).

    Raises:
        InputError: a milestone is below 0, or `factor` not above 0.
    """

    milestones: tuple[int, ...]
    factor: float = 0.1
    kind: Literal["step-decay"] = "step-decay"

    def __post_init__(self) -> None:
        _require(min(self.milestones, default=0) >= 0, "milestones", self.milestones, "at least 0", (32_000, 48_000))
        _require(0 < self.factor < math.inf, "factor", self.factor, "above 0", 0.1)


@dataclass(frozen=True, kw_only=True)
class OneCycle:
    """Rise linearly from `start` of the peak over the first `rise` of all steps, then fall as a cosine towards 0.

    Source: Smith 2018, "A disciplined approach to neural network hyper-parameters"; cosine fall after Loshchilov and
    Hutter 2017. Momentum is left alone, where Smith cycles it too.

    Raises:
        InputError: `rise` or `start` is no share.
    """

    rise: float = 0.3
    start: float = 0.04
    kind: Literal["one-cycle"] = "one-cycle"

    def __post_init__(self) -> None:
        _require(0 <= self.rise <= 1, "rise", self.rise, "at least 0 and at most 1", 0.3)
        _require(0 <= self.start <= 1, "start", self.start, "at least 0 and at most 1", 0.04)


@dataclass(frozen=True, kw_only=True)
class Plateau:
    """Multiply by `factor` when the validation error has not fallen for `patience` epochs.

    He et al. 2015, section 3.4, do not say how they saw a plateau; here a fall counts if it is more than `threshold`,
    a share of images.

    Raises:
        InputError: `patience` is below 1, `factor` not above 0, or `threshold` no share.
    """

    patience: int = 5
    factor: float = 0.1
    threshold: float = 0.001
    kind: Literal["plateau"] = "plateau"

    def __post_init__(self) -> None:
        _require(self.patience >= 1, "patience", self.patience, "at least 1", 5)
        _require(0 < self.factor < math.inf, "factor", self.factor, "above 0", 0.1)
        _require(0 <= self.threshold < 1, "threshold", self.threshold, "at least 0 and below 1", 0.001)


Schedule = StepDecay | OneCycle | Plateau


@dataclass(frozen=True, kw_only=True)
class WarmUp:
    """Train at `factor` of the rate until the training error is below `until_error` (He et al. 2015, section 4.2).

    The error is that of the images of the last `window` steps, looked at every `window` steps; the paper reports that
    this took about 400 iterations.

    Raises:
        InputError: `window` is below 1, or `factor` or `until_error` not above 0 and at most 1.
    """

    factor: float = 0.1
    until_error: float = 0.8
    window: int = 100

    def __post_init__(self) -> None:
        _require(0 < self.factor <= 1, "factor", self.factor, "above 0 and at most 1", 0.1)
        _require(0 < self.until_error <= 1, "until_error", self.until_error, "above 0 and at most 1", 0.8)
        _require(self.window >= 1, "window", self.window, "at least 1", 100)


def _require(right: bool, name: str, value: object, allowed: str, usual: object) -> None:
    if not right:
        raise InputError(f"{name}: must be {allowed}, got {value}. Try: {usual}")


@dataclass(frozen=True)
class ScheduleState:
    """What a schedule remembers.

    Attributes:
        warm: whether the warm-up is over.
        window_wrong, window_images: of the warm-up's current window.
        best_error, epochs_since_best, drops: of a plateau schedule.
    """

    warm: bool = False
    window_wrong: int = 0
    window_images: int = 0
    best_error: float | None = None
    epochs_since_best: int = 0
    drops: int = 0


def rate(peak: float, schedule: Schedule, warm_up: WarmUp | None, state: ScheduleState, step: int, steps: int) -> float:
    """The learning rate of one step.

    Args:
        peak: the rate before any decay.
        schedule: its shape.
        warm_up: a lower rate at first, or None.
        state: what has been seen so far.
        step: from 0.
        steps: in all.
    """
    if warm_up is not None and not state.warm:
        return peak * warm_up.factor
    if isinstance(schedule, StepDecay):
        return peak * schedule.factor ** sum(step >= milestone for milestone in schedule.milestones)
    if isinstance(schedule, Plateau):
        return peak * schedule.factor**state.drops
    top = schedule.rise * steps
    if step < top:
        return peak * (schedule.start + (1 - schedule.start) * step / top)
    return peak * (1 + math.cos(math.pi * (step - top) / (steps - top))) / 2


def after_step(warm_up: WarmUp | None, state: ScheduleState, step: int, wrong: int, images: int) -> ScheduleState:
    """The state once `step` (from 0) has been made, with `wrong` of its `images` answered wrongly."""
    if warm_up is None or state.warm:
        return state
    wrong, images = state.window_wrong + wrong, state.window_images + images
    if (step + 1) % warm_up.window:
        return replace(state, window_wrong=wrong, window_images=images)
    return replace(state, warm=wrong / images < warm_up.until_error, window_wrong=0, window_images=0)


def after_epoch(schedule: Schedule, state: ScheduleState, error: float) -> ScheduleState:
    """The state after an epoch with this validation error (training error, where there is no validation split)."""
    if not isinstance(schedule, Plateau):
        return state
    if state.best_error is None or error < state.best_error - schedule.threshold:
        return replace(state, best_error=error, epochs_since_best=0)
    if state.epochs_since_best + 1 < schedule.patience:
        return replace(state, epochs_since_best=state.epochs_since_best + 1)
    return replace(state, epochs_since_best=0, drops=state.drops + 1)
