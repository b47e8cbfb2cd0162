"""LeNet-5: as published, and as taught today.

LeCun, Bottou, Bengio, Haffner 1998, "Gradient-Based Learning Applied to Document Recognition" (Proceedings of the
IEEE 86(11)), section II.B and Table I. Layers have the paper's names: C convolution, S subsampling, F full.

    net           C1      S2    C3       S4    C5     F6   output    parameters     MACs  input
    lenet5_1998   6@5x5   2x2   16@5x5   2x2   120    84   10 RBF        60,000  325,680  1x32x32
    lenet5        6@5x5   2x2   16@5x5   2x2   120    84   10 linear     61,706  416,520  1x32x32

`lenet5_1998` is the paper's: subsampling that learns a coefficient and a bias for each map, C3 connected to some of
S2's maps only (Table I), a scaled tanh after every layer, and as outputs the distances to fixed bitmaps. The paper
counts 340,908 connections: every weight and every bias once for each place it is used at, and the 840 of the RBF.
`lenet5` is what textbooks draw: maximum pooling, C3 connected to all maps, ReLU, linear outputs; its submodules have
the names of PyTorch's tutorial (`conv1`, `conv2`, `fc1`, `fc2`, `fc3`).

Differs from the paper: the bitmaps of the ten digits are our drawings, since the paper only shows its own (Figure 3);
the loss is cross-entropy, which is the paper's criterion with one constant at its limit (see `BitmapDistance`); the
paper trains by a stochastic diagonal Levenberg-Marquardt method, and puts white at -0.1 and black at 1.175, so that
the mean is about 0 and the variance 1: our recipes normalise by mean and deviation.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from residuum.nets.layers import Shape, ToGrid, initialise_he_forward, require_side, require_sizes

LEAST_SIDE = 16  # pixels: 12 after C1, 6, 2 after C3, 1

# Table I: the maps of S2 that each map of C3 sees.
TABLE_I = (
    (0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (4, 5, 0), (5, 0, 1),
    (0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (3, 4, 5, 0), (4, 5, 0, 1), (5, 0, 1, 2),
    (0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5),
    (0, 1, 2, 3, 4, 5),
)  # fmt: skip

# Our drawings of the ten digits, 7 wide and 12 high: # is +1, . is -1.
DIGITS = """
..###.. ...#... ..###.. .#####. ....##. ####### ..####. ####### ..###.. ..###..
.#...#. ..##... .#...#. #.....# ....##. #...... .#..... ......# .#...#. .#...#.
#.....# .#.#... #.....# ......# ...#.#. #...... #...... ......# #.....# #.....#
#.....# ...#... ......# ......# ...#.#. #...... #...... .....#. #.....# #.....#
#.....# ...#... ......# .....#. ..#..#. #.###.. #.###.. .....#. .#...#. #.....#
#.....# ...#... .....#. ..###.. ..#..#. ##...#. ##...#. ....#.. ..###.. .#...##
#.....# ...#... ....#.. .....#. .#...#. ......# #.....# ....#.. .#...#. ..###.#
#.....# ...#... ...#... ......# #....#. ......# #.....# ...#... #.....# ......#
#.....# ...#... ..#.... ......# ####### ......# #.....# ...#... #.....# ......#
#.....# ...#... .#..... ......# .....#. ......# #.....# ..#.... #.....# ......#
.#...#. ...#... #...... #.....# .....#. #....#. .#...#. ..#.... .#...#. .....#.
..###.. .#####. ####### .#####. .....#. .####.. ..###.. ..#.... ..###.. .####..
"""
CODE_LENGTH = 7 * 12  # outputs of F6: one for each pixel of a bitmap
MORE_CODES_SEED = 1998


@dataclass(frozen=True, kw_only=True)
class Variant:
    """Which LeNet-5: `as_published` in 1998, or as taught today."""

    as_published: bool

    @property
    def input_shape(self) -> Shape:
        return (1, 32, 32)

    @property
    def num_classes(self) -> int:
        return 10

    def build(self, *, num_classes: int, in_channels: int) -> LeNet5 | LeNet5As1998:
        net = LeNet5As1998 if self.as_published else LeNet5
        return net(num_classes=num_classes, in_channels=in_channels)


def squash(a: Tensor) -> Tensor:
    """f(a) = A tanh(S a) with A 1.7159 and S 2/3, so that f(1) = 1 and f(-1) = -1 (section II.B and appendix A)."""
    return 1.7159 * torch.tanh(2 / 3 * a)


class Subsample(nn.Module):
    """S2 and S4: the sum of each 2x2 square, times a trainable coefficient of its map, plus a bias of its map.

    Shapes: `(N, channels, H, W)` to `(N, channels, H // 2, W // 2)`.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.coefficient = nn.Parameter(torch.empty(channels, 1, 1))
        self.bias = nn.Parameter(torch.empty(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return 4 * functional.avg_pool2d(x, 2) * self.coefficient + self.bias


class PartialConvolution(nn.Module):
    """C3: 5x5 convolutions that each see the maps that Table I gives them.

    The maps that one kernel sees are gathered side by side; a grouped convolution then serves all kernels that see
    equally many: six see three maps, nine see four, one sees all six. There are 60 kernels of 25 weights and 16
    biases, and no weight that is masked.

    Shapes: `(N, 6, H, W)` to `(N, 16, H - 4, W - 4)`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[int, list[int]] = {}  # by number of maps seen: the maps of one kernel after another
        for maps in TABLE_I:
            self.seen.setdefault(len(maps), []).extend(maps)
        for size, gathered in self.seen.items():
            kernels = len(gathered) // size
            self.add_module(f"of{size}", nn.Conv2d(len(gathered), kernels, 5, groups=kernels))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.get_submodule(f"of{size}")(x[:, maps]) for size, maps in self.seen.items()], dim=1)


class BitmapDistance(nn.Module):
    """The output layer: minus the squared distance of F6 to the code of each class, a fixed vector of +1 and -1.

    The paper's radial basis functions are the distances y themselves, and it trains by a criterion (equation 9) of the
    distance of the right class plus log(e^-j + sum of e^-y_i). With logits -y and j growing without bound that is
    exactly the cross-entropy. The paper keeps its codes fixed "at least initially"; here they are a buffer.

    Shapes: `(N, 84)` to `(N, num_classes)`.
    """

    codes: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.register_buffer("codes", torch.tensor(codes(num_classes)))

    def forward(self, x: Tensor) -> Tensor:
        return -(x.unsqueeze(1) - self.codes).square().sum(dim=2)


def codes(num_classes: int) -> list[list[float]]:
    """84 values of +1 and -1 for each class: the bitmaps of the digits, then codes drawn from a fixed seed."""
    rows = [line.split() for line in DIGITS.split("\n") if line]
    bitmaps = ["".join(bitmap) for bitmap in zip(*rows, strict=True)]
    generator = random.Random(MORE_CODES_SEED)
    bitmaps += ["".join(generator.choices("#.", k=CODE_LENGTH)) for _ in range(num_classes - len(bitmaps))]
    return [[1.0 if pixel == "#" else -1.0 for pixel in bitmap] for bitmap in bitmaps[:num_classes]]


class LeNet5As1998(nn.Module):
    """LeNet-5 as published.

    Args:
        num_classes: outputs, each with its code.
        in_channels: channels of the image.

    Shapes: images `(N, in_channels, H, W)` to logits `(N, num_classes)`; 32 x 32 pixels as published, at least 16.

    Raises:
        InputError: `num_classes` or `in_channels` is below 1, or an image is too small.
    """

    def __init__(self, *, num_classes: int = 10, in_channels: int = 1) -> None:
        super().__init__()
        require_sizes(num_classes, in_channels)
        self.num_classes, self.in_channels = num_classes, in_channels
        self.c1 = nn.Conv2d(in_channels, 6, 5)
        self.s2 = Subsample(6)
        self.c3 = PartialConvolution()
        self.s4 = Subsample(16)
        self.to_grid = ToGrid(5)
        self.c5 = nn.Conv2d(16, 120, 5)
        self.f6 = nn.Linear(120, CODE_LENGTH)
        self.output = BitmapDistance(num_classes)
        initialise_by_fan_in(self)

    def forward(self, x: Tensor) -> Tensor:
        """Logits `(N, num_classes)` of images `(N, in_channels, H, W)`."""
        x = self.forward_features(x)["c5"].flatten(1)
        return self.output(squash(self.f6(x)))  # type: ignore[no-any-return]

    def forward_features(self, x: Tensor) -> dict[str, Tensor]:
        """The outputs of `c1`, `s2`, `c3`, `s4` and `c5`, squashed, each `(N, C, H, W)`."""
        require_side(x, LEAST_SIDE)
        features = {}
        for name, layer in (("c1", self.c1), ("s2", self.s2), ("c3", self.c3), ("s4", self.s4)):
            x = features[name] = squash(layer(x))
        features["c5"] = squash(self.c5(self.to_grid(x)))
        return features


def initialise_by_fan_in(net: nn.Module) -> None:
    """Weights and biases uniform within 2.4 / fan_in, the number of inputs of a unit (appendix A)."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear | Subsample):
            bound = 2.4 / (4 if isinstance(module, Subsample) else module.weight[0].numel())
            for parameter in module.parameters(recurse=False):
                nn.init.uniform_(parameter, -bound, bound)


class LeNet5(nn.Module):
    """LeNet-5 as it is taught.

    Args:
        num_classes: outputs of the last linear layer.
        in_channels: channels of the image.

    Shapes: images `(N, in_channels, H, W)` to logits `(N, num_classes)`; 32 x 32 pixels as published, at least 16.

    Raises:
        InputError: `num_classes` or `in_channels` is below 1, or an image is too small.
    """

    def __init__(self, *, num_classes: int = 10, in_channels: int = 1) -> None:
        super().__init__()
        require_sizes(num_classes, in_channels)
        self.num_classes, self.in_channels = num_classes, in_channels
        self.conv1 = nn.Conv2d(in_channels, 6, 5)
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.pool2 = nn.MaxPool2d(2)
        self.to_grid = ToGrid(5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, num_classes)
        initialise_he_forward(self)

    def forward(self, x: Tensor) -> Tensor:
        """Logits `(N, num_classes)` of images `(N, in_channels, H, W)`."""
        x = self.to_grid(self.forward_features(x)["s4"]).flatten(1)
        x = torch.relu(self.fc1(x))
        x = torch.relu(self.fc2(x))
        return self.fc3(x)  # type: ignore[no-any-return]

    def forward_features(self, x: Tensor) -> dict[str, Tensor]:
        """The outputs of `c1`, `s2`, `c3` and `s4`, named as in the paper, each `(N, C, H, W)`."""
        require_side(x, LEAST_SIDE)
        features = {"c1": torch.relu(self.conv1(x))}
        features["s2"] = self.pool1(features["c1"])
        features["c3"] = torch.relu(self.conv2(features["s2"]))
        features["s4"] = self.pool2(features["c3"])
        return features
