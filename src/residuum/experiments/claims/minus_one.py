"""Taught: "the residual path would have to be exactly -1 for the gradient to vanish", which hardly ever happens.

That is so of one block: many blocks, each of which takes back a tenth, would weaken a gradient as much. What becomes of
it in a whole net is the claim `explode`.

He et al. 2016, section 2, after equation 5: the gradient at x_l is that at x_L plus what comes back through all F
between them, and it is unlikely to be cancelled for a mini-batch, since that second part cannot in general be -1 for
all samples in it. Where values are many, "-1" means that the part through F is the very opposite of the other.

Measured on trained nets, image by image, on the first images of the training set, with the gradient g of the loss at a
block's addition, its part g through the shortcut and its part r through F:

    along    <r, g> / |g|^2: -1 where F takes back exactly what the shortcut brings
    size     |r| / |g|
    kept     |g + r| / |g|

The claim made precise: hardly ever does F take back more than half, that is, of all pairs of image and block at most
one in twenty has `kept` below 1/2. With pre-activation, where the sum over blocks is exact, the same is asked of whole
stages: of the gradient at the first identity block's input over that at the last one's output. A half and a twentieth
are what a reader may take for "comes near" and for "hardly ever"; cancelling exactly would be harder still.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from statistics import fmean
from typing import NamedTuple

from torch import Tensor, nn

from residuum.experiments.claim import Claim, Conclusion
from residuum.experiments.evidence import Evidence
from residuum.experiments.identity_blocks import block_numbers, identity_blocks
from residuum.experiments.setting import Setting
from residuum.insight.gradients import GradientSplit, gradient_split
from residuum.plans.plan import PlannedRun
from residuum.records.finding import Arm, Comparison, Verdict, judge, overall
from residuum.records.quantity import Measured, Quantity
from residuum.records.text import NOTHING, Text, paragraph
from residuum.report.figures import Drawing
from residuum.report.measured_figures import Line, lines_over

POST, PRE = "resnet56", "resnet20+preactivation=yes"
NETS = (POST, PRE)
IMAGES = 16
HALF = 0.5
HARDLY_EVER = 0.05
CANCELS = -1.0

ALONG = Quantity("F's part along the shortcut's", "", korean="F 쪽 그래디언트의 지름길 쪽 방향 성분")
SIZE = Quantity("F's part, size", "", korean="F 쪽 그래디언트의 크기")
OPPOSED = Quantity("F's part opposes the shortcut's", korean="F 쪽 그래디언트가 지름길 쪽과 반대 방향")
HALVED = Quantity("more than half lost in a block", korean="한 블록에서 절반 넘게 줄어듦")
HALVED_IN_STAGE = Quantity("more than half lost in a stage", korean="한 단계에서 절반 넘게 줄어듦")
PARTS = Quantity("part through F, of the shortcut's", "")
CAPTION = Text(
    "The part of the gradient that comes back through F, as a share of the part that comes by the shortcut: its size, "
    "and how far it points along that part. At -1, the grey line, the two would cancel. Mean over images and seeds "
    "with a band of one standard deviation over the seeds. Compare He et al. 2016, equation 5.",
    "F를 지나 돌아오는 그래디언트를 지름길로 오는 그래디언트에 대한 비로 나타냈습니다. 하나는 그 크기이고, 하나는 "
    "지름길 쪽 그래디언트 방향의 성분입니다. 회색 선인 -1에서는 둘이 상쇄됩니다. 선은 이미지와 시드의 평균이고, 띠는 "
    "시드에 대한 ± 표준편차입니다. He 등 2016, 식 5와 비교해 보십시오.",
)

WHOLE_NET = Text(
    "That is of one block or stage: what becomes of a gradient in a whole net is the claim explode.",
    "이는 블록이나 단계 하나에 대한 것이며, 신경망 전체에서 그래디언트가 어떻게 되는지는 주장 explode에서 다룹니다.",
)


class Part(NamedTuple):
    """The gradient of one image in one block: see the top of this file."""

    block: int
    along: float
    size: float
    kept: float


@dataclass(frozen=True)
class Look:
    """One trained net: a part for each image and identity block, and `kept` for each image and stage."""

    parts: Sequence[Part]
    stages: Sequence[float]


def look(net: nn.Module, images: Tensor, labels: Tensor, on_image: Callable[[], None] = lambda: None) -> Look:
    """Measure one net, image by image, in eval mode; an image whose gradient is 0 says nothing."""
    numbers, stages = block_numbers(net), identity_blocks(net)
    parts: list[Part] = []
    kept: list[float] = []
    for index in range(len(images)):
        splits = {each.block: each for each in gradient_split(net, images[index, None], labels[index, None])}
        identities = [splits[name] for stage in stages for name in stage if splits[name].identity]
        parts += [part(numbers[each.block], each) for each in identities]
        ends = [(splits[stage[0]], splits[stage[-1]]) for stage in stages]
        kept += [first.whole / last.arriving for first, last in ends if last.arriving]
        on_image()
    return Look(parts, kept)


def part(block: int, split: GradientSplit) -> Part:
    """One block's gradient; that through its identity is not 0."""
    size = split.residual / split.identity
    return Part(block=block, along=split.cosine * size, size=size, kept=split.whole / split.identity)


def plan(setting: Setting) -> Sequence[PlannedRun]:
    """A deep net of the first paper, and one of the second."""
    return setting.planned(*NETS)


def measure(evidence: Evidence) -> Conclusion:
    """Look at every trained net."""
    total, done = sum(len(evidence.runs(net)) for net in NETS) * IMAGES, count(1)
    looks: dict[str, list[Look]] = {net: [] for net in NETS}
    for net, found in looks.items():
        for classifier in evidence.classifiers(net):
            images, labels = evidence.images(classifier, "train", IMAGES)
            found.append(look(classifier.net, images, labels, lambda: evidence.progress(next(done), total)))
    return conclude(evidence, looks)


def conclude(evidence: Evidence, looks: Mapping[str, Sequence[Look]]) -> Conclusion:
    """Judge what was seen: for each net a look for each seed."""
    arms = tuple(
        Arm(name=net, published=NOTHING, measured=_measured(found), runs=tuple(evidence.runs(net)))
        for net, found in looks.items()
    )
    block, stage = Text("block", "블록"), Text("stage", "단계")
    asked = [(net, HALVED, block) for net in looks] + [(net, HALVED_IN_STAGE, stage) for net in looks if net == PRE]
    comparisons = tuple(_hardly_ever(net, quantity, where) for net, quantity, where in asked)
    return Conclusion(
        arms=arms,
        quantities=(HALVED, HALVED_IN_STAGE, OPPOSED, ALONG, SIZE),
        comparisons=comparisons,
        summary=_summary({arm.name: arm.measured for arm in arms}, comparisons),
        drawing=_drawing(looks),
        caption=CAPTION,
    )


def _hardly_ever(net: str, quantity: Quantity, where: Text) -> Comparison:
    return Comparison(
        statement=Text(
            f"hardly any gradient of {net} loses more than half in a {where.en}",
            f"{net} 신경망의 그래디언트가 한 {where.ko}에서 절반 넘게 줄어드는 일은 거의 없다",
        ),
        a=net,
        b=0.0,
        relation="not above",
        margin=HARDLY_EVER,
        quantity=quantity.name,
        published=Text("unlikely", "일어나기 어려움"),
    )


def _measured(looks: Sequence[Look]) -> dict[str, Measured]:
    return {
        HALVED.name: Measured(tuple(fmean(part.kept < HALF for part in each.parts) for each in looks)),
        HALVED_IN_STAGE.name: Measured(tuple(fmean(kept < HALF for kept in each.stages) for each in looks)),
        OPPOSED.name: Measured(tuple(fmean(part.along < 0 for part in each.parts) for each in looks)),
        ALONG.name: Measured(tuple(fmean(part.along for part in each.parts) for each in looks)),
        SIZE.name: Measured(tuple(fmean(part.size for part in each.parts) for each in looks)),
    }


def _summary(nets: Mapping[str, Mapping[str, Measured]], comparisons: Sequence[Comparison]) -> Text:
    said = [
        Text(
            f"In {net} the two parts of a gradient oppose each other in {each[OPPOSED.name].percent()} of all blocks "
            f"and images, and {each[HALVED.name].percent()} lose more than half by it; on average F adds "
            f"{each[ALONG.name].mean:+.2f} of what the shortcut brings, where -1 would cancel it.",
            f"{net} 신경망에서 그래디언트의 두 부분(지름길 쪽과 F 쪽)은 모든 블록과 이미지 중 "
            f"{each[OPPOSED.name].percent()}에서 서로 반대 방향이고, {each[HALVED.name].percent()}에서 그 때문에 절반 "
            f"넘게 줄어듭니다. F 쪽이 더하는 것은 평균하여 지름길 쪽의 {each[ALONG.name].mean:+.2f}배이며, -1배라면 "
            "상쇄됩니다.",
        )
        for net, each in nets.items()
    ]
    return paragraph([*said, _how_often(nets, comparisons), WHOLE_NET])


def _how_often(nets: Mapping[str, Mapping[str, Measured]], comparisons: Sequence[Comparison]) -> Text:
    """How often F takes back half of a gradient, as far as the seeds are sure of it."""
    if not any(
        max(each[quantity].values) for each in nets.values() for quantity in (HALVED.name, HALVED_IN_STAGE.name)
    ):
        return Text(
            "So here F never takes back half of a gradient.",
            "따라서 여기서 F가 그래디언트를 절반이나 지우는 일은 한 번도 없습니다.",
        )
    verdict = overall([judge(each, nets) for each in comparisons])
    if verdict is Verdict.HOLDS:
        return Text(
            "So F takes back half of a gradient only now and then.",
            "따라서 F가 그래디언트를 절반이나 지우는 일은 드뭅니다.",
        )
    if verdict is Verdict.DOES_NOT_HOLD:
        return Text(
            "So F need not be exactly -1 to weaken gradients much.",
            "따라서 F 쪽이 정확히 -1배가 아니어도 그래디언트는 크게 약해질 수 있습니다.",
        )
    return Text(
        "How often F takes back half of a gradient is not clear at this budget.",
        "F가 그래디언트를 절반이나 지우는 일이 얼마나 잦은지는 이 예산으로는 분명하지 않습니다.",
    )


def _drawing(looks: Mapping[str, Sequence[Look]]) -> Drawing:
    panels = {
        net: {
            "its size": _line([[(part.block, part.size) for part in each.parts] for each in found]),
            "along the shortcut's part": _line([[(part.block, part.along) for part in each.parts] for each in found]),
        }
        for net, found in looks.items()
    }
    return lines_over(panels, PARTS, x_label="block", level=CANCELS)


def _line(by_seed: Sequence[Sequence[tuple[int, float]]]) -> Line:
    """Means over the images of each block."""
    blocks = sorted({block for block, _ in by_seed[0]})
    return Line(
        blocks,
        [Measured(tuple(fmean(v for b, v in values if b == block) for values in by_seed)) for block in blocks],
    )


CLAIM = Claim(
    name="minus_one",
    statement=Text(
        "For the gradient to vanish in a block F would have to bring back exactly -1 of it, and it hardly ever comes "
        "near",
        "그래디언트가 한 블록에서 사라지려면 F 쪽 그래디언트가 지름길 쪽의 정확히 -1배여야 하는데, 그 근처에 가는 "
        "일조차 거의 없다",
    ),
    source=Text("He et al. 2016, section 2, after equation 5", "He 등 2016, 2절, 식 5"),
    group="He et al. 2016",
    measure=measure,
    plan=plan,
)
