"""The trainings of a plan: finished ones are reused, interrupted ones go on, failed ones are recorded."""

from __future__ import annotations

from pathlib import Path

from residuum.data.source import Dataset
from residuum.errors import Interrupted, TrainingError
from residuum.plans.plan import Executed, Failure, OnEnd, Plan, PlannedRun, PlanObserver, begun, unheard, work_of
from residuum.run import Run
from residuum.training.observer import Observer
from residuum.training.prepare import choose_device
from residuum.training.recipe import Execution
from residuum.training.start import resume, train


def execute_one_by_one(
    plan: Plan, *, execution: Execution, observer: PlanObserver, on_end: OnEnd = unheard
) -> Executed:
    """Make every training of a plan that is not yet made, one after another.

    Args:
        plan: the trainings.
        execution: device, threads, how often to save.
        observer: who is told of the progress.
        on_end: called after each training, with what came of the plan so far.

    Raises:
        InputError: a Run stands there that was made with another recipe or other data.
        StorageError: the disk is full, read-only or failing.
        Interrupted: stopped by a signal, saved before; the same call goes on.
        TrainingError: not one of the trainings reached its end.
    """
    plan = plan.decided(choose_device(execution.device))
    works = [work_of(planned, plan.dataset) for planned in plan.trainings]
    observer.plan_started(plan.title, len(works), sum(works))
    runs: dict[str, Run] = {}
    failures: list[Failure] = []
    for number, (planned, work) in enumerate(zip(plan.trainings, works, strict=True)):
        observer.run_started(number, work, planned.recipe.num_steps(len(plan.dataset.train)))
        path = plan.path(planned)
        try:
            runs[planned.name] = make(planned, plan.dataset, path, plan.data_dir, execution, observer)
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
