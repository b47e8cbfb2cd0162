"""Batches for training and evaluation.

Training takes its images from one endless sequence: the permutation of epoch 0, then of epoch 1, and so on. Batch k
is the positions k B to (k + 1) B of it, so batches are always full, and order and augmentation of each position are a
pure function of (seed, position): a resumed run continues with the batch it would have seen. Evaluation takes each
image once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from residuum.data.augment import (
    Augmentation,
    CropFlip,
    ScaleCropFlip,
    colour_components,
    crop_flip,
    random_words,
    scale_crop_flip,
)
from residuum.data.preprocess import Preprocessing
from residuum.data.source import ArrayImages, Split

PREFETCHED_BATCHES = 2


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
        workers: threads that decode a folder's images; they change nothing but the speed.
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
        workers: int,
    ) -> None:
        self.split, self.preprocessing, self.augmentation = split, preprocessing, augmentation
        self.batch_size, self.seed, self.device, self.workers = batch_size, seed, device, workers
        self.array = None
        one_size = isinstance(split.images, ArrayImages) and _fits(split.images, preprocessing)
        if one_size and not isinstance(augmentation, ScaleCropFlip):
            self.array = torch.from_numpy(split.images.array).to(device)  # type: ignore[attr-defined]
        coloured = isinstance(augmentation, ScaleCropFlip) and augmentation.colour_std and preprocessing.channels == 3
        self.colours = colour_components(split.images, preprocessing) if coloured else None

    def iterate(self, start_step: int, stop_step: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of steps `start_step` to `stop_step`."""
        if self.array is not None:
            for step in range(start_step, stop_step):
                yield self._from_array(self.array, step)
            return
        with ThreadPoolExecutor(self.workers) as pool:
            steps = iter(range(start_step, stop_step))
            pending = deque((step, self._submit(pool, step)) for step in islice(steps, PREFETCHED_BATCHES))
            try:
                while pending:
                    step, futures = pending.popleft()
                    pending.extend((later, self._submit(pool, later)) for later in islice(steps, 1))
                    yield self._collect(step, futures)
            finally:
                pool.shutdown(cancel_futures=True)

    def _positions(self, step: int) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
        start = step * self.batch_size
        order = sample_order(len(self.split), self.seed, start, self.batch_size)
        return order, random_words(self.seed, start, self.batch_size)

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

    def _submit(self, pool: ThreadPoolExecutor, step: int) -> list[Future[NDArray[np.uint8]]]:
        order, words = self._positions(step)
        return [pool.submit(self._one, int(index), own) for index, own in zip(order, words, strict=True)]

    def _one(self, index: int, words: NDArray[np.uint64]) -> NDArray[np.uint8]:
        pixels = self.split.images.load(index)
        if isinstance(self.augmentation, ScaleCropFlip):
            return scale_crop_flip(pixels, words, self.augmentation, self.preprocessing)
        return self.preprocessing.view(pixels)

    def _collect(self, step: int, futures: list[Future[NDArray[np.uint8]]]) -> tuple[Tensor, Tensor]:
        batch = torch.from_numpy(np.stack([future.result() for future in futures])).to(self.device)
        order, words = self._positions(step)
        if isinstance(self.augmentation, CropFlip):
            return crop_flip(batch, words, self.augmentation, self.preprocessing), self._labels(order)
        images = self.preprocessing.normalise(batch)
        if self.colours is not None and isinstance(self.augmentation, ScaleCropFlip):
            std, start = self.augmentation.colour_std, step * self.batch_size
            images = self.colours.shift(images, self.seed, start, std, self.preprocessing)
        return images, self._labels(order)


def evaluation_batches(
    split: Split, preprocessing: Preprocessing, *, batch_size: int, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """Every image of a split once, in order, as `(images, labels)`; the last batch may be smaller."""
    labels = torch.from_numpy(split.labels)
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(split), batch_size):
            indices = range(start, min(start + batch_size, len(split)))
            if isinstance(split.images, ArrayImages) and _fits(split.images, preprocessing):
                pixels = split.images.array[start : indices.stop]
            else:
                pixels = np.stack([*pool.map(lambda i: preprocessing.view(split.images.load(i)), indices)])
            yield preprocessing.normalise(torch.from_numpy(pixels).to(device)), labels[start : indices.stop].to(device)


def _fits(images: ArrayImages, preprocessing: Preprocessing) -> bool:
    return tuple(images.array.shape[1:3]) == preprocessing.crop and min(preprocessing.crop) == preprocessing.resize
