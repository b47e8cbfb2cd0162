"""`residuum conv`: what a convolution or pooling makes of an image, and what it costs."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import tyro

from residuum.errors import InputError
from residuum.report.numbers import by

if TYPE_CHECKING:
    from residuum.costing.arithmetic import Axis, ImageShape, Pair, Step, Window

EXAMPLE = "residuum conv 227x227x3 96@11/4 pool3/2"
NUMBER = "-?[0-9]{1,12}"
SIDES = f"{NUMBER}(?:x{NUMBER})?"
WORD = re.compile(
    rf"(?:(?P<filters>{NUMBER})@|pool)(?P<kernel>{SIDES})(?:/(?P<stride>{SIDES}))?(?:\+(?P<padding>{SIDES}))?"
)


@dataclass(frozen=True)
class Conv:
    """Sizes, parameters and multiply-adds of convolutions and poolings, with the arithmetic written out.

    One layer is explained: residuum conv 32x32x3 --filters 10 --kernel 5 --padding 2

    Several make a table: residuum conv 227x227x3 96@11/4 pool3/2 256@5+2
    """

    input: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="INPUT")]
    """The image as HEIGHTxWIDTHxCHANNELS, such as 32x32x3."""
    layers: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="LAYER ...")] = ()
    """FILTERS@KERNEL[/STRIDE][+PADDING] or poolKERNEL[/STRIDE][+PADDING]; sides that differ as 3x5."""
    filters: int | None = None
    """Filters of the one layer that these options describe."""
    kernel: str | None = None
    """Its kernel, such as 5 or 3x5 (height x width)."""
    stride: str | None = None
    """Its stride; 1 by default, the kernel for a pooling."""
    padding: str | None = None
    """Its padding on each side; 0 by default."""
    dilation: str | None = None
    """Its dilation; 1 by default."""
    groups: int | None = None
    """Its groups of channels; 1 by default."""
    pool: bool = False
    """It is a pooling, without filters."""
    json: bool = False
    """Print JSON."""

    def run(self) -> int:
        from residuum.costing.arithmetic import chain

        image = shape_of(self.input)
        if image[0] in (1, 3) and image[1] == image[2] > 3:
            swapped = f"{image[1]}x{image[2]}x{image[0]}"
            print(f"warning: {self.input} is read as height, width, channels. Try: {swapped}", file=sys.stderr)
        steps = chain(image, self._windows())
        if self.json:
            print(json.dumps({"input": image, "layers": [step.to_json() for step in steps], "total": _total(steps)}))
        elif len(steps) == 1:
            explain(steps[0])
        else:
            tabulate(steps)
        return 0

    def _windows(self) -> list[Window]:
        from residuum.costing.arithmetic import conv, pool

        given = {
            name: getattr(self, name)
            for name in ("filters", "kernel", "stride", "padding", "dilation", "groups")
            if getattr(self, name) is not None
        }
        if self.layers:
            if given or self.pool:
                option = next(iter(given), "pool")
                raise InputError(
                    f"{option}: options describe one layer, words such as {self.layers[0]} several; they exclude each "
                    f"other. Try: {EXAMPLE}"
                )
            return [window_of(word) for word in self.layers]
        if not given and not self.pool:
            raise InputError(f"layers: none were given. Try: {EXAMPLE}")
        if self.kernel is None:
            raise InputError(f"kernel: is missing. Try: --kernel {2 if self.pool else 3}")
        for name in ("filters", "groups") if self.pool else ():
            if name in given:
                raise InputError(f"{name}: mean nothing for a pooling. Try: without --{name} or without --pool")
        kernel = pair_of("kernel", self.kernel)
        stride = None if self.stride is None else pair_of("stride", self.stride)
        padding = pair_of("padding", "0" if self.padding is None else self.padding)
        dilation = pair_of("dilation", "1" if self.dilation is None else self.dilation)
        if self.pool:
            return [pool(kernel, stride=stride, padding=padding, dilation=dilation)]
        if self.filters is None:
            raise InputError("filters: are missing (--pool for a pooling). Try: --filters 10")
        return [
            conv(
                self.filters,
                kernel,
                stride=1 if stride is None else stride,
                padding=padding,
                dilation=dilation,
                groups=1 if self.groups is None else self.groups,
            )
        ]


def shape_of(text: str) -> ImageShape:
    """Height, width and channels of `32x32x3`.

    Raises:
        InputError: it is not of that form.
    """
    numbers = text.lower().replace("×", "x").split("x")
    if not all(re.fullmatch(NUMBER, each) for each in numbers):
        raise InputError(f"input: cannot be {text!r} (expected HEIGHTxWIDTHxCHANNELS). Try: 32x32x3")
    if len(numbers) != 3:
        full = f"{numbers[0]}x{numbers[-1]}x3" if len(numbers) < 3 else "x".join(numbers[:3])
        count = f"{len(numbers)} number" + ("s" if len(numbers) > 1 else "")
        raise InputError(f"input: {text} has {count} (expected HEIGHTxWIDTHxCHANNELS). Try: {full}")
    height, width, channels = map(int, numbers)
    return height, width, channels


def pair_of(name: str, text: str) -> Pair:
    """Height and width of `5` or `3x5`.

    Raises:
        InputError: it is neither.
    """
    if not re.fullmatch(SIDES, text):
        raise InputError(f"{name}: cannot be {text!r} (expected a whole number, or two as 3x5). Try: 3")
    numbers = [int(each) for each in text.split("x")]
    return numbers[0], numbers[-1]


def window_of(word: str) -> Window:
    """The layer that a word such as `96@11/4`, `64@3x3/2+1` or `pool3/2` stands for.

    Raises:
        InputError: it stands for none.
    """
    from residuum.costing.arithmetic import conv, pool

    match = WORD.fullmatch(word.lower().replace("×", "x"))
    if match is None:
        raise InputError(
            f"{word}: is not a layer (expected FILTERS@KERNEL[/STRIDE][+PADDING], or pool for FILTERS@). "
            f"Try: {'pool2' if word.lower().startswith('pool') else '96@11/4'}"
        )
    parts = match.groupdict()
    kernel, padding = pair_of("kernel", parts["kernel"]), pair_of("padding", parts["padding"] or "0")
    stride = pair_of("stride", parts["stride"]) if parts["stride"] else None
    try:
        if parts["filters"] is None:
            return pool(kernel, stride=stride, padding=padding)
        return conv(int(parts["filters"]), kernel, stride=1 if stride is None else stride, padding=padding)
    except InputError as error:
        raise _of_word(word, parts, error) from error


def _of_word(word: str, parts: dict[str, str | None], error: InputError) -> InputError:
    """An error about one number as one about the word it stands in, with the word as it should be."""
    field, _, rest = str(error).partition(": ")
    wrong, _, value = rest.rpartition(". Try: ")
    good = {**parts, field: value}
    mended = "pool" if good["filters"] is None else f"{good['filters']}@"
    mended += good["kernel"] or ""
    mended += f"/{good['stride']}" if good["stride"] else ""
    mended += f"+{good['padding']}" if good["padding"] else ""
    return InputError(f"{word}: {field} {wrong}. Try: {mended}")


def explain(step: Step) -> None:
    """Print one layer with its arithmetic."""
    from residuum.report.page import Table
    from residuum.report.table import print_table

    print(f"{_described(step)}, over {by(step.input)} (height x width x channels)\n")
    for label, text in _lines(step):
        print(f"{label:<18}{text}")
    if step.window.kind == "pool":
        return
    volume = f"{by(step.window.kernel)}x{step.input[2] // step.window.groups}"
    rows = [
        [name, made, f"{each.weights:,}", f"{each.biases:,}", f"{each.total:,}"]
        for name, made, each in (
            ("shared (convolution)", f"{step.window.filters:,} filters x ({volume} + 1)", step.shared),
            ("unshared (locally connected)", f"{step.num_values:,} values x ({volume} + 1)", step.unshared),
            ("fully connected", f"{step.num_values:,} values x ({by(step.input)} + 1)", step.dense),
        )
    ]
    print()
    print_table(Table(("parameters", "made of", "weights", "biases", "with biases"), rows, numeric=(2, 3, 4)))


def tabulate(steps: Sequence[Step]) -> None:
    """Print a chain of layers, one row each."""
    from residuum.costing.arithmetic import sides
    from residuum.report.page import Table
    from residuum.report.table import print_table

    rows = [["", "input", by(steps[0].input), "", "", "", ""]]
    for number, step in enumerate(steps, 1):
        cost = [f"{step.shared.total:,}", f"{step.macs:,}"]
        rows.append(
            [str(number), str(step.window), by(step.output), *cost, sides(step.receptive_field), sides(step.jump)]
        )
    total = _total(steps)
    rows.append(["", "total", "", f"{total['parameters']:,}", f"{total['macs']:,}", "", ""])
    print_table(
        Table(("", "layer", "output", "parameters", "MACs", "field", "stride"), rows, numeric=(0, 2, 3, 4, 5, 6))
    )
    print("\noutput: height x width x channels; field: pixels of the image that one value sees")
    print("stride: pixels of the image between two neighbouring values")
    print(f"parameters: {total['weights']:,} weights and {total['biases']:,} biases")
    print(f"FLOPs: {total['flops']:,} (2 for each MAC)")
    if total["operations"]:
        print(f"pooling: {total['operations']:,} comparisons (max) or additions (average)")
    for number, step in enumerate(steps, 1):
        for name, axis in _named_axes(step):
            if axis.dropped:
                print(f"layer {number} ({step.window}), {name}: floor {_dropped(axis)}. Fits: {_fitting(axis)}")
            if axis.gap:
                print(f"layer {number} ({step.window}), {name}: {_gap(axis)}")


def _lines(step: Step) -> Iterator[tuple[str, str]]:
    """What is said of one layer: label and text."""
    named = _named_axes(step)
    of = {name: "" if len(named) == 1 else f"{name}: " for name, _ in named}
    for name, axis in named:
        yield name, axis.formula
    yield "output", f"{by(step.output)}, {step.num_values:,} values"
    for name, axis in named:
        yield "floor", of[name] + (_dropped(axis) if axis.dropped else "drops nothing")
        if axis.dropped:
            yield "to fit", of[name] + _fitting(axis)
        if axis.gap:
            yield "gaps", of[name] + _gap(axis)
    for name, axis in named:
        yield "to keep the size", of[name] + _keeping(axis)
    yield "receptive field", f"{by(step.receptive_field)} of the input for each output value"
    if step.window.kind == "pool":
        yield "work", f"{step.operations:,} comparisons (max) or additions (average); no parameters, no MACs"
    else:
        yield "work", f"{step.macs:,} MACs (multiply-adds) for one image, or {2 * step.macs:,} FLOPs (2 for each MAC)"


def _described(step: Step) -> str:
    """The layer in words."""
    from residuum.costing.arithmetic import sides

    window = step.window
    text = f"pooling of {by(window.kernel)}"
    if window.filters is not None:
        plural = "filters" if window.filters > 1 else "filter"
        text = f"{window.filters:,} {plural} of {by(window.kernel)}x{step.input[2] // window.groups}"
    text += f", stride {sides(window.stride)}, padding {sides(window.padding)}"
    text += f", dilation {sides(window.dilation)}" if window.dilation != (1, 1) else ""
    return text + (f", {window.groups} groups" if window.groups > 1 else "")


def _named_axes(step: Step) -> list[tuple[str, Axis]]:
    """Both axes as one where they are alike."""
    height, width = step.axes
    return [("height and width", height)] if height == width else [("height", height), ("width", width)]


def _dropped(axis: Axis) -> str:
    text = f"drops the last {axis.dropped:,} of {axis.size + 2 * axis.padding:,} "
    if not axis.padding:
        return f"{text}pixels"
    return f"{text}padded pixels, " + (f"{axis.lost:,} of them of the image" if axis.lost else "all of them padding")


def _fitting(axis: Axis) -> str:
    """Strides, a padding and inputs that drop nothing, each with the rest as it is."""
    ways = [f"stride {_either(axis.fitting_strides)}"] if axis.fitting_strides else []
    ways += [f"padding {axis.fitting_padding:,}"] if axis.fitting_padding is not None else []
    return ", ".join([*ways, f"{'or ' if ways else ''}an input of {_either(axis.fitting_sizes)}"])


def _gap(axis: Axis) -> str:
    pixels = "1 pixel" if axis.gap == 1 else f"{axis.gap:,} pixels"
    return f"a stride of {axis.stride:,} leaves {pixels} unread between windows of {axis.extent:,}"


def _keeping(axis: Axis) -> str:
    """Which padding makes the output as large as the input, at stride 1."""
    span = f"{axis.dilation}*({axis.kernel} - 1)" if axis.dilation > 1 else f"({axis.kernel} - 1)"
    if axis.same_padding is None:
        whole = axis.extent - 1
        return (
            f"no padding that is equal on both sides does: it takes {span} = {whole:,} in all, such as "
            f"{whole // 2:,} and {whole - whole // 2:,}"
        )
    text = f"padding {span}/2 = {axis.same_padding:,} at stride 1"
    if axis.max_padding is not None and axis.same_padding > axis.max_padding:
        return f"{text}, which PyTorch refuses for a pooling of {axis.kernel:,} (at most {axis.max_padding:,})"
    return text


def _total(steps: Sequence[Step]) -> dict[str, int]:
    """Sums over a chain, biases included."""
    weights, biases = sum(step.shared.weights for step in steps), sum(step.shared.biases for step in steps)
    macs = sum(step.macs for step in steps)
    return {
        "weights": weights,
        "biases": biases,
        "parameters": weights + biases,
        "macs": macs,
        "flops": 2 * macs,
        "operations": sum(step.operations for step in steps),
    }


def _either(values: Sequence[int]) -> str:
    return " or ".join(f"{value:,}" for value in values)
