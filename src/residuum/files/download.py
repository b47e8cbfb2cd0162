"""Downloads that resume, and that are a file only once their digest is right."""

from __future__ import annotations

import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from residuum.errors import DamagedError, InputError
from residuum.files.atomic import sha256_file, storage_error, sync_directory

PIECE_BYTES = 1 << 18
TIMEOUT_SECONDS = 30
OnBytes = Callable[[int, int | None], None]


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
    on_bytes: OnBytes = lambda done, total: None,
) -> Path:
    """Fetch `url` to `target`, going on where an earlier attempt was cut; return `target`.

    Args:
        url: where the file is offered.
        target: where it shall stand; kept if its digest is already right.
        sha256: the digest it must have, in hexadecimal.
        size_bytes: its size, where known; an answer of another size is refused.
        on_bytes: called with bytes so far and in total (None if unknown).

    Raises:
        InputError: the server cannot be reached, refuses, or breaks off.
        DamagedError: what came has another size or digest; no file is left.
        StorageError: the disk is full, read-only or failing.
    """
    part = target.with_name(target.name + ".part")
    with _storage(target):
        if target.exists() and sha256_file(target) == sha256:
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        if part.exists() and sha256_file(part) != sha256 and part.stat().st_size >= (size_bytes or 1 << 62):
            part.unlink()
        complete = part.exists() and sha256_file(part) == sha256
    if not complete:
        _fetch(url, part, size_bytes, on_bytes)
    with _storage(target):
        found = sha256_file(part)
        if found != sha256:
            part.unlink()
            raise DamagedError(f"{url}: sha256 differs (expected {sha256[:12]}, got {found[:12]}); nothing was kept")
        part.replace(target)
        sync_directory(target.parent)
    return target


def _fetch(url: str, part: Path, size_bytes: int | None, on_bytes: OnBytes) -> None:
    """Append to `part` what is missing, or write it anew where the server does not offer ranges."""
    done = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "residuum"} | ({"Range": f"bytes={done}-"} if done else {})
    with _network(url):
        answer = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT_SECONDS)
    with answer:
        if answer.status != 206:
            done = 0
        length = answer.headers.get("Content-Length")
        if size_bytes is not None and length is not None and done + int(length) != size_bytes:
            raise DamagedError(
                f"{url}: offers {done + int(length):,} bytes (expected {size_bytes:,}); nothing was kept. "
                "Try: a network without a login page"
            )
        with _storage(part), part.open("ab" if done else "wb") as stream:
            for piece in _pieces(url, answer):
                stream.write(piece)
                done += len(piece)
                on_bytes(done, size_bytes)
                if size_bytes is not None and done > size_bytes:
                    break
    if size_bytes is not None and done > size_bytes:
        part.unlink()
        raise DamagedError(f"{url}: sends more than the expected {size_bytes:,} bytes; nothing was kept")
    if size_bytes is not None and done < size_bytes:
        raise _broken_off(url, f"ended at {done:,} of {size_bytes:,} bytes")


def _pieces(url: str, answer: http.client.HTTPResponse) -> Iterator[bytes]:
    while True:
        with _network(url):
            try:
                piece = answer.read1(PIECE_BYTES)
            except http.client.IncompleteRead as error:
                raise _broken_off(url, "broke off") from error
        if not piece:
            return
        yield piece


def _broken_off(url: str, how: str) -> InputError:
    return InputError(f"{url}: the connection {how}. Try: the same command again, it goes on from there")


@contextmanager
def _network(url: str) -> Iterator[None]:
    """Failures of the other side, in one line."""
    try:
        yield
    except urllib.error.HTTPError as error:
        with error:
            reason = " ".join(str(error.reason).split())
        raise InputError(f"{url}: cannot be fetched ({error.code} {reason}). Try: --data-dir DIR") from error
    except TimeoutError as error:
        raise InputError(f"{url}: no answer for {TIMEOUT_SECONDS} s. Try: the same command again") from error
    except urllib.error.URLError as error:
        reason = " ".join(str(error.reason).split())
        raise InputError(f"{url}: cannot be fetched ({reason}). Try: a network, or --data-dir DIR") from error
    except (http.client.HTTPException, ConnectionError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise _broken_off(url, f"failed ({reason})") from error


@contextmanager
def _storage(path: Path) -> Iterator[None]:
    """Failures of this side, in one line."""
    try:
        yield
    except OSError as error:
        raise storage_error(path, error) from error
