"""Gradients by layer against those of a training step; thirds by hand; the verdict on both sides."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from made_up import made_up, names, setting, verdict
from residuum.experiments.claims.not_vanishing import (
    CLAIM,
    DEEP,
    SHALLOW,
    TRAINED,
    UNTRAINED,
    conclude,
    first,
    flow,
    passing,
    reaching,
)
from residuum.records.finding import Verdict
from tiny_evidence import concluded, tiny_net, undrawn


def test_the_flow_is_the_gradient_of_a_training_step_by_the_weights_size() -> None:
    net = tiny_net("plain20")
    generator = torch.Generator().manual_seed(1)
    images, labels = torch.randn(8, 1, 8, 8, generator=generator), torch.randint(0, 10, (8,), generator=generator)
    found = flow(net, images, labels)
    net.train()
    functional.cross_entropy(net(images), labels).backward()
    weights = [module.weight for module in net.modules() if isinstance(module, nn.Conv2d)]
    assert found == pytest.approx([float(each.grad.norm() / each.detach().norm()) for each in weights], rel=1e-4)


def test_thirds_are_compared_by_their_logarithms() -> None:
    layers = [1e-3, 1e-5, 1.0, 7.0, 10.0, 1000.0]
    assert reaching(layers) == pytest.approx(-4)
    assert passing(layers) == pytest.approx(-4 - 2)
    assert first(layers) == pytest.approx(-3 - 2)
    assert reaching([0.0, 1.0, 1.0]) == pytest.approx(-30), "0 counts as hardly anything, and is no error"


def flows(first: Sequence[float], last: float = 1.0) -> list[list[float]]:
    """For each seed a net of three layers."""
    return [[each, 1.0, last] for each in first]


HEALTHY = flows([1.0, 1.2, 0.9])
VANISHED = flows([1e-4, 2e-4, 1e-4])
SMALL = [[each / 100 for each in layers] for layers in HEALTHY]  # everywhere


@pytest.mark.parametrize(
    ("untrained", "trained", "errors", "expected"),
    [
        (HEALTHY, HEALTHY, [0.3, 0.4, 0.35], Verdict.HOLDS),
        (flows([50.0, 90.0, 70.0]), HEALTHY, [0.3, 0.4, 0.35], Verdict.HOLDS),  # it grows: that is no vanishing
        (VANISHED, HEALTHY, [0.3, 0.4, 0.35], Verdict.DOES_NOT_HOLD),
        (HEALTHY, VANISHED, [0.3, 0.4, 0.35], Verdict.DOES_NOT_HOLD),
        (SMALL, HEALTHY, [0.3, 0.4, 0.35], Verdict.DOES_NOT_HOLD),
        (HEALTHY, HEALTHY, [0.0, 0.0, 0.0], Verdict.DOES_NOT_HOLD),
        (flows([1.0, 1e-6, 0.9]), HEALTHY, [0.3, 0.4, 0.35], Verdict.NOT_DECIDED),
    ],
)
def test_the_deep_net_must_degrade_with_its_gradients_alive(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    untrained: list[list[float]],
    trained: list[list[float]],
    errors: list[float],
    expected: Verdict,
) -> None:
    undrawn(monkeypatch, conclude)
    evidence = made_up(tmp_path, {SHALLOW: [0.01] * 3, DEEP: errors})
    arms = dict.fromkeys([*UNTRAINED.values(), *TRAINED], HEALTHY) | {UNTRAINED[DEEP]: untrained, DEEP: trained}
    assert verdict(conclude(evidence, arms)) is expected


def test_the_words_tell_growth_from_vanishing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    undrawn(monkeypatch, conclude)
    evidence = made_up(tmp_path, {SHALLOW: [0.01] * 3, DEEP: [0.3] * 3})
    arms = dict.fromkeys([*UNTRAINED.values(), *TRAINED], HEALTHY)
    assert conclude(evidence, arms).summary.en.endswith("it does not vanish.")
    grown = conclude(evidence, arms | {UNTRAINED[DEEP]: flows([50.0, 90.0, 70.0])}).summary
    assert "arXiv 1902.08129" in grown.en
    assert "arXiv 1902.08129" in grown.ko
    assert "do vanish" in conclude(evidence, arms | {DEEP: VANISHED}).summary.en


def test_the_first_convolution_is_told_before_and_after_training(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    undrawn(monkeypatch, conclude)
    evidence = made_up(tmp_path, {SHALLOW: [0.01] * 3, DEEP: [0.3] * 3})
    arms = dict.fromkeys([*UNTRAINED.values(), *TRAINED], HEALTHY)
    arms |= {UNTRAINED[DEEP]: flows([5570.0] * 3), DEEP: flows([0.2] * 3)}
    said = conclude(evidence, arms).summary
    assert "in its very first convolution 5,600 and 0.2 times" in said.en
    assert "맨 첫 합성곱에서는 5,600배와 0.2배" in said.ko


def test_it_runs_from_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conclusion = concluded(CLAIM, TRAINED, tmp_path, monkeypatch)
    assert [arm.name for arm in conclusion.arms] == [*UNTRAINED.values(), *TRAINED]


def test_it_plans_the_plain_nets() -> None:
    assert names(CLAIM.plan(setting(1))) == [SHALLOW, DEEP]
