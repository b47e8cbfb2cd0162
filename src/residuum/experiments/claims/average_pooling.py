"""Average pooling: averaging the last map can replace the large fully connected layers at little cost in error.

Lin et al. 2013, "Network In Network" (arXiv 1312.4400), Table 5, test error on CIFAR-10 in percent, not augmented:
10.41 with the average, 11.59 with fully connected layers, 10.88 with these and dropout. Szegedy et al. 2014 (GoogLeNet,
section 5) found the top-1 accuracy about 0.6 points better with the average, and dropout still essential. He et al.
2015 end their nets so.

Measured here on ResNet-20: with its average and one linear layer, and with two linear layers (256 and the classes,
dropout of 0.5 between) on the last map brought to 4x4. What is saved is counted, there and on VGG-16, whose linear
layers hold 89 % of all parameters; VGG-16 is not trained.

How the verdict falls:

- ResNet-20 with the average is not above the one with linear layers by 1 percentage point of test error or more: what
  the claim `degradation` takes for a difference that matters, and so what "little cost" may be.
- VGG-16 has more than twice the parameters that it has with the average in place of its linear layers, or there would
  be little reason to replace them. This is counted.
"""

from __future__ import annotations

from collections.abc import Sequence

from residuum.experiments.claim import Claim, Conclusion
from residuum.experiments.evidence import Evidence
from residuum.experiments.printed import cifar_error_share
from residuum.experiments.setting import Setting
from residuum.nets import catalog
from residuum.plans.plan import PlannedRun
from residuum.records.finding import Arm, Comparison
from residuum.records.quantity import Quantity, exactly
from residuum.records.text import NOTHING, Text

MARGIN = 0.01  # one percentage point
WORTH_WHILE = 2.0  # times the parameters
AVERAGE, LINEAR = "ResNet-20, average", "ResNet-20, linear layers"
VGG, VGG_AVERAGE = "VGG-16, linear layers", "VGG-16, average"
NETS = {AVERAGE: "resnet20", LINEAR: "resnet20+head=linear"}
COUNTED = {VGG: "vgg16", VGG_AVERAGE: "vgg16_gap"}
OF_VGG = Text("138M parameters", "매개변수 138M")
KOREAN = {
    AVERAGE: "ResNet-20, 평균 풀링",
    LINEAR: "ResNet-20, 완전 연결 층",
    VGG: "VGG-16, 완전 연결 층",
    VGG_AVERAGE: "VGG-16, 평균 풀링",
}
PUBLISHED = {
    AVERAGE: Text.same("10.41 (Network In Network, CIFAR-10)"),
    LINEAR: Text("11.59, with dropout 10.88 (the same)", "11.59, 드롭아웃을 쓰면 10.88 (위와 같음)"),
    VGG: OF_VGG,
    VGG_AVERAGE: NOTHING,
}
PARAMETERS = Quantity("parameters", "", korean="매개변수")
MULTIPLE = Quantity("times those with the average", "", korean="평균 풀링을 쓸 때 대비 배수")
CAPTION = Text(
    "Training and test error at the end, mean over the seeds with one standard deviation. The training error of the "
    "net with linear layers is counted while their dropout is on. The diamond, where the data are CIFAR-10, is the "
    "published error of ResNet-20 (He et al. 2015, Table 6). Compare Lin et al. 2013, Table 5, which is of another "
    "net.",
    "학습이 끝났을 때의 학습 오차와 시험 오차이며, 시드들의 평균과 표준편차입니다. 완전 연결 층이 있는 신경망의 학습 "
    "오차는 드롭아웃을 켠 채로 센 것입니다. 데이터가 CIFAR-10일 때 마름모는 발표된 ResNet-20의 오차입니다(He 등 2015, "
    "표 6). Lin 등 2013, 표 5와 비교해 보십시오. 그 표는 다른 신경망의 것입니다.",
)


def plan(setting: Setting) -> Sequence[PlannedRun]:
    """ResNet-20 with both ends."""
    return setting.planned(*NETS.values())


def parameters(name: str) -> int:
    """Parameters of an arm's net, as it was published: for 10 classes, VGG-16 for 1000."""
    return catalog.entry((NETS | COUNTED)[name]).parameters


def multiple(name: str) -> float:
    """How many times the parameters an arm's net has that it has with the average."""
    return parameters(name) / parameters(AVERAGE if name in NETS else VGG_AVERAGE)


def measure(evidence: Evidence) -> Conclusion:
    """The test errors of ResNet-20, and the parameters of all."""
    error = evidence.judged_error
    own = {
        name: {PARAMETERS.name: exactly(parameters(name)), MULTIPLE.name: exactly(multiple(name))}
        for name in (*NETS, *COUNTED)
    }
    trained = [
        evidence.arm(net, PUBLISHED[name], name=name, korean=KOREAN[name], own=own[name]) for name, net in NETS.items()
    ]
    return Conclusion(
        arms=(
            *trained,
            *(Arm(name=name, published=PUBLISHED[name], measured=own[name], korean=KOREAN[name]) for name in COUNTED),
        ),
        quantities=(*evidence.errors, PARAMETERS, MULTIPLE),
        comparisons=(
            Comparison(
                statement=Text(
                    "ResNet-20 does no worse with the average than with linear layers",
                    "ResNet-20은 평균 풀링을 써도 완전 연결 층을 쓸 때보다 못하지 않다",
                ),
                a=AVERAGE,
                b=LINEAR,
                relation="not above",
                margin=MARGIN,
                quantity=error.name,
                published=Text(
                    "10.41 against 11.59 and 10.88 (Network In Network); about 0.6 points better top-1, dropout still "
                    "essential (GoogLeNet)",
                    "10.41 대 11.59와 10.88 (Network In Network); top-1이 약 0.6 %p 나음, 드롭아웃은 여전히 "
                    "필수(GoogLeNet)",
                ),
            ),
            Comparison(
                statement=Text(
                    "the linear layers of VGG-16 more than double its parameters (counted)",
                    "VGG-16의 완전 연결 층은 매개변수를 두 배 넘게 늘린다(센 값)",
                ),
                a=VGG,
                b=WORTH_WHILE,
                relation="above",
                margin=0.0,
                quantity=MULTIPLE.name,
                published=OF_VGG,
            ),
        ),
        summary=_summary(evidence, error),
        drawing=evidence.error_bars(trained, {AVERAGE: cifar_error_share("resnet20")}),
        caption=CAPTION,
    )


def _summary(evidence: Evidence, error: Quantity) -> Text:
    """Both errors, and the parameters of all four."""
    average, linear = (evidence.error(net, error) for net in NETS.values())
    change = f"{100 * (average.mean - linear.mean):+.2f}"
    return Text(
        f"ResNet-20 ends at a {error.name} of {average.percent()} with the average of its last map and "
        f"{linear.percent()} with two linear layers in its place: the average changes it by {change} points "
        f"(below 0: better). Linear layers make its {parameters(AVERAGE):,} parameters {parameters(LINEAR):,}; VGG-16 "
        f"has {parameters(VGG):,} with its linear layers and {parameters(VGG_AVERAGE):,} with the average.",
        f"ResNet-20의 {error.label.ko}는 마지막 맵의 평균을 쓰면 {average.percent()}, 그 자리에 완전 연결 층 두 개를 "
        f"두면 {linear.percent()}입니다. 평균을 쓰면 오차가 {change} %p 달라집니다(0보다 작으면 나아짐). ResNet-20의 "
        f"매개변수는 {parameters(AVERAGE):,}개인데 완전 연결 층을 두면 {parameters(LINEAR):,}개가 됩니다. VGG-16의 "
        f"매개변수는 완전 연결 층이 있으면 {parameters(VGG):,}개, 평균을 쓰면 {parameters(VGG_AVERAGE):,}개입니다.",
    )


CLAIM = Claim(
    name="average_pooling",
    statement=Text(
        "Global average pooling can replace the fully connected layers at little cost in error",
        "전역 평균 풀링은 오차를 거의 늘리지 않고 완전 연결 층을 대신할 수 있다",
    ),
    source=Text(
        "Lin et al. 2013, Table 5; Szegedy et al. 2014, section 5",
        "Lin 등 2013, 표 5; Szegedy 등 2014, 5절",
    ),
    group="taught",
    measure=measure,
    plan=plan,
)
