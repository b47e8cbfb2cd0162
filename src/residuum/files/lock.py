"""One writer per directory, by a lock that dies with its process.

`filelock` does the locking (an advisory lock of the operating system: no stale lock can stay behind); beside it
the writer's process id is kept, so that the second one can be told who the first is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from residuum.errors import InUseError
from residuum.files.atomic import storage_error


@contextmanager
def lock_directory(directory: Path) -> Iterator[None]:
    """Hold `directory` for this process.

    Raises:
        InUseError: another living process holds it; the message names its process id.
        StorageError: the directory cannot be written.
    """
    lock = FileLock(directory / ".lock")
    holder = directory / ".lock-holder"
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise InUseError(
            f"{directory}: another process is writing it (process {_who(holder)}). Try: wait for it, or another --out"
        ) from error
    except OSError as error:
        raise storage_error(directory, error) from error
    try:
        try:
            holder.write_text(str(os.getpid()))
        except OSError as error:
            raise storage_error(directory, error) from error
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _who(holder: Path) -> str:
    """The process id that a holder wrote; it may not have done so yet, or be gone by now."""
    try:
        return holder.read_text().strip() or "unknown"
    except OSError:
        return "unknown"
