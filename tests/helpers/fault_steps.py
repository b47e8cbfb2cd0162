"""Makes one file-system call of the code under test fail, the first, the second and so on (helper of several tests)."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable
from typing import Any, NoReturn

PATCHED = ("fsync", "replace", "rename", "mkdir", "unlink", "rmdir", "open")
CRASHED = 9


class Steps:
    """Counts calls; from number `at` (counted from 1) `fail` is called instead. `lasting`: all later ones fail too."""

    def __init__(
        self, at: int, fail: Callable[[], NoReturn], *, lasting: bool = False, only: str | None = None
    ) -> None:
        self.at, self.fail, self.lasting, self.only = at, fail, lasting, only
        self.log: list[str] = []

    def due(self, name: str) -> bool:
        """Count a call; whether it shall fail."""
        if self.only is not None and name != self.only:
            return False
        self.log.append(name)
        number = len(self.log)
        return number == self.at or (self.lasting and number > self.at)

    @property
    def failed(self) -> bool:
        return len(self.log) >= self.at

    def install(self, set_attribute: Callable[[Any, str, Any], None]) -> None:
        """Replace the functions of `os` and `io` that pathlib and shutil call."""
        for name in PATCHED:
            set_attribute(os, name, self._counted(name, getattr(os, name)))
        set_attribute(io, "open", self._counted_open(io.open))

    def _counted(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            if self.due(name):
                self.fail()
            return function(*arguments, **named)

        return call

    def _counted_open(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(file: Any, mode: str = "r", *arguments: Any, **named: Any) -> Any:
            if not set(mode) & set("wax+"):
                return function(file, mode, *arguments, **named)
            if self.due("create"):
                self.fail()
            return _Stream(function(file, mode, *arguments, **named), self)

        return call


class _Stream:
    """A file being written whose failing write leaves half of the content behind."""

    def __init__(self, stream: Any, steps: Steps) -> None:
        self.stream, self.steps = stream, steps

    def write(self, data: Any) -> int:
        if self.steps.due("write"):
            self.stream.write(data[: len(data) // 2])
            self.stream.flush()
            self.steps.fail()
        return int(self.stream.write(data))

    def __enter__(self) -> _Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def raising(number: int = errno.EIO) -> Callable[[], NoReturn]:
    """Fails as the operating system does."""

    def fail() -> NoReturn:
        raise OSError(number, os.strerror(number))

    return fail


def crash() -> NoReturn:
    """Ends the process at once, as SIGKILL or a power cut does."""
    os._exit(CRASHED)


def crash_at_every_step(work: Callable[[int], Callable[[], None]], *, most: int = 300) -> int:
    """Fork for n = 1, 2, ...; each child does `work(n)()` and crashes at call n, until one gets through.

    `work(n)` prepares a fresh place in the parent. Returns the n of the child that was not stopped.
    """
    for number in range(1, most):
        act = work(number)
        child = os.fork()
        if child == 0:
            try:
                Steps(number, crash).install(setattr)
                act()
                os._exit(0)
            except BaseException as error:
                os.write(2, repr(error).encode())
                os._exit(1)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code == 0:
            return number
        if code != CRASHED:
            raise RuntimeError(f"the child of step {number} ended with {code}")
    raise RuntimeError(f"still not through after {most} steps")
