"""Convolution arithmetic against sums done by hand, published figures, and what PyTorch's own layers do."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from residuum.costing.arithmetic import (
    MAX_VALUE,
    Axis,
    ImageShape,
    Pair,
    Parameters,
    Step,
    Window,
    chain,
    conv,
    pool,
    smallest_input,
)
from residuum.errors import InputError


def one(image: ImageShape, window: Window) -> Step:
    return chain(image, [window])[0]


def test_the_example_of_the_lecture_notes() -> None:
    """CS231n: 32x32x3, ten filters 5x5, stride 1, padding 2."""
    step = one((32, 32, 3), conv(10, 5, padding=2))
    assert step.output == (32, 32, 10)
    assert [axis.formula for axis in step.axes] == ["(32 + 2*2 - 5) / 1 + 1 = 32"] * 2
    assert step.shared == Parameters(750, 10)
    assert step.shared.total == 760
    assert step.macs == 32 * 32 * 10 * 75
    assert step.dense == Parameters(3072 * 10240, 10240)


def test_the_first_layer_of_alexnet() -> None:
    """CS231n: 290,400 neurons of 363 weights and a bias would be 105,705,600 parameters; shared they are 34,944."""
    step = one((227, 227, 3), conv(96, 11, stride=4))
    assert step.output == (55, 55, 96)
    assert step.weights_per_filter == 363
    assert (step.shared.weights, step.shared.biases) == (34_848, 96)
    assert step.macs == 105_415_200
    assert step.num_values == 290_400
    assert step.unshared.total == 105_705_600


def test_the_papers_own_224_does_not_fit_alexnet() -> None:
    height, _ = one((224, 224, 3), conv(96, 11, stride=4)).axes
    assert (height.output, height.dropped, height.lost) == (54, 1, 1)
    assert height.formula == "floor((224 + 2*0 - 11) / 4) + 1 = floor(213 / 4) + 1 = 54"
    assert height.fitting_sizes == (223, 227)
    assert height.fitting_strides == (3,)  # 213 = 3 * 71
    assert height.fitting_padding is None  # 213 + 2P is odd


def test_the_stem_of_resnet_drops_padding_and_no_pixel() -> None:
    stem, pooled = chain((224, 224, 3), [conv(64, 7, stride=2, padding=3), pool(3, stride=2, padding=1)])
    assert (stem.output, pooled.output) == ((112, 112, 64), (56, 56, 64))
    assert [(axis.dropped, axis.lost) for axis in stem.axes] == [(1, 0)] * 2
    assert stem.shared.weights == 9_408
    assert stem.macs == 118_013_952
    assert (pooled.shared.total, pooled.macs, pooled.operations) == (0, 0, 9 * 56 * 56 * 64)
    assert (pooled.unshared, pooled.dense) == (Parameters(0, 0), Parameters(0, 0))
    assert (pooled.receptive_field, pooled.jump) == ((11, 11), (4, 4))


def test_lenet_5() -> None:
    """LeCun et al. (1998), section II.B: C1 has 156 parameters and 122,304 connections, C5 has 48,120."""
    steps = chain((32, 32, 1), [conv(6, 5), pool(2), conv(16, 5), pool(2), conv(120, 5)])
    assert [step.output for step in steps] == [(28, 28, 6), (14, 14, 6), (10, 10, 16), (5, 5, 16), (1, 1, 120)]
    assert steps[0].shared.total == 156
    assert steps[0].macs + steps[0].num_values == 122_304
    assert steps[4].shared.total == 48_120
    assert [step.receptive_field[0] for step in steps] == [5, 6, 14, 16, 32]
    assert smallest_input([step.window for step in steps]) == (32, 32)


def test_axes_that_differ_with_groups_and_dilation() -> None:
    window = Window("conv", (2, 3), (2, 2), (0, 0), (1, 2), filters=8, groups=4)
    step = one((13, 20, 8), window)
    assert step.output == (6, 8, 8)
    assert step.axes[1].formula == "floor((20 + 2*0 - 2*(3 - 1) - 1) / 2) + 1 = floor(15 / 2) + 1 = 8"
    assert step.shared == Parameters(8 * 2 * 3 * 2, 8)
    assert step.unshared == Parameters(384 * 12, 384)
    assert step.receptive_field == (2, 5)
    assert str(window) == "8@2x3/2 dilation 1x2 groups 4"


@pytest.mark.parametrize(
    ("kernel", "dilation", "expected"),
    [(1, 1, 0), (3, 1, 1), (5, 1, 2), (11, 1, 5), (2, 1, None), (4, 1, None), (3, 2, 2), (4, 2, 3), (4, 3, None)],
)
def test_the_padding_that_keeps_the_size(kernel: int, dilation: int, expected: int | None) -> None:
    found = Axis(32, kernel, 1, 0, dilation).same_padding
    assert found == expected
    kept = [padding for padding in range(20) if Axis(32, kernel, 1, padding, dilation).output == 32]
    assert kept == ([] if expected is None else [expected])


def test_a_stride_above_the_kernel_leaves_pixels_unread() -> None:
    assert Axis(56, 1, 2, 0, 1).gap == 1  # the projection shortcut of ResNet
    assert Axis(56, 3, 2, 1, 1).gap == 0
    assert Axis(3, 1, 5, 0, 1).gap == 0, "one window has no neighbour"


def test_words_for_layers() -> None:
    windows = [conv(96, 11, stride=4), conv(64, 3, padding=1), pool(2), pool(3, stride=2, padding=1), pool((2, 3))]
    assert list(map(str, windows)) == ["96@11/4", "64@3+1", "pool2", "pool3/2+1", "pool2x3"]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: conv(0, 3), "filters: must be a whole number from 1 to 1,000,000, got 0. Try: 1"),
        (lambda: conv(4, 0), "kernel: must be .* got 0. Try: 1"),
        (lambda: conv(4, (3, -1)), "kernel: .* got -1"),
        (lambda: conv(4, 3, stride=0), "stride: .* Try: 1"),
        (
            lambda: conv(4, 3, stride=(1, 0.5)),  # type: ignore[arg-type]
            "stride: .* got 0.5. Try: 1",
        ),
        (lambda: conv(4, 3, padding=-1), "padding: must be a whole number from 0 .* Try: 0"),
        (lambda: conv(4, 3, dilation=0), "dilation: .* Try: 1"),
        (lambda: conv(4, 3, groups=0), "groups: .* Try: 1"),
        (lambda: conv(4, MAX_VALUE + 1), "kernel: .* Try: 1000000"),
        (lambda: conv(6, 3, groups=4), "groups: 4 do not divide the 6 filters. Try: 2"),
        (lambda: chain((8, 8, 6), [conv(8, 3, groups=4)]), "groups: 4 groups do not divide the 6 channels .* Try: 2"),
        (
            lambda: chain((8, 8, 3), [conv(6, 3), conv(8, 3, groups=4)]),
            r"layer 2 \(8@3 groups 4\): 4 groups do not divide the 6 channels of the input. Try: 2 groups",
        ),
        (lambda: pool(3, padding=2), r"padding: .* at most half .* \(expected at most 1, got 2\). Try: 1"),
        (lambda: pool((2, 5), padding=2), r"\(expected at most 1x2, got 2\). Try: 1x2"),
        (lambda: Window("conv", (3, 3), (1, 1)), "filters: a convolution needs their number. Try: 10"),
        (lambda: Window("pool", (3, 3), (1, 1), filters=3), "filters: a pooling has neither .* Try: a convolution"),
        (lambda: chain((32, 32), [conv(4, 3)]), r"input: has 2 numbers .* Try: \(32, 32, 3\)"),
        (lambda: chain((32, 0, 3), [conv(4, 3)]), "input: must be .* got 0. Try: 32x32x3"),
        (
            lambda: chain((5, 9, 3), [conv(4, 7)]),
            "kernel: 7x7 is larger than its padded input of 5x9. Try: an input of at least 7x9x3",
        ),
        (
            lambda: chain((5, 5, 3), [conv(4, 3, dilation=3)]),
            "kernel: 3x3, 7x7 with its dilation, is larger .* 5x5. Try: an input of at least 7x7x3",
        ),
        (
            lambda: chain((28, 28, 1), [conv(6, 5), pool(2), conv(16, 5), pool(2), conv(120, 5)]),
            r"layer 5 \(120@5\): 5x5 is larger than its padded input of 4x4. Try: an input of at least 32x32x1",
        ),
        (
            lambda: chain((9, 9, 1), [conv(1, 9, stride=MAX_VALUE), conv(1, 9)]),
            r"layer 2 .* Try: fewer layers",
        ),
    ],
)
def test_mistakes_say_what_to_do(make: Callable[[], object], said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        make()
    assert "\n" not in str(caught.value)
    assert ". Try: " in str(caught.value)


# Against PyTorch. Small numbers, so that hundreds of chains with all options take seconds.


@st.composite
def windows(draw: st.DrawFn, *, filters: st.SearchStrategy[int] | None = None) -> Window:
    """Any window; groups of 1 or 2."""
    pairs = {
        name: draw(st.tuples(st.integers(low, high), st.integers(low, high)))
        for name, low, high in (("kernel", 1, 5), ("stride", 1, 3), ("padding", 0, 2), ("dilation", 1, 2))
    }
    if draw(st.booleans()):
        number = draw(filters if filters is not None else st.sampled_from([2, 4, 6]))
        groups = draw(st.sampled_from([1, 2])) if number % 2 == 0 else 1
        return Window("conv", **pairs, filters=number, groups=groups)
    pairs["padding"] = tuple(min(p, k // 2) for p, k in zip(pairs["padding"], pairs["kernel"], strict=True))
    return Window("pool", **pairs)


def layers_of(image: ImageShape, chained: list[Window]) -> nn.Sequential:
    layers: list[nn.Module] = []
    channels = image[2]
    for each in chained:
        if each.filters is None:
            layers.append(nn.MaxPool2d(each.kernel, each.stride, each.padding, each.dilation))
        else:
            layers.append(
                nn.Conv2d(channels, each.filters, each.kernel, each.stride, each.padding, each.dilation, each.groups)
            )
            channels = each.filters
    return nn.Sequential(*layers)


images = st.tuples(st.integers(1, 72), st.integers(1, 72), st.sampled_from([2, 4]))


@settings(max_examples=500, deadline=None)
@given(images, st.lists(windows(), min_size=1, max_size=4))
def test_size_parameters_and_macs_are_those_of_pytorch(image: ImageShape, chained: list[Window]) -> None:
    net = layers_of(image, chained)
    x = torch.zeros(1, image[2], *image[:2])
    try:
        steps = chain(image, chained)
    except InputError:
        with pytest.raises(RuntimeError):
            net(x)
        return
    for step, layer in zip(steps, net, strict=True):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            x = layer(x)
        assert (x.shape[2], x.shape[3], x.shape[1]) == step.output
        assert step.num_values == x.numel()
        assert step.shared.total == sum(parameter.numel() for parameter in layer.parameters())
        assert step.shared.weights == (layer.weight.numel() if isinstance(layer, nn.Conv2d) else 0)
        assert 2 * step.macs == counter.get_total_flops()


@settings(max_examples=100, deadline=None)
@given(images, st.lists(windows(), min_size=1, max_size=4))
def test_the_smallest_input_is_the_smallest(image: ImageShape, chained: list[Window]) -> None:
    height, width = smallest_input(chained)
    chain((height, width, image[2]), chained)
    for smaller in ((height - 1, width), (height, width - 1)):
        with pytest.raises(InputError):
            chain((*smaller, image[2]), chained)


def touched(window: Window, image: Pair) -> list[Tensor]:
    """For height and width: whether a value of the padded input is read by any window, measured by a gradient."""
    padded = [image[axis] + 2 * window.padding[axis] for axis in (0, 1)]
    x = torch.zeros(1, 1, *padded, requires_grad=True)
    kernel = torch.ones(1, 1, *window.kernel)
    nn.functional.conv2d(x, kernel, stride=window.stride, dilation=window.dilation).sum().backward()
    assert x.grad is not None
    return [x.grad[0, 0].amax(dim=1 - axis) > 0 for axis in (0, 1)]


@settings(max_examples=150, deadline=None)
@given(images, windows())
def test_what_floor_drops_is_never_read_and_the_way_out_fits(image: ImageShape, window: Window) -> None:
    assume(all(image[axis] + 2 * window.padding[axis] >= window.extent[axis] for axis in (0, 1)))
    step = one(image, window)
    for index, (axis, read) in enumerate(zip(step.axes, touched(window, image[:2]), strict=True)):
        last = int(read.nonzero().max())
        assert axis.dropped == len(read) - 1 - last
        assert axis.lost == max(0, window.padding[index] + image[index] - 1 - max(last, window.padding[index] - 1))
        stride, padding = axis.stride, axis.padding
        for each in axis.fitting_strides:
            assert Axis(axis.size, axis.kernel, each, padding, axis.dilation).dropped == 0
            assert each != stride
        for size in axis.fitting_sizes:
            assert Axis(size, axis.kernel, stride, padding, axis.dilation).dropped == 0
        fitting = [
            each
            for each in range(axis.extent if axis.max_padding is None else axis.max_padding + 1)
            if (travel := axis.size + 2 * each - axis.extent) >= 0 and travel % stride == 0
        ]
        if axis.fitting_padding is None:
            assert not fitting
        else:
            assert axis.fitting_padding in fitting
            assert abs(axis.fitting_padding - padding) == min(abs(each - padding) for each in fitting)


@settings(max_examples=150, deadline=None)
@given(st.lists(windows(filters=st.just(1)), min_size=1, max_size=3))
def test_receptive_field_and_jump_are_the_extent_of_a_gradient(chained: list[Window]) -> None:
    """Weights of one everywhere; the value in the middle of an image so large that no border is near."""
    last = chain((1000, 1000, 1), chained)[-1]
    size = [4 * field + 4 * jump for field, jump in zip(last.receptive_field, last.jump, strict=True)]
    x = torch.zeros(1, 1, *size, dtype=torch.float64, requires_grad=True)
    y: Tensor = x
    for window in chained:
        if window.kind == "pool" and window.dilation == (1, 1):
            y = nn.functional.avg_pool2d(y, window.kernel, window.stride, window.padding)
        else:
            ones = torch.ones(1, 1, *window.kernel, dtype=torch.float64)
            y = nn.functional.conv2d(y, ones, stride=window.stride, padding=window.padding, dilation=window.dilation)
    middle = [y.shape[2] // 2, y.shape[3] // 2]
    here, there = (
        torch.autograd.grad(y[0, 0, middle[0] + step, middle[1] + step], x, retain_graph=True)[0][0, 0]
        for step in (0, 1)
    )
    for axis in (0, 1):
        first, second = (each.abs().amax(dim=1 - axis).nonzero().flatten() for each in (here, there))
        assert int(first.max() - first.min()) + 1 == last.receptive_field[axis]
        assert int(second.min() - first.min()) == last.jump[axis]
