"""Which numbers a training computes with where its recipe leaves that to the machine, and that bf16 is right there."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from residuum.training.recipe import Recipe

GAIN = 1.2  # bf16 must be so many times faster to be chosen
TRIALS = 5


def resolved(recipe: Recipe, device: torch.device) -> Recipe:
    """The recipe with `precision` decided, if it is `auto`."""
    if recipe.precision != "auto":
        return recipe
    return replace(recipe, precision=fastest(str(device)))


@lru_cache
def fastest(device: str) -> Literal["fp32", "bf16"]:
    """`bf16` where the device has it: a GPU that says so, or a CPU that is seen, once, to be faster with it.

    A CPU without instructions for it computes in bf16 as well, several times slower.
    """
    if torch.device(device).type == "cuda":
        with torch.cuda.device(device):
            return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    taken: dict[torch.dtype, list[float]] = {torch.float32: [], torch.bfloat16: []}
    for _ in range(TRIALS):
        for dtype, times in taken.items():  # in turns, and the shortest of each counts: other work may disturb
            times.append(seconds(dtype))
    return "bf16" if min(taken[torch.float32]) > GAIN * min(taken[torch.bfloat16]) else "fp32"


def seconds(dtype: torch.dtype) -> float:
    """Time of a typical convolution, forward and backward: 32 images, 32 channels, 32x32 pixels; a few milliseconds.

    The shorter one of two, of which the first prepares what the second finds ready.
    """
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(32, 32, 32, 32, generator=generator).to(dtype, memory_format=torch.channels_last).requires_grad_()
    weight = torch.randn(32, 32, 3, 3, generator=generator).to(dtype, memory_format=torch.channels_last)
    weight.requires_grad_()
    taken = []
    with torch.enable_grad():
        for _ in range(2):
            start = time.perf_counter()
            y = functional.conv2d(x, weight, padding=1)
            torch.autograd.grad(y, (x, weight), torch.ones_like(y))
            taken.append(time.perf_counter() - start)
    return min(taken)


@contextmanager
def without_stray_gradients(net: nn.Module) -> Iterator[None]:
    """Weights of convolutions that meet nothing but padding get the gradient 0, which is theirs.

    On maps of a few pixels a stride or a large kernel leaves such weights: of a 3x3 with stride 2 on a single pixel all
    but the middle one. In bf16 on a CPU, PyTorch (2.13, by oneDNN) leaves in their gradients whatever the memory held,
    not a number at times; the others are right.
    """
    with ExitStack() as stack:
        for module in net.modules():
            if type(module) is nn.Conv2d and module.padding_mode == "zeros" and max(module.kernel_size) > 1:
                strays = _Strays()
                stack.callback(module.register_forward_pre_hook(strays.see).remove)
                stack.callback(strays.remove)
        yield


class _Strays:
    """The weights of one convolution that meet only padding, by the maps it saw last."""

    def __init__(self) -> None:
        self.mask: Tensor | None = None
        self.handle: torch.utils.hooks.RemovableHandle | None = None

    def see(self, conv: nn.Module, given: tuple[Tensor, ...]) -> None:
        assert isinstance(conv, nn.Conv2d)
        if not conv.training or not conv.weight.requires_grad:
            return
        self.mask = strays(conv, (given[0].shape[-2], given[0].shape[-1]))
        if self.mask is not None and self.handle is None:
            self.handle = conv.weight.register_hook(self.clear)  # type: ignore[no-untyped-call]

    def clear(self, gradient: Tensor) -> Tensor:
        return gradient if self.mask is None else gradient.masked_fill(self.mask, 0)

    def remove(self) -> None:
        if self.handle is not None:
            self.handle.remove()


def strays(conv: nn.Conv2d, size: tuple[int, int]) -> Tensor | None:
    """Which weights `(kernel height, kernel width)` meet only padding on maps `(H, W)`; None where all meet pixels."""
    rows, columns = map(_meets, size, conv.kernel_size, conv.stride, _padding(conv), conv.dilation)
    return None if all(rows) and all(columns) else ~torch.tensor(rows)[:, None] | ~torch.tensor(columns)


def _padding(conv: nn.Conv2d) -> list[tuple[int, int]]:
    """Of each axis, before and after; `same` pads an odd number by one more after."""
    if conv.padding == "same":
        totals = (d * (k - 1) for k, d in zip(conv.kernel_size, conv.dilation, strict=True))
        return [(total // 2, total - total // 2) for total in totals]
    return [(0, 0) if isinstance(each, str) else (each, each) for each in conv.padding]


@lru_cache(maxsize=4096)
def _meets(size: int, kernel: int, stride: int, padding: tuple[int, int], dilation: int) -> tuple[bool, ...]:
    """Whether each weight along one axis of a kernel ever lies on one of `size` pixels."""
    before, after = padding
    starts = range(-before, size + after - dilation * (kernel - 1), stride)
    return tuple(any(0 <= start + dilation * each < size for start in starts) for each in range(kernel))
