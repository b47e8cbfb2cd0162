"""Integrated gradients and occlusion: hand computations, captum's, and the sum that must come out."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from residuum.errors import InputError
from residuum.insight.attribution import FILLS, Attribution, blurred, integrated_gradients, occlusion
from residuum.nets.resnet import ResNet


def image(channels: int = 1, side: int = 12) -> Tensor:
    return torch.randn(1, channels, side, side, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.fixture
def bent_net(tiny_net: ResNet) -> ResNet:
    """In float64 and eval mode, and with offsets: without them a net's logits are proportional to the way from grey."""
    for module in tiny_net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.bias, -0.5, 0.5)
    return tiny_net.double().eval()


class Linear(nn.Module):
    """Logits that are weighted sums of the pixels."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.weights = nn.Parameter(weights)

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.weights.flatten(1).T


class Product(nn.Module):
    """The logit of class 0 is the product of two pixels."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([x[:, 0, 0, 0] * x[:, 0, 0, 1], x[:, 0, 0, 0]], dim=1)


def test_of_a_linear_net_they_are_weight_times_distance() -> None:
    weights = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    start = torch.ones(1, 3, 4, 4, dtype=torch.float64)
    found = integrated_gradients(Linear(weights), image(3, 4), 1, baseline=start, steps=1)
    expected = (image(3, 4) - start)[0] * weights[1]
    torch.testing.assert_close(torch.from_numpy(found.values), expected)
    torch.testing.assert_close(torch.from_numpy(found.map), expected.sum(dim=0))
    assert found.completeness_error is not None
    assert found.completeness_error < 1e-12


def test_a_product_is_shared_by_its_factors() -> None:
    """f = ab from (0, 0): a times the integral of tb, half of ab each, whatever a and b are."""
    values = integrated_gradients(Product(), torch.tensor([[[[3.0, 5.0]]]]), 0, steps=2).values
    assert values.ravel() == pytest.approx([7.5, 7.5])


@pytest.mark.parametrize("steps", [1, 7, 32])
def test_integrated_gradients_equal_captums(bent_net: ResNet, steps: int) -> None:
    captum = pytest.importorskip("captum.attr")
    ours = integrated_gradients(bent_net, image(), 3, steps=steps)
    theirs = captum.IntegratedGradients(bent_net).attribute(image(), target=3, n_steps=steps, method="gausslegendre")
    torch.testing.assert_close(torch.from_numpy(ours.values), theirs[0])


def test_the_sum_is_the_difference_of_the_logits(bent_net: ResNet) -> None:
    found = integrated_gradients(bent_net, image(), steps=128)
    with torch.no_grad():
        difference = float((bent_net(image()) - bent_net(torch.zeros_like(image())))[0, found.class_index])
    assert found.class_index == int(bent_net(image()).argmax())
    assert found.completeness_error == pytest.approx(abs(found.values.sum() - difference) / abs(difference))
    assert found.completeness_error < 0.05
    coarse = integrated_gradients(bent_net, image(), steps=1).completeness_error
    assert coarse is not None
    assert coarse > found.completeness_error


def test_occlusion_by_hand() -> None:
    """Columns weigh 1, 3, 0, 2. Side by side two windows take 4 and 2 away; by steps of one 4, 3 and 2."""
    net = Linear(torch.tensor([[[[1.0, 0, 0, 2], [0, 3, 0, 0]]]]))
    ones = torch.ones(1, 1, 2, 4)
    apart = occlusion(net, ones, 0, window=2, stride=2)
    assert apart.map.tolist() == [[4, 4, 2, 2], [4, 4, 2, 2]]
    overlapping = occlusion(net, ones, 0, window=2, stride=1)
    assert overlapping.map.tolist() == [[4, 3.5, 2.5, 2], [4, 3.5, 2.5, 2]]
    assert overlapping.completeness_error is None


@pytest.mark.parametrize(("window", "stride"), [(3, 2), (4, 4), (5, 3), (12, 1)])
def test_occlusion_equals_captums(bent_net: ResNet, window: int, stride: int) -> None:
    captum = pytest.importorskip("captum.attr")
    ours = occlusion(bent_net, image(), 3, window=window, stride=stride)
    peer = captum.Occlusion(bent_net)
    theirs = peer.attribute(image(), target=3, sliding_window_shapes=(1, window, window), strides=(1, stride, stride))
    torch.testing.assert_close(
        torch.from_numpy(ours.values), theirs[0].double(), rtol=1e-5, atol=1e-6
    )  # captum's: float32


def test_nothing_is_hidden_by_what_is_already_there(tiny_net: ResNet) -> None:
    """A grey image covered with grey, a flat one with its blur."""
    assert occlusion(tiny_net, torch.zeros(1, 1, 12, 12)).map.max() == 0
    flat = occlusion(tiny_net, torch.full((1, 1, 12, 12), 2.0), fill="blur")
    assert abs(flat.map).max() < 1e-5


def test_a_blur_keeps_flat_parts_and_spreads_a_point() -> None:
    """Sigma is a twentieth of 40 pixels: a point becomes the square of a bell, exp(-1/8) of its height a pixel away."""
    assert blurred(torch.full((2, 3, 20, 30), 1.5)).sub(1.5).abs().max() < 1e-6
    point = torch.zeros(1, 1, 40, 40, dtype=torch.float64)
    point[..., 20, 20] = 1
    spread = blurred(point)[0, 0]
    assert float(spread.sum()) == pytest.approx(1)
    assert float(spread[20, 21] / spread[20, 20]) == pytest.approx(2.718281828 ** (-1 / 8))
    assert float(spread[19, 20]) == pytest.approx(float(spread[20, 21]))
    assert set(FILLS) == {"grey", "blur"}


@pytest.mark.parametrize("make", [integrated_gradients, occlusion])
def test_the_net_is_left_as_it_was(tiny_net: ResNet, make: object) -> None:
    tiny_net.train()
    tiny_net.layer2.eval()
    tiny_net.fc.weight.requires_grad_(False)
    modes = [module.training for module in tiny_net.modules()]
    state = {name: value.clone() for name, value in tiny_net.state_dict().items()}
    given = image().float()
    done: list[tuple[int, int]] = []
    with torch.inference_mode():
        found = make(tiny_net, given, on_progress=lambda *step: done.append(step))  # type: ignore[operator]
    assert isinstance(found, Attribution)
    assert (found.values.shape, found.map.shape, found.values.dtype) == ((1, 12, 12), (12, 12), "float32")
    assert done[-1][0] == done[-1][1] > 1
    assert [module.training for module in tiny_net.modules()] == modes
    assert not any(module._forward_hooks for module in tiny_net.modules())
    assert all(torch.equal(value, state[name]) for name, value in tiny_net.state_dict().items())
    assert all(parameter.grad is None for parameter in tiny_net.parameters())
    assert not given.requires_grad
    assert not tiny_net.fc.weight.requires_grad


@pytest.mark.parametrize("make", [integrated_gradients, occlusion])
def test_values_of_a_net_of_half_precision_are_float32(bent_net: ResNet, make: object) -> None:
    exact = make(bent_net, image(), 3).map  # type: ignore[operator]
    half = make(bent_net.bfloat16(), image(), 3)  # type: ignore[operator]
    assert (half.values.dtype, half.map.dtype) == ("float32", "float32")
    assert abs(half.map - exact).max() < 0.1 * abs(exact).max()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"window": 13}, "window: does not fit \\(expected 1 to 12, got 13\\)"),
        ({"window": 0}, "window: does not fit"),
        ({"window": 4, "stride": 5}, "stride: leaves gaps \\(expected 1 to the window of 4, got 5\\)"),
        ({"stride": 0}, "stride: leaves gaps"),
        ({"fill": "gray"}, "fill: 'gray' is not known .*Try: grey"),
        ({"class_index": 10}, "class_index: no such class"),
    ],
)
def test_occlusion_refuses_what_makes_no_sense(tiny_net: ResNet, change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        occlusion(tiny_net, image(), **change)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "steps: must be at least 1, got 0"),
        ({"baseline": torch.zeros(1, 1, 8, 8)}, "baseline: has another shape than the image"),
        ({"class_index": -1}, "class_index: no such class"),
    ],
)
def test_integrated_gradients_refuse_what_makes_no_sense(
    tiny_net: ResNet, change: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        integrated_gradients(tiny_net, image(), **change)  # type: ignore[arg-type]
