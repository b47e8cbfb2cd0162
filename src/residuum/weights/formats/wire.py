"""Messages of protobuf taken apart, without a schema and without a copy: what Caffe and ONNX write.

A message is a row of fields: a number, one of four kinds, a value. The usual runtime builds an object for each message
before anyone can count them, some hundred bytes for two in the file; here a budget of fields comes first.
(protobuf.dev/programming-guides/encoding)
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

MAX_FIELDS = 100_000  # a ResNet-1202 takes some 50,000
MAX_INTEGER_BYTES = 1 << 20  # of one packed field; to take it apart needs fifty times as much
MAX_SIZE_BYTES = 100  # of a packed shape: ten dimensions at the least
VARINT, EIGHT_BYTES, LENGTH, FOUR_BYTES = 0, 1, 2, 5


class Wire:
    """The fields of messages; those of one file share a budget."""

    def __init__(self) -> None:
        self.left = MAX_FIELDS

    def fields(self, message: memoryview) -> Iterator[tuple[int, int, memoryview]]:
        """Number, integer value (0 unless the field is one) and bytes (empty where it is one) of each field.

        Raises:
            ValueError: not a message, or the budget is spent.
        """
        place = 0
        while place < len(message):
            self.left -= 1
            if self.left < 0:
                raise ValueError(f"more than {MAX_FIELDS:,} fields")
            tag, place = _varint(message, place)
            number, kind = tag >> 3, tag & 7
            if kind == VARINT:
                value, place = _varint(message, place)
                yield number, value, message[:0]
                continue
            if kind == LENGTH:
                length, place = _varint(message, place)
            else:
                length = {EIGHT_BYTES: 8, FOUR_BYTES: 4}.get(kind, -1)
            if number == 0 or length < 0 or place + length > len(message):
                raise ValueError("not a field")
            yield number, 0, message[place : place + length]
            place += length


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    if place < len(message) and message[place] < 0x80:
        return message[place], place + 1
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(message):
            break
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (1 << 64) - 1, place
    raise ValueError("not a number")


def sizes(packed: memoryview) -> list[int]:
    """A packed shape.

    Raises:
        ValueError: as `integers`, or it is no shape of an array.
    """
    if len(packed) > MAX_SIZE_BYTES:
        raise ValueError("too many dimensions")
    found: list[int] = integers(packed).tolist()
    return found


def integers(packed: bytes | memoryview) -> npt.NDArray[np.int64]:
    """The numbers of a packed field of int32, int64 or uint64; those of 64 bits wrap to negative ones.

    Raises:
        ValueError: the last number is not whole, one is longer than ten bytes, or the field is too long.
    """
    if len(packed) > MAX_INTEGER_BYTES:
        raise ValueError(f"{len(packed):,} bytes of integers")
    content = np.frombuffer(packed, np.uint8)
    ends = np.flatnonzero(content < 0x80)
    if content.size == 0:
        return np.zeros(0, np.int64)
    if ends.size == 0 or ends[-1] != content.size - 1:
        raise ValueError("not whole numbers")
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > 10:
        raise ValueError("a number of more than ten bytes")
    places = np.arange(content.size) - np.repeat(starts, lengths)
    parts = (content & 0x7F).astype(np.uint64) << (7 * places).astype(np.uint64)
    return np.add.reduceat(parts, starts).view(np.int64)
