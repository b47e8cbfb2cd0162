"""Published weights on this computer: fetched once, checked before use, found again without a network.

A file lies in `$RESIDUUM_CACHE/weights` (see `residuum.files.download.cache_directory`), beside it `NAME.json` with its
whole sha256, its size and the time it was written, by which a change is seen without reading it again; `verify` reads
it. `RESIDUUM_MIRROR` is a folder or the beginning of an address where files lie by the same names, asked in place of
the publisher; `RESIDUUM_OFFLINE=1` asks nobody.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from filelock import FileLock
from pydantic import BaseModel, ConfigDict, ValidationError

from residuum.errors import DamagedError, InputError
from residuum.files.atomic import sha256_file, storage_error, write_file
from residuum.files.download import Digest, OnBytes, cache_directory, download, keep
from residuum.weights.entries import PretrainedWeights

MIRROR, OFFLINE = "RESIDUUM_MIRROR", "RESIDUUM_OFFLINE"
SLACK = 1.25  # how much larger than published a file may be; sizes are rounded, .h5 and .pth hold more than values
SLACK_BYTES = 1 << 20


class _Record(BaseModel):
    """What is known of a file in the cache since it was checked."""

    model_config = ConfigDict(extra="ignore")
    source: str
    sha256: str
    size_bytes: int
    written_ns: int

    def is_of(self, path: Path) -> bool:
        """Whether the file is as it was, by its size and time."""
        stat = path.stat()
        return (stat.st_size, stat.st_mtime_ns) == (self.size_bytes, self.written_ns)


def where(entry: PretrainedWeights) -> Path:
    """Where the file of an entry lies, or would lie."""
    return cache_directory() / "weights" / entry.file_name


def is_cached(entry: PretrainedWeights) -> bool:
    """Whether an entry can be used without a network: it is ours, or its file lies in the cache."""
    if entry.is_ours:
        return True
    return bool(entry.url) and _known(entry) is not None


def fetch(entry: PretrainedWeights, *, offline: bool = False, on_bytes: OnBytes = lambda done, total: None) -> Path:
    """The file of an entry, from the cache or else from the publisher or the mirror; two processes fetch it once.

    Args:
        entry: what to fetch.
        offline: ask nobody; as `RESIDUUM_OFFLINE=1`.
        on_bytes: called with bytes so far and in total (None if unknown).

    Raises:
        InputError: no program can fetch it; it is not in the cache and nobody may be asked; the server fails.
        DamagedError: what came is not the published file; nothing is kept.
        StorageError: the cache cannot be written.
    """
    if not entry.url:
        raise by_hand(entry)
    path = where(entry)
    if _known(entry) is not None:
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(path.name + ".lock")):
            if _known(entry) is None:
                _obtain(entry, path, offline or is_offline(), on_bytes)
    except OSError as error:
        raise storage_error(path, error) from error
    return path


def verify(entry: PretrainedWeights) -> str:
    """Read the file of an entry in the cache to its end; return its sha256.

    Raises:
        InputError: it is not there.
        DamagedError: it is not the published file, or not what it was when it was fetched.
    """
    path = where(entry)
    if not entry.url:
        raise by_hand(entry)
    if not path.is_file():
        raise InputError(f"{path}: is not in the cache. Try: residuum weights fetch {entry.reference}")
    try:
        found, fits = sha256_file(path), digest_of(entry).fits(path)
    except OSError as error:
        raise storage_error(path, error) from error
    record = _record(path)
    if not fits or (record is not None and record.source == entry.url and record.sha256 != found):
        raise DamagedError(f"{path}: is not the file of {entry.reference} any more. Try: remove it, and fetch it again")
    if _known(entry) is None:
        _remember(entry, path, found)
    return found


def by_hand(entry: PretrainedWeights) -> InputError:
    """The error for a file that only a person can get."""
    return InputError(f"{entry.reference}: cannot be fetched by a program. Try: {entry.how_to_get}")


def digest_of(entry: PretrainedWeights) -> Digest:
    """What the publisher says the file hashes to."""
    return Digest(value=entry.md5, algorithm="md5") if entry.md5 else Digest(value=entry.sha256)


def sha256_of(entry: PretrainedWeights) -> str:
    """The sha256 of the file of an entry that is in the cache, as it was when it was checked."""
    known = _known(entry)
    return known.sha256 if known is not None else sha256_file(where(entry))


def is_offline() -> bool:
    """Whether `RESIDUUM_OFFLINE` forbids to ask the network."""
    return os.environ.get(OFFLINE, "").lower() not in ("", "0", "false", "no")


def _obtain(entry: PretrainedWeights, path: Path, offline: bool, on_bytes: OnBytes) -> None:
    """Put the file of an entry at `path`, and what is known of it beside it."""
    digest = digest_of(entry)
    mirror = os.environ.get(MIRROR, "")
    if path.is_file() and digest.fits(path):
        pass
    elif mirror and "://" not in mirror:
        _copy(Path(mirror) / entry.file_name, path, digest)
    elif offline:
        raise InputError(
            f"{path}: is not here, and {OFFLINE} forbids to fetch it. "
            f"Try: residuum weights fetch {entry.reference} where there is a network, or {MIRROR}=FOLDER"
        )
    else:
        download(
            f"{mirror.rstrip('/')}/{entry.file_name}" if mirror else entry.url,
            path,
            sha256=digest,
            most_bytes=int(entry.mib * SLACK * 2**20) + SLACK_BYTES,
            on_bytes=on_bytes,
            remedy=f"the file by hand as {path}, or {MIRROR}",
        )
    _remember(entry, path, sha256_file(path))


def _copy(source: Path, path: Path, digest: Digest) -> None:
    if not source.is_file():
        raise InputError(f"{source}: is not in the mirror. Try: another {MIRROR}")
    part = path.with_name(path.name + ".part")
    shutil.copyfile(source, part)
    keep(part, path, digest, str(source))


def _remember(entry: PretrainedWeights, path: Path, sha256: str) -> None:
    stat = path.stat()
    record = _Record(source=entry.url, sha256=sha256, size_bytes=stat.st_size, written_ns=stat.st_mtime_ns)
    write_file(_beside(path), json.dumps(record.model_dump(), indent=1))


def _beside(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def _record(path: Path) -> _Record | None:
    try:
        return _Record.model_validate_json(_beside(path).read_bytes())
    except (OSError, ValidationError):
        return None


def _known(entry: PretrainedWeights) -> _Record | None:
    """What is known of the file of an entry, if it is as it was when it was checked, and checked as this entry's."""
    path = where(entry)
    record = _record(path)
    try:
        return record if record is not None and record.source == entry.url and record.is_of(path) else None
    except OSError:
        return None
