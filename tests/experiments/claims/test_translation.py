"""Translation: how images are moved, what is measured on nets of known behaviour, the verdict on made-up shares."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from made_up import names, setting, verdict
from residuum.classifier import Classifier
from residuum.data.preprocess import Preprocessing
from residuum.experiments.claims.translation import (
    CLAIM,
    LAYERS,
    MAX,
    MOVED,
    NETS,
    SAME,
    STRIDE,
    average_pooling,
    conclude,
    directions,
    layer_changes,
    max_pooling,
    moved,
    relative_change,
    steadiness,
    stride,
)
from residuum.nets.resnet import ResNet, Variant
from residuum.records.finding import Arm, Verdict
from residuum.records.quantity import Measured
from residuum.records.text import NOTHING
from tiny_evidence import concluded

GREY = Preprocessing(channels=1, resize=8, crop=(8, 8), mean=(0.3,), std=(0.4,))


def pictures(count: int = 6, side: int = 8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 1), dtype=np.uint8)


def test_images_are_moved_by_whole_pixels_and_their_border_is_repeated() -> None:
    image = np.arange(9, dtype=np.uint8).reshape(1, 3, 3, 1)
    assert moved(image, 1, 0)[0, :, :, 0].tolist() == [[0, 1, 2], [0, 1, 2], [3, 4, 5]]
    assert moved(image, 0, -1)[0, :, :, 0].tolist() == [[1, 2, 2], [4, 5, 5], [7, 8, 8]]
    assert np.array_equal(moved(image, 0, 0), image)
    assert directions(2) == [(2, 0), (-2, 0), (0, 2), (0, -2)]


def test_a_change_is_a_share_of_the_length_before() -> None:
    before, after = torch.tensor([[3.0, 4.0], [0.0, 2.0], [0.0, 0.0]]), torch.tensor([[3.0, 4.0], [0.0, 1.0], [1.0, 0]])
    assert relative_change(before, after) == pytest.approx((0 + 0.5) / 2)


def classifier() -> Classifier:
    torch.manual_seed(0)
    net = ResNet(Variant(blocks=(1, 1), widths=(4, 8), stem="cifar", shortcut="pad"), num_classes=10, in_channels=1)
    return Classifier(net=net.eval(), net_name="own", preprocessing=GREY, class_names=tuple("0123456789"))


def test_steadiness_is_that_of_the_whole_net_on_moved_images() -> None:
    own, pixels = classifier(), pictures(40)
    with torch.no_grad():

        def answers(images: np.ndarray) -> torch.Tensor:
            return own.logits(GREY.normalise(torch.from_numpy(np.ascontiguousarray(images)))).argmax(dim=1)

        still = answers(pixels)
        expected = np.mean([(answers(moved(pixels, *way)) == still).float().mean() for way in directions(1)])
    found = steadiness(own, pixels, 1)
    assert found.same == pytest.approx(expected)
    assert found.change > 0
    assert steadiness(own, np.full_like(pixels, 7), 2).change == pytest.approx(0, abs=1e-6)
    assert steadiness(own, np.full_like(pixels, 7), 2).same == 1


def test_single_layers_halve_the_map_in_three_ways() -> None:
    x, weight = torch.randn(2, 1, 8, 8), torch.randn(5, 1, 3, 3)
    full = torch.nn.functional.conv2d(x, weight, padding=1).relu()
    assert torch.allclose(stride(x, weight), full[..., ::2, ::2], atol=1e-5)
    assert torch.allclose(max_pooling(x, weight), full.unfold(2, 2, 2).unfold(3, 2, 2).amax(dim=(-1, -2)), atol=1e-5)
    assert torch.allclose(
        average_pooling(x, weight), full.unfold(2, 2, 2).unfold(3, 2, 2).mean(dim=(-1, -2)), atol=1e-5
    )


def test_a_move_by_two_pixels_moves_the_halved_map_by_one() -> None:
    """Moved by its stride, the map moves with the image; a flat image does not change at all."""
    assert set(layer_changes(pictures(), GREY, 0)) == set(LAYERS)
    assert (
        layer_changes(pictures(), GREY, 0) == layer_changes(pictures(), GREY, 0) != layer_changes(pictures(), GREY, 1)
    )
    flat = layer_changes(np.full_like(pictures(), 9), GREY, 0)
    assert all(change == pytest.approx(0, abs=1e-6) for change in flat.values())


def shares(same: dict[str, list[float]]) -> list[Arm]:
    def measured(net: str) -> dict[str, Measured]:
        own = Measured(tuple(same.get(net, [0.9, 0.9, 0.9])))
        return {quantity.name: own for quantity in (*SAME.values(), *MOVED.values())}

    return [Arm(name=net, published=NOTHING, measured=measured(net)) for net in NETS]


INVARIANT, STEADY = [0.999, 0.998, 0.999], {"stride": 0.6, "max pooling": 0.4, "average pooling": 0.3}


@pytest.mark.parametrize(
    ("same", "layers", "expected"),
    [
        ({MAX: INVARIANT}, STEADY, Verdict.HOLDS),
        ({MAX: [0.95, 0.951, 0.95]}, STEADY, Verdict.DOES_NOT_HOLD),  # steadier, but not invariant
        ({MAX: INVARIANT, STRIDE: [0.995, 0.996, 0.995]}, STEADY, Verdict.DOES_NOT_HOLD),  # no better than stride
        ({MAX: INVARIANT}, STEADY | {"max pooling": 0.57}, Verdict.DOES_NOT_HOLD),
        ({MAX: INVARIANT, STRIDE: [0.9, 0.999, 0.98]}, STEADY, Verdict.NOT_DECIDED),
    ],
)
def test_verdict(same: dict[str, list[float]], layers: dict[str, float], expected: Verdict) -> None:
    changes = {name: Measured((each - 0.001, each, each + 0.001)) for name, each in layers.items()}
    assert verdict(conclude(shares(same), changes, (), side=8, augmented=False)) is expected


@pytest.mark.parametrize(("side", "augmented", "said"), [(8, False, "moved no image"), (32, True, "at random")])
def test_the_summary_says_how_large_a_pixel_is_and_whether_training_moved_images(
    side: int, augmented: bool, said: str
) -> None:
    changes = {name: Measured((each, each)) for name, each in STEADY.items()}
    found = conclude(shares({}), changes, (), side=side, augmented=augmented)
    assert f"one pixel of {side}" in found.summary.en
    assert said in found.summary.en
    assert f"{side}픽셀" in found.summary.ko
    assert ("증강 없음" in found.summary.ko) != augmented
    assert found.arms[-1].korean == "한 층, 평균 풀링"


def test_it_runs_from_end_to_end_on_digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = concluded(CLAIM, [*NETS], tmp_path, monkeypatch)
    assert "one pixel of 8" in found.summary.en
    assert "Training moved no image" in found.summary.en


def test_plan() -> None:
    assert names(CLAIM.plan(setting())) == [*NETS]
    assert STRIDE == "resnet20"
