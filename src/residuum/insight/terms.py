"""The two terms of a residual block's addition, F(x) and shortcut(x): of which blocks, and while a net runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Literal, NamedTuple

from torch import Tensor, nn

from residuum.errors import InputError
from residuum.insight.places import ResidualBlock, residual_blocks
from residuum.nets.blocks import PostActivation, PreActivation
from residuum.nets.layers import PadShortcut
from residuum.nets.shortcuts import Gated, Scaled

ShortcutKind = Literal["identity", "pad", "pooled", "projection", "scaled", "gated", "dropout"]
KINDS: tuple[tuple[ShortcutKind, type[nn.Module] | tuple[type[nn.Module], ...]], ...] = (
    ("gated", Gated),
    ("scaled", Scaled),
    ("dropout", nn.Dropout),
    ("projection", nn.Conv2d),
    ("pad", PadShortcut),
    ("pooled", (nn.MaxPool2d, nn.AvgPool2d)),
)


class Terms(NamedTuple):
    """What one block was given, adds and gives, each `(N, C, H, W)`; on the autograd graph where there is one.

    Attributes:
        x: the block's input.
        shortcut: of x; x itself where the shortcut is the identity.
        residual: F(x), of the shortcut's shape.
        output: of the block, after its last ReLU where it has one.
    """

    x: Tensor
    shortcut: Tensor
    residual: Tensor
    output: Tensor


def blocks_of(net: nn.Module) -> list[tuple[str, ResidualBlock]]:
    """The blocks of a net, plain or residual, by module name, in order.

    Raises:
        InputError: the net has no blocks of this package.
    """
    blocks = residual_blocks(net)
    if not blocks:
        raise InputError("net: has no residual blocks of ours, so there is no F(x) to look at. Try: resnet20")
    return blocks


def shortcut_blocks(net: nn.Module) -> list[tuple[str, ResidualBlock]]:
    """The blocks of a net that add F(x) to a shortcut, by module name, in order.

    Raises:
        InputError: the net has no blocks of this package, or is plain.
    """
    found = [(name, block) for name, block in blocks_of(net) if block.downsample is not None]
    if not found:
        raise InputError(
            "net: is plain, its blocks have no shortcut that F(x) could be compared with. Try: its residual twin"
        )
    return found


def shortcut_kind(block: ResidualBlock) -> ShortcutKind:
    """What the shortcut of a block does: nothing, stride and zero channels, a projection, or what scales its input."""
    assert block.downsample is not None
    parts = list(block.downsample.modules())
    return next((kind for kind, made_by in KINDS if any(isinstance(part, made_by) for part in parts)), "identity")


def shortcut_of(block: ResidualBlock, x: Tensor) -> Tensor:
    """What a block with a shortcut adds F(x) to."""
    assert block.downsample is not None
    shares = isinstance(block, PreActivation) and block.shares_activation
    return block.downsample(block.activate(x) if shares else x)  # type: ignore[no-any-return, operator]


def finished(block: ResidualBlock, total: Tensor) -> Tensor:
    """What a block gives, by its sum."""
    return block.finished(total)


@contextmanager
def watching(blocks: Sequence[tuple[str, ResidualBlock]], told: Callable[[str, Terms], None]) -> Iterator[None]:
    """`told(name, terms)` each time one of these blocks has run, until the end of the `with`.

    Args:
        blocks: with a shortcut each, as `shortcut_blocks` gives them.
        told: what to do with the terms. Nothing is kept beyond its call.
    """
    with ExitStack() as stack:
        for name, block in blocks:
            stack.callback(_watch(name, block, told))
        yield


def _watch(name: str, block: ResidualBlock, told: Callable[[str, Terms], None]) -> Callable[[], None]:
    """Watch one block; returns what ends it. F is a method, so it is replaced on this one block."""
    method = "residual" if isinstance(block, PostActivation) else "branch"
    replaced = block.__dict__.get(method)
    original: Callable[..., Tensor] = getattr(block, method)
    seen: dict[str, Tensor] = {}

    def branch(*given: Tensor) -> Tensor:
        seen["residual"] = original(*given)
        return seen["residual"]

    def keep_shortcut(module: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        seen["shortcut"] = output

    def tell(module: nn.Module, given: tuple[Tensor], output: Tensor) -> None:
        told(name, Terms(given[0], seen.pop("shortcut"), seen.pop("residual"), output))

    assert block.downsample is not None
    handles = [block.downsample.register_forward_hook(keep_shortcut), block.register_forward_hook(tell)]
    setattr(block, method, branch)

    def end() -> None:
        for handle in handles:
            handle.remove()
        delattr(block, method)
        if replaced is not None:
            setattr(block, method, replaced)

    return end
