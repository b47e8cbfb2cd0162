"""Can a map be believed? Two judges of a heat map over an image, whatever made it.

**Deletion and insertion** (Petsiuk et al. 2018, "RISE"). Pixels are taken out of the image, hottest first, and the
probability of the class is noted: the sooner it falls, the better the map (deletion: a small area under the curve is
good). Or they are put back, hottest first, into an image without them (insertion: a large area is good). The *score*
here is insertion minus deletion, from -1 to 1.

What a score is worth shows beside random maps: uniform noise on a grid as coarse as the last maps of a net for
photographs (7x7), enlarged bilinearly, as a class-activation map is. (Noise from pixel to pixel would not do: taking
out scattered pixels destroys an image in another way than taking out regions does.) A map is **better than random** if
its score is above the mean score of the random maps. For a map that knows nothing that is as likely as not: of 24 such
maps 20 or more would be better than random with a probability of 0.0008. How much better is said in standard
deviations of the random maps' scores, and by how many of them the map beats.

**The check by randomised weights** (Adebayo et al. 2018, "Sanity Checks for Saliency Maps", cascading randomisation).
What the net has learned is destroyed layer by layer, from the answer down to the image. A map that explains the net
must change; one that only shows edges of the picture stays as it was. Told by the rank correlation (Spearman) with the
map of the trained net.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Tensor, nn
from torch.nn import functional

from residuum.errors import InputError, unknown
from residuum.insight.attribution import BATCH, filled
from residuum.insight.cam import cam, class_of, logits_of, one_image
from residuum.insight.looks import OnProgress, in_float64, unheard, without_gradients
from residuum.insight.taps import evaluating, removing

GRID = (7, 7)
# What takes the place of pixels that are not there, in deletion and in insertion. `rise` is that of its paper:
# a constant for deletion; a blurred image for insertion, where edges of what is put in could be taken for evidence.
FILLS = {"rise": ("grey", "blur"), "grey": ("grey", "grey"), "blur": ("blur", "blur")}


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation (of a sample) over random maps."""

    mean: float
    std: float


@dataclass(frozen=True, eq=False, kw_only=True)
class Judged:
    """How well a heat map tells what the net needs.

    Attributes:
        class_index: the class whose probability was noted.
        deletion, insertion: areas under the curves, 0 to 1.
        deletion_curve, insertion_curve: `(steps + 1,)`, the probability with none, 1 / steps, ... and all of the pixels
            taken out or put in.
        random_deletion, random_insertion: the areas of random maps.
        random_scores: `(random,)`, insertion minus deletion of each.
    """

    class_index: int
    deletion: float
    insertion: float
    deletion_curve: NDArray[np.float32]
    insertion_curve: NDArray[np.float32]
    random_deletion: Spread
    random_insertion: Spread
    random_scores: NDArray[np.float32]

    @property
    def score(self) -> float:
        """Insertion minus deletion."""
        return self.insertion - self.deletion

    @property
    def better(self) -> bool:
        """Whether the score is above the mean score of the random maps."""
        return self.score > float(self.random_scores.mean())

    @property
    def sigmas(self) -> float:
        """How far the score is above the mean of the random maps', in their standard deviations; 0 if all are alike."""
        std = float(self.random_scores.std(ddof=1))
        return (self.score - float(self.random_scores.mean())) / std if std > 0 else 0.0

    @property
    def beaten(self) -> float:
        """Share of the random maps that have a smaller score."""
        return float((self.random_scores < self.score).mean())


@without_gradients
def deletion_insertion(
    net: nn.Module,
    image: Tensor,
    class_index: int | None,
    heat: NDArray[np.float32],
    *,
    steps: int = 32,
    fill: str = "rise",
    random: int = 5,
    seed: int = 0,
    on_progress: OnProgress = unheard,
) -> Judged:
    """Judge a heat map `(H, W)` over one image `(1, C, H, W)` by what the net says without its hot pixels, or by them.

    Pixels that are equally hot go in an order by chance, so that large flat parts of a map have no direction.

    Args:
        class_index: the class whose probability is noted; None for the net's answer.
        steps: parts of equal size in which the pixels go; each costs two forward passes for each map, this and random.
        fill: one of `FILLS`.
        random: maps to compare with, at least 2.
        seed: of the random maps and orders.

    Raises:
        InputError: no such class or fill, another size of map and image, a map with values that are not numbers, or a
            number of steps or random maps that is too small.
    """
    image = one_image(net, image)
    size = (image.shape[2], image.shape[3])
    _require_heat(heat, size)
    if fill not in FILLS:
        raise unknown("fill", fill, FILLS)
    if steps < 1 or random < 2:
        raise InputError(
            f"steps, random: too few (expected at least 1 and 2, got {steps} and {random}). Try: steps=32, random=5"
        )
    generator = np.random.default_rng(seed)
    heats = [heat, *(_random_heat(size, generator) for _ in range(random))]
    orders = [_order(each, generator).to(image.device) for each in heats]
    without, blank = (filled(image, name) for name in FILLS[fill])
    with torch.no_grad(), evaluating(net):
        chosen = class_of(logits_of(net, image), class_index)
        films = [_Film(image, without), _Film(blank, image)]
        curves = np.empty((len(orders), 2, steps + 1))
        for index, order in enumerate(orders):
            for side, film in enumerate(films):
                curves[index, side] = film.curve(net, order, chosen, steps)
            on_progress(index + 1, len(orders))
    areas = np.asarray(np.trapezoid(curves, dx=1 / steps, axis=2))
    return Judged(
        class_index=chosen,
        deletion=float(areas[0, 0]),
        insertion=float(areas[0, 1]),
        deletion_curve=curves[0, 0].astype(np.float32),
        insertion_curve=curves[0, 1].astype(np.float32),
        random_deletion=_spread(areas[1:, 0]),
        random_insertion=_spread(areas[1:, 1]),
        random_scores=(areas[1:, 1] - areas[1:, 0]).astype(np.float32),
    )


@dataclass(frozen=True)
class _Film:
    """One image that turns into another, part by part."""

    first: Tensor
    last: Tensor

    def curve(self, net: nn.Module, order: Tensor, class_index: int, steps: int) -> NDArray[np.float64]:
        """Probability of the class `(steps + 1,)`; `order` `(H, W)` is the rank of each pixel, from 0."""
        found = []
        for begin in range(0, steps + 1, BATCH):
            done = torch.arange(begin, min(begin + BATCH, steps + 1), device=order.device)
            changed = order[None] < (done * order.numel() // steps).view(-1, 1, 1)
            views = torch.where(changed[:, None], self.last, self.first)
            found.append(in_float64(logits_of(net, views)).softmax(dim=1)[:, class_index].cpu().numpy())
        return np.concatenate(found)


def _require_heat(heat: NDArray[np.float32], size: tuple[int, int]) -> None:
    if heat.shape != size:
        raise InputError(f"heat: has another size than the image (expected {size}, got {heat.shape}). Try: Cam.overlay")
    if not np.isfinite(heat).all():
        raise InputError("heat: has values that are not finite. Try: np.nan_to_num(heat)")


def _random_heat(size: tuple[int, int], generator: np.random.Generator) -> NDArray[np.float32]:
    noise = torch.from_numpy(generator.random(GRID))[None, None]
    wide = functional.interpolate(noise, size=size, mode="bilinear", align_corners=False)
    return wide[0, 0].float().numpy()


def _order(heat: NDArray[np.float32], generator: np.random.Generator) -> Tensor:
    """Rank of each pixel `(H, W)`, the hottest 0; equal ones by chance."""
    hottest_first = np.lexsort((generator.random(heat.size), -heat.ravel()))
    rank = np.empty(heat.size, dtype=np.int64)
    rank[hottest_first] = np.arange(heat.size)
    return torch.from_numpy(rank.reshape(heat.shape))


def _spread(values: NDArray[np.float64]) -> Spread:
    return Spread(float(values.mean()), float(values.std(ddof=1)))


@dataclass(frozen=True)
class Sanity:
    """What is left of a map when a net has lost what it knew from its answer down to a layer.

    Attributes:
        layer: the lowest layer that has lost its weights; all above it have, too.
        correlation: Spearman's, of the signed map with that of the trained net, over the places of the map; 0 if one of
            the two is the same everywhere. (What speaks against a class counts: without it half of the random nets
            would leave an empty map.)
    """

    layer: str
    correlation: float


@without_gradients
def randomised(
    net: nn.Module,
    image: Tensor,
    class_index: int | None = None,
    *,
    method: str = "gradcam",
    points: int = 12,
    seed: int = 0,
    on_progress: OnProgress = unheard,
) -> list[Sanity]:
    """How a class-activation map of one image `(1, C, H, W)` changes as a net loses its weights from the top.

    A layer is a module that has parameters of its own, in the order in which they run. It loses what it knows by a
    random order of the values of each of its parameters; so they keep their distribution, and the signal its size,
    where new weights beside old running statistics of a batch normalisation would not. The net itself is not touched: a
    copy is.

    Differs from the paper: it draws new weights.

    Args:
        class_index: the class that is explained; None for the trained net's answer.
        method: of `residuum.insight.cam.METHODS`.
        points: maps that are made at most, after equal numbers of layers.
        seed: of the random orders.

    Raises:
        InputError: no such class or method, not one image, or fewer than one point.
    """
    if points < 1:
        raise InputError(f"points: must be at least 1, got {points}. Try: 12")
    image = one_image(net, image)
    trained = cam(net, image, class_index, method=method)
    changed = copy.deepcopy(net)
    layers = _in_order(changed, image)
    generator = torch.Generator().manual_seed(seed)
    found = []
    parts = np.array_split(np.arange(len(layers))[::-1], min(points, len(layers)))
    for number, part in enumerate(parts, start=1):
        for index in part:
            _shuffle(layers[index][1], generator)
        now = cam(changed, image, trained.class_index, method=method)
        found.append(Sanity(layers[part[-1]][0], _rank_correlation(trained.signed, now.signed)))
        on_progress(number, len(parts))
    return found


def _in_order(net: nn.Module, image: Tensor) -> list[tuple[str, nn.Module]]:
    """Modules with parameters of their own that run, by name, in the order in which they first do."""
    ran: dict[str, nn.Module] = {}

    def noting(name: str) -> Callable[[nn.Module, object], None]:
        return lambda module, given: ran.update({name: module})

    handles = [
        module.register_forward_pre_hook(noting(name))
        for name, module in net.named_modules()
        if any(True for _ in module.parameters(recurse=False))
    ]
    with removing(handles), evaluating(net), torch.no_grad():
        net(image)
    return list(ran.items())


def _shuffle(module: nn.Module, generator: torch.Generator) -> None:
    with torch.no_grad():
        for parameter in module.parameters(recurse=False):
            order = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
            parameter.copy_(parameter.flatten()[order].view_as(parameter))


def _rank_correlation(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    if first.min() == first.max() or second.min() == second.max():
        return 0.0
    return float(np.corrcoef(rankdata(first), rankdata(second))[0, 1])
