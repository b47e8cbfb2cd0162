"""What each operator of PyTorch costs and sees: one line of a table for each, and what is not in it is named.

Conventions, the same everywhere in residuum:

    MAC    one multiply-add of a convolution or a matrix product; biases are not counted
    FLOP   one floating-point operation: 2 for each MAC, 1 for each bias added; 1 for each value of an elementwise
           operator, whatever its kind; for pooling 1 for each value of each window; for adaptive pooling, a mean, sum
           or extreme 1 for each value that goes in, for a variance or norm 4; 2 for each value of a batch
           normalisation in evaluation (scale and shift), 7 where batch, layer or group statistics are computed on the
           way, 4 for each normalised weight; for each value that comes out 3 of a softmax, 2 of a gated linear unit or
           a dropout, 4 of linear and 8 of bilinear resizing; none for what only moves or looks up data
    view   an operator that moves no data: free

The papers' "FLOPs" (He et al. 2015, Table 1) are MACs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from residuum.costing import reach, work
from residuum.costing.execution import Execution, by, sizes
from residuum.costing.field import Field
from residuum.costing.work import Work


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


# ----- details


def _window(kernel: Sequence[int], stride: Sequence[int]) -> str:
    text = by(kernel)
    if set(stride) == {1}:
        return text
    return f"{text}/{stride[0] if len(set(stride)) == 1 else by(stride)}"


def _convolution_detail(run: Execution) -> str:
    weight, groups = run.tensor(1), run.get(8, 1)
    kernel = list(weight.shape[2:])
    stride, dilation = (sizes(run.arguments[at], len(kernel)) for at in (3, 5))
    text = f"{_window(kernel, stride)}, {run.result.shape[1]}"
    text += f", {groups} groups" if groups > 1 else ""
    return text + (f", dilation {by(dilation)}" if set(dilation) != {1} else "")


def _pool_detail(run: Execution, axes: int) -> str:
    kernel = sizes(run.arguments[1], axes)
    padding = sizes(run.get(3, 0), axes)
    stride = sizes(run.get(2) or kernel, axes)
    given, made = run.tensor(0).shape[-axes:], run.result.shape[-axes:]
    fitting = [(side + 2 * p - k) // s + 1 for side, p, k, s in zip(given, padding, kernel, stride, strict=True)]
    return _window(kernel, stride) + (", rounded up" if any(m > f for m, f in zip(made, fitting, strict=True)) else "")


def _width(run: Execution) -> str:
    return str(run.result.shape[-1])


def _grid(run: Execution) -> str:
    return f"to {by(run.result.shape[2:])}"


# ----- the table

CONVOLUTION, LINEAR, NORMALISATION = "convolution", "linear", "normalisation"
ACTIVATION, POOLING, ADDITION, OTHER = "activation", "pooling", "addition", "other"
GROUPS = (CONVOLUTION, LINEAR, NORMALISATION, ACTIVATION, POOLING, ADDITION, OTHER)


def _of(names: str, operator: Operator) -> dict[str, Operator]:
    return dict.fromkeys(names.split(), operator)


def _pooling(axes: int, *, dilation_at: int | None = None) -> Operator:
    """Over so many dimensions: by the operator, since one number of a kernel may stand for all of them."""
    return Operator(POOLING, work.pool(axes), reach.pool(axes, dilation_at), partial(_pool_detail, axes=axes))


TABLE: dict[str, Operator] = {
    **_of("convolution _convolution", Operator(CONVOLUTION, work.convolution, reach.convolution, _convolution_detail)),
    **_of("mm bmm", Operator(LINEAR, work.product(0, biased=False), reach.product(0), _width)),
    **_of("addmm baddbmm", Operator(LINEAR, work.product(1, biased=True), reach.product(1), _width)),
    **_of("mv", Operator(LINEAR, work.product(0, biased=False), reach.everything, _width)),
    **_of("addmv", Operator(LINEAR, work.product(1, biased=True), reach.everything, _width)),
    **_of("dot vdot", Operator(LINEAR, work.product(0, biased=False), reach.everything)),
    **_of(
        "_scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_flash_attention "
        "_scaled_dot_product_efficient_attention scaled_dot_product_attention "
        "_scaled_dot_product_fused_attention_overrideable",
        Operator(LINEAR, work.attention, reach.attention),
    ),
    **_of(
        "native_batch_norm _native_batch_norm_legit cudnn_batch_norm",
        Operator(NORMALISATION, work.normalisation, reach.batch_norm),
    ),
    **_of("_native_batch_norm_legit_no_training", Operator(NORMALISATION, work.each_result(2), reach.same)),
    **_of("native_layer_norm", Operator(NORMALISATION, work.each_result(7), reach.layer_norm)),
    **_of("native_group_norm", Operator(NORMALISATION, work.each_result(7), reach.whole)),
    **_of("max_pool2d_with_indices", _pooling(2, dilation_at=4)),
    **_of("max_pool3d_with_indices", _pooling(3, dilation_at=4)),
    **_of("avg_pool1d", _pooling(1)),
    **_of("avg_pool2d", _pooling(2)),
    **_of("avg_pool3d", _pooling(3)),
    **_of(
        "_adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_avg_pool1d adaptive_max_pool2d adaptive_max_pool3d",
        Operator(POOLING, work.each_input(1), reach.adaptive, _grid),
    ),
    **_of("mean sum amax amin max min prod", Operator(POOLING, work.each_input(1), reach.reduction())),
    **_of("var std var_mean std_mean", Operator(OTHER, work.each_input(4), reach.reduction())),
    **_of("linalg_vector_norm", Operator(OTHER, work.each_input(4), reach.reduction(2))),
    **_of("_softmax _safe_softmax _log_softmax", Operator(ACTIVATION, work.each_result(3), reach.softmax)),
    **_of("glu", Operator(ACTIVATION, work.each_result(2), reach.softmax)),
    **_of("_weight_norm_interface", Operator(NORMALISATION, work.each_result(4), reach.same)),
    **_of("upsample_nearest1d upsample_nearest2d upsample_nearest3d", Operator(OTHER, work.free, reach.nearest)),
    **_of("upsample_linear1d", Operator(OTHER, work.each_result(4), reach.linear)),
    **_of("upsample_bilinear2d", Operator(OTHER, work.each_result(8), reach.linear)),
    **_of("cat", Operator(OTHER, work.free, reach.cat)),
    **_of("stack", Operator(OTHER, work.free, reach.stack)),
    **_of("constant_pad_nd reflection_pad1d reflection_pad2d replication_pad2d", Operator(OTHER, work.free, reach.pad)),
    **_of("roll flip", Operator(OTHER, work.free, reach.anywhere)),
    **_of("clone copy_ _to_copy contiguous", Operator(OTHER, work.free, reach.same)),
    **_of("index", Operator(OTHER, work.free, reach.index)),
    **_of("index_select", Operator(OTHER, work.free, reach.index_select)),
    **_of("embedding gather", Operator(OTHER, work.free, reach.everything)),
    **_of("pixel_shuffle", Operator(OTHER, work.free, reach.nearest)),
    **_of("pixel_unshuffle", Operator(OTHER, work.free, reach.pixel_unshuffle)),
    **_of("channel_shuffle native_channel_shuffle", Operator(OTHER, work.free, reach.same)),
    **_of("hardswish _prelu_kernel", Operator(ACTIVATION, work.each_result(1), reach.together)),
    **_of("native_dropout", Operator(OTHER, work.each_result(2), reach.same)),
    **_of(
        "zeros ones full empty arange rand randn scalar_tensor zeros_like ones_like full_like empty_like rand_like "
        "randn_like new_zeros new_ones new_full new_empty new_empty_strided empty_strided fill_ zero_ bernoulli_ "
        "normal_ uniform_ eye linspace",
        Operator(OTHER, work.free, reach.constant, view=True),
    ),
    **_of("view _unsafe_view reshape squeeze", Operator(OTHER, work.free, reach.view, view=True)),
    **_of("permute", Operator(OTHER, work.free, reach.permute, view=True)),
    **_of("transpose t", Operator(OTHER, work.free, reach.transpose, view=True)),
    **_of("unsqueeze", Operator(OTHER, work.free, reach.unsqueeze, view=True)),
    **_of("slice", Operator(OTHER, work.free, reach.slice, view=True)),
    **_of("select", Operator(OTHER, work.free, reach.select, view=True)),
    **_of(
        "split split_with_sizes unsafe_split unsafe_split_with_sizes",
        Operator(OTHER, work.free, reach.split, view=True),
    ),
    **_of("unbind", Operator(OTHER, work.free, reach.unbind, view=True)),
    **_of("expand", Operator(OTHER, work.free, reach.expand, view=True)),
    **_of("detach alias lift_fresh detach_ view_as_real", Operator(OTHER, work.free, reach.same, view=True)),
}
ELEMENTWISE = Operator(ACTIVATION, work.each_result(1), reach.together)
ADDED = Operator(ADDITION, work.each_result(1), reach.together)
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
            return plain, Operator(OTHER, work.each_result(1), reach.together)
        return plain, ELEMENTWISE
    return plain, TABLE.get(plain)
