"""First filters: the two numbers on filters that are known by hand, and the verdict on made-up numbers."""

from __future__ import annotations

import numpy as np
import pytest
from made_up import names, setting, verdict

from residuum.experiments.claims.filters import (
    CLAIM,
    COLOUR,
    EDGES,
    NETS,
    SMOOTHNESS,
    colour,
    conclude,
    edges,
    numbers,
    smoothness,
)
from residuum.records.finding import Arm, Measured, Verdict, exactly
from residuum.records.text import NOTHING

RAMP = np.tile(np.array([[-1.0], [0.0], [1.0]], dtype=np.float32), (1, 3))[None, None]
CHECKERBOARD = ((-1.0) ** np.add.outer(np.arange(3), np.arange(3))).astype(np.float32)[None, None]


def random_filters(side: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(20_000, 1, side, side)).astype(np.float32)


def test_smoothness_of_known_filters() -> None:
    assert smoothness(RAMP) == pytest.approx(2 / 3)
    assert smoothness(RAMP.transpose(0, 1, 3, 2)) == pytest.approx(2 / 3)
    # each of the 12 pairs differs by 2; the variance of five +1 and four -1 is 80 / 9
    assert smoothness(CHECKERBOARD) == pytest.approx(1 - 8 / 24 * 48 / (80 / 9))
    wide = np.tile(np.arange(5.0, dtype=np.float32)[:, None], (1, 5))[None, None]
    assert smoothness(wide) == pytest.approx(0.88)
    assert smoothness(3 * RAMP + 7) == pytest.approx(2 / 3)


@pytest.mark.parametrize("side", [3, 5])
def test_values_in_random_order_are_at_chance(side: int) -> None:
    filters = random_filters(side)
    assert smoothness(filters) == pytest.approx(0, abs=0.01)
    assert edges(filters) == pytest.approx(2 / (side**2 - 1), abs=0.01)


def test_any_order_of_the_values_of_one_filter_averages_to_chance() -> None:
    generator = np.random.default_rng(1)
    shuffled = np.stack([generator.permutation(RAMP.ravel()).reshape(1, 3, 3) for _ in range(20_000)])
    assert smoothness(shuffled) == pytest.approx(0, abs=0.01)
    assert edges(shuffled) == pytest.approx(0.25, abs=0.01)


def test_edges_of_known_filters() -> None:
    diagonal = RAMP + RAMP.transpose(0, 1, 3, 2)
    assert edges(RAMP) == pytest.approx(1)
    assert edges(diagonal) == pytest.approx(1)
    assert edges(CHECKERBOARD) == pytest.approx(0, abs=1e-9)
    assert edges(np.concatenate([RAMP, CHECKERBOARD])) == pytest.approx(0.5)
    assert edges(np.concatenate([RAMP, CHECKERBOARD], axis=1)) == pytest.approx(6 / (6 + 80 / 9))
    assert edges(np.concatenate([RAMP, 0 * RAMP])) == pytest.approx(1), "a flat filter is left out"


def test_colour_is_what_is_not_grey() -> None:
    grey = np.repeat(RAMP, 3, axis=1)
    assert colour(grey) == pytest.approx(0, abs=1e-9)
    opponent = np.concatenate([RAMP, -RAMP, 0 * RAMP], axis=1)
    assert colour(opponent) == pytest.approx(1)
    red = np.concatenate([RAMP, 0 * RAMP, 0 * RAMP], axis=1)
    assert colour(red) == pytest.approx(2 / 3)
    assert COLOUR.name in numbers([grey])
    assert COLOUR.name not in numbers([RAMP])
    assert numbers([RAMP], exact=True)[EDGES.name] == exactly(edges(RAMP))


def arms(after: dict[str, tuple[float, float]], spread: float = 0.01) -> list[Arm]:
    """Untrained filters at chance, trained ones at these numbers."""
    found = []
    for net in NETS:
        for name, values in ((f"{net}, untrained", (0.0, 0.25)), (f"{net}, trained", after.get(net, (0.5, 0.6)))):
            measured = {
                quantity.name: Measured(tuple(value + sign * spread for sign in (-1, 0, 1)))
                for quantity, value in zip((SMOOTHNESS, EDGES), values, strict=True)
            }
            found.append(Arm(name=name, published=NOTHING, measured=measured))
    return found


@pytest.mark.parametrize(
    ("after", "spread", "expected"),
    [
        ({}, 0.01, Verdict.HOLDS),
        ({"resnet20": (0.25, 0.4)}, 0.01, Verdict.HOLDS),
        ({"resnet20": (0.15, 0.6)}, 0.01, Verdict.DOES_NOT_HOLD),
        ({"lenet5": (0.5, 0.3)}, 0.01, Verdict.DOES_NOT_HOLD),
        ({}, 0.5, Verdict.NOT_DECIDED),
    ],
)
def test_verdict(after: dict[str, tuple[float, float]], spread: float, expected: Verdict) -> None:
    found = conclude(arms(after, spread), (), {"a net": RAMP})
    assert verdict(found) is expected
    assert "nothing is said of colours" in found.summary.en


def test_plan() -> None:
    assert names(CLAIM.plan(setting())) == [*NETS] == ["resnet20", "lenet5"]
