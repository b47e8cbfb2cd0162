"""Muon: steps are near to the polar factor by an SVD, weights keep their norm, a Run goes on to the same bits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from residuum.errors import InputError
from residuum.nets import catalog
from residuum.training.muon import ITERATIONS, A, B, C, Muon, orthogonalised
from residuum.training.observer import Silent
from residuum.training.parts import parameter_groups
from residuum.training.recipe import Execution, Orthogonal, Recipe
from residuum.training.recipes import recipe
from residuum.training.start import resume, train

RECIPE = recipe("digits").changed({"steps": 12, "orthogonal": {"rate": 0.05}, "growing": ((0.5, 6),)})


@pytest.mark.parametrize("shape", [(3, 16, 27), (2, 64, 16), (1, 5, 5)])
def test_a_step_is_near_to_the_polar_factor(shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    matrices = torch.randn(shape)
    found = orthogonalised(matrices)
    left, _, right = torch.linalg.svd(matrices, full_matrices=False)
    singular = torch.linalg.svdvals(found)
    assert float(singular.min()) > 0.6
    assert float(singular.max()) < 1.3
    for one, polar in zip(found, left @ right, strict=True):
        assert float((one * polar).sum() / (one.norm() * polar.norm())) > 0.97
    assert torch.equal(orthogonalised(torch.zeros(1, 4, 6)), torch.zeros(1, 4, 6))


def test_the_polynomials_of_the_gram_matrix_are_those_of_the_matrix() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 32, 288, dtype=torch.float64)
    expected = x / x.flatten(1).norm(dim=1)[:, None, None]
    for _ in range(ITERATIONS):
        square = expected @ expected.transpose(1, 2)
        expected = A * expected + (B * square + C * square @ square) @ expected
    assert torch.allclose(orthogonalised(x), expected, atol=1e-9)
    assert torch.allclose(orthogonalised(x.float()).double(), expected, atol=1e-4)


def test_weights_keep_their_norm_and_turn_by_the_rate() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(8, 16, 3, bias=False).to(memory_format=torch.channels_last)
    before = conv.weight.detach().clone()
    optimizer = Muon(
        [{"params": [conv.weight], "orthogonal": True, "momentum": 0.5, "weight_decay": 0.0}], lr=0.1, fused=True
    )
    gradient = torch.randn(16, 8, 3, 3).contiguous(memory_format=torch.channels_last)
    conv.weight.grad = gradient.clone()
    optimizer.step()
    assert conv.weight.grad is None
    norm = float(before.norm())
    after = conv.weight.detach()
    assert float(after.norm()) == pytest.approx(norm, rel=1e-5)
    assert float((after - before).norm()) == pytest.approx(0.1 * norm, rel=0.02)
    assert float(((after - before) * gradient).sum()) < 0, "downhill"


def test_a_weight_of_zeros_begins_to_move_and_a_spoilt_step_moves_nothing() -> None:
    weight = nn.Parameter(torch.zeros(4, 3, 3, 3))
    optimizer = Muon([{"params": [weight], "orthogonal": True, "momentum": 0.9}], lr=0.1, fused=True)
    weight.grad = torch.randn(4, 3, 3, 3)
    optimizer.step()
    moved = weight.detach().clone()
    assert float(moved.norm()) > 0
    optimizer.found_inf = torch.ones(())  # type: ignore[attr-defined]
    weight.grad = torch.full((4, 3, 3, 3), float("nan"))
    optimizer.step()
    assert torch.equal(weight, moved)
    optimizer.found_inf = torch.zeros(())  # type: ignore[attr-defined]
    weight.grad = torch.randn(4, 3, 3, 3)
    optimizer.step()
    assert bool(weight.isfinite().all()), "its momentum was not spoilt either"
    assert not torch.equal(weight, moved)


def test_only_convolution_weights_are_orthogonal() -> None:
    net = catalog.net("resnet20")
    groups = parameter_groups(net, "resnet20", RECIPE.changed({"learning_rate": 0.2}), 10, 3)
    kernels = [each for group in groups if group.get("orthogonal") for each in group["params"]]
    assert len(kernels) == 19
    assert {each.dim() for each in kernels} == {4}
    assert sum(len(group["params"]) for group in groups) == len([*net.parameters()])
    (own,) = [group for group in groups if group.get("orthogonal")]
    assert own["share"] * 0.2 == pytest.approx(0.05)
    assert own["weight_decay"] == 0
    trunk = RECIPE.changed({"trunk_rate": 0.5, "learning_rate": 0.2})
    shares = [group["share"] for group in parameter_groups(net, "resnet20", trunk, 10, 3) if group.get("orthogonal")]
    assert [share * 0.2 for share in shares] == [pytest.approx(0.025)]


class Crash(Exception):
    pass


class Watching(Silent):
    def __init__(self, crash_at: int = 0) -> None:
        self.crash_at = crash_at

    def stepped(self, step: int, loss: float) -> None:
        if step == self.crash_at:
            raise Crash


def test_a_run_goes_on_to_the_same_bits_and_images_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sides: list[int] = []
    stem = catalog.net("resnet8_narrow").stem

    def seen(self: nn.Module, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            sides.append(x.shape[-1])
        return type(self).__dict__["own_stem"](self, x)  # type: ignore[no-any-return]

    kind = type(stem.__self__)  # type: ignore[attr-defined]
    monkeypatch.setattr(kind, "own_stem", kind.stem, raising=False)
    monkeypatch.setattr(kind, "stem", seen)
    whole = train("resnet8_narrow", "digits", recipe=RECIPE, out=tmp_path / "whole")
    assert sides == [6] * 6 + [8] * 6
    often = Execution(checkpoint_steps=4, checkpoint_seconds=1e9)
    with pytest.raises(Crash):
        train("resnet8_narrow", "digits", recipe=RECIPE, out=tmp_path / "b", execution=often, observer=Watching(7))
    again = resume(tmp_path / "b")
    assert again.result["weights_sha256"] == whole.result["weights_sha256"]  # type: ignore[index]


def test_it_learns(tmp_path: Path) -> None:
    run = train("resnet8_narrow", "digits", recipe=RECIPE.changed({"epochs": 6.0}), out=tmp_path / "run")
    assert run.result["test"]["error"] < 0.1  # type: ignore[index]


@pytest.mark.parametrize(
    "changes",
    [{"growing": ((0.5, 24), (0.4, 28))}, {"growing": ((1.0, 24),)}, {"growing": ((0.5, 0),)},
     {"orthogonal": {"rate": 0}}, {"orthogonal": {"rate": 0.1, "momentum": 1}}, {"orthogonal": {"speed": 1}}],
)  # fmt: skip
def test_what_cannot_be_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(InputError):
        RECIPE.changed(changes)


def test_the_recipe_survives_json() -> None:
    assert Recipe.from_json(RECIPE.to_json()) == RECIPE
    assert RECIPE.orthogonal == Orthogonal(rate=0.05)
