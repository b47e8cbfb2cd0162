"""The memory of a process on a CPU: what the allocator of glibc holds for the tensors that live at a time.

A process holds more than its tensors: a freed block stays with the process until a tensor fits into it. Large blocks
are mapped singly and go back at once; what counts as large grows with the blocks that were freed, up to 32 MiB.

Differs from glibc in two things, in which measured processes (`results/cost-memory.json`) agree with this and not with
the letter of the manual. What counts as large is 32 MiB from the start: a process that has loaded its libraries and
made its net has freed large blocks before. And neighbouring gaps are never joined: PyTorch aligns its blocks to 64
bytes, and the sliver that glibc cuts off before each of them stays between the gaps.

Source: the malloc(3) and mallopt(3) manuals (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD).
"""

from __future__ import annotations

from bisect import bisect_left, insort

THRESHOLD = 32 * 1024 * 1024  # bytes from which a block is mapped singly
HEADER = 64 + 16  # bytes: alignment of PyTorch's blocks, and glibc's own


class Heap:
    """Blocks by key, as glibc would place them.

    Attributes:
        peak: the most bytes the process ever held.
    """

    def __init__(self) -> None:
        self.peak = 0
        self._mapped: dict[int, int] = {}
        self._mapped_bytes = 0
        self._placed: dict[int, tuple[int, int]] = {}  # address and size
        self._free: list[tuple[int, int]] = []  # gaps: size and address, by size
        self._top = 0

    @property
    def resident(self) -> int:
        """Bytes the process holds now."""
        return self._top + self._mapped_bytes

    def allocate(self, key: int, size: int) -> None:
        """Find a place for a block: the smallest gap it fits into, else at the end."""
        size += HEADER
        if size >= THRESHOLD:
            self._mapped[key] = size
            self._mapped_bytes += size
        else:
            self._placed[key] = (self._place(size), size)
        self.peak = max(self.peak, self.resident)

    def release(self, key: int) -> None:
        """Give a block back: to the system if it was mapped or lies at the end, else as a gap."""
        if key in self._mapped:
            self._mapped_bytes -= self._mapped.pop(key)
            return
        if key not in self._placed:
            return
        address, size = self._placed.pop(key)
        if address + size == self._top and size >= 2 * THRESHOLD:
            self._top = address
        else:
            insort(self._free, (size, address))

    def _place(self, size: int) -> int:
        at = bisect_left(self._free, (size, 0))
        if at == len(self._free):
            self._top += size
            return self._top - size
        length, address = self._free.pop(at)
        if length > size:
            insort(self._free, (length - size, address + size))
        return address
