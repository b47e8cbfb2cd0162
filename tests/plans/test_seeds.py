"""Several seeds as one plan: ordinary Runs, means with their spread, reuse, interruption, refusals."""

from __future__ import annotations

import json
import os
import signal
import statistics
from pathlib import Path
from typing import Any

import pytest

from residuum.errors import DamagedError, InputError, Interrupted, TrainingError
from residuum.nets.resnet import ResNet
from residuum.plans import one_by_one
from residuum.plans.plan import SilentPlan
from residuum.plans.seeds import is_plan_of_seeds, resume_seeds, train_seeds
from residuum.plans.seeds_record import SEEDS_FILE, Seeds
from residuum.run import Run
from residuum.training import precision
from residuum.training.recipe import Execution
from residuum.training.recipes import digits
from residuum.training.start import train

BRIEF = {"steps": 4, "batch_size": 100}
ONE = Execution(threads=1)


class Listener(SilentPlan):
    """Counts trainings; sends SIGTERM to this process after some step of a seed."""

    def __init__(self, *, seed: int = -1, step: int = -1) -> None:
        self.seed, self.step = seed, step
        self.titles: list[str] = []

    def started(self, title: str, step: int, steps: int, batch_size: int) -> None:
        self.titles.append(title)

    def stepped(self, step: int, loss: float) -> None:
        if step == self.step and self.titles[-1].endswith(f"seed {self.seed}"):
            os.kill(os.getpid(), signal.SIGTERM)


def brief(out: Path, **given: Any) -> Seeds:
    values = {"seeds": 2, "changes": BRIEF, "execution": ONE, "out": out}
    return train_seeds("resnet8_narrow", "digits", **(values | given))


def weights(seeds: Seeds) -> dict[int, str]:
    return {row["seed"]: row["weights_sha256"] for row in seeds.to_json()["runs"]}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Seeds:
    return brief(tmp_path_factory.mktemp("seeds") / "plan", seeds=3)


def test_each_seed_is_an_ordinary_run(finished: Seeds, tmp_path: Path) -> None:
    alone = train("resnet8_narrow", "digits", changes=BRIEF, seed=1, out=tmp_path / "alone", execution=ONE)
    run = Run.open(finished.directory / "seed1")
    assert run.config == alone.config
    assert run.result is not None
    assert run.result["weights_sha256"] == alone.result["weights_sha256"]  # type: ignore[index]
    assert len(set(weights(finished).values())) == 3


def test_the_record_holds_every_seed_and_the_sample_standard_deviation(finished: Seeds) -> None:
    record = json.loads((finished.directory / SEEDS_FILE).read_text())
    results = [Run(finished.directory / f"seed{seed}").result or {} for seed in range(3)]
    errors = [result["test"]["error"] for result in results]
    assert record["mean"]["test error"]["values"] == errors
    assert record["mean"]["test error"]["mean"] == pytest.approx(sum(errors) / 3)
    assert record["mean"]["test error"]["std"] == pytest.approx(statistics.stdev(errors))
    assert record["mean"]["val loss"]["mean"] == pytest.approx(statistics.fmean(r["val"]["loss"] for r in results))
    assert record["mean"]["seconds"]["values"] == [result["seconds"] for result in results]
    assert [row["weights_sha256"] for row in record["runs"]] == [result["weights_sha256"] for result in results]
    assert (record["net"], record["data"], record["recipe"]["name"]) == ("resnet8_narrow", "digits", "digits")
    assert (record["seeds"], record["finished"], record["failed"]) == ([0, 1, 2], 3, [])
    assert record == json.loads(json.dumps(finished.to_json()))


def test_the_page_shows_the_curves_and_every_seed(finished: Seeds) -> None:
    page = (finished.directory / "report.html").read_text()
    assert "<svg" in page
    assert "resnet8_narrow on digits, 3 seeds" in page
    for sha256 in weights(finished).values():
        assert sha256[:12] in page
    error = finished.measured["test error"]
    assert f"{100 * error.mean:.2f} ± {100 * error.std:.2f} %" in page
    assert (finished.directory / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_again_trains_nothing_and_more_seeds_only_the_new_ones(tmp_path: Path) -> None:
    listener = Listener()
    first = brief(tmp_path / "p", seeds=1, seed=5, observer=listener)
    assert first.to_json()["mean"]["test error"]["std"] is None
    before = weights(first)
    assert weights(brief(tmp_path / "p", seeds=1, seed=5, observer=listener)) == before
    assert len(listener.titles) == 1
    grown = brief(tmp_path / "p", seeds=1, seed=4, observer=listener)
    assert len(listener.titles) == 2
    assert grown.config.seeds == (4, 5), "what was there is not left out"
    assert weights(grown)[5] == before[5]


def test_a_signal_saves_and_the_rest_ends_with_the_same_bits(finished: Seeds, tmp_path: Path) -> None:
    out = tmp_path / "p"
    with pytest.raises(Interrupted, match=rf"1 of 3 seeds finished. Try: residuum resume {out}$") as caught:
        brief(out, seeds=3, observer=Listener(seed=1, step=2))
    assert caught.value.exit_code == 143
    record = json.loads((out / SEEDS_FILE).read_text())
    assert [row["state"] for row in record["runs"]] == ["finished", "not finished", "not begun"]
    assert Run(out / "seed1").newest_checkpoint()[0] == 2
    listener = Listener()
    assert weights(resume_seeds(out, observer=listener)) == weights(finished)
    assert [title[-1] for title in listener.titles] == ["1", "2"]


def test_the_threads_of_the_first_call_are_those_of_the_next(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        brief(tmp_path / "p", observer=Listener(seed=0, step=1))
    resume_seeds(tmp_path / "p")
    assert [Run(tmp_path / "p" / f"seed{seed}").environment["threads"] for seed in (0, 1)] == [1, 1]


def test_a_failed_seed_is_counted_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(planned: Any, *given: Any) -> Run:
        if planned.seed == 1:
            raise TrainingError("step 3: the loss is nan")
        return make(planned, *given)

    make = one_by_one.make
    monkeypatch.setattr(one_by_one, "make", failing)
    seeds = brief(tmp_path / "p", seeds=3)
    record = json.loads((tmp_path / "p" / SEEDS_FILE).read_text())
    assert record["failed"] == [{"seed": 1, "reason": "step 3: the loss is nan"}]
    assert [row["state"] for row in record["runs"]] == ["finished", "failed", "finished"]
    assert record["finished"] == len(seeds.measured["test error"].values) == 2
    page = (tmp_path / "p" / "report.html").read_text()
    assert "the loss is nan" in page
    assert "2 of 3 finished" in page


def test_where_all_fail_the_record_says_why(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="every run failed, the first one so: seed0: step"):
        brief(tmp_path / "p", changes={"steps": 30, "batch_size": 50, "learning_rate": 1e30})
    record = json.loads((tmp_path / "p" / SEEDS_FILE).read_text())
    assert [row["state"] for row in record["runs"]] == ["failed", "failed"]
    assert record["mean"] == {}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"changes": BRIEF | {"learning_rate": 0.05}}, r"another recipe \(expected learning_rate 0.1, got learning_ra"),
        ({"recipe": "cifar"}, "another recipe"),
        ({"changes": {"steps": 5, "batch_size": 100}}, r"another recipe \(expected steps 4, got steps 5\)"),
        ({"net": "resnet20"}, r"another net \(expected resnet8_narrow, got resnet20\)"),
    ],
)
def test_seeds_of_something_else_are_refused(finished: Seeds, given: dict[str, Any], expected: str) -> None:
    before = (finished.directory / SEEDS_FILE).read_bytes()
    net = given.pop("net", "resnet8_narrow")
    values = {"changes": BRIEF, "out": finished.directory, **given}
    with pytest.raises(InputError, match=f"holds seeds of {expected}"):
        train_seeds(net, "digits", **values)
    assert (finished.directory / SEEDS_FILE).read_bytes() == before


def test_seeds_go_on_with_the_precision_they_began_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which one is faster is measured: on a machine that is busy it may come out otherwise."""
    out, changes = tmp_path / "seeds", BRIEF | {"precision": "auto"}
    monkeypatch.setattr(precision, "fastest", lambda device: "fp32")
    first = train_seeds("resnet8_narrow", "digits", seeds=1, changes=changes, out=out)
    monkeypatch.setattr(precision, "fastest", lambda device: "bf16")
    both = train_seeds("resnet8_narrow", "digits", seeds=2, changes=changes, out=out)
    assert {run.config.recipe["precision"] for run in both.runs.values()} == {"fp32"}
    assert first.runs[0].result == both.runs[0].result
    with pytest.raises(InputError, match="another recipe"):
        train_seeds("resnet8_narrow", "digits", seeds=2, changes=BRIEF | {"precision": "bf16"}, out=out)


def test_other_data_are_refused(finished: Seeds, image_folder: Path) -> None:
    with pytest.raises(InputError, match=r"another data \(expected digits, got colours\)"):
        train_seeds("resnet8_narrow", image_folder, recipe=digits().changed({"batch_size": 4}), out=finished.directory)


def test_what_is_not_of_a_plan_is_left_alone(finished: Seeds, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "a.txt").write_text("mine")
    for out, expected in (
        (tmp_path / "file", "is a file"),
        (tmp_path / "thesis", r"holds a.txt, which is not of a plan of seeds\. Try: another --out"),
        (finished.directory / "seed0", "is a Run of one seed"),
        (tmp_path / ("a" * 300), "cannot be a directory"),
    ):
        with pytest.raises(InputError, match=expected):
            brief(out)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"seeds": 0}, "seeds: must be at least 1 and at most 1,000, got 0. Try: 3"),
        ({"seeds": -1}, "got -1. Try: 3"),
        ({"seeds": 1001}, "got 1001"),
        ({"seed": -1}, "seed: must be at least 0"),
        ({"seed": 2**31 - 1}, "seed: must be at least 0 and at most 2147483646"),
        ({"side_by_side": 0}, "side_by_side: must be at least 1 and at most 64, got 0. Try: 1"),
        ({"side_by_side": 65}, "Try: 64"),
        ({"changes": {"batch_size": 5000}}, "batch_size: must be at most the 1,297 training images"),
        ({"changes": {"epoch": 1}}, "recipe: 'epoch' is not known"),
    ],
)
def test_bad_arguments_write_nothing(tmp_path: Path, given: dict[str, Any], expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        brief(tmp_path / "a" / "b", **given)
    assert not list(tmp_path.iterdir())


def test_what_cannot_begin_leaves_an_empty_directory_empty(tmp_path: Path) -> None:
    """A record of it would refuse the same command with its mistake put right."""
    with pytest.raises(InputError, match="batch_size"):
        brief(tmp_path, changes={"batch_size": 5000})
    assert not list(tmp_path.iterdir())


def test_runs_of_another_recipe_without_a_record_get_none(tmp_path: Path) -> None:
    """They are refused before anything is written of them, the later ones as well as the first."""
    train("resnet8_narrow", "digits", changes=BRIEF | {"steps": 2}, seed=1, out=tmp_path / "seed1", execution=ONE)
    with pytest.raises(InputError, match="seed1: was made with another recipe or other data"):
        brief(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["seed1"]


def test_a_module_cannot_begin_anew(tmp_path: Path, tiny_net: ResNet) -> None:
    with pytest.raises(InputError, match="net: must be a name or a path"):
        train_seeds(tiny_net, "digits", out=tmp_path / "p")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "damage",
    [
        lambda record: "",
        lambda record: "[" * 100_000,
        lambda record: "[]",
        lambda record: json.dumps(record | {"format": 2}),
        lambda record: json.dumps(record | {"seeds": []}),
        lambda record: json.dumps(record | {"recipe": {}}),
        lambda record: json.dumps({name: value for name, value in record.items() if name != "net"}),
    ],
)
def test_a_damaged_record_is_named_and_can_be_made_anew(finished: Seeds, tmp_path: Path, damage: Any) -> None:
    record = json.loads((finished.directory / SEEDS_FILE).read_text())
    (tmp_path / SEEDS_FILE).write_text(damage(record))
    assert is_plan_of_seeds(tmp_path)
    with pytest.raises(
        DamagedError, match=r"seeds.json: cannot be read .*Try: delete it, then the same residuum train"
    ):
        resume_seeds(tmp_path)


def test_without_its_record_the_runs_are_found_again(finished: Seeds) -> None:
    (finished.directory / SEEDS_FILE).unlink()
    with pytest.raises(InputError, match="is not a plan of seeds"):
        resume_seeds(finished.directory)
    listener = Listener()
    again = brief(finished.directory, seeds=3, observer=listener)
    assert listener.titles == []
    assert weights(again) == weights(finished)


def test_weights_to_start_from(finished: Seeds, tmp_path: Path) -> None:
    origin = finished.directory / "seed0"
    listener = Listener()
    seeds = train_seeds(
        str(origin),
        "digits",
        seeds=2,
        changes=BRIEF | {"steps": 2},
        out=tmp_path / "p",
        execution=ONE,
        observer=listener,
    )
    result = Run(origin).result or {}
    assert seeds.config.start_sha256 == result["weights_sha256"]
    assert seeds.config.recipe["name"] == "finetune"
    assert weights(resume_seeds(tmp_path / "p", observer=listener)) == weights(seeds)
    assert len(listener.titles) == 2
