"""The training loop against a plain one written by hand, golden losses, and what it refuses."""

from __future__ import annotations

import copy
import itertools
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from residuum.data.batches import sample_order
from residuum.data.source import Dataset
from residuum.errors import InputError, Interrupted, TrainingError
from residuum.nets.resnet import ResNet
from residuum.training.machine import compiled
from residuum.training.observer import Silent
from residuum.training.prepare import choose_device, with_holdout
from residuum.training.recipe import Execution
from residuum.training.recipes import recipe
from residuum.training.schedules import ScheduleState, rate
from residuum.training.start import resume, train
from residuum.training.tally import steps_between_looks

STEPS = 12
RECIPE = recipe("digits").changed({"steps": STEPS, "batch_size": 64})


def test_the_loop_is_sgd_written_by_hand(tmp_path: Path, digits_data: Dataset, tiny_net: ResNet) -> None:
    steps = 6  # further on, one rectifier that rounding turns the other way is a difference of 1e-3
    by_hand = copy.deepcopy(tiny_net).train()
    pixels = digits_data.train.images.array[:, :, :, 0] / 255.0  # type: ignore[attr-defined]
    x = torch.tensor((pixels - pixels.mean()) / pixels.std(), dtype=torch.float32)[:, None]
    y = torch.from_numpy(digits_data.train.labels)
    velocity = {name: torch.zeros_like(p) for name, p in by_hand.named_parameters()}
    losses = []
    for step in range(steps):
        chosen = torch.from_numpy(sample_order(len(y), 5, step * 64, 64))
        loss = functional.cross_entropy(by_hand(x[chosen]), y[chosen])
        by_hand.zero_grad()
        loss.backward()
        losses.append(loss.item())
        lr = rate(0.1, RECIPE.schedule, None, ScheduleState(), step, steps)
        with torch.no_grad():
            for name, p in by_hand.named_parameters():
                velocity[name] = 0.9 * velocity[name] + p.grad + 1e-4 * p
                p -= lr * velocity[name]
    run = train(tiny_net, digits_data, recipe=RECIPE.changed({"steps": steps}), seed=5, out=tmp_path / "run")
    assert run.metrics()[-1]["train_loss"] == pytest.approx(sum(losses) / steps, rel=1e-4)
    for (name, ours), theirs in zip(tiny_net.named_parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=2e-3, atol=2e-4, msg=name)


def test_same_seed_same_bits_other_seed_other_bits(tmp_path: Path, digits_data: Dataset) -> None:
    hashes = [
        train("resnet20", digits_data, recipe=RECIPE, seed=seed, out=tmp_path / f"{n}").result["weights_sha256"]  # type: ignore[index]
        for n, seed in enumerate((0, 0, 1))
    ]
    assert hashes[0] == hashes[1] != hashes[2]


def test_a_training_does_not_disturb_the_callers_random_numbers(
    tmp_path: Path, digits_data: Dataset, tiny_net: ResNet
) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    train(tiny_net, digits_data, recipe=RECIPE.changed({"steps": 2}), out=tmp_path / "run")
    assert torch.equal(torch.rand(3), expected)


def test_epochs_end_where_the_passes_over_the_data_end(tmp_path: Path, digits_data: Dataset, tiny_net: ResNet) -> None:
    run = train(tiny_net, digits_data, recipe=RECIPE.changed({"epochs": 2.5, "batch_size": 500}), out=tmp_path / "run")
    steps = [record["step"] for record in run.metrics()]
    # 1,297 images, 2.5 passes: 6 steps. Counted back from the end, passes begin after 2,594 and 1,297 images to go.
    assert steps == [1, 4, 6]
    assert {"train_loss", "train_error", "val_loss", "val_error", "learning_rate", "seconds"} <= set(run.metrics()[0])
    assert "test_error" not in run.metrics()[0], "the test set is looked at once, at the end"
    assert run.result is not None
    assert run.result["test"]["num_images"] == 300


@pytest.mark.parametrize("rate_", [1e20, 1e38])
def test_a_loss_that_is_not_a_number_stops_before_the_update(
    tmp_path: Path, digits_data: Dataset, tiny_net: ResNet, rate_: float
) -> None:
    wild = RECIPE.changed({"learning_rate": rate_, "steps": 50})
    with pytest.raises(
        TrainingError, match=r"step \d+: .* stopped before the update. Try: train again with --learning-rate"
    ):
        train(tiny_net, digits_data, recipe=wild, out=tmp_path / "run", execution=Execution(checkpoint_steps=1))
    with pytest.raises(TrainingError):
        resume(tmp_path / "run", net=copy.deepcopy(tiny_net), data=digits_data)


def test_weights_that_are_not_finite_are_never_saved(tmp_path: Path, digits_data: Dataset) -> None:
    class Spoiled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(64, 10)
            self.register_buffer("odd", torch.tensor(float("inf")))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.linear(x.flatten(1))

    with pytest.raises(TrainingError, match="step 0: net/odd holds values that are not finite"):
        train(Spoiled(), digits_data, recipe=RECIPE, out=tmp_path / "run", execution=Execution(checkpoint_steps=1))
    assert not list((tmp_path / "run").glob("checkpoints/*"))
    assert not (tmp_path / "run" / "run.json").exists()


def test_holdout_keeps_images_out_of_training(digits_data: Dataset) -> None:
    bare = Dataset(**{**vars(digits_data), "val": None})
    divided = with_holdout(bare, 0.1)
    assert (len(divided.train), len(divided.val)) == (1167, 130)  # type: ignore[arg-type]
    pixels = itertools.chain(*(split.images.array.reshape(len(split), -1) for split in (divided.train, divided.val)))  # type: ignore[union-attr]
    assert sorted(map(bytes, pixels)) == sorted(map(bytes, bare.train.images.array.reshape(1297, -1)))  # type: ignore[attr-defined]
    assert with_holdout(digits_data, 0.1) is digits_data


class Answering(nn.Module):
    """A net whose answers come in a tuple: always, or in training only."""

    def __init__(self, *, always: bool) -> None:
        super().__init__()
        self.always, self.linear = always, nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> object:
        logits = self.linear(x.flatten(1))
        return (logits, logits) if self.always or self.training else logits


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (Answering(always=True), r"net: answers with a tuple \(expected logits, a tensor of shape \(1, 10\)\)\. Try: "),
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).requires_grad_(False), r"no parameters that learn, .*Try: net"),
        (nn.Flatten(), r"net: has no parameters that learn"),
        (nn.Sequential(nn.Conv2d(3, 10, 8), nn.Flatten()), r"cannot take images of shape \(1, 1, 8, 8\)"),
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 7)), r"answers with shape \(1, 7\) \(expected \(1, 10\)"),
    ],
)
def test_a_net_that_does_not_fit_the_data_is_refused_and_nothing_is_written(
    tmp_path: Path, digits_data: Dataset, net: nn.Module, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        train(net, digits_data, recipe=RECIPE, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_net_that_answers_otherwise_in_training_is_refused(tmp_path: Path, digits_data: Dataset) -> None:
    with pytest.raises(InputError, match=r"net: answers in training mode with a tuple \(expected a tensor of logits\)"):
        train(Answering(always=False), digits_data, recipe=RECIPE, out=tmp_path / "run")


def test_a_net_is_left_in_eval_mode_however_its_training_ends(tmp_path: Path, digits_data: Dataset) -> None:
    class SignalAt(Silent):
        def stepped(self, step: int, loss: float) -> None:
            if step == 2:
                os.kill(os.getpid(), signal.SIGTERM)

    def net() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

    alone = replace(digits_data, val=None, test=None)
    whole, stopped, wild = net(), net(), net()
    train(whole, alone, recipe=RECIPE, out=tmp_path / "whole")
    with pytest.raises(Interrupted):
        train(stopped, alone, recipe=RECIPE, out=tmp_path / "stopped", observer=SignalAt())
    with pytest.raises(TrainingError):
        train(wild, alone, recipe=RECIPE.changed({"learning_rate": 1e38}), out=tmp_path / "wild")
    assert not any(module.training for each in (whole, stopped, wild) for module in each.modules())


@pytest.mark.parametrize(
    ("device", "steps", "expected"),
    [("cpu", 64_000, 1), ("cuda", 16, 1), ("cuda", 20, 1), ("cuda", 100, 5), ("cuda", 1000, 50), ("cuda", 64_000, 50)],
)
def test_a_gpu_is_asked_how_it_goes_twenty_times_at_least(device: str, steps: int, expected: int) -> None:
    assert steps_between_looks(torch.device(device), steps) == expected


def test_milestones_beyond_the_end_are_told(tmp_path: Path, digits_data: Dataset) -> None:
    told: list[str] = []

    class Listener(Silent):
        def message(self, text: str) -> None:
            told.append(text)

    class Stop(Listener):
        def started(self, title: str, step: int, steps: int, batch_size: int) -> None:
            raise KeyboardInterrupt

    short = replace(recipe("paper_cifar"), steps=40_000)
    with pytest.raises(KeyboardInterrupt):
        train("resnet8_narrow", digits_data, recipe=short, out=tmp_path / "short", observer=Stop())
    assert [text for text in told if "milestones" in text] == [
        "note milestones 48,000 of the schedule lie beyond the last of 40,000 updates, so the learning rate stays "
        "high. Try: the recipe at its own length and the new one in the changes of train, which move them"
    ]
    told.clear()
    changes = {"epochs": 2, "batch_size": 64}
    run = train(
        "resnet8_narrow", digits_data, recipe="paper_cifar", changes=changes, out=tmp_path / "r", observer=Listener()
    )
    assert not [text for text in told if "milestones" in text]
    assert [round(record["learning_rate"], 6) for record in run.metrics()] == [0.1, 0.01, 0.001]


@pytest.mark.parametrize(
    "change", [{"precision": "bf16"}, {"bn_group": 16}, {"label_smoothing": 0.1}, {"nesterov": True}]
)
def test_every_option_does_something(
    tmp_path: Path, digits_data: Dataset, tiny_net: ResNet, change: dict[str, object]
) -> None:
    twin = copy.deepcopy(tiny_net)
    plain = train(twin, digits_data, recipe=RECIPE, out=tmp_path / "plain").result
    changed = train(tiny_net, digits_data, recipe=RECIPE.changed(change), out=tmp_path / "changed").result
    assert plain["weights_sha256"] != changed["weights_sha256"]  # type: ignore[index]


def test_compile_falls_back_where_there_is_no_compiler(
    tmp_path: Path, digits_data: Dataset, tiny_net: ResNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    twin = copy.deepcopy(tiny_net)
    plain = train(twin, digits_data, recipe=RECIPE, out=tmp_path / "plain").result
    fallen = train(tiny_net, digits_data, recipe=RECIPE.changed({"compile": True}), out=tmp_path / "c").result
    assert plain["weights_sha256"] == fallen["weights_sha256"]  # type: ignore[index]


@pytest.mark.parametrize(
    ("platform", "named", "is_compiled"),
    [("linux", None, False), ("linux", "clang++", True), ("linux", "g++", False), ("darwin", None, True)],
)
def test_a_compiler_counts_only_where_torch_compile_calls_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, platform: str, named: str | None, is_compiled: bool
) -> None:
    """A machine with clang++ alone."""
    (tmp_path / "clang++").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(torch, "compile", lambda net: "compiled")
    monkeypatch.delenv("CXX", raising=False)
    if named is not None:
        monkeypatch.setenv("CXX", named)
    net = nn.Linear(1, 1)
    assert compiled(net, Silent()) == ("compiled" if is_compiled else net)


def test_an_image_folder_trains(tmp_path: Path, image_folder: Path) -> None:
    changes = {"steps": 3, "batch_size": 4, "image_size": 32}
    run = train("resnet20", image_folder, changes=changes, out=tmp_path / "run")
    classifier = run.classifier()
    assert classifier.class_names == ("blue", "red")
    assert run.config.recipe["name"] == "folder"
    assert len(classifier.predict(image_folder / "val")) == 6


def test_a_device_that_is_not_here_is_refused() -> None:
    with pytest.raises(InputError, match="device: 'tpu9' is not known"):
        choose_device("tpu9")
