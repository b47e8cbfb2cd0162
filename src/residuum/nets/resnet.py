"""Residual networks, the plain networks they are measured against, and the residual networks that followed.

He, Zhang, Ren, Sun 2015, "Deep Residual Learning for Image Recognition" (arXiv 1512.03385): post-activation blocks.
He, Zhang, Ren, Sun 2016, "Identity Mappings in Deep Residual Networks" (arXiv 1603.05027): full pre-activation.
Zagoruyko, Komodakis 2016, "Wide Residual Networks" (arXiv 1605.07146): fewer layers, each k times as wide.
Xie, Girshick, Dollár, Tu, He 2017, "Aggregated Residual Transformations" (arXiv 1611.05431): ResNeXt, 3x3 in groups.
Hu, Shen, Sun 2018, "Squeeze-and-Excitation Networks" (arXiv 1709.01507): each channel scaled by what the image shows.
Tong He et al. 2018, "Bag of Tricks for Image Classification" (arXiv 1812.01187): ResNet-D, deep stem, pooled shortcut.

All are one net: a stem, stages of blocks (`residuum.nets.blocks`), a linear layer. A block computes
y = F(x) + shortcut(x); the plain network is the same stack with no shortcut at all. A `Variant` says which it is.

    net              blocks        parameters        MACs  input      remark
    resnet18         2-2-2-2       11,689,512      1.81 G  3x224x224
    resnet50         3-4-6-3       25,557,032      4.09 G  3x224x224  stride on the 3x3 ("v1.5")
    resnet50_v1      3-4-6-3       25,557,032      3.86 G  3x224x224  stride on the first 1x1, as published
    resnet50_caffe   3-4-6-3       25,557,032      3.86 G  3x224x224  the same, pooling as the authors' Caffe does
    resnext50_32x4d  3-4-6-3       25,028,904      4.23 G  3x224x224  3x3 in 32 groups of 4 channels
    wide_resnet50_2  3-4-6-3       68,883,240     11.40 G  3x224x224  3x3 twice as wide
    se_resnet50      3-4-6-3       28,088,024      4.09 G  3x224x224  squeeze-and-excitation
    resnetd50        3-4-6-3       25,576,264      4.33 G  3x224x224  deep stem, pooled shortcut
    resnet20         3-3-3            269,722     40.55 M  3x32x32
    resnet1202       200-200-200   19,421,274      2.83 G  3x32x32
    preact_resnet164 18-18-18       1,703,258    244.50 M  3x32x32    bottleneck
    wrn28_10         4-4-4         36,479,194      5.24 G  3x32x32    ten times as wide, pre-activation

Names of parameters and submodules are torchvision's (`layer1.0.conv1`, `layer1.0.downsample.0`, `fc`), and timm's where
torchvision has no such net (`layer1.0.se.fc1`, `conv1.0`), so weights in circulation load without conversion.

Differs from the papers: resnet50, 101, 152, the nets that followed and the ImageNet pre-activation nets put the stride
on the 3x3 (the `_v1` and `_caffe` nets and the CIFAR pre-activation nets have it on the first 1x1). The pooling of the
stem is padded by a pixel on each side, as in torchvision; only in the `_caffe` nets it is the authors' own, whose
windows begin at pixel 0. The wide nets have no dropout.
No net of the catalog has what `batch_norm`, `dropout`, `head`, `downsampling`, `placement`, the last shortcuts and
`block="single"` change; names such as `resnet110+shortcut=gated` have (`residuum.nets.modified`).
Where the papers leave a choice open (zero channels of option A, activation at the start of a stage) the docstrings say
which was taken.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from residuum.errors import InputError
from residuum.nets.blocks import (
    BasicBlock,
    Bottleneck,
    PostActivation,
    PreactBasicBlock,
    PreactBottleneck,
    PreActivation,
    PreactSingleBlock,
    SingleBlock,
)
from residuum.nets.fitting import GATE_BIAS, require_fitting
from residuum.nets.layers import Shape, ToGrid, initialise_he, normalised_relu, require_side, require_sizes
from residuum.nets.shortcuts import Place, conv, normalisation, set_gate_bias

ShortcutName = Literal[
    "pad",
    "project",
    "project_all",
    "pool_project",
    "none",
    "halved",
    "halved_both",
    "gated",
    "gated_shortcut",
    "dropout",
]
PlacementName = Literal["published", "norm_after_addition", "relu_before_addition", "relu_only"]

IMAGENET_WIDTHS = (64, 128, 256, 512)
CIFAR_WIDTHS = (16, 32, 64)
HEAD_GRID = 4  # side of the map that a linear head stands on
HEAD_WIDTH = 256  # of its hidden layer
HEAD_DROPOUT = 0.5  # before its last layer, as in the linear layers of AlexNet and VGG
LEAST_SIDE_CEIL = 3  # pixels: 2 after the first convolution, and a pooling that is not padded has no place on 1


@dataclass(frozen=True, kw_only=True)
class Variant:
    """What tells one network of the family from another.

    Attributes:
        blocks: number of blocks in each stage.
        widths: channels of each stage before widening; a bottleneck gives out four times as many, the stem the first.
        block: `basic` is two 3x3, `bottleneck` 1x1, 3x3, 1x1 (He et al. 2015, Figure 5), `single` one 3x3.
        stem: `imagenet` is 7x7/2 and 3x3/2 max pooling, `deep` three 3x3 for the 7x7 (Tong He et al. 2018, ResNet-C),
            `cifar` one 3x3.
        shortcut: He et al. 2015 section 4.1: `pad` is option A, `project` B, `project_all` C, `none` the plain network;
            `pool_project` is B after 2x2 average pooling (Tong He et al. 2018, ResNet-D). `halved`, `halved_both`,
            `gated`, `gated_shortcut` and `dropout` are of He et al. 2016, section 3.1 (`residuum.nets.shortcuts`).
        preactivation: normalise and rectify before each convolution (2016) instead of after (2015).
        stride_on: which convolution of a bottleneck halves the size; `first` as published, `3x3` as in torchvision.
        pool: borders of the stem's 3x3/2 max pooling; `padded` by a pixel on each side, or `ceil`, not padded and the
            size rounded up, so that windows begin at pixel 0 and the last ones are cut (Caffe).
        widen: factor of the channels of the 3x3 convolutions (Zagoruyko & Komodakis 2016: k); what a bottleneck gives
            out stays as it is.
        groups: of the 3x3 convolution of a bottleneck (Xie et al. 2017: cardinality).
        squeeze: reduction of squeeze-and-excitation at the end of each branch (Hu et al. 2018: r), None for none.
        batch_norm: whether convolutions are normalised; without, those of stem, branches and normalised projections
            have a bias, which starts at 0; weights are drawn as with it, so that nothing else differs.
        dropout: share of the pooled features that is dropped before the last layer.
        head: `average` is global average pooling and one linear layer; `linear` two linear layers, of 256 and the
            classes, with a ReLU and a dropout of 0.5 between them, on the last map brought to 4x4 (`ToGrid`).
        downsampling: how a stage halves the size: by the `stride` of a convolution, or by 2x2/2 pooling of what the
            first block takes, before its branch and its shortcut, which then have stride 1. Cost as with the stride of
            a bottleneck on `first`.
        placement: of the last normalisation and ReLU of post-activation blocks (He et al. 2016, Figure 4(a) to (d);
            `residuum.nets.blocks.PostActivation`); (e) is `preactivation`.
        gate_bias: that the gates of `gated` and `gated_shortcut` start with.

    Raises:
        InputError: the values do not fit each other.
    """

    blocks: tuple[int, ...]
    widths: tuple[int, ...]
    block: Literal["basic", "bottleneck", "single"] = "basic"
    stem: Literal["imagenet", "deep", "cifar"] = "imagenet"
    shortcut: ShortcutName = "project"
    preactivation: bool = False
    stride_on: Literal["first", "3x3"] = "3x3"
    pool: Literal["padded", "ceil"] = "padded"
    widen: int = 1
    groups: int = 1
    squeeze: int | None = None
    batch_norm: bool = True
    dropout: float = 0.0
    head: Literal["average", "linear"] = "average"
    downsampling: Literal["stride", "max_pool", "average_pool"] = "stride"
    placement: PlacementName = "published"
    gate_bias: float = GATE_BIAS

    def __post_init__(self) -> None:
        require_fitting(self)

    @property
    def inner_widths(self) -> tuple[int, ...]:
        """Channels of the 3x3 convolutions of each stage."""
        return tuple(width * self.widen for width in self.widths)

    @property
    def outputs(self) -> tuple[int, ...]:
        """Channels that each stage gives out."""
        return tuple(width * 4 for width in self.widths) if self.block == "bottleneck" else self.inner_widths

    @property
    def input_shape(self) -> Shape:
        return (3, 32, 32) if self.stem == "cifar" else (3, 224, 224)

    @property
    def num_classes(self) -> int:
        return 10 if self.stem == "cifar" else 1000

    @property
    def least_side(self) -> int:
        """Pixels that the stem needs: any image will do, but for a pooling that is not padded."""
        return LEAST_SIDE_CEIL if self.pool == "ceil" and self.stem != "cifar" else 1

    def build(self, *, num_classes: int, in_channels: int) -> ResNet:
        return ResNet(self, num_classes=num_classes, in_channels=in_channels)


Block = BasicBlock | Bottleneck | SingleBlock | PreactBasicBlock | PreactBottleneck | PreactSingleBlock
BLOCKS: dict[tuple[str, bool], type[Block]] = {
    ("basic", False): BasicBlock,
    ("bottleneck", False): Bottleneck,
    ("single", False): SingleBlock,
    ("basic", True): PreactBasicBlock,
    ("bottleneck", True): PreactBottleneck,
    ("single", True): PreactSingleBlock,
}

LAYERS_OF_F: dict[type[nn.Module], int] = {
    BasicBlock: 2,
    Bottleneck: 3,
    SingleBlock: 1,
    PreactBasicBlock: 2,
    PreactBottleneck: 3,
    PreactSingleBlock: 1,
}


def stem_convolutions(in_channels: int, out_channels: int, variant: Variant) -> nn.Module:
    """The convolutions of the stem: 7x7/2, or three 3x3 of which the first halves the size, or one 3x3.

    The deep stem is that of Tong He et al. 2018, section 4.2, ResNet-C: 32, 32 and 64 channels, BN and ReLU between.
    """
    bias = not variant.batch_norm
    if variant.stem == "cifar":
        return conv(in_channels, out_channels, 3, bias=bias)
    if variant.stem == "imagenet":
        return conv(in_channels, out_channels, 7, stride=2, bias=bias)
    half = out_channels // 2
    return nn.Sequential(
        conv(in_channels, half, 3, stride=2, bias=bias),
        normalisation(half, variant),
        nn.ReLU(),
        conv(half, half, 3, bias=bias),
        normalisation(half, variant),
        nn.ReLU(),
        conv(half, out_channels, 3, bias=bias),
    )


def stem_pooling(variant: Variant) -> nn.Module:
    """Max pooling of 3x3/2, or none for small images."""
    if variant.stem == "cifar":
        return nn.Identity()
    return nn.MaxPool2d(3, 2, padding=1) if variant.pool == "padded" else nn.MaxPool2d(3, 2, ceil_mode=True)


def linear_head(in_channels: int, num_classes: int) -> nn.Sequential:
    """Two linear layers on a map of `HEAD_GRID` x `HEAD_GRID`, in place of averaging it."""
    return nn.Sequential(
        nn.Linear(in_channels * HEAD_GRID**2, HEAD_WIDTH),
        nn.ReLU(inplace=True),
        nn.Dropout(HEAD_DROPOUT),
        nn.Linear(HEAD_WIDTH, num_classes),
    )


class ResNet(nn.Module):
    """A residual network of any variant, or a plain one.

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
        channels = variant.widths[0]
        self.conv1 = stem_convolutions(in_channels, channels, variant)
        self.bn1 = normalisation(channels, variant)
        self.maxpool = stem_pooling(variant)
        for index, out_channels in enumerate(variant.outputs):
            self.add_module(f"layer{index + 1}", self._stage(index, channels))
            channels = out_channels
        self.bn_last = normalisation(channels, variant) if variant.preactivation else None
        self.to_grid = ToGrid(HEAD_GRID) if variant.head == "linear" else None
        self.dropout = nn.Dropout(variant.dropout) if variant.dropout else None
        self.fc = linear_head(channels, num_classes) if self.to_grid is not None else nn.Linear(channels, num_classes)
        initialise_he(self)
        set_gate_bias(self, variant.gate_bias)

    def _stage(self, index: int, in_channels: int) -> nn.Sequential:
        variant = self.variant
        block = BLOCKS[variant.block, variant.preactivation]
        width, out_channels = variant.inner_widths[index], variant.outputs[index]
        blocks = []
        for number in range(variant.blocks[index]):
            first = number == 0
            halves, by_stride = first and index > 0, variant.downsampling == "stride"
            place = Place(
                in_channels=in_channels if first else out_channels,
                width=width,
                out_channels=out_channels,
                stride=2 if halves and by_stride else 1,
                first_of_stage=first,
                first_of_net=first and index == 0,
                pools=halves and not by_stride,
            )
            blocks.append(block(place, variant))
        return nn.Sequential(*blocks)

    def stages(self) -> Iterator[tuple[str, nn.Sequential]]:
        """The stages in order, as `("layer1", module)`."""
        for index in range(len(self.variant.blocks)):
            yield f"layer{index + 1}", self.get_submodule(f"layer{index + 1}")  # type: ignore[misc]

    def stem(self, x: Tensor) -> Tensor:
        if self.variant.least_side > 1:
            require_side(x, self.variant.least_side)
        if self.variant.stem != "cifar" and not x.is_meta and not torch.compiler.is_compiling():
            warn_if_small(x.shape[-2], x.shape[-1])
        return self.maxpool(normalised_relu(self.bn1, self.conv1(x)))  # type: ignore[no-any-return]

    def head(self, x: Tensor) -> Tensor:
        if self.bn_last is not None:
            x = normalised_relu(self.bn_last, x)
        elif self.variant.placement == "relu_only":
            x = torch.relu(x)
        x = x.mean(dim=(2, 3)) if self.to_grid is None else self.to_grid(x).flatten(1)
        return self.fc(x if self.dropout is None else self.dropout(x))  # type: ignore[no-any-return]

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
    """Warn where a stem that divides the size by four would leave almost nothing of an image."""
    if min(height, width) < 64:
        warnings.warn(
            f"an image of {height}x{width} is small for a net made for 224x224: after its four stages "
            f"{-(-height // 32)}x{-(-width // 32)} remain. Try: resnet20, made for small images",
            stacklevel=4,
        )


def zero_init_residual(net: ResNet) -> None:
    """Start every residual branch at zero, so that each block begins as its shortcut.

    Post-activation: the last BN of the branch starts at weight 0 (Goyal et al. 2017, section 5.1). Pre-activation: the
    last convolution does, since a BN at zero in front of a ReLU would get no gradient and stay dead. Blocks without
    a shortcut are left alone: at zero they would let nothing through. So are branches that end with a ReLU, which would
    stay dead. Where no BN ends the branch of a post-activation block, its last convolution starts at zero.
    """
    for block in net.modules():
        if not isinstance(block, PostActivation | PreActivation) or block.downsample is None:
            continue
        if isinstance(block, PostActivation) and block.order.relu == "branch":
            continue
        ends_normalised = (
            isinstance(block, PostActivation)
            and block.order.norm == "branch"
            and isinstance(block.last_norm, nn.BatchNorm2d)
        )
        last = f"{'bn' if ends_normalised else 'conv'}{LAYERS_OF_F[type(block)]}"
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


def resnext(*blocks: int, groups: int, group_width: int) -> Variant:
    """An ImageNet ResNeXt, `groups` x `group_width`d (Xie et al. 2017, Table 1: 32x4d has 128 channels in stage one).

    Raises:
        InputError: groups x group_width is no multiple of 64, the width of the first stage.
    """
    widen, rest = divmod(groups * group_width, 64)
    if rest or widen < 1:
        raise InputError(f"groups x group_width: must be a multiple of 64, got {groups} x {group_width}. Try: 32 x 4")
    return imagenet(*blocks, block="bottleneck", widen=widen, groups=groups)


def wide(depth: int, widen: int) -> Variant:
    """A CIFAR wide residual network, WRN-`depth`-`widen` (Zagoruyko & Komodakis 2016, Table 1).

    The depth is 6n + 4: its paper counts convolutions, with the three projections and without the linear layer. (At
    `widen` 1 the first stage needs no projection; the name stays, and the authors' code then takes the first shortcut
    before the stem's BN and ReLU, where ours takes it after them, as He et al. 2016 do.)

    Raises:
        InputError: no n gives this depth.
    """
    n, rest = divmod(depth - 4, 6)
    if rest or n < 1:
        below = max(n, 1) * 6 + 4
        raise InputError(
            f"depth: a wide residual network has 6n + 4 convolutions, got {depth}. Try: {below} or {below + 6}"
        )
    return Variant(blocks=(n, n, n), widths=CIFAR_WIDTHS, stem="cifar", preactivation=True, widen=widen)
