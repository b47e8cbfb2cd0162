"""Receptive fields against the pixels whose gradient is not zero, in nets whose weights are all positive."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from residuum.costing.cost import Cost, Layer
from residuum.costing.count import cost
from residuum.nets.resnet import ResNet, Variant

LENGTH = 2000  # five parts of stride up to 2 see 1 + 18 * (1 + 2 + 4 + 8 + 16) pixels at the most


class Same(nn.Module):
    """Adds to x what a convolution of the same size makes of it, or joins both."""

    def __init__(self, kernel: int, dilation: int, join: str) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 1, kernel, padding=dilation * (kernel - 1) // 2, dilation=dilation)
        self.join, self.mix = join, nn.Conv1d(2, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        if self.join == "cat":
            return self.mix(torch.cat([x, self.conv(x)], 1))
        if self.join == "in place":
            y = self.conv(x)
            y += x
            return y
        if self.join == "written":
            y = torch.empty(x.shape[0], 2, x.shape[2], dtype=x.dtype)
            y[:, :1] = self.conv(x)
            y[:, 1:] = x
            return self.mix(y)
        return x + self.conv(x)


class Halved(nn.Module):
    """A residual block with stride: projected, or by slices and zeros as option A."""

    def __init__(self, kernel: int, stride: int, shortcut: str) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 2, kernel, stride=stride, padding=(kernel - 1) // 2)
        self.project = nn.Conv1d(1, 2, 1, stride=stride) if shortcut == "project" else None
        self.stride, self.mix = stride, nn.Conv1d(2, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        short = functional.pad(x[:, :, :: self.stride], (0, 0, 0, 1)) if self.project is None else self.project(x)
        return self.mix(self.conv(x) + short)


class Shifted(nn.Module):
    """Two crops of a map, `by` positions apart, added."""

    def __init__(self, by: int) -> None:
        super().__init__()
        self.by = by

    def forward(self, x: Tensor) -> Tensor:
        return x[..., self.by :] + x[..., : x.shape[-1] - self.by]


class OverChannels(nn.Module):
    """A linear layer over the channels of each position, as in ConvNeXt."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(1, 3)
        self.back = nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.back(self.linear(x.movedim(1, -1))).movedim(-1, 1)


class Folded(nn.Module):
    """Reshapes and permutes without moving a value to another position."""

    def forward(self, x: Tensor) -> Tensor:
        return x.unsqueeze(0).permute(3, 1, 2, 0).squeeze(3).permute(1, 2, 0).flatten().view(x.shape)


def pooling(kernel: int, stride: int, padding: int) -> nn.Module:
    return nn.AvgPool1d(kernel, stride, min(padding, kernel // 2))


def last(counted: Cost) -> Layer:
    """The last layer that ran; those that did not stand behind it."""
    return next(layer for layer in reversed(counted.layers) if layer.calls)


odd = st.sampled_from([1, 3, 5])
small = st.integers(1, 3)
stride = st.integers(1, 2)
exact_parts = st.one_of(
    st.builds(
        lambda k, s, p, d: nn.Conv1d(1, 1, k, stride=s, padding=p, dilation=d),
        st.integers(1, 7),
        stride,
        st.integers(0, 6),
        small,
    ),
    st.builds(pooling, st.integers(1, 4), stride, st.integers(0, 2)),
    st.builds(Same, odd, small, st.sampled_from(["add", "cat", "in place", "written"])),
    st.builds(Halved, odd, stride, st.sampled_from(["project", "pad"])),
    st.builds(Shifted, st.integers(1, 5)),
    st.builds(OverChannels),
    st.builds(Folded),
)
looser_parts = st.one_of(
    exact_parts,
    st.builds(lambda f: nn.Upsample(scale_factor=f), st.integers(2, 4)),
    st.builds(lambda c: nn.Upsample(scale_factor=2, mode="linear", align_corners=c), st.booleans()),
    st.builds(
        lambda f, m: nn.Upsample(scale_factor=f, mode=m),
        st.sampled_from([0.3, 0.5, 1.5]),
        st.sampled_from(["nearest", "linear"]),
    ),
    st.builds(
        lambda k, s, p: nn.ConvTranspose1d(1, 1, k, stride=s, padding=min(p, k - 1)), st.integers(2, 5), small, small
    ),
    st.builds(nn.AdaptiveAvgPool1d, st.integers(7, 40)),
)


def positive(net: nn.Module) -> nn.Module:
    """In double precision, every weight the same positive number, so that nothing a position sees cancels out."""
    for name, each in net.double().eval().named_parameters():
        nn.init.constant_(each, 1 / max(1, each[0].numel()) if "weight" in name else 0.0)
    return net


def extent(net: nn.Module, image: Tensor, at: Sequence[int], *, rounding: float = 0) -> list[tuple[int, int]]:
    """First and last pixel along each axis whose gradient is not zero, from the output position `at`."""
    image.requires_grad_()
    output = net(image)
    (gradient,) = torch.autograd.grad(output[(0, slice(None), *at)].sum(), image)
    seen = (gradient[0].abs().sum(0) > rounding).nonzero()
    if not len(seen):  # a gap of a transposed convolution
        return []
    return [(int(axis.min()), int(axis.max())) for axis in seen.T]


@settings(max_examples=200, deadline=None)
@given(st.lists(exact_parts, min_size=1, max_size=5))
def test_equals_the_extent_of_the_gradient(parts: list[nn.Module]) -> None:
    net = positive(nn.Sequential(*parts))
    image = torch.ones(1, 1, LENGTH, dtype=torch.float64)
    with torch.no_grad():
        length = net(image).shape[-1]
    ((low, high),) = extent(net, image, [length // 2])
    counted = cost(net, image.detach(), training=False)
    assert not counted.unknown
    assert last(counted).receptive_field == (high - low + 1,)


@settings(max_examples=80, deadline=None)
@given(st.lists(looser_parts, min_size=1, max_size=5))
def test_is_an_upper_bound_where_windows_differ_by_position(parts: list[nn.Module]) -> None:
    net = positive(nn.Sequential(*parts))
    image = torch.ones(1, 1, 300, dtype=torch.float64)
    with torch.no_grad():
        try:
            length = net(image).shape[-1]
        except RuntimeError:
            length = 0
    assume(0 < length < 2000)
    counted = cost(net, image, training=False)
    (seen,) = last(counted).receptive_field or (0,)
    for at in {length // 2, length // 2 + 1, length // 3, length // 5}:
        if at < length:
            ((low, high),) = extent(net, image, [at]) or [(0, 0)]
            assert high - low + 1 <= seen


@pytest.mark.parametrize(
    ("part", "seen"),
    [
        (nn.Upsample(scale_factor=2), 1),
        (nn.Upsample(scale_factor=2, mode="bilinear"), 2),
        (nn.ConvTranspose2d(1, 1, 3, stride=2, padding=1), 2),
        (nn.ConvTranspose2d(1, 1, 4, stride=4), 1),
        (nn.AvgPool2d((2,)), 2),  # one number for both axes, as PyTorch takes it
        (nn.MaxPool2d((3,), (2,)), 3),
        (nn.AdaptiveAvgPool2d(8), 4),
        (nn.AdaptiveAvgPool2d(7), 6),  # 32 / 7: at the widest from floor(32 / 7) to ceil(64 / 7) - 1
        (nn.PixelShuffle(1), 1),
        (nn.PixelUnshuffle(2), 2),
        (nn.AdaptiveAvgPool2d(1), 32),
        (nn.Softmax(1), 1),
        (nn.Softmax(-1), None),
    ],
)
def test_of_one_layer(part: nn.Module, seen: int | None) -> None:
    field = cost(part, (1, 32, 32)).layers[-1].receptive_field
    assert field == ((1, 32) if seen is None else (seen, seen))


@pytest.mark.parametrize("length", [26, 32, 37])
@pytest.mark.parametrize("factor", [0.3, 1 / 3, 0.5, 0.7, 1.5, 2.5])
@pytest.mark.parametrize("mode", ["nearest", "linear", "corners"])
def test_windows_of_resized_maps_are_the_widest_of_all_positions(mode: str, factor: float, length: int) -> None:
    corners = True if mode == "corners" else None
    resized = nn.Upsample(scale_factor=factor, mode="linear" if corners else mode, align_corners=corners)
    net = positive(nn.Sequential(nn.Conv1d(1, 1, 3), resized, nn.Conv1d(1, 1, 1)))
    image = torch.ones(1, 1, length, dtype=torch.float64)
    with torch.no_grad():
        positions = net(image).shape[-1]
    windows = [extent(net, image, [at], rounding=1e-9)[0] for at in range(positions)]
    (seen,) = last(cost(net, image.detach(), training=False)).receptive_field or (0,)
    assert seen == max(high - low + 1 for low, high in windows)


def test_the_mean_of_two_windows_sees_both() -> None:
    """Half the size, bilinear: each value is the mean of two neighbours, of 3 pixels each."""
    resized = nn.Upsample(scale_factor=0.5, mode="bilinear")
    net = nn.Sequential(nn.Conv2d(1, 1, 3), resized, nn.Conv2d(1, 1, 1))
    assert cost(net, (1, 32, 32)).layers[-1].receptive_field == (4, 4)


def test_axes_have_windows_of_their_own() -> None:
    net = positive(nn.Sequential(nn.Conv2d(1, 1, (3, 1), stride=(2, 1)), nn.Conv2d(1, 1, (5, 3), dilation=(1, 2))))
    measured = extent(net, torch.ones(1, 1, 64, 64, dtype=torch.float64), [10, 20])
    final = cost(net, torch.zeros(1, 1, 64, 64, dtype=torch.float64)).layers[-1]
    assert final.receptive_field == tuple(high - low + 1 for low, high in measured) == (11, 5)
    assert final.stride == (2.0, 1.0)


def test_transposed_axes_stay_those_of_the_image() -> None:
    net = nn.Sequential(nn.Conv2d(1, 1, (3, 1)), Call(lambda x: x.mT), nn.Conv2d(1, 1, (5, 1)))
    assert cost(net, (1, 32, 32)).layers[-1].receptive_field == (3, 5)


class Call(nn.Module):
    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *values: Tensor) -> Tensor:
        return self.function(*values)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x * torch.sigmoid(x.mean((2, 3), keepdim=True)),
        lambda x: torch.sigmoid(x.mean((2, 3), keepdim=True)) * x,
        lambda x: x + x.flatten(2).amax(2)[:, :, None, None],
        lambda x: x - x.mean((2, 3), keepdim=True).expand_as(x),
        lambda x: x + x[..., :1, :1],
        lambda x: functional.instance_norm(x),
        lambda x: functional.adaptive_avg_pool2d(x, 1) * x,
    ],
)
def test_a_gate_sees_all_that_the_map_saw(function: Callable[[Tensor], Tensor]) -> None:
    """The map before has 32 positions of 3x3: from pixel -1 to pixel 32; a window after the gate cannot grow."""
    net = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), Call(function), nn.Conv2d(4, 4, 3, padding=1))
    assert cost(net, (4, 32, 32)).layers[-1].receptive_field == (34, 34)


def test_a_linear_layer_sees_all_that_the_map_saw() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(2 * 30 * 30, 7))
    assert cost(net, (1, 32, 32)).layers[-1].receptive_field == (32, 32)


def test_tokens_of_patches_keep_their_place_until_attention_joins_them() -> None:
    patches = nn.Sequential(nn.Conv2d(3, 8, 4, stride=4), Call(lambda x: x.flatten(2).mT), nn.LayerNorm(8))
    assert cost(patches, (3, 32, 32)).layers[-1].receptive_field == (4, 4)
    mixed = nn.Sequential(patches, Call(lambda x: functional.scaled_dot_product_attention(x, x, x)))
    assert cost(mixed, (3, 32, 32)).layers[-1].receptive_field == (32, 32)


def test_is_not_told_after_an_operator_that_is_not_known() -> None:
    net = nn.Sequential(nn.Conv2d(1, 1, 3), Call(lambda x: x.cumsum(-1)), nn.Conv2d(1, 1, 3))
    counted = cost(net, (1, 32, 32))
    assert counted.unknown == {"cumsum": 1}
    assert counted.receptive_field is None


@pytest.mark.parametrize(("stride_on", "pixels"), [("3x3", 427), ("first", 483)])
def test_resnet50(stride_on: str, pixels: int) -> None:
    """The figures of the literature, and the gradient of the same net with few channels."""
    variant = Variant(blocks=(3, 4, 6, 3), widths=(2, 2, 2, 2), block="bottleneck", stride_on=stride_on)  # type: ignore[arg-type]
    net = ResNet(variant, num_classes=2, in_channels=1)
    assert cost(net, (1, 224, 224), training=False).receptive_field == (pixels, pixels)
    positive(net)
    for each in net.modules():
        if isinstance(each, nn.BatchNorm2d):
            nn.init.ones_(each.weight)
    net.maxpool = nn.AvgPool2d(3, 2, 1)
    taken: list[Tensor] = []
    net.get_submodule("layer4.2.conv3").register_forward_hook(lambda *given: taken.append(given[-1]))
    image = torch.ones(1, 1, 640, 640, dtype=torch.float64, requires_grad=True)
    net(image)
    (gradient,) = torch.autograd.grad(taken[0][0, :, 10, 10].sum(), image)
    seen = gradient[0, 0].nonzero()
    assert [int(axis.max() - axis.min()) + 1 for axis in seen.T] == [pixels, pixels]
    assert int(seen.min()) > 0
    assert int(seen.max()) < 639


@pytest.mark.parametrize("shortcut", ["pad", "project", "project_all", "none"])
def test_shortcuts_do_not_change_what_the_last_convolution_sees(shortcut: str) -> None:
    """1 + 6 for the stem's and first stage's 3x3 (n = 1: three), then 2 + 4 and 4 + 8 for the halved stages."""
    variant = Variant(blocks=(1, 1, 1), widths=(2, 4, 8), stem="cifar", shortcut=shortcut)  # type: ignore[arg-type]
    net = ResNet(variant, num_classes=2)
    seen = 1 + 3 * 2 + (2 + 4) + (4 + 8)
    assert cost(net, (3, 32, 32)).receptive_field == (seen, seen)
