"""What every data set is: three splits of uint8 images with integer labels, and the names of the classes.

Images are `(H, W, C)` uint8, C = 3 for colour and 1 for grey. A small set is one array in memory; a folder decodes
its files when asked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from residuum.errors import InputError

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]
OnProgress = Callable[[int, int], None]  # done, in all

NAMES = ("digits", "cifar10", "cifar100", "mnist", "fashion-mnist")
FAITHFUL_MARGIN = 2


@dataclass(frozen=True)
class Reduction:
    """How much of an image is needed: what is beyond that need not be decoded, where the format allows to leave it out.

    Attributes:
        shorter_side: the largest size at which the image is shown, in pixels of its shorter side.
        faithful: keep at least twice as many, and only sizes from which the image comes out as large as from the whole,
            so that what is shown differs from the whole image's by few levels.
    """

    shorter_side: int
    faithful: bool = False

    def least(self) -> int:
        """Pixels that the shorter side keeps, where it has them."""
        return self.shorter_side * (FAITHFUL_MARGIN if self.faithful else 1)


class Images(Protocol):
    """Images by index."""

    @property
    def channels(self) -> int:
        """3 for colour, 1 for grey."""

    def __len__(self) -> int: ...

    def load(self, index: int) -> Pixels:
        """One image, `(H, W, C)` uint8."""

    def subset(self, indices: NDArray[np.int64]) -> Images:
        """The images at `indices`, in that order."""


@runtime_checkable
class ReducibleImages(Images, Protocol):
    """Images that can be decoded smaller than they are."""

    def reduced(self, reduction: Reduction) -> Images:
        """The same images, of which no more than this is needed; their pixels follow from image and need alone."""


def reduced(images: Images, reduction: Reduction) -> Images:
    """Images of which no more than this is needed, decoded smaller where that can be done."""
    return images.reduced(reduction) if isinstance(images, ReducibleImages) else images


@dataclass(frozen=True, eq=False)
class ArrayImages:
    """Images of one size in one array `(N, H, W, C)`."""

    array: Pixels

    @property
    def channels(self) -> int:
        return int(self.array.shape[3])

    def __len__(self) -> int:
        return len(self.array)

    def load(self, index: int) -> Pixels:
        pixels: Pixels = self.array[index]
        return pixels

    def subset(self, indices: NDArray[np.int64]) -> ArrayImages:
        return ArrayImages(self.array[indices])


@dataclass(frozen=True, eq=False)
class Split:
    """Images with their labels, `(N,)` indices into the class names; whole numbers of any type become int64.

    Raises:
        InputError: labels are not whole numbers, or not one for each image.
    """

    name: str
    images: Images
    labels: Labels

    def __post_init__(self) -> None:
        labels = np.asarray(self.labels)
        if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
            raise InputError(
                f"{self.name}: labels are {labels.dtype} of shape {labels.shape} (expected one whole number for each "
                'image). Try: labels.astype("int64")'
            )
        if len(labels) != len(self.images):
            raise InputError(
                f"{self.name}: has {len(labels):,} labels (expected {len(self.images):,}, one for each image). "
                "Try: as many labels as images"
            )
        object.__setattr__(self, "labels", labels.astype(np.int64, copy=False))

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, indices: NDArray[np.int64], name: str | None = None) -> Split:
        return Split(name or self.name, self.images.subset(indices), self.labels[indices])


@dataclass(frozen=True)
class Skipped:
    """A file that is not used, and why."""

    path: str
    reason: str


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set: what to train on, what to choose by, what to test on once.

    Attributes:
        name: `cifar10`, or the folder's whole path.
        class_names: name of each label, by index.
        train, val, test: the splits; `val` and `test` are None where the source has none.
        image_size: height and width all images share, or None for a folder.
        fingerprint: sha256 over the contents, to tell whether the data changed since a checkpoint.
        skipped: files that are not used, each with its reason.
        remarks: what is used, but looks odd enough for a person to look at.

    Raises:
        InputError: a split is empty, or has labels that no class name belongs to.
    """

    name: str
    class_names: tuple[str, ...]
    train: Split
    val: Split | None
    test: Split | None
    image_size: tuple[int, int] | None
    fingerprint: str
    skipped: tuple[Skipped, ...] = field(default=())
    remarks: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        classes = len(self.class_names)
        for name, split in self.splits().items():
            if not len(split):
                remedy = "at least one image of each class" if name == "train" else f"{name}=None"
                raise InputError(f"{self.name}: its {name} split has no images. Try: {remedy}")
            low, high = int(split.labels.min()), int(split.labels.max())
            if low < 0 or high >= classes:
                raise InputError(
                    f"{self.name}: labels of {name} reach from {low} to {high} (expected 0 to {classes - 1}, of "
                    f"{classes} class names). Try: labels that count from 0"
                )

    @property
    def channels(self) -> int:
        return self.train.images.channels

    @property
    def reference(self) -> str:
        """What opens the same data again from any working directory: the name of a set, or a folder's whole path."""
        return self.name if self.name in NAMES else str(Path(self.name).resolve())

    def with_train(self, indices: NDArray[np.int64]) -> Dataset:
        """This data set with only some of its training images, and a fingerprint of its own."""
        fingerprint = hashlib.sha256(self.fingerprint.encode() + indices.tobytes()).hexdigest()
        return replace(self, train=self.train.subset(indices), fingerprint=fingerprint)

    def limited(self, images: int) -> Dataset:
        """This data set with no more training images than that: always the same ones, each class as often as before."""
        if images >= len(self.train):
            return self
        part, _ = stratified(self.train.labels, (images, len(self.train) - images), seed=0)
        return self.with_train(part)

    def splits(self) -> dict[str, Split]:
        """The splits there are, by name."""
        named = {"train": self.train, "val": self.val, "test": self.test}
        return {name: split for name, split in named.items() if split is not None}

    def split(self, name: str) -> Split:
        """The split called `name`.

        Raises:
            InputError: this data set has none of that name.
        """
        splits = self.splits()
        if name not in splits:
            raise InputError(
                f"{self.name}: has no {name} split (it has {', '.join(splits)}). Try: --split {[*splits][-1]}"
            )
        return splits[name]


def stratified(labels: Labels, counts: Sequence[int], seed: int) -> list[NDArray[np.int64]]:
    """Divide indices into parts of exactly `counts` images, each with the class shares of the whole.

    scikit-learn's stratified split, applied once for each part; which images go where is drawn by `seed`.

    Raises:
        ValueError: `counts` do not add up to the number of labels, or a part is too small to hold every class.
    """
    from sklearn.model_selection import train_test_split

    if sum(counts) != len(labels):
        raise ValueError(f"counts: must add up to {len(labels)}, got {sum(counts)}")
    rest = np.arange(len(labels), dtype=np.int64)
    parts = []
    for count in reversed(counts[1:]):
        rest, part = train_test_split(rest, test_size=count, stratify=labels[rest], random_state=seed)
        parts.append(np.sort(part))
    return [np.sort(rest), *reversed(parts)]


def array_fingerprint(*splits: Split) -> str:
    """sha256 over the pixels and labels of splits that lie in memory."""
    digest = hashlib.sha256()
    for split in splits:
        if isinstance(split.images, ArrayImages):
            digest.update(split.images.array.tobytes())
        digest.update(split.labels.tobytes())
    return digest.hexdigest()
