"""What a look through a folder found, remembered so that the next one need not read and decode every file again.

One small file for each folder in `$RESIDUUM_CACHE/scans` (see `residuum.files.download.cache_directory`), and beside it
a list of the damaged images of a folder that was refused. Only sound images are remembered. A file is taken as known
while its size, times and inode are what they were; one that was written shortly before the look could change again
without a trace in its times, so it is looked at again. Memory that is damaged, foreign or of another decoder is no
memory. Where nothing can be written, nothing is remembered.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import PIL

from residuum.data.checked import read_checked, write_checked
from residuum.errors import InputError, StorageError
from residuum.files.atomic import TEMPORARY_PREFIX, sha256, write_file
from residuum.files.download import cache_directory

FORMAT = 1
SETTLED_NANOSECONDS = 3 * 10**9  # beyond the coarsest times of usual file systems, two seconds
MOST_SCANS = 32
DIGEST = re.compile(r"[0-9a-f]{64}")
Identity = tuple[int, int, int, int]


def identity(path: Path) -> Identity | None:
    """Size, times of contents and of inode in nanoseconds, and inode; None for a file that cannot be looked at."""
    try:
        stat = path.stat()
    except (OSError, ValueError):
        return None
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino


class ScanMemory:
    """What was found of the files of one folder, decoded to one number of channels."""

    def __init__(self, root: Path, channels: int) -> None:
        self.root = root
        self.decoder = f"{FORMAT}, Pillow {PIL.__version__}, {channels} channels"
        self.began = time.time_ns()
        self.found: dict[str, list[int | str]] = {}
        self.path: Path | None = None
        with suppress(OSError, RuntimeError, InputError):  # no home, or a folder that went away
            name = sha256(f"{root.resolve()}\n{channels}".encode("utf-8", "surrogateescape"))[:32]
            self.path = cache_directory() / "scans" / f"{name}.json"
        self.known = self._read()

    def digest(self, path: Path, now: Identity | None) -> str | None:
        """The sha256 of a file that was found sound and is as it was then; else None."""
        entry = self.known.get(self._name(path))
        if now is None or not isinstance(entry, list) or len(entry) != len(now) + 1 or entry[:-1] != [*now]:
            return None
        digest = entry[-1]
        return digest if isinstance(digest, str) and DIGEST.fullmatch(digest) else None

    def keep(self, path: Path, then: Identity | None, digest: str) -> None:
        """Remember a sound file as it was before it was read."""
        if then is not None and self.began - max(then[1], then[2]) > SETTLED_NANOSECONDS:
            self.found[self._name(path)] = [*then, digest]

    def save(self) -> None:
        """Write what was found of this folder, where that is new and can be written."""
        if self.path is None or not self.found or self.found == self.known:
            return
        with suppress(StorageError):
            write_checked(self.path, {"decoder": self.decoder, "files": self.found})
            _forget_oldest(self.path.parent)

    def write_list(self, lines: Iterable[str]) -> Path | None:
        """Write lines about this folder for a person to read; return where, or None where nothing can be written."""
        if self.path is None:
            return None
        path = self.path.with_suffix(".txt")
        with suppress(StorageError):
            write_file(path, "".join(f"{line}\n" for line in lines))
            _forget_oldest(path.parent)
            return path
        return None

    def _name(self, path: Path) -> str:
        return os.path.relpath(path, self.root)

    def _read(self) -> dict[str, object]:
        document = read_checked(self.path) if self.path is not None else None
        files = document.get("files") if document and document.get("decoder") == self.decoder else None
        return files if isinstance(files, dict) else {}


def _forget_oldest(directory: Path) -> None:
    with suppress(OSError):
        scans = [path for path in directory.iterdir() if not path.name.startswith(TEMPORARY_PREFIX)]
        scans.sort(key=lambda path: path.stat().st_mtime_ns, reverse=True)
        for path in scans[MOST_SCANS:]:
            path.unlink(missing_ok=True)
