"""The shortcut h(x) that a residual block adds F(x) to, and what blocks are placed by.

    shortcut         h(x)                                        source
    pad              x; strided, new channels 0 (option A)       He et al. 2015, sections 3.3 and 4.1
    project          x; W x where the shape changes (option B)   the same
    project_all      W x (option C)                              the same; He et al. 2016, Figure 2(e)
    pool_project     B, after 2x2 average pooling                Tong He et al. 2018, section 4.2
    none             no addition: the plain network              He et al. 2015, section 3.3
    halved           0.5 x                                       He et al. 2016, section 3.1, Figure 2(b)
    halved_both      0.5 x, and F is halved as well              the same
    gated            (1 - g(x)) x, and F is scaled by g(x)       Figure 2(c), "exclusive gating"
    gated_shortcut   (1 - g(x)) x                                Figure 2(d), "shortcut-only gating"
    dropout          x with half of its values dropped           Figure 2(f)

with g(x) = sigmoid(W x + b), a 1x1 convolution with bias, value by value. b starts at `gate_bias`; -6 is the best start
that the paper found for both gates, and 0 the other one that its Table 1 has for gated shortcuts.

Where the paper leaves a choice open: in the last five, x is that of option A where the shape changes (the paper starts
from ResNet-110 of 2015, which has option A), and g then has the stride and the channels of the block. W of the gate is
drawn as that of other convolutions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from residuum.nets.layers import PadShortcut

if TYPE_CHECKING:
    from residuum.nets.resnet import Variant

SCALE = 0.5  # of `halved` and `halved_both`: lambda, and 1 - lambda, of He et al. 2016, section 3.1
DROPPED = 0.5  # of `dropout`: the ratio of He et al. 2016, section 3.1


@dataclass(frozen=True)
class Place:
    """Where a block stands.

    Attributes:
        in_channels: channels in.
        width: channels of its 3x3 convolutions.
        out_channels: channels out.
        stride: 2 where the stage halves the size by a stride.
        first_of_stage: whether it is the first of its stage.
        first_of_net: whether it follows the stem.
        pools: whether it halves the size by pooling, before F and before the shortcut.
    """

    in_channels: int
    width: int
    out_channels: int
    stride: int
    first_of_stage: bool
    first_of_net: bool
    pools: bool = False


def conv(
    in_channels: int, out_channels: int, kernel: int, *, stride: int = 1, groups: int = 1, bias: bool = False
) -> nn.Conv2d:
    """A convolution that keeps the size at stride 1; without bias where normalisation follows or precedes it."""
    padding = kernel // 2
    return nn.Conv2d(in_channels, out_channels, kernel, stride=stride, padding=padding, groups=groups, bias=bias)


def normalisation(channels: int, variant: Variant) -> nn.Module:
    """Batch normalisation; nothing in a net without, where the convolution has a bias instead."""
    return nn.BatchNorm2d(channels) if variant.batch_norm else nn.Identity()


def pooling(place: Place, variant: Variant) -> nn.Module | None:
    """The 2x2 pooling of a block that halves the size by it; at odd sizes the last windows are of what there is."""
    if not place.pools:
        return None
    if variant.downsampling == "max_pool":
        return nn.MaxPool2d(2, ceil_mode=True)
    return nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False)


def shortcut(place: Place, variant: Variant) -> nn.Module | None:
    """The shortcut of a block, or None in a plain net."""
    if variant.shortcut == "none":
        return None
    pool, made = pooling(place, variant), _without_pooling(place, variant)
    return made if pool is None else nn.Sequential(pool, made)


def _without_pooling(place: Place, variant: Variant) -> nn.Module:
    kind = variant.shortcut
    if kind in ("project", "project_all", "pool_project"):
        return projection(place, variant) if _changes(place) or kind == "project_all" else nn.Identity()
    if kind == "gated":
        return ExclusivelyGated(place)
    if kind == "gated_shortcut":
        return Gated(place)
    if kind in ("halved", "halved_both"):
        return nn.Sequential(carried(place), Scaled(SCALE))
    if kind == "dropout":
        return nn.Sequential(carried(place), nn.Dropout(DROPPED))
    return carried(place)


def _changes(place: Place) -> bool:
    return place.stride != 1 or place.in_channels != place.out_channels


def carried(place: Place) -> nn.Module:
    """x itself; with the stride of the block and zeros in new channels where the shape changes (option A)."""
    if _changes(place):
        return PadShortcut(place.in_channels, place.out_channels, stride=place.stride)
    return nn.Identity()


def projection(place: Place, variant: Variant) -> nn.Sequential:
    """A 1x1 convolution to the block's channels and size, normalised after it in post-activation nets.

    Pooled, the convolution has stride 1 and averages of 2x2 come before it, so that it sees all pixels and not one in
    four (Tong He et al. 2018, section 4.2, ResNet-D). At odd sizes the last average is of the pixels there are.
    """
    layers: list[nn.Module] = []
    stride = place.stride
    if variant.shortcut == "pool_project":
        layers.append(nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False) if stride == 2 else nn.Identity())
        stride = 1
    normalises = not variant.preactivation
    bias = normalises and not variant.batch_norm
    layers.append(conv(place.in_channels, place.out_channels, 1, stride=stride, bias=bias))
    if normalises and variant.batch_norm:
        layers.append(nn.BatchNorm2d(place.out_channels))
    return nn.Sequential(*layers)


class Scaled(nn.Module):
    """x times a constant."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x

    def extra_repr(self) -> str:
        return str(self.factor)


class Gated(nn.Module):
    """(1 - g(x)) x, value by value, with g(x) = sigmoid(W x + b); He et al. 2016, section 3.1, Figure 2(d).

    Shapes: `(N, in_channels, H, W)` to `(N, out_channels, ceil(H / stride), ceil(W / stride))`.
    """

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.gate = conv(place.in_channels, place.out_channels, 1, stride=place.stride, bias=True)
        self.carried = carried(place)

    def opened(self, x: Tensor) -> Tensor:
        """g(x), between 0 and 1, of the shape of the output."""
        return torch.sigmoid(self.gate(x))

    def forward(self, x: Tensor, opened: Tensor | None = None) -> Tensor:
        """The shortcut; `opened` is g(x) where it is known already."""
        kept = 1 - (self.opened(x) if opened is None else opened)
        return kept * self.carried(x)  # type: ignore[no-any-return]


class ExclusivelyGated(Gated):
    """The same beside an F that its block scales by g(x); He et al. 2016, section 3.1, Figure 2(c)."""


def set_gate_bias(net: nn.Module, bias: float) -> None:
    """Let all gates of a net start with this bias."""
    for module in net.modules():
        if isinstance(module, Gated):
            assert module.gate.bias is not None
            nn.init.constant_(module.gate.bias, bias)
