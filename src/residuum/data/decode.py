"""From a file or its bytes to uint8 pixels, by one road for training, prediction and serving.

Conversions, all documented because libraries differ:
  EXIF rotation is applied. Of an animation the first frame is taken. Transparency is laid on white.
  16-bit grey is scaled to 8 bits (value / 257), not clipped. CMYK and palettes are converted to RGB.
  Grey becomes three equal channels where a net wants colour; colour becomes ITU-R 601 luma where it wants grey.
Refused before decoding: any format outside `FORMATS`, whatever the file is called, and more than `MAX_PIXELS`.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from residuum.data.source import Pixels
from residuum.errors import InputError

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})
MAX_PIXELS = 64 * 1024 * 1024


def decode(file: Path | bytes, *, channels: int, name: str | None = None) -> Pixels:
    """Decode an image to `(H, W, channels)` uint8.

    Args:
        file: a path, or the bytes of a file.
        channels: 3 for colour, 1 for grey.
        name: what to call the image in messages; the path by default.

    Raises:
        InputError: missing, empty, not an image, cut short, too large, or of a kind that is not supported.
    """
    name = name or (str(file) if isinstance(file, Path) else "image")
    try:
        source = file.read_bytes() if isinstance(file, Path) else file
    except FileNotFoundError as error:
        raise InputError(f"{name}: no such file. Try: a path to an image") from error
    except OSError as error:
        raise InputError(f"{name}: cannot be read ({error.strerror})") from error
    if not source:
        raise InputError(f"{name}: is empty (0 bytes). Try: another copy of the file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(source), formats=FORMATS) as image:
                _refuse_bomb(image, name)
                return to_pixels(image, channels)
    except UnidentifiedImageError as error:
        raise InputError(f"{name}: is not an image this program reads (expected {', '.join(FORMATS)})") from error
    except InputError:
        raise
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, Image.DecompressionBombError) as error:
        raise InputError(f"{name}: cannot be decoded ({error}). Try: another copy of the file") from error


def to_pixels(image: Image.Image, channels: int) -> Pixels:
    """A PIL image as `(H, W, channels)` uint8, by the conversions listed at the top of this file.

    Raises:
        InputError: the image holds floating-point values, for which no range is known.
    """
    mode = "RGB" if channels == 3 else "L"
    image = ImageOps.exif_transpose(image)
    if image.mode == "F":
        raise InputError("image: holds floating-point pixels without a known range. Try: an 8-bit or 16-bit file")
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        image = Image.fromarray((np.clip(values, 0, 65535) // 257).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    pixels: Pixels = np.array(image.convert(mode), dtype=np.uint8)
    return pixels if channels == 3 else pixels[:, :, None]


def to_image(pixels: Pixels) -> Image.Image:
    """`(H, W, C)` uint8 as a PIL image, C = 1 or 3."""
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def _refuse_bomb(image: Image.Image, name: str) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise InputError(
            f"{name}: {width}x{height} is more than {MAX_PIXELS:,} pixels. Try: a smaller version of the image"
        )
