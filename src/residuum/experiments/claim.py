"""A claim: what is said and where, what has to be trained to judge it, and how it is judged.

Each file in `residuum.experiments.claims` has one, called `CLAIM`. See `CONTRIBUTING.md`, "A new claim".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from residuum.experiments.evidence import Evidence
from residuum.experiments.setting import Kind, Setting
from residuum.plans.plan import PlannedRun
from residuum.records.finding import Arm, Basis, Comparison
from residuum.records.quantity import Quantity
from residuum.records.text import NOTHING, Text
from residuum.report.figures import Drawing

Group = Literal["He et al. 2015", "He et al. 2016", "taught", "beyond"]


@dataclass(frozen=True, kw_only=True)
class Conclusion:
    """What the measurement of a claim came to; the comparisons are judged by the rule of `residuum.records.finding`.

    Attributes:
        arms: what was measured, a row each.
        quantities: of the arms, in the order of columns.
        comparisons: all must hold for the claim to hold.
        summary: what came out, in a sentence or two for somebody who is new to it.
        drawing: a figure; `caption` says how to read it.
        basis: what decides: what was measured here, what was counted exactly, or published figures alone.
        conditions: what was trained while measuring and how, where the plan of the claim does not say it; the
            number of seeds is added.
    """

    arms: tuple[Arm, ...]
    quantities: tuple[Quantity, ...]
    comparisons: tuple[Comparison, ...]
    summary: Text
    drawing: Drawing
    caption: Text
    basis: Basis = "measured"
    conditions: Text = NOTHING


def no_trainings(setting: Setting) -> Sequence[PlannedRun]:
    """The plan of a claim that needs no trained net."""
    return ()


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One claim.

    Attributes:
        name: what `residuum reproduce` calls it.
        statement: the claim in one sentence.
        source: where it is made: paper, section, table or figure.
        group: whose claim it is: of one of the two papers, taught about these nets, or beyond both.
        measure: judges it once all its trainings are done.
        plan: what has to be trained; claims that plan the same training share it.
        kinds: of data that it can be judged on.
        takes_depths: whether `--depths` chooses its nets.
        rule_changed: what was changed in measuring or judging after results had been seen.
        excuses_failures: a training that diverges is an answer, not a gap.
    """

    name: str
    statement: Text
    source: Text
    group: Group
    measure: Callable[[Evidence], Conclusion]
    plan: Callable[[Setting], Sequence[PlannedRun]] = no_trainings
    kinds: frozenset[Kind] = frozenset({"grey", "colour"})
    takes_depths: bool = False
    rule_changed: Text = NOTHING
    excuses_failures: bool = False
