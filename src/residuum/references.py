"""A model reference, the one string every command takes, and what it stands for.

resnet50             a net of the catalog, untrained
runs/my-run          a Run: its final Classifier
my-classifier        a Classifier directory
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import nn

from residuum.classifier import Classifier
from residuum.data.preprocess import Preprocessing
from residuum.errors import InputError, nearest
from residuum.nets import catalog
from residuum.run import Run
from residuum.weights.load import load_weights
from residuum.weights.store import digest


def load(reference: str | Path, *, net: nn.Module | None = None) -> Classifier:
    """The Classifier a model reference stands for, on the CPU, in eval mode.

    Args:
        reference: a Run directory, a Classifier directory, or the name of a net (untrained).
        net: an instance of your own class, where the directory holds weights of one.

    Raises:
        InputError: it stands for nothing; the Run is not finished; the directory is damaged.
    """
    path, name = Path(reference), str(reference)
    if os.path.isdir(name):  # false, not an error, for what cannot be a path
        if (path / "run.json").exists():
            return Run.open(path).classifier(net=net)
        return Classifier.load(path, net=net)
    if name in catalog.CATALOG:
        return untrained(name)
    if os.path.exists(name):
        raise InputError(f"{path}: is a file (expected a Run or Classifier directory). Try: its directory")
    net_name, colon, tag = name.partition(":")
    if colon and net_name in catalog.CATALOG:
        raise InputError(f"model: no weights called {tag!r} are known for {net_name}. Try: {net_name}, untrained")
    raise InputError(
        f"model: {name!r} is neither a directory nor a net. Try: a Run directory, or {nearest(name, catalog.CATALOG)}"
    )


def untrained(name: str) -> Classifier:
    """A Classifier of an untrained net: right in shape, at chance in what it says."""
    entry = catalog.entry(name)
    size = entry.input_size
    return Classifier(
        net=catalog.net(name).eval(),
        net_name=name,
        preprocessing=Preprocessing(
            channels=entry.in_channels,
            resize=round(size * 256 / 224) if size >= 64 else size,
            crop=(size, size),
            mean=(0.5,) * entry.in_channels,
            std=(0.25,) * entry.in_channels,
        ),
        class_names=tuple(f"class {index}" for index in range(entry.num_classes)),
        card={"weights": "untrained"},
    )


def build(
    name: str, *, weights: str | Path | None = None, num_classes: int | None = None, in_channels: int | None = None
) -> nn.Module:
    """A net of the catalog, untrained or with the weights of a file.

    Args:
        name: `resnet50`, `plain56`, ...
        weights: None for untrained, or the path of a weight file: safetensors, or what `torch.save` wrote of a state
            dict.
        num_classes: outputs; that of the paper by default.
        in_channels: channels of the image; that of the paper by default.

    Raises:
        InputError: no such net, or the file cannot be read or does not fit.
    """
    net = catalog.net(name, num_classes=num_classes, in_channels=in_channels)
    if weights is not None:
        load_weights(net, weights)
    return net


class NetBuilder(Protocol):
    """A net of the catalog as a function."""

    def __call__(
        self, *, weights: str | Path | None = None, num_classes: int | None = None, in_channels: int | None = None
    ) -> nn.Module:
        """The net, untrained or with the weights of a file; see `build`."""


def builder(name: str) -> NetBuilder:
    """The function `residuum.<name>`."""

    def build_net(
        *, weights: str | Path | None = None, num_classes: int | None = None, in_channels: int | None = None
    ) -> nn.Module:
        return build(name, weights=weights, num_classes=num_classes, in_channels=in_channels)

    entry = catalog.entry(name)
    build_net.__name__ = build_net.__qualname__ = name
    build_net.__doc__ = (
        f"{name}: {entry.parameters:,} parameters, {entry.macs:,} multiply-adds on a {entry.input_size}-pixel square "
        f"({entry.published.place}).\n\n{build.__doc__}"
    )
    return build_net


def import_weights(
    net_name: str, weights: str | Path, *, preprocessing: Preprocessing, class_names: Sequence[str]
) -> Classifier:
    """A Classifier of weights that somebody else trained.

    Args:
        net_name: the net of the catalog they belong to.
        weights: a safetensors file, or what `torch.save` wrote of a state dict; nothing in it is executed.
        preprocessing: as they were trained with.
        class_names: by output.

    Raises:
        InputError: the file cannot be read, or does not fit the net.
    """
    net = build(net_name, weights=weights, num_classes=len(class_names), in_channels=preprocessing.channels)
    card = {"weights": Path(weights).name, "weights_sha256": digest(net.state_dict())}
    return Classifier(
        net=net.eval(),
        net_name=net_name,
        preprocessing=preprocessing,
        class_names=tuple(class_names),
        card=card,
    )


@dataclass(frozen=True, eq=False)
class Skeleton:
    """The net a model reference stands for, for counting and drawing.

    Attributes:
        net: on the meta device where it is one of the catalog.
        input_shape: channels, height and width of the images it is made for.
        entry: its line of the catalog, where it has one.
    """

    net: nn.Module
    input_shape: tuple[int, int, int]
    entry: catalog.Entry | None


def skeleton(reference: str | Path) -> Skeleton:
    """The net of a model reference; one of the catalog is built without allocating its weights.

    Raises:
        InputError: as `load`.
    """
    name = str(reference)
    if name in catalog.CATALOG and not os.path.isdir(reference):
        entry = catalog.entry(name)
        with torch.device("meta"):
            return Skeleton(entry.build(), entry.input_shape, entry)
    classifier = load(reference)
    preprocessing = classifier.preprocessing
    return Skeleton(
        classifier.net, (preprocessing.channels, *preprocessing.crop), catalog.CATALOG.get(classifier.net_name)
    )
