"""A GPU whose memory is full: what is said of a training, and of one among several at once."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from residuum.data.source import Dataset
from residuum.errors import ResiduumError
from residuum.plans import child
from residuum.plans.plan import PlannedRun
from residuum.training.loop import Loop, MemoryFullError
from residuum.training.recipe import Execution
from residuum.training.recipes import digits
from residuum.training.start import train


def full(*_: object) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.\nGPU 0 has a total of 8 GiB")


@pytest.mark.parametrize(
    ("changes", "action"),
    [
        ({"batch_size": 100}, "train again with --batch-size 50 and another --out"),
        ({"batch_size": 192, "bn_group": 64}, "train again with --batch-size 64 and another --out"),
        ({"batch_size": 3}, "residuum resume {run} --device cpu"),
    ],
)
def test_a_full_memory_is_an_error_with_an_action(
    tmp_path: Path, digits_data: Dataset, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], action: str
) -> None:
    monkeypatch.setattr(Loop, "_step", full)
    net, path = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), tmp_path / "run"
    with pytest.raises(ResiduumError) as caught:
        train(net, digits_data, recipe=digits(), changes=changes, out=path, execution=Execution(device="cpu"))
    size = changes["batch_size"]
    said = f"cpu: its memory is full with {size} images in an update. Try: {action.format(run=path)}"
    assert (str(caught.value), caught.value.exit_code) == (said, 1)
    assert not net.training


@pytest.mark.parametrize("error", [MemoryFullError("said of a single training"), torch.OutOfMemoryError("full")])
def test_several_at_once_are_told_to_be_fewer(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise error

    job = child.Job(
        planned=PlannedRun("resnet20", digits(), 0), path="", data="digits", data_dir=None, channels=1, images=1,
        fingerprint="", source_sha256="same", execution=Execution(), command=("residuum",),
    )  # fmt: skip
    monkeypatch.setattr(sys, "stdin", io.StringIO(job.to_json() + "\n"))
    monkeypatch.setattr(sys, "argv", sys.argv)
    monkeypatch.setattr(child.os, "dup2", lambda *_: None)
    monkeypatch.setattr(child, "_leave_with_parent", lambda: None)
    monkeypatch.setattr(child, "source_digest", lambda: "same")
    monkeypatch.setattr(child, "_make", fail)
    assert child.main() == 1
    said = json.loads(capfd.readouterr().out)
    assert said[:2] == ["failed", ""]
    assert said[2].endswith("Try: the same command with a smaller --side-by-side")
