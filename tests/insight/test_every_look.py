"""What every look into a net keeps to: it computes where the net is, and an exception leaves the net as it was."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from small_nets import data, small
from torch import Tensor, nn

from residuum.insight.activations import activation_maps
from residuum.insight.anatomy import anatomy, responses
from residuum.insight.attribution import integrated_gradients, occlusion
from residuum.insight.cam import cam
from residuum.insight.filters import maximised, strongest_patches
from residuum.insight.gradients import gradient_norms, gradient_split
from residuum.insight.jacobian import block_spectra
from residuum.insight.judge import deletion_insertion, randomised
from residuum.insight.landscape import directions, line, mean_loss
from residuum.insight.lesions import lesions
from residuum.insight.paths import gradient_by_length
from residuum.insight.places import stages
from residuum.insight.probes import stage_features
from residuum.nets.resnet import ResNet

LOOKS: list[Callable[[ResNet, Tensor, Tensor], object]] = [
    lambda net, images, labels: activation_maps(net, images[:1]),
    lambda net, images, labels: anatomy(net, images),
    lambda net, images, labels: responses(net, images),
    lambda net, images, labels: integrated_gradients(net, images[:1], steps=2),
    lambda net, images, labels: occlusion(net, images[:1]),
    lambda net, images, labels: cam(net, images[:1]),
    lambda net, images, labels: maximised(net, "layer1", 0, input_size=(3, 8, 8), steps=2),
    lambda net, images, labels: strongest_patches(net, "layer1", [images]),
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


class Fuse:
    """A convolution that fails at one of its passes, counted from 1; at none of them where this is 0."""

    def __init__(self, convolution: nn.Module) -> None:
        self.convolution, self.passes, self.blows_at = convolution, 0, 0

    def forward(self, x: Tensor) -> Tensor:
        self.passes += 1
        if self.passes == self.blows_at:
            raise ZeroDivisionError
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
        with pytest.raises(ZeroDivisionError):
            look(net, images, labels)
        assert fingerprint(net) == before
