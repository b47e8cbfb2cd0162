"""Identity: the verdict on made-up errors, and which stacks are trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from made_up import names, setting, verdict
from residuum.experiments.claims import identity
from residuum.experiments.claims.identity import (
    BARE,
    CLAIM,
    DEPTHS,
    ERROR,
    NORMALISED,
    PLAIN,
    RESIDUAL,
    TASKS,
    ZERO,
    arm_name,
    conclude,
)
from residuum.experiments.copying import Kind
from residuum.experiments.evidence import Evidence
from residuum.experiments.setting import BUDGET_NAMES
from residuum.plans.plan import Executed
from residuum.records.finding import Verdict
from residuum.records.quantity import Measured

AS_CLAIMED = {(PLAIN, 2): 0.1, (PLAIN, 16): 0.7, (RESIDUAL, 16): 0.02, (ZERO, 16): 0.0}


def found(changes: dict[tuple[str, int], float], spread: float = 0.005) -> dict[str, Measured]:
    means = {(task, depth): 0.3 for task in TASKS for depth in DEPTHS} | AS_CLAIMED | changes
    return {
        arm_name(*line, norm): Measured(tuple(mean + sign * spread for sign in (-1, 0, 1)))
        for line, mean in means.items()
        for norm in (NORMALISED, BARE)
    }


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, Verdict.HOLDS),
        ({(PLAIN, 16): 0.24}, Verdict.HOLDS),
        ({(PLAIN, 16): 0.18}, Verdict.DOES_NOT_HOLD),  # worse than 2 layers by less than the margin
        ({(RESIDUAL, 16): 0.2}, Verdict.DOES_NOT_HOLD),  # not easy for the residual stack
        ({(RESIDUAL, 16): 0.08}, Verdict.HOLDS),
        ({(ZERO, 16): 0.7}, Verdict.DOES_NOT_HOLD),  # zero is no easier
        ({(PLAIN, 2): 0.65}, Verdict.DOES_NOT_HOLD),
    ],
)
def test_verdict(changes: dict[tuple[str, int], float], expected: Verdict) -> None:
    assert verdict(conclude(found(changes), 1600)) is expected


def test_seeds_that_disagree_decide_nothing() -> None:
    assert verdict(conclude(found({}, spread=0.4), 1600)) is Verdict.NOT_DECIDED


@pytest.mark.parametrize(("plain", "said"), [(0.7, False), (0.81, False), (0.82, True), (0.826, True), (0.9, True)])
def test_a_constant_answer_is_named_where_the_plain_stack_is_no_better(plain: float, said: bool) -> None:
    summary = conclude(found({(PLAIN, 16): plain}), 1600).summary
    assert ("constant answer has 82.6 %" in summary.en) == ("상수를 답해도 82.6 %" in summary.ko) == said
    assert "(gamma)" in summary.en


def test_arms_have_names_in_both_languages() -> None:
    arms = conclude(found({}), 1600).arms
    assert (arms[0].name, arms[0].korean) == (
        "copy, no shortcuts, 2 layers, with batch normalisation",
        "복사, 지름길 없음, 2층, 배치 정규화 있음",
    )
    assert len({arm.korean for arm in arms}) == len(arms) == 24


def test_every_kind_is_trained_once_on_all_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[Kind] = []

    def made_up_errors(
        kind: Kind, seeds: tuple[int, ...], device: torch.device, *, steps: int, after_step: Callable[[], None]
    ) -> list[float]:
        trained.append(kind)
        for _ in range(steps):
            after_step()
        return [0.1 * seed for seed in seeds]

    monkeypatch.setattr(identity, "errors", made_up_errors)
    told: list[tuple[int, int]] = []
    evidence = Evidence(setting=setting(3), done=Executed({}, ()))
    conclusion = CLAIM.measure(replace(evidence, progress=lambda *done: told.append(done)))
    assert len(set(trained)) == len(trained) == 24
    assert {kind.target for kind in trained if kind.shortcuts} == {"copy"}
    assert all(arm.measured[ERROR.name].values == (0.0, 0.1, 0.2) for arm in conclusion.arms)
    assert told == sorted(told)
    assert told[-1][0] <= told[-1][1] == 1600 * 6 * sum(DEPTHS)
    assert "After 1,600 steps" in conclusion.summary.en
    assert names(CLAIM.plan(setting())) == []
    assert list(identity.STEPS) == list(BUDGET_NAMES)
