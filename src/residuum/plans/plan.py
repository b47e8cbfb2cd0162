"""Several trainings as one plan: what it consists of, who is told of it, and what comes of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import torch

from residuum.data.source import Dataset
from residuum.errors import InputError, TrainingError
from residuum.nets import catalog
from residuum.run import Run
from residuum.training.observer import Observer, Silent
from residuum.training.precision import fastest
from residuum.training.recipe import Recipe


@dataclass(frozen=True)
class PlannedRun:
    """One training of a plan.

    Attributes:
        net: of the catalog.
        recipe, seed: as trained.
        start: model reference of the weights to start from; None for random ones.
        label: its name in the plan; by default that of net and seed.
    """

    net: str
    recipe: Recipe
    seed: int
    start: str | None = None
    label: str | None = None

    @property
    def name(self) -> str:
        return self.label or self.name_of(self.net, self.seed)

    @staticmethod
    def name_of(net: str, seed: int) -> str:
        """What the run of a net and a seed is called in its plan."""
        return f"{net}-seed{seed}"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Trainings on the same data, in one directory.

    Attributes:
        title: what a display calls the plan.
        trainings: in the order in which they are made.
        dataset: what all of them train on.
        directory: where the Runs go, each by its name.
        data_dir: where the files of a named set lie.
    """

    title: str
    trainings: Sequence[PlannedRun]
    dataset: Dataset
    directory: Path
    data_dir: str | Path | None = None

    def path(self, planned: PlannedRun) -> Path:
        """Where the Run of a training goes."""
        return self.directory / planned.name

    def decided(self, device: torch.device) -> Plan:
        """The plan with the precision decided where its recipes leave that to the device.

        It is that of the first such training which stands in the directory already, so that a plan goes on as it began
        on whatever machine and however busy; or else what the device is faster with.

        Raises:
            InputError: what stands there is damaged.
        """
        left_open = [planned for planned in self.trainings if planned.recipe.precision == "auto"]
        if not left_open:
            return self
        begun_before = (path for path in map(self.path, left_open) if Run.stands_at(path))
        first = next(begun_before, None)
        precision = Recipe.from_json(Run.open(first).config.recipe).precision if first else fastest(str(device))
        trainings = [
            replace(planned, recipe=replace(planned.recipe, precision=precision)) if planned in left_open else planned
            for planned in self.trainings
        ]
        return replace(self, trainings=trainings)

    def finished(self) -> dict[str, Run]:
        """The trainings that are finished in the directory already, by name.

        Raises:
            InputError: one stands there that was made with another recipe or other data.
        """
        runs = {planned.name: begun(planned, self.dataset, self.path(planned)) for planned in self.trainings}
        return {name: run for name, run in runs.items() if run is not None and run.result is not None}


class PlanObserver(Observer, Protocol):
    """An observer that also hears of the plan; work is in multiply-adds, to tell the time left."""

    def plan_started(self, title: str, runs: int, work: float) -> None:
        """A plan of `runs` trainings begins, `work` in all."""

    def run_started(self, number: int, work: float, steps: int) -> None:
        """Training `number` (from 0) begins."""

    def run_ended(self) -> None:
        """The training is done, or was done before."""

    def beside(self, name: str, work: float) -> Observer:
        """One of several trainings that run side by side begins: who is told of it."""

    def beside_ended(self, name: str) -> None:
        """That training is done, was done before, or failed."""

    def beside_stopped(self, name: str) -> None:
        """That training was stopped on its way, and saved."""


class SilentPlan(Silent):
    """A plan observer that shows nothing."""

    def plan_started(self, title: str, runs: int, work: float) -> None: ...

    def run_started(self, number: int, work: float, steps: int) -> None: ...

    def run_ended(self) -> None: ...

    def beside(self, name: str, work: float) -> Observer:
        return self

    def beside_ended(self, name: str) -> None: ...

    def beside_stopped(self, name: str) -> None: ...


@dataclass(frozen=True)
class Failure:
    """A training that did not reach its end.

    Attributes:
        run: its name.
        reason: in one line.
        diverged: its numbers were no longer finite; otherwise its process died, or the machine failed it.
    """

    run: str
    reason: str
    diverged: bool = True

    def __str__(self) -> str:
        return f"{self.run}: {self.reason}"


@dataclass(frozen=True)
class Executed:
    """What came of a plan: the Runs by name, and those that failed."""

    runs: dict[str, Run]
    failures: tuple[Failure, ...]

    def require_any(self) -> Executed:
        """This, if one training at least has reached its end.

        Raises:
            TrainingError: none has.
        """
        if not self.runs:
            raise TrainingError(f"every run failed, the first one so: {self.failures[0]}")
        return self


OnEnd = Callable[[Executed], object]


def unheard(done: Executed) -> None:
    """What came of a plan so far, told to nobody."""


def begun(planned: PlannedRun, dataset: Dataset, path: Path) -> Run | None:
    """The Run of a plan's training that stands at `path` already; None where none does.

    Raises:
        InputError: it was made with another recipe or other data.
    """
    if not Run.stands_at(path):
        return None
    run = Run.open(path)
    config = run.config
    start = config.start.model if config.start else None
    asked = (planned.net, planned.start, planned.seed, planned.recipe, dataset.fingerprint)
    if (config.net, start, config.seed, Recipe.from_json(config.recipe), config.data_fingerprint) != asked:
        raise InputError(f"{path}: was made with another recipe or other data. Try: another --out")
    return run


def work_of(planned: PlannedRun, dataset: Dataset) -> float:
    """Multiply-adds of a training's forward passes, to tell the time left."""
    entry = catalog.entry(planned.net)
    size = planned.recipe.image_size or (min(dataset.image_size) if dataset.image_size else entry.input_size)
    images = planned.recipe.num_steps(len(dataset.train)) * planned.recipe.batch_size
    return float(entry.macs) * (size / entry.input_size) ** 2 * images


def together(runs: Iterable[Run]) -> dict[str, object]:
    """Where the runs were made; a value that differs between them lists all that occur."""
    environments = [run.environment for run in runs]
    values = {
        key: {json.dumps(each.get(key)): each.get(key) for each in environments} for key in (environments or [{}])[0]
    }
    return {key: next(iter(one.values())) if len(one) == 1 else list(one.values()) for key, one in values.items()}
