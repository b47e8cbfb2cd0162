"""The prepared copy answers as the net does, in fp32 and bf16; the net itself is left as it was."""

from __future__ import annotations

import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from residuum import inference
from residuum.errors import InputError
from residuum.inference import (
    Prepared,
    evaluating,
    folded_weights,
    logits_of,
    one_thread_each,
    prepared,
    require_precision,
    shareable,
)
from residuum.nets import catalog
from residuum.nets.blocks import BasicBlock

CPU = torch.device("cpu")
NETS = {  # name in the catalog: image side, normalisations that are folded
    "plain20": (32, 19),
    "resnet20": (32, 19),
    "resnet18": (64, 20),
    "resnet50": (64, 53),
    "se_resnet50": (64, 53),
    "preact_resnet110": (32, 55),  # the stem's, and the second one of each of 54 blocks
    "preact_resnet164": (32, 109),
    "googlenet_bn": (64, 57),
    "vgg11_bn": (32, 8),
    "alexnet": (224, 0),
    "lenet5": (32, 0),
}


def seasoned(net: nn.Module) -> nn.Module:
    """With statistics, scales and shifts of its own in every batch normalisation."""
    generator = torch.Generator().manual_seed(0)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low, high in ((module.running_mean, -0.3, 0.3), (module.running_var, 0.7, 1.5)):
                assert tensor is not None
                tensor.uniform_(low, high, generator=generator)
            module.weight.data.uniform_(0.7, 1.3, generator=generator)
            module.bias.data.uniform_(-0.2, 0.2, generator=generator)
    return net.eval()


def images_of(side: int, channels: int = 3, count: int = 3) -> Tensor:
    return torch.randn(count, channels, side, side, generator=torch.Generator().manual_seed(1))


def is_norm(module: nn.Module) -> bool:
    return isinstance(module, nn.BatchNorm2d) and not isinstance(module, inference._Convolution)


def relative(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())


class Small(nn.Module):
    """A user's net: convolution, normalisation, ReLU, mean, linear."""

    def __init__(self, norm: Callable[[int], nn.Module] = nn.BatchNorm2d) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = norm(8)
        self.fc = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(torch.relu(self.norm(self.conv(x))).mean(dim=(2, 3)))  # type: ignore[no-any-return]


class LooksTwice(Small):
    """Uses what its convolution gives a second time, so that nothing may be folded."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return self.fc((self.norm(y) + y).mean(dim=(2, 3)))  # type: ignore[no-any-return]


class Between(Small):
    """Changes the maps in place before they are normalised."""

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.norm(functional.relu(self.conv(x), inplace=True)).mean(dim=(2, 3)))  # type: ignore[no-any-return]


class Twice(Small):
    """One convolution before the normalisation and once without."""

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.norm(self.conv(x)).mean(dim=(2, 3)) + self.conv(x).mean(dim=(2, 3)))  # type: ignore[no-any-return]


class NoCopy(Small):
    def __deepcopy__(self, memo: object) -> NoCopy:
        raise TypeError("cannot be copied")


class MixesTypes(Small):
    """Multiplies by a matrix that is neither a convolution nor a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.eye(8) * 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.norm(self.conv(x)).mean(dim=(2, 3)) @ self.matrix)  # type: ignore[no-any-return]


def test_the_folded_convolution_by_hand() -> None:
    conv, norm = nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1, eps=1.0)
    conv.weight.data.fill_(2.0)
    conv.bias.data.fill_(5.0)  # type: ignore[union-attr]
    norm.running_mean.fill_(1.0)  # type: ignore[union-attr]
    norm.running_var.fill_(3.0)  # type: ignore[union-attr]
    norm.weight.data.fill_(6.0)
    norm.bias.data.fill_(7.0)
    weight, bias = folded_weights(conv, norm)  # s = 6 / sqrt(3 + 1) = 3
    assert weight.flatten().tolist() == [6.0]
    assert bias.tolist() == [3 * (5 - 1) + 7]


def test_folding_without_bias_and_without_affine() -> None:
    torch.manual_seed(0)
    conv, norm = nn.Conv2d(4, 6, 3, bias=False, groups=2), nn.BatchNorm2d(6, affine=False)
    norm.running_mean.uniform_()  # type: ignore[union-attr]
    x = torch.randn(2, 4, 5, 5)
    weight, bias = folded_weights(conv, norm)
    found = functional.conv2d(x, weight, bias, groups=2)
    assert torch.allclose(found, norm.eval()(conv(x)), atol=1e-6)


@pytest.mark.parametrize("name", NETS)
def test_the_copy_answers_as_the_net(name: str) -> None:
    torch.manual_seed(0)
    side, folded = NETS[name]
    channels = 1 if name == "lenet5" else 3
    net = seasoned(catalog.net(name, num_classes=10, in_channels=channels))
    images = images_of(side, channels)
    with torch.no_grad():
        expected = net(images)
    fast = prepared(net, images[:2], "fp32")
    assert fast.net is not net
    assert relative(fast(images), expected) < inference.SAME
    norms, left = (sum(is_norm(one) for one in own.modules()) for own in (net, fast.net))
    assert norms - left == folded
    half = prepared(net, images[:2], "bf16")
    answer = half(images)
    assert answer.dtype == torch.float32
    assert relative(answer, expected) < 0.05
    assert half.converted or name == "lenet5"


@pytest.mark.parametrize("precision", ["fp32", "bf16", "auto"])
def test_the_net_stays_as_it_was(precision: Any) -> None:
    torch.manual_seed(0)
    net = seasoned(catalog.net("resnet20", num_classes=10))
    net.layer1.train()
    before = copy.deepcopy(net)
    tensors = {name: id(tensor) for name, tensor in net.state_dict(keep_vars=True).items()}
    images = images_of(32)
    prepared(net, images, precision)(images)
    assert [module.training for module in net.modules()] == [module.training for module in before.modules()]
    assert {name: id(tensor) for name, tensor in net.state_dict(keep_vars=True).items()} == tensors
    for (name, now), was in zip(net.state_dict().items(), before.state_dict().values(), strict=True):
        assert now.dtype == was.dtype, name
        assert torch.equal(now, was), name
    assert all(parameter.requires_grad for parameter in net.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())
    assert repr(net) == repr(before)


@pytest.mark.parametrize("kind", [LooksTwice, Between, Twice, NoCopy])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_what_cannot_be_folded_answers_all_the_same(kind: type[Small], precision: Any) -> None:
    torch.manual_seed(0)
    net = seasoned(kind())
    images = images_of(12)
    with torch.no_grad():
        expected = net(images)
    limit = inference.SAME if precision == "fp32" else 0.05
    found = prepared(net, images, precision)
    assert relative(found(images), expected) < limit
    assert any(is_norm(module) for module in found.net.modules())


def test_other_normalisations_are_left_alone() -> None:
    net = Small(lambda channels: nn.GroupNorm(2, channels)).eval()
    images = images_of(12)
    with torch.no_grad():
        expected = net(images)
    assert relative(prepared(net, images, "fp32")(images), expected) < inference.SAME
    assert relative(prepared(net, images, "bf16")(images), expected) < 0.05


def test_types_that_do_not_mix_go_by_autocast() -> None:
    torch.manual_seed(0)
    net = seasoned(MixesTypes())
    images = images_of(12)
    with torch.no_grad():
        expected = net(images)
    found = prepared(net, images, "bf16")
    assert not found.converted
    assert relative(found(images), expected) < 0.05


def test_a_net_with_hooks_is_used_itself() -> None:
    net = seasoned(Small())
    seen: list[int] = []
    net.conv.register_forward_hook(lambda module, given, output: seen.append(len(output)))
    images = images_of(12)
    for precision in ("fp32", "bf16"):
        found = prepared(net, images, precision)  # type: ignore[arg-type]
        assert found.net is net
        seen.clear()
        found(images)
        assert seen == [3]


def test_logits_that_are_not_numbers_are_given_as_they_are() -> None:
    net = seasoned(Small())
    net.fc.bias.data.fill_(float("nan"))
    images = images_of(12)
    assert prepared(net, images, "fp32")(images).isnan().all()


def test_last_layer_in_full_precision() -> None:
    """Logits of bf16 have three digits; these are not rounded to them."""
    torch.manual_seed(0)
    net = seasoned(Small())
    images = images_of(12)
    answer = prepared(net, images, "bf16")(images)
    assert not torch.equal(answer, answer.bfloat16().float())


def test_a_large_batch_runs_in_parts_of_the_same_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    net = seasoned(Small())
    images = images_of(12, count=7)
    sizes: list[int] = []
    net.conv.register_forward_hook(lambda module, given, output: sizes.append(len(output)))
    monkeypatch.setattr(inference, "PART_BYTES", 3 * 12 * 12 * 4)
    found = Prepared(net, torch.float32, converted=True, device=CPU)(images)
    assert sizes == [3, 3, 1]
    with torch.no_grad():
        assert torch.allclose(found, net(images), atol=1e-6)


def test_few_images_are_not_worth_a_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    net = seasoned(Small())
    images = images_of(12)
    made: list[int] = []
    original = inference.prepared
    monkeypatch.setattr(inference, "prepared", lambda *given: made.append(len(given[1])) or original(*given))
    logits_of(net, "fp32", CPU, count=inference.MANY - 1)(images)
    assert made == []
    run = logits_of(net, "fp32", CPU, count=inference.MANY)
    run(images)
    run(images)
    assert made == [inference.SAMPLE]


@pytest.mark.parametrize(("half_seconds", "expected"), [(0.5, torch.bfloat16), (0.9, torch.float32)])
def test_auto_goes_by_the_clock(monkeypatch: pytest.MonkeyPatch, half_seconds: float, expected: torch.dtype) -> None:
    monkeypatch.setattr(inference, "_seconds", lambda run, images: 1.0 if run.dtype == torch.float32 else half_seconds)
    assert prepared(seasoned(Small()), images_of(12), "auto").dtype == expected


def has_operators() -> bool:
    return hasattr(torch.ops.mkldnn, "_convolution_pointwise_")


@pytest.mark.parametrize("name", ["plain20", "resnet20", "resnet50", "se_resnet50", "preact_resnet110", "googlenet_bn"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_onednns_operators_do_the_same_as_one_after_the_other(
    name: str, precision: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    net = seasoned(catalog.net(name, num_classes=10))
    images = images_of(NETS[name][0])
    before = images.clone()
    packed = prepared(net, images, precision)
    answer = packed(images)
    assert torch.equal(packed(images), answer)
    assert torch.equal(images, before)

    def missing(own: object) -> None:
        raise AttributeError("no such operator")

    monkeypatch.setattr(inference._Convolution, "pack", missing)
    apart = prepared(net, images, precision)
    assert relative(answer, apart(images)) < (1e-5 if precision == "fp32" else 0.02)
    layers = [[one for one in own.net.modules() if isinstance(one, inference._Convolution)] for own in (packed, apart)]
    assert len(layers[0]) == len(layers[1]) == NETS[name][1]
    assert all(one.packed is None for one in layers[1])
    if precision == "fp32" and has_operators():
        assert all(one.packed is not None for one in layers[0])


@pytest.mark.parametrize("kind", ["resnet20", "plain20", "resnet50"])
def test_a_shortcut_is_added_by_the_last_convolution(kind: str) -> None:
    net = prepared(catalog.net(kind, num_classes=10).eval(), images_of(64), "fp32").net
    blocks = [module for module in net.modules() if isinstance(module, inference._Joined)]
    assert len(blocks) == sum(len(stage) for _, stage in net.stages())  # type: ignore[operator, misc]


class Reuses(nn.Module):
    """Needs the input of a block again, which the prepared nets of the catalog may write over."""

    def __init__(self) -> None:
        super().__init__()
        self.block, self.fc = catalog.net("resnet20", num_classes=10).layer1[0], nn.Linear(16, 4)
        assert isinstance(self.block, BasicBlock)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc((self.block(x) - x).mean(dim=(2, 3)))  # type: ignore[no-any-return]


def test_a_users_net_of_our_blocks_keeps_its_maps() -> None:
    torch.manual_seed(0)
    net = seasoned(Reuses())
    images = images_of(12, channels=16)
    before = images.clone()
    with torch.no_grad():
        expected = net(images)
    assert relative(prepared(net, images, "fp32")(images), expected) < inference.SAME
    assert relative(prepared(net, images, "bf16")(images), expected) < 0.05
    assert torch.equal(images, before)


def test_which_nets_threads_may_share() -> None:
    net = catalog.net("resnet20", num_classes=10)
    assert shareable(net, CPU)
    assert shareable(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), CPU)
    assert not shareable(net, torch.device("cuda"))
    assert not shareable(Small(), CPU)
    assert not shareable(nn.Sequential(Small()), CPU)
    net.fc.register_forward_hook(lambda module, given, output: None)
    assert not shareable(net, CPU)


def threads_now() -> tuple[int, int]:
    """Of this thread, and of a new one."""
    with ThreadPoolExecutor(1) as pool:
        return torch.get_num_threads(), pool.submit(torch.get_num_threads).result()


@pytest.mark.parametrize("threads", [1, 3])
def test_workers_compute_alone_and_nobody_else_does(threads: int) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        with one_thread_each(threads) as pool:
            seen = {pool.submit(torch.get_num_threads).result() for _ in range(20)}
            assert torch.get_num_threads() == threads
        assert seen == {1}
        assert threads_now() == (threads, threads)
        with pytest.raises(ZeroDivisionError), one_thread_each(threads) as pool:
            pool.submit(lambda: 1 // 0).result()
        assert threads_now() == (threads, threads)
    finally:
        torch.set_num_threads(before)


def test_modes_are_put_back_after_an_error() -> None:
    net = Small()
    net.norm.eval()
    seen: list[bool] = []
    net.conv.register_forward_pre_hook(lambda module, given: seen.append(net.training))
    with pytest.raises(RuntimeError), evaluating(net):
        net(torch.zeros(1, 5, 4, 4))
    assert seen == [False]
    assert [module.training for module in (net, net.conv, net.norm, net.fc)] == [True, True, False, True]


@pytest.mark.parametrize("precision", ["", "fp16", "BF16"])
def test_other_precisions_are_refused(precision: str) -> None:
    with pytest.raises(InputError, match=r"^precision: .* Try: "):
        require_precision(precision)
