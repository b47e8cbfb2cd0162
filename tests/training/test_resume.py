"""Resume to the bit: after a crash at every step, kill -9 at random moments, signals, and damage to files."""

from __future__ import annotations

import copy
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from crashing import Crash, CrashAt
from residuum.cli import main
from residuum.data.digits import digits
from residuum.data.open import open_dataset
from residuum.data.source import Dataset
from residuum.errors import DamagedError, InputError, Interrupted, InUseError
from residuum.files.lock import lock_directory
from residuum.nets.resnet import ResNet, Variant
from residuum.run import Run
from residuum.training import start
from residuum.training.checkpoint import read_state
from residuum.training.observer import Silent
from residuum.training.recipe import Execution
from residuum.training.recipes import recipe
from residuum.training.start import resume, train

STEPS = 15
RECIPE = recipe("digits").changed({"steps": STEPS, "batch_size": 200})  # epochs end at steps 3, 9 and 15
EVERY_STEP = Execution(checkpoint_steps=1, checkpoint_seconds=1e9)
KILLS = int(os.environ.get("RESIDUUM_KILLS", "6"))


def fresh_net() -> ResNet:
    torch.manual_seed(0)
    return ResNet(Variant(blocks=(1, 1), widths=(4, 8), stem="cifar", shortcut="pad"), num_classes=10, in_channels=1)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    run = train(fresh_net(), digits(), recipe=RECIPE, out=tmp_path_factory.mktemp("undisturbed") / "run")
    return {"result": run.result, "metrics": [without_time(record) for record in run.metrics()]}


def without_time(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key not in ("seconds", "waiting", "resident_bytes")}


@pytest.mark.parametrize("step", range(1, STEPS + 1))
@pytest.mark.parametrize("every", [1, 4])
def test_a_crash_at_any_step_changes_nothing(
    tmp_path: Path, digits_data: Dataset, undisturbed: dict[str, Any], step: int, every: int
) -> None:
    execution = Execution(checkpoint_steps=every, checkpoint_seconds=1e9)
    with pytest.raises(Crash):
        train(fresh_net(), digits_data, recipe=RECIPE, out=tmp_path / "r", execution=execution, observer=CrashAt(step))
    run = resume(tmp_path / "r", net=fresh_net(), data=digits_data)
    assert run.result["weights_sha256"] == undisturbed["result"]["weights_sha256"]  # type: ignore[index]
    assert [without_time(record) for record in run.metrics()] == undisturbed["metrics"]


def _train_or_resume(path: str) -> None:
    torch.set_num_threads(1)
    out = Path(path)
    execution = Execution(checkpoint_steps=1, threads=1)
    if (out / "run.json").exists():
        resume(out, net=fresh_net(), execution=execution)
    else:
        train(fresh_net(), "digits", recipe=RECIPE.changed({"steps": 40}), out=out, execution=execution)


def test_kill_9_at_random_moments_ends_with_the_same_bits(tmp_path: Path) -> None:
    """Set RESIDUUM_KILLS=200 for the long form."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["residuum.training.start", "sklearn.datasets", "residuum.data.digits"])
    first = context.Process(target=int)  # starts the server, which is no part of what a training needs
    first.start()
    first.join()
    quiet = context.Process(target=_train_or_resume, args=(str(tmp_path / "quiet"),))
    begun = time.monotonic()
    quiet.start()
    quiet.join()
    needed = time.monotonic() - begun
    generator = random.Random(0)
    kills = finished = 0
    while kills < KILLS:
        path = tmp_path / f"killed{finished}"
        while True:
            process = context.Process(target=_train_or_resume, args=(str(path),))
            process.start()
            process.join(timeout=generator.uniform(0.1, 0.8) * needed)
            if process.exitcode is not None:
                assert process.exitcode == 0
                break
            assert process.pid is not None
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            kills += 1
        finished += 1
        expected = Run.open(tmp_path / "quiet").result
        assert Run.open(path).result["weights_sha256"] == expected["weights_sha256"]  # type: ignore[index]


def test_the_command_line_survives_kill_9(tmp_path: Path) -> None:
    def command(*arguments: str) -> list[str]:
        return [sys.executable, "-m", "residuum", *arguments, "--json", "--threads", "1", "--checkpoint-steps", "2"]

    asked = ("train", "resnet20", "--data", "digits", "--max-steps", "60", "--seed", "3")
    whole = subprocess.run(command(*asked, "--out", str(tmp_path / "a")), capture_output=True, check=True)
    process = subprocess.Popen(command(*asked, "--out", str(tmp_path / "b")), stderr=subprocess.DEVNULL)
    while len(Run(tmp_path / "b").checkpoints()) < 2:
        time.sleep(0.02)
    process.kill()
    process.wait()
    again = subprocess.run(command("resume", str(tmp_path / "b")), capture_output=True, check=True)
    assert json.loads(again.stdout)["weights_sha256"] == json.loads(whole.stdout)["weights_sha256"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_finishes_the_step_saves_and_leaves(
    tmp_path: Path, digits_data: Dataset, undisturbed: dict[str, Any], number: signal.Signals, code: int
) -> None:
    class SignalAt(Silent):
        def stepped(self, step: int, loss: float) -> None:
            if step == 8:
                os.kill(os.getpid(), number)

    seldom = Execution(checkpoint_seconds=1e9)
    with pytest.raises(Interrupted, match=r"stopped after step 8 of 15, saved. Try: residuum resume") as caught:
        train(fresh_net(), digits_data, recipe=RECIPE, out=tmp_path / "r", execution=seldom, observer=SignalAt())
    assert caught.value.exit_code == code
    assert signal.getsignal(number) is not None
    run = resume(tmp_path / "r", net=fresh_net(), data=digits_data)
    assert run.result["weights_sha256"] == undisturbed["result"]["weights_sha256"]  # type: ignore[index]
    assert [without_time(record) for record in run.metrics()] == undisturbed["metrics"]


def test_a_signal_during_the_evaluation_of_an_epoch_loses_nothing(
    tmp_path: Path, digits_data: Dataset, undisturbed: dict[str, Any]
) -> None:
    class SignalInEvaluation(Silent):
        def evaluating(self, split: str, done: int, total: int) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted, match="stopped after step 3"):
        train(fresh_net(), digits_data, recipe=RECIPE, out=tmp_path / "r", observer=SignalInEvaluation())
    run = resume(tmp_path / "r", net=fresh_net(), data=digits_data)
    assert run.result["weights_sha256"] == undisturbed["result"]["weights_sha256"]  # type: ignore[index]
    assert [without_time(record) for record in run.metrics()] == undisturbed["metrics"]


def test_an_epoch_whose_evaluation_was_stopped_is_recorded_once_whatever_comes_next(
    tmp_path: Path, digits_data: Dataset, undisturbed: dict[str, Any]
) -> None:
    class SignalInEvaluation(Silent):
        def evaluating(self, split: str, done: int, total: int) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted):
        train(fresh_net(), digits_data, recipe=RECIPE, out=tmp_path / "r", observer=SignalInEvaluation())
    with pytest.raises(Crash):
        resume(tmp_path / "r", net=fresh_net(), data=digits_data, observer=CrashAt(4))
    run = resume(tmp_path / "r", net=fresh_net(), data=digits_data)
    assert [without_time(record) for record in run.metrics()] == undisturbed["metrics"]


def crashed(tmp_path: Path, digits_data: Dataset, step: int = 10) -> Run:
    with pytest.raises(Crash):
        train(fresh_net(), digits_data, recipe=RECIPE, out=tmp_path / "r", execution=EVERY_STEP, observer=CrashAt(step))
    return Run.open(tmp_path / "r")


def test_a_damaged_newest_checkpoint_is_named_and_the_one_before_used(
    tmp_path: Path, digits_data: Dataset, undisturbed: dict[str, Any]
) -> None:
    run = crashed(tmp_path, digits_data)
    state = run.checkpoints()[-1] / "state.safetensors"
    content = bytearray(state.read_bytes())
    content[len(content) // 2] ^= 1
    state.write_bytes(content)
    told: list[str] = []

    class Listener(Silent):
        def message(self, text: str) -> None:
            told.append(text)

    resumed = resume(run.path, net=fresh_net(), data=digits_data, observer=Listener())
    assert any("state.safetensors" in text and "sha256 differs" in text for text in told)
    assert resumed.result["weights_sha256"] == undisturbed["result"]["weights_sha256"]  # type: ignore[index]


def test_no_checkpoint_that_verifies_is_an_error_that_says_so(tmp_path: Path, digits_data: Dataset) -> None:
    run = crashed(tmp_path, digits_data)
    for checkpoint in run.checkpoints():
        (checkpoint / "state.json").write_text("{}")
    with pytest.raises(DamagedError, match=r"state.json: size differs .* no older checkpoint is left"):
        resume(run.path, net=fresh_net(), data=digits_data)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b"null", b"{}", b'{"progress": 3}', b"[" * 100_000])
def test_a_state_of_another_shape_is_damaged(content: bytes) -> None:
    with pytest.raises(DamagedError, match=r"checkpoint: does not fit this training \(.*\)\. Try: "):
        read_state({"state.json": content})
    with pytest.raises(DamagedError, match=r"does not fit this training \('state\.json'\)"):
        read_state({})


def test_what_a_state_says_of_its_circumstances() -> None:
    def saved(**circumstances: object) -> Any:
        state = {"progress": {"step": 3}, "circumstances": circumstances}
        return read_state({"state.json": json.dumps(state).encode()})

    assert (saved(fused=None, threads=2).plain, saved(fused="x").plain, saved().plain) == (True, False, False)
    assert [saved(threads=value).threads for value in (2, 0, None, "2")] == [2, None, None, None]
    assert saved().threads is None
    assert saved(threads=2, torch="1").differences({"threads": 1, "torch": "1"}) == ["threads 2 != 1"]
    assert read_state({"state.json": b'{"progress": {"step": 3}}'}).progress.step == 3


def test_a_damaged_line_of_the_metrics_is_told_and_the_others_stay(
    tmp_path: Path, digits_data: Dataset, undisturbed: dict[str, Any]
) -> None:
    run = crashed(tmp_path, digits_data)
    path = run.path / "metrics.jsonl"
    path.write_text("?" + path.read_text())
    told: list[str] = []

    class Listener(Silent):
        def message(self, text: str) -> None:
            told.append(text)

    resumed = resume(run.path, net=fresh_net(), data=digits_data, observer=Listener())
    assert "metrics.jsonl: line 1 is damaged, its epoch is left out of the curves" in told
    assert [without_time(record) for record in resumed.metrics()] == undisturbed["metrics"][1:]


@pytest.mark.parametrize("left", [0, 2])
def test_a_result_without_the_line_of_the_last_epoch_is_refused_and_can_be_mended(
    tmp_path: Path, digits_data: Dataset, undisturbed: dict[str, Any], monkeypatch: pytest.MonkeyPatch, left: int
) -> None:
    def crash(*_: object, **__: object) -> None:
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(start, "write_run_report", crash)
        with pytest.raises(Crash):
            train(fresh_net(), digits_data, recipe=RECIPE, out=tmp_path / "r", execution=EVERY_STEP)
    run, path = Run.open(tmp_path / "r"), tmp_path / "r" / "metrics.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:left]))
    newest = run.checkpoints()[-1]
    with pytest.raises(DamagedError, match=rf"line of step 15, the last one, is missing .* Try: delete {newest}, "):
        resume(run.path, net=fresh_net(), data=digits_data)
    assert run.result is None
    shutil.rmtree(newest)
    mended = resume(run.path, net=fresh_net(), data=digits_data)
    assert mended.result["train"] == undisturbed["result"]["train"]  # type: ignore[index]
    *before, last = undisturbed["metrics"]
    assert [without_time(each) for each in mended.metrics()] == [*before[:left], last]


def test_a_folder_that_was_opened_in_grey_is_opened_so_again(tmp_path: Path, image_folder: Path) -> None:
    changes = {"steps": 3, "batch_size": 4, "image_size": 16}
    grey = open_dataset(image_folder, channels=1)
    with pytest.raises(Crash):
        train("resnet8_narrow", grey, changes=changes, out=tmp_path / "r", execution=EVERY_STEP, observer=CrashAt(2))
    run = resume(tmp_path / "r")
    assert run.config.channels == 1
    assert run.classifier().preprocessing.channels == 1


def test_several_processes_of_torchrun_are_refused(
    tmp_path: Path, digits_data: Dataset, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = crashed(tmp_path, digits_data)
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(InputError, match="WORLD_SIZE: training on several GPUs in one run is not supported"):
        resume(run.path, net=fresh_net(), data=digits_data)
    assert main(["train", "resnet8_narrow", "--data", "digits", "--out", str(tmp_path / "other")]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.endswith("(expected 1 process, got 4). Try: residuum train without torchrun, several seeds at once "
                         "with --seeds 4 --side-by-side 4")  # fmt: skip
    assert not (tmp_path / "other").exists()
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert resume(run.path, net=fresh_net(), data=digits_data).result is not None


def test_other_threads_are_said_to_change_the_bits(tmp_path: Path, digits_data: Dataset) -> None:
    run = crashed(tmp_path, digits_data)
    threads = torch.get_num_threads()
    told: list[str] = []

    class Listener(Silent):
        def message(self, text: str) -> None:
            told.append(text)

    other = Execution(threads=threads + 1)
    try:
        resume(run.path, net=fresh_net(), data=digits_data, execution=other, observer=Listener())
    finally:
        torch.set_num_threads(threads)
    assert any(f"threads {threads} != {threads + 1}" in text for text in told)


def test_changed_data_are_refused(tmp_path: Path, digits_data: Dataset) -> None:
    run = crashed(tmp_path, digits_data)
    other = copy.copy(digits_data)
    object.__setattr__(other, "fingerprint", "0" * 64)
    with pytest.raises(InputError, match="changed since this training began"):
        resume(run.path, net=fresh_net(), data=other)
    object.__setattr__(other, "class_names", (*digits_data.class_names[:-1], "ten"))
    with pytest.raises(InputError, match=r"gone: \['9'\]; new: \['ten'\]"):
        resume(run.path, net=fresh_net(), data=other)


def test_a_second_trainer_is_refused(tmp_path: Path, digits_data: Dataset) -> None:
    run = crashed(tmp_path, digits_data)
    with lock_directory(run.path), pytest.raises(InUseError, match=str(os.getpid())):
        resume(run.path, net=fresh_net(), data=digits_data)


def test_a_directory_in_use_is_refused_and_left_alone(tmp_path: Path, digits_data: Dataset) -> None:
    run = crashed(tmp_path, digits_data)
    before = sorted(path.name for path in run.path.rglob("*"))
    with pytest.raises(InputError, match=f"Try: residuum resume {run.path}"):
        train(fresh_net(), digits_data, recipe=RECIPE, out=run.path)
    assert sorted(path.name for path in run.path.rglob("*")) == before


def test_a_finished_run_is_returned_as_it_is(tmp_path: Path, digits_data: Dataset) -> None:
    run = train(fresh_net(), digits_data, recipe=RECIPE, out=tmp_path / "r")
    assert resume(run.path).result == run.result


def test_only_the_newest_checkpoints_are_kept(tmp_path: Path, digits_data: Dataset) -> None:
    run = crashed(tmp_path, digits_data, step=9)
    assert [path.name for path in run.checkpoints()] == ["step-00000007", "step-00000008"]
