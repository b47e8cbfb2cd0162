"""What the result of an operator sees of the image, from what its arguments see; see `field`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from residuum.costing.execution import Execution, sizes
from residuum.costing.field import (
    Field,
    adaptively_pooled,
    of_image,
    reshaped,
    resized_linear,
    resized_nearest,
    union,
    windowed,
)
from residuum.costing.field import transposed as transposed_windows


def same(run: Execution) -> Field:
    """As the first tensor that depends on the image: nothing moves."""
    return run.first


def together(run: Execution) -> Field:
    """All arguments value by value, as in broadcasting."""
    return union(run.seen, run.result.dim())


def convolution(run: Execution) -> Field:
    """Windows of the kernel, or their reverse for a transposed convolution."""
    kernel = list(run.tensor(1).shape[2:])
    stride, padding, dilation = (sizes(run.arguments[at], len(kernel)) for at in (3, 4, 5))
    change = transposed_windows if run.get(6, False) else windowed
    return change(run.first, run.tensor(0).dim(), kernel, stride, padding, dilation)


def pool(axes: int, dilation_at: int | None) -> Callable[[Execution], Field]:
    """Windows of a pooling over the last `axes` dimensions; its dilation, if it has one, is argument `dilation_at`."""

    def field(run: Execution) -> Field:
        kernel = sizes(run.arguments[1], axes)
        stride = sizes(run.get(2) or kernel, axes)
        padding = sizes(run.get(3, 0), axes)
        dilation = sizes(run.get(dilation_at, 1) if dilation_at is not None else 1, axes)
        return windowed(run.first, run.tensor(0).dim(), kernel, stride, padding, dilation)

    return field


def adaptive(run: Execution) -> Field:
    """Windows that share the map out among the results."""
    return adaptively_pooled(run.first, run.tensor(0).shape, run.result.shape)


def reduction(dims_at: int = 1) -> Callable[[Execution], Field]:
    """All positions along the dimensions that are reduced, which are argument `dims_at`; without it, along all."""

    def field(run: Execution) -> Field:
        shape = run.tensor(0).shape
        given = run.get(dims_at)
        dims = [given] if isinstance(given, int) else list(given or range(len(shape)))
        if run.result.dim() == len(shape):
            return run.first.spanned(shape, dims, keep=True)
        gone = {dim % len(shape) for dim in dims}
        seen = run.first.spanned(shape, list(gone))
        return seen.renumbered(lambda dim: dim - sum(each < dim for each in gone))

    return field


def whole(run: Execution) -> Field:
    """Every position sees what all see: normalisations that compute statistics over the map."""
    shape = run.tensor(0).shape
    return run.first.spanned(shape, range(2, len(shape)), keep=True)


def batch_norm(run: Execution) -> Field:
    """In evaluation each value alone; where statistics are computed, the whole map."""
    return whole(run) if run.get(5, False) else run.first


def layer_norm(run: Execution) -> Field:
    """All positions along the dimensions that are normalised together."""
    shape = run.tensor(0).shape
    return run.first.spanned(shape, range(-len(run.arguments[1]), 0), keep=True)


def softmax(run: Execution) -> Field:
    """All positions along its dimension."""
    return run.first.spanned(run.tensor(0).shape, [run.get(1, -1)], keep=True)


def product(left: int) -> Callable[[Execution], Field]:
    """Of a matrix product whose left factor is argument `left`: the dimension that is summed over is lost."""

    def field(run: Execution) -> Field:
        parts: list[tuple[Field, Sequence[int]]] = []
        for position, (seen, shape) in zip(run.positions, run.seen, strict=True):
            if position == left:
                parts.append((seen.spanned(shape, [-1]), (*shape[:-1], 1)))
            elif position == left + 1:
                parts.append((seen.spanned(shape, [-2]), (*shape[:-2], 1, shape[-1])))
            else:
                parts.append((seen, shape))
        return union(parts, run.result.dim())

    return field


def attention(run: Execution) -> Field:
    """Every position sees all of queries, keys and values."""
    return union([(field.spanned(shape, [-1, -2], keep=True), shape) for field, shape in run.seen], run.result.dim())


def view(run: Execution) -> Field:
    """The same values under another shape."""
    return reshaped(run.first, run.tensor(0).shape, run.result.shape)


def permute(run: Execution) -> Field:
    """Dimensions in another order."""
    order = [dim % run.result.dim() for dim in run.arguments[1]]
    return run.first.renumbered(order.index)


def transpose(run: Execution) -> Field:
    """Two dimensions exchanged."""
    rank = run.result.dim()
    a, b = run.get(1, 0) % max(rank, 1), run.get(2, 1) % max(rank, 1)
    return run.first.renumbered(lambda dim: {a: b, b: a}.get(dim, dim))


def unsqueeze(run: Execution) -> Field:
    """One dimension more."""
    new = run.arguments[1] % run.result.dim()
    return run.first.renumbered(lambda dim: dim + (dim >= new))


def slice(run: Execution) -> Field:
    """Every so many positions from a start on."""
    source = run.tensor(0)
    dim, start, step = run.get(1, 0) % source.dim(), run.get(2) or 0, run.get(4, 1)
    start = max(0, start + source.shape[dim] if start < 0 else start)
    return run.first.along(lambda axis: axis.moved(start, start, step) if axis.dim == dim else axis)


def select(run: Execution) -> Field:
    """One position; its dimension is gone."""
    source = run.tensor(0)
    dim, index = run.arguments[1] % source.dim(), run.arguments[2] % source.shape[run.arguments[1]]
    field = run.first.along(lambda axis: axis.moved(index, index) if axis.dim == dim else axis)
    return field.renumbered(lambda old: None if old == dim else old - (old > dim))


def pad(run: Execution) -> Field:
    """Positions move by what is put before them."""
    pads, rank = run.arguments[1], run.result.dim()

    def before(dim: int) -> int:
        position = 2 * (rank - 1 - dim)
        return int(pads[position]) if position < len(pads) else 0

    return run.first.along(lambda axis: axis if axis.dim is None else axis.moved(-before(axis.dim), -before(axis.dim)))


def cat(run: Execution) -> Field:
    """All tensors; along the dimension in which they follow each other, each position may be of any."""
    dim = run.get(1, 0) % run.result.dim()
    spans = [(field.spanned(shape, [dim], keep=True), shape) for field, shape in run.seen]
    return union(spans, run.result.dim())


def stack(run: Execution) -> Field:
    """All tensors, side by side in a new dimension."""
    new = run.get(1, 0) % run.result.dim()
    moved = [
        (field.renumbered(lambda dim: dim + (dim >= new)), (*shape[:new], 1, *shape[new:])) for field, shape in run.seen
    ]
    return union(moved, run.result.dim())


def anywhere(run: Execution) -> Field:
    """Each position may come from any: rolled and flipped maps."""
    shape = run.tensor(0).shape
    return run.first.spanned(shape, range(len(shape)), keep=True)


def everything(run: Execution) -> Field:
    """Each value may see what all saw, at no place of its own."""
    fields = [(field.spanned(shape, range(len(shape))), ()) for field, shape in run.seen if shape]
    return union(fields or [(field, ()) for field, _ in run.seen], 0)


def expand(run: Execution) -> Field:
    """New dimensions stand in front; along those that were repeated every position sees the same."""
    (field, shape), after = run.seen[0], run.result.shape
    new = len(after) - len(shape)
    repeated = [dim for dim, size in enumerate(shape) if size != after[dim + new]]
    return field.spanned(shape, repeated, keep=True).renumbered(lambda dim: dim + new)


def split(run: Execution) -> Field:
    """A part of a dimension; each position may come from anywhere in it."""
    return run.first.spanned(run.tensor(0).shape, [run.get(2, 0)], keep=True)


def unbind(run: Execution) -> Field:
    """One position of a dimension, which is gone; it may be any."""
    shape = run.tensor(0).shape
    gone = run.get(1, 0) % len(shape)
    return run.first.spanned(shape, [gone]).renumbered(lambda dim: dim - (dim > gone))


def index(run: Execution) -> Field:
    """`x[:, table]`: dimensions behind the last that is indexed move on; what is indexed may come from anywhere."""
    shape = run.tensor(0).shape
    last = max((dim for dim, each in enumerate(run.arguments[1]) if each is not None), default=-1)
    moved = run.result.dim() - len(shape)
    return run.first.spanned(shape, range(last + 1)).renumbered(lambda dim: dim + moved)


def index_select(run: Execution) -> Field:
    """Positions chosen by a table; each may come from anywhere."""
    return run.first.spanned(run.tensor(0).shape, [run.arguments[1]], keep=True)


def pixel_unshuffle(run: Execution) -> Field:
    """Squares of pixels become channels."""
    block = [run.arguments[1]] * 2
    return windowed(run.first, run.tensor(0).dim(), block, block, [0, 0], [1, 1])


def nearest(run: Execution) -> Field:
    """Interpolation that repeats values; its scales follow the size."""
    return resized_nearest(run.first, run.tensor(0).shape, run.result.shape, _scales(run, 2))


def linear(run: Execution) -> Field:
    """Linear interpolation between neighbours; its scales follow the size and `align_corners`."""
    scales = _scales(run, 3)
    return resized_linear(run.first, run.tensor(0).shape, run.result.shape, scales, corners=bool(run.get(2)))


def _scales(run: Execution, first: int) -> list[float | None]:
    """The scale of each spatial dimension, None where there is none; they are arguments from `first` on."""
    return [run.get(first + axis) for axis in range(run.result.dim() - 2)]


def constant(run: Execution) -> Field:
    """Nothing of the image."""
    return of_image(0)
