"""`precision: auto` is decided when a training begins, kept in its Run, and refused nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from residuum.training import precision
from residuum.training.precision import fastest, resolved
from residuum.training.recipes import cifar, recipe
from residuum.training.start import train

CPU = torch.device("cpu")


@pytest.mark.parametrize(("gain", "expected"), [(3.0, "bf16"), (1.0, "fp32"), (0.2, "fp32")])
def test_the_faster_one_is_chosen(gain: float, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "seconds", lambda dtype: gain if dtype == torch.float32 else 1.0)
    fastest.cache_clear()
    assert resolved(cifar(), CPU).precision == expected
    fastest.cache_clear()


def test_it_is_measured_and_kept_in_the_run(tmp_path: Path) -> None:
    assert precision.seconds(torch.float32) > 0
    assert resolved(cifar().changed({"precision": "bf16"}), CPU).precision == "bf16"
    changes = {"steps": 1, "precision": "auto"}
    run = train("resnet8_narrow", "digits", recipe=recipe("digits"), changes=changes, out=tmp_path / "run")
    assert run.config.recipe["precision"] == fastest("cpu")
