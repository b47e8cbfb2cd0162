"""The filters of the first layer look like edges and blobs of colour.

Krizhevsky et al. 2012, Figure 3 (11x11 filters of AlexNet) and Zeiler & Fergus 2013; taught of every net since.

"Looks like" is measured by two numbers of each filter, which are 0 and known beforehand for values in random order:

    smoothness   1 - C, where C is Geary's measure of how neighbouring values differ (Geary 1954, "The Contiguity Ratio
                 and Statistical Mapping"), over the neighbours beside and below, all channels together. 0 by chance,
                 2/3 for a straight ramp over 3x3, 0.88 over 5x5, below 0 for a checkerboard
    edges        share of the filter's variance that one soft edge across it explains, in the direction that suits
                 best: its two lowest components of the cosine transform. By chance 2 of k^2 - 1: 25 % of 3x3, 8 % of
                 5x5. Only half a period counts: a filter of several, as many of AlexNet's, would score low

The claim holds if training makes the filters smoother by 0.2, not a third of what a clean edge has, and more of an edge
by ten points. The claim is of photographs in colour, so what is judged depends on the images:

    colour    ResNet-20 (3x3) and LeNet-5 (5x5) after training and before it, for each seed the mean over the filters;
              as for grey images where a training has fewer than 2,000 updates, which hardly move the filters of LeNet-5
    grey      the weights of ResNet-20 for CIFAR-10 in the package, against nets of its architecture before training,
              from 20 starts; what the two nets made of grey images is shown beside them. It is a single training, so
              that how trainings differ is not in this verdict

The share of the filters' energy that is colour, not grey, is shown where there are colours (2/3 by chance). That later
layers put edges together to parts and objects, as is taught as well, is not tested.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from residuum.experiments.claim import Claim, Conclusion
from residuum.experiments.evidence import Evidence
from residuum.experiments.setting import Setting
from residuum.insight.filters import first_filters
from residuum.nets import catalog
from residuum.plans.plan import PlannedRun
from residuum.records.finding import Arm, Comparison
from residuum.records.quantity import Measured, Quantity, exactly
from residuum.records.text import NOTHING, Text, paragraph
from residuum.references import load
from residuum.report.filter_figure import filter_sheets

NETS = {"resnet20": "3x3", "lenet5": "5x5"}
FEWEST_UPDATES = 2000  # after which filters can be judged
PACKAGED = "resnet20:cifar10"
PACKAGED_NET, STARTS = "resnet20", 20  # its architecture, and how many untrained nets of it
SMOOTHNESS = Quantity("smoothness", "", korean="매끄러움")
EDGES = Quantity("edges", korean="에지 하나로 설명되는 분산의 비율")
COLOUR = Quantity("colour", korean="색의 비율")
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
    "The images trained on here are grey, so that these two nets are shown and not judged.",
    "여기서 학습에 쓴 이미지는 회색조라서, 이 두 신경망은 보이기만 하고 판정하지 않습니다.",
)
TOO_FEW = Text(
    f"Fewer than {FEWEST_UPDATES:,} updates say little of filters, so that these two nets are shown and not judged.",
    f"갱신이 {FEWEST_UPDATES:,}번보다 적어 필터를 판단하기 어려우므로, 이 두 신경망은 보이기만 하고 판정하지 않습니다.",
)
Kernels = NDArray[np.float32]


@dataclass(frozen=True)
class Pair:
    """The arms of one net, and what it is called in a sentence."""

    net: Text
    size: str
    before: Arm
    after: Arm


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
    pairs = [
        Pair(
            net=Text.same(net),
            size=size,
            before=_untrained(net, before[net]),
            after=evidence.arm(net, name=f"{net}, trained", korean=f"{net}, 학습 후", own=numbers(after[net])),
        )
        for net, size in NETS.items()
    ]
    pictures = {
        title: kernels
        for net in NETS
        for title, kernels in ((f"{net}, untrained", before[net][0]), (f"{net}, trained", after[net][0]))
    }
    shown = {**pictures, PACKAGED: packaged}
    return conclude(pairs, _packaged(packaged), evidence.errors, shown, why_unjudged(evidence))


def why_unjudged(evidence: Evidence) -> Text:
    """Why the nets that were trained do not decide; nothing where they do."""
    if evidence.setting.dataset.channels == 1:
        return GREY
    updates = min(int(result["steps"]) for net in NETS for result in evidence.results(net))
    return TOO_FEW if updates < FEWEST_UPDATES else NOTHING


def _untrained(net: str, kernels: Sequence[Kernels]) -> Arm:
    return Arm(name=f"{net}, untrained", korean=f"{net}, 학습 전", published=NOTHING, measured=numbers(kernels))


def _packaged(kernels: Kernels) -> Pair:
    """The net in the package, against nets of its architecture before training."""
    return Pair(
        net=Text(f"{PACKAGED} in the package", f"패키지에 든 {PACKAGED}"),
        size=NETS[PACKAGED_NET],
        before=Arm(
            name=f"{PACKAGED_NET} for colour, {STARTS} starts, untrained",
            korean=f"{PACKAGED_NET}(컬러, 초깃값 {STARTS}가지), 학습 전",
            published=NOTHING,
            measured=numbers([*_starts()]),
        ),
        after=Arm(
            name=f"{PACKAGED}, in the package",
            korean=f"{PACKAGED}, 패키지에 든 것",
            published=NOTHING,
            measured=numbers([kernels], exact=True),
        ),
    )


def _starts() -> Iterator[Kernels]:
    """The first filters of untrained nets for images in colour."""
    for seed in range(STARTS):
        torch.manual_seed(seed)
        yield first_filters(catalog.net(PACKAGED_NET)).kernels


def conclude(
    pairs: Sequence[Pair],
    packaged: Pair,
    errors: Sequence[Quantity],
    pictures: Mapping[str, Kernels],
    unjudged: Text = NOTHING,
) -> Conclusion:
    """The verdict on the nets that were trained, or on the net in the package where `unjudged` says why not on these.

    `pictures` are shown, by title.
    """
    judged = [packaged] if unjudged else pairs
    return Conclusion(
        arms=tuple(arm for pair in (*pairs, packaged) for arm in (pair.before, pair.after)),
        quantities=(*errors, SMOOTHNESS, EDGES, COLOUR),
        comparisons=tuple(comparison for pair in judged for comparison in _comparisons(pair)),
        summary=paragraph([*map(_change, pairs), unjudged, _change(packaged), _colour(packaged)]),
        drawing=filter_sheets(pictures),
        caption=CAPTION,
    )


def _comparisons(pair: Pair) -> list[Comparison]:
    return [
        Comparison(
            statement=Text(
                f"{pair.net.en}: training makes the {pair.size} filters {words.en}",
                f"{pair.net.ko}: 학습하면 {pair.size} 필터가 {words.ko}",
            ),
            a=pair.after.name,
            b=pair.before.name,
            relation="above",
            margin=margin,
            quantity=quantity.name,
            published=Text("figure only", "그림만 있음"),
        )
        for words, quantity, margin in CHANGES
    ]


def _change(pair: Pair) -> Text:
    """Both numbers of one net, before and after."""
    both = (pair.before.measured, pair.after.measured)
    rough, smooth = (round(each[SMOOTHNESS.name].mean, 2) + 0.0 for each in both)  # no -0.00
    old, new = (f"{100 * each[EDGES.name].mean:.0f} %" for each in both)
    return Text(
        f"Training takes the {pair.size} filters of {pair.net.en} from a smoothness of {rough:.2f} to {smooth:.2f} (0 "
        f"is random order, a clean edge has about 0.7 at 3x3, 0.9 at 5x5), and from {old} to {new} of an edge.",
        f"{pair.net.ko} 신경망의 {pair.size} 필터는 매끄러움이 학습 전 {rough:.2f}, 학습 후 {smooth:.2f}입니다(0은 "
        "무작위 순서이고, 뚜렷한 에지는 3x3에서 약 0.7, 5x5에서 약 0.9). 필터의 분산 가운데 에지 하나로 설명되는 "
        f"비율은 학습 전 {old}, 학습 후 {new}입니다.",
    )


def _colour(pair: Pair) -> Text:
    """How much of a net's filters is colour."""
    share = f"{100 * pair.after.measured[COLOUR.name].mean:.0f} %"
    return Text(
        f"Of what is in its filters {share} is colour (67 % by chance).",
        f"필터의 에너지 가운데 색의 비율은 {share}입니다(무작위라면 67 %).",
    )


CLAIM = Claim(
    name="filters",
    statement=Text(
        "The filters of the first layer look like edges and blobs of colour",
        "첫 층의 필터는 에지와 색 얼룩처럼 보인다",
    ),
    source=Text(
        "Krizhevsky et al. 2012, Figure 3; Zeiler & Fergus 2013",
        "Krizhevsky 등 2012, 그림 3; Zeiler & Fergus 2013",
    ),
    group="taught",
    measure=measure,
    plan=plan,
    rule_changed=Text(
        "After the second record of quick, the net in the package is judged where the images are grey, in place of "
        "nets trained on these: the claim is of photographs in colour.",
        "quick의 두 번째 기록 뒤에, 회색조 이미지에서는 그것으로 학습한 신경망 대신 패키지에 든 신경망을 "
        "판정하도록 바꾸었습니다. 주장은 컬러 사진에 대한 것이기 때문입니다.",
    ),
)
