"""The blocks of residual networks: y = F(x) + shortcut(x).

`block.residual(x)` is F, squeeze-and-excitation included; `block.downsample` is the shortcut, None in a plain net.
Each block is read from its papers:

    block               F                                       source
    BasicBlock          3x3, 3x3                                He et al. 2015, Figure 5, left
    Bottleneck          1x1, 3x3 (in groups: ResNeXt), 1x1      He et al. 2015, Figure 5, right; Xie et al. 2017
    SingleBlock         3x3                                     He et al. 2015, section 3.2; He et al. 2016, Table 3
    PreactBasicBlock    the same, BN and ReLU first             He et al. 2016; widened: Zagoruyko & Komodakis 2016
    PreactBottleneck    the same, BN and ReLU first             He et al. 2016
    PreactSingleBlock   the same, BN and ReLU first             He et al. 2016, Table 3
    SqueezeExcitation   a gate for each channel at the end of F Hu et al. 2018

What a block is made of is said by its `Variant` and its `Place`; see `residuum.nets.resnet`. Shortcuts are in
`residuum.nets.shortcuts`. Without batch normalisation each convolution of F has a bias in its place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from torch import Tensor, nn

from residuum.nets.layers import NormalisesWithReLU, for_shortcut, normalised_relu
from residuum.nets.shortcuts import SCALE, ExclusivelyGated, Place, Scaled, conv, normalisation, pooling, shortcut

if TYPE_CHECKING:
    from residuum.nets.resnet import Variant


class Order(NamedTuple):
    """Where a post-activation block has its last normalisation and its last ReLU (He et al. 2016, Figure 4).

    Attributes:
        rectifies_first: whether a ReLU comes before the first convolution of F.
        norm: whether the last normalisation ends F, or follows the sum.
        relu: whether the last ReLU ends F, follows the sum, or is none.
    """

    rectifies_first: bool = False
    norm: Literal["branch", "sum"] = "branch"
    relu: Literal["branch", "sum", "none"] = "sum"


PUBLISHED = Order()
ORDERS = {
    "published": PUBLISHED,  # Figure 4(a)
    "norm_after_addition": Order(norm="sum"),  # Figure 4(b)
    "relu_before_addition": Order(relu="branch"),  # Figure 4(c)
    "relu_only": Order(rectifies_first=True, relu="none"),  # Figure 4(d)
}


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
    """What ends the branch F: squeeze-and-excitation, a half (`halved_both`), or nothing."""
    squeezed = SqueezeExcitation(place.out_channels, reduction=variant.squeeze) if variant.squeeze else nn.Identity()
    if variant.shortcut != "halved_both":
        return squeezed
    return nn.Sequential(squeezed, Scaled(SCALE)) if variant.squeeze else Scaled(SCALE)


class PostActivation(nn.Module):
    """relu(F(x) + shortcut(x)), He et al. 2015, equation 1 and Figure 2. Subclasses define F up to its last BN.

    The other orders of He et al. 2016, Figure 4(b) to (d), have the same layers, under the same names:

        norm_after_addition    relu(bn(F(x) + shortcut(x))), and F ends with its last convolution
        relu_before_addition   relu(F(x)) + shortcut(x)
        relu_only              F(relu(x)) + shortcut(x)

    In all of them the stem ends with BN and ReLU; after the last block of `relu_only` the net has one ReLU more
    (section 4.1 says so of full pre-activation). The paper does not say what the shortcut of `relu_only` takes where
    the shape changes; here it is x, not rectified. Gated exclusively, F is scaled by g(x) as the last of all.
    """

    downsample: nn.Module | None
    se: nn.Module

    def __init__(self, place: Place, variant: Variant) -> None:
        super().__init__()
        self.order = ORDERS[variant.placement]
        self.pool = pooling(place, variant)

    def convolved(self, x: Tensor) -> Tensor:
        """F(x) before its last normalisation."""
        raise TypeError(f"{type(self).__name__} does not define its residual branch")

    @property
    def last_norm(self) -> nn.Module:
        """The last normalisation of F; `nn.Identity` in a net without."""
        raise TypeError(f"{type(self).__name__} does not define its residual branch")

    @property
    def is_plain_sum(self) -> bool:
        """Whether the block is relu(last_norm(convolved(x)) + shortcut(x)), so that one operation can end it."""
        gated = isinstance(self.downsample, ExclusivelyGated)
        return self.order == PUBLISHED and isinstance(self.se, nn.Identity) and not gated

    def pooled(self, x: Tensor) -> Tensor:
        """x as the first convolution of F takes it: pooled where the block halves the size so."""
        return x if self.pool is None else self.pool(x)

    def residual(self, x: Tensor, opened: Tensor | None = None) -> Tensor:
        """F(x): what the block adds to its shortcut, before the last ReLU; `opened` is g(x) where it is known."""
        y = self.convolved(torch.relu(x) if self.order.rectifies_first else x)
        if self.order.norm == "branch":
            y = self.last_norm(y)
        if self.order.relu == "branch":
            y = torch.relu(y)
        y = self.se(y)
        if isinstance(self.downsample, ExclusivelyGated):
            y = (self.downsample.opened(x) if opened is None else opened) * y
        return y  # type: ignore[no-any-return]

    def finished(self, total: Tensor) -> Tensor:
        """What the block gives, by its sum."""
        if self.order.norm == "sum":
            return normalised_relu(self.last_norm, total)
        return torch.relu(total) if self.order.relu == "sum" else total

    def forward(self, x: Tensor) -> Tensor:
        norm = self.last_norm
        if (
            isinstance(norm, NormalisesWithReLU)
            and norm.training
            and self.is_plain_sum
            and "residual" not in vars(self)
        ):
            y = self.convolved(x)
            return normalised_relu(norm, y, None if self.downsample is None else self.downsample(for_shortcut(x)))
        if isinstance(self.downsample, ExclusivelyGated):
            opened = self.downsample.opened(x)
            return self.finished(self.residual(x, opened) + self.downsample(x, opened))
        y = self.residual(x)
        if self.downsample is not None:
            y = y + self.downsample(x)
        return self.finished(y)


class BasicBlock(PostActivation):
    """Two 3x3 convolutions."""

    def __init__(self, place: Place, variant: Variant) -> None:
        super().__init__(place, variant)
        bias = not variant.batch_norm
        self.conv1 = conv(place.in_channels, place.width, 3, stride=place.stride, bias=bias)
        self.bn1 = normalisation(place.width, variant)
        self.conv2 = conv(place.width, place.width, 3, bias=bias)
        self.bn2 = normalisation(place.width, variant)
        self.se = excitation(place, variant)
        self.downsample = shortcut(place, variant)

    @property
    def last_norm(self) -> nn.Module:
        return self.bn2

    def convolved(self, x: Tensor) -> Tensor:
        y = normalised_relu(self.bn1, self.conv1(self.pooled(x)))
        return self.conv2(y)  # type: ignore[no-any-return]


class Bottleneck(PostActivation):
    """1x1 to fewer channels, 3x3, 1x1 to more (He et al. 2015, Figure 5, right).

    The published net gives out four times the channels of its 3x3. With the 3x3 in groups it is the block of ResNeXt in
    the form of Xie et al. 2017, Figure 3(c); with a wider 3x3 that of Zagoruyko & Komodakis 2016, Table 8.
    """

    def __init__(self, place: Place, variant: Variant) -> None:
        super().__init__(place, variant)
        width, bias = place.width, not variant.batch_norm
        stride_1x1, stride_3x3 = (place.stride, 1) if variant.stride_on == "first" else (1, place.stride)
        self.conv1 = conv(place.in_channels, width, 1, stride=stride_1x1, bias=bias)
        self.bn1 = normalisation(width, variant)
        self.conv2 = conv(width, width, 3, stride=stride_3x3, groups=variant.groups, bias=bias)
        self.bn2 = normalisation(width, variant)
        self.conv3 = conv(width, place.out_channels, 1, bias=bias)
        self.bn3 = normalisation(place.out_channels, variant)
        self.se = excitation(place, variant)
        self.downsample = shortcut(place, variant)

    @property
    def last_norm(self) -> nn.Module:
        return self.bn3

    def convolved(self, x: Tensor) -> Tensor:
        y = normalised_relu(self.bn1, self.conv1(self.pooled(x)))
        y = normalised_relu(self.bn2, self.conv2(y))
        return self.conv3(y)  # type: ignore[no-any-return]


class SingleBlock(PostActivation):
    """One 3x3 convolution: relu(bn(W x) + shortcut(x)).

    He et al. 2015, section 3.2, find no advantage in it, since W x + x is but another linear layer; He et al. 2016,
    Table 3, measure it ("ResNet-110 (1layer skip)").
    """

    def __init__(self, place: Place, variant: Variant) -> None:
        super().__init__(place, variant)
        self.conv1 = conv(place.in_channels, place.width, 3, stride=place.stride, bias=not variant.batch_norm)
        self.bn1 = normalisation(place.width, variant)
        self.se = excitation(place, variant)
        self.downsample = shortcut(place, variant)

    @property
    def last_norm(self) -> nn.Module:
        return self.bn1

    def convolved(self, x: Tensor) -> Tensor:
        return self.conv1(self.pooled(x))  # type: ignore[no-any-return]


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
        self.activates = not place.first_of_net
        self.bn1 = normalisation(place.in_channels, variant) if self.activates else nn.Identity()
        self.pool = pooling(place, variant)

    def activate(self, x: Tensor) -> Tensor:
        return normalised_relu(self.bn1, x) if self.activates else x

    def branch(self, activated: Tensor) -> Tensor:
        raise TypeError(f"{type(self).__name__} does not define its residual branch")

    def pooled(self, activated: Tensor) -> Tensor:
        """What the first convolution of F takes: pooled where the block halves the size so."""
        return activated if self.pool is None else self.pool(activated)

    def residual(self, x: Tensor) -> Tensor:
        """F(x): what the block adds to its shortcut."""
        return self.branch(self.activate(x))

    def finished(self, total: Tensor) -> Tensor:
        """What the block gives, by its sum: the sum."""
        return total

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
        bias = not variant.batch_norm
        self.conv1 = conv(place.in_channels, place.width, 3, stride=place.stride, bias=bias)
        self.bn2 = normalisation(place.width, variant)
        self.conv2 = conv(place.width, place.width, 3, bias=bias)
        self.se = excitation(place, variant)
        self.downsample = shortcut(place, variant)

    def branch(self, activated: Tensor) -> Tensor:
        y = normalised_relu(self.bn2, self.conv1(self.pooled(activated)))
        return self.se(self.conv2(y))  # type: ignore[no-any-return]


class PreactBottleneck(PreActivation):
    """1x1, 3x3, 1x1, each after its own BN and ReLU."""

    def __init__(self, place: Place, variant: Variant) -> None:
        super().__init__(place, variant)
        width, bias = place.width, not variant.batch_norm
        stride_1x1, stride_3x3 = (place.stride, 1) if variant.stride_on == "first" else (1, place.stride)
        self.conv1 = conv(place.in_channels, width, 1, stride=stride_1x1, bias=bias)
        self.bn2 = normalisation(width, variant)
        self.conv2 = conv(width, width, 3, stride=stride_3x3, groups=variant.groups, bias=bias)
        self.bn3 = normalisation(width, variant)
        self.conv3 = conv(width, place.out_channels, 1, bias=bias)
        self.se = excitation(place, variant)
        self.downsample = shortcut(place, variant)

    def branch(self, activated: Tensor) -> Tensor:
        y = normalised_relu(self.bn2, self.conv1(self.pooled(activated)))
        y = normalised_relu(self.bn3, self.conv2(y))
        return self.se(self.conv3(y))  # type: ignore[no-any-return]


class PreactSingleBlock(PreActivation):
    """One 3x3 convolution, after its BN and ReLU."""

    def __init__(self, place: Place, variant: Variant) -> None:
        super().__init__(place, variant)
        self.conv1 = conv(place.in_channels, place.width, 3, stride=place.stride, bias=not variant.batch_norm)
        self.se = excitation(place, variant)
        self.downsample = shortcut(place, variant)

    def branch(self, activated: Tensor) -> Tensor:
        return self.se(self.conv1(self.pooled(activated)))  # type: ignore[no-any-return]
