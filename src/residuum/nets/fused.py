"""Training-time batch normalisation with an addition and ReLU after it, in two passes over the memory instead of six.

On a CPU the convolutions of a CIFAR net take little more than half of a training step; most of the rest is batch
normalisation, ReLU and the addition of the shortcut, each of which reads and writes every map. `fused.cpp` does them
together, forward and backward. The results are those of PyTorch's own operators up to rounding
(`tests/nets/test_fused.py`); where the library cannot be compiled, or a tensor does not suit it, PyTorch's own run.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from residuum.files.native import library
from residuum.nets.layers import GroupedBatchNorm2d, NormalisesWithReLU, with_twin

SOURCE = Path(__file__).with_suffix(".cpp")
LANES = 16  # channels that the library takes at a time
NAMES = {torch.bfloat16: "bfloat16", torch.float32: "float32"}


class _Layer(ctypes.Structure):
    """`Layer` of `fused.cpp`."""

    _fields_ = [
        ("rows", ctypes.c_long),
        ("channels", ctypes.c_long),
        ("threads", ctypes.c_int),
        ("relu", ctypes.c_int),
        ("epsilon", ctypes.c_double),
        ("momentum", ctypes.c_double),
        *((name, ctypes.c_void_p) for name in ("weight", "bias", "running_mean", "running_var", "mean", "inverse")),
    ]


@lru_cache
def require_library() -> ctypes.CDLL:
    """The compiled library.

    Raises:
        NoLibraryError: it cannot be compiled here.
    """
    loaded = library(SOURCE)
    for name in NAMES.values():
        getattr(loaded, f"forward_{name}").argtypes = [ctypes.c_void_p] * 4
        getattr(loaded, f"backward_{name}").argtypes = [ctypes.c_void_p] * 9
        getattr(loaded, f"forward_{name}").restype = getattr(loaded, f"backward_{name}").restype = None
    return loaded


class _Normalise(torch.autograd.Function):
    """bn(x), relu(bn(x)) or relu(bn(x) + shortcut) of a training batch, and its twin (`with_twin`)."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, shortcut: Tensor | None, weight: Tensor, bias: Tensor, norm: _Fusing, relu: bool
    ) -> tuple[Tensor, Tensor]:
        x = x.contiguous(memory_format=torch.channels_last)
        shortcut = shortcut.contiguous(memory_format=torch.channels_last) if shortcut is not None else None
        y = torch.empty_like(x)
        groups = norm.groups(len(x))
        statistics = torch.empty(len(groups), 2, x.shape[1], dtype=torch.float64)
        run = getattr(require_library(), f"forward_{NAMES[x.dtype]}")
        for number, images in enumerate(groups):
            layer = _layer(x, images, weight, bias, statistics[number], norm, relu, moves=number == 0)
            run(ctypes.addressof(layer), *(_address(each, images) for each in (x, shortcut, y)))
        ctx.save_for_backward(x, y if shortcut is not None else None, weight, bias, statistics)
        ctx.norm, ctx.relu, ctx.groups = norm, relu, groups
        ctx.set_materialize_grads(False)
        return y, y.detach()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        x, y, weight, bias, statistics = ctx.saved_tensors
        given = [each.contiguous(memory_format=torch.channels_last) for each in gradients if each is not None]
        if not given:
            return None, None, None, None, None, None
        gradient, second = given if len(given) == 2 else (given[0], None)
        to_x = torch.empty_like(x)
        to_shortcut = torch.empty_like(x) if y is not None else None
        parameters = torch.empty(len(ctx.groups), 2, x.shape[1])
        run = getattr(require_library(), f"backward_{NAMES[x.dtype]}")
        for number, images in enumerate(ctx.groups):
            layer = _layer(x, images, weight, bias, statistics[number], ctx.norm, ctx.relu, moves=False)
            maps = (_address(each, images) for each in (gradient, second, x, y, to_x, to_shortcut))
            ends = parameters[number].data_ptr()
            run(ctypes.addressof(layer), *maps, ends, ends + parameters.stride(1) * parameters.element_size())
        to_weight, to_bias = (parameters[0] if len(parameters) == 1 else parameters.sum(dim=0)).unbind()
        return to_x, to_shortcut, to_weight, to_bias, None, None


def _layer(
    x: Tensor,
    images: slice,
    weight: Tensor,
    bias: Tensor,
    statistics: Tensor,
    norm: _Fusing,
    relu: bool,
    *,
    moves: bool,
) -> _Layer:
    """What the library is told of a layer and some of its images; `moves` its running statistics."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    _, channels, height, width = x.shape
    return _Layer(
        rows=(images.stop - images.start) * height * width,
        channels=channels,
        threads=torch.get_num_threads(),
        relu=relu,
        epsilon=norm.eps,
        momentum=norm.momentum,
        weight=weight.data_ptr(),
        bias=bias.data_ptr(),
        running_mean=norm.running_mean.data_ptr() if moves else None,
        running_var=norm.running_var.data_ptr() if moves else None,
        mean=statistics.data_ptr(),
        inverse=statistics.data_ptr() + channels * statistics.element_size(),
    )


def _address(maps: Tensor | None, images: slice) -> int | None:
    """Where these images of maps `(N, C, H, W)` in channels-last layout begin."""
    if maps is None:
        return None
    begin: int = maps.data_ptr()
    return begin + images.start * maps[0].numel() * maps.element_size() if images.start else begin


class _Fusing(NormalisesWithReLU):
    """Batch normalisation that runs through the library where it can."""

    def groups(self, count: int) -> list[slice]:
        """The images that are normalised together."""
        return [slice(0, count)]

    def takes(self, x: Tensor, shortcut: Tensor | None = None) -> bool:
        """Whether the library can do it: a training batch on the CPU, and nobody listens to the layer itself."""
        return (
            self.training
            and x.device.type == "cpu"
            and x.dim() == 4
            and x.dtype in NAMES
            and x.shape[1] % LANES == 0
            and x.numel() > x.shape[1]
            and all(_plain(own, x.shape[1]) for own in (self.weight, self.bias, self.running_mean, self.running_var))
            and (shortcut is None or (shortcut.dtype == x.dtype and shortcut.shape == x.shape))
            and not (self._forward_hooks or self._forward_pre_hooks or self._backward_hooks or self._backward_pre_hooks)
            and not torch.compiler.is_compiling()
        )

    def _normalised(self, x: Tensor, shortcut: Tensor | None, *, relu: bool) -> tuple[Tensor, Tensor]:
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        return _Normalise.apply(x, shortcut, self.weight, self.bias, self, relu)  # type: ignore[no-any-return, no-untyped-call]

    def relu(self, x: Tensor, shortcut: Tensor | None = None) -> Tensor:
        """relu(bn(x) + shortcut) for what `takes` takes."""
        return with_twin(*self._normalised(x, shortcut, relu=True))

    def forward(self, x: Tensor) -> Tensor:
        return self._normalised(x, None, relu=False)[0] if self.takes(x) else super().forward(x)


class FusedBatchNorm2d(_Fusing):
    """`nn.BatchNorm2d` through the library."""


class FusedGroupedBatchNorm2d(_Fusing, GroupedBatchNorm2d):
    """`GroupedBatchNorm2d` through the library."""

    def groups(self, count: int) -> list[slice]:
        return [slice(start, min(start + self.group, count)) for start in range(0, count, self.group)]

    def takes(self, x: Tensor, shortcut: Tensor | None = None) -> bool:
        """As of a whole batch, and the last group, which is the smallest, is not of one value for each channel."""
        return super().takes(x, shortcut) and x[self.groups(len(x))[-1]].numel() > x.shape[1]


FUSED: dict[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm2d: FusedBatchNorm2d,
    GroupedBatchNorm2d: FusedGroupedBatchNorm2d,
}


def can_be_fused(net: nn.Module) -> bool:
    """Whether it has a layer for which there is something to gain."""
    return any(type(each) in FUSED and _has_all(each) for each in net.modules())


def version() -> str:
    """What the bits depend on: a name for source, compiler, its options and the kind of processor.

    Raises:
        NoLibraryError: the library cannot be compiled here.
    """
    return Path(require_library()._name).stem


@contextmanager
def fused(net: nn.Module) -> Iterator[None]:
    """Let the batch normalisations of `net` run through the library; parameters and state-dict keys stay.

    Raises:
        NoLibraryError: it cannot be compiled here; the net is as it was.
    """
    require_library()
    changed = [each for each in net.modules() if type(each) in FUSED and _has_all(each)]
    try:
        for module in changed:
            module.__class__ = FUSED[type(module)]
        yield
    finally:
        plain = {ours: own for own, ours in FUSED.items()}
        for module in changed:
            module.__class__ = plain.get(type(module), type(module))


def _plain(values: Tensor | None, channels: int) -> bool:
    """Whether the library can read these values of a layer: one float32 after another, one for each channel."""
    return (
        values is not None
        and values.dtype == torch.float32
        and values.shape == (channels,)
        and values.device.type == "cpu"
        and values.is_contiguous()
    )


def _has_all(norm: nn.Module) -> bool:
    """Whether it has weights and running statistics that move by a fixed share."""
    assert isinstance(norm, nn.BatchNorm2d)
    return norm.affine and norm.track_running_stats and norm.momentum is not None
