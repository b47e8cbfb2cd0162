"""Paths: through how many blocks of a residual network its gradient comes.

Veit, Wilber, Belongie 2016, "Residual Networks Behave Like Ensembles of Relatively Shallow Networks" (arXiv
1605.06431). Each block is entered or passed by, so n blocks one after another are 2^n paths from the image to the
answer.

    question                              function                source
    how many paths have which length?     `path_lengths`          section 5, Figure 6(a)
    which lengths carry the gradient?     `gradient_by_length`    section 5, Figures 6(b) and 6(c)

The length of a path is the number of blocks that it enters; layers outside of blocks belong to all paths.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from math import comb, log

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from residuum.errors import InputError
from residuum.insight.looks import OnProgress, in_float64, unheard, with_gradients
from residuum.insight.places import ResidualBlock
from residuum.insight.taps import device_of, evaluating, replaced
from residuum.insight.terms import blocks_of, finished, shortcut_of


@dataclass(frozen=True)
class Paths:
    """How many paths there are of each length; exact integers.

    Attributes:
        length: blocks entered, 0 to n.
        count: paths of this length; together 2^n where every block has a shortcut.
    """

    length: tuple[int, ...]
    count: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class LengthGradients:
    """How much gradient arrives at the first block through paths of each length; arrays of `(n + 1,)`.

    Attributes:
        length: blocks entered, 0 to n.
        mean, std: over paths of this length, of the norm of the gradient that comes through a single one; the norm is
            that of an image's own loss, averaged over the images.
        share: number of paths times `mean`, of the sum of that over all lengths.
        together: norm of the sum of the gradients of all paths of this length, none left out. Paths cancel: it is no
            greater than number times mean of them all, and often much smaller.
    """

    length: NDArray[np.int64]
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    share: NDArray[np.float64]
    together: NDArray[np.float64]


def path_lengths(net: nn.Module) -> Paths:
    """Paths by length: each block with a shortcut doubles them, each block of a plain net makes all one longer.

    Raises:
        InputError: the net has no blocks of ours.
    """
    blocks = [block for _, block in blocks_of(net)]
    free = sum(block.downsample is not None for block in blocks)
    fixed = len(blocks) - free
    return Paths(
        length=tuple(range(len(blocks) + 1)),
        count=tuple(comb(free, length - fixed) if length >= fixed else 0 for length in range(len(blocks) + 1)),
    )


@with_gradients
def gradient_by_length(
    net: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    samples: int = 16,
    seed: int = 0,
    on_progress: OnProgress = unheard,
) -> LengthGradients:
    """How much gradient comes through paths of each length, in eval mode.

    A path of length k lets the gradient of the cross-entropy through F of k blocks and through the shortcut of the
    others; all that is on the way, ReLUs after the sums too, passes it on as it does in the whole net. The gradients of
    all paths add up to that of the net. Memory is that of a training step with these images, and of 2n + 3 inputs of
    the first block.

    Args:
        net: a net of residual blocks one after another.
        images: `(N, C, H, W)`.
        labels: `(N,)`.
        samples: paths drawn for each length; where there are no more, each is taken once.
        seed: draws the paths.
        on_progress: called with paths done and in all.

    Differs from the paper: the norm is measured at the input of the first block, not of the net (the stem belongs to
    all paths), for each image (there for a batch), and for fewer paths than its 1,000 of each length; `together` is
    ours.

    Raises:
        InputError: the net has no blocks of ours, or blocks without shortcuts, or something between them; `samples` is
            below 1; there is not one label for each image.
    """
    if samples < 1:
        raise InputError(f"samples: must be at least 1, got {samples}. Try: samples=16")
    links, gradient = _chain(net, images, labels)
    together = [_norm(whole) for whole in _sums_by_length(links, gradient)]
    drawn = _drawn_paths(len(links), samples, np.random.default_rng(seed))
    total, done = sum(map(len, drawn)), 0
    mean, std = np.zeros(len(drawn)), np.zeros(len(drawn))
    for length, paths in enumerate(drawn):
        norms = []
        for path in paths:
            norms.append(_norm(_along(links, gradient, path)))
            done += 1
            on_progress(done, total)
        mean[length], std[length] = np.mean(norms), np.std(norms)
    return LengthGradients(np.arange(len(drawn)), mean, std, _shares(mean), np.array(together))


@with_gradients
def paths_together(net: nn.Module, images: Tensor, labels: Tensor) -> list[Tensor]:
    """For each length 0 to n the sum of the gradients of all its paths, at the input of the first block.

    The loss is the sum of the cross-entropy over the images, so the gradients of images do not mix. Found block by
    block from the end: all paths of length k through a block come by its shortcut from those of length k after it, or
    by F from those of length k - 1. That is n(n + 1)/2 steps back through F and as many through shortcuts.

    Returns:
        n + 1 tensors `(N, C, H, W)`, which add up to the gradient of the whole net.

    Raises:
        InputError: as `gradient_by_length`.
    """
    return _sums_by_length(*_chain(net, images, labels))


@dataclass(frozen=True, eq=False)
class _Link:
    """A block in a forward pass, cut off from the blocks before it: its graph begins at `entry`."""

    entry: Tensor
    residual: Tensor
    shortcut: Tensor
    total: Tensor
    out: Tensor

    def back(self, gradient: Tensor, branch: Tensor) -> Tensor:
        """The gradient at the entry that comes through one branch."""
        (at_sum,) = torch.autograd.grad(self.out, self.total, gradient, retain_graph=True)
        (at_entry,) = torch.autograd.grad(branch, self.entry, at_sum, retain_graph=True)
        return at_entry


class _Recorder(nn.Module):
    """A block that keeps its link in a list."""

    def __init__(self, block: ResidualBlock, links: list[_Link]) -> None:
        super().__init__()
        self.block, self.links = block, links

    def forward(self, x: Tensor) -> Tensor:
        if self.links and x is not self.links[-1].out:
            raise InputError("net: something lies between its blocks, so they make no paths. Try: a ResNet of ours")
        entry = x.detach().requires_grad_()
        residual, shortcut = self.block.residual(entry), shortcut_of(self.block, entry)
        total = residual + shortcut
        link = _Link(entry, residual, shortcut, total, finished(self.block, total))
        self.links.append(link)
        return link.out


def _chain(net: nn.Module, images: Tensor, labels: Tensor) -> tuple[list[_Link], Tensor]:
    """The blocks of a forward pass in order, and the gradient of the summed loss at the output of the last."""
    expected, got = len(images), len(labels)
    if expected != got or not expected:
        raise InputError(f"labels: one for each image is needed (expected {expected}, got {got}). Try: labels of these")
    blocks = blocks_of(net)
    if plain := [name for name, block in blocks if block.downsample is None]:
        raise InputError(f"net: {plain[0]!r} has no shortcut, so there is but one path through it. Try: a residual net")
    links: list[_Link] = []
    recorders = {name: _Recorder(block, links) for name, block in blocks}
    device = device_of(net)
    with evaluating(net), replaced(net, recorders):
        loss = functional.cross_entropy(net(images.to(device)), labels.to(device), reduction="sum")
        (gradient,) = torch.autograd.grad(loss, links[-1].out)
    return links, gradient


def _sums_by_length(links: Sequence[_Link], gradient: Tensor) -> list[Tensor]:
    by_length = [gradient]
    for link in reversed(links):
        before = [link.back(by_length[0], link.shortcut)]
        for shorter, longer in pairwise(by_length):
            before.append(link.back(longer, link.shortcut) + link.back(shorter, link.residual))
        before.append(link.back(by_length[-1], link.residual))
        by_length = before
    return by_length


def _along(links: Sequence[_Link], gradient: Tensor, entered: Iterable[int]) -> Tensor:
    chosen = set(entered)
    for index in reversed(range(len(links))):
        link = links[index]
        gradient = link.back(gradient, link.residual if index in chosen else link.shortcut)
    return gradient


def _drawn_paths(blocks: int, samples: int, generator: np.random.Generator) -> list[list[tuple[int, ...]]]:
    """For each length the blocks that its paths enter: all paths where there are no more than `samples`."""
    drawn: list[list[tuple[int, ...]]] = []
    for length in range(blocks + 1):
        if comb(blocks, length) <= samples:
            drawn.append(list(combinations(range(blocks), length)))
        else:
            choices = (generator.choice(blocks, length, replace=False) for _ in range(samples))
            drawn.append([tuple(int(index) for index in choice) for choice in choices])
    return drawn


def _norm(gradient: Tensor) -> float:
    """Norm of each image's gradient, averaged over the images."""
    return float(in_float64(gradient.flatten(1)).norm(dim=1).mean())


def _shares(mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """Number of paths times mean norm, as shares; in logarithms, for 600 blocks make more paths than a float holds."""
    if not mean.any():
        return np.zeros_like(mean)
    blocks = len(mean) - 1
    logs = np.array([log(comb(blocks, k)) + (log(norm) if norm else -np.inf) for k, norm in enumerate(mean)])
    weights = np.exp(logs - logs.max())
    return np.asarray(weights / weights.sum())
