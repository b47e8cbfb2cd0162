"""AlexNet against the paper: its normalisation, its two GPUs, its maps; and images of other sizes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from residuum.errors import InputError
from residuum.nets.alexnet import OF_2012, OF_2012_MERGED, OF_2014, AlexNet, Variant
from residuum.nets.layers import ToGrid, response_norm


def narrow(groups: int = 1) -> AlexNet:
    """AlexNet of 2012 with few channels."""
    return AlexNet(Variant(widths=(4, 8, 8, 8, 4), input_size=227, groups=groups), num_classes=3, in_channels=1)


def test_responses_are_normalised_as_in_section_3_3() -> None:
    # b_i = a_i / (k + alpha * sum of a_j^2 over n maps around i)^beta with k 2, n 5, alpha 1e-4, beta 0.75.
    a = 50 * torch.randn(2, 7, 3, 3, dtype=torch.float64)
    expected = torch.empty_like(a)
    for i in range(7):
        around = a[:, max(0, i - 2) : min(6, i + 2) + 1].square().sum(dim=1)
        expected[:, i] = a[:, i] / (2 + 1e-4 * around) ** 0.75
    torch.testing.assert_close(response_norm()(a), expected)


def test_maps_have_the_sizes_of_the_paper() -> None:
    with torch.device("meta"):
        model = AlexNet(OF_2012).eval()
        features = model.forward_features(torch.empty(1, 3, 227, 227))
    assert {name: tuple(value.shape[1:]) for name, value in features.items()} == {
        "conv1": (96, 55, 55), "norm1": (96, 55, 55), "pool1": (96, 27, 27),
        "conv2": (256, 27, 27), "norm2": (256, 27, 27), "pool2": (256, 13, 13),
        "conv3": (384, 13, 13), "conv4": (384, 13, 13), "conv5": (256, 13, 13), "pool5": (256, 6, 6),
    }  # fmt: skip
    assert model.features[0].weight.numel() == 34_848


def test_two_gpus_are_convolutions_in_two_groups() -> None:
    groups = [layer.groups for layer in narrow(2).features if isinstance(layer, nn.Conv2d)]
    assert groups == [1, 2, 1, 2, 2]
    x = torch.randn(1, 4, 9, 9)
    layer = next(layer for layer in narrow(2).features if isinstance(layer, nn.Conv2d) and layer.groups == 2)
    other = x.clone()
    other[:, 2:] += 1  # what the other GPU holds is not seen
    assert torch.equal(layer(x)[:, :4], layer(other)[:, :4])


def test_dropout_stands_before_the_first_two_linear_layers() -> None:
    kinds = [type(layer) for layer in narrow().classifier]
    assert kinds == [nn.Dropout, nn.Linear, nn.ReLU, nn.Dropout, nn.Linear, nn.ReLU, nn.Linear]


@pytest.mark.parametrize(("variant", "least"), [(OF_2014, 63), (OF_2012, 67), (OF_2012_MERGED, 67)])
def test_the_least_image_is_the_least_that_pytorch_can_compute(variant: Variant, least: int) -> None:
    with torch.device("meta"):
        model = AlexNet(variant, num_classes=3).eval()
        assert model(torch.empty(1, 3, least, 300)).shape == (1, 3)
        with pytest.raises(InputError, match=f"Try: --image-size {least}"):
            model(torch.empty(1, 3, 300, least - 1, device="cpu"))  # on the meta device the layer shows itself
        with pytest.raises(RuntimeError, match="too small"):
            model.features(torch.empty(1, 3, 300, least - 1))


def test_a_map_of_the_right_size_passes_the_grid_as_it_is() -> None:
    x, grid = torch.randn(1, 2, 6, 6), ToGrid(6)
    assert grid(x) is x
    other = torch.randn(1, 2, 13, 4)
    assert torch.equal(grid(other), nn.functional.adaptive_avg_pool2d(other, 6))


def test_weights_keep_the_size_of_the_signal() -> None:
    torch.manual_seed(0)
    model = AlexNet(Variant(widths=(32, 64, 64, 64, 64), input_size=224, padding=2, normalise=False), num_classes=50)
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            assert layer.weight.std().item() == pytest.approx((2 / layer.weight[0].numel()) ** 0.5, rel=0.05)
            assert layer.bias.eq(0).all()
    logits = model.eval()(torch.randn(4, 3, 224, 224))
    assert 0.2 < logits.std().item() < 5
