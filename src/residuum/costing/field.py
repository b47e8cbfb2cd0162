"""Receptive fields: which pixels of an image a value can see, exact over branches, for operators that move pixels.

Along one axis of the image the value at position i of a map sees the pixels from `jump * i + low` to
`jump * i + high`, borders not clipped. A convolution of kernel k, stride s, padding p, dilation d turns this into

    jump' = jump * s,  low' = low - jump * p,  high' = high + jump * (d * (k - 1) - p)

and where two branches meet, the wider of both ends counts. Where positions are lost (global pooling, a linear layer, a
squeeze-and-excitation gate) the window spans all positions there were. Fractions appear with upsampling.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction


@dataclass(frozen=True)
class Axis:
    """What a tensor sees along one axis of the image.

    Attributes:
        dim: the dimension of the tensor along which the window moves; None where it no longer does.
        jump: pixels from one position to the next: the stride of the layer in the image.
        low, high: first and last pixel seen from position 0.
        fixed: the window is the same from every position (it spans what all positions saw).
    """

    dim: int | None
    jump: Fraction
    low: Fraction
    high: Fraction
    fixed: bool = False

    @property
    def size(self) -> int:
        """Pixels seen from one position."""
        return math.ceil(self.high - self.low) + 1

    def moved(self, start: Fraction | int, stop: Fraction | int, step: Fraction | int = 1) -> Axis:
        """Seen from positions `start` to `stop` of the tensor before, every `step` of them."""
        if self.fixed:
            return replace(self, jump=self.jump * step)
        low, high = self.low + self.jump * start, self.high + self.jump * stop
        return replace(self, jump=self.jump * step, low=low, high=high)

    def spanned(self, length: int) -> Axis:
        """Seen from all `length` positions together."""
        return replace(self.moved(0, length - 1), fixed=True)


@dataclass(frozen=True)
class Field:
    """One `Axis` for each axis of the image; `known` is false after an operator whose reach is not known."""

    axes: tuple[Axis, ...]
    known: bool = True

    def along(self, change: Callable[[Axis], Axis]) -> Field:
        """The field with every axis changed."""
        return replace(self, axes=tuple(change(axis) for axis in self.axes))

    def spanned(self, shape: Sequence[int], dims: Sequence[int], *, keep: bool = False) -> Field:
        """Seen from all positions along `dims` together; `keep` leaves the dimensions in place."""
        wanted = {dim % len(shape) for dim in dims}

        def change(axis: Axis) -> Axis:
            if axis.dim not in wanted:
                return axis
            together = axis.spanned(shape[axis.dim])
            return together if keep else replace(together, dim=None)

        return self.along(change)

    def renumbered(self, new_dim: Callable[[int], int | None]) -> Field:
        """The field of a tensor whose dimension d is now `new_dim(d)`."""
        return self.along(lambda axis: axis if axis.dim is None else replace(axis, dim=new_dim(axis.dim)))


UNKNOWN = Field((), known=False)


def of_image(spatial_axes: int, leading: int = 2) -> Field:
    """Each pixel sees itself: the field of the input, `leading` dimensions (images, channels) before its axes."""
    one, nothing = Fraction(1), Fraction(0)
    return Field(tuple(Axis(leading + index, one, nothing, nothing) for index in range(spatial_axes)))


def union(seen: Sequence[tuple[Field, Sequence[int]]], rank: int) -> Field:
    """What a value sees that is computed from several tensors, aligned at their last dimensions as in broadcasting.

    Args:
        seen: field and shape of each tensor.
        rank: number of dimensions of the result.
    """
    if any(not field.known for field, _ in seen):
        return UNKNOWN
    aligned = [_shifted(field, rank - len(shape)) for field, shape in seen]
    shapes = [(1,) * (rank - len(shape)) + tuple(shape) for _, shape in seen]
    together = aligned[0]
    for field, shape in zip(aligned[1:], shapes[1:], strict=True):
        pairs = zip(together.axes, field.axes, strict=True)
        together = Field(tuple(_both(a, shapes[0], b, shape) for a, b in pairs))
    return together


def _shifted(field: Field, by: int) -> Field:
    return field.renumbered(lambda dim: dim + by) if by else field


def _both(a: Axis, a_shape: Sequence[int], b: Axis, b_shape: Sequence[int]) -> Axis:
    """The hull of two windows; where they do not move alike, each counts from all its positions."""
    moves_alike = a.dim == b.dim and a.jump == b.jump and not a.fixed and not b.fixed
    if moves_alike and a.dim is not None and a_shape[a.dim] != b_shape[a.dim]:
        moves_alike = False  # one of them is broadcast
    fixed = not moves_alike
    dim = a.dim if a.dim is not None else b.dim
    jump = max(a.jump, b.jump) if a.dim is None or b.dim is None else a.jump
    if fixed:
        a, b = _spanned(a, a_shape), _spanned(b, b_shape)
    return Axis(dim, jump, min(a.low, b.low), max(a.high, b.high), fixed)


def _spanned(axis: Axis, shape: Sequence[int]) -> Axis:
    return axis if axis.fixed or axis.dim is None else axis.spanned(shape[axis.dim])


def windowed(
    field: Field,
    rank: int,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Field:
    """After a convolution or pooling over the last dimensions of a tensor of `rank` dimensions."""

    def change(axis: Axis) -> Axis:
        if axis.dim is None or axis.dim < rank - len(kernel):
            return axis
        k, s, p, d = (values[axis.dim - (rank - len(kernel))] for values in (kernel, stride, padding, dilation))
        return axis.moved(-p, d * (k - 1) - p, s)

    return field.along(change)


def transposed(
    field: Field,
    rank: int,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Field:
    """After a transposed convolution; its windows differ by position, the widest counts."""

    def change(axis: Axis) -> Axis:
        if axis.dim is None or axis.dim < rank - len(kernel):
            return axis
        k, s, p, d = (values[axis.dim - (rank - len(kernel))] for values in (kernel, stride, padding, dilation))
        first = Fraction(p - d * (k - 1), s)
        return axis.moved(first, first + d * (k - 1) // s, Fraction(1, s))

    return field.along(change)


def resized(field: Field, before: Sequence[int], after: Sequence[int], reach: int) -> Field:
    """After interpolation from shape `before` to `after`: each value sees `reach` neighbours on (or 0: itself only)."""

    def change(axis: Axis) -> Axis:
        if axis.dim is None or before[axis.dim] == after[axis.dim]:
            return axis
        return axis.moved(0, reach, Fraction(before[axis.dim], after[axis.dim]))

    return field.along(change)


def adaptively_pooled(field: Field, before: Sequence[int], after: Sequence[int]) -> Field:
    """After adaptive pooling from shape `before` to `after`; where windows differ, the widest counts."""

    def change(axis: Axis) -> Axis:
        if axis.dim is None:
            return axis
        length, bins = before[axis.dim], after[axis.dim]
        if bins == 1:
            return axis.spanned(length)
        widest = max(-(-(i + 1) * length // bins) - i * length // bins for i in range(bins))
        return axis.moved(0, widest - 1, Fraction(length, bins))

    return field.along(change)


def reshaped(field: Field, before: Sequence[int], after: Sequence[int]) -> Field:
    """After a view: a dimension lives on where its size and all that follows it keep theirs; others are spanned."""

    def following(shape: Sequence[int]) -> list[tuple[int, int]]:
        return [(size, math.prod(shape[dim + 1 :])) for dim, size in enumerate(shape)]

    places: dict[tuple[int, int], int] = {place: dim for dim, place in enumerate(following(after))}
    kept = following(before)

    def change(axis: Axis) -> Axis:
        if axis.dim is None:
            return axis
        new = places.get(kept[axis.dim])
        if new is None:
            return replace(axis.spanned(before[axis.dim]), dim=None)
        return replace(axis, dim=new)

    return field.along(change)
