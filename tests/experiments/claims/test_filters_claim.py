"""First filters: the two numbers on filters that are known by hand, and the verdict on made-up numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from data_of_kinds import setting_of
from made_up import made_up, names, setting, verdict
from residuum.experiments.claim import Conclusion
from residuum.experiments.claims import filters as module
from residuum.experiments.claims.filters import (
    CLAIM,
    COLOUR,
    EDGES,
    GREY,
    NETS,
    SMOOTHNESS,
    STARTS,
    TOO_FEW,
    Pair,
    colour,
    conclude,
    edges,
    numbers,
    smoothness,
    why_unjudged,
)
from residuum.records.finding import Arm, Verdict
from residuum.records.quantity import Measured, exactly
from residuum.records.text import NOTHING, Text
from tiny_evidence import concluded

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


COLOURS = {COLOUR.name: exactly(0.6)}


def pair(name: str, after: tuple[float, float], spread: float = 0.01, *, coloured: bool = False) -> Pair:
    """Untrained filters at chance, trained ones at these numbers."""
    arms = []
    for words, values in (("untrained", (0.0, 0.25)), ("trained", after)):
        measured = {
            quantity.name: Measured(tuple(value + sign * spread for sign in (-1, 0, 1)))
            for quantity, value in zip((SMOOTHNESS, EDGES), values, strict=True)
        }
        arms.append(Arm(name=f"{name}, {words}", published=NOTHING, measured=measured | (COLOURS if coloured else {})))
    return Pair(Text.same(name), "3x3", *arms)


def judged(
    trained: dict[str, tuple[float, float]], packaged: tuple[float, float], spread: float, *, coloured: bool
) -> Conclusion:
    pairs = [pair(net, trained.get(net, (0.5, 0.6)), spread, coloured=coloured) for net in NETS]
    unjudged = NOTHING if coloured else GREY
    return conclude(pairs, pair("packaged", packaged, spread, coloured=True), (), {"a net": RAMP}, unjudged)


EDGE_LIKE, AS_BEFORE = (0.5, 0.6), (0.0, 0.25)


@pytest.mark.parametrize(
    ("trained", "spread", "expected"),
    [
        ({}, 0.01, Verdict.HOLDS),
        ({"resnet20": (0.25, 0.4)}, 0.01, Verdict.HOLDS),
        ({"resnet20": (0.15, 0.6)}, 0.01, Verdict.DOES_NOT_HOLD),
        ({"lenet5": (0.5, 0.3)}, 0.01, Verdict.DOES_NOT_HOLD),
        ({}, 0.5, Verdict.NOT_DECIDED),
    ],
)
def test_on_colour_the_trained_nets_are_judged(
    trained: dict[str, tuple[float, float]], spread: float, expected: Verdict
) -> None:
    found = judged(trained, AS_BEFORE, spread, coloured=True)
    assert verdict(found) is expected
    assert "are grey" not in found.summary.en


@pytest.mark.parametrize(
    ("packaged", "expected"),
    [
        (EDGE_LIKE, Verdict.HOLDS),
        ((0.25, 0.4), Verdict.HOLDS),
        ((0.15, 0.6), Verdict.DOES_NOT_HOLD),
        ((0.5, 0.3), Verdict.DOES_NOT_HOLD),
    ],
)
def test_on_grey_only_the_net_in_the_package_is_judged(packaged: tuple[float, float], expected: Verdict) -> None:
    found = judged(dict.fromkeys(NETS, AS_BEFORE), packaged, 0.01, coloured=False)
    assert verdict(found) is expected
    assert "shown and not judged" in found.summary.en
    assert f"from 25 % to {100 * packaged[1]:.0f} % of an edge" in found.summary.en
    assert "60 % is colour" in found.summary.en
    assert "색의 비율은 60 %" in found.summary.ko


def test_it_runs_from_end_to_end_on_grey_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = concluded(CLAIM, [*NETS], tmp_path, monkeypatch)
    packaged, untrained = found.arms[-1].measured, found.arms[-2].measured
    assert {each.a for each in found.comparisons} == {found.arms[-1].name}
    assert packaged[SMOOTHNESS.name].exact
    assert len(untrained[SMOOTHNESS.name].values) == STARTS
    assert untrained[SMOOTHNESS.name].mean == pytest.approx(0, abs=0.05), "random values are at chance"
    assert untrained[EDGES.name].mean == pytest.approx(0.25, abs=0.05)
    assert untrained[COLOUR.name].mean == pytest.approx(2 / 3, abs=0.05)


@pytest.mark.parametrize(("fewest", "why"), [(30, NOTHING), (31, TOO_FEW)])
def test_nets_that_were_hardly_trained_are_shown_and_not_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fewest: int, why: Text
) -> None:
    monkeypatch.setattr(module, "FEWEST_UPDATES", fewest)
    errors = {net: [0.1, 0.2] for net in NETS}
    own = setting_of("colour", "quick", seeds=2)
    assert why_unjudged(made_up(tmp_path / "colour", errors, own)) == why, "the trainings have 30 updates"
    assert why_unjudged(made_up(tmp_path / "grey", errors)) == GREY


def test_plan() -> None:
    assert names(CLAIM.plan(setting())) == [*NETS] == ["resnet20", "lenet5"]
