"""One layer: a residual block of a single layer, y = W x + x, has no advantage.

He et al. 2015, section 3.2: with one layer F is nearly linear, and no advantage was observed (no figures). He et al.
2016, Table 3: ResNet-110 with blocks of one layer ends at 9.90 % (CIFAR-10, test), with blocks of two at 6.61 %;
pre-activated, 8.91 % and 6.37 %.

Measured here at 20 weighted layers: the same 18 convolutions of 3x3 without a shortcut (`plain20`), with one over each,
and with one over each two (`resnet20`). All three have the same convolutions; only the shortcuts differ.

How the verdict falls, by the test error:

- The plain net is not above the net of one-layer blocks by 1 point or more: no advantage. One point is what the claim
  `degradation` takes for a difference that matters.
- The net of one-layer blocks is above that of two-layer blocks. The margin is 0, since this is an order; published at
  110 layers it is 3.3 points, and a net of 20 layers has less to lose.
"""

from __future__ import annotations

from collections.abc import Sequence

from residuum.experiments.claim import Claim, Conclusion
from residuum.experiments.evidence import Evidence
from residuum.experiments.printed import FIGURE_ONLY, cifar_error_share
from residuum.experiments.setting import Setting
from residuum.nets import catalog
from residuum.plans.plan import PlannedRun
from residuum.records.finding import Comparison
from residuum.records.quantity import Quantity, exactly
from residuum.records.text import Text

MARGIN = 0.01  # one percentage point
PLAIN, ONE, TWO = "no shortcuts", "one layer a block", "two layers a block"
KOREAN = {PLAIN: "지름길 없음", ONE: "블록마다 한 층", TWO: "블록마다 두 층"}
NETS = {PLAIN: "plain20", ONE: "resnet20+block=single+blocks=6,6,6", TWO: "resnet20"}
PUBLISHED = {
    PLAIN: FIGURE_ONLY,
    ONE: Text("9.90 (CIFAR-10, 110 layers), no advantage observed", "9.90 (CIFAR-10, 110층), 이점이 관찰되지 않음"),
    TWO: Text("8.75 (CIFAR-10); 6.61 (110 layers)", "8.75 (CIFAR-10); 6.61 (110층)"),
}
PARAMETERS = Quantity("parameters", "", korean="매개변수")
CAPTION = Text(
    "Training and test error at the end, mean over the seeds with one standard deviation, of three nets with the same "
    "20 weighted layers. The diamond, where the data are CIFAR-10, is the published error of ResNet-20. Compare He et "
    "al. 2016, Table 3, first row, which has 110 layers.",
    "가중치가 있는 층이 똑같이 20개인 세 신경망의, 학습이 끝났을 때의 학습 오차와 시험 오차이며, 시드들의 평균과 "
    "표준편차입니다. 데이터가 CIFAR-10일 때 마름모는 발표된 ResNet-20의 오차입니다. He 등 2016, 표 3의 첫 "
    "행(110층)과 비교해 보십시오.",
)


def plan(setting: Setting) -> Sequence[PlannedRun]:
    """All three."""
    return setting.planned(*NETS.values())


def measure(evidence: Evidence) -> Conclusion:
    """The test errors of the three."""
    error = evidence.judged_error
    arms = [
        evidence.arm(
            net,
            PUBLISHED[name],
            name=name,
            korean=KOREAN[name],
            own={PARAMETERS.name: exactly(catalog.entry(net).parameters)},
        )
        for name, net in NETS.items()
    ]
    return Conclusion(
        arms=tuple(arms),
        quantities=(*evidence.errors, PARAMETERS),
        comparisons=(
            Comparison(
                statement=Text(
                    "without shortcuts the net is no worse than with one over each layer: no advantage",
                    "지름길이 없어도 층마다 지름길이 있는 신경망보다 못하지 않다: 층마다 둔 지름길은 이점이 없다",
                ),
                a=PLAIN,
                b=ONE,
                relation="not above",
                margin=MARGIN,
                quantity=error.name,
                published=Text("no advantage observed", "이점이 관찰되지 않음"),
            ),
            Comparison(
                statement=Text("one layer a block does worse than two", "블록마다 층이 하나면 둘일 때보다 못하다"),
                a=ONE,
                b=TWO,
                relation="above",
                margin=0.0,
                quantity=error.name,
                published=Text("9.90 against 6.61 (110 layers)", "9.90 대 6.61 (110층)"),
            ),
        ),
        summary=_summary(evidence, error),
        drawing=evidence.error_bars(arms, {TWO: cifar_error_share("resnet20")}),
        caption=CAPTION,
    )


def _summary(evidence: Evidence, error: Quantity) -> Text:
    """The three errors and the two differences."""
    plain, one, two = (evidence.error(net, error) for net in NETS.values())
    return Text(
        f"{error.name.capitalize()} at 20 layers: {plain.percent()} without shortcuts, {one.percent()} with one over "
        f"each layer, {two.percent()} with one over each two. So shortcuts over single layers change the error of the "
        f"plain net by {100 * (one.mean - plain.mean):+.2f} points, and shortcuts over two layers by "
        f"{100 * (two.mean - plain.mean):+.2f} (below 0: better).",
        f"20층의 {error.label.ko}: 지름길이 없으면 {plain.percent()}, 층마다 있으면 {one.percent()}, 두 층마다 있으면 "
        f"{two.percent()}. 지름길이 없을 때에 비해 오차는 층마다 지름길을 두면 "
        f"{100 * (one.mean - plain.mean):+.2f} %p, 두 층마다 두면 {100 * (two.mean - plain.mean):+.2f} %p "
        "달라집니다(0보다 작으면 나아짐).",
    )


CLAIM = Claim(
    name="one_layer",
    statement=Text(
        "A residual block of a single layer (y = W x + x) has no advantage over a plain layer",
        "층이 하나뿐인 잔차 블록(y = W x + x)은 지름길이 없는 층보다 나은 점이 없다",
    ),
    source=Text("He et al. 2015, section 3.2; He et al. 2016, Table 3", "He 등 2015, 3.2절; He 등 2016, 표 3"),
    group="taught",
    measure=measure,
    plan=plan,
)
