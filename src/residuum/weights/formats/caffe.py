"""Caffe's `.caffemodel`: a NetParameter whose layers carry blobs of values.

Tensors are named `LAYER/0`, `LAYER/1` and so on: weight and bias of a convolution; mean, variance and their common
scale of BatchNorm; factor and offset of Scale. The file has no signature: it is known by what can be read from it.
(numbers of fields: BVLC/caffe, src/caffe/proto/caffe.proto)
"""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np
from torch import Tensor

from residuum.errors import DamagedError
from residuum.weights.formats import MAX_TENSORS
from residuum.weights.formats.arrays import shaped
from residuum.weights.formats.wire import Wire, sizes

NET_LAYER, NET_LAYER_V1 = 100, 2
NAME_AND_BLOBS = {NET_LAYER: (1, 7), NET_LAYER_V1: (4, 6)}
MAX_BLOBS = 32  # of a layer; BatchNorm has three
BLOB_LEGACY_SHAPE, BLOB_DATA, BLOB_SHAPE, BLOB_DOUBLES = (1, 2, 3, 4), 5, 7, 8


def matches(start: bytes) -> bool:
    """Whether a file may begin with a NetParameter: its name, or a layer of either kind."""
    named = start[:1] == b"\x0a" and start[2 : 2 + min(start[1], 60)].isascii() if len(start) > 2 else False
    return named or start[:1] == b"\x12" or start[:2] == b"\xa2\x06"


def read(path: Path) -> dict[str, Tensor]:
    """All blobs, float32 or float64, in the order of the layers; of four dimensions in files of before 2015.

    Raises:
        DamagedError: not a whole NetParameter.
    """
    try:
        with path.open("rb") as stream:
            content = memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
        return _blobs(content)
    except (ValueError, OSError) as error:
        raise DamagedError(f"{path}: is not a weight file, nor a whole .caffemodel. Try: another copy") from error


def _blobs(content: memoryview) -> dict[str, Tensor]:
    wire = Wire()
    tensors: dict[str, Tensor] = {}
    for number, _, layer in wire.fields(content):
        if number not in NAME_AND_BLOBS:
            continue
        name_field, blobs_field = NAME_AND_BLOBS[number]
        name, blobs = "", []
        for field, _, value in wire.fields(layer):
            if field == name_field:
                name = str(value, "utf-8")
            elif field == blobs_field:
                blobs.append(value)
            if len(blobs) > MAX_BLOBS:
                raise ValueError(f"more than {MAX_BLOBS} blobs in a layer")
        for index, value in enumerate(blobs):
            if f"{name}/{index}" in tensors or len(tensors) >= MAX_TENSORS:
                raise ValueError(f"layer {name!r} twice, or too many")
            tensors[f"{name}/{index}"] = _tensor(wire, value)
    return tensors


def _tensor(wire: Wire, blob: memoryview) -> Tensor:
    legacy: dict[int, int] = {}
    shape: list[int] | None = None
    floats, doubles = [], []
    for number, integer, value in wire.fields(blob):
        if number in BLOB_LEGACY_SHAPE:
            legacy[number] = integer
        elif number == BLOB_SHAPE:
            shape = [size for field, _, dims in wire.fields(value) if field == 1 for size in sizes(dims)]
        elif number == BLOB_DATA:
            floats.append(value)
        elif number == BLOB_DOUBLES:
            doubles.append(value)
    if shape is None:
        if not legacy:
            raise ValueError("a blob without a shape")
        shape = [legacy.get(number, 0) for number in BLOB_LEGACY_SHAPE]
    values = np.frombuffer(b"".join(doubles), "<f8") if doubles else np.frombuffer(b"".join(floats), "<f4")
    return shaped(values, shape)
