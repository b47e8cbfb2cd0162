"""The peers of `train_peers.py`: how each builds its net, loads its batches and makes a step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peers import Enough, Stopwatch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, RandomSampler
from usual_loop import (
    Chain,
    Photos,
    flipped,
    normaliser,
    opened,
    padded_crop,
    resized_crop,
    to_tensor,
    torchvision_transforms,
    without_torchvision_operators,
)

CIFAR, FOLDER = Path("data/cifar10"), Path("data/hymenoptera_data")
CIFAR_MEAN, CIFAR_STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LATER = 8  # batches more than are timed, so that the loader works until the end

Batches = Iterable[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Settings:
    """Where the data lie, images in a batch, and steps that a loader has to give batches for."""

    shared: Path
    scratch: Path
    batch: int
    steps: int


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut without weights: every second pixel, and zeros for the new channels."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.stride, self.new = stride, outputs - inputs

    def forward(self, x: Tensor) -> Tensor:
        out = functional.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.new:
            before = self.new // 2
            x = functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, before, self.new - before))
        return functional.relu(out + x)


class PlainResNet20(nn.Module):
    """ResNet-20 for CIFAR-10 as He et al. 2015, section 4.2, written as is usual: 269,722 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        widths = (16, 16, 16, 32, 32, 32, 64, 64, 64)
        pairs = zip((16, *widths), widths, strict=False)
        self.blocks = nn.Sequential(*(Block(before, width, 1 if before == width else 2) for before, width in pairs))
        self.fc = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        out = self.blocks(functional.relu(self.bn1(self.conv1(x))))
        return self.fc(out.mean((2, 3)))  # type: ignore[no-any-return]


def torchvision_resnet18() -> nn.Module:
    without_torchvision_operators()
    from torchvision.models import resnet18

    return resnet18(num_classes=2)  # type: ignore[no-any-return]


def timm_resnet20() -> nn.Module:
    """timm's ResNet with the stages of ResNet-20 and a stem for 32 pixels; its shortcuts are projections: 272,474."""
    without_torchvision_operators()
    from timm.models.resnet import BasicBlock, ResNet

    net = ResNet(BasicBlock, (3, 3, 3), num_classes=10, channels=(16, 32, 64), stem_type="deep", stem_width=8)
    net.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
    net.maxpool = net.layer4 = nn.Identity()  # its forward names four stages
    return net  # type: ignore[no-any-return]


def timm_resnet18() -> nn.Module:
    without_torchvision_operators()
    import timm

    return timm.create_model("resnet18", num_classes=2)  # type: ignore[no-any-return]


def pytorchcv_resnet20() -> nn.Module:
    from pytorchcv.models.resnet_cifar import resnet20_cifar10

    return resnet20_cifar10()  # type: ignore[no-any-return]


def cifar_images(settings: Settings, transform: Any) -> Photos:
    arrays = [np.load(settings.scratch / f"{name}.npy") for name in ("images", "labels")]
    return Photos(arrays[0], arrays[1], Image.fromarray, transform)


def folder_images(settings: Settings, transform: Any) -> Photos:
    """The JPEGs of the training split; the GIF among them says that an image was not found."""
    paths = sorted((settings.shared / FOLDER / "train").glob("*/*.jp*g"))
    names = sorted({path.parent.name for path in paths})
    return Photos(paths, [names.index(path.parent.name) for path in paths], opened, transform)


def cifar_transform() -> Any:
    if (transforms := torchvision_transforms()) is None:
        return Chain((padded_crop(32, 4), flipped, to_tensor, normaliser(CIFAR_MEAN, CIFAR_STD)))
    augmented = [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip()]
    return transforms.Compose([*augmented, transforms.ToTensor(), transforms.Normalize(CIFAR_MEAN, CIFAR_STD)])


def folder_transform() -> Any:
    if (transforms := torchvision_transforms()) is None:
        return Chain((resized_crop(224), flipped, to_tensor, normaliser(IMAGENET_MEAN, IMAGENET_STD)))
    augmented = [transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip()]
    return transforms.Compose([*augmented, transforms.ToTensor(), transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD)])


def usual_batches(data: Photos, settings: Settings, workers: int) -> Batches:
    """A DataLoader that need not start its workers again after an epoch."""
    sampler = RandomSampler(data, num_samples=(settings.steps + LATER) * settings.batch)
    return DataLoader(data, settings.batch, sampler=sampler, num_workers=workers, drop_last=True)


def timm_batches(data: Photos, settings: Settings, workers: int, *, side: int) -> Batches:
    """timm's loader, which normalises whole batches; random resized crops and mirror images, no colour jitter."""
    without_torchvision_operators()
    from timm.data import create_loader

    loader = create_loader(
        data,
        input_size=(3, side, side),
        batch_size=settings.batch,
        is_training=True,
        color_jitter=None,
        num_workers=workers,
        device=torch.device("cpu"),
        use_multi_epochs_loader=True,
        persistent_workers=workers > 0,
    )
    return endless(loader)


@dataclass(frozen=True)
class Peer:
    """A way to train: the net, its batches, and the form of its step."""

    net: Callable[[], nn.Module]
    batches: Callable[[Settings, int], Batches]
    channels_last: bool = False
    bf16: bool = False


def usual_cifar(settings: Settings, workers: int) -> Batches:
    return usual_batches(cifar_images(settings, cifar_transform()), settings, workers)


def usual_folder(settings: Settings, workers: int) -> Batches:
    return usual_batches(folder_images(settings, folder_transform()), settings, workers)


def timm_cifar(settings: Settings, workers: int) -> Batches:
    return timm_batches(cifar_images(settings, None), settings, workers, side=32)


def timm_folder(settings: Settings, workers: int) -> Batches:
    return timm_batches(folder_images(settings, None), settings, workers, side=224)


def endless(loader: Iterable[tuple[Tensor, Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
    while True:
        yield from loader


def steps_of(net: nn.Module, batches: Batches, peer: Peer) -> Iterator[float]:
    """Train, and give the loss of each step."""
    layout = torch.channels_last if peer.channels_last else torch.contiguous_format
    net = net.to(memory_format=layout).train()  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    for images, labels in batches:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=peer.bf16):
            loss = functional.cross_entropy(net(images.contiguous(memory_format=layout)), labels)
        loss.backward()
        optimizer.step()
        yield loss.item()


def train_peer(peer: Peer, workers: int, settings: Settings, watch: Stopwatch) -> None:
    """Train until the watch has enough."""
    watch.batch = settings.batch
    net, batches = peer.net(), peer.batches(settings, workers)
    with suppress(Enough):
        for number, loss in enumerate(steps_of(net, batches, peer), start=1):
            watch.stepped(number, loss)
