"""Compiling for this machine: kept, refused where others could have put it there, done without where it fails."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from residuum.files import native
from residuum.files.native import NoLibraryError, library

SOURCE = 'extern "C" int seven() { return 7; }\n'


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("RESIDUUM_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "seven.cpp"
    path.write_text(SOURCE)
    library.cache_clear()
    yield path
    library.cache_clear()


@pytest.fixture
def _compiler() -> None:
    if not any(map(shutil.which, native.COMPILERS)):
        pytest.skip("no C++ compiler is here")


@pytest.mark.usefixtures("_compiler")
def test_it_is_compiled_once_and_anew_where_the_source_changed(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = []
    compile_one = native._compile
    monkeypatch.setattr(native, "_compile", lambda *given: (compiled.append(given), compile_one(*given)))
    assert library(source).seven() == 7
    library.cache_clear()
    assert library(source).seven() == 7
    assert len(compiled) == 1
    source.write_text(SOURCE.replace("7", "8"))
    library.cache_clear()
    assert library(source).seven() == 8
    kept = [*(Path(os.environ["RESIDUUM_CACHE"]) / "native").iterdir()]
    assert len(kept) == 2, "nothing half-made is left"


@pytest.mark.usefixtures("_compiler")
def test_a_library_that_others_may_write_is_not_loaded(source: Path) -> None:
    library(source)
    (kept,) = (Path(os.environ["RESIDUUM_CACHE"]) / "native").iterdir()
    kept.chmod(0o777)
    library.cache_clear()
    with pytest.raises(NoLibraryError, match="not this user's alone"):
        library(source)


@pytest.mark.usefixtures("_compiler")
def test_a_directory_that_others_may_write_is_not_used(source: Path) -> None:
    """Whoever may write there may exchange the library after it was looked at."""
    directory = Path(os.environ["RESIDUUM_CACHE"]) / "native"
    directory.mkdir(parents=True)
    directory.chmod(0o777)
    with pytest.raises(NoLibraryError, match="native: is not this user's alone"):
        library(source)
    assert not [*directory.iterdir()]


@pytest.mark.usefixtures("_compiler")
def test_a_compiler_that_says_what_is_no_text(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = tmp_path / "own++"
    compiler.write_text("#!/bin/sh\nprintf '\\377 is wrong' >&2\nexit 1\n")
    compiler.chmod(0o700)
    monkeypatch.setenv("CXX", str(compiler))
    with pytest.raises(NoLibraryError, match="is wrong"):
        library(source)


@pytest.mark.usefixtures("_compiler")
def test_a_user_without_a_home(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(native, "cache_directory", none)
    with pytest.raises(NoLibraryError, match="home directory"):
        library(source)


def test_without_a_compiler(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(NoLibraryError, match="no C\\+\\+ compiler was found"):
        library(source)


@pytest.mark.usefixtures("_compiler")
def test_a_source_that_does_not_compile(source: Path) -> None:
    source.write_text("no C++")
    with pytest.raises(NoLibraryError, match=r"seven\.cpp: (g|clang)\+\+ fails") as caught:
        library(source)
    assert len(str(caught.value).splitlines()) == 1
    assert not [*(Path(os.environ["RESIDUUM_CACHE"]) / "native").iterdir()]


@pytest.mark.usefixtures("_compiler")
def test_a_cache_that_cannot_be_written(source: Path) -> None:
    Path(os.environ["RESIDUUM_CACHE"]).write_text("a file")
    with pytest.raises(NoLibraryError, match=r"seven\.cpp"):
        library(source)


def test_a_training_without_a_library_goes_on_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from residuum.training.observer import Silent
    from residuum.training.start import train

    class Listening(Silent):
        def __init__(self) -> None:
            self.said: list[str] = []

        def message(self, text: str) -> None:
            self.said.append(text)

    def none() -> str:
        raise NoLibraryError("no C++ compiler was found")

    monkeypatch.setattr("residuum.training.machine.version", none)
    heard = Listening()
    run = train("resnet8_narrow", "digits", changes={"steps": 2}, out=tmp_path / "run", observer=heard)
    assert run.result is not None
    assert any("slower: no C++ compiler was found" in line for line in heard.said)
    assert run.environment["fused"] is None
