"""Lesions: what a residual network loses with a block, with several, or with two in each other's place.

Veit, Wilber, Belongie 2016, "Residual Networks Behave Like Ensembles of Relatively Shallow Networks" (arXiv
1605.06431).

    question                                 functions               source
    what is lost with some blocks?           `without`, `lesions`    sections 4.1 and 4.2
    what is lost when two change places?     `swapped`, `swaps`      section 4.3
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from operator import length_hint

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from residuum.errors import InputError
from residuum.insight.looks import OnProgress, in_float64, unheard, without_gradients
from residuum.insight.places import ResidualBlock
from residuum.insight.taps import device_of, evaluating, module_of, replaced
from residuum.insight.terms import blocks_of, finished, shortcut_of

Batches = Iterable[tuple[Tensor, Tensor]]
Change = Callable[[], AbstractContextManager[None]]


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
def without(net: nn.Module, names: str | Sequence[str]) -> Iterator[None]:
    """The net with these modules taken out; inside, other modules stand in their places.

    Of a block with a shortcut the shortcut is left: the block gives what it would if F(x) were zero. Any other module
    is passed by, which needs that it gets one tensor and gives one of its shape; the first forward pass finds out.

    Raises:
        InputError: there is no such module, or one lies in another; in a forward pass: it gets or gives not one tensor,
            or the shape would change.
    """
    chosen = _names(names)
    for inner in chosen:
        if outer := next((name for name in chosen if inner.startswith(f"{name}.")), None):
            raise InputError(f"names: {inner!r} is a part of {outer!r}. Try: only {outer!r}")
    with replaced(net, {name: _taken_out(name, module_of(net, name)) for name in chosen}):
        yield


@contextmanager
def swapped(net: nn.Module, first: str, second: str) -> Iterator[None]:
    """The net with two blocks in each other's place.

    Raises:
        InputError: one of the two is no residual block, their channels or strides differ, or one of them is the first
            of a pre-activation net, which activates nothing.
    """
    one, other = _block(net, first), _block(net, second)
    if not may_change_places(one, other):
        raise InputError(
            f"blocks: {first!r} and {second!r} cannot change places: one gives {_words(one)}, the other "
            f"{_words(other)}. Try: two blocks of one stage, not its first"
        )
    with replaced(net, {first: other, second: one}):
        yield


def removable(net: nn.Module) -> tuple[str, ...]:
    """Names of the blocks that the net runs without: those with a shortcut and, in a plain net, those of one shape.

    Raises:
        InputError: the net has no blocks of ours.
    """
    return tuple(name for name, block in blocks_of(net) if block.downsample is not None or _keeps_shape(block))


@without_gradients
def lesions(
    net: nn.Module,
    batches: Batches,
    *,
    groups: str | Sequence[str | Sequence[str]] | None = None,
    on_progress: OnProgress = unheard,
) -> list[Lesion]:
    """What the net loses with each group of blocks, in eval mode; the whole net comes first.

    Args:
        net: any net where `groups` are given.
        batches: images `(N, C, H, W)` and labels `(N,)`; gone through once.
        groups: modules to take out together; each block of `removable` alone by default. A single name is one group.
        on_progress: called with forward passes done and in all, 0 where the number of batches is not known.

    Raises:
        InputError: there are no images or no blocks; a module is not there or cannot be taken out.
    """
    wanted = removable(net) if groups is None else (groups,) if isinstance(groups, str) else groups
    chosen = [_names(group) for group in wanted]
    removed = [(), *chosen]
    measured = _measured(net, batches, [partial(without, net, names) for names in removed], on_progress)
    return [Lesion(names, *values) for names, values in zip(removed, measured, strict=True)]


@without_gradients
def swaps(
    net: nn.Module,
    batches: Batches,
    *,
    pairs: Sequence[tuple[str, str]],
    on_progress: OnProgress = unheard,
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


def _names(names: str | Sequence[str]) -> tuple[str, ...]:
    """Each name once, in order; a single one may stand alone."""
    return (names,) if isinstance(names, str) else tuple(dict.fromkeys(names))


class _ShortcutOnly(nn.Module):
    """A block as if F(x) were zero."""

    def __init__(self, block: ResidualBlock) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        return finished(self.block, shortcut_of(self.block, x))


class _PassedBy(nn.Module):
    """The identity where a module was that gets one tensor, beside numbers and the like, and gives one of its shape."""

    def __init__(self, name: str, module: nn.Module) -> None:
        super().__init__()
        self.name, self.module, self.checked = name, module, False

    def forward(self, *given: object, **named: object) -> Tensor:
        tensors = [each for each in (*given, *named.values()) if isinstance(each, Tensor)]
        if len(tensors) != 1:
            raise self._refused(f"it is not given one tensor (expected 1, got {len(tensors)})")
        if not self.checked:
            self._check(tensors[0][:1], *map(_of_one, given), **{name: _of_one(each) for name, each in named.items()})
            self.checked = True
        return tensors[0]

    def _check(self, x: Tensor, /, *given: object, **named: object) -> None:
        with evaluating(self.module), torch.no_grad():
            made = self.module(*given, **named)
        if not isinstance(made, Tensor):
            raise self._refused(f"it does not give one tensor (expected a Tensor, got {type(made).__name__})")
        if made.shape != x.shape:
            shapes = f"expected {tuple(x.shape[1:])}, got {tuple(made.shape[1:])}"
            raise self._refused(f"it changes the shape of its maps ({shapes})")

    def _refused(self, why: str) -> InputError:
        return InputError(f"names: {self.name!r} cannot be taken out, {why}. Try: a block within a stage")


def _of_one(value: object) -> object:
    """A batch as its first image alone; anything else as it is."""
    return value[:1] if isinstance(value, Tensor) else value


def _taken_out(name: str, module: nn.Module) -> nn.Module:
    if isinstance(module, ResidualBlock) and module.downsample is not None:
        return _ShortcutOnly(module)
    return _PassedBy(name, module)


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
                loss[index] += _summed_loss(logits, labels)
                passes += 1
                on_progress(passes, total)
            images += len(labels)
    if not images:
        raise InputError("batches: hold no image. Try: at least one batch of images and labels")
    return [(int(r) / images, float(sum_) / images, images) for r, sum_ in zip(right, loss, strict=True)]


def _summed_loss(logits: Tensor, labels: Tensor) -> float:
    wide = in_float64(logits)
    return float(functional.cross_entropy(wide, labels.to(wide.device), reduction="sum"))


def _block(net: nn.Module, name: str) -> ResidualBlock:
    module = module_of(net, name)
    if isinstance(module, ResidualBlock):
        return module
    known = ", ".join(name for name, _ in blocks_of(net)[:6])
    raise InputError(f"blocks: {name!r} is no residual block. Try: two of {known}, ...")


def may_change_places(one: ResidualBlock, other: ResidualBlock) -> bool:
    """Whether two blocks take and give the same; the first of a pre-activation net alone takes what is activated."""
    return _form(one) == _form(other)


def _form(block: ResidualBlock) -> tuple[int, int, int, bool]:
    """Channels in, channels out and stride of the branch F, and whether its input is activated in the block."""
    convolutions = [module for module in block.children() if isinstance(module, nn.Conv2d)]
    if not convolutions:
        name = type(block).__name__
        raise InputError(f"blocks: a {name} has no convolutions to tell its shapes by. Try: a block of resnet20")
    stride = int(np.prod([convolution.stride for convolution in convolutions], axis=0)[0])
    stride *= 1 if block.pool is None else 2
    return convolutions[0].in_channels, convolutions[-1].out_channels, stride, getattr(block, "activates", True)


def _keeps_shape(block: ResidualBlock) -> bool:
    channels_in, channels_out, stride, _ = _form(block)
    return channels_in == channels_out and stride == 1


def _words(block: ResidualBlock) -> str:
    channels_in, channels_out, stride, activates = _form(block)
    after = "" if activates else " after the stem's activation"
    return f"{channels_out} channels for {channels_in} at stride {stride}{after}"
