"""What the comparisons with peers share: fresh processes that alternate, rows of medians, a stopwatch.

A configuration is a `Case`. `alternate` runs all of them one after the other, then all of them again, so that a machine
that gets slower for a while is slow for everybody; each time in a process of its own, whose threads are set before
anything is imported. A configuration that fails is a row with its reason.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

from residuum.records.environment import environment

WORKERS, THREADS = (0, 1, 2), (1, 2)
PACKAGES = ("torchvision", "timm", "pytorchcv", "pillow")
SECONDS = 900  # a process that takes longer is given up
ABSOLUTE = re.compile(r"(?<![\w.])/(?:[\w.+@-]+/)+")  # the directories of a path
Measured = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One configuration: who computes, with how many threads, and how many workers of a DataLoader (None: has none)."""

    name: str
    threads: int
    workers: int | None = None

    def __str__(self) -> str:
        workers = "" if self.workers is None else f", workers {self.workers}"
        return f"{self.name}, threads {self.threads}{workers}"


def cases_of(names: Iterable[str]) -> list[Case]:
    """Each name with every number of threads and loader workers."""
    return [Case(name, threads, workers) for name in names for threads in THREADS for workers in WORKERS]


def fresh(case: Case, arguments: Sequence[str], scratch: Path) -> Measured:
    """What the running script, called again with `--child`, prints for a case; or why it failed.

    `start` is the seconds since the epoch at which the process was started, `process_seconds` how long it lived.
    """
    start = time.time()
    child = json.dumps(asdict(case) | {"start": start})
    command = [sys.executable, sys.argv[0], *arguments, "--scratch", str(scratch), "--child", child]
    surroundings = surroundings_of(case, scratch)
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=surroundings, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return {"failed": f"no answer in {SECONDS} s"}
    if done.returncode != 0:
        return {"failed": reason(done.stderr) or f"exit code {done.returncode}"}
    answer: Measured = json.loads(done.stdout.strip().splitlines()[-1])
    return answer | {"process_seconds": round(time.time() - start, 3)}


def surroundings_of(case: Case, scratch: Path) -> dict[str, str]:
    """The environment variables of a process: its threads, and caches (of compiled code, of decoded images) in
    `scratch`, so that they are empty in the first round, as on a new machine.
    """
    threads = {name: str(case.threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    caches = {"TORCHINDUCTOR_CACHE_DIR": str(scratch / "inductor"), "RESIDUUM_CACHE": str(scratch / "cache")}
    return os.environ | threads | caches


def reason(text: str) -> str:
    """The last line of what a process complained of, without the paths of this machine."""
    lines = text.strip().splitlines()
    return ABSOLUTE.sub("", lines[-1])[:200] if lines else ""


def alternate(
    cases: Sequence[Case], rounds: int, measure: Callable[[Case], Measured], shown: Callable[[Measured], str]
) -> dict[Case, list[Measured]]:
    """Every case once, and all of them again, `rounds` times; a case that failed is not tried again."""
    found: dict[Case, list[Measured]] = {case: [] for case in cases}
    for number in range(rounds):
        for case in cases:
            if any("failed" in one for one in found[case]):
                continue
            found[case].append(measure(case))
            last = found[case][-1]
            print(f"round {number + 1}: {case}: {last.get('failed') or shown(last)}", flush=True)
    return found


def row_of(case: Case, runs: Sequence[Measured], medians: Sequence[str], kept: Sequence[str] = ()) -> Measured:
    """A case with the median of each figure in `medians`, and of those in `kept` every value, by round.

    The peaks are the largest of all rounds.
    """
    row: Measured = asdict(case)
    if failed := [one["failed"] for one in runs if "failed" in one]:
        return row | {"failed": failed[0]}
    row |= {name: rounded(median(one[name] for one in runs)) for name in medians}
    row |= {f"{name}_by_round": [rounded(one[name]) for one in runs] for name in (medians[0], *kept)}
    return row | {name: max(one[name] for one in runs) for name in ("peak_bytes", "worker_peak_bytes")}


def rounded(value: float) -> float:
    """To four digits, which is more than a time is good for."""
    return float(f"{value:.4g}")


def best_of(rows: Sequence[Measured], key: str, choose: Callable[..., Measured] = max) -> dict[str, Measured]:
    """For each name the row that did best by `key`; names of which every row failed are left out."""
    found: dict[str, Measured] = {}
    for row in rows:
        if "failed" not in row:
            before = found.get(row["name"], row)
            found[row["name"]] = choose(before, row, key=lambda one: one[key])
    return found


def peaks() -> Measured:
    """The most resident memory that this process ever had, and the largest of its finished children (Linux)."""
    own, children = (
        resource.getrusage(who).ru_maxrss * 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return {"peak_bytes": own, "worker_peak_bytes": children}


def resident_bytes() -> int:
    """The resident memory of this process now (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


class Enough(Exception):
    """All steps that are timed were made."""


class Stopwatch:
    """An observer that notes when steps end, and how much memory is resident; it ends the training by `Enough`."""

    def __init__(self, warm_up: int, steps: int) -> None:
        self.first, self.last = warm_up, warm_up + steps
        self.stamps: list[tuple[int, float]] = []
        self.started_at = 0.0
        self.quarter: int | None = None
        self.batch = 0

    def started(self, title: str, step: int, steps: int, batch_size: int) -> None:
        self.batch = batch_size

    def stepped(self, step: int, loss: float) -> None:
        if not self.started_at:
            self.started_at = time.time()
        if step >= self.first:
            self.stamps.append((step, time.perf_counter()))
        if self.quarter is None and step >= self.first + (self.last - self.first) / 4:
            self.quarter = resident_bytes()
        if step >= self.last:
            raise Enough

    def __getattr__(self, name: str) -> Callable[..., None]:
        """Whatever else an observer is told."""
        return lambda *arguments, **named: None

    def figures(self, start: float) -> Measured:
        (before, since), (after, until) = self.stamps[0], self.stamps[-1]
        return {
            "images_per_second": (after - before) * self.batch / (until - since),
            "batch_size": self.batch,
            "start_seconds": self.started_at - start,
            "resident_quarter_bytes": self.quarter,
            "resident_end_bytes": resident_bytes(),
        }


def circumstances(threads: Iterable[int]) -> dict[str, object]:
    """The environment of a record, the peers' versions with it; `threads` is the largest number that was tried."""
    found = environment() | {"threads": max(threads), "device": "cpu"}
    return found | {"peers": {name: version(name) for name in PACKAGES}}


def version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def command_of(script: str) -> str:
    """The command as it was typed, without the interpreter's path."""
    return shlex.join(["python", f"benchmarks/{script}", *(ABSOLUTE.sub("", argument) for argument in sys.argv[1:])])
