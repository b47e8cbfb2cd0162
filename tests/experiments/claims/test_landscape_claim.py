"""Bowls, plateaus and rough lines whose measures are known; the verdict on both sides."""

from __future__ import annotations

from math import log
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from made_up import made_up, names, setting, verdict
from residuum.experiments.claims.landscape import (
    AT,
    CLAIM,
    DEEP_PLAIN,
    DEEP_RESIDUAL,
    NETS,
    PLAIN,
    RESIDUAL,
    Look,
    conclude,
)
from residuum.records.finding import Verdict
from tiny_evidence import concluded, undrawn

GUESSING = log(10)


def look(*lines: NDArray[np.float64]) -> Look:
    return Look(np.array(lines), GUESSING)


def rough(seed: int) -> NDArray[np.float64]:
    return np.random.default_rng(seed).uniform(0, 5, len(AT))


def pit(seed: int) -> NDArray[np.float64]:
    """A rough line whose middle lies low."""
    return np.where(AT == 0, 0.1, rough(seed))


def test_a_bowl_goes_up_everywhere_and_bends_nowhere() -> None:
    bowl = look(0.3 + 5 * np.abs(AT) + AT**2, 0.3 + 7 * np.abs(AT))
    assert (bowl.upwards, bowl.bends) == (1, 0)
    assert bowl.centre == pytest.approx(0.3)
    assert bowl.rise == pytest.approx((2.5 + 0.25 + 3.5) / 2)


def test_a_plateau_gets_no_credit_for_being_smooth() -> None:
    plateau = look(2.3 + 0.01 * AT**2)
    assert (plateau.upwards, plateau.bends) == (0, 0)
    assert plateau.rise == pytest.approx(0.0025)


def test_a_rough_line_goes_up_on_half_of_its_steps() -> None:
    surface = look(*(rough(seed) for seed in range(50)))
    assert surface.upwards == pytest.approx(0.5, abs=0.05)
    assert surface.bends == pytest.approx(0.5, abs=0.05)


def test_a_hill_bends_everywhere_and_goes_down() -> None:
    hill = look(5 - 4 * AT**2)
    assert (hill.upwards, hill.bends) == (0, 1)


BOWLS = [look(0.1 + k * np.abs(AT)) for k in (3, 4, 5)]
PLATEAUS = [look(2.2 + k * 0.01 * AT**2) for k in (1, 2, 3)]
ROUGH = [look(*(pit(8 * k + number) for number in range(8))) for k in range(3)]


@pytest.mark.parametrize(
    ("change", "expected", "said"),
    [
        ({}, Verdict.HOLDS, "up and down"),
        ({DEEP_PLAIN: BOWLS}, Verdict.DOES_NOT_HOLD, "hardly rougher"),
        ({DEEP_PLAIN: PLATEAUS}, Verdict.DOES_NOT_HOLD, "plateau"),
        ({DEEP_RESIDUAL: ROUGH}, Verdict.DOES_NOT_HOLD, "hardly rougher"),
        ({DEEP_RESIDUAL: PLATEAUS}, Verdict.DOES_NOT_HOLD, "up and down"),
        ({PLAIN: ROUGH}, Verdict.DOES_NOT_HOLD, "up and down"),
        ({DEEP_PLAIN: [*ROUGH[:2], BOWLS[0]]}, Verdict.NOT_DECIDED, "not clear at this budget"),
        ({DEEP_PLAIN: [*PLATEAUS[:2], ROUGH[0]]}, Verdict.NOT_DECIDED, "not clear at this budget"),
    ],
)
def test_the_deep_plain_net_alone_is_rough_and_the_deep_residual_one_a_bowl(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, change: dict[str, list[Look]], expected: Verdict, said: str
) -> None:
    undrawn(monkeypatch, conclude)
    evidence = made_up(tmp_path, {net: [0.1] * 3 for net in NETS})
    good = {PLAIN: BOWLS, DEEP_PLAIN: ROUGH, RESIDUAL: BOWLS, DEEP_RESIDUAL: BOWLS}
    conclusion = conclude(evidence, good | change)
    assert verdict(conclusion) is expected
    assert said in conclusion.summary.en


def test_it_runs_from_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conclusion = concluded(CLAIM, NETS, tmp_path, monkeypatch)
    assert [arm.name for arm in conclusion.arms] == [*NETS]


def test_it_plans_the_nets_of_degradation() -> None:
    assert names(CLAIM.plan(setting(1))) == [*NETS]
