"""Reproduce claims: make every training that they need once, measure, judge, and write it all down.

    out/
      reproduction.json              what all of it is of: budget and data
      runs/resnet20-seed0/           every training, a Run; claims share them
      degradation/                   one claim
        finding.json  report.html  figure.png
      ledger.md  ledger.html         all claims that are judged; ledger.ko.* in Korean

The same call again goes on: finished Runs are reused, interrupted ones resumed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from signal import SIGINT
from typing import Protocol

from residuum.errors import Interrupted, ResiduumError, StorageError, TrainingError
from residuum.experiments import claims as every
from residuum.experiments.claim import Claim
from residuum.experiments.directory import OwnLedger, require_own, write_mark
from residuum.experiments.judging import Judging
from residuum.experiments.known import known
from residuum.experiments.order import DEFAULT_SEEDS, Order, fitting_claims, setting_of
from residuum.experiments.price import Price, price
from residuum.experiments.setting import Setting, within_budget
from residuum.files.atomic import storage_error
from residuum.files.lock import lock_directory
from residuum.plans.at_once import divided, how_many_of
from residuum.plans.execute import execute
from residuum.plans.plan import Executed, Plan, PlannedRun, PlanObserver, SilentPlan
from residuum.records.environment import source_digest
from residuum.records.finding import Finding
from residuum.run import Run
from residuum.training.asked import open_data
from residuum.training.prepare import choose_device
from residuum.training.recipe import Execution
from residuum.training.signals import Interrupting

RUNS = "runs"


class ReproductionObserver(PlanObserver, Protocol):
    """A plan's observer that also hears of what is measured once the trainings are there."""

    def claim_started(self, name: str, number: int, count: int) -> None:
        """Claim `number` of `count`, from 1, is measured."""

    def claim_progress(self, done: int, total: int) -> None:
        """So many of its measurements are done."""

    def claim_ended(self, name: str, outcome: str) -> None:
        """It is judged, or could not be measured."""


class SilentReproduction(SilentPlan):
    """An observer that shows nothing."""

    def claim_started(self, name: str, number: int, count: int) -> None: ...

    def claim_progress(self, done: int, total: int) -> None: ...

    def claim_ended(self, name: str, outcome: str) -> None: ...


class MeasuringError(ResiduumError):
    """The code of a claim failed on what was trained, which is kept; `findings` are those of the other claims."""

    def __init__(self, message: str, findings: Sequence[Finding]) -> None:
        super().__init__(message)
        self.findings = list(findings)


def reproduce(
    claim: str,
    data: str | Path | None = None,
    *,
    seeds: int = DEFAULT_SEEDS,
    depths: tuple[int, ...] | None = None,
    budget: str = "quick",
    out: str | Path | None = None,
    data_dir: str | Path | None = None,
    side_by_side: int | None = None,
    execution: Execution | None = None,
    observer: ReproductionObserver | None = None,
) -> Finding:
    """Reproduce one claim: train what it is about, measure, judge by a rule fixed beforehand.

    Args:
        claim: its name, such as `degradation`; `residuum reproduce --list` shows all.
        data: `digits`, `cifar10`, another named set, or an image folder; by default what the budget is meant for.
        seeds: trainings of each net.
        depths: layers of the nets, rising, for claims that compare depths; the claim's own by default.
        budget: `quick`, `short` or `paper`, as far as the data has them.
        out: where runs, Finding and ledger go; finished runs found there are reused.
        data_dir: where the files of a named set lie.
        side_by_side: at most so many trainings at once, each in a process of its own that gets its part of the threads;
            1 by default on a CPU, and on a GPU as many as its memory holds.
        execution: device and threads.
        observer: who is told of the progress; nobody by default.

    Returns:
        The Finding: published value, measured mean and standard deviation, verdict.

    Raises:
        InputError: there is no such claim, or an argument cannot be used; nothing was written.
        Interrupted: stopped by a signal; the same call goes on from there.
        TrainingError: not one training reached its end.
        MeasuringError: the claim's own code failed.
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
        side_by_side=side_by_side,
        execution=execution or Execution(),
    )
    return reproduce_all(order, observer)[0]


def reproduce_all(order: Order, observer: ReproductionObserver | None = None) -> list[Finding]:
    """Reproduce several claims, or all; trainings that they share are made once. The Findings, in the claims' order.

    Raises:
        InputError, Interrupted, TrainingError, MeasuringError, StorageError: as `reproduce`.
    """
    return prepare(order, observer or SilentReproduction()).carry_out()


def prepare(order: Order, observer: ReproductionObserver) -> Reproduction:
    """What an order comes to: its claims, data and trainings; nothing is made yet.

    Raises:
        InputError: a claim is unknown or cannot be judged on these data, or an argument cannot be used.
    """
    found = every.chosen(order.claims)
    dataset = within_budget(open_data(order.named_data, order.data_dir, observer), order.budget)
    setting = setting_of(order, dataset)
    fitting = fitting_claims(order, found, setting)
    plans = {claim.name: claim.plan(setting) for claim in fitting}
    require_own(order.directory, setting)
    left_out = [claim.name for claim in found if claim not in fitting]
    if left_out:
        observer.message(f"left out, since {order.named_data} cannot show them: {', '.join(left_out)}")
    return Reproduction(order=order, setting=setting, claims=fitting, plans=plans, observer=observer)


@dataclass(kw_only=True)
class Reproduction:
    """The claims of an order with their trainings, on the way to their Findings.

    Attributes:
        order, setting, observer: as given.
        claims: to be judged, in order.
        plans: the trainings of each.
        findings: of the claims that are judged by now.
        broken: of claims whose own code failed, what it raised.
        ledger: of all that is judged in the directory, once it is carried out.
        before: trainings that were finished by earlier calls.
        at_once: those that run side by side.
        doing: what a message says if it is stopped now.
    """

    order: Order
    setting: Setting
    claims: Sequence[Claim]
    plans: Mapping[str, Sequence[PlannedRun]]
    observer: ReproductionObserver
    findings: dict[str, Finding] = field(default_factory=dict)
    broken: dict[str, Exception] = field(default_factory=dict)
    ledger: OwnLedger = field(init=False)
    before: set[str] = field(default_factory=set)
    at_once: int = 1
    doing: str = ""

    @property
    def directory(self) -> Path:
        return self.order.directory

    @property
    def trainings(self) -> list[PlannedRun]:
        """All trainings, those that claims share once."""
        return trainings_of(self.plans)

    @property
    def plan(self) -> Plan:
        """These trainings, in the directory."""
        what = self.claims[0].name if len(self.claims) == 1 else f"{len(self.claims)} claims"
        return Plan(
            title=f"{what} on {Path(self.setting.data).name}",
            trainings=self.trainings,
            dataset=self.setting.dataset,
            directory=self.directory / RUNS,
            data_dir=self.order.data_dir,
        )

    def made(self) -> dict[str, Run]:
        """The trainings that are finished in the directory already, by name.

        Raises:
            InputError: one was made with another recipe.
        """
        return self.plan.decided(choose_device(self.order.execution.device)).finished()

    def price(self) -> Price:
        """What it takes; how long is known of trainings side by side where such were made here before.

        Raises:
            InputError: a training that stands in the directory was made with another recipe.
        """
        names = [claim.name for claim in self.claims]
        made = self.made()
        found = price(self.trainings, names, self.setting, made=made, known=known())
        if self.at_once == 1 or found.seconds is None:
            return found
        threads = divided(self.order.execution, self.at_once).threads
        alike = made and all(run.environment.get("threads") == threads for run in made.values())
        return replace(found, seconds=found.seconds / self.at_once if alike else None)

    def carry_out(self) -> list[Finding]:
        """Train, and judge each claim as soon as its trainings are there.

        Raises:
            InputError, Interrupted, TrainingError, MeasuringError, StorageError: as `reproduce`.
        """
        source_digest()  # of what is imported now, and not of what the disk holds when the last training has ended
        self.before = set(self.made())
        missing = [each for each in self.trainings if each.name not in self.before]
        self.at_once = how_many_of(missing, self.setting.dataset, self.order.execution, self.order.side_by_side)
        cost, count = self.price(), len(self.claims)
        self.observer.message(f"{count} claim{'' if count == 1 else 's'}: {cost}")
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error(self.directory, error) from error
        with Interrupting() as stop, lock_directory(self.directory):
            try:
                write_mark(self.directory, self.setting)
                return self._findings()
            except KeyboardInterrupt:
                raise Interrupted(
                    f"{self.directory}: stopped{self.doing}; all that was made before is kept. "
                    "Try: the same command again, it goes on from here (--resume: without judging anew)",
                    signal_number=stop.signal_number or SIGINT,
                ) from None

    def _findings(self) -> list[Finding]:
        self.ledger = OwnLedger(self.directory, remade=[claim.name for claim in self.claims])
        self._conclude_from(Executed({}, ()))
        none_ended = None
        if self.trainings:
            try:
                each = divided(self.order.execution, self.at_once)
                execute(self.plan, self.at_once, execution=each, observer=self.observer, on_end=self._conclude_from)
            except TrainingError as error:
                none_ended = error  # which may be the answer that a claim expects
        findings = [self.findings[claim.name] for claim in self.claims if claim.name in self.findings]
        if self.broken:
            raise self._as_error(findings) from next(iter(self.broken.values()))
        if none_ended is not None and all(finding.failures and not finding.excused for finding in findings):
            raise none_ended
        return findings

    def _conclude_from(self, done: Executed) -> None:
        """Judge the claims whose trainings have all come to an end by now."""
        ended = {*done.runs, *(failure.run for failure in done.failures)}
        for claim in self.claims:
            open_still = claim.name not in self.findings and claim.name not in self.broken
            if open_still and all(each.name in ended for each in self.plans[claim.name]):
                self._conclude(claim, done)

    def _conclude(self, claim: Claim, done: Executed) -> None:
        plan = self.plans[claim.name]
        names = {each.name for each in plan}
        own = Executed(
            {each.name: done.runs[each.name] for each in plan if each.name in done.runs},
            tuple(failure for failure in done.failures if failure.run in names),
        )
        judging = Judging(
            setting=self.setting,
            directory=self.directory,
            execution=self._execution_beside(done),
            progress=self.observer.claim_progress,
        )
        self.doing = f" while measuring {claim.name}"
        self.observer.claim_started(claim.name, len(self.findings) + len(self.broken) + 1, len(self.claims))
        try:
            kept = judging.judged_before(claim, own) if self.order.keep else None
            self.findings[claim.name] = kept or judging.judge(claim, plan, own)
        except (StorageError, Interrupted):
            raise
        except Exception as error:
            self.broken[claim.name] = error
            self.observer.claim_ended(claim.name, f"could not be measured ({_reason(error)})")
        else:
            self.observer.claim_ended(claim.name, str(self.findings[claim.name].verdict))
            self.ledger.add(self.findings[claim.name])
        self.doing = ""

    def _execution_beside(self, done: Executed) -> Execution:
        """Where and by how many threads to measure: while others train, by those of one training."""
        ended = {*done.runs, *(failure.run for failure in done.failures)}
        others_train = self.at_once > 1 and ended > self.before and len(ended) < len(self.trainings)
        return divided(self.order.execution, self.at_once) if others_train else self.order.execution

    def _as_error(self, findings: Sequence[Finding]) -> MeasuringError:
        (name, error), *others = self.broken.items()
        also = f"; so it did for {', '.join(other for other, _ in others)}" if others else ""
        return MeasuringError(
            f"{name}: measuring it failed ({_reason(error)}){also}; all trainings are kept. "
            "Try: the same command with --debug, which shows where",
            findings,
        )


def trainings_of(plans: Mapping[str, Sequence[PlannedRun]]) -> list[PlannedRun]:
    """All trainings of some plans by claim, those that claims share once.

    Raises:
        ValueError: two claims call different trainings alike.
    """
    found: dict[str, PlannedRun] = {}
    for claim, plan in plans.items():
        for planned in plan:
            if found.setdefault(planned.name, planned) != planned:
                raise ValueError(f"{planned.name}: is planned in two ways, one of them by {claim}")
    return [*found.values()]


def _reason(error: Exception) -> str:
    """What went wrong, in one line, without the action that it may name."""
    said = " ".join(str(error).partition(". Try:")[0].split())[:200]
    return said if isinstance(error, ResiduumError) else f"{type(error).__name__}: {said}"
