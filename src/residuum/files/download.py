"""Downloads that resume, and that are a file only once their digest is right."""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from filelock import FileLock

from residuum.errors import DamagedError, InputError
from residuum.files.atomic import storage_error, sync_directory

PIECE_BYTES = 1 << 18
TIMEOUT_SECONDS = 30
NOTHING_AFTER_THAT = 416
SHOWN_DIGITS = 12
OnBytes = Callable[[int, int | None], None]


def cache_directory() -> Path:
    """Where downloads are kept: `$RESIDUUM_CACHE`, else `$XDG_CACHE_HOME/residuum`, else `~/.cache/residuum`.

    Raises:
        InputError: none of these is set, and this user has no home.
    """
    if own := os.environ.get("RESIDUUM_CACHE"):
        return Path(own)
    if caches := os.environ.get("XDG_CACHE_HOME"):
        return Path(caches) / "residuum"
    try:
        return Path.home() / ".cache" / "residuum"
    except RuntimeError as error:
        raise InputError("RESIDUUM_CACHE: there is no home directory. Try: RESIDUUM_CACHE=DIR") from error


@dataclass(frozen=True, kw_only=True)
class Digest:
    """What a file must hash to.

    Attributes:
        value: hexadecimal; the whole digest or, where only these are published, its first digits.
        algorithm: how it is computed; md5 finds damage, but not a file that somebody made to fit.
    """

    value: str
    algorithm: Literal["sha256", "md5"] = "sha256"

    def of(self, path: Path) -> str:
        """The digest of a file, read in pieces."""
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, self.algorithm).hexdigest()

    def fits(self, path: Path) -> bool:
        """Whether a file has it."""
        return self.of(path).startswith(self.value)


def download(
    url: str,
    target: Path,
    *,
    sha256: str | Digest,
    size_bytes: int | None = None,
    most_bytes: int | None = None,
    on_bytes: OnBytes = lambda done, total: None,
    remedy: str = "--data-dir DIR",
) -> Path:
    """Fetch `url` to `target`, going on where an earlier attempt was cut; return `target`.

    Where two processes want the same file, one fetches it and the other waits for it.

    Args:
        url: where the file is offered.
        target: where it shall stand; kept if its digest is already right.
        sha256: the digest it must have, in hexadecimal, or another one.
        size_bytes: its size, where known; an answer of another size is refused.
        most_bytes: what it cannot exceed, where its size is not known exactly.
        on_bytes: called with bytes so far and in total (None if unknown).
        remedy: what to try where there is no network.

    Raises:
        InputError: the server cannot be reached, refuses, or breaks off.
        DamagedError: what came has another size or digest; no file is left.
        StorageError: the disk is full, read-only or failing.
    """
    digest = sha256 if isinstance(sha256, Digest) else Digest(value=sha256)
    part = target.with_name(target.name + ".part")
    with _storage(target):
        if target.exists() and digest.fits(target):
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
    with _one_at_a_time(part):
        _obtain(url, target, part, digest, _Expected(size_bytes, most_bytes or size_bytes), on_bytes, remedy)
    return target


def keep(part: Path, target: Path, digest: Digest, source: str) -> None:
    """Move `part` to `target` if it has its digest, and remove it if not.

    Raises:
        DamagedError: it has another; the message begins with `source`.
    """
    found = digest.of(part)
    if not found.startswith(digest.value):
        part.unlink()
        expected = digest.value[:SHOWN_DIGITS]
        differs = f"{digest.algorithm} differs (expected {expected}, got {found[: len(expected)]})"
        raise DamagedError(f"{source}: {differs}; nothing was kept. Try: the same command again")
    part.replace(target)
    sync_directory(target.parent)


@contextmanager
def _one_at_a_time(part: Path) -> Iterator[None]:
    """Hold `part` for this download; another one waits, and goes on with what it finds."""
    lock = FileLock(part.with_name(part.name + ".lock"))
    with _storage(part):
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _obtain(
    url: str, target: Path, part: Path, digest: Digest, expected: _Expected, on_bytes: OnBytes, remedy: str
) -> None:
    """Put the file at `target`, unless another process has done so by now."""
    with _storage(target):
        if target.exists() and digest.fits(target):
            return
        complete = part.exists() and digest.fits(part)
        most = expected.size_bytes or expected.most_bytes or 1 << 62
        if part.exists() and not complete and part.stat().st_size >= most:
            part.unlink()
    if not complete:
        _fetch(url, part, expected, on_bytes, remedy)
    with _storage(target):
        keep(part, target, digest, url)


@dataclass(frozen=True)
class _Expected:
    """What is known of a file's size before it comes."""

    size_bytes: int | None
    most_bytes: int | None

    def require_offer(self, url: str, offered: int) -> None:
        """Refuse an answer that announces another size."""
        if self.size_bytes is not None and offered != self.size_bytes:
            wanted = f"{self.size_bytes:,}"
        elif self.most_bytes is not None and offered > self.most_bytes:
            wanted = f"at most {self.most_bytes:,}"
        else:
            return
        raise DamagedError(
            f"{url}: offers {offered:,} bytes (expected {wanted}); nothing was kept. "
            "Try: a network without a login page"
        )


def _fetch(url: str, part: Path, expected: _Expected, on_bytes: OnBytes, remedy: str) -> None:
    """Append to `part` what is missing, or write it anew where the server does not offer ranges."""
    done = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "residuum"} | ({"Range": f"bytes={done}-"} if done else {})
    with _network(url, remedy):
        try:
            answer = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT_SECONDS)
        except urllib.error.HTTPError as error:
            if error.code == NOTHING_AFTER_THAT:  # what is there is as long as the file, but is not the file
                with _storage(part):
                    part.unlink(missing_ok=True)
            raise
    with answer:
        if answer.status != 206:
            done = 0
        elif not _goes_on_at(answer, done):
            part.unlink(missing_ok=True)
            raise _broken_off(url, "gave another part of the file than was asked for")
        length = answer.headers.get("Content-Length")
        total = done + int(length) if length is not None and length.isdecimal() else None
        if total is not None:
            expected.require_offer(url, total)
        whole = expected.size_bytes if expected.size_bytes is not None else total
        with _storage(part), part.open("ab" if done else "wb") as stream:
            for piece in _pieces(url, answer, remedy):
                stream.write(piece)
                done += len(piece)
                on_bytes(done, whole)
                if expected.most_bytes is not None and done > expected.most_bytes:
                    break
    if expected.most_bytes is not None and done > expected.most_bytes:
        part.unlink()
        raise DamagedError(
            f"{url}: sends more than the expected {expected.most_bytes:,} bytes; nothing was kept. "
            "Try: the same command again"
        )
    if whole is not None and done < whole:
        raise _broken_off(url, f"ended at {done:,} of {whole:,} bytes")


def _goes_on_at(answer: http.client.HTTPResponse, start: int) -> bool:
    """Whether a part of a file begins where it was asked to."""
    found = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range") or "")
    return found is not None and int(found[1]) == start


def _pieces(url: str, answer: http.client.HTTPResponse, remedy: str) -> Iterator[bytes]:
    while True:
        with _network(url, remedy):
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
def _network(url: str, remedy: str) -> Iterator[None]:
    """Failures of the other side, in one line."""
    try:
        yield
    except urllib.error.HTTPError as error:
        with error:
            reason = " ".join(str(error.reason).split())
        raise InputError(f"{url}: cannot be fetched ({error.code} {reason}). Try: {remedy}") from error
    except TimeoutError as error:
        raise InputError(f"{url}: no answer for {TIMEOUT_SECONDS} s. Try: the same command again") from error
    except urllib.error.URLError as error:
        reason = " ".join(str(error.reason).split())
        raise InputError(f"{url}: cannot be fetched ({reason}). Try: a network, or {remedy}") from error
    except (http.client.HTTPException, OSError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise _broken_off(url, f"failed ({reason})") from error


@contextmanager
def _storage(path: Path) -> Iterator[None]:
    """Failures of this side, in one line."""
    try:
        yield
    except OSError as error:
        raise storage_error(path, error) from error
