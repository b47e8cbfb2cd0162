"""Dropout: with batch normalisation a residual net needs none.

He et al. 2015, section 3.4, use none, after Ioffe & Szegedy 2015, "Batch Normalization" (arXiv 1502.03167), section
4.2.1, who left it out without overfitting more. Taught since as: with BN no dropout is needed. No figures are published
for the nets of the two residual papers.

Measured here on ResNet-20, as published and with a dropout of 0.5 before its last layer, where AlexNet and VGG have it.

How the verdict falls. The net without dropout is not above the one with it by 1 percentage point of test error or more:
what the claim `degradation` takes for a difference that matters. Whether dropout does harm is not asked.
"""

from __future__ import annotations

from collections.abc import Sequence

from residuum.experiments.claim import Claim, Conclusion
from residuum.experiments.evidence import TRAINING_ERROR, Evidence
from residuum.experiments.printed import cifar_error, cifar_error_share
from residuum.experiments.setting import Setting
from residuum.plans.plan import PlannedRun
from residuum.records.finding import Comparison
from residuum.records.quantity import Quantity
from residuum.records.text import Text

MARGIN = 0.01  # one percentage point
WITHOUT, WITH = "no dropout", "dropout of 0.5"
KOREAN = {WITHOUT: "드롭아웃 없음", WITH: "비율 0.5의 드롭아웃"}
NETS = {WITHOUT: "resnet20", WITH: "resnet20+dropout=0.5"}
NOT_USED = Text("not used", "쓰지 않음")
PUBLISHED = {WITHOUT: cifar_error("resnet20"), WITH: NOT_USED}
CAPTION = Text(
    "Training and test error at the end, mean over the seeds with one standard deviation. The training error of the "
    "net with dropout is counted while values are dropped. The diamond, where the data are CIFAR-10, is the published "
    "error of ResNet-20 (He et al. 2015, Table 6); the paper has no figure to compare with.",
    "학습이 끝났을 때의 학습 오차와 시험 오차이며, 시드들의 평균과 표준편차입니다. 드롭아웃이 있는 신경망의 학습 "
    "오차는 드롭아웃을 켠 채로 센 것입니다. 데이터가 CIFAR-10일 때 마름모는 발표된 ResNet-20의 오차입니다(He 등 2015, "
    "표 6). 논문에 비교할 그림은 없습니다.",
)


def plan(setting: Setting) -> Sequence[PlannedRun]:
    """Both."""
    return setting.planned(*NETS.values())


def measure(evidence: Evidence) -> Conclusion:
    """The test error of both."""
    error = evidence.judged_error
    arms = [evidence.arm(net, PUBLISHED[name], name=name, korean=KOREAN[name]) for name, net in NETS.items()]
    return Conclusion(
        arms=tuple(arms),
        quantities=evidence.errors,
        comparisons=(
            Comparison(
                statement=Text(
                    "without dropout the net is no worse than with it",
                    "드롭아웃이 없어도 있을 때보다 못하지 않다",
                ),
                a=WITHOUT,
                b=WITH,
                relation="not above",
                margin=MARGIN,
                quantity=error.name,
                published=NOT_USED,
            ),
        ),
        summary=_summary(evidence, error),
        drawing=evidence.error_bars(arms, {WITHOUT: cifar_error_share("resnet20")}),
        caption=CAPTION,
    )


def _summary(evidence: Evidence, error: Quantity) -> Text:
    """Both errors of both nets."""
    without, with_it = (evidence.error(net, error) for net in NETS.values())
    training = [evidence.error(net, TRAINING_ERROR).percent() for net in NETS.values()]
    change = f"{100 * (with_it.mean - without.mean):+.2f}"
    return Text(
        f"ResNet-20 ends at a {error.name} of {without.percent()} without dropout and {with_it.percent()} with a "
        f"dropout of 0.5 before its last layer: dropout changes it by {change} points (below 0: better). Its "
        f"training error, counted as trained, is {training[0]} without and {training[1]} with it.",
        f"학습이 끝났을 때 ResNet-20의 {error.label.ko}는 드롭아웃이 없으면 {without.percent()}, 마지막 층 앞에 비율 "
        f"0.5의 드롭아웃을 두면 {with_it.percent()}입니다. 드롭아웃을 쓰면 오차가 {change} %p 달라집니다(0보다 작으면 "
        f"나아짐). 학습하면서 그대로 센 학습 오차는 드롭아웃이 없을 때 {training[0]}, 있을 때 {training[1]}입니다.",
    )


CLAIM = Claim(
    name="dropout",
    statement=Text(
        "With batch normalisation no dropout is needed",
        "배치 정규화가 있으면 드롭아웃이 필요 없다",
    ),
    source=Text(
        "He et al. 2015, section 3.4 (none used); Ioffe & Szegedy 2015, section 4.2.1",
        "He 등 2015, 3.4절(쓰지 않음); Ioffe & Szegedy 2015, 4.2.1절",
    ),
    group="taught",
    measure=measure,
    plan=plan,
)
