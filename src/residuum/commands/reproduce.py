"""`residuum reproduce` and `residuum report`."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from residuum.commands.options import Hardware, execution, shown_path

if TYPE_CHECKING:
    from residuum.records.finding import Finding


@dataclass(frozen=True)
class Reproduce:
    """Reproduce a published claim: train, measure, judge; write a Finding and its page."""

    claim: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="CLAIM")]
    """degradation: deeper plain networks train worse, and shortcuts cure it."""
    data: str = "digits"
    """digits, cifar10, cifar100, mnist, fashion-mnist, or a folder with one directory for each class."""
    data_dir: Path | None = None
    """Where the files of a named data set lie; downloaded otherwise."""
    seeds: int = 3
    """Trainings of each net."""
    depths: tuple[int, int] | None = None
    """The shallow and the deep net; 20 56, or 18 34 for a folder."""
    budget: str | None = None
    """quick, short or paper, as far as the data has them."""
    out: Path | None = None
    """Where runs, Finding and report go; finished runs found there are reused."""
    json: bool = False
    """Print the Finding as JSON."""
    hardware: Annotated[Hardware, tyro.conf.arg(name="")] = field(default_factory=Hardware)

    def run(self) -> int:
        from residuum.experiments.claims import reproduce
        from residuum.report.progress import PlanProgress

        with PlanProgress() as progress:
            finding = reproduce(
                self.claim,
                self.data,
                seeds=self.seeds,
                depths=self.depths,
                budget=self.budget,
                out=self.out,
                data_dir=self.data_dir,
                execution=execution(self.hardware),
                observer=progress,
            )
        if self.json:
            print(json.dumps(finding.to_json(), indent=1, default=str))
        else:
            print_finding(finding)
        return 0


@dataclass(frozen=True)
class Report:
    """Draw the report of a Run anew, finished or not."""

    run_directory: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """The Run directory."""

    def run(self) -> int:
        from residuum.report.run_page import write_run_report
        from residuum.run import Run

        run = Run.open(self.run_directory)
        metrics, result = run.metrics(), run.result
        if result is not None and (not metrics or metrics[-1]["step"] != result["steps"]):
            print(f"warning: {run.path / 'metrics.jsonl'} is not whole: curves are missing", file=sys.stderr)
        page = write_run_report(
            run.path,
            config=run.config.model_dump(mode="json"),
            environment=run.environment,
            metrics=metrics,
            result=result,
        )
        print(shown_path(page))
        return 0


def print_finding(finding: Finding) -> None:
    """The Finding's tables, its verdict, and where its page lies."""
    from residuum.report.finding_page import arms_table, judged_table
    from residuum.report.table import print_table

    print(f"{finding.claim} ({finding.source})")
    print(f"{finding.budget}\n")
    print_table(arms_table(finding))
    print()
    print_table(judged_table(finding))
    for failure in finding.failures:
        print(f"failed: {failure}")
    print(f"\nverdict: {finding.verdict}")
    print(f"report: {shown_path(finding.directory / 'report.html')}")
