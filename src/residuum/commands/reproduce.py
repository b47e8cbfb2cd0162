"""`residuum reproduce`."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from residuum.commands.options import Hardware, execution, shown_path
from residuum.errors import InputError

if TYPE_CHECKING:
    from residuum.experiments.reproduce import Order
    from residuum.records.finding import Finding


@dataclass(frozen=True)
class Reproduce:
    """Reproduce published claims: train, measure, judge; write Findings, their pages and the ledger."""

    claims: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="CLAIM")] = ()
    """degradation, shortcuts, ...: --list shows all."""
    all: bool = False
    """Every claim."""
    list: bool = False
    """Show the claims, what they cost and what was found last, and make nothing."""
    budget: str = "quick"
    """quick, short or paper, as far as the data has them."""
    data: str | None = None
    """digits, cifar10, cifar100, mnist, fashion-mnist, or a folder with one directory for each class; digits for quick,
    cifar10 for short and paper."""
    data_dir: Path | None = None
    """Where the files of a named data set lie; downloaded otherwise."""
    seeds: int = 3
    """Trainings of each net."""
    depths: tuple[int, int] | None = None
    """The shallow and the deep net, for claims that compare two; 20 56, or 18 34 for a folder."""
    out: Path | None = None
    """Where runs, Findings and reports go; finished runs found there are reused."""
    resume: bool = False
    """Take over what is judged there already under the same conditions, in place of measuring again."""
    json: bool = False
    """Print the Findings as JSON."""
    hardware: Annotated[Hardware, tyro.conf.arg(name="")] = field(default_factory=Hardware)

    def run(self) -> int:
        from residuum.experiments.reproduce import reproduce_all
        from residuum.report.progress import ReproductionProgress

        if self.list:
            print_claims()
            return 0
        if self.all == bool(self.claims):
            wrong = "names claims and all of them" if self.all else "names no claim"
            raise InputError(f"reproduce: {wrong}. Try: residuum reproduce degradation, or --all, or --list")
        with ReproductionProgress() as progress:
            findings = reproduce_all(self._order(), progress)
        if self.json:
            plain = [finding.to_json() for finding in findings]
            print(json.dumps(plain[0] if self.claims and len(plain) == 1 else plain, indent=1, default=str))
        elif len(findings) == 1:
            print_finding(findings[0])
        else:
            print_findings(findings)
        return 0

    def _order(self) -> Order:
        from residuum.experiments.reproduce import Order

        return Order(
            claims=self.claims,
            budget=self.budget,
            data=self.data,
            data_dir=self.data_dir,
            seeds=self.seeds,
            depths=self.depths,
            out=self.out,
            keep=self.resume,
            execution=execution(self.hardware),
        )


def print_claims() -> None:
    """Every claim: what it says, what its trainings are, and what was found last."""
    from residuum.experiments.claims import claims
    from residuum.experiments.known import last_findings
    from residuum.report.page import Table
    from residuum.report.table import print_table

    known = last_findings()
    rows = []
    for name, claim in claims().items():
        last = known.get(name)
        said = [f"{last.verdict} ({last.budget})", last.cost] if last else ["", ""]
        rows.append([name, claim.statement.en, claim.source, *said])
    print_table(Table(("claim", "", "source", "last verdict", "cost then"), rows))
    print("\nresiduum reproduce CLAIM makes one anew, --all every one")


def print_findings(findings: list[Finding]) -> None:
    """A verdict in each line, and where the ledger lies."""
    from residuum.report.page import Table
    from residuum.report.table import print_table

    rows = [[finding.name, finding.claim.en, str(finding.verdict)] for finding in findings]
    print_table(Table(("claim", "", "verdict"), rows))
    print(f"\nledger: {shown_path(findings[0].directory.parent / 'ledger.html')}")


def print_finding(finding: Finding) -> None:
    """The Finding's tables, its verdict, and where its page lies."""
    from residuum.report.finding_page import arms_table, judged_table
    from residuum.report.table import print_table

    print(f"{finding.claim.en} ({finding.source})")
    print(f"{finding.budget}: {finding.conditions}\n")
    if finding.arms:
        print_table(arms_table(finding))
        print()
        print_table(judged_table(finding))
    for failure in finding.failures:
        print(f"failed: {failure}")
    print(f"\nverdict: {finding.verdict}")
    print(f"report: {shown_path(finding.directory / 'report.html')}")
