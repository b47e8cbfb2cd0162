"""What is done to training images only. Every draw is a pure function of (seed, position in the sample order), or, for
the alternating mirror, of (seed, image, epoch).

`CropFlip` works on a whole batch of one size: pad, random crop, random mirror image (He et al. 2015, section 4.2).
`ScaleCropFlip` works on one image of any size: random scale, random crop, mirror image (section 3.4), and shifts
colours along the principal components of the training set (Krizhevsky et al. 2012, section 4.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from residuum.data.decode import resized_size
from residuum.data.preprocess import Preprocessing
from residuum.data.source import Images, Pixels
from residuum.errors import InputError

PCA_IMAGES = 500
PCA_STD = 0.1
MIRROR_KEY = 2**64 - 1  # beside the seed, of the first mirrors; other draws have 0 or the number of an epoch there


@dataclass(frozen=True, kw_only=True)
class CropFlip:
    """Pad each side by `pad` zeros, crop at random to the old size, mirror half of all.

    The zeros come after the mean is subtracted, as in He et al. 2015, section 4.2. With `flip="alternating"` chance
    decides for each image in the first epoch, and from then on it is mirrored in every other epoch: two epochs show
    both forms of each image, where chance shows half of them one form twice (Jordan 2024, "94% on CIFAR-10 in 3.29
    Seconds on a Single GPU", section 3.6).
    """

    kind: Literal["crop-flip"] = "crop-flip"
    pad: int = 4
    flip: bool | Literal["alternating"] = True

    def __post_init__(self) -> None:
        if self.pad < 0:
            raise InputError(f"pad: must be at least 0, got {self.pad}. Try: 4")
        if self.flip not in (True, False, "alternating"):
            raise InputError(f"flip: must be true, false or alternating, got {self.flip!r}. Try: true")


@dataclass(frozen=True, kw_only=True)
class ScaleCropFlip:
    """Shorter side drawn between `smallest` and `largest` pixels, a random crop of it, mirror half of all.

    `colour_std` is the deviation of the random factors of the colour shift, 0.1 in the paper; 0 leaves colours alone.
    """

    kind: Literal["scale-crop-flip"] = "scale-crop-flip"
    smallest: int = 256
    largest: int = 480
    flip: bool = True
    colour_std: float = PCA_STD

    def __post_init__(self) -> None:
        if not 1 <= self.smallest <= self.largest:
            raise InputError(
                f"smallest, largest: must rise from 1, got {self.smallest} and {self.largest}. Try: 256, 480"
            )
        if not self.colour_std >= 0:
            raise InputError(f"colour_std: must be at least 0, got {self.colour_std}. Try: {PCA_STD}")


Augmentation = CropFlip | ScaleCropFlip


def random_words(seed: int, start: int, count: int) -> NDArray[np.uint64]:
    """Four random 64-bit words for each of the positions `start` to `start + count`, `(count, 4)`.

    A Philox counter block for each position, so that position p has the same words in whatever batch it comes.
    """
    generator = np.random.Philox(key=seed, counter=start)
    words: NDArray[np.uint64] = generator.random_raw(4 * count).reshape(count, 4)
    return words


def alternating_mirror(seed: int, num_images: int, images: NDArray[np.int64], start: int) -> NDArray[np.uint64]:
    """Whether the images at positions `start` and on are mirrored in an alternating way: 1 or 0 for each, `(count,)`.

    Args:
        seed: of the coin that each image gets for the first epoch.
        num_images: of the set, so that an epoch has so many positions.
        images: their indices, `(count,)`.
        start: position of the first.
    """
    epochs = np.arange(start, start + len(images), dtype=np.uint64) // np.uint64(num_images)
    mirrored: NDArray[np.uint64] = (_first_mirrors(seed, num_images)[images] + epochs) & np.uint64(1)
    return mirrored


@lru_cache(maxsize=4)
def _first_mirrors(seed: int, num_images: int) -> NDArray[np.uint64]:
    """A coin for each image, the same in a larger set."""
    coins: NDArray[np.uint64] = np.random.Philox(key=np.array([seed, MIRROR_KEY], np.uint64)).random_raw(num_images)
    return coins & np.uint64(1)


def crop_flip(batch: Tensor, words: NDArray[np.uint64], augmentation: CropFlip, preprocessing: Preprocessing) -> Tensor:
    """Normalise and augment a batch at once: `(N, H, W, C)` uint8 to `(N, C, H, W)` float32.

    Of an image's four `words` two draw the crop, and the last bit of the third says whether it is mirrored. Each output
    pixel is gathered from where it comes from; pixels from outside the image become zeros after normalisation, so that
    no padded copy is made.
    """
    count, height, width, _ = batch.shape
    pad, device = augmentation.pad, batch.device
    offsets = (words[:, :2] % np.uint64(2 * pad + 1)).astype(np.int64) - pad
    rows = np.arange(height)[None] + offsets[:, :1]
    columns = np.arange(width)[None] + offsets[:, 1:]
    if augmentation.flip:
        mirrored = (words[:, 2] & np.uint64(1)).astype(bool)
        columns[mirrored] = columns[mirrored, ::-1]
    inside = torch.from_numpy(
        ((rows >= 0) & (rows < height))[:, :, None, None] & ((columns >= 0) & (columns < width))[:, None, :, None]
    ).to(device)
    y = torch.from_numpy(rows.clip(0, height - 1)).to(device)[:, :, None]
    x = torch.from_numpy(columns.clip(0, width - 1)).to(device)[:, None, :]
    gathered = batch[torch.arange(count, device=device)[:, None, None], y, x]
    mean = preprocessing.subtracted_mean(device, (height, width))
    if mean.dim() == 3:
        mean = mean[y, x]
    std = torch.tensor(preprocessing.std, device=device)
    normalised = (gathered.float() / 255 - mean) / std * inside
    return normalised.permute(0, 3, 1, 2)


def scale_crop_flip(
    pixels: Pixels, words: NDArray[np.uint64], augmentation: ScaleCropFlip, preprocessing: Preprocessing
) -> Pixels:
    """Augment one image of any size: `(H, W, C)` to `(crop, crop, C)`, uint8. `words` are the position's four.

    Only the part that the crop shows is resized.
    """
    span = augmentation.largest - augmentation.smallest + 1
    shorter_side = augmentation.smallest + int(words[0] % np.uint64(span))
    height, width = preprocessing.crop
    shorter_side = preprocessing.covering(pixels, shorter_side)
    whole_width, whole_height = resized_size((pixels.shape[1], pixels.shape[0]), shorter_side)
    top = int(words[1] % np.uint64(whole_height - height + 1))
    left = int(words[2] % np.uint64(whole_width - width + 1))
    crop = preprocessing.resized(pixels, shorter_side, (left, top, width, height))
    return crop[:, ::-1] if augmentation.flip and int(words[3]) & 1 else crop


@dataclass(frozen=True, eq=False)
class ColourComponents:
    """Principal components of a training set's colours, each times its eigenvalue: `(3, 3)`, one in a row.

    Pixels are scaled to [0, 1], the unit in which the paper's formula makes small shifts.
    """

    components: NDArray[np.float32]

    def shift(self, batch: Tensor, seed: int, start: int, std: float, preprocessing: Preprocessing) -> Tensor:
        """Add to every image of a normalised batch `(N, 3, H, W)` one random colour, drawn for its position."""
        words = random_words(seed ^ 0x5EED, start, len(batch))
        uniform = (words.astype(np.float64) + 0.5) / 2.0**64
        radius = np.sqrt(-2 * np.log(uniform[:, :2]))
        angle = 2 * np.pi * uniform[:, 2:]
        normal = np.concatenate([radius * np.cos(angle), radius[:, :1] * np.sin(angle[:, :1])], axis=1)
        colours = (std * normal @ self.components / np.asarray(preprocessing.std)).astype(np.float32)
        return batch + torch.from_numpy(colours).to(batch.device)[:, :, None, None]


def colour_components(images: Images, preprocessing: Preprocessing) -> ColourComponents:
    """The colour components of a training set.

    Differs from the paper: computed from up to 500 images, evenly spread over the set, not from all.
    """
    chosen = np.linspace(0, len(images) - 1, min(len(images), PCA_IMAGES)).astype(int)
    pixels = np.concatenate([preprocessing.view(images.load(index)).reshape(-1, 3)[::37] for index in chosen]) / 255.0
    values, vectors = np.linalg.eigh(np.cov(pixels.T))
    return ColourComponents((vectors * np.maximum(values, 0)).T.astype(np.float32))
