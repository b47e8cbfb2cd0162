"""Lesions against nets made by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from residuum.errors import InputError
from residuum.insight.lesions import (
    lesions,
    may_change_places,
    removable,
    swapped,
    swaps,
    without,
)
from residuum.insight.places import residual_blocks
from residuum.nets.resnet import Variant, cifar, zero_init_residual
from small_nets import EACH, data, leaves_whole, small


def answers(net: nn.Module, images: Tensor) -> Tensor:
    """Logits in eval mode; BN learns nothing from them."""
    mode = net.training
    with torch.no_grad():
        logits: Tensor = net.eval()(images)
    net.train(mode)
    return logits


# Taking out and exchanging.


@EACH
def test_without_a_zeroed_block_nothing_changes(make: str) -> None:
    net, (images, _) = small(make), data()
    zero_init_residual(net)
    for name, block in residual_blocks(net):
        for module in block.modules():  # BN at weight 0 still adds its bias
            if isinstance(module, nn.BatchNorm2d) and not module.weight.detach().any():
                nn.init.zeros_(module.bias)
        with without(net, [name]):
            lesioned = answers(net, images)
        assert torch.equal(lesioned, answers(net, images)), name


@EACH
def test_without_a_block_its_shortcut_is_left(make: str) -> None:
    """By hand: the net's own parts, with relu(shortcut(x)) for the block, or shortcut(x) before activation."""
    net, (images, _) = small(make).eval(), data()
    name, block = residual_blocks(net)[1]
    inputs: list[Tensor] = []
    handle = block.register_forward_hook(lambda module, given, output: inputs.append(given[0]))
    whole = answers(net, images)
    handle.remove()
    x = inputs[0]
    if make == "preact":
        expected = block.downsample(torch.relu(block.bn1(x)) if block.shares_activation else x)
    else:
        expected = torch.relu(block.downsample(x))
    outputs: list[Tensor] = []
    with without(net, [name]):
        place = net.get_submodule(name)
        place.register_forward_hook(lambda module, given, output: outputs.append(output))
        assert not torch.equal(answers(net, images), whole)
    assert torch.equal(outputs[0], expected)
    assert torch.equal(answers(net, images), whole)


def test_an_exception_inside_leaves_the_net_whole() -> None:
    net, (images, _) = small("basic").eval(), data()
    modules, names, whole = list(net.modules()), list(net.state_dict()), answers(net, images)
    for change in (without(net, ["layer1.0", "layer2.1"]), swapped(net, "layer2.1", "layer2.1")):
        with pytest.raises(ZeroDivisionError), change:
            raise ZeroDivisionError
    with pytest.raises(InputError, match=r"layer2\.0\.conv1"), without(net, ["layer1.0", "layer2.0.conv1"]):
        net(images)
    assert all(before is after for before, after in zip(modules, net.modules(), strict=True))
    assert list(net.state_dict()) == names
    assert torch.equal(answers(net, images), whole)


def test_exchanged_twice_is_as_before() -> None:
    net, (images, _) = small(cifar(20)).eval(), data()
    whole = answers(net, images)
    with swapped(net, "layer1.1", "layer1.2"):
        once = answers(net, images)
        with swapped(net, "layer1.1", "layer1.2"):
            assert torch.equal(answers(net, images), whole)
        assert torch.equal(answers(net, images), once)
    assert not torch.equal(once, whole)
    assert torch.equal(answers(net, images), whole)


def test_exchanged_blocks_are_those_of_a_net_built_so() -> None:
    net, (images, _) = small(cifar(20)).eval(), data()
    twin = small(cifar(20)).eval()
    state = net.state_dict()
    other = {"layer1.1": "layer1.2", "layer1.2": "layer1.1"}
    twin.load_state_dict({key: state[key.replace(key[:8], other.get(key[:8], key[:8]), 1)] for key in state})
    with swapped(net, "layer1.1", "layer1.2"):
        assert torch.equal(answers(net, images), answers(twin, images))


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda net: swapped(net, "layer1.0", "layer2.0"), r"^blocks: .*8 channels for 4 at stride 2.*Try"),
        (lambda net: swapped(net, "layer1.0", "fc"), r"^blocks: 'fc' is no residual block"),
        (lambda net: swapped(net, "layer1.0", "layer9"), r"^layer: the net has no layer 'layer9'"),
        (lambda net: without(net, ["layer1", "layer1.0"]), r"^names: 'layer1.0' is a part of 'layer1'"),
        (lambda net: without(net, ["nose"]), r"^layer: the net has no layer 'nose'"),
        (lambda net: without(net, [""]), r"^net: is itself the module"),
        (lambda net: without(net, ["layer1.0.relu"]), r"^layer: 'layer1.0.relu' is .* no module. Try: 'layer1.0'"),
        (lambda net: swapped(net, "layer1.0", "layer1.0.relu"), r"^layer: 'layer1.0.relu' is .* no module"),
    ],
)
def test_what_cannot_be_taken_out_or_exchanged(call: Callable[[nn.Module], object], says: str) -> None:
    with pytest.raises(InputError, match=says), call(small("basic")):  # type: ignore[attr-defined]
        pass


def test_the_first_block_of_a_preactivation_net_stays_in_its_place() -> None:
    """It takes what the stem has activated, and activates nothing itself."""
    net = small(Variant(blocks=(3,), widths=(4,), stem="cifar", preactivation=True))
    says = r"at stride 1 after the stem's activation, the other 4 .* Try: two blocks"
    with pytest.raises(InputError, match=says), swapped(net, "layer1.0", "layer1.1"):
        pass
    blocks = dict(residual_blocks(net))
    assert not may_change_places(blocks["layer1.0"], blocks["layer1.1"])
    assert may_change_places(blocks["layer1.1"], blocks["layer1.2"])
    with swapped(net, "layer1.1", "layer1.2"):
        pass


class Attends(nn.Module):
    """Attention among the pixels of an image, and a layer that takes a number beside the maps."""

    def __init__(self) -> None:
        super().__init__()
        self.attention, self.scaled, self.fc = nn.MultiheadAttention(3, 1), Scaled(), nn.Linear(3, 5)
        self.rnn = nn.GRU(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.scaled(x, by=2.0).flatten(2).permute(2, 0, 1)
        x, _ = self.attention(x, x, x)
        x, _ = self.rnn(x)
        return self.fc(x.mean(dim=0))  # type: ignore[no-any-return]


class Scaled(nn.Module):
    def forward(self, x: Tensor, by: float) -> Tensor:
        return by * x


def test_a_module_is_passed_by_where_one_tensor_goes_in_and_one_comes_out() -> None:
    torch.manual_seed(0)
    net, (images, labels) = Attends(), data(dtype=torch.float32)
    _, lesioned = lesions(net, [(images, labels)], groups="scaled")
    expected = functional.cross_entropy(answers(net, images / 2), labels)
    assert lesioned.removed == ("scaled",)
    assert lesioned.loss == pytest.approx(float(expected), rel=1e-5)
    with pytest.raises(InputError, match=r"^names: 'attention' cannot be .* one tensor \(expected 1, got 3\). Try: "):
        lesions(net, [(images, labels)], groups="attention")
    with pytest.raises(InputError, match=r"^names: 'rnn' cannot be .* one tensor \(expected a Tensor, got tuple\)"):
        lesions(net, [(images, labels)], groups="rnn")


def test_a_plain_net_goes_on_without_the_blocks_that_keep_the_shape() -> None:
    net, (images, labels) = small(cifar(14, shortcut="none")), data()
    assert removable(net) == ("layer1.0", "layer1.1", "layer2.1", "layer3.1")
    found = lesions(net, [(images, labels)])
    assert [each.removed for each in found] == [(), *((name,) for name in removable(net))]
    with pytest.raises(InputError, match=r"'layer2\.0' cannot be taken out.*expected \(16, 8, 8\), got \(32, 4, 4\)"):
        lesions(net, [(images, labels)], groups=[["layer2.0"]])


def test_lesions_are_the_loss_and_accuracy_of_each_lesioned_net() -> None:
    net, (images, labels) = small("basic"), data(7)
    with torch.no_grad():
        labels[:4] = answers(net, images)[:4].argmax(dim=1)
    groups = [["layer1.0"], ["layer1.0", "layer2.1"]]
    steps: list[tuple[int, int]] = []
    batches = [(images[:5], labels[:5]), (images[5:], labels[5:])]
    found = lesions(net, batches, groups=groups, on_progress=lambda done, total: steps.append((done, total)))
    for lesion, removed in zip(found, [[], *groups], strict=True):
        with without(net, removed):
            logits = answers(net, images)
        assert lesion.removed == tuple(removed)
        assert lesion.images == 7
        assert lesion.accuracy == int((logits.argmax(dim=1) == labels).sum()) / 7
        assert lesion.loss == pytest.approx(float(functional.cross_entropy(logits, labels)), rel=1e-12)
    assert found[0].accuracy >= 4 / 7
    assert len({lesion.loss for lesion in found}) == 3
    assert steps == [(done, 6) for done in range(1, 7)]
    assert lesions(net, iter(batches), groups=groups) == found
    assert lesions(net, batches, groups=["layer1.0"]) == found[:2]  # a name alone is a group of one
    assert lesions(net, batches, groups="layer1.0") == found[:2]


def test_swaps_are_the_loss_of_each_reordered_net() -> None:
    net, (images, labels) = small(cifar(20)), data()
    pair = ("layer3.1", "layer3.2")
    whole, exchanged = swaps(net, [(images, labels)], pairs=[pair])
    with swapped(net, *pair):
        expected = functional.cross_entropy(answers(net, images), labels)
    assert (whole.swapped, exchanged.swapped) == ((), (pair,))
    assert exchanged.loss == pytest.approx(float(expected), rel=1e-12)
    assert whole.loss == lesions(net, [(images, labels)], groups=[])[0].loss != exchanged.loss


def test_any_net_goes_on_without_modules_that_keep_the_shape() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.Flatten())
    net.append(nn.Linear(4 * 64, 5))
    images, labels = data(dtype=torch.float32)
    whole, one = lesions(net, [(images, labels)], groups=[["1", "2"]])
    expected = functional.cross_entropy(answers(nn.Sequential(net[0], net[3], net[4]), images), labels)
    assert one.loss == pytest.approx(float(expected), rel=1e-6)
    assert one.loss != whole.loss
    with pytest.raises(InputError, match="has no residual blocks of ours"):
        lesions(net, [(images, labels)])
    with pytest.raises(InputError, match="batches: hold no image"):
        lesions(net, [], groups=[])


# The net afterwards.


@pytest.mark.parametrize(
    "look",
    [
        lambda net, images, labels: lesions(net, [(images, labels)]),
        lambda net, images, labels: swaps(net, [(images, labels)], pairs=[("layer1.0", "layer1.0")]),
        lambda net, images, labels: removable(net),
    ],
)
def test_the_net_stays_as_it_was(look: Callable[[nn.Module, Tensor, Tensor], object]) -> None:
    leaves_whole(look)


def test_our_trained_net_stands_the_loss_of_a_block(digits_data) -> None:  # type: ignore[no-untyped-def]
    """Veit et al. 2016, section 4.1, on the shipped digits net: without one block in a stage it is still far from
    chance, and the whole net is better than every lesioned one."""
    from residuum.data.batches import evaluation_batches
    from residuum.references import load

    classifier = load("resnet8_narrow:digits")
    batches = evaluation_batches(digits_data.test, classifier.preprocessing, batch_size=300, device=torch.device("cpu"))
    whole, *lesioned = lesions(classifier.net, batches)
    assert whole.images == 300
    assert whole.accuracy > 0.9
    assert all(each.accuracy < whole.accuracy and each.loss > whole.loss for each in lesioned)
