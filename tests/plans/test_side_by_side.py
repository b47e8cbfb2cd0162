"""Trainings in processes of their own: the same bits, signals, death of a process, death of the one who asked."""

from __future__ import annotations

import io
import json
import os
import queue
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from residuum.data.digits import digits
from residuum.data.source import Dataset
from residuum.errors import InputError, Interrupted, TrainingError
from residuum.plans import at_once
from residuum.plans import side_by_side as module
from residuum.plans.at_once import divided, how_many
from residuum.plans.child import Job, Told
from residuum.plans.plan import Plan, PlannedRun, SilentPlan
from residuum.plans.seeds import resume_seeds, train_seeds
from residuum.plans.seeds_record import Seeds
from residuum.plans.side_by_side import execute_side_by_side
from residuum.records.environment import source_digest
from residuum.run import Run
from residuum.training.observer import Silent
from residuum.training.recipe import Execution
from residuum.training.recipes import recipe

RECIPE = recipe("digits").changed({"steps": 30, "batch_size": 100})
ONE = Execution(threads=1)
TWO = Execution(threads=2)


class Lane(Silent):
    """Told of one training; does something when it has begun to step."""

    def __init__(self, name: str, on_step: Any) -> None:
        self.name, self.on_step = name, on_step

    def stepped(self, step: int, loss: float) -> None:
        self.on_step(self.name)


class Lanes(SilentPlan):
    """Told of all of them; `on_step` is called once with the name of the one that steps first."""

    def __init__(self, on_step: Any = lambda name: None) -> None:
        self.on_step, self.acted = on_step, False
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.stopped: list[str] = []
        self.messages: list[str] = []

    def beside(self, name: str, work: float) -> Silent:
        self.begun.append(name)
        return Lane(name, self._once)

    def beside_ended(self, name: str) -> None:
        self.ended.append(name)

    def beside_stopped(self, name: str) -> None:
        self.stopped.append(name)

    def message(self, text: str) -> None:
        self.messages.append(text)

    def _once(self, name: str) -> None:
        if not self.acted:
            self.acted = True
            self.on_step(name)


def train(out: Path, **given: Any) -> Seeds:
    return train_seeds("resnet8_narrow", "digits", seeds=2, recipe=RECIPE, out=out, **given)


def weights(seeds: Seeds) -> list[str]:
    return [row["weights_sha256"] for row in seeds.to_json()["runs"]]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The weights of one training after another with one thread."""
    return weights(train(tmp_path_factory.mktemp("alone") / "plan", execution=ONE))


def test_a_killed_process_is_a_failed_seed_and_goes_on_later(tmp_path: Path, alone: list[str]) -> None:
    out = tmp_path / "p"
    killed: list[str] = []

    def kill(name: str) -> None:
        os.kill(int((out / name / ".lock-holder").read_text()), signal.SIGKILL)
        killed.append(name)

    lanes = Lanes(kill)
    seeds = train(out, execution=TWO, side_by_side=2, observer=lanes)
    [dead] = (int(name.removeprefix("seed")) for name in killed)
    assert list(seeds.runs) == [1 - dead]
    assert "its process was killed by signal 9" in seeds.failures[dead]
    assert lanes.messages == [f"seed{dead}: {seeds.failures[dead]}"]
    row = seeds.to_json()["runs"][1 - dead]
    assert row["weights_sha256"] == alone[1 - dead]
    assert Run(out / f"seed{1 - dead}").environment["command"] == Run(out / f"seed{dead}").environment["command"]
    assert weights(resume_seeds(out, execution=ONE)) == alone


def a_job(path: Path, dataset: Dataset, **changes: Any) -> Job:
    values = {
        "planned": PlannedRun("resnet8_narrow", RECIPE, 0, label="seed0"),
        "path": str(path),
        "data": "digits",
        "data_dir": None,
        "channels": 1,
        "images": len(dataset.train),
        "fingerprint": dataset.fingerprint,
        "source_sha256": source_digest(),
        "execution": ONE,
        "command": ("residuum", "train"),
    }
    return Job(**(values | changes))


def test_a_process_killed_in_the_middle_of_a_line_has_left(
    tmp_path: Path, digits_data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its exit code is heard all the same: otherwise the plan would wait for it for ever."""
    cut = 'import os; os.write(1, b\'["message", "whole"]\\n["epoch_ended", {"st\'); os.kill(os.getpid(), 9)'
    monkeypatch.setattr(module, "PROGRAM", cut)
    inbox: queue.Queue[tuple[str, object]] = queue.Queue()
    process = module._Process(a_job(tmp_path / "r", digits_data), Silent(), inbox)
    assert inbox.get(timeout=20) == ("seed0", ["message", "whole"])
    assert inbox.get(timeout=20) == ("seed0", -9)
    process.close()


def test_a_process_saves_and_leaves_when_the_one_who_asked_is_dead(tmp_path: Path, digits_data: Dataset) -> None:
    long = PlannedRun("resnet8_narrow", RECIPE.changed({"steps": 100_000}), 0, label="seed0")
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", module.PROGRAM, str(Path(module.residuum.__file__).parents[1])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(a_job(tmp_path / "r", digits_data, planned=long).to_json() + "\n")
    process.stdin.flush()
    for line in process.stdout:
        if json.loads(line)[0] == "stepped":
            break
    process.stdin.close()  # as the end of its parent does
    assert process.wait(timeout=60) == 143
    process.stdout.close()
    assert Run.open(tmp_path / "r").newest_checkpoint()[0] > 0


def test_a_job_is_what_it_was_and_its_data_too(tmp_path: Path, digits_data: Dataset) -> None:
    job = a_job(tmp_path / "r", digits_data, execution=Execution(threads=2, workers=1, checkpoint_steps=3))
    assert Job.from_json(job.to_json()).planned == job.planned
    assert Job.from_json(job.to_json()).execution == job.execution
    assert job.dataset().fingerprint == digits_data.fingerprint
    with pytest.raises(InputError, match="digits: changed while it was trained on"):
        a_job(tmp_path / "r", digits_data, fingerprint="0").dataset()


def test_steps_are_told_seldom_epochs_always(tmp_path: Path) -> None:
    with (tmp_path / "told").open("w") as stream:
        told = Told(stream)
        for step in range(1, 100):
            told.stepped(step, 0.5)
        told.epoch_ended({"step": 99})
    lines = [json.loads(line) for line in (tmp_path / "told").read_text().splitlines()]
    assert lines[0] == ["stepped", 1, 0.5]
    assert len(lines) < 10
    assert lines[-1] == ["epoch_ended", {"step": 99}]


def test_nobody_who_reads_is_no_fault() -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    Told(Closed()).message("nobody reads")


# ----- the crew, with processes that are quickly made up

SAYS = "import json, signal, sys, time; job = json.loads(sys.stdin.readline()); seed = job['planned']['seed']\n"


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> Any:
    return lambda code: monkeypatch.setattr(module, "PROGRAM", SAYS + code)


def crew(out: Path, seeds: int, *, at_once: int = 2, observer: Lanes | None = None) -> Any:
    trainings = [PlannedRun("resnet8_narrow", RECIPE, seed, label=f"seed{seed}") for seed in range(seeds)]
    plan = Plan(title="t", trainings=trainings, dataset=digits(), directory=out)
    return execute_side_by_side(plan, at_once, execution=ONE, observer=observer or Lanes())


def test_a_fatal_error_of_one_stops_all(tmp_path: Path, made_up: Any) -> None:
    made_up(
        "print(json.dumps(['failed', 'InputError', 'batch_size: is wrong']), flush=True) if seed else time.sleep(60)\n"
        "sys.exit(2)"
    )
    lanes = Lanes()
    begun = time.monotonic()
    with pytest.raises(InputError, match=r"^batch_size: is wrong$"):
        crew(tmp_path, 5, observer=lanes)
    assert time.monotonic() - begun < 30
    assert lanes.begun == ["seed0", "seed1"], "the others are not begun"


def test_a_signal_reaches_each_process_once_and_stopped_is_not_failed(tmp_path: Path, made_up: Any) -> None:
    made_up(
        "heard = []; signal.signal(signal.SIGTERM, lambda *_: heard.append(1))\n"
        f"open({str(tmp_path)!r} + f'/up{{seed}}', 'w')\n"
        "while not heard: print(json.dumps(['stepped', 1, 0.5]), flush=True); time.sleep(0.1)\n"
        f"time.sleep(0.5); open({str(tmp_path)!r} + f'/{{seed}}', 'w').write(str(len(heard))); sys.exit(143)"
    )

    class Both(Lanes):
        def _once(self, name: str) -> None:
            if len(list(tmp_path.glob("up*"))) == 2:
                super()._once(name)

    lanes = Both(lambda name: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Interrupted, match=r"stopped, saved\. Try:") as caught:
        crew(tmp_path / "p", 3, observer=lanes)
    assert caught.value.exit_code == 143
    assert [(tmp_path / str(seed)).read_text() for seed in (0, 1)] == ["1", "1"]
    assert (lanes.begun, sorted(lanes.stopped)) == (["seed0", "seed1"], ["seed0", "seed1"])
    assert lanes.ended == lanes.messages == []


def test_each_way_to_fail_has_its_reason(tmp_path: Path, made_up: Any) -> None:
    made_up(
        "if seed == 0: print(json.dumps(['failed', 'TrainingError', 'step 3: the loss is nan'])); sys.exit(1)\n"
        "if seed == 1: print('words\\nlast words', file=sys.stderr); sys.exit(7)\n"
        "if seed == 2: signal.raise_signal(signal.SIGSEGV)\n"
        "print(json.dumps(['failed', '', 'RuntimeError: odd']))"
    )
    lanes = Lanes()
    with pytest.raises(TrainingError, match="every run failed"):
        crew(tmp_path, 4, at_once=4, observer=lanes)
    assert sorted(lanes.messages) == [
        "seed0: step 3: the loss is nan",
        "seed1: its process left with exit code 7 (last words). Try: the same command again, it goes on from the last "
        "checkpoint",
        "seed2: its process was killed by signal 11. Try: the same command again, it goes on from the last checkpoint",
        "seed3: RuntimeError: odd",
    ]


def test_never_more_than_asked_for_at_once_and_none_is_left(tmp_path: Path, made_up: Any) -> None:
    made_up(
        f"open({str(tmp_path)!r} + f'/{{seed}}-{{time.time()}}', 'w'); time.sleep(0.3)\n"
        f"open({str(tmp_path)!r} + f'/{{seed}}+{{time.time()}}', 'w'); sys.exit(1)"
    )
    with pytest.raises(TrainingError):
        crew(tmp_path / "p", 5)
    events = [(float(path.name[2:]), 1 if path.name[1] == "-" else -1) for path in tmp_path.iterdir()]
    at_once = [sum(change for _, change in sorted(events)[: end + 1]) for end in range(len(events))]
    assert len(events) == 10
    assert max(at_once) == 2
    assert at_once[-1] == 0


def test_a_second_signal_ends_at_once(tmp_path: Path, made_up: Any) -> None:
    """The processes do not heed the first one; none of them outlives the call."""
    made_up(
        "signal.signal(signal.SIGTERM, lambda *_: None)\n"
        f"open({str(tmp_path)!r} + f'/{{__import__(\"os\").getpid()}}', 'w')\n"
        "print(json.dumps(['stepped', 1, 0.5]), flush=True)\n"
        "[(time.sleep(0.2), print(json.dumps(['stepped', 1, 0.5]), flush=True)) for _ in range(300)]"
    )

    class Impatient(Lanes):
        def _once(self, name: str) -> None:
            if len(list(tmp_path.glob("[0-9]*"))) == 2:
                super()._once(name)

    def signals(name: str) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        signal.setitimer(signal.ITIMER_REAL, 1.0)

    def twice(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    previous = signal.signal(signal.SIGALRM, twice)
    try:
        with pytest.raises(KeyboardInterrupt):
            crew(tmp_path / "p", 2, observer=Impatient(signals))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    for path in tmp_path.glob("[0-9]*"):
        with pytest.raises(ProcessLookupError):
            os.kill(int(path.name), 0)


# ----- how many


def test_how_many_fit_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    gib = 2**30
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (80 * gib, 80 * gib))
    monkeypatch.setattr(at_once, "decoding_threads", lambda: 16)
    gpu = torch.device("cuda")
    assert how_many(gpu, 8 * gib, None) == 6, "0.9 * 80 / (1.25 * 8 + 1) = 6.5"
    assert how_many(gpu, 8 * gib, 3) == 3
    assert how_many(gpu, gib // 100, None) == 16, "one core for each process"
    assert how_many(gpu, 200 * gib, None) == 1, "it is tried"
    assert how_many(torch.device("cpu"), 8 * gib, None) == 1
    assert how_many(torch.device("cpu"), 8 * gib, 2) == 2


def test_threads_are_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = divided(Execution(threads=5, workers=8), 2)
    assert (shared.threads, shared.workers) == (2, 4)
    assert divided(Execution(threads=1, workers=1), 4).threads == 1
