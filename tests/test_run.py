"""A Run directory through crashes, full disks and damage: the last good state is always found."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import fault_steps
from residuum.classifier import Classifier
from residuum.errors import DamagedError, InputError, StorageError
from residuum.files.atomic import MANIFEST, TEMPORARY_PREFIX, write_directory
from residuum.files.lock import lock_directory
from residuum.run import KEPT_CHECKPOINTS, Run, dumps, remove_tree
from small_run import CONFIG, classifier, create, files, own_net


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return create(tmp_path / "run")


def steps(run: Run) -> list[int]:
    return [int(path.name.removeprefix("step-")) for path in run.checkpoints()]


def test_what_was_asked_for_is_read_back(run: Run) -> None:
    opened = Run.open(str(run.path))
    assert opened.config == CONFIG
    assert opened.environment == {"cpu": "x"}
    assert opened.result is None
    assert opened.metrics() == []
    assert opened.newest_checkpoint() == (0, files(0), [])
    assert "개" in (run.path / "run.json").read_text()


def test_a_directory_in_use_is_not_taken(tmp_path: Path, run: Run) -> None:
    with pytest.raises(InputError, match=rf"not empty.*residuum resume {run.path}"):
        create(run.path, CONFIG.model_copy(update={"net": "other"}))
    assert run.config == CONFIG
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"x")
    with pytest.raises(InputError, match=r"not empty.*another --out") as caught:
        create(tmp_path / "photos")
    assert "resume" not in str(caught.value)
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["a.jpg"]
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(InputError):
        create(tmp_path / "file")


def test_an_empty_directory_under_its_lock_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "run"
    path.mkdir()
    with lock_directory(path):
        assert create(path).config == CONFIG


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    for path in (tmp_path / "nowhere", tmp_path / "file"):
        with pytest.raises(InputError, match="no such directory"):
            Run.open(path)
    with pytest.raises(InputError, match=r"no run\.json"):
        Run.open(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b"\xff", b"[" * 100_000], ids=lambda c: repr(c[:9]))
def test_a_damaged_record_is_named(run: Run, content: bytes) -> None:
    (run.path / "run.json").write_bytes(content)
    with pytest.raises(DamagedError, match=r"run\.json"):
        _ = run.config
    (run.path / "result.json").write_bytes(content)
    with pytest.raises(DamagedError, match=r"result\.json"):
        _ = run.result
    (run.path / "environment.json").unlink()
    assert "is missing" in run.environment["damaged"], "nothing depends on it, so it stops nothing"


def test_metrics_are_lines_in_order(run: Run) -> None:
    records = [{"step": step, "train_error": step / 10} for step in (10, 20, 30)]
    for record in records:
        run.append_metrics(record)
    assert run.metrics() == records
    run.rewind_metrics(20)
    assert run.metrics() == records[:2]
    run.append_metrics(records[2])
    assert run.metrics() == records
    run.rewind_metrics(0)
    assert run.metrics() == []


@pytest.mark.parametrize("rest", [b"{", b'{"step": 3', b'{"step": 30, "train_error": 0.\n', b"\0\0\0\0", b"\xff\xfe{"])
def test_a_last_line_that_was_cut_is_left_out(run: Run, rest: bytes) -> None:
    for step in (10, 20):
        run.append_metrics({"step": step})
    path = run.path / "metrics.jsonl"
    path.write_bytes(path.read_bytes() + rest)
    assert [record["step"] for record in run.metrics()] == [10, 20]
    assert run.damaged_metrics() == []
    run.rewind_metrics(20)
    run.append_metrics({"step": 30})
    assert [record["step"] for record in run.metrics()] == [10, 20, 30]


@pytest.mark.parametrize("bad", ["{", '{"step": 3', "\0\0", "[]", "", '{"step": "20"}'])
def test_a_damaged_line_costs_its_own_epoch_only(run: Run, bad: str) -> None:
    for step in (10, 20, 30):
        run.append_metrics({"step": step})
    path = run.path / "metrics.jsonl"
    first, _, last = path.read_text().splitlines()
    path.write_text("\n".join([first, bad, last]) + "\n")
    assert [record["step"] for record in run.metrics()] == [10, 30]
    assert run.damaged_metrics() == [2]
    run.rewind_metrics(30)
    assert [record["step"] for record in run.metrics()] == [10, 30]
    assert run.damaged_metrics() == []


@pytest.mark.parametrize("call", ["create", "write", "fsync"])
def test_metrics_on_a_full_disk(run: Run, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    run.append_metrics({"step": 10})
    with monkeypatch.context() as patch:
        fault_steps.Steps(1, fault_steps.raising(errno.ENOSPC), only=call).install(patch.setattr)
        with pytest.raises(StorageError, match=r"metrics\.jsonl.*No space left"):
            run.append_metrics({"step": 20, "text": "x" * 100})
    assert run.metrics()[0] == {"step": 10}


def test_the_newest_checkpoints_are_kept(run: Run) -> None:
    for step in range(1, 6):
        run.save_checkpoint(step, files(step))
        assert run.newest_checkpoint() == (step, files(step), [])
    assert steps(run) == [4, 5]
    assert KEPT_CHECKPOINTS == 2


@pytest.mark.parametrize("damage", ["flip", "cut", "missing", "manifest"])
def test_a_damaged_newest_checkpoint_is_named_and_the_previous_used(run: Run, damage: str) -> None:
    for step in (100, 99_999, 100_000):
        run.save_checkpoint(step, files(step % 251))
    newest = run.path / "checkpoints" / "step-00100000"
    target = newest / (MANIFEST if damage == "manifest" else "state.safetensors")
    if damage == "flip":
        flip(target)
    elif damage == "cut":
        target.write_bytes(target.read_bytes()[:100])
    else:
        target.unlink()
    step, content, problems = run.newest_checkpoint()
    assert step == 99_999
    assert content == files(99_999 % 251)
    assert len(problems) == 1
    assert str(newest) in problems[0]


def test_checkpoints_that_are_all_damaged_are_an_error(run: Run) -> None:
    for step in (1, 2):
        run.save_checkpoint(step, files(step))
        flip(run.path / "checkpoints" / f"step-{step:08d}" / "state.json")
    assert steps(run) == [1, 2]
    with pytest.raises(DamagedError, match=r"step-00000002.*no older checkpoint.*Try: ") as caught:
        run.newest_checkpoint()
    assert "\n" not in str(caught.value)


def test_a_run_without_checkpoints_is_damaged(run: Run) -> None:
    remove_tree(run.path / "checkpoints")
    with pytest.raises(DamagedError, match="no checkpoint"):
        run.newest_checkpoint()


@pytest.mark.parametrize("damaged", [(9,), (8, 9)])
def test_damaged_newer_checkpoints_do_not_push_out_good_ones(run: Run, damaged: tuple[int, ...]) -> None:
    """Training goes on from an older one, and saves at steps before the damaged ones."""
    run.save_checkpoint(2, files(2))
    for step in damaged:
        write_directory(run.path / "checkpoints" / f"step-{step:08d}", files(step))
        flip(run.path / "checkpoints" / f"step-{step:08d}" / "state.json")
    found, _, problems = run.newest_checkpoint()
    assert (found, len(problems)) == (2, len(damaged))
    run.remove_checkpoints_after(found)
    for step in (3, 4, 9):
        run.save_checkpoint(step, files(step))
        assert run.newest_checkpoint() == (step, files(step), [])
    assert steps(run) == [4, 9]


def test_removing_newer_checkpoints_keeps_the_one_in_use(run: Run) -> None:
    for step in (1, 2):
        run.save_checkpoint(step, files(step))
    run.remove_checkpoints_after(2)
    assert steps(run) == [1, 2]
    run.remove_checkpoints_after(1)
    assert run.newest_checkpoint() == (1, files(1), [])


def test_a_checkpoint_is_never_written_over(run: Run) -> None:
    run.save_checkpoint(1, files(1))
    with pytest.raises(InputError, match="already exists"):
        run.save_checkpoint(1, files(9))
    assert run.newest_checkpoint() == (1, files(1), [])


@pytest.mark.parametrize("lasting", [False, True], ids=["one call fails", "all later calls fail"])
def test_a_save_that_fails_at_any_call_keeps_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lasting: bool
) -> None:
    problems = []
    for number in range(1, 100):
        run = create(tmp_path / str(number))
        for step in (1, 2):
            run.save_checkpoint(step, files(step))
        counted = fault_steps.Steps(number, fault_steps.raising(errno.EIO), lasting=lasting)
        with monkeypatch.context() as patch:
            counted.install(patch.setattr)
            try:
                run.save_checkpoint(3, files(3))
            except StorageError:
                pass
            except OSError as error:
                problems.append(f"call {number} ({counted.log[number - 1]}): {error!r} came through")
        assert run.newest_checkpoint()[1] in (files(2), files(3))
        if not counted.failed:
            break
    assert number > 10
    assert problems == []


CRASHES = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from fault_steps import crash_at_every_step
from small_run import classifier, create, files
root = Path(sys.argv[2])
final = classifier()

def begin(number):
    path = root / "begin" / f"{number:03d}"
    path.mkdir(parents=True)
    return lambda: create(path)

def save(number):
    run = create(root / "save" / f"{number:03d}")
    for step in (1, 2):
        run.save_checkpoint(step, files(step))
    return lambda: run.save_checkpoint(3, files(3))

def finish(number):
    run = create(root / "finish" / f"{number:03d}")
    final.save(run.path / "classifier")
    return lambda: run.finish(final, {"steps": 1})

for work in (begin, save, finish):
    crash_at_every_step(work)
"""


def test_a_crash_at_any_call_is_survived(tmp_path: Path) -> None:
    command = [sys.executable, "-c", CRASHES, str(Path(fault_steps.__file__).parent), str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert ended.returncode == 0, ended.stderr

    begun = []
    for path in sorted((tmp_path / "begin").iterdir()):
        begun.append((path / "run.json").exists())
        run = Run.open(path) if begun[-1] else create(path)
        assert run.config == CONFIG
        assert run.environment == {"cpu": "x"}
        assert run.newest_checkpoint() == (0, files(0), [])
    assert len(begun) > 15
    assert begun == sorted(begun)
    assert set(begun) == {False, True}

    found = []
    for path in sorted((tmp_path / "save").iterdir()):
        run = Run.open(path)
        step, content, _ = run.newest_checkpoint()
        assert content == files(step)
        found.append(step)
        run.remove_leftovers()
        assert not [*path.rglob(f"{TEMPORARY_PREFIX}*")]
        run.remove_checkpoints_after(step)
        run.save_checkpoint(4, files(4))
        assert run.newest_checkpoint() == (4, files(4), [])
    assert len(found) > 10
    assert found == sorted(found)
    assert set(found) == {2, 3}, "old or new, never neither"

    finished = []
    for path in sorted((tmp_path / "finish").iterdir()):
        run = Run.open(path)
        finished.append(run.result is not None)
        if finished[-1]:
            Classifier.load(path / "classifier", net=own_net())
        run.finish(classifier(), {"steps": 1})
        assert run.result == {"steps": 1}
    assert len(finished) > 10
    assert finished == sorted(finished)
    assert set(finished) == {False, True}


def test_leftovers_are_removed(run: Run) -> None:
    run.save_checkpoint(1, files(1))
    for directory in (run.path, run.path / "checkpoints"):
        (directory / f"{TEMPORARY_PREFIX}99-x").mkdir()
    run.remove_leftovers()
    assert not [*run.path.rglob(f"{TEMPORARY_PREFIX}*")]
    assert steps(run) == [0, 1]


def test_finishing(run: Run) -> None:
    with pytest.raises(InputError, match=rf"not finished\. Try: residuum resume {run.path}"):
        run.classifier()
    for steps in (1, 2):
        run.finish(classifier(), {"steps": steps})
        assert Run.open(run.path).result == {"steps": steps}
    loaded = Classifier.load(run.path / "classifier", net=own_net())
    x = torch.rand(2, 1, 4, 4)
    assert torch.equal(loaded.logits(x), classifier().logits(x))
    with pytest.raises(InputError, match=r"test\.Own.*net="):
        run.classifier()


def test_a_tree_is_removed_manifest_first(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half removed, it must not look whole."""
    removed: list[str] = []
    original = os.unlink

    def unlink(path: Any, **named: Any) -> None:
        removed.append(Path(path).name)
        original(path, **named)

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", unlink)
        remove_tree(run.path / "checkpoints" / "step-00000000")
    assert removed[0] == MANIFEST
    assert len(removed) == 3
    assert run.checkpoints() == []


def test_a_begun_directory_is_taken_but_nobody_elses(tmp_path: Path) -> None:
    """A training that crashed before it had a run.json left only what it would write anew."""
    path = create(tmp_path / "run").path
    (path / "run.json").unlink()
    assert create(path).newest_checkpoint() == (0, files(0), [])
    (path / "run.json").unlink()
    (path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        create(path)
    assert (path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("change", [{"seed": "x"}, {"class_names": 3}, {"unknown": 1}, {"net": None}], ids=str)
def test_a_config_of_another_shape_is_damaged(run: Run, change: dict[str, Any]) -> None:
    path = run.path / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DamagedError, match=rf"run\.json: {next(iter(change))}"):
        _ = run.config


def test_a_config_from_before_channels_were_kept_is_read(run: Run) -> None:
    path = run.path / "run.json"
    kept = json.loads(path.read_text())
    del kept["channels"]
    path.write_text(json.dumps(kept))
    assert run.config.channels is None


def test_dumps_is_readable() -> None:
    assert dumps({"a": "개", "path": Path("x")}) == '{\n "a": "개",\n "path": "x"\n}\n'
