"""What a training asks of the CPU it runs on: fused operators, memory that stays, no denormal numbers.

Everything is undone when the training ends, since the process may go on with something else.
"""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn

from residuum.files.native import NoLibraryError
from residuum.nets.fused import fused, require_library
from residuum.training.observer import Observer

# Parameters of mallopt(3), with the values they have by default.
TRIM_THRESHOLD, MMAP_MAX = -1, -4
DEFAULTS = {TRIM_THRESHOLD: 128 * 1024, MMAP_MAX: 65_536}
STAYING = {TRIM_THRESHOLD: 2**31 - 1, MMAP_MAX: 0}


def can_fuse(device: torch.device, observer: Observer) -> bool:
    """Whether fused operators run here; told is why not, where they could."""
    if device.type != "cpu":
        return False
    try:
        require_library()
    except NoLibraryError as error:
        observer.message(f"note PyTorch's own batch normalisation is used, which is slower: {error}")
        return False
    return True


@contextmanager
def tuned(net: nn.Module, device: torch.device, *, fuse: bool) -> Iterator[None]:
    """The CPU as a training wants it; of another device nothing is changed."""
    with ExitStack() as stack:
        if device.type == "cpu":
            stack.enter_context(_memory_stays())
            stack.enter_context(_no_denormals())
        if fuse:
            stack.enter_context(fused(net))
        yield


@contextmanager
def _memory_stays() -> Iterator[None]:
    """Freed blocks are kept for the next step instead of going back to the system, which clears them page by page.

    Of glibc only. On two cores this alone made a bf16 step of ResNet-20 with 128 images about a quarter faster.
    """
    libc = ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
    if libc is None:
        yield
        return
    try:
        for parameter, value in STAYING.items():
            libc.mallopt(parameter, value)
        yield
    finally:
        for parameter, value in DEFAULTS.items():
            libc.mallopt(parameter, value)
        libc.malloc_trim(0)


@contextmanager
def _no_denormals() -> Iterator[None]:
    """Numbers too small for a normal float are zero, since some processors handle them many times slower."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
