"""Batches for training and evaluation.

Training takes its images from one endless sequence: the permutation of epoch 0, then of epoch 1, and so on. Batch k
is the positions k B to (k + 1) B of it, so batches are always full, and order and augmentation of each position are a
pure function of (seed, position), whatever B is: a resumed run continues with the batch it would have seen. Evaluation
takes each image once.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from residuum.data.augment import (
    Augmentation,
    CropFlip,
    ScaleCropFlip,
    alternating_mirror,
    colour_components,
    crop_flip,
    random_words,
    scale_crop_flip,
)
from residuum.data.decode import decoding_threads
from residuum.data.preprocess import Preprocessing
from residuum.data.source import ArrayImages, Pixels, Reduction, Split, reduced

PREFETCHED_BATCHES = 2
Item = TypeVar("Item")
Begun = TypeVar("Begun")


def sample_order(num_images: int, seed: int, start: int, count: int) -> NDArray[np.int64]:
    """Image indices at positions `start` to `start + count` of the endless sequence of epoch permutations."""
    order = np.empty(count, dtype=np.int64)
    filled = 0
    while filled < count:
        epoch, offset = divmod(start + filled, num_images)
        part = epoch_permutation(num_images, seed, epoch)[offset : offset + count - filled]
        order[filled : filled + len(part)] = part
        filled += len(part)
    return order


@lru_cache(maxsize=4)
def epoch_permutation(num_images: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The order of all images in one epoch."""
    return np.random.Generator(np.random.Philox(key=[seed, epoch + 1])).permutation(num_images)


class TrainingBatches:
    """Training batches by step: `(images, labels)`, `(N, C, H, W)` float32 and `(N,)` int64 on `device`.

    Args:
        split: what to train on.
        preprocessing: of the net.
        augmentation: what is done at random, or None; `ScaleCropFlip` for images of any size.
        batch_size: images in a batch.
        seed: of order and augmentation.
        device: where the batches shall lie. A set that is one array is moved there once.
        workers: threads that decode a folder's images; they change nothing but the speed. None for one for each CPU.

    Attributes:
        waited: seconds that `iterate` made its caller wait so far: until images were decoded, and for what is done to
            a batch before it is handed out. On a GPU only the part that the CPU takes in it.
    """

    def __init__(
        self,
        split: Split,
        preprocessing: Preprocessing,
        augmentation: Augmentation | None,
        *,
        batch_size: int,
        seed: int,
        device: torch.device,
        workers: int | None = None,
    ) -> None:
        self.split, self.preprocessing, self.augmentation = split, preprocessing, augmentation
        self.batch_size, self.seed, self.device = batch_size, seed, device
        self.workers = workers or decoding_threads()
        self.waited = 0.0
        self.images = reduced(split.images, training_reduction(preprocessing, augmentation))
        self.array = None
        one_size = isinstance(split.images, ArrayImages) and _fits(split.images, preprocessing)
        if one_size and not isinstance(augmentation, ScaleCropFlip):
            self.array = torch.from_numpy(split.images.array).to(device)  # type: ignore[attr-defined]
        coloured = isinstance(augmentation, ScaleCropFlip) and augmentation.colour_std and preprocessing.channels == 3
        self.colours = colour_components(self.images, preprocessing) if coloured else None

    def iterate(self, start_step: int, stop_step: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of steps `start_step` to `stop_step`."""
        batches = self._batches(range(start_step, stop_step))
        try:
            while True:
                began = time.monotonic()
                batch = next(batches, None)
                self.waited += time.monotonic() - began
                if batch is None:
                    return
                yield batch
        finally:
            batches.close()

    def _batches(self, steps: Iterable[int]) -> Generator[tuple[Tensor, Tensor], None, None]:
        if self.array is not None:
            for step in steps:
                yield self._from_array(self.array, step)
            return
        with ThreadPoolExecutor(self.workers) as pool:
            try:
                for begun in ahead(steps, lambda step: self._begin(pool, step)):
                    yield self._finish(begun)
            finally:
                pool.shutdown(cancel_futures=True)

    def _positions(self, step: int) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
        start = step * self.batch_size
        order = sample_order(len(self.split), self.seed, start, self.batch_size)
        words = random_words(self.seed, start, self.batch_size)
        if isinstance(self.augmentation, CropFlip) and self.augmentation.flip == "alternating":
            words[:, 2] = alternating_mirror(self.seed, len(self.split), order, start)
        return order, words

    def _labels(self, order: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(self.split.labels[order]).to(self.device, non_blocking=True)

    def _from_array(self, array: Tensor, step: int) -> tuple[Tensor, Tensor]:
        order, words = self._positions(step)
        batch = array[torch.from_numpy(order).to(self.device)]
        if isinstance(self.augmentation, CropFlip):
            images = crop_flip(batch, words, self.augmentation, self.preprocessing)
        else:
            images = self.preprocessing.normalise(batch)
        return images, self._labels(order)

    def _begin(self, pool: ThreadPoolExecutor, step: int) -> _Drawn:
        order, words = self._positions(step)

        def one(row: int) -> Pixels:
            pixels = self.images.load(int(order[row]))
            if isinstance(self.augmentation, ScaleCropFlip):
                return scale_crop_flip(pixels, words[row], self.augmentation, self.preprocessing)
            return self.preprocessing.view(pixels)

        return _Drawn(step, order, words, _Decoding.start(pool, one, len(order), self.preprocessing, self.device))

    def _finish(self, begun: _Drawn) -> tuple[Tensor, Tensor]:
        batch = begun.decoding.wait().to(self.device, non_blocking=True)
        if isinstance(self.augmentation, CropFlip):
            return crop_flip(batch, begun.words, self.augmentation, self.preprocessing), self._labels(begun.order)
        images = self.preprocessing.normalise(batch)
        if self.colours is not None and isinstance(self.augmentation, ScaleCropFlip):
            std, start = self.augmentation.colour_std, begun.step * self.batch_size
            images = self.colours.shift(images, self.seed, start, std, self.preprocessing)
        return images, self._labels(begun.order)


def evaluation_batches(
    split: Split, preprocessing: Preprocessing, *, batch_size: int, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """Every image of a split once, in order, as `(images, labels)`; the last batch may be smaller.

    The images of the next batches are decoded while the caller works on one.
    """
    labels = torch.from_numpy(split.labels)
    starts = range(0, len(split), batch_size)
    if isinstance(split.images, ArrayImages) and _fits(split.images, preprocessing):
        for start in starts:
            pixels = torch.from_numpy(split.images.array[start : start + batch_size])
            yield preprocessing.normalise(pixels.to(device)), labels[start : start + batch_size].to(device)
        return
    images = reduced(split.images, preprocessing.reduction())

    def decode(start: int) -> tuple[int, _Decoding]:
        count = min(batch_size, len(split) - start)
        return start, _Decoding.start(
            pool, lambda row: preprocessing.view(images.load(start + row)), count, preprocessing, device
        )

    with ThreadPoolExecutor(decoding_threads()) as pool:
        try:
            for start, decoding in ahead(starts, decode):
                batch = decoding.wait().to(device, non_blocking=True)
                yield preprocessing.normalise(batch), labels[start : start + len(batch)].to(device)
        finally:
            pool.shutdown(cancel_futures=True)


def training_reduction(preprocessing: Preprocessing, augmentation: Augmentation | None) -> Reduction:
    """How much of an image is needed to train on it: as much as the largest size that may be drawn."""
    side = augmentation.largest if isinstance(augmentation, ScaleCropFlip) else preprocessing.resize
    return Reduction(max(side, *preprocessing.crop))


@dataclass(frozen=True, eq=False)
class _Decoding:
    """A batch `(N, H, W, C)` uint8 whose rows threads are filling."""

    batch: Tensor
    rows: list[Future[None]]

    @staticmethod
    def start(
        pool: ThreadPoolExecutor,
        one: Callable[[int], Pixels],
        count: int,
        preprocessing: Preprocessing,
        device: torch.device,
    ) -> _Decoding:
        """Begin to fill `count` rows, each with what `one` makes of its number."""
        shape = (count, *preprocessing.crop, preprocessing.channels)
        batch = torch.empty(shape, dtype=torch.uint8, pin_memory=device.type == "cuda")
        pixels = batch.numpy()

        def fill(row: int) -> None:
            pixels[row] = one(row)

        return _Decoding(batch, [pool.submit(fill, row) for row in range(count)])

    def wait(self) -> Tensor:
        """The batch, once it is full."""
        for row in self.rows:
            row.result()
        return self.batch


@dataclass(frozen=True, eq=False)
class _Drawn:
    """A training batch whose images are being decoded: its step, the images in it, and their random words."""

    step: int
    order: NDArray[np.int64]
    words: NDArray[np.uint64]
    decoding: _Decoding


def ahead(items: Iterable[Item], begin: Callable[[Item], Begun], *, more: int = PREFETCHED_BATCHES) -> Iterator[Begun]:
    """What `begin` starts for each item, in order; `more` of them are started before one is handed out."""
    rest = iter(items)
    begun = deque(begin(item) for item in islice(rest, more))
    while begun:
        first = begun.popleft()
        begun.extend(begin(item) for item in islice(rest, 1))
        yield first


def _fits(images: ArrayImages, preprocessing: Preprocessing) -> bool:
    return tuple(images.array.shape[1:3]) == preprocessing.crop and min(preprocessing.crop) == preprocessing.resize
