"""Why a module did not take an input, in words: which layer died, and the smallest image that works."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from residuum.costing.memory import Twin
from residuum.errors import InputError

ERRORS = (RuntimeError, ValueError, TypeError, IndexError, AssertionError, NotImplementedError)
LARGEST_TRIED = 1024  # pixels
OF_VALUES = ("meta tensor", "aten::_local_scalar_dense", "aten::nonzero", "aten::equal", "Meta", "data-dependent")


def require_images(twin: Twin, inputs: Sequence[Tensor]) -> None:
    """Refuse sizes that no image has, and a number of dimensions or channels that the first convolution cannot take.

    Raises:
        InputError: with the shape to give instead.
    """
    if not inputs:
        raise InputError("input: no tensor was given. Try: input_size=(3, 224, 224)")
    shape = tuple(inputs[0].shape)
    if any(size < 1 for size in shape):
        raise InputError(f"input: must be at least 1 everywhere, got {_by(shape)}. Try: 3x224x224")


def explained(error: Exception, twin: Twin, inputs: Sequence[Tensor], where: str) -> InputError:
    """The error as what a person can do about it.

    Args:
        error: what the module raised.
        twin, inputs: the module and what it was given.
        where: path of the module that was running.
    """
    reason = " ".join(str(error).split())[:160]
    layer = f"layer {where}" if where else "the module itself"
    shape = tuple(inputs[0].shape[1:])
    if twin.device.type == "meta" and any(mark in str(error) for mark in OF_VALUES):
        return InputError(
            f"net: {layer} needs the values of a tensor, not only its shape ({reason}). "
            "Try: residuum.cost(..., device='cpu'), which runs it"
        )
    head = f"input: {layer} cannot take an image of {_by(shape)} ({reason})"
    if len(inputs) > 1:
        return InputError(f"{head}. Try: other example tensors")
    first = _first_convolution(twin.module)
    if first is not None and len(shape) != len(first.kernel_size) + 1:
        return InputError(f"{head}. Try: {_by((first.in_channels, *(224,) * len(first.kernel_size)))}")
    if first is not None and shape[0] != first.in_channels:
        return InputError(f"{head}. Try: {_by((first.in_channels, *shape[1:]))}")
    smallest = smallest_size(twin, inputs[0])
    if smallest is None:
        return InputError(f"{head}. Try: the size the net was made for, or a tensor of its type")
    return InputError(
        f"{head}; the smallest square that works is {smallest}. Try: {_by((shape[0], smallest, smallest))}"
    )


def smallest_size(twin: Twin, image: Tensor) -> int | None:
    """Side of the smallest square image that the module takes, up to 1024 pixels; None where there is none.

    Found by halving, so it is the smallest where every larger square works too; where only one size works (a linear
    layer behind a map), sizes are tried one by one.
    """
    if image.dim() != 4:
        return None

    def works(side: int) -> bool:
        small = torch.empty((*image.shape[:2], side, side), dtype=image.dtype, device=twin.device)
        try:
            with torch.no_grad(), twin.mode(training=False):
                twin.run([small])
        except ERRORS:
            return False
        return True

    side = 1
    while side <= LARGEST_TRIED and not works(side):
        side *= 2
    if side > LARGEST_TRIED:
        return next((each for each in range(20, 300) if works(each)), None)
    low, high = side // 2, side
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if works(middle) else (middle, high)
    return high


def _first_convolution(module: nn.Module) -> nn.Conv1d | nn.Conv2d | nn.Conv3d | None:
    return next((each for each in module.modules() if isinstance(each, nn.Conv1d | nn.Conv2d | nn.Conv3d)), None)


def _by(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
