"""Decoding: golden pixels of every conversion, and one-line refusals of everything that is not a sound image."""

from __future__ import annotations

import io
import random
import struct
import subprocess
import threading
import warnings
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFile

from residuum.data import decode as module
from residuum.data.decode import MAX_PIXELS, SUFFIXES, decode, decoding_threads, decoding_with, to_image
from residuum.data.preprocess import Preprocessing, Views
from residuum.data.source import Reduction
from residuum.errors import InputError

LOSSLESS: dict[str, dict[str, Any]] = {"PNG": {}, "BMP": {}, "TIFF": {}, "PPM": {}, "WEBP": {"lossless": True}}
EVERY = [
    ("PNG", {}),
    ("JPEG", {}),
    ("GIF", {}),
    ("BMP", {}),
    ("WEBP", {}),
    ("WEBP", {"lossless": True}),
    ("TIFF", {}),
    ("TIFF", {"compression": "tiff_lzw"}),
    ("TIFF", {"compression": "tiff_adobe_deflate"}),
    ("PPM", {}),
]
IDS = [f"{name}-{'-'.join(map(str, options.values()))}".rstrip("-") for name, options in EVERY]


def noise(height: int = 40, width: int = 50) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encoded(image: Image.Image | NDArray[Any], format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(stream, format, **options)
    return stream.getvalue()


def refusal(path: Path, content: bytes | None = None) -> str:
    """The message for a file, after checking that it is one line and starts with the path."""
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        decode(path, channels=3)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert len(message.splitlines()) == 1
    return message.removeprefix(f"{path}: ")


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_of_size(width: int, height: int, bits: int = 1, data: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", data or zlib.compress(b"\0" * 100))
        + chunk(b"IEND", b"")
    )


# Sound images


@pytest.mark.parametrize("format", LOSSLESS)
def test_lossless_formats_give_the_very_pixels_from_a_file_and_from_bytes(format: str, tmp_path: Path) -> None:
    content = encoded(noise(), format, **LOSSLESS[format])
    path = tmp_path / "image.xyz"
    path.write_bytes(content)
    for source in (path, content):
        pixels = decode(source, channels=3)
        assert pixels.dtype == np.uint8
        assert (pixels == noise()).all()


def test_a_jpeg_is_close_and_a_gif_of_few_colours_exact() -> None:
    smooth = np.broadcast_to(np.arange(0, 240, 6, dtype=np.uint8)[:, None, None], (40, 48, 3))
    assert np.abs(decode(encoded(smooth, "JPEG", quality=95), channels=3).astype(int) - smooth).max() <= 3
    few = (noise() // 128) * 255
    assert (decode(encoded(few, "GIF"), channels=3) == few).all()


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "png", "gif", "webp", "bmp", "tif", "tiff", "JPG"])
def test_usual_suffixes_are_known_as_images(suffix: str) -> None:
    assert f".{suffix.lower()}" in SUFFIXES


def test_the_contents_decide_and_not_the_name(tmp_path: Path) -> None:
    path = tmp_path / "in truth a png.jpg"
    path.write_bytes(encoded(noise(), "PNG"))
    assert (decode(path, channels=3) == noise()).all()


@pytest.mark.parametrize("format", ["PNG", "JPEG", "BMP", "TIFF", "PPM", "GIF"])
def test_grey_becomes_three_equal_channels_or_stays_one(format: str) -> None:
    grey = np.broadcast_to(np.arange(0, 250, 5, dtype=np.uint8)[None], (50, 50))
    content = encoded(grey, format)
    colour, single = decode(content, channels=3), decode(content, channels=1)
    assert colour.shape == (50, 50, 3)
    assert single.shape == (50, 50, 1)
    assert (colour == single).all()
    assert np.abs(single[:, :, 0].astype(int) - grey).max() <= (2 if format == "JPEG" else 0)


def test_colour_becomes_itu_r_601_luma() -> None:
    primaries = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [200, 100, 50]]], np.uint8)
    luma = [0.299 * r + 0.587 * g + 0.114 * b for r, g, b in primaries[0].tolist()]
    got = decode(encoded(primaries, "PNG"), channels=1)[0, :, 0]
    assert np.abs(got - np.array(luma)).max() <= 0.51
    assert got.tolist() == [76, 150, 29, 255, 124]


@pytest.mark.parametrize("format", ["PNG", "TIFF", "PPM"])
@pytest.mark.parametrize("channels", [1, 3])
def test_16_bit_grey_is_scaled_and_not_clipped(format: str, channels: int) -> None:
    values = np.array([[0, 257, 2570, 25700, 32896, 65278, 65535]], np.uint16)
    got = decode(encoded(values, format), channels=channels)
    assert got[0].tolist() == [[value] * channels for value in (0, 1, 10, 100, 128, 254, 255)]


def test_16_bit_colour_is_scaled_and_not_clipped() -> None:
    values = np.array([0, 257, 25700, 65535, 32896, 51400], ">u2")
    data = zlib.compress(b"\0" + values.tobytes())
    header = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    assert decode(content, channels=3).ravel().tolist() == [0, 1, 100, 255, 128, 200]


def test_16_bit_grey_with_a_transparent_value_is_laid_on_white() -> None:
    values = np.array([[25700, 51400]], np.uint16)
    content = encoded(values, "PNG", transparency=25700)
    assert decode(content, channels=3)[0].tolist() == [[255] * 3, [200] * 3]


@pytest.mark.parametrize(
    ("cmyk", "rgb"),
    [
        ((0, 0, 0, 0), (255, 255, 255)),
        ((255, 0, 0, 0), (0, 255, 255)),
        ((0, 255, 0, 0), (255, 0, 255)),
        ((0, 0, 255, 0), (255, 255, 0)),
        ((0, 0, 0, 255), (0, 0, 0)),
        ((0, 102, 204, 51), (204, 122, 41)),  # 255 (1 - c) (1 - k)
    ],
)
@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_cmyk_becomes_rgb(format: str, cmyk: tuple[int, ...], rgb: tuple[int, ...]) -> None:
    got = decode(encoded(Image.new("CMYK", (16, 16), cmyk), format), channels=3)
    assert got.shape == (16, 16, 3)
    assert np.abs(got.astype(int) - rgb).max() <= 3


@pytest.mark.parametrize("format", ["PNG", "GIF"])
def test_transparency_of_a_palette_is_laid_on_white(format: str) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putdata([0, 1])
    assert decode(encoded(image, format), channels=3)[0].tolist() == [[255, 0, 0], [0, 0, 255]]
    assert decode(encoded(image, format, transparency=1), channels=3)[0].tolist() == [[255, 0, 0], [255, 255, 255]]
    assert decode(encoded(image, format, transparency=1), channels=1)[0].tolist() == [[76], [255]]


def test_partial_transparency_of_a_palette_is_mixed_with_white() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putdata([0, 1])
    got = decode(encoded(image, "PNG", transparency=bytes([255, 51])), channels=3)
    assert got[0].tolist() == [[255, 0, 0], [204, 204, 255]]


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF"])
def test_alpha_is_mixed_with_white(format: str) -> None:
    rgba = np.array([[[0, 0, 0, 255], [0, 0, 0, 0], [100, 200, 0, 51], [255, 0, 0, 102]]], np.uint8)
    options = {"lossless": True, "exact": True} if format == "WEBP" else {}
    got = decode(encoded(rgba, format, **options), channels=3)[0]
    expected = [[0, 0, 0], [255, 255, 255], [224, 244, 204], [255, 153, 153]]  # 255 (1 - a) + a c
    assert np.abs(got.astype(int) - expected).max() <= 1


def test_grey_with_alpha_and_colour_keys_are_laid_on_white() -> None:
    grey = Image.merge("LA", [Image.new("L", (1, 1), 100), Image.new("L", (1, 1), 0)])
    assert decode(encoded(grey, "PNG"), channels=1).ravel().tolist() == [255]
    keyed = np.array([[[1, 2, 3], [1, 2, 4]]], np.uint8)
    assert decode(encoded(keyed, "PNG", transparency=(1, 2, 3)), channels=3)[0].tolist() == [[255] * 3, [1, 2, 4]]


@pytest.mark.parametrize("format", ["PNG", "TIFF", "BMP", "PPM", "GIF"])
def test_1_bit_is_black_and_white(format: str) -> None:
    image = Image.new("1", (3, 1))
    image.putdata([0, 255, 0])
    for channels in (1, 3):
        assert decode(encoded(image, format), channels=channels)[0, :, 0].tolist() == [0, 255, 0]


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, lambda a: a),
        (2, lambda a: a[:, ::-1]),
        (3, lambda a: a[::-1, ::-1]),
        (4, lambda a: a[::-1]),
        (5, lambda a: a.swapaxes(0, 1)),
        (6, lambda a: np.rot90(a, -1)),
        (7, lambda a: a[::-1, ::-1].swapaxes(0, 1)),
        (8, lambda a: np.rot90(a, 1)),
    ],
)
@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
def test_exif_rotation_is_applied(format: str, orientation: int, upright: Any) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(noise(2, 3), format, exif=exif, **LOSSLESS[format])
    assert (decode(content, channels=3) == upright(noise(2, 3))).all()


def test_exif_rotation_of_a_jpeg_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # as a phone held upright writes it: the top row is on the left
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:, :16] = 250
    got = decode(encoded(pixels, "JPEG", exif=exif, quality=95), channels=3)
    assert got.shape == (32, 16, 3)
    assert got[:14].min() > 200
    assert got[18:].max() < 50


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame_is_taken(format: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    options = LOSSLESS.get(format, {})
    content = encoded(frames[0], format, save_all=True, append_images=frames[1:], **options)
    assert getattr(Image.open(io.BytesIO(content)), "n_frames", 1) == 3
    assert (decode(content, channels=3) == [255, 0, 0]).all()


def test_the_pixels_are_an_own_writable_array() -> None:
    for mode in ("L", "RGB", "1", "RGBA"):
        pixels = decode(encoded(Image.new(mode, (3, 2)), "PNG"), channels=1)
        assert pixels.flags.writeable


def test_to_image_undoes_decoding() -> None:
    assert to_image(noise()).mode == "RGB"
    assert (np.asarray(to_image(noise())) == noise()).all()
    grey = noise()[:, :, :1]
    assert to_image(grey).mode == "L"
    assert (np.asarray(to_image(grey)) == grey[:, :, 0]).all()


def test_real_photographs_are_decoded_as_pil_does(shared: Path) -> None:
    paths = sorted((shared / "photos").glob("*.JPEG"))[:8]
    assert len(paths) == 8
    for path in paths:
        with Image.open(path) as image:
            assert not image.getexif().get(0x0112, 1) > 1
            assert (decode(path, channels=3) == np.asarray(image.convert("RGB"))).all()


# What is refused


def test_a_missing_file_a_directory_and_an_empty_file_are_refused(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "missing.png")
    assert "is not a file" in refusal(tmp_path)
    assert "empty (0 bytes)" in refusal(tmp_path / "empty.png", b"")


@pytest.mark.parametrize(
    "content",
    [
        b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
        b'{"error": "rate limit"}',
        b"\0" * 5000,
        b"GIF89a",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff",
        b"BM",
        b"RIFF\x00\x00\x00\x00WEBP",
        b"II*\x00",
        b"P6",
        b"P6\n3 2\n255\n",
        b"x",
    ],
)
def test_what_is_no_image_is_refused_whatever_its_name(content: bytes, tmp_path: Path) -> None:
    refusal(tmp_path / "image.jpg", content)


def test_a_web_page_named_jpg_is_called_no_image(tmp_path: Path) -> None:
    assert "is not an image" in refusal(tmp_path / "page.jpg", b"<html></html>")


@pytest.mark.parametrize(("format", "options"), EVERY, ids=IDS)
def test_truncated_files_are_refused_wherever_they_are_cut(
    format: str, options: dict[str, Any], tmp_path: Path
) -> None:
    content = encoded(noise(), format, **options)
    decode(content, channels=3)
    for cut in (1, 4, 12, 30, len(content) // 3, len(content) // 2, len(content) * 9 // 10):
        refusal(tmp_path / "cut.png", content[:cut])


@pytest.mark.parametrize(("format", "options"), EVERY, ids=IDS)
def test_a_damaged_file_gives_pixels_or_a_refusal_and_nothing_else(
    format: str, options: dict[str, Any], tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E], exif[0x011A] = 6, "a picture", 72.0
    if format in ("JPEG", "PNG", "WEBP"):
        options = {**options, "exif": exif}
    content, draw = encoded(noise(16, 20), format, **options), random.Random(0)
    for _ in range(150):
        mutant = bytearray(content)
        for _ in range(draw.choice((1, 2, 8))):
            mutant[draw.randrange(min(len(mutant), draw.choice((60, 200, 10**6))))] = draw.choice((0, 1, 127, 255))
        path = tmp_path / "mutant"
        path.write_bytes(mutant)
        try:
            pixels = decode(path, channels=3)
        except InputError as error:
            assert str(error).startswith(f"{path}: ")  # noqa: PT017 (either outcome is right)
            assert len(str(error).splitlines()) == 1  # noqa: PT017
        else:
            assert pixels.ndim == 3
            assert pixels.dtype == np.uint8


@pytest.mark.parametrize(
    "entry",
    [
        struct.pack("<HHII", 0x010E, 5, 1, 26),  # the description as a fraction
        struct.pack("<HHI4s", 0x0128, 2, 4, b"abc\0"),  # the unit as text
        struct.pack("<HHI4s", 0x0100, 2, 4, b"abc\0"),  # the width as text
        struct.pack("<HHII", 0x0112, 3, 1, 99),  # an orientation that does not exist
    ],
    ids=["description", "unit", "width", "orientation"],
)
def test_nonsense_in_exif_gives_pixels_or_a_refusal_and_nothing_else(entry: bytes, tmp_path: Path) -> None:
    rotation = struct.pack("<HHII", 0x0112, 3, 1, 6)
    entries = sorted({entry[:2]: entry, rotation[:2]: rotation}.values(), key=lambda each: each[:2])
    body = b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + b"".join(entries) + b"\0" * 4
    exif = b"Exif\0\0" + body + struct.pack("<II", 1, 3) * 4
    path = tmp_path / "image.jpg"
    path.write_bytes(encoded(noise(), "JPEG", exif=exif))
    try:
        pixels = decode(path, channels=3)
    except InputError as error:
        assert str(error).startswith(f"{path}: ")  # noqa: PT017 (either outcome is right)
    else:
        assert pixels.shape in ((50, 40, 3), (40, 50, 3))


def test_floating_point_pixels_are_refused_under_the_name_of_the_file(tmp_path: Path) -> None:
    assert "floating-point" in refusal(tmp_path / "float.tiff", encoded(Image.new("F", (3, 3), 0.5), "TIFF"))


def test_a_file_larger_than_any_image_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(self: Path) -> bytes:
        raise AssertionError("read")

    path = tmp_path / "huge.png"
    with path.open("wb") as stream:
        stream.truncate((256 << 20) + 1)  # a hole: takes no room
    monkeypatch.setattr(Path, "read_bytes", never)
    assert "larger than 256 MiB" in refusal(path)


def test_an_image_too_narrow_to_be_resized_is_refused(tmp_path: Path) -> None:
    """At 1 pixel in height, a shorter side of 256 would make the image 256 times as large in both directions."""
    for size in ((101, 1), (1, 101), (203, 2)):
        assert "too narrow" in refusal(tmp_path / "strip.png", encoded(Image.new("L", size), "PNG"))
    assert decode(encoded(Image.new("L", (100, 1)), "PNG"), channels=1).shape == (1, 100, 1)


@pytest.mark.parametrize(("width", "height"), [(30000, 30000), (8193, 8192), (2**31 - 1, 1), (2**31 - 1, 2**31 - 1)])
def test_a_decompression_bomb_is_refused_before_decoding(
    width: int, height: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(self: ImageFile.ImageFile) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", never)
    message = refusal(tmp_path / "bomb.png", png_of_size(width, height))
    assert "pixels" in message


def test_a_real_bomb_of_ten_kilobytes_is_refused_with_its_size(tmp_path: Path) -> None:
    content = png_of_size(9000, 9000, data=zlib.compress(b"\0" * (1 + 9000 // 8) * 9000, 9))
    assert len(content) < 20_000
    assert "9000x9000 is more than 67,108,864 pixels" in refusal(tmp_path / "bomb.png", content)


def test_the_limit_is_64_megapixels_and_itself_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_PIXELS == 67_108_864
    monkeypatch.setattr(module, "MAX_PIXELS", 6)
    assert decode(encoded(noise(2, 3), "PNG"), channels=3).shape == (2, 3, 3)
    with pytest.raises(InputError, match="7x1 is more than 6 pixels"):
        decode(encoded(noise(1, 7), "PNG"), channels=3)


@pytest.mark.parametrize("format", ["EPS", "PCX", "TGA", "ICO", "SGI", "JPEG2000", "DDS", "AVIF", "ICNS", "MSP"])
def test_exotic_formats_named_jpg_are_refused_and_start_nothing(
    format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*arguments: object, **options: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(subprocess, "Popen", never)
    try:
        content = encoded(Image.new("1" if format == "MSP" else "RGB", (32, 32)), format)
    except (KeyError, OSError):
        pytest.skip(f"this Pillow cannot write {format}")
    assert "is not an image this program reads" in refusal(tmp_path / "image.jpg", content)


def test_an_image_from_bytes_is_called_by_the_name_given() -> None:
    with pytest.raises(InputError, match=r"^upload 3: "):
        decode(b"nothing", channels=3, name="upload 3")
    with pytest.raises(InputError, match=r"^image: "):
        decode(b"", channels=3)


def test_decoding_raises_no_warning() -> None:
    """A palette with transparent bytes and a big image are two things Pillow warns about."""
    image = Image.new("P", (2, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        decode(encoded(image, "PNG", transparency=bytes([0, 1])), channels=1)
        with pytest.raises(InputError):
            decode(png_of_size(12000, 9000), channels=3)


def test_decoding_in_threads_leaves_the_warning_filters_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two threads that overlap: the first to enter leaves first. `catch_warnings` then restores the wrong filters."""
    content, entered, first_left = encoded(noise(2, 2), "PNG"), threading.Event(), threading.Event()
    original = module.to_pixels

    def overlapping(image: Image.Image, channels: int, **named: str) -> NDArray[np.uint8]:
        if threading.current_thread().name == "first":
            entered.wait(0.5)
        else:
            entered.set()
            first_left.wait(0.5)
        return original(image, channels, **named)

    def first() -> None:
        decode(content, channels=3)
        first_left.set()

    monkeypatch.setattr(module, "to_pixels", overlapping)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        before = list(warnings.filters)
        threads = [
            threading.Thread(target=first, name="first"),
            threading.Thread(target=decode, args=(content,), kwargs={"channels": 3}),
        ]
        for thread in threads:
            thread.start()
            if thread.name == "first":
                threading.Event().wait(0.05)
        for thread in threads:
            thread.join()
        assert list(warnings.filters) == before


def test_the_threads_that_decode_are_those_asked_for_until_the_end() -> None:
    cores = decoding_threads()
    with decoding_with(cores + 3):
        assert decoding_threads() == cores + 3
        with decoding_with(None):
            assert decoding_threads() == cores + 3
        with suppress(KeyError), decoding_with(1):
            assert decoding_threads() == 1
            raise KeyError
        assert decoding_threads() == cores + 3
    assert decoding_threads() == cores


# Decoded smaller than they are


def smooth(height: int, width: int) -> NDArray[np.uint8]:
    """Something photographs are made of: slow waves, edges and a little noise."""
    y, x = np.mgrid[:height, :width] / min(height, width)
    waves = 128 + 60 * np.sin(7 * x + 3 * y) + 40 * np.sin(31 * y - 11 * x) + 25 * ((x * 5).astype(int) % 2)
    grain = np.random.default_rng(0).normal(0, 4, (height, width))
    return np.clip(np.stack([waves + grain, waves[::-1], 255 - waves], axis=2), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("size", "reduction", "expected"),
    [
        ((400, 640), Reduction(50), (50, 80)),
        ((400, 640), Reduction(51), (100, 160)),
        ((400, 640), Reduction(100), (100, 160)),
        ((400, 640), Reduction(101), (200, 320)),
        ((400, 640), Reduction(200), (200, 320)),
        ((400, 640), Reduction(201), (400, 640)),
        ((400, 640), Reduction(9999), (400, 640)),
        ((640, 400), Reduction(1), (80, 50)),
        ((403, 641), Reduction(100), (101, 161)),  # sides are rounded up
        ((400, 640), Reduction(50, faithful=True), (100, 160)),
        ((400, 640), Reduction(51, faithful=True), (200, 320)),
        ((400, 640), Reduction(101, faithful=True), (400, 640)),
        ((401, 640), Reduction(50, faithful=True), (401, 640)),  # 401 / 2 is no whole number: 0.25 % too high
    ],
)
def test_a_jpeg_is_decoded_at_the_smallest_scale_that_keeps_what_is_needed(
    size: tuple[int, int], reduction: Reduction, expected: tuple[int, int]
) -> None:
    content = encoded(Image.new("RGB", size[::-1], "teal"), "JPEG")
    for channels in (1, 3):
        assert decode(content, channels=channels, reduction=reduction).shape == (*expected, channels)


@pytest.mark.parametrize("size", [(512, 768), (1024, 684), (700, 2047)])
def test_a_view_of_a_faithfully_reduced_image_is_that_of_the_whole_within_few_levels(size: tuple[int, int]) -> None:
    """Seen of 36 photographs, enlarged to 1 to 10 megapixels: at most 20 levels, 0.5 on average."""
    preprocessing = Preprocessing(channels=3, resize=64, crop=(56, 56), mean=(0.0,) * 3, std=(1.0,) * 3)
    content = encoded(smooth(*size), "JPEG", quality=90)
    whole = decode(content, channels=3)
    part = decode(content, channels=3, reduction=preprocessing.reduction())
    assert part.size < whole.size / 3
    one, two = (preprocessing.view(pixels).astype(int) for pixels in (whole, part))
    assert np.abs(one - two).mean() < 0.75
    assert np.abs(one - two).max() <= 24
    assert np.abs(one - two[:, ::-1]).mean() > 5


@pytest.mark.parametrize("views", ["1", "10", "multi-scale"])
def test_a_faithfully_reduced_image_gives_views_of_the_same_sizes(views: Views) -> None:
    preprocessing = Preprocessing(channels=3, resize=32, crop=(28, 28), mean=(0.0,) * 3, std=(1.0,) * 3)
    reduction = preprocessing.reduction(views)
    assert reduction == Reduction(80 if views == "multi-scale" else 32, faithful=True)
    for size in ((500, 750), (499, 751), (406, 650), (767, 512)):
        content = encoded(smooth(*size), "JPEG")
        whole, part = (decode(content, channels=3, reduction=each) for each in (None, reduction))
        sizes = [[view.shape for view in preprocessing.views(pixels, views)] for pixels in (whole, part)]
        assert sizes[0] == sizes[1]


def test_rotation_grey_and_cmyk_are_as_of_the_whole_image() -> None:
    """Red above, blue below, of 80 x 160 pixels, turned by EXIF orientation 6: red comes to lie on the right."""
    halves = np.zeros((80, 160, 3), np.uint8)
    halves[:40, :, 0], halves[40:, :, 2] = 255, 255
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = decode(encoded(halves, "JPEG", exif=exif), channels=3, reduction=Reduction(20))
    assert turned.shape == (40, 20, 3)
    assert turned[20, 15, 0] > 240 > 15 > turned[20, 15, 2]
    assert turned[20, 4, 2] > 240 > 15 > turned[20, 4, 0]
    for mode, channels in (("L", 3), ("L", 1), ("CMYK", 3), ("CMYK", 1)):
        content = encoded(Image.fromarray(smooth(160, 160)).convert(mode), "JPEG", quality=95)
        whole, part = (decode(content, channels=channels, reduction=each) for each in (None, Reduction(40)))
        assert part.shape == (40, 40, channels)
        means = whole.reshape(40, 4, 40, 4, channels).mean(axis=(1, 3))
        assert np.abs(part - means).mean() < 2


@pytest.mark.parametrize("format", LOSSLESS)
def test_formats_without_scales_are_decoded_whole(format: str) -> None:
    content = encoded(noise(), format, **LOSSLESS[format])
    assert (decode(content, channels=3, reduction=Reduction(4)) == noise()).all()


def test_sizes_are_refused_by_the_whole_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PIXELS", 100 * 100 - 1)
    with pytest.raises(InputError, match="100x100 is more than 9,999 pixels"):
        decode(encoded(smooth(100, 100), "JPEG"), channels=3, reduction=Reduction(1))
    with pytest.raises(InputError, match="too narrow"):
        decode(encoded(smooth(8, 8 * 101), "JPEG"), channels=3, reduction=Reduction(1))


def test_a_damaged_jpeg_is_refused_at_any_scale_if_at_the_whole_one() -> None:
    """The look through a folder decodes at the smallest scale: it must find what training would stumble over."""
    sound = encoded(smooth(96, 96), "JPEG", quality=80, progressive=True), encoded(smooth(96, 96), "JPEG", quality=80)
    dice = random.Random(0)
    verdicts = {True: 0, False: 0}
    for number in range(300):
        content = bytearray(sound[number % 2])
        for _ in range(dice.choice((1, 1, 4))):
            content[dice.randrange(len(content))] = dice.randrange(256)
        if number % 5 == 0:
            del content[dice.randrange(len(content)) :]
        refused = [_is_refused(bytes(content), reduction) for reduction in (None, Reduction(1))]
        assert refused[0] == refused[1]
        verdicts[refused[0]] += 1
    assert min(verdicts.values()) > 30


def _is_refused(content: bytes, reduction: Reduction | None) -> bool:
    try:
        decode(content, channels=3, name="mutant", reduction=reduction)
    except InputError:
        return True
    return False
