"""The one preprocessing object against hand computations, slicing, PIL itself and naive statistics."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from residuum.data import preprocess
from residuum.data.batches import TrainingBatches, evaluation_batches
from residuum.data.folder import folder
from residuum.data.preprocess import Preprocessing, fit
from residuum.data.source import ArrayImages, Pixels, Split
from residuum.errors import InputError

CPU = torch.device("cpu")


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def plain(resize: int, crop: int | tuple[int, int], channels: int = 3) -> Preprocessing:
    size = (crop, crop) if isinstance(crop, int) else crop
    return Preprocessing(channels=channels, resize=resize, crop=size, mean=(0.0,) * channels, std=(1.0,) * channels)


@given(height=st.integers(1, 120), width=st.integers(1, 120), side=st.integers(1, 90))
@settings(deadline=None, derandomize=True, max_examples=300)
def test_the_shorter_side_is_exact_and_the_longer_one_is_cut_to_a_whole_pixel(
    height: int, width: int, side: int
) -> None:
    """As torchvision's Resize, which the published weights were trained with: int(size * long / short)."""
    longer = side * max(height, width) // min(height, width)
    expected = (side, longer) if height <= width else (longer, side)
    assert plain(1, 1).resized(np.zeros((height, width, 3), np.uint8), side).shape == (*expected, 3)


@pytest.mark.parametrize(
    ("height", "width", "side", "expected"),
    [
        (375, 500, 256, (256, 341)),
        (500, 375, 256, (341, 256)),
        (333, 500, 256, (256, 384)),  # 384.38
        (32, 32, 32, (32, 32)),
        (20, 45, 224, (224, 504)),  # 504 exactly; 45 * (224 / 20) is 503.99999
        (165, 20, 224, (1848, 224)),
    ],
)
def test_sizes_after_resizing(height: int, width: int, side: int, expected: tuple[int, int]) -> None:
    assert plain(1, 1).resized(np.zeros((height, width, 3), np.uint8), side).shape[:2] == expected


@pytest.mark.parametrize("channels", [1, 3])
def test_resizing_is_pils_bilinear_filter(channels: int) -> None:
    pixels = noise(31, 45, channels)
    image = Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels)
    expected = np.asarray(image.resize((23, 16), Image.Resampling.BILINEAR)).reshape(16, 23, channels)
    assert (plain(1, 1, channels).resized(pixels, 16) == expected).all()


def test_resizing_has_antialiasing() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    inner = plain(1, 1).resized(stripes, 16)[2:-2, 2:-2].astype(int)
    assert np.abs(inner - 127.5).max() < 16  # plain bilinear sampling would leave stripes or one flat extreme


def test_an_image_of_the_right_size_passes_untouched() -> None:
    pixels = noise(32, 40)
    assert (plain(1, 1).resized(pixels, 32) == pixels).all()


def test_the_view_is_the_centre_crop_by_hand() -> None:
    pixels = noise(6, 9)
    assert (plain(6, (4, 4)).view(pixels) == pixels[1:5, 2:6]).all()  # (9 - 4) / 2 = 2.5, to even
    assert (plain(6, (2, 5)).view(pixels) == pixels[2:4, 2:7]).all()


@given(height=st.integers(1, 60), width=st.integers(1, 60), crop=st.integers(1, 32), margin=st.integers(0, 8))
@settings(deadline=None, derandomize=True, max_examples=100)
def test_the_view_of_any_image_has_the_size_of_the_crop(height: int, width: int, crop: int, margin: int) -> None:
    assert plain(crop + margin, crop).view(noise(height, width)).shape == (crop, crop, 3)


@pytest.mark.parametrize("size", [(40, 20), (20, 40), (30, 30)])
def test_the_view_has_the_size_of_a_crop_that_is_not_square_or_is_refused(size: tuple[int, int]) -> None:
    """A portrait cut to landscape: the view is 10x20, whatever the image, or there is a word about it."""
    try:
        view = plain(10, (10, 20)).view(noise(*size))
    except InputError:
        return
    assert view.shape == (10, 20, 3)


@pytest.mark.parametrize(
    "changes",
    [
        {"channels": 1},
        {"channels": 2, "mean": (0.0,) * 2, "std": (1.0,) * 2},
        {"mean": (0.0,)},
        {"std": (1.0, 1.0, 0.0)},
        {"std": (1.0, 1.0, -1.0)},
        {"std": (1.0, 1.0, float("nan"))},
        {"mean": (0.0, 0.0, float("inf"))},
        {"crop": (0, 4)},
        {"resize": 0},
        {"mean_image": np.zeros((3, 4, 4), np.float32)},
    ],
)
def test_impossible_preprocessing_is_refused(changes: dict[str, Any]) -> None:
    sound = {"channels": 3, "resize": 4, "crop": (4, 4), "mean": (0.0,) * 3, "std": (1.0,) * 3, "mean_image": None}
    Preprocessing(**sound)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"^preprocessing: "):
        Preprocessing(**sound | changes)  # type: ignore[arg-type]


def test_a_crop_larger_than_the_resized_image_enlarges_the_image() -> None:
    assert plain(5, 8).view(noise(20, 30)).shape == (8, 8, 3)


def test_one_view_is_the_view() -> None:
    pixels, preprocessing = noise(50, 40), plain(20, 16)
    views = [*preprocessing.views(pixels, "1")]
    assert len(views) == 1
    assert (views[0] == preprocessing.view(pixels)).all()


@given(height=st.integers(9, 24), width=st.integers(9, 24))
@settings(deadline=None, derandomize=True, max_examples=50)
def test_ten_views_are_corners_and_centre_and_their_mirror_images(height: int, width: int) -> None:
    pixels = noise(height, width)
    preprocessing = plain(min(height, width), 8)
    top, left = round((height - 8) / 2), round((width - 8) / 2)
    crops = [
        pixels[:8, :8],
        pixels[:8, width - 8 :],
        pixels[height - 8 :, :8],
        pixels[height - 8 :, width - 8 :],
        pixels[top : top + 8, left : left + 8],
    ]
    expected = sorted(each.tobytes() for crop in crops for each in (crop, np.fliplr(crop)))
    assert sorted(view.tobytes() for view in preprocessing.views(pixels, "10")) == expected


def test_ten_views_are_cut_from_the_resized_image() -> None:
    pixels, preprocessing = noise(60, 90), plain(20, 16)
    resized = preprocessing.resized(pixels, 20)
    views = [view.tobytes() for view in preprocessing.views(pixels, "10")]
    assert len(views) == 10
    assert resized[4:, -16:].tobytes() in views


def test_ten_views_of_an_image_no_larger_than_one_are_refused() -> None:
    with pytest.raises(InputError, match=r"ten crops of 32x32 need a larger image, got 32x32.*Try: --views 1"):
        list(plain(32, 32).views(noise(32, 32), "10"))
    assert len([*plain(32, 32).views(noise(32, 33), "10")]) == 10


@pytest.mark.parametrize(
    ("crop", "sides"),
    [(224, (224, 256, 384, 480, 640)), (112, (112, 128, 192, 240, 320)), (32, (32, 37, 55, 69, 91))],
)
def test_multi_scale_views_are_the_whole_image_at_five_scales(crop: int, sides: tuple[int, ...]) -> None:
    views = [view.shape for view in plain(256, crop).views(noise(30, 60), "multi-scale")]
    assert views == [(side, 2 * side, 3) for side in sides]


def test_normalising_by_hand() -> None:
    preprocessing = Preprocessing(channels=3, resize=1, crop=(1, 1), mean=(0.5, 0.25, 0.0), std=(0.5, 0.25, 2.0))
    batch = torch.tensor([[[[0, 51, 255]]], [[[255, 255, 102]]]], dtype=torch.uint8)
    out = preprocessing.normalise(batch)
    assert out.shape == (2, 3, 1, 1)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out.flatten(), torch.tensor([-1.0, -0.2, 0.5, 1.0, 3.0, 0.2]))


def test_normalising_puts_channels_first_and_keeps_them_last_in_memory() -> None:
    batch = torch.from_numpy(np.stack([noise(4, 6, seed=seed) for seed in range(2)]))
    out = plain(4, (4, 6)).normalise(batch)
    assert out.shape == (2, 3, 4, 6)
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert float(out[1, 2, 3, 5]) == pytest.approx(int(batch[1, 3, 5, 2]) / 255)
    assert float(out[0, 1, 0, 4]) == pytest.approx(int(batch[0, 0, 4, 1]) / 255)


def test_the_mean_image_is_subtracted_pixel_by_pixel_and_only_at_its_own_size() -> None:
    mean_image = np.random.default_rng(1).random((4, 6, 3)).astype(np.float32)
    preprocessing = Preprocessing(
        channels=3, resize=4, crop=(4, 6), mean=(0.1, 0.2, 0.3), std=(1.0, 1.0, 2.0), mean_image=mean_image
    )
    pixels = noise(4, 6)
    expected = (pixels / 255 - mean_image) / np.array([1.0, 1.0, 2.0])
    got = preprocessing.normalise(torch.from_numpy(pixels)[None])[0].permute(1, 2, 0)
    np.testing.assert_allclose(got.numpy(), expected, atol=1e-6)
    larger = noise(6, 4)
    expected = (larger / 255 - np.array([0.1, 0.2, 0.3])) / np.array([1.0, 1.0, 2.0])
    got = preprocessing.normalise(torch.from_numpy(larger)[None])[0].permute(1, 2, 0)
    np.testing.assert_allclose(got.numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_statistics_are_those_of_all_pixels_of_the_training_set(channels: int) -> None:
    """More images than one piece of the computation takes, with another spread in each channel and row."""
    generator = np.random.default_rng(2)
    array = generator.integers(0, 256, (600, 6, 5, channels)) * np.linspace(0.3, 1, channels)
    array = (array * np.linspace(0.5, 1, 6)[:, None, None]).astype(np.uint8)
    images, scaled = ArrayImages(array), array / 255.0
    by_pixel = fit(images, resize=5, crop=(6, 5), normalisation="pixel")
    by_channel = fit(images, resize=5, crop=(6, 5), normalisation="channel")
    mean_only = fit(images, resize=5, crop=(6, 5), normalisation="mean-only")
    assert by_pixel.mean_image is not None
    assert by_pixel.mean_image.dtype == np.float32
    np.testing.assert_allclose(by_pixel.mean_image, scaled.mean(axis=0), atol=1e-6)
    for preprocessing in (by_pixel, by_channel, mean_only):
        np.testing.assert_allclose(preprocessing.mean, scaled.mean(axis=(0, 1, 2)), rtol=1e-9)
        assert (preprocessing.resize, preprocessing.crop, preprocessing.channels) == (5, (6, 5), channels)
    np.testing.assert_allclose(by_channel.std, scaled.std(axis=(0, 1, 2)), rtol=1e-9)
    assert by_pixel.std == mean_only.std == (1.0,) * channels
    assert by_channel.mean_image is None
    assert mean_only.mean_image is None


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("at_once", [1, 7, 256])
def test_no_bit_of_the_statistics_depends_on_how_many_images_are_held(
    at_once: int, channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the statistics of every Run so far were summed: pieces of at most 256 images, all of one length."""
    array = np.random.default_rng(4).integers(0, 256, (600, 6, 5, channels), dtype=np.uint8)
    total, squares = np.zeros((6, 5, channels)), np.zeros(channels)
    for piece in np.array_split(array, 3):
        pixels = piece.astype(np.float64) / 255
        total += pixels.sum(axis=0)
        squares += (pixels**2).mean(axis=(1, 2)).sum(axis=0)
    mean = (total / 600).mean(axis=(0, 1))
    monkeypatch.setattr(preprocess, "STATISTICS_PIXELS", at_once * 6 * 5)
    found = fit(ArrayImages(array), resize=5, crop=(6, 5), normalisation="channel")
    assert found.mean == tuple(mean.tolist())
    assert found.std == tuple(np.sqrt(squares / 600 - mean**2).tolist())
    by_pixel = fit(ArrayImages(array), resize=5, crop=(6, 5), normalisation="pixel").mean_image
    assert by_pixel is not None
    assert by_pixel.tobytes() == (total / 600).astype(np.float32).tobytes()


def test_statistics_hold_only_so_many_pixels_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 200 images of 64x64 in float64, 20 MB, four are held at a time."""
    images = ArrayImages(noise(200 * 64, 64).reshape(200, 64, 64, 3))
    monkeypatch.setattr(preprocess, "STATISTICS_PIXELS", 4 * 64 * 64)
    tracemalloc.start()
    try:
        fit(images, resize=64, crop=(64, 64), normalisation="channel")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4e6


def test_a_normalised_training_set_has_mean_zero_and_deviation_one() -> None:
    array = np.random.default_rng(3).integers(30, 200, (50, 8, 8, 3), dtype=np.uint8)
    out = fit(ArrayImages(array), resize=8, crop=(8, 8), normalisation="channel").normalise(torch.from_numpy(array))
    torch.testing.assert_close(out.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(out.std(dim=(0, 2, 3), correction=0), torch.ones(3), atol=1e-4, rtol=0)


class Lazy:
    """Images that are made when asked for, and remember who was asked."""

    channels = 3

    def __init__(self, count: int) -> None:
        self.count, self.asked = count, list[int]()

    def __len__(self) -> int:
        return self.count

    def load(self, index: int) -> Pixels:
        self.asked.append(int(index))
        return np.full((4, 4, 3), index, np.uint8)

    def subset(self, indices: NDArray[np.int64]) -> Lazy:
        raise NotImplementedError


def test_of_a_large_folder_a_spread_sample_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preprocess, "SAMPLE_SIZE", 5)
    images = Lazy(101)
    preprocessing = fit(images, resize=4, crop=(4, 4), normalisation="mean-only")
    assert images.asked == [0, 25, 50, 75, 100]
    assert preprocessing.mean == pytest.approx((50 / 255,) * 3)
    few = Lazy(3)
    fit(few, resize=4, crop=(4, 4), normalisation="mean-only")
    assert few.asked == [0, 1, 2]


def test_the_statistics_are_of_the_views_not_of_the_whole_images() -> None:
    array = np.zeros((3, 8, 8, 1), np.uint8)
    array[:, 2:6, 2:6] = 255
    assert fit(ArrayImages(array), resize=8, crop=(4, 4), normalisation="channel").mean == (1.0,)


@pytest.mark.parametrize("normalisation", ["pixel", "channel", "mean-only"])
@pytest.mark.parametrize("kind", ["array", "folder"])
def test_training_evaluation_and_prediction_go_the_same_road(kind: str, normalisation: str, image_folder: Path) -> None:
    """Without augmentation, a batch holds for each image what the preprocessing alone makes of it, bit by bit."""
    if kind == "folder":
        split, resize, crop = folder(image_folder).train, 36, (32, 32)
    else:
        array = np.stack([noise(12, 12, seed=seed) for seed in range(9)])
        split, resize, crop = Split("train", ArrayImages(array), np.arange(9)), 12, (12, 12)
    preprocessing = fit(split.images, resize=resize, crop=crop, normalisation=normalisation)  # type: ignore[arg-type]
    alone = [
        preprocessing.normalise(torch.from_numpy(preprocessing.view(split.images.load(index)).copy())[None])[0]
        for index in range(len(split))
    ]
    evaluated = torch.cat([x for x, _ in evaluation_batches(split, preprocessing, batch_size=4, device=CPU)])
    assert torch.equal(evaluated, torch.stack(alone))
    batches = TrainingBatches(split, preprocessing, None, batch_size=len(split), seed=5, device=CPU, workers=2)
    trained, _ = next(iter(batches.iterate(0, 1)))
    key = sorted(each.numpy().tobytes() for each in alone)
    assert sorted(each.numpy().tobytes() for each in trained) == key


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("pixelwise", [False, True])
def test_normalising_whole_rows_changes_no_bit(channels: int, pixelwise: bool) -> None:
    generator = np.random.default_rng(0)
    mean_image = generator.random((6, 5, channels), dtype=np.float32) if pixelwise else None
    mean, std = (0.485, 0.456, 0.406)[:channels], (0.229, 0.224, 0.225)[:channels]
    own = Preprocessing(channels=channels, resize=6, crop=(6, 5), mean=mean, std=std, mean_image=mean_image)
    batch = torch.from_numpy(generator.integers(0, 256, (4, 6, 5, channels), dtype=np.uint8))
    for pixels in (batch, batch[:, :, ::1][1:3], batch.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)):
        before = pixels.clone()
        subtracted = torch.tensor(mean) if mean_image is None else torch.from_numpy(mean_image)
        expected = (pixels.float() / 255 - subtracted) / torch.tensor(std)
        found = own.normalise(pixels)
        assert torch.equal(found, expected.permute(0, 3, 1, 2))
        assert found.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(pixels, before)
