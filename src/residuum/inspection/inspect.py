"""Looking inside: the parts of the table that were asked for, one after another, within a budget of time.

No part can spoil another: what does not apply, fails, or does not fit the time says so in one line, and the next one
runs. Ctrl-C ends the part that runs and begins no other; what was found until then is kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Protocol

from residuum.errors import InputError, unknown
from residuum.inspection.parts import PARTS, Found, Part, Task
from residuum.inspection.subject import Subject


class State(StrEnum):
    """What became of a part."""

    DONE = "done"
    DOES_NOT_APPLY = "does not apply"
    LACKS = "lacks what it needs"
    NO_TIME = "did not fit the time"
    INTERRUPTED = "interrupted"
    FAILED = "failed"


@dataclass(frozen=True, eq=False)
class Outcome:
    """One part: what became of it, why (one line, empty where it is done), seconds, and what it found."""

    name: str
    state: State
    reason: str
    seconds: float
    found: Found


@dataclass(frozen=True, eq=False)
class Inspection:
    """All that was found of a subject."""

    subject: Subject
    outcomes: tuple[Outcome, ...]

    def __getitem__(self, name: str) -> Outcome:
        return next(outcome for outcome in self.outcomes if outcome.name == name)

    @property
    def interrupted(self) -> bool:
        return any(outcome.state is State.INTERRUPTED for outcome in self.outcomes)


class Watcher(Protocol):
    """Who is told how far the work is."""

    def part_started(self, name: str, number: int, count: int) -> None:
        """Part `number` of `count` begins, from 1."""

    def part_progress(self, done: int, total: int) -> None:
        """So many steps of it are done."""


class Unwatched:
    """Nobody."""

    def part_started(self, name: str, number: int, count: int) -> None:
        pass

    def part_progress(self, done: int, total: int) -> None:
        pass


class _OutOfTimeError(Exception):
    """The budget has ended; raised out of a progress callback."""


def chosen(only: Sequence[str] | None) -> tuple[Part, ...]:
    """The parts of these names in order of their cost; all where none are named.

    Raises:
        InputError: a name is not that of a part.
    """
    if only is None:
        return PARTS
    names = [part.name for part in PARTS]
    for name in only:
        if name not in names:
            raise unknown("only", name, names)
    if not only:
        raise InputError("only: names no part. Try: --only filters,cam")
    return tuple(part for part in PARTS if part.name in only)


def inspect_subject(
    subject: Subject,
    only: Sequence[str] | None = None,
    *,
    seconds: float | None = None,
    watcher: Watcher | None = None,
    begun: Mapping[str, Found] | None = None,
) -> Inspection:
    """Look inside a subject.

    Args:
        subject: what to look at; `residuum.inspection.subject.subject` makes one of a Classifier.
        only: names of parts; all by default. Parts that lack images or data say so and are left out.
        seconds: when to begin no more parts, and to end the one that runs at its next step; None for no end.
        watcher: who is told of the progress.
        begun: what an earlier inspection of the same subject found by part, to go on from; of use to `landscape`.

    Raises:
        InputError: an unknown part; not one of the parts asked for has what it needs.
    """
    parts, watcher = chosen(only), watcher or Unwatched()
    lacking = {part.name: reason for part in parts if (reason := part.lacks(subject))}
    if len(lacking) == len(parts):
        name, reason = next(iter(lacking.items()))
        raise InputError(f"{name}: {reason}")
    if seconds is not None and not seconds > 0:
        raise InputError(f"seconds: must be above 0, got {seconds:g}. Try: --seconds 60")
    running = [part for part in parts if part.name not in lacking]
    deadline = float("inf") if seconds is None else time.monotonic() + seconds
    outcomes = {name: Outcome(name, State.LACKS, reason, 0.0, {}) for name, reason in lacking.items()}
    interrupted = False
    for number, part in enumerate(running, start=1):
        if interrupted:
            outcomes[part.name] = Outcome(part.name, State.INTERRUPTED, "interrupted before it began", 0.0, {})
            continue
        if time.monotonic() >= deadline:
            outcomes[part.name] = _no_time(part.name, 0.0, 0, 0)
            continue
        before = dict((begun or {}).get(part.name, {}))
        began = partial(watcher.part_started, part.name, number, len(running))
        outcomes[part.name] = outcome = _Work(part, before, deadline, watcher).outcome(subject, began)
        interrupted = outcome.state is State.INTERRUPTED
    return Inspection(subject, tuple(outcomes[part.name] for part in parts))


class _Work:
    """One part, from its beginning to what became of it."""

    def __init__(self, part: Part, found: Found, deadline: float, watcher: Watcher) -> None:
        self.part, self.found, self.deadline, self.watcher = part, found, deadline, watcher
        self.start = time.monotonic()
        self.reached = (0, 0)

    def outcome(self, subject: Subject, began: Callable[[], None]) -> Outcome:
        """Run the part; it fills `found` as it goes, so that what an interrupted one had is kept."""
        try:
            began()
            self.part.run(subject, Task(self.found, self._step, self.deadline - self.start))
        except InputError as error:
            return self._ended(State.DOES_NOT_APPLY, str(error))
        except _OutOfTimeError:
            return _no_time(self.part.name, time.monotonic() - self.start, *self.reached, found=self.found)
        except KeyboardInterrupt:
            return self._ended(State.INTERRUPTED, f"interrupted at {_share(*self.reached)}")
        except Exception as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            return self._ended(State.FAILED, reason)
        return self._ended(State.DONE, "")

    def _step(self, done: int, total: int) -> None:
        self.reached = (done, total)
        self.watcher.part_progress(done, total)
        if done < total and time.monotonic() >= self.deadline:
            raise _OutOfTimeError

    def _ended(self, state: State, reason: str) -> Outcome:
        return Outcome(self.part.name, state, reason, time.monotonic() - self.start, self.found)


def _no_time(name: str, seconds: float, done: int, total: int, found: Found | None = None) -> Outcome:
    reached = f"ended at {_share(done, total)}" if total else "did not begin"
    reason = f"{reached} when the time was over. Try: --only {name}, or a larger --seconds"
    return Outcome(name, State.NO_TIME, reason, seconds, found or {})


def _share(done: int, total: int) -> str:
    return f"step {done:,} of {total:,}" if total else "its beginning"
