"""The trainings of a plan side by side, each in a process of its own.

A small net leaves most of a GPU idle while one processor core launches its kernels; several trainings at once fill it.
Each process computes what it would compute alone: the bits are those of one training after another with as many
threads. The processes have sessions of their own, so that Ctrl-C reaches them once, through this process, and they
save.
"""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import residuum
from residuum import errors
from residuum.errors import Interrupted, ResiduumError
from residuum.plans.child import GRACE_SECONDS, Job
from residuum.plans.plan import Executed, Failure, OnEnd, Plan, PlannedRun, PlanObserver, unheard, work_of
from residuum.records.environment import source_digest
from residuum.run import Run
from residuum.training.observer import Observer
from residuum.training.prepare import choose_device
from residuum.training.recipe import Execution
from residuum.training.signals import Interrupting, StopRequest

# The package is found where this process found it, after all that Python finds by itself.
PROGRAM = "import sys; sys.path.append(sys.argv[1]); from residuum.plans.child import main; sys.exit(main())"
POLL_SECONDS = 0.2
FATAL = {
    each.__name__: each for each in (errors.InputError, errors.InUseError, errors.DamagedError, errors.StorageError)
}


def execute_side_by_side(
    plan: Plan, at_once: int, *, execution: Execution, observer: PlanObserver, on_end: OnEnd = unheard
) -> Executed:
    """As `execute_one_by_one`, up to `at_once` trainings at a time; `execution` is that of each process.

    The data set must be one that its name opens again. Trainings that are finished already are reused; `on_end` hears
    of these first. A process that dies is a failed run.

    Raises:
        InputError, StorageError, Interrupted, TrainingError: as `execute_one_by_one`; all other runs were saved before.
    """
    plan = plan.decided(choose_device(execution.device))
    made = plan.finished()
    missing = [planned for planned in plan.trainings if planned.name not in made]
    works = {planned.name: work_of(planned, plan.dataset) for planned in missing}
    observer.plan_started(f"{plan.title}, {at_once} at once", len(missing), sum(works.values()))
    with StopRequest() as stop:
        jobs = [_job(planned, plan, execution) for planned in missing]
        crew = _Crew(jobs, made, at_once, works, observer, on_end)
        try:
            crew.work(stop)
        except KeyboardInterrupt:
            crew.dismiss(seconds=0)
            raise
        except BaseException:
            crew.dismiss(seconds=GRACE_SECONDS)
            raise
    if crew.fatal is not None:
        raise crew.fatal
    signal_number = stop.signal_number or crew.signal_number
    if signal_number is not None:
        raise Interrupted(
            f"{plan.directory}: stopped, saved. Try: the same command again, it goes on from here",
            signal_number=signal_number,
        )
    done = crew.done()
    in_order = {each.name: done.runs[each.name] for each in plan.trainings if each.name in done.runs}
    return Executed(in_order, done.failures).require_any()


def _job(planned: PlannedRun, plan: Plan, execution: Execution) -> Job:
    dataset = plan.dataset
    return Job(
        planned=planned,
        path=str(plan.path(planned)),
        data=dataset.reference,
        data_dir=str(plan.data_dir) if plan.data_dir is not None else None,
        channels=dataset.channels,
        images=len(dataset.train),
        fingerprint=dataset.fingerprint,
        source_sha256=source_digest(),
        execution=execution,
        command=tuple(sys.argv),
    )


class _Process:
    """A training in another process: what it tells goes to `inbox` with its name, and at last its exit code."""

    def __init__(self, job: Job, observer: Observer, inbox: queue.Queue[tuple[str, object]]) -> None:
        self.name, self.observer, self.inbox = job.planned.name, observer, inbox
        self.failure: tuple[str, str] | None = None
        self.ended = False
        self.last_words = ""
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", PROGRAM, str(Path(residuum.__file__).parents[1])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        assert self.process.stdin is not None
        with suppress(OSError):  # it has died already, which its exit code will tell
            self.process.stdin.write(job.to_json() + "\n")
            self.process.stdin.flush()  # and left open: its end tells that this process has died
        self.listening = threading.Thread(target=self._listen_to_errors, daemon=True)
        self.listening.start()
        self.reading = threading.Thread(target=self._listen, daemon=True)
        self.reading.start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with suppress(ValueError):  # one that is cut short was the last of a process that was killed
                self.inbox.put((self.name, json.loads(line)))
        code = self.process.wait()
        self.listening.join(timeout=1)  # what it started itself may still hold the stream
        self.inbox.put((self.name, code))

    def _listen_to_errors(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.last_words = line.strip() or self.last_words

    def hear(self, said: list[object]) -> None:
        """Take in a line that the process wrote."""
        what, *values = said
        if what == "failed":
            self.failure = (str(values[0]), str(values[1]))
        elif what == "ended":
            self.ended = True
        else:
            getattr(self.observer, str(what))(*values)

    def close(self) -> None:
        """Let go of the process, which has left or leaves at once; a checkpoint is whole or absent."""
        self.process.kill()
        self.process.wait()
        self.reading.join()
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        with suppress(OSError):
            self.process.stdin.close()
        self.process.stdout.close()
        if not self.listening.is_alive():
            self.process.stderr.close()

    def reason(self, code: int) -> str:
        """Why it failed."""
        if self.failure is not None:
            return self.failure[1]
        how = f"was killed by signal {-code}" if code < 0 else f"left with exit code {code}"
        words = f" ({self.last_words[:200]})" if self.last_words else ""
        return f"its process {how}{words}. Try: the same command again, it goes on from the last checkpoint"


class _Crew:
    """The processes at work, and what came of those that have left."""

    def __init__(
        self,
        jobs: Sequence[Job],
        made: Mapping[str, Run],
        at_once: int,
        works: dict[str, float],
        observer: PlanObserver,
        on_end: OnEnd,
    ) -> None:
        self.waiting, self.at_once, self.works = deque(jobs), at_once, works
        self.paths = {job.planned.name: Path(job.path) for job in jobs}
        self.observer, self.on_end = observer, on_end
        self.inbox: queue.Queue[tuple[str, object]] = queue.Queue()
        self.going: dict[str, _Process] = {}
        self.runs = dict(made)
        self.failures: list[Failure] = []
        self.fatal: ResiduumError | None = None
        self.leaving = False
        self.signal_number: int | None = None

    def done(self) -> Executed:
        return Executed(dict(self.runs), tuple(self.failures))

    def work(self, stop: StopRequest) -> None:
        """Start, listen, and start the next, until all have left; leave early when somebody asks to."""
        if self.runs:
            self._tell_end()
        while self.going or (self.waiting and not self.leaving):
            while self.waiting and len(self.going) < self.at_once and not self.leaving:
                self._start(self.waiting.popleft())
            try:
                name, said = self.inbox.get(timeout=POLL_SECONDS)
            except queue.Empty:
                pass
            else:
                if isinstance(said, list):
                    self.going[name].hear(said)
                elif isinstance(said, int):
                    self._left(name, said)
            if stop.signal_number is not None or self.fatal is not None:
                self._leave()

    def dismiss(self, *, seconds: float) -> None:
        """End what is still there; it has so many seconds to save."""
        self._leave()
        until = time.monotonic() + seconds
        for each in self.going.values():
            with suppress(subprocess.TimeoutExpired):
                each.process.wait(timeout=max(0.0, until - time.monotonic()))
            each.close()

    def _tell_end(self) -> None:
        """Tell what came of the plan so far; a signal while that is worked on stops it, and all that train."""
        if self.leaving:
            return
        try:
            with Interrupting() as stop:
                self.on_end(self.done())
        except KeyboardInterrupt:
            self.signal_number = stop.signal_number or signal.SIGINT
            self._leave()

    def _start(self, job: Job) -> None:
        name = job.planned.name
        self.going[name] = _Process(job, self.observer.beside(name, self.works[name]), self.inbox)

    def _leave(self) -> None:
        """Ask all to save and leave, once: a second signal would not let them finish."""
        if not self.leaving:
            self.leaving = True
            for each in self.going.values():
                each.process.send_signal(signal.SIGTERM)

    def _left(self, name: str, code: int) -> None:
        process = self.going.pop(name)
        process.close()
        kind = process.failure[0] if process.failure else ""
        if process.ended:
            self.runs[name] = Run.open(self.paths[name])
        elif kind in FATAL:
            self.fatal = self.fatal or FATAL[kind](process.reason(code))
        elif not self.leaving or kind == "TrainingError":
            self.failures.append(Failure(name, process.reason(code), diverged=kind == "TrainingError"))
            self.observer.message(str(self.failures[-1]))
        else:
            self.observer.beside_stopped(name)
            return
        self.observer.beside_ended(name)
        self._tell_end()
