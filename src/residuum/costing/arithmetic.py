"""Convolution arithmetic in whole numbers: what a window that slides over an image makes, needs and sees.

    layer                     input         output        parameters          MACs   receptive field
    96@11/4 (AlexNet conv1)   227x227x3     55x55x96          34,944   105,415,200   11
    pool3/2                   55x55x96      27x27x96               0             0   19

The size is `floor((W + 2P - D(F - 1) - 1) / S) + 1` on each axis, rounded as PyTorch does (Caffe's pooling rounds up):
Dumoulin and Visin, "A guide to convolution arithmetic for deep learning" (2016), relationships 6 and 15; with D = 1 it
is the `(W - F + 2P) / S + 1` of the CS231n notes. The receptive field is that of Araujo, Norris and Sim, "Computing
Receptive Fields of Convolutional Neural Networks" (2019), section 2.

One MAC is one multiply-add; biases are not counted as MACs, zeros of the padding are multiplied like any value.
Shapes are height, width, channels, as papers write them; pairs are height, width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from residuum.errors import InputError

Pair = tuple[int, int]
ImageShape = tuple[int, int, int]  # height, width, channels
MAX_VALUE = 1_000_000  # of any one number that is given


@dataclass(frozen=True)
class Window:
    """One layer that slides a window: `filters` of them for a convolution, None for a pooling.

    Raises:
        InputError: a number is out of its range, or the groups do not divide the filters.
    """

    kind: Literal["conv", "pool"]
    kernel: Pair
    stride: Pair
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    filters: int | None = None
    groups: int = 1

    def __post_init__(self) -> None:
        for name, low in (("kernel", 1), ("stride", 1), ("padding", 0), ("dilation", 1)):
            for value in getattr(self, name):
                _check(name, value, low)
        _check("groups", self.groups, 1)
        if self.kind == "conv":
            if self.filters is None:
                raise InputError("filters: a convolution needs their number. Try: 10")
            _check("filters", self.filters, 1)
            if self.filters % self.groups:
                raise InputError(
                    f"groups: {self.groups} do not divide the {self.filters:,} filters. "
                    f"Try: {math.gcd(self.filters, self.groups)}"
                )
        elif self.filters is not None or self.groups != 1:
            raise InputError("filters: a pooling has neither filters nor groups. Try: a convolution")
        elif any(padding > kernel // 2 for padding, kernel in zip(self.padding, self.kernel, strict=True)):
            most = (self.kernel[0] // 2, self.kernel[1] // 2)
            raise InputError(
                f"padding: of a pooling may be at most half of its kernel of {sides(self.kernel)}, as in PyTorch "
                f"(expected at most {sides(most)}, got {sides(self.padding)}). "
                f"Try: {sides((min(self.padding[0], most[0]), min(self.padding[1], most[1])))}"
            )

    def __str__(self) -> str:
        """As it is typed, such as `96@11/4+2` or `pool3/2`; dilation and groups in words."""
        name = f"pool{sides(self.kernel)}" if self.filters is None else f"{self.filters}@{sides(self.kernel)}"
        usual = self.kernel if self.kind == "pool" else (1, 1)
        stride = f"/{sides(self.stride)}" if self.stride != usual else ""
        padding = f"+{sides(self.padding)}" if self.padding != (0, 0) else ""
        dilation = f" dilation {sides(self.dilation)}" if self.dilation != (1, 1) else ""
        groups = f" groups {self.groups}" if self.groups != 1 else ""
        return name + stride + padding + dilation + groups

    @property
    def extent(self) -> Pair:
        """Pixels from the first to the last that the kernel touches, gaps of the dilation included."""
        return (
            self.dilation[0] * (self.kernel[0] - 1) + 1,
            self.dilation[1] * (self.kernel[1] - 1) + 1,
        )


def conv(
    filters: int,
    kernel: int | Pair,
    *,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
) -> Window:
    """A convolution; one number stands for both axes.

    Raises:
        InputError: see `Window`.
    """
    return Window("conv", _pair(kernel), _pair(stride), _pair(padding), _pair(dilation), filters, groups)


def pool(
    kernel: int | Pair, *, stride: int | Pair | None = None, padding: int | Pair = 0, dilation: int | Pair = 1
) -> Window:
    """A pooling, whose stride is its kernel where none is given.

    Raises:
        InputError: see `Window`.
    """
    return Window("pool", _pair(kernel), _pair(kernel if stride is None else stride), _pair(padding), _pair(dilation))


@dataclass(frozen=True)
class Axis:
    """A window along one axis of its input.

    Attributes:
        size: pixels of the input.
        kernel, stride, padding, dilation: of the window; the padding lies on both sides.
        max_padding: the most that the layer may have, or None.
    """

    size: int
    kernel: int
    stride: int
    padding: int
    dilation: int
    max_padding: int | None = None

    @property
    def extent(self) -> int:
        """Pixels from the first to the last that the kernel touches."""
        return self.dilation * (self.kernel - 1) + 1

    @property
    def travel(self) -> int:
        """Pixels the window can move over the padded input; negative where it does not fit."""
        return self.size + 2 * self.padding - self.extent

    @property
    def output(self) -> int:
        """Places of the window."""
        return self.travel // self.stride + 1

    @property
    def dropped(self) -> int:
        """Pixels at the end of the padded input that floor leaves out: after the last pixel of the last window."""
        return self.travel % self.stride

    @property
    def lost(self) -> int:
        """Those of the dropped pixels that belong to the image, not to its padding."""
        return min(self.size, max(0, self.dropped - self.padding))

    @property
    def gap(self) -> int:
        """Pixels between one window and the next that no window covers, where the stride is the larger."""
        return max(0, self.stride - self.extent) if self.output > 1 else 0

    @property
    def formula(self) -> str:
        """The size of the output, written out."""
        kernel = f"{self.kernel}" if self.dilation == 1 else f"{self.dilation}*({self.kernel} - 1) - 1"
        inside = f"({self.size} + 2*{self.padding} - {kernel}) / {self.stride}"
        if not self.dropped:
            return f"{inside} + 1 = {self.output}"
        return f"floor({inside}) + 1 = floor({self.travel} / {self.stride}) + 1 = {self.output}"

    @property
    def same_padding(self) -> int | None:
        """The padding that keeps the size at stride 1; None where it would differ between the two sides."""
        return None if (self.extent - 1) % 2 else (self.extent - 1) // 2

    @property
    def fitting_strides(self) -> tuple[int, ...]:
        """The next smaller and the next larger stride that drop nothing; none that would leave gaps."""
        downwards = range(min(self.stride - 1, self.extent), 0, -1)
        upwards = range(self.stride + 1, self.extent + 1)
        nearest = [next((each for each in way if not self.travel % each), None) for way in (downwards, upwards)]
        return tuple(each for each in nearest if each is not None)

    @property
    def fitting_padding(self) -> int | None:
        """The nearest padding that drops nothing, less than the kernel covers; None where there is none."""
        most = self.extent - 1 if self.max_padding is None else self.max_padding
        fitting = [
            each
            for each in range(most + 1)
            if self.size + 2 * each >= self.extent and not (self.size + 2 * each - self.extent) % self.stride
        ]
        return min(fitting, key=lambda each: (abs(each - self.padding), each), default=None)

    @property
    def fitting_sizes(self) -> tuple[int, ...]:
        """The next smaller and the next larger input that drop nothing."""
        smaller = self.size - self.dropped
        return (smaller, smaller + self.stride) if smaller > 0 else (smaller + self.stride,)


@dataclass(frozen=True)
class Parameters:
    """Learned values of a layer."""

    weights: int
    biases: int

    @property
    def total(self) -> int:
        """Both together."""
        return self.weights + self.biases


@dataclass(frozen=True)
class Step:
    """One window over its input.

    Attributes:
        window: the layer.
        input: height, width, channels it is given.
        receptive_field: pixels of the image that one output value sees, by height and width.
        jump: pixels of the image between two neighbouring output values: the product of the strides so far.
    """

    window: Window
    input: ImageShape
    receptive_field: Pair
    jump: Pair

    @property
    def axes(self) -> tuple[Axis, Axis]:
        """Height, then width."""
        return _axis(self.window, 0, self.input[0]), _axis(self.window, 1, self.input[1])

    @property
    def output(self) -> ImageShape:
        """Height, width, channels it makes."""
        height, width = self.axes
        return height.output, width.output, self.window.filters or self.input[2]

    @property
    def num_values(self) -> int:
        """Values of the output."""
        return math.prod(self.output)

    @property
    def weights_per_filter(self) -> int:
        """Kernel area times the channels that one filter reads; 0 for a pooling."""
        if self.window.filters is None:
            return 0
        return math.prod(self.window.kernel) * (self.input[2] // self.window.groups)

    @property
    def shared(self) -> Parameters:
        """As a convolution has them: one set of weights and one bias for each filter."""
        filters = self.window.filters or 0
        return Parameters(filters * self.weights_per_filter, filters)

    @property
    def unshared(self) -> Parameters:
        """Of the locally connected layer of this shape, where every output value has its own weights and bias."""
        if self.window.filters is None:
            return Parameters(0, 0)
        return Parameters(self.num_values * self.weights_per_filter, self.num_values)

    @property
    def dense(self) -> Parameters:
        """Of the fully connected layer of this shape: every output value reads the whole input."""
        if self.window.filters is None:
            return Parameters(0, 0)
        return Parameters(math.prod(self.input) * self.num_values, self.num_values)

    @property
    def macs(self) -> int:
        """Multiply-adds for one image; 0 for a pooling."""
        return self.num_values * self.weights_per_filter

    @property
    def operations(self) -> int:
        """Values a pooling compares or adds for one image; 0 for a convolution, whose work is `macs`."""
        return math.prod(self.window.kernel) * self.num_values if self.window.filters is None else 0

    def to_json(self) -> dict[str, Any]:
        """Everything above as plain values, pairs as [height, width]."""
        axes = self.axes
        return {
            "layer": str(self.window),
            **asdict(self.window),
            "input": self.input,
            "output": self.output,
            "formula": [axis.formula for axis in axes],
            "dropped": [axis.dropped for axis in axes],
            "lost": [axis.lost for axis in axes],
            "same_padding": [axis.same_padding for axis in axes],
            "shared": asdict(self.shared),
            "unshared": asdict(self.unshared),
            "dense": asdict(self.dense),
            "macs": self.macs,
            "operations": self.operations,
            "num_values": self.num_values,
            "receptive_field": self.receptive_field,
            "jump": self.jump,
        }


def chain(input_shape: ImageShape, windows: Sequence[Window]) -> list[Step]:
    """Each window over what the one before it made.

    Args:
        input_shape: height, width, channels of the image.
        windows: in order.

    Raises:
        InputError: a window is larger than its padded input, or its groups do not divide the channels.
    """
    if len(input_shape) != 3:
        raise InputError(f"input: has {len(input_shape)} numbers (expected height, width, channels). Try: (32, 32, 3)")
    for value in input_shape:
        _check("input", value, 1, instead="32x32x3")
    steps: list[Step] = []
    shape, field, jump = input_shape, (1, 1), (1, 1)
    for index, window in enumerate(windows):
        name = "" if len(windows) == 1 else f"layer {index + 1} ({window})"
        if shape[2] % window.groups:
            raise InputError(
                f"{name or 'groups'}: {window.groups} groups do not divide the {shape[2]:,} channels of the input. "
                f"Try: {math.gcd(shape[2], window.groups)}{' groups' if name else ''}"
            )
        if any(_axis(window, axis, shape[axis]).travel < 0 for axis in (0, 1)):
            raise _too_large(name or "kernel", shape, window, input_shape, windows)
        extent = window.extent
        field = (field[0] + (extent[0] - 1) * jump[0], field[1] + (extent[1] - 1) * jump[1])
        jump = (jump[0] * window.stride[0], jump[1] * window.stride[1])
        steps.append(Step(window, shape, field, jump))
        shape = steps[-1].output
    return steps


def smallest_input(windows: Sequence[Window]) -> Pair:
    """Height and width of the smallest image that every window of a chain fits."""
    return _smallest(windows, 0), _smallest(windows, 1)


def sides(pair: Pair) -> str:
    """`5` for 5 by 5, else `3x5`."""
    return str(pair[0]) if pair[0] == pair[1] else f"{pair[0]}x{pair[1]}"


def _smallest(windows: Sequence[Window], axis: int) -> int:
    size = 1
    for window in reversed(windows):
        size = max(1, (size - 1) * window.stride[axis] + window.extent[axis] - 2 * window.padding[axis])
    return size


def _axis(window: Window, axis: int, size: int) -> Axis:
    max_padding = window.kernel[axis] // 2 if window.kind == "pool" else None
    return Axis(
        size, window.kernel[axis], window.stride[axis], window.padding[axis], window.dilation[axis], max_padding
    )


def _too_large(
    name: str, shape: ImageShape, window: Window, image: ImageShape, windows: Sequence[Window]
) -> InputError:
    least = smallest_input(windows)
    needed = (max(image[0], least[0]), max(image[1], least[1]))
    padded = (shape[0] + 2 * window.padding[0], shape[1] + 2 * window.padding[1])
    covers = "" if window.dilation == (1, 1) else f", {window.extent[0]}x{window.extent[1]} with its dilation,"
    action = f"an input of at least {needed[0]}x{needed[1]}x{image[2]}"
    return InputError(
        f"{name}: {window.kernel[0]}x{window.kernel[1]}{covers} is larger than its padded input of "
        f"{padded[0]}x{padded[1]}. Try: {action if max(needed) <= MAX_VALUE else 'fewer layers'}"
    )


def _pair(value: int | Pair) -> Pair:
    return (value, value) if isinstance(value, int) else value


def _check(name: str, value: int, low: int, *, instead: str = "") -> None:
    if not isinstance(value, int) or not low <= value <= MAX_VALUE:
        raise InputError(
            f"{name}: must be a whole number from {low} to {MAX_VALUE:,}, got {value}. "
            f"Try: {instead or (MAX_VALUE if isinstance(value, int) and value > MAX_VALUE else low)}"
        )
