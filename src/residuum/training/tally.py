"""How a training goes, kept on its device: a GPU adds up by itself and is asked now and then, a CPU at each step."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

STEPS_BETWEEN_LOOKS = 50  # of a GPU, which a look would make wait
LOOKS = 20  # of a training at least, where it has so many steps


def steps_between_looks(device: torch.device, steps: int) -> int:
    """After how many of a training's steps its device is asked how it goes."""
    return 1 if device.type == "cpu" else min(STEPS_BETWEEN_LOOKS, max(1, steps // LOOKS))


class Tally:
    """What the steps since the last look added up to, on the device.

    Attributes:
        images: seen in them.
        spoilt: 1 once a loss or gradient was not finite, else 0; no update is made any more from then on.
        last_loss: of the last step; of the first spoilt one, if any.
    """

    def __init__(self, device: torch.device) -> None:
        self.images = 0
        self.spoilt = torch.zeros((), device=device)
        self.last_loss = torch.zeros((), device=device)
        self.sums = torch.zeros(2, dtype=torch.float64, device=device)

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor, gradients: list[Tensor]) -> None:
        """Add one step: mean loss, logits `(N, K)`, labels `(N,)` and the gradients it gave."""
        count = len(labels)
        finite = loss.isfinite() & nn.utils.get_total_norm(gradients).isfinite()
        self.last_loss = torch.where(self.spoilt > 0, self.last_loss, loss)
        self.spoilt = torch.maximum(self.spoilt, (~finite).to(self.spoilt.dtype))
        wrong = (logits.argmax(dim=1) != labels).sum()
        self.sums += torch.stack([loss.double() * count, wrong.double()])
        self.images += count

    def not_finite(self, net: nn.Module) -> str | None:
        """What was not finite first, loss or gradient, in words; None while all has been."""
        if not bool(self.spoilt):
            return None
        if not math.isfinite(last := float(self.last_loss)):
            return f"the loss is {last}"
        names = (n for n, p in net.named_parameters() if p.grad is not None and not p.grad.isfinite().all())
        return f"the gradient of {next(names, 'all parameters together')} is not finite"

    def taken(self) -> tuple[float, int, int]:
        """Sum of losses, wrong answers and images; the sums begin anew."""
        loss_sum, wrong = self.sums.tolist()
        images, self.images = self.images, 0
        self.sums.zero_()
        return loss_sum, round(wrong), images
