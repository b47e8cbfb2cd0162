"""Small stacks of convolutions that are trained to give out what they are given, or nothing.

    layers     3x3, 8 to 8 channels on maps of 6x6, each with or without batch normalisation, each followed by a ReLU
    shortcuts  with them two layers make y = relu(x + F(x)), without them y = relu(F(x)) (He et al. 2015, Figure 2)
    input      positive halves of normal numbers, what a ReLU passes on; new ones at each step
    training   mean squared error, SGD with momentum 0.9, in steps of 16 maps, the rate falling to zero in a straight
               line, gradients longer than 1 cut to 1; the best of four rates counts, for each stack its own

The copy can be made exactly by every one of these stacks without normalisation: by kernels that are 1 in the middle, as
nothing given is negative; with shortcuts by kernels of zero.

All seeds and rates of a kind are trained at once, as groups of one convolution: groups share nothing, neither weights
nor statistics, and each has its own rate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

Target = Literal["copy", "zero"]
RATES = (0.3, 0.1, 0.03, 0.01)
CHANNELS, SIDE, BATCH = 8, 6, 16
TEST_MAPS = 256
MOMENTUM = 0.9
LONGEST_GRADIENT = 1.0
UNLEARNED = 1.0  # the error of an answer of nothing; what is worse, or no number, counts as this
CONSTANT = math.sqrt(1 - 1 / math.pi)  # the error of the best constant: positive halves have E[x]^2 / E[x^2] = 1 / pi


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of stack and what it is to learn.

    Attributes:
        layers: convolutions, an even number.
        shortcuts: whether there is one over each two of them.
        batch_norm: whether each of them is normalised; otherwise it has a bias.
        target: its input, or zero everywhere.
    """

    layers: int
    shortcuts: bool
    batch_norm: bool
    target: Target


class Stacks(nn.Module):
    """Stacks of one kind side by side, which share nothing.

    Args:
        kind: which.
        starts: a seed for the weights of each.

    Shapes: `(N, len(starts) * CHANNELS, H, W)` in and out, the channels of one stack after those of another.
    """

    def __init__(self, kind: Kind, starts: Sequence[int]) -> None:
        super().__init__()
        self.kind, self.count = kind, len(starts)
        width = self.count * CHANNELS
        self.convolutions, self.norms = nn.ModuleList(), nn.ModuleList()
        for _ in range(kind.layers):
            layer = nn.Conv2d(width, width, 3, padding=1, groups=self.count, bias=not kind.batch_norm)
            self.convolutions.append(layer)
            self.norms.append(nn.BatchNorm2d(width) if kind.batch_norm else nn.Identity())
        self._draw(starts)

    @torch.no_grad()
    def _draw(self, starts: Sequence[int]) -> None:
        """He initialisation of each stack by its own seed (He et al. 2015, "Delving Deep into Rectifiers")."""
        generators = [torch.Generator().manual_seed(start) for start in starts]
        shape, std = (CHANNELS, CHANNELS, 3, 3), (2 / (9 * CHANNELS)) ** 0.5
        for layer in self.convolutions:
            weights = [std * torch.randn(shape, generator=generator) for generator in generators]
            layer.get_parameter("weight").copy_(torch.cat(weights))
            if not self.kind.batch_norm:
                layer.get_parameter("bias").zero_()

    def forward(self, x: Tensor) -> Tensor:
        """What each stack makes of its channels."""
        for first in range(0, self.kind.layers, 2):
            y = self._layer(first + 1, self._layer(first, x).relu())
            x = (x + y if self.kind.shortcuts else y).relu()
        return x

    def _layer(self, index: int, x: Tensor) -> Tensor:
        return self.norms[index](self.convolutions[index](x))  # type: ignore[no-any-return]


def errors(
    kind: Kind,
    seeds: Sequence[int],
    device: torch.device,
    *,
    steps: int,
    after_step: Callable[[], None] = lambda: None,
) -> list[float]:
    """Relative error of a kind after training, one for each seed: that of its best rate.

    It is the length of answer minus target as a share of the length of the input, on new maps in eval mode.
    """
    starts = [seed for seed in seeds for _ in RATES]
    rates = torch.tensor(RATES * len(seeds), device=device)
    stacks = Stacks(kind, starts).to(device)
    maps = _Maps(seeds, device)
    _train(stacks, rates, maps, steps, after_step)
    stacks.eval()
    with torch.no_grad():
        x = maps.draw(TEST_MAPS)
        wrong, whole = (_by_stack(each, len(starts)) for each in (stacks(x) - _target(kind, x), x))
        found = (wrong.square().sum(dim=(0, 2)) / whole.square().sum(dim=(0, 2))).sqrt()
    worst = torch.full_like(found, UNLEARNED)
    found = torch.where(found.isfinite(), found, worst).minimum(worst)
    return [float(each.min()) for each in found.view(len(seeds), len(RATES))]


class _Maps:
    """Positive halves of normal numbers, drawn for each seed and given to all its rates alike."""

    def __init__(self, seeds: Sequence[int], device: torch.device) -> None:
        self.generators = [torch.Generator().manual_seed(1_000_000 + seed) for seed in seeds]
        self.device = device

    def draw(self, count: int) -> Tensor:
        """So many maps for each stack, `(count, stacks * CHANNELS, SIDE, SIDE)`."""
        shape = (count, CHANNELS, SIDE, SIDE)
        drawn = [torch.randn(shape, generator=generator).relu() for generator in self.generators]
        return torch.cat([each for each in drawn for _ in RATES], dim=1).to(self.device)


def _train(stacks: Stacks, rates: Tensor, maps: _Maps, steps: int, after_step: Callable[[], None]) -> None:
    stacks.train()
    parameters = [*stacks.parameters()]
    momenta = [torch.zeros_like(each) for each in parameters]
    for step in range(steps):
        x = maps.draw(BATCH)
        wrong = _by_stack(stacks(x) - _target(stacks.kind, x), stacks.count)
        loss = wrong.square().mean(dim=(0, 2)).sum()  # of each stack by itself: no gradient leads to another
        gradients = torch.autograd.grad(loss, parameters)
        _step(parameters, gradients, momenta, rates * (1 - step / steps))
        after_step()


@torch.no_grad()
def _step(parameters: list[nn.Parameter], gradients: Sequence[Tensor], momenta: list[Tensor], rates: Tensor) -> None:
    """SGD with momentum, for each stack with its own rate and its own length of the gradient."""
    count = len(rates)
    length = torch.stack([each.reshape(count, -1).square().sum(dim=1) for each in gradients]).sum(dim=0).sqrt()
    shorter = (LONGEST_GRADIENT / length).clamp(max=1)
    for parameter, gradient, momentum in zip(parameters, gradients, momenta, strict=True):
        own = momentum.view(count, -1)
        own.mul_(MOMENTUM).add_(gradient.reshape(count, -1) * shorter[:, None])
        parameter.view(count, -1).sub_(own * rates[:, None])


def _target(kind: Kind, x: Tensor) -> Tensor:
    return x if kind.target == "copy" else torch.zeros_like(x)


def _by_stack(maps: Tensor, count: int) -> Tensor:
    """Maps of stacks side by side as `(N, stacks, values of one)`."""
    return maps.reshape(len(maps), count, -1)
