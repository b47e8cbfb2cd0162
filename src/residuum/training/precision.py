"""Which numbers a training computes with where its recipe leaves that to the machine."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import lru_cache
from statistics import median
from typing import Literal

import torch
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
    return "bf16" if seconds(torch.float32) > GAIN * seconds(torch.bfloat16) else "fp32"


def seconds(dtype: torch.dtype) -> float:
    """Time of a typical convolution, forward and backward: 32 images, 32 channels, 32x32 pixels; a few milliseconds."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(32, 32, 32, 32, generator=generator).to(dtype, memory_format=torch.channels_last).requires_grad_()
    weight = torch.randn(32, 32, 3, 3, generator=generator).to(dtype, memory_format=torch.channels_last)
    weight.requires_grad_()
    taken = []
    with torch.enable_grad():
        for _ in range(TRIALS):
            start = time.perf_counter()
            y = functional.conv2d(x, weight, padding=1)
            torch.autograd.grad(y, (x, weight), torch.ones_like(y))
            taken.append(time.perf_counter() - start)
    return median(taken[1:])
