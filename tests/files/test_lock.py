"""One writer for each directory; a dead one does not count."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fault_steps import Steps, raising
from residuum.errors import InUseError, StorageError
from residuum.files.lock import lock_directory

HOLD = """
import sys
from pathlib import Path
from residuum.files.lock import lock_directory
with lock_directory(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def holder(directory: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.communicate(timeout=30)


def test_a_second_process_is_refused_with_the_first_ones_pid(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        with pytest.raises(InUseError, match=rf"process {process.pid}\b.*Try: ") as caught, lock_directory(tmp_path):
            raise AssertionError("both hold it")
        assert str(caught.value).startswith(f"{tmp_path}: ")
        assert caught.value.exit_code == 2
    with lock_directory(tmp_path):
        pass


@pytest.mark.parametrize("found", [None, ""])
def test_a_holder_that_is_gone_by_now_or_not_yet_written_is_unknown(
    found: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It leaves between two looks at its file, or has only just come."""

    def read(self: Path) -> str:
        if found is None:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(self))
        return found

    with lock_directory(tmp_path):
        monkeypatch.setattr(Path, "read_text", read)
        with pytest.raises(InUseError, match=r"\(process unknown\)"), lock_directory(tmp_path):
            raise AssertionError("both hold it")


def test_the_lock_of_a_killed_process_is_ignored(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        assert process.wait(timeout=30) == -signal.SIGKILL
    entered = False
    with lock_directory(tmp_path):
        entered = True
        with pytest.raises(InUseError, match=rf"process {os.getpid()}\b"), lock_directory(tmp_path):
            raise AssertionError("both hold it")
    assert entered


def test_it_is_free_again_after_an_error_and_other_directories_are_free(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with pytest.raises(KeyError), lock_directory(tmp_path), lock_directory(tmp_path / "other"):
        raise KeyError
    for directory in (tmp_path, tmp_path / "other"):
        with lock_directory(directory):
            pass


def test_a_holder_that_cannot_be_written_is_a_storage_error_and_frees_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        Steps(1, raising(errno.ENOSPC), only="write").install(patch.setattr)
        with pytest.raises(StorageError, match="No space left"), lock_directory(tmp_path):
            raise AssertionError("entered")
    with lock_directory(tmp_path):
        pass


def test_only_lock_files_are_left(tmp_path: Path) -> None:
    with lock_directory(tmp_path):
        pass
    assert all(path.name.startswith(".lock") for path in tmp_path.iterdir())
