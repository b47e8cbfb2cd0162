"""Progress on the terminal: bars with rate and time left, or plain lines where the output is not a terminal.

Everything goes to standard error, so that standard output holds results only.
"""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

from residuum.report.numbers import duration

LINE_SECONDS = 10.0
FIRST_LINE_SECONDS = 2.0  # after which a part says for the first time how far it is


class _Rate(ProgressColumn):
    """Items per second, in the unit the task names."""

    def render(self, task: Task) -> Text:
        if not task.speed:
            return Text("")
        per_item, unit = task.fields.get("per_item", 1), task.fields.get("unit", "")
        return Text(f"{task.speed * per_item:,.0f} {unit}/s", style="cyan")


class _Count(ProgressColumn):
    """Items done and in all, where it is known how many there are."""

    def render(self, task: Task) -> Text:
        return Text("" if task.total is None else f"{task.completed:,.0f}/{task.total:,.0f}")


class ConsoleProgress:
    """Shows trainings, evaluations and downloads; a training's observer.

    Used as a context manager. `quiet` shows nothing but messages.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self.console = Console(stderr=True, highlight=False)
        self.live = self.console.is_terminal and not quiet
        self.quiet = quiet
        self.progress = Progress(
            TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
            BarColumn(bar_width=10),
            _Count(table_column=Column(no_wrap=True)),
            _Rate(table_column=Column(no_wrap=True)),
            TimeRemainingColumn(compact=True, table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[note]}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis")),
            console=self.console,
            disable=not self.live,
            transient=True,
        )
        self.steps: TaskID | None = None
        self.side: TaskID | None = None
        self.label = "train"
        self.batch_size = 1
        self.printed_at = self.told_at = 0.0

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()

    def started(self, title: str, step: int, steps: int, batch_size: int) -> None:
        self._clear()
        self.batch_size = batch_size
        self.steps = self.progress.add_task(
            self.label, total=steps, completed=step, unit="img", per_item=batch_size, note=""
        )
        if not self.quiet:
            self._line(f"{title}: step {step:,} of {steps:,}")

    def stepped(self, step: int, loss: float) -> None:
        if self.steps is not None:
            self.progress.update(self.steps, completed=step)

    def evaluating(self, split: str, done: int, total: int) -> None:
        """So many images of a split are done, or bytes of a download; a total of 0 is not known."""
        if self.side is None:
            self.side = self.progress.add_task(split, total=total or None, unit="", note="")
            self.told_at = time.monotonic()
        whole = max(total, done) if total else None
        self.progress.update(self.side, description=split, completed=done, total=whole)
        if whole is None:
            return
        if not self.live and not self.quiet and done < total and time.monotonic() - self.told_at > LINE_SECONDS:
            self.told_at = time.monotonic()
            self._line(f"  {split}: {done:,} of {total:,}")
        if done >= total:
            self.progress.remove_task(self.side)
            self.side = None

    def epoch_ended(self, record: dict[str, Any]) -> None:
        text = self.describe(record)
        if self.steps is not None:
            self.progress.update(self.steps, note=text)
        now = time.monotonic()
        if not self.live and not self.quiet and now - self.printed_at > LINE_SECONDS:
            self.printed_at = now
            rate = record["step"] * self.batch_size / record["seconds"] if record["seconds"] else 0
            self._line(f"  step {record['step']:,}  epoch {record['epoch']:.1f}  {text}  {rate:,.0f} images/s")

    def message(self, text: str) -> None:
        self._line(text)

    def images(self, done: int, total: int) -> None:
        """Images done and in all, of an evaluation or prediction."""
        self.evaluating("images", done, total)

    @staticmethod
    def describe(record: dict[str, Any]) -> str:
        """The errors of one epoch, in percent, and the share of its time that was spent waiting for data."""
        parts = [f"{name} {100 * record[f'{name}_error']:.1f} %" for name in ("train", "val", "test")
                 if f"{name}_error" in record]  # fmt: skip
        text = "error " + ", ".join(parts)
        return f"{text}, data {100 * record['waiting']:.0f} %" if "waiting" in record else text

    def _clear(self) -> None:
        for task in (self.steps, self.side):
            if task is not None:
                self.progress.remove_task(task)
        self.steps = self.side = None

    def _line(self, text: str) -> None:
        if self.live:
            self.progress.console.print(text, markup=False, emoji=False)
        else:
            print(text, file=sys.stderr, flush=True)


class PlanProgress(ConsoleProgress):
    """As `ConsoleProgress`, with one bar over a whole plan of trainings, in units of work.

    Where the output is not a terminal, each training says how long all that are left will take, judged by those made
    by now; what was finished before took no time and tells nothing.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        super().__init__(quiet=quiet)
        self.whole: TaskID | None = None
        self.total_work, self.total_runs = 1.0, 0
        self.done_work, self.done_runs = 0.0, 0
        self.run_work = 0.0
        self.run_steps = 1
        self.made_work = self.made_seconds = 0.0
        self.run_began: float | None = None
        self.run_first = self.run_last = 0
        self.lanes: dict[str, _Lane] = {}
        self.lanes_began: float | None = None
        self.lanes_work = 0.0

    def plan_started(self, title: str, runs: int, work: float) -> None:
        """A plan of `runs` trainings begins, `work` in all."""
        self.whole = self.progress.add_task(title, total=100, unit="", per_item=0, note=f"0 of {runs} runs")
        self.total_work, self.total_runs = work, runs

    def run_started(self, number: int, work: float, steps: int) -> None:
        """Training `number` (from 0) begins, `work` in units of the plan."""
        self.run_work, self.run_steps = work, steps
        if not self.live and not self.quiet:
            left = self.seconds_left()
            told = "" if left is None else f", about {duration(left)} left"
            self._line(f"run {number + 1} of {self.total_runs}{told}")

    def started(self, title: str, step: int, steps: int, batch_size: int) -> None:
        super().started(title, step, steps, batch_size)
        self.run_began, self.run_first, self.run_last = time.monotonic(), step, step

    def run_ended(self) -> None:
        """The training is done, or was done before."""
        if self.run_began is not None:
            self.made_work += self.run_work * (self.run_last - self.run_first) / self.run_steps
            self.made_seconds += time.monotonic() - self.run_began
            self.run_began = None
        self._ended(self.run_work)

    def seconds_left(self) -> float | None:
        """How long the trainings that are left will take; None before one was made."""
        if not self.made_work:
            return None
        return self.made_seconds / self.made_work * (self.total_work - self.done_work)

    def beside(self, name: str, work: float) -> ConsoleProgress:
        """One of several trainings that run side by side begins: a bar of its own, below that of the plan."""
        self.lanes[name] = _Lane(self, name, work)
        self.lanes_began = self.lanes_began or time.monotonic()
        return self.lanes[name]

    def beside_ended(self, name: str) -> None:
        """That training is done, was done before, or failed."""
        lane = self._left(name)
        self._ended(lane.work)
        if not self.live and not self.quiet:
            left = self.seconds_left_beside()
            told = "" if left is None else f", about {duration(left)} left"
            self._line(f"{self.done_runs} of {self.total_runs} runs{told}")

    def beside_stopped(self, name: str) -> None:
        """That training was stopped on its way, and saved."""
        self._left(name)

    def _left(self, name: str) -> _Lane:
        lane = self.lanes.pop(name)
        lane._clear()
        self.lanes_work += lane.made_work
        return lane

    def seconds_left_beside(self) -> float | None:
        """As `seconds_left`, of trainings side by side; None before one has made a step."""
        going = sum(lane.done_work for lane in self.lanes.values())
        made = self.lanes_work + sum(lane.made_work for lane in self.lanes.values())
        if not made or self.lanes_began is None:
            return None
        return (time.monotonic() - self.lanes_began) / made * (self.total_work - self.done_work - going)

    def stepped(self, step: int, loss: float) -> None:
        super().stepped(step, loss)
        self.run_last = step
        self.show(self.run_work * step / self.run_steps)

    def show(self, part: float = 0.0) -> None:
        """The share of the work that is done: of runs that ended, and `part` of the one that is going."""
        beside = sum(lane.done_work for lane in self.lanes.values())
        if self.whole is not None:
            note = f"{self.done_runs} of {self.total_runs} runs"
            done = 100 * (self.done_work + part + beside) / self.total_work
            self.progress.update(self.whole, completed=done, note=note)

    def _ended(self, work: float) -> None:
        self.done_work += work
        self.done_runs += 1
        self.show()


class ReproductionProgress(PlanProgress):
    """As `PlanProgress`, with a bar for what is measured on the trained nets of a claim."""

    def __init__(self, *, quiet: bool = False) -> None:
        super().__init__(quiet=quiet)
        self.claim = ""
        self.claim_began = 0.0

    def claim_started(self, name: str, number: int, count: int) -> None:
        """Claim `number` of `count`, from 1, is measured."""
        self._clear()
        self.claim, self.claim_began = name, time.monotonic()
        self.side = self.progress.add_task(f"measuring {name}", total=None, unit="", note=f"claim {number} of {count}")
        self.told_at = self.claim_began

    def claim_progress(self, done: int, total: int) -> None:
        """So many of its measurements are done."""
        if self.side is not None:
            self.progress.update(self.side, completed=done, total=total)
        now = time.monotonic()
        if self.live or self.quiet or not 0 < done < total or now - self.told_at < LINE_SECONDS:
            return
        self.told_at = now
        left = (now - self.claim_began) / done * (total - done)
        self._line(f"  {self.claim}: {done:,} of {total:,}, {left:,.0f} s left")

    def claim_ended(self, name: str, outcome: str) -> None:
        """It is judged, or could not be measured."""
        self._clear()
        if not self.quiet:
            self._line(f"{name}: {outcome}, after {duration(time.monotonic() - self.claim_began)} of measuring")


class _Lane(ConsoleProgress):
    """One of several trainings that run side by side, in the display of their plan."""

    def __init__(self, plan: PlanProgress, name: str, work: float) -> None:
        super().__init__(quiet=plan.quiet)
        self.console, self.progress, self.live = plan.console, plan.progress, plan.live
        self.plan, self.label, self.work = plan, name, work
        self.done_work, self.total_steps = 0.0, 1
        self.work_before: float | None = None  # done in earlier calls; unknown until the training has begun

    @property
    def made_work(self) -> float:
        """What is done by this call."""
        return 0.0 if self.work_before is None else self.done_work - self.work_before

    def started(self, title: str, step: int, steps: int, batch_size: int) -> None:
        super().started(title, step, steps, batch_size)
        self.total_steps = steps
        self.work_before = self.done_work = self.work * step / steps

    def stepped(self, step: int, loss: float) -> None:
        super().stepped(step, loss)
        self.done_work = self.work * step / self.total_steps
        self.plan.show()

    def evaluating(self, split: str, done: int, total: int) -> None:
        super().evaluating(f"{self.label} {split}" if self.live else split, done, total)

    def _line(self, text: str) -> None:
        super()._line(f"{self.label}: {text.strip()}")


class PartsProgress(ConsoleProgress):
    """As `ConsoleProgress`, of work in named parts: a bar over the parts, one inside the part that runs.

    Where the output is not a terminal, a part that takes longer than two seconds says how far it is, how fast it goes
    and how long it will take.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        super().__init__(quiet=quiet)
        self.whole: TaskID | None = None
        self.part = ""
        self.began = self.told_at = 0.0

    def part_started(self, name: str, number: int, count: int) -> None:
        """Part `number` of `count` begins, from 1."""
        self._clear()
        if self.whole is None:
            self.whole = self.progress.add_task("parts", total=count, unit="", per_item=0, note="")
        self.progress.update(self.whole, completed=number - 1, note=name)
        self.side = self.progress.add_task(name, total=None, unit="", note="")
        self.part, self.began = name, time.monotonic()
        self.told_at = self.began + FIRST_LINE_SECONDS - LINE_SECONDS

    def part_progress(self, done: int, total: int) -> None:
        """So many steps of the part are done."""
        if self.side is not None:
            self.progress.update(self.side, completed=done, total=total)
        now = time.monotonic()
        if self.live or self.quiet or not 0 < done < total or now - self.told_at < LINE_SECONDS:
            return
        self.told_at = now
        rate = done / max(now - self.began, 1e-9)
        self._line(f"  {self.part}: {done:,} of {total:,}, {rate:,.3g}/s, {(total - done) / rate:,.0f} s left")
