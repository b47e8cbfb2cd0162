"""Average pooling: averaging the last map can replace the large fully connected layers at little cost in error.

Lin et al. 2013, "Network In Network" (arXiv 1312.4400), Table 5, test error on CIFAR-10 in percent, not augmented:
10.41 with the average, 11.59 with fully connected layers, 10.88 with these and dropout. Szegedy et al. 2014 (GoogLeNet)
and He et al. 2015 end their nets so.

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
from residuum.experiments.plan import PlannedRun
from residuum.experiments.setting import Setting
from residuum.nets import catalog
from residuum.records.finding import Arm, Comparison, Quantity, exactly
from residuum.records.text import Text

MARGIN = 0.01  # one percentage point
WORTH_WHILE = 2.0  # times the parameters
AVERAGE, LINEAR = "ResNet-20, average", "ResNet-20, linear layers"
VGG, VGG_AVERAGE = "VGG-16, linear layers", "VGG-16, average"
NETS = {AVERAGE: "resnet20", LINEAR: "resnet20+head=linear"}
COUNTED = {VGG: "vgg16", VGG_AVERAGE: "vgg16_gap"}
PUBLISHED = {
    AVERAGE: "10.41 (Network In Network, CIFAR-10)",
    LINEAR: "11.59, with dropout 10.88 (the same)",
    VGG: "138M parameters",
    VGG_AVERAGE: "",
}
PARAMETERS, MULTIPLE = Quantity("parameters", ""), Quantity("times those with the average", "")
CAPTION = (
    "Training and test error at the end, mean over the seeds with one standard deviation. The training error of the "
    "net with linear layers is counted while their dropout is on. The diamond, where the data are CIFAR-10, is the "
    "published error of ResNet-20 (He et al. 2015, Table 6). Compare Lin et al. 2013, Table 5, which is of another net."
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
    trained = [evidence.arm(net, PUBLISHED[name], name=name, own=own[name]) for name, net in NETS.items()]
    return Conclusion(
        arms=(*trained, *(Arm(name=name, published=PUBLISHED[name], measured=own[name]) for name in COUNTED)),
        quantities=(*evidence.errors, PARAMETERS, MULTIPLE),
        comparisons=(
            Comparison(
                statement="ResNet-20 does no worse with the average than with linear layers",
                a=AVERAGE,
                b=LINEAR,
                relation="not above",
                margin=MARGIN,
                quantity=error.name,
                published="10.41 against 11.59 and 10.88",
            ),
            Comparison(
                statement="the linear layers of VGG-16 more than double its parameters (counted)",
                a=VGG,
                b=WORTH_WHILE,
                relation="above",
                margin=0.0,
                quantity=MULTIPLE.name,
                published="138M parameters",
            ),
        ),
        summary=_summary(evidence, error),
        drawing=evidence.error_bars(trained, {AVERAGE: 0.0875}),
        caption=CAPTION,
    )


def _summary(evidence: Evidence, error: Quantity) -> str:
    """Both errors, and the parameters of all four."""
    average, linear = (evidence.error(net, error) for net in NETS.values())
    return (
        f"ResNet-20 ends at a {error.name} of {average.percent()} with the average of its last map and "
        f"{linear.percent()} with two linear layers in its place: the average changes it by "
        f"{100 * (average.mean - linear.mean):+.2f} points (below 0: better). Linear layers make its "
        f"{parameters(AVERAGE):,} parameters {parameters(LINEAR):,}; VGG-16 has {parameters(VGG):,} with its linear "
        f"layers and {parameters(VGG_AVERAGE):,} with the average."
    )


CLAIM = Claim(
    name="average_pooling",
    statement=Text(
        "Global average pooling can replace the fully connected layers at little cost in error",
        "전역 평균 풀링은 오차를 거의 늘리지 않고 완전 연결 층을 대신할 수 있다",
    ),
    source="Lin et al. 2013, Table 5; Szegedy et al. 2014, section 5",
    group="taught",
    measure=measure,
    plan=plan,
)
