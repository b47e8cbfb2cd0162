"""The one table of nets: name, variant, exact cost, what the paper printed and why the two differ.

`parameters` and `macs` (multiply-adds of convolutions and linear layers for one image) are exact and recomputed by the
tests, once by hand formula and once from the built net. "FLOPs" in the two papers are what is called MACs here.

Names such as `resnet20+shortcut=project` stand for nets with changed fields (`residuum.nets.modified`): they are not in
the table, but `entry`, `find`, `knows` and `net` take them.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from torch import nn

from residuum.errors import InputError, unknown
from residuum.nets import alexnet, googlenet, lenet, modified, vgg, zfnet
from residuum.nets.layers import Shape
from residuum.nets.resnet import Variant, cifar, imagenet, resnext, wide

LECUN1998 = "LeCun et al. 1998"
KRIZHEVSKY2012 = "Krizhevsky et al. 2012"
KRIZHEVSKY2014 = "Krizhevsky 2014"
ZEILER2013 = "Zeiler & Fergus 2013"
SIMONYAN2014 = "Simonyan & Zisserman 2014"
SZEGEDY2014 = "Szegedy et al. 2014"
HE2015 = "He et al. 2015"
HE2016 = "He et al. 2016"
ZAGORUYKO2016 = "Zagoruyko & Komodakis 2016"
XIE2017 = "Xie et al. 2017"
HU2018 = "Hu et al. 2018"
TONG_HE2018 = "Tong He et al. 2018"

RBF_1998 = "340,908 connections, as the paper counts; bitmaps of the digits are ours"
NARROW = "of no paper: ResNet-20 with one block in each stage and half the channels; digits weights are in the package"
AS_TAUGHT = "as taught: all maps connected, max pooling, ReLU, linear output; the published net is lenet5_1998"
AS_SHIPPED = "as libraries ship it, one GPU and no response normalisation; the net of 2012 is alexnet_2012"
INPUT_227 = "two GPUs as two groups; input 227, where the paper prints 224"
MERGED = "all maps on one GPU: no groups"
VGG_BN = "batch normalisation after each convolution, which the paper does not have"
VGG_GAP = "average pooling in place of the two layers of 4096; not of the paper"
HEADS = "6,998,552 parameters without the auxiliary heads, which serve training only"
GOOGLENET_BN = "as libraries ship it: batch normalisation, 3x3 in place of 5x5, no auxiliary heads"
V15 = "stride on the 3x3, as in torchvision; published with stride on the first 1x1, which is the _v1 net"
V1 = "stride on the first 1x1, as published; torch users mean the net without _v1"
CAFFE = "stride on the first 1x1, and the stem pools from pixel 0, as in the authors' Caffe files"
OPTION_B = "ours has option B, as torchvision; the published figure is option A's"
PREACT_CIFAR = "stride on the first 1x1, as in the authors' released code"
PLAIN = "the residual net without its shortcuts"
NO_ROW = "the paper shows this net in its figures only"
X101 = "a later, larger net of the authors' library; the paper's 101 layers are 32x4d and 64x4d"
W101 = "a later net of libraries; the paper's wide bottleneck net is wide_resnet50_2"
SE = "stride on the 3x3, as in timm; the published figures are with stride on the first 1x1"
WRN = "without dropout; the published error is without as well"
WRN_ZCA = "the published error is with ZCA-whitened images, as all of Table 4"
WRN_NO_ROW = "a size that others made usual; the paper has no CIFAR-10 figure for it"
WRN_40_1 = "39 convolutions: the first stage needs no projection; the published error is with ZCA-whitened images"

OF_NO_PAPER = "of no paper"  # the source of a net with changed fields

ONE_SCALE = "Tables 2 and 3 (one scale, 256, top-1)"

# Why an exact figure lies beyond what rounding of the printed one explains.
AS_V1 = "published with stride on the first 1x1, which makes"
DIFFERS: dict[str, dict[str, str]] = {
    "alexnet_2012": {"parameters": "a round figure: the paper says 60 million in words"},
    "vgg16": {"macs": "the cost of the convolutions alone, 15,346,630,656; the one printed for vgg19 is of all layers"},
    "googlenet": {
        "macs": "called a budget; Table 1 gives the first convolution 34M, where its sizes make 118,013,952; "
        "with 34M all is 1,498,657,920"
    },
    "resnet34": {"macs": "the cost without the three projections, 3,644,493,824, as of resnet34_a"},
    "resnet50": {"macs": f"{AS_V1} 3,857,973,248; why that is printed as 3.8e9 is not explained"},
    "resnet101": {"macs": f"{AS_V1} 7,570,194,432"},
    "resnet152": {"macs": f"{AS_V1} 11,282,415,616"},
    "resnet50_v1": {"macs": "not explained: rounded it is 3.9e9, and the paper rounds those of 101 and 152 layers"},
    "resnet50_caffe": {"macs": "not explained, as of resnet50_v1"},
    "se_resnet50": {
        "macs": f"{AS_V1} 3,860,488,192; with averaging and scaling 5,519,360 values each in addition it is 3.87e9"
    },
}


@dataclass(frozen=True)
class Published:
    """What a paper prints, as printed; empty where nothing is recorded here."""

    source: str
    parameters: str = ""
    macs: str = ""
    error: str = ""

    @property
    def place(self) -> str:
        """The paper and its tables, without how the error was measured."""
        return re.sub(r" \(.*?\)", "", self.source)

    @property
    def paper(self) -> str:
        """The paper alone, without its tables."""
        return re.split(r"[,;] ", self.source)[0]

    @property
    def protocol(self) -> str:
        """How the error was measured, where the source says so: `10-crop top-1`."""
        found = re.search(r"\((.*?)\)", self.source)
        return found[1] if found and self.error else ""


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
    def differs(self) -> Mapping[str, str]:
        """Why `parameters` or `macs` is not the printed figure, where rounding does not explain it."""
        return DIFFERS.get(self.name, {})

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


def _mnist(parameters: str = "", error: str = "") -> Published:
    return Published(f"{LECUN1998}, sections II.B and III (MNIST)", parameters=parameters, error=error)


def _one_net(paper: str, table: str, error: str = "", *, parameters: str = "", macs: str = "") -> Published:
    return Published(f"{paper}, {table}", parameters=parameters, macs=macs, error=error)


def _imagenet(macs: str, error: str, table: str = "Table 1, Table 3 (10-crop top-1)") -> Published:
    return Published(f"{HE2015}, {table}", macs=macs, error=error)


def _cifar(parameters: str, error: str) -> Published:
    return Published(f"{HE2015}, Table 6", parameters=parameters, error=error)


def _preact_cifar(depth: int) -> Variant:
    return cifar(depth, block="bottleneck", preactivation=True, stride_on="first")


def _wide(table: str, parameters: str, error: str) -> Published:
    return Published(f"{ZAGORUYKO2016}, {table}", parameters=parameters, error=error)


_NARROW = Variant(blocks=(1, 1, 1), widths=(8, 16, 32), stem="cifar", shortcut="pad")
_18, _34 = (2, 2, 2, 2), (3, 4, 6, 3)
_101, _152, _200 = (3, 4, 23, 3), (3, 8, 36, 3), (3, 24, 36, 3)
_T2 = "Table 1, Table 2 (10-crop top-1, option A)"
_FIGURE_6 = Published(f"{HE2015}, Figure 6")
_NONE_2016 = Published(HE2016)

# fmt: off
ENTRIES: tuple[Entry, ...] = (
    Entry("lenet5", lenet.Variant(as_published=False), 61_706, 416_520, _mnist(), AS_TAUGHT, "lenet5_1998"),
    Entry("lenet5_1998", lenet.Variant(as_published=True), 60_000, 325_680, _mnist("60,000", "0.95"), RBF_1998,
          "lenet5"),
    Entry("alexnet", alexnet.OF_2014, 61_100_840, 714_188_480,
          _one_net(KRIZHEVSKY2014, "Table 1 (top-1)", "42.33"), AS_SHIPPED, "alexnet_2012"),
    Entry("alexnet_2012", alexnet.OF_2012, 60_965_224, 724_406_816,
          _one_net(KRIZHEVSKY2012, "Table 2 (one net, top-1)", "40.7", parameters="60M"), INPUT_227, "alexnet"),
    Entry("alexnet_2012_merged", alexnet.OF_2012_MERGED, 62_378_344, 1_135_256_096,
          Published(KRIZHEVSKY2012), MERGED, "alexnet_2012"),
    Entry("zfnet", zfnet.Variant(widths=(384, 384, 256)), 62_357_608, 1_168_032_896,
          _one_net(ZEILER2013, "Table 2 (one net, top-1)", "38.4"), twin="alexnet_2012_merged"),
    Entry("zfnet_512", zfnet.Variant(widths=(512, 1024, 512)), 107_627_624, 2_476_704_896,
          _one_net(ZEILER2013, "Table 2 (one net, top-1)", "37.5"), twin="zfnet"),
    Entry("vgg11", vgg.Variant(convolutions=(1, 1, 2, 2, 2)), 132_863_336, 7_609_090_048,
          _one_net(SIMONYAN2014, ONE_SCALE, "29.6", parameters="133M")),
    Entry("vgg13", vgg.Variant(convolutions=(2, 2, 2, 2, 2)), 133_047_848, 11_308_466_176,
          _one_net(SIMONYAN2014, ONE_SCALE, "28.7", parameters="133M")),
    Entry("vgg16", vgg.Variant(convolutions=(2, 2, 3, 3, 3)), 138_357_544, 15_470_264_320,
          _one_net(SIMONYAN2014, f"{ONE_SCALE}; {HE2015}, section 4.1", "27.0",
                   parameters="138M", macs="15.3e9"), twin="vgg16_gap"),
    Entry("vgg19", vgg.Variant(convolutions=(2, 2, 4, 4, 4)), 143_667_240, 19_632_062_464,
          _one_net(SIMONYAN2014, f"{ONE_SCALE}; {HE2015}, Figure 3", "27.3", parameters="144M",
                   macs="19.6e9")),
    Entry("vgg11_bn", vgg.Variant(convolutions=(1, 1, 2, 2, 2), batch_norm=True), 132_868_840, 7_609_090_048,
          Published(SIMONYAN2014), VGG_BN, "vgg11"),
    Entry("vgg13_bn", vgg.Variant(convolutions=(2, 2, 2, 2, 2), batch_norm=True), 133_053_736, 11_308_466_176,
          Published(SIMONYAN2014), VGG_BN, "vgg13"),
    Entry("vgg16_bn", vgg.Variant(convolutions=(2, 2, 3, 3, 3), batch_norm=True), 138_365_992, 15_470_264_320,
          Published(SIMONYAN2014), VGG_BN, "vgg16"),
    Entry("vgg19_bn", vgg.Variant(convolutions=(2, 2, 4, 4, 4), batch_norm=True), 143_678_248, 19_632_062_464,
          Published(SIMONYAN2014), VGG_BN, "vgg19"),
    Entry("vgg16_gap", vgg.Variant(convolutions=(2, 2, 3, 3, 3), head="average"), 15_227_688, 15_347_142_656,
          Published(SIMONYAN2014), VGG_GAP, "vgg16"),
    Entry("googlenet", googlenet.PUBLISHED, 13_378_280, 1_582_671_872,
          _one_net(SZEGEDY2014, "section 1, Table 3 (one net, one crop, top-5)", "10.07", macs="1.5e9"), HEADS,
          "googlenet_bn"),
    Entry("googlenet_bn", googlenet.WITH_BATCH_NORM, 6_624_904, 1_498_376_192,
          Published(SZEGEDY2014), GOOGLENET_BN, "googlenet"),
    Entry("resnet18", imagenet(*_18, block="basic"), 11_689_512, 1_814_073_344,
          _imagenet("1.8e9", "27.88 (option A)", _T2), OPTION_B, "plain18"),
    Entry("resnet34", imagenet(*_34, block="basic"), 21_797_672, 3_663_761_408, _imagenet("3.6e9", "24.52 (option B)"),
          twin="plain34"),
    Entry("resnet50", imagenet(*_34, block="bottleneck"), 25_557_032, 4_089_184_256, _imagenet("3.8e9", "22.85"), V15,
          "resnet50_v1"),
    Entry("resnet101", imagenet(*_101, block="bottleneck"), 44_549_160, 7_801_405_440,
          _imagenet("7.6e9", "21.75"), V15, "resnet101_v1"),
    Entry("resnet152", imagenet(*_152, block="bottleneck"), 60_192_808, 11_513_626_624,
          _imagenet("11.3e9", "21.43"), V15, "resnet152_v1"),
    Entry("resnet50_v1", imagenet(*_34, block="bottleneck", stride_on="first"), 25_557_032, 3_857_973_248,
          _imagenet("3.8e9", "22.85"), V1, "resnet50"),
    Entry("resnet101_v1", imagenet(*_101, block="bottleneck", stride_on="first"), 44_549_160, 7_570_194_432,
          _imagenet("7.6e9", "21.75"), V1, "resnet101"),
    Entry("resnet152_v1", imagenet(*_152, block="bottleneck", stride_on="first"), 60_192_808, 11_282_415_616,
          _imagenet("11.3e9", "21.43"), V1, "resnet152"),
    Entry("resnet50_caffe", imagenet(*_34, block="bottleneck", stride_on="first", pool="ceil"),
          25_557_032, 3_857_973_248, _imagenet("3.8e9", "22.85"), CAFFE, "resnet50_v1"),
    Entry("resnet101_caffe", imagenet(*_101, block="bottleneck", stride_on="first", pool="ceil"),
          44_549_160, 7_570_194_432, _imagenet("7.6e9", "21.75"), CAFFE, "resnet101_v1"),
    Entry("resnet152_caffe", imagenet(*_152, block="bottleneck", stride_on="first", pool="ceil"),
          60_192_808, 11_282_415_616, _imagenet("11.3e9", "21.43"), CAFFE, "resnet152_v1"),
    Entry("resnet18_a", imagenet(*_18, block="basic", shortcut="pad"), 11_515_688, 1_794_805_760,
          _imagenet("1.8e9", "27.88", _T2), "option A", "resnet18"),
    Entry("resnet34_a", imagenet(*_34, block="basic", shortcut="pad"), 21_623_848, 3_644_493_824,
          _imagenet("3.6e9", "25.03"), "option A", "resnet34"),
    Entry("resnet34_c", imagenet(*_34, block="basic", shortcut="project_all"), 22_716_840, 3_830_747_136,
          _imagenet("", "24.19"), "option C", "resnet34"),
    Entry("plain18", imagenet(*_18, block="basic", shortcut="none"), 11_515_688, 1_794_805_760,
          _imagenet("1.8e9", "27.94", _T2), PLAIN, "resnet18"),
    Entry("plain34", imagenet(*_34, block="basic", shortcut="none"), 21_623_848, 3_644_493_824,
          _imagenet("3.6e9", "28.54", _T2), PLAIN, "resnet34"),
    Entry("resnet8_narrow", _NARROW, 19_218, 3_170_624, Published("residuum, this project"), NARROW, "resnet20"),
    Entry("resnet20", cifar(20), 269_722, 40_551_040, _cifar("0.27M", "8.75"), twin="plain20"),
    Entry("resnet32", cifar(32), 464_154, 68_862_592, _cifar("0.46M", "7.51"), twin="plain32"),
    Entry("resnet44", cifar(44), 658_586, 97_174_144, _cifar("0.66M", "7.17"), twin="plain44"),
    Entry("resnet56", cifar(56), 853_018, 125_485_696, _cifar("0.85M", "6.97"), twin="plain56"),
    Entry("resnet110", cifar(110), 1_727_962, 252_887_680, _cifar("1.7M", "6.43 best of 5, 6.61 ± 0.16"),
          "the published recipe warms up at 0.01 until the training error is below 80 %", "plain110"),
    Entry("resnet1202", cifar(1202), 19_421_274, 2_829_238_912, _cifar("19.4M", "7.93"), twin="resnet110"),
    Entry("plain20", cifar(20, shortcut="none"), 269_722, 40_551_040, _FIGURE_6, NO_ROW, "resnet20"),
    Entry("plain32", cifar(32, shortcut="none"), 464_154, 68_862_592, _FIGURE_6, NO_ROW, "resnet32"),
    Entry("plain44", cifar(44, shortcut="none"), 658_586, 97_174_144, _FIGURE_6, NO_ROW, "resnet44"),
    Entry("plain56", cifar(56, shortcut="none"), 853_018, 125_485_696, _FIGURE_6, NO_ROW, "resnet56"),
    Entry("plain110", cifar(110, shortcut="none"), 1_727_962, 252_887_680,
          Published(f"{HE2015}, Figure 6", error="over 60"), NO_ROW, "resnet110"),
    Entry("preact_resnet18", imagenet(*_18, block="basic", preactivation=True), 11_687_720, 1_814_073_344, _NONE_2016,
          twin="resnet18"),
    Entry("preact_resnet34", imagenet(*_34, block="basic", preactivation=True), 21_795_880, 3_663_761_408, _NONE_2016,
          twin="resnet34"),
    Entry("preact_resnet50", imagenet(*_34, block="bottleneck", preactivation=True), 25_549_352, 4_089_184_256,
          _NONE_2016, twin="resnet50"),
    Entry("preact_resnet101", imagenet(*_101, block="bottleneck", preactivation=True), 44_541_480, 7_801_405_440,
          _NONE_2016, twin="resnet101"),
    Entry("preact_resnet152", imagenet(*_152, block="bottleneck", preactivation=True), 60_185_128, 11_513_626_624,
          _NONE_2016, twin="resnet152"),
    Entry("preact_resnet200", imagenet(*_200, block="bottleneck", preactivation=True), 64_666_152, 15_007_481_856,
          _NONE_2016, twin="preact_resnet152"),
    Entry("preact_resnet110", cifar(110, preactivation=True), 1_727_962, 252_887_680,
          Published(f"{HE2016}, Table 3", error="6.37"), twin="resnet110"),
    Entry("preact_resnet164", _preact_cifar(164), 1_703_258, 244_500_992,
          Published(f"{HE2016}, Table 3", error="5.46"), PREACT_CIFAR, "preact_resnet110"),
    Entry("preact_resnet1001", _preact_cifar(1001), 10_327_706, 1_487_849_984,
          Published(f"{HE2016}, Table 3", error="4.92"), PREACT_CIFAR, "preact_resnet164"),
    Entry("resnext50_32x4d", resnext(*_34, groups=32, group_width=4), 25_028_904, 4_230_479_872,
          Published(f"{XIE2017}, Table 1, Table 3 (single-crop top-1)", "25.0M", "4.2e9", "22.2"), twin="resnet50"),
    Entry("resnext101_32x8d", resnext(*_101, groups=32, group_width=8), 88_791_336, 16_414_015_488,
          Published(XIE2017), X101, "resnet101"),
    Entry("wide_resnet50_2", imagenet(*_34, block="bottleneck", widen=2), 68_883_240, 11_398_021_120,
          Published(f"{ZAGORUYKO2016}, Table 8 (single-crop top-1)", "68.9M", error="21.9"), twin="resnet50"),
    Entry("wide_resnet101_2", imagenet(*_101, block="bottleneck", widen=2), 126_886_696, 22_753_050_624,
          Published(ZAGORUYKO2016), W101, "resnet101"),
    Entry("se_resnet50", imagenet(*_34, block="bottleneck", squeeze=16), 28_088_024, 4_091_699_200,
          Published(f"{HU2018}, Table 2 (single-crop top-1)", macs="3.87e9", error="23.29"), SE, "resnet50"),
    Entry("resnetd50", imagenet(*_34, block="bottleneck", stem="deep", shortcut="pool_project"),
          25_576_264, 4_328_824_832,
          Published(f"{TONG_HE2018}, Table 5 (single-crop top-1)", macs="4.3e9", error="22.84 (prints 77.16 right)"),
          twin="resnet50"),
    Entry("wrn16_1", wide(16, 1), 175_066, 26_657_408, Published(ZAGORUYKO2016), WRN_NO_ROW, "wrn16_2"),
    Entry("wrn16_2", wide(16, 2), 691_674, 101_106_944, Published(ZAGORUYKO2016), WRN_NO_ROW, "wrn16_1"),
    Entry("wrn16_4", wide(16, 4), 2_748_890, 392_612_352, _wide("Table 6", "", "5.02"), WRN, "wrn16_1"),
    Entry("wrn16_8", wide(16, 8), 10_961_370, 1_548_145_664, _wide("Table 5", "11.0M", "4.27"), WRN, "wrn40_4"),
    Entry("wrn22_8", wide(22, 8), 17_158_106, 2_454_115_328, _wide("Table 4", "17.2M", "4.38"), WRN_ZCA, "wrn16_8"),
    Entry("wrn28_10", wide(28, 10), 36_479_194, 5_243_328_768, _wide("Table 5", "36.5M", "4.00"), WRN,
          "preact_resnet1001"),
    Entry("wrn40_1", wide(40, 1), 563_930, 83_280_512, _wide("Table 4", "0.6M", "6.85"), WRN_40_1, "wrn40_2"),
    Entry("wrn40_2", wide(40, 2), 2_243_546, 327_599_360, _wide("Table 4", "2.2M", "5.33"), WRN_ZCA, "wrn40_1"),
    Entry("wrn40_4", wide(40, 4), 8_949_210, 1_298_582_016, _wide("Table 5", "8.9M", "4.53"), WRN, "wrn16_8"),
)
# fmt: on

CATALOG: dict[str, Entry] = {entry.name: entry for entry in ENTRIES}


def entry(name: str) -> Entry:
    """The catalog's entry of that name; of one such as `resnet20+shortcut=project`, an entry made for it.

    Raises:
        InputError: there is none; the message names the nearest net, field or value.
    """
    base = modified.base_of(name)
    if base not in CATALOG:
        raise unknown("net", base, CATALOG)
    return _modified_entry(name) if modified.is_modified(name) else CATALOG[name]


def find(name: str) -> Entry | None:
    """What `entry` gives; None where there is none."""
    if base(name) not in CATALOG:
        return None
    try:
        return entry(name)
    except InputError:
        return None


def knows(name: str) -> bool:
    """Whether a net has that name, one with changed fields included."""
    return find(name) is not None


def base(name: str) -> str:
    """The net of the catalog that a name changes; the name itself where it changes nothing."""
    return modified.base_of(name)


def changes(name: str) -> Mapping[str, str]:
    """What a name changes of its base, field to value as written; nothing where it is a name of the catalog.

    Raises:
        InputError: a change is not of the form FIELD=VALUE.
    """
    return modified.changes_of(name)


@lru_cache(maxsize=256)
def _modified_entry(name: str) -> Entry:
    """The entry of a net with changed fields; its cost is counted from the net, built without values."""
    of = CATALOG[modified.base_of(name)]
    changed = modified.changes_of(name)
    variant = modified.modified(of.variant, changed)
    parameters, macs = modified.cost_of(variant, name)
    note = f"{of.name} with {modified.described(of.variant, changed)}"
    return Entry(name, variant, parameters, macs, Published(OF_NO_PAPER), note, of.name)


def matching(pattern: str) -> Sequence[Entry]:
    """Entries whose name contains `pattern`, or matches it as a shell pattern (`preact_*`); or that of a changed net.

    Raises:
        InputError: the pattern has the form of the name of a net with changed fields, and is none.
    """
    if modified.is_modified(pattern):
        return [entry(pattern)]
    return [each for each in ENTRIES if pattern in each.name or fnmatch.fnmatch(each.name, pattern)]


def net(name: str, *, num_classes: int | None = None, in_channels: int | None = None) -> nn.Module:
    """Build an untrained net of the catalog.

    Args:
        name: `resnet50`, `plain56`, `preact_resnet164`, ...; `residuum list` shows them all. Fields of a net can be
            changed, as in `resnet20+shortcut=project+batch_norm=no` (`residuum.nets.modified`).
        num_classes: outputs; that of the paper by default (1000 for ImageNet nets, 10 for CIFAR nets).
        in_channels: channels of the image; that of the paper by default (1 for LeNet-5, 3 for all others).

    Returns:
        A plain `torch.nn.Module`: images `(N, in_channels, H, W)` to logits `(N, num_classes)`.

    Raises:
        InputError: no net has that name, or `num_classes` or `in_channels` is below 1.
    """
    return entry(name).build(num_classes=num_classes, in_channels=in_channels)
