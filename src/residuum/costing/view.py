"""Where in the image each module of a net looks: the window of its receptive field, exact as in `field`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from residuum.costing.count import traced
from residuum.costing.field import Axis, Field
from residuum.costing.limits import require_input, require_module

ROUNDING = 1e-9  # of the fractions that resizing brings in


@dataclass(frozen=True)
class FieldOfView:
    """The window of pixels that one position of a map sees, height first; the window of position i moves with i.

    Attributes:
        size: pixels along each axis, borders not clipped.
        jump: pixels from one position to the next; 0 where every position sees the same.
        start: first pixel seen from position 0; below 0 where the padding is seen as well.
    """

    size: tuple[int, int]
    jump: tuple[float, float]
    start: tuple[float, float]

    def box(self, y: int, x: int, height: int, width: int) -> tuple[int, int, int, int]:
        """Top, left, bottom and right of what position (y, x) sees of an image of `height` x `width` pixels.

        Clipped to the image; bottom and right are the first pixels behind it. A position that sees nothing but padding
        gets the pixel nearest to it.
        """
        (top, bottom), (left, right) = self._span(0, y, height), self._span(1, x, width)
        return top, left, bottom, right

    def _span(self, axis: int, at: int, length: int) -> tuple[int, int]:
        first = math.ceil(self.start[axis] + self.jump[axis] * at - ROUNDING)
        low = min(max(first, 0), length - 1)
        return low, max(min(first + self.size[axis], length), low + 1)


def fields_of_view(module: nn.Module, input_size: Sequence[int]) -> dict[str, FieldOfView]:
    """What the output of every module sees of an image `(C, H, W)`, by name; "" is the module itself.

    Modules that do not run are left out, and those whose output has neither its positions in the last two dimensions,
    as a map `(N, C, H, W)` has, nor lost them altogether. Of a module that runs several times it is its last output.

    Raises:
        InputError: the module cannot take this input.
    """
    require_input(input_size, 1)
    require_module(module)
    with torch.random.fork_rng(devices=[]):  # dropout draws numbers, on the meta device too
        _, _, tracer = traced(module, input_size, 1, torch.device("meta"))
    calls = [event for event in tracer.trace.order if not isinstance(event, int)]
    views = {call.path: _view(call.field, call.output) for call in calls}
    return {path: view for path, view in views.items() if view is not None}


def _view(field: Field | None, shape: Sequence[int]) -> FieldOfView | None:
    if field is None or not field.known or len(field.axes) != 2:
        return None
    if any(not _in_place(axis, dim, shape) for dim, axis in enumerate(field.axes, start=2)):
        return None
    down, across = field.axes
    return FieldOfView((down.size, across.size), (_jump(down), _jump(across)), (float(down.low), float(across.low)))


def _in_place(axis: Axis, dim: int, shape: Sequence[int]) -> bool:
    """Whether positions are where those of a map are, or are of no account."""
    return axis.dim is None or axis.fixed or (axis.dim == dim and len(shape) == 4 and not axis.length)


def _jump(axis: Axis) -> float:
    return 0.0 if axis.fixed or axis.dim is None else float(axis.jump)
