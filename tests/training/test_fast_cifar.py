"""The recipe `fast_cifar`: it learns, goes on to the same bits in the middle of an epoch, refuses what it spoils."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from crashing import Crash, CrashAt
from residuum.cli import main
from residuum.data.source import ArrayImages, Dataset, Split
from residuum.errors import InputError
from residuum.training.recipe import Execution
from residuum.training.recipes import recipe
from residuum.training.start import resume, train

IMAGES, BATCH = 90, 20  # epochs end within the 5th and at the end of the 9th step
RECIPE = recipe("fast_cifar").changed({"batch_size": BATCH, "steps": 11, "precision": "fp32", "growing": ()})


@pytest.fixture
def colours() -> Dataset:
    """Three classes of small colour images that are brighter in one channel, on one side."""
    generator = np.random.default_rng(0)
    labels = np.arange(IMAGES, dtype=np.int64) % 3
    array = generator.integers(0, 120, (IMAGES, 16, 16, 3), dtype=np.uint8)
    array[np.arange(IMAGES), :, :8, labels] += 100
    whole = Split("train", ArrayImages(array), labels)
    return Dataset(
        name="colours",
        class_names=("red", "green", "blue"),
        train=whole,
        val=None,
        test=whole.subset(np.arange(30), "test"),
        image_size=(16, 16),
        fingerprint="colours",
    )


@pytest.mark.parametrize("growing", [(), ((0.5, 10),)], ids=["whole", "growing"])
def test_it_goes_on_to_the_same_bits_in_the_middle_of_an_epoch(
    tmp_path: Path, colours: Dataset, growing: tuple[tuple[float, int], ...]
) -> None:
    short = replace(RECIPE, growing=growing)
    whole = train("resnet8_narrow", colours, recipe=short, out=tmp_path / "whole", seed=3)
    often = Execution(checkpoint_steps=1, checkpoint_seconds=1e9)
    for step in (2, 5, 7):
        path = tmp_path / f"crashed{step}"
        with pytest.raises(Crash):
            train("resnet8_narrow", colours, recipe=short, out=path, seed=3, execution=often, observer=CrashAt(step))
        again = resume(path, data=colours)
        assert again.result["weights_sha256"] == whole.result["weights_sha256"]  # type: ignore[index]
    chance = short.changed({"augmentation": {"kind": "crop-flip", "flip": True}})
    other = train("resnet8_narrow", colours, recipe=chance, out=tmp_path / "chance", seed=3)
    assert other.result["weights_sha256"] != whole.result["weights_sha256"]  # type: ignore[index]


def test_it_learns(tmp_path: Path, colours: Dataset) -> None:
    run = train("resnet8_narrow", colours, recipe=RECIPE.changed({"steps": 60}), out=tmp_path / "run")
    assert run.result["test"]["error"] < 0.1  # type: ignore[index]


def test_by_its_name_it_fits_the_images(tmp_path: Path) -> None:
    changes = {"steps": 2}
    run = train("resnet8_narrow", "digits", recipe="fast_cifar", changes=changes, out=tmp_path / "run")
    assert run.config.recipe["augmentation"] == {"kind": "crop-flip", "pad": 1, "flip": False}
    assert run.config.recipe["image_size"] == 8
    assert run.config.recipe["precision"] in ("fp32", "bf16")


def test_a_net_without_normalisation_is_refused(
    tmp_path: Path, colours: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["train", "lenet5", "--data", "digits", "--recipe", "fast_cifar", "--out", str(tmp_path / "run")]
    assert main(asked) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.endswith("lenet5 has none. Try: --recipe cifar")
    torch.manual_seed(0)
    own = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    with pytest.raises(InputError, match=r"orthogonal: keeps the norm .*Sequential has none"):
        train(own, colours, recipe=RECIPE, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    normalised = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), *list(own)[1:])
    assert train(normalised, colours, recipe=RECIPE, out=tmp_path / "run").result is not None


def test_images_that_begin_too_small_are_refused_before_anything_is_written(tmp_path: Path, colours: Dataset) -> None:
    tiny = RECIPE.changed({"growing": ((0.5, 20),), "image_size": 32})
    with pytest.raises(InputError, match=r"net: cannot take images of shape \(1, 3, 20, 20\)"):
        train("vgg11_bn", colours, recipe=tiny, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
