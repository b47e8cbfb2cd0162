"""Batches: the order of samples, the same tail wherever a run goes on, each image once in evaluation."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

import residuum
from residuum.data import batches as module
from residuum.data.augment import Augmentation, CropFlip, ScaleCropFlip
from residuum.data.batches import (
    TrainingBatches,
    epoch_permutation,
    evaluation_batches,
    sample_order,
    training_reduction,
)
from residuum.data.decode import decoding_threads, decoding_with
from residuum.data.folder import FolderImages, folder
from residuum.data.preprocess import Preprocessing, fit
from residuum.data.source import ArrayImages, Reduction, Split
from residuum.errors import InputError
from residuum.nets.resnet import ResNet, Variant

CPU = torch.device("cpu")
QUICK = settings(deadline=None, derandomize=True, max_examples=60)
RANDOM_SCALE = ScaleCropFlip(smallest=34, largest=48)


def plain(size: int = 6, channels: int = 1) -> Preprocessing:
    return Preprocessing(
        channels=channels, resize=size, crop=(size, size), mean=(0.0,) * channels, std=(1.0,) * channels
    )


def numbered(count: int, size: int = 6) -> Split:
    """Image i is flat and of value i; its label is i."""
    array = np.arange(count, dtype=np.uint8)[:, None, None, None] * np.ones((1, size, size, 1), np.uint8)
    return Split("train", ArrayImages(array), np.arange(count, dtype=np.int64))


def batches_of(
    split: Split,
    augmentation: Augmentation | None = None,
    *,
    preprocessing: Preprocessing | None = None,
    batch_size: int = 4,
    seed: int = 0,
    workers: int = 2,
) -> TrainingBatches:
    return TrainingBatches(
        split,
        preprocessing or plain(),
        augmentation,
        batch_size=batch_size,
        seed=seed,
        device=CPU,
        workers=workers,
    )


def same(one: list[tuple[Tensor, Tensor]], two: list[tuple[Tensor, Tensor]]) -> bool:
    return len(one) == len(two) and all(
        torch.equal(a, c) and torch.equal(b, d) for (a, b), (c, d) in zip(one, two, strict=True)
    )


# The order


@given(num_images=st.integers(1, 40), seed=st.integers(0, 2**40), epoch=st.integers(0, 50))
@QUICK
def test_every_epoch_has_each_image_once(num_images: int, seed: int, epoch: int) -> None:
    order = sample_order(num_images, seed, epoch * num_images, num_images)
    assert sorted(order.tolist()) == list(range(num_images))
    assert order.tolist() == epoch_permutation(num_images, seed, epoch).tolist()


@given(
    num_images=st.integers(1, 20),
    seed=st.integers(0, 100),
    start=st.integers(0, 200),
    cuts=st.lists(st.integers(0, 50), min_size=1, max_size=6),
)
@QUICK
def test_the_order_is_the_same_however_it_is_cut(num_images: int, seed: int, start: int, cuts: list[int]) -> None:
    whole = sample_order(num_images, seed, 0, start + sum(cuts))[start:]
    pieces, position = [], start
    for count in cuts:
        pieces.append(sample_order(num_images, seed, position, count))
        position += count
    assert np.concatenate(pieces).tolist() == whole.tolist()


def test_epochs_and_seeds_have_different_orders_and_none_is_the_identity() -> None:
    orders = {tuple(epoch_permutation(50, seed, epoch).tolist()) for seed in range(5) for epoch in range(5)}
    assert len(orders) == 25
    assert tuple(range(50)) not in orders


def test_every_image_comes_first_equally_often() -> None:
    first = np.bincount([sample_order(8, seed, 8 * epoch, 1)[0] for seed in range(40) for epoch in range(50)])
    assert np.abs(first - 250).max() < 5 * np.sqrt(250)


def test_changing_a_returned_order_changes_no_later_one() -> None:
    before = sample_order(10, 0, 0, 10)
    kept = before.copy()
    before[:] = 0
    assert (sample_order(10, 0, 0, 10) == kept).all()


# Training


def test_batches_are_full_and_follow_the_order_with_labels_at_their_images() -> None:
    for step, (images, labels) in enumerate(batches_of(numbered(7), batch_size=4, seed=3).iterate(0, 9)):
        assert images.shape == (4, 1, 6, 6)
        assert images.dtype == torch.float32
        assert labels.dtype == torch.int64
        assert labels.tolist() == sample_order(7, 3, 4 * step, 4).tolist()
        assert torch.equal((images * 255).round()[:, 0, 3, 3].long(), labels)


def test_a_batch_may_be_larger_than_the_set() -> None:
    _, labels = next(batches_of(numbered(3), batch_size=7).iterate(0, 1))
    assert sorted(labels[:3].tolist()) == sorted(labels[3:6].tolist()) == [0, 1, 2]


@given(
    start=st.integers(0, 7),
    length=st.integers(0, 4),
    augmentation=st.sampled_from(
        [None, CropFlip(pad=2), CropFlip(pad=0), CropFlip(flip=False), CropFlip(flip="alternating")]
    ),
    batch_size=st.integers(1, 9),
    seed=st.integers(0, 1000),
)
@QUICK
def test_going_on_at_any_step_gives_the_batches_of_the_uninterrupted_run(
    start: int, length: int, augmentation: Augmentation | None, batch_size: int, seed: int
) -> None:
    array = np.random.default_rng(0).integers(0, 256, (11, 6, 6, 1), dtype=np.uint8)
    split = Split("train", ArrayImages(array), np.arange(11))
    whole = [*batches_of(split, augmentation, batch_size=batch_size, seed=seed).iterate(0, start + length)]
    tail = [*batches_of(split, augmentation, batch_size=batch_size, seed=seed).iterate(start, start + length)]
    assert same(tail, whole[start:])


def sided(count: int) -> Split:
    """Image i is of value i + 1 on its left, and dark on its right."""
    array = np.zeros((count, 6, 6, 1), np.uint8)
    array[:, :, :3] = np.arange(1, count + 1, dtype=np.uint8)[:, None, None, None]
    return Split("train", ArrayImages(array), np.arange(count, dtype=np.int64))


def mirrored(batches: TrainingBatches, epochs: int) -> dict[int, list[bool]]:
    """For each image whether it came mirrored, epoch by epoch; batches go over the ends of epochs."""
    count = len(batches.split)
    seen: dict[int, list[bool]] = {index: [] for index in range(count)}
    for images, labels in batches.iterate(0, -(-epochs * count // batches.batch_size)):
        for image, label in zip(images[:, 0], labels.tolist(), strict=True):
            assert (float(image[0, 0]) > 0) != (float(image[0, -1]) > 0)
            seen[label].append(float(image[0, -1]) > 0)
    return {label: coins[:epochs] for label, coins in seen.items()}


@pytest.mark.parametrize("batch_size", [1, 4, 11, 30])
def test_two_epochs_show_each_image_once_as_it_is_and_once_mirrored(batch_size: int) -> None:
    alternating = CropFlip(pad=0, flip="alternating")
    seen = mirrored(batches_of(sided(11), alternating, batch_size=batch_size, seed=5), 4)
    assert seen == mirrored(batches_of(sided(11), alternating, batch_size=7, seed=5), 4)
    assert all(coins in ([True, False] * 2, [False, True] * 2) for coins in seen.values())
    assert 0 < sum(coins[0] for coins in seen.values()) < 11
    by_chance = mirrored(batches_of(sided(11), CropFlip(pad=0), batch_size=batch_size, seed=5), 4)
    assert not all(coins[0] != coins[1] for coins in by_chance.values())


def test_crops_are_the_same_with_either_mirror() -> None:
    """The alternating mirror changes nothing else: the rows that a crop shows are the same."""
    one, two = ([*batches_of(numbered(9), CropFlip(flip=flip)).iterate(0, 5)] for flip in (False, "alternating"))
    rows = [[(image[0].sum(1) > 0).tolist() for images, _ in each for image in images] for each in (one, two)]
    assert rows[0] == rows[1]


@pytest.mark.parametrize(
    "augmentation",
    [None, CropFlip(), CropFlip(flip="alternating"), RANDOM_SCALE],
    ids=["none", "crop-flip", "alternating", "scale"],
)
def test_a_folder_goes_on_at_any_step_with_any_number_of_workers(
    augmentation: Augmentation | None, image_folder: Path
) -> None:
    split = folder(image_folder).train
    preprocessing = fit(split.images, resize=36, crop=(32, 32), normalisation="pixel")
    whole = [*batches_of(split, augmentation, preprocessing=preprocessing, batch_size=5, workers=1).iterate(0, 7)]
    assert len(whole) == 7
    for workers in (1, 2, 5, 16):
        for start in (0, 1, 2, 3, 6, 7):
            batches = batches_of(split, augmentation, preprocessing=preprocessing, batch_size=5, workers=workers)
            assert same([*batches.iterate(start, 7)], whole[start:])
    assert not same([*batches.iterate(0, 5)], [*batches.iterate(1, 6)])


def test_a_folder_and_an_array_of_the_same_images_give_the_same_batches(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 256, (9, 8, 8, 3), dtype=np.uint8)
    for index, pixels in enumerate(array):
        Image.fromarray(pixels).save(tmp_path / f"{index}.png")
    labels = np.arange(9, dtype=np.int64)
    lazy = Split("train", FolderImages(tuple(tmp_path / f"{index}.png" for index in range(9))), labels)
    eager = Split("train", ArrayImages(array), labels)
    preprocessing = fit(eager.images, resize=8, crop=(8, 8), normalisation="pixel")
    for augmentation in (None, CropFlip(pad=1)):
        one, two = (batches_of(split, augmentation, preprocessing=preprocessing) for split in (lazy, eager))
        assert same([*one.iterate(0, 5)], [*two.iterate(0, 5)])


def test_the_seed_draws_order_and_augmentation() -> None:
    flat = Split("train", ArrayImages(np.random.default_rng(0).integers(0, 256, (1, 6, 6, 1), dtype=np.uint8)),
                 np.zeros(1, np.int64))  # fmt: skip
    one, two = ([*batches_of(flat, CropFlip(), seed=seed).iterate(0, 3)] for seed in (0, 1))
    assert not same(one, two)
    images = torch.cat([images for images, _ in one])
    assert len({image.numpy().tobytes() for image in images}) > 9  # the same image, augmented otherwise each time


def test_an_array_of_another_size_is_brought_to_the_size_of_the_net() -> None:
    array = np.random.default_rng(0).integers(0, 256, (5, 12, 9, 3), dtype=np.uint8)
    split = Split("train", ArrayImages(array), np.arange(5))
    preprocessing = fit(split.images, resize=7, crop=(6, 6), normalisation="channel")
    images, labels = next(batches_of(split, preprocessing=preprocessing, batch_size=5).iterate(0, 1))
    for image, label in zip(images, labels, strict=True):
        view = torch.from_numpy(preprocessing.view(array[label]).copy())
        assert torch.equal(image, preprocessing.normalise(view[None])[0])


@pytest.mark.parametrize("channels", [1, 3])
def test_an_array_is_augmented_by_random_scales_as_a_folder_is(channels: int, tmp_path: Path) -> None:
    """CIFAR trained with the ImageNet recipe: the augmentation asked for is applied, not dropped without a word."""
    array = np.random.default_rng(0).integers(0, 256, (6, 16, 16, channels), dtype=np.uint8)
    for index, pixels in enumerate(array):
        Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels).save(tmp_path / f"{index}.png")
    paths = tuple(tmp_path / f"{index}.png" for index in range(6))
    lazy = Split("train", FolderImages(paths, channels), np.arange(6))
    eager = Split("train", ArrayImages(array), np.arange(6))
    preprocessing = fit(eager.images, resize=16, crop=(16, 16), normalisation="channel")
    augmentation = ScaleCropFlip(smallest=18, largest=24)
    try:
        got = [*batches_of(eager, augmentation, preprocessing=preprocessing).iterate(0, 3)]
    except InputError:
        return  # to refuse it would be as right
    assert same(got, [*batches_of(lazy, augmentation, preprocessing=preprocessing).iterate(0, 3)])


def test_random_scales_shift_colours_by_their_deviation_and_not_at_zero(image_folder: Path) -> None:
    split = folder(image_folder).train
    preprocessing = fit(split.images, resize=36, crop=(32, 32), normalisation="channel")
    still, shifted = (
        [*batches_of(split, ScaleCropFlip(smallest=36, largest=36, colour_std=std), preprocessing=preprocessing)
         .iterate(0, 3)]
        for std in (0.0, 0.1)
    )  # fmt: skip
    for (before, _), (after, _) in zip(still, shifted, strict=True):
        difference = after - before
        torch.testing.assert_close(difference, difference[:, :, :1, :1].expand_as(difference), atol=1e-5, rtol=0)
        assert 0 < float(difference.abs().max()) < 1


def test_the_colour_shift_of_each_position_is_its_own(image_folder: Path) -> None:
    split = folder(image_folder).train
    preprocessing = fit(split.images, resize=36, crop=(32, 32), normalisation="channel")
    still, shifted = (
        batches_of(split, ScaleCropFlip(smallest=36, largest=36, colour_std=std), preprocessing=preprocessing, seed=4)
        for std in (0.0, 0.1)
    )
    assert shifted.colours is not None
    for step, ((before, _), (after, _)) in enumerate(zip(still.iterate(0, 4), shifted.iterate(0, 4), strict=True)):
        assert torch.equal(after, shifted.colours.shift(before, 4, 4 * step, 0.1, preprocessing))


def test_an_array_as_large_as_the_crop_is_still_enlarged_where_the_preprocessing_says_so() -> None:
    array = np.random.default_rng(0).integers(0, 256, (5, 12, 12, 3), dtype=np.uint8)
    split = Split("train", ArrayImages(array), np.arange(5))
    preprocessing = fit(split.images, resize=16, crop=(12, 12), normalisation="channel")
    views = np.stack([preprocessing.view(pixels) for pixels in array])
    assert not (views == array).all()
    expected = preprocessing.normalise(torch.from_numpy(views))
    images, labels = next(batches_of(split, preprocessing=preprocessing, batch_size=5).iterate(0, 1))
    assert torch.equal(images, expected[labels])
    images, _ = next(evaluation_batches(split, preprocessing, batch_size=5, device=CPU))
    assert torch.equal(images, expected)


def test_an_image_that_vanishes_stops_training_with_its_name(image_folder: Path) -> None:
    split = folder(image_folder).train
    batches = batches_of(split, preprocessing=plain(32, 3))
    victim = image_folder / "train" / "red" / "3.png"
    victim.unlink()
    with pytest.raises(InputError, match=r"red/3\.png: no such file"):
        list(batches.iterate(0, 3))


def test_leaving_in_the_middle_leaves_no_threads(image_folder: Path) -> None:
    split = folder(image_folder).train
    before = threading.active_count()
    iterator = batches_of(split, preprocessing=plain(32, 3), workers=4).iterate(0, 1000)
    next(iterator)
    assert threading.active_count() > before
    iterator.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_only_a_few_batches_are_decoded_ahead(image_folder: Path) -> None:
    """A long run must not queue its whole future at once."""
    asked = list[int]()

    class Counting(FolderImages):
        def load(self, index: int) -> np.ndarray:
            asked.append(index)
            return super().load(index)

    whole = folder(image_folder).train
    assert isinstance(whole.images, FolderImages)
    split = Split("train", Counting(whole.images.paths), whole.labels)
    iterator = batches_of(split, preprocessing=plain(32, 3), batch_size=2).iterate(0, 10_000)
    for _ in range(3):
        next(iterator)
    iterator.close()  # type: ignore[attr-defined]
    assert 6 <= len(asked) <= 12


def test_order_and_random_words_of_a_batch_are_drawn_once(image_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []
    original = module.random_words

    def counting(seed: int, start: int, count: int) -> np.ndarray:
        drawn.append(start)
        return original(seed, start, count)

    monkeypatch.setattr(module, "random_words", counting)
    split = folder(image_folder).train
    for augmentation in (None, CropFlip(), RANDOM_SCALE):
        drawn.clear()
        batches = batches_of(split, augmentation, preprocessing=plain(32, 3), batch_size=5)
        assert len([*batches.iterate(2, 6)]) == 4
        assert drawn == [10, 15, 20, 25]


# Evaluation


@pytest.mark.parametrize(("count", "batch_size"), [(10, 4), (8, 4), (3, 7), (1, 1), (0, 4)])
def test_evaluation_has_every_image_once_in_order(count: int, batch_size: int) -> None:
    batches = [*evaluation_batches(numbered(count), plain(), batch_size=batch_size, device=CPU)]
    sizes = [len(labels) for _, labels in batches]
    assert sizes == [batch_size] * (count // batch_size) + [count % batch_size] * (count % batch_size > 0)
    seen = [value for _, labels in batches for value in labels.tolist()]
    assert seen == list(range(count))
    pixels = [round(255 * float(image[0, 0, 0])) for images, _ in batches for image in images]
    assert pixels == list(range(count))


def test_evaluation_of_a_folder_and_of_an_array_of_another_size_is_by_views(image_folder: Path) -> None:
    split = folder(image_folder).val
    assert split is not None
    preprocessing = fit(split.images, resize=36, crop=(32, 32), normalisation="channel")
    array = np.stack([preprocessing.resized(split.images.load(index), 40)[:40, :40] for index in range(len(split))])
    for each in (split, Split("val", ArrayImages(array), split.labels)):
        got = [*evaluation_batches(each, preprocessing, batch_size=4, device=CPU)]
        assert torch.cat([labels for _, labels in got]).tolist() == split.labels.tolist() == [0] * 3 + [1] * 3
        views = np.stack([preprocessing.view(each.images.load(index)) for index in range(len(each))])
        expected = preprocessing.normalise(torch.from_numpy(views))
        assert torch.equal(torch.cat([images for images, _ in got]), expected)


# Waiting and working ahead


class SlowImages(FolderImages):
    """Images that take a while, counted."""

    asked = 0

    def load(self, index: int) -> np.ndarray:
        type(self).asked += 1
        time.sleep(0.02)
        return super().load(index)


def slow(image_folder: Path) -> Split:
    whole = folder(image_folder).train
    assert isinstance(whole.images, FolderImages)
    SlowImages.asked = 0
    return Split("train", SlowImages(whole.images.paths), whole.labels)


def test_the_time_spent_waiting_for_data_is_counted_and_not_the_caller_s(image_folder: Path) -> None:
    batches = batches_of(slow(image_folder), preprocessing=plain(32, 3), workers=1, batch_size=4)
    assert batches.waited == 0
    iterator = batches.iterate(0, 6)
    next(iterator)
    first = batches.waited
    assert 4 * 0.02 <= first < 1
    time.sleep(0.5)  # the caller works; the next batches are decoded meanwhile
    next(iterator)
    assert batches.waited - first < 0.4
    assert len([*iterator]) == 4
    eager = batches_of(numbered(10))
    for _ in eager.iterate(0, 3):
        time.sleep(0.1)
    assert 0 < eager.waited < 0.25


def test_evaluation_decodes_the_next_batches_while_the_caller_works(image_folder: Path) -> None:
    split = slow(image_folder)
    iterator = evaluation_batches(split, plain(32, 3), batch_size=2, device=CPU)
    next(iterator)
    time.sleep(0.3)
    assert SlowImages.asked == 6  # one batch and two ahead, of six
    iterator.close()  # type: ignore[attr-defined]
    assert SlowImages.asked == 6


def test_leaving_an_evaluation_in_the_middle_leaves_no_threads(image_folder: Path) -> None:
    before = threading.active_count()
    iterator = evaluation_batches(slow(image_folder), plain(32, 3), batch_size=2, device=CPU)
    next(iterator)
    assert threading.active_count() > before
    iterator.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_training_decodes_no_more_than_the_largest_size_that_may_be_drawn(tmp_path: Path) -> None:
    for name in ("ant", "bee"):
        (tmp_path / name).mkdir()
        for index in range(3):
            Image.new("RGB", (160, 96 + index), (80 * index, 0, 0)).save(tmp_path / name / f"{index}.jpg")
    split = folder(tmp_path).train
    for augmentation, expected in (
        (None, Reduction(20)),
        (CropFlip(), Reduction(20)),
        (ScaleCropFlip(smallest=20, largest=24), Reduction(24)),
        (ScaleCropFlip(smallest=4, largest=8), Reduction(16)),  # the crop must be covered
    ):
        preprocessing = Preprocessing(channels=3, resize=20, crop=(12, 16), mean=(0.0,) * 3, std=(1.0,) * 3)
        batches = batches_of(split, augmentation, preprocessing=preprocessing)
        assert training_reduction(preprocessing, augmentation) == expected
        assert batches.images.load(0).shape[0] == (24 if expected.shorter_side <= 24 else 48)
        images, _ = next(batches.iterate(0, 1))
        assert images.shape == (4, 3, 12, 16)


def test_an_enlarged_view_is_of_the_whole_image(tmp_path: Path) -> None:
    """A JPEG smaller than what is asked for is not made smaller still."""
    for name in ("ant", "bee"):
        (tmp_path / name).mkdir()
        for index in range(3):
            Image.new("RGB", (30, 31)).save(tmp_path / name / f"{index}.jpg")
    batches = batches_of(folder(tmp_path).train, None, preprocessing=plain(32, 3))
    assert batches.images.load(0).shape == (31, 30, 3)


# Workers


class Watched(FolderImages):
    """Images that remember which threads have decoded them."""

    threads: set[str] = set()  # noqa: RUF012

    def load(self, index: int) -> np.ndarray:
        self.threads.add(threading.current_thread().name)
        time.sleep(0.01)
        return super().load(index)


@pytest.mark.parametrize("workers", [1, 3])
def test_evaluation_and_statistics_take_as_many_threads_as_were_asked_for(workers: int, image_folder: Path) -> None:
    whole = folder(image_folder).train
    assert isinstance(whole.images, FolderImages)
    split = Split("train", Watched(whole.images.paths), whole.labels)
    cores = decoding_threads()
    with decoding_with(workers):
        for work in (
            lambda: [*evaluation_batches(split, plain(32, 3), batch_size=6, device=CPU)],
            lambda: fit(split.images, resize=36, crop=(32, 32), normalisation="channel"),
        ):
            Watched.threads.clear()
            work()
            assert len(Watched.threads) == workers
    assert decoding_threads() == cores


def test_a_training_decodes_with_its_workers_from_the_first_look_to_the_last(
    image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: dict[str, set[int]] = {"folder": set(), "preprocess": set(), "batches": set()}

    def watching(name: str) -> Callable[[], int]:
        def threads() -> int:
            taken[name].add(decoding_threads())
            return decoding_threads()

        return threads

    for name in taken:
        monkeypatch.setattr(f"residuum.data.{name}.decoding_threads", watching(name))
    monkeypatch.setattr("residuum.training.start.write_run_report", lambda *values, **named: None)  # seconds of drawing
    net = ResNet(Variant(blocks=(1, 1), widths=(4, 8), stem="cifar", shortcut="pad"), num_classes=2)
    recipe = residuum.recipe("digits").changed({"steps": 2, "batch_size": 6, "image_size": 16})
    execution = residuum.Execution(workers=5, device="cpu")
    residuum.train(net, str(image_folder), recipe=recipe, out=tmp_path / "run", execution=execution)
    assert taken == {"folder": {5}, "preprocess": {5}, "batches": {5}}
    assert decoding_threads() != 5
