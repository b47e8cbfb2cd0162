"""The optimizer of a recipe: SGD with momentum, or Muon where convolution weights are moved orthogonally."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from residuum.training.muon import Muon
from residuum.training.recipe import Recipe


def optimizer_of(recipe: Recipe, groups: list[dict[str, Any]], parameters: list[nn.Parameter]) -> torch.optim.SGD:
    """The optimizer that moves `groups` (see `parts.parameter_groups`), fused where all `parameters` allow it."""
    return (torch.optim.SGD if recipe.orthogonal is None else Muon)(
        groups,
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
        fused=all(map(_dense, parameters)),
    )


def _dense(parameter: Tensor) -> bool:
    """Whether its values lie in one block without gaps or overlaps, in whatever order: what a fused update needs."""
    reach = sum((size - 1) * stride for size, stride in zip(parameter.shape, parameter.stride(), strict=True))
    return parameter.numel() == 0 or reach + 1 == parameter.numel()


def require_momentum(optimizer: torch.optim.Optimizer) -> None:
    """The fused update wants the momentum of all or of none; a parameter may get its first gradient late."""
    for group in optimizer.param_groups:
        if not group["momentum"]:
            continue
        for each in group["params"]:
            if each.grad is not None and "momentum_buffer" not in optimizer.state[each]:
                optimizer.state[each]["momentum_buffer"] = torch.zeros_like(each)
