"""Fused normalisation: PyTorch's own operators in float64 decide; the same bits for any number of threads."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from residuum.files.native import NoLibraryError
from residuum.nets import catalog
from residuum.nets.fused import FUSED, FusedBatchNorm2d, can_be_fused, fused, require_library
from residuum.nets.layers import GroupedBatchNorm2d, for_shortcut, normalised_relu, set_bn_group


@pytest.fixture(autouse=True)
def _library() -> Iterator[None]:
    threads = torch.get_num_threads()
    try:
        require_library()
    except NoLibraryError as error:
        pytest.skip(str(error))
    yield
    torch.set_num_threads(threads)


def norm_of(channels: int, group: int | None = None) -> nn.BatchNorm2d:
    torch.manual_seed(channels)
    norm = nn.BatchNorm2d(channels, momentum=0.3)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    if group is not None:
        set_bn_group(norm, group)
    return norm


def maps(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(shape, generator=generator) * 3 + 1).contiguous(memory_format=torch.channels_last)


def results(norm: nn.BatchNorm2d, x: Tensor, shortcut: Tensor | None, *, relu: bool) -> dict[str, Tensor]:
    """Output, gradients and running statistics of one training step."""
    leaves = {"x": x.clone().requires_grad_()}
    if shortcut is not None:
        leaves["shortcut"] = shortcut.clone().requires_grad_()
    y = normalised_relu(norm, leaves["x"], leaves.get("shortcut")) if relu else norm(leaves["x"])
    y.backward(maps(*x.shape, seed=2).to(y.dtype))
    found = {"y": y.detach(), **{f"to_{name}": leaf.grad for name, leaf in leaves.items()}}
    found |= {f"to_{name}": parameter.grad for name, parameter in norm.named_parameters()}
    found |= {name: buffer.clone() for name, buffer in norm.named_buffers()}
    return {name: value.double() for name, value in found.items() if value is not None}


def far(found: dict[str, Tensor], expected: dict[str, Tensor]) -> dict[str, float]:
    """By name the relative distance."""
    assert found.keys() == expected.keys()
    return {name: float((found[name] - value).norm() / value.norm()) for name, value in expected.items()}


@pytest.mark.parametrize("channels", [16, 32, 48, 112, 512])
@pytest.mark.parametrize("adds", [False, True])
@pytest.mark.parametrize("group", [None, 4])
def test_float32_is_what_float64_says(channels: int, adds: bool, group: int | None) -> None:
    norm = norm_of(channels, group)
    x, shortcut = maps(6, channels, 5, 7), maps(6, channels, 5, 7, seed=1) if adds else None
    exact = results(copy.deepcopy(norm).double(), x.double(), shortcut.double() if adds else None, relu=True)  # type: ignore[union-attr]
    with fused(norm):
        assert type(norm) in FUSED.values()
        found = results(norm, x, shortcut, relu=True)
    assert type(norm) is (GroupedBatchNorm2d if group else nn.BatchNorm2d)
    assert max(far(found, exact).values()) < 2e-6, far(found, exact)


def test_without_relu_and_a_map_of_many_rows() -> None:
    norm, x = norm_of(16), maps(64, 16, 32, 32)
    exact = results(copy.deepcopy(norm).double(), x.double(), None, relu=False)
    with fused(norm):
        found = results(norm, x, None, relu=False)
    assert max(far(found, exact).values()) < 5e-6


@pytest.mark.parametrize("adds", [False, True])
def test_bfloat16_is_no_further_from_float64_than_pytorch(adds: bool) -> None:
    norm, x = norm_of(64), maps(16, 64, 8, 8).bfloat16()
    shortcut = maps(16, 64, 8, 8, seed=1).bfloat16() if adds else None
    exact = results(copy.deepcopy(norm).double(), x.double(), shortcut.double() if adds else None, relu=True)  # type: ignore[union-attr]
    own = far(results(copy.deepcopy(norm), x, shortcut, relu=True), exact)
    with fused(norm):
        ours = far(results(norm, x, shortcut, relu=True), exact)
    for name, distance in ours.items():
        assert distance <= 1.1 * own[name] + 1e-6, name


@pytest.mark.parametrize("used", [("branch",), ("shortcut",), ("branch", "shortcut")])
@pytest.mark.parametrize("adds", [False, True])
@pytest.mark.parametrize("group", [None, 4])
def test_gradients_of_branch_and_shortcut_are_added(used: tuple[str, ...], adds: bool, group: int | None) -> None:
    norm, x, weights = norm_of(48, group), maps(6, 48, 5, 7), maps(2, 6, 48, 5 * 7).view(2, 6, 48, 5, 7)

    def gradients(norm: nn.BatchNorm2d, dtype: torch.dtype) -> list[Tensor]:
        leaves = [maps(6, 48, 5, 7, seed=seed).to(dtype).requires_grad_() for seed in range(2)]
        y = normalised_relu(norm, leaves[0], leaves[1] if adds else None)
        taken = {"branch": y, "shortcut": for_shortcut(y)}
        assert torch.equal(taken["branch"], taken["shortcut"])
        loss = sum((taken[name] * weight.to(dtype)).sum() for name, weight in zip(used, weights, strict=False))
        assert isinstance(loss, Tensor)
        loss.backward()
        return [each.grad for each in (*leaves, *norm.parameters()) if each.grad is not None]

    exact = gradients(copy.deepcopy(norm).double(), torch.float64)
    with fused(norm):
        assert for_shortcut(normalised_relu(norm, x)) is not normalised_relu(norm, x)
        found = gradients(norm, torch.float32)
    for ours, theirs in zip(found, exact, strict=True):
        assert (ours - theirs).norm() < 2e-6 * theirs.norm()


def test_only_the_operator_of_a_map_knows_its_twin() -> None:
    norm, x = norm_of(16), maps(2, 16, 3, 3)
    assert for_shortcut(x) is x
    with fused(norm):
        y = normalised_relu(norm, x)
    assert for_shortcut(y + 1).shape == y.shape
    assert for_shortcut(y.clone()) is not for_shortcut(y)


def test_the_bits_do_not_depend_on_the_threads() -> None:
    found = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        norm = norm_of(32)
        with fused(norm):
            found.append(results(norm, maps(8, 32, 9, 9), maps(8, 32, 9, 9, seed=1), relu=True))
    assert all(torch.equal(found[0][name], other[name]) for other in found[1:] for name in other)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_not_hidden(dtype: torch.dtype, value: float) -> None:
    x = maps(2, 16, 4, 4).to(dtype)
    x[0, 3, 1, 1] = value
    norm = norm_of(16)
    with fused(norm):
        y = normalised_relu(norm, x)
    assert bool(y[:, 3].isnan().all())
    assert bool(y[:, [*range(3), *range(4, 16)]].isfinite().all())


def test_a_gradient_in_another_layout() -> None:
    norm, x = norm_of(16), maps(3, 16, 4, 4)
    plain = copy.deepcopy(norm)
    one, two = x.clone().requires_grad_(), x.clone().contiguous().requires_grad_()
    normalised_relu(plain, one).sum().backward()  # an expanded scalar
    with fused(norm):
        normalised_relu(norm, two).sum().backward()
    assert one.grad is not None
    assert two.grad is not None
    assert two.grad == pytest.approx(one.grad, abs=1e-5)


UNSUITED = {
    "evaluation": lambda norm, x: (norm.eval(), x),
    "odd channels": lambda norm, x: (FusedBatchNorm2d(10), x[:, :10]),
    "float64": lambda norm, x: (norm.double(), x.double()),
    "one value": lambda norm, x: (norm, x[:1, :, :1, :1]),
    "more channels than the layer has": lambda norm, x: (norm, torch.cat([x, x], dim=1)),
    "weights of bfloat16": lambda norm, x: (norm.bfloat16(), x.bfloat16()),
}


@pytest.mark.parametrize("name", UNSUITED)
def test_what_does_not_suit_is_left_to_pytorch(name: str) -> None:
    norm = norm_of(16)
    with fused(norm):
        given, x = UNSUITED[name](norm, maps(2, 16, 4, 4))
        assert not given.takes(x)
    norm = norm_of(16)
    heard = []
    norm.register_forward_hook(lambda *_: heard.append(1))
    with fused(norm):
        normalised_relu(norm, maps(2, 16, 4, 4))
    assert heard, "who listens to the layer hears it"


def test_too_many_channels_are_an_error_as_without_the_library() -> None:
    """Nothing is read or written beyond the layer's own values."""
    norm = norm_of(16)
    with fused(norm), pytest.raises(RuntimeError, match="should contain 32 elements not 16"):
        norm(maps(2, 32, 4, 4))


def test_a_group_of_one_value_is_an_error_as_without_the_library() -> None:
    norm = norm_of(16, group=2)
    with fused(norm), pytest.raises(ValueError, match="more than 1 value per channel"):
        norm(maps(3, 16, 1, 1))


def test_who_listens_to_gradients_hears_them() -> None:
    norm, heard = norm_of(16), []
    norm.register_full_backward_hook(lambda *_: heard.append(1))
    with fused(norm):
        normalised_relu(norm, maps(2, 16, 4, 4).requires_grad_()).sum().backward()
    assert heard


def test_layers_without_weights_or_statistics_stay() -> None:
    net = nn.Sequential(
        nn.BatchNorm2d(16, affine=False),
        nn.BatchNorm2d(16, track_running_stats=False),
        nn.BatchNorm2d(16, momentum=None),
    )
    with fused(net):
        assert {type(each) for each in net} == {nn.BatchNorm2d}


def test_the_net_is_as_it_was_after_a_failure() -> None:
    net = catalog.net("resnet20")
    keys = [*net.state_dict()]

    def fail() -> None:
        with fused(net):
            assert isinstance(net.bn1, FusedBatchNorm2d)
            assert [*net.state_dict()] == keys
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert type(net.bn1) is nn.BatchNorm2d


NETS = {
    "resnet20": (3, 32), "plain20": (3, 32), "preact_resnet164": (3, 16), "resnet50": (3, 64), "se_resnet50": (3, 64),
    "vgg11_bn": (3, 32), "googlenet_bn": (3, 64),
}  # fmt: skip


@pytest.mark.parametrize("name", NETS)
def test_a_step_of_a_whole_net(name: str) -> None:
    """As near to float64 as PyTorch's own operators are, in loss, gradients and statistics."""
    channels, side = NETS[name]
    torch.manual_seed(0)
    net = catalog.net(name, num_classes=10).to(memory_format=torch.channels_last).train()
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    images, labels = maps(4, channels, side, side), torch.arange(4)

    def step(own: nn.Module, given: Tensor) -> tuple[float, Tensor]:
        answer = own(given)
        loss = functional.cross_entropy(getattr(answer, "logits", answer), labels)
        loss.backward()
        gradients = [each.grad.flatten().double() for each in own.parameters() if each.grad is not None]
        return float(loss.detach()), torch.cat(gradients)

    exact = step(copy.deepcopy(net).double(), images.double())
    plain = step(copy.deepcopy(net), images)
    with fused(net):
        found = step(net, images)

    def distance(other: tuple[float, Tensor]) -> float:
        return float((other[1] - exact[1]).norm() / exact[1].norm())

    assert found[0] == pytest.approx(exact[0], rel=1e-4), "rounding: 16 values for each channel in the last stage"
    assert distance(found) <= 3 * distance(plain) + 1e-5


def test_a_mean_far_from_zero_costs_no_digits() -> None:
    norm, x = norm_of(16), maps(8, 16, 16, 16) + 1000
    exact = results(copy.deepcopy(norm).double(), x.double(), None, relu=False)
    own = far(results(copy.deepcopy(norm), x, None, relu=False), exact)
    with fused(norm):
        ours = far(results(norm, x, None, relu=False), exact)
    assert ours["y"] <= own["y"]


def test_what_can_be_fused() -> None:
    assert can_be_fused(catalog.net("resnet20"))
    assert not can_be_fused(catalog.net("alexnet", num_classes=2))
