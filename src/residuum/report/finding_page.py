"""The page of a Finding, and the table of it for a terminal."""

from __future__ import annotations

import json
import math

from residuum.records.finding import CONFIDENCE, Finding, Judged, Verdict
from residuum.report.figures import Drawing
from residuum.report.page import Section, Table, render

BADGES = {Verdict.HOLDS: "good", Verdict.DOES_NOT_HOLD: "bad", Verdict.NOT_DECIDED: "open"}


def arms_table(finding: Finding) -> Table:
    """One row for each arm: published beside measured, mean ± std over the seeds."""
    quantities = list(finding.arms[0].measured)
    rows = [[arm.name, arm.published, *(arm.measured[name].percent() for name in quantities)] for arm in finding.arms]
    return Table(("net", "published test error, %", *quantities), rows, numeric=tuple(range(2, 2 + len(quantities))))


def runs_table(finding: Finding) -> Table:
    """One row for each run, in the order of arms and seeds."""
    quantities = list(finding.arms[0].measured)
    rows = [
        [run, *(f"{100 * arm.measured[name].values[index]:.2f} %" for name in quantities)]
        for arm in finding.arms
        for index, run in enumerate(arm.runs)
    ]
    return Table(("run", *quantities), rows, numeric=tuple(range(1, 1 + len(quantities))))


def judged_table(finding: Finding) -> Table:
    """One row for each comparison: difference with its confidence interval, margin, verdict."""
    rows = [[each.comparison.statement, *_difference(each), str(each.verdict)] for each in finding.judged]
    return Table(("comparison", "difference", "margin", "verdict"), rows, numeric=(1, 2))


def _difference(judged: Judged) -> tuple[str, str]:
    half = "" if math.isnan(judged.half_width) else f" ± {100 * judged.half_width:.2f}"
    return f"{100 * judged.difference:+.2f}{half} points", f"{100 * judged.comparison.margin:.1f} points"


def finding_page(finding: Finding, drawing: Drawing, *, caption: str, command: str) -> str:
    """The self-contained page of a Finding."""
    rule = (
        f"A comparison is decided when the {CONFIDENCE:.0%} confidence interval of the difference of the two means "
        f"(Welch's t over the seeds) lies on one side of the margin. The claim holds if every comparison holds, does "
        f"not hold if one does not, and is otherwise not decided at this budget. The rule was fixed before the run."
    )
    environment = finding.environment
    packages = environment.get("packages")
    torch_version = packages.get("torch") if isinstance(packages, dict) else None
    sections = [
        Section(title="In short", text=finding.summary),
        Section(title="What was measured", drawing=drawing, caption=caption),
        Section(title="Published and measured", text=finding.budget, table=arms_table(finding)),
        Section(title="Verdict", text=rule, table=judged_table(finding)),
        Section(title="Every run", table=runs_table(finding)),
        Section(
            title="How it was made",
            text=f"{_minutes(finding.seconds)} of training on {environment.get('device')}: {environment.get('cpu')}, "
            f"{environment.get('threads')} threads, Python {environment.get('python')}, torch {torch_version}, "
            f"commit {environment.get('commit') or 'unknown'}.",
            folded=json.dumps({"recipe": finding.recipe, "environment": environment}, indent=1, default=str),
        ),
    ]
    if finding.failures:
        failures = Table(("run",), [[failure] for failure in finding.failures])
        sections.insert(2, Section(title="Runs that failed", table=failures))
    return render(
        title=finding.claim,
        subtitle=finding.source,
        sections=sections,
        badge=str(finding.verdict),
        badge_kind=BADGES[finding.verdict],
        footer=f"made by: {command}",
    )


def _minutes(seconds: float) -> str:
    return f"{seconds / 3600:.1f} hours" if seconds >= 5400 else f"{seconds / 60:.1f} minutes"
