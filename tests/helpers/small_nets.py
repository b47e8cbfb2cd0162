"""Small nets of every kind of block, and images for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pytest
import torch
from torch import Tensor, nn

from residuum.nets.resnet import ResNet, Variant

Net = TypeVar("Net", bound=nn.Module)
VARIANTS = {
    "basic": Variant(blocks=(1, 2), widths=(4, 8), stem="cifar", shortcut="pad"),
    "projected": Variant(blocks=(1, 2), widths=(4, 8), stem="cifar", shortcut="project_all"),
    "bottleneck": Variant(blocks=(2, 1), widths=(4, 8), stem="cifar", block="bottleneck", squeeze=2),
    "preact": Variant(blocks=(1, 2), widths=(4, 8), stem="cifar", preactivation=True),
}
EACH = pytest.mark.parametrize("make", VARIANTS)


def lived_in(net: Net, *, gain: tuple[float, float] = (0.5, 1.5), shift: float = 0.3) -> Net:
    """The net with batch normalisation as after some training: no two maps are scaled or shifted alike.

    Weights and variances are drawn from `gain`, biases and means from `-shift` to `shift`.
    """
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.running_var):
                nn.init.uniform_(tensor, *gain)
            for tensor in (module.bias, module.running_mean):
                nn.init.uniform_(tensor, -shift, shift)
    return net


def small(make: str | Variant, dtype: torch.dtype = torch.float64, *, seed: int = 0) -> ResNet:
    """A net whose batch normalisation does something."""
    torch.manual_seed(seed)
    return lived_in(ResNet(VARIANTS[make] if isinstance(make, str) else make, num_classes=5).to(dtype))


def data(images: int = 3, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return (
        torch.randn(images, 3, 8, 8, generator=generator, dtype=torch.float64).to(dtype),
        torch.randint(0, 5, (images,), generator=generator),
    )


def leaves_whole(look: Callable[[nn.Module, Tensor, Tensor], object]) -> None:
    """Modules, modes, hooks, values, `requires_grad` and gradients are those of before."""
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


class Shared(nn.Module):
    """One ReLU behind two convolutions, as in the blocks of torchvision."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2, self.relu = nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 3), nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.conv2(self.relu(self.conv1(x))))  # type: ignore[no-any-return]
