"""Residual networks and the plain networks they are measured against.

He, Zhang, Ren, Sun 2015, "Deep Residual Learning for Image Recognition" (arXiv 1512.03385): post-activation blocks.
He, Zhang, Ren, Sun 2016, "Identity Mappings in Deep Residual Networks" (arXiv 1603.05027): full pre-activation.

A block computes y = F(x) + shortcut(x). `block.residual(x)` is F; `block.downsample` is the shortcut where it is not
the identity. The plain network is the same stack with no shortcut at all.

    net              blocks        parameters        MACs  input      remark
    resnet18         2-2-2-2       11,689,512      1.81 G  3x224x224
    resnet50         3-4-6-3       25,557,032      4.09 G  3x224x224  stride on the 3x3 ("v1.5")
    resnet50_v1      3-4-6-3       25,557,032      3.86 G  3x224x224  stride on the first 1x1, as published
    resnet20         3-3-3            269,722     40.55 M  3x32x32
    resnet1202       200-200-200   19,421,274      2.83 G  3x32x32
    preact_resnet164 18-18-18       1,703,258    244.50 M  3x32x32    bottleneck

Names of parameters and submodules are torchvision's (`layer1.0.conv1`, `layer1.0.downsample.0`, `fc`), so weights
in circulation load without conversion.

Differs from the papers: resnet50, 101, 152 and the ImageNet pre-activation nets put the stride on the 3x3 (the `_v1`
nets and the CIFAR pre-activation nets have it on the first 1x1). Where the papers leave a choice open (zero channels of
option A, activation at the start of a stage) the docstrings say which was taken.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from residuum.errors import InputError
from residuum.nets.layers import PadShortcut, Shape, initialise_he, require_sizes

ShortcutName = Literal["pad", "project", "project_all", "none"]

IMAGENET_WIDTHS = (64, 128, 256, 512)
CIFAR_WIDTHS = (16, 32, 64)


@dataclass(frozen=True, kw_only=True)
class Variant:
    """What tells one network of the family from another.

    Attributes:
        blocks: number of blocks in each stage.
        widths: channels of the 3x3 convolutions in each stage; a bottleneck gives out four times as many.
        block: `basic` is two 3x3, `bottleneck` 1x1, 3x3, 1x1 (He et al. 2015, Figure 5).
        stem: `imagenet` is 7x7/2 and 3x3/2 max pooling, `cifar` one 3x3.
        shortcut: He et al. 2015 section 4.1: `pad` is option A, `project` B, `project_all` C, `none` the plain network.
        preactivation: normalise and rectify before each convolution (2016) instead of after (2015).
        stride_on: which convolution of a bottleneck halves the size; `first` as published, `3x3` as in torchvision.
    """

    blocks: tuple[int, ...]
    widths: tuple[int, ...]
    block: Literal["basic", "bottleneck"] = "basic"
    stem: Literal["imagenet", "cifar"] = "imagenet"
    shortcut: ShortcutName = "project"
    preactivation: bool = False
    stride_on: Literal["first", "3x3"] = "3x3"

    @property
    def expansion(self) -> int:
        return 4 if self.block == "bottleneck" else 1

    @property
    def input_shape(self) -> Shape:
        return (3, 32, 32) if self.stem == "cifar" else (3, 224, 224)

    @property
    def num_classes(self) -> int:
        return 10 if self.stem == "cifar" else 1000

    def build(self, *, num_classes: int, in_channels: int) -> ResNet:
        return ResNet(self, num_classes=num_classes, in_channels=in_channels)


def conv(in_channels: int, out_channels: int, kernel: int, *, stride: int = 1) -> nn.Conv2d:
    """A convolution without bias (normalisation follows or precedes it) that keeps the size at stride 1."""
    return nn.Conv2d(in_channels, out_channels, kernel, stride=stride, padding=kernel // 2, bias=False)


@dataclass(frozen=True)
class Place:
    """Where a block stands: channels in, width, stride, and whether it is the first of its stage or of the net."""

    in_channels: int
    width: int
    stride: int
    first_of_stage: bool
    first_of_net: bool


def shortcut(place: Place, variant: Variant) -> nn.Module | None:
    """The shortcut of a block: identity, zero-padded (A), projected (B, C), or None in a plain net."""
    out_channels = place.width * variant.expansion
    changes = place.stride != 1 or place.in_channels != out_channels
    if variant.shortcut == "none":
        return None
    if variant.shortcut == "project_all" or (changes and variant.shortcut == "project"):
        projection = conv(place.in_channels, out_channels, 1, stride=place.stride)
        if variant.preactivation:
            return nn.Sequential(projection)
        return nn.Sequential(projection, nn.BatchNorm2d(out_channels))
    if changes:
        return PadShortcut(place.in_channels, out_channels, stride=place.stride)
    return nn.Identity()


class PostActivation(nn.Module):
    """relu(F(x) + shortcut(x)), He et al. 2015, equation 1 and Figure 2. Subclasses define F."""

    downsample: nn.Module | None

    def residual(self, x: Tensor) -> Tensor:
        """F(x): what the block adds to its shortcut, before the last ReLU."""
        raise TypeError(f"{type(self).__name__} does not define its residual branch")

    def forward(self, x: Tensor) -> Tensor:
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
        self.downsample = shortcut(place, variant)

    def residual(self, x: Tensor) -> Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        return self.bn2(self.conv2(y))  # type: ignore[no-any-return]


class Bottleneck(PostActivation):
    """1x1 to fewer channels, 3x3, 1x1 to four times as many (He et al. 2015, Figure 5, right)."""

    def __init__(self, place: Place, variant: Variant) -> None:
        super().__init__()
        width = place.width
        stride_1x1, stride_3x3 = (place.stride, 1) if variant.stride_on == "first" else (1, place.stride)
        self.conv1 = conv(place.in_channels, width, 1, stride=stride_1x1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv(width, width, 3, stride=stride_3x3)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = conv(width, width * 4, 1)
        self.bn3 = nn.BatchNorm2d(width * 4)
        self.downsample = shortcut(place, variant)

    def residual(self, x: Tensor) -> Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        y = torch.relu(self.bn2(self.conv2(y)))
        return self.bn3(self.conv3(y))  # type: ignore[no-any-return]


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
        return x if isinstance(self.bn1, nn.Identity) else torch.relu(self.bn1(x))

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
        self.downsample = shortcut(place, variant)

    def branch(self, activated: Tensor) -> Tensor:
        y = torch.relu(self.bn2(self.conv1(activated)))
        return self.conv2(y)  # type: ignore[no-any-return]


class PreactBottleneck(PreActivation):
    """1x1, 3x3, 1x1, each after its own BN and ReLU."""

    def __init__(self, place: Place, variant: Variant) -> None:
        super().__init__(place, variant)
        width = place.width
        stride_1x1, stride_3x3 = (place.stride, 1) if variant.stride_on == "first" else (1, place.stride)
        self.conv1 = conv(place.in_channels, width, 1, stride=stride_1x1)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = conv(width, width, 3, stride=stride_3x3)
        self.bn3 = nn.BatchNorm2d(width)
        self.conv3 = conv(width, width * 4, 1)
        self.downsample = shortcut(place, variant)

    def branch(self, activated: Tensor) -> Tensor:
        y = torch.relu(self.bn2(self.conv1(activated)))
        y = torch.relu(self.bn3(self.conv2(y)))
        return self.conv3(y)  # type: ignore[no-any-return]


Block = BasicBlock | Bottleneck | PreactBasicBlock | PreactBottleneck
BLOCKS: dict[tuple[str, bool], type[Block]] = {
    ("basic", False): BasicBlock,
    ("bottleneck", False): Bottleneck,
    ("basic", True): PreactBasicBlock,
    ("bottleneck", True): PreactBottleneck,
}


class ResNet(nn.Module):
    """A residual, pre-activation or plain network.

    Args:
        variant: which network of the family.
        num_classes: outputs of the last linear layer.
        in_channels: channels of the image: 3 for colour, 1 for grey.

    Shapes: images `(N, in_channels, H, W)`, of any size, to logits `(N, num_classes)`.

    Raises:
        InputError: `num_classes` or `in_channels` is below 1.
    """

    def __init__(self, variant: Variant, *, num_classes: int = 1000, in_channels: int = 3) -> None:
        super().__init__()
        require_sizes(num_classes, in_channels)
        self.variant, self.num_classes, self.in_channels = variant, num_classes, in_channels
        first_width = variant.widths[0]
        kernel, stride = (7, 2) if variant.stem == "imagenet" else (3, 1)
        self.conv1 = conv(in_channels, first_width, kernel, stride=stride)
        self.bn1 = nn.BatchNorm2d(first_width)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1) if variant.stem == "imagenet" else nn.Identity()
        channels = first_width
        for index in range(len(variant.blocks)):
            self.add_module(f"layer{index + 1}", self._stage(index, channels))
            channels = variant.widths[index] * variant.expansion
        self.bn_last = nn.BatchNorm2d(channels) if variant.preactivation else None
        self.fc = nn.Linear(channels, num_classes)
        initialise_he(self)

    def _stage(self, index: int, in_channels: int) -> nn.Sequential:
        variant = self.variant
        block = BLOCKS[variant.block, variant.preactivation]
        width = variant.widths[index]
        blocks = []
        for number in range(variant.blocks[index]):
            first = number == 0
            place = Place(
                in_channels=in_channels if first else width * variant.expansion,
                width=width,
                stride=2 if first and index > 0 else 1,
                first_of_stage=first,
                first_of_net=first and index == 0,
            )
            blocks.append(block(place, variant))
        return nn.Sequential(*blocks)

    def stages(self) -> Iterator[tuple[str, nn.Sequential]]:
        """The stages in order, as `("layer1", module)`."""
        for index in range(len(self.variant.blocks)):
            yield f"layer{index + 1}", self.get_submodule(f"layer{index + 1}")  # type: ignore[misc]

    def stem(self, x: Tensor) -> Tensor:
        if self.variant.stem == "imagenet" and not torch.compiler.is_compiling():
            warn_if_small(x.shape[-2], x.shape[-1])
        return self.maxpool(torch.relu(self.bn1(self.conv1(x))))  # type: ignore[no-any-return]

    def head(self, x: Tensor) -> Tensor:
        if self.bn_last is not None:
            x = torch.relu(self.bn_last(x))
        return self.fc(x.mean(dim=(2, 3)))  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> Tensor:
        """Logits `(N, num_classes)` of images `(N, in_channels, H, W)`."""
        x = self.stem(x)
        for _, stage in self.stages():
            x = stage(x)
        return self.head(x)

    def forward_features(self, x: Tensor) -> dict[str, Tensor]:
        """The output of every stage, `stem`, `layer1` and so on, each `(N, C, H, W)`."""
        features = {"stem": self.stem(x)}
        x = features["stem"]
        for name, stage in self.stages():
            x = features[name] = stage(x)
        return features


def warn_if_small(height: int, width: int) -> None:
    """Warn where a 7x7/2 stem and max pooling would leave almost nothing of an image."""
    if min(height, width) < 64:
        warnings.warn(
            f"an image of {height}x{width} is small for a 7x7/2 stem: four stages later "
            f"{-(-height // 32)}x{-(-width // 32)} remain. Try: resnet20, made for small images",
            stacklevel=4,
        )


def zero_init_residual(net: ResNet) -> None:
    """Start every residual branch at zero, so that each block begins as its shortcut.

    Post-activation: the last BN of the branch starts at weight 0 (Goyal et al. 2017, section 5.1). Pre-activation: the
    last convolution does, since a BN at zero in front of a ReLU would get no gradient and stay dead. Blocks without
    a shortcut are left alone: at zero they would let nothing through.
    """
    for block in net.modules():
        if not isinstance(block, PostActivation | PreActivation) or block.downsample is None:
            continue
        last = {BasicBlock: "bn2", Bottleneck: "bn3", PreactBasicBlock: "conv2", PreactBottleneck: "conv3"}[type(block)]
        nn.init.zeros_(block.get_parameter(f"{last}.weight"))


def imagenet(*blocks: int, block: Literal["basic", "bottleneck"], **changes: object) -> Variant:
    """An ImageNet variant: 7x7/2 stem, four stages, option B (He et al. 2015, Table 1)."""
    return Variant(blocks=blocks, widths=IMAGENET_WIDTHS, block=block, **changes)  # type: ignore[arg-type]


def cifar(depth: int, *, block: Literal["basic", "bottleneck"] = "basic", **changes: object) -> Variant:
    """A CIFAR variant of `depth` weighted layers, option A, or B with bottlenecks.

    With basic blocks the depth is 6n + 2 (He et al. 2015, section 4.2), with bottlenecks 9n + 2 (He et al. 2016).

    Raises:
        InputError: no n gives this depth.
    """
    layers = 6 if block == "basic" else 9
    n, rest = divmod(depth - 2, layers)
    if rest or n < 1:
        below = max(n, 1) * layers + 2
        raise InputError(
            f"depth: a CIFAR network of {block} blocks has {layers}n + 2 layers, got {depth}. "
            f"Try: {below} or {below + layers}"
        )
    changes.setdefault("shortcut", "pad" if block == "basic" else "project")
    return Variant(blocks=(n, n, n), widths=CIFAR_WIDTHS, block=block, stem="cifar", **changes)  # type: ignore[arg-type]
