"""VGG is best at 16 layers.

Taught since Simonyan & Zisserman 2014 (version 6), whose Tables 3 and 4 print the errors of their nets A to E of 11 to
19 layers on the 50,000 validation images of ImageNet: Table 3 of images at one scale, Table 4 averaged over three. S is
the shorter side of the training images: 256, 384, or drawn from 256 to 512. The paper itself says that the error
saturates at 19 layers. Both tables evaluate densely; with several crops besides (Table 5) D and E both end at 24.4 %,
the least of all.

These trainings took weeks on four GPUs each, so the published figures alone decide. Two errors are told apart by more
than 0.2 percentage points: that is the standard error of one of them, a share of about a quarter of 50,000 images. The
claim holds if the 16 layers of net D are ahead of the 13 of B, and of the 19 of E both at S = 256 and in the best form
that these two tables have: trained on S from 256 to 512, tested densely at three scales.
"""

from __future__ import annotations

from collections.abc import Mapping

from residuum.experiments.claim import Claim, Conclusion
from residuum.experiments.evidence import Evidence
from residuum.records.finding import Arm, Comparison
from residuum.records.quantity import Quantity, exactly
from residuum.records.text import NOTHING, Text
from residuum.report.measured_figures import Line, lines_over

MARGIN = 0.002  # 0.2 percentage points
MANY_CROPS = 24.4  # percent, D and E alike: Table 5, several crops and dense evaluation at three scales
ONE, THREE = "one scale (Table 3)", "three scales (Table 4)"
FIXED, LARGER, VARIED = "S = 256", "S = 384", "S = 256 to 512"
KOREAN = {ONE: "한 크기로 시험(표 3)", THREE: "세 크기로 시험(표 4)", VARIED: "S = 256~512"}
DEPTHS = {"A": 11, "A-LRN": 11, "B": 13, "C": 16, "D": 16, "E": 19}
NAMES = {
    "A": "A, 11 layers",
    "A-LRN": "A-LRN, 11 layers",
    "B": "B, 13 layers",
    "C": "C, 16 layers, three of them 1x1",
    "D": "D, 16 layers",
    "E": "E, 19 layers",
}
KOREAN_NAMES = {
    "A": "A, 11층",
    "A-LRN": "A-LRN, 11층",
    "B": "B, 13층",
    "C": "C, 16층, 그중 셋은 1x1",
    "D": "D, 16층",
    "E": "E, 19층",
}
# Top-1 error in percent, as printed.
TOP_1: dict[str, dict[str, dict[str, float]]] = {
    ONE: {
        FIXED: {"A": 29.6, "A-LRN": 29.7, "B": 28.7, "C": 28.1, "D": 27.0, "E": 27.3},
        LARGER: {"C": 28.1, "D": 26.8, "E": 26.9},
        VARIED: {"C": 27.3, "D": 25.6, "E": 25.5},
    },
    THREE: {
        FIXED: {"B": 28.2, "C": 27.7, "D": 26.6, "E": 26.9},
        LARGER: {"C": 27.8, "D": 26.5, "E": 26.7},
        VARIED: {"C": 26.3, "D": 24.8, "E": 24.8},
    },
}
CAPTION = Text(
    "Published top-1 error on ImageNet's validation images over the number of layers, for each size S of the training "
    "images: nets A, B, D and E, whose convolutions are all 3x3.",
    "ImageNet 검증 이미지에 대해 발표된 top-1 오차를 층수에 따라, 학습 이미지의 크기 S마다 나타냈습니다. "
    "합성곱이 모두 3x3인 신경망 A, B, D, E입니다.",
)


def quantity(scales: str, training: str) -> Quantity:
    """The column of a table for one way to train and to test."""
    return Quantity(f"{training}, {scales}", korean=f"{KOREAN.get(training, training)}, {KOREAN[scales]}")


BEST = quantity(THREE, VARIED)
AT_256 = quantity(THREE, FIXED)
WORSE_13 = Text("13 layers are worse than 16", "13층은 16층보다 못하다")
WORSE_19 = Text("19 layers are worse than 16, trained at S = 256", "S = 256으로 학습하면 19층은 16층보다 못하다")
WORSE_19_AT_BEST = Text(
    "19 layers are worse than 16, trained at S = 256 to 512, tested densely at three scales",
    "S = 256~512로 학습하고 세 크기에서 조밀하게(dense) 시험하면 19층은 16층보다 못하다",
)


def measure(evidence: Evidence) -> Conclusion:
    """The published figures, beside each other."""
    return conclude(TOP_1)


def conclude(errors: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Conclusion:
    """The verdict on top-1 errors in percent, by scales, training size and net."""
    columns = {quantity(scales, size): found for scales, sizes in errors.items() for size, found in sizes.items()}
    return Conclusion(
        arms=tuple(
            Arm(
                name=NAMES[net],
                korean=KOREAN_NAMES[net],
                published=NOTHING,
                measured={column.name: exactly(found[net] / 100) for column, found in columns.items() if net in found},
            )
            for net in DEPTHS
        ),
        quantities=tuple(columns),
        comparisons=(
            _comparison(WORSE_13, "B", AT_256, columns[AT_256]),
            _comparison(WORSE_19, "E", AT_256, columns[AT_256]),
            _comparison(WORSE_19_AT_BEST, "E", BEST, columns[BEST]),
        ),
        summary=_summary(columns),
        drawing=lines_over(
            {scales: {size: _line(found) for size, found in sizes.items()} for scales, sizes in errors.items()},
            Quantity("top-1 error"),
            x_label="layers",
        ),
        caption=CAPTION,
        basis="published",
    )


def _comparison(statement: Text, net: str, column: Quantity, found: Mapping[str, float]) -> Comparison:
    return Comparison(
        statement=statement,
        a=NAMES[net],
        b=NAMES["D"],
        relation="above",
        margin=MARGIN,
        quantity=column.name,
        published=Text(f"{found[net]} against {found['D']}", f"{found[net]} 대 {found['D']}"),
    )


def _line(found: Mapping[str, float]) -> Line:
    nets = [net for net in ("A", "B", "D", "E") if net in found]
    return Line([DEPTHS[net] for net in nets], [exactly(found[net] / 100) for net in nets])


def _summary(columns: Mapping[Quantity, Mapping[str, float]]) -> Text:
    """What the figures say of 16 and 19 layers."""
    ahead = [column for column, found in columns.items() if _apart(found)]
    best, fixed = columns[BEST], columns[AT_256]
    saying = Text("no better at 16 layers than at 19", "16층이 19층보다 낫지 않습니다")
    if _apart(best):
        saying = Text("best at 16 layers", "16층일 때 가장 좋습니다")
    return Text(
        f"From 13 to 16 layers the published error falls from {fixed['B']} to {fixed['D']} %. In {len(ahead)} of "
        f"{len(columns)} ways to train and test, 19 layers are worse than 16 by more than {100 * MARGIN:.1f} points; "
        f"in the best of these ways, densely at three scales, 16 end at {best['D']} % and 19 at {best['E']} %, and "
        f"with several crops besides (Table 5) both at {MANY_CROPS} %. VGG is {saying.en}.",
        f"13층에서 16층으로 가면 발표된 오차는 {fixed['B']} %에서 {fixed['D']} %로 줄어듭니다. 학습하고 시험하는 "
        f"{len(columns)}가지 방법 중 {len(ahead)}가지에서 19층의 오차가 16층보다 {100 * MARGIN:.1f} %p 넘게 큽니다. "
        f"{len(columns)}가지 가운데 가장 좋은, 세 크기의 조밀한(dense) 시험에서는 16층이 {best['D']} %, 19층이 "
        f"{best['E']} %이고, 크롭 여러 개를 함께 쓰면(표 5) 둘 다 {MANY_CROPS} %입니다. VGG는 {saying.ko}.",
    )


def _apart(found: Mapping[str, float]) -> bool:
    """Whether 19 layers are worse than 16 by more than the margin."""
    return round(found["E"] - found["D"], 1) > 100 * MARGIN


CLAIM = Claim(
    name="vgg_depth",
    statement=Text("VGG is best at 16 layers", "VGG는 16층일 때 가장 좋다"),
    source=Text(
        "Simonyan & Zisserman 2014, Tables 3 to 5; lecture notes",
        "Simonyan & Zisserman 2014, 표 3~5; 강의 노트",
    ),
    group="taught",
    measure=measure,
    kinds=frozenset({"grey", "colour", "folder"}),
)
