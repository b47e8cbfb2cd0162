"""Windows of receptive fields against the pixels whose gradient is not zero, position by position."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from residuum.costing.cost import INPUT
from residuum.costing.count import cost
from residuum.costing.view import FieldOfView, fields_of_view
from residuum.errors import InputError
from residuum.nets.catalog import net as build
from residuum.nets.resnet import ResNet, Variant
from residuum.nets.skeleton import without_values


def positive(net: nn.Module) -> nn.Module:
    """In double precision, all weights positive and poolings linear, so that nothing a position sees is lost."""
    for name, each in net.double().eval().named_parameters():
        nn.init.constant_(each, 0.0 if "bias" in name else 1 / each[0].numel())
    for name, each in list(net.named_modules()):
        if isinstance(each, nn.MaxPool2d):
            k, s, p = each.kernel_size, each.stride, each.padding
            net.set_submodule(name, nn.AvgPool2d(k, s, p, ceil_mode=each.ceil_mode))
    return net


def seen_from(net: nn.Module, layer: str, size: tuple[int, int, int], at: tuple[int, int]) -> tuple[int, ...]:
    """Top, left, bottom, right of the pixels whose gradient from one position of a layer's map is not zero."""
    taken: list[Tensor] = []
    handle = net.get_submodule(layer).register_forward_hook(lambda *given: taken.append(given[-1]))
    image = torch.ones(1, *size, dtype=torch.float64, requires_grad=True)
    net(image)
    handle.remove()
    (gradient,) = torch.autograd.grad(taken[0][0, :, at[0], at[1]].sum(), image)
    rows, columns = gradient[0].abs().sum(0).nonzero().T
    return int(rows.min()), int(columns.min()), int(rows.max()) + 1, int(columns.max()) + 1


def resnet(**changes: object) -> ResNet:
    widths = (2,) * len(changes["blocks"])  # type: ignore[arg-type]
    return ResNet(Variant(widths=widths, **changes), num_classes=2, in_channels=1)  # type: ignore[arg-type]


NETS = {
    "uneven": (nn.Sequential(nn.Conv2d(1, 2, (3, 5), (2, 1), (0, 2)), nn.Conv2d(2, 1, 3, dilation=(1, 2))), "1"),
    "bottleneck": (resnet(blocks=(1, 1), block="bottleneck"), "layer2"),
    "option A": (resnet(blocks=(1, 1, 1), stem="cifar", shortcut="pad"), "layer3.0"),
    "pre-activation": (resnet(blocks=(1, 1), stem="cifar", preactivation=True), "bn_last"),
    "pooling rounded up": (resnet(blocks=(1, 1), pool="ceil"), "layer2.0"),
}


@pytest.mark.parametrize("name", NETS)
def test_boxes_are_what_the_gradient_reaches(name: str) -> None:
    net, layer = NETS[name]
    positive(net)
    size = (1, 96, 88)
    view = fields_of_view(net, size)[layer]
    with torch.no_grad():
        taken: list[Tensor] = []
        handle = net.get_submodule(layer).register_forward_hook(lambda *given: taken.append(given[-1]))
        net(torch.ones(1, *size, dtype=torch.float64))
        handle.remove()
    height, width = taken[0].shape[2:]
    middle = (height // 2, width // 2)
    assert view.box(*middle, 96, 88) == seen_from(net, layer, size, middle)
    top, left, bottom, right = view.box(*middle, 96, 88)
    assert top > 0
    assert bottom < 96  # so that the comparison above is of an unclipped window
    assert (bottom - top, right - left) == view.size
    for at in ((0, 0), (0, width - 1), (height - 1, 0), (height - 1, width - 1)):
        box, seen = view.box(*at, 96, 88), seen_from(net, layer, size, at)
        assert all(a <= b for a, b in zip(box[:2], seen[:2], strict=True)), at
        assert all(a >= b for a, b in zip(box[2:], seen[2:], strict=True)), at


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
@pytest.mark.parametrize("factors", [(0.3, 0.3), (0.5, 1.5), (1.5, 0.7), (2.0, 0.5)])
def test_boxes_of_resized_maps_hold_what_the_gradient_reaches(factors: tuple[float, float], mode: str) -> None:
    """By the scale that is asked for, not by the sizes before and after: 26 columns by 0.3 are 7, 10/3 apart."""
    net = positive(nn.Sequential(nn.Conv2d(1, 1, 3), nn.Upsample(scale_factor=factors, mode=mode)))
    size = (1, 31, 28)
    view = fields_of_view(net, size)["1"]
    with torch.no_grad():
        height, width = net(torch.ones(1, *size, dtype=torch.float64)).shape[2:]
    for y, x in ((0, 0), (1, 2), (height // 2, width // 2), (height - 2, width - 3), (height - 1, width - 1)):
        box, seen = view.box(y, x, *size[1:]), seen_from(net, "1", size, (y, x))
        assert all(a <= b for a, b in zip(box[:2], seen[:2], strict=True)), (y, x)
        assert all(a >= b for a, b in zip(box[2:], seen[2:], strict=True)), (y, x)
        if mode == "nearest":
            assert box == seen


def test_the_nearest_column_by_hand() -> None:
    """Position 5 of 26 columns by 0.3 is column floor(5 / 0.3) = 16; sizes alone, 26 / 7, would say 18."""
    view = fields_of_view(nn.Upsample(scale_factor=0.3), (1, 26, 26))[""]
    assert view.box(5, 5, 26, 26) == (16, 16, 17, 17)


def test_alexnet_by_hand() -> None:
    """Its first convolution is 11x11/4 with 2 pixels of padding; pooling 3x3/2 follows, then 5x5 padded by 2."""
    with without_values():
        net = build("alexnet")
    views = fields_of_view(net, (3, 224, 224))
    assert views["features.0"] == views["features.1"] == FieldOfView((11, 11), (4.0, 4.0), (-2.0, -2.0))
    assert views["features.2"] == FieldOfView((19, 19), (8.0, 8.0), (-2.0, -2.0))
    assert views["features.3"] == FieldOfView((19 + 4 * 8,) * 2, (8.0, 8.0), (-18.0, -18.0))
    assert views["classifier.6"].jump == (0.0, 0.0)
    assert views["classifier.6"].box(0, 0, 224, 224) == (0, 0, 224, 224)


@pytest.mark.parametrize("name", ["resnet20", "googlenet_bn", "resnetd50", "preact_resnet164"])
def test_sizes_and_jumps_are_those_of_the_cost(name: str) -> None:
    with without_values():
        net = build(name)
    size = (3, 32, 32) if name in ("resnet20", "preact_resnet164") else (3, 224, 224)
    views = fields_of_view(net, size)
    for layer in cost(net, size, training=False).layers:
        if layer.name in views and layer.name != INPUT and len(layer.output_shape) == 4:
            assert (views[layer.name].size, views[layer.name].jump) == (layer.receptive_field, layer.stride)


def test_after_a_gate_every_position_sees_the_same() -> None:
    net = resnet(blocks=(1, 1), squeeze=1)
    views = fields_of_view(net, (1, 64, 64))
    assert views["layer1"].jump == (0.0, 0.0)
    assert views["layer1"].box(0, 0, 64, 64) == views["layer1"].box(7, 9, 64, 64) == (0, 0, 64, 64)


def test_of_values_that_are_no_map_nothing_is_told() -> None:
    class Turned(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.transpose(2, 3)

    net = nn.Sequential(nn.Conv2d(1, 2, 3), Turned(), nn.Conv2d(2, 2, 3))
    assert set(fields_of_view(net, (1, 16, 20))) == {"0"}


def test_a_position_that_sees_only_padding_gets_the_nearest_pixel() -> None:
    view = fields_of_view(nn.Conv2d(1, 1, 1, padding=2), (1, 4, 4))[""]
    assert [view.box(y, 0, 4, 4) for y in (0, 2, 7)] == [(0, 0, 1, 1), (0, 0, 1, 1), (3, 0, 4, 1)]


def test_a_wrong_input_says_what_fits() -> None:
    with pytest.raises(InputError, match=r"Try: 3x32x32"):
        fields_of_view(nn.Conv2d(3, 1, 3), (1, 32, 32))
