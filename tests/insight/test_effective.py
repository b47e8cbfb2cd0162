"""Effective receptive fields of nets of which every pixel's share can be counted."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from residuum.errors import InputError
from residuum.insight.effective import effective_field
from residuum.nets.resnet import ResNet


def sums(number: int) -> nn.Sequential:
    """So many 3x3 convolutions that add up what they see, one after another."""
    net = nn.Sequential(*(nn.Conv2d(1, 1, 3, padding=1, bias=False) for _ in range(number)))
    for each in net.parameters():
        nn.init.ones_(each)
    return net


def test_three_sums_weigh_pixels_by_the_number_of_ways_to_them() -> None:
    """Along each axis 1, 3, 6, 7, 6, 3, 1 of 27 ways. The corners have 1 of the 49 in the middle, less than 4.55 %."""
    found = effective_field(sums(3), "2", torch.randn(2, 1, 15, 13))
    ways = np.array([1, 3, 6, 7, 6, 3, 1]) / 27
    expected = np.zeros((15, 13))
    expected[4:11, 3:10] = np.outer(ways, ways)
    np.testing.assert_allclose(found.values, expected, atol=1e-7)
    assert found.position == (7, 6)
    assert found.size == math.sqrt(49 - 4)
    assert found.field is not None
    assert found.field.size == (7, 7)
    assert found.field.box(7, 6, 15, 13) == (4, 3, 11, 10)


def test_many_sums_make_a_gaussian_that_is_smaller_than_the_window() -> None:
    """Twelve of variance 2/3: the pixels beyond exp(-r^2 / 16) = 4.55 % lie outside of a circle of radius 7.03."""
    found = effective_field(sums(12).double(), "11", torch.randn(1, 1, 41, 41).double())
    assert found.field is not None
    assert found.field.size == (25, 25)
    radius = math.sqrt(-16 * math.log(1 - 0.9545))
    assert found.size == pytest.approx(math.sqrt(math.pi) * radius, rel=0.03)


def test_what_no_gradient_reaches_has_no_size() -> None:
    net = nn.Sequential(nn.Conv2d(1, 1, 3), nn.ReLU())
    nn.init.constant_(net[0].bias, -100)
    found = effective_field(net, "1", torch.randn(1, 1, 8, 8))
    assert (found.size, found.values.sum()) == (0, 0)


def test_wrong_arguments(tiny_net: ResNet) -> None:
    with pytest.raises(InputError, match=r"^layer: 'fc' gives no maps"):
        effective_field(tiny_net, "fc", torch.randn(1, 1, 16, 16))
    with pytest.raises(InputError, match=r"^images: there is none"):
        effective_field(tiny_net, "layer1", torch.randn(0, 1, 16, 16))
