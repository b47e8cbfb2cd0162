"""From the word after --data to a data set: which road each word takes, and where files are looked for."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from residuum.data import open as module
from residuum.data.digits import digits
from residuum.data.open import open_dataset
from residuum.data.source import NAMES
from residuum.errors import InputError


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("RESIDUUM_DATA_DIR", raising=False)
    monkeypatch.setenv("RESIDUUM_CACHE", str(tmp_path / "cache"))


def write_mnist(directory: Path, count: int = 2) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    for prefix in ("train", "t10k"):
        images = bytes([0, 0, 8, 3]) + struct.pack(">3i", count, 28, 28) + bytes(count * 784)
        labels = bytes([0, 0, 8, 1]) + struct.pack(">i", count) + bytes(range(count))
        (directory / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
        (directory / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))
    return directory


class Called(Exception):
    """Carries the arguments of a reader that was called."""


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> None:
    def catch(kind: str) -> Any:
        def reader(*arguments: Any) -> None:
            raise Called(kind, *arguments[:2])

        return reader

    monkeypatch.setattr(module, "cifar", catch("cifar"))
    monkeypatch.setattr(module, "mnist", catch("mnist"))


def test_digits_need_no_files() -> None:
    assert open_dataset("digits").fingerprint == digits().fingerprint


@pytest.mark.usefixtures("called")
@pytest.mark.parametrize(
    ("name", "kind"),
    [("cifar10", "cifar"), ("cifar100", "cifar"), ("mnist", "mnist"), ("fashion-mnist", "mnist")],
)
def test_every_known_name_takes_its_reader_with_the_directory_that_is_given(
    name: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Called) as caught:
        open_dataset(name)
    assert caught.value.args == (kind, name, None)
    monkeypatch.setenv("RESIDUUM_DATA_DIR", str(tmp_path))
    (tmp_path / name).mkdir()
    with pytest.raises(Called) as caught:
        open_dataset(name)
    assert caught.value.args == (kind, name, tmp_path / name)
    with pytest.raises(Called) as caught:
        open_dataset(name, data_dir=tmp_path / "own")
    assert caught.value.args == (kind, name, tmp_path / "own")


@pytest.mark.usefixtures("called")
def test_an_environment_without_this_set_means_downloading_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`$RESIDUUM_DATA_DIR/<name>` where that exists; else the official archive is downloaded."""
    (tmp_path / "cifar10").mkdir()
    monkeypatch.setenv("RESIDUUM_DATA_DIR", str(tmp_path))
    with pytest.raises(Called) as caught:
        open_dataset("mnist")
    assert caught.value.args == ("mnist", "mnist", None)


@pytest.mark.usefixtures("called")
def test_an_empty_environment_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESIDUUM_DATA_DIR", "")
    with pytest.raises(Called) as caught:
        open_dataset("mnist")
    assert caught.value.args == ("mnist", "mnist", None)


def test_a_set_is_read_from_the_directory_and_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_mnist(tmp_path / "here", 2)
    write_mnist(tmp_path / "base" / "mnist", 3)
    monkeypatch.setenv("RESIDUUM_DATA_DIR", str(tmp_path / "base"))
    assert len(open_dataset("mnist", data_dir=tmp_path / "here").train) == 2
    assert len(open_dataset("mnist").train) == 3


@pytest.mark.parametrize("as_path", [True, False])
def test_anything_else_is_an_image_folder_with_channels_and_progress(as_path: bool, image_folder: Path) -> None:
    seen: list[tuple[int, int]] = []
    data = open_dataset(
        image_folder if as_path else str(image_folder),
        channels=1,
        on_progress=lambda done, total: seen.append((done, total)),
    )
    assert data.class_names == ("blue", "red")
    assert data.channels == 1
    assert np.bincount(data.train.labels).tolist() == [6, 6]
    assert data.val is not None
    assert np.bincount(data.val.labels).tolist() == [3, 3]
    assert seen[-1] == (18, 18)


def test_a_folder_in_the_working_directory_needs_no_slash(image_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(image_folder.parent)
    assert len(open_dataset(image_folder.name).train) == 12


@pytest.mark.parametrize("typed", ["./mnist", "mnist/", Path("mnist"), "../mnist"])
def test_a_folder_that_is_called_like_a_set_stays_a_folder(
    typed: str | Path, image_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a Run keeps of it must open the folder again, from anywhere."""
    here = image_folder.rename(image_folder.with_name("mnist"))
    beside = image_folder.with_name("beside")
    beside.mkdir()
    monkeypatch.chdir(beside if typed == "../mnist" else image_folder.parent)
    data = open_dataset(typed)
    assert data.name == data.reference == str(here)
    monkeypatch.chdir("/")
    assert open_dataset(data.reference).fingerprint == data.fingerprint


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("cifar-10", "cifar10"), ("digit", "digits"), ("minst", "mnist"), ("fashion_mnist", "fashion-mnist")],
)
def test_a_misspelt_name_is_answered_with_the_nearest(typed: str, meant: str) -> None:
    with pytest.raises(InputError, match=rf"^data: there is no set and no folder '{typed}'\. Try: {meant}$"):
        open_dataset(typed)


def test_a_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"^{tmp_path}/flowers: no such folder"):
        open_dataset(tmp_path / "flowers")


def test_the_known_names_are_those_of_the_documentation() -> None:
    assert NAMES == ("digits", "cifar10", "cifar100", "mnist", "fashion-mnist")
