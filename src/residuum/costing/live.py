"""How much memory tensors hold at each moment, followed from their making to their end, without allocating any.

On the meta device a tensor has a shape and no storage behind it, but it is made and dropped by the very code that would
make and drop a real one. Counting these events gives the memory the computation holds, and the most it ever holds.
What the backend's kernels allocate inside themselves (workspaces, reordered copies) is not seen here.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable

import torch
from torch import Tensor


class LiveBytes:
    """The bytes of all storages that were shown to it and still exist.

    Attributes:
        now: bytes held at this moment.
        peak: the most there ever were.
        peak_at: what was running then, in the words of `where`.
    """

    def __init__(self, where: Callable[[], str] = lambda: "") -> None:
        self.now = self.peak = 0
        self.peak_at = ""
        self._where = where
        self._held: dict[int, weakref.ref[torch.UntypedStorage]] = {}

    def see(self, tensor: Tensor) -> bool:
        """Count the storage of a tensor until it ends; true where it was not known before."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._held:
            return False
        size = storage.nbytes()

        def ended(_: object) -> None:
            self._held.pop(key, None)
            self.now -= size

        self._held[key] = weakref.ref(storage, ended)
        self.now += size
        if self.now > self.peak:
            self.peak, self.peak_at = self.now, self._where()
        return True
