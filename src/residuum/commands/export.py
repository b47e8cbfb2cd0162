"""`residuum export`."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from residuum.commands.options import open_model, shown_path

SUFFIXES = {"onnx": ".onnx", "pth": ".pth", "safetensors": ".safetensors", "classifier": "-classifier"}


@dataclass(frozen=True)
class Export:
    """Write a model in a form that other programs read: an ONNX graph, or weights under their usual names."""

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """A Run directory, a Classifier directory, or another model reference."""
    to: Literal["onnx", "pth", "safetensors", "classifier"]
    """onnx: a checked graph; pth: what torchvision loads; safetensors: weights with classes and preprocessing."""
    out: Path | None = None
    """The file to write, or the directory of a Classifier, where nothing stands; the model's name, here, by default."""
    uint8: bool = False
    """An ONNX graph that takes the pixels of the crop, N H W C, and normalises them itself."""
    json: bool = False
    """Print JSON."""

    def run(self) -> int:
        from residuum.deploy.give import export, require_exportable
        from residuum.report.progress import ConsoleProgress

        out = self.out or default_path(self.model, self.to)
        preprocessing: Literal["inside", "outside"] = "inside" if self.uint8 else "outside"
        require_exportable(out, to=self.to, preprocessing=preprocessing)
        with ConsoleProgress(quiet=self.json) as progress:
            classifier = open_model(self.model, progress)
        done = export(classifier, out, to=self.to, preprocessing=preprocessing)
        if self.json:
            print(
                json.dumps(
                    {
                        "path": shown_path(done.path),
                        "to": done.form,
                        "size_bytes": done.size_bytes,
                        "opset": done.opset,
                        "temperature": classifier.temperature,
                        "relative_difference": done.difference,
                    }
                )
            )
            return 0
        print(f"{shown_path(done.path)}: {done.size_bytes:,} bytes, {classifier.net_name} as {done.form}")
        if done.opset is not None:
            crop, channels = "x".join(map(str, classifier.preprocessing.crop)), classifier.preprocessing.channels
            images = f"N x {crop} x {channels} uint8" if self.uint8 else f"N x {channels} x {crop} float32, normalised"
            print(f"opset {done.opset}, images {images}, logits N x {len(classifier.class_names)}")
            print(f"probabilities are the softmax of logits divided by {classifier.temperature:.6g}, the temperature")
            print(_checked(done.difference))
        return 0


def default_path(model: str, form: str) -> Path:
    """Where a model goes whose user names no place: `runs/mine` to `mine.onnx`, `resnet50:imagenet` to its name."""
    name = Path(model).resolve().name if os.path.isdir(model) else Path(model.partition("@")[0]).name
    return Path(re.sub(r"[^\w.-]+", "-", name) + SUFFIXES[form])


def _checked(difference: float | None) -> str:
    if difference is None:
        return "not run, since onnxruntime is not installed. Try: pip install 'residuum[deploy]'"
    return (
        f"run by onnxruntime on 1 and 3 images: logits differ from PyTorch's by at most {difference:.1e} of the largest"
    )
