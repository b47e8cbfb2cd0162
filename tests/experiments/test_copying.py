"""Stacks that learn to copy: what they can represent, that groups share nothing, and how they are judged."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from residuum.experiments import copying
from residuum.experiments.copying import CHANNELS, CONSTANT, RATES, SIDE, UNLEARNED, Kind, Stacks, errors

CPU = torch.device("cpu")
PLAIN = Kind(layers=4, shortcuts=False, batch_norm=False, target="copy")
RESIDUAL = replace(PLAIN, shortcuts=True)


def maps(stacks: int) -> torch.Tensor:
    return torch.randn(3, stacks * CHANNELS, SIDE, SIDE, generator=torch.Generator().manual_seed(5)).relu()


def test_both_can_make_the_exact_copy() -> None:
    x = maps(2)
    for kind, weight in ((PLAIN, torch.eye(CHANNELS)), (RESIDUAL, torch.zeros(CHANNELS, CHANNELS))):
        stacks = Stacks(kind, (0, 1))
        for layer in stacks.convolutions:
            with torch.no_grad():
                layer.weight.zero_()
                layer.weight[:, :, 1, 1] = weight.repeat(2, 1)
        assert torch.allclose(stacks(x), x, atol=1e-6)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_stacks_side_by_side_share_nothing(batch_norm: bool) -> None:
    kind = replace(RESIDUAL, batch_norm=batch_norm)
    pair, alone = Stacks(kind, (3, 4)), Stacks(kind, (4,))
    x = maps(2)
    assert torch.allclose(pair(x)[:, CHANNELS:], alone(x[:, CHANNELS:]), atol=1e-5)
    spoilt = x.clone()
    spoilt[:, :CHANNELS] = float("nan")
    assert torch.allclose(Stacks(kind, (3, 4))(spoilt)[:, CHANNELS:], alone(x[:, CHANNELS:]), atol=1e-5)


def test_a_stack_is_trained_alone_as_beside_others() -> None:
    both = errors(PLAIN, (0, 1), CPU, steps=10)
    assert both[1] == pytest.approx(errors(PLAIN, (1,), CPU, steps=10)[0], rel=1e-3)
    assert both[0] != both[1]


def test_two_layers_learn_to_copy_with_shortcuts_and_to_give_zero() -> None:
    residual = errors(replace(RESIDUAL, layers=2), (0,), CPU, steps=150)
    zero = errors(replace(PLAIN, layers=2, target="zero"), (0,), CPU, steps=150)
    assert 0 <= residual[0] < 0.1
    assert 0 <= zero[0] < 0.1


def test_the_best_rate_counts_and_what_is_no_number_counts_as_nothing_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "RATES", (float("nan"),) * len(RATES))
    assert errors(PLAIN, (0,), CPU, steps=2) == [UNLEARNED]
    monkeypatch.setattr(copying, "RATES", (*RATES[:-1], float("nan")))
    assert errors(replace(PLAIN, target="zero"), (0,), CPU, steps=60)[0] < UNLEARNED


def test_every_step_is_told() -> None:
    told = []
    errors(PLAIN, (0,), CPU, steps=3, after_step=lambda: told.append(1))
    assert len(told) == 3


def test_the_error_of_the_best_constant_answer() -> None:
    x = torch.randn(200_000, generator=torch.Generator().manual_seed(0)).relu()
    assert float((x - x.mean()).norm() / x.norm()) == pytest.approx(CONSTANT, abs=0.003)
