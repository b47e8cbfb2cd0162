"""Metrics of a callable on a split: each image once, in one crop, ten crops or several scales.

The figures do not depend on batch size or order of work: correct answers are counted, losses added up in double
precision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from residuum.calibration import Reliability
from residuum.data.batches import evaluation_batches
from residuum.data.preprocess import Preprocessing, Views
from residuum.data.source import Pixels, Split, reduced
from residuum.errors import InputError
from residuum.files.memory import memory_stays

Logits = Callable[[Tensor], Tensor]
OnImages = Callable[[int, int], None]
MIN_CLASSES_FOR_TOP5 = 10


@dataclass(frozen=True, eq=False, kw_only=True)
class Metrics:
    """What a net does on a split.

    Attributes:
        num_images: images counted.
        loss: mean cross-entropy, in nats.
        top1, top5: shares of images whose class is first, or among the first five; `top5` is None below ten classes.
        confusion: `(K, K)` counts, true class in the row, answer in the column.
        ece: expected calibration error, in 15 bins (Guo et al. 2017): by how much the probability of an answer differs
            from the share of such answers that are right.
    """

    num_images: int
    loss: float
    top1: float
    top5: float | None
    confusion: NDArray[np.int64]
    ece: float

    @property
    def error(self) -> float:
        """Share of images answered wrongly."""
        return (self.num_images - int(self.confusion.trace())) / self.num_images

    def per_class(self, class_names: tuple[str, ...]) -> list[dict[str, Any]]:
        """For each class: images, recall (right among its images), precision (right among its answers)."""
        right = self.confusion.diagonal()
        images, answers = self.confusion.sum(axis=1), self.confusion.sum(axis=0)
        return [
            {
                "class": name,
                "images": int(images[k]),
                "recall": float(right[k] / images[k]) if images[k] else None,
                "precision": float(right[k] / answers[k]) if answers[k] else None,
            }
            for k, name in enumerate(class_names)
        ]

    def to_json(self) -> dict[str, object]:
        """Plain JSON values, without the confusion matrix."""
        return {
            "num_images": self.num_images,
            "loss": self.loss,
            "top1": self.top1,
            "top5": self.top5,
            "error": self.error,
            "ece": self.ece,
        }


class _Tally:
    """Adds up answers batch by batch."""

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self.images, self.loss, self.top5 = 0, 0.0, 0
        self.confusion = np.zeros((num_classes, num_classes), dtype=np.int64)
        self.reliability: Reliability | None = None

    def add(self, log_probabilities: Tensor, labels: Tensor) -> None:
        count = len(labels)
        self.images += count
        self.loss += float(functional.nll_loss(log_probabilities.double(), labels, reduction="sum"))
        if self.num_classes >= MIN_CLASSES_FOR_TOP5:
            first_five = log_probabilities.topk(5, dim=1).indices
            self.top5 += int((first_five == labels[:, None]).sum())
        seen = Reliability.of(log_probabilities, labels)
        self.reliability = self.reliability + seen if self.reliability is not None else seen
        pairs = (labels * self.num_classes + log_probabilities.argmax(dim=1)).cpu().numpy()
        self.confusion += np.bincount(pairs, minlength=self.num_classes**2).reshape(self.confusion.shape)

    def metrics(self) -> Metrics:
        assert self.reliability is not None
        return Metrics(
            num_images=self.images,
            loss=self.loss / self.images,
            top1=int(self.confusion.trace()) / self.images,
            top5=self.top5 / self.images if self.num_classes >= MIN_CLASSES_FOR_TOP5 else None,
            confusion=self.confusion,
            ece=self.reliability.expected_error,
        )


@torch.no_grad()
def evaluate(
    logits: Logits,
    split: Split,
    preprocessing: Preprocessing,
    *,
    num_classes: int,
    views: Views = "1",
    batch_size: int = 256,
    device: torch.device | None = None,
    on_images: OnImages = lambda done, total: None,
) -> Metrics:
    """Evaluate a callable on every image of a split, once.

    Args:
        logits: images `(N, C, H, W)` on `device` to logits `(N, num_classes)`; a net must be in eval mode.
        split: images and labels.
        preprocessing: of the net.
        num_classes: outputs of the callable.
        views: what is shown of each image; probabilities of several views are averaged.
        batch_size: images at a time; of no influence on the figures beyond rounding.
        device: where the batches shall lie; the CPU by default.
        on_images: called with images done and in all.

    Raises:
        InputError: an image cannot be read, or is too small for ten crops; a label has no output; `batch_size` is
            below 1.
    """
    device = device or torch.device("cpu")
    if batch_size < 1:
        raise InputError(f"batch_size: must be at least 1, got {batch_size}. Try: 256")
    if split.labels.min() < 0 or split.labels.max() >= num_classes:
        raise InputError(f"data: {split.name} has labels up to {split.labels.max()} (expected below {num_classes})")
    tally = _Tally(num_classes)
    with repeatable(device), memory_stays():
        if views == "1":
            for images, labels in evaluation_batches(split, preprocessing, batch_size=batch_size, device=device):
                tally.add(functional.log_softmax(logits(images).float(), dim=1), labels)
                on_images(tally.images, len(split))
            return tally.metrics()
        at_once = max(1, batch_size // 32)
        decoded = reduced(split.images, preprocessing.reduction(views))
        for start in range(0, len(split), at_once):
            indices = range(start, min(start + at_once, len(split)))
            shown = [list(preprocessing.views(decoded.load(index), views)) for index in indices]
            probabilities = mean_probabilities(logits, shown, preprocessing, device)
            tally.add(probabilities.log(), torch.from_numpy(split.labels[start : indices.stop]).to(device))
            on_images(tally.images, len(split))
    return tally.metrics()


@torch.no_grad()
def collect(
    logits: Logits,
    split: Split,
    preprocessing: Preprocessing,
    *,
    batch_size: int = 256,
    device: torch.device,
    on_images: OnImages = lambda done, total: None,
) -> tuple[Tensor, Tensor]:
    """Logits `(N, K)` and labels `(N,)` of a whole split, in one view each, on the CPU."""
    answers, truth = [], []
    with repeatable(device), memory_stays():
        for images, labels in evaluation_batches(split, preprocessing, batch_size=batch_size, device=device):
            answers.append(logits(images).float().cpu())
            truth.append(labels.cpu())
            on_images(sum(map(len, truth)), len(split))
    return torch.cat(answers), torch.cat(truth)


@torch.no_grad()
def mean_probabilities(
    logits: Logits, views: Sequence[Sequence[Pixels]], preprocessing: Preprocessing, device: torch.device
) -> Tensor:
    """Class probabilities `(N, K)` of N images, each averaged over its views `(H, W, C)`, which may differ in size.

    Views of one size run as one batch.
    """
    by_size: dict[tuple[int, ...], list[tuple[int, Pixels]]] = {}
    for index, own in enumerate(views):
        for view in own:
            by_size.setdefault(view.shape, []).append((index, view))
    total: Tensor | None = None
    for group in by_size.values():
        owners = torch.tensor([index for index, _ in group], device=device)
        batch = torch.from_numpy(np.stack([view for _, view in group])).to(device)
        with repeatable(device):
            probabilities = functional.softmax(logits(preprocessing.normalise(batch)).double(), dim=1)
        if total is None:
            total = torch.zeros(len(views), probabilities.shape[1], dtype=torch.float64, device=device)
        total.index_add_(0, owners, probabilities)
    if total is None:
        raise ValueError("views: at least one is needed, got none")
    return total / torch.tensor([len(own) for own in views], device=device)[:, None]


@contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """On a GPU: the same convolution algorithms every time, in full fp32. A CPU has nothing to set."""
    if device.type != "cuda":
        yield
        return
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        yield
