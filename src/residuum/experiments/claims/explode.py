"""Taught: gradients can still explode in a residual network.

Shortcuts keep gradients from vanishing, not from growing. Where nothing normalises, x + F(x) of independent parts of
one size has twice the variance of x, and backwards the gradient's square doubles likewise: sqrt(2) for each block,
2^13.5 in 27 of them, less what ReLUs after the additions stop (Zhang, Dauphin, Ma 2019, "Fixup Initialization", arXiv
1901.09321, section 2). Batch normalisation at the end of F keeps F at one size while x grows, so that each further
block changes less.

Measured on nets as they are before training, a seed for each initialisation: the norm of the gradient of the loss at
the input of the first block over that at the output of the last one, in a batch of training images normalised as in
training. The claim holds if without batch normalisation this is a growth of more than ten times: less could be made up
for by a rate of learning that is still usual. The logarithm is judged, for the growth is a product over blocks. The net
with batch normalisation stands beside it, before and after training, and is not judged: that gradients can explode says
nothing of how well normalisation prevents it. (Until one seed had been seen, ten times its growth was asked for too.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log10

from torch import Tensor, nn

from residuum.experiments.claim import Claim, Conclusion
from residuum.experiments.evidence import Evidence
from residuum.experiments.setting import Setting
from residuum.insight.gradients import gradient_split
from residuum.plans.plan import PlannedRun
from residuum.records.finding import Arm, Comparison
from residuum.records.quantity import Measured, Quantity
from residuum.records.text import NOTHING, Text, paragraph
from residuum.report.figures import Drawing
from residuum.report.measured_figures import Line, lines_over

WITH, WITHOUT = "resnet56", "resnet56+batch_norm=no"
UNTRAINED = {net: f"{net}, untrained" for net in (WITHOUT, WITH)}
KOREAN = {name: f"{net}, 학습 전" for net, name in UNTRAINED.items()}
MARGIN = 1.0  # powers of ten

GROWTH = Quantity("growth of the gradient", "powers of ten", korean="그래디언트가 커진 정도")
FACTOR = Quantity("factor for each block", "", korean="블록마다 곱해지는 배수")
RELATIVE = Quantity("gradient, of that at the end", "")
UNBOUNDED = Text("Shortcuts alone do not keep it in bounds.", "지름길만으로는 그래디언트가 커지는 것을 막지 못합니다.")
BOUNDED = Text("It does not explode here.", "여기서는 폭발하지 않습니다.")
CAPTION = Text(
    "Norm of the gradient at the input of each block, of that at the output of the last one: from right to left it "
    "goes backwards through the net. Mean over the seeds with a band of one standard deviation. Compare Zhang et al. "
    "2019, section 2, who expect a straight line without normalisation; they have no such figure.",
    "블록마다 입력에서 잰 그래디언트의 크기를 마지막 블록의 출력에서 잰 크기로 나눈 값입니다. 오른쪽에서 왼쪽으로 "
    "신경망을 거슬러 올라갑니다. 선은 시드들의 평균이고, 띠는 ± 표준편차입니다. 정규화가 없으면 직선이 되리라고 본 "
    "Zhang 등 2019의 2절과 비교해 보십시오. 그 논문에 이런 그림은 없습니다.",
)

Growth = Mapping[int, float]


def growth(net: nn.Module, images: Tensor, labels: Tensor) -> Growth:
    """Norm of the gradient at each block's input over that at the last block's output, by the block's number."""
    splits = gradient_split(net, images, labels, batch_statistics=True)
    return {number: each.whole / splits[-1].arriving for number, each in enumerate(splits, start=1)}


def plan(setting: Setting) -> Sequence[PlannedRun]:
    """The net with batch normalisation, to see how it ends; the claim itself is of untrained nets."""
    return setting.planned(WITH)


def measure(evidence: Evidence) -> Conclusion:
    """The growth in each untrained net of each seed, and in the trained ones."""
    seeds, runs = evidence.setting.seeds, len(evidence.runs(WITH))
    found: dict[str, list[Growth]] = {name: [] for name in (*UNTRAINED.values(), WITH)}

    def keep(name: str, net: nn.Module, images: tuple[Tensor, Tensor]) -> None:
        found[name].append(growth(net, *images))
        evidence.progress(sum(map(len, found.values())), len(UNTRAINED) * len(seeds) + runs)

    for net, name in UNTRAINED.items():
        images = evidence.untrained_images(net, "train")
        for seed in seeds:
            keep(name, evidence.untrained(net, seed), images)
    for classifier in evidence.classifiers(WITH):
        keep(WITH, classifier.net, evidence.images(classifier, "train"))
    return conclude(evidence, found)


def conclude(evidence: Evidence, found: Mapping[str, Sequence[Growth]]) -> Conclusion:
    """Judge what was seen: for each arm the growth in each seed's net."""
    runs = tuple(evidence.runs(WITH))
    arms = tuple(
        Arm(
            name=name,
            published=NOTHING,
            measured=_measured(each),
            runs=runs if name == WITH else (),
            korean=KOREAN.get(name, ""),
        )
        for name, each in found.items()
    )
    return Conclusion(
        arms=arms,
        quantities=(GROWTH, FACTOR),
        comparisons=(
            Comparison(
                statement=Text(
                    "without batch normalisation the gradient grows more than ten times",
                    "배치 정규화가 없으면 그래디언트가 열 배 넘게 커진다",
                ),
                a=UNTRAINED[WITHOUT],
                b=0.0,
                relation="above",
                margin=MARGIN,
                quantity=GROWTH.name,
            ),
        ),
        summary=_summary({arm.name: arm.measured for arm in arms}),
        drawing=_drawing(found),
        caption=CAPTION,
    )


def _measured(found: Sequence[Growth]) -> dict[str, Measured]:
    return {
        GROWTH.name: Measured(tuple(log10(each[1]) for each in found)),
        FACTOR.name: Measured(tuple(each[1] ** (1 / len(each)) for each in found)),
    }


def _summary(arms: Mapping[str, Mapping[str, Measured]]) -> Text:
    bare, normalised, trained = (
        f"{10 ** arms[name][GROWTH.name].mean:,.3g}" for name in (UNTRAINED[WITHOUT], UNTRAINED[WITH], WITH)
    )
    factor = f"{arms[UNTRAINED[WITHOUT]][FACTOR.name].mean:.2f}"
    said = Text(
        f"On its way from the last block of an untrained 56-layer residual net to the first the gradient becomes "
        f"{bare} times as large without batch normalisation ({factor} for each block), and {normalised} times with "
        f"it; in the trained net it becomes {trained} times as large.",
        "학습 전의 56층 잔차 신경망에서 마지막 블록부터 첫 블록까지 거슬러 오르는 동안 그래디언트는 배치 정규화가 "
        f"없으면 {bare}배(블록마다 {factor}배), 있으면 {normalised}배가 됩니다. 학습한 신경망에서는 {trained}배가 "
        "됩니다.",
    )
    explodes = arms[UNTRAINED[WITHOUT]][GROWTH.name].mean > MARGIN
    return paragraph([said, UNBOUNDED if explodes else BOUNDED])


def _drawing(found: Mapping[str, Sequence[Growth]]) -> Drawing:
    lines = {
        name: Line([*each[0]], [Measured(tuple(one[block] for one in each)) for block in each[0]])
        for name, each in found.items()
    }
    return lines_over({"backwards through 27 blocks": lines}, RELATIVE, x_label="block", log_y=True, level=1.0)


CLAIM = Claim(
    name="explode",
    statement=Text(
        "Gradients can still explode in a residual network: without normalisation they grow from block to block",
        "잔차 신경망에서도 그래디언트는 폭발할 수 있다: 정규화가 없으면 블록을 거슬러 오를수록 커진다",
    ),
    source=Text("taught; Zhang et al. 2019 (Fixup), section 2", "강의 내용; Zhang 등 2019(Fixup), 2절"),
    group="taught",
    measure=measure,
    plan=plan,
)
