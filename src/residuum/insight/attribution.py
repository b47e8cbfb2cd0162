"""Why this class, twice more and by other means, as a check on class-activation maps.

Integrated gradients (Sundararajan et al. 2017, equation 1): pixel by pixel, its distance from a baseline times the mean
gradient on the straight way from there to the image. The values add up to the difference of the logit between image and
baseline (their Proposition 1, completeness), up to the error of the sum that stands for the integral.

Occlusion (Zeiler & Fergus 2013, section 4.2): a window slides over the image and covers it; how much the logit falls
tells how much the net needed what was covered. It uses no gradient and knows no layer.

A positive value speaks for the class, a negative one against it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from residuum.errors import InputError, unknown
from residuum.insight.blur import gaussian_blur
from residuum.insight.cam import as_array, class_of, logits_of, one_image
from residuum.insight.looks import OnProgress, in_float64, unheard, with_gradients, without_gradients
from residuum.insight.taps import evaluating

BATCH = 8  # images at once without gradients; with gradients half of it
BLUR = 1 / 20  # standard deviation of the blur, as a share of the shorter side


@dataclass(frozen=True, eq=False, kw_only=True)
class Attribution:
    """What each value of an image contributed.

    Attributes:
        method: `integrated_gradients` or `occlusion`.
        class_index: the class that is explained.
        values: `(C, H, W)`, in units of the logit. Of an occlusion all channels are the same: the window covers all.
        map: `(H, W)`, for a picture: the sum of the values over the channels, of an occlusion their mean.
        completeness_error: how far the sum of the values is from the difference of the logit between image and
            baseline, as a share of this difference (the paper asks for 0.05 at most); None for occlusion.
    """

    method: str
    class_index: int
    values: NDArray[np.float32]
    map: NDArray[np.float32]
    completeness_error: float | None


@with_gradients
def integrated_gradients(
    net: nn.Module,
    image: Tensor,
    class_index: int | None = None,
    *,
    baseline: Tensor | None = None,
    steps: int = 32,
    on_progress: OnProgress = unheard,
) -> Attribution:
    """What each value of one image `(1, C, H, W)` adds to the logit of a class, against a baseline.

    Args:
        class_index: the class to explain; None for the net's answer.
        baseline: `(1, C, H, W)`; None for zeros: the mean colour of the data that the preprocessing was made for.
        steps: points on the way, at the places and with the weights of the Gauss-Legendre quadrature.

    Raises:
        InputError: no such class, not one image, another shape of the baseline, or no steps.
    """
    image = one_image(net, image)
    start = torch.zeros_like(image) if baseline is None else one_image(net, baseline)
    if start.shape != image.shape:
        raise InputError(
            f"baseline: has another shape than the image (expected {tuple(image.shape)}, got {tuple(start.shape)}). "
            "Try: torch.zeros_like(image)"
        )
    if steps < 1:
        raise InputError(f"steps: must be at least 1, got {steps}. Try: 32")
    points, weights = np.polynomial.legendre.leggauss(steps)
    shares = torch.from_numpy((points + 1) / 2).to(image)
    parts = torch.from_numpy(weights / 2).to(image)
    with evaluating(net):
        with torch.no_grad():
            logits = logits_of(net, torch.cat([image, start]))
        chosen = class_of(logits[:1], class_index)
        gradient = torch.zeros_like(image)
        for begin in range(0, steps, BATCH // 2):
            some = slice(begin, begin + BATCH // 2)
            on_way = start + shares[some, None, None, None] * (image - start)
            gradient += (parts[some, None, None, None] * _gradients(net, on_way, chosen)).sum(dim=0, keepdim=True)
            on_progress(min(begin + BATCH // 2, steps), steps)
    values = ((image - start) * gradient)[0]
    difference = float(logits[0, chosen] - logits[1, chosen])
    error = abs(float(in_float64(values).sum()) - difference) / max(abs(difference), 1e-12)
    return Attribution(
        method="integrated_gradients",
        class_index=chosen,
        values=as_array(values),
        map=as_array(values.sum(dim=0)),
        completeness_error=error,
    )


@without_gradients
def occlusion(
    net: nn.Module,
    image: Tensor,
    class_index: int | None = None,
    *,
    window: int | None = None,
    stride: int | None = None,
    fill: str = "grey",
    on_progress: OnProgress = unheard,
) -> Attribution:
    """How far the logit of a class falls when a part of one image `(1, C, H, W)` is covered.

    Args:
        class_index: the class to explain; None for the net's answer.
        window: side of the window in pixels; None for a fifth of the shorter side.
        stride: pixels from one window to the next; None for half a window. The last ones may reach over the border.
        fill: one of `FILLS`, what the window shows instead of the image.

    Each pixel has the mean over the windows that covered it.

    Raises:
        InputError: no such class or fill, not one image, a window that does not fit, or a stride that leaves gaps.
    """
    image = one_image(net, image)
    height, width = image.shape[2:]
    window = max(1, round(min(height, width) / 5)) if window is None else window
    stride = max(1, window // 2) if stride is None else stride
    if not 1 <= window <= min(height, width):
        raise InputError(f"window: does not fit (expected 1 to {min(height, width)}, got {window}). Try: window=None")
    if not 1 <= stride <= window:
        raise InputError(f"stride: leaves gaps (expected 1 to the window of {window}, got {stride}). Try: stride=None")
    covered = filled(image, fill)
    places = [(top, left) for top in _starts(height, window, stride) for left in _starts(width, window, stride)]
    falls, times = image.new_zeros(height, width), image.new_zeros(height, width)
    with torch.no_grad(), evaluating(net):
        logits = logits_of(net, image)
        chosen = class_of(logits, class_index)
        for begin in range(0, len(places), BATCH):
            some = places[begin : begin + BATCH]
            views = image.repeat(len(some), 1, 1, 1)
            for view, (top, left) in zip(views, some, strict=True):
                hidden = (slice(None), slice(top, top + window), slice(left, left + window))
                view[hidden] = covered[0][hidden]
            fallen = logits[0, chosen] - logits_of(net, views)[:, chosen]
            for fall, (top, left) in zip(fallen, some, strict=True):
                falls[top : top + window, left : left + window] += fall
                times[top : top + window, left : left + window] += 1
            on_progress(min(begin + BATCH, len(places)), len(places))
    heat = as_array(falls / times)
    return Attribution(
        method="occlusion",
        class_index=chosen,
        values=np.repeat(heat[None], image.shape[1], axis=0),
        map=heat,
        completeness_error=None,
    )


def filled(image: Tensor, fill: str) -> Tensor:
    """What is shown where a part of the image `(1, C, H, W)` is taken away.

    Raises:
        InputError: `fill` is none of `FILLS`.
    """
    if fill not in FILLS:
        raise unknown("fill", fill, FILLS)
    return FILLS[fill](image)


def blurred(images: Tensor) -> Tensor:
    """Images `(N, C, H, W)` blurred by a Gaussian of a twentieth of the shorter side, mirrored at the border."""
    return gaussian_blur(images, BLUR * min(images.shape[2:]))


# `grey` is 0 after preprocessing: the mean colour of the data that it was made for (black where it subtracts nothing).
FILLS: dict[str, Callable[[Tensor], Tensor]] = {"grey": torch.zeros_like, "blur": blurred}


def _gradients(net: nn.Module, images: Tensor, class_index: int) -> Tensor:
    with torch.enable_grad():
        leaf = images.detach().requires_grad_()
        return torch.autograd.grad(logits_of(net, leaf)[:, class_index].sum(), leaf)[0]


def _starts(side: int, window: int, stride: int) -> Iterator[int]:
    """First pixels of the windows along one side: the last window is the first that reaches the border."""
    start = 0
    while start + window < side:
        yield start
        start += stride
    yield start
