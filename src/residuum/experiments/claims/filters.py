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
from residuum.records.text import Text
from residuum.references import load
from residuum.report.filter_figure import filter_sheets

NETS = {"resnet20": "3x3", "lenet5": "5x5"}
PACKAGED = "resnet20:cifar10"
SMOOTHNESS, EDGES, COLOUR = Quantity("smoothness", ""), Quantity("edges"), Quantity("colour")
SMOOTHNESS_MARGIN = 0.2
EDGES_MARGIN = 0.1
CAPTION = (
    "The first filters of the nets of seed 0, before and after training, and those of ResNet-20 for CIFAR-10 in the "
    "package. Grey is zero, each filter has its own scale. Compare Krizhevsky et al. 2012, Figure 3, whose filters are "
    "11x11."
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
                Arm(name=_before(net), published="", measured=numbers(before[net])),
                evidence.arm(net, name=_after(net), own=numbers(after[net])),
            )
        ),
        Arm(name=f"{PACKAGED}, in the package", published="", measured=numbers([packaged], exact=True)),
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
                statement=f"{net}: training makes the {size} filters {words}",
                a=_after(net),
                b=_before(net),
                relation="above",
                margin=margin,
                quantity=quantity.name,
                published="figure only",
            )
            for net, size in NETS.items()
            for quantity, words, margin in (
                (SMOOTHNESS, "smoother", SMOOTHNESS_MARGIN),
                (EDGES, "more like edges", EDGES_MARGIN),
            )
        ),
        summary=_summary(by_name),
        drawing=filter_sheets(pictures),
        caption=CAPTION,
    )


def _before(net: str) -> str:
    return f"{net}, untrained"


def _after(net: str) -> str:
    return f"{net}, trained"


def _summary(measured: Mapping[str, Mapping[str, Measured]]) -> str:
    """Both numbers of both nets."""
    sentences = []
    for net, size in NETS.items():
        old, new = measured[_before(net)], measured[_after(net)]
        sentences.append(
            f"Training takes the {size} filters of {net} from a smoothness of {old[SMOOTHNESS.name].mean:.2f} to "
            f"{new[SMOOTHNESS.name].mean:.2f} (0 is random order, a clean edge has about 0.7 at 3x3, 0.9 at 5x5), "
            f"and from {old[EDGES.name].mean:.0%} to {new[EDGES.name].mean:.0%} of an edge."
        )
    if COLOUR.name not in measured[_after(next(iter(NETS)))]:
        sentences.append("These images are grey, so nothing is said of colours.")
    return " ".join(sentences)


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
