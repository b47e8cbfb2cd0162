"""What a training asks of the machine it runs on: fused operators, memory that stays, a compiled net.

The first two end with the training, since the process may go on with something else. Numbers too small for a normal
float are left alone: PyTorch can flush them to zero in one thread of several only, and then the bits depend on the
threads.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from residuum.files.memory import memory_stays
from residuum.files.native import NoLibraryError
from residuum.nets.fused import can_be_fused, fused, version
from residuum.nets.layers import WithAuxiliary
from residuum.training.observer import Observer

USUAL_COMPILERS = {"darwin": "clang++", "win32": "cl"}  # of torch.compile; g++ elsewhere (torch._inductor.config)


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


def compiled(net: nn.Module, observer: Observer) -> Callable[[Tensor], Tensor | WithAuxiliary]:
    """`net` through `torch.compile`, or as it is where the C++ compiler that this calls is not found."""
    compiler = os.environ.get("CXX", USUAL_COMPILERS.get(sys.platform, "g++"))
    if shutil.which(compiler) is None:
        observer.message(f"no C++ compiler was found ({compiler}): training without torch.compile")
        return net
    return torch.compile(net)
