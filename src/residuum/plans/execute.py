"""Make what a plan consists of, in the way that was chosen."""

from __future__ import annotations

from residuum.plans.one_by_one import execute_one_by_one
from residuum.plans.plan import Executed, OnEnd, Plan, PlanObserver
from residuum.plans.side_by_side import execute_side_by_side
from residuum.training.recipe import Execution


def execute(plan: Plan, at_once: int, *, execution: Execution, observer: PlanObserver, on_end: OnEnd) -> Executed:
    """Make every training that is not yet made; up to `at_once` at a time, of which `execution` is that of each.

    Raises:
        InputError, StorageError, Interrupted, TrainingError: as `execute_one_by_one`.
    """
    if at_once == 1:
        return execute_one_by_one(plan, execution=execution, observer=observer, on_end=on_end)
    return execute_side_by_side(plan, at_once, execution=execution, observer=observer, on_end=on_end)
