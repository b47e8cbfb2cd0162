"""VGG: 3x3 convolutions only, stacked until it is deep.

Simonyan, Zisserman 2014, "Very Deep Convolutional Networks for Large-Scale Image Recognition" (arXiv 1409.1556),
Tables 1 and 2.

    net        column  convolutions   parameters            MACs  input
    vgg11      A       1-1-2-2-2     132,863,336   7,609,090,048  3x224x224
    vgg13      B       2-2-2-2-2     133,047,848  11,308,466,176  3x224x224
    vgg16      D       2-2-3-3-3     138,357,544  15,470,264,320  3x224x224
    vgg19      E       2-2-4-4-4     143,667,240  19,632,062,464  3x224x224
    vgg16_gap          2-2-3-3-3      15,227,688  15,347,142,656  3x224x224  averaged, one linear layer

Five stages of 3x3 convolutions that keep the size, with 64, 128, 256, 512 and 512 channels, each followed by 2x2/2
maximum pooling; two linear layers of 4096 and the classes. Two 3x3 see what one 5x5 sees, with fewer parameters and a
ReLU more. `vgg11_bn` and so on normalise each convolution over the batch, which the paper does not. `vgg16_gap`
averages the last map instead of the two linear layers of 4096, which hold nine tenths of all parameters.

Names of parameters are torchvision's (`features.0`, `classifier.0`, `classifier.3`, `classifier.6`), so weights in
circulation load without conversion. `vgg16_gap` has `features` and `fc`.

Differs from the paper: weights start as in `initialise_he_forward` (with batch normalisation, convolutions as in
`initialise_he`); the paper trained column A first and started the deeper ones from its layers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from residuum.nets.layers import (
    Shape,
    Stages,
    ToGrid,
    initialise_he,
    initialise_he_forward,
    require_side,
    require_sizes,
)

WIDTHS = (64, 128, 256, 512, 512)
GRID = 7  # side of the last map, on which the linear layers stand
LEAST_SIDE = 32  # pixels: five times halved, 1 is left


@dataclass(frozen=True, kw_only=True)
class Variant:
    """What tells one VGG from another.

    Attributes:
        convolutions: in each of the five stages (Table 1).
        batch_norm: whether each convolution is followed by batch normalisation.
        head: `linear` is two layers of 4096 and the classes, `average` the mean of the last map and the classes.
    """

    convolutions: tuple[int, int, int, int, int]
    batch_norm: bool = False
    head: Literal["linear", "average"] = "linear"

    @property
    def input_shape(self) -> Shape:
        return (3, 224, 224)

    @property
    def num_classes(self) -> int:
        return 1000

    def build(self, *, num_classes: int, in_channels: int) -> VGG:
        return VGG(self, num_classes=num_classes, in_channels=in_channels)


class VGG(nn.Module):
    """A VGG network.

    Args:
        variant: which network of the family.
        num_classes: outputs of the last linear layer.
        in_channels: channels of the image: 3 for colour, 1 for grey.

    Shapes: images `(N, in_channels, H, W)`, from 32 pixels on, to logits `(N, num_classes)`.

    Raises:
        InputError: `num_classes` or `in_channels` is below 1, or an image is too small.
    """

    def __init__(self, variant: Variant, *, num_classes: int = 1000, in_channels: int = 3) -> None:
        super().__init__()
        require_sizes(num_classes, in_channels)
        self.variant, self.num_classes, self.in_channels = variant, num_classes, in_channels
        self.features = _features(variant, in_channels)
        if variant.head == "linear":
            self.to_grid = ToGrid(GRID)
            self.classifier = _linear_layers(num_classes)
        else:
            self.fc = nn.Linear(WIDTHS[-1], num_classes)
        initialise_he_forward(self)
        if variant.batch_norm:
            initialise_he(self)

    def forward(self, x: Tensor) -> Tensor:
        """Logits `(N, num_classes)` of images `(N, in_channels, H, W)`."""
        require_side(x, LEAST_SIDE)
        x = self.features(x)
        if self.variant.head == "average":
            return self.fc(x.mean(dim=(2, 3)))  # type: ignore[no-any-return]
        return self.classifier(self.to_grid(x).flatten(1))  # type: ignore[no-any-return]

    def forward_features(self, x: Tensor) -> dict[str, Tensor]:
        """The output of every convolution (after its ReLU), as `conv1_2`, and pooling, as `pool1`: `(N, C, H, W)`."""
        require_side(x, LEAST_SIDE)
        return self.features.forward_features(x)


def _features(variant: Variant, in_channels: int) -> Stages:
    stages, channels = Stages(), in_channels
    for stage, (count, width) in enumerate(zip(variant.convolutions, WIDTHS, strict=True), start=1):
        for number in range(1, count + 1):
            norm = [nn.BatchNorm2d(width)] if variant.batch_norm else []
            stages.add(f"conv{stage}_{number}", nn.Conv2d(channels, width, 3, padding=1), *norm, nn.ReLU(inplace=True))
            channels = width
        stages.add(f"pool{stage}", nn.MaxPool2d(2))
    return stages


def _linear_layers(num_classes: int) -> nn.Sequential:
    """Two linear layers of 4096, each with a ReLU and a dropout of 0.5, and the classes."""
    return nn.Sequential(
        nn.Linear(WIDTHS[-1] * GRID * GRID, 4096),
        nn.ReLU(inplace=True),
        nn.Dropout(0.5),
        nn.Linear(4096, 4096),
        nn.ReLU(inplace=True),
        nn.Dropout(0.5),
        nn.Linear(4096, num_classes),
    )
