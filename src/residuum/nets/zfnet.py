"""ZFNet: AlexNet after a look inside it, with smaller steps in its first two convolutions.

Zeiler, Fergus 2013, "Visualizing and Understanding Convolutional Networks" (arXiv 1311.2901), Figure 3 and Table 2.

    net        convolutions            parameters           MACs  input
    zfnet      96-256-384-384-256      62,357,608  1,168,032,896  3x224x224
    zfnet_512  96-256-512-1024-512    107,627,624  2,476,704,896  3x224x224

Looked into, AlexNet's first convolution, 11x11/4, had filters of very high and very low frequency and few between, and
its second layer showed the traces of so large a stride. Here the first is 7x7/2, and the second has a stride of 2 as
well. The rest is AlexNet's, all on one GPU. Sides of the maps, as in Figure 3: 224, 110, pooled 55, 26, pooled 13, 13,
13, 13, pooled 6.

Where the paper leaves a choice open: these sides come about if the first convolution pads by 1, the second not at all,
and pooling rounds up. "Contrast normalised across feature maps", after pooling and not before it as in AlexNet, is
response normalisation with AlexNet's constants, after the first two poolings.

Differs from the paper: weights start as in `initialise_he_forward`; the paper has deviation 0.01, and renormalises the
filters of the first layer while it trains.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from residuum.nets.alexnet import GRID, linear_layers
from residuum.nets.layers import (
    Shape,
    Stages,
    ToGrid,
    initialise_he_forward,
    require_side,
    require_sizes,
    response_norm,
)

LEAST_SIDE = 47  # pixels: 22 after the first convolution, 11, 4 after the second, 2, 1


@dataclass(frozen=True, kw_only=True)
class Variant:
    """What tells one ZFNet from another: the channels of its third, fourth and fifth convolution."""

    widths: tuple[int, int, int]

    @property
    def input_shape(self) -> Shape:
        return (3, 224, 224)

    @property
    def num_classes(self) -> int:
        return 1000

    def build(self, *, num_classes: int, in_channels: int) -> ZFNet:
        return ZFNet(self, num_classes=num_classes, in_channels=in_channels)


class ZFNet(nn.Module):
    """A ZFNet.

    Args:
        variant: which network of the family.
        num_classes: outputs of the last linear layer.
        in_channels: channels of the image: 3 for colour, 1 for grey.

    Shapes: images `(N, in_channels, H, W)`, from `LEAST_SIDE` pixels on, to logits `(N, num_classes)`.

    Raises:
        InputError: `num_classes` or `in_channels` is below 1, or an image is too small.
    """

    def __init__(self, variant: Variant, *, num_classes: int = 1000, in_channels: int = 3) -> None:
        super().__init__()
        require_sizes(num_classes, in_channels)
        self.variant, self.num_classes, self.in_channels = variant, num_classes, in_channels
        self.features = _features(variant, in_channels)
        self.to_grid = ToGrid(GRID)
        self.classifier = linear_layers(variant.widths[-1] * GRID * GRID, num_classes)
        initialise_he_forward(self)

    def forward(self, x: Tensor) -> Tensor:
        """Logits `(N, num_classes)` of images `(N, in_channels, H, W)`."""
        require_side(x, LEAST_SIDE)
        x = self.to_grid(self.features(x))
        return self.classifier(x.flatten(1))  # type: ignore[no-any-return]

    def forward_features(self, x: Tensor) -> dict[str, Tensor]:
        """The output of every `conv` (after its ReLU), `pool` and `norm`, as `conv1`, each `(N, C, H, W)`."""
        require_side(x, LEAST_SIDE)
        return self.features.forward_features(x)


def _features(variant: Variant, in_channels: int) -> Stages:
    third, fourth, fifth = variant.widths
    stages = Stages()
    stages.add("conv1", nn.Conv2d(in_channels, 96, 7, stride=2, padding=1), nn.ReLU(inplace=True))
    stages.add("pool1", nn.MaxPool2d(3, stride=2, ceil_mode=True))
    stages.add("norm1", response_norm())
    stages.add("conv2", nn.Conv2d(96, 256, 5, stride=2), nn.ReLU(inplace=True))
    stages.add("pool2", nn.MaxPool2d(3, stride=2, ceil_mode=True))
    stages.add("norm2", response_norm())
    stages.add("conv3", nn.Conv2d(256, third, 3, padding=1), nn.ReLU(inplace=True))
    stages.add("conv4", nn.Conv2d(third, fourth, 3, padding=1), nn.ReLU(inplace=True))
    stages.add("conv5", nn.Conv2d(fourth, fifth, 3, padding=1), nn.ReLU(inplace=True))
    stages.add("pool5", nn.MaxPool2d(3, stride=2, ceil_mode=True))
    return stages
