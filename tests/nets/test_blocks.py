"""Blocks that nets with changed fields have, each against its formula; and that all that looks at blocks takes them."""

from __future__ import annotations

import hashlib
import math
import warnings
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from residuum.costing.count import cost
from residuum.files.native import NoLibraryError
from residuum.inference import prepared
from residuum.insight.anatomy import anatomy, responses
from residuum.insight.gradients import gradient_split
from residuum.insight.jacobian import block_spectra
from residuum.insight.lesions import lesions, removable, swapped, without
from residuum.insight.paths import paths_together
from residuum.insight.terms import blocks_of, shortcut_blocks, shortcut_kind, shortcut_of
from residuum.nets import catalog
from residuum.nets.blocks import PostActivation, SingleBlock
from residuum.nets.fused import fused, require_library
from residuum.nets.resnet import ResNet, Variant, cifar, zero_init_residual

SHORTCUTS = ("halved", "halved_both", "gated", "gated_shortcut", "dropout")
PLACEMENTS = ("norm_after_addition", "relu_before_addition", "relu_only")
# One small net of each new make.
NEW: dict[str, dict[str, Any]] = {
    **{shortcut: {"shortcut": shortcut} for shortcut in SHORTCUTS},
    **{placement: {"placement": placement} for placement in PLACEMENTS},
    "single": {"block": "single"},
    "single preact": {"block": "single", "preactivation": True},
    "no norm": {"batch_norm": False},
    "no norm preact": {"batch_norm": False, "preactivation": True},
    "no norm projected": {"batch_norm": False, "shortcut": "project_all"},
    "max pooled": {"downsampling": "max_pool"},
    "average pooled": {"downsampling": "average_pool", "shortcut": "project"},
    "pooled preact": {"downsampling": "max_pool", "preactivation": True},
    "linear head": {"head": "linear", "dropout": 0.3},
    "gated bottleneck": {"block": "bottleneck", "shortcut": "gated"},
    "moved bottleneck": {"block": "bottleneck", "placement": "norm_after_addition"},
    "halved squeezed": {"shortcut": "halved_both", "squeeze": 4},
    "halved preact": {"shortcut": "halved", "preactivation": True},
}


def small(**changes: Any) -> ResNet:
    """Two stages of two blocks, of 16 and 32 channels, with statistics and biases of its own."""
    variant = Variant(**{"blocks": (2, 2), "widths": (16, 32), "stem": "cifar", "shortcut": "pad"} | changes)
    torch.manual_seed(0)
    return seasoned(ResNet(variant, num_classes=5)).eval()


def seasoned(net: ResNet) -> ResNet:
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.uniform_(-0.3, 0.3)
            module.running_var.uniform_(0.7, 1.5)
            nn.init.uniform_(module.weight, 0.7, 1.3)
            nn.init.uniform_(module.bias, -0.2, 0.2)
        elif isinstance(module, nn.Conv2d) and module.bias is not None:
            nn.init.uniform_(module.bias, -0.2, 0.2)
    return net


def images(side: int = 8, count: int = 3) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(1))


def given_to(block: nn.Module, channels: int, side: int = 6) -> Tensor:
    return torch.randn(2, channels, side, side, generator=torch.Generator().manual_seed(2))


def each_block(net: ResNet) -> list[tuple[Any, Tensor]]:
    """The blocks with an input each."""
    return [(block, given_to(block, block.conv1.in_channels)) for _, stage in net.stages() for block in stage]


def option_a(block: Any, x: Tensor) -> Tensor:
    """x as option A carries it: strided, zero channels on both sides."""
    stride, added = block.conv1.stride[0], block.conv1.out_channels - x.shape[1]
    return functional.pad(x[:, :, ::stride, ::stride], (0, 0, 0, 0, added // 2, added - added // 2))


def branch(block: Any, x: Tensor) -> Tensor:
    """F of a published basic block."""
    return block.bn2(block.conv2(torch.relu(block.bn1(block.conv1(x)))))


def gate(block: Any, x: Tensor) -> Tensor:
    """g(x) = sigmoid(W x + b), He et al. 2016, section 3.1, with W a matrix at each place."""
    layer, stride = block.downsample.gate, block.conv1.stride[0]
    scores = torch.einsum("oc,nchw->nohw", layer.weight[:, :, 0, 0], x[:, :, ::stride, ::stride])
    return 1 / (1 + torch.exp(-(scores + layer.bias[:, None, None])))


# ----- the shortcuts of He et al. 2016, Figure 2


@pytest.mark.parametrize("kind", SHORTCUTS)
def test_a_shortcut_by_its_formula(kind: str) -> None:
    for block, x in each_block(small(shortcut=kind)):
        f, h = branch(block, x), option_a(block, x)
        g = gate(block, x) if "gated" in kind else torch.zeros(())
        expected = {
            "halved": 0.5 * h + f,
            "halved_both": 0.5 * h + 0.5 * f,
            "gated": (1 - g) * h + g * f,
            "gated_shortcut": (1 - g) * h + f,
            "dropout": h + f,  # in evaluation
        }[kind]
        torch.testing.assert_close(block(x), torch.relu(expected))
        torch.testing.assert_close(block.residual(x) + block.downsample(x), expected)


def test_a_dropped_shortcut_loses_half_of_its_values_and_doubles_the_others() -> None:
    net = small(shortcut="dropout")
    block = net.layer1[0].train()
    x = torch.rand(8, 16, 8, 8) + 0.5
    ratio = block.downsample(x) / x
    assert set(ratio.unique().tolist()) == {0.0, 2.0}
    assert ratio.mean().item() == pytest.approx(1, abs=5 / math.sqrt(x.numel()))


@pytest.mark.parametrize("kind", ["gated", "gated_shortcut"])
def test_gates_start_with_their_bias_and_are_computed_once(kind: str) -> None:
    for changes, bias in (({}, -6.0), ({"gate_bias": 0.0}, 0.0)):
        variant = Variant(blocks=(2, 2), widths=(16, 32), stem="cifar", shortcut=kind, **changes)  # type: ignore[arg-type]
        net = ResNet(variant, num_classes=5).eval()
        gates = [block.downsample.gate for block in (*net.layer1, *net.layer2)]
        assert all(each.bias.eq(bias).all() for each in gates)
        assert [each.stride for each in gates] == [(1, 1), (1, 1), (2, 2), (1, 1)]
        with torch.no_grad():
            counted = cost(net, (3, 8, 8), training=False)
        assert [layer.calls for layer in counted.layers if layer.name.endswith(".gate")] == [1] * 4


def test_a_gated_block_is_nearly_the_identity_at_the_start() -> None:
    net = ResNet(Variant(blocks=(2,), widths=(16,), stem="cifar", shortcut="gated"), num_classes=5).eval()
    x = torch.rand(2, 16, 6, 6)
    assert (net.layer1[0](x) - x).abs().max() < 0.2
    assert 1 / (1 + math.exp(6)) < 0.003


# ----- the placements of He et al. 2016, Figure 4


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_a_placement_by_its_formula(placement: str) -> None:
    for block, x in each_block(small(placement=placement)):
        h = option_a(block, x)
        if placement == "norm_after_addition":
            f = block.conv2(torch.relu(block.bn1(block.conv1(x))))
            expected = torch.relu(block.bn2(f + h))
        elif placement == "relu_before_addition":
            expected = torch.relu(branch(block, x)) + h
        else:
            expected = branch(block, torch.relu(x)) + h
        torch.testing.assert_close(block(x), expected)


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_a_placement_of_a_bottleneck(placement: str) -> None:
    for block, x in each_block(small(placement=placement, block="bottleneck", shortcut="project")):
        h = block.downsample(x)
        first = torch.relu(x) if placement == "relu_only" else x
        y = torch.relu(block.bn1(block.conv1(first)))
        y = block.conv3(torch.relu(block.bn2(block.conv2(y))))
        expected = {
            "norm_after_addition": torch.relu(block.bn3(y + h)),
            "relu_before_addition": torch.relu(block.bn3(y)) + h,
            "relu_only": block.bn3(y) + h,
        }[placement]
        torch.testing.assert_close(block(x), expected)


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_a_placement_moves_layers_and_adds_none(placement: str) -> None:
    published, moved = small().state_dict(), small(placement=placement).state_dict()
    assert {name: value.shape for name, value in moved.items()} == {n: v.shape for n, v in published.items()}


def test_only_relu_only_rectifies_once_more_at_the_end() -> None:
    x = torch.randn(2, 32, 3, 3)
    for placement in ("published", *PLACEMENTS):
        net = small(placement=placement)
        last = torch.relu(x) if placement == "relu_only" else x
        torch.testing.assert_close(net.head(x), net.fc(last.mean(dim=(2, 3))))


# ----- one layer, no normalisation, pooling, the linear head


def test_a_single_layer_block_by_its_formula() -> None:
    for block, x in each_block(small(block="single")):
        torch.testing.assert_close(block(x), torch.relu(block.bn1(block.conv1(x)) + option_a(block, x)))
    net = small(block="single", preactivation=True)
    for number, (block, x) in enumerate(each_block(net)):
        activated = x if number == 0 else torch.relu(block.bn1(x))
        h = option_a(block, activated if number % 2 == 0 else x)
        torch.testing.assert_close(block(x), block.conv1(activated) + h)


def test_a_net_of_single_layers_has_a_layer_for_each_block() -> None:
    with torch.device("meta"):
        net = catalog.entry("resnet110+block=single+blocks=36,36,36").build()
    weighted = [module for module in net.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert len(weighted) == 110


def test_without_normalisation_each_convolution_of_branch_and_stem_has_a_bias() -> None:
    for changes in ({}, {"shortcut": "project"}, {"block": "bottleneck", "shortcut": "project"}):
        net = small(batch_norm=False, **changes)
        assert not any(isinstance(module, nn.BatchNorm2d) for module in net.modules())
        assert all(module.bias is not None for module in net.modules() if isinstance(module, nn.Conv2d))
    for block, x in each_block(small(batch_norm=False)):
        f = block.conv2(torch.relu(block.conv1(x)))
        torch.testing.assert_close(block(x), torch.relu(f + option_a(block, x)))


def test_a_net_without_normalisation_draws_its_weights_as_with_it() -> None:
    nets = []
    for name in ("resnet20", "resnet20+batch_norm=no"):
        torch.manual_seed(0)
        nets.append(catalog.net(name))
    convolutions = [[module for module in net.modules() if isinstance(module, nn.Conv2d)] for net in nets]
    for one, other in zip(*convolutions, strict=True):
        assert one.weight.std().item() == pytest.approx(other.weight.std().item(), rel=0.2)
        assert other.bias is not None
        assert not other.bias.any()


def test_a_preactivation_block_without_normalisation_still_rectifies() -> None:
    net = small(batch_norm=False, preactivation=True)
    for number, (block, x) in enumerate(each_block(net)):
        activated = x if number == 0 else torch.relu(x)
        f = block.conv2(torch.relu(block.conv1(activated)))
        torch.testing.assert_close(block(x), f + option_a(block, activated if number % 2 == 0 else x))
    x = torch.randn(2, 32, 3, 3)
    torch.testing.assert_close(net.head(x), net.fc(torch.relu(x).mean(dim=(2, 3))))


def test_the_bias_stands_for_one_of_the_two_values_of_a_normalisation() -> None:
    for base in ("resnet20", "preact_resnet110", "resnet50", "resnetd50"):
        with torch.device("meta"):
            net = catalog.entry(base).build()
        norms = sum(module.num_features for module in net.modules() if isinstance(module, nn.BatchNorm2d))
        assert catalog.entry(f"{base}+batch_norm=no").parameters == catalog.entry(base).parameters - norms


@pytest.mark.parametrize("kind", ["max_pool", "average_pool"])
def test_a_pooled_block_takes_the_pooled_maps_everywhere(kind: str) -> None:
    net = small(downsampling=kind)
    block, x = net.layer2[0], given_to(net.layer2[0], 16)
    windows = x.reshape(2, 16, 3, 2, 3, 2)
    pooled = windows.amax(dim=(3, 5)) if kind == "max_pool" else windows.mean(dim=(3, 5))
    f = block.bn2(block.conv2(torch.relu(block.bn1(block.conv1(pooled)))))
    torch.testing.assert_close(block(x), torch.relu(f + functional.pad(pooled, (0, 0, 0, 0, 8, 8))))
    assert block.conv1.stride == (1, 1)
    assert all(each.pool is None for each in (*net.layer1, net.layer2[1]))


@pytest.mark.parametrize("kind", ["max_pool", "average_pool"])
def test_pooling_costs_what_a_stride_costs(kind: str) -> None:
    for base in ("resnet20", "resnet50_v1", "preact_resnet164"):
        pooled, strided = catalog.entry(f"{base}+downsampling={kind}"), catalog.entry(base)
        assert (pooled.parameters, pooled.macs) == (strided.parameters, strided.macs)


@pytest.mark.parametrize("side", [1, 8, 32])
def test_a_linear_head_stands_on_a_grid_of_any_map(side: int) -> None:
    net = small(head="linear")
    first, _, dropout, last = net.fc
    assert (first.in_features, first.out_features, last.in_features) == (32 * 16, 256, 256)
    assert dropout.p == 0.5
    x = torch.randn(2, 32, side, side)
    grid = functional.adaptive_avg_pool2d(x, (4, 4)).flatten(1)
    torch.testing.assert_close(net.head(x), last(torch.relu(first(grid))))
    assert net(images(side)).shape == (3, 5)


def test_dropout_is_of_the_pooled_features_in_training_only() -> None:
    net = small(dropout=0.5)
    x = torch.rand(2, 32, 3, 3) + 1
    features = x.mean(dim=(2, 3))
    torch.testing.assert_close(net.head(x), net.fc(features))
    seen: list[Tensor] = []
    net.fc.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    net.train().head(x)
    assert {round(value, 4) for value in (seen[0] / features).unique().tolist()} == {0.0, 2.0}


# ----- one contract over all of them


@pytest.mark.parametrize("name", NEW)
def test_any_size_of_image_and_every_parameter_learns(name: str) -> None:
    net = small(**NEW[name])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for size in ((33, 47), (9, 9), (8, 8), (1, 1)):
            assert net(torch.zeros(1, 3, *size)).shape == (1, 5)
    assert list(net.forward_features(images())) == ["stem", "layer1", "layer2"]
    net.train()(images(count=8)).logsumexp(dim=1).sum().backward()
    for key, parameter in net.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.abs().sum() > 0, key


@pytest.mark.parametrize("name", NEW)
def test_zero_initialised_branches_are_zero_and_none_is_dead(name: str) -> None:
    net = small(**NEW[name])
    for module in net.modules():  # as a net starts
        if isinstance(module, nn.BatchNorm2d | nn.Conv2d) and module.bias is not None:
            nn.init.zeros_(module.bias)
    zero_init_residual(net)
    x = net.train().stem(images(count=8))
    for _, block in blocks_of(net):
        if NEW[name].get("placement") != "relu_before_addition":
            assert block.residual(x).abs().max() == 0
        x = block(x)
    net.head(x).logsumexp(1).sum().backward()
    for _, block in blocks_of(net):
        last = [module for module in block.children() if isinstance(module, nn.Conv2d | nn.BatchNorm2d)]
        assert any(module.weight.grad is not None and module.weight.grad.abs().sum() > 0 for module in last)


@pytest.mark.parametrize("name", NEW)
def test_fused_operators_train_them_alike(name: str) -> None:
    try:
        require_library()
    except NoLibraryError as error:
        pytest.skip(str(error))
    found: list[dict[str, Any]] = []
    x = images(count=8).contiguous(memory_format=torch.channels_last)  # dropout draws in the order of memory
    for context in (nullcontext, fused):
        net = small(**NEW[name]).train()
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        torch.manual_seed(3)
        with context(net):
            net(x).logsumexp(dim=1).sum().backward()
        found.append({key: parameter.grad for key, parameter in net.named_parameters()})
    for key, gradient in found[0].items():
        torch.testing.assert_close(found[1][key], gradient, rtol=2e-3, atol=2e-3 * float(gradient.abs().max()))


@pytest.mark.parametrize("name", NEW)
def test_a_prepared_copy_answers_as_the_net(name: str) -> None:
    net = small(**NEW[name])
    x = images(count=5)
    with torch.no_grad():
        expected = net(x)
    ready = prepared(net, x[:1], "fp32")
    assert ready.net is not net, "a copy was made, and answered the same"
    torch.testing.assert_close(ready(x), expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


@pytest.mark.parametrize("name", NEW)
def test_the_cost_of_them_can_be_counted(name: str) -> None:
    net = small(**NEW[name])
    counted = cost(net, (3, 8, 8))
    assert counted.parameters == sum(parameter.numel() for parameter in net.parameters())
    assert not counted.unknown
    assert counted.memory.training_problem is None or not counted.memory.training_problem


@pytest.mark.parametrize("name", NEW)
def test_everything_that_looks_at_blocks_takes_them(name: str) -> None:
    net, x, labels = small(**NEW[name]), images(), torch.tensor([0, 1, 2])
    blocks = shortcut_blocks(net)
    kinds = {each.name: each.shortcut for each in anatomy(net, x)}
    assert list(kinds) == [name for name, _ in blocks]
    assert responses(net, x)
    for split in gradient_split(net, x, labels):
        assert split.error < 1e-4
    total = sum(paths_together(net, x, labels))
    at = net.stem(x).detach().requires_grad_()
    y = at
    for _, stage in net.stages():
        y = stage(y)
    functional.cross_entropy(net.head(y), labels, reduction="sum").backward()
    assert isinstance(total, Tensor)
    torch.testing.assert_close(total, at.grad, rtol=1e-3, atol=1e-3 * float(at.grad.abs().max()))  # type: ignore[union-attr]
    assert len(block_spectra(net, images(4, count=1), names=["layer2.1"])) == 1


@pytest.mark.parametrize("name", NEW)
def test_without_a_block_its_shortcut_is_left(name: str) -> None:
    net, x = small(**NEW[name]), images()
    _, block = shortcut_blocks(net)[2]
    y = net.layer1(net.stem(x))
    expected = net.head(net.layer2[1](block.finished(shortcut_of(block, y))))
    with without(net, "layer2.0"):
        torch.testing.assert_close(net(x), expected)
    batches = [(x, torch.tensor([0, 1, 2]))]
    assert len(lesions(net, batches)) == 1 + len(removable(net)) == 5


def test_what_a_shortcut_does_has_a_name() -> None:
    expected = {
        "halved": ["scaled"] * 4,
        "gated": ["gated"] * 4,
        "gated_shortcut": ["gated"] * 4,
        "dropout": ["dropout"] * 4,
        "pad": ["identity", "identity", "pad", "identity"],
        "project": ["identity", "identity", "projection", "identity"],
    }
    for shortcut, kinds in expected.items():
        assert [shortcut_kind(block) for _, block in shortcut_blocks(small(shortcut=shortcut))] == kinds
    same = small(downsampling="max_pool", widths=(16, 16))
    assert [shortcut_kind(block) for _, block in shortcut_blocks(same)] == [
        "identity",
        "identity",
        "pooled",
        "identity",
    ]


def test_a_block_that_pools_changes_no_places_with_one_that_does_not() -> None:
    net = small(downsampling="max_pool", widths=(16, 16))
    with pytest.raises(Exception, match="cannot change places"), swapped(net, "layer2.0", "layer2.1"):
        pass


def test_only_blocks_that_end_in_one_operation_are_joined() -> None:
    plain = {name: changes for name, changes in NEW.items() if not changes.get("preactivation")}
    for name, changes in plain.items():
        block = small(**changes).layer1[0]
        assert isinstance(block, PostActivation)
        unlike = changes.get("placement") or changes.get("shortcut") in ("gated", "halved_both")
        assert block.is_plain_sum is not bool(unlike), name
    assert isinstance(small(block="single").layer1[0], SingleBlock)


# ----- what was there before


# Before fields could be changed: names and shapes of all tensors, and sums of initial weights of seed 0.
BEFORE = {
    "resnet20": (
        "28a0d5e26aad4d86",
        {
            "conv1.weight": -0.040753,
            "layer1.0.conv1.weight": 4.928129,
            "layer3.2.conv2.weight": -0.302491,
            "fc.weight": -0.758494,
        },
    ),
    "preact_resnet110": (
        "a84f12b137343423",
        {
            "conv1.weight": 1.999096,
            "layer1.0.conv1.weight": -7.779127,
            "layer3.17.conv2.weight": 2.462858,
            "fc.weight": -1.965722,
        },
    ),
}


@pytest.mark.parametrize("name", BEFORE)
def test_nets_of_the_catalog_are_what_they_were(name: str) -> None:
    torch.manual_seed(0)
    state = catalog.net(name).state_dict()
    keys, sums = BEFORE[name]
    listed = "\n".join(f"{key} {tuple(value.shape)}" for key, value in state.items())
    assert hashlib.sha256(listed.encode()).hexdigest()[:16] == keys
    for key, value in sums.items():
        assert state[key].double().sum().item() == pytest.approx(value, rel=1e-4, abs=1e-4), key


def test_a_net_of_the_catalog_has_no_module_that_it_had_not() -> None:
    net = ResNet(cifar(20), num_classes=10)
    assert {type(module).__name__ for module in net.modules()} == {
        "ResNet",
        "Conv2d",
        "BatchNorm2d",
        "Identity",
        "Sequential",
        "BasicBlock",
        "PadShortcut",
        "Linear",
    }
