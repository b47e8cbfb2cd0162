"""How many epochs fit into some minutes on this machine: a few steps are made and thrown away, and timed."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

from residuum.data.source import Dataset
from residuum.errors import InputError, Interrupted
from residuum.nets import catalog
from residuum.training.observer import Silent
from residuum.training.prepare import OWN_NET_SIZE, net_size
from residuum.training.recipe import Execution, Recipe
from residuum.training.recipes import preset
from residuum.training.start import train

WARM_UP, TIMED = 4, 12  # steps
SHARE = 0.93  # of the minutes that goes into steps; the rest is for the start, evaluations and checkpoints


class _Watch(Silent):
    """Notes when each step was made."""

    def __init__(self) -> None:
        self.at: list[float] = []

    def stepped(self, step: int, loss: float) -> None:
        self.at.append(time.perf_counter())


def within(minutes: float, net: str | Path, dataset: Dataset, recipe: Recipe, execution: Execution) -> Recipe:
    """The recipe with as many epochs as fit, to a tenth; a long one as its presets have it (`recipes.PRESETS`).

    Raises:
        InputError: `minutes` is not above 0, or too few for a tenth of an epoch.
        Interrupted: stopped by a signal while steps were timed.
        TrainingError: as `train`.
    """
    if not 0 < minutes < float("inf"):
        raise InputError(f"minutes: must be above 0, got {minutes:g}. Try: --minutes 10")
    step = seconds_of_a_step(net, dataset, recipe, execution)
    name = str(net).partition(":")[0]
    known = name if catalog.knows(name) else ""
    side = recipe.image_size or min(dataset.image_size or (net_size(known) if known else OWN_NET_SIZE,))
    images = recipe.num_images(dataset)

    def epochs_of(one: Recipe) -> float:
        return SHARE * 60 * minutes / (step * mean_area(one, side)) * one.batch_size / images

    recipe = preset(recipe, side, epochs_of(replace(recipe, growing=())))
    epochs = int(10 * epochs_of(recipe)) / 10
    if not epochs:
        an_epoch = minutes / epochs_of(recipe)
        raise InputError(f"minutes: {minutes:g} are too few, an epoch takes {an_epoch:.2g} here. Try: --epochs 1")
    return recipe.changed({"epochs": epochs}, dataset=dataset)


def mean_area(recipe: Recipe, side: int) -> float:
    """Mean number of pixels of an image over the steps, as a share of those at the full `side`."""
    area, begun = 0.0, 0.0
    for until, small in recipe.growing:
        area += (until - begun) * (small / side) ** 2
        begun = until
    return area + 1 - begun


def seconds_of_a_step(net: str | Path, dataset: Dataset, recipe: Recipe, execution: Execution) -> float:
    """Median time of a step at the full size of the images, data path included.

    Raises:
        Interrupted: stopped by a signal.
        InputError, TrainingError, StorageError: as `train`.
    """
    watch = _Watch()
    few = recipe.changed({"steps": WARM_UP + TIMED, "growing": (), "holdout": 0.0})
    alone = replace(dataset, val=None, test=None)
    with tempfile.TemporaryDirectory() as scratch:
        try:
            train(net, alone, recipe=few, out=Path(scratch) / "run", execution=execution, observer=watch)
        except Interrupted as error:
            raise Interrupted(
                "minutes: stopped while steps were timed, nothing was begun. Try: the same command again",
                signal_number=error.signal_number,
            ) from error
    taken = [later - earlier for earlier, later in zip(watch.at, watch.at[1:], strict=False)]
    return median(taken[WARM_UP:])
