"""Gradients against plain backward passes, and their split at each block against the chain rule written out."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

from residuum.errors import InputError
from residuum.files.native import NoLibraryError
from residuum.insight.gradients import gradient_norms, gradient_split
from residuum.nets.blocks import PostActivation
from residuum.nets.fused import fused, require_library
from residuum.nets.layers import WithAuxiliary
from residuum.nets.resnet import ResNet, Variant, zero_init_residual
from small_nets import small

VARIANTS = {
    "pad": Variant(blocks=(2, 1), widths=(4, 8), stem="cifar", shortcut="pad"),
    "project": Variant(blocks=(1, 2), widths=(4, 8), stem="cifar", shortcut="project_all"),
    "pooled": Variant(blocks=(1, 2), widths=(4, 8), stem="cifar", shortcut="pool_project"),
    "bottleneck": Variant(blocks=(1, 1), widths=(4, 8), stem="cifar", block="bottleneck", squeeze=2),
    "preact": Variant(blocks=(2, 2), widths=(4, 8), stem="cifar", shortcut="project", preactivation=True),
    "preact_bottleneck": Variant(blocks=(1, 2), widths=(4, 8), stem="cifar", block="bottleneck", preactivation=True),
}
PLAIN = Variant(blocks=(1,), widths=(4,), stem="cifar", shortcut="none")
LABELS = torch.tensor([0, 3, 1, 4])


@pytest.fixture
def images() -> Tensor:
    return torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("batch_statistics", [False, True])
@pytest.mark.parametrize("name", VARIANTS)
def test_norms_are_those_of_a_backward_pass(name: str, batch_statistics: bool, images: Tensor) -> None:
    net = small(VARIANTS[name])
    other = copy.deepcopy(net).train(batch_statistics)
    functional.cross_entropy(other(images), LABELS).backward()
    got = gradient_norms(net.requires_grad_(False), images, LABELS, batch_statistics=batch_statistics)
    weights = {n: m.weight for n, m in other.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    assert [each.layer for each in got] == list(weights)
    for each in got:
        gradient, weight = weights[each.layer].grad, weights[each.layer]
        assert each.norm == pytest.approx(float(gradient.norm()), rel=1e-9)  # type: ignore[union-attr]
        assert each.relative == pytest.approx(float(gradient.norm() / weight.detach().norm()), rel=1e-9)  # type: ignore[union-attr]


def test_a_zero_weight_has_no_relative_gradient() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    nn.init.zeros_(net[1].weight)
    (only,) = gradient_norms(net, torch.ones(2, 1, 2, 2), torch.tensor([0, 1]))
    assert only.layer == "1"
    assert math.isnan(only.relative)


def test_a_weight_that_two_layers_share_and_one_made_of_others() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4), weight_norm(nn.Linear(4, 2)))
    net[3].weight = net[1].weight
    images, labels = torch.randn(2, 1, 2, 2), torch.tensor([0, 1])
    found = gradient_norms(net, images, labels)
    functional.cross_entropy(net(images), labels).backward()
    assert [each.layer for each in found] == ["1", "3"]
    assert [each.norm for each in found] == pytest.approx([float(net[1].weight.grad.norm())] * 2)
    (only,) = gradient_norms(nn.Linear(4, 2), images.flatten(1), labels)
    assert only.layer == ""


def test_a_net_whose_weights_are_all_made_of_others_has_no_layers() -> None:
    net = nn.Sequential(nn.Flatten(), weight_norm(nn.Linear(4, 2)))
    assert gradient_norms(net, torch.ones(2, 1, 2, 2), torch.tensor([0, 1])) == []
    assert gradient_norms(net, torch.ones(2, 1, 2, 2, requires_grad=True), torch.tensor([0, 1])) == []


def test_batch_statistics_are_those_of_every_batch_normalisation() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 2)).double()
    images, labels = torch.randn(4, 1, 2, 2).double(), torch.tensor([0, 1, 1, 0])
    other = copy.deepcopy(net).train()
    functional.cross_entropy(other(images), labels).backward()
    found = gradient_norms(net, images, labels, batch_statistics=True)
    expected = [float(layer.weight.grad.norm()) for layer in (other[1], other[3])]  # type: ignore[operator, union-attr]
    assert [each.norm for each in found] == pytest.approx(expected, rel=1e-9)


def test_a_head_that_only_training_uses_is_left_out() -> None:
    class WithHead(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.aux = nn.Linear(4, 2), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> object:
            logits = self.fc(x.flatten(1))
            return WithAuxiliary(logits, (self.aux(x.flatten(1)),), 0.3) if self.training else logits

    net = WithHead().train()
    for batch_statistics in (False, True):
        found = gradient_norms(net, torch.ones(2, 1, 2, 2), torch.tensor([0, 1]), batch_statistics=batch_statistics)
        assert [each.layer for each in found] == ["fc"]


def tail(net: ResNet, x: Tensor, after: int) -> Tensor:
    """Logits from the output of block number `after` on."""
    for block in [block for _, stage in net.stages() for block in stage][after + 1 :]:
        x = block(x)
    return net.head(x)


def split_by_hand(net: ResNet, images: Tensor) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Arriving, whole, identity and residual gradient of each block, each by a backward pass of its own."""
    found = []
    x = net.stem(images).detach()
    for index, block in enumerate([block for _, stage in net.stages() for block in stage]):
        post = isinstance(block, PostActivation)
        x = x.detach().requires_grad_()
        y = block(x).detach().requires_grad_()
        (arriving,) = torch.autograd.grad(functional.cross_entropy(tail(net, y, index), LABELS), y)
        at_addition = torch.where(y > 0, arriving, 0) if post else arriving
        start = x if post or not block.shares_activation else block.activate(x)  # type: ignore[union-attr, operator]
        (identity,) = torch.autograd.grad(block.downsample(start), x, at_addition)  # type: ignore[operator]
        (residual,) = torch.autograd.grad(block.residual(x), x, at_addition)  # type: ignore[operator]
        (whole,) = torch.autograd.grad(functional.cross_entropy(tail(net, block(x), index), LABELS), x)
        found.append((arriving, whole, identity, residual))
        x = y
    return found


@pytest.mark.parametrize("batch_statistics", [False, True])
@pytest.mark.parametrize("name", VARIANTS)
def test_the_split_is_the_chain_rule_with_the_mask_of_the_last_relu(
    name: str, batch_statistics: bool, images: Tensor
) -> None:
    net = small(VARIANTS[name])
    expected = split_by_hand(copy.deepcopy(net).train(batch_statistics), images)
    got = gradient_split(net, images, LABELS, batch_statistics=batch_statistics)
    assert len(got) == len(expected)
    for each, tensors in zip(got, expected, strict=True):
        _, whole, identity, residual = tensors
        torch.testing.assert_close(identity + residual, whole, rtol=1e-9, atol=1e-12)
        values = (each.arriving, each.whole, each.identity, each.residual)
        assert values == pytest.approx([float(tensor.norm()) for tensor in tensors], rel=1e-9)
        cosine = torch.cosine_similarity(identity.flatten(), residual.flatten(), dim=0)
        assert each.cosine == pytest.approx(float(cosine), abs=1e-9)
        assert each.error < 1e-12


@pytest.mark.parametrize("name", ["pad", "preact"])
def test_in_single_precision_the_parts_still_sum_to_the_whole(name: str, images: Tensor) -> None:
    got = gradient_split(small(VARIANTS[name], torch.float32), images.float(), LABELS)
    assert all(each.error < 1e-5 for each in got)


def test_a_clean_identity_passes_the_whole_gradient_and_a_rectified_one_does_not(images: Tensor) -> None:
    """He et al. 2016, section 2: with nothing on the shortcut the gradient arrives as it left."""
    clean = gradient_split(small(VARIANTS["preact"]), images, LABELS)[1]
    assert (clean.shortcut, clean.identity) == ("identity", pytest.approx(clean.arriving))
    rectified = gradient_split(small(VARIANTS["pad"]), images, LABELS)[1]
    assert rectified.shortcut == "identity"
    assert rectified.identity < 0.99 * rectified.arriving


@pytest.mark.parametrize("name", ["pad", "preact"])
def test_branches_that_start_at_zero_carry_no_gradient(name: str, images: Tensor) -> None:
    net = ResNet(VARIANTS[name], num_classes=5).double()
    zero_init_residual(net)
    for each in gradient_split(net, images, LABELS):
        assert (each.residual, each.cosine) == (0, 0)
        assert each.whole == pytest.approx(each.identity)
        assert each.whole > 0


def test_the_split_of_a_net_with_fused_operators_is_that_of_the_net(images: Tensor) -> None:
    try:
        require_library()
    except NoLibraryError as error:
        pytest.skip(str(error))
    net = small(VARIANTS["pad"], torch.float32)
    expected = gradient_split(net, images.float(), LABELS, batch_statistics=True)
    with fused(net):
        found = gradient_split(net, images.float(), LABELS, batch_statistics=True)
    for one, other in zip(found, expected, strict=True):
        for name in ("arriving", "whole", "identity", "residual"):
            assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-3), (one.block, name)


def test_a_split_says_why_it_does_not_apply(images: Tensor) -> None:
    with pytest.raises(InputError, match="is plain"):
        gradient_split(ResNet(PLAIN).double(), images, LABELS)
    with pytest.raises(InputError, match="no residual blocks"):
        gradient_split(nn.Sequential(nn.Flatten(), nn.Linear(192, 5)).double(), images, LABELS)
    with pytest.raises(InputError, match="batch statistics need at least 2"):
        gradient_norms(small(VARIANTS["pad"]), images[:1], LABELS[:1], batch_statistics=True)


@pytest.mark.parametrize("batch_statistics", [False, True])
@pytest.mark.parametrize("look", [gradient_norms, gradient_split])
def test_the_net_and_the_images_stay_as_they_were(look, batch_statistics: bool, images: Tensor) -> None:  # type: ignore[no-untyped-def]
    net = small(VARIANTS["preact"]).train()
    net.layer1.eval()
    net.fc.requires_grad_(False)
    net.conv1.weight.grad = torch.ones_like(net.conv1.weight)

    def state() -> tuple[object, ...]:
        parts = [(m.training, sorted(m.__dict__), len(m._forward_hooks)) for m in net.modules()]
        gradients = [(id(p), p.requires_grad, str(p.grad)) for p in net.parameters()]
        return str(net.state_dict()), parts, gradients, images.requires_grad, torch.get_rng_state().tolist()

    before = state()
    with torch.no_grad():
        look(net, images, LABELS, batch_statistics=batch_statistics)
    assert state() == before
    with pytest.raises(RuntimeError):
        look(net, images[:, :2], LABELS, batch_statistics=batch_statistics)
    assert state() == before
