"""The course is read from what trainings record; the verdict on both sides."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from made_up import made_up, names, setting, verdict
from residuum.experiments.claims.residual_to_zero import (
    ALL,
    CLAIM,
    DEEP,
    EARLY,
    LATE,
    NETS,
    SHALLOW,
    Course,
    conclude,
    course,
)
from residuum.experiments.evidence import Evidence
from residuum.records.finding import Verdict
from tiny_evidence import checked, tiny_net, undrawn

BLOCKS = ("layer1.0", "layer1.1", "layer2.1")


def record(epoch: float, ratios: tuple[float, ...]) -> dict[str, object]:
    layers = {"residual_ratio": dict(zip(BLOCKS, ratios, strict=True)) | {"layer2.0": 99.0}}
    return {"step": round(10 * epoch), "epoch": epoch, "train_error": 0.1, "layers": layers}


def test_a_course_has_the_blocks_that_are_asked_for_from_the_first_whole_epoch_on() -> None:
    early = record(0.1, (9.0, 9.0, 9.0))
    found = course([early, record(1, (0.8, 0.7, 0.3)), record(2, (0.4, 0.3, 0.2))], BLOCKS)
    assert found == Course([1, 2], [[0.8, 0.7, 0.3], [0.4, 0.3, 0.2]])
    assert found.over(ALL) == pytest.approx([0.6, 0.3])
    assert found.over(EARLY) == pytest.approx([0.8, 0.4])
    assert found.over(LATE) == pytest.approx([0.3, 0.2])


def courses(first: list[float], last: list[float]) -> list[Course]:
    return [Course([1, 30], [[a] * 3, [b] * 3]) for a, b in zip(first, last, strict=True)]


FALLS = courses([0.8, 0.9, 0.85], [0.41, 0.44, 0.42])
FALLS_LOWER = courses([0.8, 0.9, 0.85], [0.1, 0.15, 0.12])


@pytest.mark.parametrize(
    ("shallow", "deep", "expected", "said"),
    [
        (FALLS, FALLS_LOWER, Verdict.HOLDS, "So it becomes smaller while a net is trained. At the end it is smaller"),
        (
            FALLS,
            courses([0.8, 0.9, 0.85], [0.6, 0.65, 0.62]),
            Verdict.DOES_NOT_HOLD,
            "At the end it is larger in the deeper net.",
        ),
        (
            courses([0.4, 0.45, 0.42], [0.8, 0.9, 0.85]),
            FALLS_LOWER,
            Verdict.DOES_NOT_HOLD,
            "does not become smaller by more than 5 points in both",
        ),
        (
            courses([0.2, 0.25, 0.2], [0.8, 0.9, 0.85]),
            courses([0.1, 0.1, 0.1], [0.3, 0.3, 0.3]),
            Verdict.DOES_NOT_HOLD,
            "So it grows",
        ),
        (
            FALLS,
            courses([0.8, 0.9, 0.85], [0.1, 0.9, 0.3]),
            Verdict.NOT_DECIDED,
            "trained is not clear at this budget.",
        ),
        (FALLS, courses([0.9, 0.9, 0.9], [0.3, 0.4, 0.5]), Verdict.NOT_DECIDED, "the end is not clear at this budget."),
        (
            FALLS,
            courses([0.9, 0.9, 0.9], [0.42, 0.43, 0.42]),
            Verdict.DOES_NOT_HOLD,
            "not smaller in the deeper net by",
        ),
    ],
)
def test_it_must_fall_in_both_and_be_lower_in_the_deeper(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    shallow: list[Course],
    deep: list[Course],
    expected: Verdict,
    said: str,
) -> None:
    undrawn(monkeypatch, conclude)
    evidence = made_up(tmp_path, {f"{net},layer_statistics=True": [0.1] * 3 for net in NETS})
    conclusion = conclude(evidence, {SHALLOW: shallow, DEEP: deep})
    assert verdict(conclusion) is expected
    assert said in conclusion.summary.en
    assert all(len(arm.runs) == 3 for arm in conclusion.arms)


def test_it_reads_finished_trainings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evidence = made_up(tmp_path, {f"{net},layer_statistics=True": [0.1] * 2 for net in NETS})
    lines = [record(1, (0.8, 0.7, 0.3)), record(2, (0.4, 0.3, 0.2))]
    for run in evidence.done.runs.values():
        (run.path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    monkeypatch.setattr(Evidence, "untrained", lambda self, net, seed, **changes: tiny_net(net, seed))
    conclusion = checked(CLAIM.measure(evidence))
    assert [arm.measured[ALL.name].mean for arm in conclusion.arms] == pytest.approx([0.6, 0.3, 0.6, 0.3])


def test_it_plans_trainings_that_are_watched() -> None:
    plan = CLAIM.plan(setting(1))
    assert names(plan) == [f"{net},layer_statistics=True" for net in NETS]
    assert all(planned.recipe.layer_statistics for planned in plan)
