"""`cache_gib`: a training whose images lie decoded on the disk ends with the same bits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import residuum
from residuum.data import cache, scan
from residuum.data.augment import ScaleCropFlip
from residuum.data.folder import FolderImages
from residuum.errors import InputError
from residuum.nets.resnet import ResNet, Variant
from residuum.training import start
from residuum.training.observer import Silent
from residuum.training.recipe import Execution, Recipe

RECIPE = Recipe(
    name="small", epochs=1, batch_size=5, image_size=16, augmentation=ScaleCropFlip(smallest=18, largest=24)
)


class Listening(Silent):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.shown: set[str] = set()

    def message(self, text: str) -> None:
        self.messages.append(text)

    def evaluating(self, split: str, done: int, total: int) -> None:
        self.shown.add(split)


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for each in (cache, scan):
        monkeypatch.setattr(each, "cache_directory", lambda: tmp_path / "cache")
    monkeypatch.setattr(start, "write_run_report", lambda *values, **named: None)  # seconds of drawing
    generator = np.random.default_rng(0)
    for split, count in (("train", 5), ("val", 2)):
        for name in ("ant", "bee"):
            (tmp_path / "root" / split / name).mkdir(parents=True)
            for index in range(count):
                pixels = generator.integers(0, 256, (13, 20, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
                Image.fromarray(pixels).save(tmp_path / "root" / split / name / f"{index}.jpg")
    return tmp_path / "root"


def trained(photos: Path, out: str, observer: Silent, **execution: float | int | None) -> dict[str, object]:
    torch.manual_seed(0)
    net = ResNet(Variant(blocks=(1, 1), widths=(4, 8), stem="cifar", shortcut="pad"), num_classes=2)
    run = residuum.train(
        net,
        photos,
        recipe=RECIPE,
        out=photos.parent / out,
        execution=Execution(device="cpu", threads=1, **execution),  # type: ignore[arg-type]
        observer=observer,
    )
    assert run.result is not None
    return run.result


def test_the_weights_are_the_same_with_and_without_and_when_it_is_found_again(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = trained(photos, "plain", Silent(), workers=1)["weights_sha256"]
    told = Listening()
    assert trained(photos, "first", told, cache_gib=1, workers=4)["weights_sha256"] == plain
    assert [line.partition(" in ")[0] for line in told.messages if line.startswith("decoded cache")] == [
        "decoded cache: 10 of 10 images, 0.00 GiB",
        "decoded cache: 4 of 4 images, 0.00 GiB",
    ]
    assert "decoded cache" in told.shown
    loads = list[int]()
    original: Callable[[FolderImages, int], np.ndarray] = FolderImages.load

    def counting(self: FolderImages, index: int) -> np.ndarray:
        loads.append(index)
        return original(self, index)

    monkeypatch.setattr(FolderImages, "load", counting)
    told = Listening()
    assert trained(photos, "again", told, cache_gib=1)["weights_sha256"] == plain
    assert not [line for line in told.messages if line.startswith("decoded cache")]
    assert len(loads) == 10  # each training image once, for mean and deviation


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), 2**21])
def test_a_limit_that_is_none_is_refused(value: float) -> None:
    with pytest.raises(InputError, match="cache_gib: must be above 0"):
        Execution(cache_gib=value)
