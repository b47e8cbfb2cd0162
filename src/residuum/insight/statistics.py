"""Statistics of a net's layers that are cheap enough for the end of every epoch of its training."""

from __future__ import annotations

import math

from torch import Tensor, nn

from residuum.insight.anatomy import anatomy, responses
from residuum.insight.gradients import gradient_norms
from residuum.insight.places import residual_blocks

DIGITS = 6  # significant ones that are kept


def layer_statistics(net: nn.Module, images: Tensor, labels: Tensor) -> dict[str, dict[str, float]]:
    """What the layers do, in plain numbers; the net stays as it was, gradients and generators included.

    Args:
        net: any.
        images: `(N, C, H, W)`, preprocessed. Memory is that of a training step of as many images in the net's dtype.
        labels: `(N,)` int64.

    Returns:
        By name of layer or block, values that are not finite left out: `response_std` (`anatomy.responses`; missing
        without convolutions), `gradient_norm` (`gradients.gradient_norms`, in eval mode) and `residual_ratio`, |F(x)| /
        |x| (`anatomy.anatomy`; missing without shortcuts).
    """
    found = {}
    if any(isinstance(module, nn.Conv2d) for module in net.modules()):
        found["response_std"] = {each.layer: each.std for each in responses(net, images)}
    found["gradient_norm"] = {each.layer: each.norm for each in gradient_norms(net, images, labels)}
    if any(block.downsample is not None for _, block in residual_blocks(net)):
        found["residual_ratio"] = {each.name: each.ratio for each in anatomy(net, images)}
    return {quantity: _plain(values) for quantity, values in found.items()}


def _plain(values: dict[str, float]) -> dict[str, float]:
    return {name: float(f"{value:.{DIGITS}g}") for name, value in values.items() if math.isfinite(value)}
