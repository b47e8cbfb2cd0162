"""Two nets layer by layer: what is the same, what was changed, what only one of them has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from residuum.costing.cost import Cost, Layer
from residuum.costing.operators import CONVOLUTION, LINEAR, NORMALISATION, POOLING

COMPARED = (CONVOLUTION, LINEAR, NORMALISATION, POOLING)


@dataclass(frozen=True)
class Pair:
    """A place of two nets: the layer of each, or None where one has none; `same` where nothing differs but names."""

    first: Layer | None
    second: Layer | None
    same: bool


def difference(first: Cost, second: Cost) -> list[Pair]:
    """The two nets aligned, in order.

    Compared are kind, kernel, stride, channels and output of the layers that convolve, multiply, normalise or pool.
    """
    a, b = _compared(first), _compared(second)
    pairs: list[Pair] = []
    matcher = SequenceMatcher(None, [_key(each) for each in a], [_key(each) for each in b], autojunk=False)
    for tag, a_from, a_to, b_from, b_to in matcher.get_opcodes():
        if tag == "equal":
            pairs += [Pair(x, y, True) for x, y in zip(a[a_from:a_to], b[b_from:b_to], strict=True)]
        else:
            pairs += _changed(a[a_from:a_to], b[b_from:b_to])
    return pairs


def _compared(cost: Cost) -> list[Layer]:
    return [layer for layer in cost.layers if layer.group in COMPARED]


def _key(layer: Layer) -> tuple[object, ...]:
    return (layer.group, layer.detail, layer.output_shape[1:], layer.parameters, layer.calls)


def _changed(a: Sequence[Layer], b: Sequence[Layer]) -> list[Pair]:
    """Layers of one kind opposite each other, in order; the others alone."""
    groups = SequenceMatcher(None, [each.group for each in a], [each.group for each in b], autojunk=False)
    pairs: list[Pair] = []
    for tag, a_from, a_to, b_from, b_to in groups.get_opcodes():
        if tag == "equal":
            pairs += [Pair(x, y, False) for x, y in zip(a[a_from:a_to], b[b_from:b_to], strict=True)]
        else:
            pairs += [Pair(each, None, False) for each in a[a_from:a_to]]
            pairs += [Pair(None, each, False) for each in b[b_from:b_to]]
    return pairs
