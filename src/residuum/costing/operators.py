"""What each operator of PyTorch costs and sees: one line of a table for each, and what is not in it is named.

Conventions, the same everywhere in residuum:

    MAC    one multiply-add of a convolution or a matrix product; biases are not counted
    FLOP   one floating-point operation: 2 for each MAC, 1 for each bias added; 1 for each value of an elementwise
           operator, whatever its kind; for pooling 1 for each value of each window; for a mean or sum 1 for each value
           that goes in; 2 for each value of a batch normalisation in evaluation (scale and shift), 7 where the
           statistics are computed on the way; 3 for each value of a softmax; none for what only moves or looks up data
    view   an operator that moves no data: free

The papers' "FLOPs" (He et al. 2015, Table 1) are MACs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from residuum.costing.field import (
    Field,
    adaptively_pooled,
    of_image,
    reshaped,
    resized_linear,
    resized_nearest,
    transposed,
    union,
    windowed,
)


@dataclass(frozen=True)
class Execution:
    """One run of an operator.

    Attributes:
        arguments: by position.
        result: its first one.
        seen: field and shape of each tensor argument that depends on the image; `positions` says where it stands.
    """

    arguments: Sequence[Any]
    result: Tensor
    seen: Sequence[tuple[Field, tuple[int, ...]]]
    positions: Sequence[int]

    def tensor(self, position: int) -> Tensor:
        value: Tensor = self.arguments[position]
        return value

    def get(self, position: int, otherwise: Any = None) -> Any:
        """An argument that may have been left out."""
        return self.arguments[position] if position < len(self.arguments) else otherwise

    @property
    def first(self) -> Field:
        """What the first tensor that depends on the image sees."""
        return self.seen[0][0]


@dataclass(frozen=True)
class Work:
    """Multiply-adds, and floating-point operations (two for each multiply-add, and all others)."""

    macs: int = 0
    flops: int = 0


@dataclass(frozen=True)
class Operator:
    """How one operator is counted.

    Attributes:
        group: which share of the net it belongs to.
        work: what it costs.
        field: what its result sees.
        detail: what tells two layers of this kind apart, such as `3x3/2, 64`.
        view: it moves no data, so that it is no layer of its own.
    """

    group: str
    work: Callable[[Execution], Work]
    field: Callable[[Execution], Field]
    detail: Callable[[Execution], str] = lambda execution: ""
    view: bool = False


# ----- work


def _free(run: Execution) -> Work:
    return Work()


def _each_result(count: int) -> Callable[[Execution], Work]:
    return lambda run: Work(flops=count * run.result.numel())


def _each_input(count: int) -> Callable[[Execution], Work]:
    return lambda run: Work(flops=count * run.tensor(0).numel())


def _convolution_work(run: Execution) -> Work:
    source, weight, bias, is_transposed = run.tensor(0), run.tensor(1), run.get(2), run.get(6, False)
    values = source.numel() if is_transposed else run.result.numel()
    macs = values * math.prod(weight.shape[1:])
    return Work(macs, 2 * macs + (run.result.numel() if bias is not None else 0))


def _product_work(left: int, *, biased: bool) -> Callable[[Execution], Work]:
    """Of a matrix product whose left factor is argument `left`: each result sums over its last dimension."""

    def work(run: Execution) -> Work:
        macs = run.result.numel() * run.tensor(left).shape[-1]
        return Work(macs, 2 * macs + (run.result.numel() if biased else 0))

    return work


def _pool_work(run: Execution) -> Work:
    return Work(flops=run.result.numel() * math.prod(_sizes(run.arguments[1], _pooled_axes(run))))


def _normalisation_work(run: Execution) -> Work:
    computed = bool(run.get(5, False))  # batch normalisation's `training`
    return Work(flops=(7 if computed else 2) * run.result.numel())


def _attention_work(run: Execution) -> Work:
    query, key, value = run.tensor(0), run.tensor(1), run.tensor(2)
    pairs = query.shape[:-1].numel() * key.shape[-2]
    macs = pairs * (query.shape[-1] + value.shape[-1])
    return Work(macs, 2 * macs + 3 * pairs)


# ----- fields


def _same(run: Execution) -> Field:
    return run.first


def _together(run: Execution) -> Field:
    return union(run.seen, run.result.dim())


def _sizes(value: int | Sequence[int], axes: int) -> list[int]:
    values = [value] if isinstance(value, int) else list(value)
    return values * axes if len(values) == 1 else values


def _convolution_field(run: Execution) -> Field:
    kernel = list(run.tensor(1).shape[2:])
    stride, padding, dilation = (_sizes(run.arguments[at], len(kernel)) for at in (3, 4, 5))
    change = transposed if run.get(6, False) else windowed
    return change(run.first, run.tensor(0).dim(), kernel, stride, padding, dilation)


def _pooled_axes(run: Execution) -> int:
    given = run.arguments[1]
    return 1 if isinstance(given, int) else len(given)


def _pool_field(dilation_at: int | None) -> Callable[[Execution], Field]:
    def field(run: Execution) -> Field:
        axes = _pooled_axes(run)
        kernel = _sizes(run.arguments[1], axes)
        stride = _sizes(run.get(2) or kernel, axes)
        padding = _sizes(run.get(3, 0), axes)
        dilation = _sizes(run.get(dilation_at, 1) if dilation_at is not None else 1, axes)
        return windowed(run.first, run.tensor(0).dim(), kernel, stride, padding, dilation)

    return field


def _adaptive_field(run: Execution) -> Field:
    return adaptively_pooled(run.first, run.tensor(0).shape, run.result.shape)


def _reduction_field(run: Execution) -> Field:
    shape = run.tensor(0).shape
    given = run.get(1)
    dims = range(len(shape)) if given is None or given == [] else [given] if isinstance(given, int) else given
    if not all(isinstance(dim, int) for dim in dims):
        dims = range(len(shape))
    if run.result.dim() == len(shape):
        return run.first.spanned(shape, list(dims), keep=True)
    gone = {dim % len(shape) for dim in dims}
    field = run.first.spanned(shape, list(gone))
    return field.renumbered(lambda dim: dim - sum(each < dim for each in gone))


def _whole_field(run: Execution) -> Field:
    """Every position sees what all see: normalisations that compute statistics over the map."""
    shape = run.tensor(0).shape
    return run.first.spanned(shape, range(2, len(shape)), keep=True)


def _batch_norm_field(run: Execution) -> Field:
    return _whole_field(run) if run.get(5, False) else run.first


def _layer_norm_field(run: Execution) -> Field:
    shape = run.tensor(0).shape
    return run.first.spanned(shape, range(-len(run.arguments[1]), 0), keep=True)


def _softmax_field(run: Execution) -> Field:
    return run.first.spanned(run.tensor(0).shape, [run.get(1, -1)], keep=True)


def _product_field(left: int) -> Callable[[Execution], Field]:
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


def _attention_field(run: Execution) -> Field:
    return union([(field.spanned(shape, [-1, -2], keep=True), shape) for field, shape in run.seen], run.result.dim())


def _view_field(run: Execution) -> Field:
    return reshaped(run.first, run.tensor(0).shape, run.result.shape)


def _permute_field(run: Execution) -> Field:
    order = [dim % run.result.dim() for dim in run.arguments[1]]
    return run.first.renumbered(order.index)


def _transpose_field(run: Execution) -> Field:
    rank = run.result.dim()
    a, b = run.get(1, 0) % max(rank, 1), run.get(2, 1) % max(rank, 1)
    return run.first.renumbered(lambda dim: {a: b, b: a}.get(dim, dim))


def _unsqueeze_field(run: Execution) -> Field:
    new = run.arguments[1] % run.result.dim()
    return run.first.renumbered(lambda dim: dim + (dim >= new))


def _slice_field(run: Execution) -> Field:
    source = run.tensor(0)
    dim, start, step = run.get(1, 0) % source.dim(), run.get(2) or 0, run.get(4, 1)
    start = max(0, start + source.shape[dim] if start < 0 else start)
    return run.first.along(lambda axis: axis.moved(start, start, step) if axis.dim == dim else axis)


def _select_field(run: Execution) -> Field:
    source = run.tensor(0)
    dim, index = run.arguments[1] % source.dim(), run.arguments[2] % source.shape[run.arguments[1]]
    field = run.first.along(lambda axis: axis.moved(index, index) if axis.dim == dim else axis)
    return field.renumbered(lambda old: None if old == dim else old - (old > dim))


def _pad_field(run: Execution) -> Field:
    pads, rank = run.arguments[1], run.result.dim()

    def before(dim: int) -> int:
        position = 2 * (rank - 1 - dim)
        return int(pads[position]) if position < len(pads) else 0

    return run.first.along(lambda axis: axis if axis.dim is None else axis.moved(-before(axis.dim), -before(axis.dim)))


def _cat_field(run: Execution) -> Field:
    dim = run.get(1, 0) % run.result.dim()
    spans = [(field.spanned(shape, [dim], keep=True), shape) for field, shape in run.seen]
    return union(spans, run.result.dim())


def _stack_field(run: Execution) -> Field:
    new = run.get(1, 0) % run.result.dim()
    moved = [
        (field.renumbered(lambda dim: dim + (dim >= new)), (*shape[:new], 1, *shape[new:])) for field, shape in run.seen
    ]
    return union(moved, run.result.dim())


def _roll_field(run: Execution) -> Field:
    shape = run.tensor(0).shape
    return run.first.spanned(shape, range(len(shape)), keep=True)


def _everything_field(run: Execution) -> Field:
    """Each value may see what all saw, at no place of its own."""
    fields = [(field.spanned(shape, range(len(shape))), ()) for field, shape in run.seen if shape]
    return union(fields or [(field, ()) for field, _ in run.seen], 0)


def _expand_field(run: Execution) -> Field:
    """New dimensions stand in front; along those that were repeated every position sees the same."""
    (field, shape), after = run.seen[0], run.result.shape
    new = len(after) - len(shape)
    repeated = [dim for dim, size in enumerate(shape) if size != after[dim + new]]
    return field.spanned(shape, repeated, keep=True).renumbered(lambda dim: dim + new)


def _split_field(run: Execution) -> Field:
    return run.first.spanned(run.tensor(0).shape, [run.get(2, 0)], keep=True)


def _unbind_field(run: Execution) -> Field:
    shape = run.tensor(0).shape
    gone = run.get(1, 0) % len(shape)
    return run.first.spanned(shape, [gone]).renumbered(lambda dim: dim - (dim > gone))


def _index_field(run: Execution) -> Field:
    """`x[:, table]`: dimensions behind the last that is indexed move on; what is indexed may come from anywhere."""
    shape = run.tensor(0).shape
    last = max((dim for dim, each in enumerate(run.arguments[1]) if each is not None), default=-1)
    moved = run.result.dim() - len(shape)
    return run.first.spanned(shape, range(last + 1)).renumbered(lambda dim: dim + moved)


def _index_select_field(run: Execution) -> Field:
    return run.first.spanned(run.tensor(0).shape, [run.arguments[1]], keep=True)


def _pixel_unshuffle_field(run: Execution) -> Field:
    block = [run.arguments[1]] * 2
    return windowed(run.first, run.tensor(0).dim(), block, block, [0, 0], [1, 1])


def _nearest_field(run: Execution) -> Field:
    return resized_nearest(run.first, run.tensor(0).shape, run.result.shape)


def _linear_field(run: Execution) -> Field:
    return resized_linear(run.first, run.tensor(0).shape, run.result.shape, corners=bool(run.get(2)))


def _constant(run: Execution) -> Field:
    return of_image(0)


# ----- details


def _by(values: Sequence[int]) -> str:
    return "x".join(map(str, values))


def _window(kernel: Sequence[int], stride: Sequence[int]) -> str:
    text = _by(kernel)
    if set(stride) == {1}:
        return text
    return f"{text}/{stride[0] if len(set(stride)) == 1 else _by(stride)}"


def _convolution_detail(run: Execution) -> str:
    weight, groups = run.tensor(1), run.get(8, 1)
    kernel = list(weight.shape[2:])
    stride, dilation = (_sizes(run.arguments[at], len(kernel)) for at in (3, 5))
    text = f"{_window(kernel, stride)}, {run.result.shape[1]}"
    text += f", {groups} groups" if groups > 1 else ""
    return text + (f", dilation {_by(dilation)}" if set(dilation) != {1} else "")


def _pool_detail(run: Execution) -> str:
    axes = _pooled_axes(run)
    kernel = _sizes(run.arguments[1], axes)
    return _window(kernel, _sizes(run.get(2) or kernel, axes))


def _width(run: Execution) -> str:
    return str(run.result.shape[-1])


def _grid(run: Execution) -> str:
    return f"to {_by(run.result.shape[2:])}"


# ----- the table

CONVOLUTION, LINEAR, NORMALISATION = "convolution", "linear", "normalisation"
ACTIVATION, POOLING, ADDITION, OTHER = "activation", "pooling", "addition", "other"
GROUPS = (CONVOLUTION, LINEAR, NORMALISATION, ACTIVATION, POOLING, ADDITION, OTHER)


def _of(names: str, operator: Operator) -> dict[str, Operator]:
    return dict.fromkeys(names.split(), operator)


TABLE: dict[str, Operator] = {
    **_of(
        "convolution _convolution", Operator(CONVOLUTION, _convolution_work, _convolution_field, _convolution_detail)
    ),
    **_of("mm bmm", Operator(LINEAR, _product_work(0, biased=False), _product_field(0), _width)),
    **_of("addmm baddbmm", Operator(LINEAR, _product_work(1, biased=True), _product_field(1), _width)),
    **_of("mv", Operator(LINEAR, _product_work(0, biased=False), _everything_field, _width)),
    **_of("addmv", Operator(LINEAR, _product_work(1, biased=True), _everything_field, _width)),
    **_of("dot vdot", Operator(LINEAR, _product_work(0, biased=False), _everything_field)),
    **_of(
        "_scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_flash_attention "
        "_scaled_dot_product_efficient_attention scaled_dot_product_attention "
        "_scaled_dot_product_fused_attention_overrideable",
        Operator(LINEAR, _attention_work, _attention_field),
    ),
    **_of(
        "native_batch_norm _native_batch_norm_legit cudnn_batch_norm",
        Operator(NORMALISATION, _normalisation_work, _batch_norm_field),
    ),
    **_of("_native_batch_norm_legit_no_training", Operator(NORMALISATION, _each_result(2), _same)),
    **_of("native_layer_norm", Operator(NORMALISATION, _each_result(7), _layer_norm_field)),
    **_of("native_group_norm", Operator(NORMALISATION, _each_result(7), _whole_field)),
    **_of(
        "max_pool2d_with_indices max_pool3d_with_indices",
        Operator(POOLING, _pool_work, _pool_field(4), _pool_detail),
    ),
    **_of("avg_pool1d avg_pool2d avg_pool3d", Operator(POOLING, _pool_work, _pool_field(None), _pool_detail)),
    **_of(
        "_adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_avg_pool1d adaptive_max_pool2d adaptive_max_pool3d",
        Operator(POOLING, _each_input(1), _adaptive_field, _grid),
    ),
    **_of("mean sum amax amin max min prod", Operator(POOLING, _each_input(1), _reduction_field)),
    **_of("var std var_mean std_mean linalg_vector_norm", Operator(OTHER, _each_input(4), _reduction_field)),
    **_of("_softmax _safe_softmax _log_softmax", Operator(ACTIVATION, _each_result(3), _softmax_field)),
    **_of("glu", Operator(ACTIVATION, _each_result(2), _softmax_field)),
    **_of("_weight_norm_interface", Operator(NORMALISATION, _each_result(4), _same)),
    **_of("upsample_nearest1d upsample_nearest2d upsample_nearest3d", Operator(OTHER, _free, _nearest_field)),
    **_of("upsample_linear1d", Operator(OTHER, _each_result(4), _linear_field)),
    **_of("upsample_bilinear2d", Operator(OTHER, _each_result(8), _linear_field)),
    **_of("cat", Operator(OTHER, _free, _cat_field)),
    **_of("stack", Operator(OTHER, _free, _stack_field)),
    **_of("constant_pad_nd reflection_pad1d reflection_pad2d replication_pad2d", Operator(OTHER, _free, _pad_field)),
    **_of("roll flip", Operator(OTHER, _free, _roll_field)),
    **_of("clone copy_ _to_copy contiguous", Operator(OTHER, _free, _same)),
    **_of("index", Operator(OTHER, _free, _index_field)),
    **_of("index_select", Operator(OTHER, _free, _index_select_field)),
    **_of("embedding gather", Operator(OTHER, _free, _everything_field)),
    **_of("pixel_shuffle", Operator(OTHER, _free, _nearest_field)),
    **_of("pixel_unshuffle", Operator(OTHER, _free, _pixel_unshuffle_field)),
    **_of("channel_shuffle native_channel_shuffle", Operator(OTHER, _free, _same)),
    **_of("hardswish _prelu_kernel", Operator(ACTIVATION, _each_result(1), _together)),
    **_of("native_dropout", Operator(OTHER, _each_result(2), _same)),
    **_of(
        "zeros ones full empty arange rand randn scalar_tensor zeros_like ones_like full_like empty_like rand_like "
        "randn_like new_zeros new_ones new_full new_empty new_empty_strided empty_strided fill_ zero_ bernoulli_ "
        "normal_ uniform_ eye linspace",
        Operator(OTHER, _free, _constant, view=True),
    ),
    **_of("view _unsafe_view reshape squeeze", Operator(OTHER, _free, _view_field, view=True)),
    **_of("permute", Operator(OTHER, _free, _permute_field, view=True)),
    **_of("transpose t", Operator(OTHER, _free, _transpose_field, view=True)),
    **_of("unsqueeze", Operator(OTHER, _free, _unsqueeze_field, view=True)),
    **_of("slice", Operator(OTHER, _free, _slice_field, view=True)),
    **_of("select", Operator(OTHER, _free, _select_field, view=True)),
    **_of(
        "split split_with_sizes unsafe_split unsafe_split_with_sizes", Operator(OTHER, _free, _split_field, view=True)
    ),
    **_of("unbind", Operator(OTHER, _free, _unbind_field, view=True)),
    **_of("expand", Operator(OTHER, _free, _expand_field, view=True)),
    **_of("detach alias lift_fresh detach_ view_as_real", Operator(OTHER, _free, _same, view=True)),
}
ELEMENTWISE = Operator(ACTIVATION, _each_result(1), _together)
ADDED = Operator(ADDITION, _each_result(1), _together)
COUNTED_AS_ADDITION = frozenset({"add", "sub"})
COUNTED_AS_OTHER = frozenset({"mul", "div", "pow"})


def lookup(function: torch._ops.OpOverload) -> tuple[str, Operator | None]:
    """The plain name of an operator (`relu` for `aten.relu_.default`) and how it is counted; None if it is not known.

    What PyTorch itself marks as elementwise counts one operation for each value.
    """
    name = function.overloadpacket.__name__
    if name in TABLE:
        return name, TABLE[name]
    plain = name.rstrip("_") if not name.endswith("__") else name
    if torch.Tag.pointwise in function.tags:
        if plain in COUNTED_AS_ADDITION:
            return plain, ADDED
        if plain in COUNTED_AS_OTHER:
            return plain, Operator(OTHER, _each_result(1), _together)
        return plain, ELEMENTWISE
    return plain, TABLE.get(plain)
