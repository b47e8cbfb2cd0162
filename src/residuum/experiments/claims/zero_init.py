"""Zero initialisation: a net whose blocks all start as their shortcuts learns faster at first and ends no worse.

He et al. 2015, section 3.1, expect that a solver can push F towards zero where the identity is best (that zero is easy
to learn is measured by the claim `identity`). Goyal et al. 2017, "Accurate, Large Minibatch SGD" (arXiv 1706.02677),
section 5.1, start there: the last normalisation of each block begins with the weight 0. Their Table 2(b), ResNet-50 on
ImageNet, top-1 error in percent over 5 trainings:

    batch 256     23.84 ± 0.18 without, 23.60 ± 0.12 with
    batch 8192    24.11 ± 0.07 without, 23.74 ± 0.09 with

Measured here on ResNet-56, which has 27 blocks, once as usual and once with all of them starting at zero: the training
error of the epoch that ends nearest to a tenth of the training, and the test error at the end.

How the verdict falls:

- After a tenth of the training, the usual start is above the start at zero by more than 1 percentage point of training
  error: what the claim `degradation` takes for a difference that matters. Where that tenth has fewer than 300
  updates, this is not decided: nothing says that so few tell how a training starts.
- At the end, the start at zero is not above the usual one by 1 point of test error or more: what is gained early is not
  lost. That it is better at the end is not asked: the published gain, a quarter of a point, takes more seeds to tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from residuum.experiments.claim import Claim, Conclusion
from residuum.experiments.evidence import Evidence
from residuum.experiments.setting import Setting
from residuum.plans.plan import PlannedRun
from residuum.records.finding import Comparison
from residuum.records.quantity import Measured, Quantity
from residuum.records.text import NOTHING, Text, paragraph
from residuum.report.figures import lines
from residuum.run import Record

MARGIN = 0.01  # one percentage point
EARLY = 0.1  # of all steps
FEWEST_UPDATES = 300  # by which a start can be judged
NET = "resnet56"
USUAL, ZERO = "usual start", "F starts at zero"
KOREAN = {USUAL: "보통대로 시작", ZERO: "F를 0에서 시작"}
CHANGES: dict[str, dict[str, Any]] = {USUAL: {}, ZERO: {"zero_init_residual": True}}
PUBLISHED = {
    USUAL: Text(
        "23.84 ± 0.18; batch 8192: 24.11 ± 0.07 (ImageNet, ResNet-50)",
        "23.84 ± 0.18; 배치 8192: 24.11 ± 0.07 (ImageNet, ResNet-50)",
    ),
    ZERO: Text(
        "23.60 ± 0.12; batch 8192: 23.74 ± 0.09 (ImageNet, ResNet-50)",
        "23.60 ± 0.12; 배치 8192: 23.74 ± 0.09 (ImageNet, ResNet-50)",
    ),
}
EARLY_ERROR = Quantity("training error after a tenth", korean="학습의 10분의 1 뒤의 학습 오차")
TOO_FEW = Text(
    "So few updates do not decide which start is faster.",
    "이렇게 적은 갱신으로는 어느 쪽이 더 빠른지 판정하지 않습니다.",
)
CAPTION = Text(
    "Training error; lines are means over the seeds, with a band of one standard deviation. It counts the batches of "
    "each epoch as they were trained on. The first tenth of the iterations is what the first comparison is about. "
    "Goyal et al. 2017 show no curves of this; their figures are in Table 2(b).",
    "학습 오차이며, 선은 시드들의 평균이고, 띠는 ± 표준편차입니다. 에폭마다 학습하면서 그대로 센 값입니다. 첫째 "
    "비교는 반복의 처음 10분의 1에 대한 것입니다. Goyal 등 2017은 이런 곡선을 싣지 않았고, 수치는 표 2(b)에 있습니다.",
)


def plan(setting: Setting) -> Sequence[PlannedRun]:
    """The net with both starts."""
    return [each for changes in CHANGES.values() for each in setting.planned(NET, **changes)]


def early_error(records: list[Record]) -> float:
    """The training error of the epoch that ends nearest to a tenth of all steps."""
    return float(early_record(records)["train_error"])


def early_record(records: list[Record]) -> Record:
    """What was recorded at the epoch that ends nearest to a tenth of all steps."""
    tenth = EARLY * records[-1]["step"]
    return min(records, key=lambda each: abs(float(each["step"]) - tenth))


def measure(evidence: Evidence) -> Conclusion:
    """Early training error and final test error of both starts."""
    error = evidence.judged_error
    early = {name: evidence.over_metrics(NET, early_error, **changes) for name, changes in CHANGES.items()}
    final = {name: evidence.error(NET, error, **changes) for name, changes in CHANGES.items()}
    updates = int(evidence.over_metrics(NET, lambda records: early_record(records)["step"]).mean)
    return Conclusion(
        arms=tuple(
            evidence.arm(
                NET, PUBLISHED[name], name=name, korean=KOREAN[name], own={EARLY_ERROR.name: early[name]}, **changes
            )
            for name, changes in CHANGES.items()
        ),
        quantities=(EARLY_ERROR, *evidence.errors),
        comparisons=(
            Comparison(
                statement=Text(
                    "after a tenth of the training, the usual start is behind",
                    "학습의 10분의 1이 지났을 때, 보통대로 시작한 쪽이 뒤처져 있다",
                ),
                a=USUAL,
                b=ZERO,
                relation="above",
                margin=MARGIN,
                quantity=EARLY_ERROR.name,
                published=Text(
                    "eases optimisation at the start (in words)", "학습 초기의 최적화가 쉬워짐(수치 없이 서술)"
                ),
                decidable=updates >= FEWEST_UPDATES,
            ),
            Comparison(
                statement=Text(
                    "at the end, the start at zero is no worse",
                    "학습이 끝났을 때, 0에서 시작한 쪽의 오차가 더 크지 않다",
                ),
                a=ZERO,
                b=USUAL,
                relation="not above",
                margin=MARGIN,
                quantity=error.name,
                published=Text("23.60 against 23.84 (ImageNet)", "23.60 대 23.84 (ImageNet)"),
            ),
        ),
        summary=_summary(early, final, error, updates),
        drawing=lines(
            {name: evidence.curves(NET, name=name, **changes).train for name, changes in CHANGES.items()},
            y_label=f"training error of {NET} (%)",
        ),
        caption=CAPTION,
    )


def _summary(early: dict[str, Measured], final: dict[str, Measured], error: Quantity, updates: int) -> Text:
    """Both errors of both starts, and their differences; `updates` had been made after the first tenth."""
    at_first, at_last = (100 * (each[ZERO].mean - each[USUAL].mean) for each in (early, final))
    said = Text(
        f"With every block starting as its shortcut, {NET} has a training error of {early[ZERO].percent()} after a "
        f"tenth of the training ({updates:,} updates), against {early[USUAL].percent()} with the usual start: "
        f"{at_first:+.2f} points. At the end its {error.name} is {final[ZERO].percent()} against "
        f"{final[USUAL].percent()}: {at_last:+.2f} points (below 0: better).",
        f"모든 블록이 지름길만 남은 상태로 시작하면, 학습의 10분의 1이 지났을 때(갱신 {updates:,}번) {NET} 신경망의 "
        f"학습 오차는 {early[ZERO].percent()}이고 보통대로 시작하면 {early[USUAL].percent()}입니다. 차이는 "
        f"{at_first:+.2f} %p입니다. 학습이 끝났을 때의 {error.label.ko}는 차례로 {final[ZERO].percent()}, "
        f"{final[USUAL].percent()}이며 차이는 {at_last:+.2f} %p입니다(0보다 작으면 나음).",
    )
    return paragraph([said, NOTHING if updates >= FEWEST_UPDATES else TOO_FEW])


CLAIM = Claim(
    name="zero_init",
    statement=Text(
        "Starting F at zero helps: the net learns faster at first and ends no worse",
        "F를 0에서 시작하면 도움이 된다: 처음에 더 빨리 배우고, 학습이 끝났을 때의 오차도 더 크지 않다",
    ),
    source=Text(
        "Goyal et al. 2017, section 5.1, Table 2(b); He et al. 2015, section 3.1",
        "Goyal 등 2017, 5.1절, 표 2(b); He 등 2015, 3.1절",
    ),
    group="taught",
    measure=measure,
    plan=plan,
    rule_changed=Text(
        "After the second record of quick, the first comparison is no longer decided where the tenth of the training "
        "has fewer than 300 updates: there it had 30, which are too few to tell.",
        "quick의 두 번째 기록 뒤에, 학습의 10분의 1이 갱신 300번보다 적으면 첫째 비교를 판정하지 않도록 "
        "바꾸었습니다. 그 기록에서는 30번뿐이어서 판단하기에 너무 적었기 때문입니다.",
    ),
)
