"""Files and directories are whole or absent: failing calls, a full disk, a read-only disk, damaged manifests."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from fault_steps import Steps, raising
from residuum.errors import DamagedError, InputError, ResiduumError, StorageError
from residuum.files.atomic import (
    MANIFEST,
    TEMPORARY_PREFIX,
    read_directory,
    remove_leftovers,
    sha256,
    sha256_file,
    write_directory,
    write_file,
)

OLD, NEW = b"old content" * 5, b"new content, longer" * 50
FILES = {"a.bin": bytes(range(64)), "b.json": b'{"x": 1}', "empty": b""}


def leftovers(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.rglob(f"{TEMPORARY_PREFIX}*"))


def number_of_steps(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> list[str]:
    steps = Steps(10**9, raising())
    with monkeypatch.context() as patch:
        steps.install(patch.setattr)
        act()
    return steps.log


def test_digests_are_sha256(tmp_path: Path) -> None:
    assert sha256(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_file(tmp_path / "abc") == sha256(b"abc")


def test_write_file_makes_parents_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deep" / "file"
    write_file(path, "한국어")
    assert path.read_bytes() == "한국어".encode()
    write_file(path, NEW)
    assert path.read_bytes() == NEW
    assert [*path.parent.iterdir()] == [path]


def test_an_interrupted_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_file(tmp_path / "file", OLD)

    def interrupted(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_file(tmp_path / "file", NEW)
    assert [*tmp_path.iterdir()] == [tmp_path / "file"]
    assert (tmp_path / "file").read_bytes() == OLD


def test_the_directory_that_one_is_in_is_never_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="already exists"):
        write_directory(Path(), {"a": NEW})


def test_write_file_flushes_content_before_the_rename_and_the_directory_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = number_of_steps(monkeypatch, lambda: write_file(tmp_path / "f", NEW))
    rename = next(index for index, name in enumerate(log) if name in ("replace", "rename"))
    assert log.index("write") < log.index("fsync") < rename
    assert "fsync" in log[rename:]


def test_write_directory_flushes_every_file_and_both_directories(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = number_of_steps(monkeypatch, lambda: write_directory(tmp_path / "d", FILES))
    rename = next(index for index, name in enumerate(log) if name in ("replace", "rename"))
    assert log[:rename].count("fsync") >= len(FILES) + 2, "each file, the manifest, and the directory itself"
    assert "fsync" in log[rename:]


@pytest.mark.parametrize("lasting", [False, True], ids=["one call fails", "all later calls fail"])
def test_write_file_failing_at_any_call_leaves_old_or_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lasting: bool
) -> None:
    total = len(number_of_steps(monkeypatch, lambda: write_file(tmp_path / "dry" / "f", NEW)))
    assert total >= 6
    problems, messages = [], []
    for number in range(1, total + 1):
        path = tmp_path / str(number) / "f"
        path.parent.mkdir()
        path.write_bytes(OLD)
        steps = Steps(number, raising(), lasting=lasting)
        with monkeypatch.context() as patch:
            steps.install(patch.setattr)
            try:
                write_file(path, NEW)
            except StorageError as error:
                messages.append(str(error).replace(str(path), "PATH"))
            except OSError as error:
                problems.append(f"call {number} ({steps.log[number - 1]}): {error!r} came through")
            else:
                assert steps.log[number - 1] == "mkdir", f"{steps.log[number - 1]} failed and nobody was told"
                assert path.read_bytes() == NEW
        assert path.read_bytes() in (OLD, NEW), f"torn at call {number}"
        told = steps.log[number - 1] != "mkdir"  # the directory is there, so that a failing mkdir does no harm
        if told and not {"replace", "rename"} & set(steps.log[: number - 1]):
            assert path.read_bytes() == OLD
        if not lasting:
            assert leftovers(tmp_path) == [], f"left behind after call {number} ({steps.log[number - 1]}) failed"
    assert problems == []
    assert set(messages) == {
        "PATH: cannot be written (Input/output error). Try: a directory on a disk with space that you may write"
    }


@pytest.mark.parametrize("lasting", [False, True], ids=["one call fails", "all later calls fail"])
def test_write_directory_failing_at_any_call_leaves_all_or_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lasting: bool
) -> None:
    total = len(number_of_steps(monkeypatch, lambda: write_directory(tmp_path / "dry" / "d", FILES)))
    problems = []
    for number in range(1, total + 1):
        path = tmp_path / str(number) / "d"
        path.parent.mkdir()
        steps = Steps(number, raising(), lasting=lasting)
        with monkeypatch.context() as patch:
            steps.install(patch.setattr)
            try:
                write_directory(path, FILES)
            except StorageError as error:
                if str(path) not in str(error):
                    problems.append(f"call {number}: {error} does not name the directory")
            except OSError as error:
                problems.append(f"call {number} ({steps.log[number - 1]}): {error!r} came through")
        if path.exists() and read_directory(path) != FILES:
            problems.append(f"call {number}: torn")
        if not lasting and leftovers(tmp_path):
            problems.append(f"call {number} ({steps.log[number - 1]}): {leftovers(tmp_path)} was left behind")
        shutil.rmtree(path.parent)
    assert problems == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT], ids=errno.errorcode.get)
def test_the_reason_is_named_and_the_old_file_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    path = tmp_path / "f"
    path.write_bytes(OLD)
    with monkeypatch.context() as patch:
        Steps(1, raising(number), only="write").install(patch.setattr)
        with pytest.raises(StorageError, match=f"(?i){os.strerror(number)}.*Try: ") as caught:
            write_file(path, NEW)
    assert str(caught.value).startswith(f"{path}: ")
    assert caught.value.exit_code == 1
    assert path.read_bytes() == OLD
    assert [*tmp_path.iterdir()] == [path]


def test_a_read_only_file_system_is_a_storage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There even removing a file that does not exist answers EROFS."""
    for write in (lambda path: write_file(path, NEW), lambda path: write_directory(path, FILES)):
        with monkeypatch.context() as patch:
            Steps(1, raising(errno.EROFS), lasting=True).install(patch.setattr)
            with pytest.raises(StorageError, match="Read-only file system"):
                write(tmp_path / "new")
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_a_parent_that_is_a_file_is_a_storage_error(tmp_path: Path, kind: str) -> None:
    (tmp_path / "file").write_bytes(OLD)
    write = {"file": lambda path: write_file(path, NEW), "directory": lambda path: write_directory(path, FILES)}[kind]
    with pytest.raises(ResiduumError, match=r"file.x"):
        write(tmp_path / "file" / "x")
    assert (tmp_path / "file").read_bytes() == OLD


def test_a_file_is_not_written_over_a_directory(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    with pytest.raises(ResiduumError):
        write_file(tmp_path / "d", NEW)
    assert [each.name for each in tmp_path.iterdir()] == ["d"]


def test_a_directory_is_not_written_over_anything(tmp_path: Path) -> None:
    write_directory(tmp_path / "d", FILES)
    (tmp_path / "f").write_bytes(OLD)
    for name in ("d", "f"):
        with pytest.raises(InputError, match="already exists"):
            write_directory(tmp_path / name, {"other": b"x"})
    assert read_directory(tmp_path / "d") == FILES
    assert (tmp_path / "f").read_bytes() == OLD


LIMITED = """
import resource, sys
from pathlib import Path
from residuum.errors import StorageError
from residuum.files.atomic import write_directory, write_file
root = Path(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
for act in (lambda: write_file(root / "f", b"n" * 5000), lambda: write_directory(root / "d", {"a": b"1", "b": b"2" *
5000})):
    try:
        act()
    except StorageError as error:
        print(error)
"""


def test_a_full_disk_keeps_the_old_file_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(OLD)
    command = [sys.executable, "-W", "error", "-c", LIMITED, str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    assert len(ended.stdout.splitlines()) == 2, ended.stdout
    assert all("File too large" in line for line in ended.stdout.splitlines())
    assert [path.name for path in tmp_path.iterdir()] == ["f"]
    assert (tmp_path / "f").read_bytes() == OLD


FORBIDDEN = """
import os, sys
from pathlib import Path
from residuum.errors import StorageError
from residuum.files.atomic import write_directory, write_file
if os.getuid() == 0:
    os.setuid(65534)
root = Path(sys.argv[1])
for act in (lambda: write_file(root / "f", b"new"), lambda: write_directory(root / "d", {"a": b"1"})):
    try:
        act()
    except StorageError as error:
        print(error)
"""


@pytest.mark.parametrize("mode", [0o555, 0o000])
def test_a_directory_one_may_not_write(mode: int) -> None:
    root = Path(tempfile.mkdtemp())
    try:
        (root / "f").write_bytes(OLD)
        root.chmod(mode)
        ended = subprocess.run(
            [sys.executable, "-c", FORBIDDEN, str(root)], capture_output=True, text=True, timeout=60, cwd="/"
        )
        root.chmod(0o755)
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout.count("Permission denied") == 2
        assert [path.name for path in root.iterdir()] == ["f"]
        assert (root / "f").read_bytes() == OLD
    finally:
        root.chmod(0o755)
        shutil.rmtree(root)


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    write_directory(tmp_path / "d", FILES)
    assert read_directory(tmp_path / "d") == FILES
    entries = json.loads((tmp_path / "d" / MANIFEST).read_text())["files"]
    assert entries["a.bin"] == {"bytes": 64, "sha256": hashlib.sha256(FILES["a.bin"]).hexdigest()}


def test_every_flipped_bit_of_a_directory_is_found(tmp_path: Path) -> None:
    """All bits of all files and of the manifest; only what reads the same may pass."""
    path = tmp_path / "d"
    write_directory(path, FILES)
    tried, unnamed, undetected = 0, 0, []
    for name in (*FILES, MANIFEST):
        whole = (path / name).read_bytes()
        for bit in range(8 * len(whole)):
            changed = bytearray(whole)
            changed[bit // 8] ^= 1 << bit % 8
            (path / name).write_bytes(changed)
            tried += 1
            try:
                read_directory(path)
                undetected.append((name, bit))
            except DamagedError as error:
                unnamed += str(path) not in str(error)
        (path / name).write_bytes(whole)
    assert tried > 2000
    assert undetected == []
    assert unnamed == 0
    assert read_directory(path) == FILES


def test_every_truncation_and_any_longer_file_is_found(tmp_path: Path) -> None:
    path = tmp_path / "d"
    write_directory(path, FILES)
    for name in ("a.bin", "b.json", MANIFEST):
        whole = (path / name).read_bytes()
        for length in range(len(whole)):
            (path / name).write_bytes(whole[:length])
            with pytest.raises(DamagedError):
                read_directory(path)
        (path / name).write_bytes(whole)
    (path / "empty").write_bytes(b"x")
    with pytest.raises(DamagedError, match=r"empty: size differs \(expected 0 bytes, got 1\)"):
        read_directory(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    write_directory(tmp_path / "d", FILES)
    (tmp_path / "d" / "b.json").unlink()
    with pytest.raises(DamagedError, match=r"b\.json"):
        read_directory(tmp_path / "d")
    with pytest.raises(DamagedError, match="never completely written"):
        read_directory(tmp_path)
    with pytest.raises(DamagedError):
        read_directory(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "sub/x", "sub/../a", "..", ".", "", "./a", "../d/a"])
def test_a_manifest_names_nothing_outside_its_directory(tmp_path: Path, name: str) -> None:
    content = b"secret"
    path = tmp_path / "d"
    (path / "sub").mkdir(parents=True)
    for place in (tmp_path / "outside", path / "a", path / "sub" / "x"):
        place.write_bytes(content)
    manifest = {"files": {name: {"bytes": len(content), "sha256": sha256(content)}}}
    (path / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(DamagedError):
        read_directory(path)


@pytest.mark.parametrize(
    "manifest",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe\x00",
        b"{}",
        b'{"files": []}',
        b'{"files": {"a": 1}}',
        b'{"files": {"a": {}}}',
        b'{"files": {"a": {"bytes": "x", "sha256": "y"}}}',
        b'{"files": {"a": {"bytes": null, "sha256": "y"}}}',
        b'{"files": {"a": {"bytes": 1e999, "sha256": "y"}}}',
        b'{"files": {"a\\u0000b": {"bytes": 1, "sha256": "y"}}}',
        b'{"files": {"\\ud800": {"bytes": 1, "sha256": "y"}}}',
        b'{"files": {"' + b"a" * 5000 + b'": {"bytes": 1, "sha256": "y"}}}',
        b"[" * 100_000,
        b'{"files":' * 50_000,
    ],
    ids=lambda manifest: repr(manifest[:60]),
)
def test_a_broken_manifest_is_damaged_and_nothing_else(tmp_path: Path, manifest: bytes) -> None:
    (tmp_path / MANIFEST).write_bytes(manifest)
    (tmp_path / "a").write_bytes(b"x")
    with pytest.raises(DamagedError) as caught:
        read_directory(tmp_path)
    assert len(str(caught.value)) < 6000


def test_leftovers_are_removed_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / f"{TEMPORARY_PREFIX}12-a").write_bytes(b"x")
    (tmp_path / f"{TEMPORARY_PREFIX}12-d" / "deep").mkdir(parents=True)
    (tmp_path / "writing").write_bytes(b"kept")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_bytes(b"kept")
    (tmp_path / f"{TEMPORARY_PREFIX}link").symlink_to(outside)
    remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["outside", "writing"]
    assert (outside / "kept").exists(), "a link is removed, not what it points to"
