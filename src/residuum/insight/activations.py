"""What the layers of a net see in one image: their strongest maps, and the window of pixels behind every position.

The overlay of a map over its image wants both: position (y, x) of the map lies over `field.box(y, x, height, width)`,
which is exact for any net, branches, borders and rounding included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from residuum.costing.view import FieldOfView, fields_of_view
from residuum.errors import InputError
from residuum.insight.looks import without_gradients
from residuum.insight.places import stages
from residuum.insight.taps import device_of, evaluating, maker_of, tapped

__all__ = ["FieldOfView", "Maps", "activation_maps", "field_of_view"]


@dataclass(frozen=True, eq=False)
class Maps:
    """The strongest maps of a layer for one image.

    Attributes:
        layer: whose output they are.
        channels: `(k,)` their channels, the strongest first.
        maps: `(k, h, w)` as the layer gives them, below 0 as well where no ReLU ends it.
        mean: `(k,)` the mean absolute value of each, by which they are ordered.
        field: what one position sees of the image; None where it cannot be worked out.
    """

    layer: str
    channels: NDArray[np.int64]
    maps: NDArray[np.float32]
    mean: NDArray[np.float32]
    field: FieldOfView | None


@without_gradients
def activation_maps(
    net: nn.Module, image: Tensor, *, layers: str | Sequence[str] | None = None, strongest: int = 16
) -> list[Maps]:
    """The strongest maps of each layer for one image, in eval mode.

    Args:
        net: any net.
        image: `(1, C, H, W)`, preprocessed.
        layers: name or names of modules, or of their rectified outputs as `bn1.relu`; None for the end of every stage.
            Of one that runs several times (a ReLU that a block shares) it is the last run.
        strongest: so many maps of each layer, fewer where it has no more.

    Raises:
        InputError: not one image, no such layer, or a layer that gives no maps `(N, C, h, w)`.
    """
    if image.ndim != 4 or len(image) != 1:
        raise InputError(f"image: not one image (expected (1, C, H, W), got {tuple(image.shape)}). Try: image[:1]")
    if strongest < 1:
        raise InputError(f"strongest: must be at least 1, got {strongest}. Try: 16")
    image = image.to(device_of(net))
    wanted = [stage.name for stage in stages(net, image)] if layers is None else layers
    names = [wanted] if isinstance(wanted, str) else list(wanted)
    with evaluating(net), torch.no_grad(), tapped(net, names) as outputs:
        net(image)
    views = _views(net, tuple(image.shape[1:]))
    return [_strongest(name, outputs.get(name), strongest, views.get(maker_of(net, name))) for name in names]


def field_of_view(net: nn.Module, layer: str, input_size: Sequence[int]) -> FieldOfView:
    """The window of an image of `input_size` (C, H, W) that one position of a layer's map sees.

    With squeeze-and-excitation, or anything else that joins all positions, it is the window of all together, and every
    position has the same.

    Raises:
        InputError: no such layer, one that does not run or whose positions are not those of an image, or the net
            cannot take this input.
    """
    made = maker_of(net, layer)
    views = fields_of_view(net, input_size)
    if made not in views:
        raise InputError(f"layer: what {layer!r} sees of the image is not known. Try: a convolution before it")
    return views[made]


def _views(net: nn.Module, size: Sequence[int]) -> dict[str, FieldOfView]:
    try:
        return fields_of_view(net, size)
    except InputError:  # a net that runs, but not without values: its maps can be shown without windows
        return {}


def _strongest(layer: str, output: Tensor | None, count: int, field: FieldOfView | None) -> Maps:
    if output is None or output.ndim != 4:
        got = "nothing" if output is None else str(tuple(output.shape))
        raise InputError(f"layer: {layer!r} gives no maps (expected (1, C, h, w), got {got}). Try: layers=None")
    mean = output[0].abs().mean(dim=(1, 2))
    channels = mean.sort(descending=True, stable=True).indices[:count]
    return Maps(
        layer=layer,
        channels=channels.cpu().numpy(),
        maps=output[0, channels].float().cpu().numpy(),
        mean=mean[channels].float().cpu().numpy(),
        field=field,
    )
