"""Table 1: the architectures of the ImageNet nets of 18, 34, 50, 101 and 152 layers, and what they cost.

He et al. 2015, Table 1. It prints for each net the rows conv1 to conv5_x (kernels, channels, number of blocks, side of
the output), the fc layer, and "FLOPs", which are multiply-adds, with one decimal: 1.8, 3.6, 3.8, 7.6 and 11.3e9.

Counted here on nets that are built without values, nothing is trained: the layers with weights on the way from image to
answer (projections on a shortcut are not numbered in the paper either), row by row, and the multiply-adds of all
convolutions, projections included, and of the fc layer. The nets are option A for 18 and 34 layers, as in section 4.1,
and option B for the others, with the stride on the first 1x1 of a block as in the nets that the authors released (the
`_v1` nets of the catalog); the paper does not say where it is. What `resnet34` (option B) and `resnet50` (stride on the
3x3) cost is shown beside them, and not judged.

How the verdict falls: layers and rows must be exactly those printed (margin 0). Multiply-adds must be within half a
unit of the last printed digit, 0.05e9, which is how far rounding goes. There is no spread: the numbers decide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from residuum.costing.cost import Layer
from residuum.costing.count import cost
from residuum.costing.operators import CONVOLUTION, LINEAR
from residuum.experiments.claim import Claim, Conclusion
from residuum.experiments.evidence import Evidence
from residuum.nets import catalog
from residuum.nets.skeleton import without_values
from residuum.records.finding import Arm, Comparison
from residuum.records.quantity import Quantity, exactly
from residuum.records.text import NOTHING, Text, paragraph
from residuum.report.measured_figures import Bar, bars

ROUNDING = 0.05  # G: half a unit of the one decimal that is printed
NUM_ROWS = 6  # conv1 to conv5_x, and the fc layer
SIZES, WIDTHS = (56, 28, 14, 7), (64, 128, 256, 512)  # of conv2_x to conv5_x
LAYERS = Quantity("layers", "", korean="층수")
ROWS = Quantity(f"rows as printed, of {NUM_ROWS}", "", korean=f"인쇄된 것과 같은 행({NUM_ROWS}행 중)")
MACS = Quantity("MACs", "G", korean="곱셈-덧셈")
NOT_KNOWN = Text("the reason is not known", "그 까닭은 알려져 있지 않습니다")
# In Korean, what the catalog says of it.
REASONS = {
    "resnet50_v1": "까닭은 설명되지 않습니다. 반올림하면 3.9e9이고, 논문은 101층과 152층의 값은 반올림했습니다",
}
CAPTION = Text(
    "Multiply-adds for one image of 224x224, counted (bars) and as printed in He et al. 2015, Table 1 (diamonds). "
    "resnet34 has projections where the size changes (option B), resnet50 the stride on the 3x3, as torch users know "
    "it: the table has no figure of its own for these two.",
    "224x224 이미지 한 장의 곱셈-덧셈 수: 센 값(막대)과 He 등 2015의 표 1에 인쇄된 값(마름모). resnet34는 크기가 "
    "바뀌는 곳에 투영을 두고(옵션 B), resnet50은 오늘날 쓰는 대로 3x3에 보폭을 두었습니다. 이 두 형태의 값은 표에 따로 "
    "없습니다.",
)


@dataclass(frozen=True)
class Row:
    """A row of the table: side of its output in pixels; kernel and channels of each layer (the fc layer as 1x1)."""

    size: int
    layers: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Column:
    """A column of the table, as printed: the net's number, its blocks in conv2_x to conv5_x, and its FLOPs in 1e9."""

    num_layers: int
    blocks: tuple[int, ...]
    bottleneck: bool
    macs: float

    @property
    def rows(self) -> tuple[Row, ...]:
        """What the rows say, layer by layer."""
        stages = [
            Row(size, (((1, width), (3, width), (1, 4 * width)) if self.bottleneck else ((3, width),) * 2) * blocks)
            for size, width, blocks in zip(SIZES, WIDTHS, self.blocks, strict=True)
        ]
        return (Row(112, ((7, 64),)), *stages, Row(1, ((1, 1000),)))


@dataclass(frozen=True)
class Counted:
    """What was counted of a net; `macs` for one image."""

    rows: tuple[Row, ...]
    macs: int

    @property
    def num_layers(self) -> int:
        """Layers with weights."""
        return sum(len(row.layers) for row in self.rows)

    def rows_as(self, column: Column) -> int:
        """How many rows are as printed."""
        return sum(mine == printed for mine, printed in zip(self.rows, column.rows, strict=False))


COLUMNS = {
    "resnet18_a": Column(18, (2, 2, 2, 2), bottleneck=False, macs=1.8),
    "resnet34_a": Column(34, (3, 4, 6, 3), bottleneck=False, macs=3.6),
    "resnet50_v1": Column(50, (3, 4, 6, 3), bottleneck=True, macs=3.8),
    "resnet101_v1": Column(101, (3, 4, 23, 3), bottleneck=True, macs=7.6),
    "resnet152_v1": Column(152, (3, 8, 36, 3), bottleneck=True, macs=11.3),
}
# Nets of the same columns in another form, with what tells them from it.
BESIDE = {
    "resnet34": ("resnet34_a", Text("printed of option A; this is option B", "인쇄된 값은 옵션 A, 이것은 옵션 B")),
    "resnet50": (
        "resnet50_v1",
        Text(
            "released with the stride on the first 1x1; here it is on the 3x3",
            "공개된 모델은 첫 1x1에 보폭을 둔 것, 이것은 3x3에 둔 것",
        ),
    ),
}


def measure(evidence: Evidence) -> Conclusion:
    """Count all nets."""
    nets = (*COLUMNS, *BESIDE)
    counts = {}
    for number, net in enumerate(nets):
        evidence.progress(number, len(nets))
        counts[net] = count(net)
    return conclude(counts)


def count(net: str) -> Counted:
    """The rows and the multiply-adds of a net of the catalog, at its own input."""
    with without_values():
        module = catalog.net(net)
    counted = cost(module, catalog.entry(net).input_shape, training=False)
    stages: dict[str, list[Layer]] = {}
    for layer in counted.layers:
        if layer.group in (CONVOLUTION, LINEAR) and "downsample" not in layer.name:
            stages.setdefault(layer.name.partition(".")[0], []).append(layer)
    return Counted(tuple(_row(module, layers) for layers in stages.values()), counted.macs)


def _row(module: nn.Module, layers: Sequence[Layer]) -> Row:
    size = layers[-1].size[-1] if layers[-1].size else 1
    return Row(size, tuple(_kernel_and_channels(module.get_submodule(layer.name)) for layer in layers))


def _kernel_and_channels(layer: nn.Module) -> tuple[int, int]:
    if isinstance(layer, nn.Conv2d):
        return layer.kernel_size[0], layer.out_channels
    assert isinstance(layer, nn.Linear)
    return 1, layer.out_features


def conclude(counts: Mapping[str, Counted]) -> Conclusion:
    """What the counts of all nets, by name, come to beside the table."""
    return Conclusion(
        arms=tuple(_arm(net, counts[net]) for net in (*COLUMNS, *BESIDE)),
        quantities=(MACS, LAYERS, ROWS),
        comparisons=(
            *(_cost(net, column) for net, column in COLUMNS.items()),
            *(_number_of_layers(net, column) for net, column in COLUMNS.items()),
            *(_architecture(net) for net in COLUMNS),
        ),
        summary=_summary(counts),
        drawing=bars({"multiply-adds for one image": [_bar(net, counts[net]) for net in counts]}, MACS),
        caption=CAPTION,
        basis="counted",
    )


def _arm(net: str, counted: Counted) -> Arm:
    base, remark = BESIDE.get(net, (net, NOTHING))
    column = COLUMNS[base]
    measured = {
        MACS.name: exactly(counted.macs / 1e9),
        LAYERS.name: exactly(counted.num_layers),
        ROWS.name: exactly(counted.rows_as(column)),
    }
    english, korean = (f" ({words})" if words else "" for words in (remark.en, remark.ko))
    published = Text(
        f"{column.num_layers} layers, {column.macs}e9{english}", f"{column.num_layers}층, {column.macs}e9{korean}"
    )
    return Arm(name=net, published=published, measured=measured)


def _bar(net: str, counted: Counted) -> Bar:
    return Bar(net, exactly(counted.macs / 1e9), COLUMNS[net].macs if net in COLUMNS else None)


def _cost(net: str, column: Column) -> Comparison:
    return Comparison(
        statement=Text(
            f"{net} costs {column.macs} G multiply-adds, rounded",
            f"{net} 신경망의 곱셈-덧셈은 반올림하여 {column.macs} G이다",
        ),
        a=net,
        b=column.macs,
        relation="near",
        margin=ROUNDING,
        quantity=MACS.name,
        published=Text.same(f"{column.macs}e9"),
    )


def _number_of_layers(net: str, column: Column) -> Comparison:
    return Comparison(
        statement=Text(
            f"{net} has {column.num_layers} layers with weights",
            f"{net} 신경망에서 가중치가 있는 층은 {column.num_layers}개이다",
        ),
        a=net,
        b=column.num_layers,
        relation="near",
        margin=0.0,
        quantity=LAYERS.name,
        published=Text(f"{column.num_layers} layers", f"{column.num_layers}층"),
    )


def _architecture(net: str) -> Comparison:
    return Comparison(
        statement=Text(
            f"{net} has the kernels, channels and output sizes of every row",
            f"{net} 신경망의 모든 행에서 커널, 채널, 출력 크기가 표와 같다",
        ),
        a=net,
        b=NUM_ROWS,
        relation="near",
        margin=0.0,
        quantity=ROWS.name,
        published=Text("Table 1", "표 1"),
    )


def _summary(counts: Mapping[str, Counted]) -> Text:
    """How many nets are as printed, and which figures are not."""
    built = [net for net, column in COLUMNS.items() if counts[net].rows == column.rows]
    off = [net for net, column in COLUMNS.items() if abs(counts[net].macs / 1e9 - column.macs) > ROUNDING]
    sentences = [
        Text(
            f"Of the {len(COLUMNS)} nets of the table, {len(built)} have exactly the layers and output sizes that are "
            f"printed, and {len(COLUMNS) - len(off)} cost what is printed, rounded to one decimal.",
            f"표의 신경망 {len(COLUMNS)}개 중 {len(built)}개는 층과 출력 크기가 인쇄된 것과 정확히 같고, "
            f"{len(COLUMNS) - len(off)}개는 비용을 소수 첫째 자리까지 반올림하면 인쇄된 값과 같습니다.",
        )
    ]
    for net in off:
        reason = catalog.entry(net).differs.get("macs", NOT_KNOWN.en)
        sentences.append(
            Text(
                f"{net} counts {counts[net].macs:,} multiply-adds where {COLUMNS[net].macs}e9 is printed; {reason}.",
                f"{net} 신경망의 곱셈-덧셈은 {counts[net].macs:,}번인데 {COLUMNS[net].macs}e9로 인쇄되어 있습니다. "
                f"{REASONS.get(net, NOT_KNOWN.ko)}.",
            )
        )
    sentences.append(
        Text(
            f"In the forms that are usual today, resnet34 (with projections) counts {counts['resnet34'].macs:,} and "
            f"resnet50 (stride on the 3x3) {counts['resnet50'].macs:,}.",
            f"오늘날 쓰는 형태의 곱셈-덧셈은 resnet34(투영 지름길)가 {counts['resnet34'].macs:,}번, resnet50(3x3에 "
            f"보폭)이 {counts['resnet50'].macs:,}번입니다.",
        )
    )
    return paragraph(sentences)


CLAIM = Claim(
    name="table1",
    statement=Text(
        "The five networks of Table 1 have the layers, output sizes and multiply-adds that are printed there, to the "
        "last printed digit",
        "표 1의 다섯 신경망은 층의 구성과 출력 크기, 곱셈-덧셈 수가 인쇄된 마지막 자리까지 인쇄된 값과 같다",
    ),
    source=Text("He et al. 2015, Table 1", "He 등 2015, 표 1"),
    group="He et al. 2015",
    measure=measure,
    kinds=frozenset({"grey", "colour", "folder"}),
)
