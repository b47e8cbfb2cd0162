"""`residuum calibrate` as a person types it: the figures, what is written, and on which images it is fitted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from residuum.classifier import Classifier
from residuum.cli import main
from residuum.commands.calibrate import unseen
from residuum.data.source import Dataset
from residuum.errors import InputError
from residuum.training.prepare import with_holdout


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("runs") / "run")
    brief = ["--epochs", "4", "--learning-rate", "0.02", "--quiet"]
    assert main(["train", "lenet5", "--data", "digits", *brief, "--out", path]) == 0
    return path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_says_what_it_mends_and_writes_a_classifier(
    run: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["calibrate", run, "--data", "digits", "--out", "better", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["split"], told["num_images"], told["path"]) == ("val", 200, "better")
    assert told["temperature_before"] == 1
    assert told["loss"] < told["loss_before"]
    better = Classifier.load("better")
    assert better.temperature == told["temperature"] != 1
    assert main(["evaluate", "better", "--data", "digits", "--split", "val", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ece"] == pytest.approx(told["ece"], rel=1e-4)


def test_without_a_place_nothing_is_written(run: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", run, "--data", "digits"]) == 0
    out = capsys.readouterr().out
    assert "digits val: 200 images\ntemperature " in out
    assert out.endswith("not written. Try: --out DIRECTORY\n")
    assert list(here.iterdir()) == []


def test_what_a_training_kept_out_is_its_validation_split(digits_data: Dataset) -> None:
    data = replace(digits_data, val=None)
    card = {"recipe": {"holdout": 0.1}, "data_fingerprint": data.fingerprint}
    expected = with_holdout(data, 0.1).split("val")
    found = unseen(data, "val", card)
    assert np.array_equal(found.labels, expected.labels)
    assert np.array_equal(found.images.load(5), expected.images.load(5))
    assert unseen(digits_data, "val", card) is digits_data.val
    assert unseen(data, "test", {}) is data.test
    for other in ({}, card | {"recipe": {"holdout": 0.0}}, card | {"data_fingerprint": "another"}):
        with pytest.raises(InputError, match=r"digits: has no validation split.*Try: .*--split test"):
            unseen(data, "val", other)


def test_mistakes_are_one_line(run: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "used").mkdir()
    for arguments, said in (
        ([run, "--data", "digits", "--out", "used"], "used: already exists. Try: another --out"),
        (["resnet20", "--data", "digits"], "model: resnet20 is untrained. Try: a Run"),
        (["nothing", "--data", "digits"], "model: 'nothing' is neither"),
        ([run, "--data", "nothing"], "Try: "),
        ([run, "--data", "digits", "--split", "train"], "--split: cannot be 'train'"),
    ):
        assert main(["calibrate", *arguments]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.count("\n") == 1
        assert said in captured.err
    assert [each.name for each in here.iterdir()] == ["used"]
