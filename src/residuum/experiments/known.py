"""What came of the claims when they were last reproduced for the record, as the package keeps it.

`known.json` is a condensed form of `results/claims-*.json`, written by `results/render.py`:

    claims      by name and budget: verdict, number of trainings, what was trained and how, seconds, machine
    trainings   by what is trained on and how: the machine, and the seconds of one training of each net
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib import resources
from statistics import fmean
from typing import Any

from residuum.records.finding import Finding
from residuum.report.finding_page import processor
from residuum.report.ledger import BY_COST

FILE = "known.json"


@dataclass(frozen=True, kw_only=True)
class KnownFinding:
    """The verdict on a claim by one budget, and what that cost on which machine."""

    verdict: str
    conditions: str
    trainings: int
    seconds: float
    measuring_seconds: float
    machine: str


@dataclass(frozen=True, kw_only=True)
class KnownTrainings:
    """The seconds that one training of each net took on a machine, by the name of the training without its seed."""

    machine: str
    seconds: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Known:
    """All that is known of earlier reproductions."""

    claims: Mapping[str, Mapping[str, KnownFinding]] = field(default_factory=dict)
    trainings: Mapping[str, KnownTrainings] = field(default_factory=dict)

    def last(self, claim: str) -> tuple[str, KnownFinding] | None:
        """The budget and the Finding of the dearest budget by which a claim was judged; None where it never was."""
        found = self.claims.get(claim, {})
        return next(((budget, found[budget]) for budget in BY_COST if budget in found), None)


@cache
def known() -> Known:
    """What the package knows; nothing where it has no such file."""
    file = resources.files("residuum.experiments") / FILE
    return read(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else Known()


def read(plain: Mapping[str, Any]) -> Known:
    """What `condensed` gave."""
    return Known(
        claims={
            name: {budget: KnownFinding(**one) for budget, one in found.items()}
            for name, found in plain["claims"].items()
        },
        trainings={regime: KnownTrainings(**one) for regime, one in plain["trainings"].items()},
    )


def condensed(findings: Sequence[Finding]) -> dict[str, Any]:
    """Findings on record, of any budgets, as plain JSON values for `known.json`."""
    claims: dict[str, dict[str, Any]] = {}
    machines: dict[str, str] = {}
    times: dict[str, dict[str, dict[str, float]]] = {}
    for finding in findings:
        claims.setdefault(finding.name, {})[finding.budget] = asdict(_condensed(finding))
        regime = finding.conditions.en.rpartition("; ")[0]
        for name, run in finding.runs.items():
            machines.setdefault(regime, processor(finding.environment))
            times.setdefault(regime, {}).setdefault(without_seed(name), {})[name] = float(str(run["seconds"]))
    trainings = {
        regime: {"machine": machines[regime], "seconds": {n: round(fmean(each.values()), 2) for n, each in own.items()}}
        for regime, own in times.items()
    }
    return {"claims": claims, "trainings": trainings}


def _condensed(finding: Finding) -> KnownFinding:
    return KnownFinding(
        verdict=str(finding.verdict),
        conditions=finding.conditions.en,
        trainings=len(finding.runs) + len(finding.failures),
        seconds=round(finding.seconds, 1),
        measuring_seconds=round(finding.measuring_seconds, 1),
        machine=processor(finding.environment),
    )


def without_seed(name: str) -> str:
    """The name of a training without its seed."""
    return name.rpartition("-seed")[0]
