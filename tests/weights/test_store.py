"""Digests of tensors: the same as ever, for every type of number that a state dict can have."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from residuum.weights.store import digest


def by_numpy(tensors: Mapping[str, Tensor]) -> str:
    """The formula that digests on record were made by; numpy has no bfloat16."""
    total = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        total.update(name.encode())
        total.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return total.hexdigest()


@pytest.mark.parametrize(
    "dtype",
    [torch.float64, torch.float32, torch.float16, torch.int64, torch.int32, torch.uint8, torch.bool, torch.complex64],
)
def test_digests_on_record_stay_right(dtype: torch.dtype) -> None:
    """Of a number, of nothing, turned, and as a part of something else."""
    values = torch.arange(12).reshape(3, 4).to(dtype)
    tensors = {"b": values, "a": values.T, "one": values[1, 1], "none": values[:0], "part": values[1:, ::2]}
    assert digest(tensors) == by_numpy(tensors)


def test_a_parameter_has_the_digest_of_its_values() -> None:
    values = torch.ones(2, 3)
    assert digest({"w": torch.nn.Parameter(values)}) == by_numpy({"w": values})


def test_bfloat16_has_a_digest() -> None:
    values = torch.arange(6.0).reshape(2, 3).bfloat16()
    assert digest({"w": values}) == by_numpy({"w": values.view(torch.int16)})
    assert digest({"w": values}) != digest({"w": values + 1})
