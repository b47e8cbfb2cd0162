"""How many trainings may run at once, and what part of the machine each of them gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from residuum.costing.count import cost
from residuum.data.decode import decoding_threads
from residuum.data.source import Dataset
from residuum.errors import InputError
from residuum.nets import catalog
from residuum.plans.plan import PlannedRun
from residuum.training.prepare import choose_device
from residuum.training.recipe import Execution, Recipe

MAX_SIDE_BY_SIDE = 64
PROCESS_BYTES = 2**30  # of a GPU: context and libraries of a process, and images kept there
SLACK = 1.25  # what the allocator and the kernels take beyond a step's own tensors
USABLE = 0.9  # of the memory that is free: others may come


def require_side_by_side(most: int | None) -> None:
    """Check the most trainings at once that somebody asks for.

    Raises:
        InputError: no such number of trainings can run at once.
    """
    if most is not None and not 1 <= most <= MAX_SIDE_BY_SIDE:
        near = 1 if most < 1 else MAX_SIDE_BY_SIDE
        raise InputError(f"side_by_side: must be at least 1 and at most {MAX_SIDE_BY_SIDE}, got {most}. Try: {near}")


def how_many(device: torch.device, step_bytes: int, most: int | None) -> int:
    """Trainings that may run at once.

    Args:
        device: where all of them run.
        step_bytes: the most that a training step holds, as `residuum.cost` predicts it.
        most: never more than this; None for 1 on a CPU, and on a GPU for what its free memory and the processor cores,
            one for each process, allow.
    """
    if device.type != "cuda":
        return most or 1
    free, _ = torch.cuda.mem_get_info(device)
    fit = int(USABLE * free / (SLACK * step_bytes + PROCESS_BYTES))
    return max(1, min(fit, most or decoding_threads()))


def how_many_of(
    plan: Sequence[PlannedRun],
    dataset: Dataset,
    execution: Execution,
    most: int | None,
    crop: tuple[int, int] | None = None,
) -> int:
    """Trainings of a plan that may run at once, by the one that needs most memory; 1 for an empty plan.

    `crop` is the size of images where it is fixed.
    """
    device = choose_device(execution.device)
    largest = 0
    if device.type == "cuda" and most != 1:
        kinds = {(each.net, each.recipe) for each in plan}
        largest = max((step_bytes(net, recipe, dataset, crop) for net, recipe in kinds), default=0)
    return max(1, min(len(plan), how_many(device, largest, most)))


def divided(execution: Execution, at_once: int) -> Execution:
    """The threads of each of so many processes; as it was for one."""
    if at_once == 1:
        return execution
    threads = execution.threads or torch.get_num_threads()
    workers = execution.workers or decoding_threads()
    return replace(execution, threads=max(1, threads // at_once), workers=max(1, workers // at_once))


def step_bytes(net: str, recipe: Recipe, dataset: Dataset, crop: tuple[int, int] | None = None) -> int:
    """The most that a training step holds, by `residuum.cost`; `crop` is the size of images where it is fixed."""
    side = catalog.entry(net).input_size
    own = crop or dataset.image_size or (side, side)
    size = (recipe.image_size, recipe.image_size) if recipe.image_size else own
    with torch.device("meta"):
        module = catalog.net(net, num_classes=len(dataset.class_names), in_channels=dataset.channels)
    return cost(module, (dataset.channels, *size), batch=recipe.batch_size).memory.training_peak
