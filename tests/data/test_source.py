"""What a data set is: subsets keep images and labels together, parts are stratified, fingerprints tell changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from residuum.data.source import NAMES, ArrayImages, Dataset, Split, array_fingerprint, stratified
from residuum.errors import InputError


def numbered(count: int, name: str = "train", channels: int = 1) -> Split:
    """Images whose pixels all hold their index, labelled by index modulo 3."""
    array = np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None, None], (count, 4, 5, channels)).copy()
    return Split(name, ArrayImages(array), np.arange(count, dtype=np.int64) % 3)


def dataset(**splits: Split | None) -> Dataset:
    named = {"train": numbered(6), "val": None, "test": None} | splits
    return Dataset(name="things", class_names=("a", "b", "c"), image_size=(4, 5), fingerprint="", **named)


def test_array_images_yield_height_width_channels() -> None:
    images = numbered(6, channels=3).images
    assert (len(images), images.channels) == (6, 3)
    assert images.load(4).shape == (4, 5, 3)
    assert (images.load(4) == 4).all()


def test_a_subset_keeps_order_and_pairs_images_with_their_labels() -> None:
    part = numbered(9).subset(np.array([7, 2, 2, 5]))
    assert [int(part.images.load(index)[0, 0, 0]) for index in range(len(part))] == [7, 2, 2, 5]
    assert part.labels.tolist() == [1, 2, 2, 2]
    assert part.name == "train"
    assert numbered(9).subset(np.array([0]), "val").name == "val"


def test_splits_are_those_that_exist_in_reading_order() -> None:
    assert [*dataset().splits()] == ["train"]
    assert [*dataset(test=numbered(3, "test"), val=numbered(3, "val")).splits()] == ["train", "val", "test"]


def test_a_missing_split_is_refused_and_the_existing_ones_are_named() -> None:
    both = dataset(test=numbered(3, "test"))
    assert both.split("test") is both.test
    with pytest.raises(InputError, match=r"^things: has no val split \(it has train, test\)\. Try: --split test$"):
        both.split("val")


def test_channels_of_a_data_set_are_those_of_its_images() -> None:
    assert dataset(train=numbered(3, channels=3)).channels == 3


@given(
    sizes=st.lists(st.integers(12, 40), min_size=2, max_size=5),
    first=st.floats(0.2, 0.5),
    second=st.floats(0.2, 0.4),
    seed=st.integers(0, 1000),
)
@settings(deadline=None, derandomize=True, max_examples=40)
def test_stratified_parts_hold_each_index_once_and_each_class_by_its_share(
    sizes: list[int], first: float, second: float, seed: int
) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    one, two = round(first * len(labels)), round(second * len(labels))
    counts = (len(labels) - one - two, one, two)
    parts = stratified(labels, counts, seed)
    assert tuple(len(part) for part in parts) == counts
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(labels)))
    for part, count in zip(parts, counts, strict=True):
        got = np.bincount(labels[part], minlength=len(sizes))
        assert np.abs(got - np.array(sizes) * count / len(labels)).max() < 2
        assert (np.diff(part) > 0).all()


def test_stratified_is_drawn_by_the_seed_alone() -> None:
    labels = np.arange(90) % 3
    draws = [stratified(labels, (60, 30), seed)[1].tolist() for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]


def test_stratified_refuses_counts_that_do_not_add_up_and_parts_too_small_for_every_class() -> None:
    with pytest.raises(ValueError, match=r"must add up to 90, got 91"):
        stratified(np.arange(90) % 3, (60, 31), 0)
    with pytest.raises(ValueError, match="number of classes"):
        stratified(np.arange(90) % 3, (88, 2), 0)


def test_the_fingerprint_changes_with_a_pixel_a_label_and_the_order_of_splits() -> None:
    one, two = numbered(6), numbered(3)
    base = array_fingerprint(one, two)
    assert base == array_fingerprint(numbered(6), numbered(3))
    assert len(base) == 64
    changed_pixel = numbered(6)
    changed_pixel.images.array[3, 2, 1, 0] ^= 1  # type: ignore[attr-defined]
    changed_label = numbered(6)
    changed_label.labels[5] = 0
    others = [
        array_fingerprint(changed_pixel, two),
        array_fingerprint(changed_label, two),
        array_fingerprint(two, one),
        array_fingerprint(one),
        array_fingerprint(one.subset(np.arange(6)[::-1]), two),
    ]
    assert len({base, *others}) == 6


# What is refused


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.int32, np.uint64, np.int64])
def test_labels_of_any_whole_number_become_int64(kind: Any) -> None:
    split = Split("train", numbered(4).images, np.array([0, 2, 1, 0], dtype=kind))
    assert split.labels.dtype == np.int64
    assert split.labels.tolist() == [0, 2, 1, 0]


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (np.zeros(4, np.float32), r"labels are float32 of shape \(4,\) \(expected one whole number for each image\)"),
        (np.zeros(4, bool), "labels are bool"),
        (np.zeros((4, 3), np.int64), r"labels are int64 of shape \(4, 3\)"),
        (np.array(["a", "b", "c", "a"]), "labels are <U1"),
        (np.zeros(3, np.int64), r"has 3 labels \(expected 4, one for each image\)"),
        (np.zeros(5, np.int64), "has 5 labels"),
    ],
)
def test_labels_that_are_not_one_whole_number_for_each_image_are_refused(labels: Any, told: str) -> None:
    with pytest.raises(InputError, match=rf"^train: {told}.*Try: "):
        Split("train", numbered(4).images, labels)


@pytest.mark.parametrize("name", ["train", "val", "test"])
def test_labels_that_no_class_name_belongs_to_are_refused(name: str) -> None:
    for labels in ([1, 2, 3], [0, -1, 2]):
        split = Split(name, numbered(3).images, np.array(labels))
        with pytest.raises(
            InputError, match=rf"^things: labels of {name} .*\(expected 0 to 2, of 3 class names\).*Try: "
        ):
            dataset(**{name: split})


@pytest.mark.parametrize("name", ["train", "val", "test"])
def test_a_split_without_images_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=rf"^things: its {name} split has no images\. Try: "):
        dataset(**{name: numbered(0, name)})
    with pytest.raises(InputError, match="train split has no images"):
        dataset().with_train(np.arange(0))


def test_the_reference_of_a_set_is_its_name_and_of_anything_else_a_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    one = dataset()
    assert one.reference == str(tmp_path / "things")
    for name in NAMES:
        assert Dataset(**{**vars(one), "name": name}).reference == name
