"""Two nets opposite each other: nothing lost, equal only what is equal, twins differ where the catalog says."""

from __future__ import annotations

import re
import time
from functools import cache

import pytest
from torch import nn

from residuum.costing.cost import Cost
from residuum.costing.count import cost
from residuum.costing.difference import COMPARED, LARGEST_TABLE, Pair, difference
from residuum.nets.catalog import CATALOG
from residuum.references import skeleton

SLOW = re.compile(r"101|152|164|200|1001|1202")  # these differ as their shallower kin do
TWINS = [(e.name, e.twin) for e in CATALOG.values() if e.twin and not SLOW.search(e.name + e.twin)]


@cache
def counted(name: str) -> Cost:
    found = skeleton(name)
    return cost(found.net, found.input_shape, training=False)


def differing(pairs: list[Pair]) -> list[tuple[str, str]]:
    """Names of what differs, empty where a net has none."""
    return [(p.first.name if p.first else "", p.second.name if p.second else "") for p in pairs if not p.same]


def require_whole(pairs: list[Pair], first: Cost, second: Cost) -> None:
    """Every compared layer of both nets is there once, in order."""
    for found, of in (([p.first for p in pairs], first), ([p.second for p in pairs], second)):
        assert [each for each in found if each] == [layer for layer in of.layers if layer.group in COMPARED]
    for pair in pairs:
        both = [each for each in (pair.first, pair.second) if each]
        assert len({each.group for each in both}) == 1
        if pair.same:
            assert len({(e.detail, e.output_shape, e.parameters) for e in both}) == 1
            assert len(both) == 2


@pytest.mark.parametrize(("first", "second"), TWINS, ids=map("-".join, TWINS))
def test_twins_differ_and_nothing_is_lost(first: str, second: str) -> None:
    pairs = difference(counted(first), counted(second))
    require_whole(pairs, counted(first), counted(second))
    assert differing(pairs)


@pytest.mark.parametrize("name", ["resnet20", "googlenet", "lenet5_1998", "se_resnet50"])
def test_a_net_does_not_differ_from_itself(name: str) -> None:
    pairs = difference(counted(name), counted(name))
    assert all(pair.same for pair in pairs)
    require_whole(pairs, counted(name), counted(name))


@pytest.mark.parametrize("twins", [("alexnet", "alexnet_2012"), ("vgg16", "vgg16_gap"), ("resnet50", "resnet50_v1")])
def test_both_directions_find_the_same_differences(twins: tuple[str, str]) -> None:
    first, second = map(counted, twins)
    back = {(theirs, ours) for ours, theirs in differing(difference(second, first))}
    assert set(differing(difference(first, second))) == back


def test_the_stride_moves_from_the_3x3_to_the_first_1x1() -> None:
    pairs = difference(counted("resnet50"), counted("resnet50_v1"))
    names = differing(pairs)
    for stage in (2, 3, 4):
        for layer in ("conv1", "bn1", "conv2"):
            assert (f"layer{stage}.0.{layer}",) * 2 in names
    assert len(names) == 9
    details = [(p.first.detail, p.second.detail) for p in pairs if not p.same and p.first and p.second]
    assert details[0] == ("1x1, 128", "1x1/2, 128")
    assert details[2] == ("3x3/2, 128", "3x3, 128")


def test_plain_and_residual_differ_in_their_additions() -> None:
    names = differing(difference(counted("resnet20"), counted("plain20")))
    assert names == [(f"layer{stage}.{block}.add", "") for stage in (1, 2, 3) for block in range(3)]


def test_a_convolution_stands_opposite_its_like_where_others_come_between() -> None:
    names = differing(difference(counted("googlenet"), counted("googlenet_bn")))
    for path in ("conv1", "conv2", "conv3", "inception3a.branch1", "inception3a.branch3.1"):
        assert (f"{path}.conv", f"{path}.conv") in names
        assert all(second != f"{path}.conv" for first, second in names if first != f"{path}.conv")


def test_normalisations_of_another_kind_are_not_equal() -> None:
    one = nn.Sequential(nn.Conv2d(3, 4, 3), nn.LocalResponseNorm(5))
    two = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False))
    pairs = difference(*(cost(net, (3, 8, 8), training=False) for net in (one, two)))
    assert [pair.same for pair in pairs] == [True, False]


def test_a_thousand_changed_layers_are_compared_in_seconds() -> None:
    def net(width: int) -> Cost:
        layers = [nn.Conv2d(width, width, 1) for _ in range(int(LARGEST_TABLE**0.5) + 10)]
        return cost(nn.Sequential(*layers), (width, 4, 4), training=False)

    first, second = net(2), net(3)
    began = time.monotonic()
    pairs = difference(first, second)
    assert time.monotonic() - began < 5
    require_whole(pairs, first, second)
    assert not any(pair.same for pair in pairs)
