"""The benchmark of `fast_cifar`: its arms, its tables from made-up rows, and going on where it was stopped."""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from residuum.training.recipes import recipe

ROOT = Path(__file__).parents[1]


def loaded(monkeypatch: pytest.MonkeyPatch, path: Path) -> ModuleType:
    monkeypatch.syspath_prepend(str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, path.stem, module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = loaded(monkeypatch, ROOT / "benchmarks" / "fast_cifar.py")
    monkeypatch.setattr(module, "commit", lambda: "abc")
    return module


def given(out: Path | None, **changes: Any) -> argparse.Namespace:
    return argparse.Namespace(**{"out": out, "any_commit": False, "only": None, "at_once": 1} | changes)


def trainings(script: ModuleType, arms: tuple[str, ...], seeds: int) -> list[Any]:
    found = script.arms(2.0)
    return [
        script.Training(name, found[name], seed, 1, "cpu", Path("shared")) for seed in range(seeds) for name in arms
    ]


def row_of(training: Any, accuracy: float, seconds: float = 10.0) -> dict[str, Any]:
    return training.asked() | {"accuracy": accuracy, "seconds": seconds, "peak_bytes": 2**30, "images": 5000}


def test_each_arm_lacks_one_ingredient(script: ModuleType) -> None:
    arms = script.arms(None)
    whole = arms.pop("fast_cifar").to_json()
    assert whole["holdout"] == 0.1
    assert whole | {"holdout": 0.0} == recipe("fast_cifar").to_json()
    others = arms.pop("cifar")
    assert (others.holdout, others.epochs, others.learning_rate) == (0.1, whole["epochs"], 0.2)
    changed = {name: [key for key in whole if each.to_json()[key] != whole[key]] for name, each in arms.items()}
    assert "orthogonal" in changed.pop("SGD in place of Muon")  # and perhaps the rate, which is that of `cifar`
    assert sorted(key for keys in changed.values() for key in keys) == [
        "augmentation", "augmentation", "batch_size", "growing", "label_smoothing", "schedule"]  # fmt: skip
    assert all(len(keys) == 1 for keys in changed.values())
    assert {each.epochs for each in script.arms(3.0).values()} == {3.0}


def test_the_table_by_hand(script: ModuleType) -> None:
    all_of = trainings(script, ("fast_cifar", "batches of 128"), 2)
    rows = [row_of(each, value, seconds) for each, value, seconds in
            zip(all_of, (0.90, 0.89, 0.92, 0.88), (10, 20, 30, 50), strict=True)]  # fmt: skip
    whole, other = script.table(rows)
    assert (whole["name"], whole["seeds"], whole["seconds"]) == ("fast_cifar", [0, 1], 20)
    assert whole["val_accuracy"] == {"mean": pytest.approx(0.91), "std": pytest.approx(0.02 / 2**0.5)}
    assert "difference" not in whole
    assert other["difference"] == pytest.approx(-0.025)
    # Welch: squared errors 1e-4 and 2.5e-5, so 1.5625e-8 / 1.0625e-8 = 1.4706 degrees of freedom.
    from scipy.stats import t

    assert other["half_width"] == pytest.approx(t.ppf(0.975, 25 / 17) * (1.25e-4) ** 0.5)
    (alone,) = script.table(rows[:1])
    assert alone["val_accuracy"] == {"mean": 0.90, "std": None}
    assert script.table(rows[:2])[1]["half_width"] is None


def test_it_writes_after_each_training_and_goes_on(script: ModuleType, tmp_path: Path) -> None:
    out, made = tmp_path / "record.json", []
    all_of = trainings(script, ("fast_cifar", "cifar"), 2)

    def measure(training: Any) -> dict[str, Any]:
        if len(made) == 2:
            raise SystemExit("a training failed")
        made.append((training.arm, training.seed))
        return row_of(training, 0.9)

    work = script.Work(all_of, measure, script.ablation_record)
    with pytest.raises(SystemExit, match="a training failed"):
        script.work_through(work, given(out))
    record = json.loads(out.read_text())
    assert [(row["arm"], row["seed"]) for row in record["rows"]] == [("fast_cifar", 0), ("cifar", 0)]
    assert not record["complete"]
    made.clear()
    script.work_through(work, given(out, only=["cifar"]))
    assert made == [("cifar", 1)]
    script.work_through(work, given(out))
    assert made == [("cifar", 1), ("fast_cifar", 1)]
    record = json.loads(out.read_text())
    assert [(row["arm"], row["seed"]) for row in record["rows"]] == [(each.arm, each.seed) for each in all_of]
    assert record["complete"]
    assert (record["seeds"], record["environment"]["device"], record["environment"]["threads"]) == ([0, 1], "cpu", 1)


def test_a_file_of_other_trainings_is_left_alone(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "record.json"
    all_of = trainings(script, ("fast_cifar",), 2)
    work = script.Work(all_of, lambda each: row_of(each, 0.9), script.ablation_record)
    script.work_through(work, given(out))
    before = out.read_text()
    fewer = script.Work(all_of[:1], work.measure, work.record)
    with pytest.raises(SystemExit, match="holds fast_cifar, seed 1, which is not asked for"):
        script.work_through(fewer, given(out))
    monkeypatch.setattr(script, "commit", lambda: "def")
    with pytest.raises(SystemExit, match="another file, or --any-commit"):
        script.work_through(work, given(out))
    assert len(script.work_through(work, given(out, any_commit=True))) == 2
    assert out.read_text() == before
    out.write_text("{")
    with pytest.raises(SystemExit, match="is no record of this script"):
        script.work_through(work, given(out))


@pytest.mark.parametrize("at_once", [1, 2])
def test_after_a_failure_nothing_more_begins(script: ModuleType, tmp_path: Path, at_once: int) -> None:
    begun = []

    def measure(training: Any) -> dict[str, Any]:
        begun.append(training.seed)
        time.sleep(0.1)
        if training.seed == 0:
            raise SystemExit("a training failed")
        return row_of(training, 0.9)

    work = script.Work(trainings(script, ("fast_cifar",), 6), measure, script.ablation_record)
    with pytest.raises(SystemExit, match="a training failed"):
        script.work_through(work, given(tmp_path / "record.json", at_once=at_once))
    assert len(begun) < 6
    if at_once == 2:
        assert 1 in [row["seed"] for row in json.loads((tmp_path / "record.json").read_text())["rows"]]


@pytest.mark.parametrize(
    ("accuracies", "seconds", "verdict"),
    [
        ((0.913, 0.911, 0.914), (600, 610, 620), "holds"),
        ((0.913, 0.911, 0.912), (600, 610, 620), "does not hold"),
        ((0.913, 0.911, 0.914), (600, 610, 721), "does not hold"),
        ((0.92, 0.92), (600, 610), "not complete"),
    ],
)
def test_the_verdict(
    script: ModuleType, accuracies: tuple[float, ...], seconds: tuple[float, ...], verdict: str
) -> None:
    all_of = trainings(script, ("fast_cifar",), 3)
    rows = [row_of(*each) for each in zip(all_of[: len(seconds)], accuracies, seconds, strict=True)]
    record = script.final_record(rows, all_of)
    assert (record["verdict"], record["holds"]) == (verdict, verdict == "holds")
    assert (record["published"], record["limit_seconds"], record["seeds"]) == (0.9125, 720, [0, 1, 2])


def test_what_the_readme_says_of_them(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    render = loaded(monkeypatch, ROOT / "results" / "render.py")
    all_of = trainings(script, ("fast_cifar", "cifar"), 2)
    rows = [row_of(each, value) for each, value in zip(all_of, (0.90, 0.88, 0.92, 0.89), strict=True)]
    lines = render.ablation_table(script.ablation_record(rows, all_of)).splitlines()
    assert lines[2] == "| fast_cifar | 91.00 ± 1.41 % |  | 10 |"
    assert lines[3].startswith("| cifar | 88.50 ± 0.71 % | -2.50 ± ")
    assert "2 seeds on 5,000 training images held out, 2 epochs each" in lines[-1]
    assert "| cifar | 88.00 % | -2.00 | 10 |" in render.ablation_table(script.ablation_record(rows[:2], all_of))
    finals = [row_of(each, 0.913, 700) for each in trainings(script, ("fast_cifar",), 3)]
    table = render.fast_table(script.final_record(finals, trainings(script, ("fast_cifar",), 3)))
    assert "| 1 | 91.30 % | 700 | 1,024 MiB |" in table
    assert "91.30 ± 0.00 % of 5,000 test images" in table
    assert "limit 12 minutes a seed: **holds**" in table


def test_a_process_is_measured_and_its_failure_ends_the_script(script: ModuleType) -> None:
    said, seconds, peak = script.measured([sys.executable, "-c", "x = bytes(5 << 24); print(len(x))"], {})
    assert said.strip() == str(5 << 24)
    assert 0 < seconds < 60
    assert 5 << 24 < peak < 1 << 34  # what this process holds counts as well, until the other begins
    with pytest.raises(SystemExit, match="exit code 3"):
        script.measured([sys.executable, "-c", "raise SystemExit(3)"], {})
