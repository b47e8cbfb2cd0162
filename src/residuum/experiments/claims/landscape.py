"""Shortcuts keep the loss around the weights of a deep net a bowl; without them it is none.

Li, Xu, Taylor, Studer, Goldstein 2018, "Visualizing the Loss Landscape of Neural Nets" (arXiv 1712.09913), section 6
with Figures 1 and 5: along random directions, filter by filter of the size of the weights, the loss of ResNet-56 rises
about evenly away from its minimum, that of the same net without shortcuts is chaotic; of 20 layers both are bowls.

Measured: the training loss on a few images at 21 places from -1 to 1 along three such lines, in eval mode.

    bends downwards  of all places between two others, those where the slope falls by more than a hundredth of what
                     guessing costs (ln of the number of classes): there the line is not convex
    steps upwards    of all steps away from the middle, on both sides of each line, those over which the loss rises by
                     as much
    in the middle    the loss at the weights
    halfway          how far the loss lies above that at a distance of 1/2, mean of both sides and all lines

A bowl bends downwards nowhere, a rough surface at half of all places; but nor does a plateau, around a net that has
hardly learned. So the claim holds if the line bends downwards at a fifth of all places more around plain56 than around
resnet56 and than around plain20, at no fifth more around resnet56 than around resnet20, and if the loss around resnet56
rises halfway by more than a tenth of what guessing costs, so that it is a bowl. A plateau around plain56 would refute
it, and the summary would say so. A fifth is four places of twenty, what one sees in a picture of such a line. Steps
upwards are shown and not judged: a bowl with a wide flat ground has few, and such grounds are what the paper finds with
shortcuts. (They were to be judged until one seed of the budget quick had been seen, of which that is so.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log

import numpy as np
from numpy.typing import NDArray

from residuum.experiments.claim import Claim, Conclusion
from residuum.experiments.evidence import Evidence
from residuum.experiments.printed import FIGURE_ONLY
from residuum.experiments.setting import Setting
from residuum.insight.landscape import directions, line, mean_loss
from residuum.plans.plan import PlannedRun
from residuum.records.finding import Arm, Comparison, Relation, Verdict, judge
from residuum.records.quantity import Measured, Quantity, exactly
from residuum.records.text import NOTHING, Text
from residuum.report.figures import Drawing
from residuum.report.measured_figures import Line, lines_over

NETS = ("plain20", "plain56", "resnet20", "resnet56")
PLAIN, DEEP_PLAIN, RESIDUAL, DEEP_RESIDUAL = NETS
AT = np.linspace(-1, 1, 21)
MIDDLE = len(AT) // 2
HALF = MIDDLE // 2  # places from the middle
LINES = 3
IMAGES = 128
NOTICEABLE = 0.01  # of the loss of guessing
FLAT = 0.1  # of the loss of guessing: a landscape that rises less is called a plateau
BEYOND_SIGHT = 1e6  # nats; the loss far out may be no number
MARGIN = 0.2
SHOWN = 2.0  # of the loss of guessing
SHOWN_LINES = 2

UPWARDS = Quantity("steps upwards", korean="손실이 올라가는 구간")
BENDS = Quantity("bends downwards", korean="손실이 위로 볼록한 곳")
CENTRE = Quantity("loss in the middle", "nats", korean="한가운데의 손실")
RISE = Quantity("rise halfway", "nats", korean="거리 1/2에서 늘어난 손실")
LOSS = Quantity("training loss", "nats")
CONVEX = Text("the shortcuts keep it convex", "지름길이 아래로 볼록한 모양을 지킨다")
ROUGH = Text("without them depth makes it rough", "지름길이 없으면 깊을수록 울퉁불퉁해진다")
SMOOTH = Text("with them depth does not", "지름길이 있으면 깊어도 그렇지 않다")
CAPTION = Text(
    "Training loss along random directions away from the weights (0), each filter moved by so much of its own size: "
    "two lines of each net of the first seed. Higher losses are cut off at twice that of guessing, the grey line. "
    "Compare Li et al. 2018, Figures 1 and 5, which show planes.",
    "가중치(0)에서 무작위 방향으로 벗어날 때의 학습 손실이며, 필터마다 자기 크기에 비례하여 움직였습니다. 첫 시드의 "
    "신경망마다 두 직선입니다. 무작위로 답할 때의 손실(회색 선)의 두 배가 넘는 값은 잘랐습니다. 평면에서 그린 Li 등 "
    "2018의 그림 1, 5와 비교해 보십시오.",
)


@dataclass(frozen=True, eq=False)
class Look:
    """Losses of one net along its lines, `(lines, len(AT))`, and the loss of guessing, in nats."""

    losses: NDArray[np.float64]
    guessing: float

    @property
    def upwards(self) -> float:
        """Share of the steps outwards over which the loss rises noticeably."""
        right, left = self.losses[:, MIDDLE:], self.losses[:, MIDDLE::-1]
        return float((np.diff([left, right]) > NOTICEABLE * self.guessing).mean())

    @property
    def bends(self) -> float:
        """Share of the places between two others where the slope falls noticeably."""
        return float((np.diff(self.losses, n=2) < -NOTICEABLE * self.guessing).mean())

    @property
    def centre(self) -> float:
        """The loss at the weights."""
        return float(self.losses[0, MIDDLE])

    @property
    def rise(self) -> float:
        """How far the loss halfway to the ends lies above that in the middle."""
        return float(self.losses[:, [MIDDLE - HALF, MIDDLE + HALF]].mean()) - self.centre


def plan(setting: Setting) -> Sequence[PlannedRun]:
    """Plain and residual nets of both depths."""
    return setting.planned(*NETS)


def measure(evidence: Evidence) -> Conclusion:
    """Walk along lines around every trained net."""
    guessing = log(len(evidence.setting.dataset.class_names))
    total = sum(len(evidence.runs(net)) for net in NETS) * LINES
    done = 0
    looks: dict[str, list[Look]] = {net: [] for net in NETS}
    for net, found in looks.items():
        for classifier in evidence.classifiers(net):
            loss = mean_loss(evidence.batches(classifier, "train", IMAGES))
            losses = []
            for number in range(LINES):
                losses.append(line(classifier.net, loss, directions(classifier.net, number), AT))
                done += 1
                evidence.progress(done, total)
            found.append(Look(np.minimum(losses, BEYOND_SIGHT), guessing))
    return conclude(evidence, looks)


def conclude(evidence: Evidence, looks: Mapping[str, Sequence[Look]]) -> Conclusion:
    """Judge what was seen: for each net a look for each seed."""
    arms = tuple(
        Arm(name=net, published=NOTHING, measured=_measured(found), runs=tuple(evidence.runs(net)))
        for net, found in looks.items()
    )
    guessing = looks[DEEP_RESIDUAL][0].guessing
    convex = _comparison(CONVEX, DEEP_PLAIN, DEEP_RESIDUAL, "above")
    measured = {arm.name: arm.measured for arm in arms}
    return Conclusion(
        arms=arms,
        quantities=(BENDS, UPWARDS, CENTRE, RISE),
        comparisons=(
            convex,
            _comparison(ROUGH, DEEP_PLAIN, PLAIN, "above"),
            _comparison(SMOOTH, DEEP_RESIDUAL, RESIDUAL, "not above"),
            Comparison(
                statement=Text(
                    f"what lies around {DEEP_RESIDUAL} is no plateau",
                    f"{DEEP_RESIDUAL} 신경망 주변의 손실은 평평하지 않다",
                ),
                a=DEEP_RESIDUAL,
                b=FLAT * guessing,
                relation="above",
                margin=0.0,
                quantity=RISE.name,
                published=FIGURE_ONLY,
            ),
        ),
        summary=_summary(measured, guessing, _around_plain(measured, guessing, judge(convex, measured).verdict)),
        drawing=_drawing(looks),
        caption=CAPTION,
    )


def _comparison(words: Text, more: str, fewer: str, relation: Relation) -> Comparison:
    how = Text("at more places", "많다")
    if relation != "above":
        how = Text("at no more places", "많지 않다")
    return Comparison(
        statement=Text(
            f"{words.en}: the loss bends downwards {how.en} around {more} than around {fewer}",
            f"{words.ko}: {more} 신경망 주변에는 {fewer} 신경망 주변보다 손실이 위로 볼록한 곳이 {how.ko}",
        ),
        a=more,
        b=fewer,
        relation=relation,
        margin=MARGIN,
        quantity=BENDS.name,
        published=FIGURE_ONLY,
    )


def _around_plain(arms: Mapping[str, Mapping[str, Measured]], guessing: float, convex: Verdict) -> Text:
    """What the loss is like around the deep plain net, as far as its seeds are sure of it."""
    if judge(_flat(DEEP_PLAIN, guessing), arms).verdict is Verdict.HOLDS:
        return Text(f"What lies around {DEEP_PLAIN} is a plateau and no chaos", "평평할 뿐 혼돈스럽지는 않습니다")
    if convex is Verdict.HOLDS:
        return Text(f"Around {DEEP_PLAIN} it goes up and down", "오르내립니다")
    if convex is Verdict.DOES_NOT_HOLD:
        return Text(
            f"Around {DEEP_PLAIN} it is hardly rougher than around {DEEP_RESIDUAL}",
            f"{DEEP_RESIDUAL} 신경망 주변보다 크게 더 울퉁불퉁하지는 않습니다",
        )
    return Text(
        f"What it is like around {DEEP_PLAIN} is not clear at this budget",
        "이 예산으로는 어떤 모양인지 분명하지 않습니다",
    )


def _flat(net: str, guessing: float) -> Comparison:
    """Not judged: what lies around a net is a plateau."""
    words = Text(f"what lies around {net} is a plateau", f"{net} 신경망 주변의 손실은 평평하다")
    return Comparison(statement=words, a=net, b=0.0, relation="near", margin=FLAT * guessing, quantity=RISE.name)


def _measured(looks: Sequence[Look]) -> dict[str, Measured]:
    return {
        UPWARDS.name: Measured(tuple(each.upwards for each in looks)),
        BENDS.name: Measured(tuple(each.bends for each in looks)),
        CENTRE.name: Measured(tuple(each.centre for each in looks)),
        RISE.name: Measured(tuple(each.rise for each in looks)),
    }


def _summary(nets: Mapping[str, Mapping[str, Measured]], guessing: float, kind: Text) -> Text:
    shares = ", ".join(f"{100 * each[BENDS.name].mean:.0f} % around {net}" for net, each in nets.items())
    korean = ", ".join(f"{net} 주변에서 {100 * each[BENDS.name].mean:.0f} %" for net, each in nets.items())
    deep, residual = nets[DEEP_PLAIN], nets[DEEP_RESIDUAL]
    return Text(
        f"Of all places along lines through the trained weights, the loss is not convex at {shares}. {kind.en}. In the "
        f"middle it is {deep[CENTRE.name].mean:.2f} nats there, where guessing costs {guessing:.2f}, and at a distance "
        f"of 1/2 it differs from that by {deep[RISE.name].mean:+.2f}; around {DEEP_RESIDUAL} it differs by "
        f"{residual[RISE.name].mean:+.2f}.",
        f"학습된 가중치를 지나는 직선 위에서 손실이 아래로 볼록하지 않은 곳은 {korean}입니다. {DEEP_PLAIN} 신경망 "
        f"주변의 손실은 {kind.ko}. 한가운데의 손실은 {deep[CENTRE.name].mean:.2f} nats(무작위로 답할 때는 "
        f"{guessing:.2f})이고, 거리 1/2에서는 그보다 {deep[RISE.name].mean:+.2f}만큼 다릅니다. {DEEP_RESIDUAL} "
        f"신경망에서는 {residual[RISE.name].mean:+.2f}만큼 다릅니다.",
    )


def _drawing(looks: Mapping[str, Sequence[Look]]) -> Drawing:
    guessing = looks[PLAIN][0].guessing
    panels = {
        title: {
            f"{net}, line {number + 1}": Line(
                AT.tolist(), [exactly(min(float(loss), SHOWN * guessing)) for loss in looks[net][0].losses[number]]
            )
            for net in nets
            for number in range(min(SHOWN_LINES, len(looks[net][0].losses)))
        }
        for title, nets in (("without shortcuts", (PLAIN, DEEP_PLAIN)), ("with shortcuts", (RESIDUAL, DEEP_RESIDUAL)))
    }
    return lines_over(panels, LOSS, x_label="distance along the line, of the weights' size", level=guessing)


CLAIM = Claim(
    name="landscape",
    statement=Text(
        "Shortcuts keep the loss around the weights of a deep network a bowl; without them it is none",
        "지름길이 있으면 깊은 신경망의 가중치 주변에서 손실이 그릇 모양을 유지하고, 없으면 그렇지 않다",
    ),
    source=Text("Li et al. 2018, section 6, Figures 1 and 5", "Li 등 2018, 6절, 그림 1과 5"),
    group="beyond",
    measure=measure,
    plan=plan,
    rule_changed=Text(
        "After one seed of quick had been seen, steps upwards were no longer judged, only shown: a bowl with a wide "
        "flat ground has few.",
        "quick의 시드 하나를 본 뒤에, 손실이 올라가는 구간은 판정하지 않고 보이기만 하기로 했습니다. 바닥이 넓고 "
        "평평한 그릇 모양에는 그런 구간이 적기 때문입니다.",
    ),
)
