"""Several trainings as one plan: finished ones are reused, interrupted ones go on, failed ones are recorded."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import torch

from residuum.data.source import Dataset
from residuum.errors import InputError, Interrupted, TrainingError
from residuum.nets import catalog
from residuum.run import Run
from residuum.training.observer import Observer, Silent
from residuum.training.precision import fastest
from residuum.training.prepare import choose_device
from residuum.training.recipe import Execution, Recipe
from residuum.training.start import resume, train


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


class SilentPlan(Silent):
    """A plan observer that shows nothing."""

    def plan_started(self, title: str, runs: int, work: float) -> None: ...

    def run_started(self, number: int, work: float, steps: int) -> None: ...

    def run_ended(self) -> None: ...

    def beside(self, name: str, work: float) -> Observer:
        return self

    def beside_ended(self, name: str) -> None: ...


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


def execute(
    plan: Sequence[PlannedRun],
    dataset: Dataset,
    directory: Path,
    *,
    data_dir: str | Path | None = None,
    title: str,
    execution: Execution,
    observer: PlanObserver,
    on_end: Callable[[Executed], object] = lambda done: None,
) -> Executed:
    """Make every training of a plan that is not yet made in `directory`, one after another.

    Args:
        plan: the trainings.
        dataset: what all of them train on.
        directory: where the Runs go, each by its name.
        data_dir: where the files of a named set lie.
        title: what a display calls the plan.
        execution: device, threads, how often to save.
        observer: who is told of the progress.
        on_end: called after each training, with what came of the plan so far.

    Raises:
        InputError: a Run stands there that was made with another recipe or other data.
        StorageError: the disk is full, read-only or failing.
        Interrupted: stopped by a signal, saved before; the same call goes on.
        TrainingError: not one of the trainings reached its end.
    """
    plan = decided(plan, directory, choose_device(execution.device))
    works = [work_of(planned, dataset) for planned in plan]
    observer.plan_started(title, len(plan), sum(works))
    runs: dict[str, Run] = {}
    failures: list[Failure] = []
    for number, (planned, work) in enumerate(zip(plan, works, strict=True)):
        observer.run_started(number, work, planned.recipe.num_steps(len(dataset.train)))
        path = directory / planned.name
        try:
            runs[planned.name] = make(planned, dataset, path, data_dir, execution, observer)
        except TrainingError as error:
            failures.append(Failure(planned.name, str(error)))
            observer.message(str(failures[-1]))
        except Interrupted as error:
            raise Interrupted(
                f"{path}: stopped, saved. Try: the same command again, it goes on from here",
                signal_number=error.signal_number,
            ) from error
        observer.run_ended()
        on_end(Executed(dict(runs), tuple(failures)))
    return Executed(runs, tuple(failures)).require_any()


def make(
    planned: PlannedRun,
    dataset: Dataset,
    path: Path,
    data_dir: str | Path | None,
    execution: Execution,
    observer: Observer,
) -> Run:
    """One training of a plan: reused where it is finished, gone on with where it was interrupted.

    Raises:
        InputError: a Run stands at `path` that was made with another recipe or other data.
        TrainingError, Interrupted, StorageError: as `residuum.train`.
    """
    run = begun(planned, dataset, path)
    if run is None:
        return train(
            planned.start or planned.net,
            dataset,
            recipe=planned.recipe,
            out=path,
            seed=planned.seed,
            data_dir=data_dir,
            execution=execution,
            observer=observer,
        )
    return run if run.result is not None else resume(path, data=dataset, execution=execution, observer=observer)


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


def decided(plan: Sequence[PlannedRun], directory: Path, device: torch.device) -> list[PlannedRun]:
    """The plan with the precision decided where its recipes leave that to the device.

    It is that of the first such training which stands in the directory already, so that a plan goes on as it began on
    whatever machine and however busy; or else what the device is faster with.

    Raises:
        InputError: what stands there is damaged.
    """
    left_open = [planned for planned in plan if planned.recipe.precision == "auto"]
    if not left_open:
        return [*plan]
    begun_before = (directory / planned.name for planned in left_open if Run.stands_at(directory / planned.name))
    first = next(begun_before, None)
    precision = Recipe.from_json(Run.open(first).config.recipe).precision if first else fastest(str(device))
    return [
        replace(planned, recipe=replace(planned.recipe, precision=precision)) if planned in left_open else planned
        for planned in plan
    ]


def finished(plan: Iterable[PlannedRun], dataset: Dataset, directory: Path) -> dict[str, Run]:
    """The trainings of a plan that are finished in a directory already, by name.

    Raises:
        InputError: one stands there that was made with another recipe or other data.
    """
    runs = {planned.name: begun(planned, dataset, directory / planned.name) for planned in plan}
    return {name: run for name, run in runs.items() if run is not None and run.result is not None}


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
