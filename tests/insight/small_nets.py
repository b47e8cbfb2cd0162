"""Small nets of every kind of block, and images for them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from residuum.nets.resnet import ResNet, Variant

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
