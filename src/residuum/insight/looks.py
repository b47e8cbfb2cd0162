"""What all looks share: they compute the same in every mode of autograd, sum in float64, and tell how far they are.

A caller may be in `torch.no_grad()` or `torch.inference_mode()`. Tensors that are made in the latter can never be part
of a graph, so a look that needs gradients leaves it for its own time and copies the tensors that it was given.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from itertools import chain
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor, nn

from residuum.errors import InputError

OnProgress = Callable[[int, int], None]  # steps done, and in all: 0 where that is not known
WITHOUT_FLOAT64 = ("mps",)  # types of devices
P = ParamSpec("P")
R = TypeVar("R")


def unheard(done: int, total: int) -> None:
    """Tells nobody of the progress."""


def with_gradients(look: Callable[P, R]) -> Callable[P, R]:
    """The function with gradients enabled, whatever the caller's mode; tensors of inference mode are copied for it.

    Raises (when it is called):
        InputError: a net that it is given has weights made in inference mode, which no gradient can pass.
    """
    return _in_own_mode(look, gradients=True)


def without_gradients(look: Callable[P, R]) -> Callable[P, R]:
    """The function without gradients and outside of inference mode, whose tensors could be written by nobody later."""
    return _in_own_mode(look, gradients=False)


def _in_own_mode(look: Callable[P, R], *, gradients: bool) -> Callable[P, R]:
    @wraps(look)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with torch.inference_mode(False), torch.set_grad_enabled(gradients):
            for each in (*args, *kwargs.values()):
                if gradients and isinstance(each, nn.Module):
                    require_ordinary(each)
            own = [_ordinary(each) for each in args]
            return look(*own, **{name: _ordinary(each) for name, each in kwargs.items()})  # type: ignore[arg-type]

    return run


def _ordinary(value: object) -> object:
    return value.clone() if isinstance(value, Tensor) and value.is_inference() else value


def require_ordinary(net: nn.Module) -> None:
    """Check that a net's weights can have gradients and be replaced.

    Raises:
        InputError: they were made in inference mode.
    """
    if any(each.is_inference() for each in chain(net.parameters(), net.buffers())):
        raise InputError(
            "net: its weights were made in torch.inference_mode, which forbids gradients and new values. "
            "Try: copy.deepcopy(net), outside of that mode"
        )


def in_float64(values: Tensor) -> Tensor:
    """The values in float64, where they are; on the CPU where their device has no float64."""
    return (values.cpu() if values.device.type in WITHOUT_FLOAT64 else values).double()
