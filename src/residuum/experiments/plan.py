"""Several trainings as one plan: finished ones are reused, interrupted ones go on, failed ones are recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from residuum.data.source import Dataset
from residuum.errors import InputError, Interrupted, TrainingError
from residuum.nets import catalog
from residuum.run import Run
from residuum.training.observer import Observer, Silent
from residuum.training.recipe import Execution, Recipe
from residuum.training.start import resume, train


@dataclass(frozen=True)
class PlannedRun:
    """One training of a plan."""

    net: str
    recipe: Recipe
    seed: int

    @property
    def name(self) -> str:
        return self.name_of(self.net, self.seed)

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


class SilentPlan(Silent):
    """A plan observer that shows nothing."""

    def plan_started(self, title: str, runs: int, work: float) -> None: ...

    def run_started(self, number: int, work: float, steps: int) -> None: ...

    def run_ended(self) -> None: ...


@dataclass(frozen=True)
class Executed:
    """What came of a plan: the Runs by name, and for each failed one its reason."""

    runs: dict[str, Run]
    failures: tuple[str, ...]


def execute(
    plan: Sequence[PlannedRun],
    dataset: Dataset,
    directory: Path,
    *,
    data_dir: str | Path | None = None,
    title: str,
    execution: Execution,
    observer: PlanObserver,
) -> Executed:
    """Make every training of a plan that is not yet made in `directory`.

    Raises:
        InputError: a Run stands there that was made with another recipe or other data.
        StorageError: the disk is full, read-only or failing.
        Interrupted: stopped by a signal, saved before; the same call goes on.
        TrainingError: not one of the trainings reached its end.
    """
    works = [_work(planned, dataset) for planned in plan]
    observer.plan_started(title, len(plan), sum(works))
    runs, failures = {}, []
    for number, (planned, work) in enumerate(zip(plan, works, strict=True)):
        observer.run_started(number, work, planned.recipe.num_steps(len(dataset.train)))
        path = directory / planned.name
        try:
            runs[planned.name] = _one(planned, dataset, path, data_dir, execution, observer)
        except TrainingError as error:
            failures.append(f"{planned.name}: {error}")
            observer.message(failures[-1])
        except Interrupted as error:
            raise Interrupted(
                f"{path}: stopped, saved. Try: the same command again, it goes on from here",
                signal_number=error.signal_number,
            ) from error
        observer.run_ended()
    if not runs:
        raise TrainingError(f"every run failed, the first one so: {failures[0]}")
    return Executed(runs, tuple(failures))


def _one(
    planned: PlannedRun,
    dataset: Dataset,
    path: Path,
    data_dir: str | Path | None,
    execution: Execution,
    observer: Observer,
) -> Run:
    if not (path / "run.json").exists():
        return train(
            planned.net,
            dataset,
            recipe=planned.recipe,
            out=path,
            seed=planned.seed,
            data_dir=data_dir,
            execution=execution,
            observer=observer,
        )
    run = Run.open(path)
    config = run.config
    asked = (planned.net, planned.seed, planned.recipe, dataset.fingerprint)
    if (config.net, config.seed, Recipe.from_json(config.recipe), config.data_fingerprint) != asked:
        raise InputError(f"{path}: was made with another recipe or other data. Try: another --out")
    return run if run.result is not None else resume(path, data=dataset, execution=execution, observer=observer)


def _work(planned: PlannedRun, dataset: Dataset) -> float:
    entry = catalog.entry(planned.net)
    size = planned.recipe.image_size or (min(dataset.image_size) if dataset.image_size else entry.input_size)
    images = planned.recipe.num_steps(len(dataset.train)) * planned.recipe.batch_size
    return float(entry.macs) * (size / entry.input_size) ** 2 * images
