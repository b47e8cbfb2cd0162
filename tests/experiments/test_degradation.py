"""The degradation experiment: its rule can come out either way, its plan is reused, failures are told."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from residuum.errors import InputError, TrainingError
from residuum.experiments import degradation as module
from residuum.experiments.claims import reproduce
from residuum.experiments.degradation import Budget, conclude
from residuum.experiments.plan import Executed, SilentPlan
from residuum.nets import blocks
from residuum.records.finding import Verdict
from residuum.run import Run
from residuum.training.recipes import digits

NETS = ["plain20", "plain56", "resnet20", "resnet56"]


@pytest.fixture
def tiny_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    brief = Budget(lambda net: replace(digits(), epochs=None, steps=3, batch_size=16), "3 updates")
    monkeypatch.setitem(module.BUDGETS, "grey", {"quick": brief})


def made_up(directory: Path, training: dict[str, list[float]]) -> Executed:
    """Finished runs with these training errors."""
    runs = {}
    for net, errors in training.items():
        for seed, error in enumerate(errors):
            path = directory / f"{net}-seed{seed}"
            path.mkdir(parents=True)
            result = {"train": {"error": error}, "test": {"error": error}, "seconds": 1.0}
            (path / "result.json").write_text(json.dumps(result))
            (path / "environment.json").write_text("{}")
            runs[path.name] = Run(path)
    return Executed(runs, ())


def verdict(directory: Path, training: dict[str, list[float]]) -> Verdict:
    return conclude(
        made_up(directory, training), NETS, seeds=3, budget="made up", recipe=digits(), directory=directory
    ).verdict


GOOD = {
    "plain20": [0.05, 0.06, 0.05],
    "plain56": [0.3, 0.27, 0.34],
    "resnet20": [0.04, 0.05, 0.05],
    "resnet56": [0.01] * 3,
}


def test_the_papers_picture_holds(tmp_path: Path) -> None:
    assert verdict(tmp_path, GOOD) is Verdict.HOLDS


@pytest.mark.parametrize(
    "change",
    [
        {"plain56": [0.05, 0.04, 0.05], "resnet56": [0.01, 0.01, 0.01]},  # no degradation
        {"resnet56": [0.31, 0.22, 0.38]},  # no cure
    ],
)
def test_the_opposite_does_not_hold(tmp_path: Path, change: dict[str, list[float]]) -> None:
    assert verdict(tmp_path, GOOD | change) is Verdict.DOES_NOT_HOLD


def test_a_spread_as_large_as_the_difference_decides_nothing(tmp_path: Path) -> None:
    assert verdict(tmp_path, GOOD | {"plain56": [0.05, 0.06, 0.4]}) is Verdict.NOT_DECIDED


def test_it_writes_finding_page_and_figure_and_reuses_runs(tmp_path: Path, tiny_budget: None) -> None:
    started: list[str] = []

    class Listener(SilentPlan):
        def started(self, title: str, step: int, steps: int, batch_size: int) -> None:
            started.append(title)

    finding = reproduce("degradation", "digits", seeds=2, depths=(20, 32), out=tmp_path / "d", observer=Listener())
    assert len(started) == 8
    assert {path.name for path in (tmp_path / "d").iterdir()} == {"runs", "finding.json", "report.html", "figure.png"}
    record = json.loads((tmp_path / "d" / "finding.json").read_text())
    assert record["verdict"] == str(finding.verdict)
    assert [arm["name"] for arm in record["arms"]] == ["plain20", "plain32", "resnet20", "resnet32"]
    assert all(len(arm["measured"]["training error"]["values"]) == 2 for arm in record["arms"])
    page = (tmp_path / "d" / "report.html").read_text()
    assert "<svg" in page
    assert "residuum reproduce degradation --data digits --depths 20 32 --seeds 2 --budget quick" in page
    assert str(tmp_path) not in json.dumps(record)
    reproduce("degradation", "digits", seeds=3, depths=(20, 32), out=tmp_path / "d", observer=Listener())
    assert len(started) == 12, "only the third seed is new"


def test_runs_of_another_recipe_are_not_reused(
    tmp_path: Path, tiny_budget: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    reproduce("degradation", "digits", seeds=1, depths=(20, 32), out=tmp_path / "d")
    other = Budget(lambda net: replace(digits(), epochs=None, steps=4, batch_size=16), "4 updates")
    monkeypatch.setitem(module.BUDGETS, "grey", {"quick": other})
    with pytest.raises(InputError, match=r"another recipe or other data\. Try: another --out"):
        reproduce("degradation", "digits", seeds=1, depths=(20, 32), out=tmp_path / "d")


def test_where_every_run_fails_the_first_reason_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wild = Budget(lambda net: replace(digits(), epochs=None, steps=30, batch_size=16, learning_rate=1e30), "wild")
    monkeypatch.setitem(module.BUDGETS, "grey", {"quick": wild})
    with pytest.raises(TrainingError, match="every run failed"):
        reproduce("degradation", "digits", seeds=1, depths=(20, 32), out=tmp_path / "d")


def test_cut_shortcuts_make_the_residual_net_degrade_like_the_plain_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sabotage: with its shortcuts cut the residual net is the plain one, bit for bit, and the cure cannot hold."""
    brief = Budget(lambda net: replace(digits(), epochs=None, steps=3, batch_size=16), "3 updates")
    monkeypatch.setitem(module.BUDGETS, "grey", {"quick": brief})
    monkeypatch.setattr(blocks, "shortcut", lambda place, variant: None)
    finding = reproduce("degradation", "digits", seeds=2, depths=(20, 32), out=tmp_path / "d")
    arms = {arm.name: arm.measured["training error"].values for arm in finding.arms}
    assert arms["plain20"] == arms["resnet20"]
    assert arms["plain32"] == arms["resnet32"]
    assert finding.verdict is not Verdict.HOLDS


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seeds": 0}, "seeds: must be at least 1, got 0"),
        ({"depths": (56, 20)}, "Try: --depths 20 56"),
        ({"depths": (20, 21)}, "there is no plain21"),
        ({"depths": (20, 20)}, "Try: --depths 20 56"),
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
