"""Downloads that resume, and that are a file only once their digest is right."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from residuum.errors import DamagedError, InputError
from residuum.files.atomic import sha256_file, storage_error, sync_directory

PIECE_BYTES = 1 << 18
TIMEOUT_SECONDS = 30


def cache_directory() -> Path:
    """Where downloads are kept: `$RESIDUUM_CACHE`, else `$XDG_CACHE_HOME/residuum`, else `~/.cache/residuum`."""
    if own := os.environ.get("RESIDUUM_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "residuum"


def download(
    url: str,
    target: Path,
    *,
    sha256: str,
    size_bytes: int | None = None,
    on_bytes: Callable[[int, int | None], None] = lambda done, total: None,
) -> Path:
    """Fetch `url` to `target`, going on where an earlier attempt was cut; return `target`.

    Args:
        url: where the file is offered.
        target: where it shall stand; kept if its digest is already right.
        sha256: the digest it must have, in hexadecimal.
        size_bytes: its size, where known; a longer answer is cut off and refused.
        on_bytes: called with bytes so far and in total (None if unknown).

    Raises:
        InputError: the server cannot be reached or refuses.
        DamagedError: what came has another size or digest; no file is left.
        StorageError: the disk is full, read-only or failing.
    """
    if target.exists() and sha256_file(target) == sha256:
        return target
    part = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _fetch(url, part, size_bytes, on_bytes)
        if size_bytes is not None and part.stat().st_size < size_bytes:
            raise InputError(
                f"{url}: the connection ended at {part.stat().st_size:,} of {size_bytes:,} bytes. "
                "Try: the same command again, it goes on from there"
            )
        found = sha256_file(part)
        if found != sha256:
            part.unlink()
            raise DamagedError(f"{url}: sha256 differs (expected {sha256[:12]}, got {found[:12]}); nothing was kept")
        part.replace(target)
        sync_directory(target.parent)
    except urllib.error.URLError as error:
        raise InputError(f"{url}: cannot be fetched ({error.reason}). Try: a network, or --data-dir DIR") from error
    except TimeoutError as error:
        raise InputError(f"{url}: no answer for {TIMEOUT_SECONDS} s. Try: the same command again") from error
    except OSError as error:
        raise storage_error(target, error) from error
    return target


def _fetch(url: str, part: Path, size_bytes: int | None, on_bytes: Callable[[int, int | None], None]) -> None:
    done = part.stat().st_size if part.exists() else 0
    if size_bytes is not None and done >= size_bytes:
        if done == size_bytes:
            return
        done = 0
    headers = {"User-Agent": "residuum"} | ({"Range": f"bytes={done}-"} if done else {})
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT_SECONDS) as answer:
        if answer.status != 206:
            done = 0
        with part.open("ab" if done else "wb") as stream:
            while piece := answer.read(PIECE_BYTES):
                stream.write(piece)
                done += len(piece)
                on_bytes(done, size_bytes)
                if size_bytes is not None and done > size_bytes:
                    break
    if size_bytes is not None and done > size_bytes:
        part.unlink()
        raise DamagedError(f"{url}: sends more than the expected {size_bytes:,} bytes; nothing was kept")
