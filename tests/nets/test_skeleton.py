"""Nets without values are those with values, but for the values."""

from __future__ import annotations

import pytest
import torch

from residuum.nets.catalog import CATALOG
from residuum.nets.skeleton import without_values


@pytest.mark.parametrize("name", ["lenet5_1998", "alexnet", "googlenet", "resnet18", "preact_resnet110", "se_resnet50"])
def test_the_same_shapes_and_no_memory(name: str) -> None:
    with without_values():
        empty = CATALOG[name].build().state_dict()
    full = CATALOG[name].build().state_dict()
    assert list(empty) == list(full)
    for key, tensor in full.items():
        assert empty[key].is_meta
        assert (empty[key].shape, empty[key].dtype) == (tensor.shape, tensor.dtype)


def test_what_is_made_afterwards_is_filled() -> None:
    with without_values():
        pass
    assert torch.nn.Linear(2, 2).weight.abs().sum() > 0
