"""The convolutions of a net alone: forward and backward, one after the other, with nothing between them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from itertools import count

import torch
from peers import Enough, Stopwatch
from torch import Tensor, nn

from residuum.files.memory import memory_stays


@dataclass(frozen=True)
class Convolution:
    """One convolution of a net with what it needs forward and backward, bf16, channels last."""

    x: Tensor
    weight: Tensor
    stride: list[int]
    padding: list[int]
    first: bool

    def forward(self) -> Tensor:
        return torch.ops.aten.convolution(  # type: ignore[no-any-return]
            self.x, self.weight, None, self.stride, self.padding, [1, 1], False, [0, 0], 1
        )

    def backward(self, gradient: Tensor) -> None:
        """Gradients of the weight, and of the input where something stands before it."""
        wanted = [not self.first, True, False]
        torch.ops.aten.convolution_backward(
            gradient, self.x, self.weight, None, self.stride, self.padding, [1, 1], False, [0, 0], 1, wanted
        )


def convolutions_of(net: nn.Module, shape: tuple[int, ...]) -> list[Convolution]:
    """The convolutions that a batch of this shape `(N, C, H, W)` passes, in order."""
    found: list[Convolution] = []

    def note(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        assert isinstance(layer, nn.Conv2d)
        assert layer.groups == 1
        assert layer.bias is None
        x, weight = (
            torch.randn_like(each, dtype=torch.bfloat16).contiguous(memory_format=torch.channels_last)
            for each in (inputs[0], layer.weight.detach())
        )
        found.append(Convolution(x, weight, list(layer.stride), list(layer.padding), first=not found))  # type: ignore[arg-type]

    hooks = [each.register_forward_hook(note) for each in net.modules() if isinstance(each, nn.Conv2d)]
    with torch.no_grad():
        net.eval()(torch.zeros(shape))
    for hook in hooks:
        hook.remove()
    assert len(found) == len(hooks), "a convolution was passed over, or passed twice"
    return found


def time_convolutions(net: nn.Module, shape: tuple[int, ...], watch: Stopwatch) -> None:
    """Forward and backward of all convolutions of a net, until the watch has enough; memory as in our training."""
    layers = convolutions_of(net, shape)
    gradients = [torch.randn_like(layer.forward()) for layer in layers]
    with suppress(Enough), memory_stays():
        for number in count(1):
            for layer in layers:
                layer.forward()
            for layer, gradient in zip(reversed(layers), reversed(gradients), strict=True):
                layer.backward(gradient)
            watch.stepped(number, 0.0)
