"""The one table of weights that others, or we, have published: where a file is, how it is known, how it is used.

`residuum list --weights` shows it. Addresses, digests, preprocessing and figures are those of the publishers:
torchvision 0.29 (`models.*_Weights`), timm 1.0.31 (`pretrained_cfg`, and the table of results in its model cards),
Keras 3.15 (`applications`), the pages of Kaiming He's and Yerlan Idelbayev's repositories. Accuracy is of one centre
crop, prepared as the entry says; Keras does not tell how it resized images before, and 256 pixels are usual. The
licence of Keras's VGG is Oxford's (CC-BY 4.0, by the README of fchollet/deep-learning-models); for its ResNets none is
stated, so theirs is that of the library that offers them (Apache-2.0). The 8 hex digits in many file names are the
beginning of the file's sha256.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from residuum.data.preprocess import Interpolation, Preprocessing
from residuum.errors import InputError, unknown
from residuum.weights.labels import Labels, class_names
from residuum.weights.layouts.mapped import HE_MEAN, VGG_MEAN

OURS = "residuum"
BEST = ("imagenet", "cifar10", "digits")  # tags that stand for the best file of a net on that data
SHIPPED = Path(__file__).with_name("shipped")  # Classifier directories of our own, a part of the package


@dataclass(frozen=True, kw_only=True)
class PretrainedWeights:
    """One published file of weights.

    Attributes:
        net: the net of the catalog it belongs to.
        tag: what tells it from others of that net.
        publisher: who made it.
        url: its address; empty where a program cannot fetch it, or where it is in the package.
        sha256: its digest in hexadecimal, or the first 8 digits where only these are published.
        md5: where no sha256 is published.
        mib: about its size, in units of 2**20 bytes.
        licence: of the weights, by SPDX identifier.
        labels: what its outputs mean; see `residuum.weights.labels`.
        preprocessing: how images are prepared for it.
        num_test_images: how many images the accuracy was measured on.
        top1, top5: published share of test images, in percent; None where none is published.
        page: where the figures stand.
        how_to_get: what a person has to do where a program cannot fetch it.
    """

    net: str
    tag: str
    publisher: str
    url: str = ""
    sha256: str = ""
    md5: str = ""
    mib: float = 0.0
    licence: str
    labels: Labels
    preprocessing: Preprocessing
    num_test_images: int
    top1: float | None = None
    top5: float | None = None
    page: str
    how_to_get: str = ""

    @property
    def reference(self) -> str:
        """What commands call it: `resnet50:imagenet1k_v2`."""
        return f"{self.net}:{self.tag}"

    @property
    def file_name(self) -> str:
        """Its name in the cache."""
        return self.url.rpartition("/")[2]

    @property
    def class_names(self) -> tuple[str, ...]:
        """What each output means."""
        return class_names(self.labels)

    @property
    def is_ours(self) -> bool:
        """Whether it is a part of this package."""
        return self.publisher == OURS

    @property
    def directory(self) -> Path:
        """Where its Classifier directory lies, if it is ours."""
        return SHIPPED / f"{self.net}-{self.tag}"


MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's training images, in use since torchvision
CIFAR_MEAN, CIFAR_STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)  # of CIFAR-10's
HALF = (0.5, 0.5, 0.5)
_TORCHVISION = "https://download.pytorch.org/models/"
_TIMM = "https://github.com/huggingface/pytorch-image-models/releases/download/v0.1-rsb-weights/"
_KERAS = "https://storage.googleapis.com/tensorflow/keras-applications/"
_AKAMASTER = "https://github.com/akamaster/pytorch_resnet_cifar10/raw/master/pretrained_models/"
_HE_PAGE = "https://github.com/KaimingHe/deep-residual-networks"


def _square(
    resize: int,
    crop: int,
    mean: tuple[float, ...] = MEAN,
    std: tuple[float, ...] = STD,
    interpolation: Interpolation = "bilinear",
) -> Preprocessing:
    return Preprocessing(channels=3, resize=resize, crop=(crop, crop), mean=mean, std=std, interpolation=interpolation)


def _of_bytes(mean: tuple[float, ...]) -> Preprocessing:
    """A mean of pixels in 0..255 subtracted, nothing divided; the layouts turn BGR kernels to RGB."""
    return _square(256, 224, tuple(value / 255 for value in mean), (1 / 255,) * 3)


V1, V2, GOOGLENET = _square(256, 224), _square(232, 224), _square(256, 224, HALF, HALF)
RSB = _square(235, 224, interpolation="bicubic")  # 224 / 0.95, rounded down as timm does
KERAS, CAFFE = _of_bytes(VGG_MEAN), _of_bytes(HE_MEAN)
CIFAR = _square(32, 32)


def _prefix(file: str) -> str:
    found = re.search(r"-([0-9a-f]{8})\.\w+$", file)
    return found[1] if found else ""


def _torchvision(
    net: str, file: str, mib: float, top1: float, top5: float, prepared: Preprocessing = V1, tag: str = "imagenet1k_v1"
) -> PretrainedWeights:
    return PretrainedWeights(
        net=net,
        tag=tag,
        publisher="torchvision",
        url=_TORCHVISION + file,
        sha256=_prefix(file),
        mib=mib,
        licence="BSD-3-Clause",
        labels="imagenet",
        num_test_images=50_000,
        preprocessing=prepared,
        top1=top1,
        top5=top5,
        page="https://docs.pytorch.org/vision/stable/models.html",
    )


def _v2(net: str, file: str, mib: float, top1: float, top5: float) -> PretrainedWeights:
    return _torchvision(net, file, mib, top1, top5, V2, "imagenet1k_v2")


def _timm(net: str, recipe: str, file: str, mib: float, top1: float, top5: float) -> PretrainedWeights:
    name = {"resnetd50": "resnet50d", "se_resnet50": "seresnet50"}.get(net, net)
    return PretrainedWeights(
        net=net,
        tag=f"{recipe}_in1k",
        publisher="timm",
        url=_TIMM + file,
        sha256=_prefix(file),
        mib=mib,
        licence="Apache-2.0",
        labels="imagenet",
        num_test_images=50_000,
        preprocessing=RSB,
        top1=top1,
        top5=top5,
        page=f"https://huggingface.co/timm/{name}.{recipe}_in1k",
    )


def _keras(net: str, file: str, md5: str, mib: float, top1: float, top5: float) -> PretrainedWeights:
    return PretrainedWeights(
        net=net,
        tag="keras",
        publisher="Keras",
        url=f"{_KERAS}{file}_weights_tf_dim_ordering_tf_kernels.h5",
        md5=md5,
        mib=mib,
        licence="Apache-2.0" if net.startswith("resnet") else "CC-BY-4.0",
        labels="imagenet",
        num_test_images=50_000,
        preprocessing=KERAS,
        top1=top1,
        top5=top5,
        page="https://keras.io/api/applications/",
    )


def _caffe(depth: int, mib: float, top1: float, top5: float) -> PretrainedWeights:
    net = f"resnet{depth}_caffe"
    return PretrainedWeights(
        net=net,
        tag="caffe",
        publisher="Kaiming He",
        mib=mib,
        licence="MIT",
        labels="imagenet",
        num_test_images=50_000,
        preprocessing=CAFFE,
        top1=top1,
        top5=top5,
        page=_HE_PAGE,
        how_to_get=f"get ResNet-{depth}-model.caffemodel by a browser from {_HE_PAGE}, then "
        f"residuum weights import ResNet-{depth}-model.caffemodel --net {net} --classes imagenet --out DIR",
    )


def _akamaster(depth: int, digest: str, mib: float, top1: float | None) -> PretrainedWeights:
    return PretrainedWeights(
        net=f"resnet{depth}",
        tag="akamaster",
        publisher="akamaster",
        url=f"{_AKAMASTER}resnet{depth}-{digest}.th",
        sha256=digest,
        mib=mib,
        licence="BSD-2-Clause",
        labels="cifar10",
        num_test_images=10_000,
        preprocessing=CIFAR,
        top1=top1,
        page="https://github.com/akamaster/pytorch_resnet_cifar10",
    )


# fmt: off
ENTRIES: tuple[PretrainedWeights, ...] = (
    #            net                 file                              MiB      top-1   top-5
    _torchvision("alexnet",          "alexnet-owt-7be5be79.pth",       233.087, 56.522, 79.066),
    _torchvision("vgg11",            "vgg11-8a719046.pth",             506.840, 69.020, 88.628),
    _torchvision("vgg13",            "vgg13-19584684.pth",             507.545, 69.928, 89.246),
    _torchvision("vgg16",            "vgg16-397923af.pth",             527.796, 71.592, 90.382),
    _torchvision("vgg19",            "vgg19-dcbb9e9d.pth",             548.051, 72.376, 90.876),
    _torchvision("vgg11_bn",         "vgg11_bn-6002323d.pth",          506.881, 70.370, 89.810),
    _torchvision("vgg13_bn",         "vgg13_bn-abd245e5.pth",          507.590, 71.586, 90.374),
    _torchvision("vgg16_bn",         "vgg16_bn-6c64b313.pth",          527.866, 73.360, 91.516),
    _torchvision("vgg19_bn",         "vgg19_bn-c79401a0.pth",          548.143, 74.218, 91.842),
    _torchvision("googlenet_bn",     "googlenet-1378be20.pth",          49.731, 69.778, 89.530, GOOGLENET),
    _torchvision("resnet18",         "resnet18-f37072fd.pth",           44.661, 69.758, 89.078),
    _torchvision("resnet34",         "resnet34-b627a593.pth",           83.275, 73.314, 91.420),
    _torchvision("resnet50",         "resnet50-0676ba61.pth",           97.781, 76.130, 92.862),
    _torchvision("resnet101",        "resnet101-63fe2227.pth",         170.511, 77.374, 93.546),
    _torchvision("resnet152",        "resnet152-394f9c45.pth",         230.434, 78.312, 94.046),
    _torchvision("resnext50_32x4d",  "resnext50_32x4d-7cdf4587.pth",    95.789, 77.618, 93.698),
    _torchvision("resnext101_32x8d", "resnext101_32x8d-8ba56ff5.pth",  339.586, 79.312, 94.526),
    _torchvision("wide_resnet50_2",  "wide_resnet50_2-95faca4d.pth",   131.820, 78.468, 94.086),
    _torchvision("wide_resnet101_2", "wide_resnet101_2-32ee1156.pth",  242.896, 78.848, 94.284),
    _v2("resnet50",                  "resnet50-11ad3fa6.pth",           97.790, 80.858, 95.434),
    _v2("resnet101",                 "resnet101-cd907fc2.pth",         170.530, 81.886, 95.780),
    _v2("resnet152",                 "resnet152-f82ba261.pth",         230.474, 82.284, 96.002),
    _v2("resnext50_32x4d",           "resnext50_32x4d-1a0047aa.pth",    95.833, 81.198, 95.340),
    _v2("resnext101_32x8d",          "resnext101_32x8d-110c445d.pth",  339.673, 82.834, 96.228),
    _v2("wide_resnet50_2",           "wide_resnet50_2-9ba9bcbe.pth",   263.124, 81.602, 95.758),
    _v2("wide_resnet101_2",          "wide_resnet101_2-d733dc28.pth",  484.747, 82.510, 96.020),

    _timm("resnet18",        "a1", "resnet18_a1_0-d63eafa0.pth",         44.7, 71.49, 90.07),
    _timm("resnet18",        "a2", "resnet18_a2_0-b61bd467.pth",         44.7, 70.64, 89.47),
    _timm("resnet18",        "a3", "resnet18_a3_0-40c531c8.pth",         44.7, 68.25, 88.17),
    _timm("resnet34",        "a1", "resnet34_a1_0-46f8f793.pth",         83.3, 76.42, 92.87),
    _timm("resnet34",        "a2", "resnet34_a2_0-82d47d71.pth",         83.3, 75.52, 92.44),
    _timm("resnet34",        "a3", "resnet34_a3_0-a20cabb6.pth",         83.3, 72.98, 91.11),
    _timm("resnet50",        "a1", "resnet50_a1_0-14fe96d1.pth",         97.8, 80.38, 94.60),
    _timm("resnet50",        "a2", "resnet50_a2_0-a2746f79.pth",         97.8, 79.85, 94.56),
    _timm("resnet50",        "a3", "resnet50_a3_0-59cae1ef.pth",         97.8, 78.06, 93.78),
    _timm("resnet101",       "a1", "resnet101_a1_0-cdcb52a9.pth",       170.5, 81.50, 95.16),
    _timm("resnet101",       "a2", "resnet101_a2_0-6edb36c7.pth",       170.5, 81.32, 95.19),
    _timm("resnet101",       "a3", "resnet101_a3_0-1db14157.pth",       170.5, 79.82, 94.62),
    _timm("resnet152",       "a1", "resnet152_a1_0-2eee8a7a.pth",       230.4, 81.97, 95.24),
    _timm("resnet152",       "a2", "resnet152_a2_0-b4c6978f.pth",       230.4, 81.77, 95.22),
    _timm("resnet152",       "a3", "resnet152_a3_0-134d4688.pth",       230.4, 80.56, 95.00),
    _timm("resnext50_32x4d", "a1", "resnext50_32x4d_a1_0-b5a91a1d.pth",  95.8, 80.53, 94.46),
    _timm("resnext50_32x4d", "a2", "resnext50_32x4d_a2_0-efc76add.pth",  95.8, 80.45, 94.63),
    _timm("resnext50_32x4d", "a3", "resnext50_32x4d_a3_0-3e450271.pth",  95.8, 79.25, 94.31),
    _timm("resnetd50",       "a1", "resnet50d_a1_0-e20cff14.pth",        97.9, 80.68, 94.71),
    _timm("resnetd50",       "a2", "resnet50d_a2_0-a3adc64d.pth",        97.9, 80.22, 94.63),
    _timm("resnetd50",       "a3", "resnet50d_a3_0-403fdfad.pth",        97.9, 78.71, 94.24),
    _timm("se_resnet50",     "a1", "seresnet50_a1_0-ffa00869.pth",      107.5, 80.02, 94.71),
    _timm("se_resnet50",     "a2", "seresnet50_a2_0-850de0d9.pth",      107.5, 80.08, 94.74),
    _timm("se_resnet50",     "a3", "seresnet50_a3_0-317ecd56.pth",      107.5, 77.02, 93.07),

    _keras("vgg16",        "vgg16/vgg16",      "64373286793e3c8b2b4e3219cbf3544b", 528, 71.3, 90.1),
    _keras("vgg19",        "vgg19/vgg19",      "cbe5617147190e668d6c5d5026f83318", 549, 71.3, 90.0),
    _keras("resnet50_v1",  "resnet/resnet50",  "2cb95161c43110f7111970584f804107",  98, 74.9, 92.1),
    _keras("resnet101_v1", "resnet/resnet101", "f1aeb4b969a6efcfb50fad2f0c20cfc5", 171, 76.4, 92.8),
    _keras("resnet152_v1", "resnet/resnet152", "100835be76be38e30d865e96f2aaae62", 232, 76.6, 93.1),

    _caffe(50,   97.8, 75.3, 92.2),
    _caffe(101, 170.5, 76.4, 92.9),
    _caffe(152, 230.4, 77.0, 93.3),

    _akamaster(20,   "12fca82f",  1.0, 91.73),
    _akamaster(32,   "d509ac18",  1.8, 92.63),
    _akamaster(44,   "014dd654",  2.6, 93.10),
    _akamaster(56,   "4bfd9763",  3.4, 93.39),
    _akamaster(110,  "1d1ed7c2",  6.7, 93.68),
    _akamaster(1202, "f3b1deed", 77.0, 93.82),
)
# fmt: on


def ours() -> list[PretrainedWeights]:
    """What this package brings with it: an entry for each Classifier directory `shipped/NET-DATA`."""
    return [_from_directory(path.parent) for path in sorted(SHIPPED.glob("*-*/classifier.json"))]


def _from_directory(directory: Path) -> PretrainedWeights:
    net, _, labels = directory.name.rpartition("-")
    document = json.loads((directory / "classifier.json").read_text(encoding="utf-8"))
    tested = document["card"].get("metrics", {}).get("test", {})
    prepared = document["preprocessing"]
    return PretrainedWeights(
        net=net,
        tag=labels,
        publisher=OURS,
        mib=sum(path.stat().st_size for path in directory.iterdir()) / 2**20,
        licence="Apache-2.0",
        labels="digits" if labels == "digits" else "cifar10",
        preprocessing=Preprocessing(
            channels=prepared["channels"],
            resize=prepared["resize"],
            crop=tuple(prepared["crop"]),
            mean=tuple(prepared["mean"]),
            std=tuple(prepared["std"]),
            interpolation=prepared["interpolation"],
        ),
        top1=100 * tested["top1"] if "top1" in tested else None,
        num_test_images=tested.get("num_images", 0),
        page="results/",
    )


def every() -> list[PretrainedWeights]:
    """Ours, then what others have published."""
    return [*ours(), *ENTRIES]


def of_net(net: str) -> list[PretrainedWeights]:
    """All weights that are known for a net."""
    return [each for each in every() if each.net == net]


def find(net: str, tag: str) -> PretrainedWeights:
    """The weights a `NET:TAG` stands for; the best of that net for the tags `imagenet`, `cifar10`, `digits`.

    A tag that an entry has goes before these; then ours before others, then those that a program can fetch, then the
    highest published top-1.

    Raises:
        InputError: there are none; the message lists the tags of that net.
    """
    known = of_net(net)
    if not known:
        raise InputError(f"model: no weights are known for {net} (asked for {tag!r}). Try: residuum list --weights")
    exact = [each for each in known if each.tag == tag]
    if exact:
        return exact[0]
    fitting = [each for each in known if tag in BEST and each.labels == tag]
    if not fitting:
        also = sorted({each.labels for each in known} - {each.tag for each in known})
        raise unknown("weights", f"{net}:{tag}", [f"{net}:{each}" for each in (*also, *(own.tag for own in known))])
    return max(fitting, key=lambda each: (each.is_ours, bool(each.url), each.top1 or 0.0))
