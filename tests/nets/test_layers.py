"""Grouped batch normalisation: equal to normalising each group by itself, and to the usual layer in evaluation."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from residuum.data.preprocess import Preprocessing
from residuum.data.source import Dataset
from residuum.nets.layers import GroupedBatchNorm2d, set_bn_group
from residuum.nets.resnet import ResNet
from residuum.training.prepare import prepare_net
from residuum.training.recipes import recipe


def test_each_group_is_normalised_by_its_own_statistics() -> None:
    net = nn.Sequential(nn.BatchNorm2d(3))
    set_bn_group(net, 4)
    x = torch.randn(8, 3, 5, 5)
    x[4:] += 10
    y = net.train()(x)
    for part in (y[:4], y[4:]):
        torch.testing.assert_close(part.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
        torch.testing.assert_close(part.var(dim=(0, 2, 3), unbiased=False), torch.ones(3), atol=1e-3, rtol=0)


def test_the_first_group_moves_the_running_statistics_once() -> None:
    plain, grouped = nn.BatchNorm2d(2), nn.Sequential(nn.BatchNorm2d(2))
    set_bn_group(grouped, 4)
    x = torch.randn(8, 2, 3, 3)
    grouped.train()(x)
    plain.train()(x[:4])
    assert grouped[0].num_batches_tracked == 1
    torch.testing.assert_close(grouped[0].running_mean, plain.running_mean)
    torch.testing.assert_close(grouped[0].running_var, plain.running_var)


def test_evaluation_names_and_parameters_are_those_of_the_usual_layer() -> None:
    net = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2))
    before = copy.deepcopy(net)
    set_bn_group(net, 2)
    assert isinstance(net[1], GroupedBatchNorm2d)
    assert list(net.state_dict()) == list(before.state_dict())
    x = torch.randn(5, 3, 4, 4)
    assert torch.equal(net.eval()(x), before.eval()(x))


@pytest.mark.parametrize("size", [3, 4, 7])
def test_a_batch_that_the_group_does_not_divide(size: int) -> None:
    net = nn.Sequential(nn.BatchNorm2d(2))
    set_bn_group(net, 4)
    assert net.train()(torch.randn(size, 2, 3, 3)).shape == (size, 2, 3, 3)


def test_a_group_can_be_changed_and_taken_back() -> None:
    net = nn.Sequential(nn.BatchNorm2d(2))
    x = torch.randn(8, 2, 3, 3)
    whole = net.train()(x)
    set_bn_group(net, 4)
    fours = net(x)
    set_bn_group(net, 2)
    assert net[0].group == 2
    twos = net(x)
    assert not torch.equal(fours, whole)
    torch.testing.assert_close(twos[6:], nn.BatchNorm2d(2)(x[6:]))
    set_bn_group(net, None)
    assert type(net[0]) is nn.BatchNorm2d
    assert "group" not in vars(net[0])
    assert torch.equal(net(x), whole)


def test_a_training_has_the_group_of_its_own_recipe(digits_data: Dataset, tiny_net: ResNet) -> None:
    """A net that another training has grouped."""
    preprocessing = Preprocessing(channels=1, resize=8, crop=(8, 8), mean=(0.5,), std=(0.5,))
    groups = []
    for group in (16, 8, None):
        plan = recipe("digits").changed({"bn_group": group})
        prepare_net(tiny_net, digits_data, preprocessing, plan, 0)
        groups.append(getattr(tiny_net.bn1, "group", None))
    assert groups == [16, 8, None]
