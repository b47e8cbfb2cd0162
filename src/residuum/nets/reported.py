"""What is reported of the nets beside their own paper's table: errors that can be compared, and slips that are taught.

An error can only be compared with errors of the same protocol, so each protocol is a table of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# Error in percent, by protocol and net.
ERRORS: dict[str, dict[str, float]] = {
    # The weights called IMAGENET1K_V1 on torchvision's model pages: 100 minus the accuracy printed there.
    "ImageNet top-1 error %, one 224 crop (torchvision, first weights)": {
        "alexnet": 43.478,
        "vgg11": 30.980,
        "vgg13": 30.072,
        "vgg16": 28.408,
        "vgg19": 27.624,
        "vgg11_bn": 29.630,
        "vgg13_bn": 28.414,
        "vgg16_bn": 26.640,
        "vgg19_bn": 25.782,
        "googlenet_bn": 30.222,
        "resnet18": 30.242,
        "resnet34": 26.686,
        "resnet50": 23.870,
        "resnet101": 22.626,
        "resnet152": 21.688,
        "resnext50_32x4d": 22.382,
        "resnext101_32x8d": 20.688,
        "wide_resnet50_2": 21.532,
        "wide_resnet101_2": 21.152,
    },
    # He et al. 2015, Tables 2 and 3; VGG-16 as He et al. tested it.
    "ImageNet top-1 error %, 10 crops (He et al. 2015)": {
        "vgg16": 28.07,
        "plain18": 27.94,
        "plain34": 28.54,
        "resnet18_a": 27.88,
        "resnet34_a": 25.03,
        "resnet34": 24.52,
        "resnet34_c": 24.19,
        "resnet50_v1": 22.85,
        "resnet101_v1": 21.75,
        "resnet152_v1": 21.43,
    },
    # He et al. 2015, Table 6 (110: mean of five); He et al. 2016, Table 3, and Zagoruyko & Komodakis 2016, Tables 5 and
    # 6, without dropout (medians of five). Their Table 4 is of ZCA-whitened images.
    "CIFAR-10 test error %": {
        "resnet20": 8.75,
        "resnet32": 7.51,
        "resnet44": 7.17,
        "resnet56": 6.97,
        "resnet110": 6.61,
        "resnet1202": 7.93,
        "preact_resnet110": 6.37,
        "preact_resnet164": 5.46,
        "preact_resnet1001": 4.92,
        "wrn16_4": 5.02,
        "wrn16_8": 4.27,
        "wrn40_4": 4.53,
        "wrn28_10": 4.00,
    },
}

Quantity = Literal["parameters", "inference_parameters", "macs", "activation_values"]


@dataclass(frozen=True)
class Taught:
    """A figure in circulation that the exact one does not bear out.

    Attributes:
        quantity: a total of the cost report.
        says: the figure, as it is told.
        source: who tells it.
        why: what makes the difference.
    """

    quantity: Quantity
    says: str
    source: str
    why: str


TAUGHT: dict[str, tuple[Taught, ...]] = {
    "vgg16": (
        Taught(
            "activation_values",
            "24M values, 93 MB for an image",
            "lecture notes",
            "the rows of their own table add up to 15.2M values; with 4 bytes each that is 61 MB (58 MiB)",
        ),
    ),
    "googlenet": (
        Taught(
            "inference_parameters",
            "5M, 12 times fewer than AlexNet",
            "the paper and lecture notes",
            "without the auxiliary heads there are 6,998,552, which is 8.7 times fewer than AlexNet's 60,965,224",
        ),
    ),
}

# Comparisons that are told as a ratio.
RATIOS: dict[tuple[str, str], str] = {
    ("plain34", "vgg19"): "He et al. 2015, section 3.3, prints 18 %: its rounded 3.6 over 19.6 billion",
    (
        "resnet34",
        "vgg19",
    ): "He et al. 2015, section 3.3, prints 18 % of the plain net: its rounded 3.6 over 19.6 billion",
    ("googlenet", "alexnet_2012"): "told as 12 times fewer parameters: 8.7 times without the auxiliary heads",
    ("googlenet", "alexnet"): "told as 12 times fewer parameters: 8.7 times without the auxiliary heads",
    ("resnet152", "vgg16"): "He et al. 2015, section 4.1, prints 11.3 over 15.3 billion",
    ("resnet152", "vgg19"): "He et al. 2015, section 4.1, prints 11.3 over 19.6 billion",
    ("resnet50", "resnet34"): "a bottleneck gives 50 layers for about the cost of 34 (3.8 over 3.6 billion as printed)",
}
