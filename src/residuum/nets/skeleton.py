"""Nets without values: their shapes are there, their weights take no memory and no time to draw."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

FILLING = frozenset({Tensor.uniform_, Tensor.normal_, Tensor.fill_, Tensor.zero_})


class _Unfilled(TorchFunctionMode):
    """Leaves out what writes initial values to the meta device, where PyTorch works out in Python that they fit."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func in FILLING and args[0].is_meta:
            return args[0]
        return func(*args, **(kwargs or {}))


@contextmanager
def without_values() -> Iterator[None]:
    """What is built inside lies on the meta device."""
    with torch.device("meta"), _Unfilled():
        yield
