"""Layer responses: the layers of residual nets respond more weakly than those of plain nets, deeper nets' more weakly.

He et al. 2015, section 4.2, "Analysis of Layer Responses", Figure 7: the standard deviation of the output of each 3x3
layer, after BN and before ReLU or addition, on CIFAR-10; plain nets of 20 and 56 layers, residual nets of 20, 56 and
110. The figure prints no numbers. The paper reads it so: residual functions are generally closer to zero than functions
without a shortcut, and in a deeper residual net a single layer changes the signal less.

Measured here on the trained nets in eval mode by `residuum.insight.anatomy.responses`, over all values of a layer
together, on the first 256 training images as they are, without augmentation; the paper does not say over which images
or axes. ResNet-110 is added where the budget is not `quick`. What is compared is the mean over the layers of a net, one
number for each seed.

How the verdict falls: the mean of plain-20 above that of ResNet-20, of plain-56 above ResNet-56, of ResNet-20 above
ResNet-56 (and of ResNet-56 above ResNet-110), each by more than 0.05. BN starts every layer at a deviation of 1, so
that this is a twentieth of where all nets begin: less could hardly be seen in the figure. The paper's nets had made
64,000 updates; after a few hundred, as in `quick`, many layers are still near 1, which says nothing of trained nets. So
a plain net is compared with a residual one only if its mean is further than 0.05 from 1, and two residual nets only if
that of either is; otherwise nothing is decided.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from residuum.experiments.claim import Claim, Conclusion
from residuum.experiments.evidence import Evidence
from residuum.experiments.printed import FIGURE_ONLY
from residuum.experiments.setting import Setting
from residuum.insight.anatomy import responses
from residuum.plans.plan import PlannedRun
from residuum.records.finding import Comparison
from residuum.records.quantity import Measured, Quantity
from residuum.records.text import NOTHING, Text, paragraph
from residuum.report.figures import Drawing
from residuum.report.measured_figures import Line, lines_over
from residuum.run import Run

START, MARGIN = 1.0, 0.05
IMAGES = 256
RESPONSE = Quantity("mean std of responses", "", korean="반응 표준편차의 평균")
NETS = ("plain20", "plain56", "resnet20", "resnet56")
DEEPEST = "resnet110"
SHORTCUTS = Text("it has shortcuts", "지름길이 있기 때문")
DEEPER = Text("it is deeper", "더 깊기 때문")
NOT_MOVED = Text(
    f"Of nets that are still within {MARGIN} of 1 on average nothing is decided.",
    f"평균이 아직 1에서 {MARGIN} 이내인 신경망에 대해서는 아무것도 판정하지 않습니다.",
)
CAPTION = Text(
    "Standard deviation of each layer's responses, after BN and before ReLU or addition; lines are means over the "
    "seeds, with a band of one standard deviation. Left: the layers from the image to the classifier. Right: the same, "
    "those of each net sorted by size. Compare He et al. 2015, Figure 7.",
    "BN 뒤, ReLU나 덧셈 앞에서 잰 층별 반응의 표준편차입니다. 선은 시드들의 평균이고, 띠는 ± 표준편차입니다. "
    "왼쪽: 이미지 쪽에서 분류기 쪽으로 늘어놓은 층. 오른쪽: 신경망마다 크기 순서로 늘어놓은 것. He 등 2015, 그림 7과 "
    "비교해 보십시오.",
)
Deviations = Sequence[Sequence[float]]  # of each seed: of each layer


def nets(setting: Setting) -> tuple[str, ...]:
    """The nets that are compared."""
    return NETS if setting.budget == "quick" else (*NETS, DEEPEST)


def pairs(setting: Setting) -> list[tuple[str, str, Text]]:
    """What is compared: the net with the larger responses, the one with the smaller, and why they are smaller."""
    found = [
        ("plain20", "resnet20", SHORTCUTS),
        ("plain56", "resnet56", SHORTCUTS),
        ("resnet20", "resnet56", DEEPER),
        ("resnet56", DEEPEST, DEEPER),
    ]
    return [each for each in found if each[1] in nets(setting)]


def has_moved(means: Mapping[str, Measured], larger: str, smaller: str, why: Text) -> bool:
    """Whether the nets of a pair have left their start so far that they can be compared."""
    decisive = (larger,) if why is SHORTCUTS else (larger, smaller)
    return any(abs(means[net].mean - START) > MARGIN for net in decisive)


def plan(setting: Setting) -> Sequence[PlannedRun]:
    """All of them."""
    return setting.planned(*nets(setting))


def measure(evidence: Evidence) -> Conclusion:
    """Measure every layer of every trained net."""
    found = {}
    names = nets(evidence.setting)
    for number, net in enumerate(names):
        evidence.progress(number, len(names))
        found[net] = deviations(evidence, net)
    return conclude(evidence, found)


def deviations(evidence: Evidence, net: str) -> Deviations:
    """The standard deviation of each layer's responses, a row for each seed."""
    rows = []
    for classifier in evidence.classifiers(net):
        images, _ = evidence.images(classifier, "train", IMAGES)
        rows.append([response.std for response in responses(classifier.net, images)])
    return rows


def conclude(evidence: Evidence, found: Mapping[str, Deviations]) -> Conclusion:
    """What the deviations of all nets come to."""
    means = {net: Measured(tuple(fmean(row) for row in rows)) for net, rows in found.items()}
    compared = pairs(evidence.setting)
    updates = max(_updates(run) for net in means for run in evidence.runs(net).values())
    all_moved = all(has_moved(means, *pair) for pair in compared)
    return Conclusion(
        arms=tuple(evidence.arm(net, FIGURE_ONLY, own={RESPONSE.name: one}) for net, one in means.items()),
        quantities=(RESPONSE, *evidence.errors),
        comparisons=tuple(
            Comparison(
                statement=Text(
                    f"{smaller} responds more weakly than {larger}: {why.en}",
                    f"{smaller} 신경망이 {larger} 신경망보다 약하게 반응한다: {why.ko}",
                ),
                a=larger,
                b=smaller,
                relation="above",
                margin=MARGIN,
                quantity=RESPONSE.name,
                published=Text("figure only: weaker", "그림만 있음: 더 약함"),
                decidable=has_moved(means, larger, smaller, why),
            )
            for larger, smaller, why in compared
        ),
        summary=paragraph([_summary(means, updates), NOTHING if all_moved else NOT_MOVED]),
        drawing=_drawing(found),
        caption=CAPTION,
    )


def _updates(run: Run) -> int:
    return int((run.result or {})["steps"])


def _summary(means: Mapping[str, Measured], updates: int) -> Text:
    """The mean deviation of each net, and the order they come in; `updates` of the training that made most."""
    listed = ", ".join(f"{net} {one.mean:.3f}" for net, one in means.items())
    order = sorted(means, key=lambda net: means[net].mean)
    return Text(
        f"Standard deviation of the responses, mean over the layers: {listed}. From the weakest to the strongest: "
        f"{', '.join(order)}; by the paper's figure residual nets come first, the deepest foremost. Every layer "
        f"starts near 1, where batch normalisation puts it, and had {updates:,} updates to move away (the paper's: "
        "64,000).",
        f"반응의 표준편차를 층들에 대해 평균한 값: {listed}. 약한 것부터 {', '.join(order)} 순서입니다. 논문의 "
        "그림에서는 잔차 신경망이 먼저이고, 가장 깊은 것이 맨 앞입니다. 모든 층은 배치 정규화 때문에 1 근처에서 "
        f"시작하며, 여기서 벗어날 기회는 갱신 {updates:,}번이었습니다(논문은 64,000번).",
    )


def _drawing(found: Mapping[str, Deviations]) -> Drawing:
    in_order = {net: _line(rows) for net, rows in found.items()}
    by_size = {net: _line([sorted(row, reverse=True) for row in rows]) for net, rows in found.items()}
    panels = {"layers in their order": in_order, "sorted by size": by_size}
    return lines_over(panels, Quantity("std of responses", ""), x_label="layer")


def _line(rows: Deviations) -> Line:
    layers = [Measured(tuple(values)) for values in zip(*rows, strict=True)]
    return Line(range(1, len(layers) + 1), layers)


CLAIM = Claim(
    name="responses",
    statement=Text(
        "Layers of residual networks respond more weakly than those of plain ones, and more weakly still in deep ones",
        "잔차 신경망의 층은 plain 신경망(지름길이 없는 신경망)의 층보다 약하게 반응하며, 깊은 신경망일수록 더 약하다",
    ),
    source=Text("He et al. 2015, section 4.2, Figure 7", "He 등 2015, 4.2절, 그림 7"),
    group="He et al. 2015",
    measure=measure,
    plan=plan,
    rule_changed=Text(
        "After the second record of quick, nets whose responses are still where batch normalisation starts them are no "
        "longer judged, since they say nothing of trained ones.",
        "quick의 두 번째 기록 뒤에, 반응이 아직 배치 정규화의 출발점에 머물러 있는 신경망은 판정하지 않도록 "
        "바꾸었습니다. 학습된 신경망에 대해 말해 주는 것이 없기 때문입니다.",
    ),
)
