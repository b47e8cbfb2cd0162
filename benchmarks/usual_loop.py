"""The data path of the usual loop: a file or array at a time through PIL transforms, torchvision's where it is there.

Where torchvision cannot be imported, `Chain` and the functions below make the same PIL calls.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import Dataset

Transform = Callable[[Image.Image], Tensor]


def without_torchvision_operators() -> None:
    """Let torchvision be imported beside a torch for which its compiled operators were not built."""
    original = torch.library.register_fake

    def register(operator: Any, *arguments: Any, **options: Any) -> Any:
        if isinstance(operator, str) and operator.startswith("torchvision::"):
            return lambda function: function
        return original(operator, *arguments, **options)

    torch.library.register_fake = register


def torchvision_transforms() -> Any:
    """The module `torchvision.transforms`, or None where it cannot be imported."""
    without_torchvision_operators()
    try:
        from torchvision import transforms
    except (ImportError, RuntimeError, OSError):
        return None
    return transforms


class Photos(Dataset[tuple[Tensor, int]]):
    """Images from what `load` opens, transformed one by one as is usual."""

    def __init__(
        self, sources: Sequence[Any], labels: Sequence[int], load: Callable[[Any], Image.Image], transform: Transform
    ) -> None:
        self.sources, self.labels, self.load, self.transform = sources, labels, load, transform

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(self.load(self.sources[index])), int(self.labels[index])


def opened(path: str | Path) -> Image.Image:
    """A file as RGB."""
    with Image.open(path) as image:
        return image.convert("RGB")


@dataclass(frozen=True)
class Chain:
    """One transform after the other, as `torchvision.transforms.Compose`."""

    steps: tuple[Callable[[Any], Any], ...]

    def __call__(self, image: Image.Image) -> Tensor:
        found: Any = image
        for step in self.steps:
            found = step(found)
        return found  # type: ignore[no-any-return]


def to_tensor(image: Image.Image) -> Tensor:
    """`(3, H, W)` float32 in [0, 1]."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float().div(255)


def normaliser(mean: Sequence[float], std: Sequence[float]) -> Callable[[Tensor], Tensor]:
    mean_of, std_of = (torch.tensor(values).view(3, 1, 1) for values in (mean, std))
    return lambda tensor: tensor.sub_(mean_of).div_(std_of)


def flipped(image: Image.Image) -> Image.Image:
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if random.random() < 0.5 else image


def padded_crop(side: int, pad: int) -> Callable[[Image.Image], Image.Image]:
    def crop(image: Image.Image) -> Image.Image:
        top, left = random.randint(0, 2 * pad), random.randint(0, 2 * pad)
        return ImageOps.expand(image, border=pad).crop((left, top, left + side, top + side))

    return crop


def resized_crop(side: int) -> Callable[[Image.Image], Image.Image]:
    """A rectangle of 8 to 100 % of the area, sides 3:4 to 4:3, as a square of `side` (Szegedy et al. 2014)."""

    def crop(image: Image.Image) -> Image.Image:
        width, height = image.size
        for _ in range(10):
            area = width * height * random.uniform(0.08, 1.0)
            ratio = math.exp(random.uniform(math.log(3 / 4), math.log(4 / 3)))
            wide, high = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < wide <= width and 0 < high <= height:
                left, top = random.randint(0, width - wide), random.randint(0, height - high)
                box = (left, top, left + wide, top + high)
                return image.resize((side, side), Image.Resampling.BILINEAR, box=box)
        return centre(side)(shorter_side(side)(image))

    return crop


def shorter_side(size: int) -> Callable[[Image.Image], Image.Image]:
    def resize(image: Image.Image) -> Image.Image:
        shorter = min(image.size)
        width, height = (size * each // shorter for each in image.size)
        return image.resize((width, height), Image.Resampling.BILINEAR)

    return resize


def centre(side: int) -> Callable[[Image.Image], Image.Image]:
    def crop(image: Image.Image) -> Image.Image:
        left, top = (round((each - side) / 2) for each in image.size)
        return image.crop((left, top, left + side, top + side))

    return crop
