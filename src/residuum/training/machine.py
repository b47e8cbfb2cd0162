"""What a training asks of the CPU it runs on: fused operators, and memory that stays with the process.

Both end with the training, since the process may go on with something else. Numbers too small for a normal float are
left alone: PyTorch can flush them to zero in one thread of several only, and then the bits depend on the threads.
"""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn

from residuum.files.native import NoLibraryError
from residuum.nets.fused import can_be_fused, fused, version
from residuum.training.observer import Observer

# Parameters of mallopt(3). By default glibc lets its thresholds grow with what is freed; once one was set, they stay
# where they are, so afterwards they are set to where that growth ends.
TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4
USUAL = {TRIM_THRESHOLD: 64 << 20, MMAP_THRESHOLD: 32 << 20, MMAP_MAX: 65_536}
STAYING = {TRIM_THRESHOLD: 2**31 - 1, MMAP_MAX: 0}


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


_staying = 0  # trainings inside each other: the outermost begins and ends it


@contextmanager
def memory_stays() -> Iterator[None]:
    """Freed blocks are kept for the next step instead of going back to the system, which clears them page by page.

    Of glibc only. On two cores this alone made a bf16 step of ResNet-20 with 128 images about a quarter faster.
    """
    global _staying
    libc = ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
    if libc is None or _staying:
        yield
        return
    try:
        _staying += 1
        for parameter, value in STAYING.items():
            libc.mallopt(parameter, value)
        yield
    finally:
        _staying -= 1
        for parameter, value in USUAL.items():
            libc.mallopt(parameter, value)
        libc.malloc_trim(0)
