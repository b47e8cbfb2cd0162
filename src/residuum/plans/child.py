"""One training of a plan in a process of its own: what `side_by_side` starts.

Standard input brings the job, one line of JSON, and then nothing: it ends when the process that asked has died, which
is then as good as a signal to save and leave. Standard output carries what an observer is told, one JSON list
`[method, arguments...]` a line, and at last `["ended"]` or `["failed", class of the error, message]`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

import torch

from residuum.data.decode import decoding_with
from residuum.data.source import Dataset
from residuum.errors import InputError, InUseError, ResiduumError
from residuum.plans.one_by_one import make
from residuum.plans.plan import PlannedRun
from residuum.records.environment import source_digest
from residuum.training.asked import open_data
from residuum.training.loop import MemoryFullError
from residuum.training.observer import Silent
from residuum.training.recipe import Execution, Recipe

TELL_SECONDS = 0.2  # between two steps or images that are told
GRACE_SECONDS = 60.0  # for saving, once nobody is there any more to wait for it


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a process is to do.

    Attributes:
        planned: one training of a plan.
        path: where its Run goes.
        data, data_dir, channels: what opens the data again, of which it gets `images` training images.
        fingerprint: of these.
        execution: device, threads, how often to save.
        command: what a person typed, for the Run's record.
        source_sha256: of the code that planned it.
    """

    planned: PlannedRun
    path: str
    data: str
    data_dir: str | None
    channels: int
    images: int
    fingerprint: str
    source_sha256: str
    execution: Execution
    command: tuple[str, ...]

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Job:
        """The job that `to_json` wrote."""
        values = json.loads(line)
        planned = values.pop("planned")
        planned["recipe"] = Recipe.from_json(planned["recipe"])
        execution = Execution(**values.pop("execution"))
        return cls(planned=PlannedRun(**planned), execution=execution, **values)

    def dataset(self) -> Dataset:
        """The data, opened again.

        Raises:
            InputError: they are not those of the plan.
        """
        dataset = open_data(self.data, self.data_dir, Silent(), channels=self.channels).limited(self.images)
        if dataset.fingerprint != self.fingerprint:
            raise InputError(f"{self.data}: changed while it was trained on. Try: the same command again")
        return dataset


class Told:
    """An observer that writes down what it is told, a line each."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.told_at = 0.0

    def started(self, title: str, step: int, steps: int, batch_size: int) -> None:
        self.tell("started", title, step, steps, batch_size)

    def stepped(self, step: int, loss: float) -> None:
        if self._due():
            self.tell("stepped", step, loss)

    def evaluating(self, split: str, done: int, total: int) -> None:
        if done >= total > 0 or self._due():
            self.tell("evaluating", split, done, total)

    def epoch_ended(self, record: dict[str, Any]) -> None:
        self.tell("epoch_ended", record)

    def message(self, text: str) -> None:
        self.tell("message", text)

    def tell(self, what: str, *values: object) -> None:
        """Write a line; whether anybody reads it does not matter to the training."""
        with suppress(OSError):
            self.stream.write(json.dumps([what, *values]) + "\n")
            self.stream.flush()

    def _due(self) -> bool:
        now = time.monotonic()
        if now - self.told_at < TELL_SECONDS:
            return False
        self.told_at = now
        return True


def main() -> int:
    """Do the job that standard input names; the exit code is that of the command line."""
    told = Told(os.fdopen(os.dup(1), "w"))
    os.dup2(2, 1)  # whatever else prints, prints as an error
    job = Job.from_json(sys.stdin.readline())
    sys.argv = list(job.command)  # of which a Run keeps a record
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    try:
        if source_digest() != job.source_sha256:
            raise InputError("residuum: its source changed while it ran. Try: the same command again")
        with decoding_with(job.execution.workers):
            _make(job, told)
    except (MemoryFullError, torch.OutOfMemoryError):
        told.tell("failed", "", "the memory of the device is full. Try: the same command with a smaller --side-by-side")
        return 1
    except ResiduumError as error:
        told.tell("failed", type(error).__name__, str(error))
        return error.exit_code
    except Exception as error:
        told.tell("failed", "", f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
        return 1
    told.tell("ended")
    return 0


def _make(job: Job, told: Told) -> None:
    """Train; a Run that is still being saved, since who asked before was killed, is waited for."""
    dataset, patience = job.dataset(), time.monotonic() + GRACE_SECONDS
    while True:
        try:
            make(job.planned, dataset, Path(job.path), job.data_dir, job.execution, told)
        except InUseError:
            if time.monotonic() > patience:
                raise
            time.sleep(1)
        else:
            return


def _leave_with_parent() -> None:
    """Wait for the end of standard input, then stop as by a signal: once in order, then by force."""
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)
