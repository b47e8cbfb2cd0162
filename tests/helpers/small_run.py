"""A Run small enough to be written hundreds of times: its configuration, files and Classifier."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import nn

from residuum.classifier import Classifier
from residuum.data.preprocess import Preprocessing
from residuum.run import Run, RunConfig

CONFIG = RunConfig(
    net="resnet20",
    own_net=False,
    data="digits",
    data_dir=None,
    data_fingerprint="0" * 64,
    class_names=("개", "고양이"),
    seed=0,
    recipe={"name": "quick"},
)


def files(step: int) -> dict[str, bytes]:
    return {"state.json": json.dumps({"step": step}).encode(), "state.safetensors": bytes([step]) * 3000}


def own_net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 2))


def classifier() -> Classifier:
    preprocessing = Preprocessing(channels=1, resize=4, crop=(4, 4), mean=(0.5,), std=(0.5,))
    return Classifier(net=own_net(), net_name="test.Own", preprocessing=preprocessing, class_names=("a", "b"))


def create(path: Path, config: RunConfig = CONFIG) -> Run:
    return Run.create(path, config, {"cpu": "x"}, files(0))
