"""Timing in alternating rounds: who runs when, which value counts, and what is compared."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from residuum.experiments.timing import forward_pass, in_rounds, noise, relative, times
from residuum.records.quantity import Measured, exactly

CPU = torch.device("cpu")


class Clock:
    """A clock that only computations move."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[str] = []

    def __call__(self) -> float:
        return self.now

    def work(self, name: str, seconds: list[float]):  # type: ignore[no-untyped-def]
        turns = iter(seconds)

        def run() -> None:
            self.calls.append(name)
            self.now += next(turns)

        return run


def test_a_round_counts_the_shortest_call_and_the_first_round_does_not_count() -> None:
    clock, told = Clock(), []
    works = {"a": clock.work("a", [9, 9, 2, 1, 3, 4]), "b": clock.work("b", [1, 1, 5, 6, 8, 7])}
    found = in_rounds(works, rounds=2, repeats=2, progress=lambda *done: told.append(done), device=CPU, clock=clock)
    assert found == {"a": Measured((1.0, 3.0)), "b": Measured((5.0, 7.0))}
    assert told == [(done, 6) for done in range(1, 7)]


@pytest.mark.parametrize("warm_up", [0, 3])
def test_so_many_rounds_at_the_beginning_do_not_count(warm_up: int) -> None:
    clock, told = Clock(), []
    works = {"a": clock.work("a", [9.0] * warm_up + [1.0, 2.0])}
    found = in_rounds(
        works,
        rounds=2,
        repeats=1,
        progress=lambda *done: told.append(done),
        device=CPU,
        warm_up=warm_up,
        clock=clock,
    )
    assert found == {"a": Measured((1.0, 2.0))}
    assert told[-1] == (warm_up + 2, warm_up + 2)


def test_every_other_round_runs_in_the_opposite_order() -> None:
    clock = Clock()
    works = {name: clock.work(name, [1.0] * 4) for name in "abc"}
    in_rounds(works, rounds=3, repeats=1, progress=lambda done, total: None, device=CPU, clock=clock)
    assert "".join(clock.calls) == "cba" + "abc" + "cba" + "abc"


def test_times_are_compared_within_their_round() -> None:
    assert relative(Measured((2.0, 9.0)), Measured((1.0, 3.0))).values == (2.0, 3.0)
    assert times(1000, Measured((0.002, 0.003))).values == pytest.approx((2.0, 3.0))
    assert times(2, exactly(3.0)) == exactly(6.0)


def test_a_forward_pass_is_that_of_evaluation_without_gradients() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Dropout(0.5))
    images = noise((2, 3, 5, 5), CPU)
    answer = forward_pass(net.train(), images)()
    assert isinstance(answer, torch.Tensor)
    assert answer.is_inference()
    assert torch.equal(answer, net[0](images))
    assert torch.equal(images, noise((2, 3, 5, 5), CPU))
