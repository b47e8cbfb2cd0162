"""A Finding: a claim, what was published, what was measured here, and a verdict by a rule fixed before the run.

The rule. A claim is a set of comparisons; each says that the mean of one arm lies above (or not above, or near) the
mean of another, or a number, by a margin. With d the difference of the two means and h half the width of its 95 %
confidence interval (Welch's t over the seeds: the arms' spreads may differ):

    above:      holds if d - h > margin,     does not hold if d + h < margin
    not above:  holds if d + h < margin,     does not hold if d - h > margin
    near:       holds if |d| + h <= margin,  does not hold if |d| - h > margin

and otherwise it is not decided at this budget; nor is it with fewer than two seeds in an arm, since then h is unknown.
What is counted, such as parameters, is known exactly and has no spread. A Finding holds if every comparison holds, does
not hold if any does not, and is otherwise not decided.

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
from typing import Any, Literal

from residuum.records.text import Text

CONFIDENCE = 0.95
DIGITS = 4  # significant ones of a measured number
MOST_DECIMALS = 6  # beyond which a number is written with its power of ten


class Verdict(StrEnum):
    """What the numbers say of a claim."""

    HOLDS = "holds"
    DOES_NOT_HOLD = "does not hold"
    NOT_DECIDED = "not decided at this budget"


Relation = Literal["above", "not above", "near"]
PERCENT = "%"


@dataclass(frozen=True)
class Measured:
    """One quantity of one arm over all its seeds, `values` in the order of the seeds; or `exact`, a number without any
    spread, since it was counted, printed or fixed."""

    values: tuple[float, ...]
    exact: bool = False

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values)

    @property
    def std(self) -> float:
        """Sample standard deviation (n - 1); not a number for a single value, 0 for an exact one."""
        if self.exact:
            return 0.0
        return statistics.stdev(self.values) if len(self.values) > 1 else math.nan

    @property
    def varies(self) -> bool:
        """Whether there is a spread to show."""
        return len(self.values) > 1 and not self.exact

    def percent(self) -> str:
        """`12.34 ± 0.56 %`; without the spread for a single value."""
        return Quantity("", PERCENT).shown(self)


def exactly(value: float) -> Measured:
    """A number that has no spread."""
    return Measured((value,), exact=True)


@dataclass(frozen=True)
class Quantity:
    """What was measured.

    Attributes:
        name: in the arms' `measured`.
        unit: `%` for shares, which are shown times 100; or any other, empty for a plain number.
    """

    name: str
    unit: str = PERCENT

    def shown(self, measured: Measured) -> str:
        """`12.34 ± 0.56 %`; without the spread where there is none."""
        spread = f" ± {self._number(measured.std, like=measured.mean)}" if measured.varies else ""
        return f"{self._number(measured.mean)}{spread} {self.unit}".rstrip()

    def difference(self, value: float, half_width: float) -> str:
        """A difference with half its confidence interval where that is known: `+1.23 ± 0.45 points`."""
        sign = "+" if value >= 0 else "-"
        sure = "" if math.isnan(half_width) or half_width == 0 else f" ± {self._number(half_width, like=value)}"
        return f"{sign}{self._number(abs(value))}{sure} {self._of_differences}".rstrip()

    def margin(self, value: float) -> str:
        """A margin of a comparison."""
        return f"{self._number(value)} {self._of_differences}".rstrip()

    @property
    def _of_differences(self) -> str:
        return "points" if self.unit == PERCENT else self.unit

    def _number(self, value: float, *, like: float | None = None) -> str:
        """Two decimals of a percentage, four significant digits of all others, or the decimals of another number."""
        if self.unit == PERCENT:
            return f"{100 * value:.2f}"
        if value == int(value) and like is None:
            return f"{int(value):,}"
        size = abs(like) if like else abs(value)
        decimals = max(0, DIGITS - 1 - math.floor(math.log10(size))) if size else DIGITS - 1
        return f"{value:,.{decimals}f}" if decimals <= MOST_DECIMALS else f"{value:.3g}"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Arm `a` against arm `b`, or against a number: is its mean above, not above or near, by `margin`?

    Attributes:
        statement: what is compared, in words.
        quantity: name of what is compared.
        published: what the source has to say on it, as printed; empty where it says nothing in numbers.
    """

    statement: str
    a: str
    b: str | float
    relation: Relation
    margin: float
    quantity: str
    published: str = ""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A comparison with its numbers: difference of means, half its confidence interval, and the verdict."""

    comparison: Comparison
    difference: float
    half_width: float
    verdict: Verdict


def half_width(a: Measured, b: Measured) -> float:
    """Half the width of the confidence interval of the difference of two means, by Welch's t.

    Not a number with fewer than two values in an arm that is not exact; 0 where no value differs from its arm's mean.
    """
    from scipy.stats import t

    parts = [0.0 if each.exact else each.std**2 / len(each.values) for each in (a, b)]
    whole = sum(parts)
    if math.isnan(whole) or whole == 0:
        return whole
    freedom = whole**2 / sum(part**2 / (len(each.values) - 1) for part, each in zip(parts, (a, b), strict=True) if part)
    return float(t.ppf((1 + CONFIDENCE) / 2, freedom)) * math.sqrt(whole)


def judge(comparison: Comparison, arms: Mapping[str, Mapping[str, Measured]]) -> Judged:
    """Apply the rule at the top of this file to one comparison; `arms` are by name, what was measured by quantity."""
    a = arms[comparison.a][comparison.quantity]
    b = exactly(comparison.b) if isinstance(comparison.b, float | int) else arms[comparison.b][comparison.quantity]
    difference, half = a.mean - b.mean, half_width(a, b)
    margin = comparison.margin
    if comparison.relation == "near":
        holds, fails = abs(difference) + half <= margin, abs(difference) - half > margin
    else:
        holds, fails = difference - half > margin, difference + half < margin
        if comparison.relation == "not above":
            holds, fails = fails, holds
    verdict = Verdict.HOLDS if holds else Verdict.DOES_NOT_HOLD if fails else Verdict.NOT_DECIDED
    return Judged(comparison=comparison, difference=difference, half_width=half, verdict=verdict)


def overall(judged: Sequence[Judged]) -> Verdict:
    """The verdict of a Finding from those of its comparisons."""
    verdicts = {each.verdict for each in judged}
    if Verdict.DOES_NOT_HOLD in verdicts:
        return Verdict.DOES_NOT_HOLD
    return Verdict.HOLDS if verdicts == {Verdict.HOLDS} else Verdict.NOT_DECIDED


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One line of a Finding's table, such as a net trained over all seeds.

    Attributes:
        name: unique in its Finding.
        published: what the source prints for it.
        measured: by the name of the quantity; shares, not percent.
        runs: the trainings behind it, in the order of the seeds.
    """

    name: str
    published: str
    measured: Mapping[str, Measured]
    runs: tuple[str, ...] = ()


Basis = Literal["measured", "counted", "published"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A claim with its published value, measured arms, comparisons and verdict.

    Attributes:
        name: what `residuum reproduce` calls it.
        claim: the claim in one sentence, in English and in Korean; `source` says where it is made.
        budget: `quick`, `short` or `paper`; `conditions` says in words what was trained and how.
        summary: what came out, in a sentence or two for somebody who is new to it.
        basis: what decides: what was measured here, what was counted exactly, or published figures alone.
        quantities: of the arms, in the order of columns.
        runs: what each training came to, by its name; empty for a claim that needs none.
        seconds: of the trainings; `measuring_seconds` of all that was measured on them.
        command: what to type for the same Finding.
        directory: where its page lies.
        failures: runs that did not end, each with its reason.
        excused: a failure is no gap but an answer: the comparisons take it into account.
    """

    name: str
    claim: Text
    source: str
    budget: str
    conditions: str
    summary: str
    basis: Basis
    quantities: tuple[Quantity, ...]
    arms: tuple[Arm, ...]
    judged: tuple[Judged, ...]
    seeds: tuple[int, ...]
    runs: Mapping[str, Mapping[str, object]]
    seconds: float
    measuring_seconds: float
    recipe: Mapping[str, object]
    environment: Mapping[str, object]
    command: str
    directory: Path
    failures: tuple[str, ...] = field(default=())
    excused: bool = False

    @property
    def verdict(self) -> Verdict:
        return Verdict.NOT_DECIDED if self.failures and not self.excused else overall(self.judged)

    def quantity(self, name: str) -> Quantity:
        """The quantity of that name."""
        return next(each for each in self.quantities if each.name == name)

    def to_json(self) -> dict[str, object]:
        """Plain JSON values, with mean and std beside every list of values."""
        record = asdict(self)
        del record["directory"]  # a path of this machine
        for arm, plain in zip(self.arms, record["arms"], strict=True):
            plain["measured"] = {
                name: {
                    "mean": one.mean,
                    "std": one.std if one.varies else None,
                    "values": list(one.values),
                    "exact": one.exact,
                }
                for name, one in arm.measured.items()
            }
        for plain in record["judged"]:
            plain["half_width"] = None if math.isnan(plain["half_width"]) else plain["half_width"]
        return {"verdict": str(self.verdict), **record}

    @classmethod
    def from_json(cls, record: Mapping[str, Any], directory: Path) -> Finding:
        """The Finding that `to_json` wrote.

        Raises:
            KeyError, TypeError, ValueError: it is not one.
        """
        values = {key: value for key, value in record.items() if key != "verdict"}
        arms = [
            Arm(
                **{**arm, "runs": tuple(arm["runs"]), "measured": {n: _measured(m) for n, m in arm["measured"].items()}}
            )
            for arm in record["arms"]
        ]
        judged = [
            Judged(
                comparison=Comparison(**each["comparison"]),
                difference=each["difference"],
                half_width=math.nan if each["half_width"] is None else each["half_width"],
                verdict=Verdict(each["verdict"]),
            )
            for each in record["judged"]
        ]
        own = {
            "claim": Text(**record["claim"]),
            "quantities": tuple(Quantity(**each) for each in record["quantities"]),
            "arms": tuple(arms),
            "judged": tuple(judged),
            "seeds": tuple(record["seeds"]),
            "failures": tuple(record["failures"]),
            "directory": directory,
        }
        return cls(**values | own)


def _measured(plain: Mapping[str, Any]) -> Measured:
    return Measured(tuple(plain["values"]), exact=plain["exact"])
