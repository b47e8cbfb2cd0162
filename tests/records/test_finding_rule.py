"""The rule of a verdict, on made-up numbers on both sides of the margin."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from residuum.errors import DamagedError
from residuum.records.finding import Arm, Comparison, Finding, Judged, Relation, Verdict, half_width, judge, overall
from residuum.records.quantity import Measured, Quantity, exactly
from residuum.records.text import NOTHING, Text

HOLDS, FAILS, OPEN = Verdict.HOLDS, Verdict.DOES_NOT_HOLD, Verdict.NOT_DECIDED
ONE_SIDED: tuple[Relation, Relation] = ("above", "not above")
ERROR = "error"


def comparison(relation: Relation = "above", margin: float = 0.01, b: str | float = "b") -> Comparison:
    return Comparison(
        statement=Text.same(f"a {relation} b"), a="a", b=b, relation=relation, margin=margin, quantity=ERROR
    )


def judged_of(asked: Comparison, a: Measured, b: Measured | None = None) -> Judged:
    """The comparison of two arms, beside a quantity that nobody asks for."""
    arms = {"a": {ERROR: a, "loss": Measured((9.0,))}}
    return judge(asked, arms if b is None else arms | {"b": {ERROR: b}})


def judged(verdict: Verdict) -> Judged:
    return Judged(comparison=comparison(), difference=0.0, half_width=0.0, verdict=verdict)


def finding(*verdicts: Verdict, **changes: Any) -> Finding:
    arm = Arm(name="a", published=Text.same("1 %"), measured={ERROR: Measured((0.1, 0.2))}, runs=("a-0", "a-1"))
    values: dict[str, Any] = {
        "name": "degradation", "claim": Text("c", "주장"), "source": Text("s", "출처"), "group": "He et al. 2015",
        "summary": Text("In two sentences.", "두 문장으로."), "caption": Text.same("How to read it."),
        "budget": "quick", "conditions": Text("digits; 2 seeds", "digits; 시드 2개"),
        "basis": "measured", "quantities": (Quantity(ERROR),), "arms": (arm,),
        "judged": tuple(map(judged, verdicts)), "seeds": (0, 1), "runs": {"a-0": {"train": 0.1, "seconds": 1.0}},
        "seconds": 1.0, "measuring_seconds": 0.5, "recipe": {"crop": (1, 2)},
        "environment": {"cpu": "x", "packages": {"torch": None}}, "command": "residuum reproduce degradation",
        "directory": Path("/somewhere/private"),
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
    for relation, expected in zip(ONE_SIDED, (above, not_above), strict=True):
        found = judged_of(comparison(relation), a, around(0.1, 0.0))
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
    for relation in ONE_SIDED:
        found = judged_of(comparison(relation, 0.25), Measured((0.5, 0.5)), Measured((0.25, 0.25)))
        assert found.verdict == OPEN


def test_swapping_the_arms_turns_the_sign() -> None:
    a, b = around(0.30, 0.02), around(0.10, 0.01)
    one, other = judged_of(comparison(), a, b), judged_of(comparison(), b, a)
    assert other.difference == pytest.approx(-one.difference)
    assert other.half_width == pytest.approx(one.half_width)
    assert (one.verdict, other.verdict) == (HOLDS, FAILS)


@pytest.mark.parametrize("relation", ["above", "not above", "near"])
@pytest.mark.parametrize(
    ("a", "b"),
    [((0.9,), (0.1,)), ((0.9,), (0.1, 0.1)), ((0.9, 0.9), (0.1,)), ((0.1,), (0.9,)), ((), (0.1, 0.1)), ((), ()),
     ((math.inf, math.inf), (0.1, 0.1)), ((math.nan, 0.9), (0.1, 0.1))],
)  # fmt: skip
def test_one_seed_none_or_infinity_decides_nothing(
    relation: Relation, a: tuple[float, ...], b: tuple[float, ...]
) -> None:
    found = judged_of(comparison(relation), Measured(a), Measured(b))
    assert found.verdict == OPEN
    assert math.isnan(found.half_width)


# Half the interval is 2.484 times the deviation of a, as above. The margin is 0.05.
@pytest.mark.parametrize(
    ("a", "expected"),
    [
        (around(0.12, 0.012), HOLDS),  # 0.02 + 0.0298
        (around(0.12, 0.0122), OPEN),  # 0.02 + 0.0303
        (around(0.08, 0.012), HOLDS),  # as far on the other side
        (around(0.08, 0.0122), OPEN),
        (around(0.18, 0.0120), FAILS),  # 0.08 - 0.0298 = 0.0502
        (around(0.18, 0.0122), OPEN),  # 0.08 - 0.0303 = 0.0497
        (around(0.02, 0.0120), FAILS),
        (around(0.10, 0.0), HOLDS),
        (around(0.16, 0.0), FAILS),
    ],
)
def test_near_looks_to_both_sides(a: Measured, expected: Verdict) -> None:
    assert judged_of(comparison("near", 0.05), a, around(0.1, 0.0)).verdict == expected
    assert judged_of(comparison("near", 0.05), around(0.1, 0.0), a).verdict == expected
    assert judged_of(comparison("near", 0.05, b=0.1), a).verdict == expected, "a number in place of an arm"


@pytest.mark.parametrize(
    ("a", "above", "not_above"),
    [(around(0.15, 0.016), HOLDS, FAILS), (around(0.15, 0.0162), OPEN, OPEN), (around(0.105, 0.0), FAILS, HOLDS)],
)
def test_an_arm_against_a_number(a: Measured, above: Verdict, not_above: Verdict) -> None:
    """A number is an arm without spread."""
    for relation, expected in zip(ONE_SIDED, (above, not_above), strict=True):
        found = judged_of(comparison(relation, b=0.1), a)
        assert found.verdict == expected
        assert found == judged_of(comparison(relation, b=0.1), a, around(0.9, 0.0)), "arm b is not looked at"
        assert found.half_width == pytest.approx(T_2 * a.std / math.sqrt(3), rel=1e-6)
    assert judged_of(comparison(b=1), Measured((3.0, 3.0))).difference == 2


def test_what_is_counted_is_known_from_one_value() -> None:
    many, few = exactly(60_192_808), exactly(25_557_032)
    found = judged_of(comparison(margin=0), many, few)
    assert (found.verdict, found.difference, found.half_width) == (HOLDS, 34_635_776, 0)
    assert judged_of(comparison("near", 0), many, many).verdict == HOLDS
    assert judged_of(comparison("near", 0), many, exactly(60_192_807)).verdict == FAILS
    assert judged_of(comparison(b=0.1), exactly(0.2)).verdict == HOLDS
    assert judged_of(comparison(), exactly(0.9), Measured((0.1,))).verdict == OPEN, "the other has one seed only"
    spread = judged_of(comparison(), exactly(0.5), around(0.1, 0.02))
    assert spread.half_width == pytest.approx(T_2 * 0.02 / math.sqrt(3), rel=1e-6)


def test_a_comparison_of_what_is_not_there_says_so() -> None:
    with pytest.raises(KeyError, match="'b'"):
        judged_of(comparison(), Measured((0.1, 0.1)))


@pytest.mark.parametrize(
    ("unit", "measured", "expected"),
    [
        ("%", Measured((0.1234,)), "12.34 %"),
        ("%", Measured((0.1, 0.2, 0.6)), "30.00 ± 26.46 %"),
        ("%", Measured(()), "none"),
        ("", exactly(60_192_808), "60,192,808"),
        ("ms", Measured((12.3456,)), "12.35 ms"),
        ("ms", Measured((1234.56, 1234.58)), "1,235 ± 0 ms"),
        ("", Measured((4.5, 5.5)), "5.000 ± 0.707"),
        ("", Measured((0.00123,)), "0.001230"),
        ("", Measured((1.23456e-9,)), "1.235e-09"),
        ("", Measured((1.5e30,)), "1.5e+30"),
        ("", Measured((math.inf, 1.0)), "inf ± unknown"),
        ("", exactly(math.nan), "unknown"),
        ("", Measured((0.0, 0.0)), "0.000 ± 0.000"),
    ],
)
def test_numbers_are_shown_with_as_many_digits_as_they_have(unit: str, measured: Measured, expected: str) -> None:
    assert Quantity("q", unit).shown(measured) == expected


def test_differences_and_margins_are_shown_in_points_or_the_unit() -> None:
    assert Quantity("error").difference(0.0123, 0.0045) == "+1.23 ± 0.45 points"
    assert Quantity("error").difference(-0.0123, math.nan) == "-1.23 points"
    assert Quantity("error").margin(0.005) == "0.50 points"
    assert Quantity("time", "ms").difference(-3.0, 0.5) == "-3.000 ± 0.500 ms"
    assert Quantity("time", "ms").difference(-3.0, 0.0) == "-3 ms"
    assert Quantity("layers", "").margin(2) == "2"
    assert Quantity("MACs", "G").margin(0.05) == "0.05 G"
    assert Quantity("layers", "").difference(math.nan, math.nan) == "unknown"


@pytest.mark.parametrize(
    ("unit", "english", "korean"),
    [
        ("times", "784 times", "784배"),
        ("times as fast", "784 times as fast", "784배"),
        ("powers of ten", "784 powers of ten", "784 (상용로그)"),
        ("million", "784 million", "784 M"),
        ("billion multiply-adds a second", "784 billion multiply-adds a second", "784 G 곱셈-덧셈/초"),
        ("pixels", "784 pixels", "784 픽셀"),
        ("ms", "784 ms", "784 ms"),
        ("", "784", "784"),
    ],
)
def test_units_in_both_languages(unit: str, english: str, korean: str) -> None:
    one = Quantity("q", unit)
    for language, expected in {"en": english, "ko": korean}.items():
        assert one.shown(exactly(784), language) == expected  # type: ignore[arg-type]
        assert one.difference(784, 0.0, language) == f"+{expected}"  # type: ignore[arg-type]
        assert one.margin(784, language) == expected  # type: ignore[arg-type]


def test_what_is_not_known_is_said_in_both_languages() -> None:
    assert Quantity("q", "times").shown(Measured((math.inf, 1.0)), "ko") == "inf ± 알 수 없음 배"
    assert Quantity("q", "").difference(math.nan, math.nan, "ko") == "알 수 없음"
    assert Quantity("error").difference(0.0123, 0.0045, "ko") == "+1.23 ± 0.45 %p"


def test_what_can_say_nothing_decides_nothing() -> None:
    for relation in (*ONE_SIDED, "near"):
        for a in (around(0.9, 0.001), around(0.1, 0.0), around(0.0, 0.001)):
            found = judged_of(replace(comparison(relation), decidable=False), a, around(0.1, 0.0))  # type: ignore[arg-type]
            assert found.verdict == OPEN
            assert found.difference == pytest.approx(a.mean - 0.1), "still told"


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
    assert finding(FAILS, failures=("a-1: the loss is nan",), excused=True).verdict == FAILS, "it is the answer"


def test_to_json_is_plain_and_complete() -> None:
    single = judged_of(comparison(), Measured((0.9,)), Measured((0.1,)))
    arms = (
        Arm(name="a", published=Text.same("1 %"), measured={"error": Measured((0.1, 0.3))}, runs=("a-0", "a-1")),
        Arm(
            name="b",
            published=Text("2 % (test)", "2 % (시험)"),
            measured={"error": Measured((0.4,)), "size": exactly(7), "none": Measured(())},
        ),
    )
    text = json.dumps(finding(arms=arms, judged=(single,), failures=("why",)).to_json(), allow_nan=False)
    assert "/somewhere/private" not in text
    record = json.loads(text)
    assert record["verdict"] == "not decided at this budget"
    assert record["arms"][0]["measured"]["error"] == {
        "mean": pytest.approx(0.2),
        "std": pytest.approx(math.sqrt(0.02)),
        "values": [0.1, 0.3],
        "exact": False,
    }
    assert record["arms"][0]["runs"] == ["a-0", "a-1"]
    second = record["arms"][1]["measured"]
    assert second["error"] == {"mean": 0.4, "std": None, "values": [0.4], "exact": False}
    assert second["size"] == {"mean": 7, "std": None, "values": [7], "exact": True}
    assert second["none"] == {"mean": None, "std": None, "values": [], "exact": False}
    assert record["judged"][0]["half_width"] is None
    assert record["judged"][0]["difference"] == pytest.approx(0.8)
    assert record["judged"][0]["comparison"]["margin"] == 0.01
    assert record["judged"][0]["verdict"] == "not decided at this budget"
    assert record["summary"] == {"en": "In two sentences.", "ko": "두 문장으로."}
    assert record["caption"] == "How to read it.", "one text where both languages have the same"
    assert record["failures"] == ["why"]
    assert record["seeds"] == [0, 1]
    assert json.loads(json.dumps(finding(HOLDS).to_json()))["verdict"] == "holds"


def test_a_finding_can_be_read_back() -> None:
    infinite = judged_of(comparison(b=0.5), Measured((math.inf, 1.0)))
    arms = (
        Arm(
            name="a",
            published=NOTHING,
            measured={ERROR: Measured((math.inf, 1.0)), "size": exactly(7)},
            printed={"size": 6.5},
            runs=("a-0",),
        ),
        Arm(name="no shortcuts", published=Text("2 % (test)", "2 % (시험)"), measured={}, korean="지름길 없음"),
    )
    one = finding(HOLDS, arms=arms, judged=(infinite, judged(HOLDS)), failures=("a-1: why",), excused=True)
    changed = Text("the margin is 1 point, since ...", "기준값은 1 %p, 까닭은 ...")
    one = replace(one, rule_changed=changed, source_sha256="abc")
    one = replace(one, unlike_published=Text("fewer updates", "갱신 횟수가 적음"))
    text = json.dumps(one.to_json(), allow_nan=False)
    again = Finding.from_json(json.loads(text), Path("elsewhere"))
    assert again.directory == Path("elsewhere")
    assert json.dumps(again.to_json(), allow_nan=False) == text
    assert again.arms == one.arms
    assert (again.claim, again.summary, again.caption) == (one.claim, one.summary, one.caption)
    assert (again.source, again.rule_changed) == (Text("s", "출처"), changed)
    assert (again.quantities, again.unlike_published) == (one.quantities, one.unlike_published)
    assert again.source_sha256 == "abc"
    assert [arm.label for arm in again.arms] == [Text.same("a"), Text("no shortcuts", "지름길 없음")]
    assert again.off_published == (), "no column of the table"
    shown = replace(again, quantities=(Quantity(ERROR), Quantity("size", "")))
    assert [each.printed for each in shown.off_published] == [6.5]
    assert again.judged[1] == one.judged[1]
    assert again.judged[0].difference == math.inf
    assert math.isnan(again.judged[0].half_width)
    assert again.verdict == one.verdict


@pytest.mark.parametrize(
    "record", [None, [], {}, "x", {"name": "degradation", "claim": "of before"}, {"claim": {"en": "a", "ko": "b"}}]
)
def test_something_else_is_no_finding(record: Any) -> None:
    with pytest.raises(DamagedError, match="no Finding of this version"):
        Finding.from_json(record, Path("d"))
