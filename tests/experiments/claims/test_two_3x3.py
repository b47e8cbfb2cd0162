"""Small kernels against large ones: what is counted is what the arithmetic says; time does not decide."""

from __future__ import annotations

from dataclasses import replace

import pytest

from made_up import names, setting, verdict
from residuum.costing.arithmetic import chain, conv
from residuum.experiments.claims import two_3x3
from residuum.experiments.claims.two_3x3 import (
    CHANNELS,
    CLAIM,
    FIELD,
    MACS,
    RELUS,
    SIZE,
    STACKS,
    WEIGHTS,
    conclude,
    counted,
)
from residuum.experiments.evidence import Evidence
from residuum.plans.plan import Executed
from residuum.records.finding import Verdict
from residuum.records.quantity import Measured, exactly

TAKEN = {name: Measured((1.0, 1.1, 1.2)) for name in STACKS}


@pytest.mark.parametrize(
    ("name", "field", "weights", "relus"),
    [("one 5x5", 5, 25, 1), ("two 3x3", 5, 18, 2), ("one 7x7", 7, 49, 1), ("three 3x3", 7, 27, 3)],
)
def test_counted_as_the_paper_has_it_and_as_the_arithmetic_says(
    name: str, field: int, weights: int, relus: int
) -> None:
    found, stack = counted(STACKS[name]), STACKS[name]
    assert {key: each.mean for key, each in found.items() if key != MACS.name} == {
        FIELD.name: field,
        WEIGHTS.name: weights,
        RELUS.name: relus,
    }
    layer = conv(CHANNELS, stack.kernel, padding=stack.kernel // 2)
    steps = chain((SIZE, SIZE, CHANNELS), [layer] * stack.layers)
    assert steps[-1].receptive_field == (field, field)
    assert steps[-1].output == (SIZE, SIZE, CHANNELS)
    assert sum(step.macs for step in steps) == pytest.approx(found[MACS.name].mean * 1e6)


def test_what_is_counted_decides_not_the_time() -> None:
    found = {name: counted(stack) for name, stack in STACKS.items()}
    assert verdict(conclude(found, TAKEN)) is Verdict.HOLDS
    slow = conclude(found, TAKEN | {"two 3x3": Measured((9.0, 9.9, 10.8))})
    assert verdict(slow) is Verdict.HOLDS
    assert "they take 900 % of its time" in slow.summary.en
    assert "900 %" in slow.summary.ko
    fewer = found | {"one 5x5": found["one 5x5"] | {WEIGHTS.name: exactly(17)}}
    assert verdict(conclude(fewer, TAKEN)) is Verdict.DOES_NOT_HOLD


def test_what_follows_and_is_not_printed_is_marked() -> None:
    found = conclude({name: counted(stack) for name, stack in STACKS.items()}, TAKEN)
    published = {arm.name: arm.published for arm in found.arms}
    assert published["one 5x5"].en == "25 C^2 (follows from section 2.3)"
    assert published["one 7x7"].en == published["one 7x7"].ko == "49 C^2"
    assert [each.published.en for each in found.comparisons if each.quantity == WEIGHTS.name] == [
        "25 C^2 against 18 C^2 (follows from section 2.3)",
        "49 C^2 against 27 C^2",
    ]
    assert found.arms[1].korean == "3x3 두 층"


def test_the_timed_nets_are_the_counted_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(two_3x3, "ROUNDS", 2)
    monkeypatch.setattr(two_3x3, "REPEATS", 1)
    monkeypatch.setattr(two_3x3, "BATCH", 1)
    told: list[tuple[int, int]] = []
    evidence = Evidence(setting=setting(), done=Executed({}, ()))
    found = CLAIM.measure(replace(evidence, progress=lambda *done: told.append(done)))
    assert all(len(arm.measured["time of an image"].values) == 2 for arm in found.arms)
    assert told[-1] == (12, 12)
    assert (found.basis, verdict(found), names(CLAIM.plan(setting()))) == ("counted", Verdict.HOLDS, [])
