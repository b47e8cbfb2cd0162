"""Metrics by hand, and the same for every batch size; several views against a plain average."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from residuum.data.preprocess import SCALES, Preprocessing, Views
from residuum.data.source import ArrayImages, Dataset, Split
from residuum.errors import InputError
from residuum.evaluation import Metrics, evaluate, mean_probabilities
from residuum.nets.resnet import ResNet, Variant

ONE_PIXEL = Preprocessing(channels=1, resize=1, crop=(1, 1), mean=(0.0,), std=(1 / 255,))
CPU = torch.device("cpu")


def split_of(values: list[int], labels: list[int]) -> Split:
    """One-pixel images; after `ONE_PIXEL` the net sees exactly `values`."""
    pixels = np.array(values, dtype=np.uint8).reshape(-1, 1, 1, 1)
    return Split("made up", ArrayImages(pixels), np.array(labels, dtype=np.int64))


def answering(table: Tensor) -> Any:
    """A callable whose logits for an image of value v are row v of `table`."""
    return lambda images: table[images[:, 0, 0, 0].round().long()]


def grey(count: int, height: int, width: int, seed: int = 0) -> Split:
    generator = np.random.default_rng(seed)
    pixels = generator.integers(0, 256, (count, height, width, 1), dtype=np.uint8)
    return Split("grey", ArrayImages(pixels), generator.integers(0, 10, count))


def same(a: Metrics, b: Metrics) -> None:
    assert a.num_images == b.num_images
    assert a.top1 == b.top1
    assert a.top5 == b.top5
    assert np.array_equal(a.confusion, b.confusion)
    assert a.loss == pytest.approx(b.loss, rel=1e-6)


@pytest.fixture
def net(tiny_net: ResNet) -> ResNet:
    """With statistics of its own, so that eval mode differs from training mode."""
    tiny_net.train()
    with torch.no_grad():
        tiny_net(torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(1)))
    return tiny_net.eval()


def test_three_classes_by_hand() -> None:
    """Images 0..4 are answered 0, 1, 2, 0, 0."""
    table = torch.tensor([[2.0, 0, 0], [0, 2, 0], [0, 0, 2], [2, 0, 0], [2, 0, 0]])
    found = evaluate(answering(table), split_of([0, 1, 2, 3, 4], [0, 1, 1, 1, 0]), ONE_PIXEL, num_classes=3)
    assert found.num_images == 5
    assert found.confusion.tolist() == [[2, 0, 0], [1, 1, 1], [0, 0, 0]]
    assert found.top1 == 0.6
    assert found.error == pytest.approx(0.4)
    assert found.top5 is None
    right, wrong = math.log(math.exp(2) + 2) - 2, math.log(math.exp(2) + 2)
    assert found.loss == pytest.approx((3 * right + 2 * wrong) / 5, rel=1e-6)
    assert found.ece == pytest.approx(math.exp(2) / (math.exp(2) + 2) - 0.6)  # all five equally sure, three right
    assert found.per_class(("a", "b", "c")) == [
        {"class": "a", "images": 2, "recall": 1.0, "precision": pytest.approx(2 / 3)},
        {"class": "b", "images": 3, "recall": pytest.approx(1 / 3), "precision": 1.0},
        {"class": "c", "images": 0, "recall": None, "precision": 0.0},
    ]
    assert json.loads(json.dumps(found.to_json())) == {
        "num_images": 5,
        "loss": found.loss,
        "top1": 0.6,
        "top5": None,
        "error": found.error,
        "ece": found.ece,
    }


def test_a_class_that_is_never_answered_has_no_precision() -> None:
    table = torch.tensor([[1.0, 0.0]])
    found = evaluate(answering(table), split_of([0, 0], [0, 1]), ONE_PIXEL, num_classes=2)
    assert [each["precision"] for each in found.per_class(("a", "b"))] == [0.5, None]
    assert [each["recall"] for each in found.per_class(("a", "b"))] == [1.0, 0.0]


def test_top5_by_hand() -> None:
    """Every image is answered 0, 1, 2, ... in falling order, so labels 0 to 4 are among the first five."""
    table = torch.arange(12.0, 0, -1).repeat(256, 1)
    labels = [0, 4, 5, 11, 3, 4, 5]
    found = evaluate(answering(table), split_of(list(range(7)), labels), ONE_PIXEL, num_classes=12)
    assert found.top1 == 1 / 7
    assert found.top5 == 4 / 7
    nine = evaluate(answering(table[:, :9]), split_of([0], [4]), ONE_PIXEL, num_classes=9)
    ten = evaluate(answering(table[:, :10]), split_of([0], [4]), ONE_PIXEL, num_classes=10)
    assert nine.top5 is None
    assert ten.top5 == 1.0


@pytest.mark.parametrize("views", ["1", "10", "multi-scale"])
def test_batch_size_changes_nothing(net: ResNet, views: Views) -> None:
    split = grey(40, 10, 9)
    preprocessing = Preprocessing(channels=1, resize=9, crop=(8, 8), mean=(0.5,), std=(0.3,))
    found = [
        evaluate(net, split, preprocessing, num_classes=10, views=views, batch_size=size)
        for size in ((1, 7, 39, 40, 500) if views == "1" else (64, 224, 2000))
    ]
    assert found[0].num_images == 40
    assert found[0].confusion.sum() == 40
    assert (found[0].confusion.sum(axis=1) == np.bincount(split.labels, minlength=10)).all()
    for each in found[1:]:
        same(found[0], each)


def test_every_image_is_shown_once_in_order_of_the_split() -> None:
    shown: list[int] = []

    def logits(images: Tensor) -> Tensor:
        shown.extend(images[:, 0, 0, 0].round().int().tolist())
        return torch.zeros(len(images), 2)

    seen: list[tuple[int, int]] = []
    values = list(range(100))
    evaluate(
        logits,
        split_of(values, [0] * 100),
        ONE_PIXEL,
        num_classes=2,
        batch_size=30,
        on_images=lambda done, total: seen.append((done, total)),
    )
    assert shown == values
    assert seen == [(30, 100), (60, 100), (90, 100), (100, 100)]


def test_the_fast_road_equals_the_slow_one(net: ResNet, digits_data: Dataset) -> None:
    """An array at the net's own size is taken as it is; the same images one by one give the same figures."""

    class Singly:
        channels = 1

        def __init__(self, images: ArrayImages) -> None:
            self.images = images

        def __len__(self) -> int:
            return len(self.images)

        def load(self, index: int) -> np.ndarray[Any, Any]:
            return self.images.load(index)

        def subset(self, indices: Any) -> Singly:
            raise NotImplementedError

    split = digits_data.split("val")
    assert isinstance(split.images, ArrayImages)
    preprocessing = Preprocessing(channels=1, resize=8, crop=(8, 8), mean=(0.3,), std=(0.4,))
    fast = evaluate(net, split, preprocessing, num_classes=10)
    slow = evaluate(net, Split("s", Singly(split.images), split.labels), preprocessing, num_classes=10)
    same(fast, slow)
    with torch.inference_mode():
        logits = net(torch.from_numpy(split.images.array).permute(0, 3, 1, 2).float().div(255).sub(0.3).div(0.4))
    assert fast.top1 == float((logits.argmax(1).numpy() == split.labels).mean())
    assert fast.loss == pytest.approx(float(functional.cross_entropy(logits, torch.from_numpy(split.labels))), rel=1e-5)


def test_ten_crops_are_the_average_of_ten_slices(net: ResNet) -> None:
    split = grey(6, 12, 10)
    preprocessing = Preprocessing(channels=1, resize=10, crop=(8, 8), mean=(0.5,), std=(0.25,))
    assert isinstance(split.images, ArrayImages)
    by_hand = []
    for image in split.images.array:
        slices = [image[y : y + 8, x : x + 8] for y, x in ((0, 0), (0, 2), (4, 0), (4, 2), (2, 1))]
        slices += [each[:, ::-1] for each in slices]
        batch = torch.from_numpy(np.stack(slices)).permute(0, 3, 1, 2).double() / 255
        with torch.inference_mode():
            by_hand.append(net(((batch - 0.5) / 0.25).float()).double().softmax(dim=1).mean(dim=0))
    expected = torch.stack(by_hand)
    images = [split.images.load(index) for index in range(6)]
    found = mean_probabilities(net, [[*preprocessing.views(i, "10")] for i in images], preprocessing, CPU)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)
    metrics = evaluate(net, split, preprocessing, num_classes=10, views="10")
    assert metrics.top1 == float((expected.argmax(1).numpy() == split.labels).mean())
    assert metrics.loss == pytest.approx(-float(expected.log()[range(6), split.labels].mean()), rel=1e-5)


def test_several_scales_are_the_average_of_five(net: ResNet) -> None:
    pixels = grey(1, 30, 20).images.load(0)
    preprocessing = Preprocessing(channels=1, resize=9, crop=(8, 8), mean=(0.5,), std=(0.25,))
    probabilities = []
    for scale in SCALES:
        resized = preprocessing.resized(pixels, round(scale * 8 / 224))
        batch = torch.from_numpy(resized[None].copy()).permute(0, 3, 1, 2).float() / 255
        with torch.inference_mode():
            probabilities.append(net((batch - 0.5) / 0.25).double().softmax(dim=1)[0])
    found = mean_probabilities(net, [[*preprocessing.views(pixels, "multi-scale")]], preprocessing, CPU)
    torch.testing.assert_close(found[0].double(), torch.stack(probabilities).mean(dim=0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("views", ["1", "10"])
def test_images_of_several_sizes_keep_their_places(net: ResNet, views: Views) -> None:
    sizes = ((12, 10), (10, 12), (12, 10), (30, 40), (9, 9))
    images = [grey(1, height, width, seed).images.load(0) for seed, (height, width) in enumerate(sizes)]
    preprocessing = Preprocessing(channels=1, resize=9, crop=(8, 8), mean=(0.5,), std=(0.25,))
    together = mean_probabilities(net, [[*preprocessing.views(i, views)] for i in images], preprocessing, CPU)
    for image, row in zip(images, together, strict=True):
        alone = mean_probabilities(net, [[*preprocessing.views(image, views)]], preprocessing, CPU)[0]
        torch.testing.assert_close(row, alone, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(together.sum(dim=1).double(), torch.ones(5, dtype=torch.float64))


def test_ten_crops_need_room(net: ResNet) -> None:
    preprocessing = Preprocessing(channels=1, resize=8, crop=(8, 8), mean=(0.5,), std=(0.25,))
    with pytest.raises(InputError, match=r"ten crops of 8x8 need a larger image, got 8x8.*Try: "):
        evaluate(net, grey(2, 8, 8), preprocessing, num_classes=10, views="10")


def test_a_very_sure_net_has_a_finite_loss() -> None:
    """Logits of +-1000: the wrong answer costs 1000 nats in one view, and not infinitely many in ten."""
    table = torch.tensor([[1000.0, 0.0]])
    one = evaluate(answering(table), split_of([0], [1]), ONE_PIXEL, num_classes=2)
    assert one.loss == pytest.approx(1000)


def test_gradients_are_not_kept() -> None:
    layer = nn.Linear(1, 2)
    kept: list[bool] = []

    def logits(images: Tensor) -> Tensor:
        found = layer(images[:, :, 0, 0])
        kept.append(found.requires_grad)
        return torch.as_tensor(found)

    evaluate(logits, split_of([1], [0]), ONE_PIXEL, num_classes=2)
    assert kept == [False]


def test_colour_and_mean_image_enter() -> None:
    """The mean image is subtracted pixel by pixel."""
    variant = Variant(blocks=(1,), widths=(4,), stem="cifar")
    torch.manual_seed(0)
    net = ResNet(variant, num_classes=3, in_channels=3).eval()
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (5, 6, 6, 3), dtype=np.uint8)
    mean_image = generator.random((6, 6, 3), dtype=np.float32)
    split = Split("colour", ArrayImages(pixels), np.zeros(5, dtype=np.int64))
    preprocessing = Preprocessing(
        channels=3, resize=6, crop=(6, 6), mean=(9.0,) * 3, std=(1.0, 2.0, 4.0), mean_image=mean_image
    )
    by_hand = (torch.from_numpy(pixels).float() / 255 - torch.from_numpy(mean_image)) / torch.tensor([1.0, 2.0, 4.0])
    with torch.inference_mode():
        loss = functional.cross_entropy(net(by_hand.permute(0, 3, 1, 2)), torch.zeros(5, dtype=torch.int64))
    assert evaluate(net, split, preprocessing, num_classes=3).loss == pytest.approx(float(loss), rel=1e-5)
