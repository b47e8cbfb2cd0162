"""Memory that stays with the process while much of it is taken and given back in turn; and how much it holds."""

from __future__ import annotations

import ctypes
import mmap
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

# Parameters of mallopt(3). By default glibc lets its thresholds grow with what is freed; once one was set, they stay
# where they are, so afterwards they are set to where that growth ends.
TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4
USUAL = {TRIM_THRESHOLD: 64 << 20, MMAP_THRESHOLD: 32 << 20, MMAP_MAX: 65_536}
STAYING = {TRIM_THRESHOLD: 2**31 - 1, MMAP_MAX: 0}

_lock = Lock()
_inside = 0  # uses inside or beside each other: the first begins it, the last ends it


@contextmanager
def memory_stays() -> Iterator[None]:
    """Freed blocks are kept for the next step instead of going back to the system, which clears them page by page.

    Of glibc only. On two cores this alone made a bf16 training step of ResNet-20 with 128 images about a quarter
    faster.
    """
    global _inside
    if platform.libc_ver()[0] != "glibc":
        yield
        return
    libc = ctypes.CDLL(None)
    with _lock:
        _inside += 1
        if _inside == 1:
            _set(libc, STAYING)
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                _set(libc, USUAL)
                libc.malloc_trim(0)


def _set(libc: ctypes.CDLL, values: Mapping[int, int]) -> None:
    for parameter, value in values.items():
        libc.mallopt(parameter, value)


def resident_bytes() -> int | None:
    """What this process holds in memory now; None where the system does not say (it does on Linux)."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * mmap.PAGESIZE
