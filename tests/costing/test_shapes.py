"""The shortcuts of the meta device against PyTorch's own results, and its own errors."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from residuum.costing import shapes

aten = torch.ops.aten


def meta(*size: int, dtype: torch.dtype = torch.float32, layout: str = "plain") -> Tensor:
    made = torch.empty(size, dtype=dtype, device="meta")
    if layout == "channels_last" and len(size) == 4:
        return made.contiguous(memory_format=torch.channels_last)
    return made.mT.contiguous().mT if layout == "transposed" and len(size) > 1 else made


def same(func: torch._ops.OpOverload, *args: Any) -> None:
    """Shape, type, device and number of results are PyTorch's; or its error is raised."""
    try:
        expected = func(*args)
    except (RuntimeError, ValueError, IndexError) as error:
        with pytest.raises(type(error)):
            shapes.run(func, args, {})
        return
    found = shapes.run(func, args, {})
    pairs = zip(found, expected, strict=True) if isinstance(expected, tuple) else [(found, expected)]
    for one, other in pairs:
        if other is None:
            assert one is None or one.numel() == 0
            continue
        assert (one.shape, one.dtype, one.device) == (other.shape, other.dtype, other.device)
        assert one.untyped_storage().nbytes() == other.untyped_storage().nbytes()
        assert one.numel() == 0 or one.stride() == other.stride()


layouts = st.sampled_from(["plain", "channels_last", "transposed"])
types = st.sampled_from([torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.bool])
sizes = st.lists(st.integers(0, 4), max_size=5).map(tuple)


@settings(max_examples=200, deadline=None)
@given(sizes, types, layouts)
def test_relu(size: tuple[int, ...], dtype: torch.dtype, layout: str) -> None:
    same(aten.relu.default, meta(*size, dtype=dtype, layout=layout))


@settings(max_examples=300, deadline=None)
@given(sizes, sizes, types, types, layouts, layouts, st.booleans())
def test_add(
    a: tuple[int, ...], b: tuple[int, ...], x: torch.dtype, y: torch.dtype, one: str, two: str, alike: bool
) -> None:
    same(aten.add.Tensor, meta(*a, dtype=x, layout=one), meta(*(a if alike else b), dtype=y, layout=two))


@pytest.mark.parametrize(
    ("a", "b"),
    [((2, 3, 4, 4), (3, 1, 1)), ((2, 3, 4, 4), ()), ((0, 3), (1, 3)), ((2, 1, 4), (1, 3, 1)), ((2, 3), (3, 2))],
)
def test_add_broadcast(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    same(aten.add.Tensor, meta(*a), meta(*b))
    same(aten.threshold_backward.default, meta(*a), meta(*b), 0)


def test_an_expanded_tensor_takes_its_whole_size_as_result() -> None:
    expanded = meta(1, 3, 1, 1).expand(2, 3, 4, 4)
    same(aten.relu.default, expanded)
    same(aten.add.Tensor, expanded, expanded)
    same(aten.threshold_backward.default, expanded, meta(2, 3, 4, 4), 0)


@pytest.mark.parametrize("second", ["alike", "broadcast", "other type", "shorter"])
@pytest.mark.parametrize("func", [aten._foreach_add.List, aten._foreach_add_.List])
def test_lists_of_tensors(func: torch._ops.OpOverload, second: str) -> None:
    one = [meta(2, 3), meta(4, 3, 2, 2, layout="channels_last"), meta()]
    others = {
        "alike": [meta(2, 3), meta(4, 3, 2, 2), meta()],
        "broadcast": [meta(1, 3), meta(3, 1, 1), meta()],
        "other type": [meta(2, 3, dtype=torch.float64), meta(4, 3, 2, 2), meta()],
        "shorter": [meta(2, 3)],
    }
    try:
        expected = func(one, others[second])
    except RuntimeError as error:
        with pytest.raises(type(error)):
            shapes.run(func, (one, others[second]), {})
        return
    found = shapes.run(func, (one, others[second]), {"alpha": 2})
    assert (found is None) == (expected is None)
    for each, other in zip(found or [], expected or [], strict=True):
        assert (each.shape, each.dtype, each.device, each.stride()) == (
            other.shape,
            other.dtype,
            other.device,
            other.stride(),
        )


def test_other_scalars_and_types_go_to_pytorch() -> None:
    same(aten.add.Tensor, meta(2, 3), torch.tensor(1.0))
    same(aten.add.Tensor, meta(2, 3, dtype=torch.int32), meta(2, 3, dtype=torch.float16))
    assert shapes.run(aten.add.Tensor, (meta(2, 3), meta(2, 3)), {"alpha": 2}).shape == (2, 3)
    assert shapes.run(aten.relu.default, (torch.tensor([-1.0, 2.0]),), {}).tolist() == [0, 2]


@settings(max_examples=300, deadline=None)
@given(
    st.integers(1, 3),
    st.integers(0, 2),
    st.integers(1, 2),
    st.sampled_from([1, 2]),
    st.lists(st.integers(1, 4), min_size=3, max_size=3),
    st.integers(1, 3),
    st.integers(0, 2),
    st.integers(1, 2),
    st.booleans(),
    st.integers(-1, 0),
    layouts,
)
def test_convolution(
    axes: int,
    batch: int,
    width: int,
    groups: int,
    kernel: list[int],
    stride: int,
    padding: int,
    dilation: int,
    is_transposed: bool,
    missing: int,
    layout: str,
) -> None:
    """Also with a channel too few and kernels larger than the image, which PyTorch itself refuses."""
    channels = width * groups
    image = meta(batch, max(1, channels + missing), *(5, 4, 6)[:axes], layout=layout)
    outputs = 3 * groups
    weight = meta(*((channels, 3) if is_transposed else (outputs, width)), *kernel[:axes])
    one = [0] * axes
    same(
        aten.convolution.default,
        *(image, weight, None, [stride] * axes, [padding] * axes, [dilation] * axes, is_transposed, one, groups),
    )


@pytest.mark.parametrize(
    ("image", "weight"),
    [
        (meta(2, 3, 8, 8), meta(4, 2, 3, 3)),
        (meta(2, 3, 8, 8), meta(4, 3, 9, 3)),
        (meta(2, 3, 8, 8), meta(4, 3, 3)),
        (meta(2, 3, 8), meta(4, 3, 3, 3)),
        (meta(3, 8, 8), meta(4, 3, 3, 3)),
        (meta(2, 3, 8, 8, dtype=torch.float64), meta(4, 3, 3, 3)),
        (meta(2, 3, 8, 8), meta(4, 3, 3, 3, dtype=torch.float16)),
        (meta(2, 3, 8, 8, dtype=torch.int64), meta(4, 3, 3, 3)),
    ],
)
def test_convolutions_that_do_not_fit_are_left_to_pytorch(image: Tensor, weight: Tensor) -> None:
    same(aten.convolution.default, image, weight, None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("size", [(4, 3), (4, 3, 5), (4, 3, 5, 6)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_batch_norm(size: tuple[int, ...], training: bool, layout: torch.memory_format) -> None:
    """Against the CPU, which unlike PyTorch's meta results keeps no statistics of an evaluation."""
    image = torch.rand(size)
    if len(size) == 4:
        image = image.contiguous(memory_format=layout)
    vectors = [torch.ones(3) for _ in range(4)]
    both = (aten.native_batch_norm.default, (image, *vectors, training, 0.1, 1e-5))
    as_on_the_cpu(*both)
    saved = both[0](*both[1])[1:]
    for wanted in ([True, True, True], [True, False, False], [False, True, True]):
        arguments = (image, image, vectors[0], vectors[1], vectors[2], *saved, training, 1e-5, wanted)
        as_on_the_cpu(aten.native_batch_norm_backward.default, arguments)


def as_on_the_cpu(func: torch._ops.OpOverload, args: tuple[Any, ...]) -> None:
    expected = func(*args)
    found = shapes.run(func, tuple(each.to("meta") if isinstance(each, Tensor) else each for each in args), {})
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert (one is None) == (other is None)
        assert one is None or (one.shape, one.dtype, one.stride()) == (other.shape, other.dtype, other.stride())


@pytest.mark.parametrize("size", [(4, 5, 6, 6), (4,), (0, 3, 5, 5)])
@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_of_other_channels_is_left_to_pytorch(size: tuple[int, ...], training: bool) -> None:
    vectors = [meta(3) for _ in range(4)]
    if size[1:2] == (3,):
        assert (
            shapes.run(aten.native_batch_norm.default, (meta(*size), *vectors, training, 0.1, 1e-5), {})[0].shape
            == size
        )
    else:
        same(aten.native_batch_norm.default, meta(*size), *vectors, training, 0.1, 1e-5)
