"""Anatomy and layer responses against the same computed by hand, block by block; statistics in plain numbers."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch import Tensor, nn

from residuum.errors import InputError
from residuum.insight.anatomy import anatomy, responses
from residuum.insight.gradients import gradient_norms
from residuum.insight.statistics import layer_statistics
from residuum.nets import catalog
from residuum.nets.blocks import PostActivation
from residuum.nets.resnet import ResNet, Variant, zero_init_residual
from small_nets import small

VARIANTS = {
    "pad": Variant(blocks=(2, 1), widths=(4, 8), stem="cifar", shortcut="pad"),
    "project": Variant(blocks=(1, 2), widths=(4, 8), stem="cifar", shortcut="project_all"),
    "bottleneck": Variant(blocks=(1, 1), widths=(4, 8), stem="cifar", block="bottleneck", squeeze=2),
    "preact": Variant(blocks=(2, 1), widths=(4, 8), stem="cifar", shortcut="project", preactivation=True),
    "preact_pad": Variant(blocks=(1, 2), widths=(4, 8), stem="cifar", shortcut="pad", preactivation=True),
}
PLAIN = Variant(blocks=(2, 1), widths=(4, 8), stem="cifar", shortcut="none")


@pytest.fixture
def images() -> Tensor:
    return torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def blocks_of(net: ResNet) -> list[tuple[str, nn.Module]]:
    return [(f"{stage}.{index}", block) for stage, blocks in net.stages() for index, block in enumerate(blocks)]


def by_hand(net: ResNet, images: Tensor) -> list[tuple[Tensor, Tensor, Tensor, bool]]:
    """Shortcut, F and output of each block, from the blocks' own methods, one after the other."""
    net.eval()
    found = []
    with torch.no_grad():
        x = torch.relu(net.bn1(net.conv1(images)))
        for _, block in blocks_of(net):
            post = isinstance(block, PostActivation)
            start = x if post or not block.shares_activation else block.activate(x)  # type: ignore[operator]
            shortcut, residual = block.downsample(start), block.residual(x)  # type: ignore[operator]
            x = block(x)
            found.append((shortcut, residual, x, post))
    return found


@pytest.mark.parametrize("name", VARIANTS)
def test_anatomy_is_what_the_blocks_compute(name: str, images: Tensor) -> None:
    net = small(VARIANTS[name])
    expected = by_hand(net, images)
    got = anatomy(net.train(), images)
    assert [each.name for each in got] == [block for block, _ in blocks_of(net)]
    for each, (x, residual, output, post) in zip(got, expected, strict=True):
        norm_x, norm_f = x.flatten(1).norm(dim=1), residual.flatten(1).norm(dim=1)
        rest = x.clamp(min=0) if post else x
        away = (output - rest).flatten(1).norm(dim=1) / rest.flatten(1).norm(dim=1)
        cosine = torch.cosine_similarity(x.flatten(1), residual.flatten(1))
        values = (each.norm_x, each.norm_f, each.ratio, each.cosine, each.distance_from_identity, each.response_std)
        hand = (norm_x.mean(), norm_f.mean(), (norm_f / norm_x).mean(), cosine.mean(), away.mean(),
                residual.flatten().std(correction=0))  # fmt: skip
        assert values == pytest.approx([float(value) for value in hand], rel=1e-9)
        if not post:
            assert each.distance_from_identity == pytest.approx(each.ratio)


def test_the_kinds_of_shortcut_are_told_apart() -> None:
    kinds = {name: [each.shortcut for each in anatomy(small(VARIANTS[name]), torch.zeros(1, 3, 8, 8).double())]
             for name in ("pad", "project", "preact")}  # fmt: skip
    assert kinds == {"pad": ["identity", "identity", "pad"], "project": ["projection"] * 3,
                     "preact": ["identity", "identity", "projection"]}  # fmt: skip


# Not the bottleneck: its squeeze-and-excitation follows the zero.
@pytest.mark.parametrize("name", [name for name in VARIANTS if name != "bottleneck"])
def test_zero_init_residual_gives_blocks_that_add_nothing(name: str, images: Tensor) -> None:
    torch.manual_seed(0)
    net = ResNet(VARIANTS[name], num_classes=5, in_channels=3).double()
    zero_init_residual(net)
    for each in anatomy(net, images):
        assert (each.norm_f, each.ratio, each.cosine, each.response_std) == (0, 0, 0, 0)
        assert each.distance_from_identity == 0
        assert each.norm_x > 0


def test_half_precision_has_room_for_large_maps(images: Tensor) -> None:
    """Norms of several hundred: their product is beyond what a float16 holds."""
    net = small(VARIANTS["pad"])
    exact = anatomy(net, 500 * images)
    for each, other in zip(exact, anatomy(net.half(), (500 * images).half()), strict=True):
        assert each.norm_x * each.norm_f > 65504
        assert other.cosine == pytest.approx(each.cosine, abs=0.01)
        assert other.response_std == pytest.approx(each.response_std, rel=0.01)


def test_an_image_that_leaves_nothing_is_left_out_of_quotients() -> None:
    net = small(VARIANTS["pad"])
    nn.init.constant_(net.bn1.bias, -1e9)
    assert all(math.isnan(each.ratio) for each in anatomy(net, torch.ones(1, 3, 8, 8).double())[:1])


@pytest.mark.parametrize(
    ("net", "reason"),
    [(ResNet(PLAIN, num_classes=5), "is plain"), (nn.Sequential(nn.Conv2d(3, 4, 3)), "has no residual blocks")],
)
def test_anatomy_says_why_it_does_not_apply(net: nn.Module, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        anatomy(net, torch.zeros(1, 3, 8, 8))


def hooked(net: nn.Module, images: Tensor, places: list[str]) -> list[float]:
    outputs: dict[str, Tensor] = {}
    for place in places:
        net.get_submodule(place).register_forward_hook(lambda m, i, o, p=place: outputs.__setitem__(p, o.clone()))
    with torch.no_grad():
        net.eval()(images)
    return [float((outputs[p] - outputs[p].mean()).square().mean().sqrt()) for p in places]


RESPONSES = {
    "pad": {"conv1": "bn1", "layer1.0.conv1": "layer1.0.bn1", "layer1.0.conv2": "layer1.0.bn2",
            "layer1.1.conv1": "layer1.1.bn1", "layer1.1.conv2": "layer1.1.bn2",
            "layer2.0.conv1": "layer2.0.bn1", "layer2.0.conv2": "layer2.0.bn2"},
    "bottleneck": {"conv1": "bn1", "layer1.0.conv1": "layer1.0.bn1", "layer1.0.conv2": "layer1.0.bn2",
                   "layer1.0.conv3": "layer1.0.bn3", "layer2.0.conv1": "layer2.0.bn1",
                   "layer2.0.conv2": "layer2.0.bn2", "layer2.0.conv3": "layer2.0.bn3"},
    "preact": {"conv1": "bn1", "layer1.0.conv1": "layer1.0.bn2", "layer1.0.conv2": "layer1.0.conv2",
               "layer1.1.conv1": "layer1.1.bn2", "layer1.1.conv2": "layer1.1.conv2",
               "layer2.0.conv1": "layer2.0.bn2", "layer2.0.conv2": "layer2.0.conv2"},
}  # fmt: skip


@pytest.mark.parametrize("name", RESPONSES)
def test_a_response_is_read_after_bn_and_before_relu_or_addition(name: str, images: Tensor) -> None:
    net = small(VARIANTS[name])
    got = responses(net, images)
    assert [each.layer for each in got] == list(RESPONSES[name])
    assert [each.std for each in got] == pytest.approx(hooked(net, images, list(RESPONSES[name].values())), rel=1e-9)


def test_the_last_response_of_a_branch_is_the_response_of_the_block(images: Tensor) -> None:
    net = small(VARIANTS["pad"])
    stds = {each.layer: each.std for each in responses(net, images)}
    for each in anatomy(net, images):
        assert each.response_std == pytest.approx(stds[f"{each.name}.conv2"])


def test_plain_nets_and_nets_without_bn_respond_too(images: Tensor) -> None:
    plain = ResNet(PLAIN, num_classes=5).double()
    assert len(responses(plain, images)) == 7
    vgg = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 4, 3), nn.ReLU(inplace=True)).double()
    got = responses(vgg, images)
    with torch.no_grad():
        first = vgg[0](images)
        second = vgg[2](first.relu())
    assert [each.std for each in got] == pytest.approx([float(m.std(correction=0)) for m in (first, second)])


def test_bn_behind_a_rectifier_in_place_is_no_convolutions_own(images: Tensor) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.BatchNorm2d(4)).double().eval()
    with torch.no_grad():
        expected = float(net[0](images).std(correction=0))
    assert responses(net, images)[0].std == pytest.approx(expected)


class ForeignBlock(nn.Module):
    """As torchvision writes it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.downsample = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.bn1(self.conv1(x)) + self.downsample(x))


class WayDown(nn.Module):
    """As ConvNeXt has it between its stages, on no shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.downsample = nn.Conv2d(4, 4, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.downsample(x)  # type: ignore[no-any-return]


def test_shortcuts_of_other_hands_are_left_out_and_ways_down_are_not(images: Tensor) -> None:
    net = nn.Sequential(ForeignBlock(), WayDown()).double()
    assert [each.layer for each in responses(net, images)] == ["0.conv1", "1.downsample"]


def test_responses_need_a_convolution() -> None:
    with pytest.raises(InputError, match="has no convolution"):
        responses(nn.Sequential(nn.Flatten(), nn.Linear(192, 2)), torch.zeros(1, 3, 8, 8))


def filled(name: str) -> nn.Module:
    """A net of the catalog with quick random weights."""
    with torch.device("meta"):
        net = catalog.net(name, num_classes=10)
    net.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(0)
    for parameter in net.parameters():
        nn.init.uniform_(parameter, -0.1, 0.1, generator=generator)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
    return net


@pytest.mark.parametrize(("name", "layers"), [("googlenet", 57), ("googlenet_bn", 57), ("plain20", 19)])
def test_branching_and_plain_nets_respond_in_every_layer(name: str, layers: int) -> None:
    found = responses(filled(name), torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    assert len(found) == layers
    assert all(each.std > 0 for each in found)


def fingerprint(net: nn.Module) -> list[object]:
    """Everything that looking at a net must leave as it is."""
    tensors = [(name, each.clone()) for name, each in net.state_dict().items()]
    parts = [(module.training, sorted(module.__dict__), len(module._forward_hooks), len(module._forward_pre_hooks))
             for module in net.modules()]  # fmt: skip
    gradients = [(p.requires_grad, None if p.grad is None else p.grad.clone(), id(p)) for p in net.parameters()]
    return [str(tensors), parts, str(gradients), torch.get_rng_state().tolist()]


@pytest.mark.parametrize("look", [anatomy, responses])
def test_the_net_stays_as_it_was(look, images: Tensor) -> None:  # type: ignore[no-untyped-def]
    net = small(VARIANTS["preact"]).train()
    net.layer1.eval()
    before = fingerprint(net)
    look(net, images)
    assert fingerprint(net) == before
    with pytest.raises(RuntimeError):
        look(net, images[:, :2])
    assert fingerprint(net) == before


def test_layer_statistics_are_plain_and_those_of_the_functions(images: Tensor) -> None:
    net, labels = small(VARIANTS["pad"]).train(), torch.tensor([0, 1, 2])
    before = fingerprint(net)
    got = layer_statistics(net, images, labels)
    assert fingerprint(net) == before
    assert json.loads(json.dumps(got, allow_nan=False)) == got
    expected = {
        "response_std": {each.layer: each.std for each in responses(net, images)},
        "gradient_norm": {each.layer: each.norm for each in gradient_norms(net, images, labels)},
        "residual_ratio": {each.name: each.ratio for each in anatomy(net, images)},
    }
    assert {key: list(value) for key, value in got.items()} == {key: list(value) for key, value in expected.items()}
    for key, values in expected.items():
        assert got[key] == pytest.approx(values, rel=1e-5)


def test_layer_statistics_leave_out_what_a_net_does_not_have(images: Tensor) -> None:
    labels = torch.tensor([0, 1, 2])
    plain = layer_statistics(ResNet(PLAIN, num_classes=5).double(), images, labels)
    assert list(plain) == ["response_std", "gradient_norm"]
    linear = nn.Sequential(nn.Flatten(), nn.Linear(192, 5)).double()
    assert list(layer_statistics(linear, images, labels)) == ["gradient_norm"]
