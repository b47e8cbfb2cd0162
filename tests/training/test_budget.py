"""`--minutes`: as many epochs as fit, by steps that were timed and thrown away."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from residuum.cli import main
from residuum.data.augment import CropFlip
from residuum.data.source import Dataset
from residuum.errors import InputError, Interrupted
from residuum.training import budget, loop, recipes
from residuum.training.budget import mean_area, seconds_of_a_step, within
from residuum.training.recipe import Execution
from residuum.training.recipes import Preset, recipe
from residuum.training.schedules import StepDecay

RECIPE = recipe("digits").changed({"batch_size": 100, "holdout": 0.5})


def test_epochs_fill_the_minutes(digits_data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "seconds_of_a_step", lambda *_: 0.5)
    images = len(digits_data.train) * (1 if digits_data.val is not None else 0.5)
    found = within(10, "resnet8_narrow", digits_data, RECIPE, Execution())
    assert found.steps is None
    assert found.epochs == pytest.approx(10 * 60 * budget.SHARE / 0.5 * 100 / images, abs=0.1)
    small = within(10, "resnet8_narrow", digits_data, RECIPE.changed({"growing": ((0.5, 4),)}), Execution())
    assert small.epochs == pytest.approx((found.epochs or 0) / 0.625, rel=0.01)
    with pytest.raises(InputError, match="are too few, an epoch takes"):
        within(1e-4, "resnet8_narrow", digits_data, RECIPE, Execution())
    with pytest.raises(InputError, match="minutes: must be above 0, got -1"):
        within(-1, "resnet8_narrow", digits_data, RECIPE, Execution())


def test_a_long_training_has_its_presets(digits_data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half the steps on images of half the side, but for trainings of 14 epochs at full size."""
    monkeypatch.setattr(budget, "seconds_of_a_step", lambda *_: 0.5)
    monkeypatch.setitem(recipes.PRESETS, "fast_cifar", (Preset(epochs=14, pad=0.25),))
    fast = recipe("fast_cifar").changed({"batch_size": 100, "image_size": 8, "growing": ((0.5, 4),)})
    in_a_minute = 60 * budget.SHARE / 0.5 * 100 / len(digits_data.train)
    minutes = 13 / in_a_minute
    short = within(minutes, "resnet8_narrow", digits_data, fast, Execution())
    assert (short.growing, short.augmentation) == (((0.5, 4),), fast.augmentation)
    assert short.epochs == pytest.approx(13 / 0.625, abs=0.1)
    long = within(minutes * 1.1, "resnet8_narrow", digits_data, fast, Execution())
    assert (long.growing, long.epochs) == ((), pytest.approx(14.3, abs=0.1))
    assert long.augmentation == CropFlip(pad=2, flip="alternating")
    photographs, wide = replace(digits_data, image_size=None), recipe("fast_cifar").changed({"batch_size": 100})
    pads = [within(minutes * 1.1, net, photographs, wide, Execution()).augmentation
            for net in ("resnet20", "resnet18", "resnet18:imagenet", "a/run")]  # fmt: skip
    assert pads == [CropFlip(pad=pad, flip="alternating") for pad in (8, 56, 56, 56)]


def test_steps_are_timed_where_a_look_makes_the_device_wait(
    digits_data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU, which is not asked after every step."""
    seldom = loop.steps_between_looks
    monkeypatch.setattr(loop, "steps_between_looks", lambda device, steps: seldom(torch.device("cuda"), steps))
    assert seconds_of_a_step("resnet8_narrow", digits_data, RECIPE, Execution()) > 0


def test_a_signal_while_steps_are_timed_names_no_run(digits_data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget._Watch, "stepped", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    told = "minutes: stopped while steps were timed, nothing was begun. Try: the same command again"
    with pytest.raises(Interrupted) as caught:
        within(10, "resnet8_narrow", digits_data, RECIPE, Execution())
    assert (str(caught.value), caught.value.signal_number) == (told, signal.SIGTERM)


def test_milestones_move_with_the_length(digits_data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "seconds_of_a_step", lambda *_: 0.5)
    falling = RECIPE.changed({"steps": 4000, "schedule": {"kind": "step-decay", "milestones": (2000, 3000)}})
    found = within(2, "resnet8_narrow", digits_data, falling, Execution())
    steps = found.num_steps(found.num_images(digits_data))
    assert 200 < steps < 240
    assert isinstance(found.schedule, StepDecay)
    assert found.schedule.milestones == (round(steps / 2), round(steps * 3 / 4))


def test_smaller_images_cost_less() -> None:
    growing = RECIPE.changed({"growing": ((0.25, 16), (0.75, 24))})
    assert mean_area(growing, 32) == pytest.approx(0.25 * 0.25 + 0.5 * 0.5625 + 0.25)
    assert mean_area(RECIPE, 32) == 1


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "resnet8_narrow", "--data", "digits", "--minutes", "0.02", "--out", "run"]) == 0
    epochs = json.loads(Path("run/run.json").read_text())["recipe"]["epochs"]
    assert f"0.02 minutes are {epochs:g} epochs here" in capsys.readouterr().err
    assert main(["train", "resnet8_narrow", "--data", "digits", "--minutes", "1", "--epochs", "2"]) == 2
    assert "--epochs and --minutes exclude each other" in capsys.readouterr().err


def test_the_command_says_that_images_grow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(budget, "seconds_of_a_step", lambda *_: 0.2)
    asked = ["train", "resnet8_narrow", "--data", "digits", "--recipe", "fast_cifar", "--minutes", "0.02"]
    assert main([*asked, "--out", "run"]) == 0
    assert "epochs here, images smaller at first (5, 6 pixels)" in capsys.readouterr().err
    assert json.loads(Path("run/run.json").read_text())["recipe"]["growing"] == [[0.3, 5], [0.6, 6]]
