"""What every look into a net keeps to: it computes where the net is, and an exception leaves the net as it was."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from residuum.errors import InputError
from residuum.insight import looks
from residuum.insight.activations import activation_maps
from residuum.insight.anatomy import anatomy, responses
from residuum.insight.attribution import integrated_gradients, occlusion
from residuum.insight.cam import cam
from residuum.insight.effective import effective_field
from residuum.insight.filters import maximised, strongest_patches
from residuum.insight.gradients import gradient_norms, gradient_split
from residuum.insight.jacobian import block_spectra, singular_values
from residuum.insight.judge import deletion_insertion, randomised
from residuum.insight.landscape import Direction, directions, line, mean_loss, plane
from residuum.insight.lesions import lesions, swaps
from residuum.insight.looks import in_float64
from residuum.insight.paths import gradient_by_length, paths_together
from residuum.insight.places import stages
from residuum.insight.probes import stage_features
from residuum.insight.statistics import layer_statistics
from residuum.insight.taps import device_of
from residuum.nets.resnet import ResNet
from small_nets import data, small


def drawn(net: nn.Module) -> tuple[Direction, Direction]:
    return directions(net, 0), directions(net, 1)


LOOKS: list[Callable[[ResNet, Tensor, Tensor], object]] = [
    lambda net, images, labels: activation_maps(net, images[:1]),
    lambda net, images, labels: anatomy(net, images),
    lambda net, images, labels: responses(net, images),
    lambda net, images, labels: integrated_gradients(net, images[:1], steps=2),
    lambda net, images, labels: occlusion(net, images[:1]),
    lambda net, images, labels: cam(net, images[:1]),
    lambda net, images, labels: maximised(net, "layer1", 0, input_size=(3, 8, 8), steps=2),
    lambda net, images, labels: strongest_patches(net, "layer1", [images]),
    lambda net, images, labels: effective_field(net, "layer1", images),
    lambda net, images, labels: gradient_norms(net, images, labels),
    lambda net, images, labels: gradient_split(net, images, labels),
    lambda net, images, labels: block_spectra(net, images[:1]),
    lambda net, images, labels: block_spectra(net, images[:1], dense_below=0, steps=4),
    lambda net, images, labels: deletion_insertion(net, images[:1], 0, np.eye(8, dtype=np.float32), steps=2),
    lambda net, images, labels: randomised(net, images[:1], points=2),
    lambda net, images, labels: line(net, mean_loss([(images, labels)]), directions(net, 0), [0, 1]),
    lambda net, images, labels: lesions(net, [(images, labels)]),
    lambda net, images, labels: gradient_by_length(net, images, labels),
    lambda net, images, labels: stages(net, images),
    lambda net, images, labels: stage_features(net, [images]),
    lambda net, images, labels: singular_values(
        net.get_submodule("layer1.0.conv1"),
        images[:1, :1].repeat(1, 4, 1, 1).to(device_of(net)),
        dense_below=0,
        steps=4,
    ),
    lambda net, images, labels: plane(net, mean_loss([(images, labels)]), *drawn(net), [0, 1]),
    lambda net, images, labels: swaps(net, [(images, labels)], pairs=[]),
    lambda net, images, labels: paths_together(net, images, labels),
    lambda net, images, labels: layer_statistics(net, images, labels),
]
cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=cuda)])
@pytest.mark.parametrize("look", LOOKS)
def test_images_of_the_cpu_are_taken_to_the_net(look: Callable[..., object], device: str) -> None:
    net, (images, labels) = small("basic", torch.float32).to(device), data(dtype=torch.float32)
    assert look(net, images, labels) is not None


def test_stages_are_found_without_values() -> None:
    net, (images, _) = small("basic", torch.float32), data(dtype=torch.float32)
    assert stages(net.to("meta"), images) == stages(small("basic", torch.float32), images)


def fingerprint(net: nn.Module) -> list[object]:
    modules = [
        (name, id(module), module.training, sorted(module.__dict__), len(module._forward_hooks))
        for name, module in net.named_modules()
    ]
    before = [len(module._forward_pre_hooks) for module in net.modules()]
    parameters = [(id(each), each.data_ptr(), each.requires_grad, each.grad) for each in net.parameters()]
    return [modules, before, parameters, str(net.state_dict()), torch.get_rng_state().tolist()]


class Blown(Exception):
    """No error of a net's own code: where a window is looked for, those only say that it is not known."""


class Fuse:
    """A convolution that fails at one of its passes, counted from 1; at none of them where this is 0."""

    def __init__(self, convolution: nn.Module) -> None:
        self.convolution, self.passes, self.blows_at = convolution, 0, 0

    def forward(self, x: Tensor) -> Tensor:
        self.passes += 1
        if self.passes == self.blows_at:
            raise Blown
        return nn.Conv2d.forward(self.convolution, x)  # type: ignore[arg-type]

    def __deepcopy__(self, memo: object) -> Fuse:
        return self


@pytest.mark.parametrize("look", LOOKS)
def test_an_exception_in_any_pass_leaves_the_net_as_it_was(
    look: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    net, (images, labels) = small("basic", torch.float32).train(), data(dtype=torch.float32)
    net.layer2.eval()
    net.fc.requires_grad_(False)
    fuse = Fuse(net.get_submodule("layer1.0.conv1"))
    monkeypatch.setattr(fuse.convolution, "forward", fuse.forward)
    before = fingerprint(net)
    look(net, images, labels)
    assert fingerprint(net) == before
    for blows_at in {1, fuse.passes // 2 + 1, fuse.passes}:
        fuse.passes, fuse.blows_at = 0, blows_at
        with pytest.raises(Blown):
            look(net, images, labels)
        assert fingerprint(net) == before


def plain(found: object) -> object:
    """What a look found, as numbers and strings that can be compared."""
    if is_dataclass(found) and not isinstance(found, type):
        return {each.name: plain(getattr(found, each.name)) for each in fields(found)}
    if isinstance(found, dict):
        return {name: plain(each) for name, each in found.items()}
    if isinstance(found, list | tuple):
        return [plain(each) for each in found]
    return found.tolist() if isinstance(found, np.ndarray | Tensor) else found


@pytest.mark.parametrize("look", LOOKS)
def test_looks_find_the_same_in_inference_mode(look: Callable[..., object]) -> None:
    net, (images, labels) = small("basic", torch.float32), data(dtype=torch.float32)
    expected = str(plain(look(net, images, labels)))
    before = fingerprint(net)
    for mode in (torch.inference_mode, torch.no_grad):
        with mode():
            assert str(plain(look(net, images.clone(), labels.clone()))) == expected
    with torch.inference_mode():
        images, labels = images.clone(), labels.clone()
    assert str(plain(look(net, images, labels))) == expected, "tensors of that mode, outside of it"
    assert fingerprint(net) == before


@pytest.mark.parametrize("look", LOOKS)
def test_a_net_made_in_inference_mode_is_looked_at_or_refused_in_one_line(look: Callable[..., object]) -> None:
    images, labels = data(dtype=torch.float32)
    with torch.inference_mode():
        net = small("basic", torch.float32)
    refused = ""
    try:
        found = plain(look(net, images, labels))
    except InputError as error:
        refused = str(error)
        found = plain(look(copy.deepcopy(net), images, labels))
    assert not refused or refused.startswith("net: its weights were made in torch.inference_mode")
    assert str(found) == str(plain(look(small("basic", torch.float32), images, labels)))


def test_sums_are_in_float64_also_where_the_device_has_none() -> None:
    assert in_float64(torch.ones(2, dtype=torch.float16)).dtype is torch.float64
    for path in Path(looks.__file__).parent.glob("*.py"):
        assert (".double()" in path.read_text()) == (path.name == "looks.py"), path
