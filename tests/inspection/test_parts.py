"""Parts of an inspection on nets that are not ours; pages and files are looked at with the command."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from residuum.errors import InputError
from residuum.inspection.parts import Found, Task, _gradients, _pairs
from residuum.nets.resnet import ResNet, Variant


def gradients_of(net: nn.Module) -> Found:
    images, labels = torch.randn(4, 1, 2, 2), torch.tensor([0, 1, 1, 0])
    subject: Any = SimpleNamespace(
        net=net, untrained=True, samples=None, few=lambda count: images, few_labels=lambda count: labels
    )
    task = Task({}, lambda done, total: None, float("inf"))
    _gradients(subject, task)
    return task.found


def test_an_untrained_net_is_normalised_by_the_batch_whatever_the_dimensions_of_its_layers() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 2))
    found = gradients_of(net)
    assert found["statistics"] == "batch"
    assert [each["layer"] for each in found["layers"]] == ["1", "3"]


def test_a_net_without_weights_of_its_own_says_so() -> None:
    with pytest.raises(InputError, match=r"^net: no layer has a weight of its own, .* Try: "):
        gradients_of(nn.Sequential(nn.Flatten(), weight_norm(nn.Linear(4, 2))))


def test_the_first_block_of_a_preactivation_net_is_in_no_pair() -> None:
    changed = {"blocks": (3, 2), "widths": (4, 8), "stem": "cifar"}
    post, pre = (ResNet(Variant(preactivation=each, **changed)) for each in (False, True))  # type: ignore[arg-type]
    assert _pairs(post) == [("layer1.0", "layer1.1"), ("layer1.1", "layer1.2")]
    assert _pairs(pre) == [("layer1.1", "layer1.2")]
