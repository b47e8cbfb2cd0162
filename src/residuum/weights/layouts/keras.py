"""Keras's layout: ResNet-50, -101, -152 (the first version) and VGG-16, -19 of keras.applications.

    theirs                                    ours
    conv1_conv, conv1_bn                      conv1, bn1
    conv3_block2_1_conv, conv3_block2_1_bn    layer2.1.conv1, layer2.1.bn1
    conv3_block1_0_conv, conv3_block1_0_bn    layer2.0.downsample.0, layer2.0.downsample.1
    predictions (or probs)                    fc
    block1_conv2                              features.2
    fc1, fc2, predictions                     classifier.0, classifier.3, classifier.6

Kernels are height, width, in, out. ResNets have biases before BN, whose epsilon is 1.001e-5, where ours is 1e-5: both
go into the running statistics, without loss. Images are blue, green, red of 0..255 less a mean: the order goes into the
first convolution, and range and mean into `preprocessing`. VGG's first linear layer takes a map as height, width,
channel, ours as channel, height, width. Source: keras.applications, resnet.py, vgg16.py, imagenet_utils.py ("caffe").
"""

from __future__ import annotations

import re
from functools import partial

from torch import Tensor

from residuum.weights.layouts.mapped import (
    VGG_MEAN,
    Mapped,
    Tensors,
    first_1x1_strides,
    from_rgb,
    pixels_less,
    vgg_layers,
    with_biases_in_means,
)

EPSILON, OUR_EPSILON = 1.001e-5, 1e-5
GRID = 7  # side of the map that VGG's linear layers take
# The last part of a name: `kernel:0`, or `block1_conv1_W_1:0` as Keras 1 wrote VGG's.
KIND = re.compile(r"(?:^|_)(kernel|W|bias|b|gamma|beta|moving_mean|moving_variance)(?:_\d+)?(?::0)?$")
OUR_KIND = {
    "kernel": "weight",
    "W": "weight",
    "bias": "bias",
    "b": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
RESNET_BLOCK = re.compile(r"conv([2-5])_block(\d+)_([0-3])_(conv|bn)")
RESNET_ENDS = {"conv1_conv": "conv1", "conv1_bn": "bn1", "predictions": "fc", "probs": "fc"}
VGG_CONVOLUTION = re.compile(r"block([1-5])_conv(\d)")
VGG_LINEAR = {"fc1": "classifier.0", "fc2": "classifier.3", "predictions": "classifier.6"}


def keras(tensors: Tensors) -> Mapped | None:
    """Tensors of Keras's ResNet or VGG, None for others."""
    layers = {layer_of(name) for name in tensors if "/" in name}
    if "conv1_conv" in layers:
        return resnet(tensors)
    if "block1_conv1" in layers:
        return vgg(tensors, layers)
    return None


def layer_of(name: str) -> str:
    """The layer that a tensor is of: what comes before the first slash."""
    return name.partition("/")[0]


def kind_of(name: str) -> str:
    """`weight`, `bias`, `running_mean`, `running_var`, or nothing."""
    found = KIND.search(name.rpartition("/")[2])
    return OUR_KIND[found[1]] if found else ""


def resnet(tensors: Tensors) -> Mapped:
    """A ResNet's tensors by our names."""
    mapped = {our_name(name, resnet_layer(layer_of(name))): turned(tensor) for name, tensor in tensors.items()}
    for name, tensor in mapped.items():
        if name.endswith("running_var"):
            mapped[name] = (tensor.double() + (EPSILON - OUR_EPSILON)).float()
    return Mapped(
        layout="Keras ResNet",
        tensors=from_rgb(with_biases_in_means(mapped), "conv1.weight"),
        trained=partial(first_1x1_strides, pool="padded"),
        preprocessing=pixels_less(VGG_MEAN),
    )


def our_name(name: str, layer: str) -> str:
    """The name in our net; as it is in the file where layer or kind is unknown."""
    kind = kind_of(name)
    return f"{layer}.{kind}" if layer and kind else name


def resnet_layer(layer: str) -> str:
    """Our name of a layer, or nothing."""
    block = RESNET_BLOCK.fullmatch(layer)
    if not block:
        return RESNET_ENDS.get(layer, "")
    stage, number, place = int(block[1]) - 1, int(block[2]) - 1, block[3]
    inner = f"downsample.{int(block[4] == 'bn')}" if place == "0" else block[4] + place
    return f"layer{stage}.{number}.{inner}"


def turned(tensor: Tensor) -> Tensor:
    """A kernel with its outputs first: (H, W, I, O) to (O, I, H, W), (I, O) to (O, I)."""
    if tensor.ndim == 4:
        return tensor.permute(3, 2, 0, 1)
    return tensor.T if tensor.ndim == 2 else tensor


def vgg(tensors: Tensors, layers: set[str]) -> Mapped:
    """A VGG's tensors by our names."""
    ours = vgg_layers(layers, VGG_CONVOLUTION, VGG_LINEAR)
    mapped = {our_name(name, ours.get(layer_of(name), "")): turned(tensor) for name, tensor in tensors.items()}
    first_linear = mapped.get("classifier.0.weight")
    if first_linear is not None and first_linear.ndim == 2 and first_linear.shape[1] % GRID**2 == 0:
        mapped["classifier.0.weight"] = (
            first_linear.reshape(len(first_linear), GRID, GRID, -1).permute(0, 3, 1, 2).flatten(1)
        )
    return Mapped(
        layout="Keras VGG", tensors=from_rgb(mapped, "features.0.weight"), preprocessing=pixels_less(VGG_MEAN)
    )
