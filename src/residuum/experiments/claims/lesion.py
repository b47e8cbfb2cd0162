"""A trained residual net hardly misses a single block on average; a plain one is destroyed without it.

Veit, Wilber, Belongie 2016, "Residual Networks Behave Like Ensembles of Relatively Shallow Networks" (arXiv
1605.06431). Section 4.1 with Figure 3: ResNet-110 without any one block errs hardly more, blocks that halve the size
apart; a VGG net answers by chance without any one layer. Section 4.2 with Figure 5(a): without more and more
blocks the error of the residual net rises smoothly.

Measured on test images: the rise of the error without one block, mean over all blocks whose input and output have one
shape (the residual ones with an identity shortcut); and the error without 1/8, 2/8, ... of them, in three random
orders of removal. The plain net is plain20, for plain56 hardly learns. The claim holds if

    resnet56 loses less than five points by a block on average (with 25 of them more would not be "hardly");
    plain20 loses at least 25 points more than resnet20, its twin: one more wrong answer in four is "destroyed";
    the eighth of the blocks of resnet56 that costs most brings no more than half of the whole rise: smooth, and no
    cliff. It is found in each order by itself and then averaged over them: a mean of the orders would smear a cliff;
    resnet56 loses more than 25 points without all of these blocks: a net that has learned nothing loses nothing.

The single block that costs most is shown, and not judged. Nets of 20 layers have seven such blocks, so that each is a
larger part of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

import numpy as np
from torch import Tensor, nn

from residuum.experiments.claim import Claim, Conclusion
from residuum.experiments.evidence import Evidence
from residuum.experiments.setting import Setting
from residuum.insight.lesions import lesions, removable
from residuum.insight.terms import blocks_of, shortcut_kind
from residuum.plans.plan import PlannedRun
from residuum.records.finding import Comparison
from residuum.records.quantity import Measured, Quantity
from residuum.records.text import NOTHING, Text
from residuum.report.figures import Drawing
from residuum.report.measured_figures import Line, lines_over

PLAIN, TWIN, DEEP = "plain20", "resnet20", "resnet56"
NETS = (PLAIN, TWIN, DEEP)
IMAGES = 300
ORDERS = 3
SHARES = tuple(eighth / 8 for eighth in range(1, 9))
HARDLY, DESTROYED, SMOOTH, LEARNED = 0.05, 0.25, 0.5, 0.25
PUBLISHED = {
    DEEP: Text("110 layers: hardly more (Figure 3)", "110층: 거의 늘지 않음(그림 3)"),
    PLAIN: Text("VGG: chance (Figure 3)", "VGG: 무작위로 답하는 수준(그림 3)"),
}

RISE = Quantity("rise without one block, on average", korean="블록 하나를 뺐을 때 늘어난 오차, 평균")
WORST = Quantity("rise without the worst one", korean="블록 하나를 뺐을 때 늘어난 오차, 최댓값")
ALL = Quantity("rise without all", korean="블록을 전부 뺐을 때 늘어난 오차")
STEP = Quantity("largest step, of the rise without all", korean="오차가 가장 크게 뛴 폭(전부 뺐을 때 늘어난 오차 대비)")
ERROR = Quantity("error")
CAPTION = Text(
    "Left: error without the one block at this place, from the first (0) to the last (100) that keeps the shape of "
    "its maps. Right: error without so many of them, mean over three random orders. Lines are means over the seeds, "
    "with a band of one standard deviation. Compare Veit et al. 2016, Figures 3 and 5(a).",
    "왼쪽: 특징 맵의 모양을 바꾸지 않는 블록 가운데 첫째(0)부터 마지막(100)까지, 그 자리의 블록 하나를 뺐을 때의 오차. "
    "오른쪽: 여러 블록을 뺐을 때의 오차이며, 무작위 순서 세 가지의 평균입니다. 선은 시드들의 평균이고, 띠는 ± "
    "표준편차입니다. Veit 등 2016, 그림 3과 5(a)와 비교해 보십시오.",
)


@dataclass(frozen=True)
class Look:
    """Errors of one net.

    Attributes:
        whole: with all its blocks.
        single: without each single block.
        several: without each of `SHARES` of them, for each order of removal.
    """

    whole: float
    single: Sequence[float]
    several: Sequence[Sequence[float]]

    @property
    def without_shares(self) -> list[float]:
        """Mean over the orders, for each share."""
        return [fmean(errors) for errors in zip(*self.several, strict=True)]

    @property
    def rise_without_all(self) -> float:
        """By how much the error rises once no block is left, in whatever order they went."""
        return self.without_shares[-1] - self.whole

    @property
    def largest_step(self) -> float:
        """The largest rise between neighbouring shares as a share of the whole rise, mean over the orders."""
        return fmean(_largest_step((self.whole, *errors)) for errors in self.several)


def _largest_step(course: Sequence[float]) -> float:
    """Of one order; 0 where nothing rises."""
    rise = course[-1] - course[0]
    return max(after - before for before, after in pairwise(course)) / rise if rise > 0 else 0.0


def look(net: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> Look:
    """Measure one net; the orders of removal are the same for all nets of so many blocks."""
    names = blocks_to_remove(net)
    counts = [max(1, round(share * len(names))) for share in SHARES]
    orders = [np.random.default_rng(seed).permutation(names).tolist() for seed in range(ORDERS)]
    several = [order[:count] for order in orders for count in counts]
    whole, *without = [1 - each.accuracy for each in lesions(net, batches, groups=[*names, *several])]
    single, rest = without[: len(names)], without[len(names) :]
    by_order = [rest[start : start + len(counts)] for start in range(0, len(rest), len(counts))]
    return Look(whole, single, by_order)


def blocks_to_remove(net: nn.Module) -> list[str]:
    """The blocks of a plain or residual net whose input and output have one shape."""
    blocks = dict(blocks_of(net))
    return [
        name for name in removable(net) if blocks[name].downsample is None or shortcut_kind(blocks[name]) == "identity"
    ]


def plan(setting: Setting) -> Sequence[PlannedRun]:
    """A plain net that learns, its residual twin, and a deep residual net."""
    return setting.planned(*NETS)


def measure(evidence: Evidence) -> Conclusion:
    """Take blocks out of every trained net."""
    total = sum(len(evidence.runs(net)) for net in NETS)
    looks: dict[str, list[Look]] = {net: [] for net in NETS}
    for net, found in looks.items():
        for classifier in evidence.classifiers(net):
            found.append(look(classifier.net, evidence.batches(classifier, evidence.judged_split, IMAGES)))
            evidence.progress(sum(map(len, looks.values())), total)
    return conclude(evidence, looks)


def conclude(evidence: Evidence, looks: Mapping[str, Sequence[Look]]) -> Conclusion:
    """Judge what was seen: for each net a look for each seed."""
    own = {net: _measured(found) for net, found in looks.items()}
    return Conclusion(
        arms=tuple(evidence.arm(net, PUBLISHED.get(net, NOTHING), own=own[net]) for net in looks),
        quantities=(evidence.judged_error, RISE, WORST, ALL, STEP),
        comparisons=(
            Comparison(
                statement=Text(
                    f"on average over its blocks, {DEEP} hardly misses one",
                    f"{DEEP} 신경망은 블록 하나가 빠져도 평균적으로 거의 그대로다",
                ),
                a=DEEP,
                b=0.0,
                relation="not above",
                margin=HARDLY,
                quantity=RISE.name,
                published=Text("figure only: hardly any", "그림만 있음: 거의 없음"),
            ),
            Comparison(
                statement=Text(
                    f"{PLAIN} is destroyed by what its residual twin can bear",
                    f"층이 같은 {TWIN} 신경망은 견디지만 {PLAIN} 신경망은 망가진다",
                ),
                a=PLAIN,
                b=TWIN,
                relation="above",
                margin=DESTROYED,
                quantity=RISE.name,
                published=Text("figure only: to chance", "그림만 있음: 무작위로 답하는 수준으로"),
            ),
            Comparison(
                statement=Text(
                    f"without more and more blocks {DEEP} errs smoothly more",
                    f"블록을 점점 더 빼면 {DEEP} 신경망의 오차는 완만하게 늘어난다",
                ),
                a=DEEP,
                b=0.0,
                relation="not above",
                margin=SMOOTH,
                quantity=STEP.name,
                published=Text("figure only: smoothly", "그림만 있음: 완만하게"),
            ),
            Comparison(
                statement=Text(
                    f"without all these blocks {DEEP} errs far more: it has learned, and by them",
                    f"이 블록을 모두 빼면 {DEEP} 신경망의 오차가 훨씬 커진다: 배운 것이 블록들에 있다",
                ),
                a=DEEP,
                b=0.0,
                relation="above",
                margin=LEARNED,
                quantity=ALL.name,
            ),
        ),
        summary=_summary(own),
        drawing=_drawing(looks),
        caption=CAPTION,
    )


def _measured(looks: Sequence[Look]) -> dict[str, Measured]:
    return {
        RISE.name: Measured(tuple(fmean(each.single) - each.whole for each in looks)),
        WORST.name: Measured(tuple(max(each.single) - each.whole for each in looks)),
        ALL.name: Measured(tuple(each.rise_without_all for each in looks)),
        STEP.name: Measured(tuple(each.largest_step for each in looks)),
    }


def _summary(nets: Mapping[str, Mapping[str, Measured]]) -> Text:
    rises = ", ".join(
        f"{net} by {100 * each[RISE.name].mean:.1f} points (its worst block by {100 * each[WORST.name].mean:.1f})"
        for net, each in nets.items()
    )
    korean = ", ".join(
        f"{net} {100 * each[RISE.name].mean:.1f} %p(가장 큰 블록은 {100 * each[WORST.name].mean:.1f} %p)"
        for net, each in nets.items()
    )
    whole = nets[DEEP]
    step, every = f"{100 * whole[STEP.name].mean:.0f} %", f"{100 * whole[ALL.name].mean:.1f}"
    return Text(
        f"Without one block the error rises, on average over the blocks: {rises}. When the blocks of {DEEP} go an "
        f"eighth at a time, the eighth that costs most brings {step} (mean of {ORDERS} orders) of what all of them "
        f"cost, {every} points.",
        f"블록 하나를 뺐을 때 늘어나는 오차는 블록들의 평균으로 {korean}입니다. {DEEP} 신경망의 블록을 8분의 1씩 "
        f"차례로 빼 나가면, 오차가 가장 크게 뛰는 한 단계가 전부 뺐을 때 늘어난 오차({every} %p)의 {step}를 차지합니다"
        f"({ORDERS}가지 순서의 평균).",
    )


def _drawing(looks: Mapping[str, Sequence[Look]]) -> Drawing:
    single, several = {}, {}
    for net, found in looks.items():
        places = np.linspace(0, 100, len(found[0].single)).tolist()
        single[net] = Line(places, [Measured(values) for values in zip(*(each.single for each in found), strict=True)])
        courses = zip(*((each.whole, *each.without_shares) for each in found), strict=True)
        several[net] = Line([0.0, *(100 * share for share in SHARES)], [Measured(values) for values in courses])
    panels = {"without the block at this place": single, "without so many blocks": several}
    return lines_over(panels, ERROR, x_label="of the blocks that keep their shape (%)")


CLAIM = Claim(
    name="lesion",
    statement=Text(
        "On average over its blocks, a trained residual network hardly misses one; a plain one is destroyed without it",
        "학습된 잔차 신경망은 블록 하나를 빼도 평균적으로 거의 나빠지지 않지만, plain 신경망(지름길이 없는 신경망)은 "
        "망가진다",
    ),
    source=Text(
        "Veit et al. 2016, sections 4.1 and 4.2, Figures 3 and 5(a)",
        "Veit 등 2016, 4.1절과 4.2절, 그림 3과 5(a)",
    ),
    group="beyond",
    measure=measure,
    plan=plan,
    rule_changed=Text(
        "After the second record of quick, the largest step is found in each order of removal and then averaged, since "
        "the mean of the orders smears a cliff, and the deep net must lose more than 25 points without all its blocks, "
        "since one that has learned nothing loses nothing by any.",
        "quick의 두 번째 기록 뒤에, 가장 큰 단계를 빼는 순서마다 구해 평균하도록 바꾸었고(순서들을 먼저 "
        "평균하면 절벽이 뭉개지기 때문), 블록을 전부 빼면 깊은 신경망의 오차가 25 %p 넘게 늘어야 한다는 조건을 "
        "더했습니다(아무것도 배우지 못한 신경망은 블록을 빼도 잃을 것이 없기 때문).",
    ),
)
