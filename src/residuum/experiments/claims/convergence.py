"""Convergence: where plain and residual nets end alike, the residual one gets there sooner.

He et al. 2015, section 4.1, Table 2 and Figure 4: of 18 layers on ImageNet, the plain and the residual net end alike
(27.94 and 27.88 % top-1 error), but the residual one converges faster at the early stage. The paper has curves, no
figure for how much faster.

Measured here on plain-20 and ResNet-20, on the training error of each epoch, which counts the batches as they were
trained on. The mark is the mean error that the plain nets have at half of the training; each net's share of the
training until it first falls to the mark is taken from its curve, straight between epochs. A net that never does counts
as the whole training; one that does in its first epoch counts as that epoch. The mean error over all epochs is shown
beside.

How the verdict falls. The plain net takes a larger share of the training to the mark than the residual one, by more
than a twentieth of the training: one epoch in twenty is what somebody would notice who waits for it. By construction
the plain nets take about half.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import numpy as np

from residuum.experiments.claim import Claim, Conclusion
from residuum.experiments.evidence import Evidence
from residuum.experiments.setting import Setting
from residuum.plans.plan import PlannedRun
from residuum.records.finding import Comparison
from residuum.records.quantity import Measured, Quantity
from residuum.records.text import Text
from residuum.report.figures import lines
from residuum.run import Record

MARGIN = 0.05  # a twentieth of the training
PLAIN, RESIDUAL = "plain20", "resnet20"
PUBLISHED = {
    PLAIN: Text("27.94 (ImageNet, 18 layers), slower (figure only)", "27.94 (ImageNet, 18층), 더 느림(그림만 있음)"),
    RESIDUAL: Text("27.88 (ImageNet, 18 layers), faster (figure only)", "27.88 (ImageNet, 18층), 더 빠름(그림만 있음)"),
}
SHARE = Quantity("share of the training to the mark", korean="기준 오차에 이르기까지 든 학습의 비율")
MEAN_TRAINING_ERROR = Quantity("training error over all epochs", korean="모든 에폭의 평균 학습 오차")
CAPTION = Text(
    "Training error, mean over the seeds with a band of one standard deviation; it counts the batches of each epoch as "
    "they were trained on. Compare the thin lines of He et al. 2015, Figure 4, of 18 and 34 layers, which has the "
    "plain nets on the left, the residual ones on the right.",
    "학습 오차이며, 에폭마다 학습하면서 그 배치에서 그대로 센 값입니다. 선은 시드들의 평균이고, 띠는 ± 표준편차입니다. "
    "He 등 2015, 그림 4의 18층과 34층 가는 선(왼쪽이 plain 신경망, 오른쪽이 잔차 신경망)과 비교해 보십시오.",
)


def plan(setting: Setting) -> Sequence[PlannedRun]:
    """Both nets."""
    return setting.planned(PLAIN, RESIDUAL)


def halfway_error(records: Sequence[Record]) -> float:
    """The training error at half of the steps, straight between epochs."""
    steps, errors = _curve(records)
    return float(np.interp(steps[-1] / 2, steps, errors))


def share_until(records: Sequence[Record], mark: float) -> float:
    """The share of all steps after which the training error first falls to `mark`; 1 where it never does."""
    steps, errors = _curve(records)
    if errors[0] <= mark:
        return steps[0] / steps[-1]
    for (before, above), (after, below) in pairwise(zip(steps, errors, strict=True)):
        if below <= mark:
            return (before + (after - before) * (above - mark) / (above - below)) / steps[-1]
    return 1.0


def mean_error(records: Sequence[Record]) -> float:
    """The mean of the training errors of all epochs."""
    return float(np.mean(_curve(records)[1]))


def _curve(records: Sequence[Record]) -> tuple[list[float], list[float]]:
    """Steps and training errors."""
    return [float(each["step"]) for each in records], [float(each["train_error"]) for each in records]


def measure(evidence: Evidence) -> Conclusion:
    """How much of its training each net takes to the mark."""
    mark = evidence.over_metrics(PLAIN, halfway_error).mean
    shares = {net: evidence.over_metrics(net, partial(share_until, mark=mark)) for net in (PLAIN, RESIDUAL)}
    means = {net: evidence.over_metrics(net, mean_error) for net in (PLAIN, RESIDUAL)}
    return Conclusion(
        arms=tuple(
            evidence.arm(net, PUBLISHED[net], own={SHARE.name: shares[net], MEAN_TRAINING_ERROR.name: means[net]})
            for net in (PLAIN, RESIDUAL)
        ),
        quantities=(SHARE, MEAN_TRAINING_ERROR, *evidence.errors),
        comparisons=(
            Comparison(
                statement=Text(
                    f"{PLAIN} takes longer than {RESIDUAL} to the training error that it has itself at half",
                    f"학습 절반 시점의 {PLAIN} 학습 오차에 이르는 데 {PLAIN} 신경망이 {RESIDUAL} 신경망보다 오래 "
                    "걸린다",
                ),
                a=PLAIN,
                b=RESIDUAL,
                relation="above",
                margin=MARGIN,
                quantity=SHARE.name,
                published=Text("figure only: faster", "그림만 있음: 잔차 쪽이 더 빠름"),
            ),
        ),
        summary=_summary(mark, shares, means),
        drawing=lines({net: evidence.curves(net).train for net in (PLAIN, RESIDUAL)}, y_label="training error (%)"),
        caption=CAPTION,
    )


def _summary(mark: float, shares: dict[str, Measured], means: dict[str, Measured]) -> Text:
    """The mark, both shares and both means."""
    return Text(
        f"Halfway through its training, {PLAIN} has a training error of {100 * mark:.2f} %. It takes "
        f"{shares[PLAIN].percent()} of its training to get there, {RESIDUAL} {shares[RESIDUAL].percent()}. Over all "
        f"epochs the mean training error is {means[PLAIN].percent()} for {PLAIN} and {means[RESIDUAL].percent()} for "
        f"{RESIDUAL}.",
        f"학습이 절반 진행되었을 때 {PLAIN} 신경망의 학습 오차는 {100 * mark:.2f} %입니다. 여기에 이르는 데 "
        f"{PLAIN} 신경망은 학습의 {shares[PLAIN].percent()}, {RESIDUAL} 신경망은 {shares[RESIDUAL].percent()}가 "
        f"걸립니다. 모든 에폭에 걸친 평균 학습 오차는 {PLAIN} 신경망 {means[PLAIN].percent()}, {RESIDUAL} 신경망 "
        f"{means[RESIDUAL].percent()}입니다.",
    )


CLAIM = Claim(
    name="convergence",
    statement=Text(
        "A residual net converges faster than the plain net of the same layers",
        "잔차 신경망은 층이 같은 plain 신경망(지름길이 없는 신경망)보다 빨리 수렴한다",
    ),
    source=Text("He et al. 2015, section 4.1, Figure 4", "He 등 2015, 4.1절, 그림 4"),
    group="taught",
    measure=measure,
    plan=plan,
)
