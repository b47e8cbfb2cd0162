"""A Finding: a claim, what was published, what was measured here, and a verdict by a rule fixed before the run.

The rule. A claim is a set of comparisons; each says that the mean of one arm lies above (or not above) the mean of
another by more than a margin. With d the difference of the two means and h half the width of its 95 % confidence
interval (Welch's t over the seeds: the arms' spreads may differ):

    above:      holds if d - h > margin,   does not hold if d + h < margin
    not above:  holds if d + h < margin,   does not hold if d - h > margin

and otherwise it is not decided at this budget; nor is it with fewer than two seeds in an arm, since then h is unknown.
A Finding holds if every comparison holds, does not hold if any does not, and is otherwise not decided.

What the rule does not do: it does not correct for several comparisons (each has its own 5 %); and where no value of
either arm differs (all errors 0, say) h is 0, so that the difference itself decides.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Literal

CONFIDENCE = 0.95


class Verdict(StrEnum):
    """What the numbers say of a claim."""

    HOLDS = "holds"
    DOES_NOT_HOLD = "does not hold"
    NOT_DECIDED = "not decided at this budget"


@dataclass(frozen=True)
class Measured:
    """One quantity of one arm over all its seeds; `values` in the order of the seeds."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values)

    @property
    def std(self) -> float:
        """Sample standard deviation (n - 1); not a number for a single value."""
        return statistics.stdev(self.values) if len(self.values) > 1 else math.nan

    def percent(self) -> str:
        """`12.34 ± 0.56 %`; without the spread for a single value."""
        spread = f" ± {100 * self.std:.2f}" if len(self.values) > 1 else ""
        return f"{100 * self.mean:.2f}{spread} %"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Arm `a` against arm `b`: is the mean of `a` above that of `b` by more than `margin`?"""

    statement: str
    a: str
    b: str
    relation: Literal["above", "not above"]
    margin: float


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A comparison with its numbers: difference of means, half its confidence interval, and the verdict."""

    comparison: Comparison
    difference: float
    half_width: float
    verdict: Verdict


def half_width(a: Measured, b: Measured) -> float:
    """Half the width of the confidence interval of the difference of two means, by Welch's t.

    Not a number with fewer than two values in an arm; 0 where no value differs from its arm's mean.
    """
    from scipy.stats import t

    parts = [each.std**2 / len(each.values) for each in (a, b)]
    if math.isnan(sum(parts)) or sum(parts) == 0:
        return sum(parts)
    freedom = sum(parts) ** 2 / sum(part**2 / (len(each.values) - 1) for part, each in zip(parts, (a, b), strict=True))
    return float(t.ppf((1 + CONFIDENCE) / 2, freedom)) * math.sqrt(sum(parts))


def judge(comparison: Comparison, measured: Mapping[str, Measured]) -> Judged:
    """Apply the rule at the top of this file to one comparison."""
    a, b = measured[comparison.a], measured[comparison.b]
    difference, half = a.mean - b.mean, half_width(a, b)
    above, not_above = difference - half > comparison.margin, difference + half < comparison.margin
    if comparison.relation == "not above":
        above, not_above = not_above, above
    verdict = Verdict.HOLDS if above else Verdict.DOES_NOT_HOLD if not_above else Verdict.NOT_DECIDED
    return Judged(comparison=comparison, difference=difference, half_width=half, verdict=verdict)


def overall(judged: Sequence[Judged]) -> Verdict:
    """The verdict of a Finding from those of its comparisons."""
    verdicts = {each.verdict for each in judged}
    if Verdict.DOES_NOT_HOLD in verdicts:
        return Verdict.DOES_NOT_HOLD
    return Verdict.HOLDS if verdicts == {Verdict.HOLDS} else Verdict.NOT_DECIDED


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One line of a Finding's table: a net trained over all seeds, with fractions (not percent) as values."""

    name: str
    published: str
    measured: Mapping[str, Measured]
    runs: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A claim with its published value, measured arms, comparisons and verdict.

    Attributes:
        name: what `residuum reproduce` calls it.
        claim: the claim in one sentence; `source` says where it is made.
        budget: what was trained and how, in words.
        summary: what came out, in a sentence or two for somebody who is new to it.
        quantity: the measured quantity that the comparisons judge.
        directory: where its runs and its page lie.
        failures: runs that did not end, each with its reason.
    """

    name: str
    claim: str
    source: str
    budget: str
    summary: str
    quantity: str
    arms: tuple[Arm, ...]
    judged: tuple[Judged, ...]
    seeds: tuple[int, ...]
    seconds: float
    recipe: Mapping[str, object]
    environment: Mapping[str, object]
    directory: Path
    failures: tuple[str, ...] = field(default=())

    @property
    def verdict(self) -> Verdict:
        return Verdict.NOT_DECIDED if self.failures else overall(self.judged)

    def to_json(self) -> dict[str, object]:
        """Plain JSON values, with mean and std beside every list of values."""
        record = asdict(self)
        del record["directory"]  # a path of this machine
        for arm, plain in zip(self.arms, record["arms"], strict=True):
            plain["measured"] = {
                name: {"mean": one.mean, "std": one.std if len(one.values) > 1 else None, "values": list(one.values)}
                for name, one in arm.measured.items()
            }
        for plain in record["judged"]:
            plain["half_width"] = None if math.isnan(plain["half_width"]) else plain["half_width"]
        return {"verdict": str(self.verdict), **record}
