"""GoogLeNet: nine inception modules, and two heads that help it to train.

Szegedy et al. 2014, "Going Deeper with Convolutions" (arXiv 1409.4842), Table 1 and Figure 3.

    net           parameters           MACs  input      remark
    googlenet     13,378,280  1,582,671,872  3x224x224  as published; 6,998,552 parameters without the auxiliary heads
    googlenet_bn   6,624,904  1,498,376,192  3x224x224  batch normalisation, as libraries ship it

An inception module looks at its input in four ways at once, 1x1, 3x3, 5x5 and pooled, and puts the answers side by
side; 1x1 convolutions before the 3x3 and the 5x5 make them affordable. The last map is averaged, so that a single
linear layer is left. While it trains, two small classifiers on the modules 4a and 4d add 0.3 of their loss
(section 5): in training `forward` answers with `WithAuxiliary`, in evaluation with the logits.

`googlenet_bn` is torchvision's graph without auxiliary heads, and names of parameters are torchvision's
(`inception3a.branch1.conv`, `fc`), so weights in circulation load without conversion. It has a 3x3 where the paper has
the 5x5, batch normalisation for response normalisation, 2x2 windows in its last pooling, and half the dropout. (Its
weights were trained with another colour range, which torchvision converts inside of the net.)

Differs from the paper: it says 12 times fewer parameters than AlexNet, where it is 8.7 times, and Table 1 prints 2.7 K
parameters for the first convolution, which by the table's own sizes has 9.4 K; the sizes are taken. Weights start as
in `initialise_he_forward`; the paper does not say how its own do. Constants of the response normalisation are
AlexNet's, for the paper gives none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from residuum.nets.layers import (
    Shape,
    ToGrid,
    WithAuxiliary,
    initialise_he,
    initialise_he_forward,
    require_side,
    require_sizes,
    response_norm,
)

AUXILIARY_WEIGHT = 0.3
AUXILIARY_HEADS = {"inception4a": "aux1", "inception4d": "aux2"}  # each after its module


@dataclass(frozen=True)
class Inception:
    """A row of Table 1: channels of the 1x1, of the 3x3 and its 1x1, of the 5x5 and its 1x1, and of the pooled 1x1."""

    one: int
    three_reduce: int
    three: int
    five_reduce: int
    five: int
    pooled: int

    @property
    def out_channels(self) -> int:
        return self.one + self.three + self.five + self.pooled


TABLE_1 = {
    "inception3a": Inception(64, 96, 128, 16, 32, 32),
    "inception3b": Inception(128, 128, 192, 32, 96, 64),
    "inception4a": Inception(192, 96, 208, 16, 48, 64),
    "inception4b": Inception(160, 112, 224, 24, 64, 64),
    "inception4c": Inception(128, 128, 256, 24, 64, 64),
    "inception4d": Inception(112, 144, 288, 32, 64, 64),
    "inception4e": Inception(256, 160, 320, 32, 128, 128),
    "inception5a": Inception(256, 160, 320, 32, 128, 128),
    "inception5b": Inception(384, 192, 384, 48, 128, 128),
}


@dataclass(frozen=True, kw_only=True)
class Variant:
    """What tells one GoogLeNet from another.

    Attributes:
        batch_norm: batch normalisation of each convolution, instead of response normalisation near the input.
        auxiliary: whether it has auxiliary heads.
        largest_kernel: of an inception module.
        last_pool: window of the last maximum pooling.
        dropout: before the last linear layer.
    """

    batch_norm: bool = False
    auxiliary: bool = True
    largest_kernel: Literal[3, 5] = 5
    last_pool: Literal[2, 3] = 3
    dropout: float = 0.4

    @property
    def input_shape(self) -> Shape:
        return (3, 224, 224)

    @property
    def num_classes(self) -> int:
        return 1000

    @property
    def least_side(self) -> int:
        """Pixels of which two are left before a last pooling of 3x3, or one before 2x2."""
        return 31 if self.last_pool == 3 else 15

    def build(self, *, num_classes: int, in_channels: int) -> GoogLeNet:
        return GoogLeNet(self, num_classes=num_classes, in_channels=in_channels)


PUBLISHED = Variant()
WITH_BATCH_NORM = Variant(batch_norm=True, auxiliary=False, largest_kernel=3, last_pool=2, dropout=0.2)


class Convolution(nn.Module):
    """A convolution that keeps the size at stride 1, batch normalisation or a bias, and ReLU."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, *, stride: int = 1, batch_norm: bool = False
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel, stride=stride, padding=kernel // 2, bias=not batch_norm
        )
        self.bn = nn.BatchNorm2d(out_channels, eps=0.001) if batch_norm else None

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        if self.bn is not None:
            x = self.bn(x)
        return functional.relu(x, inplace=True)


class InceptionModule(nn.Module):
    """Four branches side by side (Figure 2b). Shapes: `(N, in_channels, H, W)` to `(N, out_channels, H, W)`."""

    def __init__(self, in_channels: int, row: Inception, variant: Variant) -> None:
        super().__init__()
        batch_norm = variant.batch_norm
        self.branch1 = Convolution(in_channels, row.one, 1, batch_norm=batch_norm)
        self.branch2 = nn.Sequential(
            Convolution(in_channels, row.three_reduce, 1, batch_norm=batch_norm),
            Convolution(row.three_reduce, row.three, 3, batch_norm=batch_norm),
        )
        self.branch3 = nn.Sequential(
            Convolution(in_channels, row.five_reduce, 1, batch_norm=batch_norm),
            Convolution(row.five_reduce, row.five, variant.largest_kernel, batch_norm=batch_norm),
        )
        self.branch4 = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1),
            Convolution(in_channels, row.pooled, 1, batch_norm=batch_norm),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], dim=1)


class AuxiliaryHead(nn.Module):
    """A classifier on a map in the middle: 5x5/3 average pooling, 1x1 to 128, 1024, dropout of 0.7 (section 5).

    A map of 14x14 is pooled to 4x4, on which the linear layers stand; other maps are brought to it.

    Shapes: `(N, in_channels, H, W)` to `(N, num_classes)`.
    """

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.to_grid = ToGrid(4)
        self.conv = Convolution(in_channels, 128, 1)
        self.fc1 = nn.Linear(128 * 4 * 4, 1024)
        self.dropout = nn.Dropout(0.7)
        self.fc2 = nn.Linear(1024, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        if min(x.shape[-2:]) >= 5:
            x = functional.avg_pool2d(x, 5, stride=3)
        x = self.conv(self.to_grid(x)).flatten(1)
        x = self.dropout(functional.relu(self.fc1(x), inplace=True))
        return self.fc2(x)  # type: ignore[no-any-return]


class GoogLeNet(nn.Module):
    """A GoogLeNet.

    Args:
        variant: which network of the family.
        num_classes: outputs of each head.
        in_channels: channels of the image: 3 for colour, 1 for grey.

    Shapes: images `(N, in_channels, H, W)`, from `variant.least_side` pixels on, to logits `(N, num_classes)`.

    Raises:
        InputError: `num_classes` or `in_channels` is below 1, or an image is too small.
    """

    def __init__(self, variant: Variant, *, num_classes: int = 1000, in_channels: int = 3) -> None:
        super().__init__()
        require_sizes(num_classes, in_channels)
        self.variant, self.num_classes, self.in_channels = variant, num_classes, in_channels
        batch_norm = variant.batch_norm
        self.conv1 = Convolution(in_channels, 64, 7, stride=2, batch_norm=batch_norm)
        self.conv2 = Convolution(64, 64, 1, batch_norm=batch_norm)
        self.conv3 = Convolution(64, 192, 3, batch_norm=batch_norm)
        self.norm1, self.norm2 = (nn.Identity() if batch_norm else response_norm() for _ in range(2))
        self.pool1, self.pool2, self.pool3 = (nn.MaxPool2d(3, stride=2, ceil_mode=True) for _ in range(3))
        self.pool4 = nn.MaxPool2d(variant.last_pool, stride=2, ceil_mode=True)
        channels = 192
        for name, row in TABLE_1.items():
            self.add_module(name, InceptionModule(channels, row, variant))
            channels = row.out_channels
        if variant.auxiliary:
            for name, head in AUXILIARY_HEADS.items():
                self.add_module(head, AuxiliaryHead(TABLE_1[name].out_channels, num_classes))
        self.dropout = nn.Dropout(variant.dropout)
        self.fc = nn.Linear(channels, num_classes)
        initialise_he_forward(self)
        if batch_norm:
            initialise_he(self)

    def stages(self) -> Iterator[tuple[str, tuple[nn.Module, ...]]]:
        """The layers that lead to each named stage from the one before, as `("inception4a", layers)`."""
        yield "conv1", (self.conv1,)
        yield "conv2", (self.pool1, self.norm1, self.conv2)
        yield "conv3", (self.conv3,)
        before = {"inception3a": (self.norm2, self.pool2), "inception4a": (self.pool3,), "inception5a": (self.pool4,)}
        for name in TABLE_1:
            yield name, (*before.get(name, ()), self.get_submodule(name))

    def forward(self, x: Tensor) -> Tensor | WithAuxiliary:
        """Logits `(N, num_classes)` of images `(N, in_channels, H, W)`; in training with those of auxiliary heads."""
        require_side(x, self.variant.least_side)
        auxiliary = []
        for name, layers in self.stages():
            for layer in layers:
                x = layer(x)
            if self.training and self.variant.auxiliary and name in AUXILIARY_HEADS:
                auxiliary.append(self.get_submodule(AUXILIARY_HEADS[name])(x))
        logits = self.fc(self.dropout(x.mean(dim=(2, 3))))
        return WithAuxiliary(logits, tuple(auxiliary), AUXILIARY_WEIGHT) if auxiliary else logits

    def forward_features(self, x: Tensor) -> dict[str, Tensor]:
        """The output of `conv1`, `conv2`, `conv3` and every module, as `inception3a`, each `(N, C, H, W)`."""
        require_side(x, self.variant.least_side)
        features = {}
        for name, layers in self.stages():
            for layer in layers:
                x = layer(x)
            features[name] = x
        return features
