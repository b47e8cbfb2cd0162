"""Taught: the residual F(x) tends towards 0 as training goes on, and with depth.

From He et al. 2015, sections 3.1 and 4.2: if the identity is near what is best, F is driven towards 0; Figure 7 shows
small responses, and smaller ones in deeper nets. (What Figure 7 shows is the claim `responses`; here it is F itself
beside the x that it is added to, and how that ratio moves while a net is trained.)

Measured: |F(x)| / |x| of each block whose shortcut is the identity, in eval mode, on the same 64 training images at the
end of every epoch (`layer_statistics` of a recipe; the training stays the same to the bit), and of a net the mean over
blocks. A record within the first epoch is left out: there batch normalisation still has moving averages of few batches.
The claim holds if in both nets the mean is lower after the last epoch than after the first, and lower in the deeper net
at the end, each by more than five points: a twentieth of x, less than which no reader would call a trend. It says
nothing of reaching 0. Where in the net the blocks stand is shown, not judged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from residuum.experiments.claim import Claim, Conclusion
from residuum.experiments.evidence import Evidence
from residuum.experiments.identity_blocks import identity_blocks
from residuum.experiments.plan import PlannedRun
from residuum.experiments.setting import Setting
from residuum.records.finding import Arm, Comparison, Measured, Quantity
from residuum.records.text import Text
from residuum.report.figures import Drawing
from residuum.report.measured_figures import Line, lines_over

SHALLOW, DEEP = "resnet20", "resnet56"
NETS = (SHALLOW, DEEP)
WATCHED: dict[str, Any] = {"layer_statistics": True}
MARGIN = 0.05

ALL, EARLY, LATE = (Quantity(f"size of F(x), of x{where}") for where in ("", ", first third", ", last third"))
QUANTITIES = (ALL, EARLY, LATE)
CAPTION = (
    "Size of F(x) beside x over the epochs: mean over all blocks with an identity shortcut, and over the first and "
    "the last third of them. Mean over the seeds with a band of one standard deviation. The claim is read from He et "
    "al. 2015, Figure 7, which shows responses of trained layers and no course."
)


@dataclass(frozen=True)
class Course:
    """|F(x)| / |x| of one training: `epochs` `(points,)`, and at each the ratios of the blocks in order."""

    epochs: Sequence[float]
    ratios: Sequence[Sequence[float]]

    def over(self, quantity: Quantity) -> list[float]:
        """The mean over the blocks that a quantity is of, at each point."""
        return [fmean(_part(ratios, quantity)) for ratios in self.ratios]


def _part(ratios: Sequence[float], quantity: Quantity) -> Sequence[float]:
    third = max(1, len(ratios) // 3)
    return ratios[:third] if quantity is EARLY else ratios[-third:] if quantity is LATE else ratios


def course(metrics: Sequence[Mapping[str, Any]], blocks: Sequence[str]) -> Course:
    """The course of these blocks by what a training has recorded, from the end of its first epoch on."""
    whole = [record for record in metrics if record["epoch"] >= 1]
    ratios = [record["layers"]["residual_ratio"] for record in whole]
    epochs = [float(record["epoch"]) for record in whole]
    return Course(epochs, [[float(each[block]) for block in blocks] for each in ratios])


def plan(setting: Setting) -> Sequence[PlannedRun]:
    """Both nets, their layers watched."""
    return setting.planned(*NETS, **WATCHED)


def measure(evidence: Evidence) -> Conclusion:
    """Read what the trainings have recorded."""
    courses = {}
    for net in NETS:
        names = [name for stage in identity_blocks(evidence.untrained(net, 0, **WATCHED)) for name in stage]
        courses[net] = [course(run.metrics(), names) for run in evidence.runs(net, **WATCHED).values()]
    return conclude(evidence, courses)


def first(net: str) -> str:
    """The arm of a net after its first epoch."""
    return f"{net}, first epoch"


def last(net: str) -> str:
    """The arm of a net after its last epoch."""
    return f"{net}, last epoch"


def conclude(evidence: Evidence, courses: Mapping[str, Sequence[Course]]) -> Conclusion:
    """Judge what was seen: for each net the course of each seed."""
    arms = tuple(
        Arm(name=name(net), published="", measured=_measured(each, at), runs=tuple(evidence.runs(net, **WATCHED)))
        for net, each in courses.items()
        for name, at in ((first, 0), (last, -1))
    )
    falls = [
        Comparison(
            statement=f"F(x) of {net} is smaller beside x at the end of training than after its first epoch",
            a=first(net),
            b=last(net),
            relation="above",
            margin=MARGIN,
            quantity=ALL.name,
            published="tends towards 0",
        )
        for net in NETS
    ]
    deeper = Comparison(
        statement=f"at the end it is smaller in {DEEP} than in {SHALLOW}",
        a=last(SHALLOW),
        b=last(DEEP),
        relation="above",
        margin=MARGIN,
        quantity=ALL.name,
        published="figure only: smaller responses",
    )
    return Conclusion(
        arms=arms,
        quantities=QUANTITIES,
        comparisons=(*falls, deeper),
        summary=_summary({arm.name: arm.measured for arm in arms}),
        drawing=_drawing(courses),
        caption=CAPTION,
    )


def _measured(courses: Sequence[Course], at: int) -> dict[str, Measured]:
    return {quantity.name: Measured(tuple(each.over(quantity)[at] for each in courses)) for quantity in QUANTITIES}


def _summary(arms: Mapping[str, Mapping[str, Measured]]) -> str:
    def size(name: str) -> str:
        return f"{100 * arms[name][ALL.name].mean:.0f} %"

    said = [f"In {net} F(x) is {size(first(net))} of x after the first epoch and {size(last(net))} after the last."
            for net in NETS]  # fmt: skip
    drops = [arms[first(net)][ALL.name].mean - arms[last(net)][ALL.name].mean for net in NETS]
    trend = "becomes smaller" if min(drops) > MARGIN else "grows" if max(drops) < -MARGIN else "shows no clear trend"
    gap = arms[last(SHALLOW)][ALL.name].mean - arms[last(DEEP)][ALL.name].mean
    depth = "smaller" if gap > MARGIN else "larger" if gap < -MARGIN else "about the same"
    return " ".join([*said, f"So it {trend} while a net is trained, and is {depth} in the deeper net."])


def _drawing(courses: Mapping[str, Sequence[Course]]) -> Drawing:
    names = {"all blocks": ALL, "first third": EARLY, "last third": LATE}
    panels = {
        net: {
            name: Line(each[0].epochs, [Measured(values) for values in zip(*_over_seeds(each, quantity), strict=True)])
            for name, quantity in names.items()
        }
        for net, each in courses.items()
    }
    return lines_over(panels, ALL, x_label="epoch")


def _over_seeds(courses: Sequence[Course], quantity: Quantity) -> list[list[float]]:
    return [each.over(quantity) for each in courses]


CLAIM = Claim(
    name="residual_to_zero",
    statement=Text(
        "The residual F(x) tends towards 0 as training goes on, and with depth",
        "잔차 F(x)는 학습이 진행될수록, 그리고 신경망이 깊을수록 0에 가까워진다",
    ),
    source="taught, after He et al. 2015, sections 3.1 and 4.2",
    group="taught",
    measure=measure,
    plan=plan,
)
