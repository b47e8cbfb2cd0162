"""One contract over all nets; blocks against the papers' equations; initialisation; input checks."""

from __future__ import annotations

import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from residuum.errors import InputError
from residuum.nets.catalog import CATALOG, net
from residuum.nets.layers import PadShortcut
from residuum.nets.resnet import (
    BasicBlock,
    Bottleneck,
    PreactBasicBlock,
    PreactBottleneck,
    ResNet,
    Variant,
    cifar,
    imagenet,
    zero_init_residual,
)

SMALL = [name for name in CATALOG if not any(depth in name for depth in ("1202", "1001"))]


@pytest.mark.parametrize("name", CATALOG)
def test_shapes_of_logits_and_stages(name: str) -> None:
    entry = CATALOG[name]
    with torch.device("meta"):
        model = entry.build(num_classes=7, in_channels=1)
        x = torch.empty(2, 1, entry.input_size, entry.input_size)
    assert model.eval()(x).shape == (2, 7)
    features = model.forward_features(x)
    variant = entry.variant
    assert list(features) == ["stem", *(f"layer{n}" for n in range(1, len(variant.blocks) + 1))]
    first = entry.input_size // 4 if variant.stem == "imagenet" else entry.input_size
    for n, width in enumerate(variant.widths):
        side = first // 2**n
        assert features[f"layer{n + 1}"].shape == (2, width * variant.expansion, side, side)


@pytest.mark.parametrize("name", ["resnet20", "plain20", "preact_resnet164", "resnet18"])
def test_any_input_size_and_odd_ones(name: str) -> None:
    model = net(name, num_classes=3).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for size in ((33, 47), (64, 64), (9, 9)):
            assert model(torch.zeros(1, 3, *size)).shape == (1, 3)


@pytest.mark.parametrize("name", ["plain20", "plain56", "plain34"])
def test_a_plain_net_has_no_shortcut_module(name: str) -> None:
    model = CATALOG[name].build()
    assert all(block.downsample is None for block in model.modules() if isinstance(block, BasicBlock))


def test_plain_and_residual_twins_share_every_parameter_name_and_shape() -> None:
    plain, residual = net("plain20"), net("resnet20")
    assert {k: v.shape for k, v in plain.state_dict().items()} == {k: v.shape for k, v in residual.state_dict().items()}


def test_option_a_adds_zero_channels_and_strides() -> None:
    x = torch.arange(2 * 3 * 4 * 4.0).reshape(2, 3, 4, 4)
    y = PadShortcut(3, 8, stride=2)(x)
    assert y.shape == (2, 8, 2, 2)
    assert torch.equal(y[:, 2:5], x[:, :, ::2, ::2])
    assert y[:, :2].abs().sum() == 0
    assert y[:, 5:].abs().sum() == 0
    assert not list(PadShortcut(3, 8, stride=2).parameters())


@pytest.mark.parametrize(("option", "projections"), [("pad", 0), ("project", 2), ("project_all", 9), ("none", 0)])
def test_shortcut_options_project_where_the_paper_says(option: str, projections: int) -> None:
    model = ResNet(cifar(20, shortcut=option), num_classes=10)
    names = [name for name, module in model.named_modules() if name.endswith("downsample.0")]
    assert len(names) == projections


@pytest.mark.parametrize("stride_on", ["first", "3x3"])
def test_stride_of_a_bottleneck_lies_where_the_variant_says(stride_on: str) -> None:
    model = ResNet(imagenet(3, 4, 6, 3, block="bottleneck", stride_on=stride_on))
    block = model.layer2[0]
    expected = {"conv1": (2, 2), "conv2": (1, 1)} if stride_on == "first" else {"conv1": (1, 1), "conv2": (2, 2)}
    assert {name: getattr(block, name).stride for name in expected} == expected


@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
def test_a_post_activation_block_is_relu_of_residual_plus_shortcut(block: type[nn.Module]) -> None:
    kind = "basic" if block is BasicBlock else "bottleneck"
    model = ResNet(Variant(blocks=(2, 2), widths=(4, 8), block=kind, stem="cifar")).eval()
    for stage, x in ((model.layer1, None), (model.layer2, None)):
        for each in stage:
            x = torch.randn(2, each.conv1.in_channels, 6, 6)
            assert torch.equal(each(x), torch.relu(each.residual(x) + each.downsample(x)))


def test_preactivation_follows_he_2016() -> None:
    model = ResNet(cifar(29, block="bottleneck", preactivation=True), num_classes=10).eval()
    blocks = [block for stage in (model.layer1, model.layer2, model.layer3) for block in stage]
    assert isinstance(blocks[0].bn1, nn.Identity), "the stem's activation serves the first block"
    for index, block in enumerate(blocks):
        x = torch.randn(2, block.conv1.in_channels, 8, 8)
        activated = x if index == 0 else torch.relu(block.bn1(x))
        branch = block.conv1(activated)
        branch = block.conv2(torch.relu(block.bn2(branch)))
        branch = block.conv3(torch.relu(block.bn3(branch)))
        shortcut = block.downsample(activated) if index % 3 == 0 else x
        torch.testing.assert_close(block(x), branch + shortcut)


def test_within_a_stage_preactivation_is_a_sum_of_residuals() -> None:
    # He et al. 2016, equation 4: x_L = x_l + sum of F(x_i), exact where all shortcuts are identities.
    model = ResNet(cifar(32, preactivation=True), num_classes=10).double().eval()
    x = start = model.layer2[0](torch.randn(2, 16, 8, 8, dtype=torch.float64))
    total = torch.zeros_like(x)
    for block in model.layer2[1:]:
        total += block.residual(x)
        x = block(x)
    torch.testing.assert_close(x, start + total)


def test_he_initialisation_has_the_right_deviation() -> None:
    torch.manual_seed(0)
    model = net("resnet18")
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 20_000:
            fan_out = module.out_channels * module.kernel_size[0] * module.kernel_size[1]
            assert module.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.05)
        if isinstance(module, nn.BatchNorm2d):
            assert module.weight.eq(1).all()
            assert module.bias.eq(0).all()


@pytest.mark.parametrize("name", ["resnet20", "resnet50", "preact_resnet110", "preact_resnet164"])
def test_zero_initialised_branches_start_at_zero_and_still_learn(name: str) -> None:
    model = net(name, num_classes=3)
    zero_init_residual(model)
    x = torch.randn(4, 3, 64, 64)
    features = model.train().stem(x)
    for _, stage in model.stages():
        for block in stage:
            assert block.residual(features).abs().max() == 0
            features = block(features)
    model.head(features).logsumexp(1).sum().backward()
    kinds = {BasicBlock: "bn2", Bottleneck: "bn3", PreactBasicBlock: "conv2", PreactBottleneck: "conv3"}
    for module in model.modules():
        if type(module) in kinds:
            gradient = getattr(module, kinds[type(module)]).weight.grad
            assert gradient.abs().sum() > 0, "a branch that gets no gradient stays dead"


def test_a_large_stem_warns_of_a_small_image_and_names_the_net_to_use() -> None:
    with pytest.warns(UserWarning, match="resnet20"):
        net("resnet18")(torch.zeros(2, 3, 32, 32))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net("resnet18")(torch.zeros(2, 3, 64, 64))
        net("resnet20")(torch.zeros(2, 3, 8, 8))


@given(n=st.integers(1, 30))
@settings(max_examples=10, deadline=None)
def test_cifar_depth_counts_weighted_layers(n: int) -> None:
    for layers, block in ((6, "basic"), (9, "bottleneck")):
        depth = layers * n + 2
        with torch.device("meta"):
            model = ResNet(cifar(depth, block=block, shortcut="none"))
        weighted = [module for module in model.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
        assert len(weighted) == depth


def test_an_impossible_depth_names_its_neighbours() -> None:
    with pytest.raises(InputError, match=r"got 21\. Try: 20 or 26"):
        cifar(21)


@pytest.mark.parametrize("bad", [{"num_classes": 0}, {"in_channels": -1}])
def test_sizes_below_one_are_refused(bad: dict[str, int]) -> None:
    with pytest.raises(InputError, match="must be at least 1, got"):
        net("resnet20", **bad)


def test_an_unknown_net_names_the_nearest() -> None:
    with pytest.raises(InputError, match="Try: resnet50"):
        net("ResNet-5O")
