"""How much each pixel matters to the middle of a layer's map: the effective receptive field.

Luo, Li, Urtasun, Zemel 2016, "Understanding the Effective Receptive Field in Deep Convolutional Neural Networks" (arXiv
1701.04128). The window of `residuum.costing.field` says which pixels a value can see at all. Of these the ones in the
middle matter most, since most ways through the net lead to them; weights of no pattern make it a Gaussian.
"""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from residuum.errors import InputError
from residuum.insight.activations import FieldOfView, field_of_view
from residuum.insight.looks import in_float64, with_gradients
from residuum.insight.taps import device_of, evaluating, output_of, runs_of

LEAST = 1 - 0.9545  # share of the largest value from which on a pixel counts; two standard deviations of a Gaussian


@dataclass(frozen=True, eq=False)
class EffectiveField:
    """What the middle of a layer's map sees of an image, pixel by pixel.

    Attributes:
        layer: whose map it is.
        position: row and column of the map that is looked at, the one in the middle.
        values: `(H, W)` mean over images and their channels of the gradient's size, as shares of the sum over all
            pixels; 0 everywhere where no gradient arrives.
        size: side of a square of as many pixels as have more than 4.55 % of the largest value.
        field: the window that can be seen at all; None where it is not known.
    """

    layer: str
    position: tuple[int, int]
    values: NDArray[np.float64]
    size: float
    field: FieldOfView | None


@with_gradients
def effective_field(net: nn.Module, layer: str, images: Tensor) -> EffectiveField:
    """The effective receptive field of the middle of a layer's map, in eval mode.

    The gradient is that of the sum of the layer's channels at this position. The net is run no further than the layer,
    but for one image, and for one image at a time.

    Args:
        net: any net.
        layer: name of a module, or of its rectified output as `bn1.relu`; gives `(N, K, h, w)`. Of one that runs
            several times (a ReLU that a block shares) it is the last run.
        images: `(N, C, H, W)`, preprocessed, or noise.

    Differs from the paper: a pixel is compared with the largest value, there with that of the central pixel, which is
    none where a map has an even number of positions; and the channels are summed, there it is one.

    Raises:
        InputError: no such layer, one that gives no maps, or no image.
    """
    if images.ndim != 4 or not len(images):
        raise InputError(f"images: there is none (expected (N, C, H, W), got {tuple(images.shape)}). Try: images[:8]")
    total = torch.zeros(images.shape[2:], dtype=torch.float64)
    with evaluating(net):
        run = runs_of(net, layer, images[:1].to(device_of(net)))
        for image in images:
            leaf = image[None].detach().to(device_of(net)).requires_grad_()
            position, gradient = _of_middle(layer, output_of(net, layer, leaf, run=run), leaf)
            total += in_float64(gradient[0].abs().mean(dim=0)).cpu()
    most = float(total.max())
    field = None
    with suppress(InputError):  # a net that runs, but not without values
        field = field_of_view(net, layer, tuple(images.shape[1:]))
    return EffectiveField(
        layer=layer,
        position=position,
        values=(total / (float(total.sum()) or 1.0)).numpy(),
        size=math.sqrt(int((total > LEAST * most).sum())),
        field=field,
    )


def _of_middle(layer: str, output: Tensor, image: Tensor) -> tuple[tuple[int, int], Tensor]:
    """The middle of the maps `(1, K, h, w)`, and the gradient of the sum of their values there."""
    if output.ndim != 4:
        got = tuple(output.shape)
        raise InputError(f"layer: {layer!r} gives no maps (expected (1, K, h, w), got {got}). Try: a convolution")
    y, x = output.shape[2] // 2, output.shape[3] // 2
    (gradient,) = torch.autograd.grad(output[0, :, y, x].sum(), image)
    return (y, x), gradient
