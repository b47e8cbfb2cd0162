"""Taught: "the gradient through a residual block is at least 1, so it cannot vanish".

From y = x + F(x) follows dL/dx = dL/dy (1 + dF/dx), and the 1 is read as a lower bound (lecture notes on He et al.
2016, equation 5, which claims less: that what comes through the shortcut comes unchanged). For maps of many values the
1 is the identity matrix I, dF/dx a matrix J, and the gradient at the input is (I + J)^T g. It is at least as large as g
for every g if and only if the smallest singular value of I + J is at least 1.

Measured on trained nets with blocks of both papers, where the shortcut is the identity:

    smallest singular value    of F(x) + x, before any last ReLU, at the first training image: the last block of each
                               stage, and the mean of these
    gradient kept              norm of the gradient of the loss at a block's input over that at its output, in a batch
                               of training images normalised as in training: the block that keeps least, and the median

As it is taught, the claim holds if neither lies below 1 by more than a twentieth, which nobody would call vanishing. A
mean over blocks is kinder to it than the smallest. Where maps are large the smallest singular value is an upper bound,
by Lanczos, which is kinder still. A ReLU after the addition stops outputs altogether; that is left out of the first
quantity and is in the second.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from torch import Tensor, nn

from residuum.experiments.claim import Claim, Conclusion
from residuum.experiments.evidence import Evidence
from residuum.experiments.identity_blocks import block_numbers, identity_blocks
from residuum.experiments.setting import Setting
from residuum.insight.gradients import gradient_split
from residuum.insight.jacobian import block_spectra
from residuum.plans.plan import PlannedRun
from residuum.records.finding import Arm, Comparison
from residuum.records.quantity import Measured, Quantity, exactly
from residuum.records.text import NOTHING, Text, paragraph
from residuum.report.figures import Drawing
from residuum.report.measured_figures import Line, lines_over

POST, PRE = "resnet20", "resnet20+preactivation=yes"
NETS = (POST, PRE)
AS_TAUGHT = "as taught"
MARGIN = 0.05
AT_LEAST_1 = Text("at least 1", "적어도 1")

SMALLEST = Quantity("smallest singular value", "", korean="가장 작은 특잇값")
LARGEST = Quantity("largest singular value", "", korean="가장 큰 특잇값")
LEAST = Quantity("gradient kept, least", "", korean="남는 그래디언트의 비, 최솟값")
MEDIAN = Quantity("gradient kept, median", "", korean="남는 그래디언트의 비, 중앙값")
KEPT = {
    SMALLEST: Text("any gradient keeps in a block", "블록에서 어떤 그래디언트도"),
    LEAST: Text("the gradient of the loss keeps in any block", "어느 블록에서도 손실의 그래디언트는"),
}
FACTOR = Quantity("factor of a gradient", "")
NOT_BELOW = Text(
    "On average over these nets nothing falls below 1.",
    "이 신경망들에서 평균하면 어느 값도 1보다 작아지지 않습니다.",
)
NO_BOUND = Text(
    "The 1 is no number but the identity matrix, to which another matrix is added, so that it is no lower bound.",
    "여기서 1은 수가 아니라 단위행렬이고, 거기에 다른 행렬이 더해지므로 하한이 아닙니다.",
)
HEALTHY_BY_MEDIAN = Text(
    "Yet by the median the gradient of the loss is not weakened.",
    "그래도 중앙값으로 보면 손실의 그래디언트는 약해지지 않습니다.",
)
HEALTHY_EVERYWHERE = Text(
    "Yet in no block is the gradient of the loss weakened.",
    "그래도 손실의 그래디언트가 약해지는 블록은 하나도 없습니다.",
)
CAPTION = Text(
    "By what a gradient is multiplied on its way back through a block, by the block's number behind the stem: that of "
    "the loss, and the two extremes over all gradients that there could be (singular values). The grey line is 1; the "
    "others are means over the seeds, with a band of one standard deviation. No paper shows this figure; He et al. "
    "2016, equation 5, is what the claim is read from.",
    "그래디언트가 블록 하나를 거슬러 지나면서 몇 배가 되는지를, 스템 다음부터 센 블록 번호에 따라 나타냈습니다: 손실의 "
    "그래디언트, 그리고 있을 수 있는 모든 그래디언트의 양 극단(특잇값). 회색 선은 1이고, 다른 선은 시드들의 평균이고, "
    "띠는 ± 표준편차입니다. 이 그림은 어느 논문에도 없습니다. 주장은 He 등 2016, 식 5에서 끌어낸 것입니다.",
)


@dataclass(frozen=True)
class Look:
    """What the identity blocks of one trained net do to gradients, by the block's number.

    Attributes:
        smallest, largest: singular values of the Jacobian of F(x) + x, of the last block of each stage.
        kept: norm of the loss's gradient at the block's input over that at its output.
    """

    smallest: Mapping[int, float]
    largest: Mapping[int, float]
    kept: Mapping[int, float]


def look(net: nn.Module, images: Tensor, labels: Tensor) -> Look:
    """Measure one net: singular values at the first image, gradients of all of them."""
    numbers, stages = block_numbers(net), identity_blocks(net)
    spectra = block_spectra(net, images[:1], names=[stage[-1] for stage in stages])
    splits = gradient_split(net, images, labels, batch_statistics=True)
    return Look(
        smallest={numbers[each.block]: each.before.smallest_at_most for each in spectra},
        largest={numbers[each.block]: each.before.largest for each in spectra},
        kept={
            numbers[each.block]: each.whole / each.arriving
            for each in splits
            if each.shortcut == "identity" and each.arriving
        },
    )


def plan(setting: Setting) -> Sequence[PlannedRun]:
    """A net of the blocks of each paper."""
    return setting.planned(*NETS)


def measure(evidence: Evidence) -> Conclusion:
    """Look at every trained net."""
    looks: dict[str, list[Look]] = {net: [] for net in NETS}
    total = sum(len(evidence.runs(net)) for net in NETS)
    for net, found in looks.items():
        for classifier in evidence.classifiers(net):
            found.append(look(classifier.net, *evidence.images(classifier, "train")))
            evidence.progress(sum(map(len, looks.values())), total)
    return conclude(evidence, looks)


def conclude(evidence: Evidence, looks: Mapping[str, Sequence[Look]]) -> Conclusion:
    """Judge what was seen: for each net a look for each seed."""
    taught = {SMALLEST.name: exactly(1.0), LEAST.name: exactly(1.0)}
    arms = [Arm(name=AS_TAUGHT, korean="강의 내용대로", published=AT_LEAST_1, measured=taught)]
    arms += [
        Arm(name=net, published=NOTHING, measured=_measured(found), runs=tuple(evidence.runs(net)))
        for net, found in looks.items()
    ]
    return Conclusion(
        arms=tuple(arms),
        quantities=(SMALLEST, LARGEST, LEAST, MEDIAN),
        comparisons=tuple(
            Comparison(
                statement=Text(
                    f"1 is no more than {kept.en} of {net}",
                    f"{net} 신경망의 {kept.ko} 1배보다 작아지지 않는다",
                ),
                a=AS_TAUGHT,
                b=net,
                relation="not above",
                margin=MARGIN,
                quantity=quantity.name,
                published=AT_LEAST_1,
            )
            for net in looks
            for quantity, kept in KEPT.items()
        ),
        summary=_summary({arm.name: arm.measured for arm in arms[1:]}),
        drawing=_drawing(looks),
        caption=CAPTION,
    )


def _measured(looks: Sequence[Look]) -> dict[str, Measured]:
    return {
        SMALLEST.name: Measured(tuple(fmean(each.smallest.values()) for each in looks)),
        LARGEST.name: Measured(tuple(fmean(each.largest.values()) for each in looks)),
        LEAST.name: Measured(tuple(min(each.kept.values()) for each in looks)),
        MEDIAN.name: Measured(tuple(median(each.kept.values()) for each in looks)),
    }


def _summary(nets: Mapping[str, Mapping[str, Measured]]) -> Text:
    said = [
        Text(
            f"A block of the trained {net} may shrink a gradient to {each[SMALLEST.name].mean:.2f} of its size or "
            f"stretch it {each[LARGEST.name].mean:.1f} times; that of the loss is multiplied by "
            f"{each[MEDIAN.name].mean:.2f} in the middle one of its blocks, and by {each[LEAST.name].mean:.2f} in the "
            f"one that keeps least.",
            f"학습한 {net} 신경망의 블록은 그래디언트를 작게는 {each[SMALLEST.name].mean:.2f}배로 줄이고 크게는 "
            f"{each[LARGEST.name].mean:.1f}배로 늘릴 수 있습니다. 손실의 그래디언트가 블록을 지나며 몇 배가 "
            f"되는지를 보면 중앙값은 {each[MEDIAN.name].mean:.2f}배, 최솟값은 {each[LEAST.name].mean:.2f}배입니다.",
        )
        for net, each in nets.items()
    ]
    return paragraph([*said, *_in_words(nets)])


def _in_words(nets: Mapping[str, Mapping[str, Measured]]) -> list[Text]:
    """What the numbers of all nets say of the bound, and of the gradient of the loss."""
    bound = min(each[quantity.name].mean for each in nets.values() for quantity in (SMALLEST, LEAST))
    if bound >= 1 - MARGIN:
        return [NOT_BELOW]
    if min(value for each in nets.values() for value in each[LEAST.name].values) >= 1 - MARGIN:
        return [NO_BOUND, HEALTHY_EVERYWHERE]
    usual = min(each[MEDIAN.name].mean for each in nets.values())
    return [NO_BOUND, HEALTHY_BY_MEDIAN if usual >= 1 - MARGIN else NOTHING]


def _drawing(looks: Mapping[str, Sequence[Look]]) -> Drawing:
    panels = {
        net: {
            LARGEST.name: _line([each.largest for each in found]),
            "gradient of the loss": _line([each.kept for each in found]),
            SMALLEST.name: _line([each.smallest for each in found]),
        }
        for net, found in looks.items()
    }
    return lines_over(panels, FACTOR, x_label="block", log_y=True, level=1.0)


def _line(by_seed: Sequence[Mapping[int, float]]) -> Line:
    blocks = [*by_seed[0]]
    return Line(blocks, [Measured(tuple(each[block] for each in by_seed)) for block in blocks])


CLAIM = Claim(
    name="at_least_one",
    statement=Text(
        "The gradient through a residual block is at least 1, so it cannot vanish",
        "잔차 블록을 지나는 그래디언트는 적어도 1이므로 사라질 수 없다",
    ),
    source=Text("taught, after He et al. 2016, equation 5", "강의 내용(He 등 2016, 식 5에 근거)"),
    group="taught",
    measure=measure,
    plan=plan,
)
