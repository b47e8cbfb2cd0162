"""Pre-activation: normalising and rectifying before each convolution is better, the more so the deeper the net.

He et al. 2016, section 4, Table 2 (five places for the last BN and ReLU of a block) and Table 3 (depth). Test error on
CIFAR-10 in percent, medians of 5 trainings; nets of 110 layers have basic blocks, deeper ones bottlenecks:

    placement (Figure 4)            110 layers   164 layers
    (a) original                          6.61         5.93
    (b) BN after addition                 8.17         6.50
    (c) ReLU before addition              7.84         6.14
    (d) ReLU-only pre-activation          6.71         5.91
    (e) full pre-activation               6.37         5.46

Table 3 has 1001 layers as well: 7.61 original, 4.92 pre-activated.

Measured here: all five at 56 layers (110 in the budget `paper`), and original and full pre-activation at 20, judged by
the test error. The gain of pre-activation is the error of the original less its own, seed by seed: the two begin with
the same seed and see the same batches.

How the verdict falls. Three orders are claimed: full pre-activation below the original, BN after the addition above it,
and the gain larger at the greater depth. The margin of each is 0: the published gain at 110 layers is a quarter of a
point, so there is no smaller amount to allow for, and any difference counts that the seeds are sure of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from residuum.experiments.claim import Claim, Conclusion
from residuum.experiments.evidence import Evidence
from residuum.experiments.setting import Setting
from residuum.plans.plan import PlannedRun
from residuum.records.finding import Arm, Comparison
from residuum.records.quantity import Measured, Quantity
from residuum.records.text import NOTHING, Text

MARGIN = 0.0  # an order
SHALLOW = 20
GAIN = Quantity("gain", "points", korean="이득")
ORIGINAL, NORM_AFTER, FULL = "original", "BN after addition", "full pre-activation"
RELU_BEFORE, RELU_ONLY = "ReLU before addition", "ReLU-only pre-activation"
KOREAN = {
    ORIGINAL: "원래 순서",
    NORM_AFTER: "덧셈 뒤 BN",
    RELU_BEFORE: "덧셈 앞 ReLU",
    RELU_ONLY: "ReLU만 사전 활성화",
    FULL: "완전 사전 활성화",
}
MEDIANS = Text("medians of 5", "학습 5회의 중앙값")
CAPTION = Text(
    "Training and test error at the end, mean over the seeds with one standard deviation. The diamonds, where the data "
    "are CIFAR-10, are the published test errors of 110 layers, medians of 5. Compare He et al. 2016, Tables 2 and 3.",
    "학습이 끝났을 때의 학습 오차와 시험 오차이며, 시드들의 평균과 표준편차입니다. 데이터가 CIFAR-10일 때 마름모는 "
    "110층에서 발표된 시험 오차(학습 5회의 중앙값)입니다. He 등 2016, 표 2, 3과 비교해 보십시오.",
)


@dataclass(frozen=True)
class Placement:
    """What is changed in the net of 2015, and the published test errors in percent."""

    change: str
    at_110: float
    at_164: float

    @property
    def published(self) -> Text:
        """Of 110 layers and of 164."""
        both = f"{self.at_110:.2f} / {self.at_164:.2f}"
        return Text(
            f"{both} (CIFAR-10, 110 layers / 164 with bottlenecks, {MEDIANS.en})",
            f"{both} (CIFAR-10, 110층 / 병목 블록의 164층, {MEDIANS.ko})",
        )


PLACEMENTS = {
    ORIGINAL: Placement("", 6.61, 5.93),
    NORM_AFTER: Placement("+placement=norm_after_addition", 8.17, 6.50),
    RELU_BEFORE: Placement("+placement=relu_before_addition", 7.84, 6.14),
    RELU_ONLY: Placement("+placement=relu_only", 6.71, 5.91),
    FULL: Placement("+preactivation=yes", 6.37, 5.46),
}


PUBLISHED_GAINS = Text(
    "0.24 at 110 layers; with bottlenecks 0.47 at 164, 2.69 at 1001 (differences of medians of 5)",
    "110층 0.24, 병목 블록을 쓴 164층 0.47과 1001층 2.69 (학습 5회의 중앙값의 차이)",
)


def deep(setting: Setting) -> int:
    """Layers of the five nets."""
    return 110 if setting.budget == "paper" else 56


def arm_name(placement: str, depth: int) -> str:
    """What an arm is called."""
    return f"{placement}, {depth} layers"


def korean_name(arm: str) -> str:
    """The Korean name of the arm of a placement."""
    placement, _, depth = arm.rpartition(", ")
    return f"{KOREAN[placement]}, {depth.removesuffix(' layers')}층"


def nets(setting: Setting) -> dict[str, str]:
    """The nets by the name of their arm: five deep ones, two shallow ones."""
    wanted = [(each, deep(setting)) for each in PLACEMENTS] + [(each, SHALLOW) for each in (ORIGINAL, FULL)]
    return {arm_name(each, depth): f"resnet{depth}{PLACEMENTS[each].change}" for each, depth in wanted}


def plan(setting: Setting) -> Sequence[PlannedRun]:
    """All of them."""
    return setting.planned(*nets(setting).values())


def gain(original: Measured, changed: Measured) -> Measured:
    """By how many percentage points the error of the original is higher, seed by seed."""
    return Measured(tuple(100 * (a - b) for a, b in zip(original.values, changed.values, strict=True)))


def measure(evidence: Evidence) -> Conclusion:
    """The errors of the five placements, and what pre-activation gains at two depths."""
    depth, error = deep(evidence.setting), evidence.judged_error
    of_nets = {name: evidence.error(net, error) for name, net in nets(evidence.setting).items()}
    gains = {each: gain(of_nets[arm_name(ORIGINAL, each)], of_nets[arm_name(FULL, each)]) for each in (SHALLOW, depth)}
    shares = {arm_name(name, depth): each.at_110 / 100 for name, each in PLACEMENTS.items()}
    of_these_nets = shares if evidence.setting.budget == "paper" else {}
    trained = [
        evidence.arm(net, _published(name), name=name, korean=korean_name(name), printed=of_these_nets.get(name))
        for name, net in nets(evidence.setting).items()
    ]
    return Conclusion(
        arms=(*trained, *(_gain_arm(each, one) for each, one in gains.items())),
        quantities=(*evidence.errors, GAIN),
        comparisons=(
            _worse(ORIGINAL, FULL, depth, error),
            _worse(NORM_AFTER, ORIGINAL, depth, error),
            Comparison(
                statement=Text(
                    f"pre-activation gains more at {depth} layers than at {SHALLOW}",
                    f"사전 활성화의 이득은 {SHALLOW}층보다 {depth}층에서 크다",
                ),
                a=_gain_name(depth),
                b=_gain_name(SHALLOW),
                relation="above",
                margin=MARGIN,
                quantity=GAIN.name,
                published=PUBLISHED_GAINS,
            ),
        ),
        summary=_summary(of_nets, gains, depth, error),
        drawing=evidence.error_bars(trained, shares),
        caption=CAPTION,
    )


def _published(arm: str) -> Text:
    placement, _, depth = arm.rpartition(", ")
    return PLACEMENTS[placement].published if not depth.startswith(str(SHALLOW)) else NOTHING


def _gain_name(depth: int) -> str:
    return f"gain by pre-activation, {depth} layers"


def _gain_arm(depth: int, measured: Measured) -> Arm:
    return Arm(
        name=_gain_name(depth),
        published=PUBLISHED_GAINS if depth != SHALLOW else NOTHING,
        measured={GAIN.name: measured},
        korean=f"사전 활성화의 이득, {depth}층",
    )


def _worse(worse: str, better: str, depth: int, error: Quantity) -> Comparison:
    return Comparison(
        statement=Text(f"{worse} does worse than {better}", f"{KOREAN[worse]}: {KOREAN[better]}보다 오차가 크다"),
        a=arm_name(worse, depth),
        b=arm_name(better, depth),
        relation="above",
        margin=MARGIN,
        quantity=error.name,
        published=Text(
            f"{PLACEMENTS[worse].at_110:.2f} against {PLACEMENTS[better].at_110:.2f} (110 layers, {MEDIANS.en})",
            f"{PLACEMENTS[worse].at_110:.2f} 대 {PLACEMENTS[better].at_110:.2f} (110층, {MEDIANS.ko})",
        ),
    )


def _summary(errors: Mapping[str, Measured], gains: Mapping[int, Measured], depth: int, error: Quantity) -> Text:
    """The order of the five, and both gains."""
    means = {name: errors[arm_name(name, depth)].mean for name in PLACEMENTS}
    best_first = sorted(means, key=lambda name: means[name])
    order = ", ".join(f"{name} {100 * means[name]:.2f} %" for name in best_first)
    same = ", ".join(f"{KOREAN[name]} {100 * means[name]:.2f} %" for name in best_first)
    listed = " and ".join(f"{one.mean:+.2f} points at {each} layers" for each, one in gains.items())
    korean = ", ".join(f"{each}층에서 {one.mean:+.2f} %p" for each, one in gains.items())
    return Text(
        f"A block has two convolutions, two normalisations and two ReLUs; the five nets differ in where the last of "
        f"them stand. {error.name.capitalize()} at {depth} layers, from the best mean to the worst: {order}. Against "
        f"the original, full pre-activation gains {listed} (below 0: it loses).",
        "한 블록에는 합성곱 둘, 정규화 둘, ReLU 둘이 있고, 다섯 신경망은 그 가운데 뒤쪽 것들의 위치가 "
        f"다릅니다. {depth}층의 {error.label.ko}를 평균이 좋은 것부터 늘어놓으면 {same}입니다. 완전 사전 활성화의 "
        f"이득은 원래 순서에 견주어 {korean}입니다(0보다 작으면 손해).",
    )


CLAIM = Claim(
    name="preactivation",
    statement=Text(
        "Full pre-activation is better than the original order, more so in deeper nets; BN after the addition is worse",
        "완전 사전 활성화(full pre-activation)는 원래 순서보다 낫고 깊을수록 더 나으며, 덧셈 뒤의 BN은 더 나쁘다",
    ),
    source=Text("He et al. 2016, section 4, Tables 2 and 3", "He 등 2016, 4절, 표 2와 3"),
    group="He et al. 2016",
    measure=measure,
    plan=plan,
)
