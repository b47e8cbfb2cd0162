"""Options A, B and C: each comparison on both sides of its margin, and the nets for each kind of data."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_of_kinds import setting_of
from made_up import made_up, names, setting, verdict_of
from residuum.experiments.claims.shortcut_variants import IDENTITY, VARIANTS
from residuum.experiments.claims.shortcuts import CLAIM, LATER, OPTIONS, PARAMETERS, SMALL
from residuum.nets import catalog
from residuum.nets.reported import ERRORS
from residuum.records.finding import Verdict, judge

JITTER = (-0.0002, 0.0, 0.0002)


def errors(a: float, b: float, c: float, spread: float = 1.0) -> dict[str, list[float]]:
    return {net: [mean + spread * each for each in JITTER] for net, mean in zip(SMALL.values(), (a, b, c), strict=True)}


@pytest.mark.parametrize(
    ("means", "expected"),
    [
        ((0.090, 0.087, 0.084), Verdict.HOLDS),
        ((0.087, 0.090, 0.084), Verdict.DOES_NOT_HOLD),  # B worse than A
        ((0.090, 0.084, 0.087), Verdict.DOES_NOT_HOLD),  # C worse than B
        ((0.120, 0.090, 0.084), Verdict.DOES_NOT_HOLD),  # A far behind: projections are essential
        ((0.087, 0.087, 0.087), Verdict.NOT_DECIDED),
    ],
)
def test_verdict(tmp_path: Path, means: tuple[float, float, float], expected: Verdict) -> None:
    assert verdict_of(CLAIM, tmp_path, errors(*means)) is expected


def test_the_papers_differences_within_a_usual_spread_decide_nothing(tmp_path: Path) -> None:
    found = CLAIM.measure(made_up(tmp_path, errors(0.0903, 0.0852, 0.0819, spread=15)))
    arms = {arm.name: arm.measured for arm in found.arms}
    assert [judge(each, arms).verdict for each in found.comparisons[:2]] == [Verdict.NOT_DECIDED] * 2


def test_summary_and_arms(tmp_path: Path) -> None:
    found = CLAIM.measure(made_up(tmp_path, errors(0.084, 0.087, 0.090)))
    assert "A, B, C, where the paper has C, B, A" in found.summary.en
    assert "0.60 points below" in found.summary.en
    assert "0.60 %p 낮습니다" in found.summary.ko
    assert "12.22 %" in found.summary.en
    assert "12.22 %" in found.summary.ko
    assert [arm.label.ko for arm in found.arms] == ["옵션 A", "옵션 B", "옵션 C"]
    counted = [arm.measured[PARAMETERS.name].mean for arm in found.arms]
    a, b, c = counted
    assert a == 269_722
    assert b - a == 16 * 32 + 32 * 64 + 2 * (32 + 64)
    assert c - b == 3 * (16**2 + 2 * 16) + 2 * (32**2 + 2 * 32) + 2 * (64**2 + 2 * 64)


def test_published_errors_are_those_of_the_catalog() -> None:
    table = ERRORS["ImageNet top-1 error %, 10 crops (He et al. 2015)"]
    for option, net in (("A", "resnet34_a"), ("B", "resnet34"), ("C", "resnet34_c")):
        assert 100 * OPTIONS[option].top1 == pytest.approx(table[net])
        assert OPTIONS[option].published.startswith(catalog.entry(net).published.error[:5])


def test_what_was_published_later_is_what_the_other_claim_cites() -> None:
    for name in (IDENTITY, "1x1 convolution"):
        assert f"{VARIANTS[name].published.en} %" in LATER.en
        assert f"{VARIANTS[name].published.en} %" in LATER.ko


def test_plan() -> None:
    assert names(CLAIM.plan(setting())) == [*SMALL.values()]
    assert names(CLAIM.plan(setting_of("folder", "quick"))) == ["resnet34_a", "resnet34", "resnet34_c"]
    assert len(CLAIM.plan(setting(seeds=3))) == 9


def test_a_folder_is_judged_by_its_validation_error(tmp_path: Path) -> None:
    folder = {"resnet34_a": [0.3, 0.301, 0.302], "resnet34": [0.29, 0.291, 0.292], "resnet34_c": [0.28, 0.281, 0.282]}
    found = CLAIM.measure(made_up(tmp_path, folder, setting_of("folder", "quick")))
    assert {each.quantity for each in found.comparisons} == {"val error"}
    assert "CIFAR-10" not in found.summary.en
