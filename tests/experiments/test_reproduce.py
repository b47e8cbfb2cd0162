"""Several claims as one plan: shared trainings, judging as soon as possible, going on after anything, the record."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import made_up
from residuum.data.open import open_dataset
from residuum.errors import DamagedError, InputError, Interrupted, StorageError, TrainingError
from residuum.experiments import claims as every
from residuum.experiments import judging as judging_module
from residuum.experiments import reproduce as module
from residuum.experiments import setting as settings
from residuum.experiments.claim import Claim, Conclusion, no_trainings
from residuum.experiments.claims import claims
from residuum.experiments.evidence import TEST_ERROR, TRAINING_ERROR, Evidence
from residuum.experiments.known import Known, condensed, read
from residuum.experiments.listing import listing
from residuum.experiments.order import Order
from residuum.experiments.price import price
from residuum.experiments.reproduce import MeasuringError, SilentReproduction, reproduce_all, trainings_of
from residuum.experiments.setting import Budget, Setting, stand_in, within_budget
from residuum.files.lock import lock_directory
from residuum.plans import child, side_by_side
from residuum.plans import plan as plan_module
from residuum.plans.child import Job
from residuum.plans.plan import PlannedRun
from residuum.records.finding import Arm, Comparison, Finding, Verdict
from residuum.records.findings_file import add_findings, figure_of, findings_to_add_to, read_findings
from residuum.records.quantity import Quantity, exactly
from residuum.records.text import NOTHING, Text
from residuum.report.figures import Drawing
from residuum.report.numbers import duration
from residuum.run import Run
from residuum.training.recipe import Execution
from residuum.training.recipes import digits

NET = "resnet8_narrow"
WILD = 1e30  # a learning rate at which no training reaches its end


class Listener(SilentReproduction):
    """Notes what it hears."""

    def __init__(self, on_start: Callable[[str], object] = lambda title: None) -> None:
        self.heard: list[str] = []
        self.messages: list[str] = []
        self.on_start = on_start

    def started(self, title: str, step: int, steps: int, batch_size: int) -> None:
        self.heard.append("train")
        self.on_start(title)

    def claim_started(self, name: str, number: int, count: int) -> None:
        self.heard.append(f"{name} {number}/{count}")

    def claim_ended(self, name: str, outcome: str) -> None:
        self.heard.append(f"{name}: {outcome}")

    def message(self, text: str) -> None:
        self.messages.append(text)

    @property
    def trainings(self) -> int:
        return self.heard.count("train")


def judged_by_error(evidence: Evidence, nets: Sequence[str] = (NET,), **changes: Any) -> Conclusion:
    """A claim that always holds: errors are not above 100 %."""
    return Conclusion(
        arms=tuple(evidence.arm(net, Text.same("1 %"), **changes) for net in nets),
        quantities=evidence.errors,
        comparisons=tuple(
            Comparison(
                statement=Text.same("no more than all"), a=net, b=1.0, relation="not above", margin=2.0,
                quantity=TRAINING_ERROR.name,
            )
            for net in nets
        ),
        summary=Text.same("No error is above 100 %."),
        drawing=Drawing("<svg></svg>", PNG),
        caption=Text.same("Nothing to see."),
    )  # fmt: skip


def png() -> bytes:
    """A small picture."""
    written = io.BytesIO()
    Image.new("RGB", (20, 10), "white").save(written, format="PNG")
    return written.getvalue()


PNG = png()


def counted(evidence: Evidence) -> Conclusion:
    """A claim that needs no training, and does not hold."""
    size = Quantity("size", "")
    return Conclusion(
        arms=(Arm(name="a", published=Text.same("2"), measured={"size": exactly(1)}),),
        quantities=(size,),
        comparisons=(
            Comparison(statement=Text.same("a is 2"), a="a", b=2, relation="near", margin=0, quantity="size"),
        ),
        summary=Text.same("It is 1."),
        drawing=Drawing("<svg></svg>", PNG),
        caption=Text.same("One."),
        basis="counted",
    )


def claim_of(name: str, measure: Callable[[Evidence], Conclusion], *nets: str, **values: Any) -> Claim:
    """A made-up claim on so many nets."""
    plan = (lambda setting: setting.planned(*nets)) if nets else no_trainings
    return Claim(**{
        "name": name, "statement": Text(f"{name} is so", f"{name}은 그렇다"), "source": Text.same("nobody"),
        "group": "taught", "measure": measure, "plan": plan, **values,
    })  # fmt: skip


def broken(evidence: Evidence) -> Conclusion:
    raise KeyError("spelling")


COUNTED = claim_of("counted", counted)
ONE = claim_of("one", judged_by_error, NET)
TWO = claim_of("two", lambda evidence: judged_by_error(evidence, (NET, "plain20")), NET, "plain20")


@pytest.fixture
def tiny_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    brief = Budget(lambda net: replace(digits(), epochs=None, steps=3, batch_size=16), Text.same("3 updates"))
    monkeypatch.setitem(settings.BUDGETS, "grey", {"quick": brief})
    monkeypatch.setattr(module, "known", Known)


def offer(monkeypatch: pytest.MonkeyPatch, *offered: Claim) -> None:
    """These are all claims that there are."""
    monkeypatch.setattr(every, "claims", lambda: {claim.name: claim for claim in offered})


def order(directory: Path, *names: str, **values: Any) -> Order:
    return Order(**{"claims": names, "out": directory / "out", "seeds": 2, **values})


# Sharing and the order of things


def test_claims_share_trainings_and_are_judged_as_soon_as_these_are_there(
    tmp_path: Path, tiny_budget: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, ONE, TWO, COUNTED)
    listener = Listener()
    findings = reproduce_all(order(tmp_path), listener)
    assert listener.heard == [
        "counted 1/3", "counted: does not hold",
        "train", "train", "one 2/3", "one: holds",
        "train", "train", "two 3/3", "two: holds",
    ]  # fmt: skip
    assert [finding.name for finding in findings] == ["one", "two", "counted"], "in the claims' order"
    one, two, without = findings
    assert set(one.runs) == {f"{NET}-seed0", f"{NET}-seed1"}
    assert {name: two.runs[name] for name in one.runs} == one.runs
    assert (without.runs, without.seeds, without.conditions.en, without.seconds) == (
        {}, (), "nothing trained beforehand", 0,
    )  # fmt: skip
    assert listener.messages[0].startswith("3 claims: 4 trainings, ")
    runs = {path.name for path in (tmp_path / "out" / "runs").iterdir()}
    assert runs == {f"{net}-seed{seed}" for net in (NET, "plain20") for seed in (0, 1)}
    ledger = (tmp_path / "out" / "ledger.md").read_text()
    assert all(f"### {name}: " in ledger for name in ("one", "two", "counted"))


def test_the_same_call_again_trains_nothing_and_resume_takes_over(
    tmp_path: Path, tiny_budget: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[str] = []

    def noted(evidence: Evidence) -> Conclusion:
        measured.append("one")
        return judged_by_error(evidence)

    offer(monkeypatch, claim_of("one", noted, NET), COUNTED)
    first = reproduce_all(order(tmp_path))
    again = Listener()
    reproduce_all(order(tmp_path), again)
    assert again.trainings == 0
    assert measured == ["one", "one"], "without --resume it is measured again"
    assert again.messages[0] == "2 claims: nothing to train"
    kept = reproduce_all(order(tmp_path, keep=True))
    assert measured == ["one", "one"]
    untimed = [[replace(each, measuring_seconds=0.0).to_json() for each in found] for found in (kept, first)]
    assert json.dumps(untimed[0], default=str) == json.dumps(untimed[1], default=str)


def test_side_by_side_makes_the_same_nets_and_measures_beside_them_with_their_threads(
    tmp_path: Path, tiny_budget: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[int] = []

    def noted(evidence: Evidence) -> Conclusion:
        threads.append(torch.get_num_threads())
        return judged_by_error(evidence, [next(iter(evidence.done.runs)).partition("-seed")[0]])

    first, second = claim_of("one", noted, NET), claim_of("two", noted, f"{NET}+widen=2")
    offer(monkeypatch, COUNTED, first, second)
    alone = reproduce_all(order(tmp_path / "alone", execution=Execution(threads=1)))
    listener = Listener()
    beside = reproduce_all(order(tmp_path / "beside", side_by_side=2, execution=Execution(threads=2)), listener)
    assert [finding.name for finding in beside] == ["counted", "one", "two"]
    for a, b in zip(alone, beside, strict=True):
        assert {name: run["weights_sha256"] for name, run in a.runs.items()} == {
            name: run["weights_sha256"] for name, run in b.runs.items()
        }
        assert a.verdict == b.verdict
    assert threads[:2] == [1, 1]
    assert sorted(threads[2:]) == [1, 2], "the last one has the machine for itself"
    assert listener.trainings == 4
    monkeypatch.setattr(side_by_side, "_Process", None)  # what is finished needs none
    again = reproduce_all(order(tmp_path / "beside", side_by_side=2, keep=True, execution=Execution(threads=2)))
    assert [finding.runs for finding in again] == [finding.runs for finding in beside]
    assert len(threads) == 4


def test_the_time_of_trainings_side_by_side_is_told_by_such_that_were_made_here(
    tmp_path: Path, tiny_budget: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, ONE)

    def told(seeds: int, threads: int) -> str:
        listener = Listener()
        execution = Execution(threads=threads)
        reproduce_all(order(tmp_path, seeds=seeds, side_by_side=2, execution=execution), listener)
        return listener.messages[0]

    assert "about" not in told(2, threads=2), "nothing like them was made here"
    made = [float((Run.open(path).result or {})["seconds"]) for path in (tmp_path / "out" / "runs").iterdir()]
    assert f"about {duration(sum(made) / 2)}" in told(4, threads=2), "two more, at once"
    assert "about" not in told(6, threads=4), "which were made by other numbers of threads"


@pytest.mark.parametrize("most", [1, 2])
def test_a_reproduction_goes_on_with_the_precision_it_began_with(
    tmp_path: Path, tiny_budget: None, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """Which one is faster is measured: on a machine that is busy it may come out otherwise."""
    brief = replace(settings.BUDGETS["grey"]["quick"].recipe(NET), precision="auto")
    monkeypatch.setitem(settings.BUDGETS, "grey", {"quick": Budget(lambda net: brief, Text.same("3 updates"))})
    offer(monkeypatch, claim_of("one", judged_by_error, NET))
    monkeypatch.setattr(plan_module, "fastest", lambda device: "fp32")
    (first,) = reproduce_all(order(tmp_path, seeds=1))
    monkeypatch.setattr(plan_module, "fastest", lambda device: "bf16")
    (second,) = reproduce_all(order(tmp_path, seeds=2, side_by_side=most))
    assert second.runs[f"{NET}-seed0"] == first.runs[f"{NET}-seed0"]
    made = [Run.open(tmp_path / "out" / "runs" / name).config.recipe["precision"] for name in second.runs]
    assert made == ["fp32", "fp32"]


def test_side_by_side_trains_on_the_images_of_the_budget(
    tmp_path: Path, tiny_budget: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The processes open the data by name, and take as many images as this process has."""
    whole = stand_in("short")
    limited = within_budget(whole, "quick")
    job = Job(
        planned=PlannedRun(NET, digits(), 0), path="", data="cifar10", data_dir=None, channels=3,
        images=len(limited.train), fingerprint=limited.fingerprint, source_sha256="", execution=Execution(), command=(),
    )  # fmt: skip
    monkeypatch.setattr(child, "open_data", lambda *given, **named: whole)
    assert len(job.dataset().train) == settings.SUBSET_IMAGES
    with pytest.raises(InputError, match="changed while it was trained on"):
        replace(job, images=len(whole.train)).dataset()


def test_a_process_that_died_is_no_training_that_diverged(
    tmp_path: Path, tiny_budget: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a claim of which diverging is a part could hold since the machine ran out of memory."""
    dies = "import json, os, sys; job = json.loads(sys.stdin.readline()); os.kill(os.getpid(), 9)"
    one = claim_of("one", judged_by_error, NET, excuses_failures=True)
    offer(monkeypatch, one, claim_of("counts", counted))
    monkeypatch.setattr(side_by_side, "PROGRAM", dies)
    found, _ = reproduce_all(order(tmp_path, side_by_side=2))
    assert found.verdict is Verdict.NOT_DECIDED
    assert not found.excused
    assert len(found.failures) == 2
    assert "was killed by signal 9" in found.failures[0]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_measuring_beside_others_stops_them_too(
    tmp_path: Path, tiny_budget: None, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, code: int
) -> None:
    measured: list[str] = []

    def slow(evidence: Evidence) -> Conclusion:
        os.kill(os.getpid(), number)
        time.sleep(0.1)
        measured.append("to its end")
        return judged_by_error(evidence)

    offer(monkeypatch, claim_of("one", slow, NET), claim_of("two", judged_by_error, NET))
    with pytest.raises(Interrupted, match="the same command again") as caught:
        reproduce_all(order(tmp_path, side_by_side=2))
    assert caught.value.exit_code == code
    assert not measured
    offer(monkeypatch, claim_of("one", judged_by_error, NET), claim_of("two", judged_by_error, NET))
    monkeypatch.setattr(side_by_side, "_Process", None)  # what is finished needs none
    findings = reproduce_all(order(tmp_path, side_by_side=2))
    assert [finding.verdict for finding in findings] == [Verdict.HOLDS] * 2


@pytest.mark.parametrize("most", [0, 65])
def test_a_number_of_trainings_at_once_that_cannot_be(most: int) -> None:
    with pytest.raises(InputError, match=f"side_by_side: .* Try: {1 if most < 1 else 64}"):
        Order(side_by_side=most)


@pytest.mark.parametrize(
    "change",
    ["seeds", "a damaged finding", "another training", "another statement", "a failure", "other code", "no finding"],
)
def test_resume_takes_over_under_the_same_conditions_only(
    tmp_path: Path, tiny_budget: None, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    measured: list[int] = []

    def noted(evidence: Evidence) -> Conclusion:
        measured.append(len(evidence.setting.seeds))
        return judged_by_error(evidence)

    one = claim_of("one", noted, NET)
    offer(monkeypatch, one)
    reproduce_all(order(tmp_path))
    path = tmp_path / "out" / "one" / "finding.json"
    record = json.loads(path.read_text())
    if change == "another training":
        record["runs"][f"{NET}-seed1"]["weights_sha256"] = "0"
    elif change == "a failure":
        record["failures"] = [f"{NET}-seed1: of before"]
    elif change == "other code":
        record["source_sha256"] = "0" * 64
    elif change == "another statement":
        offer(monkeypatch, replace(one, statement=Text("otherwise", "다르다")))
    path.write_text("{" if change == "a damaged finding" else json.dumps(record))
    if change == "no finding":
        path.unlink()
    reproduce_all(order(tmp_path, keep=True, seeds=1 if change == "seeds" else 2))
    assert len(measured) == 2


def test_a_claim_that_is_reproduced_alone_leaves_the_others_in_the_ledger(
    tmp_path: Path, tiny_budget: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, ONE, COUNTED)
    reproduce_all(order(tmp_path, "counted"))
    listener = Listener()
    assert len(reproduce_all(order(tmp_path, "one"), listener)) == 1
    page = (tmp_path / "out" / "ledger.html").read_text()
    assert 'id="one"' in page
    assert 'id="counted"' in page


# Going on after anything


def test_a_signal_in_a_training_stops_and_the_same_call_goes_on(
    tmp_path: Path, tiny_budget: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, ONE, TWO)
    stopping = Listener(lambda title: os.kill(os.getpid(), signal.SIGINT) if stopping.trainings == 3 else None)
    with pytest.raises(Interrupted, match=r"the same command again, it goes on") as caught:
        reproduce_all(order(tmp_path), stopping)
    assert caught.value.exit_code == 130
    assert stopping.heard[-2:] == ["one: holds", "train"]
    assert not list(tmp_path.rglob(".writing-*"))
    listener = Listener()
    findings = reproduce_all(order(tmp_path, keep=True), listener)
    assert listener.trainings == 2, "one that was stopped, and one that was not begun"
    assert [finding.verdict for finding in findings] == [Verdict.HOLDS] * 2


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_measuring_keeps_what_is_trained(
    tmp_path: Path, tiny_budget: None, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, code: int
) -> None:
    def slow(evidence: Evidence) -> Conclusion:
        os.kill(os.getpid(), number)
        return judged_by_error(evidence)

    before = signal.getsignal(number)
    offer(monkeypatch, claim_of("one", slow, NET))
    with pytest.raises(Interrupted, match="stopped while measuring one; all that was made before is kept") as caught:
        reproduce_all(order(tmp_path))
    assert caught.value.exit_code == code
    assert signal.getsignal(number) == before
    assert not (tmp_path / "out" / "one").exists()
    offer(monkeypatch, ONE)
    listener = Listener()
    reproduce_all(order(tmp_path), listener)
    assert listener.heard == ["one 1/1", "one: holds"]


SCRIPT = """
    import sys
    from dataclasses import replace
    from residuum.cli import main
    from residuum.experiments import setting
    from residuum.records.text import Text
    from residuum.training.recipes import digits
    brief = lambda net: replace(digits(), epochs=None, steps=400, batch_size=16)
    setting.BUDGETS["grey"]["quick"] = setting.Budget(brief, Text.same("400 updates"))
    sys.exit(main(sys.argv[1:]))
"""


def test_a_command_that_is_killed_goes_on(tmp_path: Path) -> None:
    """As a person has it: Ctrl-C in the middle of a training, one line, exit code 130, the same command goes on."""
    command = [sys.executable, "-u", "-c", textwrap.dedent(SCRIPT), "reproduce", "degradation", "--depths", "20", "32",
               "--seeds", "1", "--threads", "1", "--out", str(tmp_path / "out")]  # fmt: skip
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "step 0 of 400" in line:
                time.sleep(0.5)
                process.send_signal(signal.SIGINT)
                break
        rest = process.stderr.read()
    assert process.returncode == 130
    assert [line.split(":")[0] for line in rest.splitlines() if line.startswith("error")] == ["error"]
    assert "Try: the same command again, it goes on from here" in rest
    assert not list(tmp_path.rglob(".writing-*"))
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as again:
        assert again.stderr is not None
        begun = next(line for line in again.stderr if "plain20" in line and "of 400" in line)
        again.kill()
    assert "step 0 of" not in begun, "it goes on where it was"


# Failures


def failing(excused: bool) -> Claim:
    """A claim on a training that reaches its end and one that does not."""

    def plan(setting: Setting) -> list[PlannedRun]:
        return [*setting.planned(NET), *setting.planned("plain20", learning_rate=WILD, steps=30)]

    def measure(evidence: Evidence) -> Conclusion:
        diverged = not evidence.runs("plain20", learning_rate=WILD, steps=30)
        assert diverged
        assert evidence.error("plain20", TEST_ERROR, learning_rate=WILD, steps=30).values == ()
        with pytest.raises(ValueError, match="no training reached its end"):
            evidence.curves("plain20", learning_rate=WILD, steps=30)
        return judged_by_error(evidence)

    return Claim(
        name="failing", statement=Text("a", "가"), source=Text.same("s"), group="taught", measure=measure, plan=plan,
        excuses_failures=excused,
    )  # fmt: skip


def test_a_failed_training_leaves_a_claim_undecided_with_the_reason(
    tmp_path: Path, tiny_budget: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, failing(excused=False), ONE)
    undecided, one = reproduce_all(order(tmp_path))
    assert (undecided.verdict, one.verdict) == (Verdict.NOT_DECIDED, Verdict.HOLDS)
    assert [each.partition(": ")[0] for each in undecided.failures] == [
        f"plain20,learning_rate=1e+30,steps=30-seed{seed}" for seed in (0, 1)
    ]
    assert "not finite" in undecided.failures[0] or "nan" in undecided.failures[0]
    assert undecided.failures[0].split(": ", 1)[1] in (tmp_path / "out" / "ledger.html").read_text()
    assert set(undecided.runs) == {f"{NET}-seed0", f"{NET}-seed1"}, "those that ended are told"


def test_an_excused_failure_is_judged(tmp_path: Path, tiny_budget: None, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, failing(excused=True))
    (found,) = reproduce_all(order(tmp_path))
    assert found.verdict is Verdict.HOLDS
    assert len(found.failures) == 2
    assert "part of the answer" in (tmp_path / "out" / "failing" / "report.html").read_text()


def test_where_all_trainings_fail_and_none_expects_it_that_is_an_error(
    tmp_path: Path, tiny_budget: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    wild = claim_of("wild", judged_by_error)
    wild = replace(wild, plan=lambda setting: setting.planned(NET, learning_rate=WILD, steps=30))
    offer(monkeypatch, wild)
    with pytest.raises(TrainingError, match="every run failed"):
        reproduce_all(order(tmp_path))
    offer(monkeypatch, wild, COUNTED)
    assert [each.verdict for each in reproduce_all(order(tmp_path))] == [Verdict.NOT_DECIDED, Verdict.DOES_NOT_HOLD]


def test_a_claim_whose_code_fails_is_named_and_all_else_is_judged(
    tmp_path: Path, tiny_budget: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(evidence: Evidence) -> Conclusion:
        raise DamagedError("weights: are gone. Try: train again")

    offer(monkeypatch, claim_of("bad", broken, NET), COUNTED, claim_of("worse", damaged, NET), TWO)
    listener = Listener()
    with pytest.raises(MeasuringError) as caught:
        reproduce_all(order(tmp_path), listener)
    said = str(caught.value)
    assert said.startswith("bad: measuring it failed (KeyError: 'spelling'); so it did for worse; all trainings are")
    assert caught.value.exit_code == 1
    assert isinstance(caught.value.__cause__, KeyError)
    assert [finding.name for finding in caught.value.findings] == ["counted", "two"]
    assert "worse: could not be measured (weights: are gone)" in listener.heard
    assert not (tmp_path / "out" / "bad").exists()
    offer(monkeypatch, ONE)
    again = Listener()
    reproduce_all(order(tmp_path), again)
    assert again.trainings == 0


def test_a_full_disk_stops_at_once(tmp_path: Path, tiny_budget: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes | str) -> None:
        raise StorageError(f"{path}: cannot be written")

    offer(monkeypatch, COUNTED)
    monkeypatch.setattr(judging_module, "write_file", full)
    with pytest.raises(StorageError, match=r"figure\.png: cannot be written"):
        reproduce_all(order(tmp_path))


def test_nothing_is_written_of_a_claim_that_compares_what_is_not_there(
    tmp_path: Path, tiny_budget: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def misspelt(evidence: Evidence) -> Conclusion:
        found = counted(evidence)
        return replace(found, comparisons=(replace(found.comparisons[0], a="b"),))

    offer(monkeypatch, claim_of("counted", misspelt))
    with pytest.raises(MeasuringError, match="counted: measuring it failed"):
        reproduce_all(order(tmp_path))
    assert not (tmp_path / "out" / "counted").exists()


# What cannot be


def test_all_leaves_out_what_the_data_cannot_show_and_says_so(
    tmp_path: Path, tiny_budget: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = claim_of("photos", counted, kinds=frozenset({"folder"}))
    coloured = claim_of("coloured", counted, kinds=frozenset({"colour", "folder"}))
    offer(monkeypatch, COUNTED, photos, coloured)
    listener = Listener()
    assert [each.name for each in reproduce_all(order(tmp_path), listener)] == ["counted"]
    assert listener.messages[0] == "left out, since digits cannot show them: photos, coloured"
    with pytest.raises(InputError, match=r"coloured: cannot be judged on digits\. Try: --data cifar10"):
        reproduce_all(order(tmp_path, "counted", "coloured"))
    offer(monkeypatch, photos)
    with pytest.raises(InputError, match=r"photos: cannot be judged on digits\. Try: --data with a folder"):
        reproduce_all(order(tmp_path))


@pytest.mark.parametrize("what", ["a thesis", "a project", "a file", "a mark of something", "other data", "in use"])
def test_an_out_that_is_something_else_is_left_alone(
    tmp_path: Path, tiny_budget: None, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    offer(monkeypatch, COUNTED)
    out = tmp_path / "out"
    mark = {"format": 1, "budget": "quick", "data": "mnist", "fingerprint": "0"}
    made: dict[str, Callable[[], object]] = {
        "a thesis": lambda: (out.mkdir(), (out / "thesis.txt").write_text("mine")),
        "a project": lambda: ((out / "runs").mkdir(parents=True), (out / "README.md").write_text("mine")),
        "a file": lambda: out.write_text("mine"),
        "a mark of something": lambda: (out.mkdir(), (out / "reproduction.json").write_text("[]")),
        "other data": lambda: (out.mkdir(), (out / "reproduction.json").write_text(json.dumps(mark))),
        "in use": lambda: reproduce_all(order(tmp_path)),
    }
    made[what]()
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and "lock" not in path.name}
    expected = {"other data": "other conditions (mnist at budget quick)", "in use": "another process", "a file": "file"}
    held = lock_directory(out) if what == "in use" else nullcontext()
    with held, pytest.raises(InputError) as caught:
        reproduce_all(order(tmp_path))
    assert expected.get(what, "Try: another --out") in str(caught.value)
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and "lock" not in path.name}
    assert after == before


def test_a_directory_that_was_only_begun_is_gone_on_with(
    tmp_path: Path, tiny_budget: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, COUNTED)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".lock").write_text("")
    assert len(reproduce_all(order(tmp_path))) == 1


def test_two_claims_cannot_call_two_trainings_alike() -> None:
    asked = made_up.setting(seeds=1)
    (one,) = asked.planned(NET)
    other = replace(one, recipe=replace(one.recipe, learning_rate=0.5))
    assert trainings_of({"a": [one], "b": [one]}) == [one]
    with pytest.raises(ValueError, match=f"{NET}-seed0: is planned in two ways, one of them by b"):
        trainings_of({"a": [one], "b": [other]})


# What it costs


def test_the_price_is_told_by_what_was_made_here_else_by_what_the_package_knows() -> None:
    asked = made_up.setting(seeds=2)
    plan = asked.planned("resnet20", "resnet56")

    def told(known: Known = Known(), made: dict[str, Any] | None = None) -> str:  # noqa: B008
        return str(price(plan, ["a"], asked, made=made or {}, known=known))

    assert re.fullmatch(r"4 trainings, [\d.]+ [GT] multiply-adds forward", told())
    timed = {"machine": "AMD EPYC, 2 threads", "seconds": {"resnet20": 5.0}}
    finding = {"verdict": "holds", "conditions": "c", "trainings": 4, "seconds": 1.0, "measuring_seconds": 30.0}
    claims = {"a": {"quick": finding | {"machine": "AMD EPYC, 2 threads"}}}
    known = read({"claims": claims, "trainings": {asked.regime.en: timed}})
    found = price(plan, ["a"], asked, made={}, known=known)
    macs = [each.macs for each in (price(asked.planned(net), [], asked, made={}, known=Known()) for net in
            ("resnet20", "resnet56"))]  # fmt: skip
    assert found.seconds == pytest.approx(10 + 10 * macs[1] / macs[0]), "resnet56 by its multiply-adds"
    assert str(found).endswith("s of measuring, as on AMD EPYC, 2 threads")
    assert "and 30 s of measuring" in str(found)
    assert price(plan, ["a"], replace(asked, seeds=(0,)), made={}, known=known).seconds == found.seconds
    other = read({"claims": {}, "trainings": {"mnist": timed}})
    assert price(plan, ["a"], asked, made={}, known=other).seconds is None


def test_a_finished_run_of_the_same_directory_tells_the_time(
    tmp_path: Path, tiny_budget: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, ONE)
    reproduce_all(order(tmp_path, seeds=1))
    result = tmp_path / "out" / "runs" / f"{NET}-seed0" / "result.json"
    result.write_text(json.dumps(json.loads(result.read_text()) | {"seconds": 120.0}))
    listener = Listener()
    reproduce_all(order(tmp_path, seeds=3), listener)
    assert listener.messages[0].startswith("1 claim: 2 trainings, ")
    assert listener.messages[0].endswith(": about 4.0 min, as the 1 training made here")


def test_the_list_shows_costs_at_each_budget_without_any_data(monkeypatch: pytest.MonkeyPatch) -> None:
    photos = claim_of("photos", counted, kinds=frozenset({"folder"}))
    offer(monkeypatch, ONE, TWO, COUNTED, photos)
    for budget in ("quick", "short", "paper"):
        rows, whole = listing(Order(budget=budget))
        assert [row.price.trainings if row.price else None for row in rows] == [3, 6, 0, None]
        assert whole.trainings == 6
    quick, _ = listing(Order(claims=("one",)))
    assert len(quick) == 1


# The claims that there are


@pytest.mark.parametrize("budget", ["quick", "short", "paper"])
def test_every_claim_can_be_planned(budget: str) -> None:
    """At each budget, on the data it is meant for; and no two claims mean different trainings by one name."""
    dataset = within_budget(stand_in(budget), budget)
    asked = Setting(budget=budget, data=dataset.name, dataset=dataset, seeds=(0, 1, 2))  # type: ignore[arg-type]
    plans = {name: claim.plan(asked) for name, claim in claims().items() if asked.kind in claim.kinds}
    trainings = trainings_of(plans)
    assert all(each.recipe.num_steps(len(dataset.train)) > 0 for each in trainings)
    if budget == "quick":
        assert len(trainings) <= 120, "all claims together stay affordable"


def test_quick_can_also_be_a_part_of_cifar10() -> None:
    dataset = within_budget(stand_in("short"), "quick")
    assert len(dataset.train) == 5000
    asked = Setting(budget="quick", data="cifar10", dataset=dataset, seeds=(0,))
    assert asked.conditions.en == (
        "cifar10 (32x32), 5,000 training images, 10,000 test images, "
        f"{settings.ONE_CYCLE_WORDS.en}, 391 updates; 1 seed"
    )
    trainings_of({name: claim.plan(asked) for name, claim in claims().items() if "colour" in claim.kinds})


@pytest.mark.parametrize("name", [*claims()])
def test_every_claim_says_what_it_claims_and_where_in_both_languages(name: str) -> None:
    claim = claims()[name]
    assert claim.name == name
    assert any("가" <= letter <= "힣" for letter in claim.statement.ko)
    assert not any("가" <= letter <= "힣" for letter in claim.statement.en)
    assert not claim.statement.en.endswith(".")
    assert not claim.statement.ko.endswith(".")
    assert claim.source
    assert claim.kinds
    document = sys.modules[f"residuum.experiments.claims.{name}"].__doc__ or ""
    assert len(document) > 200, "what is claimed, how it is measured, how the verdict falls"


# The record


def finding(name: str, directory: Path, **changes: Any) -> Finding:
    """A made-up Finding whose figure lies in its directory."""
    values: dict[str, Any] = {
        "name": name, "claim": Text("c", "주장"), "source": Text.same("s"), "group": "taught", "budget": "quick",
        "conditions": Text.same("digits, 10 images; 2 seeds"), "summary": Text.same("s"), "caption": Text.same("c"),
        "basis": "measured",
        "quantities": (), "arms": (), "judged": (), "seeds": (0, 1),
        "runs": {"net-seed0": {"train": 0.1, "seconds": 4.0}, "net-seed1": {"train": 0.1, "seconds": 6.0}},
        "seconds": 10.0, "measuring_seconds": 3.0, "recipe": {},
        "environment": {"cpu": "AMD", "threads": 2}, "directory": directory / name,
        "command": f"residuum reproduce {name} --budget quick --data {directory}/photos --seeds 2",
    }  # fmt: skip
    (directory / name).mkdir(exist_ok=True)
    (directory / name / "figure.png").write_bytes(PNG)
    return Finding(**values | changes)


def test_a_record_keeps_the_claims_that_are_not_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "claims-quick.json"
    add_findings(path, [finding("b", tmp_path), finding("c", tmp_path)], ["a", "b", "c"])
    add_findings(
        path,
        [finding("a", tmp_path), finding("c", tmp_path, summary=Text.same("new"), caption=NOTHING)],
        ["a", "b", "c"],
    )
    found = read_findings(path)
    assert [(each.name, each.summary.en) for each in found] == [("a", "s"), ("b", "s"), ("c", "new")]
    assert figure_of(path, "a").read_bytes() == PNG
    assert not figure_of(path, "c").exists(), "it has none any more"
    assert str(tmp_path) not in path.read_text()
    assert found[0].command == "residuum reproduce a --budget quick --data photos --seeds 2"
    with pytest.raises(InputError, match=r"other conditions \(photos at quick\)\. Try: --record .*claims-paper\.json"):
        findings_to_add_to(path, "paper", "photos")
    with pytest.raises(InputError, match=r"\(photos at quick\)\. Try: --record .*/claims-digits-quick\.json"):
        findings_to_add_to(path, "quick", "digits")
    assert len(findings_to_add_to(path, "quick", "elsewhere/photos")) == 3
    (tmp_path / "d.json").mkdir()
    with pytest.raises(InputError, match="is a directory"):
        findings_to_add_to(tmp_path / "d.json", "quick", "digits")


def test_what_the_package_knows_is_condensed_from_the_record(tmp_path: Path) -> None:
    plain = condensed([finding("a", tmp_path), finding("b", tmp_path, budget="paper", runs={}, seconds=0.0)])
    found = read(json.loads(json.dumps(plain)))
    assert found.last("a") == ("quick", found.claims["a"]["quick"])
    assert found.claims["a"]["quick"].trainings == 2
    assert found.last("b") == ("paper", found.claims["b"]["paper"])
    assert found.last("c") is None
    assert found.trainings["digits, 10 images"].seconds == {"net": 5.0}
    assert found.trainings["digits, 10 images"].machine == "AMD, 2 threads"


def test_digits_are_what_quick_is_meant_for() -> None:
    assert stand_in("quick").fingerprint == open_dataset("digits").fingerprint
