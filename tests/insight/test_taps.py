"""Taps give what a layer gave, whatever the net does with it afterwards, and leave the net as it was."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from residuum.errors import InputError
from residuum.insight.taps import device_of, evaluating, maker_of, module_of, output_of, replaced, runs_of, tapped
from residuum.nets.resnet import ResNet, Variant
from small_nets import Shared


class Rectified(nn.Module):
    """conv, bn, a ReLU applied as a function in one of its forms, and a mean."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.conv, self.bn, self.form = nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), form

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn(self.conv(x))
        if self.form == "torch":
            x = torch.relu(x)
        elif self.form == "method":
            x = x.relu()
        elif self.form == "functional":
            x = functional.relu(input=x)
        elif self.form == "in place":
            functional.relu(x, inplace=True)
        else:
            x.relu_()
        return x.mean(dim=(2, 3))


def hooks(net: nn.Module) -> int:
    return sum(len(each._forward_hooks) + len(each._forward_pre_hooks) for each in net.modules())


def test_an_operation_in_place_does_not_change_what_was_tapped() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(64, 2))
    images = torch.randn(2, 1, 6, 6)
    with tapped(net, ["0", "1"]) as outputs:
        logits = net(images)
    assert torch.equal(outputs["0"], net[0](images))
    assert (outputs["0"] < 0).any()
    assert torch.equal(outputs["1"], outputs["0"].relu())
    assert torch.equal(logits, net(images))
    (gradient,) = torch.autograd.grad(logits[:, 0].sum(), outputs["0"])
    expected = net[3].weight[0].view(4, 4, 4) * (outputs["0"] > 0)
    assert torch.allclose(gradient, expected)
    assert hooks(net) == 0


@pytest.mark.parametrize("form", ["torch", "method", "functional", "in place", "method in place"])
def test_a_relu_without_a_module_can_be_tapped(form: str) -> None:
    torch.manual_seed(0)
    net = Rectified(form).eval()
    images = torch.randn(2, 2, 6, 6)
    with tapped(net, ["bn.relu", "bn", "conv"]) as outputs:
        answer = net(images)
    assert torch.equal(outputs["bn"], net.bn(net.conv(images)))
    assert torch.equal(outputs["bn.relu"], outputs["bn"].relu())
    (gradient,) = torch.autograd.grad(answer[:, 0].sum(), outputs["bn.relu"])
    assert torch.equal(gradient[:, 0], torch.full((2, 4, 4), 1 / 16))  # of the mean: below 0 as well as above
    assert torch.equal(output_of(net, "bn.relu", images), outputs["bn.relu"])
    assert maker_of(net, "bn.relu") == "bn"
    assert module_of(net, "bn.relu") is net.bn


def test_the_gradient_at_the_last_map_of_a_preactivation_net_is_the_linear_layer() -> None:
    net = ResNet(Variant(blocks=(1, 1), widths=(4, 8), stem="cifar", preactivation=True), num_classes=3).eval()
    with tapped(net, ["bn_last.relu"]) as outputs:
        logits = net(torch.randn(1, 3, 16, 16))
    (gradient,) = torch.autograd.grad(logits[0, 2], outputs["bn_last.relu"])
    assert torch.allclose(gradient[0], (net.fc.weight[2] / 64)[:, None, None].expand(8, 8, 8))


def test_the_net_is_run_no_further_than_asked(tiny_net: ResNet) -> None:
    ran: list[str] = []
    tiny_net.eval()
    for name in ("layer1", "layer2", "fc"):
        tiny_net.get_submodule(name).register_forward_hook(lambda *_, name=name: ran.append(name))
    images = torch.randn(1, 1, 16, 16)
    output = output_of(tiny_net, "layer1", images)
    assert ran == ["layer1"]
    assert torch.equal(output, tiny_net.forward_features(images)["layer1"])
    assert hooks(tiny_net) == 3


def test_hooks_are_gone_after_a_failure(tiny_net: ResNet) -> None:
    with pytest.raises(RuntimeError), tapped(tiny_net, ["conv1", "bn1.relu"]):
        tiny_net(torch.randn(1, 7, 16, 16))
    assert hooks(tiny_net) == 0


@pytest.mark.parametrize("name", ["layer9", "layer9.relu", "conv1.weight"])
def test_a_wrong_name_is_answered_with_some_that_there_are(tiny_net: ResNet, name: str) -> None:
    with pytest.raises(InputError, match=rf"layer: the net has no layer '{name}'. Try: one of conv1, bn1, "):
        module_of(tiny_net, name)
    with pytest.raises(InputError, match="no layer"), tapped(tiny_net, ["fc", name]):
        pass
    assert hooks(tiny_net) == 0


def test_a_layer_that_does_not_run_is_an_error(tiny_net: ResNet) -> None:
    tiny_net.add_module("idle", nn.Linear(1, 1))
    with pytest.raises(InputError, match="'idle' gives no tensor"):
        output_of(tiny_net, "idle", torch.randn(1, 1, 16, 16))
    with pytest.raises(InputError, match=r"'conv1\.relu' gives no tensor"):
        output_of(tiny_net, "conv1.relu", torch.randn(1, 1, 16, 16))  # its output is normalised first


def test_a_layer_that_runs_twice_has_two_outputs() -> None:
    net, images = Shared(), torch.randn(2, 1, 8, 8)
    assert (runs_of(net, "conv1", images), runs_of(net, "relu", images)) == (1, 2)
    assert torch.equal(output_of(net, "relu", images), net.conv1(images).relu())
    assert torch.equal(output_of(net, "relu", images, run=2), net(images))
    assert torch.equal(output_of(net, "relu", images, run=3), net(images))
    assert hooks(net) == 0


def test_runs_of_a_net_that_takes_the_image_only_so_far() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(7, 2))
    assert runs_of(net, "0", torch.zeros(1, 1, 8, 8)) == 1
    with pytest.raises(RuntimeError):
        runs_of(net, "2", torch.zeros(1, 1, 8, 8))
    assert hooks(net) == 0


def test_each_module_returns_to_its_own_mode(tiny_net: ResNet) -> None:
    tiny_net.train()
    tiny_net.bn1.eval()
    before = [each.training for each in tiny_net.modules()]
    with evaluating(tiny_net):
        assert not any(each.training for each in tiny_net.modules())
    assert [each.training for each in tiny_net.modules()] == before


def test_the_device_is_that_of_the_parameters() -> None:
    assert device_of(nn.ReLU()).type == "cpu"
    assert device_of(nn.Linear(1, 1, device="meta")).type == "meta"


def test_replaced_modules_come_back_after_an_exception(tiny_net: ResNet) -> None:
    modules, other = list(tiny_net.named_modules()), nn.Identity()
    with replaced(tiny_net, {"layer1": other, "bn1": other}):
        assert tiny_net.layer1 is tiny_net.bn1 is other
    with pytest.raises(ZeroDivisionError), replaced(tiny_net, {"layer1": other, "bn1": other}):
        raise ZeroDivisionError
    assert [(name, id(module)) for name, module in tiny_net.named_modules()] == [(n, id(m)) for n, m in modules]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("bn1.relu", "^layer: 'bn1.relu' is what a function makes of 'bn1', and no module. Try: 'bn1'"),
        ("layer9", "^layer: the net has no layer 'layer9'"),
        ("", "^net: is itself the module"),
    ],
)
def test_what_cannot_be_replaced_leaves_the_net_whole(tiny_net: ResNet, name: str, says: str) -> None:
    names = [name for name, _ in tiny_net.named_modules()]
    with pytest.raises(InputError, match=says), replaced(tiny_net, {"conv1": nn.Identity(), name: nn.Identity()}):
        pass
    assert [name for name, _ in tiny_net.named_modules()] == names
