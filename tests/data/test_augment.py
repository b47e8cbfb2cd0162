"""Augmentation against a loop over images with real padding, against slicing, and by its statistics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from residuum.data.augment import (
    ColourComponents,
    CropFlip,
    ScaleCropFlip,
    alternating_mirror,
    colour_components,
    crop_flip,
    random_words,
    scale_crop_flip,
)
from residuum.data.preprocess import Preprocessing
from residuum.data.source import ArrayImages, Pixels
from residuum.errors import InputError

QUICK = settings(deadline=None, derandomize=True, max_examples=60)


def noise(*shape: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def some_preprocessing(height: int, width: int, channels: int, mean_image: bool) -> Preprocessing:
    generator = np.random.default_rng(7)
    return Preprocessing(
        channels=channels,
        resize=min(height, width),
        crop=(height, width),
        mean=tuple(generator.random(channels).tolist()),
        std=tuple((generator.random(channels) + 0.2).tolist()),
        mean_image=generator.random((height, width, channels)).astype(np.float32) if mean_image else None,
    )


def words_of(*rows: tuple[int, int, int, int]) -> NDArray[np.uint64]:
    return np.array(rows, dtype=np.uint64)


@given(
    seed=st.integers(0, 2**63),
    start=st.integers(0, 10**12),
    cuts=st.lists(st.integers(0, 7), min_size=1, max_size=5),
)
@QUICK
def test_random_words_depend_on_seed_and_position_only(seed: int, start: int, cuts: list[int]) -> None:
    whole = random_words(seed, start, sum(cuts))
    assert whole.shape == (sum(cuts), 4)
    assert whole.dtype == np.uint64
    pieces, position = [], start
    for count in cuts:
        pieces.append(random_words(seed, position, count))
        position += count
    assert (np.concatenate(pieces) == whole).all()


def test_random_words_are_all_different_and_every_bit_is_balanced() -> None:
    words = random_words(0, 0, 4096)
    assert len(np.unique(words)) == words.size
    bits = np.unpackbits(words.view(np.uint8)).reshape(-1, 64).mean(axis=0)
    assert np.abs(bits - 0.5).max() < 0.02  # five deviations of 16,384 fair coins
    assert not np.isin(words, random_words(1, 0, 4096)).any()


@given(
    count=st.integers(1, 5),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    channels=st.sampled_from([1, 3]),
    pad=st.integers(0, 5),
    flip=st.booleans(),
    mean_image=st.booleans(),
    start=st.integers(0, 1000),
)
@QUICK
def test_crop_flip_is_pad_crop_and_mirror_after_the_mean_is_subtracted(
    count: int, height: int, width: int, channels: int, pad: int, flip: bool, mean_image: bool, start: int
) -> None:
    preprocessing = some_preprocessing(height, width, channels, mean_image)
    batch, words = noise(count, height, width, channels), random_words(3, start, count)
    mean = np.asarray(preprocessing.mean) if preprocessing.mean_image is None else preprocessing.mean_image
    expected = np.zeros((count, height, width, channels))
    for index in range(count):
        normal = (batch[index] / 255 - mean) / np.asarray(preprocessing.std)
        padded = np.zeros((height + 2 * pad, width + 2 * pad, channels))
        padded[pad : pad + height, pad : pad + width] = normal
        top, left = int(words[index, 0]) % (2 * pad + 1), int(words[index, 1]) % (2 * pad + 1)
        crop = padded[top : top + height, left : left + width]
        expected[index] = crop[:, ::-1] if flip and int(words[index, 2]) % 2 else crop
    got = crop_flip(torch.from_numpy(batch), words, CropFlip(pad=pad, flip=flip), preprocessing)
    assert got.shape == (count, channels, height, width)
    assert got.dtype == torch.float32
    np.testing.assert_allclose(got.permute(0, 2, 3, 1).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("mean_image", [False, True])
def test_crop_flip_with_nothing_to_do_is_normalising(mean_image: bool) -> None:
    preprocessing = some_preprocessing(6, 7, 3, mean_image)
    batch = torch.from_numpy(noise(4, 6, 7, 3))
    got = crop_flip(batch, random_words(0, 0, 4), CropFlip(pad=0, flip=False), preprocessing)
    assert torch.equal(got, preprocessing.normalise(batch))
    assert got.is_contiguous(memory_format=torch.channels_last)


def test_crop_flip_draws_every_offset_equally_and_mirrors_half() -> None:
    """One bright pixel in the middle of a dark image tells where the crop was taken."""
    size, pad, count = 11, 2, 5000
    array = np.zeros((1, size, size, 1), np.uint8)
    array[0, 5, 5] = 255
    marker = array.copy()
    marker[0, 5, 6] = 51  # to the right of the bright one, unless mirrored
    plain = Preprocessing(channels=1, resize=size, crop=(size, size), mean=(0.0,), std=(1.0,))
    batch = torch.from_numpy(np.repeat(marker, count, axis=0))
    out = crop_flip(batch, random_words(11, 0, count), CropFlip(pad=pad), plain)[:, 0].numpy()
    bright = np.argwhere(out == 1)
    assert bright[:, 0].tolist() == list(range(count))
    rows, columns = bright[:, 1], bright[:, 2]
    mirrored = out[np.arange(count), rows, columns - 1] > 0
    cells = np.histogram2d(rows, columns, bins=[np.arange(2.5, 8)] * 2)[0]
    assert cells.sum() == count
    assert np.abs(cells - count / 25).max() < 5 * np.sqrt(count / 25)
    assert abs(mirrored.mean() - 0.5) < 5 * 0.5 / np.sqrt(count)
    assert abs(np.corrcoef(mirrored, rows)[0, 1]) < 0.08


@given(
    seed=st.integers(0, 2**63),
    num_images=st.integers(1, 40),
    start=st.integers(0, 10**9),
    cuts=st.lists(st.integers(0, 30), min_size=1, max_size=5),
)
@QUICK
def test_the_alternating_mirror_turns_with_each_epoch_however_positions_are_cut(
    seed: int, num_images: int, start: int, cuts: list[int]
) -> None:
    images = np.random.default_rng(0).integers(0, num_images, sum(cuts))
    whole = alternating_mirror(seed, num_images, images, start)
    pieces, done = [], 0
    for count in cuts:
        pieces.append(alternating_mirror(seed, num_images, images[done : done + count], start + done))
        done += count
    assert (np.concatenate(pieces) == whole).all()
    assert set(whole.tolist()) <= {0, 1}
    assert (alternating_mirror(seed, num_images, images, start + num_images) == 1 - whole).all()
    assert (alternating_mirror(seed, num_images, images, start + 2 * num_images) == whole).all()


def test_half_are_mirrored_in_the_first_epoch_by_a_coin_of_the_seed() -> None:
    count = 20_000
    images = np.arange(count)
    first, second = (alternating_mirror(seed, count, images, 0).astype(int) for seed in (0, 1))
    for coins in (first, second):
        assert abs(coins.mean() - 0.5) < 5 * 0.5 / np.sqrt(count)
        assert abs(np.corrcoef(coins[1:], coins[:-1])[0, 1]) < 5 / np.sqrt(count)
    assert abs(np.corrcoef(first, second)[0, 1]) < 5 / np.sqrt(count)
    crops = random_words(0, 0, count)[:, :2] & np.uint64(1)
    assert max(abs(np.corrcoef(first, crop)[0, 1]) for crop in crops.T) < 5 / np.sqrt(count)
    assert (alternating_mirror(0, 2 * count, images, 0) == first).all(), "an image's coin is the same in a larger set"


def test_a_flip_of_another_word_is_refused() -> None:
    with pytest.raises(InputError, match="flip: must be true, false or alternating, got 'sometimes'"):
        CropFlip(flip="sometimes")  # type: ignore[arg-type]


def test_scale_crop_flip_is_resizing_slicing_and_mirroring() -> None:
    """Of what is resized only the crop is made, which rounds some values of noise otherwise, by at most 2 levels."""

    def alike(one: Pixels, two: Pixels) -> bool:
        difference = np.abs(one.astype(int) - two)
        return bool(difference.max() <= 2 and difference.mean() < 0.2)

    pixels = noise(30, 44, 3)
    preprocessing = some_preprocessing(12, 12, 3, False)
    augmentation = ScaleCropFlip(smallest=14, largest=23)
    for words in random_words(1, 0, 60):
        side = 14 + int(words[0]) % 10
        resized = preprocessing.resized(pixels, side)
        top, left = int(words[1]) % (side - 11), int(words[2]) % (resized.shape[1] - 11)
        expected = resized[top : top + 12, left : left + 12]
        if int(words[3]) % 2:
            expected = np.fliplr(expected)
        got = scale_crop_flip(pixels, words, augmentation, preprocessing)
        assert got.shape == (12, 12, 3)
        assert alike(got, expected)
        assert not alike(got, expected[:, ::-1])
        unmirrored = scale_crop_flip(pixels, words, ScaleCropFlip(smallest=14, largest=23, flip=False), preprocessing)
        assert alike(unmirrored, resized[top : top + 12, left : left + 12])


def test_scale_crop_flip_reaches_both_ends_of_scales_and_all_corners(monkeypatch: pytest.MonkeyPatch) -> None:
    sides = set[int]()
    original = Preprocessing.resized

    def spy(self: Preprocessing, pixels: Pixels, shorter_side: int, part: tuple[int, int, int, int]) -> Pixels:
        sides.add(shorter_side)
        return original(self, pixels, shorter_side, part)

    monkeypatch.setattr(Preprocessing, "resized", spy)
    preprocessing = some_preprocessing(8, 8, 3, False)
    for words in random_words(2, 0, 200):
        scale_crop_flip(noise(10, 10, 3), words, ScaleCropFlip(smallest=8, largest=12), preprocessing)
    assert sides == {8, 9, 10, 11, 12}
    numbered = np.arange(100, dtype=np.uint8).reshape(10, 10, 1).repeat(3, axis=2)
    fixed = ScaleCropFlip(smallest=10, largest=10, flip=False)
    corners = {
        int(scale_crop_flip(numbered, words, fixed, preprocessing)[0, 0, 0]) for words in random_words(2, 0, 300)
    }
    assert corners == {0, 1, 2, 10, 11, 12, 20, 21, 22}


@given(height=st.integers(1, 40), width=st.integers(1, 40), position=st.integers(0, 10**6))
@QUICK
def test_scale_crop_flip_takes_images_of_any_size(height: int, width: int, position: int) -> None:
    preprocessing = some_preprocessing(12, 12, 1, False)
    got = scale_crop_flip(
        noise(height, width, 1), random_words(0, position, 1)[0], ScaleCropFlip(smallest=6, largest=20), preprocessing
    )
    assert got.shape == (12, 12, 1)


def coloured(colours: list[tuple[int, int, int]]) -> ArrayImages:
    return ArrayImages(np.array(colours, np.uint8)[:, None, None, :].repeat(8, axis=1).repeat(8, axis=2))


def test_colour_components_are_the_directions_in_which_colours_vary() -> None:
    """Colours on the line (2, 1, 0): one component along it, as long as its eigenvalue; two of length zero.

    Krizhevsky et al. 2012, section 4.1: to each pixel, [p1, p2, p3] [a1 l1, a2 l2, a3 l3]^T with eigenvalues l.
    """
    images = coloured([(100 + 2 * step, 50 + step, 30) for step in range(-20, 21)])
    preprocessing = some_preprocessing(8, 8, 3, False)
    components = colour_components(images, preprocessing).components
    assert components.shape == (3, 3)
    lengths = np.sort(np.linalg.norm(components, axis=1))
    eigenvalue = 5 * np.var(np.arange(-20, 21)) / 255**2
    np.testing.assert_allclose(lengths, [0, 0, eigenvalue], atol=eigenvalue * 0.02)
    longest = components[np.argmax(np.linalg.norm(components, axis=1))]
    np.testing.assert_allclose(np.abs(longest), np.array([2, 1, 0]) / np.sqrt(5) * eigenvalue, atol=eigenvalue * 0.02)


def test_colour_components_add_up_to_the_square_of_the_covariance_of_the_colours() -> None:
    images = ArrayImages(np.minimum(noise(40, 8, 8, 3), np.array([255, 120, 60])).astype(np.uint8))
    components = colour_components(images, some_preprocessing(8, 8, 3, False)).components.astype(np.float64)
    pixels = images.array.reshape(40, 64, 3)[:, ::37].reshape(-1, 3) / 255
    covariance = np.cov(pixels.T)
    np.testing.assert_allclose(components.T @ components, covariance @ covariance, rtol=1e-4, atol=1e-8)


def test_the_colour_shift_is_a_normal_mixture_of_the_components_of_the_deviation_asked_for() -> None:
    generator = np.random.default_rng(5)
    basis = generator.normal(size=(3, 3)).astype(np.float32)
    preprocessing = some_preprocessing(1, 1, 3, False)
    shifts = ColourComponents(basis).shift(torch.zeros(20000, 3, 1, 1), 0, 0, 0.1, preprocessing)[:, :, 0, 0].numpy()
    pixel_shifts = shifts * np.asarray(preprocessing.std)
    expected = 0.01 * basis.T.astype(np.float64) @ basis
    scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    assert (np.abs(np.cov(pixel_shifts.T) - expected) / scale).max() < 0.06
    assert (np.abs(pixel_shifts.mean(axis=0)) / np.sqrt(np.diag(expected))).max() < 0.04
    kurtosis = ((pixel_shifts / np.sqrt(np.diag(expected))) ** 4).mean(axis=0)
    assert np.abs(kurtosis - 3).max() < 0.35  # of a normal distribution


@given(start=st.integers(0, 10**9), counts=st.lists(st.integers(1, 5), min_size=1, max_size=4))
@QUICK
def test_the_colour_shift_depends_on_the_position_only_and_is_one_colour_for_an_image(
    start: int, counts: list[int]
) -> None:
    components = ColourComponents(np.eye(3, dtype=np.float32))
    preprocessing = some_preprocessing(2, 3, 3, False)
    batch = torch.from_numpy(np.random.default_rng(0).random((sum(counts), 3, 2, 3), np.float32))
    whole = components.shift(batch, 9, start, 0.1, preprocessing)
    pieces, done = [], 0
    for count in counts:
        pieces.append(components.shift(batch[done : done + count], 9, start + done, 0.1, preprocessing))
        done += count
    assert torch.equal(torch.cat(pieces), whole)
    difference = whole - batch
    torch.testing.assert_close(difference, difference[:, :, :1, :1].expand_as(difference))
    assert torch.equal(components.shift(batch, 9, start, 0.0, preprocessing), batch)


def test_the_colour_shift_is_independent_of_crop_and_mirror() -> None:
    """Colours that followed the words of the crop would tie brightness to position."""
    shift = ColourComponents(np.eye(3, dtype=np.float32)).shift(
        torch.zeros(4000, 3, 1, 1),
        0,
        0,
        1.0,
        Preprocessing(channels=3, resize=1, crop=(1, 1), mean=(0.0,) * 3, std=(1.0,) * 3),
    )
    words = random_words(0, 0, 4000)
    for column in range(4):
        for channel in range(3):
            for value in (words[:, column] % np.uint64(9), words[:, column] >> np.uint64(32)):
                assert abs(np.corrcoef(value.astype(float), shift[:, channel, 0, 0].numpy())[0, 1]) < 0.08
