"""Activation maps against the maps themselves, and the windows behind them against occluded pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from residuum.errors import InputError
from residuum.insight.activations import FieldOfView, activation_maps, field_of_view
from residuum.insight.places import stages
from residuum.nets.catalog import net as build
from residuum.nets.resnet import ResNet


def test_equal_the_maps_and_come_strongest_first(tiny_net: ResNet) -> None:
    tiny_net.eval()
    image = torch.randn(1, 1, 16, 16)
    features = tiny_net.forward_features(image)
    found = activation_maps(tiny_net, image, layers=["layer1", "conv1", "bn1.relu"], strongest=3)
    expected = [features["layer1"], tiny_net.conv1(image), tiny_net.bn1(tiny_net.conv1(image)).relu()]
    for maps, output, name in zip(found, expected, ["layer1", "conv1", "bn1.relu"], strict=True):
        assert maps.layer == name
        strength = output[0].abs().mean(dim=(1, 2)).detach().numpy()
        assert maps.channels.tolist() == np.argsort(-strength, kind="stable")[:3].tolist()
        assert np.array_equal(maps.maps, output[0].detach().numpy()[maps.channels])
        assert np.allclose(maps.mean, strength[maps.channels], rtol=1e-6)
        assert (maps.channels.dtype, maps.maps.dtype, maps.mean.dtype) == (np.int64, np.float32, np.float32)


def test_a_name_alone_is_one_layer(tiny_net: ResNet) -> None:
    image = torch.randn(1, 1, 16, 16)
    assert [each.layer for each in activation_maps(tiny_net, image, layers="layer1")] == ["layer1"]


def test_channels_alike_keep_their_order() -> None:
    net = nn.Conv2d(1, 5, 1, bias=False)
    nn.init.ones_(net.weight)
    net.weight.data[3] = -2
    (maps,) = activation_maps(nn.Sequential(net), torch.ones(1, 1, 4, 4), layers=["0"])
    assert maps.channels.tolist() == [3, 0, 1, 2, 4]
    assert maps.mean.tolist() == [2, 1, 1, 1, 1]
    assert (maps.maps[0] == -2).all()


def test_without_layers_every_stage_is_shown(tiny_net: ResNet) -> None:
    image = torch.randn(1, 1, 16, 16)
    found = activation_maps(tiny_net, image)
    assert [each.layer for each in found] == [each.name for each in stages(tiny_net, image)] == ["layer1", "layer2"]
    assert [each.maps.shape for each in found] == [(4, 16, 16), (8, 8, 8)]
    assert [each.field for each in found] == [field_of_view(tiny_net, each.layer, (1, 16, 16)) for each in found]


def test_nothing_outside_of_the_window_matters(tiny_net: ResNet) -> None:
    """A change in a single pixel moves those positions of a map whose box holds it, and no other."""
    tiny_net.double().eval()
    image = torch.rand(1, 1, 32, 32, dtype=torch.float64)
    for each in tiny_net.parameters():
        each.data.abs_()  # so that no ReLU hides a change
    field = field_of_view(tiny_net, "layer2", (1, 32, 32))
    for row, column in ((0, 0), (13, 20), (31, 30)):
        changed = image.clone()
        changed[0, 0, row, column] += 1
        before, after = (tiny_net.forward_features(each)["layer2"][0] for each in (image, changed))
        moved = ((before - after).abs() > 1e-12).any(dim=0)
        for y in range(16):
            for x in range(16):
                top, left, bottom, right = field.box(y, x, 32, 32)
                inside = top <= row < bottom and left <= column < right
                assert bool(moved[y, x]) == inside, (y, x)


def test_windows_of_known_nets() -> None:
    """ResNet-18's last stage sees 435 pixels, 32 apart (torchvision's net: Araujo et al. 2019 count the same way)."""
    net = build("resnet18")
    field = field_of_view(net, "layer4", (3, 224, 224))
    assert (field.size, field.jump, field.start) == ((435, 435), (32.0, 32.0), (-217.0, -217.0))
    assert field.box(3, 3, 224, 224) == (0, 0, 224, 224)
    stem = field_of_view(net, "bn1.relu", (3, 224, 224))
    assert stem == FieldOfView((7, 7), (2.0, 2.0), (-3.0, -3.0))
    assert stem.box(0, 111, 224, 224) == (0, 219, 4, 224)


class Decides(nn.Module):
    """A net that looks at values before it goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x if float(x.mean()) > 0 else -x)  # type: ignore[no-any-return]


def test_maps_of_a_net_that_needs_values_have_no_window() -> None:
    (maps,) = activation_maps(Decides(), torch.rand(1, 1, 8, 8))
    assert maps.layer == "conv"
    assert maps.field is None


def test_wrong_arguments(tiny_net: ResNet) -> None:
    image = torch.randn(1, 1, 16, 16)
    with pytest.raises(InputError, match=r"image: not one image \(expected \(1, C, H, W\), got \(2, 1, 16, 16\)\)"):
        activation_maps(tiny_net, image.repeat(2, 1, 1, 1))
    with pytest.raises(InputError, match="strongest: must be at least 1"):
        activation_maps(tiny_net, image, strongest=0)
    with pytest.raises(InputError, match="'fc' gives no maps"):
        activation_maps(tiny_net, image, layers=["fc"])
    with pytest.raises(InputError, match="no layer 'layer7'"):
        activation_maps(tiny_net, image, layers=["layer7"])
    tiny_net.add_module("idle", nn.Conv2d(4, 4, 3))
    with pytest.raises(InputError, match="'idle' sees of the image is not known"):
        field_of_view(tiny_net, "idle", (1, 16, 16))


def test_the_net_stays_as_it_was(tiny_net: ResNet) -> None:
    tiny_net.train()
    tiny_net.layer2.eval()
    tiny_net.fc.weight.requires_grad_(False)
    modes = [each.training for each in tiny_net.modules()]
    values = {name: each.clone() for name, each in tiny_net.state_dict().items()}
    activation_maps(tiny_net, torch.randn(1, 1, 16, 16), layers=["layer1", "bn1.relu"])
    assert [each.training for each in tiny_net.modules()] == modes
    assert not any(each._forward_hooks or each._forward_pre_hooks for each in tiny_net.modules())
    assert all(torch.equal(each, values[name]) for name, each in tiny_net.state_dict().items())
    assert [name for name, each in tiny_net.named_parameters() if not each.requires_grad] == ["fc.weight"]
    assert all(each.grad is None for each in tiny_net.parameters())
