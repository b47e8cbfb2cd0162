"""Receptive fields: which pixels of an image a value can see, exact over branches, for operators that move pixels.

Along one axis of the image the value at position i of a map sees the pixels from `jump * i + low` to
`jump * i + high`, borders not clipped. A convolution of kernel k, stride s, padding p, dilation d turns this into

    jump' = jump * s,  low' = low - jump * p,  high' = high + jump * (d * (k - 1) - p)

and where two branches meet, the wider of both ends counts. Where positions are lost (global pooling, a linear layer, a
squeeze-and-excitation gate) the window spans all positions there were.

Where positions see windows of different widths (upsampling, transposed convolutions, adaptive pooling to a grid that
does not divide the map), the window here is one that holds every one of them: an upper bound, less than one position of
that map too wide. Fractions appear there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

Scales = Sequence[float | None]
FINEST = 10**6  # the largest denominator of a scale: 0.3, which no float holds, is 3/10


@dataclass(frozen=True)
class Axis:
    """What a tensor sees along one axis of the image.

    Attributes:
        dim: the dimension of the tensor along which the window moves; None where it no longer does.
        jump: pixels from one position to the next: the stride of the layer in the image.
        low, high: first and last pixel seen from position 0.
        fixed: the window is the same from every position (it spans what all positions saw).
        inner, length: where a view has joined the positions with other dimensions: index i of `dim` is position
            i // inner % length. `length` is 0 where the dimension is that of the positions alone.
    """

    dim: int | None
    jump: Fraction
    low: Fraction
    high: Fraction
    fixed: bool = False
    inner: int = 1
    length: int = 0

    @property
    def size(self) -> int:
        """Pixels seen from one position."""
        return math.floor(self.high - self.low) + 1

    def moved(self, start: Fraction | int, stop: Fraction | int, step: Fraction | int = 1) -> Axis:
        """Seen from positions `start` to `stop` of the tensor before, every `step` of them."""
        seen = self.spanned(self.length) if self.length else self
        if seen.fixed:
            return replace(seen, jump=seen.jump * step)
        low, high = seen.low + seen.jump * start, seen.high + seen.jump * stop
        return replace(seen, jump=seen.jump * step, low=low, high=high)

    def spanned(self, length: int) -> Axis:
        """Seen from all positions together, which are `length` where the dimension is theirs alone."""
        reach = 0 if self.fixed else self.jump * ((self.length or length) - 1)
        return replace(self, high=self.high + reach, fixed=True, inner=1, length=0)


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


def of_image(spatial_axes: int) -> Field:
    """Each pixel sees itself: the field of the input, after the two dimensions of images and channels."""
    one, nothing = Fraction(1), Fraction(0)
    return Field(tuple(Axis(2 + index, one, nothing, nothing) for index in range(spatial_axes)))


def union(seen: Sequence[tuple[Field, Sequence[int]]], rank: int) -> Field:
    """What a value sees that is computed from several tensors, aligned at their last dimensions as in broadcasting.

    Args:
        seen: field and shape of each tensor.
        rank: number of dimensions of the result.

    An input without axes (a vector beside the image) sees no pixels and adds none.
    """
    numbers = {len(field.axes) for field, _ in seen if field.axes}
    if len(numbers) > 1 or any(not field.known for field, _ in seen):
        return UNKNOWN
    seen = [(field, shape) for field, shape in seen if field.axes] or seen
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
    moves_alike = (a.dim, a.jump, a.inner, a.length) == (b.dim, b.jump, b.inner, b.length)
    moves_alike = moves_alike and not a.fixed and not b.fixed
    if moves_alike and a.dim is not None and a_shape[a.dim] != b_shape[a.dim]:
        moves_alike = False  # one of them is broadcast
    fixed = not moves_alike
    dim = a.dim if a.dim is not None else b.dim
    jump = max(a.jump, b.jump) if a.dim is None or b.dim is None else a.jump
    if fixed:
        a, b = _spanned(a, a_shape), _spanned(b, b_shape)
    return replace(a, dim=dim, jump=jump, low=min(a.low, b.low), high=max(a.high, b.high), fixed=fixed)


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
    """After a transposed convolution: position i sees the positions j for which i + p is s * j + d * t, 0 <= t < k."""

    def change(axis: Axis) -> Axis:
        if axis.dim is None or axis.dim < rank - len(kernel):
            return axis
        k, s, p, d = (values[axis.dim - (rank - len(kernel))] for values in (kernel, stride, padding, dilation))
        return axis.moved(Fraction(p - d * (k - 1), s), Fraction(p, s), Fraction(1, s))

    return field.along(change)


def resized_nearest(field: Field, before: Sequence[int], after: Sequence[int], scales: Scales = ()) -> Field:
    """After resizing from shape `before` to `after`: position i sees position floor(i * ratio).

    The ratio is 1 / scale where the operator was given scales, one for each of the last dimensions, and before / after
    otherwise. Twice as many positions are always a half each (PyTorch's `nearest_idx` on a CPU).
    """

    def change(axis: Axis) -> Axis:
        if axis.dim is None or before[axis.dim] == after[axis.dim]:
            return axis
        twice = after[axis.dim] == 2 * before[axis.dim]
        ratio = _ratio(axis.dim, before, after, () if twice else scales)
        above, _ = _remainders(ratio, Fraction(0), after[axis.dim])
        return axis.moved(-above, 0, ratio)

    return field.along(change)


def resized_linear(
    field: Field, before: Sequence[int], after: Sequence[int], scales: Scales = (), *, corners: bool
) -> Field:
    """After linear interpolation: each position sees the two around its place in the map before, or the one there.

    Args:
        field: of the map before.
        before, after: shapes.
        scales: that the operator was given, as for `resized_nearest`.
        corners: the outermost positions lie on each other (`align_corners`), not the outermost edges.
    """

    def change(axis: Axis) -> Axis:
        if axis.dim is None or before[axis.dim] == after[axis.dim]:
            return axis
        old, new = before[axis.dim], after[axis.dim]
        ratio = Fraction(old - 1, max(new - 1, 1)) if corners else _ratio(axis.dim, before, after, scales)
        first = Fraction(0) if corners else (ratio - 1) / 2
        above, below = _remainders(ratio, first, new)
        return axis.moved(first - above, first + below, ratio)

    return field.along(change)


def _ratio(dim: int, before: Sequence[int], after: Sequence[int], scales: Scales) -> Fraction:
    """Positions before from one position after to the next: by the scale where there is one."""
    at = dim - (len(after) - len(scales))
    scale = scales[at] if 0 <= at < len(scales) else None
    if scale is None or scale <= 0:
        return Fraction(before[dim], after[dim])
    return 1 / Fraction(scale).limit_denominator(FINEST)


def adaptively_pooled(field: Field, before: Sequence[int], after: Sequence[int]) -> Field:
    """After adaptive pooling: position i sees floor(i * before / after) to ceil((i + 1) * before / after) - 1."""

    def change(axis: Axis) -> Axis:
        if axis.dim is None:
            return axis
        length, bins = before[axis.dim], after[axis.dim]
        if bins == 1:
            return axis.spanned(length)
        ratio = Fraction(length, bins)
        above, _ = _remainders(ratio, Fraction(0), bins)
        _, below = _remainders(ratio, ratio, bins)
        return axis.moved(-above, ratio - 1 + below, ratio)

    return field.along(change)


def _remainders(ratio: Fraction, first: Fraction, count: int) -> tuple[Fraction, Fraction]:
    """The most that first + i * ratio lies above a whole number, and below one, for i from 0 to count - 1."""
    unit = math.lcm(ratio.denominator, first.denominator)  # the remainders repeat after so many at the latest
    step, start = int(ratio * unit), int(first * unit)
    above = {(start + step * i) % unit for i in range(min(count, unit))}
    return Fraction(max(above), unit), Fraction(max(-each % unit for each in above), unit)


def reshaped(field: Field, before: Sequence[int], after: Sequence[int]) -> Field:
    """After a view: positions live on where one dimension holds them all, alone or joined with others."""
    following = [math.prod(after[dim + 1 :]) for dim in range(len(after))]

    def change(axis: Axis) -> Axis:
        if axis.dim is None:
            return axis
        length = axis.length or before[axis.dim]
        apart = axis.inner * math.prod(before[axis.dim + 1 :])  # from one position to the next in the order of values
        for dim, size in enumerate(after):
            if size == length and following[dim] == apart:
                return replace(axis, dim=dim, inner=1, length=0)
            inner, rest = divmod(apart, max(following[dim], 1))
            if length > 1 and not rest and inner and size and size % (inner * length) == 0:
                return replace(axis, dim=dim, inner=inner, length=length)
        return replace(axis.spanned(length), dim=None)

    return field.along(change)
