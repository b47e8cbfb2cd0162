"""Reproduce claims: make every training that they need once, measure, judge, and write it all down.

    out/
      runs/resnet20-seed0/      every training, a Run; claims share them
      degradation/              one claim
        finding.json  report.html  figure.png
      ledger.html  ledger.ko.html  claims.md  claims.ko.md

The same call again goes on: finished Runs are reused, interrupted ones resumed.
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from residuum.errors import InputError
from residuum.experiments.claim import Claim
from residuum.experiments.claims import chosen
from residuum.experiments.evidence import Evidence
from residuum.experiments.plan import Executed, PlannedRun, PlanObserver, SilentPlan, execute, together, work_of
from residuum.experiments.setting import DEFAULT_DATA, Setting, within_budget
from residuum.files.atomic import write_file
from residuum.records.environment import environment
from residuum.records.finding import Finding, judge
from residuum.report.finding_page import finding_page
from residuum.report.ledger import Entry, write_ledger
from residuum.run import Run, dumps
from residuum.training.prepare import choose_device
from residuum.training.recipe import Execution
from residuum.training.start import open_data

RUNS = "runs"
FINDING = "finding.json"
DEFAULT_SEEDS = 3


class ReproductionObserver(PlanObserver, Protocol):
    """A plan's observer that also hears of what is measured once the trainings are there."""

    def claim_started(self, name: str, number: int, count: int) -> None:
        """Claim `number` of `count`, from 1, is measured."""

    def claim_progress(self, done: int, total: int) -> None:
        """So many of its measurements are done."""

    def claim_ended(self, name: str, verdict: str) -> None:
        """It is judged."""


class SilentReproduction(SilentPlan):
    """An observer that shows nothing."""

    def claim_started(self, name: str, number: int, count: int) -> None: ...

    def claim_progress(self, done: int, total: int) -> None: ...

    def claim_ended(self, name: str, verdict: str) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is asked for.

    Attributes:
        claims: names; none for all.
        budget: `quick`, `short` or `paper`.
        data: a named set or an image folder; by default `digits` for `quick`, `cifar10` for the others.
        data_dir: where the files of a named set lie.
        seeds: trainings of each net; they are 0, 1, 2, ...
        depths: the shallow and the deep net, for claims that compare two.
        out: where everything goes; by default a directory in `runs` that names budget and data.
        keep: take over what an earlier call has judged under the same conditions, in place of measuring again.
    """

    claims: tuple[str, ...] = ()
    budget: str = "quick"
    data: str | Path | None = None
    data_dir: str | Path | None = None
    seeds: int = DEFAULT_SEEDS
    depths: tuple[int, int] | None = None
    out: str | Path | None = None
    keep: bool = False
    execution: Execution = field(default_factory=Execution)

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise InputError(f"seeds: must be at least 1, got {self.seeds}. Try: --seeds 3")


def reproduce(
    claim: str,
    data: str | Path | None = None,
    *,
    seeds: int = DEFAULT_SEEDS,
    depths: tuple[int, int] | None = None,
    budget: str = "quick",
    out: str | Path | None = None,
    data_dir: str | Path | None = None,
    execution: Execution | None = None,
    observer: ReproductionObserver | None = None,
) -> Finding:
    """Reproduce one claim: train what it is about, measure, judge by a rule fixed beforehand.

    Args:
        claim: its name, such as `degradation`; `residuum reproduce --list` shows all.
        data: `digits`, `cifar10`, another named set, or an image folder; by default what the budget is meant for.
        seeds: trainings of each net.
        depths: the shallow and the deep net, for claims that compare two; those of the paper by default.
        budget: `quick`, `short` or `paper`, as far as the data has them.
        out: where runs, Finding and report go; finished runs found there are reused.
        data_dir: where the files of a named set lie.
        execution: device and threads.
        observer: who is told of the progress; nobody by default.

    Returns:
        The Finding: published value, measured mean and standard deviation, verdict.

    Raises:
        InputError: there is no such claim, or an argument cannot be used; nothing was written.
        Interrupted: stopped by a signal; the same call goes on from there.
        TrainingError: not one training reached its end.
        StorageError: the disk is full, read-only or failing.
    """
    order = Order(
        claims=(claim,),
        budget=budget,
        data=data,
        data_dir=data_dir,
        seeds=seeds,
        depths=depths,
        out=out,
        execution=execution or Execution(),
    )
    return reproduce_all(order, observer)[0]


def reproduce_all(order: Order, observer: ReproductionObserver | None = None) -> list[Finding]:
    """Reproduce several claims, or all; trainings that they share are made once. The Findings, in the claims' order.

    Raises:
        InputError, Interrupted, TrainingError, StorageError: as `reproduce`.
    """
    work = prepare(order, observer or SilentReproduction())
    return work.carry_out()


def prepare(order: Order, observer: ReproductionObserver) -> Reproduction:
    """What an order comes to: its claims, data and trainings; nothing is made yet.

    Raises:
        InputError: a claim is unknown or cannot be judged on these data, or an argument cannot be used.
    """
    found = chosen(order.claims)
    data = str(order.data or DEFAULT_DATA.get(order.budget, "digits"))
    dataset = within_budget(open_data(data, order.data_dir, observer), order.budget)
    setting = Setting(
        budget=order.budget,  # type: ignore[arg-type]  # `within_budget` knows it
        data=data,
        data_dir=None if order.data_dir is None else str(order.data_dir),
        dataset=dataset,
        seeds=tuple(range(order.seeds)),
        depths=order.depths,
    )
    fitting = [claim for claim in found if setting.kind in claim.kinds]
    if order.claims and (unfit := [claim for claim in found if claim not in fitting]):
        raise InputError(f"{unfit[0].name}: cannot be judged on {data}. Try: --data cifar10")
    if order.depths is not None and not (order.claims and all(claim.takes_depths for claim in fitting)):
        named = next((claim.name for claim in fitting if not claim.takes_depths), "--all")
        raise InputError(f"depths: {named} compares no two depths. Try: without --depths")
    plans = {claim.name: claim.plan(setting) for claim in fitting}
    name = Path(data).resolve().name
    single = f"{found[0].name}-" if len(order.claims) == 1 else ""
    depths = "".join(f"-{depth}" for depth in order.depths or ())
    directory = Path(order.out) if order.out else Path(RUNS) / f"reproduce-{single}{name}{depths}-{order.budget}"
    if directory.exists() and any(directory.iterdir()) and not _is_reproduction(directory):
        raise InputError(f"{directory}: exists and is not of a reproduction. Try: another --out")
    return Reproduction(order=order, setting=setting, claims=fitting, plans=plans, directory=directory,
                        observer=observer)  # fmt: skip


def _is_reproduction(directory: Path) -> bool:
    return (directory / RUNS).is_dir() or any(directory.glob(f"*/{FINDING}"))


@dataclass(kw_only=True)
class Reproduction:
    """The claims of an order with their trainings, on the way to their Findings."""

    order: Order
    setting: Setting
    claims: Sequence[Claim]
    plans: Mapping[str, Sequence[PlannedRun]]
    directory: Path
    observer: ReproductionObserver
    findings: dict[str, Finding] = field(default_factory=dict)

    @property
    def trainings(self) -> list[PlannedRun]:
        """All trainings, those that claims share once.

        Raises:
            ValueError: two claims call different trainings alike.
        """
        found: dict[str, PlannedRun] = {}
        for plan in self.plans.values():
            for planned in plan:
                if found.setdefault(planned.name, planned) != planned:
                    raise ValueError(f"{planned.name}: is planned in two ways")
        return [*found.values()]

    @property
    def missing(self) -> list[PlannedRun]:
        """The trainings that are not finished in the directory."""
        stands = {each.name: self.directory / RUNS / each.name for each in self.trainings}
        done = {name for name, path in stands.items() if Run.stands_at(path) and Run.open(path).result is not None}
        return [each for each in self.trainings if each.name not in done]

    def cost(self) -> str:
        """What it takes, in words."""
        trainings, missing = self.trainings, self.missing
        work = sum(work_of(each, self.setting.dataset) for each in missing)
        made = f", {len(trainings) - len(missing)} of them made before" if len(missing) < len(trainings) else ""
        nets = len({each.net for each in trainings})
        costs = f"{work / 1e12:,.1f} T multiply-adds forward" if missing else "nothing to train"
        claims = f"{len(self.claims)} claim{'s' if len(self.claims) > 1 else ''}"
        return f"{claims}, {len(trainings)} trainings of {nets} nets{made}: {costs}"

    def carry_out(self) -> list[Finding]:
        """Train, and judge each claim as soon as its trainings are there.

        Raises:
            InputError, Interrupted, TrainingError, StorageError: as `reproduce`.
        """
        self.observer.message(self.cost())
        trainings = self.trainings
        self.conclude_from(Executed({}, ()))
        if trainings:
            done = execute(
                trainings,
                self.setting.dataset,
                self.directory / RUNS,
                data_dir=self.order.data_dir,
                title=self._title,
                execution=self.order.execution,
                observer=self.observer,
                on_end=self.conclude_from,
            )
            self.conclude_from(done)
        self.write_ledger()
        return [self.findings[claim.name] for claim in self.claims]

    @property
    def _title(self) -> str:
        what = self.claims[0].name if len(self.claims) == 1 else f"{len(self.claims)} claims"
        return f"{what} on {Path(self.setting.data).name}"

    def conclude_from(self, done: Executed) -> None:
        """Judge the claims whose trainings have all come to an end by now."""
        ended = {*done.runs, *(_run_of(failure) for failure in done.failures)}
        for claim in self.claims:
            if claim.name not in self.findings and all(each.name in ended for each in self.plans[claim.name]):
                self.findings[claim.name] = self._conclude(claim, done)

    def _conclude(self, claim: Claim, done: Executed) -> Finding:
        names = {each.name for each in self.plans[claim.name]}
        own = Executed(
            {name: run for name, run in done.runs.items() if name in names},
            tuple(failure for failure in done.failures if _run_of(failure) in names),
        )
        self.observer.claim_started(claim.name, len(self.findings) + 1, len(self.claims))
        finding = (self.order.keep and self._kept(claim, own)) or self._measured(claim, own)
        self.observer.claim_ended(claim.name, str(finding.verdict))
        return finding

    def _kept(self, claim: Claim, own: Executed) -> Finding | None:
        """The Finding of an earlier call, where it is of the same trainings under the same conditions."""
        path = self.directory / claim.name / FINDING
        try:
            finding = Finding.from_json(json.loads(path.read_text()), path.parent)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        same = (finding.conditions, finding.seeds, finding.runs, finding.failures) == (
            self.setting.conditions,
            self.setting.seeds,
            json.loads(dumps(run_rows(own))),
            own.failures,
        )
        return finding if same else None

    def _measured(self, claim: Claim, own: Executed) -> Finding:
        device = choose_device(self.order.execution.device)
        evidence = Evidence(setting=self.setting, done=own, progress=self.observer.claim_progress, device=device)
        began = time.perf_counter()
        if own.failures and not claim.excuses_failures:
            return self._failed(claim, own)
        with measuring(self.order.execution.threads):
            found = claim.measure(evidence)
        arms = {arm.name: arm.measured for arm in found.arms}
        finding = Finding(
            summary=found.summary,
            basis=found.basis,
            quantities=found.quantities,
            arms=found.arms,
            judged=tuple(judge(each, arms) for each in found.comparisons),
            measuring_seconds=time.perf_counter() - began,
            excused=claim.excuses_failures,
            **self._common(claim, own),
        )
        directory = finding.directory
        write_file(directory / "figure.png", found.drawing.png)
        page = finding_page(finding, found.drawing, caption=found.caption)
        write_file(directory / "report.html", page)
        write_file(directory / FINDING, dumps(finding.to_json()))
        return finding

    def _failed(self, claim: Claim, own: Executed) -> Finding:
        """A Finding that has nothing to compare: a training that it needs failed."""
        finding = Finding(
            summary="Not every training reached its end, so there is nothing to compare.",
            basis="measured",
            quantities=(),
            arms=(),
            judged=(),
            measuring_seconds=0.0,
            **self._common(claim, own),
        )
        write_file(finding.directory / "report.html", finding_page(finding, None, caption=""))
        write_file(finding.directory / FINDING, dumps(finding.to_json()))
        return finding

    def _common(self, claim: Claim, own: Executed) -> dict[str, Any]:
        """What a Finding says whatever came out."""
        plan = self.plans[claim.name]
        return {
            "name": claim.name,
            "claim": claim.statement,
            "source": claim.source,
            "budget": self.setting.budget,
            "conditions": self.setting.conditions if plan else "no training",
            "seeds": self.setting.seeds if plan else (),
            "runs": run_rows(own),
            "seconds": sum(float((run.result or {}).get("seconds", 0)) for run in own.runs.values()),
            "recipe": plan[0].recipe.to_json() if plan else {},
            "environment": together(own.runs.values()) or measuring_environment(self.order.execution),
            "command": self.command(claim.name),
            "directory": self.directory / claim.name,
            "failures": own.failures,
        }

    def command(self, claim: str) -> str:
        """What to type for the same Finding of one claim."""
        setting = self.setting
        words = ["residuum", "reproduce", claim, "--budget", setting.budget, "--data", setting.data]
        words += ["--data-dir", setting.data_dir] if setting.data_dir is not None else []
        words += ["--depths", *map(str, setting.depths)] if setting.depths is not None else []
        return shlex.join([*words, "--seeds", str(len(setting.seeds))])

    def write_ledger(self) -> None:
        """The ledger of all that is judged, in both languages."""
        entries = [Entry(claim.group, self.findings[claim.name].to_json()) for claim in self.claims]
        write_ledger(self.directory, entries)


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


def _run_of(failure: str) -> str:
    """The name of the Run that a failure is of."""
    return failure.partition(": ")[0]


def measuring_environment(execution: Execution) -> dict[str, object]:
    """Where something was measured that needs no training."""
    device = str(choose_device(execution.device))
    return environment() | {"threads": execution.threads or torch.get_num_threads(), "device": device}


def planned_cost(order: Order, observer: ReproductionObserver | None = None) -> str:
    """What an order takes, in words; nothing is made."""
    return prepare(order, observer or SilentReproduction()).cost()
