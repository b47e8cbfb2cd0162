"""The older nets in the training loop: auxiliary heads share in the loss, and LeNet-5 learns digits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional

import residuum
from residuum.nets.layers import WithAuxiliary
from residuum.training.objective import loss_of


def test_auxiliary_heads_add_their_share_of_the_loss() -> None:
    labels = torch.tensor([0, 2, 1])
    logits, first, second = (torch.randn(3, 4) for _ in range(3))
    seen, loss = loss_of(WithAuxiliary(logits, (first, second), 0.3), labels, label_smoothing=0.1)
    each = [functional.cross_entropy(one, labels, label_smoothing=0.1) for one in (logits, first, second)]
    assert seen is logits
    torch.testing.assert_close(loss, each[0] + 0.3 * (each[1] + each[2]))
    _, alone = loss_of(logits, labels, label_smoothing=0.0)
    torch.testing.assert_close(alone, functional.cross_entropy(logits, labels))


def test_a_training_reaches_the_auxiliary_heads(tmp_path: Path) -> None:
    changes = {"steps": 2, "batch_size": 16, "image_size": 31}
    run = residuum.train("googlenet", "digits", changes=changes, out=tmp_path / "run")
    torch.manual_seed(0)
    before = residuum.net("googlenet", num_classes=10, in_channels=1).state_dict()
    after = run.classifier().net.state_dict()
    assert list(before) == list(after)
    for head in ("aux1", "aux2"):
        assert not torch.equal(before[f"{head}.fc2.weight"], after[f"{head}.fc2.weight"])
    assert run.classifier().net(torch.zeros(1, 1, 31, 31)).shape == (1, 10)


@pytest.mark.parametrize("name", ["lenet5", "lenet5_1998"])
def test_lenet_learns_digits(name: str, tmp_path: Path) -> None:
    run = residuum.train(name, "digits", changes={"epochs": 15}, out=tmp_path / "run")
    assert run.result is not None
    assert run.result["test"]["error"] < 0.08, "results/lineage-digits.json has the full runs"
