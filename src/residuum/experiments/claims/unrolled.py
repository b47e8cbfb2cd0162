"""x_L = x_l + sum of F(x_i): exact between identity pre-activation blocks, not with a ReLU after the addition.

He et al. 2016, section 2, equation 4: where shortcut and what follows the addition are both the identity, each deeper
x_L is any shallower x_l plus what the blocks between add to it. In the nets of 2015 a ReLU follows, by which negative
sums are lost.

Measured: in each stage, over all its blocks with an identity shortcut, |x_L - (x_l + sum of F(x_i))| / |x_L|, norms
over a batch of training images; of a net the stage where it is largest. It is exact where no more than rounding is
left, at most 1e-5 (float32 rounds each of a few additions by 6e-8 of its result), and not exact above 1 %, a thousand
times that. It is a property of the architecture, so it must hold trained and untrained, at any depth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from residuum.experiments.claim import Claim, Conclusion
from residuum.experiments.evidence import Evidence
from residuum.experiments.identity_blocks import identity_blocks
from residuum.experiments.setting import Setting
from residuum.insight.taps import device_of, evaluating
from residuum.insight.terms import Terms, shortcut_blocks, watching
from residuum.plans.plan import PlannedRun
from residuum.records.finding import Arm, Comparison
from residuum.records.quantity import Measured, Quantity
from residuum.records.text import NOTHING, Text
from residuum.report.measured_figures import Bar, bars

PRE, POST = "resnet20+preactivation=yes", "resnet20"
DEEP_PRE, DEEP_POST = "resnet56+preactivation=yes", "resnet56"
TRAINED = (PRE, POST, DEEP_POST)
UNTRAINED = {net: f"{net}, untrained" for net in (DEEP_PRE, DEEP_POST)}
KOREAN = {name: f"{net}, 학습 전" for net, name in UNTRAINED.items()}
EXACT = (PRE, UNTRAINED[DEEP_PRE])
INEXACT = (POST, DEEP_POST)
ROUNDING = 1e-5
ONE_PERCENT = 0.01

ERROR = Quantity("error of the sum, of x_L", "", korean="합의 오차(x_L 대비)")
CAPTION = Text(
    "How far x_L is from x_l plus the sum of all F between them, of the norm of x_L, in the stage where it is "
    "farthest; mean over the seeds with one standard deviation, on a logarithmic scale. At about 1e-7 only rounding "
    "is left. Compare He et al. 2016, equations 3 and 4; the paper has no figure of it.",
    "x_L과, x_l에 그 사이의 모든 F를 더한 것의 차이를 x_L의 크기로 나눈 값입니다. 차이가 가장 큰 단계의 값이고, "
    "시드들의 평균과 표준편차이며, 로그 눈금입니다. 1e-7쯤이면 반올림 오차만 남은 것입니다. He 등 2016, 식 3, 4와 "
    "비교해 보십시오. 논문에 이 그림은 없습니다.",
)


def unrolled_error(net: nn.Module, images: Tensor) -> float:
    """|x_L - (x_l + sum of F(x_i))| / |x_L| of the stage where it is largest, in eval mode.

    Raises:
        InputError: the net is plain, or has no residual blocks.
    """
    found: dict[str, Terms] = {}
    with torch.no_grad(), evaluating(net), watching(shortcut_blocks(net), found.__setitem__):
        net(images.to(device_of(net)))
    return max(_error([found[name] for name in stage]) for stage in identity_blocks(net))


def _error(stage: Sequence[Terms]) -> float:
    total = stage[0].x + sum(each.residual for each in stage)
    output = stage[-1].output
    return float((output - total).norm() / output.norm())


def plan(setting: Setting) -> Sequence[PlannedRun]:
    """One net with pre-activation, two without."""
    return setting.planned(*TRAINED)


def measure(evidence: Evidence) -> Conclusion:
    """The error of the sum in each net and seed."""
    errors = {net: _trained(evidence, net) for net in TRAINED}
    errors |= {name: _untrained(evidence, net) for net, name in UNTRAINED.items()}
    return conclude(evidence, errors)


def _trained(evidence: Evidence, net: str) -> Measured:
    classifiers = evidence.classifiers(net)
    return Measured(tuple(unrolled_error(each.net, evidence.images(each, "train")[0]) for each in classifiers))


def _untrained(evidence: Evidence, net: str) -> Measured:
    images, _ = evidence.untrained_images(net, "train")
    return Measured(tuple(unrolled_error(evidence.untrained(net, seed), images) for seed in evidence.setting.seeds))


def conclude(evidence: Evidence, errors: Mapping[str, Measured]) -> Conclusion:
    """Judge what was measured for each arm."""
    exact = [
        Comparison(
            statement=Text(f"{name}: nothing but rounding", f"{KOREAN.get(name, name)}: 반올림 오차뿐이다"),
            a=name,
            b=0.0,
            relation="not above",
            margin=ROUNDING,
            quantity=ERROR.name,
            published=Text("exact", "등식이 성립"),
        )
        for name in EXACT
    ]
    inexact = [
        Comparison(
            statement=Text(
                f"{name}, with a ReLU after the addition: not exact",
                f"{name}, 덧셈 뒤에 ReLU가 있음: 등식이 어긋난다",
            ),
            a=name,
            b=0.0,
            relation="above",
            margin=ONE_PERCENT,
            quantity=ERROR.name,
            published=Text("not exact", "등식이 어긋남"),
        )
        for name in INEXACT
    ]
    return Conclusion(
        arms=tuple(
            Arm(
                name=name,
                published=NOTHING,
                measured={ERROR.name: each},
                runs=tuple(evidence.runs(name)),
                korean=KOREAN.get(name, ""),
            )
            for name, each in errors.items()
        ),
        quantities=(ERROR,),
        comparisons=(*exact, *inexact),
        summary=_summary(errors),
        drawing=bars({"x_L against x_l + sum of F(x_i)": [Bar(*each) for each in errors.items()]}, ERROR, log=True),
        caption=CAPTION,
    )


def _summary(errors: Mapping[str, Measured]) -> Text:
    return Text(
        f"With pre-activation the output of a stage differs from its input plus all that its blocks add by "
        f"{errors[PRE].mean:.1e} of its size in the trained 20-layer net and by {errors[UNTRAINED[DEEP_PRE]].mean:.1e} "
        f"in an untrained one of 56 layers. With a ReLU after each addition it differs by "
        f"{100 * errors[POST].mean:.3g} % in the trained {POST} and by {100 * errors[DEEP_POST].mean:.3g} % in "
        f"{DEEP_POST}.",
        "사전 활성화를 쓰면, 한 단계의 입력에 블록들의 F를 모두 더한 값은 그 단계의 출력과 출력 크기의 "
        f"{errors[PRE].mean:.1e}배(학습한 20층), {errors[UNTRAINED[DEEP_PRE]].mean:.1e}배(학습하지 않은 56층)만큼 "
        f"다릅니다. 덧셈마다 뒤에 ReLU가 있으면 차이는 학습한 {POST} 신경망에서 {100 * errors[POST].mean:.3g} %, "
        f"{DEEP_POST} 신경망에서 {100 * errors[DEEP_POST].mean:.3g} %입니다.",
    )


CLAIM = Claim(
    name="unrolled",
    statement=Text(
        "Between identity pre-activation blocks x_L is exactly x_l + sum of F(x_i); with a ReLU after the addition not",
        "항등 지름길이 있는 사전 활성화 블록 사이에서는 x_L = x_l + ΣF(x_i)가 정확히 성립하고, 덧셈 뒤에 ReLU가 "
        "있으면 성립하지 않는다",
    ),
    source=Text("He et al. 2016, section 2, equation 4", "He 등 2016, 2절, 식 4"),
    group="He et al. 2016",
    measure=measure,
    plan=plan,
)
