"""Muon: convolution weights move by orthogonalised momentum, everything else by SGD.

Source: Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks". A weight is taken as a matrix,
one filter in a row; its momentum is replaced by the nearest matrix whose singular values are about 1, so that no few
directions take the whole step. Differs from the source: a step is measured by the weight's own norm, and the norm stays
as it is. Where batch normalisation follows, only the direction of a weight matters, and the learning rate is the angle
(in radians, for small ones) by which it turns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

# Of the polynomial a x + b x^3 + c x^5 that is applied `ITERATIONS` times: it takes singular values between 0.01 and 1
# to between about 0.7 and 1.2 (Jordan et al. 2024, who chose them for a steep slope at 0).
A, B, C = 3.4445, -4.7750, 2.0315
ITERATIONS = 5


def orthogonalised(matrices: Tensor) -> Tensor:
    """The nearest orthogonal matrices, roughly: singular values become about 1, singular vectors stay.

    Args:
        matrices: `(N, rows, columns)`; zeros stay zero.
    """
    wide = matrices if matrices.shape[1] <= matrices.shape[2] else matrices.transpose(1, 2)
    x: Tensor = wide / wide.flatten(1).norm(dim=1).clamp_min(1e-12)[:, None, None]
    for _ in range(ITERATIONS):
        square = x @ x.transpose(1, 2)
        x = A * x + (B * square + C * square @ square) @ x
    return x if wide is matrices else x.transpose(1, 2)


class Muon(torch.optim.SGD):
    """SGD, but for parameter groups with `orthogonal=True`, which have tensors of two dimensions or more.

    Such a group has `lr`, the share of its norm by which a weight moves in a step, and `momentum` (Nesterov); weight
    decay would change the norm, which is kept. A weight of norm 0 moves by `lr` times an orthogonal matrix.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update; gradients of orthogonal groups are gone afterwards."""
        for group in self.param_groups:
            if group.get("orthogonal"):
                self._turn(group)
        super().step()

    def _turn(self, group: dict[str, Any]) -> None:
        moved = [each for each in group["params"] if each.grad is not None]
        alike: dict[torch.Size, list[tuple[Tensor, Tensor]]] = {}
        for weight in moved:
            buffer = self.state[weight].setdefault("momentum_buffer", torch.zeros_like(weight))
            buffer.mul_(group["momentum"]).add_(weight.grad)
            ahead = weight.grad.add(buffer, alpha=group["momentum"]).flatten(1)
            alike.setdefault(ahead.shape, []).append((weight, ahead))
            weight.grad = None
        for pairs in alike.values():
            steps = orthogonalised(torch.stack([ahead for _, ahead in pairs]))
            for (weight, _), step in zip(pairs, steps, strict=True):
                self._turn_one(weight, step.reshape(weight.shape), group["lr"])

    def _turn_one(self, weight: Tensor, step: Tensor, rate: float) -> None:
        norm = weight.norm()
        moved = weight - rate * torch.where(norm > 0, norm / step.norm().clamp_min(1e-12), 1.0) * step
        turned = moved * torch.where(norm > 0, norm / moved.norm().clamp_min(1e-12), 1.0)
        spoilt: Tensor | None = getattr(self, "found_inf", None)
        weight.copy_(turned if spoilt is None else torch.where(spoilt > 0, weight, turned))
