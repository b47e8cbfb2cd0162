"""`residuum reproduce`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from shutil import get_terminal_size
from textwrap import fill
from typing import TYPE_CHECKING, Annotated

import tyro

from residuum.commands.options import Hardware, execution, shown_path
from residuum.errors import InputError

if TYPE_CHECKING:
    from residuum.experiments.listing import Listed
    from residuum.experiments.order import Order
    from residuum.records.finding import Finding

WIDEST = 100  # characters of a line of the list
INDENT = "    "


@dataclass(frozen=True)
class Reproduce:
    """Reproduce published claims: train, measure, judge; write Findings, their pages and the ledger."""

    claims: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="CLAIM")] = ()
    """degradation, shortcuts, ...: --list shows all."""
    all: bool = False
    """Every claim that the data can show."""
    list: bool = False
    """Show the claims, what they cost at this budget and what was found last; nothing is made."""
    budget: str = "quick"
    """quick, short or paper, as far as the data has them."""
    data: str | None = None
    """digits, cifar10, cifar100, mnist, fashion-mnist, or a folder with one directory for each class; digits for quick,
    cifar10 for short and paper."""
    data_dir: Path | None = None
    """Where the files of a named data set lie; downloaded otherwise."""
    seeds: int = 3
    """Trainings of each net."""
    depths: tuple[int, ...] | None = None
    """Layers of the nets, for claims that compare depths; 20 56, at budget paper 20 32 44 56, for a folder 18 34."""
    out: Path | None = None
    """Where runs, Findings, their pages and the ledger go; finished runs found there are reused."""
    side_by_side: int | None = None
    """At most so many trainings at once, each with its part of the threads; 1 by default, on a GPU as many as fit."""
    resume: bool = False
    """Take over what is judged there already under the same conditions, in place of measuring again."""
    record: Path | None = None
    """Add the Findings to this JSON file, beside those of other claims; figures go into a folder of its name."""
    json: bool = False
    """Print JSON."""
    hardware: Annotated[Hardware, tyro.conf.arg(name="")] = field(default_factory=Hardware)

    def run(self) -> int:
        if self.all and self.claims:
            raise InputError("reproduce: names claims and all of them. Try: residuum reproduce --all")
        if self.list:
            return self._list()
        if not self.all and not self.claims:
            raise InputError("reproduce: names no claim. Try: residuum reproduce degradation, or --all, or --list")
        from residuum.experiments.reproduce import MeasuringError, reproduce_all
        from residuum.records.findings_file import findings_to_add_to
        from residuum.report.progress import ReproductionProgress

        order = self._order()
        if self.record is not None:
            findings_to_add_to(self.record, order.budget, order.named_data)
        try:
            with ReproductionProgress() as progress:
                findings = reproduce_all(order, progress)
        except MeasuringError as error:
            if error.findings:
                self._tell(error.findings)
            raise
        self._tell(findings)
        return 0

    def _list(self) -> int:
        from residuum.experiments.listing import listing

        for name in ("data", "data_dir", "record", "out", "side_by_side", "resume", "hardware"):
            if getattr(self, name) != (Hardware() if name == "hardware" else getattr(Reproduce, name)):
                what = "--" + name.replace("_", "-") if name != "hardware" else "how to train"
                raise InputError(f"{what}: means nothing for --list, which makes nothing. Try: --list --budget quick")
        rows, whole = listing(self._order())
        if self.json:
            print(json.dumps([plain_listed(row) for row in rows], indent=1))
            return 0
        print_claims(rows)
        which = "together" if self.claims else "all"
        print(f"\n{_wrapped(f'{which}, at budget {self.budget}, {self.seeds} seeds: {whole}')}")
        print("residuum reproduce CLAIM makes one anew, --all every one")
        return 0

    def _tell(self, findings: Sequence[Finding]) -> None:
        """Record the Findings where that is asked for, and print them."""
        if self.record is not None:
            from residuum.experiments.claims import claims
            from residuum.records.findings_file import add_findings

            add_findings(self.record, findings, [*claims()])
        if self.json:
            plain = [finding.to_json() for finding in findings]
            print(json.dumps(plain[0] if len(self.claims) == 1 else plain, indent=1, default=str))
        elif len(self.claims) == 1:
            print_finding(findings[0])
        else:
            print_findings(findings)

    def _order(self) -> Order:
        from residuum.experiments.order import Order

        return Order(
            claims=self.claims,
            budget=self.budget,
            data=self.data,
            data_dir=self.data_dir,
            seeds=self.seeds,
            depths=self.depths,
            out=self.out,
            side_by_side=self.side_by_side,
            keep=self.resume,
            execution=execution(self.hardware),
        )


def print_claims(rows: Sequence[Listed]) -> None:
    """Every claim, group by group: its cost and what was found last, below it what it says and where."""
    from residuum.report.ledger import GROUPS

    width = max(len(row.claim.name) for row in rows)
    for group, members in groupby(rows, key=lambda row: row.claim.group):
        print(f"\n{GROUPS[group].en}\n")
        for row in members:
            print(f"{row.claim.name:<{width}}  {_cost(row):<26}  {_last(row)}".rstrip())
            for text in (row.claim.statement.en, f"({row.claim.source.en})"):
                print(_wrapped(text, INDENT))


def _wrapped(text: str, indent: str = "") -> str:
    """A text in lines no longer than the terminal."""
    columns = min(get_terminal_size((WIDEST, 0)).columns, WIDEST)
    return fill(text, columns, initial_indent=indent, subsequent_indent=INDENT)


def plain_listed(row: Listed) -> dict[str, object]:
    """One claim as JSON shows it."""
    price, last = row.price, row.last
    return {
        "name": row.claim.name,
        "claim": row.claim.statement.en,
        "source": row.claim.source.en,
        "trainings": price.trainings if price else None,
        "macs": price.macs if price else None,
        "seconds": price.seconds if price else None,
        "measuring_seconds": price.measuring_seconds if price else None,
        "last": {"budget": last[0], "verdict": last[1].verdict, "conditions": last[1].conditions} if last else None,
    }


def _cost(row: Listed) -> str:
    """`12 trainings, 1.8 min`; the time where the same was timed before."""
    from residuum.report.numbers import duration

    price = row.price
    if price is None:
        return "needs other data"
    cost = f"{price.trainings} trainings" if price.trainings else "no training"
    known = (price.seconds if price.trainings else price.measuring_seconds) is not None
    return f"{cost}, {duration((price.seconds or 0) + (price.measuring_seconds or 0))}" if known else cost


def _last(row: Listed) -> str:
    if row.last is None:
        return ""
    budget, found = row.last
    return f"{found.verdict.removesuffix(' at this budget')} ({budget})"


def print_findings(findings: Sequence[Finding]) -> None:
    """A verdict in each line, how many there are of each, and where the ledger lies."""
    from residuum.records.finding import Verdict
    from residuum.report.page import Table
    from residuum.report.table import print_table

    rows = [[finding.name, finding.claim.en, str(finding.verdict)] for finding in findings]
    print_table(Table(("claim", "it says", "verdict"), rows), foldable=1)
    verdicts = [finding.verdict for finding in findings]
    print("\n" + ", ".join(f"{each}: {verdicts.count(each)}" for each in Verdict))
    print(f"ledger: {shown_path(findings[0].directory.parent / 'ledger.html')}")


def print_finding(finding: Finding) -> None:
    """The Finding's tables, its verdict, and where its page lies."""
    from residuum.report.finding_page import arms_table, judged_table, off_published_lines
    from residuum.report.table import print_table

    print(f"{finding.claim.en} ({finding.source.en})")
    print(f"{finding.budget}: {finding.conditions.en}\n")
    if finding.arms:
        print_table(arms_table(finding), foldable=1)
        print()
        print_table(judged_table(finding), foldable=0)
        print()
    print(finding.summary.en)
    for line in off_published_lines(finding):
        print(line)
    for failure in finding.failures:
        print(f"failed: {failure}")
    print(f"\nverdict: {finding.verdict}")
    print(f"report: {shown_path(finding.directory / 'report.html')}")
