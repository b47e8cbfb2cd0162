"""A C++ file of the package as a shared library, compiled for this machine and kept in the cache.

A user's machine may have no compiler: then there is no library, and whoever asks does without, at its own pace.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import stat
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path

from residuum.errors import InputError
from residuum.files.download import cache_directory

COMPILERS = ("g++", "clang++")
# Sums may be formed in another order, so that they are vectors; NaN and infinity keep their meaning.
FLAGS = ("-std=c++17", "-O3", "-march=native", "-fopenmp", "-ffp-contract=fast", "-fno-math-errno", "-shared", "-fPIC")
SECONDS = 120  # that a compiler may take


class NoLibraryError(Exception):
    """There is no library, and why, in one line."""


@lru_cache
def library(source: Path) -> ctypes.CDLL:
    """The library of a C++ file, compiled where the cache does not hold it.

    Raises:
        NoLibraryError: no compiler, it fails, or the cache cannot be written.
    """
    if os.name != "posix":
        raise NoLibraryError(f"{source.name}: is compiled on Linux and macOS only")
    compiler = _compiler()
    try:
        directory = cache_directory() / "native"
        text = source.read_bytes()
        path = directory / f"{source.stem}-{_key(text, compiler)}.so"
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        _require_own(directory)
        if path.is_symlink() or path.exists():
            _require_own(path)
        else:
            _compile(source, compiler, path)
        return ctypes.CDLL(str(path))
    except (OSError, RuntimeError, InputError) as error:  # InputError: this user has no home
        raise NoLibraryError(f"{source.name}: {getattr(error, 'strerror', None) or error}") from error


def _compiler() -> str:
    names = (os.environ["CXX"],) if os.environ.get("CXX") else COMPILERS
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        raise NoLibraryError("no C++ compiler was found")
    return found


def _key(text: bytes, compiler: str) -> str:
    """What the library depends on: source, flags, compiler and kind of processor."""
    digest = hashlib.sha256(text)
    info = Path(compiler).resolve().stat()
    for each in (*FLAGS, compiler, str(info.st_size), str(info.st_mtime_ns), platform.machine(), _processor()):
        digest.update(each.encode() + b"\0")
    return digest.hexdigest()[:16]


def _processor() -> str:
    """The instructions this processor has; a home may be shared by machines of several kinds."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())


def _require_own(path: Path) -> None:
    """Refuse a library, or the directory of libraries, that somebody else can have put there."""
    info = path.lstat()
    others = stat.S_IWGRP | stat.S_IWOTH
    known = stat.S_ISREG(info.st_mode) or stat.S_ISDIR(info.st_mode)
    if not known or info.st_uid != os.getuid() or info.st_mode & others:
        raise NoLibraryError(f"{path}: is not this user's alone, so nothing is loaded from it")


def _compile(source: Path, compiler: str, path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        made = Path(scratch) / path.name
        command = [compiler, *FLAGS, "-o", str(made), str(source)]
        try:
            result = subprocess.run(
                command, capture_output=True, text=True, errors="replace", timeout=SECONDS, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise NoLibraryError(f"{source.name}: compiling took more than {SECONDS} s") from error
        if result.returncode:
            lines = result.stderr.strip().splitlines() or [f"exit code {result.returncode}"]
            raise NoLibraryError(f"{source.name}: {Path(compiler).name} fails ({lines[0][:200]})")
        made.chmod(0o700)
        with made.open("rb") as stream:
            os.fsync(stream.fileno())
        made.replace(path)
