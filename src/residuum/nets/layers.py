"""What several families share: checks, initialisation, parameter-free layers, normalisation over part of a batch.

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


def require_side(x: Tensor, least: int) -> None:
    """Refuse images of which a net's strides would leave nothing; on the meta device the failing layer shows itself.

    Args:
        x: images `(N, C, H, W)`.
        least: the smallest height and width in pixels that the net can take.

    Raises:
        InputError: the images are smaller.
    """
    height, width = x.shape[-2:]
    if min(height, width) < least and not x.is_meta and not torch.compiler.is_compiling():
        raise InputError(
            f"image: {height}x{width} pixels are too few for this net (expected at least {least}x{least}). "
            f"Try: --image-size {least}"
        )


class NormalisesWithReLU(nn.BatchNorm2d):
    """A normalisation that can do the addition and the ReLU after it as well."""

    def takes(self, x: Tensor, shortcut: Tensor | None = None) -> bool:
        """Whether it can do so for these maps."""
        return False

    def relu(self, x: Tensor, shortcut: Tensor | None = None) -> Tensor:
        """relu(norm(x) + shortcut) for maps that it `takes`."""
        raise NotImplementedError


def with_twin(x: Tensor, twin: Tensor) -> Tensor:
    """Let `for_shortcut(x)` be `twin`: the same values, whose gradient reaches the operator that gave both by itself.

    That operator adds the gradients of both in a pass that it makes anyhow, which spares autograd one over all maps.
    Whoever asks for the gradient of such an `x` gets the part that did not come through shortcuts.
    """
    x.__dict__["twin"] = twin
    return x


def for_shortcut(x: Tensor) -> Tensor:
    """What a shortcut takes from the input of its block: `x`, or its twin."""
    twin: Tensor = x.__dict__.get("twin", x)
    return twin


class WithAuxiliary(NamedTuple):
    """What a net with auxiliary heads answers in training: each head is trained as well, with a share of the loss.

    In evaluation such a net answers with its logits alone, as every net does.
    """

    logits: Tensor
    auxiliary: tuple[Tensor, ...]
    weight: float


class Stages(nn.Sequential):
    """Layers in order, numbered as in torchvision; some of them end a stage that has a name."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: dict[int, str] = {}

    def add(self, name: str, *layers: nn.Module) -> None:
        """Append the layers of one stage."""
        self.extend(layers)
        self.ends[len(self) - 1] = name

    def forward_features(self, x: Tensor) -> dict[str, Tensor]:
        """The output of every stage, by name and in order."""
        features = {}
        for index, layer in enumerate(self):
            x = layer(x)
            if index in self.ends:
                features[self.ends[index]] = x
        return features


class ToGrid(nn.Module):
    """Bring a map to `size` x `size` by adaptive average pooling; a map of that size passes as it is.

    Nets with linear layers on a fixed grid thereby take images of other sizes. No parameters, and at the published
    image size no operation either.

    Shapes: `(N, C, H, W)` to `(N, C, size, size)`.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        grid = (self.size, self.size)
        return x if x.shape[-2:] == grid else functional.adaptive_avg_pool2d(x, grid)

    def extra_repr(self) -> str:
        return str(self.size)


def response_norm() -> nn.LocalResponseNorm:
    """Local response normalisation across channels (Krizhevsky et al. 2012, section 3.3).

    The paper's constants: k 2, n 5, alpha 1e-4, beta 0.75. PyTorch divides its alpha by n: it is given 5e-4.
    """
    return nn.LocalResponseNorm(5, alpha=5 * 1e-4, beta=0.75, k=2.0)


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


def normalised_relu(norm: nn.Module, x: Tensor, shortcut: Tensor | None = None) -> Tensor:
    """relu(norm(x) + shortcut), in one operation where `norm` has one for it (`residuum.nets.fused`)."""
    if isinstance(norm, NormalisesWithReLU) and norm.takes(x, shortcut):
        return norm.relu(x, shortcut)
    y: Tensor = norm(x)
    return torch.relu(y if shortcut is None else y + shortcut)


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


def set_bn_group(net: nn.Module, group: int | None) -> None:
    """Make every batch normalisation of `net` see `group` images; parameters and state-dict keys stay.

    Args:
        net: its `nn.BatchNorm2d` become `GroupedBatchNorm2d`; those that are so already get this group.
        group: number of images; None for the whole batch, which makes them `nn.BatchNorm2d` again.
    """
    for module in net.modules():
        if type(module) not in (nn.BatchNorm2d, GroupedBatchNorm2d):
            continue
        if group is None:
            module.__class__ = nn.BatchNorm2d
            module.__dict__.pop("group", None)
        else:
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


def initialise_he_forward(net: nn.Module) -> None:
    """He initialisation without batch normalisation: convolutions and linear layers normal with variance 2 / fan_in.

    Source: He et al. 2015, "Delving Deep into Rectifiers", equation 10: the form that keeps the size of the signal from
    layer to layer, where no normalisation restores it; the backward form would shrink or swell it wherever a layer
    strides, widens or narrows. Biases are 0. AlexNet, ZFNet and VGG drew weights with a fixed deviation of 0.01, with
    which the loss falls after many epochs only, and in nets as deep as VGG-16 not at all.
    """
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
