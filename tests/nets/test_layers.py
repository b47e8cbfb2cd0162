"""Grouped batch normalisation: equal to normalising each group by itself, and to the usual layer in evaluation."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from residuum.nets.layers import GroupedBatchNorm2d, set_bn_group


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
