"""AlexNet: the two-GPU net of 2012, the same on one GPU, and the one that libraries ship.

Krizhevsky, Sutskever, Hinton 2012, "ImageNet Classification with Deep Convolutional Neural Networks".
Krizhevsky 2014, "One weird trick for parallelizing convolutional neural networks" (arXiv 1404.5997).

    net                   convolutions          parameters           MACs  input
    alexnet               64-192-384-256-256    61,100,840    714,188,480  3x224x224  2014, as libraries ship it
    alexnet_2012          96-256-384-384-256    60,965,224    724,406,816  3x227x227  each GPU sees half the maps
    alexnet_2012_merged   96-256-384-384-256    62,378,344  1,135,256,096  3x227x227  all maps on one GPU

Five convolutions (11x11/4, 5x5, three 3x3), each with a ReLU; 3x3/2 maximum pooling, whose windows overlap, after the
first, second and fifth; two linear layers of 4096, each after a dropout of 0.5, and the classes. The nets of 2012
normalise responses after the first two ReLUs. On two GPUs the second, fourth and fifth convolution see only the maps
of their own GPU, which is a convolution in two groups.

Names of parameters of `alexnet` are torchvision's (`features.0`, `classifier.6`), so weights in circulation load
without conversion.

Differs from the papers: the input of 2012 is 227 pixels, not the 224 it prints: only then do 55x55 places of an 11x11/4
convolution lie inside of it. Weights start as in `initialise_he_forward`; the paper's start, normal with deviation
0.01 and some biases at 1, needs many epochs before the loss falls.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from residuum.nets.layers import (
    Shape,
    Stages,
    ToGrid,
    initialise_he_forward,
    require_side,
    require_sizes,
    response_norm,
)

GRID = 6  # side of the last map, on which the linear layers stand


@dataclass(frozen=True, kw_only=True)
class Variant:
    """What tells one AlexNet from another.

    Attributes:
        widths: channels of the five convolutions.
        input_size: side of the image in pixels.
        padding: of the first convolution.
        normalise: whether responses are normalised after the first two ReLUs.
        groups: 2 where the second, fourth and fifth convolution see the maps of one GPU only.
    """

    widths: tuple[int, int, int, int, int]
    input_size: int
    padding: int = 0
    normalise: bool = True
    groups: int = 1

    @property
    def input_shape(self) -> Shape:
        return (3, self.input_size, self.input_size)

    @property
    def num_classes(self) -> int:
        return 1000

    @property
    def least_side(self) -> int:
        """Pixels of which one place of the last pooling is left: 15 after the first convolution, 7, 3, 1."""
        return 11 + 4 * 14 - 2 * self.padding

    def build(self, *, num_classes: int, in_channels: int) -> AlexNet:
        return AlexNet(self, num_classes=num_classes, in_channels=in_channels)


OF_2012 = Variant(widths=(96, 256, 384, 384, 256), input_size=227, groups=2)
OF_2012_MERGED = Variant(widths=(96, 256, 384, 384, 256), input_size=227)
OF_2014 = Variant(widths=(64, 192, 384, 256, 256), input_size=224, padding=2, normalise=False)


class AlexNet(nn.Module):
    """An AlexNet.

    Args:
        variant: which network of the family.
        num_classes: outputs of the last linear layer.
        in_channels: channels of the image: 3 for colour, 1 for grey.

    Shapes: images `(N, in_channels, H, W)`, from `variant.least_side` pixels on, to logits `(N, num_classes)`.

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
        require_side(x, self.variant.least_side)
        x = self.to_grid(self.features(x))
        return self.classifier(x.flatten(1))  # type: ignore[no-any-return]

    def forward_features(self, x: Tensor) -> dict[str, Tensor]:
        """The output of every `conv` (after its ReLU), `norm` and `pool`, as `conv1`, each `(N, C, H, W)`."""
        require_side(x, self.variant.least_side)
        return self.features.forward_features(x)


def _features(variant: Variant, in_channels: int) -> Stages:
    first, second, third, fourth, fifth = variant.widths
    groups, stages = variant.groups, Stages()
    stages.add("conv1", nn.Conv2d(in_channels, first, 11, stride=4, padding=variant.padding), nn.ReLU(inplace=True))
    if variant.normalise:
        stages.add("norm1", response_norm())
    stages.add("pool1", nn.MaxPool2d(3, stride=2))
    stages.add("conv2", nn.Conv2d(first, second, 5, padding=2, groups=groups), nn.ReLU(inplace=True))
    if variant.normalise:
        stages.add("norm2", response_norm())
    stages.add("pool2", nn.MaxPool2d(3, stride=2))
    stages.add("conv3", nn.Conv2d(second, third, 3, padding=1), nn.ReLU(inplace=True))
    stages.add("conv4", nn.Conv2d(third, fourth, 3, padding=1, groups=groups), nn.ReLU(inplace=True))
    stages.add("conv5", nn.Conv2d(fourth, fifth, 3, padding=1, groups=groups), nn.ReLU(inplace=True))
    stages.add("pool5", nn.MaxPool2d(3, stride=2))
    return stages


def linear_layers(in_features: int, num_classes: int) -> nn.Sequential:
    """Two linear layers of 4096, each after a dropout of 0.5 and with a ReLU, and the classes."""
    return nn.Sequential(
        nn.Dropout(0.5),
        nn.Linear(in_features, 4096),
        nn.ReLU(inplace=True),
        nn.Dropout(0.5),
        nn.Linear(4096, 4096),
        nn.ReLU(inplace=True),
        nn.Linear(4096, num_classes),
    )
