"""Depth: residual nets of 110 layers, and of 1202, show no difficulty of optimisation.

He et al. 2015, section 4.2, "Exploring Over 1000 layers", Table 6 and Figure 6 (middle and right): training error falls
from 20 to 110 layers (figure only); at 1202 it is below 0.1 %, while the test error, 7.93 %, is worse than at 110
layers (6.43 the best of five, 6.61 ± 0.16), which the paper puts down to overfitting.

Measured here by the training error of the last epoch, which counts each batch as it was trained on, augmented where the
recipe augments: 20, 56 and 110 layers, and in the budget `paper` 20, 32, 44, 56, 110 and 1202.

How the verdict falls:

- 110 layers must train no worse than 56, and no worse than 20, by less than 1 percentage point: the margin of the claim
  `degradation`, whose other side this is. A net that is hard to optimise is worse by far more: the paper's plain net of
  110 layers stays above 60 %.
- resnet20 must have learned: its training error lies more than 10 points below chance. Nets that learned nothing are
  level with each other, whatever their depth.
- Only in the budget `paper`: at 1202 layers the training error must be below 0.1 % (as printed, margin 0), and the test
  error above that of 110 layers (an order, margin 0).

That the *test* error falls with depth is the claim `table6`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from residuum.experiments.claim import Claim, Conclusion
from residuum.experiments.evidence import TRAINING_ERROR, Evidence
from residuum.experiments.printed import BETTER, cifar_error
from residuum.experiments.setting import Setting
from residuum.plans.plan import PlannedRun
from residuum.records.finding import Comparison
from residuum.records.quantity import Measured, Quantity
from residuum.records.text import NOTHING, Text, paragraph
from residuum.report.figures import error_curves

MARGIN = 0.01  # one percentage point of training error
LEARNED = 0.1  # ten percentage points below chance
SPREAD = 0.1  # of training error over the seeds, beyond which a mean says little
NO_ERROR = 0.001  # what the paper prints of 1202 layers: below 0.1 %
NETS = ("resnet20", "resnet56", "resnet110")
NETS_AS_PUBLISHED = ("resnet20", "resnet32", "resnet44", "resnet56", "resnet110", "resnet1202")
ALSO_PUBLISHED = {"resnet1202": Text("training below 0.1", "학습은 0.1 미만")}
CAPTION = Text(
    "Training (thin, dashed) and test or validation (bold) error, mean over the seeds with a band of one standard "
    "deviation. Training error counts the batches of each epoch as they were trained on. Test error is drawn for the "
    "figure only; nothing was chosen by it. Compare He et al. 2015, Figure 6, middle and right.",
    "학습 오차(가는 점선)와 시험 또는 검증 오차(굵은 선)입니다. 선은 시드들의 평균이고, 띠는 ± 표준편차입니다. "
    "학습 오차는 에폭마다 학습에 쓴 배치에서 그대로 센 값입니다. 시험 오차는 그림에 보이기만 하고, 무엇을 고르는 데 "
    "쓰지 않았습니다. He 등 2015, 그림 6의 가운데, 오른쪽 그림과 비교해 보십시오.",
)

NOT_AS_PUBLISHED = Text(
    "The paper starts its net of 110 layers at a rate of 0.01 until its training error is below 80 %; the budgets "
    "quick and short do not.",
    "논문은 110층 신경망의 학습률을 학습 오차가 80 % 아래로 내려갈 때까지 0.01로 두고 시작하지만, quick과 short "
    "예산에서는 그렇게 하지 않습니다.",
)
BEYOND = Text("1202 layers are trained in the budget paper only.", "1202층은 paper 예산에서만 학습합니다.")


def nets(setting: Setting) -> tuple[str, ...]:
    """The nets, from the shallowest to the deepest."""
    return NETS_AS_PUBLISHED if setting.budget == "paper" else NETS


def panels(names: Sequence[str]) -> dict[str, Sequence[str]]:
    """Three nets for each panel of the figure, by its title."""
    parts = [names[start : start + 3] for start in range(0, len(names), 3)]
    return {f"{_depth(part[0])} to {_depth(part[-1])} layers": part for part in parts}


def _depth(net: str) -> int:
    return int(net.removeprefix("resnet"))


def plan(setting: Setting) -> Sequence[PlannedRun]:
    """All of them."""
    return setting.planned(*nets(setting))


def measure(evidence: Evidence) -> Conclusion:
    """The training errors at the end, beside each other."""
    names = nets(evidence.setting)
    has_test = evidence.setting.dataset.test is not None
    return Conclusion(
        arms=tuple(evidence.arm(net, _published(net)) for net in names),
        quantities=evidence.errors,
        comparisons=(
            _no_worse("resnet110", "resnet56"),
            _no_worse("resnet110", "resnet20"),
            _learned("resnet20", evidence.chance_error),
            *(_of_1202(evidence.judged_error) if "resnet1202" in names else ()),
        ),
        summary=_summary({net: evidence.error(net, TRAINING_ERROR) for net in names}, evidence.setting.budget),
        drawing=error_curves(
            {title: [evidence.curves(net) for net in members] for title, members in panels(names).items()},
            test_name="test" if has_test else "validation",
        ),
        caption=CAPTION,
    )


def _published(net: str) -> Text:
    error, also = cifar_error(net), ALSO_PUBLISHED.get(net)
    return Text(f"{error.en}, {also.en}", f"{error.ko}, {also.ko}") if also else error


def _no_worse(deep: str, shallow: str) -> Comparison:
    return Comparison(
        statement=Text(
            f"{deep} trains no worse than {shallow}: no difficulty of optimisation",
            f"{deep} 신경망의 학습 오차가 {shallow} 신경망보다 크지 않다: 최적화에 어려움이 없다",
        ),
        a=deep,
        b=shallow,
        relation="not above",
        margin=MARGIN,
        quantity=TRAINING_ERROR.name,
        published=BETTER,
    )


def _learned(net: str, chance: float) -> Comparison:
    percent = f"{100 * chance:.0f} %"
    return Comparison(
        statement=Text(
            f"{net} has learned: it trains to more than 10 points below chance, {percent}",
            f"{net} 신경망이 학습되었다: 학습 오차가 무작위로 답할 때의 오차 {percent}보다 10 %p 넘게 작다",
        ),
        a=net,
        b=chance - LEARNED,
        relation="not above",
        margin=0.0,
        quantity=TRAINING_ERROR.name,
    )


def _of_1202(error: Quantity) -> tuple[Comparison, Comparison]:
    return (
        Comparison(
            statement=Text("resnet1202 trains to almost no error", "resnet1202 신경망의 학습 오차는 거의 0이다"),
            a="resnet1202",
            b=NO_ERROR,
            relation="not above",
            margin=0.0,
            quantity=TRAINING_ERROR.name,
            published=Text("below 0.1 %", "0.1 % 미만"),
        ),
        Comparison(
            statement=Text(
                "resnet1202 does worse on new images than resnet110",
                "새 이미지에서 resnet1202 신경망이 resnet110 신경망보다 못하다",
            ),
            a="resnet1202",
            b="resnet110",
            relation="above",
            margin=0.0,
            quantity=error.name,
            published=Text(
                "7.93 against 6.43 (best of 5; mean 6.61)", "7.93 대 6.43 (다섯 번 중 가장 좋은 값; 평균 6.61)"
            ),
        ),
    )


def _summary(training: Mapping[str, Measured], budget: str) -> Text:
    """The training errors in a row, whether they rise with depth, and what was otherwise than in the paper."""
    listed = ", ".join(f"{net} {100 * one.mean:.2f} %" for net, one in training.items())
    shallow, deep = ([*training][at] for at in (0, -1))
    change = 100 * (training[deep].mean - training[shallow].mean)
    way = Text("level with the shallowest", "가장 얕은 신경망과 같습니다")
    if change:
        way = Text(
            f"{abs(change):.2f} points {'above' if change > 0 else 'below'} the shallowest",
            f"가장 얕은 신경망보다 {abs(change):.2f} %p {'큽니다' if change > 0 else '작습니다'}",
        )
    said = Text(
        f"Training error at the end: {listed}. The deepest net ends {way.en}; a net that is hard to optimise would end "
        "far above it.",
        f"학습이 끝났을 때의 학습 오차: {listed}. 가장 깊은 신경망의 오차는 {way.ko}. 최적화하기 어려운 신경망이라면 "
        "가장 얕은 신경망보다 오차가 훨씬 클 것입니다.",
    )
    as_published = budget == "paper"
    return paragraph([said, _seeds_apart(deep, training[deep]), *(() if as_published else (NOT_AS_PUBLISHED, BEYOND))])


def _seeds_apart(net: str, training: Measured) -> Text:
    """The seeds one by one, where they are too far apart for their mean to say much."""
    if max(training.values) - min(training.values) <= SPREAD:
        return NOTHING
    listed = ", ".join(f"{100 * value:.2f} %" for value in training.values)
    return Text(f"The seeds of {net} end at {listed}.", f"{net} 신경망의 시드별 학습 오차는 {listed}입니다.")


CLAIM = Claim(
    name="depth",
    statement=Text(
        "Residual networks train without difficulty at 110 layers (budget paper: at 1202 too, with more test errors)",
        "잔차 신경망은 110층에서도 어려움 없이 학습된다(paper 예산에서는 1202층도 그러하나 시험 오차는 더 크다)",
    ),
    source=Text("He et al. 2015, section 4.2, Table 6, Figure 6", "He 등 2015, 4.2절, 표 6, 그림 6"),
    group="He et al. 2015",
    measure=measure,
    plan=plan,
    rule_changed=Text(
        "After the second record of quick it was added that resnet20 must have learned, since nets that learned "
        "nothing are level with each other and would have made the claim hold.",
        "quick의 두 번째 기록 뒤에, resnet20 신경망이 학습되었어야 한다는 비교를 더했습니다. 아무것도 배우지 못한 "
        "신경망들은 오차가 서로 같아서 주장이 성립한다고 판정되었을 것이기 때문입니다.",
    ),
)
