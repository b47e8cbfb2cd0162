"""`precision: auto` is decided when a training begins, kept in its Run, and refused nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from residuum.training import precision
from residuum.training.precision import fastest, resolved, strays, without_stray_gradients
from residuum.training.recipes import cifar, recipe
from residuum.training.start import train

CPU = torch.device("cpu")


@pytest.mark.parametrize(("gain", "expected"), [(3.0, "bf16"), (1.0, "fp32"), (0.2, "fp32")])
def test_the_faster_one_is_chosen(gain: float, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "seconds", lambda dtype: gain if dtype == torch.float32 else 1.0)
    fastest.cache_clear()
    assert resolved(cifar(), CPU).precision == expected
    fastest.cache_clear()


def test_a_machine_that_is_disturbed_now_and_then_chooses_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = {torch.float32: iter([3.0, 3.0, 9.0, 3.0, 3.0]), torch.bfloat16: iter([30.0, 8.0, 1.0, 50.0, 9.0])}
    monkeypatch.setattr(precision, "seconds", lambda dtype: next(taken[dtype]))
    fastest.cache_clear()
    assert resolved(cifar(), CPU).precision == "bf16"
    fastest.cache_clear()


def test_it_is_measured_and_kept_in_the_run(tmp_path: Path) -> None:
    assert precision.seconds(torch.float32) > 0
    assert resolved(cifar().changed({"precision": "bf16"}), CPU).precision == "bf16"
    changes = {"steps": 1, "precision": "auto"}
    run = train("resnet8_narrow", "digits", recipe=recipe("digits"), changes=changes, out=tmp_path / "run")
    assert run.config.recipe["precision"] == fastest("cpu")


@pytest.mark.parametrize("size", [(1, 1), (2, 5), (3, 1), (7, 4)])
@pytest.mark.parametrize("stride", [1, 2, 4])
@pytest.mark.parametrize(("kernel", "padding", "dilation"), [(1, 0, 1), (3, 1, 1), (5, 2, 1), (7, 3, 1), (3, 2, 2)])
def test_weights_that_meet_only_padding_are_those_without_a_gradient(
    size: tuple[int, int], stride: int, kernel: int, padding: int, dilation: int
) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(2, 2, kernel, stride=stride, padding=padding, dilation=dilation)
    conv(torch.rand(3, 2, *size) + 1).sum().backward()
    assert conv.weight.grad is not None
    found = strays(conv, size)
    without = (conv.weight.grad == 0).all(dim=(0, 1))
    assert torch.equal(torch.zeros_like(without) if found is None else found, without)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("size", [(1, 1), (2, 5), (3, 1)])
@pytest.mark.parametrize(("kernel", "dilation"), [(2, 1), (4, 1), (2, 3), (4, 3), (3, 2)])
def test_same_padding_of_an_even_kernel_pads_more_after(size: tuple[int, int], kernel: int, dilation: int) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(2, 2, kernel, padding="same", dilation=dilation)
    conv(torch.rand(3, 2, *size) + 1).sum().backward()
    assert conv.weight.grad is not None
    found, without = strays(conv, size), (conv.weight.grad == 0).all(dim=(0, 1))
    assert torch.equal(torch.zeros_like(without) if found is None else found, without)


@pytest.mark.parametrize(("kernel", "stride", "side"), [(3, 2, 1), (3, 4, 3), (7, 2, 1), (7, 1, 2), (3, 1, 8)])
def test_their_gradients_are_zero_in_bf16_as_well(kernel: int, stride: int, side: int) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(256, 512, kernel, stride=stride, padding=kernel // 2, bias=False)
    images = torch.randn(4, 256, side, side)
    (conv(images) ** 2).sum().backward()
    assert conv.weight.grad is not None
    exact, conv.weight.grad = conv.weight.grad, None
    with without_stray_gradients(conv):
        for _ in range(2):
            poison = [torch.full((conv.weight.numel() // part,), float("nan")) for part in (1, 2)]
            del poison
            with torch.autocast("cpu", torch.bfloat16):
                y = conv(images)
            (y.float() ** 2).sum().backward()
    assert (conv.weight.grad / 2 - exact).norm() < 0.02 * exact.norm()
    assert not conv._forward_pre_hooks
    assert not conv.weight._backward_hooks


@pytest.mark.filterwarnings("ignore:an image of 8x8 is small")
def test_a_net_whose_maps_shrink_to_a_pixel_trains_in_bf16(tmp_path: Path) -> None:
    changes = {"steps": 2, "precision": "bf16", "batch_size": 64}
    run = train("resnet18", "digits", recipe=recipe("digits"), changes=changes, out=tmp_path / "run")
    assert run.result is not None
    assert run.result["train"]["loss"] < 20
