"""Files and directories that are either whole or absent, whatever happens while they are written.

A directory is written beside its place, every file flushed to the disk, then a `manifest.json` with the size and
sha256 of each file, then renamed into place, then the parent directory flushed. A crash between any two of these steps
leaves the old state or the new one. Only a directory whose manifest verifies counts as written.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from residuum.errors import DamagedError, InputError, StorageError

MANIFEST = "manifest.json"
TEMPORARY_PREFIX = ".writing-"


def sha256(content: bytes) -> str:
    """The sha256 of `content` in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def sha256_file(path: Path) -> str:
    """The sha256 of a file, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_file(path: Path, content: bytes | str) -> None:
    """Replace the file at `path` with `content`, or leave it as it was.

    Raises:
        StorageError: the disk is full, read-only or failing; nothing is left behind.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary = _beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_through(temporary, data)
        temporary.replace(path)
        sync_directory(path.parent)
    except BaseException as error:  # a signal as well: nobody else would remove it
        _remove_quietly(temporary)
        if isinstance(error, OSError):
            raise storage_error(path, error) from error
        raise


def write_directory(path: Path, files: Mapping[str, bytes]) -> None:
    """Write a directory of `files` with a manifest, whole or not at all.

    Args:
        path: where it shall stand.
        files: content by file name.

    Raises:
        InputError: something stands at `path` already.
        StorageError: the disk is full, read-only or failing; nothing is left behind.
    """
    temporary = _beside(path)
    try:
        if path.exists():
            raise InputError(f"{path}: already exists. Try: another directory")
        _remove_quietly(temporary)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        for name, content in files.items():
            _write_through(temporary / name, content)
        entries = {name: {"bytes": len(content), "sha256": sha256(content)} for name, content in files.items()}
        _write_through(temporary / MANIFEST, json.dumps({"files": entries}, indent=1).encode())
        sync_directory(temporary)
        temporary.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        raise storage_error(path, error) from error
    finally:
        _remove_quietly(temporary)


def read_directory(path: Path) -> dict[str, bytes]:
    """The files of a directory written by `write_directory`, each checked against the manifest.

    The bytes returned are the bytes that were checked, so nothing can change between check and use.

    Raises:
        DamagedError: a file is missing, of another size, or its digest differs.
    """
    manifest_path = path / MANIFEST
    try:
        entries = json.loads(manifest_path.read_bytes())["files"]
        expected = {str(name): (int(entry["bytes"]), str(entry["sha256"])) for name, entry in entries.items()}
    except FileNotFoundError as error:
        raise DamagedError(
            f"{path}: has no {MANIFEST}, so it was never completely written. Try: another copy"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise DamagedError(f"{manifest_path}: cannot be read as a manifest ({error}). Try: another copy") from error
    contents = {}
    for name, (size, digest) in expected.items():
        if Path(name).name != name:
            raise DamagedError(f"{manifest_path}: names {name!r}, which lies outside its directory. Try: another copy")
        try:
            content = (path / name).read_bytes()
        except (OSError, ValueError) as error:
            raise DamagedError(
                f"{path}: {name[:80]!r} cannot be read ({str(error)[:200]}). Try: another copy"
            ) from error
        if len(content) != size:
            raise DamagedError(
                f"{path / name}: size differs (expected {size} bytes, got {len(content)}). Try: another copy"
            )
        if sha256(content) != digest:
            found = sha256(content)
            raise DamagedError(
                f"{path / name}: sha256 differs (expected {digest[:12]}, got {found[:12]}). Try: another copy"
            )
        contents[name] = content
    return contents


def remove_leftovers(directory: Path) -> None:
    """Delete what interrupted writes left in `directory`. The caller holds its lock."""
    for path in directory.glob(f"{TEMPORARY_PREFIX}*"):
        _remove_quietly(path)


def storage_error(path: Path, error: OSError) -> StorageError:
    """The one-line form of a failed write."""
    reason = error.strerror or error
    return StorageError(
        f"{path}: cannot be written ({reason}). Try: a directory on a disk with space that you may write"
    )


def sync_directory(path: Path) -> None:
    """Flush the directory itself, so that a rename in it survives a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _beside(path: Path) -> Path:
    """Where what shall stand at `path`, which may be `.`, is written at first."""
    whole = path.absolute()
    return whole.with_name(f"{TEMPORARY_PREFIX}{os.getpid()}-{whole.name}")


def _write_through(path: Path, data: bytes) -> None:
    with path.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def _remove_quietly(path: Path) -> None:
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
