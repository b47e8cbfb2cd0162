"""Results of the commonest operators on the meta device, made directly.

PyTorch works many of them out in Python, through a dozen smaller operators each; a deep net spends most of its time
there. The results here have the same shapes and types (a test holds them against PyTorch's own), ten times sooner.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten
Arguments = tuple[Any, ...]


def empty_like(tensor: Tensor) -> Tensor:
    """A tensor on the meta device of the same shape, type and layout."""
    if not tensor.is_contiguous():
        return torch.empty_like(tensor, device="meta")
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")


def _like_first(args: Arguments) -> Tensor | None:
    return empty_like(args[0]) if args[0].dtype.is_floating_point else None


def _like_both(args: Arguments) -> Tensor | None:
    a, b = args[0], args[1]
    if not isinstance(b, Tensor) or a.shape != b.shape or a.dtype != b.dtype:
        return None
    return empty_like(a)


def _batch_norm(args: Arguments) -> tuple[Tensor, Tensor, Tensor] | None:
    image, training = args[0], args[5]
    if image.dtype != torch.float32 or image.dim() < 2:
        return None
    if any(each is not None and each.shape != image.shape[1:2] for each in args[1:5]):
        return None
    channels = image.shape[1] if training else 0  # as the CPU's kernel has it; PyTorch's own meta result keeps them
    return empty_like(image), image.new_empty(channels), image.new_empty(channels)


def _batch_norm_backward(args: Arguments) -> tuple[Tensor | None, Tensor | None, Tensor | None] | None:
    gradient, image, wanted = args[0], args[1], args[-1]
    if image.dtype != torch.float32:
        return None
    first = empty_like(image) if wanted[0] else None
    second, third = (gradient.new_empty(image.shape[1]) if each else None for each in wanted[1:])
    return first, second, third


def _convolution(args: Arguments) -> Tensor | None:
    image, weight, _, stride, padding, dilation, transposed = args[:7]
    if transposed or image.dtype != weight.dtype or image.dim() != weight.dim() or weight.dim() < 3:
        return None
    if image.shape[1] != weight.shape[1] * args[8] or not (image.is_contiguous() and weight.is_contiguous()):
        return None
    sides = [
        (side + 2 * p - d * (kernel - 1) - 1) // s + 1
        for side, kernel, s, p, d in zip(
            image.shape[2:],
            weight.shape[2:],
            *(list(v) * (weight.dim() - 2) if len(v) == 1 else v for v in (stride, padding, dilation)),
            strict=True,
        )
    ]
    return image.new_empty((image.shape[0], weight.shape[0], *sides)) if min(sides) > 0 else None


def _alike(args: Arguments) -> bool:
    """Whether two lists of tensors, or a list and a number, go together without a change of shape or type."""
    first, second = args[0], args[1]
    if not all(each.is_meta and each.dtype.is_floating_point for each in first):
        return False
    if not isinstance(second, list):
        return isinstance(second, float)
    pairs = zip(first, second, strict=False)
    return len(first) == len(second) and all(a.shape == b.shape and a.dtype == b.dtype for a, b in pairs)


SHORTCUTS: dict[torch._ops.OpOverload, Callable[[Arguments], Any]] = {
    aten.relu.default: _like_first,
    aten.threshold_backward.default: _like_both,
    aten.add.Tensor: _like_both,
    aten.native_batch_norm.default: _batch_norm,
    aten.native_batch_norm_backward.default: _batch_norm_backward,
    aten.convolution.default: _convolution,
}
# Of an optimiser's step, on all parameters at once: with results, and in place.
ON_LISTS = {aten._foreach_add.List}
ON_LISTS_IN_PLACE = {aten._foreach_add_.List, aten._foreach_mul_.Scalar}


def brought(value: Any, device: torch.device) -> Any:
    """To the meta device: constants that lie elsewhere, such as a tensor that a module keeps as a plain attribute."""
    if isinstance(value, Tensor):
        return value if value.device == device or device.type != "meta" else value.to(device)
    return [brought(each, device) for each in value] if isinstance(value, list) else value


def kernel_bytes(func: torch._ops.OpOverload, result: Any) -> int:
    """Bytes a CPU kernel holds beside its result: oneDNN computes a convolution in a layout of its own."""
    return result.nbytes if func is aten.convolution.default else 0


def run(func: torch._ops.OpOverload, args: Arguments, kwargs: dict[str, Any]) -> Any:
    """The result of an operator: directly on the meta device where a shortcut knows it, else from PyTorch itself."""
    if func in ON_LISTS and _alike(args):
        return [empty_like(each) for each in args[0]]
    if func in ON_LISTS_IN_PLACE and _alike(args):
        return None
    shortcut = SHORTCUTS.get(func)
    if shortcut is not None and not kwargs and args[0].device.type == "meta":
        made = shortcut(args)
        if made is not None:
            return made
    return func(*args, **kwargs)
