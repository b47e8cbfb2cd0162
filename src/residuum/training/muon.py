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
    x: Tensor = wide / norms(wide)
    product: Tensor = polynomials(x @ x.transpose(1, 2)) @ x
    return product if wide is matrices else product.transpose(1, 2)


def polynomials(gram: Tensor) -> Tensor:
    """What x is multiplied by from the left in all iterations, from x x^T alone, which is much smaller than x.

    An iteration multiplies x by P = A + B x x^T + C (x x^T)^2, and so x x^T by P from both sides; all these commute.
    """
    total: Tensor | None = None
    for iteration in range(ITERATIONS):
        factor = torch.baddbmm(gram, gram, gram, beta=B, alpha=C)
        factor.diagonal(dim1=1, dim2=2).add_(A)
        total = factor if total is None else factor @ total
        if iteration < ITERATIONS - 1:
            gram = factor @ gram @ factor
    assert total is not None
    return total


def norms(matrices: Tensor) -> Tensor:
    """Of each matrix, `(N, 1, 1)`; no less than 1e-12, to divide by."""
    found: Tensor = matrices.flatten(1).norm(dim=1).clamp_min(1e-12)
    return found[:, None, None]


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
        alike: dict[torch.Size, list[Tensor]] = {}
        for weight in group["params"]:
            if weight.grad is not None:
                alike.setdefault(weight.shape, []).append(weight)
        for weights in alike.values():
            self._turn_alike(weights, group["lr"], group["momentum"])

    def _turn_alike(self, weights: list[Tensor], rate: float, momentum: float) -> None:
        """Turn weights of one shape, all at once."""
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        buffers = [self.state[each].setdefault("momentum_buffer", torch.zeros_like(each)) for each in weights]
        spoilt: Tensor | None = getattr(self, "found_inf", None)
        if spoilt is not None:
            gradients = [torch.where(spoilt > 0, 0.0, each) for each in gradients]
            buffers_stay = torch.where(spoilt > 0, 1.0, momentum)
        torch._foreach_mul_(buffers, momentum if spoilt is None else buffers_stay)
        torch._foreach_add_(buffers, gradients)
        ahead = torch._foreach_add(gradients, buffers, alpha=momentum)
        steps = orthogonalised(torch.stack([each.flatten(1) for each in ahead]))
        before = torch.stack([each.detach().flatten(1) for each in weights])
        turned = turned_by(before, steps, rate)
        if spoilt is not None:
            turned = torch.where(spoilt > 0, before, turned)
        for weight, found in zip(weights, turned, strict=True):
            weight.copy_(found.view(weight.shape))
            weight.grad = None


def turned_by(weights: Tensor, steps: Tensor, rate: float) -> Tensor:
    """Weights after steps of `rate` times their norm, which they keep; `(N, rows, columns)`, as the steps."""
    own = weights.flatten(1).norm(dim=1)[:, None, None]
    moved = weights - rate * torch.where(own > 0, own / norms(steps), 1.0) * steps
    return moved * torch.where(own > 0, own / norms(moved), 1.0)
