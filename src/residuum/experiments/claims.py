"""The claims that can be reproduced, by name."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from residuum.errors import unknown
from residuum.experiments.degradation import degradation
from residuum.experiments.plan import PlanObserver
from residuum.records.finding import Finding
from residuum.training.recipe import Execution


class Experiment(Protocol):
    """What an experiment takes: see `residuum.experiments.degradation.degradation`."""

    def __call__(
        self,
        data: str | Path = "digits",
        *,
        seeds: int = 3,
        depths: tuple[int, int] | None = None,
        budget: str | None = None,
        out: str | Path | None = None,
        data_dir: str | Path | None = None,
        execution: Execution | None = None,
        observer: PlanObserver | None = None,
    ) -> Finding: ...


CLAIMS: dict[str, Experiment] = {"degradation": degradation}


def reproduce(
    claim: str,
    data: str | Path = "digits",
    *,
    seeds: int = 3,
    depths: tuple[int, int] | None = None,
    budget: str | None = None,
    out: str | Path | None = None,
    data_dir: str | Path | None = None,
    execution: Execution | None = None,
    observer: PlanObserver | None = None,
) -> Finding:
    """Reproduce a published claim: train what it is about, measure, judge by a rule fixed beforehand.

    Args:
        claim: `degradation`.
        data: `digits`, `cifar10`, another named set, or an image folder.
        seeds: trainings of each net.
        depths: the shallow and the deep net; those of the paper by default.
        budget: `quick`, `short` or `paper`, as far as the data has them.
        out: where runs, Finding and report go; finished runs found there are reused.
        data_dir: where the files of a named set lie.
        execution: device and threads.
        observer: who is told of the progress; nobody by default.

    Returns:
        The Finding: published value, measured mean and standard deviation, verdict.

    Raises:
        InputError: there is no such claim, or an argument cannot be used.
        Interrupted: stopped by a signal; the same call goes on from there.
        TrainingError: not one training reached its end.
        StorageError: the disk is full, read-only or failing.
    """
    if claim not in CLAIMS:
        raise unknown("claim", claim, CLAIMS)
    return CLAIMS[claim](
        data,
        seeds=seeds,
        depths=depths,
        budget=budget,
        out=out,
        data_dir=data_dir,
        execution=execution,
        observer=observer,
    )
