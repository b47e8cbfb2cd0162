"""The loss around a net's weights, along random directions of the size of its filters.

Li, Xu, Taylor, Studer, Goldstein 2018, "Visualizing the Loss Landscape of Neural Nets" (arXiv 1712.09913). A direction
is drawn from a normal distribution and each of its filters is scaled to the norm of the net's filter (section 4):

    d_ij  <-  d_ij |w_ij| / |d_ij|        filter j of layer i; of a linear layer, the weights of one output

so that one step means the same in every net whatever the scale of its weights, which BN would hide. Biases, BN and
whatever else is one number for each map stay where they are, as with the authors' own plots.

    net, loss = ..., mean_loss(batches)
    x, y, at = directions(net, 0), directions(net, 1), np.linspace(-1, 1, 21)
    values = plane(net, loss, x, y, at, seconds=60)               # NaN where the time was over
    values = plane(net, loss, x, y, at, done=values, seconds=60)  # goes on, to the same bits as without a break

Each point is the loss of one net and depends on no other point, so what is done in which order makes no difference. It
is begun in the middle: an unfinished landscape is a smaller one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.nn import functional

from residuum.errors import InputError
from residuum.insight.looks import OnProgress, in_float64, require_ordinary, unheard, without_gradients
from residuum.insight.taps import device_of, evaluating

Loss = Callable[[nn.Module], float]
Values = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Direction:
    """A direction among the weights of a net.

    Attributes:
        steps: parameter name -> tensor of its shape, on its device. Parameters that are not there stay.
    """

    steps: Mapping[str, Tensor]


def directions(net: nn.Module, seed: int) -> Direction:
    """A random direction for a net, each filter of the norm of the net's own; the same from `seed` on every device.

    Raises:
        InputError: the net has no filters.
    """
    generator = torch.Generator().manual_seed(seed)
    steps = {
        name: _scaled(torch.randn(weight.shape, generator=generator).to(weight), weight.detach())
        for name, weight in net.named_parameters()
        if _is_filters(name, weight)
    }
    if not steps:
        raise InputError("net: has no weights to move. Try: a net with a convolution or a linear layer")
    return Direction(steps)


def _is_filters(name: str, weight: Tensor) -> bool:
    """Whether a parameter is filters: not a bias, whatever its shape, nor a scale of one number for each map."""
    return weight.ndim > 1 and weight.numel() > len(weight) and not name.endswith("bias")


def _scaled(drawn: Tensor, weight: Tensor) -> Tensor:
    filters, wanted = drawn.flatten(1), weight.flatten(1).norm(dim=1, keepdim=True)
    scaled: Tensor = filters * (wanted / filters.norm(dim=1, keepdim=True))
    return scaled.view_as(weight)


def mean_loss(batches: Iterable[tuple[Tensor, Tensor]]) -> Loss:
    """Mean cross-entropy in nats over these batches of images `(N, C, H, W)` and labels `(N,)`, which are kept.

    Raises:
        InputError: there is no image.
    """
    kept = [(images, labels) for images, labels in batches if len(labels)]
    if not kept:
        raise InputError("batches: hold no image. Try: at least one batch of images and labels")
    count = sum(len(labels) for _, labels in kept)

    @torch.no_grad()
    def loss(net: nn.Module) -> float:
        device, total = device_of(net), 0.0
        for images, labels in kept:
            logits = in_float64(net(images.to(device)))
            total += float(functional.cross_entropy(logits, labels.to(logits.device), reduction="sum"))
        return total / count

    return loss


@contextmanager
def moved(net: nn.Module, *steps: tuple[float, Direction]) -> Iterator[None]:
    """The net with its weights at w + a x + b y + ..., for `steps` `(a, x), (b, y), ...`.

    The net's own tensors are never written: other tensors lie in their places for the while.

    Raises:
        InputError: a direction is of another net, or the net's weights were made in inference mode.
    """
    require_ordinary(net)
    parameters = dict(net.named_parameters())
    for _, direction in steps:
        _require_fit(parameters, direction)
    originals = {name: weight.data for name, weight in parameters.items()}
    try:
        for name, original in originals.items():
            here = [(size, direction.steps[name]) for size, direction in steps if name in direction.steps]
            if here:
                parameters[name].data = _sum(original, here)
        yield
    finally:
        for name, original in originals.items():
            parameters[name].data = original


def _sum(weight: Tensor, steps: Sequence[tuple[float, Tensor]]) -> Tensor:
    with torch.no_grad():
        for size, step in steps:
            weight = weight + size * step
    return weight


def _require_fit(parameters: Mapping[str, nn.Parameter], direction: Direction) -> None:
    for name, step in direction.steps.items():
        if name not in parameters or parameters[name].shape != step.shape:
            raise InputError(f"direction: is of another net, {name!r} does not fit. Try: directions(net, seed)")


@without_gradients
def line(
    net: nn.Module,
    loss: Loss,
    direction: Direction,
    at: ArrayLike,
    *,
    done: Values | None = None,
    seconds: float | None = None,
    on_point: OnProgress = unheard,
) -> Values:
    """The loss at w + a d for each a of `at`, in eval mode: `(len(at),)`.

    Arguments and errors as of `plane`.
    """
    places = _places(at)
    points = [((i,), ((a, direction),)) for i, a in enumerate(places)]
    return _surveyed(net, loss, points, _begun((len(places),), done), seconds, on_point)


@without_gradients
def plane(
    net: nn.Module,
    loss: Loss,
    x: Direction,
    y: Direction,
    at: ArrayLike,
    *,
    done: Values | None = None,
    seconds: float | None = None,
    on_point: OnProgress = unheard,
) -> Values:
    """The loss at w + a x + b y for all a and b of `at`, in eval mode.

    Args:
        net: any net; its weights are the point (0, 0).
        loss: what to compute of a net, such as `mean_loss(batches)`.
        x, y: directions.
        at: places along both, such as `np.linspace(-1, 1, 21)`.
        done: what an earlier call with the same arguments gave: points that are not NaN are kept.
        seconds: no point is begun that would probably end later; one is always computed.
        on_point: called with points done and in all.

    Returns:
        `(len(at), len(at))`: row i is b = at[i], column j is a = at[j]. NaN where the time was over, infinity where
        the loss is not a number.

    Raises:
        InputError: `at` is no list of finite numbers, `done` is of another shape, or a direction is of another net.
    """
    places = _places(at)
    points = [((i, j), ((a, x), (b, y))) for (i, b), (j, a) in product(enumerate(places), repeat=2)]
    return _surveyed(net, loss, points, _begun((len(places), len(places)), done), seconds, on_point)


Point = tuple[tuple[int, ...], tuple[tuple[float, Direction], ...]]


def _surveyed(
    net: nn.Module, loss: Loss, points: Sequence[Point], values: Values, seconds: float | None, on_point: OnProgress
) -> Values:
    """`values` with what the time allows of the points that are NaN, those nearest to the middle first."""
    by_distance = sorted(points, key=lambda point: max(abs(size) for size, _ in point[1]))
    missing = [point for point in by_distance if math.isnan(values[point[0]])]
    finished, started = len(points) - len(missing), time.monotonic()
    with evaluating(net):
        for number, (index, steps) in enumerate(missing):
            elapsed = time.monotonic() - started
            if seconds is not None and number and elapsed * (number + 1) / number > seconds:
                break
            with moved(net, *steps):
                value = float(loss(net))
            values[index] = value if math.isfinite(value) else math.inf
            on_point(finished + number + 1, len(points))
    return values


def _places(at: ArrayLike) -> list[float]:
    places = np.asarray(at, dtype=np.float64)
    if places.ndim != 1 or not places.size or not np.isfinite(places).all():
        raise InputError(f"at: must be a list of finite numbers, got {at!r}. Try: np.linspace(-1, 1, 21)")
    return [float(place) for place in places]


def _begun(shape: tuple[int, ...], done: Values | None) -> Values:
    if done is None:
        return np.full(shape, np.nan)
    if np.shape(done) != shape:
        raise InputError(f"done: is of another landscape (expected {shape}, got {np.shape(done)}). Try: done=None")
    return np.array(done, dtype=np.float64)
