"""Layer statistics while training: asked for by the recipe, the same bits trained, the same lines after a crash."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from residuum.data.source import Dataset
from residuum.nets.resnet import ResNet, Variant
from residuum.training.observer import Silent
from residuum.training.recipe import Execution
from residuum.training.recipes import recipe
from residuum.training.start import resume, train

RECIPE = recipe("digits").changed({"steps": 15, "batch_size": 200})  # epochs end at steps 3, 9 and 15
ASKING = RECIPE.changed({"layer_statistics": True})


class Crash(Exception):
    pass


class CrashAtTen(Silent):
    def stepped(self, step: int, loss: float) -> None:
        if step == 10:
            raise Crash


def fresh_net() -> ResNet:
    torch.manual_seed(0)
    return ResNet(Variant(blocks=(1, 1), widths=(4, 8), stem="cifar", shortcut="pad"), num_classes=10, in_channels=1)


def test_statistics_are_written_change_no_bit_and_survive_a_crash(tmp_path: Path, digits_data: Dataset) -> None:
    without = train(fresh_net(), digits_data, recipe=RECIPE, out=tmp_path / "without")
    asked = train(fresh_net(), digits_data, recipe=ASKING, out=tmp_path / "asked")
    assert asked.result["weights_sha256"] == without.result["weights_sha256"]  # type: ignore[index]
    assert all("layers" not in record for record in without.metrics())
    records = [record["layers"] for record in asked.metrics()]
    assert len(records) == 3
    for layers in records:
        assert list(layers["residual_ratio"]) == ["layer1.0", "layer2.0"]
        assert list(layers["response_std"]) == [name for name in layers["gradient_norm"] if name != "fc"]
        assert all(value > 0 for values in layers.values() for value in values.values())
    assert records[0] != records[-1]
    page = (asked.path / "report.html").read_text()
    assert "Responses of the layers" in page
    assert "Responses of the layers" not in (without.path / "report.html").read_text()

    often = Execution(checkpoint_steps=4, checkpoint_seconds=1e9)
    with pytest.raises(Crash):
        train(fresh_net(), digits_data, recipe=ASKING, out=tmp_path / "c", execution=often, observer=CrashAtTen())
    again = resume(tmp_path / "c", net=fresh_net(), data=digits_data)
    assert again.result["weights_sha256"] == without.result["weights_sha256"]  # type: ignore[index]
    assert [record["layers"] for record in again.metrics()] == records
