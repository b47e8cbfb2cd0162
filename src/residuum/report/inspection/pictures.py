"""Pictures from arrays: filters, contact sheets of maps, heat laid over a photo, frames around what a value sees.

Everything is uint8 `(H, W, 3)` until `png` makes a file of it. Small things are enlarged by repeating pixels, so that
what a net sees is shown as it is; heat is interpolated, since it lies between the values of a coarse map.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Picture = NDArray[np.uint8]  # (H, W, 3)
Box = tuple[int, int, int, int]  # top, left, bottom, right; the last two are not part of it

HEAT, MAPS, SIGNED = "inferno", "viridis", "RdBu_r"  # colour maps: heat on a photo, maps, values around zero
PAPER = 255
GAP = 4
FRAME = (255, 64, 64)
STRENGTH = 0.65  # of the hottest place over the photo
CLIPPED = 0.995  # share of absolute values within the colours of a signed picture


def png(picture: Picture) -> bytes:
    """The picture as a PNG file."""
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "PNG", optimize=True)
    return stream.getvalue()


def as_colour(pixels: NDArray[np.uint8]) -> Picture:
    """`(H, W, 1)` or `(H, W, 3)` as `(H, W, 3)`."""
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels


def filter_tiles(kernels: NDArray[np.float32]) -> list[Picture]:
    """Filters `(K, C, h, w)` as pictures: in colour where C is 3, else the mean over C in grey.

    Each filter has its own scale, grey is zero.
    """
    return [_around_grey(kernel if len(kernel) == 3 else kernel.mean(axis=0, keepdims=True)) for kernel in kernels]


def _around_grey(values: NDArray[np.float32]) -> Picture:
    values = _finite(values)
    reach = max(float(np.abs(values).max()), 1e-12)
    return as_colour(np.rint((values / reach + 1) * 127.5).astype(np.uint8).transpose(1, 2, 0))


def map_tile(values: NDArray[np.float32], *, colours: str = MAPS) -> Picture:
    """A map `(h, w)` in colours from its smallest value to its largest; a constant one is dark."""
    values = _finite(values)
    low, high = float(values.min()), float(values.max())
    return coloured((values - low) / (high - low) if high > low else np.zeros_like(values), colours)


def signed_tile(values: NDArray[np.float32]) -> Picture:
    """Values `(h, w)` around zero: red above, blue below, white at zero."""
    values = _finite(values)
    reach = max(float(np.quantile(np.abs(values), CLIPPED)), 1e-12)
    return coloured(np.clip(values / reach, -1, 1) / 2 + 0.5, SIGNED)


def normalised_tile(image: NDArray[np.float32]) -> Picture:
    """An image `(C, H, W)` that was made, not taken: its mean in the middle, three deviations to either end."""
    image = _finite(image)
    mean, std = image.mean(), max(float(image.std()), 1e-12)
    scaled = np.clip((image - mean) / (6 * std) + 0.5, 0, 1)
    return as_colour(np.rint(scaled * 255).astype(np.uint8).transpose(1, 2, 0))


def coloured(shares: NDArray[np.floating], colours: str = HEAT) -> Picture:
    """Values from 0 to 1, `(H, W)`, in the colours of a matplotlib colour map."""
    rgba: Picture = mpl.colormaps[colours](shares, bytes=True)
    return np.ascontiguousarray(rgba[..., :3])


def overlaid(photo: Picture, heat: NDArray[np.float32]) -> Picture:
    """Heat `(H, W)` from 0 to 1 laid over a photo of the same size; where there is none the photo stays as it is."""
    share = (np.clip(_finite(heat), 0, 1) * STRENGTH)[..., None]
    laid: Picture = np.rint(photo * (1 - share) + coloured(_finite(heat)) * share).astype(np.uint8)
    return laid


def enlarged(picture: Picture, side: int) -> Picture:
    """The picture with each pixel repeated as often as its longer side stays within `side`; never made smaller."""
    times = max(1, side // max(picture.shape[:2]))
    return picture.repeat(times, axis=0).repeat(times, axis=1)


def enlarged_heat(heat: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Heat `(H, W)` interpolated to another shape."""
    if heat.shape == shape:
        return heat
    resized = Image.fromarray(_finite(heat).astype(np.float32)).resize(shape[::-1], Image.Resampling.BILINEAR)
    return np.asarray(resized, dtype=np.float32)


def framed(picture: Picture, box: Box, *, scale: int = 1) -> Picture:
    """The picture with a frame around a box; `scale` is by how much the picture was enlarged."""
    top, left, bottom, right = (max(edge, 0) * scale for edge in box)
    drawn = picture.copy()
    inside = drawn[top:bottom, left:right]
    width = max(1, round(max(picture.shape[:2]) / 110))
    inside[:width] = inside[-width:] = inside[:, :width] = inside[:, -width:] = FRAME
    return drawn


def contact_sheet(tiles: Sequence[Picture], *, columns: int, side: int) -> Picture:
    """Tiles in rows on white, each fitted into a square of `side` pixels without changing its shape.

    Raises:
        ValueError: there are none.
    """
    if not tiles:
        raise ValueError("tiles: must be at least one, got none")
    columns = min(columns, len(tiles))
    rows = -(-len(tiles) // columns)
    sheet = np.full((rows * (side + GAP) - GAP, columns * (side + GAP) - GAP, 3), PAPER, dtype=np.uint8)
    for index, tile in enumerate(tiles):
        fitted = _fitted(tile, side)
        top = index // columns * (side + GAP) + (side - fitted.shape[0]) // 2
        left = index % columns * (side + GAP) + (side - fitted.shape[1]) // 2
        sheet[top : top + fitted.shape[0], left : left + fitted.shape[1]] = fitted
    return sheet


def _fitted(tile: Picture, side: int) -> Picture:
    height, width = tile.shape[:2]
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    method = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.BOX
    return np.asarray(Image.fromarray(tile).resize(size, method))


def _finite(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
