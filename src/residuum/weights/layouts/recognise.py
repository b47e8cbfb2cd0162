"""Which layout a file has, told by its names."""

from __future__ import annotations

import re

from residuum.errors import InputError
from residuum.weights.layouts.caffe import caffe
from residuum.weights.layouts.keras import keras
from residuum.weights.layouts.mapped import Mapped, Tensors, is_whole
from residuum.weights.layouts.named import named, unwrapped

# What cannot be mapped, told by one name: what it is, and what to do.
UNREADABLE = (
    (
        # torch's former exporter; onnx_ir, _name_authority.py; onnxscript, _fuse_batchnorm.py
        re.compile(r"onnx::|val_\d|.*\.weight_bias$"),
        "its exporter has made tensors that no net has, as it does where it folds batch normalisation",
        "the state dict that the ONNX file was exported from",
    ),
    (
        re.compile(r".*_preact_bn/"),
        "is a ResNet V2 of Keras, which has no counterpart here",
        "Keras's ResNet50 weights",
    ),
    (
        re.compile(r"(_?layers|_layer_checkpoint_dependencies)/.*vars/\d+$"),
        "is of Keras 3, which numbers its tensors and does not name them",
        "the .h5 weights of keras.applications",
    ),
    (
        re.compile(r"res2a_branch2a/res2a_branch2a"),
        "is the first ResNet50 of Keras, which computed its pooling without padding, and later with",
        "residuum weights fetch resnet50_v1:keras",
    ),
)
OPTIMISER = "optimizer_weights/"


def by_our_names(tensors: Tensors, own: Tensors, *, source: str) -> Mapped:
    """A file's tensors by the names of a net.

    Args:
        tensors: by the names they have in the file.
        own: the state dict of the net that they shall go into.
        source: what messages begin with.

    Raises:
        InputError: of a kind that is known and cannot be mapped, or not made of ordinary numbers.
    """
    for pattern, what, remedy in UNREADABLE:
        if any(pattern.match(name) for name in tensors.keys() - own.keys()):
            raise InputError(f"{source}: {what}. Try: {remedy}")
    if any(name in own for name in tensors):
        return named(tensors, own)
    inner = unwrapped(tensors, own)
    if any("/" in name for name in inner):
        return _of_layers(inner, source)
    return named(inner, own)


def _of_layers(tensors: Tensors, source: str) -> Mapped:
    """Keras or Caffe: names of layers, each with its tensors."""
    odd = next((name for name, tensor in tensors.items() if not is_whole(tensor)), None)
    if odd is not None:
        raise InputError(f"{source}: {odd} is no ordinary tensor ({tensors[odd].dtype}). Try: the original file")
    kept = {
        name.removeprefix("model_weights/"): tensor
        for name, tensor in tensors.items()
        if not name.startswith(OPTIMISER)
    }
    mapped = keras(kept) or caffe(kept)
    if mapped is None:
        raise InputError(
            f"{source}: has layers ({', '.join(list(kept)[:3])}, ...) of no net that is known "
            "(expected ResNet-50, -101, -152 or VGG-16, -19 of Keras or Caffe). Try: weights of torchvision"
        )
    return mapped
