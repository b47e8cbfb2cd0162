"""What somebody asks a training for: net, weights, data and recipe, looked up by their names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from residuum.classifier import Classifier
from residuum.data.open import open_dataset
from residuum.data.source import Dataset
from residuum.errors import InputError
from residuum.training.observer import Observer
from residuum.training.precision import resolved
from residuum.training.prepare import net_name, net_size
from residuum.training.recipe import Recipe
from residuum.training.recipes import default_recipe, fast_cifar_recipe, finetune_recipe
from residuum.training.recipes import recipe as named_recipe
from residuum.training.schedules import StepDecay
from residuum.training.transfer import Origin, find_origin


@dataclass(frozen=True, eq=False)
class Asked:
    """What a training is of, its names looked up.

    Attributes:
        net: to be trained.
        origin: weights to start from.
        dataset: to be trained on.
        recipe: whole, nothing in it left to the device.
        precision_left_open: its precision was, and has been decided here.
    """

    net: str | nn.Module
    origin: Origin | None
    dataset: Dataset
    recipe: Recipe
    precision_left_open: bool = False

    def with_precision_of(self, other: Recipe) -> Asked:
        """The same as another training has begun, where the precision was left open."""
        if not self.precision_left_open:
            return self
        return replace(self, recipe=replace(self.recipe, precision=other.precision))


def look_up(
    net: str | Path | nn.Module | Classifier,
    data: str | Path | Dataset,
    *,
    recipe: str | Recipe | None,
    changes: Mapping[str, Any] | None,
    data_dir: str | Path | None,
    device: torch.device,
    observer: Observer,
) -> Asked:
    """What these arguments of `train` stand for; what the recipe leaves to the device is decided.

    Raises:
        InputError: net, data or recipe cannot be used.
    """
    origin = find_origin(net, observer)
    named = origin.net_name if origin else net
    assert isinstance(named, str | nn.Module)
    fast = recipe == "fast_cifar"
    recipe = _known_recipe(recipe, net_name(named), origin)
    channels = origin.classifier.preprocessing.channels if origin else 3
    dataset = data if isinstance(data, Dataset) else open_data(data, data_dir, observer, channels=channels)
    if fast:
        recipe = fast_cifar_recipe(dataset, net_name(named), net_size(named))
    recipe = recipe or default_recipe(dataset, net_name(named), net_size(named))
    recipe = _fitting(recipe.changed(changes or {}, dataset=dataset), net, origin)
    _tell_late_milestones(recipe, dataset, observer)
    return Asked(named, origin, dataset, resolved(recipe, device), precision_left_open=recipe.precision == "auto")


def _tell_late_milestones(recipe: Recipe, dataset: Dataset, observer: Observer) -> None:
    """Say where the learning rate would fall only after the end, as in a recipe cut short without its data."""
    steps = recipe.num_steps(recipe.num_images(dataset))
    late = [m for m in recipe.schedule.milestones if m >= steps] if isinstance(recipe.schedule, StepDecay) else []
    if late:
        observer.message(
            f"note milestones {', '.join(f'{each:,}' for each in late)} of the schedule lie beyond the last of "
            f"{steps:,} updates, so the learning rate stays high. Try: the recipe at its own length and the new one in "
            "the changes of train, which move them"
        )


def _known_recipe(recipe: str | Recipe | None, name: str, origin: Origin | None) -> Recipe | None:
    """The recipe asked for, as it is for this net; None where the data are to choose.

    Raises:
        InputError: there is none of that name.
    """
    if origin is not None and recipe in (None, "finetune"):
        return finetune_recipe(origin.classifier.preprocessing, name)
    return named_recipe(recipe, name) if isinstance(recipe, str) else recipe


def _fitting(recipe: Recipe, net: object, origin: Origin | None) -> Recipe:
    """The recipe, once it is clear that it suits a net with or without weights.

    Raises:
        InputError: it keeps what an untrained net has not learned.
    """
    if origin is not None:
        return replace(recipe, zero_init_residual=False)  # which would wipe out what was learned
    if isinstance(net, nn.Module):
        return recipe
    for told, kept in (
        ("recipe: finetune is for weights", recipe.name == "finetune"),
        ("trunk_rate: 0 keeps all but the last layer", recipe.trunk_rate == 0),
        (f"batch_norm: {recipe.batch_norm} is for weights", recipe.batch_norm != "trained"),
    ):
        if kept:
            raise InputError(f"{told}, and {net} is untrained. Try: a model with weights, such as resnet18:imagenet")
    return recipe


def open_data(data: str | Path, data_dir: str | Path | None, observer: Observer, *, channels: int = 3) -> Dataset:
    """Open a data set and tell an observer of the progress and of every file that is skipped.

    Raises:
        InputError: as `residuum.open_dataset`.
    """
    dataset = open_dataset(
        data,
        data_dir=Path(data_dir) if data_dir is not None else None,
        channels=channels,
        on_bytes=lambda name, done, total: observer.evaluating(f"download {name}", done, total or 0),
        on_progress=lambda done, total: observer.evaluating("reading images", done, total),
    )
    for one in dataset.skipped:
        observer.message(f"skipped {one.path}: {one.reason}")
    for remark in dataset.remarks:
        observer.message(f"note {remark}")
    return dataset
