"""The mode of a module, training or evaluation, for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def in_mode(module: nn.Module, *, training: bool) -> Iterator[None]:
    """The module in this mode, then each of its parts in the mode that it was in; parameters keep their gradients."""
    modes = [(each, each.training) for each in module.modules()]
    try:
        module.train(training)
        yield
    finally:
        for each, mode in modes:
            each.training = mode
