"""Options A, B and C: projections on the shortcuts are slightly better than padding with zeros, and not essential.

He et al. 2015, section 4.1, "Identity vs. Projection Shortcuts", Table 3. Where a stage has more channels than the one
before, the shortcut is padded with zero channels (A) or projected by a 1x1 convolution (B); in C all shortcuts are
projections. Published for ImageNet, 34 layers, 10-crop top-1/top-5 error in percent: A 25.03/7.76, B 24.52/7.46, C
24.19/7.40. The paper calls B slightly better than A and C marginally better than B, and concludes from how small the
differences are that projections are not essential.

Measured here on ResNet-20 for small images, on ResNet-34 for a folder: the same net three times, but for its shortcuts.

How the verdict falls:

- A above B, and B above C. The margin is 0, since this is an order: any difference that the seeds are sure of counts.
  The published differences are 0.51 and 0.33 points, each of one training; three seeds of a small net can seldom tell
  as much, and then the order is not decided.
- A not above C by 1 point or more: projections are not essential. One point is what the claim `degradation` takes for a
  difference that matters; published it is 0.84, where the shortcuts themselves were worth 3.51.

On small images the authors' second paper has figures of its own: CIFAR-10, 110 layers, 12.22 % with 1x1 convolutions on
all shortcuts (C), 6.61 % with none (A) (He et al. 2016, Table 1). The summary says so beside what comes out here.

The paper's word is on degradation, which A cures as B and C do; that residual nets of option A cure it is what
`degradation` measures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from residuum.experiments.claim import Claim, Conclusion
from residuum.experiments.evidence import Evidence
from residuum.experiments.setting import Setting
from residuum.nets import catalog
from residuum.plans.plan import PlannedRun
from residuum.records.finding import Comparison
from residuum.records.quantity import Measured, Quantity, exactly
from residuum.records.text import NOTHING, Text
from residuum.report.figures import Drawing
from residuum.report.measured_figures import Bar, bars

MARGIN = 0.01  # one percentage point
PARAMETERS = Quantity("parameters", "", korean="매개변수")
SMALL = {"A": "resnet20", "B": "resnet20+shortcut=project", "C": "resnet20+shortcut=project_all"}
LATER = Text(
    " On CIFAR-10 with 110 layers the same authors later published 12.22 % with convolutions on all shortcuts (C) and "
    "6.61 % with none (A) (He et al. 2016, Table 1).",
    " 같은 저자들은 나중에 CIFAR-10, 110층에서 모든 지름길에 합성곱을 쓰면(C) 12.22 %, 쓰지 않으면(A) 6.61 %라고 "
    "발표했습니다(He 등 2016, 표 1).",
)
PHOTOGRAPHS = {"A": "resnet34_a", "B": "resnet34", "C": "resnet34_c"}
CAPTION = Text(
    "Left: as published, ImageNet, 34 layers, top-1 error of 10 crops, one net each. Right: ours, mean over the seeds "
    "with one standard deviation. The axes differ; what can be compared is the order and how small the steps are. "
    "Compare He et al. 2015, Table 3.",
    "왼쪽: 발표된 값, ImageNet, 34층, 10-crop top-1 오차, 신경망 하나씩. 오른쪽: 여기서 잰 값, 시드들의 평균과 "
    "표준편차. 두 축이 다르므로 순서와, 차이가 얼마나 작은지만 비교할 수 있습니다. He 등 2015, 표 3과 비교해 보십시오.",
)


@dataclass(frozen=True)
class Option:
    """What an option is, and its published errors, shares (ImageNet, 34 layers, 10 crops)."""

    words: str
    top1: float
    top5: float

    @property
    def published(self) -> str:
        """As printed: `25.03/7.76`."""
        return f"{100 * self.top1:.2f}/{100 * self.top5:.2f}"


OPTIONS = {
    "A": Option("A, padded with zeros", 0.2503, 0.0776),
    "B": Option("B, projected where the size changes", 0.2452, 0.0746),
    "C": Option("C, all projected", 0.2419, 0.0740),
}


def nets(setting: Setting) -> dict[str, str]:
    """The nets by option."""
    return PHOTOGRAPHS if setting.kind == "folder" else SMALL


def plan(setting: Setting) -> Sequence[PlannedRun]:
    """All three."""
    return setting.planned(*nets(setting).values())


def arm_name(option: str) -> str:
    """What the arm of an option is called."""
    return f"option {option}"


def measure(evidence: Evidence) -> Conclusion:
    """The errors of the three options beside each other."""
    error, of_option = evidence.judged_error, nets(evidence.setting)
    errors = {option: evidence.error(net, error) for option, net in of_option.items()}
    return Conclusion(
        arms=tuple(
            evidence.arm(
                net,
                Text(
                    f"{OPTIONS[option].published} (ImageNet, 34 layers)",
                    f"{OPTIONS[option].published} (ImageNet, 34층)",
                ),
                name=arm_name(option),
                korean=f"옵션 {option}",
                own={PARAMETERS.name: exactly(catalog.entry(net).parameters)},
            )
            for option, net in of_option.items()
        ),
        quantities=(*evidence.errors, PARAMETERS),
        comparisons=(
            _better("B", "A", error, Text("slightly better", "조금 낫다")),
            _better("C", "B", error, Text("marginally better", "아주 조금 낫다")),
            Comparison(
                statement=Text(
                    "option A does about as well as C: projections are not essential",
                    "옵션 A는 C와 거의 같다: 투영이 꼭 필요하지는 않다",
                ),
                a=arm_name("A"),
                b=arm_name("C"),
                relation="not above",
                margin=MARGIN,
                quantity=error.name,
                published=_printed("A", "C"),
            ),
        ),
        summary=_summary(errors, error, of_option["A"], NOTHING if evidence.setting.kind == "folder" else LATER),
        drawing=_drawing(errors, error),
        caption=CAPTION,
    )


def _printed(first: str, second: str) -> Text:
    """The published errors of two options."""
    a, b = OPTIONS[first].published, OPTIONS[second].published
    return Text(f"{a} against {b}", f"{a} 대 {b}")


def _better(better: str, worse: str, error: Quantity, words: Text) -> Comparison:
    return Comparison(
        statement=Text(
            f"option {better} does {words.en} than {worse}",
            f"옵션 {better} 신경망이 옵션 {worse} 신경망보다 {words.ko}",
        ),
        a=arm_name(worse),
        b=arm_name(better),
        relation="above",
        margin=0.0,
        quantity=error.name,
        published=_printed(worse, better),
    )


def _summary(errors: Mapping[str, Measured], error: Quantity, net: str, later: Text) -> Text:
    """The three errors, their order and the whole difference."""
    listed = ", ".join(f"{option} {100 * one.mean:.2f} %" for option, one in errors.items())
    order = sorted(errors, key=lambda option: errors[option].mean)
    difference = 100 * (errors["A"].mean - errors["C"].mean)
    return Text(
        f"{error.name.capitalize()} of {net} with the three kinds of shortcut: {listed}. From the best mean to the "
        f"worst: {', '.join(order)}, where the paper has C, B, A. Padding with zeros, which costs no parameters, ends "
        f"{abs(difference):.2f} points {'above' if difference >= 0 else 'below'} projecting every shortcut; in the "
        f"paper, 0.84 above.{later.en}",
        f"지름길 세 가지에 대한 {net} 신경망의 {error.label.ko}: {listed}. 평균이 가장 좋은 것부터 {', '.join(order)} "
        "순서이고, 논문에서는 C, B, A 순서입니다. 매개변수가 들지 않는 0 채우기의 오차는 모든 지름길에 투영을 쓴 "
        f"것보다 {abs(difference):.2f} %p {'높습니다' if difference >= 0 else '낮습니다'}. 논문에서는 0.84 %p "
        f"높습니다.{later.ko}",
    )


def _drawing(errors: Mapping[str, Measured], error: Quantity) -> Drawing:
    published = [Bar(option.words, exactly(option.top1)) for option in OPTIONS.values()]
    ours = [Bar(option, one) for option, one in errors.items()]
    return bars({"published: ImageNet, 34 layers": published, "ours": ours}, Quantity("error", error.unit))


CLAIM = Claim(
    name="shortcuts",
    statement=Text(
        "Projections on the shortcuts (B, C) are slightly better than padding with zeros (A), and not essential",
        "투영 지름길(B, C)은 0으로 채우는 지름길(A)보다 조금 나을 뿐, 꼭 필요하지는 않다",
    ),
    source=Text("He et al. 2015, section 4.1, Table 3", "He 등 2015, 4.1절, 표 3"),
    group="He et al. 2015",
    measure=measure,
    plan=plan,
    kinds=frozenset({"grey", "colour", "folder"}),
)
