"""Lesions against hand-made nets; paths against counting; gradients of paths against enumeration and the whole."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from residuum.errors import InputError
from residuum.insight.lesions import (
    gradient_by_length,
    lesions,
    path_lengths,
    paths_together,
    removable,
    swapped,
    swaps,
    without,
)
from residuum.insight.places import residual_blocks
from residuum.nets.resnet import ResNet, Variant, cifar, zero_init_residual

VARIANTS = {
    "basic": Variant(blocks=(1, 2), widths=(4, 8), stem="cifar", shortcut="pad"),
    "projected": Variant(blocks=(1, 2), widths=(4, 8), stem="cifar", shortcut="project_all"),
    "bottleneck": Variant(blocks=(2, 1), widths=(4, 8), stem="cifar", block="bottleneck", squeeze=2),
    "preact": Variant(blocks=(1, 2), widths=(4, 8), stem="cifar", preactivation=True),
}
EACH = pytest.mark.parametrize("make", VARIANTS)


def small(make: str | Variant, dtype: torch.dtype = torch.float64) -> ResNet:
    """A net whose BN does something: weights and statistics are drawn, not 1 and 0."""
    torch.manual_seed(0)
    net = ResNet(VARIANTS[make] if isinstance(make, str) else make, num_classes=5).to(dtype)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.running_var):
                nn.init.uniform_(tensor, 0.5, 1.5)
            for tensor in (module.bias, module.running_mean):
                nn.init.uniform_(tensor, -0.3, 0.3)
    return net


def data(images: int = 3, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return (
        torch.randn(images, 3, 8, 8, generator=generator, dtype=torch.float64).to(dtype),
        torch.randint(0, 5, (images,), generator=generator),
    )


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
    ],
)
def test_what_cannot_be_taken_out_or_exchanged(call: Callable[[nn.Module], object], says: str) -> None:
    with pytest.raises(InputError, match=says), call(small("basic")):  # type: ignore[attr-defined]
        pass


def test_a_plain_net_goes_on_without_the_blocks_that_keep_the_shape() -> None:
    net, (images, labels) = small(cifar(14, shortcut="none")), data()
    assert removable(net) == ("layer1.0", "layer1.1", "layer2.1", "layer3.1")
    found = lesions(net, [(images, labels)])
    assert [each.removed for each in found] == [(), *((name,) for name in removable(net))]
    with pytest.raises(InputError, match=r"'layer2\.0' cannot be taken out.*expected \(16, 8, 8\), got \(32, 4, 4\)"):
        lesions(net, [(images, labels)], groups=[["layer2.0"]])
    assert path_lengths(net).count == (0,) * 6 + (1,)


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


# Paths.


@pytest.mark.parametrize("blocks", [1, 4, 9])
def test_paths_are_counted_as_subsets_of_blocks(blocks: int) -> None:
    net = ResNet(Variant(blocks=(blocks,), widths=(2,), stem="cifar"))
    subsets = [sum(entered) for entered in itertools.product((0, 1), repeat=blocks)]
    found = path_lengths(net)
    assert found.length == tuple(range(blocks + 1))
    assert found.count == tuple(subsets.count(length) for length in found.length)


def test_paths_of_the_papers_net() -> None:
    """Veit et al. 2016, section 5: with 54 modules more than 95 % of the paths go through 19 to 35."""
    found = path_lengths(ResNet(Variant(blocks=(18, 18, 18), widths=(1, 1, 1), stem="cifar"), num_classes=1))
    assert len(found.count) == 55
    assert sum(found.count) == 2**54
    assert 0.95 < sum(found.count[19:36]) / 2**54 < 0.99
    with pytest.raises(InputError, match="no residual blocks of ours"):
        path_lengths(nn.Conv2d(3, 4, 3))


@EACH
def test_gradients_of_all_lengths_add_up_to_the_gradient(make: str) -> None:
    net, (images, labels) = small(make).eval(), data()
    first = residual_blocks(net)[0][1]
    inputs: list[Tensor] = []
    handle = first.register_forward_pre_hook(lambda module, given: inputs.append(given[0]))
    loss = functional.cross_entropy(net(images), labels, reduction="sum")
    handle.remove()
    (whole,) = torch.autograd.grad(loss, inputs[0])
    by_length = paths_together(net, images, labels)
    assert len(by_length) == 4
    assert all(float(each.norm()) > 0 for each in by_length)
    torch.testing.assert_close(torch.stack(by_length).sum(dim=0), whole, rtol=1e-12, atol=1e-14)


def gradient_of_path(net: ResNet, images: Tensor, labels: Tensor, entered: set[int]) -> Tensor:
    """By another way: the whole net runs, and the branch that the path does not take is a constant."""
    blocks = residual_blocks(net)
    x = net.stem(images).detach().requires_grad_()
    y = x
    for index, (_, block) in enumerate(blocks):
        preact = hasattr(block, "shares_activation")
        on = block.activate(y) if preact and block.shares_activation else y
        residual, shortcut = block.residual(y), block.downsample(on)
        total = residual + shortcut.detach() if index in entered else residual.detach() + shortcut
        y = total if preact else torch.relu(total)
    loss = functional.cross_entropy(net.head(y), labels, reduction="sum")
    return torch.autograd.grad(loss, x)[0]


@EACH
def test_norms_of_single_paths(make: str) -> None:
    """All 8 paths of three blocks: mean, standard deviation and share, by hand."""
    net, (images, labels) = small(make).eval(), data()
    norms: dict[int, list[float]] = {length: [] for length in range(4)}
    sums = [torch.zeros(()) for _ in range(4)]
    for flags in itertools.product((0, 1), repeat=3):
        gradient = gradient_of_path(net, images, labels, {index for index in range(3) if flags[index]})
        norms[sum(flags)].append(float(gradient.flatten(1).norm(dim=1).mean()))
        sums[sum(flags)] = sums[sum(flags)] + gradient
    found = gradient_by_length(net, images, labels, samples=3)
    assert found.length.tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(found.mean, [np.mean(norms[length]) for length in range(4)], rtol=1e-12)
    np.testing.assert_allclose(found.std, [np.std(norms[length]) for length in range(4)], rtol=1e-9, atol=1e-15)
    in_all = np.array([sum(norms[length]) for length in range(4)])
    np.testing.assert_allclose(found.share, in_all / in_all.sum(), rtol=1e-12)
    np.testing.assert_allclose(found.together, [each.flatten(1).norm(dim=1).mean() for each in sums], rtol=1e-12)


def test_paths_are_drawn_by_the_seed_and_near_the_mean_of_all() -> None:
    net, (images, labels) = small(Variant(blocks=(8,), widths=(4,), stem="cifar")), data(2)
    every = gradient_by_length(net, images, labels, samples=70)
    drawn = gradient_by_length(net, images, labels, samples=20, seed=3)
    again = gradient_by_length(net, images, labels, samples=20, seed=3)
    other = gradient_by_length(net, images, labels, samples=20, seed=4)
    assert (drawn.mean == again.mean).all()
    assert (drawn.mean[2:7] != other.mean[2:7]).all()
    assert (drawn.together == every.together).all()
    assert (drawn.mean[[0, 1, 7, 8]] == every.mean[[0, 1, 7, 8]]).all()
    assert (abs(drawn.mean - every.mean) <= 4 * every.std / math.sqrt(20)).all()


def test_many_blocks_make_more_paths_than_a_float_holds() -> None:
    from residuum.insight.lesions import _shares

    shares = _shares(np.full(1201, 1e-3))
    assert shares.argmax() == 600
    assert shares.sum() == pytest.approx(1)
    assert _shares(np.array([2.0, 0.0, 2.0])).tolist() == [0.5, 0.0, 0.5]
    assert _shares(np.zeros(3)).tolist() == [0, 0, 0]


def test_progress_counts_paths() -> None:
    net, (images, labels) = small("basic"), data()
    steps: list[tuple[int, int]] = []
    gradient_by_length(net, images, labels, samples=2, on_progress=lambda done, total: steps.append((done, total)))
    assert steps == [(done, 6) for done in range(1, 7)]  # 1, 2 of 3, 2 of 3, 1


@pytest.mark.parametrize(
    ("net", "labels", "samples", "says"),
    [
        (cifar(8, shortcut="none"), 3, 4, r"^net: 'layer1.0' has no shortcut.*Try"),
        ("basic", 2, 4, r"^labels: one for each image is needed \(expected 3, got 2\)"),
        ("basic", 3, 0, r"^samples: must be at least 1, got 0"),
    ],
)
def test_gradients_that_cannot_be_had(net: str | Variant, labels: int, samples: int, says: str) -> None:
    images, truth = data()
    with pytest.raises(InputError, match=says):
        gradient_by_length(small(net), images, truth[:labels], samples=samples)


def test_blocks_with_a_layer_between_make_no_paths() -> None:
    net, (images, labels) = small("basic"), data()
    net.layer2.insert(1, nn.Tanh())
    with pytest.raises(InputError, match="something lies between its blocks"):
        gradient_by_length(net, images, labels)
    assert type(net.get_submodule("layer1.0")).__name__ == "BasicBlock"


# The net afterwards.


@pytest.mark.parametrize(
    "look",
    [
        lambda net, images, labels: lesions(net, [(images, labels)]),
        lambda net, images, labels: swaps(net, [(images, labels)], pairs=[("layer1.0", "layer1.0")]),
        lambda net, images, labels: gradient_by_length(net, images, labels),
        lambda net, images, labels: paths_together(net, images, labels),
        lambda net, images, labels: path_lengths(net),
        lambda net, images, labels: removable(net),
    ],
)
def test_the_net_stays_as_it_was(look: Callable[[nn.Module, Tensor, Tensor], object]) -> None:
    net, (images, labels) = small("basic").train(), data()
    net.layer1.eval()
    net.fc.requires_grad_(False)
    net.conv1.weight.grad = torch.ones_like(net.conv1.weight)
    before = [(name, id(module), module.training, len(module._forward_hooks)) for name, module in net.named_modules()]
    values = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    wanted = [parameter.requires_grad for parameter in net.parameters()]
    look(net, images, labels)
    after = [(name, id(module), module.training, len(module._forward_hooks)) for name, module in net.named_modules()]
    assert after == before
    assert all(torch.equal(tensor, values[name]) for name, tensor in net.state_dict().items())
    assert [parameter.requires_grad for parameter in net.parameters()] == wanted
    assert [name for name, parameter in net.named_parameters() if parameter.grad is not None] == ["conv1.weight"]
    assert torch.equal(net.conv1.weight.grad, torch.ones_like(net.conv1.weight))


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
