"""The degradation experiment: its rule can come out either way, its plan is reused, failures are told."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import made_up
from residuum.errors import InputError, TrainingError
from residuum.experiments import setting as module
from residuum.experiments.claims.degradation import CLAIM
from residuum.experiments.reproduce import SilentReproduction, reproduce
from residuum.experiments.setting import Budget, Setting
from residuum.nets import blocks
from residuum.records.finding import Verdict
from residuum.records.text import Text
from residuum.training.recipes import digits


def budget_of(**changes: Any) -> Budget:
    """So many updates of 16 digits."""
    return Budget(
        lambda net: replace(digits(), epochs=None, batch_size=16, **changes), Text.same(f"{changes} of 16 images")
    )


@pytest.fixture
def tiny_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(module.BUDGETS, "grey", {"quick": budget_of(steps=3)})


GOOD: dict[str, Sequence[float]] = {
    "plain20": (0.05, 0.06, 0.05),
    "plain56": (0.30, 0.27, 0.34),
    "resnet20": (0.04, 0.05, 0.05),
    "resnet56": (0.01, 0.01, 0.01),
}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, Verdict.HOLDS),
        ({"plain56": (0.080, 0.081, 0.082)}, Verdict.HOLDS),  # 2.8 points above plain20, certainly more than 1
        ({"plain56": (0.065, 0.066, 0.067)}, Verdict.NOT_DECIDED),  # 1.3 points, spread of plain20 0.6
        ({"plain56": (0.05, 0.06, 0.4)}, Verdict.NOT_DECIDED),  # a spread as large as the difference
        ({"plain56": (0.052, 0.053, 0.054)}, Verdict.NOT_DECIDED),  # as good as plain20, within the spread of that
        ({"plain20": (0.05, 0.05, 0.05), "plain56": (0.05, 0.05, 0.05)}, Verdict.DOES_NOT_HOLD),  # no degradation
        ({"plain56": (0.02, 0.02, 0.02)}, Verdict.DOES_NOT_HOLD),  # the opposite
        ({"resnet56": (0.31, 0.28, 0.35)}, Verdict.DOES_NOT_HOLD),  # no cure
        ({"resnet56": (0.04, 0.05, 0.05)}, Verdict.NOT_DECIDED),  # no better than resnet20, 1 point within the spread
        ({"resnet20": (0.02, 0.02, 0.02), "resnet56": (0.025, 0.025, 0.025)}, Verdict.HOLDS),  # within the margin
        ({"resnet20": (0.02, 0.02, 0.02), "resnet56": (0.035, 0.035, 0.035)}, Verdict.DOES_NOT_HOLD),  # beyond it
    ],
)
def test_the_verdict_follows_from_the_training_errors(
    tmp_path: Path, change: dict[str, Sequence[float]], expected: Verdict
) -> None:
    assert made_up.verdict_of(CLAIM, tmp_path, GOOD | change) == expected


def test_it_is_the_training_error_that_is_judged(tmp_path: Path) -> None:
    found = CLAIM.measure(made_up.made_up(tmp_path, GOOD, beyond=0.3))
    assert {each.quantity for each in found.comparisons} == {"training error"}
    plain = found.arms[0].measured
    assert plain["training error"].mean == pytest.approx(0.16 / 3)
    assert plain["test error"].mean == plain["val error"].mean == pytest.approx(0.16 / 3 + 0.3)
    assert "plain20 ends at a training error of 5.3 %" in found.summary.en


def test_the_summary_says_what_came_out(tmp_path: Path) -> None:
    found = CLAIM.measure(made_up.made_up(tmp_path, GOOD))
    for expected in ("plain20 ends at a training error of 5.3 %", "plain56 at 30.3 %", "resnet56 at 1.0 %"):
        assert expected in found.summary.en
    for expected in ("학습이 끝났을 때 plain20 신경망의 학습 오차는 5.3 %", "plain56", "30.3 %"):
        assert expected in found.summary.ko
    assert found.drawing.png.startswith(b"\x89PNG")
    assert [arm.published.en for arm in found.arms] == [
        "figure only", "figure only", "8.75 (CIFAR-10, test)", "6.97 (CIFAR-10, test)",
    ]  # fmt: skip


def test_the_plan_is_both_families_at_both_depths() -> None:
    asked = made_up.setting(seeds=2)
    assert made_up.names(CLAIM.plan(asked)) == ["plain20", "plain56", "resnet20", "resnet56"]
    assert [each.seed for each in CLAIM.plan(asked)] == [0, 0, 0, 0, 1, 1, 1, 1]
    other = made_up.setting(seeds=1, depths=(32, 44))
    assert made_up.names(CLAIM.plan(other)) == ["plain32", "plain44", "resnet32", "resnet44"]


def test_the_deepest_of_several_are_judged_against_the_shallowest(tmp_path: Path) -> None:
    between: dict[str, Sequence[float]] = {"plain32": (0.1, 0.1, 0.1), "resnet32": (0.05, 0.05, 0.05)}
    asked = made_up.setting(depths=(20, 32, 56))
    assert made_up.names(CLAIM.plan(asked)) == [
        f"{kind}{depth}" for kind in ("plain", "resnet") for depth in (20, 32, 56)
    ]
    found = CLAIM.measure(made_up.made_up(tmp_path, GOOD | between, asked))
    assert [(each.a, each.b) for each in found.comparisons] == [
        ("plain56", "plain20"), ("resnet56", "resnet20"), ("plain56", "resnet56"),
    ]  # fmt: skip
    assert len(found.arms) == 6


def test_photographs_are_for_the_nets_of_imagenet(image_folder: Path) -> None:
    from residuum.data.open import open_dataset

    asked = Setting(budget="quick", data="folder", dataset=open_dataset(image_folder), seeds=(0,))
    assert made_up.names(CLAIM.plan(asked)) == ["plain18", "plain34", "resnet18", "resnet34"]


def test_it_writes_finding_page_figure_and_ledger_and_reuses_runs(tmp_path: Path, tiny_budget: None) -> None:
    started: list[str] = []

    class Listener(SilentReproduction):
        def started(self, title: str, step: int, steps: int, batch_size: int) -> None:
            started.append(title)

    out = tmp_path / "d"
    finding = reproduce("degradation", "digits", seeds=2, depths=(20, 32), out=out, observer=Listener())
    assert len(started) == 8
    arms = {arm.name: arm.measured["training error"].values for arm in finding.arms}
    assert arms["plain20"] != arms["resnet20"], "unlike nets whose shortcuts are cut"
    visible = {path.name for path in out.iterdir() if not path.name.startswith(".")}
    ledger = {f"ledger{language}.{kind}" for language in ("", ".ko") for kind in ("md", "html")}
    assert visible == {"runs", "degradation", "reproduction.json"} | ledger
    assert {path.name for path in (out / "degradation").iterdir()} == {"finding.json", "report.html", "figure.png"}
    record = json.loads((out / "degradation" / "finding.json").read_text())
    assert record["verdict"] == str(finding.verdict)
    assert [arm["name"] for arm in record["arms"]] == ["plain20", "plain32", "resnet20", "resnet32"]
    assert all(len(arm["measured"]["training error"]["values"]) == 2 for arm in record["arms"])
    assert len(record["runs"]) == 8
    assert record["seconds"] == pytest.approx(sum(run["seconds"] for run in record["runs"].values()))
    page = (out / "degradation" / "report.html").read_text()
    assert "<svg" in page
    assert "residuum reproduce degradation --budget quick --data digits --depths 20 32 --seeds 2" in page
    assert str(tmp_path) not in json.dumps(record)
    reproduce("degradation", "digits", seeds=3, depths=(20, 32), out=out, observer=Listener())
    assert len(started) == 12, "only the third seed is new"


def test_runs_of_another_recipe_are_not_reused(
    tmp_path: Path, tiny_budget: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    reproduce("degradation", "digits", seeds=1, depths=(20, 32), out=tmp_path / "d")
    monkeypatch.setitem(module.BUDGETS, "grey", {"quick": budget_of(steps=4)})
    with pytest.raises(InputError, match=r"another recipe or other data\. Try: another --out"):
        reproduce("degradation", "digits", seeds=1, depths=(20, 32), out=tmp_path / "d")


def test_where_every_run_fails_the_first_reason_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(module.BUDGETS, "grey", {"quick": budget_of(steps=30, learning_rate=1e30)})
    with pytest.raises(TrainingError, match="every run failed, the first one so: plain20-seed0: "):
        reproduce("degradation", "digits", seeds=1, depths=(20, 32), out=tmp_path / "d")
    assert "Trainings that failed" in (tmp_path / "d" / "degradation" / "report.html").read_text()
    assert not (tmp_path / "d" / "degradation" / "figure.png").exists()


def test_cut_shortcuts_turn_the_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sabotage: with its shortcuts cut the residual net is the plain one, bit for bit, and cures nothing.

    At the whole quick budget, at which nets of both depths end without training errors to speak of.
    """
    monkeypatch.setattr(blocks, "shortcut", lambda place, variant: None)
    finding = reproduce("degradation", "digits", seeds=2, depths=(20, 32), out=tmp_path / "d")
    arms = {arm.name: arm.measured["training error"].values for arm in finding.arms}
    assert arms["plain20"] == arms["resnet20"]
    assert arms["plain32"] == arms["resnet32"]
    cure = finding.judged[2]
    assert cure.difference == 0
    assert cure.verdict is Verdict.DOES_NOT_HOLD
    assert finding.verdict is Verdict.DOES_NOT_HOLD


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seeds": 0}, "seeds: must be at least 1 and at most 1000, got 0"),
        ({"depths": (56, 20)}, "Try: --depths 20 56"),
        ({"depths": (20, 21)}, "there is no plain21"),
        ({"depths": (20, 20)}, "Try: --depths 20 56"),
        ({"depths": (56, 20, 32)}, "Try: --depths 20 32 56"),
        ({"depths": (20,)}, "must be two or more"),
        ({"depths": (20, 34)}, "of two families"),
        ({"budget": "pape"}, "budget: 'pape' is not known"),
        ({"data": "digit"}, "Try: digits"),
    ],
)
def test_bad_arguments_write_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: dict[str, object], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        reproduce("degradation", **arguments)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_an_unknown_claim_names_the_nearest() -> None:
    with pytest.raises(InputError, match="Try: degradation"):
        reproduce("degredation")
