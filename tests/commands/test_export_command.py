"""`residuum export` and `residuum push` as a person types them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from residuum.classifier import Classifier
from residuum.cli import main
from residuum.commands.export import default_path
from residuum.data.preprocess import Preprocessing
from residuum.deploy import hub
from residuum.nets import catalog


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    classifier = Classifier(
        net=catalog.net("resnet20", num_classes=2).eval(),
        net_name="resnet20",
        preprocessing=Preprocessing(channels=3, resize=8, crop=(8, 8), mean=(0.5,) * 3, std=(0.25,) * 3),
        class_names=("a", "b"),
        temperature=1.5,
    )
    return str(classifier.save("model"))


@pytest.mark.parametrize("form", ["pth", "safetensors", "classifier"])
def test_it_says_what_it_wrote(form: str, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", model, "--to", form, "--out", "given"]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("given: ")
    assert captured.out.endswith(f"bytes, resnet20 as {form}\n")
    assert captured.err == ""
    assert Path("given").exists()


def test_an_onnx_graph_is_run_before_it_is_left(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    for module in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(module)
    from residuum.deploy.onnx import run_onnx

    assert main(["export", model, "--to", "onnx", "--out", "net.onnx", "--uint8"]) == 0
    captured = capsys.readouterr()
    assert "opset 18, images N x 8x8 x 3 uint8, logits N x 2" in captured.out
    assert "probabilities are the softmax of logits divided by 1.5, the temperature" in captured.out
    assert "run by onnxruntime on 1 and 3 images: logits differ from PyTorch's by at most" in captured.out
    assert captured.err == ""
    assert run_onnx("net.onnx", np.zeros((4, 8, 8, 3), dtype=np.uint8)).shape == (4, 2)
    assert main(["export", model, "--to", "onnx", "--out", "b.onnx", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["path"], told["to"], told["opset"], told["temperature"]) == ("b.onnx", "onnx", 18, 1.5)
    assert told["relative_difference"] < 1e-4


def test_without_a_place_it_goes_here_under_its_name(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(Path(model).resolve()), "--to", "safetensors"]) == 0
    assert capsys.readouterr().out.startswith("model.safetensors: ")
    assert main(["export", "model.safetensors", "--to", "classifier", "--out", "back"]) == 0
    assert Classifier.load("back").temperature == 1.5
    for reference, name in (("resnet50:a1_in1k", "resnet50-a1_in1k"), ("hub:me/cats@v1", "cats"), (".", "HERE")):
        expected = name.replace("HERE", Path.cwd().name)
        assert default_path(reference, "onnx") == Path(f"{expected}.onnx")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["export", "MODEL", "--to", "pth", "--out", "model"], "model: already exists. Try: another --out"),
        (["export", "MODEL", "--to", "pth", "--out", "w", "--uint8"], "only an ONNX graph can hold it"),
        (["export", "MODEL", "--to", "tflite", "--out", "w"], "cannot be 'tflite'"),
        (["export", "MODEL"], "--to"),
        (["export", "nothing", "--to", "pth", "--out", "model"], "model: already exists"),
        (["export", "nothing", "--to", "pth", "--out", "w"], "Try: "),
        (["push", "MODEL", "cats"], "hub: 'cats' is no name of a repository (expected owner/name). Try: "),
        (["push", "nothing", "me/cats"], "Try: "),
        (["push", "resnet20", "me/cats"], "resnet20 is untrained. Try: "),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], said: str, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([model if each == "MODEL" else each for each in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert said in captured.err
    assert not Path("w").exists()


def test_push_says_how_to_load_it(
    model: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pushed: dict[str, object] = {}

    def push(classifier: Classifier, name: str, **options: object) -> str:
        pushed.update(options, net=classifier.net_name, name=name)
        return f"https://hub/{name}"

    monkeypatch.setattr(hub, "push", push)
    assert main(["push", model, "me/cats", "--private", "--license", "mit"]) == 0
    assert capsys.readouterr().out == 'https://hub/me/cats\nresiduum.load("hub:me/cats")\n'
    assert pushed == {"net": "resnet20", "name": "me/cats", "private": True, "license": "mit"}
