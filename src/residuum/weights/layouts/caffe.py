"""Caffe's layout: the residual networks as Kaiming He released them, and VGG as its authors did.

    theirs                                             ours
    conv1, bn_conv1, scale_conv1                       conv1, bn1
    res3a_branch2b, bn3a_branch2b, scale3a_branch2b    layer2.0.conv2, layer2.0.bn2
    res3a_branch1, bn3a_branch1, scale3a_branch1       layer2.0.downsample.0, layer2.0.downsample.1
    res3b2_branch2a (101 and 152 layers), fc1000       layer2.2.conv1, fc
    conv1_2                                            features.2
    fc6, fc7, fc8                                      classifier.0, classifier.3, classifier.6

Each layer's tensors are numbered. BN has mean, variance and a factor that divides both (0: they are 0); its weight and
bias are a layer of their own. Images are blue, green, red of 0..255 less a mean: the order goes into the first
convolution, range and mean into `preprocessing`. The residual networks subtract a mean image, one value for each pixel;
what is given here is its mean of each channel. Source: prototxt of KaimingHe/deep-residual-networks; caffe,
batch_norm_layer.cpp; prototxt of VGG in Caffe's model zoo.
"""

from __future__ import annotations

import re
from functools import partial

import torch
from torch import Tensor

from residuum.weights.layouts.mapped import (
    HE_MEAN,
    VGG_MEAN,
    Mapped,
    Tensors,
    first_1x1_strides,
    from_rgb,
    pixels_less,
    vgg_layers,
    with_biases_in_means,
)

BLOCK = re.compile(r"(res|bn|scale)([2-5])(b\d+|[a-z])_branch(1|2[a-c])")
ENDS = {"conv1": "conv1", "bn_conv1": "bn1", "scale_conv1": "bn1", "fc1000": "fc"}
VGG_CONVOLUTION = re.compile(r"conv([1-5])_(\d)")
VGG_LINEAR = {"fc6": "classifier.0", "fc7": "classifier.3", "fc8": "classifier.6"}
KINDS = {"0": "weight", "1": "bias"}
NORM_KINDS = {"0": "running_mean", "1": "running_var", "2": "factor"}
MEAN_IMAGE = "the mean image of the originals, one value for each pixel, is approximated by its mean of each channel"


def caffe(tensors: Tensors) -> Mapped | None:
    """Tensors of a Caffe ResNet or VGG, None for others."""
    layers = {name.rpartition("/")[0] for name in tensors}
    if "res2a_branch2a" in layers and "bn2a_branch2a/2" in tensors:
        return resnet(tensors)
    if "conv1_1" in layers:
        return vgg(tensors, layers)
    return None


def resnet(tensors: Tensors) -> Mapped:
    """A ResNet's tensors by our names."""
    mapped = {}
    for name, tensor in tensors.items():
        layer, _, number = name.rpartition("/")
        kinds = NORM_KINDS if layer.startswith("bn") else KINDS
        ours, kind = resnet_layer(layer), kinds.get(number, "")
        ndim = 1 if kind != "weight" or "scale" in layer else 2 if ours == "fc" else 4
        mapped[f"{ours}.{kind}" if ours and kind else name] = trimmed(tensor, ndim)
    return Mapped(
        layout="Caffe ResNet",
        tensors=from_rgb(with_biases_in_means(divided(mapped)), "conv1.weight"),
        trained=partial(first_1x1_strides, pool="ceil"),
        preprocessing=pixels_less(HE_MEAN),
        notes=(MEAN_IMAGE,),
    )


def resnet_layer(layer: str) -> str:
    """Our name of a layer, or nothing."""
    block = BLOCK.fullmatch(layer)
    if not block:
        return ENDS.get(layer, "")
    kind, stage, name, branch = block.groups()
    number = int(name[1:]) if len(name) > 1 else ord(name) - ord("a")
    norm = kind != "res"
    inner = f"downsample.{int(norm)}" if branch == "1" else f"{'bn' if norm else 'conv'}{'abc'.index(branch[1]) + 1}"
    return f"layer{int(stage) - 1}.{number}.{inner}"


def trimmed(tensor: Tensor, ndim: int) -> Tensor:
    """Without the leading ones that old files have: (1, 1, 1, 64) is (64,)."""
    while tensor.ndim > ndim and tensor.shape[0] == 1:
        tensor = tensor[0]
    return tensor


def divided(tensors: Tensors) -> dict[str, Tensor]:
    """Means and variances divided by their layer's factor."""
    scaled = dict(tensors)
    for name, factor in tensors.items():
        layer, _, kind = name.rpartition(".")
        if kind != "factor" or factor.numel() != 1:
            continue
        del scaled[name]
        for each in (f"{layer}.running_mean", f"{layer}.running_var"):
            if each in tensors:
                sums, number = tensors[each].double(), factor.double().reshape(())
                scaled[each] = (torch.zeros_like(sums) if number == 0 else sums / number).float()
    return scaled


def vgg(tensors: Tensors, layers: set[str]) -> Mapped:
    """A VGG's tensors by our names."""
    ours = vgg_layers(layers, VGG_CONVOLUTION, VGG_LINEAR)
    mapped = {}
    for name, tensor in tensors.items():
        layer, _, number = name.rpartition("/")
        known = layer in ours and number in KINDS
        ndim = 1 if number != "0" else 2 if layer in VGG_LINEAR else 4
        mapped[f"{ours[layer]}.{KINDS[number]}" if known else name] = trimmed(tensor, ndim)
    return Mapped(
        layout="Caffe VGG", tensors=from_rgb(mapped, "features.0.weight"), preprocessing=pixels_less(VGG_MEAN)
    )
