"""Why a module did not take an input, in words: which layer died, and an input that was tried and works."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from numbers import Integral

import torch
from torch import Tensor, nn

from residuum.costing.execution import by
from residuum.costing.memory import Twin
from residuum.costing.modes import in_mode
from residuum.errors import InputError

# What a module may raise that does not take an input: PyTorch's errors, and those of what its own code did with it.
ERRORS = (RuntimeError, ValueError, TypeError, AttributeError, AssertionError, LookupError, ArithmeticError)
LARGEST_TRIED = 1024  # pixels
USUAL_SIDES = (28, 48, 96, 192, 224, 227, 299, 384)  # of nets that take one size only


def require_module(module: object) -> None:
    """Refuse modules that cannot be looked into.

    Raises:
        InputError: with what to do instead.
    """
    if not isinstance(module, nn.Module):
        example = f"residuum.net({module!r})" if isinstance(module, str) else "residuum.net('resnet50')"
        raise InputError(f"net: must be a torch.nn.Module, got {module!r}. Try: {example}")
    for path, each in module.named_modules():
        name = f"layer {path}" if path else "the module itself"
        if isinstance(each, torch.jit.ScriptModule):
            raise InputError(f"net: {name} is TorchScript, which hides its layers. Try: the module it was made from")
        if any(nn.parameter.is_lazy(own) for own in each.parameters(recurse=False)):
            raise InputError(
                f"net: {name} ({type(each).__name__}) has no weights before its first image. "
                "Try: net(torch.zeros(1, 3, 224, 224)) once before"
            )


def require_place(device: str) -> None:
    """Refuse devices that tell nothing more than these two.

    Raises:
        InputError: with the names of both.
    """
    if device not in ("meta", "cpu"):
        raise InputError(f"device: must be 'meta' or 'cpu', got {device!r}. Try: device='meta'")


def require_input(given: object, batch: object) -> None:
    """Refuse what is neither the size of an image nor example tensors.

    Raises:
        InputError: with an input to give instead.
    """
    usual = "Try: (3, 224, 224)"
    values = [given] if isinstance(given, Tensor) else given
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise InputError(f"input: must be a size such as (3, 224, 224), or example tensors, got {given!r}. {usual}")
    if not values:
        raise InputError(f"input: neither a size nor a tensor was given. {usual}")
    if all(isinstance(each, Tensor) for each in values):
        for each in values:
            if each.numel() == 0:
                raise InputError(f"input: a tensor of {by(each.shape)} holds nothing. Try: torch.zeros(1, 3, 224, 224)")
        return
    if any(isinstance(each, Tensor) for each in values):
        raise InputError("input: tensors and sizes are mixed. Try: example tensors only")
    if not all(_is_count(each) for each in values):
        raise InputError(f"input: sizes must be whole numbers, at least 1, got {by(values)}. {usual}")
    if not _is_count(batch):
        raise InputError(f"batch: must be a whole number, at least 1, got {batch!r}. Try: batch=1")


def _is_count(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 1


def explained(error: Exception, twin: Twin, inputs: Sequence[Tensor], where: str) -> InputError:
    """The error as what a person can do about it.

    Args:
        error: what the module raised.
        twin, inputs: the module and what it was given.
        where: path of the module that was running.
    """
    reason = said(error).split(" Try: ")[0][:160]
    layer = f"layer {where}" if where else "the module itself"
    if twin.device.type == "meta" and "meta" in str(error).lower():
        return InputError(
            f"net: {layer} needs the values of a tensor, not only its shape ({reason}). "
            "Try: residuum.cost(..., device='cpu'), which runs it"
        )
    shape = " and ".join(by(each.shape[1:]) for each in inputs)
    return InputError(f"input: {layer} cannot take an input of {shape} ({reason}){_remedy(twin, inputs)}")


def said(error: Exception) -> str:
    """What an error says, in one line; its kind where it says nothing, or but a key."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__} {text}".rstrip() if isinstance(error, KeyError) or not text else text


def _remedy(twin: Twin, inputs: Sequence[Tensor]) -> str:
    """The nearest to this input that works; each has been tried."""
    if len(inputs) > 1:
        return ". Try: other example tensors"
    given = inputs[0]
    for dtype in _types(twin, given):
        kind = "" if dtype == given.dtype else f"a {dtype} tensor of "
        for shape in _shapes(twin.module, tuple(given.shape)):
            if (dtype, shape) != (given.dtype, tuple(given.shape)) and _takes(twin, shape, dtype):
                return f". Try: {kind}{by(shape[1:])}"
            if len(shape) == 4 and (smallest := smallest_size(twin, shape[0], shape[1], dtype)) is not None:
                best = by((shape[1], smallest, smallest))
                return f"; the smallest square that works is {smallest}. Try: {kind}{best}"
    return ". Try: the size and the type of tensor that the net was made for"


def _types(twin: Twin, given: Tensor) -> list[torch.dtype]:
    """That of the weights, the given one, and that of words."""
    weights = [each.dtype for each in twin.parameters.values() if each.is_floating_point()]
    return list(dict.fromkeys([*weights[:1], given.dtype, torch.int64]))


def _shapes(module: nn.Module, given: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """The given one, with the channels and dimensions of the first convolution; else with those of a linear layer."""
    batch, *sizes = given or (1,)
    for each in module.modules():
        if isinstance(each, nn.Conv1d | nn.Conv2d | nn.Conv3d):
            axes = len(each.kernel_size)
            yield (batch, each.in_channels, *(sizes[1:] if len(sizes) == axes + 1 else (224,) * axes))
            return
    yield given
    for each in module.modules():
        if isinstance(each, nn.Linear):
            yield (batch, *sizes[:-1], each.in_features)
            yield (batch, each.in_features)
            return


def _takes(twin: Twin, shape: Sequence[int], dtype: torch.dtype) -> bool:
    try:
        with torch.no_grad(), in_mode(twin.module, training=False):
            twin.run([torch.zeros(tuple(shape), dtype=dtype, device=twin.device)])
    except ERRORS:
        return False
    return True


def smallest_size(twin: Twin, batch: int, channels: int, dtype: torch.dtype) -> int | None:
    """Side of the smallest square image that the module takes, up to 1024 pixels; None where there is none.

    Found by halving between a side that works and one that does not, so it is the smallest where the sides that work
    follow each other without a gap. Tried are the powers of two and the usual sides, and only then each from 1 to 300.
    """

    def works(side: int) -> bool:
        return _takes(twin, (batch, channels, side, side), dtype)

    powers = [1 << n for n in range(LARGEST_TRIED.bit_length())]
    low = 0
    for high in sorted({*powers, *USUAL_SIDES}):
        if works(high):
            break
        low = high
    else:
        return next((side for side in range(1, 301) if works(side)), None)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if works(middle) else (middle, high)
    return high
