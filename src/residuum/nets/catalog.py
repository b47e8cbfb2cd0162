"""The one table of nets: name, variant, exact cost, what the paper printed and why the two differ.

`parameters` and `macs` (multiply-adds of convolutions and linear layers for one image) are exact and recomputed by the
tests, once by hand formula and once from the built net. "FLOPs" in the two papers are what is called MACs here.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import nn

from residuum.errors import unknown
from residuum.nets.layers import Shape
from residuum.nets.resnet import Variant, cifar, imagenet

HE2015 = "He et al. 2015"
HE2016 = "He et al. 2016"

V15 = "stride on the 3x3, as in torchvision; published with stride on the first 1x1, which is the _v1 net"
V1 = "stride on the first 1x1, as published; torch users mean the net without _v1"
OPTION_B = "ours has option B, as torchvision; the published figure is option A's"
PREACT_CIFAR = "stride on the first 1x1, as in the authors' released code"
PLAIN = "the residual net without its shortcuts"
NO_ROW = "the paper shows this net in its figures only"


@dataclass(frozen=True)
class Published:
    """What a paper prints, as printed; empty where nothing is recorded here."""

    source: str
    parameters: str = ""
    macs: str = ""
    error: str = ""


class Design(Protocol):
    """What the variants of every family know of themselves; see for example `residuum.nets.resnet.Variant`."""

    @property
    def input_shape(self) -> Shape:
        """Channels, height and width of the images the net was published for."""

    @property
    def num_classes(self) -> int:
        """Outputs of the published net."""

    def build(self, *, num_classes: int, in_channels: int) -> nn.Module:
        """The untrained net."""


@dataclass(frozen=True)
class Entry:
    """One net of the catalog.

    Attributes:
        name: what commands and `residuum.net` call it.
        variant: what tells it from others of its family.
        parameters: exact number of trainable values, at `num_classes` and `in_channels`.
        macs: exact multiply-adds of convolutions and linear layers for one image of `input_shape`, in evaluation.
        published: what its paper prints.
        note: why ours differs, or what to know before choosing it.
        twin: the net to compare it with layer by layer.
    """

    name: str
    variant: Design
    parameters: int
    macs: int
    published: Published
    note: str = ""
    twin: str = ""

    @property
    def input_shape(self) -> Shape:
        """Channels, height and width of the images it is made for."""
        return self.variant.input_shape

    @property
    def input_size(self) -> int:
        """Side of the square images it is made for, in pixels."""
        return self.variant.input_shape[-1]

    @property
    def in_channels(self) -> int:
        """Channels of the images it is made for: 3 for colour, 1 for grey."""
        return self.variant.input_shape[0]

    @property
    def num_classes(self) -> int:
        """Outputs of the published net."""
        return self.variant.num_classes

    def build(self, *, num_classes: int | None = None, in_channels: int | None = None) -> nn.Module:
        """The untrained net; what is not given is as in its paper."""
        return self.variant.build(
            num_classes=self.num_classes if num_classes is None else num_classes,
            in_channels=self.in_channels if in_channels is None else in_channels,
        )


def _imagenet(macs: str, error: str, table: str = "Table 1, Table 3 (10-crop top-1)") -> Published:
    return Published(f"{HE2015}, {table}", macs=macs, error=error)


def _cifar(parameters: str, error: str) -> Published:
    return Published(f"{HE2015}, Table 6", parameters=parameters, error=error)


def _preact_cifar(depth: int) -> Variant:
    return cifar(depth, block="bottleneck", preactivation=True, stride_on="first")


_18, _34 = (2, 2, 2, 2), (3, 4, 6, 3)
_101, _152, _200 = (3, 4, 23, 3), (3, 8, 36, 3), (3, 24, 36, 3)
_T2 = "Table 1, Table 2 (10-crop top-1, option A)"
_FIGURE_6 = Published(f"{HE2015}, Figure 6")
_NONE_2016 = Published(HE2016)

# fmt: off
ENTRIES: tuple[Entry, ...] = (
    Entry("resnet18", imagenet(*_18, block="basic"), 11_689_512, 1_814_073_344,
          _imagenet("1.8e9", "27.88 (option A)", _T2), OPTION_B),
    Entry("resnet34", imagenet(*_34, block="basic"), 21_797_672, 3_663_761_408, _imagenet("3.6e9", "24.52 (option B)")),
    Entry("resnet50", imagenet(*_34, block="bottleneck"), 25_557_032, 4_089_184_256, _imagenet("3.8e9", "22.85"), V15),
    Entry("resnet101", imagenet(*_101, block="bottleneck"), 44_549_160, 7_801_405_440,
          _imagenet("7.6e9", "21.75"), V15),
    Entry("resnet152", imagenet(*_152, block="bottleneck"), 60_192_808, 11_513_626_624,
          _imagenet("11.3e9", "21.43"), V15),
    Entry("resnet50_v1", imagenet(*_34, block="bottleneck", stride_on="first"), 25_557_032, 3_857_973_248,
          _imagenet("3.8e9", "22.85"), V1),
    Entry("resnet101_v1", imagenet(*_101, block="bottleneck", stride_on="first"), 44_549_160, 7_570_194_432,
          _imagenet("7.6e9", "21.75"), V1),
    Entry("resnet152_v1", imagenet(*_152, block="bottleneck", stride_on="first"), 60_192_808, 11_282_415_616,
          _imagenet("11.3e9", "21.43"), V1),
    Entry("resnet18_a", imagenet(*_18, block="basic", shortcut="pad"), 11_515_688, 1_794_805_760,
          _imagenet("1.8e9", "27.88", _T2), "option A"),
    Entry("resnet34_a", imagenet(*_34, block="basic", shortcut="pad"), 21_623_848, 3_644_493_824,
          _imagenet("3.6e9", "25.03"), "option A"),
    Entry("resnet34_c", imagenet(*_34, block="basic", shortcut="project_all"), 22_716_840, 3_830_747_136,
          _imagenet("", "24.19"), "option C"),
    Entry("plain18", imagenet(*_18, block="basic", shortcut="none"), 11_515_688, 1_794_805_760,
          _imagenet("1.8e9", "27.94", _T2), PLAIN),
    Entry("plain34", imagenet(*_34, block="basic", shortcut="none"), 21_623_848, 3_644_493_824,
          _imagenet("3.6e9", "28.54", _T2), PLAIN),
    Entry("resnet20", cifar(20), 269_722, 40_551_040, _cifar("0.27M", "8.75")),
    Entry("resnet32", cifar(32), 464_154, 68_862_592, _cifar("0.46M", "7.51")),
    Entry("resnet44", cifar(44), 658_586, 97_174_144, _cifar("0.66M", "7.17")),
    Entry("resnet56", cifar(56), 853_018, 125_485_696, _cifar("0.85M", "6.97")),
    Entry("resnet110", cifar(110), 1_727_962, 252_887_680, _cifar("1.7M", "6.43 best of 5, 6.61 ± 0.16"),
          "the published recipe warms up at 0.01 until the training error is below 80 %"),
    Entry("resnet1202", cifar(1202), 19_421_274, 2_829_238_912, _cifar("19.4M", "7.93")),
    Entry("plain20", cifar(20, shortcut="none"), 269_722, 40_551_040, _FIGURE_6, NO_ROW),
    Entry("plain32", cifar(32, shortcut="none"), 464_154, 68_862_592, _FIGURE_6, NO_ROW),
    Entry("plain44", cifar(44, shortcut="none"), 658_586, 97_174_144, _FIGURE_6, NO_ROW),
    Entry("plain56", cifar(56, shortcut="none"), 853_018, 125_485_696, _FIGURE_6, NO_ROW),
    Entry("plain110", cifar(110, shortcut="none"), 1_727_962, 252_887_680,
          Published(f"{HE2015}, Figure 6", error="over 60"), NO_ROW),
    Entry("preact_resnet18", imagenet(*_18, block="basic", preactivation=True), 11_687_720, 1_814_073_344, _NONE_2016),
    Entry("preact_resnet34", imagenet(*_34, block="basic", preactivation=True), 21_795_880, 3_663_761_408, _NONE_2016),
    Entry("preact_resnet50", imagenet(*_34, block="bottleneck", preactivation=True), 25_549_352, 4_089_184_256,
          _NONE_2016),
    Entry("preact_resnet101", imagenet(*_101, block="bottleneck", preactivation=True), 44_541_480, 7_801_405_440,
          _NONE_2016),
    Entry("preact_resnet152", imagenet(*_152, block="bottleneck", preactivation=True), 60_185_128, 11_513_626_624,
          _NONE_2016),
    Entry("preact_resnet200", imagenet(*_200, block="bottleneck", preactivation=True), 64_666_152, 15_007_481_856,
          _NONE_2016),
    Entry("preact_resnet110", cifar(110, preactivation=True), 1_727_962, 252_887_680,
          Published(f"{HE2016}, Table 3", error="6.37")),
    Entry("preact_resnet164", _preact_cifar(164), 1_703_258, 244_500_992,
          Published(f"{HE2016}, Table 3", error="5.46"), PREACT_CIFAR),
    Entry("preact_resnet1001", _preact_cifar(1001), 10_327_706, 1_487_849_984,
          Published(f"{HE2016}, Table 3", error="4.92"), PREACT_CIFAR),
)
# fmt: on

CATALOG: dict[str, Entry] = {entry.name: entry for entry in ENTRIES}


def entry(name: str) -> Entry:
    """The catalog's entry of that name.

    Raises:
        InputError: there is none; the message names the nearest.
    """
    if name not in CATALOG:
        raise unknown("net", name, CATALOG)
    return CATALOG[name]


def matching(pattern: str) -> Sequence[Entry]:
    """Entries whose name contains `pattern`, or matches it as a shell pattern (`preact_*`)."""
    return [each for each in ENTRIES if pattern in each.name or fnmatch.fnmatch(each.name, pattern)]


def net(name: str, *, num_classes: int | None = None, in_channels: int | None = None) -> nn.Module:
    """Build an untrained net of the catalog.

    Args:
        name: `resnet50`, `plain56`, `preact_resnet164`, ...; `residuum list` shows them all.
        num_classes: outputs; that of the paper by default (1000 for ImageNet nets, 10 for CIFAR nets).
        in_channels: channels of the image; that of the paper by default (1 for LeNet-5, 3 for all others).

    Returns:
        A plain `torch.nn.Module`: images `(N, in_channels, H, W)` to logits `(N, num_classes)`.

    Raises:
        InputError: no net has that name, or `num_classes` or `in_channels` is below 1.
    """
    return entry(name).build(num_classes=num_classes, in_channels=in_channels)
