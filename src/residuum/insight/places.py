"""Where to look in a net, of ours or anybody's: stages, residual blocks, the first convolution, the layer for maps.

A *stage* is a run of layers whose maps have one size. What ends it is the last layer that gives a map of this size and
is no pooling: `layer3` of a ResNet, `features.22` of VGG-16, `inception4e` of GoogLeNet. Inside of a block that halves
the size some layers still have the old one; they end no stage. Where a ReLU follows that the net applies as a
function, the rectified map is the end: `bn1.relu` is that of a ResNet's stem, `bn_last.relu` that of a pre-activation
net. Found by one forward pass, so nothing has to be said by name.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from residuum.errors import InputError
from residuum.insight.taps import RELU, Relus, device_of, evaluating
from residuum.nets.blocks import PostActivation, PreActivation
from residuum.nets.layers import ToGrid
from residuum.nets.lenet import Subsample

ResidualBlock = PostActivation | PreActivation
Size = tuple[int, int]
# A map that has only been pooled or normalised over channels is no layer's own work.
POOLING = (
    nn.MaxPool2d,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveMaxPool2d,
    nn.LocalResponseNorm,
    Subsample,
    ToGrid,
)
PASSING = (nn.Dropout, nn.Dropout2d, nn.Identity)


@dataclass(frozen=True)
class Stage:
    """A run of layers whose maps have one size.

    Attributes:
        name: the layer whose output ends it, for `residuum.insight.taps`.
        channels, height, width: of that output.
    """

    name: str
    channels: int
    height: int
    width: int


def stages(net: nn.Module, images: Tensor) -> list[Stage]:
    """The stages of a net for images `(N, C, H, W)`, from the image to the classifier; maps of 1x1 are none.

    Raises:
        InputError: the net gives no map larger than 1x1.
    """
    ends = _Ends()
    with ExitStack() as stack:
        for name, module in net.named_modules():
            if name:
                stack.callback(module.register_forward_pre_hook(ends.enter).remove)
                stack.callback(module.register_forward_hook(ends.leaving(name)).remove)
        stack.enter_context(evaluating(net))
        with torch.no_grad(), Relus(ends.rectified):
            net(images[:1].to(device_of(net)))
    found = [Stage(name, channels, *size) for size, (name, channels) in ends.found.items() if size != (1, 1)]
    if not found:
        raise InputError("net: gives no map larger than 1x1, so there is nothing to look at. Try: a larger image")
    return found


def map_layer(net: nn.Module, images: Tensor) -> str:
    """The layer whose maps tell best where a net looks: the end of its last stage (Selvaraju et al. 2017, section 3).

    Raises:
        InputError: see `stages`.
    """
    return stages(net, images)[-1].name


def residual_blocks(net: nn.Module) -> list[tuple[str, ResidualBlock]]:
    """Blocks of ours by module name, in order; those of a plain net (`downsample` is None) are among them."""
    return [
        (name, module) for name, module in net.named_modules() if isinstance(module, (PostActivation, PreActivation))
    ]


def first_convolution(net: nn.Module) -> tuple[str, nn.Conv2d]:
    """Name and module of a net's first convolution, which is the one that sees the image.

    It is the first in the order in which the net's parts were made: without an image nothing runs. That is the order of
    all nets of ours; a net of another hand whose parts are made in another order gives another convolution.

    Raises:
        InputError: the net has no convolution.
    """
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d):
            return name, module
    raise InputError("net: has no convolution. Try: one of those that `residuum list` shows")


class _Ends:
    """The last layer of each size of map, in order, noted while the net runs."""

    def __init__(self) -> None:
        self.found: dict[Size, tuple[str, int]] = {}
        self._entered: list[tuple[Size | None, tuple[str, int] | None]] = []
        self._pooled: Tensor | None = None
        self._last: tuple[str, Tensor] | None = None

    def enter(self, module: nn.Module, given: tuple[object, ...]) -> None:
        size = _size(given[0]) if given else None
        self._entered.append((size, self.found.get(size) if size is not None else None))

    def leaving(self, name: str) -> Callable[[nn.Module, object, object], None]:
        def leave(module: nn.Module, given: object, output: object) -> None:
            size_before, end_before = self._entered.pop()
            size = _size(output)
            if size is None or not isinstance(output, Tensor):
                return
            if size_before not in (None, size) and end_before is not None and not isinstance(module, nn.Sequential):
                self._note(size_before, end_before)  # what is inside of a block that changes the size ends no stage
            if isinstance(module, POOLING):
                self._pooled = output
            elif not isinstance(module, PASSING) and output is not self._pooled:
                self._note(size, (name, output.shape[1]))
                self._last = name, output

        return leave

    def rectified(self, given: Tensor, result: Tensor) -> None:
        if self._last is not None and given is self._last[1] and (size := _size(result)) is not None:
            self._note(size, (self._last[0] + RELU, result.shape[1]))

    def _note(self, size: Size, end: tuple[str, int]) -> None:
        self.found.pop(size, None)  # the order is that of the last layers
        self.found[size] = end


def _size(value: object) -> Size | None:
    return (value.shape[2], value.shape[3]) if isinstance(value, Tensor) and value.ndim == 4 else None
