"""Progress and tables, on a terminal and in a pipe: plain lines, and any name as it is."""

from __future__ import annotations

from typing import Any

import pytest

from residuum.report import progress as module
from residuum.report.numbers import duration
from residuum.report.page import Table
from residuum.report.progress import ConsoleProgress, PlanProgress, ReproductionProgress
from residuum.report.table import print_table

RECORD: dict[str, Any] = {"step": 100, "epoch": 2.0, "seconds": 4.0, "train_error": 0.25, "val_error": 0.125}
NAMES = ["plain", "[bold]x", "[/bold]", "[/]", "\\[red]x", "a\\", ":cat:", "[link=http://x]y", "개 <b>"]


@pytest.fixture(autouse=True)
def _no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLUMNS", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "160")


def train(progress: ConsoleProgress, title: str = "resnet20 on digits") -> None:
    progress.started(title, 0, 1000, 50)
    for step in range(1, 4):
        progress.stepped(step, 0.5)
    progress.evaluating("val", 10, 20)
    progress.evaluating("val", 20, 20)


def test_a_training_in_a_pipe_is_one_line_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    with ConsoleProgress() as progress:
        assert not progress.live
        train(progress)
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "resnet20 on digits: step 0 of 1,000\n"


def test_epochs_in_a_pipe_are_at_most_one_line_in_ten_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    with ConsoleProgress() as progress:
        train(progress)
        capsys.readouterr()
        for _ in range(5):
            progress.epoch_ended(RECORD)
        err = capsys.readouterr().err
        assert err == "  step 100  epoch 2.0  error train 25.0 %, val 12.5 %  1,250 images/s\n"
        progress.printed_at -= 11
        progress.epoch_ended(RECORD)
        assert capsys.readouterr().err.count("\n") == 1
        progress.printed_at -= 11
        progress.epoch_ended(RECORD | {"seconds": 0})
        assert "0 images/s" in capsys.readouterr().err


def test_quiet_says_messages_only(capsys: pytest.CaptureFixture[str]) -> None:
    for kind in (ConsoleProgress, PlanProgress):
        with kind(quiet=True) as progress:
            train(progress)
            progress.epoch_ended(RECORD)
            progress.message("something a person should know")
        out, err = capsys.readouterr()
        assert (out, err) == ("", "something a person should know\n")


def test_a_plan_in_a_pipe_is_one_line_for_each_run(capsys: pytest.CaptureFixture[str]) -> None:
    with PlanProgress() as progress:
        progress.plan_started("degradation", 2, 30.0)
        for number in range(2):
            progress.run_started(number, 15.0, 1000)
            progress.stepped(500, 0.1)
            assert progress.progress.tasks[0].completed == pytest.approx(100 * (number + 0.5) / 2)
            progress.run_ended()
        assert progress.progress.tasks[0].completed == pytest.approx(100)
    out, err = capsys.readouterr()
    assert (out, err) == ("", "run 1 of 2\nrun 2 of 2\n")


class Clock:
    """Stands for the module `time` of the progress: it goes on as a test says."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_a_plan_in_a_pipe_says_how_long_it_will_take(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """By what was made, not by what was finished before; time between two trainings is not theirs."""
    with PlanProgress() as progress:
        progress.plan_started("all", 4, 40.0)
        for number, made in enumerate([False, True, True, True]):
            progress.run_started(number, 10.0, 100)
            if made:
                progress.started(f"net{number}", 0, 100, 50)
                progress.stepped(50 if number == 1 else 100, 0.1)  # that one diverges half-way
                clock.now += 30 if number == 1 else 60
            progress.run_ended()
            clock.now += 500
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("run ")]
    assert told == ["run 1 of 4", "run 2 of 4", "run 3 of 4, about 2.0 min left", "run 4 of 4, about 60 s left"]


def test_what_is_measured_is_told_in_a_pipe(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with ReproductionProgress() as progress:
        progress.plan_started("2 claims", 1, 1.0)
        progress.claim_started("degradation", 1, 2)
        for done in range(1, 5):
            clock.now += 6
            progress.claim_progress(done, 4)
        progress.claim_ended("degradation", "holds")
        progress.claim_started("shortcuts", 2, 2)
        progress.claim_ended("shortcuts", "could not be measured (KeyError: 'x')")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "  degradation: 2 of 4, 12 s left",
        "degradation: holds, after 24 s of measuring",
        "shortcuts: could not be measured (KeyError: 'x'), after 0.0 s of measuring",
    ]


def test_what_is_measured_has_a_bar_below_that_of_the_plan(terminal: None, capsys: pytest.CaptureFixture[str]) -> None:
    with ReproductionProgress() as progress:
        progress.plan_started("2 claims on digits", 3, 30.0)
        progress.run_started(0, 10.0, 100)
        train(progress)
        progress.run_ended()
        progress.claim_started("degradation", 1, 2)
        progress.claim_progress(3, 4)
        progress.progress.refresh()
        drawn = "".join(segment.text for segment in progress.console.render(progress.progress))
        for expected in ("2 claims on digits", "1 of 3 runs", "measuring degradation", "3/4", "claim 1 of 2"):
            assert expected in drawn, expected
        progress.claim_ended("degradation", "holds")
        assert [task.description for task in progress.progress.tasks] == ["2 claims on digits"]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("seconds", "english", "korean"),
    [
        (0.04, "0.0 s", "0.0초"),
        (3.21, "3.2 s", "3.2초"),
        (45.4, "45 s", "45초"),
        (90, "1.5 min", "1.5분"),
        (5399, "90.0 min", "90.0분"),
        (5400, "1.5 h", "1.5시간"),
    ],
)
def test_times_are_shown_in_the_unit_that_suits_them(seconds: float, english: str, korean: str) -> None:
    assert (duration(seconds), duration(seconds, "ko")) == (english, korean)


def test_a_plan_side_by_side_adds_up_its_runs(capsys: pytest.CaptureFixture[str]) -> None:
    with PlanProgress() as progress:
        progress.plan_started("seeds", 3, 30.0)
        lanes = {name: progress.beside(name, 10.0) for name in ("seed0", "seed1")}
        for name, lane in lanes.items():
            lane.started(f"net, {name}", 0, 100, 50)
        lanes["seed0"].stepped(50, 0.1)
        lanes["seed1"].stepped(20, 0.1)
        whole = progress.progress.tasks[0]
        assert whole.completed == pytest.approx(100 * (5 + 2) / 30)
        assert [task.description for task in progress.progress.tasks[1:]] == ["seed0", "seed1"]
        progress.beside_ended("seed0")
        assert whole.completed == pytest.approx(100 * (10 + 2) / 30)
        assert whole.fields["note"] == "1 of 3 runs"
        assert [task.description for task in progress.progress.tasks[1:]] == ["seed1"]
        lanes["seed1"].message("careful")
        progress.beside_stopped("seed1")
        assert [task.description for task in progress.progress.tasks] == ["seeds"]
        assert whole.fields["note"] == "1 of 3 runs"
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        "seed0: net, seed0: step 0 of 100\nseed1: net, seed1: step 0 of 100\n"
        "1 of 3 runs, about 0.0 s left\nseed1: careful\n"
    )


def test_time_left_side_by_side_counts_what_is_made_now(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    with PlanProgress(quiet=True) as progress:
        progress.plan_started("seeds", 4, 40.0)
        lanes = {name: progress.beside(name, 10.0) for name in ("before", "half", "new")}
        progress.beside_ended("before")  # it was finished by an earlier call and took no time
        assert progress.seconds_left_beside() is None
        lanes["half"].started("half", 50, 100, 1)
        lanes["new"].started("new", 0, 100, 1)
        assert progress.seconds_left_beside() is None
        now[0] += 6.0
        lanes["half"].stepped(80, 0.1)
        lanes["new"].stepped(30, 0.1)
        assert progress.seconds_left_beside() == pytest.approx(6.0 / 6.0 * (40 - 10 - 8 - 3))


def test_other_work_needs_no_start(capsys: pytest.CaptureFixture[str]) -> None:
    with ConsoleProgress() as progress:
        progress.stepped(1, 0.1)
        progress.images(1, 3)
        progress.images(3, 3)
        progress.evaluating("download file", 100, 0)
        progress.evaluating("download file", 200, 0)
        progress.epoch_ended({"step": 1, "epoch": 0.1, "seconds": 1.0, "train_error": 0.5})
        train(progress)
        train(progress)
    assert capsys.readouterr().out == ""


def test_a_download_of_unknown_size_keeps_its_bar() -> None:
    with ConsoleProgress(quiet=True) as progress:
        progress.evaluating("download file", 100, 0)
        side = progress.side
        assert side is not None
        progress.evaluating("download file", 200, 0)
        (task,) = progress.progress.tasks
        assert (progress.side, task.completed, task.total) == (side, 200, None)
        progress.evaluating("images", 1, 2)
        (task,) = progress.progress.tasks
        assert (task.description, task.completed, task.total) == ("images", 1, 2)
        progress.evaluating("images", 2, 2)
        assert progress.side is None
        assert not progress.progress.tasks


@pytest.mark.parametrize("name", NAMES)
def test_messages_are_printed_as_they_are(capsys: pytest.CaptureFixture[str], name: str) -> None:
    with ConsoleProgress() as progress:
        progress.message(f"skipped {name}: why")
    assert capsys.readouterr().err == f"skipped {name}: why\n"


@pytest.mark.parametrize("name", NAMES)
def test_any_name_on_a_terminal(terminal: None, capsys: pytest.CaptureFixture[str], name: str) -> None:
    with ConsoleProgress() as progress:
        assert progress.live
        progress.started(name, 0, 10, 5)
        progress.evaluating(name, 1, 2)
        progress.progress.refresh()
        drawn = "".join(segment.text for segment in progress.console.render(progress.progress))
        progress.message(f"skipped {name}")
    out, err = capsys.readouterr()
    assert out == ""
    assert f"skipped {name}" in err
    assert drawn.count(name) == 1
    assert f"{name}: step 0 of 10" in err


@pytest.mark.parametrize("name", NAMES)
def test_table_cells_are_printed_as_they_are(capsys: pytest.CaptureFixture[str], name: str) -> None:
    print_table(Table(("class", "images"), [[name, "1"], ["other", "23"]], numeric=(1,)))
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert len(lines) == 3
    assert lines[1].startswith(name)
    assert lines[1].rstrip().endswith(" 1")


def test_headings_and_cells_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(Table(("[/x]", ":cat:"), [["nets [/all]", "b"]]))
    out = capsys.readouterr().out
    for expected in ("[/x]", ":cat:", "nets [/all]"):
        assert expected in out


def test_tables_in_a_pipe_have_no_colour_and_are_not_cut(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(Table(("name", "value"), [["x" * 120, "1"], ["y", "2"]], numeric=(1,)))
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "x" * 120 in out
    assert "…" not in out
