"""Stages, the layer for maps and the first convolution of nets of every family, and of nets that are not ours."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from residuum.errors import InputError
from residuum.insight.places import first_convolution, map_layer, residual_blocks, stages
from residuum.nets.catalog import CATALOG
from residuum.nets.resnet import ResNet
from residuum.nets.skeleton import without_values

BY_HALVES = [("bn1.relu", 112), ("layer1", 56), ("layer2", 28), ("layer3", 14), ("layer4", 7)]
CIFAR = [("layer1", 32), ("layer2", 16), ("layer3", 8)]
PREACTIVATED = [("layer1", 32), ("layer2", 16), ("bn_last.relu", 8)]
INCEPTION = [("conv1", 112), ("conv3", 56), ("inception3b", 28), ("inception4e", 14), ("inception5b", 7)]
EXPECTED = {
    "lenet5_1998": [("c1", 28), ("c3", 10)],
    "lenet5": [("conv1.relu", 28), ("conv2.relu", 10)],
    "alexnet": [("features.1", 55), ("features.4", 27), ("features.11", 13)],
    "alexnet_2012": [("features.1", 55), ("features.5", 27), ("features.13", 13)],
    "zfnet": [("features.1", 110), ("features.5", 26), ("features.13", 13)],
    "vgg16": [("features.3", 224), ("features.8", 112), ("features.15", 56), ("features.22", 28), ("features.29", 14)],
    "vgg16_bn": [("features.5", 224), ("features.12", 112), ("features.22", 56), ("features.32", 28),
                 ("features.42", 14)],
    "vgg16_gap": [("features.3", 224), ("features.8", 112), ("features.15", 56), ("features.22", 28),
                  ("features.29", 14)],
    "googlenet": INCEPTION,
    "googlenet_bn": INCEPTION,
    "resnet18": BY_HALVES,
    "resnet50": BY_HALVES,  # the first block of a stage begins at the size of the stage before
    "resnet50_v1": BY_HALVES,
    "resnet50_caffe": BY_HALVES,
    "resnetd50": BY_HALVES,
    "se_resnet50": BY_HALVES,
    "resnext50_32x4d": BY_HALVES,
    "resnet20": CIFAR,
    "plain20": CIFAR,
    "preact_resnet164": PREACTIVATED,
    "wrn16_4": PREACTIVATED,
}  # fmt: skip


def skeleton(name: str) -> tuple[nn.Module, Tensor]:
    with without_values():
        return CATALOG[name].build(), torch.zeros(1, *CATALOG[name].input_shape)


@pytest.mark.parametrize("name", EXPECTED)
def test_stages_of_each_family(name: str) -> None:
    net, images = skeleton(name)
    found = stages(net, images)
    assert [(stage.name, stage.height) for stage in found] == EXPECTED[name]
    assert all(stage.width == stage.height for stage in found)
    assert map_layer(net, images) == EXPECTED[name][-1][0]


@pytest.mark.parametrize("name", ["lenet5_1998", "alexnet", "vgg16_bn", "googlenet", "resnetd50", "wrn16_4"])
def test_the_first_convolution_is_the_first_to_run_and_sees_the_image(name: str) -> None:
    net, images = skeleton(name)
    seen: list[tuple[nn.Module, Tensor]] = []
    for each in net.modules():
        if isinstance(each, nn.Conv2d):
            each.register_forward_pre_hook(lambda module, given: seen.append((module, given[0])))
    net.eval()(images)
    path, convolution = first_convolution(net)
    assert seen[0][0] is convolution is net.get_submodule(path)
    assert seen[0][1] is images


def test_channels_and_other_sizes_of_image() -> None:
    torch.manual_seed(0)
    net = CATALOG["resnet18"].build()
    found = stages(net, torch.randn(2, 3, 96, 64))
    assert [(each.name, each.channels, each.height, each.width) for each in found] == [
        ("bn1.relu", 64, 48, 32),
        ("layer1", 64, 24, 16),
        ("layer2", 128, 12, 8),
        ("layer3", 256, 6, 4),
        ("layer4", 512, 3, 2),
    ]


def test_maps_of_one_pixel_are_left_out(tiny_net: ResNet) -> None:
    assert [each.name for each in stages(tiny_net, torch.randn(1, 1, 2, 2))] == ["layer1"]
    with pytest.raises(InputError, match="no map larger than 1x1"):
        stages(tiny_net, torch.randn(1, 1, 1, 1))


class Foreign(nn.Module):
    """As others write it: features in a module of their own, pooling as a module and a function, a ReLU as both."""

    class Features(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.pool, self.two = nn.Conv2d(1, 2, 3, padding=1), nn.MaxPool2d(2), nn.Conv2d(2, 3, 3)
            self.drop = nn.Dropout2d()

        def forward(self, x: Tensor) -> Tensor:
            return self.drop(self.two(functional.relu(self.pool(functional.relu(self.one(x), inplace=True)))))

    def __init__(self) -> None:
        super().__init__()
        self.features, self.rectify, self.linear = self.Features(), nn.ReLU(inplace=True), nn.Linear(3 * 9, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.max_pool2d(self.rectify(self.features(x)), 2)
        return self.linear(x.flatten(1))  # type: ignore[no-any-return]


def test_a_foreign_net() -> None:
    net = Foreign()
    assert [each.name for each in stages(net, torch.randn(1, 1, 16, 16))] == ["features.one.relu", "rectify"]
    assert first_convolution(net)[0] == "features.one"
    assert residual_blocks(net) == []


def test_the_net_stays_as_it_was(tiny_net: ResNet) -> None:
    tiny_net.train()
    tiny_net.bn1.eval()
    modes = [each.training for each in tiny_net.modules()]
    values = {name: each.clone() for name, each in tiny_net.state_dict().items()}
    stages(tiny_net, torch.randn(1, 1, 16, 16))
    with pytest.raises(RuntimeError):
        stages(tiny_net, torch.randn(1, 5, 16, 16))
    assert [each.training for each in tiny_net.modules()] == modes
    assert not any(each._forward_hooks or each._forward_pre_hooks for each in tiny_net.modules())
    assert all(torch.equal(each, values[name]) for name, each in tiny_net.state_dict().items())


@pytest.mark.parametrize(("name", "blocks"), [("resnet50", 16), ("plain20", 9), ("preact_resnet164", 54), ("vgg16", 0)])
def test_residual_blocks(name: str, blocks: int) -> None:
    found = residual_blocks(skeleton(name)[0])
    assert len(found) == blocks
    assert [path for path, _ in found][:1] == ["layer1.0"][:blocks]


def test_the_first_convolution_is_the_first_that_was_made() -> None:
    net = nn.Module()
    net.head, net.stem = nn.Conv2d(4, 2, 1), nn.Conv2d(3, 4, 3)
    assert first_convolution(net)[0] == "head"  # without an image nothing runs; said in the docstring


def test_a_net_without_convolutions_has_no_first_one() -> None:
    with pytest.raises(InputError, match="net: has no convolution"):
        first_convolution(nn.Linear(2, 2))
