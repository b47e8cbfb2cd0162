"""A second look through a folder decodes nothing, and is never wrong for that."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from residuum.data import folder as module
from residuum.data import scan
from residuum.data.folder import folder
from residuum.data.source import Dataset
from residuum.files.atomic import sha256


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two classes of five images, old enough to be remembered, and a cache of its own."""
    monkeypatch.setenv("RESIDUUM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(scan, "SETTLED_NANOSECONDS", -(10**15))
    for number, name in enumerate(("ant", "bee")):
        for index in range(5):
            path = tmp_path / "root" / name / f"{index}.bmp"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (6, 5), (100 * number + index, 0, 0)).save(path)
    return tmp_path / "root"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that looks have decoded."""
    names: list[str] = []
    original = module.decode

    def counting(content: bytes, *, channels: int, name: str, reduction: object) -> object:
        names.append(Path(name).parent.name + "/" + Path(name).name)
        return original(content, channels=channels, name=name)

    monkeypatch.setattr(module, "decode", counting)
    return names


def memory(root: Path) -> Path:
    """The one file that was remembered."""
    (path,) = (root.parent / "cache" / "scans").iterdir()
    return path


def facts(data: Dataset) -> tuple[object, ...]:
    return data.fingerprint, data.skipped, data.remarks, data.train.labels.tolist(), data.train.images.paths  # type: ignore[attr-defined]


def test_a_second_look_decodes_nothing_and_finds_the_same(root: Path, decoded: list[str]) -> None:
    first = folder(root)
    assert len(decoded) == 10
    seen: list[tuple[int, int]] = []
    second = folder(root, on_progress=lambda done, total: seen.append((done, total)))
    assert len(decoded) == 10
    assert facts(first) == facts(second)
    assert first.train.images.digests == second.train.images.digests  # type: ignore[attr-defined]
    assert seen == [(done, 10) for done in range(1, 11)]
    written = memory(root).stat().st_mtime_ns
    folder(root)
    assert memory(root).stat().st_mtime_ns == written  # nothing new, nothing written


def test_it_is_of_one_number_of_channels_and_one_folder(root: Path, decoded: list[str]) -> None:
    folder(root)
    folder(root, channels=1)
    folder(shutil.copytree(root, root.parent / "copy"))
    assert len(decoded) == 30
    folder(root, channels=1)
    assert len(decoded) == 30


def rewritten(path: Path) -> None:
    """Other contents of the same size, with the time of the old ones."""
    before = path.stat()
    Image.new("RGB", (6, 5), "white").save(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size


def truncated(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def touched(path: Path) -> None:
    os.utime(path)


def exchanged(path: Path) -> None:
    other = path.with_name("4.bmp")
    path.rename(path.with_name("x"))
    other.rename(path)
    path.with_name("x").rename(other)


@pytest.mark.parametrize(
    ("change", "again"),
    [(rewritten, {"ant/1.bmp"}), (truncated, {"ant/1.bmp"}), (touched, {"ant/1.bmp"}),
     (exchanged, {"ant/1.bmp", "ant/4.bmp"})],
)  # fmt: skip
def test_a_file_that_is_not_what_it_was_is_looked_at_again(
    change: Callable[[Path], None], again: set[str], root: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder(root)
    decoded.clear()
    change(root / "ant" / "1.bmp")
    found = folder(root)
    assert set(decoded) == again
    assert len(found.skipped) == (change is truncated)
    monkeypatch.setenv("RESIDUUM_CACHE", str(root.parent / "another"))
    assert facts(folder(root)) == facts(found)


def test_a_bad_file_is_looked_at_each_time(root: Path, decoded: list[str]) -> None:
    (root / "ant" / "1.bmp").write_bytes(b"BM, but no more")
    for _ in range(2):
        decoded.clear()
        (skipped,) = folder(root).skipped
        assert skipped.path.endswith("ant/1.bmp")
    assert decoded == ["ant/1.bmp"]


def test_a_file_that_was_just_written_is_not_remembered(
    root: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It could change again within one tick of the file system's clock."""
    monkeypatch.setattr(scan, "SETTLED_NANOSECONDS", 3 * 10**9)
    folder(root)
    folder(root)
    assert len(decoded) == 20
    assert not (root.parent / "cache").exists()


def lying(path: Path) -> bytes:
    """A memory in good form that says of every file what is no digest, or too little."""
    document = json.loads(path.read_bytes().partition(b"\n")[2])
    for number, entry in enumerate(document["files"].values()):
        wrong = ["x", None, "G" * 64, [], 10**400, "f" * 63, {"a": 1}, "", 1.5, True]
        entry[-1:] = [wrong[number]] if number else []
    body = json.dumps(document).encode()
    return sha256(body).encode() + b"\n" + body


def signed(body: bytes) -> bytes:
    return sha256(body).encode() + b"\n" + body


def flipped(content: bytes) -> bytes:
    middle = bytearray(content)
    middle[len(middle) // 2] ^= 1
    return bytes(middle)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: b"",
        lambda path: b"\n",
        lambda path: b"\xff" * 1000,
        lambda path: path.read_bytes()[:-1],
        lambda path: flipped(path.read_bytes()),
        lambda path: signed(b"[" * 100_000),
        lambda path: signed(b"[]"),
        lambda path: signed(b'{"decoder": 1, "files": []}'),
        lambda path: signed(b"9" * 5000),
        lambda path: signed(path.read_bytes().partition(b"\n")[2].replace(b'"files":{', b'"files":["', 1)),
        lambda path: signed(path.read_bytes().partition(b"\n")[2].replace(b"Pillow", b"Cushion", 1)),
        lying,
    ],
)
def test_a_hostile_or_damaged_memory_is_none(spoil: Callable[[Path], bytes], root: Path, decoded: list[str]) -> None:
    first = folder(root)
    path = memory(root)
    sound = path.read_bytes()
    path.write_bytes(spoil(path))
    assert facts(folder(root)) == facts(first)
    assert len(decoded) == 20
    assert path.read_bytes() == sound


def test_a_directory_or_a_link_to_nothing_in_its_place_does_no_harm(root: Path, decoded: list[str]) -> None:
    first = folder(root)
    path = memory(root)
    path.unlink()
    path.mkdir()
    assert facts(folder(root)) == facts(first)
    path.rmdir()
    path.symlink_to(root / "nothing")
    assert facts(folder(root)) == facts(first)
    assert len(decoded) == 30


def test_where_nothing_can_be_written_nothing_is_said(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = folder(root)
    (root.parent / "file").write_text("no directory")
    monkeypatch.setenv("RESIDUUM_CACHE", str(root.parent / "file"))
    assert facts(folder(root)) == facts(first)


def test_only_the_newest_looks_are_kept(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "MOST_SCANS", 2)
    for number in range(4):
        folder(shutil.copytree(root, root.parent / f"copy{number}"))
        assert len([*(root.parent / "cache" / "scans").iterdir()]) == min(number + 1, 2)


def test_a_user_without_a_home_remembers_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> Path:
        raise RuntimeError("Could not determine home directory.")

    expected = folder(root).fingerprint
    monkeypatch.setattr(Path, "home", none)
    for name in ("RESIDUUM_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert folder(root).fingerprint == expected
