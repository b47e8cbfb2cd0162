"""Degradation is unlikely to be caused by vanishing gradients, says the paper; that it is, say most notes.

He et al. 2015, section 4.1: the plain nets are trained with batch normalisation, by which no signal forwards has zero
variance, and gradients backwards have healthy norms; so neither vanishes. The claim judged is the paper's, that they do
not vanish. Healthy they need not be: Yang et al. 2019, "A Mean Field Theory of Batch Normalization" (arXiv 1902.08129),
show that at the start gradients of plain nets with batch normalisation explode towards the first layers.

Measured: the gradient of each convolution's weight, as a share of the weight's norm (by so much of itself the layer
moves in a step of rate 1; a norm alone would compare layers of different size), in a batch of training images
normalised as in training.

    first against last    mean logarithm over the first third of the convolutions less that over the last third
    first third           the former alone
    first convolution     its logarithm less the mean over the last third; shown, not judged

A gradient has vanished if in the first third it is less than a tenth of what it is in the last. Vanishing is
exponential in depth: in plain56 the middles of the two thirds are 37 layers apart, so a tenth is what 6 % lost in each
layer make; and a tenth is the step by which the paper lowers its rate, at which nets still learn. The claim holds if
plain56 trains worse than plain20, if its gradient has vanished neither before nor after training, and if before
training that in its first third is no less than a tenth of plain20's. After training these two are not compared: a net
that has learned has small gradients everywhere. What the notes have in mind, the same net without batch normalisation,
stands beside them, untrained: there gradients are small everywhere if signals are lost on their way forwards. A
gradient that grows on its way has not vanished; whether it is healthy is another question.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log10
from statistics import fmean

from torch import Tensor, nn

from residuum.experiments.claim import Claim, Conclusion
from residuum.experiments.evidence import TRAINING_ERROR, Evidence
from residuum.experiments.printed import WORSE
from residuum.experiments.setting import Setting
from residuum.insight.gradients import gradient_norms
from residuum.plans.plan import PlannedRun
from residuum.records.finding import Arm, Comparison
from residuum.records.quantity import Measured, Quantity
from residuum.records.text import NOTHING, Text, paragraph
from residuum.report.figures import Drawing
from residuum.report.measured_figures import Line, lines_over

SHALLOW, DEEP, BARE = "plain20", "plain56", "plain56+batch_norm=no"
TRAINED = (SHALLOW, DEEP)
UNTRAINED = {net: f"{net}, untrained" for net in (SHALLOW, DEEP, BARE)}
DEGRADED = 0.01  # one percentage point of training error, as in `degradation`
A_TENTH = 1.0  # powers of ten
NO_VANISHING = Text("do not vanish (in words)", "사라지지 않음(수치 없이 서술)")
FLOOR = 1e-30  # a gradient of 0 has no logarithm

PASSING = Quantity("gradient, first against last third", "powers of ten", korean="그래디언트, 앞 1/3 대 뒤 1/3")
REACHING = Quantity("gradient, first third", "powers of ten", korean="그래디언트, 앞 1/3")
FIRST = Quantity(
    "gradient, first convolution against last third", "powers of ten", korean="그래디언트, 첫 합성곱 대 뒤 1/3"
)
RELATIVE = Quantity("gradient, of the weight's norm", "")
VANISHES = Text("So gradients do vanish in it.", "따라서 그래디언트가 실제로 사라집니다.")
GROWS = Text(
    "Taken by thirds it does not vanish: before training it explodes on its way back, as is known of plain nets with "
    "batch normalisation (Yang et al. 2019, arXiv 1902.08129), which is not healthy either.",
    "1/3씩 나누어 보면 사라지지 않습니다. 학습 전에는 앞쪽 층으로 돌아가면서 폭발하는데, 배치 정규화가 있는 plain "
    "신경망에서 알려진 일이며(Yang 등 2019, arXiv 1902.08129), 이것도 바람직하지는 않습니다.",
)
STAYS = Text("Taken by thirds it does not vanish.", "1/3씩 나누어 보면 사라지지 않습니다.")
CAPTION = Text(
    "Gradient of each convolution's weight as a share of the weight's norm, from the image (1) to the classifier. A "
    "vanishing gradient would fall to the left, on this scale along a line. Lines are means over the seeds, with a "
    "band of one standard deviation. He et al. 2015, section 4.1, state it and show no figure.",
    "합성곱마다 가중치에 대한 그래디언트의 크기를 가중치의 크기로 나눈 값이며, 이미지 쪽(1)에서 분류기 쪽으로 "
    "늘어놓았습니다. 사라지는 그래디언트라면 왼쪽으로 갈수록 이 눈금에서 직선으로 떨어집니다. 선은 시드들의 "
    "평균이고, 띠는 ± 표준편차입니다. He 등 2015의 4.1절은 이를 글로만 서술하고 그림은 싣지 않았습니다.",
)


def flow(net: nn.Module, images: Tensor, labels: Tensor) -> list[float]:
    """The gradient of each convolution's weight as a share of the weight's norm, from the image to the classifier."""
    convolutions = {name for name, module in net.named_modules() if isinstance(module, nn.Conv2d)}
    norms = gradient_norms(net, images, labels, batch_statistics=True)
    return [each.relative for each in norms if each.layer in convolutions]


def reaching(flow: Sequence[float]) -> float:
    """Mean logarithm over the first third of the layers."""
    return _level(flow[: _third(flow)])


def passing(flow: Sequence[float]) -> float:
    """Mean logarithm over the first third of the layers less that over the last third."""
    return reaching(flow) - _level(flow[-_third(flow) :])


def first(flow: Sequence[float]) -> float:
    """Logarithm of the first layer less the mean over the last third."""
    return _level(flow[:1]) - _level(flow[-_third(flow) :])


def _third(flow: Sequence[float]) -> int:
    return max(1, len(flow) // 3)


def _level(values: Sequence[float]) -> float:
    return fmean(log10(max(value, FLOOR)) for value in values)


def plan(setting: Setting) -> Sequence[PlannedRun]:
    """The shallow and the deep plain net."""
    return setting.planned(*TRAINED)


def measure(evidence: Evidence) -> Conclusion:
    """The gradients of each net and seed, before and after training."""
    flows = {name: _untrained(evidence, net) for net, name in UNTRAINED.items()}
    for net in TRAINED:
        classifiers = evidence.classifiers(net)
        flows[net] = [flow(each.net, *evidence.images(each, "train")) for each in classifiers]
    return conclude(evidence, flows)


def _untrained(evidence: Evidence, net: str) -> list[list[float]]:
    images, labels = evidence.untrained_images(net, "train")
    return [flow(evidence.untrained(net, seed), images, labels) for seed in evidence.setting.seeds]


def conclude(evidence: Evidence, flows: Mapping[str, Sequence[Sequence[float]]]) -> Conclusion:
    """Judge what was seen: for each arm the gradients in each seed's net."""
    own = {name: _measured(each) for name, each in flows.items()}
    arms = [
        Arm(name=name, korean=f"{net}, 학습 전", published=NOTHING, measured=own[name])
        for net, name in UNTRAINED.items()
    ]
    arms += [evidence.arm(net, own=own[net]) for net in TRAINED]
    return Conclusion(
        arms=tuple(arms),
        quantities=(TRAINING_ERROR, PASSING, REACHING, FIRST),
        comparisons=_comparisons(),
        summary=_summary({arm.name: arm.measured for arm in arms}),
        drawing=_drawing(flows),
        caption=CAPTION,
    )


def _measured(flows: Sequence[Sequence[float]]) -> dict[str, Measured]:
    return {
        PASSING.name: Measured(tuple(map(passing, flows))),
        REACHING.name: Measured(tuple(map(reaching, flows))),
        FIRST.name: Measured(tuple(map(first, flows))),
    }


def _comparisons() -> tuple[Comparison, ...]:
    degraded = Comparison(
        statement=Text(
            f"{DEEP} trains worse than {SHALLOW}: there is degradation to explain",
            f"{DEEP} 신경망은 {SHALLOW} 신경망보다 학습 오차가 크다: 설명할 성능 저하가 있다",
        ),
        a=DEEP,
        b=SHALLOW,
        relation="above",
        margin=DEGRADED,
        quantity=TRAINING_ERROR.name,
        published=WORSE,
    )
    passes = [
        Comparison(
            statement=Text(
                f"in {words.en} the gradient in the first third is no less than a tenth of that in the last",
                f"{words.ko}의 앞 1/3에서 그래디언트가 뒤 1/3의 10분의 1보다 작지 않다",
            ),
            a=name,
            b=-A_TENTH,
            relation="above",
            margin=0.0,
            quantity=PASSING.name,
            published=NO_VANISHING,
        )
        for name, words in (
            (UNTRAINED[DEEP], Text(f"untrained {DEEP}", f"학습 전 {DEEP} 신경망")),
            (DEEP, Text(f"trained {DEEP}", f"학습한 {DEEP} 신경망")),
        )
    ]
    reaches = Comparison(
        statement=Text(
            f"the gradient in the first third of {DEEP} is no less than a tenth of {SHALLOW}'s, untrained",
            f"학습 전 {DEEP} 신경망의 앞 1/3에서 그래디언트가 {SHALLOW} 신경망의 10분의 1보다 작지 않다",
        ),
        a=UNTRAINED[SHALLOW],
        b=UNTRAINED[DEEP],
        relation="not above",
        margin=A_TENTH,
        quantity=REACHING.name,
        published=NO_VANISHING,
    )
    return (degraded, *passes, reaches)


def _summary(arms: Mapping[str, Mapping[str, Measured]]) -> Text:
    def ratio(name: str) -> str:
        return f"{10 ** arms[name][PASSING.name].mean:,.3g}"

    errors = {net: arms[net][TRAINING_ERROR.name].percent() for net in TRAINED}
    bare = 10 ** (arms[UNTRAINED[BARE]][REACHING.name].mean - arms[UNTRAINED[DEEP]][REACHING.name].mean)
    start, earliest = (_two_digits(10 ** arms[name][FIRST.name].mean) for name in (UNTRAINED[DEEP], DEEP))
    said = Text(
        f"{DEEP} ends at a training error of {errors[DEEP]}, {SHALLOW} at {errors[SHALLOW]}. In the first third of "
        f"{DEEP} the gradient is {ratio(UNTRAINED[DEEP])} times that in the last third before training and "
        f"{ratio(DEEP)} times after it (in its very first convolution {start} and {earliest} times); in {SHALLOW} "
        f"{ratio(UNTRAINED[SHALLOW])} times and {ratio(SHALLOW)} times; in {DEEP} without batch normalisation, "
        f"untrained, {ratio(UNTRAINED[BARE])} times, and there the gradient of the first third itself is {bare:.1g} "
        f"times what it is with it.",
        f"{DEEP} 신경망은 학습이 끝났을 때의 학습 오차가 {errors[DEEP]}, {SHALLOW} 신경망은 {errors[SHALLOW]}입니다. "
        f"{DEEP} 신경망의 앞 1/3에서 그래디언트는 뒤 1/3에 견주어 학습 전 {ratio(UNTRAINED[DEEP])}배, 학습 후 "
        f"{ratio(DEEP)}배이고(맨 첫 합성곱에서는 {start}배와 {earliest}배), {SHALLOW} 신경망에서는 "
        f"{ratio(UNTRAINED[SHALLOW])}배와 {ratio(SHALLOW)}배입니다. 배치 정규화가 없는 {DEEP} 신경망에서는 학습 전 "
        f"{ratio(UNTRAINED[BARE])}배이며, 앞 1/3의 그래디언트 크기 자체는 정규화가 있을 때의 {bare:.1g}배입니다.",
    )
    before = arms[UNTRAINED[DEEP]][PASSING.name].mean
    lowest = min(before, arms[DEEP][PASSING.name].mean)
    if lowest < -A_TENTH:
        return paragraph([said, VANISHES])
    return paragraph([said, GROWS if before > A_TENTH else STAYS])


def _two_digits(value: float) -> str:
    """`5,500`, `0.023`."""
    return f"{float(f'{value:.2g}'):,g}"


def _drawing(flows: Mapping[str, Sequence[Sequence[float]]]) -> Drawing:
    panels = {
        "before training": {net: _line(flows[name]) for net, name in UNTRAINED.items()},
        "after training": {net: _line(flows[net]) for net in TRAINED},
    }
    return lines_over(panels, RELATIVE, x_label="convolution", log_y=True)


def _line(flows: Sequence[Sequence[float]]) -> Line:
    return Line(range(1, len(flows[0]) + 1), [Measured(each) for each in zip(*flows, strict=True)])


CLAIM = Claim(
    name="not_vanishing",
    statement=Text(
        "Degradation is unlikely to be caused by vanishing gradients: with batch normalisation they do not vanish in "
        "plain nets, on average over the first third of the layers",
        "깊은 plain 신경망(지름길이 없는 신경망)의 성능 저하는 그래디언트 소실(기울기 소실, vanishing gradient) "
        "때문일 가능성이 낮다: 배치 정규화가 있으면 층의 앞 1/3에서 평균하여 그래디언트가 사라지지 않는다",
    ),
    source=Text("He et al. 2015, section 4.1", "He 등 2015, 4.1절"),
    group="He et al. 2015",
    measure=measure,
    plan=plan,
)
