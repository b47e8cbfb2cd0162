"""How much memory tensors hold at each moment, followed from their making to their end, without allocating any.

On the meta device a tensor has a shape and no storage behind it, but it is made and dropped by the very code that would
make and drop a real one. Counting these events gives the memory the computation holds, and the most it ever holds.
What the backend's kernels allocate inside themselves (workspaces, reordered copies) is not seen here.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from residuum.costing.heap import Heap

KERNEL = -1  # key of a kernel's own block


class LiveBytes:
    """The bytes of all storages that were shown to it and still exist.

    Attributes:
        now: bytes held at this moment.
        peak: the most there ever were.
        heap: what a process on a CPU would hold for them.
        peak_at: what was running then, in the words of `where`.
    """

    def __init__(self, where: Callable[[], str] = lambda: "") -> None:
        self.now = self.peak = 0
        self.peak_at = ""
        self.heap = Heap()
        self._where = where
        self._held: dict[int, weakref.KeyedRef[int, torch.UntypedStorage]] = {}
        self._sizes: dict[int, int] = {}

    def know(self, tensor: Tensor) -> None:
        """Leave the storage of a tensor, and so every view of it, out of the count: weights, which are there anyway."""
        storage = tensor.untyped_storage()
        if storage._cdata not in self._held:
            self.heap.allocate(storage._cdata, storage.nbytes())
            self._hold(storage, 0)

    def see(self, tensor: Tensor) -> bool:
        """Count the storage of a tensor until it ends; true where it was not known before."""
        storage = tensor.untyped_storage()
        if storage._cdata in self._held:
            return False
        self.heap.allocate(storage._cdata, storage.nbytes())
        self._hold(storage, storage.nbytes())
        return True

    @contextmanager
    def passing(self, size: int) -> Iterator[None]:
        """A block of `size` bytes that a kernel holds for itself while a result is made."""
        if not size:
            yield
            return
        self.heap.allocate(KERNEL, size)
        yield
        self.heap.release(KERNEL)

    def _hold(self, storage: torch.UntypedStorage, size: int) -> None:
        key = storage._cdata
        self._held[key] = weakref.KeyedRef(storage, self._ended, key)
        self._sizes[key] = size
        self.now += size
        if self.now > self.peak:
            self.peak, self.peak_at = self.now, self._where()

    def _ended(self, reference: weakref.KeyedRef[int, torch.UntypedStorage]) -> None:
        key = reference.key
        del self._held[key]
        self.now -= self._sizes.pop(key)
        self.heap.release(key)
