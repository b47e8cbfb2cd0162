"""The one preprocessing object: what stands between an image and a net, in training, evaluation and prediction.

It is saved with every Classifier, so that no two programs can differ about it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from residuum.data.decode import decoding_threads, resized_size, to_image
from residuum.data.source import ArrayImages, Images, Pixels, Reduction, reduced
from residuum.errors import InputError

Views = Literal["1", "10", "multi-scale"]
Interpolation = Literal["bilinear", "bicubic"]
SCALES = (224, 256, 384, 480, 640)  # He et al. 2015, section 3.4, for a crop of 224
STATISTICS_BATCH = 256
STATISTICS_PIXELS = STATISTICS_BATCH * 224**2  # that are float64 at a time, 294 MiB in colour
FLAT = 1e-3
SAMPLE_SIZE = 5000  # images that statistics of a folder are computed from


@dataclass(frozen=True, eq=False, kw_only=True)
class Preprocessing:
    """Resize the shorter side, crop the centre, subtract a mean, divide by a deviation.

    Attributes:
        channels: 3 for colour, 1 for grey.
        resize: pixels of the shorter side before cropping.
        crop: height and width of the crop, in pixels.
        mean, std: one value per channel, of pixels scaled to [0, 1].
        mean_image: `(H, W, C)` float32 to subtract instead of `mean`, where training used a per-pixel mean.
        interpolation: how images are resized; both with antialiasing, as PIL does it.
    """

    channels: int
    resize: int
    crop: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    mean_image: NDArray[np.float32] | None = None
    interpolation: Interpolation = "bilinear"

    def __post_init__(self) -> None:
        per_channel = {"mean": self.mean, "std": self.std}
        wrong = [name for name, values in per_channel.items() if len(values) != self.channels]
        if self.channels not in (1, 3) or wrong:
            raise InputError(f"preprocessing: needs 1 or 3 channels and as many values of mean and std, got {self}")
        if not all(map(math.isfinite, (*self.mean, *self.std))) or min(self.std) <= 0:
            raise InputError(f"preprocessing: mean must be finite and std above 0, got {self.mean} and {self.std}")
        if self.interpolation not in get_args(Interpolation):
            raise InputError(f"preprocessing: interpolation {self.interpolation!r} is not known. Try: bilinear")
        if min(self.crop) < 1 or self.resize < 1:
            raise InputError(f"preprocessing: sizes must be at least 1, got resize {self.resize}, crop {self.crop}")
        if self.mean_image is not None and self.mean_image.shape != (*self.crop, self.channels):
            expected = (*self.crop, self.channels)
            raise InputError(f"preprocessing: mean image is {self.mean_image.shape} (expected {expected})")

    def view(self, pixels: Pixels) -> Pixels:
        """The centre crop of an image, `crop` in size; `(H, W, C)` uint8 in and out."""
        return _centre(self.resized(pixels, self.covering(pixels, self.resize)), self.crop)

    def covering(self, pixels: Pixels, shorter_side: int) -> int:
        """`shorter_side`, or the least larger one at which the image covers a crop that is not square."""
        height, width = int(pixels.shape[0]), int(pixels.shape[1])
        needed = max(self.crop[0] * min(height, width) / height, self.crop[1] * min(height, width) / width)
        return max(shorter_side, math.ceil(needed))

    def resized(self, pixels: Pixels, shorter_side: int, part: tuple[int, int, int, int] | None = None) -> Pixels:
        """The image with its shorter side at `shorter_side` pixels, its shape kept.

        `part` is the only part of it that is needed: left, top, width and height after resizing. It is as if it
        were cut out of the whole, but for rounding: Pillow takes its edges in fp32 (seen: 4 % of values, by 1 or 2).
        """
        height, width = pixels.shape[:2]
        size = resized_size((width, height), shorter_side)
        left, top, part_width, part_height = part or (0, 0, *size)
        if min(height, width) == shorter_side:
            return pixels[top : top + part_height, left : left + part_width]
        x, y = width / size[0], height / size[1]
        right, bottom = (left + part_width) * x, (top + part_height) * y
        resized = to_image(pixels).resize(
            (part_width, part_height),
            Image.Resampling[self.interpolation.upper()],
            box=(left * x, top * y, min(right, width), min(bottom, height)) if part else None,
        )
        array: Pixels = np.asarray(resized, dtype=np.uint8)
        return array if array.ndim == 3 else array[:, :, None]

    def reduction(self, views: Views = "1") -> Reduction:
        """How much of an image is needed to evaluate it in these views."""
        scales = [_scale(scale, self.crop) for scale in SCALES] if views == "multi-scale" else []
        return Reduction(max(self.resize, *self.crop, *scales), faithful=True)

    def views(self, pixels: Pixels, kind: Views) -> Iterator[Pixels]:
        """The views of an image that are evaluated and averaged.

        `1`: the centre crop. `10`: four corners and the centre, with their mirror images (Krizhevsky 2012).
        `multi-scale`: the whole image at five scales (He et al. 2015, section 3.4), for a net that takes any size.

        Raises:
            InputError: ten crops of an image that is no larger than one crop.
        """
        if kind == "multi-scale":
            for scale in SCALES:
                yield self.resized(pixels, _scale(scale, self.crop))
        elif kind == "10":
            yield from self._ten(self.resized(pixels, self.covering(pixels, self.resize)))
        else:
            yield self.view(pixels)

    def _ten(self, pixels: Pixels) -> Iterator[Pixels]:
        height, width = self.crop
        bottom, right = pixels.shape[0] - height, pixels.shape[1] - width
        if bottom <= 0 and right <= 0:
            raise InputError(
                f"views: ten crops of {height}x{width} need a larger image, got {pixels.shape[0]}x{pixels.shape[1]}. "
                "Try: --views 1"
            )
        corners = [pixels[y : y + height, x : x + width] for y in (0, bottom) for x in (0, right)]
        for crop in (*corners, _centre(pixels, self.crop)):
            yield crop
            yield crop[:, ::-1]

    def normalise(self, batch: Tensor) -> Tensor:
        """`(N, H, W, C)` uint8 to `(N, C, H, W)` float32, channels last in memory."""
        height, width = batch.shape[1:3]
        mean = self.subtracted_mean(batch.device, (height, width))
        mean = mean.flatten(1) if mean.dim() == 3 else mean.repeat(width)
        std = torch.tensor(self.std, device=batch.device).repeat(width)
        rows = batch.flatten(2).to(torch.float32, copy=True)  # whole rows: loops over three channels are slow
        return rows.div_(255).sub_(mean).div_(std).view(batch.shape).permute(0, 3, 1, 2)

    def normalise_with(self, batch: Tensor, mean: Tensor) -> Tensor:
        """As `normalise`, with a mean that broadcasts over `(N, H, W, C)`."""
        std = torch.tensor(self.std, device=batch.device)
        return ((batch.float() / 255 - mean) / std).permute(0, 3, 1, 2)

    def subtracted_mean(self, device: torch.device, size: tuple[int, int]) -> Tensor:
        """The mean image where there is one of this size, else the mean of each channel."""
        if self.mean_image is not None and self.mean_image.shape[:2] == size:
            return torch.from_numpy(self.mean_image).to(device)
        return torch.tensor(self.mean, device=device)


def fit(
    images: Images,
    *,
    resize: int,
    crop: tuple[int, int],
    normalisation: Literal["pixel", "channel", "mean-only"],
) -> Preprocessing:
    """The preprocessing of a training set, its statistics computed from its images (of a folder: from up to 5,000).

    Args:
        images: training images only.
        resize, crop: as in `Preprocessing`.
        normalisation: `pixel` subtracts the mean image (He et al. 2015, section 4.2); `mean-only` the mean of each
            channel; `channel` also divides by each channel's standard deviation over all pixels.
    """
    channels = images.channels
    neutral = Preprocessing(channels=channels, resize=resize, crop=crop, mean=(0.0,) * channels, std=(1.0,) * channels)
    total = np.zeros((*crop, channels))
    squares = np.zeros(channels)
    chosen = np.linspace(0, len(images) - 1, min(len(images), _limit(images))).astype(int)
    images = reduced(images, neutral.reduction())
    with ThreadPoolExecutor(decoding_threads()) as pool:
        for indices in _pieces(chosen, STATISTICS_BATCH):
            of_piece, of_images = np.zeros_like(total), []
            for few in _pieces(indices, max(1, STATISTICS_PIXELS // (crop[0] * crop[1]))):
                views = [*pool.map(lambda index: neutral.view(images.load(index)), few)]
                pixels = np.stack(views).astype(np.float64)
                pixels /= 255
                for each in pixels:  # one after another, so that no bit depends on how many are taken at a time
                    of_piece += each
                of_images.append(np.square(pixels, out=pixels).mean(axis=(1, 2)))
            total += of_piece
            squares += np.concatenate(of_images).sum(axis=0)
    mean_image = total / len(chosen)
    mean = mean_image.mean(axis=(0, 1))
    std = np.sqrt(np.maximum(squares / len(chosen) - mean**2, 0))
    std[std < FLAT] = 1  # a channel that is constant in training is left at its scale
    return Preprocessing(
        channels=channels,
        resize=resize,
        crop=crop,
        mean=tuple(mean.tolist()),
        std=tuple(std.tolist()) if normalisation == "channel" else (1.0,) * channels,
        mean_image=mean_image.astype(np.float32) if normalisation == "pixel" else None,
    )


def _pieces(indices: NDArray[np.int64], most: int) -> list[NDArray[np.int64]]:
    """The indices in as few parts of at most that length as there can be, all about as long."""
    return np.array_split(indices, -(-len(indices) // most))


def _limit(images: Images) -> int:
    return len(images) if isinstance(images, ArrayImages) else SAMPLE_SIZE


def _scale(scale: int, crop: tuple[int, int]) -> int:
    """One of `SCALES` for a net of this crop."""
    return round(scale * min(crop) / 224)


def _centre(pixels: Pixels, crop: tuple[int, int]) -> Pixels:
    height, width = crop
    top, left = round((pixels.shape[0] - height) / 2), round((pixels.shape[1] - width) / 2)
    return pixels[top : top + height, left : left + width]
