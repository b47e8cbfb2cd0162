"""Made-up evidence for tests of claims: finished Runs with the errors that a test wants, nothing trained."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from residuum.data.open import open_dataset
from residuum.experiments.claim import Claim, Conclusion
from residuum.experiments.evidence import Evidence
from residuum.experiments.setting import Setting
from residuum.plans.plan import Executed, Failure, PlannedRun
from residuum.records.finding import Verdict, judge, overall
from residuum.run import Run

EPOCHS = 3


def setting(seeds: int = 3, budget: str = "quick", **changes: Any) -> Setting:
    """Digits under a budget."""
    dataset = open_dataset("digits")
    return Setting(budget=budget, data="digits", dataset=dataset, seeds=tuple(range(seeds)), **changes)  # type: ignore[arg-type]


def made_up(
    directory: Path, errors: Mapping[str, Sequence[float]], own: Setting | None = None, *, beyond: float = 0.0
) -> Evidence:
    """Evidence of Runs that ended with these errors, of training and test alike.

    Args:
        directory: an empty one.
        errors: by the name of a training without its seed (`resnet20`, `resnet20,learning_rate=0.01`), one a seed.
        own: the setting; digits with as many seeds as there are errors by default.
        beyond: by how much validation and test errors lie above those of training.
    """
    own = own or setting(len(next(iter(errors.values()))))
    runs = {}
    for name, each in errors.items():
        for seed, error in enumerate(each):
            path = directory / f"{name}-seed{seed}"
            runs[path.name] = _run(path, error, error + beyond)
    return Evidence(setting=own, done=Executed(runs, ()))


def diverging(evidence: Evidence, gone: Sequence[str]) -> Evidence:
    """The same evidence, had the trainings of these names diverged."""
    runs = {name: run for name, run in evidence.done.runs.items() if name not in gone}
    return replace(evidence, done=Executed(runs, tuple(Failure(name, "step 3: the loss is nan") for name in gone)))


def _run(path: Path, error: float, new: float) -> Run:
    path.mkdir(parents=True)
    train, split = {"error": error, "loss": error}, {"error": new, "loss": new}
    result = {"train": train, "val": split, "test": split, "seconds": 1.0, "steps": 10 * EPOCHS, "weights_sha256": "0"}
    (path / "result.json").write_text(json.dumps(result))
    (path / "environment.json").write_text("{}")
    lines = [
        {
            "step": 10 * epoch,
            "epoch": epoch,
            "seconds": epoch,
            "train_error": error,
            "test_error": new,
            "val_error": new,
            "train_loss": error,
        }
        for epoch in range(1, EPOCHS + 1)
    ]
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return Run(path)


def names(plan: Sequence[PlannedRun]) -> list[str]:
    """The trainings of a plan without their seeds, each once."""
    return [*dict.fromkeys(planned.name.rpartition("-seed")[0] for planned in plan)]


def verdict(conclusion: Conclusion) -> Verdict:
    """What a Finding would say of it."""
    arms = {arm.name: arm.measured for arm in conclusion.arms}
    return overall([judge(each, arms) for each in conclusion.comparisons])


def verdict_of(claim: Claim, directory: Path, errors: Mapping[str, Sequence[float]]) -> Verdict:
    """The verdict of a claim that is judged by errors alone, were its trainings to end with these."""
    return verdict(claim.measure(made_up(directory, errors)))
