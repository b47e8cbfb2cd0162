"""Paths against counting; their gradients against enumeration and the whole."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from residuum.errors import InputError
from residuum.insight.paths import gradient_by_length, path_lengths, paths_together
from residuum.insight.places import residual_blocks
from residuum.nets.resnet import ResNet, Variant, cifar
from small_nets import EACH, data, leaves_whole, small


@pytest.mark.parametrize("blocks", [1, 4, 9])
def test_paths_are_counted_as_subsets_of_blocks(blocks: int) -> None:
    net = ResNet(Variant(blocks=(blocks,), widths=(2,), stem="cifar"))
    subsets = [sum(entered) for entered in itertools.product((0, 1), repeat=blocks)]
    found = path_lengths(net)
    assert found.length == tuple(range(blocks + 1))
    assert found.count == tuple(subsets.count(length) for length in found.length)


def test_paths_of_the_papers_net() -> None:
    """Veit et al. 2016, section 5: with 54 modules more than 95 % of the paths go through 19 to 35."""
    found = path_lengths(ResNet(Variant(blocks=(18, 18, 18), widths=(1, 1, 1), stem="cifar"), num_classes=1))
    assert len(found.count) == 55
    assert sum(found.count) == 2**54
    assert 0.95 < sum(found.count[19:36]) / 2**54 < 0.99
    with pytest.raises(InputError, match="no residual blocks of ours"):
        path_lengths(nn.Conv2d(3, 4, 3))


@EACH
def test_gradients_of_all_lengths_add_up_to_the_gradient(make: str) -> None:
    net, (images, labels) = small(make).eval(), data()
    first = residual_blocks(net)[0][1]
    inputs: list[Tensor] = []
    handle = first.register_forward_pre_hook(lambda module, given: inputs.append(given[0]))
    loss = functional.cross_entropy(net(images), labels, reduction="sum")
    handle.remove()
    (whole,) = torch.autograd.grad(loss, inputs[0])
    by_length = paths_together(net, images, labels)
    assert len(by_length) == 4
    assert all(float(each.norm()) > 0 for each in by_length)
    torch.testing.assert_close(torch.stack(by_length).sum(dim=0), whole, rtol=1e-12, atol=1e-14)


def gradient_of_path(net: ResNet, images: Tensor, labels: Tensor, entered: set[int]) -> Tensor:
    """By another way: the whole net runs, and the branch that the path does not take is a constant."""
    blocks = residual_blocks(net)
    x = net.stem(images).detach().requires_grad_()
    y = x
    for index, (_, block) in enumerate(blocks):
        preact = hasattr(block, "shares_activation")
        on = block.activate(y) if preact and block.shares_activation else y
        residual, shortcut = block.residual(y), block.downsample(on)
        total = residual + shortcut.detach() if index in entered else residual.detach() + shortcut
        y = total if preact else torch.relu(total)
    loss = functional.cross_entropy(net.head(y), labels, reduction="sum")
    return torch.autograd.grad(loss, x)[0]


@EACH
def test_norms_of_single_paths(make: str) -> None:
    """All 8 paths of three blocks: mean, standard deviation and share, by hand."""
    net, (images, labels) = small(make).eval(), data()
    norms: dict[int, list[float]] = {length: [] for length in range(4)}
    sums = [torch.zeros(()) for _ in range(4)]
    for flags in itertools.product((0, 1), repeat=3):
        gradient = gradient_of_path(net, images, labels, {index for index in range(3) if flags[index]})
        norms[sum(flags)].append(float(gradient.flatten(1).norm(dim=1).mean()))
        sums[sum(flags)] = sums[sum(flags)] + gradient
    found = gradient_by_length(net, images, labels, samples=3)
    assert found.length.tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(found.mean, [np.mean(norms[length]) for length in range(4)], rtol=1e-12)
    np.testing.assert_allclose(found.std, [np.std(norms[length]) for length in range(4)], rtol=1e-9, atol=1e-15)
    in_all = np.array([sum(norms[length]) for length in range(4)])
    np.testing.assert_allclose(found.share, in_all / in_all.sum(), rtol=1e-12)
    np.testing.assert_allclose(found.together, [each.flatten(1).norm(dim=1).mean() for each in sums], rtol=1e-12)


def test_paths_are_drawn_by_the_seed_and_near_the_mean_of_all() -> None:
    net, (images, labels) = small(Variant(blocks=(8,), widths=(4,), stem="cifar")), data(2)
    every = gradient_by_length(net, images, labels, samples=70)
    drawn = gradient_by_length(net, images, labels, samples=20, seed=3)
    again = gradient_by_length(net, images, labels, samples=20, seed=3)
    other = gradient_by_length(net, images, labels, samples=20, seed=4)
    assert (drawn.mean == again.mean).all()
    assert (drawn.mean[2:7] != other.mean[2:7]).all()
    assert (drawn.together == every.together).all()
    assert (drawn.mean[[0, 1, 7, 8]] == every.mean[[0, 1, 7, 8]]).all()
    assert (abs(drawn.mean - every.mean) <= 4 * every.std / math.sqrt(20)).all()


def test_many_blocks_make_more_paths_than_a_float_holds() -> None:
    from residuum.insight.paths import _shares

    shares = _shares(np.full(1201, 1e-3))
    assert shares.argmax() == 600
    assert shares.sum() == pytest.approx(1)
    assert _shares(np.array([2.0, 0.0, 2.0])).tolist() == [0.5, 0.0, 0.5]
    assert _shares(np.zeros(3)).tolist() == [0, 0, 0]


def test_progress_counts_paths() -> None:
    net, (images, labels) = small("basic"), data()
    steps: list[tuple[int, int]] = []
    gradient_by_length(net, images, labels, samples=2, on_progress=lambda done, total: steps.append((done, total)))
    assert steps == [(done, 6) for done in range(1, 7)]  # 1, 2 of 3, 2 of 3, 1


@pytest.mark.parametrize(
    ("net", "labels", "samples", "says"),
    [
        (cifar(8, shortcut="none"), 3, 4, r"^net: 'layer1.0' has no shortcut.*Try"),
        ("basic", 2, 4, r"^labels: one for each image is needed \(expected 3, got 2\)"),
        ("basic", 3, 0, r"^samples: must be at least 1, got 0"),
    ],
)
def test_gradients_that_cannot_be_had(net: str | Variant, labels: int, samples: int, says: str) -> None:
    images, truth = data()
    with pytest.raises(InputError, match=says):
        gradient_by_length(small(net), images, truth[:labels], samples=samples)


def test_blocks_with_a_layer_between_make_no_paths() -> None:
    net, (images, labels) = small("basic"), data()
    net.layer2.insert(1, nn.Tanh())
    with pytest.raises(InputError, match="something lies between its blocks"):
        gradient_by_length(net, images, labels)
    assert type(net.get_submodule("layer1.0")).__name__ == "BasicBlock"


def test_a_plain_net_has_one_path() -> None:
    assert path_lengths(small(cifar(14, shortcut="none"))).count == (0,) * 6 + (1,)


@pytest.mark.parametrize(
    "look",
    [
        lambda net, images, labels: gradient_by_length(net, images, labels),
        lambda net, images, labels: paths_together(net, images, labels),
        lambda net, images, labels: path_lengths(net),
    ],
)
def test_the_net_stays_as_it_was(look: Callable[[nn.Module, Tensor, Tensor], object]) -> None:
    leaves_whole(look)
