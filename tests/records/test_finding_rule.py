"""The rule of a verdict, on made-up numbers on both sides of the margin."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Literal

import pytest

from residuum.records.finding import Arm, Comparison, Finding, Judged, Measured, Verdict, half_width, judge, overall

HOLDS, FAILS, OPEN = Verdict.HOLDS, Verdict.DOES_NOT_HOLD, Verdict.NOT_DECIDED
Relation = Literal["above", "not above"]


def comparison(relation: Relation = "above", margin: float = 0.01) -> Comparison:
    return Comparison(statement=f"a {relation} b", a="a", b="b", relation=relation, margin=margin)


def judged(verdict: Verdict) -> Judged:
    return Judged(comparison=comparison(), difference=0.0, half_width=0.0, verdict=verdict)


def finding(*verdicts: Verdict, **changes: Any) -> Finding:
    arm = Arm(name="a", published="1 %", measured={"error": Measured((0.1, 0.2))}, runs=("a-0", "a-1"))
    values: dict[str, Any] = {
        "name": "degradation", "claim": "c", "source": "s", "summary": "In two sentences.",
        "budget": "b", "quantity": "error", "arms": (arm,),
        "judged": tuple(map(judged, verdicts)), "seeds": (0, 1), "seconds": 1.0, "recipe": {"crop": (1, 2)},
        "environment": {"cpu": "x", "packages": {"torch": None}}, "directory": Path("/somewhere/private"),
    }  # fmt: skip
    return Finding(**values | changes)


def test_mean_and_deviation_by_hand() -> None:
    one = Measured((0.1, 0.2, 0.6))
    assert one.mean == pytest.approx(0.3)
    assert one.std == pytest.approx(math.sqrt((0.04 + 0.01 + 0.09) / 2))
    assert one.percent() == "30.00 ± 26.46 %"


def test_a_single_value_has_no_deviation() -> None:
    assert math.isnan(Measured((0.1234,)).std)
    assert Measured((0.1234,)).percent() == "12.34 %"
    assert Measured((0.5, 0.5)).percent() == "50.00 ± 0.00 %"


T_1, T_2, T_4 = 12.706205, 4.302653, 2.776445  # Student's t, 97.5 %, of 1, 2 and 4 degrees of freedom, from a table


def around(mean: float, delta: float) -> Measured:
    """Three seeds whose sample standard deviation is `delta`."""
    return Measured((mean - delta, mean, mean + delta))


# Arm b is 0.1 in all three seeds, so the spread is that of a, with 2 degrees of freedom: half the interval is
# 4.302653 / sqrt(3) = 2.484 times the deviation of a. The margin is 0.01.
@pytest.mark.parametrize(
    ("a", "above", "not_above"),
    [
        (around(0.15, 0.010), HOLDS, FAILS),  # 0.05 - 0.0248 > 0.01
        (around(0.15, 0.016), HOLDS, FAILS),  # 0.05 - 0.0397 = 0.0103, just
        (around(0.15, 0.0162), OPEN, OPEN),  # 0.05 - 0.0402 = 0.0098; a normal quantile would decide
        (around(0.105, 0.0), FAILS, HOLDS),  # within the margin
        (around(0.10, 0.0040), FAILS, HOLDS),  # 0 + 0.00994, just
        (around(0.10, 0.0041), OPEN, OPEN),  # 0 + 0.01018
        (around(0.05, 0.010), FAILS, HOLDS),  # far below
        (around(0.05, 0.030), OPEN, OPEN),  # -0.05 + 0.0745
        (around(0.15, 0.0), HOLDS, FAILS),
    ],
)
def test_the_rule_on_both_sides_of_the_margin(a: Measured, above: Verdict, not_above: Verdict) -> None:
    measured = {"a": a, "b": around(0.1, 0.0)}
    for relation, expected in (("above", above), ("not above", not_above)):
        found = judge(comparison(relation), measured)
        assert found.verdict == expected, relation
        assert found.difference == pytest.approx(a.mean - 0.1)
        assert found.half_width == pytest.approx(T_2 * a.std / math.sqrt(3), rel=1e-6)


def test_welch_by_hand() -> None:
    """Two arms of equal spread and size have the degrees of freedom of the pooled test; one without spread, its own."""
    equal = half_width(around(0.3, 0.02), around(0.1, 0.02))
    assert equal == pytest.approx(T_4 * math.sqrt(2 * 0.02**2 / 3), rel=1e-6)
    pairs = half_width(Measured((0.1, 0.3)), Measured((0.2, 0.4)))
    assert pairs == pytest.approx(T_2 * math.sqrt(0.02 / 2 + 0.02 / 2), rel=1e-6)
    one_sided = half_width(Measured((0.1, 0.3)), Measured((0.5, 0.5, 0.5)))
    assert one_sided == pytest.approx(T_1 * math.sqrt(0.02 / 2), rel=1e-6)
    assert half_width(Measured((0.5, 0.5, 0.5)), Measured((0.1, 0.3))) == pytest.approx(one_sided)
    assert half_width(Measured((0.5, 0.5)), Measured((0.1, 0.1))) == 0


def test_spreads_that_differ_are_not_pooled() -> None:
    """NIST handbook 1.3.5.3's formula: the degrees of freedom lie between those of the smaller arm and of both."""
    a, b = Measured((0.10, 0.12, 0.14)), Measured((0.02, 0.06, 0.07, 0.01))
    plain = math.sqrt(a.std**2 / 3 + b.std**2 / 4)
    assert 2.570582 * plain < half_width(a, b) < T_2 * plain  # between 5 and 2 degrees


def test_the_margin_itself_decides_nothing() -> None:
    for relation in ("above", "not above"):
        measured = {"a": Measured((0.5, 0.5)), "b": Measured((0.25, 0.25))}
        assert judge(comparison(relation, 0.25), measured).verdict == OPEN


def test_swapping_the_arms_turns_the_sign() -> None:
    a, b = around(0.30, 0.02), around(0.10, 0.01)
    swapped = Comparison(statement="", a="b", b="a", relation="above", margin=0.01)
    one, other = judge(comparison(), {"a": a, "b": b}), judge(swapped, {"a": a, "b": b})
    assert other.difference == pytest.approx(-one.difference)
    assert other.half_width == pytest.approx(one.half_width)
    assert (one.verdict, other.verdict) == (HOLDS, FAILS)


@pytest.mark.parametrize("relation", ["above", "not above"])
@pytest.mark.parametrize(("a", "b"), [((0.9,), (0.1,)), ((0.9,), (0.1, 0.1)), ((0.9, 0.9), (0.1,)), ((0.1,), (0.9,))])
def test_one_seed_decides_nothing(relation: Relation, a: tuple[float, ...], b: tuple[float, ...]) -> None:
    found = judge(comparison(relation), {"a": Measured(a), "b": Measured(b)})
    assert found.verdict == OPEN
    assert math.isnan(found.half_width)


def test_overall() -> None:
    assert overall([judged(HOLDS), judged(HOLDS)]) == HOLDS
    assert overall([judged(HOLDS), judged(OPEN)]) == OPEN
    assert overall([judged(HOLDS), judged(OPEN), judged(FAILS)]) == FAILS
    assert overall([judged(OPEN)]) == OPEN
    assert overall([]) == OPEN


def test_a_failed_run_leaves_a_finding_undecided() -> None:
    assert finding(HOLDS).verdict == HOLDS
    assert finding(HOLDS, FAILS).verdict == FAILS
    assert finding(HOLDS, failures=("a-1: the loss is nan",)).verdict == OPEN
    assert finding(FAILS, failures=("a-1: the loss is nan",)).verdict == OPEN


def test_to_json_is_plain_and_complete() -> None:
    single = judge(comparison(), {"a": Measured((0.9,)), "b": Measured((0.1,))})
    arms = (
        Arm(name="a", published="1 %", measured={"error": Measured((0.1, 0.3))}, runs=("a-0", "a-1")),
        Arm(name="b", published="2 %", measured={"error": Measured((0.4,))}),
    )
    text = json.dumps(finding(arms=arms, judged=(single,), failures=("why",)).to_json(), allow_nan=False)
    assert "/somewhere/private" not in text
    record = json.loads(text)
    assert record["verdict"] == "not decided at this budget"
    assert record["arms"][0]["measured"]["error"] == {
        "mean": pytest.approx(0.2),
        "std": pytest.approx(math.sqrt(0.02)),
        "values": [0.1, 0.3],
    }
    assert record["arms"][0]["runs"] == ["a-0", "a-1"]
    assert record["arms"][1]["measured"]["error"] == {"mean": 0.4, "std": None, "values": [0.4]}
    assert record["judged"][0]["half_width"] is None
    assert record["judged"][0]["difference"] == pytest.approx(0.8)
    assert record["judged"][0]["comparison"]["margin"] == 0.01
    assert record["judged"][0]["verdict"] == "not decided at this budget"
    assert record["failures"] == ["why"]
    assert record["seeds"] == [0, 1]
    assert json.loads(json.dumps(finding(HOLDS).to_json()))["verdict"] == "holds"
