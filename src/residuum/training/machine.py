"""What a training asks of the CPU it runs on: fused operators, and memory that stays with the process.

Both end with the training, since the process may go on with something else. Numbers too small for a normal float are
left alone: PyTorch can flush them to zero in one thread of several only, and then the bits depend on the threads.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn

from residuum.files.memory import memory_stays
from residuum.files.native import NoLibraryError
from residuum.nets.fused import can_be_fused, fused, version
from residuum.training.observer import Observer


def fusing(net: nn.Module, device: torch.device, observer: Observer) -> str | None:
    """The version of the fused operators, where they run; told is why not, where they could."""
    if device.type != "cpu" or not can_be_fused(net):
        return None
    try:
        return version()
    except NoLibraryError as error:
        observer.message(f"note PyTorch's own batch normalisation is used, which is slower: {error}")
        return None


@contextmanager
def tuned(net: nn.Module, device: torch.device, *, fuse: bool) -> Iterator[None]:
    """The CPU as a training wants it; of another device nothing is changed."""
    with ExitStack() as stack:
        if device.type == "cpu":
            stack.enter_context(memory_stays())
        if fuse:
            stack.enter_context(fused(net))
        yield
