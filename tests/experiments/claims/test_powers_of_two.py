"""Powers of two: the verdict on made-up speeds, and what is run."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from made_up import names, setting, verdict
from residuum.experiments.claims import powers_of_two
from residuum.experiments.claims.powers_of_two import (
    BATCH,
    CLAIM,
    POWERS,
    SIZE,
    WIDTHS,
    both_passes,
    conclude,
    faster_than,
    macs,
)
from residuum.records.finding import Verdict
from residuum.records.quantity import Measured

CPU = torch.device("cpu")


def seconds(slower: dict[int, float], noise: float = 0.0) -> dict[int, Measured]:
    """Every width works at one speed but these, which take so many times as long; the rounds differ by noise."""
    return {
        width: Measured(tuple(macs(width) / 1e11 * slower.get(width, 1.0) * (1 + sign * noise) for sign in (-1, 0, 1)))
        for width in WIDTHS
    }


ODD = dict.fromkeys((63, 65, 127, 129), 1.5)
OTHERS = dict.fromkeys((width for width in WIDTHS if width not in POWERS), 1.5)


@pytest.mark.parametrize(
    ("slower", "expected", "words"),
    [
        (OTHERS, Verdict.HOLDS, "ahead of both"),
        (ODD, Verdict.DOES_NOT_HOLD, "a multiple of 16"),
        ({}, Verdict.DOES_NOT_HOLD, "hardly matter"),
        (dict.fromkeys((48, 80, 112, 144), 1.5), Verdict.DOES_NOT_HOLD, "not what the rule of thumb says"),
        (dict.fromkeys(OTHERS, 1.12), Verdict.HOLDS, "ahead of both"),
        (dict.fromkeys(OTHERS, 1.08), Verdict.DOES_NOT_HOLD, "hardly matter"),
    ],
)
def test_verdict(slower: dict[int, float], expected: Verdict, words: str) -> None:
    found = conclude(seconds(slower))
    assert verdict(found) is expected
    assert words in found.summary.en


def test_rounds_that_disagree_decide_nothing() -> None:
    taken = seconds(OTHERS) | {64: seconds({}, noise=0.6)[64]}
    assert verdict(conclude(taken)) is Verdict.NOT_DECIDED


def test_the_mean_over_four_pairs_is_a_geometric_one() -> None:
    rates = {width: Measured((1.0, 2.0)) for width in WIDTHS} | {63: Measured((0.5, 2.0)), 129: Measured((2.0, 2.0))}
    assert faster_than(rates, -1, 1).values == pytest.approx((1.0, 1.0))
    assert faster_than(rates, -1).values == pytest.approx((2**0.5, 1.0))
    assert faster_than(rates, 1).values == pytest.approx((0.5**0.5, 1.0))
    assert faster_than(rates, -16, 16).values == pytest.approx((1.0, 1.0))


def test_one_more_and_one_fewer_are_told_apart() -> None:
    found = conclude(seconds({65: 1.44, 129: 1.44}))
    assert "1.20 times as fast as with one filter more or fewer (1.00 with one fewer, 1.44 with one more)" in (
        found.summary.en
    )
    assert "1.20배(하나 적을 때의 1.00배, 하나 많을 때의 1.44배)" in found.summary.ko
    assert [arm.name for arm in found.arms[-2:]] == ["one filter fewer", "one filter more"]
    assert {each.a for each in found.comparisons} == {"neighbours by 1", "neighbours by 16"}
    assert len({arm.label.ko for arm in found.arms}) == len(found.arms)


def test_a_run_is_a_convolution_forwards_and_backwards(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    real = functional.conv2d
    monkeypatch.setattr(
        powers_of_two.functional,
        "conv2d",
        lambda x, weight, **more: seen.append((x, weight)) or real(x, weight, **more),
    )
    gradients = both_passes(4, CPU)()
    ((x, weight),) = seen
    assert (tuple(x.shape), tuple(weight.shape)) == ((BATCH, 4, SIZE, SIZE), (4, 4, 3, 3))
    assert x.is_contiguous(memory_format=torch.channels_last)
    assert [each.shape for each in gradients] == [x.shape, weight.shape]
    assert macs(4) == 3 * BATCH * SIZE**2 * 4 * 4 * 9
    assert {power + side for power in POWERS for side in (-16, -1, 0, 1, 16)} <= set(WIDTHS)
    assert names(CLAIM.plan(setting())) == []
