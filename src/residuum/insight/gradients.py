"""Gradient flow: how much gradient reaches each layer, and by which way it passes a residual block.

With g the gradient of the loss at a block's addition, that at its input is

    dL/dx = (d shortcut / dx)^T g + (dF / dx)^T g

the first term is g itself where the shortcut is the identity. He et al. 2016, equation 5, argue by it that gradients
of pre-activation nets do not vanish. In post-activation nets g is the gradient at the block's output only where the
last ReLU was open, and 0 elsewhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from residuum.errors import InputError
from residuum.insight.looks import with_gradients
from residuum.insight.taps import device_of, evaluating
from residuum.insight.terms import ShortcutKind, Terms, shortcut_blocks, shortcut_kind, watching


@dataclass(frozen=True)
class GradientNorm:
    """The gradient of one layer's weight.

    Attributes:
        layer: name of the convolution or linear layer.
        norm: Euclidean norm of the gradient of the mean cross-entropy.
        relative: `norm` as a share of the weight's own norm; nan where the weight is 0.
    """

    layer: str
    norm: float
    relative: float


@dataclass(frozen=True)
class GradientSplit:
    """The gradient of the mean cross-entropy on its way through one block; norms are over the whole batch.

    Attributes:
        block: its name.
        shortcut: `identity`, `pad`, `projection` or another kind (`terms.ShortcutKind`).
        arriving: norm at the block's output.
        whole: norm at its input.
        identity: norm of the part of `whole` that comes through the shortcut.
        residual: norm of the part that comes through F.
        cosine: of the angle between the two parts; 0 where one of them is 0.
        error: |whole - identity - residual| / |whole|, the rounding of the split; nan where no gradient arrives.
    """

    block: str
    shortcut: ShortcutKind
    arriving: float
    whole: float
    identity: float
    residual: float
    cosine: float
    error: float


@with_gradients
def gradient_norms(
    net: nn.Module, images: Tensor, labels: Tensor, *, batch_statistics: bool = False
) -> list[GradientNorm]:
    """The gradient of the mean cross-entropy with respect to the weight of each convolution and linear layer.

    Layers that the logits do not depend on (auxiliary heads) are left out, and those whose weight is made of other
    parameters (weight normalisation); where none is left, nothing is found. Memory is that of a training step.

    Args:
        net: any.
        images: `(N, C, H, W)`, preprocessed.
        labels: `(N,)` int64.
        batch_statistics: normalise by the batch, as in training; else by running statistics, as in evaluation. Of a
            net that was not trained yet, the latter normalise nothing.

    Raises:
        InputError: batch statistics of a single image.
    """
    parameters: dict[Tensor, str] = {parameter: name for name, parameter in net.named_parameters()}
    layers = {
        name: parameters[module.weight]
        for name, module in net.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear) and module.weight in parameters
    }
    state = _state(net, wanted={*layers.values()})
    loss = _loss(net, state, images, labels, batch_statistics)
    weights = [state[weight] for weight in layers.values()]
    if not weights or not loss.requires_grad:  # no layer has a weight of its own, or none that the logits depend on
        return []
    gradients = torch.autograd.grad(loss, weights, allow_unused=True)
    found = []
    for name, weight, gradient in zip(layers, weights, gradients, strict=True):
        if gradient is not None:
            norm, size = _norm(gradient), _norm(weight.detach())
            found.append(GradientNorm(name, norm, norm / size if size else math.nan))
    return found


@with_gradients
def gradient_split(
    net: nn.Module, images: Tensor, labels: Tensor, *, batch_statistics: bool = False
) -> list[GradientSplit]:
    """The gradient through each residual block, split into what its shortcut and what its branch F carry.

    Args:
        net: with blocks of `residuum.nets.blocks`.
        images: `(N, C, H, W)`, preprocessed. Memory is that of a training step.
        labels: `(N,)` int64.
        batch_statistics: as for `gradient_norms`.

    Raises:
        InputError: the net is plain or has no residual blocks; batch statistics of a single image.
    """
    blocks = shortcut_blocks(net)
    found: dict[str, Terms] = {}
    with watching(blocks, found.__setitem__):
        loss = _loss(net, _state(net), images.detach().requires_grad_(), labels, batch_statistics)
    names = [name for name, _ in blocks if name in found]
    at = [tensor for name in names for tensor in (found[name].x, found[name].residual, found[name].output)]
    gradients = iter(torch.autograd.grad(loss, at, retain_graph=True))
    kinds = {name: shortcut_kind(block) for name, block in blocks}
    return [_split(name, kinds[name], found[name], next(gradients), next(gradients), next(gradients)) for name in names]


def _split(
    name: str, kind: ShortcutKind, terms: Terms, whole: Tensor, at_addition: Tensor, at_output: Tensor
) -> GradientSplit:
    identity, residual = (
        at_addition if term is terms.x else torch.autograd.grad(term, terms.x, at_addition, retain_graph=True)[0]
        for term in (terms.shortcut, terms.residual)
    )
    norm, identity_norm, residual_norm = _norm(whole), _norm(identity), _norm(residual)
    product = identity_norm * residual_norm
    return GradientSplit(
        block=name,
        shortcut=kind,
        arriving=_norm(at_output),
        whole=norm,
        identity=identity_norm,
        residual=residual_norm,
        cosine=float((identity * residual).sum()) / product if product else 0.0,
        error=_norm(whole - identity - residual) / norm if norm else math.nan,
    )


def _state(net: nn.Module, wanted: frozenset[str] | set[str] = frozenset()) -> dict[str, Tensor]:
    """Parameters and buffers to run a net on, so that its own are not touched; those `wanted` take gradients."""
    state = {name: each.detach().requires_grad_(name in wanted) for name, each in net.named_parameters()}
    return state | {name: each.clone() for name, each in net.named_buffers()}


def _loss(net: nn.Module, state: dict[str, Tensor], images: Tensor, labels: Tensor, batch_statistics: bool) -> Tensor:
    if batch_statistics and len(images) < 2:
        raise InputError("images: batch statistics need at least 2, got 1. Try: batch_statistics=False")
    with evaluating(net):
        for module in net.modules():
            if isinstance(module, _BatchNorm):
                module.training = batch_statistics
        device = device_of(net)
        return functional.cross_entropy(functional_call(net, state, (images.to(device),)), labels.to(device))


def _norm(values: Tensor) -> float:
    return float(torch.linalg.vector_norm(values))
