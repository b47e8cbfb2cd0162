"""LeNet-5 against the paper: connections, Table I, its functions, its codes and its criterion."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from residuum.errors import InputError
from residuum.nets.catalog import net
from residuum.nets.lenet import (
    LEAST_SIDE,
    TABLE_I,
    BitmapDistance,
    LeNet5As1998,
    PartialConvolution,
    Subsample,
    codes,
    squash,
)

# LeCun et al. 1998, section II.B: connections with their biases; and, where it says so, trainable parameters.
CONNECTIONS = {"c1": 122_304, "s2": 5_880, "c3": 151_600, "s4": 2_000, "c5": 48_120, "f6": 10_164, "output": 840}
TRAINABLE = {"c1": 156, "s2": 12, "c3": 1_516, "s4": 32, "c5": 48_120, "f6": 10_164, "output": 0}


def connections(layer: nn.Module, output: torch.Tensor) -> int:
    """Weights and biases, each as often as it is used to compute `output` of one image."""
    if isinstance(layer, PartialConvolution):
        return output[0, 0].numel() * sum(parameter.numel() for parameter in layer.parameters())
    if isinstance(layer, Subsample):
        return output.numel() * (2 * 2 + 1)
    if isinstance(layer, BitmapDistance):
        return layer.codes.numel()
    return output.numel() * (layer.weight[0].numel() + 1)


def test_connections_and_parameters_are_those_the_paper_counts() -> None:
    model = LeNet5As1998().eval()
    counted: dict[str, int] = {}
    for name in CONNECTIONS:
        layer = model.get_submodule(name)
        layer.register_forward_hook(
            lambda layer, inputs, output, name=name: counted.update({name: connections(layer, output)})
        )
    model(torch.zeros(1, 1, 32, 32))
    assert counted == CONNECTIONS
    assert sum(counted.values()) == 340_908
    assert {name: sum(p.numel() for p in model.get_submodule(name).parameters()) for name in TRAINABLE} == TRAINABLE


def test_table_i_gives_each_map_of_s2_ten_kernels() -> None:
    assert len(set(TABLE_I)) == len(TABLE_I) == 16
    assert [sum(one in maps for maps in TABLE_I) for one in range(6)] == [10] * 6
    assert [len(maps) for maps in TABLE_I] == [3] * 6 + [4] * 9 + [6]


def test_c3_is_a_convolution_that_sees_the_maps_of_table_i_only() -> None:
    torch.manual_seed(0)
    layer, x = PartialConvolution(), torch.randn(2, 6, 14, 14)
    kernels = [kernel for part in layer.children() for kernel in part.weight]
    biases = torch.cat([part.bias for part in layer.children()])
    dense = torch.zeros(16, 6, 5, 5)
    for index, (kernel, maps) in enumerate(zip(kernels, TABLE_I, strict=True)):
        dense[index, list(maps)] = kernel
    torch.testing.assert_close(layer(x), nn.functional.conv2d(x, dense, biases))


def test_subsampling_adds_four_pixels_and_learns_two_values_a_map() -> None:
    layer = Subsample(2)
    with torch.no_grad():
        layer.coefficient.copy_(torch.tensor([2.0, 3.0]).reshape(2, 1, 1))
        layer.bias.copy_(torch.tensor([0.5, -1.0]).reshape(2, 1, 1))
    x = torch.randn(1, 2, 4, 6)
    y = layer(x)
    assert y.shape == (1, 2, 2, 3)
    torch.testing.assert_close(y[0, 1, 1, 2], 3 * x[0, 1, 2:4, 4:6].sum() - 1)


def test_the_squashing_function_maps_one_to_one() -> None:
    torch.testing.assert_close(squash(torch.tensor([-1.0, 0.0, 1.0, 99.0])), torch.tensor([-1.0, 0, 1, 1.7159]))


def test_logits_are_distances_and_cross_entropy_is_the_papers_criterion() -> None:
    layer, x, right = BitmapDistance(10).double(), torch.randn(3, 84, dtype=torch.float64), torch.tensor([4, 0, 9])
    distances = torch.cdist(x, layer.codes).square()
    torch.testing.assert_close(layer(x), -distances)
    j = 1e6  # equation 9 in its limit: log(exp(-j) + sum of exp(-distance)) + distance of the right class
    criterion = (
        torch.logaddexp(torch.tensor(-j, dtype=torch.float64), torch.logsumexp(-distances, dim=1))
        + distances[range(3), right]
    )
    torch.testing.assert_close(nn.functional.cross_entropy(layer(x), right), criterion.mean())


@pytest.mark.parametrize("num_classes", [3, 10, 62])
def test_codes_are_fixed_and_far_from_each_other(num_classes: int) -> None:
    layer = BitmapDistance(num_classes)
    assert layer.codes.shape == (num_classes, 84)
    assert layer.codes.abs().eq(1).all()
    assert not list(layer.parameters())
    assert "codes" in layer.state_dict()
    assert codes(num_classes) == codes(100)[:num_classes]
    apart = (layer.codes.unsqueeze(0) != layer.codes.unsqueeze(1)).sum(dim=2) + 84 * torch.eye(num_classes)
    assert apart.min() >= 10, "two bitmaps that differ in a few pixels are hard to tell apart"


def test_weights_start_uniform_within_their_fan_in() -> None:
    torch.manual_seed(0)
    model = LeNet5As1998()
    for layer, fan_in in ((model.c1, 25), (model.c3.of4, 100), (model.s2, 4), (model.c5, 400), (model.f6, 120)):
        for parameter in layer.parameters():
            assert parameter.abs().max() <= 2.4 / fan_in
    assert model.c5.weight.std().item() == pytest.approx(2.4 / 400 / math.sqrt(3), rel=0.02)


@pytest.mark.parametrize("name", ["lenet5", "lenet5_1998"])
def test_sizes_of_maps_and_of_images(name: str) -> None:
    model = net(name).eval()
    features = model.forward_features(torch.zeros(1, 1, 32, 32))
    expected = {"c1": (6, 28, 28), "s2": (6, 14, 14), "c3": (16, 10, 10), "s4": (16, 5, 5), "c5": (120, 1, 1)}
    assert {key: tuple(value.shape[1:]) for key, value in features.items()} == {key: expected[key] for key in features}
    for height, width in ((LEAST_SIDE, LEAST_SIDE), (28, 28), (41, 57)):
        assert model(torch.zeros(2, 1, height, width)).shape == (2, 10)
    with pytest.raises(InputError, match=r"image: 28x15 pixels are too few .* Try: --image-size 16"):
        model(torch.zeros(1, 1, 28, 15))
