"""A Finding: a claim, what was published, what was measured here, and a verdict by a rule fixed before the run.

The rule. A claim is a set of comparisons; each says that the mean of one arm lies above (or not above, or near) the
mean of another, or a number, by a margin. With d the difference of the two means and h half the width of its 95 %
confidence interval (Welch's t over the seeds: the arms' spreads may differ):

    above:      holds if d - h > margin,     does not hold if d + h < margin
    not above:  holds if d + h < margin,     does not hold if d - h > margin
    near:       holds if |d| + h <= margin,  does not hold if |d| - h > margin

and otherwise it is not decided at this budget; nor is it with fewer than two seeds in an arm, or with a value that is
not finite, since then h is unknown. What is counted, such as parameters, is known exactly and has no spread. A Finding
holds if every comparison holds, does not hold if any does not, and is otherwise not decided.

What the rule does not do: it does not correct for several comparisons (each has its own 5 %); and where no value of
either arm differs (all errors 0, say) h is 0, so that the difference itself decides.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

from residuum.errors import DamagedError
from residuum.records.quantity import Measured, Quantity, exactly
from residuum.records.text import NOTHING, Text

CONFIDENCE = 0.95
FINDING_TEXTS = ("claim", "source", "conditions", "summary", "caption", "unlike_published", "rule_changed")
COMPARISON_TEXTS = ("statement", "published")


class Verdict(StrEnum):
    """What the numbers say of a claim."""

    HOLDS = "holds"
    DOES_NOT_HOLD = "does not hold"
    NOT_DECIDED = "not decided at this budget"


Relation = Literal["above", "not above", "near"]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Arm `a` against arm `b`, or against a number: is its mean above, not above or near, by `margin`?

    Attributes:
        statement: what is compared, in words.
        quantity: name of what is compared.
        published: what the source has to say on it, as printed; empty where it says nothing in numbers.
        decidable: whether these numbers can say anything at all, such as of nets that have hardly left their start;
            where they cannot, nothing is decided.
    """

    statement: Text
    a: str
    b: str | float
    relation: Relation
    margin: float
    quantity: str
    published: Text = NOTHING
    decidable: bool = True


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A comparison with its numbers: difference of means, half its confidence interval, and the verdict."""

    comparison: Comparison
    difference: float
    half_width: float
    verdict: Verdict


def half_width(a: Measured, b: Measured) -> float:
    """Half the width of the confidence interval of the difference of two means, by Welch's t.

    Not a number with fewer than two values in an arm that is not exact, or with infinite ones; 0 where no value differs
    from its arm's mean.
    """
    from scipy.stats import t

    parts = [0.0 if each.exact else each.std**2 / max(len(each.values), 1) for each in (a, b)]
    whole = sum(parts)
    if math.isnan(whole) or whole == 0:
        return whole
    freedom = whole**2 / sum(part**2 / (len(each.values) - 1) for part, each in zip(parts, (a, b), strict=True) if part)
    return float(t.ppf((1 + CONFIDENCE) / 2, freedom)) * math.sqrt(whole)


def judge(comparison: Comparison, arms: Mapping[str, Mapping[str, Measured]]) -> Judged:
    """Apply the rule at the top of this file to one comparison; `arms` are by name, what was measured by quantity.

    Raises:
        KeyError: the comparison names an arm or a quantity that is not there.
    """
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
    if not comparison.decidable:
        holds = fails = False
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
        published: what the source prints for it, in words.
        korean: its name in Korean where that is words; as in English where it is empty.
        measured: by the name of the quantity; shares, not percent.
        printed: by the name of the quantity, what the source prints of this very net on these data, as measured here.
        runs: the trainings behind it, in the order of the seeds.
    """

    name: str
    published: Text
    measured: Mapping[str, Measured]
    printed: Mapping[str, float] = field(default_factory=dict)
    runs: tuple[str, ...] = ()
    korean: str = ""

    @property
    def label(self) -> Text:
        """What it is called."""
        return Text(self.name, self.korean or self.name)


@dataclass(frozen=True)
class OffPublished:
    """A quantity of an arm that lies further from its printed value than one standard deviation over the seeds."""

    arm: str
    quantity: str
    measured: Measured
    printed: float


Basis = Literal["measured", "counted", "published"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A claim with its published value, measured arms, comparisons and verdict.

    Attributes:
        name: what `residuum reproduce` calls it.
        claim: the claim in one sentence, in English and in Korean; `source` says where it is made.
        group: whose claim it is, such as `He et al. 2015`.
        budget: `quick`, `short` or `paper`; `conditions` says in words what was trained and how.
        summary: what came out, in a sentence or two for somebody who is new to it.
        caption: how its figure is read; empty where it has none.
        basis: what decides: what was measured here, what was counted exactly, or published figures alone.
        quantities: of the arms, in the order of columns.
        runs: what each training came to, by its name; empty for a claim that needs none.
        seconds: of the trainings, those that other claims share as well; `measuring_seconds` of what was measured.
        recipe: of the first training; what others change in it is part of their names.
        environment: where it was trained, or measured where nothing was trained.
        command: what to type for the same Finding.
        rule_changed: what was changed in measuring or judging after results had been seen; empty where nothing was.
        source_sha256: SHA-256 of the source that measured and judged it; empty in records of before there was one.
        directory: where its page lies.
        unlike_published: what was done otherwise than in the source, as far as is known; a reason for other values.
        failures: runs that did not end, each with its reason.
        excused: a failure is no gap but an answer: the comparisons take it into account.
    """

    name: str
    claim: Text
    source: Text
    group: str
    budget: str
    conditions: Text
    summary: Text
    caption: Text
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
    source_sha256: str = ""
    unlike_published: Text = NOTHING
    rule_changed: Text = NOTHING
    excused: bool = False

    @property
    def verdict(self) -> Verdict:
        return Verdict.NOT_DECIDED if self.failures and not self.excused else overall(self.judged)

    @property
    def off_published(self) -> tuple[OffPublished, ...]:
        """What differs from the printed value of the same net on the same data by more than the seeds spread."""
        shown = {quantity.name for quantity in self.quantities}
        pairs = [
            OffPublished(arm.name, quantity, arm.measured[quantity], printed)
            for arm in self.arms
            for quantity, printed in arm.printed.items()
            if quantity in shown
        ]
        return tuple(each for each in pairs if abs(each.measured.mean - each.printed) > each.measured.std)

    def quantity(self, name: str) -> Quantity:
        """The quantity of that name."""
        return next(each for each in self.quantities if each.name == name)

    def to_json(self) -> dict[str, object]:
        """Plain JSON values, with mean and std beside every list of values; numbers that are not finite as text."""
        record = asdict(self)
        del record["directory"]  # a path of this machine
        record |= {name: getattr(self, name).to_json() for name in FINDING_TEXTS}
        for arm, plain in zip(self.arms, record["arms"], strict=True):
            plain["published"] = arm.published.to_json()
            plain["measured"] = {name: _plain(one) for name, one in arm.measured.items()}
        for judged, plain in zip(self.judged, record["judged"], strict=True):
            plain["comparison"] |= {name: getattr(judged.comparison, name).to_json() for name in COMPARISON_TEXTS}
            plain["difference"] = _finite(plain["difference"])
            plain["half_width"] = None if math.isnan(plain["half_width"]) else _finite(plain["half_width"])
        return {"verdict": str(self.verdict), **record}

    @classmethod
    def from_json(cls, record: Mapping[str, Any], directory: Path) -> Finding:
        """The Finding that `to_json` wrote.

        Raises:
            DamagedError: it is not one, or one of another version.
        """
        try:
            own = {
                **{name: Text.from_json(record[name]) for name in FINDING_TEXTS if name in record},
                "quantities": tuple(Quantity(**each) for each in record["quantities"]),
                "arms": tuple(map(_arm, record["arms"])),
                "judged": tuple(map(_judged, record["judged"])),
                "seeds": tuple(record["seeds"]),
                "failures": tuple(record["failures"]),
                "directory": directory,
            }
            return cls(**{key: value for key, value in record.items() if key != "verdict"} | own)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DamagedError(
                f"{directory}: holds no Finding of this version ({type(error).__name__}: {error}). "
                f"Try: residuum reproduce again"
            ) from error


def _plain(one: Measured) -> dict[str, object]:
    return {
        "mean": _finite(one.mean) if one.values else None,
        "std": _finite(one.std) if one.varies else None,
        "values": list(map(_finite, one.values)),
        "exact": one.exact,
    }


def _finite(value: float) -> float | str:
    """The number, or its name where JSON has none for it."""
    return value if math.isfinite(value) else str(value)


def _number(plain: float | str) -> float:
    """What `_finite` gave."""
    return float(plain) if isinstance(plain, str) else plain


def _arm(plain: Mapping[str, Any]) -> Arm:
    measured = {
        name: Measured(tuple(map(_number, one["values"])), exact=one["exact"])
        for name, one in plain["measured"].items()
    }
    return Arm(
        name=plain["name"],
        published=Text.from_json(plain["published"]),
        measured=measured,
        printed=plain.get("printed", {}),
        runs=tuple(plain["runs"]),
        korean=plain.get("korean", ""),
    )


def _judged(plain: Mapping[str, Any]) -> Judged:
    half = plain["half_width"]
    texts = {name: Text.from_json(plain["comparison"][name]) for name in COMPARISON_TEXTS}
    return Judged(
        comparison=Comparison(**plain["comparison"] | texts),
        difference=_number(plain["difference"]),
        half_width=math.nan if half is None else _number(half),
        verdict=Verdict(plain["verdict"]),
    )
