"""`residuum.inspect`: from what a person names to an Inspection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from residuum.classifier import Classifier
from residuum.data.open import open_dataset
from residuum.data.source import Dataset
from residuum.inspection.inspect import Inspection, Watcher, chosen, inspect_subject
from residuum.inspection.subject import subject
from residuum.references import load
from residuum.run import Run


def inspect(
    model: str | Path | Classifier,
    images: str | Path | Sequence[str | Path] = (),
    data: str | Path | Dataset | None = None,
    *,
    only: Sequence[str] | None = None,
    samples: int = 512,
    seconds: float | None = None,
    watcher: Watcher | None = None,
) -> Inspection:
    """Look inside a model: filters, maps, why this class, what F(x) does, gradients, lesions, the loss around it.

        found = residuum.inspect("resnet20:cifar10", "photo.jpg", only=["anatomy", "cam"])
        found["anatomy"].state, found["anatomy"].found["blocks"]

    Args:
        model: a Classifier, or what `residuum.load` takes. An untrained net is the same each time.
        images: files, or folders of them; three of the data where there are none.
        data: what `residuum.open_dataset` takes, or a Dataset.
        only: names of parts, as of `residuum inspect --only`; all by default. Parts that lack images or data say so.
        samples: how many images of the data to use.
        seconds: for all parts together; None for no end. Parts that do not fit say so.
        watcher: who is told of the progress.

    Returns:
        What became of each part, and what it found: plain values and numpy arrays by name.

    Raises:
        InputError: the model, an image or the data cannot be read; an unknown part; no part has what it needs.
    """
    chosen(only)
    with seeded():
        classifier = model if isinstance(model, Classifier) else load(model)
    if isinstance(data, str | Path):
        data = open_dataset(data, channels=classifier.preprocessing.channels)
    files = [images] if isinstance(images, str | Path) else images
    records = [] if isinstance(model, Classifier) else history(model)
    looked_at = subject(classifier, files, data, samples=samples, history=records)
    return inspect_subject(looked_at, only, seconds=seconds, watcher=watcher)


def history(model: str | Path) -> list[dict[str, Any]]:
    """The records of a Run's epochs; none where the model reference is not a Run."""
    return Run.open(model).metrics() if Run.stands_at(model) else []


@contextmanager
def seeded(seed: int = 0) -> Iterator[None]:
    """What is drawn by chance on the CPU, such as the weights of an untrained net, is the same each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
