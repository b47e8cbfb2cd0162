"""Protobuf, by hand: a message is a row of fields, and these two functions write one."""

from __future__ import annotations


def varint(value: int) -> bytes:
    """An integer in groups of seven bits, the lowest first; a negative one as its two's complement of 64 bits."""
    value &= (1 << 64) - 1
    content = b""
    while value >= 0x80:
        content, value = content + bytes([value & 0x7F | 0x80]), value >> 7
    return content + bytes([value])


def field(number: int, value: bytes | int) -> bytes:
    """A field: an integer, or bytes with their length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value
