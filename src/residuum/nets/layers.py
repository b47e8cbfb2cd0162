"""What several families share: checks, initialisation, parameter-free shortcuts, normalisation over part of a batch.

Shapes are written N C H W: images, channels, height, width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from residuum.errors import InputError

Shape = tuple[int, int, int]  # of one image: channels, height, width


def require_sizes(num_classes: int, in_channels: int) -> None:
    """Refuse a net without outputs or without inputs.

    Raises:
        InputError: `num_classes` or `in_channels` is below 1.
    """
    for name, value, usual in (("num_classes", num_classes, 10), ("in_channels", in_channels, 3)):
        if value < 1:
            raise InputError(f"{name}: must be at least 1, got {value}. Try: {name}={usual}")


class WithAuxiliary(NamedTuple):
    """What a net with auxiliary heads answers in training: each head is trained as well, with a share of the loss.

    In evaluation such a net answers with its logits alone, as every net does.
    """

    logits: Tensor
    auxiliary: tuple[Tensor, ...]
    weight: float


class PadShortcut(nn.Module):
    """Option A of He et al. 2015, section 3.3: identity by stride, new channels filled with zeros. No parameters.

    The paper does not say where the zero channels go, and it makes no difference: the networks are equal up to an order
    of channels. Half are put before and half after, the convention of the CIFAR weights in circulation, which
    therefore load without conversion.

    Shapes: `(N, in_channels, H, W)` to `(N, out_channels, ceil(H / stride), ceil(W / stride))`.
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int) -> None:
        super().__init__()
        self.stride = stride
        added = out_channels - in_channels
        self.before, self.after = added // 2, added - added // 2

    def forward(self, x: Tensor) -> Tensor:
        return functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.before, self.after))


class GroupedBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation over consecutive groups of a batch, as on several devices that do not synchronise.

    He et al. 2015 train CIFAR-10 with 128 images over two GPUs, so that each normalisation saw 64. In training each
    `group` of images is normalised by its own statistics; the first group moves the running ones, as the first
    device's are those that are kept. Evaluation is that of `nn.BatchNorm2d`.
    """

    group: int = 64

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or len(x) <= self.group:
            return super().forward(x)
        first, *others = torch.split(x, self.group)
        weight, bias, eps = self.weight, self.bias, self.eps
        normalised = [functional.batch_norm(each, None, None, weight, bias, training=True, eps=eps) for each in others]
        return torch.cat([super().forward(first), *normalised])


def set_bn_group(net: nn.Module, group: int) -> None:
    """Make every `nn.BatchNorm2d` of `net` normalise over `group` images; parameters and state-dict keys stay."""
    for module in net.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = GroupedBatchNorm2d
            module.__dict__["group"] = group


def initialise_he(net: nn.Module) -> None:
    """He initialisation: convolution weights normal with variance 2 / fan_out, normalisation at 1 and 0.

    Source: He et al. 2015, "Delving Deep into Rectifiers", equation 14 (the backward form; the forward form would do as
    well). Linear layers keep PyTorch's default, uniform within 1 / sqrt(in_features).
    """
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
