"""Learning rate: with batch normalisation a rate of 0.1 works where 0.01 was needed without.

Ioffe & Szegedy 2015, "Batch Normalization" (arXiv 1502.03167), sections 3.3 and 4.2: normalised nets train at 5 and 30
times the usual rate, where the net without normalisation diverges even at 5 times. AlexNet (2012) and VGG (2014) began
at 0.01, the nets of He et al. 2015 at 0.1.

Measured here on plain-20, without shortcuts, which would help a net without normalisation as well: with batch
normalisation and without (a bias for each channel in its place), each at a peak rate of 0.1 and of 0.01, all else the
same. A training that diverges, so that its loss or a gradient is no finite number, has no error; it counts as the error
of chance, 90 % for ten classes, in training and test alike. The page lists those that did.

How the verdict falls, by the training error, since "works" is about training:

- With normalisation, 0.1 is not above 0.01 by 1 percentage point or more: what the claim `degradation` takes for a
  difference that matters.
- Without, 0.1 is above 0.01 by more than 10 points: it does not work, which is more than being somewhat worse.
- Without, at 0.01, the net is below chance by more than 10 points: that rate does work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from residuum.experiments.claim import Claim, Conclusion
from residuum.experiments.evidence import TRAINING_ERROR, Evidence
from residuum.experiments.setting import Setting
from residuum.plans.plan import PlannedRun
from residuum.records.finding import Comparison
from residuum.records.quantity import Measured
from residuum.records.text import NOTHING, Text, paragraph

MARGIN = 0.01  # one percentage point
FAR = 0.1  # ten percentage points: works against does not work
CAPTION = Text(
    "Training and test error at the end, mean over the seeds with one standard deviation; a training that diverged "
    "counts as the error of chance. Compare Ioffe & Szegedy 2015, Figure 2, whose nets are of another kind.",
    "학습이 끝났을 때의 학습 오차와 시험 오차이며, 시드들의 평균과 표준편차입니다. 발산한 학습의 오차는 무작위로 답할 "
    "때의 오차로 보았습니다. Ioffe & Szegedy 2015, 그림 2와 비교해 보십시오. 다만 그 논문의 신경망은 종류가 다릅니다.",
)


@dataclass(frozen=True)
class Case:
    """A net at a learning rate; the recipe's own is 0.1. `korean` is the name of its arm in Korean."""

    net: str
    changes: Mapping[str, Any]
    published: Text
    korean: str


WITH, WITHOUT = "plain20", "plain20+batch_norm=no"
LOWER = {"learning_rate": 0.01}
NORMALISED_HIGH, NORMALISED_LOW = "BN, rate 0.1", "BN, rate 0.01"
BARE_HIGH, BARE_LOW = "no BN, rate 0.1", "no BN, rate 0.01"
CASES = {
    NORMALISED_HIGH: Case(WITH, {}, Text("used by He et al. 2015", "He 등 2015에서 사용"), "BN 있음, 학습률 0.1"),
    NORMALISED_LOW: Case(WITH, LOWER, NOTHING, "BN 있음, 학습률 0.01"),
    BARE_HIGH: Case(
        WITHOUT,
        {},
        Text("diverges at 5 times the usual rate (Inception)", "보통 학습률의 5배에서 발산(Inception)"),
        "BN 없음, 학습률 0.1",
    ),
    BARE_LOW: Case(WITHOUT, LOWER, Text("used by AlexNet and VGG", "AlexNet과 VGG에서 사용"), "BN 없음, 학습률 0.01"),
}


def plan(setting: Setting) -> Sequence[PlannedRun]:
    """Both nets at both rates."""
    return [each for case in CASES.values() for each in setting.planned(case.net, **case.changes)]


def measure(evidence: Evidence) -> Conclusion:
    """The training errors, a diverged training counted as chance."""
    at_chance = evidence.chance_error
    chance = f"{100 * at_chance:.0f} %"
    arms = [
        evidence.arm(case.net, case.published, name=name, korean=case.korean, of_failed=at_chance, **case.changes)
        for name, case in CASES.items()
    ]
    training = {arm.name: arm.measured[TRAINING_ERROR.name] for arm in arms}
    return Conclusion(
        arms=tuple(arms),
        quantities=evidence.errors,
        comparisons=(
            Comparison(
                statement=Text(
                    "with BN, a rate of 0.1 trains no worse than 0.01",
                    "BN이 있으면 학습률이 0.1일 때의 학습 오차가 0.01일 때보다 크지 않다",
                ),
                a=NORMALISED_HIGH,
                b=NORMALISED_LOW,
                relation="not above",
                margin=MARGIN,
                quantity=TRAINING_ERROR.name,
                published=Text("0.1 used (He et al. 2015)", "0.1 사용(He 등 2015)"),
            ),
            Comparison(
                statement=Text(
                    "without BN, a rate of 0.1 trains far worse than 0.01",
                    "BN이 없으면 학습률이 0.1일 때의 학습 오차가 0.01일 때보다 훨씬 크다",
                ),
                a=BARE_HIGH,
                b=BARE_LOW,
                relation="above",
                margin=FAR,
                quantity=TRAINING_ERROR.name,
                published=Text("diverges (Ioffe & Szegedy 2015)", "발산(Ioffe & Szegedy 2015)"),
            ),
            Comparison(
                statement=Text(
                    f"without BN, a rate of 0.01 does train: more than 10 points below chance, {chance}",
                    f"BN이 없어도 학습률이 0.01이면 학습된다: 무작위로 답할 때의 오차 {chance}보다 10 %p 넘게 작다",
                ),
                a=BARE_LOW,
                b=at_chance - FAR,
                relation="not above",
                margin=0.0,
                quantity=TRAINING_ERROR.name,
            ),
        ),
        summary=paragraph([_summary(training, at_chance), evidence.diverged_in_words]),
        drawing=evidence.error_bars(arms),
        caption=CAPTION,
    )


def _summary(training: Mapping[str, Measured], at_chance: float) -> Text:
    """The four training errors, and in how many trainings the net learns without normalisation."""
    high, low, bare_high, bare_low = (training[name].percent() for name in CASES)
    bare = [training[name].values for name in (BARE_HIGH, BARE_LOW)]
    total_high, total_low = map(len, bare)
    learn_high, learn_low = (sum(value < at_chance - FAR for value in values) for values in bare)
    return Text(
        f"With batch normalisation, plain-20 ends at a training error of {high} at a rate of 0.1 and {low} at 0.01; "
        f"without it, at {bare_high} and {bare_low}: there {learn_high} of {total_high} trainings learn at 0.1 and "
        f"{learn_low} of {total_low} at 0.01, ending more than 10 points below chance.",
        f"배치 정규화가 있으면, plain-20 신경망의 학습이 끝났을 때의 학습 오차는 학습률 0.1에서 {high}, 0.01에서 "
        f"{low}입니다. 배치 정규화가 없으면 차례로 {bare_high}, {bare_low}입니다. 이때 학습률 0.1에서는 {total_high}번 "
        f"중 {learn_high}번, 0.01에서는 {total_low}번 중 {learn_low}번이 무작위로 답할 때의 오차보다 10 %p 넘게 작은 "
        "오차로 끝나 학습되었습니다.",
    )


CLAIM = Claim(
    name="learning_rate",
    statement=Text(
        "With batch normalisation a learning rate of 0.1 works where 0.01 was needed without",
        "배치 정규화가 없으면 학습률을 0.01로 낮춰야 하지만, 있으면 0.1로도 학습된다",
    ),
    source=Text(
        "Ioffe & Szegedy 2015, sections 3.3 and 4.2; He et al. 2015, section 3.4",
        "Ioffe & Szegedy 2015, 3.3절과 4.2절; He 등 2015, 3.4절",
    ),
    group="taught",
    measure=measure,
    plan=plan,
    excuses_failures=True,
)
