"""Statistics of batch normalisation in fine-tuning: kept, computed again, or recovered where they were folded away.

Evaluation normalises by running statistics, training by those of each batch. Weights whose statistics were folded into
scale and shift carry means of 0 and variances of 1: right in evaluation, nonsense in training, where each layer's
output would change at once. `unfold` gives such a net true statistics and leaves what it answers unchanged.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.hooks import RemovableHandle


class Statistics(NamedTuple):
    """Mean and variance of each channel, `(C,)` float64."""

    mean: Tensor
    variance: Tensor


def layers(net: nn.Module) -> dict[str, _BatchNorm]:
    """The batch normalisations that keep running statistics, by name."""
    return {
        name: module
        for name, module in net.named_modules()
        if isinstance(module, _BatchNorm) and module.running_mean is not None
    }


def is_folded(net: nn.Module) -> bool:
    """Whether every running mean is 0 and every variance 1, as of no net that was trained and not folded."""
    statistics = [(bn.running_mean, bn.running_var) for bn in layers(net).values()]
    return bool(statistics) and all(
        mean is not None and var is not None and not mean.any() and torch.equal(var, torch.ones_like(var))
        for mean, var in statistics
    )


def hold(net: nn.Module) -> None:
    """Normalise by running statistics, as in evaluation, until the next `net.train()`."""
    for module in net.modules():
        if isinstance(module, _BatchNorm):
            module.eval()


class _Sums:
    """Mean and squared deviations of what one layer is shown, batch by batch (Chan, Golub & LeVeque 1979)."""

    def __init__(self) -> None:
        self.count = 0
        self.mean = self.deviations = torch.zeros((), dtype=torch.float64)

    def add(self, x: Tensor) -> None:
        others = [axis for axis in range(x.dim()) if axis != 1]
        variance, mean = (each.double() for each in torch.var_mean(x.detach().float(), dim=others, correction=0))
        count = x.numel() // x.shape[1]
        total, difference = self.count + count, mean - self.mean.to(mean)
        between = difference.square() * (self.count * count / total)
        self.deviations = self.deviations.to(mean) + variance * count + between
        self.mean = self.mean.to(mean) + difference * (count / total)
        self.count = total

    def result(self) -> Statistics:
        return Statistics(self.mean, self.deviations / max(1, self.count - 1))


def seen(net: nn.Module, batches: Iterable[Tensor]) -> dict[str, Statistics]:
    """Statistics of what each batch normalisation is shown, with the net in evaluation mode.

    Args:
        net: left in evaluation mode.
        batches: images `(N, C, H, W)`, on the net's device.
    """
    net.eval()
    sums = {name: _Sums() for name in layers(net)}

    def watch(own: _Sums, module: nn.Module) -> RemovableHandle:
        return module.register_forward_pre_hook(lambda _, inputs: own.add(inputs[0]))

    handles = [watch(sums[name], module) for name, module in layers(net).items()]
    try:
        with torch.no_grad():
            for images in batches:
                net(images)
    finally:
        for handle in handles:
            handle.remove()
    return {name: own.result() for name, own in sums.items() if own.count > 1}


def unfold(net: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set running statistics to those of `batches`, and scale and shift so that evaluation answers as before.

    With mean m and variance v in place of m0 and v0, scale w and shift b become w s and b + w (m - m0) / sqrt(v0 + eps)
    for s = sqrt((v + eps) / (v0 + eps)). Since no layer's output changes, one pass gives the statistics of all.
    """
    statistics = seen(net, batches)
    with torch.no_grad():
        for name, bn in layers(net).items():
            if name in statistics and bn.weight is not None:
                _restate(bn, statistics[name])


def _restate(bn: _BatchNorm, new: Statistics) -> None:
    assert bn.running_mean is not None
    assert bn.running_var is not None
    before = (bn.running_var.double() + bn.eps).sqrt()
    weight = bn.weight.double()
    bn.bias.copy_(bn.bias.double() + weight * (new.mean - bn.running_mean.double()) / before)
    bn.weight.copy_(weight * (new.variance + bn.eps).sqrt() / before)
    bn.running_mean.copy_(new.mean)
    bn.running_var.copy_(new.variance)


def re_estimate(net: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set running statistics to the means of those of `batches`, weights untouched.

    Each batch passes the net normalised by its own statistics, as in training, and all count alike ("precise"
    statistics: Wu & Johnson 2021, "Rethinking Batch in BatchNorm", section 3); batches should be of one size and mixed.
    A layer that evaluation leaves out, as those of auxiliary heads, keeps the statistics it has.
    """
    net.eval()
    before = {name: copy.deepcopy(bn.state_dict()) for name, bn in layers(net).items()}
    kept = {name: bn.momentum for name, bn in layers(net).items()}
    for bn in layers(net).values():
        bn.reset_running_stats()
        bn.momentum = None  # the plain mean of all batches
        bn.train()
    try:
        with torch.no_grad():
            for images in batches:
                net(images)
    finally:
        for name, bn in layers(net).items():
            bn.momentum = kept[name]
            if not bn.num_batches_tracked:
                bn.load_state_dict(before[name])
        net.eval()
