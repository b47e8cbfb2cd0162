"""VGG-16 needs 93 MB for an image; the early convolutions have most of it, the linear layers most parameters.

Taught since the notes of Stanford's CS231n (cs231n.github.io/convolutional-networks, case studies), which list the
activations of every layer of VGG-16, print "24M" values for all of them and 93 MB, forwards only.

Counted, exactly, with one image of 224x224: the values that each layer writes (a ReLU in place writes none) and the
image itself, four bytes each; a megabyte is a million bytes. Early are the convolutions of the first two stages of
five, four of thirteen. The claim holds if the values are 24 million as rounded, the memory is 93 MB within a tenth
(more could not be told from another way of counting, such as 2^20 bytes), and both shares are above a half.
"""

from __future__ import annotations

from collections.abc import Iterable

from residuum.costing.cost import INPUT, Cost, Layer
from residuum.costing.count import cost
from residuum.costing.operators import CONVOLUTION, LINEAR, POOLING
from residuum.experiments.claim import Claim, Conclusion
from residuum.experiments.evidence import Evidence
from residuum.nets import catalog
from residuum.nets.skeleton import without_values
from residuum.records.finding import Arm, Comparison
from residuum.records.quantity import Quantity, exactly
from residuum.records.text import NOTHING, Text
from residuum.report.measured_figures import Bar, bars

NET = "vgg16"
VALUES = Quantity("values", "million", korean="값의 수")
MEMORY = Quantity("memory", "MB", korean="메모리")
SHARE_OF_VALUES = Quantity("share of the values", korean="전체 값 중 비율")
SHARE_OF_PARAMETERS = Quantity("share of the parameters", korean="전체 매개변수 중 비율")
TAUGHT_VALUES, TAUGHT_MEMORY = 24.0, 93.0
ROUNDING = 0.5  # million values
TENTH = 9.3  # MB
HALF = 0.5
ALL, EARLY, LATE, POOLED, FULL = "all", "early convolutions", "late convolutions", "poolings", "linear layers"
IMAGE = "image"
KOREAN = {
    ALL: "전체",
    IMAGE: "이미지",
    EARLY: "앞쪽 합성곱 층",
    LATE: "뒤쪽 합성곱 층",
    POOLED: "풀링 층",
    FULL: "완전 연결 층",
}
EARLY_STAGES = 2
MOST = Text("most", "대부분")
AS_TAUGHT = Text("as taught", "강의에서 가르치는 대로입니다")
NOT_AS_TAUGHT = Text(
    "not the 24 million and 93 MB that the notes print: their rows make less too",
    "강의 노트에 적힌 2,400만 개, 93 MB와 다릅니다(노트의 행들을 더해도 그보다 적습니다)",
)
CAPTION = Text(
    "Share of the values that the layers of VGG-16 write for one image, beside their share of the parameters. Compare "
    "the table of VGG-16 in the CS231n notes.",
    "VGG-16의 층들이 이미지 한 장에 대해 내놓는 값을 층의 종류별로 나눈 비율과, 매개변수를 그렇게 나눈 비율입니다. "
    "CS231n 강의 노트의 VGG-16 표와 비교해 보십시오.",
)


def counted() -> Cost:
    """VGG-16 with one image of 224x224."""
    entry = catalog.entry(NET)
    with without_values():
        net = entry.build()
    return cost(net, entry.input_shape, training=False)


def parts(cost: Cost) -> dict[str, list[Layer]]:
    """The layers by the groups that are taught; stages are told by the size of their maps."""
    convolutions = [layer for layer in cost.layers if layer.group == CONVOLUTION]
    early = {*list(dict.fromkeys(layer.size for layer in convolutions))[:EARLY_STAGES]}
    return {
        IMAGE: [layer for layer in cost.layers if layer.group == INPUT],
        EARLY: [layer for layer in convolutions if layer.size in early],
        LATE: [layer for layer in convolutions if layer.size not in early],
        POOLED: [layer for layer in cost.layers if layer.group == POOLING],
        FULL: [layer for layer in cost.layers if layer.group == LINEAR],
    }


def measure(evidence: Evidence) -> Conclusion:
    """Values, bytes and parameters of each part."""
    vgg = counted()
    groups = parts(vgg)
    arms = [_arm(ALL, vgg.layers, vgg, Text("24M values, 93 MB (CS231n)", "값 24M개, 93 MB (CS231n)"))]
    arms += [_arm(name, layers, vgg) for name, layers in groups.items()]
    return Conclusion(
        arms=tuple(arms),
        quantities=(VALUES, MEMORY, SHARE_OF_VALUES, SHARE_OF_PARAMETERS),
        comparisons=(
            Comparison(
                statement=Text(
                    "VGG-16 writes 24 million values for an image", "VGG-16은 이미지 한 장에 값 2,400만 개를 내놓는다"
                ),
                a=ALL,
                b=TAUGHT_VALUES,
                relation="near",
                margin=ROUNDING,
                quantity=VALUES.name,
                published=Text.same("24M"),
            ),
            Comparison(
                statement=Text("in fp32 that is 93 MB", "fp32로는 93 MB이다"),
                a=ALL,
                b=TAUGHT_MEMORY,
                relation="near",
                margin=TENTH,
                quantity=MEMORY.name,
                published=Text.same("93 MB"),
            ),
            Comparison(
                statement=Text("most of it is in the early convolutions", "그 대부분은 앞쪽 합성곱 층에 있다"),
                a=EARLY,
                b=HALF,
                relation="above",
                margin=0.0,
                quantity=SHARE_OF_VALUES.name,
                published=MOST,
            ),
            Comparison(
                statement=Text("most parameters are in the linear layers", "매개변수는 대부분 완전 연결 층에 있다"),
                a=FULL,
                b=HALF,
                relation="above",
                margin=0.0,
                quantity=SHARE_OF_PARAMETERS.name,
                published=MOST,
            ),
        ),
        summary=_summary(vgg, groups),
        drawing=bars(
            {
                "activations": [Bar(arm.name, arm.measured[SHARE_OF_VALUES.name]) for arm in arms[1:]],
                "parameters": [Bar(arm.name, arm.measured[SHARE_OF_PARAMETERS.name]) for arm in arms[1:]],
            },
            Quantity("share of the whole"),
        ),
        caption=CAPTION,
        basis="counted",
    )


def _arm(name: str, layers: Iterable[Layer], whole: Cost, published: Text = NOTHING) -> Arm:
    values, size, parameters = (
        sum(getattr(layer, field) for layer in layers)
        for field in ("activation_values", "activation_bytes", "parameters")
    )
    return Arm(
        name=name,
        korean=KOREAN[name],
        published=published,
        measured={
            VALUES.name: exactly(values / 1e6),
            MEMORY.name: exactly(size / 1e6),
            SHARE_OF_VALUES.name: exactly(values / whole.activation_values),
            SHARE_OF_PARAMETERS.name: exactly(parameters / whole.parameters),
        },
    )


def _summary(vgg: Cost, groups: dict[str, list[Layer]]) -> Text:
    """What is right of the lesson and what is not."""
    early = sum(layer.activation_values for layer in groups[EARLY]) / vgg.activation_values
    linear = sum(layer.parameters for layer in groups[FULL]) / vgg.parameters
    values, size = vgg.activation_values, vgg.activation_bytes / 1e6
    agrees = abs(values / 1e6 - TAUGHT_VALUES) <= ROUNDING and abs(size - TAUGHT_MEMORY) <= TENTH
    verdict = AS_TAUGHT if agrees else NOT_AS_TAUGHT
    return Text(
        f"For one image the layers of VGG-16 write {values:,} values, {size:.1f} MB in fp32, {verdict.en}. The early "
        f"convolutions have {100 * early:.0f} % of them, the linear layers {100 * linear:.0f} % of all parameters.",
        f"이미지 한 장에 대해 VGG-16의 층들이 내놓는 값은 {values:,}개, fp32로 {size:.1f} MB이며, {verdict.ko}. "
        f"앞쪽 합성곱 층이 그 값의 {100 * early:.0f} %를, 완전 연결 층이 전체 매개변수의 {100 * linear:.0f} %를 "
        "차지합니다.",
    )


CLAIM = Claim(
    name="vgg_memory",
    statement=Text(
        "VGG-16 needs 93 MB for an image: most of it in the early convolutions, most parameters in the linear layers",
        "VGG-16은 이미지 한 장에 93 MB가 필요하다. 메모리는 대부분 앞쪽 합성곱 층이, "
        "매개변수는 대부분 완전 연결 층이 차지한다",
    ),
    source=Text(
        "CS231n lecture notes, convolutional networks, case studies",
        "CS231n 강의 노트, 합성곱 신경망, 사례",
    ),
    group="taught",
    measure=measure,
    kinds=frozenset({"grey", "colour", "folder"}),
)
