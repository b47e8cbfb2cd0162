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
            "train", total=steps, completed=step, unit="img", per_item=batch_size, note=""
        )
        if not self.quiet:
            self._line(f"{title}: step {step:,} of {steps:,}")

    def stepped(self, step: int, loss: float) -> None:
        if self.steps is not None:
            self.progress.update(self.steps, completed=step)

    def evaluating(self, split: str, done: int, total: int) -> None:
        if self.side is None:
            self.side = self.progress.add_task(split, total=total or 1, unit="", note="")
            self.told_at = time.monotonic()
        self.progress.update(self.side, description=split, completed=done, total=max(total, done, 1))
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
        """The errors of one epoch, in percent."""
        parts = [f"{name} {100 * record[f'{name}_error']:.1f} %" for name in ("train", "val", "test")
                 if f"{name}_error" in record]  # fmt: skip
        return "error " + ", ".join(parts)

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
    """As `ConsoleProgress`, with one bar over a whole plan of trainings, in units of work."""

    def __init__(self, *, quiet: bool = False) -> None:
        super().__init__(quiet=quiet)
        self.whole: TaskID | None = None
        self.total_work, self.total_runs = 1.0, 0
        self.done_work = 0.0
        self.run_work = 0.0
        self.run_steps = 1

    def plan_started(self, title: str, runs: int, work: float) -> None:
        """A plan of `runs` trainings begins, `work` in all."""
        self.whole = self.progress.add_task(title, total=100, unit="", per_item=0, note=f"0 of {runs} runs")
        self.total_work, self.total_runs = work, runs

    def run_started(self, number: int, work: float, steps: int) -> None:
        """Training `number` (from 0) begins, `work` in units of the plan."""
        self.run_work, self.run_steps = work, steps
        if self.whole is not None:
            self.progress.update(self.whole, note=f"{number} of {self.total_runs} runs")
        if not self.live and not self.quiet:
            self._line(f"run {number + 1} of {self.total_runs}")

    def run_ended(self) -> None:
        """The training is done, or was done before."""
        self.done_work += self.run_work
        self._show(0.0)

    def stepped(self, step: int, loss: float) -> None:
        super().stepped(step, loss)
        self._show(self.run_work * step / self.run_steps)

    def _show(self, part: float) -> None:
        if self.whole is not None:
            self.progress.update(self.whole, completed=100 * (self.done_work + part) / self.total_work)


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
