"""Directions of the norm of the weights; the loss in the middle; a budget that ends and goes on to the same bits."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from residuum.errors import InputError
from residuum.insight.landscape import Direction, directions, line, mean_loss, moved, plane
from residuum.nets.catalog import net as build
from residuum.nets.resnet import ResNet, Variant

AT = [-1.0, -0.25, 0.0, 0.5]


@pytest.fixture
def net() -> ResNet:
    torch.manual_seed(0)
    model = ResNet(Variant(blocks=(1, 1), widths=(4, 8), stem="cifar"), num_classes=5)
    nn.init.uniform_(model.bn1.running_var, 0.5, 1.5)
    return model


@pytest.fixture
def batches() -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    images, labels = torch.randn(6, 3, 8, 8, generator=generator), torch.randint(0, 5, (6,), generator=generator)
    return [(images[:4], labels[:4]), (images[4:], labels[4:])]


def test_every_filter_of_a_direction_has_the_norm_of_the_nets(net: ResNet) -> None:
    with torch.no_grad():
        net.layer2[0].conv1.weight[3] = 0  # a dead filter stays where it is
        net.fc.weight[1] *= 100
    direction = directions(net, 0)
    weights = {name: weight for name, weight in net.named_parameters() if weight.ndim > 1}
    assert list(direction.steps) == list(weights)
    assert not any("bn" in name or "bias" in name for name in weights)
    for name, weight in weights.items():
        step = direction.steps[name]
        assert step.shape == weight.shape
        for index, one_filter in enumerate(weight.detach()):
            assert float(step[index].norm()) == pytest.approx(float(one_filter.norm()), rel=1e-5), name
    assert not direction.steps["layer2.0.conv1.weight"][3].any()


def test_biases_and_scales_of_whole_maps_stay() -> None:
    """LeNet-5's subsampling has a coefficient and a bias of its own for each map, written as (C, 1, 1)."""
    net = build("lenet5_1998")
    assert {name for name, weight in net.named_parameters() if weight.ndim == 3} == {
        f"{layer}.{kind}" for layer in ("s2", "s4") for kind in ("coefficient", "bias")
    }
    steps = directions(net, 0).steps
    assert not any(name.startswith("s") or name.endswith("bias") for name in steps)
    assert {"c1.weight", "c5.weight"} <= steps.keys()


def test_directions_are_drawn_by_the_seed_and_nearly_at_right_angles(net: ResNet) -> None:
    one, again, other = (directions(net, seed) for seed in (0, 0, 1))
    flat = [torch.cat([step.flatten() for step in each.steps.values()]) for each in (one, again, other)]
    assert torch.equal(flat[0], flat[1])
    assert abs(float(functional.cosine_similarity(flat[0], flat[2], dim=0))) < 0.15  # 1,500 weights: 1 / sqrt is 0.03
    wide = directions(net.double(), 0)
    assert all(step.dtype == torch.float64 for step in wide.steps.values())
    for name, step in one.steps.items():  # the same direction in another precision
        torch.testing.assert_close(wide.steps[name].float(), step)


def test_the_middle_is_the_loss(net: ResNet, batches: list[tuple[Tensor, Tensor]]) -> None:
    net.eval()
    images, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    loss = mean_loss(batches)
    with torch.no_grad():
        assert loss(net) == pytest.approx(float(functional.cross_entropy(net(images).double(), labels)), rel=1e-6)
    x, y = directions(net, 0), directions(net, 1)
    assert plane(net, loss, x, y, AT)[2, 2] == loss(net)
    assert line(net, loss, x, AT)[2] == loss(net)


def test_rows_are_along_y_and_columns_along_x(net: ResNet, batches: list[tuple[Tensor, Tensor]]) -> None:
    """Every point against a net whose weights were written."""
    loss, x, y = mean_loss(batches), directions(net, 0), directions(net, 1)
    values = plane(net, loss, x, y, AT)
    state = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    for i, b in enumerate(AT):
        for j, a in enumerate(AT):
            there = {
                name: tensor + a * x.steps[name] + b * y.steps[name] if name in x.steps else tensor
                for name, tensor in state.items()
            }
            twin = ResNet(net.variant, num_classes=5).eval()
            twin.load_state_dict(there)
            assert values[i, j] == pytest.approx(loss(twin), rel=1e-6), (a, b)
    assert (line(net, loss, x, AT) == values[2]).all()
    assert (line(net, loss, y, AT) == values[:, 2]).all()
    assert np.unique(values).size == 16


def test_scale_does_not_matter_where_batch_norm_follows(net: ResNet, batches: list[tuple[Tensor, Tensor]]) -> None:
    """What filters are normalised for (Li et al. 2018, section 3): a net with greater weights before BN, and the
    statistics that go with them, is the same net, and its landscape the same."""
    loss = mean_loss(batches)
    before = line(net, loss, directions(net, 0), AT)
    with torch.no_grad():
        net.layer1[0].conv1.weight *= 10
        net.layer1[0].bn1.running_mean *= 10
        net.layer1[0].bn1.running_var.mul_(100).add_(99e-5)  # eps is added after
    np.testing.assert_allclose(line(net, loss, directions(net, 0), AT), before, rtol=1e-4)


@pytest.mark.parametrize("slices", [(0.0,) * 20, (0.0, 0.0, None)])
def test_a_budget_ends_and_goes_on_to_the_same_bits(
    net: ResNet, batches: list[tuple[Tensor, Tensor]], slices: tuple[float | None, ...]
) -> None:
    loss, x, y = mean_loss(batches), directions(net, 0), directions(net, 1)
    whole = plane(net, loss, x, y, AT)
    values, counts = None, []
    steps: list[tuple[int, int]] = []
    for seconds in slices:
        kept = None if values is None else values.copy()
        later = plane(
            net, loss, x, y, AT, done=values, seconds=seconds, on_point=lambda done, total: steps.append((done, total))
        )
        if values is not None and kept is not None:
            assert np.array_equal(values, kept, equal_nan=True)  # what was given is not written
            assert (later[~np.isnan(kept)] == kept[~np.isnan(kept)]).all()
        values = later
        counts.append(int((~np.isnan(values)).sum()))
    assert counts[:2] == [1, 2]
    assert counts[-1] == 16
    assert values is not None
    assert values.tobytes() == whole.tobytes()
    assert steps == [(done, 16) for done in range(1, 17)]


def test_it_begins_in_the_middle(net: ResNet) -> None:
    x = directions(net, 0)
    values = line(net, lambda model: 1.0, x, AT, seconds=0)
    assert values[2] == 1
    assert np.isnan(values[[0, 1, 3]]).all()


def test_points_without_a_number_are_infinite_and_not_done_again(net: ResNet) -> None:
    x, calls = directions(net, 0), []

    def loss(model: nn.Module) -> float:
        calls.append(1)
        return math.nan if len(calls) == 2 else 1.0

    values = line(net, loss, x, AT)
    assert values.tolist() == [1, math.inf, 1, 1]
    assert line(net, loss, x, AT, done=values).tolist() == values.tolist()
    assert len(calls) == 4


def test_the_net_is_whole_after_an_exception(net: ResNet, batches: list[tuple[Tensor, Tensor]]) -> None:
    net.train()
    net.layer1.eval()
    net.conv1.weight.grad = torch.ones_like(net.conv1.weight)
    values = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    tensors = [(id(parameter), parameter.data_ptr(), parameter.requires_grad) for parameter in net.parameters()]
    modes = [module.training for module in net.modules()]
    x, y = directions(net, 0), directions(net, 1)

    def fails(model: nn.Module) -> float:
        assert not any(module.training for module in model.modules())
        assert not torch.equal(next(model.parameters()), values["conv1.weight"])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        plane(net, fails, x, y, [0.5, 1.0])
    plane(net, mean_loss(batches), x, y, [0.5])
    assert all(torch.equal(tensor, values[name]) for name, tensor in net.state_dict().items())
    assert [(id(p), p.data_ptr(), p.requires_grad) for p in net.parameters()] == tensors
    assert [module.training for module in net.modules()] == modes
    assert torch.equal(net.conv1.weight.grad, torch.ones_like(net.conv1.weight))


def test_moved_is_a_net_that_can_be_used(net: ResNet, batches: list[tuple[Tensor, Tensor]]) -> None:
    x = directions(net, 0)
    before = net.fc.weight.detach().clone()
    with moved(net, (0.5, x)):
        torch.testing.assert_close(net.fc.weight.detach(), before + 0.5 * x.steps["fc.weight"])
    assert torch.equal(net.fc.weight, before)


def test_what_makes_no_landscape(net: ResNet, batches: list[tuple[Tensor, Tensor]]) -> None:
    x, loss = directions(net, 0), mean_loss(batches)
    for at in ([], [[0.0]], [math.nan], 0.5):
        with pytest.raises(InputError, match=r"^at: must be a list of finite numbers"):
            line(net, loss, x, at)
    with pytest.raises(InputError, match=r"^done: is of another landscape \(expected \(4, 4\), got \(4,\)\)"):
        plane(net, loss, x, x, AT, done=np.zeros(4))
    with pytest.raises(InputError, match=r"^direction: is of another net"):
        line(net, loss, Direction({"nose": torch.zeros(2)}), AT)
    with pytest.raises(InputError, match=r"^direction: is of another net, 'fc.weight'"):
        line(net, loss, Direction({"fc.weight": torch.zeros(2, 2)}), AT)
    with pytest.raises(InputError, match=r"^net: has no weights to move"):
        directions(nn.Sequential(nn.BatchNorm2d(3)), 0)
    with pytest.raises(InputError, match=r"^batches: hold no image"):
        mean_loss([])
