"""Why this class: where in the picture the evidence for it lies, by a layer's maps and the gradient that reaches them.

    method       weight of map k at place (i, j)                                      source
    gradcam      mean over all places of the gradient                                 Selvaraju et al. 2017, eq. 1, 2
    gradcam++    sum over all places of a * relu(gradient), a from its powers         Chattopadhay et al. 2018
    layercam     relu(gradient at (i, j))                                             Jiang et al. 2021

The gradient is that of the logit of the class. The maps are summed by their weights, and what speaks against the class
is cut off. Where one linear layer follows the mean of the maps, Grad-CAM is the class activation map of Zhou et al.
2016: the sum of the maps by the weights of that layer.

The layer, where none is asked for, is the end of the last stage: the last place where a map still knows where things
are. In pre-activation nets this is the map behind the ReLU that follows the last batch normalisation (`bn_last.relu`).
A map before its ReLU misleads: where it is negative nothing went on to the classifier, and yet its product with
a negative weight would count as evidence.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from residuum.errors import InputError, unknown
from residuum.insight.looks import with_gradients
from residuum.insight.places import map_layer
from residuum.insight.taps import evaluating, tapped

Weighing = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, eq=False, kw_only=True)
class Cam:
    """A class-activation map.

    Attributes:
        method: one of `METHODS`.
        layer: whose output was weighed, by a name of `residuum.insight.taps`.
        class_index: the class that is explained.
        signed: `(h, w)`, what the method gives, in its own units: below 0 is what speaks against the class. Only
            proportions mean something.
        map: `(h, w)`, the same with 0 in place of what is below.
        overlay: `(H, W)`, the map brought to the size of the image bilinearly and divided by its maximum: 0 to 1. It is
            0 everywhere where nothing in the map speaks for the class.
    """

    method: str
    layer: str
    class_index: int
    signed: NDArray[np.float32]
    map: NDArray[np.float32]
    overlay: NDArray[np.float32]


@with_gradients
def cam(
    net: nn.Module,
    image: Tensor,
    class_index: int | None = None,
    *,
    method: str = "gradcam",
    layer: str | None = None,
) -> Cam:
    """Where the evidence for a class lies in one image `(1, C, H, W)`.

    Args:
        class_index: the class to explain; None for the net's answer.
        method: one of `METHODS`.
        layer: whose output is weighed, by a name of `residuum.insight.taps`; None for the end of the last stage. Of one
            that runs several times (a ReLU that a block shares) it is the last run.

    Raises:
        InputError: no such method, layer or class, not one image, or a layer that gives no maps or does not matter to
            the answer.
    """
    if method not in METHODS:
        raise unknown("method", method, METHODS)
    image = one_image(net, image)
    name = map_layer(net, image) if layer is None else layer
    with evaluating(net), tapped(net, [name]) as outputs:
        logits = logits_of(net, image.requires_grad_())
        chosen = class_of(logits, class_index)
        maps = _maps(outputs, name)
        (gradients,) = torch.autograd.grad(logits[0, chosen], maps, allow_unused=True)
    if gradients is None:
        raise InputError(f"layer: the answer does not depend on {name!r}. Try: layer=None")
    signed = METHODS[method](maps.detach()[0], gradients[0])
    heat = signed.clamp(min=0)
    return Cam(
        method=method,
        layer=name,
        class_index=chosen,
        signed=as_array(signed),
        map=as_array(heat),
        overlay=as_array(_overlay(heat, (image.shape[2], image.shape[3]))),
    )


def gradcam(maps: Tensor, gradients: Tensor) -> Tensor:
    """Each map by the mean of its gradient; maps and gradients `(K, h, w)`."""
    return (gradients.mean(dim=(1, 2), keepdim=True) * maps).sum(dim=0)


def gradcam_plus_plus(maps: Tensor, gradients: Tensor) -> Tensor:
    """Each map by the sum of its positive gradients g, each by a = g^2 / (2 g^2 + g^3 sum(map)).

    Differs from the paper: the score there is exp(logit), whose derivatives are the powers of g times exp(logit). The
    latter is left out: it scales the whole map. a is reduced by g^2, so that no power of a small g becomes 0.
    """
    denominator = 2 + gradients * maps.sum(dim=(1, 2), keepdim=True)
    share = torch.where(denominator == 0, torch.zeros_like(denominator), 1 / denominator)
    return ((share * gradients.clamp(min=0)).sum(dim=(1, 2), keepdim=True) * maps).sum(dim=0)


def layercam(maps: Tensor, gradients: Tensor) -> Tensor:
    """Each place of each map by its own gradient, where this is positive."""
    return (gradients.clamp(min=0) * maps).sum(dim=0)


METHODS: dict[str, Weighing] = {"gradcam": gradcam, "gradcam++": gradcam_plus_plus, "layercam": layercam}


def one_image(net: nn.Module, image: Tensor) -> Tensor:
    """A copy of the image where the net's parameters are and in their precision, on no graph.

    Raises:
        InputError: it is no `(1, C, H, W)`.
    """
    if image.ndim != 4 or len(image) != 1:
        raise InputError(f"image: not one image (expected (1, C, H, W), got {tuple(image.shape)}). Try: image[:1]")
    like = next((parameter for parameter in net.parameters() if parameter.is_floating_point()), None)
    copy = image.detach().clone()
    return copy if like is None else copy.to(like.device, like.dtype)


def as_array(values: Tensor) -> NDArray[np.float32]:
    """In the precision of the net, float32 at least."""
    return values.to("cpu", torch.promote_types(values.dtype, torch.float32)).numpy()


def logits_of(net: nn.Module, images: Tensor) -> Tensor:
    """The net's answers `(N, K)`.

    Raises:
        InputError: it gives something else.
    """
    logits = net(images)
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise InputError(f"net: gives no logits (expected (N, K), got {got}). Try: a net that classifies images")
    return logits


def class_of(logits: Tensor, class_index: int | None) -> int:
    """The class asked for, or the one that the logits `(1, K)` answer with.

    Raises:
        InputError: there is no such class.
    """
    if class_index is None:
        return int(logits[0].argmax())
    if not 0 <= class_index < logits.shape[1]:
        last = logits.shape[1] - 1
        raise InputError(f"class_index: no such class (expected 0 to {last}, got {class_index}). Try: {last}")
    return class_index


def _maps(outputs: dict[str, Tensor], layer: str) -> Tensor:
    maps = outputs.get(layer)
    if maps is None or maps.ndim != 4:
        got = "nothing" if maps is None else tuple(maps.shape)
        raise InputError(f"layer: {layer!r} gives no maps (expected (1, K, h, w), got {got}). Try: layer=None")
    return maps


def _overlay(heat: Tensor, size: tuple[int, int]) -> Tensor:
    wide = functional.interpolate(heat[None, None], size=size, mode="bilinear", align_corners=False)[0, 0]
    most = wide.max()
    return wide / most if most > 0 else torch.zeros_like(wide)
