"""The blocks whose shortcut is the identity: what is said of x + F(x) is said of these."""

from __future__ import annotations

from torch import nn

from residuum.insight.terms import blocks_of, shortcut_blocks, shortcut_kind


def identity_blocks(net: nn.Module) -> list[list[str]]:
    """Names of the blocks of a residual net whose shortcut is the identity, a list for each stage, in order.

    Raises:
        InputError: the net is plain, or has no residual blocks.
    """
    stages: dict[str, list[str]] = {}
    for name, block in shortcut_blocks(net):
        if shortcut_kind(block) == "identity":
            stages.setdefault(name.rpartition(".")[0], []).append(name)
    return [*stages.values()]


def block_numbers(net: nn.Module) -> dict[str, int]:
    """The number of each block by its name, from 1 behind the stem.

    Raises:
        InputError: the net has no blocks of this package.
    """
    return {name: number for number, (name, _) in enumerate(blocks_of(net), start=1)}
