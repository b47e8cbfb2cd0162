"""From a file or its bytes to uint8 pixels, by one road for training, prediction and serving.

Conversions, all documented because libraries differ:
  EXIF rotation is applied. Of an animation the first frame is taken. Transparency is laid on white.
  16-bit grey is scaled to 8 bits (value / 257), not clipped. CMYK and palettes are converted to RGB.
  Grey becomes three equal channels where a net wants colour; colour becomes ITU-R 601 luma where it wants grey.
A JPEG of which only a small version is needed is decoded at 1/2, 1/4 or 1/8 of its size: the inverse cosine transform
of each block then makes fewer pixels (libjpeg, `libjpeg.txt`, "scale_num"). The scale follows from file and needed size
alone, so that the same file always gives the same pixels. Sizes are refused by the size of the whole image.
Refused before decoding: any format outside `FORMATS`, whatever the file is called, more than `MAX_PIXELS`, and images
more than `MAX_ASPECT` times as long as wide.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from residuum.data.source import Pixels, Reduction
from residuum.errors import InputError

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})
SCALES = (8, 4, 2)  # of what libjpeg offers those that Pillow hands through, each one part of so many
MOST_STRETCHED = 1 / 2000  # 0.2 pixels of 400
MAX_PIXELS = 64 * 1024 * 1024
MAX_ASPECT = 100
MAX_FILE_BYTES = 256 << 20

# Pillow warns of odd metadata and of large images; what matters of that is an error here. Set once, since filters are
# global and decoding runs in threads.
warnings.filterwarnings("ignore", module=r"PIL\.")

_threads: int | None = None


def decode(file: Path | bytes, *, channels: int, name: str | None = None, reduction: Reduction | None = None) -> Pixels:
    """Decode an image to `(H, W, channels)` uint8.

    Args:
        file: a path, or the bytes of a file.
        channels: 3 for colour, 1 for grey.
        name: what to call the image in messages; the path by default.
        reduction: how much of the image is needed; a JPEG with more is decoded at the smallest scale that keeps it.
            None for the whole image.

    Raises:
        InputError: missing, empty, not an image, cut short, too large, or of a kind that is not supported.
    """
    name = name or (str(file) if isinstance(file, Path) else "image")
    source = read_image_file(file) if isinstance(file, Path) else file
    if not source:
        raise InputError(f"{name}: is empty (0 bytes). Try: another copy of the file")
    with _one_line(name), Image.open(io.BytesIO(source), formats=FORMATS) as image:
        _refuse_size(image, name)
        if reduction is not None:
            _reduce(image, reduction)
        return to_pixels(image, channels, name=name)


def decode_image(image: Image.Image, *, channels: int, name: str) -> Pixels:
    """As `decode`, of an image that PIL has opened but perhaps not yet read."""
    with _one_line(name):
        _refuse_size(image, name)
        return to_pixels(image, channels, name=name)


@contextmanager
def decoding_with(threads: int | None) -> Iterator[None]:
    """Let so many threads decode in this process meanwhile, wherever images are read; None changes nothing."""
    global _threads
    before = _threads
    _threads = threads or before
    try:
        yield
    finally:
        _threads = before


def decoding_threads() -> int:
    """Threads that decode: as many as `decoding_with` says, else one for each CPU this process may run on."""
    if _threads is not None:
        return _threads
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _one_line(name: str) -> Iterator[None]:
    """Whatever a decoder raises on a damaged or hostile file, as one line that names the file."""
    try:
        yield
    except UnidentifiedImageError as error:
        raise InputError(
            f"{name}: is not an image this program reads (expected {', '.join(FORMATS)}). Try: convert it to PNG"
        ) from error
    except InputError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{name}: cannot be decoded ({reason}). Try: another copy of the file") from error


def read_image_file(path: Path) -> bytes:
    """The bytes of an image file.

    Raises:
        InputError: missing, not a regular file, larger than any image that would be decoded, or unreadable.
    """
    if "\0" in str(path):
        raise InputError(f"{str(path)!r}: cannot be the name of a file. Try: a path to an image")
    try:
        if not path.exists():
            raise InputError(f"{path}: no such file. Try: a path to an image")
        if not path.is_file():
            raise InputError(f"{path}: is not a file. Try: a path to an image")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise InputError(f"{path}: is larger than {MAX_FILE_BYTES >> 20} MiB. Try: a smaller version of the image")
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error


def to_pixels(image: Image.Image, channels: int, *, name: str = "image") -> Pixels:
    """A PIL image as `(H, W, channels)` uint8, by the conversions listed at the top of this file.

    `name` is what messages call it.

    Raises:
        InputError: the image holds floating-point values, for which no range is known.
    """
    mode = "RGB" if channels == 3 else "L"
    image.load()  # what some formats say of rotation and transparency comes after the pixels
    if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
        image = ImageOps.exif_transpose(image)
    if image.mode == "F":
        raise InputError(f"{name}: holds floating-point pixels without a known range. Try: an 8-bit or 16-bit file")
    if image.mode.startswith("I"):
        image = _eight_bits(image)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    pixels: Pixels = np.array(image if image.mode == mode else image.convert(mode), dtype=np.uint8)
    return pixels if channels == 3 else pixels[:, :, None]


def _eight_bits(image: Image.Image) -> Image.Image:
    """A 16-bit grey image scaled to 8 bits; the value it declares transparent becomes so."""
    values = np.asarray(image).astype(np.int64)
    grey = Image.fromarray((np.clip(values, 0, 65535) // 257).astype(np.uint8))
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
    return grey


def to_image(pixels: Pixels) -> Image.Image:
    """`(H, W, C)` uint8 as a PIL image, C = 1 or 3."""
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def resized_size(size: tuple[int, int], shorter_side: int) -> tuple[int, int]:
    """`size` with its shorter side at `shorter_side`; the longer one is rounded down, as torchvision does."""
    shorter = min(size)
    return shorter_side * size[0] // shorter, shorter_side * size[1] // shorter


def _reduce(image: Image.Image, reduction: Reduction) -> None:
    """Have a JPEG decoded at the smallest scale that keeps what is needed; other formats have no scales."""
    for scale in SCALES:
        enough = min(image.size) >= scale * reduction.least()
        if enough and (not reduction.faithful or _keeps_shape(image.size, scale, reduction.shorter_side)):
            least = min(image.size) // scale
            image.draft(None, (least, least))
            return


def _keeps_shape(size: tuple[int, int], scale: int, shorter_side: int) -> bool:
    """Whether an image decoded at one part of `scale` is of the same shape, though its sides are rounded up."""
    rounded = -(-size[0] // scale), -(-size[1] // scale)
    stretched = max(scale * after / before - 1 for before, after in zip(size, rounded, strict=True))
    return stretched <= MOST_STRETCHED and resized_size(rounded, shorter_side) == resized_size(size, shorter_side)


def _refuse_size(image: Image.Image, name: str) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise InputError(
            f"{name}: {width}x{height} is more than {MAX_PIXELS:,} pixels. Try: a smaller version of the image"
        )
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise InputError(
            f"{name}: {width}x{height} is too narrow to be resized (at most 1:{MAX_ASPECT}). Try: a part of it"
        )
