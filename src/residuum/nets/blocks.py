"""The blocks of residual networks: y = F(x) + shortcut(x).

`block.residual(x)` is F, squeeze-and-excitation included; `block.downsample` is the shortcut, None in a plain net.
Each block is read from its papers:

    block               F                                       source
    BasicBlock          3x3, 3x3                                He et al. 2015, Figure 5, left
    Bottleneck          1x1, 3x3 (in groups: ResNeXt), 1x1      He et al. 2015, Figure 5, right; Xie et al. 2017
    PreactBasicBlock    the same, BN and ReLU first             He et al. 2016; widened: Zagoruyko & Komodakis 2016
    PreactBottleneck    the same, BN and ReLU first             He et al. 2016
    SqueezeExcitation   a gate for each channel at the end of F Hu et al. 2018

What a block is made of is said by its `Variant` and its `Place`; see `residuum.nets.resnet`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from residuum.nets.layers import NormalisesWithReLU, PadShortcut, for_shortcut, normalised_relu

if TYPE_CHECKING:
    from residuum.nets.resnet import Variant


def conv(in_channels: int, out_channels: int, kernel: int, *, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """A convolution without bias (normalisation follows or precedes it) that keeps the size at stride 1."""
    padding = kernel // 2
    return nn.Conv2d(in_channels, out_channels, kernel, stride=stride, padding=padding, groups=groups, bias=False)


@dataclass(frozen=True)
class Place:
    """Where a block stands.

    Attributes:
        in_channels: channels in.
        width: channels of its 3x3 convolutions.
        out_channels: channels out.
        stride: 2 where the stage halves the size.
        first_of_stage: whether it is the first of its stage.
        first_of_net: whether it follows the stem.
    """

    in_channels: int
    width: int
    out_channels: int
    stride: int
    first_of_stage: bool
    first_of_net: bool


def shortcut(place: Place, variant: Variant) -> nn.Module | None:
    """The shortcut of a block: identity, zero-padded (A), projected (B, C, D), or None in a plain net."""
    changes = place.stride != 1 or place.in_channels != place.out_channels
    if variant.shortcut == "none":
        return None
    if changes and variant.shortcut == "pad":
        return PadShortcut(place.in_channels, place.out_channels, stride=place.stride)
    if changes or variant.shortcut == "project_all":
        return projection(place, variant)
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
    layers.append(conv(place.in_channels, place.out_channels, 1, stride=stride))
    if not variant.preactivation:
        layers.append(nn.BatchNorm2d(place.out_channels))
    return nn.Sequential(*layers)


class SqueezeExcitation(nn.Module):
    """x scaled, channel by channel, by sigmoid(W2 relu(W1 mean(x))), Hu et al. 2018, equations 2 to 4.

    W1 gives one channel for `reduction` of x. Both are 1x1 convolutions with bias, as in the weights in circulation;
    the equations show none.

    Shapes: `(N, channels, H, W)` to the same.
    """

    def __init__(self, channels: int, *, reduction: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // reduction, 1)
        self.fc2 = nn.Conv2d(channels // reduction, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        squeezed = x.mean(dim=(2, 3), keepdim=True)
        return x * torch.sigmoid(self.fc2(torch.relu(self.fc1(squeezed))))


def excitation(place: Place, variant: Variant) -> nn.Module:
    """What ends the branch F: squeeze-and-excitation, or nothing."""
    if variant.squeeze is None:
        return nn.Identity()
    return SqueezeExcitation(place.out_channels, reduction=variant.squeeze)


class PostActivation(nn.Module):
    """relu(F(x) + shortcut(x)), He et al. 2015, equation 1 and Figure 2. Subclasses define F up to its last BN."""

    downsample: nn.Module | None
    se: nn.Module

    def convolved(self, x: Tensor) -> Tensor:
        """F(x) before its last normalisation."""
        raise TypeError(f"{type(self).__name__} does not define its residual branch")

    @property
    def last_norm(self) -> nn.Module:
        """The last normalisation of F."""
        raise TypeError(f"{type(self).__name__} does not define its residual branch")

    def residual(self, x: Tensor) -> Tensor:
        """F(x): what the block adds to its shortcut, before the last ReLU."""
        return self.se(self.last_norm(self.convolved(x)))  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> Tensor:
        norm = self.last_norm
        if isinstance(norm, NormalisesWithReLU) and norm.training and isinstance(self.se, nn.Identity):
            y = self.convolved(x)
            return normalised_relu(norm, y, None if self.downsample is None else self.downsample(for_shortcut(x)))
        y = self.residual(x)
        if self.downsample is not None:
            y = y + self.downsample(x)
        return torch.relu(y)


class BasicBlock(PostActivation):
    """Two 3x3 convolutions."""

    def __init__(self, place: Place, variant: Variant) -> None:
        super().__init__()
        self.conv1 = conv(place.in_channels, place.width, 3, stride=place.stride)
        self.bn1 = nn.BatchNorm2d(place.width)
        self.conv2 = conv(place.width, place.width, 3)
        self.bn2 = nn.BatchNorm2d(place.width)
        self.se = excitation(place, variant)
        self.downsample = shortcut(place, variant)

    @property
    def last_norm(self) -> nn.Module:
        return self.bn2

    def convolved(self, x: Tensor) -> Tensor:
        y = normalised_relu(self.bn1, self.conv1(x))
        return self.conv2(y)  # type: ignore[no-any-return]


class Bottleneck(PostActivation):
    """1x1 to fewer channels, 3x3, 1x1 to more (He et al. 2015, Figure 5, right).

    The published net gives out four times the channels of its 3x3. With the 3x3 in groups it is the block of ResNeXt in
    the form of Xie et al. 2017, Figure 3(c); with a wider 3x3 that of Zagoruyko & Komodakis 2016, Table 8.
    """

    def __init__(self, place: Place, variant: Variant) -> None:
        super().__init__()
        width = place.width
        stride_1x1, stride_3x3 = (place.stride, 1) if variant.stride_on == "first" else (1, place.stride)
        self.conv1 = conv(place.in_channels, width, 1, stride=stride_1x1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv(width, width, 3, stride=stride_3x3, groups=variant.groups)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = conv(width, place.out_channels, 1)
        self.bn3 = nn.BatchNorm2d(place.out_channels)
        self.se = excitation(place, variant)
        self.downsample = shortcut(place, variant)

    @property
    def last_norm(self) -> nn.Module:
        return self.bn3

    def convolved(self, x: Tensor) -> Tensor:
        y = normalised_relu(self.bn1, self.conv1(x))
        y = normalised_relu(self.bn2, self.conv2(y))
        return self.conv3(y)  # type: ignore[no-any-return]


class PreActivation(nn.Module):
    """F(relu(bn(x))) + shortcut(x), He et al. 2016, Figure 1(b). Subclasses define F.

    The first block of the net follows the stem's own BN and ReLU, so it has none (2016, appendix: the first activation
    is taken right after the first convolution). The first block of each stage shares its activation between branch and
    shortcut, as the authors' released code does; all others keep the shortcut a clean identity.
    """

    downsample: nn.Module | None

    def __init__(self, place: Place, variant: Variant) -> None:
        super().__init__()
        self.shares_activation = place.first_of_stage
        self.bn1: nn.Module = nn.Identity() if place.first_of_net else nn.BatchNorm2d(place.in_channels)

    def activate(self, x: Tensor) -> Tensor:
        return x if isinstance(self.bn1, nn.Identity) else normalised_relu(self.bn1, x)

    def branch(self, activated: Tensor) -> Tensor:
        raise TypeError(f"{type(self).__name__} does not define its residual branch")

    def residual(self, x: Tensor) -> Tensor:
        """F(x): what the block adds to its shortcut."""
        return self.branch(self.activate(x))

    def forward(self, x: Tensor) -> Tensor:
        activated = self.activate(x)
        y = self.branch(activated)
        if self.downsample is not None:
            y = y + self.downsample(activated if self.shares_activation else x)
        return y


class PreactBasicBlock(PreActivation):
    """Two 3x3 convolutions, each after its own BN and ReLU."""

    def __init__(self, place: Place, variant: Variant) -> None:
        super().__init__(place, variant)
        self.conv1 = conv(place.in_channels, place.width, 3, stride=place.stride)
        self.bn2 = nn.BatchNorm2d(place.width)
        self.conv2 = conv(place.width, place.width, 3)
        self.se = excitation(place, variant)
        self.downsample = shortcut(place, variant)

    def branch(self, activated: Tensor) -> Tensor:
        y = normalised_relu(self.bn2, self.conv1(activated))
        return self.se(self.conv2(y))  # type: ignore[no-any-return]


class PreactBottleneck(PreActivation):
    """1x1, 3x3, 1x1, each after its own BN and ReLU."""

    def __init__(self, place: Place, variant: Variant) -> None:
        super().__init__(place, variant)
        width = place.width
        stride_1x1, stride_3x3 = (place.stride, 1) if variant.stride_on == "first" else (1, place.stride)
        self.conv1 = conv(place.in_channels, width, 1, stride=stride_1x1)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = conv(width, width, 3, stride=stride_3x3, groups=variant.groups)
        self.bn3 = nn.BatchNorm2d(width)
        self.conv3 = conv(width, place.out_channels, 1)
        self.se = excitation(place, variant)
        self.downsample = shortcut(place, variant)

    def branch(self, activated: Tensor) -> Tensor:
        y = normalised_relu(self.bn2, self.conv1(activated))
        y = normalised_relu(self.bn3, self.conv2(y))
        return self.se(self.conv3(y))  # type: ignore[no-any-return]
