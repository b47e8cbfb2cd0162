"""Settings on other data than digits, for claims whose nets or comparisons depend on kind of data and budget."""

from __future__ import annotations

import numpy as np

from residuum.data.source import ArrayImages, Dataset, Split
from residuum.experiments.setting import Setting

CLASSES = 10


def setting_of(kind: str, budget: str, seeds: int = 3) -> Setting:
    """A setting on images of a kind, all of them black: `colour` are called cifar10, a `folder` has no test split."""
    dataset = _cifar() if kind == "colour" else _folder()
    numbers = tuple(range(seeds))
    return Setting(budget=budget, data=dataset.name, dataset=dataset, seeds=numbers)  # type: ignore[arg-type]


def _cifar() -> Dataset:
    train, test = (_split(name, side=32) for name in ("train", "test"))
    return _dataset("cifar10", train, val=None, test=test, image_size=(32, 32))


def _folder() -> Dataset:
    train, val = (_split(name, side=64) for name in ("train", "val"))
    return _dataset("photographs", train, val=val, test=None, image_size=None)


def _split(name: str, side: int) -> Split:
    return Split(name, ArrayImages(np.zeros((CLASSES, side, side, 3), dtype=np.uint8)), np.arange(CLASSES))


def _dataset(name: str, train: Split, **named: object) -> Dataset:
    names = tuple(f"class {number}" for number in range(CLASSES))
    return Dataset(name=name, class_names=names, train=train, fingerprint=name, **named)  # type: ignore[arg-type]
