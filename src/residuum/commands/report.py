"""`residuum report`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from residuum.commands.options import shown_path


@dataclass(frozen=True)
class Report:
    """Draw the report of a Run or of several seeds anew, finished or not."""

    run_directory: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """The Run directory, or that of several seeds."""

    def run(self) -> int:
        from residuum.plans.seeds import is_plan_of_seeds
        from residuum.plans.seeds_record import Seeds
        from residuum.report.run_page import write_run_report
        from residuum.run import Run

        if is_plan_of_seeds(self.run_directory):
            print(shown_path(Seeds.read(self.run_directory).draw()))
            return 0
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
