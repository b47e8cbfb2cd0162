"""Weights to start a training from: found, fitted to other classes and images, and taken into the net."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from residuum import references
from residuum.classifier import Classifier
from residuum.data.batches import epoch_permutation, evaluation_batches
from residuum.data.preprocess import Preprocessing
from residuum.data.source import Dataset
from residuum.errors import InputError
from residuum.nets import catalog
from residuum.run import Start
from residuum.training import batch_norm
from residuum.training.observer import Observer
from residuum.training.parts import head_names
from residuum.training.prepare import Prepared
from residuum.training.recipe import Recipe
from residuum.weights.store import digest

ESTIMATION_IMAGES = 512  # that statistics of batch normalisation are computed from
ESTIMATION_BATCH = 32


@dataclass(frozen=True, eq=False)
class Origin:
    """Where a training starts: a Classifier, and what it was called."""

    model: str
    classifier: Classifier

    @property
    def net_name(self) -> str:
        return self.classifier.net_name

    @property
    def licence(self) -> str | None:
        """Of the weights, by their card or by that of the weights they started from."""
        card = self.classifier.card
        for holder in (card, card.get("start")):
            if isinstance(holder, dict) and isinstance(holder.get("licence"), str):
                return str(holder["licence"])
        return None


def find_origin(net: str | Path | nn.Module | Classifier, observer: Observer) -> Origin | None:
    """The weights that the first argument of `train` stands for; None for an untrained net and for a module.

    Raises:
        InputError: there is no such net or model, it is untrained, or its net is not of the catalog, so that it cannot
            be rebuilt.
    """
    if isinstance(net, Classifier):
        origin = Origin(net.net_name, net)
    elif isinstance(net, nn.Module) or (isinstance(net, str) and catalog.knows(net)):
        return None
    else:
        name = str(net)
        if not (isinstance(net, Path) or ":" in name or os.sep in name or os.path.exists(name)):
            catalog.entry(name)  # says which name is nearest
        model = str(Path(name).resolve()) if os.path.exists(name) else name
        classifier = references.load(
            net, on_bytes=lambda done, total: observer.evaluating(f"download {name}", done, total or 0)
        )
        origin = Origin(model, classifier)
    if origin.classifier.card.get("weights") == "untrained":
        raise InputError(
            f"net: {origin.model} is untrained, there is nothing to go on from. Try: the name {origin.net_name} alone"
        )
    if not catalog.knows(origin.net_name):
        raise InputError(
            f"net: {origin.net_name} is not of the catalog, so it cannot be built for other classes. "
            "Try: residuum.train with the module itself"
        )
    return origin


def own_preprocessing(origin: Origin, recipe: Recipe, observer: Observer) -> Preprocessing:
    """The preprocessing of the weights; at the recipe's image size where it names another."""
    own = origin.classifier.preprocessing
    if recipe.image_size is None or own.crop == (recipe.image_size, recipe.image_size):
        return own
    size = (recipe.image_size, recipe.image_size)
    resize = round(own.resize * recipe.image_size / min(own.crop))
    text = f"images of {size[0]}x{size[1]} pixels in place of the {own.crop[0]}x{own.crop[1]} of the weights"
    if own.mean_image is not None:
        text += "; their mean colour is subtracted in place of their mean image"
    observer.message(text)
    return replace(own, resize=resize, crop=size, mean_image=None)


def require_channels(origin: Origin, dataset: Dataset) -> None:
    """Refuse images of other channels than the weights were trained with.

    Raises:
        InputError: they are.
    """
    expected = origin.classifier.preprocessing.channels
    if dataset.channels != expected:
        kinds = {1: "grey, 1 channel", 3: "in colour, 3 channels"}
        raise InputError(
            f"data: the images of {dataset.name} are {kinds[dataset.channels]} "
            f"(expected {kinds[expected]}, as the weights of {origin.net_name} were trained). "
            f"Try: {origin.net_name}, untrained"
        )


def take_weights(prepared: Prepared, origin: Origin, observer: Observer) -> Start:
    """Take the weights of `origin` into the new net of `prepared`, all but the last layer unless its classes are equal.

    Raises:
        InputError: the weights are not of this net.
    """
    was, now = origin.classifier.class_names, prepared.dataset.class_names
    state = origin.classifier.net.state_dict()
    sha256 = digest(state)
    new_head = was != now
    own = prepared.net.state_dict()
    left = head_names(origin.net_name, len(now), prepared.dataset.channels) if new_head else frozenset()
    shapes, theirs = ({name: each.shape for name, each in one.items() if name not in left} for one in (own, state))
    wrong = sorted(name for name, _ in shapes.items() ^ theirs.items())
    if wrong:
        raise InputError(f"{origin.model}: its {wrong[0]} does not fit {origin.net_name}. Try: another model")
    prepared.net.load_state_dict(own | {name: state[name] for name in shapes})
    if not new_head:
        observer.message(f"the last layer is kept: its {len(now):,} classes are those of the data")
    elif len(was) != len(now):
        observer.message(f"new last layer: {len(now):,} classes in place of {len(was):,}")
    else:
        kind = "in another order" if set(was) == set(now) else "of other names"
        observer.message(f"new last layer: {len(now):,} classes in place of {len(was):,} {kind}")
    settle_statistics(prepared, observer)
    return Start(model=origin.model, weights_sha256=sha256, new_head=new_head, licence=origin.licence)


def settle_statistics(prepared: Prepared, observer: Observer) -> None:
    """Statistics of batch normalisation as the recipe wants them before the first step."""
    net, recipe = prepared.net, prepared.recipe
    how, frozen_trunk = recipe.batch_norm, recipe.trunk_rate == 0
    if batch_norm.is_folded(net):
        if how == "frozen" or (how == "trained" and frozen_trunk):
            observer.message("these weights have no statistics of batch normalisation (means 0, variances 1); kept so")
            return
        batch_norm.unfold(net, _images(prepared))
        observer.message(
            "these weights had no statistics of batch normalisation (means 0, variances 1): computed from training "
            "images, scale and shift changed so that the net answers as before"
        )
    elif how == "re-estimated" and batch_norm.layers(net):
        batch_norm.re_estimate(net, _images(prepared))
        observer.message("statistics of batch normalisation computed anew from training images")


def _images(prepared: Prepared) -> Iterator[Tensor]:
    """Training images in a drawn order, preprocessed as for evaluation, in batches of one size."""
    train = prepared.dataset.train
    count = min(len(train), ESTIMATION_IMAGES)
    count -= count % min(ESTIMATION_BATCH, count)
    chosen = np.asarray(epoch_permutation(len(train), prepared.seed, 0)[:count], dtype=np.int64)
    for images, _ in evaluation_batches(
        train.subset(chosen), prepared.preprocessing, batch_size=ESTIMATION_BATCH, device=prepared.device
    ):
        yield images
