"""The digits of scikit-learn: how many, of which classes, each once, scaled to a byte."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

from residuum.data.digits import digits
from residuum.data.source import Dataset

PER_CLASS = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]  # of the UCI test part, as its documentation lists them


def test_the_splits_have_1297_200_and_300_images_of_eight_by_eight(digits_data: Dataset) -> None:
    assert {name: len(split) for name, split in digits_data.splits().items()} == {
        "train": 1297,
        "val": 200,
        "test": 300,
    }
    for name, split in digits_data.splits().items():
        assert split.name == name
        assert len(split.images) == len(split.labels)
        assert split.images.load(0).shape == (8, 8, 1)
        assert split.images.load(0).dtype == np.uint8
        assert split.labels.dtype == np.int64
    assert digits_data.image_size == (8, 8)
    assert digits_data.class_names == tuple("0123456789")


def test_every_split_has_the_class_shares_of_the_whole(digits_data: Dataset) -> None:
    total = sum(np.bincount(split.labels, minlength=10) for split in digits_data.splits().values())
    assert total.tolist() == PER_CLASS
    for split in digits_data.splits().values():
        expected = np.array(PER_CLASS) * len(split) / 1797
        assert np.abs(np.bincount(split.labels, minlength=10) - expected).max() < 1.5


def test_each_image_of_scikit_learn_is_in_one_split_with_its_own_label(digits_data: Dataset) -> None:
    bunch = load_digits()
    expected = sorted(
        (bytes(int(value * 255 / 16 + 0.5) for value in image.ravel()), int(label))
        for image, label in zip(bunch.images, bunch.target, strict=True)
    )
    got = sorted(
        (split.images.load(index).tobytes(), int(split.labels[index]))
        for split in digits_data.splits().values()
        for index in range(len(split))
    )
    assert got == expected


def test_the_scale_is_0_to_255(digits_data: Dataset) -> None:
    images = np.stack([digits_data.train.images.load(index) for index in range(300)])
    levels = [0, 16, 32, 48, 64, 80, 96, 112, 128, 143, 159, 175, 191, 207, 223, 239, 255]  # round(k 255 / 16)
    assert np.unique(images).tolist() == levels


@pytest.mark.parametrize("seed", [0, 1])
def test_the_seed_alone_draws_the_splits(seed: int, digits_data: Dataset) -> None:
    again = digits(seed)
    assert (again.fingerprint == digits_data.fingerprint) is (seed == 0)
    assert digits(seed).fingerprint == again.fingerprint
