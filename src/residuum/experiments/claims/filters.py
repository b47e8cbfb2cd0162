"""The filters of the first layer look like edges and blobs of colour.

Krizhevsky et al. 2012, Figure 3 (11x11 filters of AlexNet) and Zeiler & Fergus 2013; taught of every net since.

"Looks like" is measured by two numbers of each filter, which are 0 and known beforehand for values in random order:

    smoothness   1 - C, where C is Geary's measure of how neighbouring values differ (Geary 1954, "The Contiguity Ratio
                 and Statistical Mapping"), over the neighbours beside and below, all channels together. 0 by chance,
                 2/3 for a straight ramp over 3x3, 0.88 over 5x5, below 0 for a checkerboard
    edges        share of the filter's variance that one soft edge across it explains, in the direction that suits
                 best: its two lowest components of the cosine transform. By chance 2 of k^2 - 1: 25 % of 3x3, 8 % of
                 5x5

Compared are ResNet-20 (3x3) and LeNet-5 (5x5) after training and before it, for each seed the mean over the filters.
The claim holds if training makes the filters of both smoother by 0.2, not a third of what a clean edge has, and more of
an edge by ten points. On colour images the share of the filters' energy that is colour, not grey, is shown as well (2/3
by chance), and always the weights of ResNet-20 for CIFAR-10 in the package; neither is judged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from residuum.experiments.claim import Claim, Conclusion
from residuum.experiments.evidence import Evidence
from residuum.experiments.plan import PlannedRun
from residuum.experiments.setting import Setting
from residuum.insight.filters import first_filters
from residuum.records.finding import Arm, Comparison, Measured, Quantity, exactly
from residuum.records.text import NOTHING, Text, paragraph
from residuum.references import load
from residuum.report.filter_figure import filter_sheets

NETS = {"resnet20": "3x3", "lenet5": "5x5"}
PACKAGED = "resnet20:cifar10"
SMOOTHNESS = Quantity("smoothness", "", korean="매끄러움")
EDGES = Quantity("edges", korean="에지")
COLOUR = Quantity("colour", korean="색")
# What training makes of the filters, in which quantity, and by how much.
CHANGES = (
    (Text("smoother", "더 매끄러워진다"), SMOOTHNESS, 0.2),
    (Text("more like edges", "에지에 더 가까워진다"), EDGES, 0.1),
)
CAPTION = Text(
    "The first filters of the nets of seed 0, before and after training, and those of ResNet-20 for CIFAR-10 in the "
    "package. Grey is zero, each filter has its own scale. Compare Krizhevsky et al. 2012, Figure 3, whose filters are "
    "11x11.",
    "시드 0인 두 신경망의 첫 층 필터를 학습 전과 후로 보이고, 패키지에 든 CIFAR-10용 ResNet-20의 필터를 함께 "
    "보입니다. 회색은 0이고, 밝기의 눈금은 필터마다 다릅니다. Krizhevsky 등 2012, 그림 3과 비교해 보십시오. 그 필터는 "
    "11x11입니다.",
)
GREY = Text(
    "These images are grey, so nothing is said of colours.",
    "이 이미지들은 회색조라서 색에 대해서는 알 수 있는 것이 없습니다.",
)
Kernels = NDArray[np.float32]


def plan(setting: Setting) -> Sequence[PlannedRun]:
    """Both nets."""
    return setting.planned(*NETS)


def centred(kernels: Kernels) -> NDArray[np.float64]:
    """Kernels `(K, C, h, w)` less the mean of each channel of each; filters that are flat are left out."""
    values = kernels.astype(np.float64)
    values = values - values.mean(axis=(2, 3), keepdims=True)
    kept: NDArray[np.float64] = values[np.abs(values).max(axis=(1, 2, 3)) > 0]
    return kept


def smoothness(kernels: Kernels) -> float:
    """Mean over the filters `(K, C, h, w)` of 1 - Geary's C: 0 for values in random order."""
    values = centred(kernels)
    height, width = values.shape[2:]
    differences = sum((np.diff(values, axis=axis) ** 2).sum(axis=(1, 2, 3)) for axis in (2, 3))
    pairs = (height - 1) * width + height * (width - 1)
    contiguity = (height * width - 1) / (2 * pairs) * differences / (values**2).sum(axis=(1, 2, 3))
    return float(np.mean(1 - contiguity))


def edges(kernels: Kernels) -> float:
    """Mean over the filters `(K, C, h, w)` of the share of variance of one soft edge; 2 / (h w - 1) by chance."""
    values = centred(kernels)
    height, width = values.shape[2:]
    ways = (_edge(height, width), _edge(width, height).T)
    energy = sum((np.einsum("kchw,hw->kc", values, way) ** 2).sum(axis=1) for way in ways)
    return float(np.mean(energy / (values**2).sum(axis=(1, 2, 3))))


def _edge(height: int, width: int) -> NDArray[np.float64]:
    """From light above to dark below: half a period of a cosine, of length 1."""
    wave = np.cos(np.pi * (np.arange(height) + 0.5) / height)
    return np.outer(wave / np.linalg.norm(wave), np.full(width, width**-0.5))


def colour(kernels: Kernels) -> float:
    """Mean over the filters `(K, 3, h, w)` of the share of energy in differences of the channels; 2/3 by chance."""
    values = kernels.astype(np.float64)
    whole = (values**2).sum(axis=(1, 2, 3))
    grey = 3 * (values.mean(axis=1) ** 2).sum(axis=(1, 2))
    return float(np.mean(1 - grey[whole > 0] / whole[whole > 0]))


def numbers(sets: Sequence[Kernels], *, exact: bool = False) -> dict[str, Measured]:
    """The quantities of the first filters of nets, a value of each; colour where they see colours."""
    measures = {SMOOTHNESS: smoothness, EDGES: edges} | ({COLOUR: colour} if sets[0].shape[1] == 3 else {})
    return {
        quantity.name: exactly(measure(sets[0])) if exact else Measured(tuple(measure(each) for each in sets))
        for quantity, measure in measures.items()
    }


def measure(evidence: Evidence) -> Conclusion:
    """The first filters of both nets before and after training."""
    before = {
        net: [first_filters(evidence.untrained(net, seed)).kernels for seed in evidence.setting.seeds] for net in NETS
    }
    after = {net: [first_filters(each.net).kernels for each in evidence.classifiers(net)] for net in NETS}
    packaged = first_filters(load(PACKAGED).net).kernels
    arms = [
        *(
            arm
            for net in NETS
            for arm in (
                Arm(name=_before(net), published=NOTHING, measured=numbers(before[net])),
                evidence.arm(net, name=_after(net), own=numbers(after[net])),
            )
        ),
        Arm(name=f"{PACKAGED}, in the package", published=NOTHING, measured=numbers([packaged], exact=True)),
    ]
    pictures = {
        title: kernels
        for net in NETS
        for title, kernels in ((_before(net), before[net][0]), (_after(net), after[net][0]))
    }
    return conclude(arms, evidence.errors, pictures | {PACKAGED: packaged})


def conclude(arms: Sequence[Arm], errors: Sequence[Quantity], pictures: Mapping[str, Kernels]) -> Conclusion:
    """The verdict on both nets before and after training; `pictures` are shown, by title."""
    by_name = {arm.name: arm.measured for arm in arms}
    seen = [
        quantity for quantity in (SMOOTHNESS, EDGES, COLOUR) if any(quantity.name in each.measured for each in arms)
    ]
    return Conclusion(
        arms=tuple(arms),
        quantities=(*errors, *seen),
        comparisons=tuple(
            Comparison(
                statement=Text(
                    f"{net}: training makes the {size} filters {words.en}", f"{net}: 학습하면 {size} 필터가 {words.ko}"
                ),
                a=_after(net),
                b=_before(net),
                relation="above",
                margin=margin,
                quantity=quantity.name,
                published=Text("figure only", "그림만 있음"),
            )
            for net, size in NETS.items()
            for words, quantity, margin in CHANGES
        ),
        summary=_summary(by_name),
        drawing=filter_sheets(pictures),
        caption=CAPTION,
    )


def _before(net: str) -> str:
    return f"{net}, untrained"


def _after(net: str) -> str:
    return f"{net}, trained"


def _summary(measured: Mapping[str, Mapping[str, Measured]]) -> Text:
    """What became of both nets."""
    coloured = COLOUR.name in measured[_after(next(iter(NETS)))]
    return paragraph([*(_change(net, measured) for net in NETS), NOTHING if coloured else GREY])


def _change(net: str, measured: Mapping[str, Mapping[str, Measured]]) -> Text:
    """Both numbers of one net, before and after."""
    both, size = (measured[_before(net)], measured[_after(net)]), NETS[net]
    rough, smooth = (each[SMOOTHNESS.name].mean for each in both)
    old, new = (each[EDGES.name].mean for each in both)
    return Text(
        f"Training takes the {size} filters of {net} from a smoothness of {rough:.2f} to {smooth:.2f} (0 is random "
        f"order, a clean edge has about 0.7 at 3x3, 0.9 at 5x5), and from {old:.0%} to {new:.0%} of an edge.",
        f"{net} 신경망의 {size} 필터는 매끄러움이 학습 전 {rough:.2f}, 학습 후 {smooth:.2f}입니다(0은 무작위 "
        "순서이고, 뚜렷한 에지는 3x3에서 약 0.7, 5x5에서 약 0.9). 필터의 분산 가운데 에지 하나로 설명되는 몫은 학습 "
        f"전 {old:.0%}, 학습 후 {new:.0%}입니다.",
    )


CLAIM = Claim(
    name="filters",
    statement=Text(
        "The filters of the first layer look like edges and blobs of colour",
        "첫 층의 필터는 에지와 색 얼룩처럼 보인다",
    ),
    source="Krizhevsky et al. 2012, Figure 3; Zeiler & Fergus 2013",
    group="taught",
    measure=measure,
    plan=plan,
)
