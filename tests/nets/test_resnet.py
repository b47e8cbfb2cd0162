"""One contract over all residual nets; blocks against the papers' equations; initialisation; input checks."""

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
    resnext,
    wide,
    zero_init_residual,
)

# One small net of each make, for what the size of a net does not change.
SMALL = {
    "basic": cifar(8),
    "plain": cifar(8, shortcut="none"),
    "bottleneck": Variant(blocks=(1, 2), widths=(4, 8), block="bottleneck"),
    "preact basic": cifar(14, preactivation=True),
    "preact bottleneck": cifar(11, block="bottleneck", preactivation=True),
    "grouped": Variant(blocks=(1, 2), widths=(4, 8), block="bottleneck", widen=2, groups=4),
    "squeezed": Variant(blocks=(1, 2), widths=(4, 8), block="bottleneck", squeeze=4),
    "deep stem": Variant(blocks=(1, 2), widths=(4, 8), block="bottleneck", stem="deep", shortcut="pool_project"),
    "wide": wide(10, 2),
}
RESNETS = [name for name, entry in CATALOG.items() if isinstance(entry.variant, Variant)]


@pytest.mark.parametrize("name", RESNETS)
def test_shapes_of_logits_and_stages(name: str) -> None:
    entry = CATALOG[name]
    with torch.device("meta"):
        model = entry.build(num_classes=7, in_channels=1)
        x = torch.empty(2, 1, entry.input_size, entry.input_size)
    assert model.eval()(x).shape == (2, 7)
    features = model.forward_features(x)
    variant = entry.variant
    assert list(features) == ["stem", *(f"layer{n}" for n in range(1, len(variant.blocks) + 1))]
    first = entry.input_size if variant.stem == "cifar" else entry.input_size // 4
    assert features["stem"].shape == (2, variant.widths[0], first, first)
    for n, channels in enumerate(variant.outputs):
        side = first // 2**n
        assert features[f"layer{n + 1}"].shape == (2, channels, side, side)


# Parameters by other people's count: torchvision's and timm's pages, and the wide nets' other implementations.
KNOWN_PARAMETERS = {
    "resnext50_32x4d": 25_028_904,
    "resnext101_32x8d": 88_791_336,
    "wide_resnet50_2": 68_883_240,
    "wide_resnet101_2": 126_886_696,
    "se_resnet50": 28_088_024,
    "resnetd50": 25_576_264,
    "wrn16_4": 2_748_890,
    "wrn28_10": 36_479_194,
    "wrn40_4": 8_949_210,
}


@pytest.mark.parametrize("name", KNOWN_PARAMETERS)
def test_parameters_are_those_that_others_count(name: str) -> None:
    assert CATALOG[name].parameters == KNOWN_PARAMETERS[name]


@pytest.mark.parametrize("name", RESNETS)
def test_every_residual_net_has_a_twin_for_the_same_images(name: str) -> None:
    assert CATALOG[CATALOG[name].twin].input_shape == CATALOG[name].input_shape


@pytest.mark.parametrize("name", SMALL)
def test_any_input_size_and_odd_ones(name: str) -> None:
    model = ResNet(SMALL[name], num_classes=3).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for size in ((33, 47), (64, 64), (9, 9)):
            assert model(torch.zeros(1, 3, *size)).shape == (1, 3)


@pytest.mark.filterwarnings("ignore:an image of")
@pytest.mark.parametrize("stem", ["imagenet", "deep"])
def test_images_of_which_a_pooling_that_is_not_padded_leaves_nothing(stem: str) -> None:
    """Of 3 pixels the first convolution leaves 2, which are one window of the pooling; of 1 and 2 it leaves 1."""
    unpadded = ResNet(Variant(blocks=(1, 1), widths=(4, 8), stem=stem, pool="ceil"), num_classes=3).eval()
    padded = ResNet(Variant(blocks=(1, 1), widths=(4, 8), stem=stem), num_classes=3).eval()
    for side in (1, 2):
        for call in (unpadded, unpadded.forward_features):
            with pytest.raises(InputError, match=rf"^image: {side}x9 pixels are too few .* Try: --image-size 3$"):
                call(torch.zeros(1, 3, side, 9))
        assert padded(torch.zeros(1, 3, side, 9)).shape == (1, 3)
    assert unpadded(torch.zeros(1, 3, 3, 3)).shape == (1, 3)


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


def test_the_branch_of_a_squeezed_block_ends_with_the_gate_of_hu_2018() -> None:
    # Equations 2 to 4: z the mean of each channel, s = sigmoid(W2 relu(W1 z)), the branch scaled by s.
    model = ResNet(Variant(blocks=(1, 2), widths=(4, 8), block="bottleneck", stem="cifar", squeeze=4)).eval()
    for block in (model.layer1[0], model.layer2[0], model.layer2[1]):
        x = torch.randn(2, block.conv1.in_channels, 6, 6)
        u = torch.relu(block.bn1(block.conv1(x)))
        u = block.bn3(block.conv3(torch.relu(block.bn2(block.conv2(u)))))
        w1, w2 = block.se.fc1.weight[:, :, 0, 0], block.se.fc2.weight[:, :, 0, 0]
        assert w1.shape == (u.shape[1] // 4, u.shape[1])
        s = torch.sigmoid(torch.relu(u.mean(dim=(2, 3)) @ w1.T + block.se.fc1.bias) @ w2.T + block.se.fc2.bias)
        torch.testing.assert_close(block.residual(x), u * s[:, :, None, None])
        assert torch.equal(block(x), torch.relu(block.residual(x) + block.downsample(x))), "the shortcut is not gated"


@pytest.mark.parametrize(("block", "preactivation"), [("basic", False), ("basic", True), ("bottleneck", True)])
def test_squeeze_and_excitation_serves_every_block(block: str, preactivation: bool) -> None:
    variant = Variant(blocks=(1, 1), widths=(4, 8), block=block, stem="cifar", preactivation=preactivation, squeeze=2)
    model = ResNet(variant, num_classes=3)
    for each in (model.layer1[0], model.layer2[0]):
        x = torch.randn(1, each.conv1.in_channels, 4, 4)
        nn.init.constant_(each.se.fc2.bias, -1e4)
        assert each.residual(x).abs().max() == 0, "a closed gate closes the branch"


def test_a_pooled_shortcut_is_a_projection_of_the_average_of_each_2x2() -> None:
    model = ResNet(
        Variant(blocks=(1, 1), widths=(4, 8), block="bottleneck", stem="cifar", shortcut="pool_project")
    ).eval()
    kept, halved = model.layer1[0].downsample, model.layer2[0].downsample
    x = torch.randn(2, 16, 6, 6)
    averages = x.reshape(2, 16, 3, 2, 3, 2).mean(dim=(3, 5))
    weight = halved[1].weight[:, :, 0, 0]
    torch.testing.assert_close(halved(x), halved[2](torch.einsum("oc,nchw->nohw", weight, averages)))
    assert isinstance(kept[0], nn.Identity), "nothing is pooled where the size stays"
    assert kept[1].stride == halved[1].stride == (1, 1)


def test_a_pooled_shortcut_averages_the_pixels_there_are_at_odd_sizes() -> None:
    pool = CATALOG["resnetd50"].build().layer2[0].downsample[0]
    x = torch.arange(9.0).reshape(1, 1, 3, 3)
    assert torch.equal(pool(x), torch.tensor([[[[2.0, 3.5], [6.5, 8.0]]]]))


def test_the_deep_stem_is_three_3x3_of_32_32_and_64_channels() -> None:
    stem = CATALOG["resnetd50"].build(in_channels=1).conv1
    convolutions = [module for module in stem if isinstance(module, nn.Conv2d)]
    assert [tuple(module.weight.shape) for module in convolutions] == [(32, 1, 3, 3), (32, 32, 3, 3), (64, 32, 3, 3)]
    assert [module.stride for module in convolutions] == [(2, 2), (1, 1), (1, 1)]


def test_a_grouped_bottleneck_aggregates_paths_of_its_own() -> None:
    # Xie et al. 2017, Figure 3: F is the sum over all groups of 1x1, 3x3, 1x1 paths of the group's width.
    model = ResNet(Variant(blocks=(1,), widths=(8,), block="bottleneck", stem="cifar", groups=4, widen=2)).eval()
    block = model.layer1[0]
    x = torch.randn(2, 8, 5, 5)
    inner = torch.relu(block.bn1(block.conv1(x)))
    total = torch.zeros(2, 32, 5, 5)
    for path in range(4):
        own = slice(4 * path, 4 * path + 4)  # 16 channels in 4 groups
        y = nn.functional.conv2d(inner[:, own], block.conv2.weight[own], padding=1)
        y = torch.relu(y / (1 + block.bn2.eps) ** 0.5)  # a fresh BN in evaluation
        total += nn.functional.conv2d(y, block.conv3.weight[:, own])
    torch.testing.assert_close(block.residual(x), block.bn3(total))


@pytest.mark.parametrize(
    ("name", "groups", "inner"),
    [("resnext50_32x4d", 32, 128), ("resnext101_32x8d", 32, 256), ("wide_resnet50_2", 1, 128)],
)
def test_only_the_3x3_of_a_bottleneck_is_wider_or_grouped(name: str, groups: int, inner: int) -> None:
    with torch.device("meta"):
        model = CATALOG[name].build()
    for n, stage in enumerate((model.layer1, model.layer2, model.layer3, model.layer4)):
        for block in stage:
            assert (block.conv2.in_channels, block.conv2.groups) == (inner * 2**n, groups)
            assert block.conv1.groups == block.conv3.groups == 1
            assert block.conv3.out_channels == 256 * 2**n
            assert block.conv1.stride == (1, 1), "stride on the 3x3"


@pytest.mark.parametrize(("depth", "widen"), [(16, 1), (16, 8), (28, 10), (40, 2)])
def test_a_wide_net_counts_its_convolutions_and_widens_all_but_the_stem(depth: int, widen: int) -> None:
    # Zagoruyko & Komodakis 2016, Table 1: 16, then 16k, 32k, 64k; without a first projection at k = 1.
    with torch.device("meta"):
        model = ResNet(wide(depth, widen), num_classes=10)
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    assert len(convolutions) == depth - (widen == 1)
    assert model.conv1.out_channels == 16
    for stage, channels in ((model.layer1, 16), (model.layer2, 32), (model.layer3, 64)):
        assert {block.conv1.out_channels for block in stage} == {channels * widen}
        assert {block.conv2.out_channels for block in stage} == {channels * widen}
    assert model.layer1[0].conv1.stride == (1, 1)


def test_the_stem_activation_of_a_wide_net_serves_its_first_branch_and_projection() -> None:
    # BN and ReLU after a bare first convolution, shared by branch and projection: the authors' first block.
    model = ResNet(wide(10, 2), num_classes=10).eval()
    image = torch.randn(2, 3, 8, 8)
    activated = torch.relu(model.bn1(model.conv1(image)))
    block = model.layer1[0]
    branch = block.conv2(torch.relu(block.bn2(block.conv1(activated))))
    torch.testing.assert_close(block(model.stem(image)), branch + block.downsample[0](activated))


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


@pytest.mark.parametrize("name", [name for name in SMALL if name != "plain"])
def test_zero_initialised_branches_start_at_zero_and_still_learn(name: str) -> None:
    model = ResNet(SMALL[name], num_classes=3)
    zero_init_residual(model)
    x = torch.randn(2, 3, 64, 64)
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
    for name in ("bottleneck", "deep stem"):
        model = ResNet(SMALL[name])
        with pytest.warns(UserWarning, match="32x32 .* Try: resnet20"):
            model(torch.zeros(2, 3, 32, 32))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model(torch.zeros(2, 3, 64, 64))
            model.to("meta")(torch.empty(2, 3, 32, 32, device="meta"))  # shapes only: nothing is looked at
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ResNet(SMALL["basic"])(torch.zeros(2, 3, 8, 8))


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
    with pytest.raises(InputError, match=r"got 18\. Try: 16 or 22"):
        wide(18, 2)


def test_groups_that_no_net_has_are_refused() -> None:
    with pytest.raises(InputError, match=r"multiple of 64, got 32 x 3\. Try: 32 x 4"):
        resnext(3, 4, 6, 3, groups=32, group_width=3)
    with pytest.raises(InputError, match=r"only bottlenecks have groups, got 2\. Try: block='bottleneck'"):
        imagenet(2, 2, 2, 2, block="basic", groups=2)


@pytest.mark.parametrize("bad", [{"num_classes": 0}, {"in_channels": -1}])
def test_sizes_below_one_are_refused(bad: dict[str, int]) -> None:
    with pytest.raises(InputError, match="must be at least 1, got"):
        net("resnet20", **bad)


def test_an_unknown_net_names_the_nearest() -> None:
    with pytest.raises(InputError, match="Try: resnet50"):
        net("ResNet-5O")
