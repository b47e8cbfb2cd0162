"""What a layout makes of a file: tensors by our names; and what several layouts share."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from residuum.nets.resnet import Variant

Normalisation = tuple[tuple[float, ...], tuple[float, ...]]  # mean and deviation of each channel, of pixels in 0..1
Tensors = Mapping[str, Tensor]
Trained = Mapping[str, object]  # values of a Variant that its tensors were trained with

PLAIN_TYPES = frozenset(
    {torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int32, torch.int64, torch.uint8, torch.bool}
)
# Mean of the training images of ImageNet, red, green, blue of 0..255, as VGG's authors give it; Keras took it over.
VGG_MEAN = (123.68, 116.779, 103.939)
# Channel means of the mean image beside Kaiming He's Caffe files (ResNet_mean.binaryproto), which is one value a pixel.
HE_MEAN = (123.151630838, 115.902882574, 103.062623801)


def any_net(variant: Variant) -> Trained:
    """Nothing is known of the net but what its tensors show."""
    return {}


@dataclass(frozen=True)
class Mapped:
    """A file's tensors by the names of our nets.

    Attributes:
        layout: what the names were taken for.
        tensors: by our names; those the layout does not know keep the name they have in the file.
        trained: how the residual network computes that they were trained as, field by field of its `Variant`, given the
            one that they shall go into: equal tensors may belong to nets that compute different things.
        preprocessing: what the images have to be normalised with, where the layout tells.
        notes: what a person should know, a sentence each.
    """

    layout: str
    tensors: Tensors
    trained: Callable[[Variant], Trained] = any_net
    preprocessing: Normalisation | None = None
    notes: tuple[str, ...] = ()


def is_plain(tensor: Tensor) -> bool:
    """Whether a tensor holds ordinary numbers, one for each of its places."""
    return tensor.layout is torch.strided and not tensor.is_meta and tensor.dtype in PLAIN_TYPES


def is_whole(tensor: Tensor) -> bool:
    """Whether a tensor is plain and as large in memory as its shape says, so that one may compute with it."""
    return is_plain(tensor) and tensor.untyped_storage().nbytes() >= tensor.numel() * tensor.element_size()


def first_1x1_strides(variant: Variant, *, pool: str) -> Trained:
    """ResNet-50, -101 and -152 as published, with the pooling of a framework."""
    return {
        "block": "bottleneck",
        "stem": "imagenet",
        "shortcut": "project",
        "preactivation": False,
        "stride_on": "first",
        "pool": pool,
        "widen": 1,
        "groups": 1,
        "squeeze": None,
        "batch_norm": True,
        "head": "average",
        "downsampling": "stride",
        "placement": "published",
    }


def pixels_less(mean: tuple[float, ...]) -> Normalisation:
    """Mean and deviation that give 0..255 less `mean`."""
    return tuple(value / 255 for value in mean), (1 / 255,) * len(mean)


def with_biases_in_means(tensors: Tensors) -> dict[str, Tensor]:
    """BN of conv(x) + b is BN of conv(x) with a mean that is lower by b: exact in evaluation."""
    folded = dict(tensors)
    for name in tensors:
        norm = re.sub(r"(^|\.)(?:conv(\d)|downsample\.0)\.bias$", _norm_of, name)
        mean = folded.get(norm)
        if norm != name and mean is not None and mean.shape == tensors[name].shape:
            folded[norm] = (mean.double() - folded.pop(name).double()).float()
    return folded


def _norm_of(bias: re.Match[str]) -> str:
    return f"{bias[1]}{f'bn{bias[2]}' if bias[2] else 'downsample.1'}.running_mean"


def from_rgb(tensors: Tensors, first: str) -> dict[str, Tensor]:
    """The first convolution, of blue, green, red, turned so that it takes red, green, blue."""
    weight = tensors.get(first)
    if weight is None or weight.ndim != 4 or weight.shape[1] != 3:
        return dict(tensors)
    return {**tensors, first: weight.flip(1)}


def vgg_layers(layers: Iterable[str], convolution: re.Pattern[str], linear: Mapping[str, str]) -> dict[str, str]:
    """Our names of a VGG's layers: each convolution is followed by a ReLU, each stage by a pooling.

    Args:
        layers: as they are called in the file; others among them are left out.
        convolution: of whole names of convolutions, with stage and number.
        linear: our names of the linear layers.
    """
    places = {layer: (int(match[1]), int(match[2])) for layer in layers if (match := convolution.fullmatch(layer))}
    order = {place: index for index, place in enumerate(sorted(set(places.values())))}
    return {**linear, **{layer: f"features.{2 * order[place] + place[0] - 1}" for layer, place in places.items()}}
