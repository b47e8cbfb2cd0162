"""Two nets layer by layer: what is the same, what was changed, what only one of them has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from residuum.costing.cost import Cost, Layer
from residuum.costing.operators import ADDITION, CONVOLUTION, LINEAR, NORMALISATION, POOLING

COMPARED = (CONVOLUTION, LINEAR, NORMALISATION, POOLING, ADDITION)
LARGEST_TABLE = 400_000  # pairs of layers that are weighed one by one: half a second


@dataclass(frozen=True)
class Pair:
    """A place of two nets: the layer of each, or None where one has none; `same` where nothing differs but names."""

    first: Layer | None
    second: Layer | None
    same: bool


def difference(first: Cost, second: Cost) -> list[Pair]:
    """The two nets aligned, in order.

    Compared are kind, kernel, stride, channels, parameters and output of the layers that convolve, multiply, normalise,
    pool or add.
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
    normalised = (
        layer.kind if layer.group == NORMALISATION else ""
    )  # batch or local response: no detail tells them apart
    return (layer.group, normalised, layer.detail, layer.output_shape[1:], layer.parameters, layer.calls)


def _changed(a: Sequence[Layer], b: Sequence[Layer]) -> list[Pair]:
    """Layers of one group opposite each other, in order, the most alike ones where there is a choice; others alone."""
    if len(a) * len(b) > LARGEST_TABLE:
        return _in_turn(a, b)
    best = _best_scores(a, b)
    pairs: list[Pair] = []
    at, to = 0, 0
    while at < len(a) or to < len(b):
        alike = _likeness(a[at], b[to]) if at < len(a) and to < len(b) else 0
        if alike and best[at][to] == alike + best[at + 1][to + 1]:
            pairs.append(Pair(a[at], b[to], False))
            at, to = at + 1, to + 1
        elif at < len(a) and best[at][to] == best[at + 1][to]:
            pairs.append(Pair(a[at], None, False))
            at += 1
        else:
            pairs.append(Pair(None, b[to], False))
            to += 1
    return pairs


def _best_scores(a: Sequence[Layer], b: Sequence[Layer]) -> list[list[int]]:
    """At i, j: the highest sum of likenesses that the layers from i and from j on can have in order."""
    best = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for at in reversed(range(len(a))):
        row, below = best[at], best[at + 1]
        for to in reversed(range(len(b))):
            alike = _likeness(a[at], b[to])
            row[to] = max(below[to], row[to + 1], alike + below[to + 1] if alike else 0)
    return best


def _likeness(a: Layer, b: Layer) -> int:
    """How well a layer stands opposite another one; 0 where they do different work."""
    if a.group != b.group:
        return 0
    return 2 + 2 * (a.kind == b.kind and a.detail == b.detail) + (a.output_shape[1:] == b.output_shape[1:])


def _in_turn(a: Sequence[Layer], b: Sequence[Layer]) -> list[Pair]:
    """Layers of one group opposite each other, in order; quick, for nets of a thousand layers."""
    groups = SequenceMatcher(None, [each.group for each in a], [each.group for each in b], autojunk=False)
    pairs: list[Pair] = []
    for tag, a_from, a_to, b_from, b_to in groups.get_opcodes():
        if tag == "equal":
            pairs += [Pair(x, y, False) for x, y in zip(a[a_from:a_to], b[b_from:b_to], strict=True)]
        else:
            pairs += [Pair(each, None, False) for each in a[a_from:a_to]]
            pairs += [Pair(None, each, False) for each in b[b_from:b_to]]
    return pairs
