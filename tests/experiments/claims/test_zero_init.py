"""Zero initialisation: both comparisons on both sides, the early error by hand, and a start that is the identity."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch

from made_up import made_up, names, setting, verdict
from residuum.experiments.claims.zero_init import CLAIM, EARLY_ERROR, ZERO, early_error
from residuum.experiments.evidence import Evidence
from residuum.nets.blocks import PostActivation
from residuum.records.finding import Verdict

JITTER = (-0.001, 0.0, 0.001)
USUAL_RUNS, ZERO_RUNS = "resnet56", "resnet56,zero_init_residual=True"


def with_curves(
    directory: Path, early: Mapping[str, float], final: Mapping[str, float], updates: int = 400
) -> Evidence:
    """Runs of three seeds with these errors of the first epoch, of so many updates, and at the end."""
    evidence = made_up(directory, {name: [mean + each for each in JITTER] for name, mean in final.items()})
    for name, run in evidence.done.runs.items():
        at_first = early[name.rpartition("-seed")[0]]
        write_curve(run.path, [at_first + JITTER[int(name[-1])], *[0.0] * 9], updates)
    return evidence


def write_curve(path: Path, errors: Sequence[float], updates: int) -> None:
    records = [
        {"step": updates * epoch, "train_error": error, "test_error": error, "val_error": error}
        for epoch, error in enumerate(errors, start=1)
    ]
    (path / "metrics.jsonl").write_text("".join(json.dumps(each) + "\n" for each in records))


@pytest.mark.parametrize(
    ("early", "final", "expected"),
    [
        ((0.40, 0.30), (0.05, 0.05), Verdict.HOLDS),
        ((0.30, 0.40), (0.05, 0.05), Verdict.DOES_NOT_HOLD),
        ((0.405, 0.40), (0.05, 0.05), Verdict.DOES_NOT_HOLD),  # by less than its margin
        ((0.41, 0.40), (0.05, 0.05), Verdict.NOT_DECIDED),  # by its margin
        ((0.40, 0.30), (0.05, 0.08), Verdict.DOES_NOT_HOLD),  # worse at the end
        ((0.40, 0.30), (0.05, 0.02), Verdict.HOLDS),
    ],
)
def test_verdict(tmp_path: Path, early: tuple[float, float], final: tuple[float, float], expected: Verdict) -> None:
    runs = (USUAL_RUNS, ZERO_RUNS)
    evidence = with_curves(tmp_path, dict(zip(runs, early, strict=True)), dict(zip(runs, final, strict=True)))
    assert verdict(CLAIM.measure(evidence)) is expected


@pytest.mark.parametrize(
    ("updates", "final", "expected"),
    [
        (300, 0.05, Verdict.HOLDS),
        (299, 0.05, Verdict.NOT_DECIDED),
        (30, 0.05, Verdict.NOT_DECIDED),
        (30, 0.08, Verdict.DOES_NOT_HOLD),  # what comes out at the end is judged all the same
    ],
)
def test_a_start_of_few_updates_is_not_judged(tmp_path: Path, updates: int, final: float, expected: Verdict) -> None:
    early, at_last = {USUAL_RUNS: 0.4, ZERO_RUNS: 0.3}, {USUAL_RUNS: 0.05, ZERO_RUNS: final}
    found = CLAIM.measure(with_curves(tmp_path, early, at_last, updates))
    assert verdict(found) is expected
    assert f"({updates} updates)" in found.summary.en
    assert f"갱신 {updates}번" in found.summary.ko
    assert ("So few updates" in found.summary.en) == (updates < 300)


def test_the_early_error_is_of_the_epoch_that_ends_nearest_to_a_tenth() -> None:
    records = [{"step": 4 * epoch, "train_error": 1 / epoch} for epoch in range(1, 31)]
    assert early_error(records) == pytest.approx(1 / 3)
    assert early_error(records[:10]) == 1.0


def test_arms_and_summary(tmp_path: Path) -> None:
    evidence = with_curves(tmp_path, {USUAL_RUNS: 0.4, ZERO_RUNS: 0.3}, {USUAL_RUNS: 0.05, ZERO_RUNS: 0.06})
    found = CLAIM.measure(evidence)
    assert {arm.name: arm.measured[EARLY_ERROR.name].mean for arm in found.arms}[ZERO] == pytest.approx(0.3)
    assert "-10.00 points" in found.summary.en
    assert "-10.00 %p" in found.summary.ko
    assert "+1.00 points (below 0: better)" in found.summary.en
    assert "+1.00 %p" in found.summary.ko


def test_plan_and_what_its_change_does() -> None:
    plan = CLAIM.plan(setting(seeds=1))
    assert names(plan) == [USUAL_RUNS, ZERO_RUNS]
    evidence = Evidence(setting=setting(seeds=1), done=None)  # type: ignore[arg-type]
    x = torch.rand(1, 16, 8, 8)
    sizes = []
    for changes in ({}, {"zero_init_residual": True}):
        block = evidence.untrained("resnet56", 0, **changes).get_submodule("layer1.3")
        assert isinstance(block, PostActivation)
        with torch.no_grad():
            sizes.append(float(block.residual(x).abs().max()))
    assert sizes[0] > 0
    assert sizes[1] == 0
