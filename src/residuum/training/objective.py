"""What a training makes small: the mean cross-entropy, of auxiliary heads too."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from residuum.errors import InputError
from residuum.nets.layers import WithAuxiliary


def loss_of(answer: Tensor | WithAuxiliary, labels: Tensor, label_smoothing: float) -> tuple[Tensor, Tensor]:
    """Logits and mean cross-entropy; auxiliary heads add theirs with the weight the net gives them.

    Raises:
        InputError: a net of your own answers otherwise in training than in evaluation.
    """
    logits, others, weight = answer if isinstance(answer, WithAuxiliary) else (answer, (), 0.0)
    if not isinstance(logits, Tensor):
        raise InputError(
            f"net: answers in training mode with a {type(answer).__name__} (expected a tensor of logits). "
            "Try: a forward that returns them alone"
        )
    loss = functional.cross_entropy(logits.float(), labels, label_smoothing=label_smoothing)
    for each in others:
        loss = loss + weight * functional.cross_entropy(each.float(), labels, label_smoothing=label_smoothing)
    return logits, loss
