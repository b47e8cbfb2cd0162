"""Strided: a convolution with a stride can replace pooling.

Springenberg et al. 2015, "Striving for Simplicity" (arXiv 1412.6806), Table 3: CIFAR-10 without augmentation, their
larger net C, test error in percent: 9.74 with maximum pooling, 10.19 with strides in its place, 9.08 with strided
convolutions put where the pooling was, 9.31 with as many convolutions and the pooling kept. Strides in place of the
pooling cost their other nets more: 13.46 against 12.47 (net A), 10.98 against 10.20 (net B). All residual nets of He
et al. 2015 halve their maps by strides.

Measured here on ResNet-20: as published, and with 2x2 pooling (maximum or average) of what the first block of a stage
takes, in front of its branch and its shortcut, whose convolutions then have stride 1. So all three have the same
convolutions on maps of the same size, and the same multiply-adds; only the pooling itself is added.

How the verdict falls. The net with strides is not above either net with pooling by 1 percentage point of test error or
more: what the claim `degradation` takes for a difference that matters; the published differences of net C are less
than half of it, those of A and B 0.99 and 0.78 points.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from residuum.costing.count import cost
from residuum.experiments.claim import Claim, Conclusion
from residuum.experiments.evidence import Evidence
from residuum.experiments.printed import cifar_error_share
from residuum.experiments.setting import Setting
from residuum.nets import catalog
from residuum.plans.plan import PlannedRun
from residuum.records.finding import Comparison
from residuum.records.quantity import Measured, Quantity, exactly
from residuum.records.text import NOTHING, Text

MARGIN = 0.01  # one percentage point
STRIDE, MAXIMUM, AVERAGE = "stride", "maximum pooling", "average pooling"
NETS = {STRIDE: "resnet20", MAXIMUM: "resnet20+downsampling=max_pool", AVERAGE: "resnet20+downsampling=average_pool"}
KOREAN = {STRIDE: "보폭", MAXIMUM: "최대 풀링", AVERAGE: "평균 풀링"}
PUBLISHED = {
    STRIDE: Text(
        "10.19; 9.08 in place of the pooling (CIFAR-10, not augmented, net C of Springenberg et al. 2015)",
        "10.19; 풀링 자리에 보폭 있는 합성곱을 두면 9.08 (CIFAR-10, 증강 없음, Springenberg 등 2015의 신경망 C)",
    ),
    MAXIMUM: Text("9.74; 9.31 with as many convolutions (the same)", "9.74; 합성곱 수를 같게 하면 9.31 (위와 같음)"),
    AVERAGE: NOTHING,
}
AGAINST_MAXIMUM = Text(
    "10.19 against 9.74 (net C; A 13.46 against 12.47, B 10.98 against 10.20); 9.08 against 9.31 (C)",
    "10.19 대 9.74 (신경망 C; A는 13.46 대 12.47, B는 10.98 대 10.20); 9.08 대 9.31 (C)",
)
MACS, FLOPS = Quantity("MACs", "", korean="곱셈-덧셈"), Quantity("FLOPs", "")
CAPTION = Text(
    "Training and test error at the end, mean over the seeds with one standard deviation. The diamond, where the data "
    "are CIFAR-10, is the published error of ResNet-20 (He et al. 2015, Table 6). Compare Springenberg et al. 2015, "
    "Table 3, which is of other nets.",
    "학습이 끝났을 때의 학습 오차와 시험 오차이며, 시드들의 평균과 표준편차입니다. 데이터가 CIFAR-10일 때 마름모는 "
    "발표된 ResNet-20의 오차입니다(He 등 2015, 표 6). Springenberg 등 2015, 표 3과 비교해 보십시오. 그 표는 다른 "
    "신경망의 것입니다.",
)


def plan(setting: Setting) -> Sequence[PlannedRun]:
    """All three."""
    return setting.planned(*NETS.values())


def counted(net: str) -> dict[str, Measured]:
    """What one image of the published size costs a net."""
    whole = cost(catalog.net(net), catalog.entry(net).input_shape, training=False)
    return {MACS.name: exactly(whole.macs), FLOPS.name: exactly(whole.flops)}


def measure(evidence: Evidence) -> Conclusion:
    """The test errors, and what each net costs."""
    error = evidence.judged_error
    costs = {name: counted(net) for name, net in NETS.items()}
    arms = [
        evidence.arm(net, PUBLISHED[name], name=name, korean=KOREAN[name], own=costs[name])
        for name, net in NETS.items()
    ]
    return Conclusion(
        arms=tuple(arms),
        quantities=(*evidence.errors, MACS, FLOPS),
        comparisons=tuple(
            Comparison(
                statement=Text(f"strides do no worse than {pooling}", f"보폭을 써도 {KOREAN[pooling]}보다 못하지 않다"),
                a=STRIDE,
                b=pooling,
                relation="not above",
                margin=MARGIN,
                quantity=error.name,
                published=published,
            )
            for pooling, published in ((MAXIMUM, AGAINST_MAXIMUM), (AVERAGE, NOTHING))
        ),
        summary=_summary({name: evidence.error(net, error) for name, net in NETS.items()}, costs, error),
        drawing=evidence.error_bars(arms, {STRIDE: cifar_error_share("resnet20")}),
        caption=CAPTION,
    )


def _summary(errors: Mapping[str, Measured], costs: Mapping[str, Mapping[str, Measured]], error: Quantity) -> Text:
    """The three errors, and the multiply-adds."""
    listed = ", ".join(f"{one.percent()} with {name}" for name, one in errors.items())
    korean = ", ".join(f"{KOREAN[name]} {one.percent()}" for name, one in errors.items())
    macs = {name: each[MACS.name].mean for name, each in costs.items()}
    same = len(set(macs.values())) == 1
    words = Text("the same number of", "같으며") if same else Text("not the same number of", "서로 다르며")
    return Text(
        f"ResNet-20, halving its maps in three ways, ends at a {error.name} of {listed}. The three take {words.en} "
        f"multiply-adds, {macs[STRIDE] / 1e6:.2f} million with strides for an image of 32x32.",
        f"맵을 절반으로 줄이는 방법을 달리한 ResNet-20의 {error.label.ko}: {korean}. 셋의 곱셈-덧셈 수는 {words.ko}, "
        f"보폭을 쓸 때 32x32 이미지 한 장에 {macs[STRIDE] / 1e4:,.0f}만 번입니다.",
    )


CLAIM = Claim(
    name="strided",
    statement=Text(
        "A convolution with a stride can replace pooling",
        "보폭(stride)이 있는 합성곱이 풀링을 대신할 수 있다",
    ),
    source=Text(
        "Springenberg et al. 2015, Table 3; He et al. 2015, section 3.3",
        "Springenberg 등 2015, 표 3; He 등 2015, 3.3절",
    ),
    group="taught",
    measure=measure,
    plan=plan,
)
