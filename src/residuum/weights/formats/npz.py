"""Arrays of numpy, `.npz`: a zip file of `.npy` entries, each a short header and the values.

Object arrays are pickles and are refused. (format: numpy/lib/format.py)
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
from torch import Tensor

from residuum.errors import DamagedError, InputError
from residuum.weights.formats.archive import directory
from residuum.weights.formats.arrays import shaped

MAX_RATIO = 20  # of all values to the file; trained weights hardly compress at all
SPARE_BYTES = 1 << 20
NUMBERS = "biufc"


def matches(start: bytes) -> bool:
    """Whether a file begins as a zip file whose first entry is an array."""
    length = int.from_bytes(start[26:28], "little")
    return start[:4] == b"PK\3\4" and start[30 : 30 + length].endswith(b".npy")


def read(path: Path) -> dict[str, Tensor]:
    """All arrays by their names, without `.npy`.

    Raises:
        InputError: damaged, or it would unfold beyond reason, or it holds objects.
    """
    entries = directory(path)
    for entry in entries:
        if not entry.filename.endswith(".npy"):
            raise InputError(f"{path}: holds {entry.filename[:60]!a} among its arrays. Try: numpy.savez of the arrays")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise InputError(f"{path}: has entries of an unknown compression. Try: numpy.savez")
    claimed, size_bytes = sum(entry.file_size for entry in entries), path.stat().st_size
    if claimed > MAX_RATIO * size_bytes + SPARE_BYTES:
        raise InputError(f"{path}: {size_bytes:,} bytes would unfold to {claimed:,}. Try: numpy.savez")
    try:
        with zipfile.ZipFile(path) as archive:
            return {entry.filename.removesuffix(".npy"): _tensor(archive.read(entry)) for entry in entries}
    except Exception as error:  # a damaged entry can make its reader raise anything
        raise DamagedError(f"{path}: is not a whole .npz file of numbers. Try: another copy") from error


def _tensor(content: bytes) -> Tensor:
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = header(stream)
    if dtype.kind not in NUMBERS or dtype.shape:
        raise ValueError(f"values of type {dtype}")
    return shaped(np.frombuffer(content, dtype, offset=stream.tell()), shape, "F" if fortran else "C")
