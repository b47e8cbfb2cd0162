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
from residuum.experiments.plan import PlannedRun
from residuum.experiments.setting import Setting
from residuum.records.finding import Comparison, Quantity
from residuum.records.text import Text

MARGIN = 0.01  # one percentage point
WITHOUT, WITH = "no dropout", "dropout of 0.5"
NETS = {WITHOUT: "resnet20", WITH: "resnet20+dropout=0.5"}
PUBLISHED = {WITHOUT: "8.75 (CIFAR-10)", WITH: "not used"}
CAPTION = (
    "Training and test error at the end, mean over the seeds with one standard deviation. The training error of the "
    "net with dropout is counted while values are dropped. The diamond, where the data are CIFAR-10, is the published "
    "error of ResNet-20 (He et al. 2015, Table 6); the paper has no figure to compare with."
)


def plan(setting: Setting) -> Sequence[PlannedRun]:
    """Both."""
    return setting.planned(*NETS.values())


def measure(evidence: Evidence) -> Conclusion:
    """The test error of both."""
    error = evidence.judged_error
    arms = [evidence.arm(net, PUBLISHED[name], name=name) for name, net in NETS.items()]
    return Conclusion(
        arms=tuple(arms),
        quantities=evidence.errors,
        comparisons=(
            Comparison(
                statement="without dropout the net is no worse than with it",
                a=WITHOUT,
                b=WITH,
                relation="not above",
                margin=MARGIN,
                quantity=error.name,
                published="not used",
            ),
        ),
        summary=_summary(evidence, error),
        drawing=evidence.error_bars(arms, {WITHOUT: 0.0875}),
        caption=CAPTION,
    )


def _summary(evidence: Evidence, error: Quantity) -> str:
    """Both errors of both nets."""
    without, with_it = (evidence.error(net, error) for net in NETS.values())
    training = [evidence.error(net, TRAINING_ERROR).percent() for net in NETS.values()]
    return (
        f"ResNet-20 ends at a {error.name} of {without.percent()} without dropout and {with_it.percent()} with a "
        f"dropout of 0.5 before its last layer: dropout changes it by {100 * (with_it.mean - without.mean):+.2f} "
        f"points (below 0: better). Its training error, counted as trained, is {training[0]} without and {training[1]} "
        f"with it."
    )


CLAIM = Claim(
    name="dropout",
    statement=Text(
        "With batch normalisation no dropout is needed",
        "배치 정규화가 있으면 드롭아웃이 필요 없다",
    ),
    source="He et al. 2015, section 3.4 (none used); Ioffe & Szegedy 2015, section 4.2.1",
    group="taught",
    measure=measure,
    plan=plan,
)
