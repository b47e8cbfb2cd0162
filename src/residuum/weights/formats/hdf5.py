"""Keras weights in HDF5, `.h5`: one data set for each array, in one group for each layer.

Both layouts are read, that of Keras 1 and 2 (`conv1/conv1/kernel:0`, in `model_weights` where the whole model was
saved) and that of Keras 3 (`layers/conv2d/vars/0`). HDF5 can point to other files, compress, and leave values out;
Keras does none of it for weights, and none of it is followed. Needs h5py (extra `weights`).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from residuum.errors import DamagedError, InputError, missing_extra
from residuum.weights.formats import MAX_TENSORS

if TYPE_CHECKING:
    import h5py

SIGNATURE = b"\x89HDF\r\n\x1a\n"
NUMBERS = "biuf"


def matches(start: bytes) -> bool:
    """Whether a file begins as HDF5."""
    return start.startswith(SIGNATURE)


def read(path: Path) -> dict[str, Tensor]:
    """All arrays, by their path below the root or below `model_weights`.

    Raises:
        InputError: h5py is missing; damaged; or it holds links, filters, or data outside the file.
    """
    try:
        import h5py
    except ImportError as error:
        raise missing_extra(str(path), "h5py", "weights") from error
    reader = _Reader(path)
    try:
        with h5py.File(path, "r") as file:
            reader.walk(file["model_weights"] if _is_hard(file, "model_weights") else file, "")
    except InputError:
        raise
    except Exception as error:  # a damaged file can make its reader raise anything
        raise DamagedError(f"{path}: is not a whole HDF5 file. Try: another copy") from error
    return reader.tensors


def _is_hard(group: h5py.Group, name: str) -> bool:
    import h5py

    return name in group and isinstance(group.get(name, getlink=True), h5py.HardLink)


class _Reader:
    """What was read of a file so far. Hard links can make endlessly many ways to a group, and names for an array."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tensors: dict[str, Tensor] = {}
        self.entered: set[int] = set()
        self.bytes_left = path.stat().st_size

    def walk(self, group: h5py.Group, prefix: str) -> None:
        """Read what lies below a group; each is entered once."""
        import h5py

        address = h5py.h5o.get_info(group.id).addr
        if address in self.entered or len(self.entered) > MAX_TENSORS or len(group) > MAX_TENSORS:
            raise InputError(f"{self.path}: its groups are nested or filled beyond reason. Try: the original file")
        self.entered.add(address)
        for name in group:
            full = prefix + name
            if not _is_hard(group, name):
                raise InputError(
                    f"{self.path}: {full[:80]!a} is a link to elsewhere, which is not followed. "
                    "Try: model.save_weights of Keras, which writes one file"
                )
            item = group[name]
            if isinstance(item, h5py.Group):
                self.walk(item, full + "/")
            elif isinstance(item, h5py.Dataset):
                if len(self.tensors) >= MAX_TENSORS:
                    raise InputError(
                        f"{self.path}: holds more than {MAX_TENSORS:,} arrays. Try: a file with the weights alone"
                    )
                self.tensors[full] = self.tensor(item, f"{self.path}: {full[:80]!a}")

    def tensor(self, dataset: h5py.Dataset, where: str) -> Tensor:
        """The values of an array; messages begin with `where`."""
        import h5py

        layout = dataset.id.get_create_plist().get_layout()
        external = layout == h5py.h5d.CONTIGUOUS and dataset.external
        if layout not in (h5py.h5d.CONTIGUOUS, h5py.h5d.COMPACT) or external:
            raise InputError(
                f"{where} is compressed, in chunks or outside the file, as Keras never writes weights. "
                "Try: h5repack -f NONE -l CONTI FILE.h5 PLAIN.h5"
            )
        if dataset.dtype.kind not in NUMBERS:
            raise InputError(f"{where} holds no numbers ({dataset.dtype}). Try: a file with the weights alone")
        shape = dataset.shape
        needed = 0 if shape is None else math.prod(shape) * dataset.dtype.itemsize
        held = dataset.id.get_storage_size()
        if shape is None or needed != held or held > self.bytes_left:
            raise DamagedError(
                f"{where} claims {needed:,} bytes, more or less than the file has for it. Try: another copy"
            )
        self.bytes_left -= held
        values = np.asarray(dataset[()])
        return torch.from_numpy(np.array(values, values.dtype.newbyteorder("="), order="C"))
