"""The two parts of a net in fine-tuning: the last layer, which answers with classes, and the trunk, all before it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from residuum.errors import InputError
from residuum.nets import catalog
from residuum.training.recipe import Orthogonal, Recipe

# Layers after which the norm of the weights before them no longer matters.
NORMALISATIONS = (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm, nn.GroupNorm, nn.LayerNorm)
KERNEL_DIMENSIONS = 4  # of a convolution weight: out, in, height, width


def head_names(net_name: str, num_classes: int, in_channels: int) -> frozenset[str]:
    """Names of the tensors of a catalog's net that depend on the number of classes: its last layer, or layers.

    Found by building the net twice without storage, so that it holds for every family, auxiliary heads included.
    """
    with torch.device("meta"):
        ours, larger = (
            catalog.net(net_name, num_classes=classes, in_channels=in_channels).state_dict()
            for classes in (num_classes, num_classes + 1)
        )
    return frozenset(name for name in ours if ours[name].shape != larger[name].shape)


def head_parameters(net: nn.Module, net_name: str, num_classes: int, in_channels: int) -> list[nn.Parameter]:
    """The parameters of the last layer: of a net of your own, of its last layer with `num_classes` outputs.

    Raises:
        InputError: it has none that can be trained.
    """
    if catalog.knows(net_name):
        names = head_names(net_name, num_classes, in_channels)
        found = [parameter for name, parameter in net.named_parameters() if name in names]
    else:
        layers = [each for each in net.modules() if isinstance(each, nn.Linear | nn.Conv2d)]
        last = [each for each in layers if each.weight.shape[0] == num_classes][-1:]
        found = [parameter for layer in last for parameter in layer.parameters()]
    if not found:
        raise InputError(f"trunk_rate: {net_name} has no last layer with weights of its own. Try: --trunk-rate 1")
    return found


def parameter_groups(
    net: nn.Module, net_name: str, recipe: Recipe, num_classes: int, in_channels: int
) -> list[dict[str, Any]]:
    """What the optimizer moves: parameters, with the `share` of the learning rate at which they learn.

    Convolution weights are in groups of their own, marked `orthogonal`, where the recipe moves them so.

    Raises:
        InputError: the recipe sets the last layer apart, and there is none that can be trained; or it keeps the norm of
            convolution weights, and the net has no normalisation that makes good for it.
    """
    if recipe.orthogonal is not None and not any(isinstance(each, NORMALISATIONS) for each in net.modules()):
        raise InputError(
            f"orthogonal: keeps the norm of convolution weights, which takes normalisation after them, and {net_name} "
            "has none. Try: --recipe cifar"
        )
    groups = _groups_of_parts(net, net_name, recipe, num_classes, in_channels)
    return groups if recipe.orthogonal is None else [*_divided(groups, recipe.orthogonal, recipe.learning_rate)]


def _divided(groups: list[dict[str, Any]], orthogonal: Orthogonal, learning_rate: float) -> Iterator[dict[str, Any]]:
    """Each group in two: convolution weights, and all others."""
    for group in groups:
        kernels = [each for each in group["params"] if each.dim() == KERNEL_DIMENSIONS]
        others = [each for each in group["params"] if each.dim() != KERNEL_DIMENSIONS]
        if others:
            yield group | {"params": others}
        if kernels:
            share = group["share"] * orthogonal.rate / learning_rate
            own = {"orthogonal": True, "momentum": orthogonal.momentum, "weight_decay": 0.0}
            yield {"params": kernels, "share": share, **own}


def _groups_of_parts(
    net: nn.Module, net_name: str, recipe: Recipe, num_classes: int, in_channels: int
) -> list[dict[str, Any]]:
    if recipe.trunk_rate == 1:
        return [{"params": list(net.parameters()), "share": 1.0}]
    head = head_parameters(net, net_name, num_classes, in_channels)
    groups: list[dict[str, Any]] = [{"params": head, "share": 1.0}]
    if recipe.trunk_rate:
        of_head = set(map(id, head))
        trunk = [parameter for parameter in net.parameters() if id(parameter) not in of_head]
        groups.insert(0, {"params": trunk, "share": recipe.trunk_rate})
    return groups


@contextmanager
def without_gradients(parameters: list[nn.Parameter]) -> Iterator[None]:
    """No gradients for these parameters inside the block; as it was for each afterwards."""
    needed = [parameter.requires_grad for parameter in parameters]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter, was in zip(parameters, needed, strict=True):
            parameter.requires_grad_(was)
