"""Classifiers to give away: trained by nobody, but with statistics of their own in every normalisation."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from residuum.classifier import Classifier
from residuum.data.preprocess import Preprocessing
from residuum.nets import catalog

KOREAN = ("개", "고양이", "<b>새</b>")


def seasoned(net: nn.Module) -> nn.Module:
    """Every normalisation with a mean, deviation, weight and bias of its own, so that none can be lost unseen."""
    generator = torch.Generator().manual_seed(3)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low, high in (
                (module.running_mean, -0.2, 0.2),
                (module.running_var, 0.7, 1.3),
                (module.weight.data, 0.7, 1.3),
                (module.bias.data, -0.2, 0.2),
            ):
                assert tensor is not None
                tensor.uniform_(low, high, generator=generator)
    return net.eval()


def make(
    net: nn.Module | str,
    *,
    channels: int = 3,
    size: int = 32,
    classes: tuple[str, ...] = KOREAN,
    mean_image: bool = False,
) -> Classifier:
    """A Classifier of a net, or of a name of the catalog."""
    torch.manual_seed(0)
    name = net if isinstance(net, str) else f"own.{type(net).__name__}"
    if isinstance(net, str):
        net = catalog.net(net, num_classes=len(classes), in_channels=channels)
    image = np.random.default_rng(0).random((size, size, channels), dtype=np.float32) if mean_image else None
    return Classifier(
        net=seasoned(net),
        net_name=name,
        preprocessing=Preprocessing(
            channels=channels,
            resize=size + 2,
            crop=(size, size),
            mean=(0.4, 0.5, 0.6)[:channels],
            std=(0.2, 0.3, 0.25)[:channels],
            mean_image=image,
        ),
        class_names=classes,
        card={"data": "cifar10", "seed": 1, "recipe": {"name": "paper_cifar"}},
    )
