"""Lesions and paths: what a residual network loses with a block, and through how many blocks its gradient comes.

Veit, Wilber, Belongie 2016, "Residual Networks Behave Like Ensembles of Relatively Shallow Networks" (arXiv
1605.06431). Each block is entered or passed by, so n blocks one after another are 2^n paths from the image to the
answer.

    question                                 functions               source
    what is lost with some blocks?           `without`, `lesions`    sections 4.1 and 4.2
    what is lost when two change places?     `swapped`, `swaps`      section 4.3
    how many paths have which length?        `path_lengths`          section 5, Figure 6(a)
    which lengths carry the gradient?        `gradient_by_length`    section 5, Figures 6(b) and 6(c)

The length of a path is the number of blocks that it enters; layers outside of blocks belong to all paths.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from math import comb, log
from operator import length_hint

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from residuum.errors import InputError
from residuum.insight.places import ResidualBlock, residual_blocks
from residuum.insight.taps import device_of, evaluating, module_of
from residuum.nets.blocks import PostActivation, PreActivation

OnProgress = Callable[[int, int], None]
Batches = Iterable[tuple[Tensor, Tensor]]
Change = Callable[[], AbstractContextManager[None]]


# Blocks taken out or exchanged.


@dataclass(frozen=True)
class Lesion:
    """What a net does without some of its blocks.

    Attributes:
        removed: names of the blocks; none for the whole net.
        accuracy: share of images answered rightly.
        loss: mean cross-entropy, in nats.
        images: how many were shown.
    """

    removed: tuple[str, ...]
    accuracy: float
    loss: float
    images: int


@dataclass(frozen=True)
class Swap:
    """What a net does with blocks exchanged: `swapped` pairs, one after another, none for the net as it is."""

    swapped: tuple[tuple[str, str], ...]
    accuracy: float
    loss: float
    images: int


@contextmanager
def without(net: nn.Module, names: Sequence[str]) -> Iterator[None]:
    """The net with these modules taken out; inside, other modules stand in their places.

    Of a block with a shortcut the shortcut is left: the block gives what it would if F(x) were zero. Any other module
    is passed by, which needs that it gives maps of the shape that it gets; the first forward pass finds out.

    Raises:
        InputError: there is no such module, or one lies in another; in a forward pass: the shape would change.
    """
    chosen = tuple(dict.fromkeys((names,) if isinstance(names, str) else names))
    for inner in chosen:
        if outer := next((name for name in chosen if inner.startswith(f"{name}.")), None):
            raise InputError(f"names: {inner!r} is a part of {outer!r}. Try: only {outer!r}")
    with _replaced(net, {name: _taken_out(name, module_of(net, name)) for name in chosen}):
        yield


@contextmanager
def swapped(net: nn.Module, first: str, second: str) -> Iterator[None]:
    """The net with two blocks in each other's place.

    Raises:
        InputError: one of the two is no residual block, or their channels or strides differ.
    """
    one, other = _block(net, first), _block(net, second)
    if _form(one) != _form(other):
        raise InputError(
            f"blocks: {first!r} and {second!r} cannot change places: one gives {_words(one)}, the other "
            f"{_words(other)}. Try: two blocks of one stage, not its first"
        )
    with _replaced(net, {first: other, second: one}):
        yield


def removable(net: nn.Module) -> tuple[str, ...]:
    """Names of the blocks that the net runs without: those with a shortcut and, in a plain net, those of one shape.

    Raises:
        InputError: the net has no blocks of ours.
    """
    return tuple(name for name, block in _blocks(net) if block.downsample is not None or _keeps_shape(block))


def lesions(
    net: nn.Module,
    batches: Batches,
    *,
    groups: Sequence[Sequence[str]] | None = None,
    on_progress: OnProgress = lambda done, total: None,
) -> list[Lesion]:
    """What the net loses with each group of blocks, in eval mode; the whole net comes first.

    Args:
        net: any net where `groups` are given.
        batches: images `(N, C, H, W)` and labels `(N,)`; gone through once.
        groups: modules to take out together; each block of `removable` alone by default.
        on_progress: called with forward passes done and in all, 0 where the number of batches is not known.

    Raises:
        InputError: there are no images or no blocks; a module is not there or cannot be taken out.
    """
    chosen = [(name,) for name in removable(net)] if groups is None else [tuple(group) for group in groups]
    removed = [(), *chosen]
    measured = _measured(net, batches, [partial(without, net, names) for names in removed], on_progress)
    return [Lesion(names, *values) for names, values in zip(removed, measured, strict=True)]


def swaps(
    net: nn.Module,
    batches: Batches,
    *,
    pairs: Sequence[tuple[str, str]],
    on_progress: OnProgress = lambda done, total: None,
) -> list[Swap]:
    """What the net loses when each pair of blocks changes places, in eval mode; the net as it is comes first.

    Args as of `lesions`.

    Raises:
        InputError: there are no images, or the blocks of a pair cannot change places.
    """
    done: list[tuple[tuple[str, str], ...]] = [(), *((pair,) for pair in pairs)]
    changes: list[Change] = [partial(without, net, ()), *(partial(swapped, net, *pair) for pair in pairs)]
    measured = _measured(net, batches, changes, on_progress)
    return [Swap(exchanged, *values) for exchanged, values in zip(done, measured, strict=True)]


class _ShortcutOnly(nn.Module):
    """A block as if F(x) were zero."""

    def __init__(self, block: ResidualBlock) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        return _finished(self.block, _shortcut(self.block, x))


class _PassedBy(nn.Module):
    """The identity where a module was that gives maps of the shape that it gets."""

    def __init__(self, name: str, module: nn.Module) -> None:
        super().__init__()
        self.name, self.module, self.checked = name, module, False

    def forward(self, x: Tensor) -> Tensor:
        if not self.checked:
            self._check(x[:1])
            self.checked = True
        return x

    def _check(self, x: Tensor) -> None:
        with evaluating(self.module), torch.no_grad():
            given = self.module(x)
        if given.shape != x.shape:
            shapes = f"expected {tuple(x.shape[1:])}, got {tuple(given.shape[1:])}"
            raise InputError(
                f"names: {self.name!r} cannot be taken out, it changes the shape of its maps ({shapes}). "
                "Try: a block within a stage"
            )


def _taken_out(name: str, module: nn.Module) -> nn.Module:
    if isinstance(module, ResidualBlock) and module.downsample is not None:
        return _ShortcutOnly(module)
    return _PassedBy(name, module)


@contextmanager
def _replaced(net: nn.Module, modules: Mapping[str, nn.Module]) -> Iterator[None]:
    originals = {name: module_of(net, name) for name in modules}
    if "" in originals:
        raise InputError("net: is itself the module to replace. Try: nn.Sequential(net), in which it is named '0'")
    try:
        for name, module in modules.items():
            net.set_submodule(name, module)
        yield
    finally:
        for name, module in originals.items():
            net.set_submodule(name, module)


def _measured(
    net: nn.Module, batches: Batches, changes: Sequence[Change], on_progress: OnProgress
) -> list[tuple[float, float, int]]:
    """Accuracy, loss and number of images under each change; a batch goes through all of them before the next."""
    right, loss = np.zeros(len(changes), dtype=np.int64), np.zeros(len(changes))
    images, passes, total = 0, 0, len(changes) * length_hint(batches)
    device = device_of(net)
    with evaluating(net), torch.no_grad():
        for batch, truth in batches:
            shown, labels = batch.to(device), truth.to(device)
            for index, change in enumerate(changes):
                with change():
                    logits = net(shown)
                right[index] += int((logits.argmax(dim=1) == labels).sum())
                loss[index] += float(functional.cross_entropy(logits.double(), labels, reduction="sum"))
                passes += 1
                on_progress(passes, total)
            images += len(labels)
    if not images:
        raise InputError("batches: hold no image. Try: at least one batch of images and labels")
    return [(int(r) / images, float(sum_) / images, images) for r, sum_ in zip(right, loss, strict=True)]


# Paths.


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
            greater than number times mean, and often much smaller.
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
    blocks = [block for _, block in _blocks(net)]
    free = sum(block.downsample is not None for block in blocks)
    fixed = len(blocks) - free
    return Paths(
        length=tuple(range(len(blocks) + 1)),
        count=tuple(comb(free, length - fixed) if length >= fixed else 0 for length in range(len(blocks) + 1)),
    )


def gradient_by_length(
    net: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    samples: int = 16,
    seed: int = 0,
    on_progress: OnProgress = lambda done, total: None,
) -> LengthGradients:
    """How much gradient comes through paths of each length, in eval mode.

    A path of length k lets the gradient of the cross-entropy through F of k blocks and through the shortcut of the
    others; all that is on the way, ReLUs after the sums too, passes it on as it does in the whole net. The gradients of
    all paths add up to that of the net. Memory as for a training step with these images.

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
        residual, shortcut = self.block.residual(entry), _shortcut(self.block, entry)
        total = residual + shortcut
        link = _Link(entry, residual, shortcut, total, _finished(self.block, total))
        self.links.append(link)
        return link.out


def _chain(net: nn.Module, images: Tensor, labels: Tensor) -> tuple[list[_Link], Tensor]:
    """The blocks of a forward pass in order, and the gradient of the summed loss at the output of the last."""
    if len(images) != len(labels) or not len(images):
        raise InputError(f"labels: one for each image is needed (expected {len(images)}, got {len(labels)})")
    blocks = _blocks(net)
    if plain := [name for name, block in blocks if block.downsample is None]:
        raise InputError(f"net: {plain[0]!r} has no shortcut, so there is but one path through it. Try: a residual net")
    links: list[_Link] = []
    recorders = {name: _Recorder(block, links) for name, block in blocks}
    device = device_of(net)
    with evaluating(net), torch.enable_grad(), _replaced(net, recorders):
        loss = functional.cross_entropy(net(images.to(device)), labels.to(device), reduction="sum")
        (gradient,) = torch.autograd.grad(loss, links[-1].out)
    return links, gradient


def _sums_by_length(links: Sequence[_Link], gradient: Tensor) -> list[Tensor]:
    by_length = [gradient]
    for link in reversed(links):
        passed = [link.back(each, link.shortcut) for each in by_length]
        entered = [link.back(each, link.residual) for each in by_length]
        middle = [here + there for here, there in zip(passed[1:], entered[:-1], strict=True)]
        by_length = [passed[0], *middle, entered[-1]]
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
    return float(gradient.flatten(1).double().norm(dim=1).mean())


def _shares(mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """Number of paths times mean norm, as shares; in logarithms, for 600 blocks make more paths than a float holds."""
    if not mean.any():
        return np.zeros_like(mean)
    blocks = len(mean) - 1
    logs = np.array([log(comb(blocks, k)) + (log(norm) if norm else -np.inf) for k, norm in enumerate(mean)])
    weights = np.exp(logs - logs.max())
    return np.asarray(weights / weights.sum())


# Blocks.


def _blocks(net: nn.Module) -> list[tuple[str, ResidualBlock]]:
    blocks = residual_blocks(net)
    if not blocks:
        raise InputError("net: has no residual blocks of ours, so none can be entered or passed by. Try: resnet20")
    return blocks


def _block(net: nn.Module, name: str) -> ResidualBlock:
    module = module_of(net, name)
    if isinstance(module, ResidualBlock):
        return module
    known = ", ".join(name for name, _ in _blocks(net)[:6])
    raise InputError(f"blocks: {name!r} is no residual block. Try: two of {known}, ...")


def _shortcut(block: ResidualBlock, x: Tensor) -> Tensor:
    """What a block adds F(x) to."""
    assert block.downsample is not None
    shares = isinstance(block, PreActivation) and block.shares_activation
    return block.downsample(block.activate(x) if shares else x)  # type: ignore[no-any-return, operator]


def _finished(block: ResidualBlock, total: Tensor) -> Tensor:
    """What a block does after its sum."""
    return torch.relu(total) if isinstance(block, PostActivation) else total


def _form(block: ResidualBlock) -> tuple[int, int, int]:
    """Channels in, channels out and stride of the branch F: what another block must have to stand in its place."""
    convolutions = [module for module in block.children() if isinstance(module, nn.Conv2d)]
    if not convolutions:
        raise InputError(f"blocks: a {type(block).__name__} has no convolutions, so its shapes are not known")
    stride = int(np.prod([convolution.stride for convolution in convolutions], axis=0)[0])
    return convolutions[0].in_channels, convolutions[-1].out_channels, stride


def _keeps_shape(block: ResidualBlock) -> bool:
    channels_in, channels_out, stride = _form(block)
    return channels_in == channels_out and stride == 1


def _words(block: ResidualBlock) -> str:
    channels_in, channels_out, stride = _form(block)
    return f"{channels_out} channels for {channels_in} at stride {stride}"
