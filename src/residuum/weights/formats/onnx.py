"""Initialisers of an ONNX graph: its weights. Weights that lie in other files are refused, not looked for.

The nodes are skipped, and so are constants and graphs inside them.
(numbers of fields and types: onnx/onnx, onnx/onnx.proto)
"""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from residuum.errors import DamagedError, InputError
from residuum.weights.formats import MAX_TENSORS
from residuum.weights.formats.arrays import shaped
from residuum.weights.formats.wire import Wire, integers, sizes

MODEL_GRAPH, GRAPH_INITIALIZER = 7, 5
DIMS, DATA_TYPE, NAME, RAW, EXTERNAL, LOCATION = 1, 2, 8, 9, 13, 14
FLOATS, INT32S, INT64S, DOUBLES, UINT64S = 4, 5, 7, 10, 11
BFLOAT16 = 16
TYPES = {
    1: "<f4", 2: "u1", 3: "i1", 4: "<u2", 5: "<i2", 6: "<i4", 7: "<i8", 9: "?", 10: "<f2", 11: "<f8", 12: "<u4",
    13: "<u8", BFLOAT16: "<u2",
}  # fmt: skip
PLAIN_FIELDS = {FLOATS: "<f4", DOUBLES: "<f8"}
BITS_IN_INTEGERS = {10, BFLOAT16}  # float16 and bfloat16 are given by their 16 bits
MAX_IR_VERSION = 64


def matches(start: bytes) -> bool:
    """Whether a file begins as a ModelProto: the version of its format, then another field."""
    return len(start) > 3 and start[0] == 0x08 and 0 < start[1] < MAX_IR_VERSION and start[2] & 7 in (0, 2)


def read(path: Path) -> dict[str, Tensor]:
    """All initialisers by their names, in their order.

    Raises:
        InputError: damaged, of types that are not read, or with weights in other files.
    """
    try:
        with path.open("rb") as stream:
            content = memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
        return _initialisers(content, path)
    except InputError:
        raise
    except (ValueError, OSError) as error:
        raise DamagedError(f"{path}: is not a weight file, nor a whole ONNX model. Try: another copy") from error


def _initialisers(content: memoryview, path: Path) -> dict[str, Tensor]:
    wire = Wire()
    tensors: dict[str, Tensor] = {}
    for number, _, graph in wire.fields(content):
        if number != MODEL_GRAPH:
            continue
        for field, _, message in wire.fields(graph):
            if field == GRAPH_INITIALIZER:
                name, tensor = _tensor(wire, message, path)
                if name in tensors or len(tensors) >= MAX_TENSORS:
                    raise ValueError(f"{name!r} twice, or too many")
                tensors[name] = tensor
    return tensors


def _tensor(wire: Wire, message: memoryview, path: Path) -> tuple[str, Tensor]:
    shape: list[int] = []
    data_type, name, external = 0, "", False
    values: dict[int, list[memoryview]] = {}
    for number, integer, value in wire.fields(message):
        if number == DIMS:
            shape += sizes(value) if value else [integer]
        elif number == DATA_TYPE:
            data_type = integer
        elif number == NAME:
            name = str(value, "utf-8")
        elif number == EXTERNAL or (number == LOCATION and integer):
            external = True
        elif number in (RAW, FLOATS, DOUBLES, INT32S, INT64S, UINT64S):
            values.setdefault(number, []).append(value)
    if external:
        raise InputError(f"{path}: {name[:60]!a} lies in another file, which is not read. Try: a model in one file")
    if data_type not in TYPES:
        raise InputError(
            f"{path}: {name[:60]!a} is of ONNX type {data_type}, which is not read. Try: a model in float32 or float16"
        )
    tensor = shaped(_array(values, data_type), shape)
    return name, tensor.view(torch.bfloat16) if data_type == BFLOAT16 else tensor


def _array(values: dict[int, list[memoryview]], data_type: int) -> npt.NDArray[np.generic]:
    """The values, one after the other, from the one field that holds them."""
    dtype = np.dtype(TYPES[data_type])
    if len(values) > 1:
        raise ValueError("values in two fields")
    for number, chunks in values.items():
        packed = b"".join(chunks)
        if number == RAW:
            return np.frombuffer(packed, dtype)
        if number in PLAIN_FIELDS:
            return np.frombuffer(packed, PLAIN_FIELDS[number]).astype(dtype)
        numbers = integers(packed)
        return numbers.astype("<u2").view(dtype) if data_type in BITS_IN_INTEGERS else numbers.astype(dtype)
    return np.zeros(0, dtype)
