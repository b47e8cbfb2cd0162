"""The residual F(x) becomes smaller beside x as training goes on, and with depth; taught: it tends towards 0.

From He et al. 2015, sections 3.1 and 4.2: if the identity is near what is best, F is driven towards 0; Figure 7 shows
small responses, and smaller ones in deeper nets. (What Figure 7 shows is the claim `responses`; here it is F itself
beside the x that it is added to, and how that ratio moves while a net is trained.)

Measured: |F(x)| / |x| of each block whose shortcut is the identity, in eval mode, on the same 64 training images at the
end of every epoch (`layer_statistics` of a recipe; the training stays the same to the bit), and of a net the mean over
blocks. A record within the first epoch is left out: there batch normalisation still has moving averages of few batches.
The claim holds if in both nets the mean is lower after the last epoch than after the first, and lower in the deeper net
at the end, each by more than five points: a twentieth of x, less than which no reader would call a trend. It says
nothing of reaching 0, which is taught; so no more is claimed here than that it becomes smaller. Where in the net the
blocks stand is shown, not judged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from residuum.experiments.claim import Claim, Conclusion
from residuum.experiments.evidence import Evidence
from residuum.experiments.identity_blocks import identity_blocks
from residuum.experiments.setting import Setting
from residuum.plans.plan import PlannedRun
from residuum.records.finding import Arm, Comparison, Verdict, judge, overall
from residuum.records.quantity import Measured, Quantity
from residuum.records.text import NOTHING, Text, paragraph
from residuum.report.figures import Drawing
from residuum.report.measured_figures import Line, lines_over

SHALLOW, DEEP = "resnet20", "resnet56"
NETS = (SHALLOW, DEEP)
WATCHED: dict[str, Any] = {"layer_statistics": True}
MARGIN = 0.05

ALL = Quantity("size of F(x), of x", korean="x에 대한 F(x)의 크기")
EARLY = Quantity("size of F(x), of x, first third", korean="x에 대한 F(x)의 크기, 앞 1/3")
LATE = Quantity("size of F(x), of x, last third", korean="x에 대한 F(x)의 크기, 뒤 1/3")
QUANTITIES = (ALL, EARLY, LATE)
TOWARDS_0 = Text("tends towards 0 (taught)", "0에 가까워짐(강의 내용)")
UNCLEAR = Text("is not clear at this budget", "이 예산으로는 분명하지 않습니다")
TREND = (  # smaller, larger, neither, not decided
    Text("So it becomes smaller while a net is trained.", "따라서 그 비는 학습하는 동안 작아집니다."),
    Text("So it grows while a net is trained.", "따라서 그 비는 학습하는 동안 커집니다."),
    Text(
        "So it does not become smaller by more than 5 points in both nets while they are trained.",
        "따라서 학습하는 동안 그 비가 두 신경망 모두에서 5 %p 넘게 작아지지는 않습니다.",
    ),
    Text(
        f"Whether it becomes smaller while a net is trained {UNCLEAR.en}.",
        f"그 비가 학습하는 동안 작아지는지는 {UNCLEAR.ko}.",
    ),
)
IN_DEEPER = (
    Text("At the end it is smaller in the deeper net.", "학습이 끝났을 때 그 비는 더 깊은 신경망에서 더 작습니다."),
    Text("At the end it is larger in the deeper net.", "학습이 끝났을 때 그 비는 더 깊은 신경망에서 더 큽니다."),
    Text(
        "At the end it is not smaller in the deeper net by more than 5 points.",
        "학습이 끝났을 때 그 비가 더 깊은 신경망에서 5 %p 넘게 더 작지는 않습니다.",
    ),
    Text(
        f"Whether it is smaller in the deeper net at the end {UNCLEAR.en}.",
        f"학습이 끝났을 때 그 비가 더 깊은 신경망에서 더 작은지는 {UNCLEAR.ko}.",
    ),
)
CAPTION = Text(
    "Size of F(x) beside x over the epochs: mean over all blocks with an identity shortcut, and over the first and "
    "the last third of them. Mean over the seeds with a band of one standard deviation. The claim is read from He et "
    "al. 2015, Figure 7, which shows responses of trained layers and no course.",
    "에폭에 따라 x에 대한 F(x)의 크기를 나타냈습니다. 항등 지름길이 있는 모든 블록의 평균과, 그 가운데 앞 1/3과 뒤 "
    "1/3의 평균입니다. 선은 시드들의 평균이고, 띠는 ± 표준편차입니다. 이 주장은 He 등 2015, 그림 7에서 끌어낸 것이며, "
    "그 그림은 학습된 층의 반응을 보일 뿐 학습하는 동안의 변화는 보이지 않습니다.",
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
        Arm(
            name=name(net),
            published=NOTHING,
            measured=_measured(each, at),
            runs=tuple(evidence.runs(net, **WATCHED)),
            korean=f"{net}, {korean}",
        )
        for net, each in courses.items()
        for name, at, korean in ((first, 0, "첫 에폭 뒤"), (last, -1, "마지막 에폭 뒤"))
    )
    falls = [
        Comparison(
            statement=Text(
                f"F(x) of {net} is smaller beside x at the end of training than after its first epoch",
                f"{net} 신경망에서 x에 대한 F(x)의 크기는 첫 에폭 뒤보다 학습이 끝났을 때 작다",
            ),
            a=first(net),
            b=last(net),
            relation="above",
            margin=MARGIN,
            quantity=ALL.name,
            published=TOWARDS_0,
        )
        for net in NETS
    ]
    deeper = Comparison(
        statement=Text(
            f"at the end it is smaller in {DEEP} than in {SHALLOW}",
            f"학습이 끝났을 때 그 크기는 {SHALLOW} 신경망보다 {DEEP} 신경망에서 작다",
        ),
        a=last(SHALLOW),
        b=last(DEEP),
        relation="above",
        margin=MARGIN,
        quantity=ALL.name,
        published=Text("figure only: smaller responses", "그림만 있음: 더 작은 반응"),
    )
    return Conclusion(
        arms=arms,
        quantities=QUANTITIES,
        comparisons=(*falls, deeper),
        summary=_summary({arm.name: arm.measured for arm in arms}, falls, deeper),
        drawing=_drawing(courses),
        caption=CAPTION,
    )


def _measured(courses: Sequence[Course], at: int) -> dict[str, Measured]:
    return {quantity.name: Measured(tuple(each.over(quantity)[at] for each in courses)) for quantity in QUANTITIES}


def _summary(arms: Mapping[str, Mapping[str, Measured]], falls: Sequence[Comparison], deeper: Comparison) -> Text:
    """The sizes, and what follows from how they were judged."""

    def size(name: str) -> str:
        return f"{100 * arms[name][ALL.name].mean:.0f} %"

    said = [
        Text(
            f"In {net} F(x) is {size(first(net))} of x after the first epoch and {size(last(net))} after the last.",
            f"{net} 신경망에서 F(x)의 크기는 첫 에폭 뒤에 x의 {size(first(net))}, 마지막 에폭 뒤에 "
            f"{size(last(net))}입니다.",
        )
        for net in NETS
    ]
    return paragraph([*said, _in_words(falls, arms, TREND), _in_words([deeper], arms, IN_DEEPER)])


def _in_words(
    comparisons: Sequence[Comparison],
    arms: Mapping[str, Mapping[str, Measured]],
    words: tuple[Text, Text, Text, Text],
) -> Text:
    """The words for comparisons that all hold, that all hold the other way round, do not hold, or are not decided."""
    holds, reverse, neither, unclear = words
    if _verdict(comparisons, arms) is Verdict.HOLDS:
        return holds
    if _verdict([replace(each, a=str(each.b), b=each.a) for each in comparisons], arms) is Verdict.HOLDS:
        return reverse
    return neither if _verdict(comparisons, arms) is Verdict.DOES_NOT_HOLD else unclear


def _verdict(comparisons: Sequence[Comparison], arms: Mapping[str, Mapping[str, Measured]]) -> Verdict:
    return overall([judge(each, arms) for each in comparisons])


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
        "The residual F(x) becomes smaller beside x as training goes on, and with depth (taught: tends towards 0)",
        "잔차 F(x)는 학습이 진행될수록, 그리고 신경망이 깊을수록 x에 비해 작아진다(강의 내용: 0에 가까워진다)",
    ),
    source=Text("taught, after He et al. 2015, sections 3.1 and 4.2", "강의 내용(He 등 2015, 3.1절과 4.2절에 근거)"),
    group="taught",
    measure=measure,
    plan=plan,
)
