"""Operators against hand formulas and PyTorch's own counter of matrix products, as modules and as functions."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from residuum.costing.cost import Cost
from residuum.costing.count import cost
from residuum.errors import InputError


class Call(nn.Module):
    """A function with parameters, as a module."""

    def __init__(self, function: Callable[..., Tensor], *weights: Tensor) -> None:
        super().__init__()
        self.function, self.weights = function, nn.ParameterList(weights)

    def forward(self, *values: Tensor) -> Tensor:
        return self.function(*values, *self.weights)


def counted(function: Callable[..., Tensor], *values: Tensor) -> Cost:
    return cost(Call(function), values)


def counted_by_torch(module: nn.Module, *values: Tensor) -> int:
    """Floating-point operations of matrix products and convolutions, as `FlopCounterMode` has them."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module.to("meta").eval()(*(each.to("meta") for each in values))
    return int(counter.get_total_flops())


N, C = 2, 6
IMAGE, LINE, VOLUME = torch.zeros(N, C, 13, 9), torch.zeros(N, C, 13), torch.zeros(N, C, 5, 6, 7)
# module, input, multiply-adds, floating-point operations beyond two for each of them
LAYERS: list[tuple[nn.Module, Tensor, int, int]] = [
    (nn.Conv1d(C, 4, 3), LINE, N * 4 * 11 * C * 3, N * 4 * 11),
    (nn.Conv2d(C, 4, 3, bias=False), IMAGE, N * 4 * 11 * 7 * C * 9, 0),
    (nn.Conv2d(C, 4, (3, 2), stride=(2, 1), padding=(1, 0)), IMAGE, N * 4 * 7 * 8 * C * 6, N * 4 * 7 * 8),
    (nn.Conv2d(C, 4, 3, dilation=2), IMAGE, N * 4 * 9 * 5 * C * 9, N * 4 * 9 * 5),
    (nn.Conv2d(C, 12, 3, groups=3, bias=False), IMAGE, N * 12 * 11 * 7 * 2 * 9, 0),
    (nn.Conv2d(C, C, 3, groups=C, bias=False), IMAGE, N * C * 11 * 7 * 9, 0),
    (nn.Conv2d(C, 4, 5, padding="same", bias=False), IMAGE, N * 4 * 13 * 9 * C * 25, 0),
    (nn.Conv2d(C, 4, 3, padding=1, padding_mode="circular", bias=False), IMAGE, N * 4 * 13 * 9 * C * 9, 0),
    (nn.Conv3d(C, 4, 3), VOLUME, N * 4 * 3 * 4 * 5 * C * 27, N * 4 * 3 * 4 * 5),
    (nn.ConvTranspose1d(C, 4, 3, stride=2), LINE, N * 13 * C * 4 * 3, N * 4 * 27),
    (nn.ConvTranspose2d(C, 4, 3, stride=2, bias=False), IMAGE, N * 13 * 9 * C * 4 * 9, 0),
    (nn.ConvTranspose2d(C, 4, 3, stride=2, groups=2, bias=False), IMAGE, N * 13 * 9 * C * 2 * 9, 0),
    (nn.ConvTranspose3d(C, 4, 2, stride=2, bias=False), VOLUME, N * 5 * 6 * 7 * C * 4 * 8, 0),
    (nn.Linear(9, 4), torch.zeros(N, 9), N * 9 * 4, N * 4),
    (nn.Linear(9, 4, bias=False), torch.zeros(N, 5, 9), N * 5 * 9 * 4, 0),
    (nn.Linear(9, 4), torch.zeros(N, 5, 9), N * 5 * 9 * 4, N * 5 * 4),
    (nn.Linear(9, 4), IMAGE, N * C * 13 * 9 * 4, N * C * 13 * 4),
    (nn.Linear(9, 4), torch.zeros(9), 9 * 4, 4),
    (nn.BatchNorm2d(C), IMAGE, 0, 2 * IMAGE.numel()),
    (nn.BatchNorm2d(C, track_running_stats=False), IMAGE, 0, 7 * IMAGE.numel()),
    (nn.InstanceNorm2d(C), IMAGE, 0, 7 * IMAGE.numel()),
    (nn.LayerNorm(9), IMAGE, 0, 7 * IMAGE.numel()),
    (nn.GroupNorm(2, C), IMAGE, 0, 7 * IMAGE.numel()),
    (nn.MaxPool1d(3, 2), LINE, 0, N * C * 6 * 3),
    (nn.MaxPool2d(3, 2, padding=1), IMAGE, 0, N * C * 7 * 5 * 9),
    (nn.MaxPool3d(2), VOLUME, 0, N * C * 2 * 3 * 3 * 8),
    (nn.AvgPool1d(3), LINE, 0, N * C * 4 * 3),
    (nn.AvgPool2d(2), IMAGE, 0, N * C * 6 * 4 * 4),
    (nn.AvgPool2d((2,)), IMAGE, 0, N * C * 6 * 4 * 4),
    (nn.MaxPool2d((3,), (2,)), IMAGE, 0, N * C * 6 * 4 * 9),
    (nn.AvgPool3d((2,)), VOLUME, 0, N * C * 2 * 3 * 3 * 8),
    (nn.AdaptiveAvgPool2d(1), IMAGE, 0, IMAGE.numel()),
    (nn.AdaptiveAvgPool2d((3, 4)), IMAGE, 0, IMAGE.numel()),
    (nn.AdaptiveMaxPool2d(3), IMAGE, 0, IMAGE.numel()),
    (nn.Softmax(1), IMAGE, 0, 3 * IMAGE.numel()),
    (nn.LogSoftmax(1), IMAGE, 0, 3 * IMAGE.numel()),
    (nn.Flatten(), IMAGE, 0, 0),
    (nn.Dropout(), IMAGE, 0, 0),
    (nn.ZeroPad2d(2), IMAGE, 0, 0),
    (nn.Upsample(scale_factor=2), IMAGE, 0, 0),
    (nn.PixelShuffle(1), IMAGE, 0, 0),
    *(
        (each, IMAGE, 0, IMAGE.numel())
        for each in (nn.ReLU(), nn.ReLU(inplace=True), nn.Sigmoid(), nn.SiLU(), nn.Tanh())
    ),
    *((each, IMAGE, 0, IMAGE.numel()) for each in (nn.GELU(), nn.Hardswish(), nn.PReLU(), nn.ELU(), nn.LeakyReLU())),
]


@pytest.mark.parametrize(("module", "given", "macs", "others"), LAYERS, ids=lambda each: str(each)[:40])
def test_a_layer_by_hand(module: nn.Module, given: Tensor, macs: int, others: int) -> None:
    found = cost(module, given)
    assert not found.unknown
    assert (found.macs, found.flops) == (macs, 2 * macs + others)
    assert sum(layer.parameters for layer in found.layers) == sum(each.numel() for each in module.parameters())
    assert counted_by_torch(module, given) == 2 * macs


A, B = torch.zeros(2, 3, 4), torch.zeros(2, 4, 5)
PRODUCTS: list[tuple[Callable[..., Tensor], tuple[Tensor, ...], int]] = [
    (torch.bmm, (A, B), 2 * 3 * 4 * 5),
    (torch.matmul, (A, B), 2 * 3 * 4 * 5),
    (torch.matmul, (A, torch.zeros(4, 5)), 2 * 3 * 4 * 5),
    (torch.matmul, (torch.zeros(7, 2, 3, 4), torch.zeros(7, 1, 4, 5)), 7 * 2 * 3 * 4 * 5),
    (torch.mv, (torch.zeros(3, 4), torch.zeros(4)), 12),
    (torch.dot, (torch.zeros(4), torch.zeros(4)), 4),
    (torch.outer, (torch.zeros(4), torch.zeros(5)), 0),
    (lambda a, b: torch.einsum("bij,bjk->bik", a, b), (A, B), 2 * 3 * 4 * 5),
    (lambda a, b: torch.einsum("bij,bjk->ik", a, b), (A, B), 2 * 3 * 4 * 5),
    (lambda a, b: torch.baddbmm(torch.zeros(2, 3, 5), a, b), (A, B), 2 * 3 * 4 * 5),
    (lambda x, w: functional.linear(x, w), (A, torch.zeros(5, 4)), 2 * 3 * 4 * 5),
    (lambda x, w: functional.conv2d(x, w, stride=2), (IMAGE, torch.zeros(4, C, 3, 3)), N * 4 * 6 * 4 * C * 9),
    (lambda x, w: functional.conv1d(x, w, groups=2), (LINE, torch.zeros(4, 3, 3)), N * 4 * 11 * 3 * 3),
    (lambda x, w: functional.conv_transpose2d(x, w), (IMAGE, torch.zeros(C, 4, 3, 3)), N * C * 13 * 9 * 4 * 9),
]


@pytest.mark.parametrize(("function", "values", "macs"), PRODUCTS)
def test_a_product_by_hand(function: Callable[..., Tensor], values: tuple[Tensor, ...], macs: int) -> None:
    found = counted(function, *values)
    assert not found.unknown
    assert found.macs == macs


def test_attention_by_hand() -> None:
    """Of 4 heads, 5 queries, 7 keys of 16 values: queries times keys, then weights times values of 8."""
    query, key, value = torch.zeros(2, 4, 5, 16), torch.zeros(2, 4, 7, 16), torch.zeros(2, 4, 7, 8)
    found = counted(functional.scaled_dot_product_attention, query, key, value)
    assert not found.unknown
    assert found.macs == 2 * 4 * 5 * 7 * (16 + 8)


@pytest.mark.parametrize("weights", [True, False])
def test_multihead_attention_by_hand(weights: bool) -> None:
    class SelfAttention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(16, 4, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.attention(x, x, x, need_weights=weights)[0]

    module, images, tokens, width = SelfAttention(), 2, 5, 16
    found = cost(module, torch.zeros(images, tokens, width))
    assert not found.unknown
    assert found.macs == images * (tokens * width * 4 * width + 2 * tokens * tokens * width)
    assert [(layer.name, layer.parameters) for layer in found.layers[1:]] == [("attention", 4 * 16 * 16 + 4 * 16)]


def test_a_gate_by_hand() -> None:
    """Squeeze-and-excitation: mean, two products with biases, ReLU and sigmoid of each value, one product for each."""

    class Gate(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.squeeze, self.excite = nn.Linear(6, 2), nn.Linear(2, 6)

        def forward(self, x: Tensor) -> Tensor:
            gate = self.excite(self.squeeze(x.mean((2, 3))).relu()).sigmoid()
            return x * gate[:, :, None, None]

    found = cost(Gate(), IMAGE)
    macs = N * 2 * 6 * 2
    assert (found.macs, found.flops) == (macs, 2 * macs + N * 8 + N * 8 + 2 * IMAGE.numel())


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(1, 4), st.integers(1, 3), st.integers(0, 3), st.integers(1, 2), st.booleans(), st.booleans()
        ),
        min_size=1,
        max_size=5,
    ),
    st.sampled_from([1, 2, 4]),
)
def test_chains_of_convolutions_equal_the_counter_of_torch(
    given_layers: list[tuple[int, int, int, int, bool, bool]], groups: int
) -> None:
    layers: list[nn.Module] = []
    for kernel, stride, padding, dilation, bias, is_transposed in given_layers:
        if is_transposed:
            layers.append(nn.ConvTranspose2d(4, 4, kernel, stride, min(padding, kernel - 1), bias=bias, groups=groups))
        else:
            layers.append(nn.Conv2d(4, 4, kernel, stride, padding + 3, dilation, bias=bias, groups=groups))
    module, image = nn.Sequential(*layers), torch.zeros(1, 4, 12, 12)
    try:
        found = cost(module, image, training=False)
    except InputError:
        with pytest.raises(RuntimeError, match="too small"):
            module(image)
        return
    assert 2 * found.macs == counted_by_torch(module, image)
    with torch.no_grad():
        assert found.layers[-1].output_shape == tuple(module(image.to("meta")).shape)


@torch.library.custom_op("residuum_tests::twice", mutates_args=())
def twice(x: Tensor) -> Tensor:
    return x * 2


@twice.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


@pytest.mark.parametrize(
    ("function", "names"),
    [
        (lambda x: x.cumsum(1), {"cumsum": 1}),
        (lambda x: x.sort(1).values.sort(2).values, {"sort": 2}),
        (lambda x: torch.fft.fft2(x).real, {"_fft_c2c": 1}),
        (lambda x: x.topk(2).values, {"topk": 1}),
        (lambda x: twice(twice(twice(x))), {"twice": 3}),
        (lambda x: functional.unfold(x, 3), {"im2col": 1}),
    ],
)
def test_an_operator_that_is_not_known_is_named(function: Callable[[Tensor], Tensor], names: dict[str, int]) -> None:
    found = cost(nn.Sequential(nn.Conv2d(C, 3, 3), Call(function)), IMAGE)
    assert found.unknown == names
    assert found.to_json()["unknown_operators"] == names
    assert found.macs == math.prod((N, 3, 11, 7, C, 9))


def test_normalisation_by_fixed_statistics_costs_two_whatever_the_operator() -> None:
    def legit(x: Tensor) -> Tensor:
        ones = torch.ones(C)
        return torch.ops.aten._native_batch_norm_legit_no_training(x, ones, ones, ones, ones, 0.1, 1e-5)[0]

    assert counted(legit, IMAGE).flops == 2 * IMAGE.numel()
