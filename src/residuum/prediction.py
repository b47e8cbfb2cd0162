"""Many images to be classified: what may be given, how each is read and shown, and who does that beside the net.

`residuum.classifier` says what the net answers; here is how its images come to it and its answers come back in order.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from residuum.data.batches import ahead
from residuum.data.decode import SUFFIXES, decode, decode_image, decoding_threads, to_image, to_pixels
from residuum.data.preprocess import Preprocessing, Views
from residuum.data.source import Pixels
from residuum.errors import InputError
from residuum.files.memory import memory_stays
from residuum.inference import one_thread_each

PREDICT_BATCH = 32
PART_PIXELS = 8 * 224 * 224
PARTS_DECODED = 8  # ahead of the net, which takes about so long to be prepared
SHAPES = ((), (1,), (3,))  # of an array, after height and width
ImageLike = str | Path | bytes | Image.Image | np.ndarray[Any, Any]
Shown = tuple[str, list[Pixels]] | InputError  # an image's name and its views, or why it cannot be read


@dataclass(frozen=True)
class Prediction:
    """What a Classifier says of one image: the classes it finds most probable, best first."""

    source: str
    top: tuple[tuple[str, float], ...]

    @property
    def class_name(self) -> str:
        return self.top[0][0]

    @property
    def probability(self) -> float:
        return self.top[0][1]


Answered = Prediction | InputError
Answer = Callable[[Sequence[Shown]], list[Answered]]


@dataclass(frozen=True, eq=False)
class Looks:
    """Images that are to be classified, by number."""

    preprocessing: Preprocessing
    items: Sequence[ImageLike]
    kind: Views

    def is_held(self, number: int) -> bool:
        """Whether somebody holds it, so that no other thread than the caller's may touch it."""
        return not isinstance(self.items[number], str | Path | bytes)

    def of(self, number: int) -> Shown:
        """What a net is shown of it, or why it cannot be."""
        try:
            name, pixels = self._load(self.items[number], number)
            return name, list(self.preprocessing.views(pixels, self.kind))
        except InputError as error:
            return error

    def _load(self, item: ImageLike, number: int) -> tuple[str, Pixels]:
        channels, reduction = self.preprocessing.channels, self.preprocessing.reduction(self.kind)
        if isinstance(item, (str, Path)):
            return str(item), decode(Path(item), channels=channels, reduction=reduction)
        name = f"image {number}"
        if isinstance(item, bytes):
            return name, decode(item, channels=channels, name=name, reduction=reduction)
        if isinstance(item, Image.Image):
            return name, decode_image(item, channels=channels, name=name)
        array = np.asarray(item)
        if array.dtype != np.uint8 or not array.size or array.ndim not in (2, 3) or array.shape[2:] not in SHAPES:
            raise InputError(
                f"{name}: expected a uint8 array of shape (H, W), (H, W, 1) or (H, W, 3), "
                f"got {array.dtype} of shape {array.shape}. Try: one image at a time, channels last"
            )
        return name, to_pixels(to_image(array if array.ndim == 3 else array[:, :, None]), channels)


def in_parts(looks: Looks, answer: Answer) -> Generator[list[Answered], None, None]:
    """What the net says of each image: threads take a few images each and do all that is to be done for them.

    They never wait for each other, and what they say does not depend on how many they are. The first image alone
    prepares the net; until that is done, the first parts are decoded.
    """
    threads, size = torch.get_num_threads(), part_size(looks.preprocessing.crop, looks.kind)
    parts = _ranges(len(looks.items), size)

    def shown(numbers: range) -> Callable[[], list[Shown]]:
        held = {number: looks.of(number) for number in numbers if looks.is_held(number)}
        return lambda: [held.get(number) or looks.of(number) for number in numbers]

    def begin(numbers: range) -> Future[list[Answered]]:
        own = early.pop(numbers).result if numbers in early else shown(numbers)
        return pool.submit(lambda: answer(own()))

    with memory_stays(), one_thread_each(threads) as pool:
        early: dict[range, Future[list[Shown]]] = {}
        begin(range(1))
        early |= {numbers: pool.submit(shown(numbers)) for numbers in parts[:PARTS_DECODED]}
        for part in ahead(parts, begin, more=threads + 1):
            yield part.result()


def in_batches(looks: Looks, answer: Answer, device: torch.device) -> Generator[list[Answered], None, None]:
    """As `in_parts`, the net in the caller's thread alone.

    Images are decoded beside it where it leaves a CPU free. Where it does not, threads that decode would only slow
    down those of the net, which wait for each other.
    """

    def begin(numbers: range) -> list[Callable[[], Shown]]:
        return [begun(number) for number in numbers]

    def begun(number: int) -> Callable[[], Shown]:
        if not looks.is_held(number):
            return pool.submit(looks.of, number).result
        shown = looks.of(number)
        return lambda: shown

    beside = device.type != "cpu" or torch.get_num_threads() < decoding_threads()
    numbers = _ranges(len(looks.items), PREDICT_BATCH)
    with ThreadPoolExecutor(decoding_threads()) as pool:
        try:
            for batch in ahead(numbers, begin) if beside else map(begin, numbers):
                yield answer([wait() for wait in batch])
        finally:
            pool.shutdown(cancel_futures=True)


def part_size(crop: tuple[int, int], views: Views) -> int:
    """Images that one thread takes at a time: few, so that all end together and their maps stay in a cache."""
    return max(1, min(PREDICT_BATCH, PART_PIXELS // (crop[0] * crop[1]))) if views == "1" else 1


def _ranges(count: int, size: int) -> list[range]:
    return [range(start, min(start + size, count)) for start in range(0, count, size)]


def readable(answers: Sequence[Answered], on_unreadable: Callable[[InputError], None] | None) -> Iterator[Prediction]:
    """The answers, without the images that could not be read."""
    for each in answers:
        if isinstance(each, Prediction):
            yield each
        elif on_unreadable is None:
            raise each
        else:
            on_unreadable(each)


def expand(images: ImageLike | Iterable[ImageLike]) -> Sequence[ImageLike]:
    """Several images from what `predict` takes: folders become their images, sorted by path.

    Raises:
        InputError: a folder without images, or no image at all.
    """
    several = [images] if isinstance(images, (str, Path, bytes, Image.Image, np.ndarray)) else list(images)
    items: list[ImageLike] = []
    for item in several:
        if isinstance(item, (str, Path)) and Path(item).is_dir():
            found = sorted(path for path in Path(item).rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
            if not found:
                raise InputError(f"{item}: holds no image files. Try: a folder with {', '.join(sorted(SUFFIXES))}")
            items += found
        else:
            items.append(item)
    if not items:
        raise InputError("images: none were given. Try: a path to an image")
    return items
