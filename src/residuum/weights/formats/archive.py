"""The directory of a zip file, checked before any entry is opened.

Readers of zip files differ in what they make of an odd one, so that a check by one says nothing about what another
reads. Only the plain form passes, which `torch.save` and numpy write and in which all agree: the directory directly
before its end record, no comment, no name twice, no entry inside another.
(APPNOTE.TXT 6.3.10, sections 4.3.12 to 4.3.16)
"""

from __future__ import annotations

import itertools
import struct
import zipfile
from pathlib import Path

from residuum.errors import DamagedError, InputError

MAX_DIRECTORY_BYTES = 2 << 20  # a ResNet-1202 takes a third of it
END = struct.Struct("<4s4H2LH")
END_64 = struct.Struct("<4sQ2H2L4Q")
LOCATOR_64 = struct.Struct("<4sLQL")
LOCAL_HEADER_BYTES = 30
ENCRYPTED = 1


def directory(path: Path) -> list[zipfile.ZipInfo]:
    """The entries of a zip file, in the order of its directory.

    Raises:
        InputError: damaged, encrypted, or not of the plain form.
    """
    count = _claimed_count(path)
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except Exception as error:  # a damaged directory of a zip file can make its reader raise anything
        raise DamagedError(f"{path}: is not a whole zip file. Try: another copy") from error
    names = {entry.orig_filename.lower() for entry in entries}
    if len(entries) != count or len(names) != count or any("\0" in name for name in names):
        raise DamagedError(f"{path}: its zip directory contradicts itself. Try: another copy")
    _refuse_overlap(path, entries)
    if any(entry.flag_bits & ENCRYPTED for entry in entries):
        raise InputError(f"{path}: is encrypted. Try: the same file without a password")
    return entries


def _claimed_count(path: Path) -> int:
    """How many entries the end record claims, once the size and place of the directory are known to be sane."""
    size_bytes = path.stat().st_size
    with path.open("rb") as stream:
        stream.seek(max(0, size_bytes - END_64.size - LOCATOR_64.size - END.size))
        tail = stream.read()
    damaged = DamagedError(f"{path}: is not a whole zip file of the plain kind. Try: another copy")
    if len(tail) < END.size:
        raise damaged
    signature, _, _, _, count, length, start, comment = END.unpack(tail[-END.size :])
    if signature != b"PK\5\6" or comment:
        raise damaged
    end = size_bytes - END.size
    locator = tail[-END.size - LOCATOR_64.size : -END.size]
    if locator[:4] == b"PK\6\7" and len(tail) == END_64.size + LOCATOR_64.size + END.size:
        end -= END_64.size + LOCATOR_64.size
        signature, _, _, _, _, _, _, count, length, start = END_64.unpack(tail[: END_64.size])
        if signature != b"PK\6\6" or LOCATOR_64.unpack(locator)[2] != end:
            raise damaged
    if start + length != end:
        raise damaged
    if length > MAX_DIRECTORY_BYTES:
        raise InputError(
            f"{path}: its zip directory has {length:,} bytes (expected at most {MAX_DIRECTORY_BYTES:,}). "
            "Try: a file with the weights alone"
        )
    return int(count)


def _refuse_overlap(path: Path, entries: list[zipfile.ZipInfo]) -> None:
    placed = sorted(entries, key=lambda entry: entry.header_offset)
    for entry, following in itertools.pairwise(placed):
        end = entry.header_offset + LOCAL_HEADER_BYTES + len(entry.orig_filename) + entry.compress_size
        if end > following.header_offset:
            raise DamagedError(
                f"{path}: its entries {entry.filename!r} and {following.filename!r} overlap. Try: another copy"
            )
    size_bytes = path.stat().st_size
    if placed and placed[-1].header_offset + placed[-1].compress_size > size_bytes:
        raise DamagedError(f"{path}: its entry {placed[-1].filename!r} reaches beyond the file. Try: another copy")
