"""From the finished trainings of a claim to its Finding, in a directory of its own.

degradation/
  figure.png  report.html  finding.json      the last one is written last: where it stands, all is there
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from residuum.errors import DamagedError
from residuum.experiments.claim import Claim
from residuum.experiments.evidence import Evidence, OnProgress
from residuum.experiments.setting import Setting
from residuum.files.atomic import write_file
from residuum.plans.plan import Executed, PlannedRun, together
from residuum.records.environment import environment, source_digest
from residuum.records.finding import Finding, judge
from residuum.records.findings_file import FIGURE
from residuum.records.text import NOTHING, Text
from residuum.report.figures import Drawing
from residuum.report.finding_page import finding_page
from residuum.run import dumps
from residuum.training.prepare import choose_device
from residuum.training.recipe import Execution

UNTRAINED = Text("nothing trained beforehand", "미리 학습한 것 없음")
UNFINISHED = Text(
    "Not every training reached its end, so there is nothing to compare.",
    "끝까지 마치지 못한 학습이 있어 비교할 수 없습니다.",
)
FINDING = "finding.json"
PAGE = "report.html"


@dataclass(frozen=True, kw_only=True)
class Judging:
    """How claims are judged.

    Attributes:
        setting: of the reproduction.
        directory: where each claim gets its own.
        execution: where to measure, by how many threads.
        progress: to be told how far the measuring of a claim is.
    """

    setting: Setting
    directory: Path
    execution: Execution
    progress: OnProgress

    def judged_before(self, claim: Claim, own: Executed) -> Finding | None:
        """The Finding of an earlier call, where the same code judged the same trainings under the same conditions.

        What needs no training is of the machine, which has to be the same as well.
        """
        finding = read_finding(self.directory / claim.name)
        if finding is None or (not own.runs and not self._is_here(finding.environment)):
            return None
        runs = json.loads(dumps(run_rows(own)))
        found = (finding.source_sha256, finding.command, finding.claim, finding.runs, finding.failures)
        same = (source_digest(), self.command(claim.name), claim.statement, runs, tuple(map(str, own.failures)))
        return finding if found == same else None

    def judge(self, claim: Claim, plan: Sequence[PlannedRun], own: Executed) -> Finding:
        """Measure a claim and judge it, once all its trainings have come to an end.

        Args:
            claim: to be judged.
            plan: its trainings.
            own: what came of these.

        Raises:
            StorageError: the disk is full, read-only or failing.
            Exception: whatever the claim's own code raises.
        """
        common = self._common(claim, plan, own)
        excused = claim.excuses_failures and all(failure.diverged for failure in own.failures)
        if own.failures and not excused:
            finding = Finding(
                summary=UNFINISHED,
                caption=NOTHING,
                basis="measured",
                quantities=(),
                arms=(),
                judged=(),
                measuring_seconds=0.0,
                **common,
            )
            (finding.directory / FIGURE).unlink(missing_ok=True)
            self._write(finding, None)
            return finding
        device = choose_device(self.execution.device)
        began = time.perf_counter()
        with measuring(self.execution.threads):
            evidence = Evidence(setting=self.setting, done=own, progress=self.progress, device=device)
            found = claim.measure(evidence)
        arms = {arm.name: arm.measured for arm in found.arms}
        if found.conditions:
            common |= {"conditions": self.setting.with_seeds(found.conditions), "seeds": self.setting.seeds}
        finding = Finding(
            summary=found.summary,
            caption=found.caption,
            basis=found.basis,
            quantities=found.quantities,
            arms=found.arms,
            judged=tuple(judge(each, arms) for each in found.comparisons),
            measuring_seconds=round(time.perf_counter() - began, 2),
            excused=excused,
            **common,
        )
        self._write(finding, found.drawing)
        return finding

    def _write(self, finding: Finding, drawing: Drawing | None) -> None:
        page, record = finding_page(finding, drawing), dumps(finding.to_json())  # before anything is written
        (finding.directory / FINDING).unlink(missing_ok=True)  # of before, whose figure goes now
        if drawing is not None:
            write_file(finding.directory / FIGURE, drawing.png)
        write_file(finding.directory / PAGE, page)
        write_file(finding.directory / FINDING, record)

    def _common(self, claim: Claim, plan: Sequence[PlannedRun], own: Executed) -> dict[str, Any]:
        """What a Finding says whatever came out."""
        runs = [*own.runs.values()]
        recipe = runs[0].config.recipe if runs else plan[0].recipe.to_json() if plan else {}
        return {
            "name": claim.name,
            "claim": claim.statement,
            "source": claim.source,
            "rule_changed": claim.rule_changed,
            "group": claim.group,
            "budget": self.setting.budget,
            "conditions": self.setting.conditions if plan else UNTRAINED,
            "unlike_published": self.setting.unlike_published if plan else NOTHING,
            "seeds": self.setting.seeds if plan else (),
            "runs": run_rows(own),
            "seconds": round(sum(float((run.result or {}).get("seconds", 0)) for run in runs), 2),
            "recipe": recipe,
            "environment": together(runs) or self._environment(),
            "command": self.command(claim.name),
            "source_sha256": source_digest(),
            "directory": self.directory / claim.name,
            "failures": tuple(map(str, own.failures)),
        }

    def _is_here(self, other: Mapping[str, object]) -> bool:
        """Whether an environment has the processor, device and threads of this one."""
        here = self._environment()
        return all(other.get(key) == here[key] for key in ("cpu", "cpus", "device", "threads"))

    def _environment(self) -> dict[str, object]:
        """Where something is measured that needs no training."""
        device = str(choose_device(self.execution.device))
        return environment() | {"threads": self.execution.threads or torch.get_num_threads(), "device": device}

    def command(self, claim: str) -> str:
        """What to type for the same Finding of one claim."""
        setting = self.setting
        words = ["residuum", "reproduce", claim, "--budget", setting.budget, "--data", setting.data]
        words += ["--depths", *map(str, setting.depths)] if setting.depths is not None else []
        return shlex.join([*words, "--seeds", str(len(setting.seeds))])


def read_finding(directory: Path) -> Finding | None:
    """The Finding in the directory of a claim; None where there is none that can be read."""
    try:
        return Finding.from_json(json.loads((directory / FINDING).read_text(encoding="utf-8")), directory)
    except (OSError, ValueError, DamagedError):
        return None


def run_rows(done: Executed) -> dict[str, dict[str, object]]:
    """What each Run came to: errors of all splits, seconds, and the checksum of its weights."""
    rows = {}
    for name, run in done.runs.items():
        result = run.result or {}
        row: dict[str, object] = {
            split: result[split]["error"] for split in ("train", "val", "test") if split in result
        }
        rows[name] = row | {key: result[key] for key in ("steps", "seconds", "weights_sha256") if key in result}
    return rows


@contextmanager
def measuring(threads: int | None) -> Iterator[None]:
    """So many threads, and random numbers that are the same whatever was drawn before; as it was afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            yield
    finally:
        torch.set_num_threads(before)
