"""Convergence: the verdict on made-up curves, and shares of the training by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from made_up import made_up, names, setting, verdict
from residuum.experiments.claims.convergence import (
    CLAIM,
    MEAN_TRAINING_ERROR,
    PLAIN,
    RESIDUAL,
    SHARE,
    halfway_error,
    mean_error,
    share_until,
)
from residuum.experiments.evidence import Evidence
from residuum.records.finding import Verdict

EPOCHS = 20
CURVE = [{"step": step, "train_error": error} for step, error in ((10, 0.8), (20, 0.4), (30, 0.6), (40, 0.1))]


def falling(speed: float) -> Callable[[int], float]:
    """An error that falls in a straight line to 0 at the end, `speed` times as fast."""
    return lambda epoch: max(0.0, 1 - speed * epoch / EPOCHS)


def evidence_of(directory: Path, residual_speeds: tuple[float, float, float]) -> Evidence:
    """Plain nets fall to 0 at the end, residual ones at these speeds."""
    evidence = made_up(directory, {PLAIN: [0.0] * 3, RESIDUAL: [0.0] * 3})
    for name, run in evidence.done.runs.items():
        seed = int(name[-1])
        error = falling(0.99 + 0.01 * seed if name.startswith(PLAIN) else residual_speeds[seed])
        records = [
            {"step": 10 * epoch, "train_error": error(epoch), "test_error": error(epoch), "val_error": error(epoch)}
            for epoch in range(1, EPOCHS + 1)
        ]
        (run.path / "metrics.jsonl").write_text("".join(json.dumps(each) + "\n" for each in records))
    return evidence


@pytest.mark.parametrize(
    ("speeds", "expected"),
    [
        ((1.49, 1.5, 1.51), Verdict.HOLDS),
        ((0.99, 1.0, 1.01), Verdict.DOES_NOT_HOLD),
        ((0.7, 0.71, 0.69), Verdict.DOES_NOT_HOLD),
        ((1.02, 1.04, 1.06), Verdict.DOES_NOT_HOLD),  # faster by less than its margin
        ((0.8, 1.3, 2.0), Verdict.NOT_DECIDED),
    ],
)
def test_verdict(tmp_path: Path, speeds: tuple[float, float, float], expected: Verdict) -> None:
    assert verdict(CLAIM.measure(evidence_of(tmp_path, speeds))) is expected


def test_shares_by_hand(tmp_path: Path) -> None:
    found = CLAIM.measure(evidence_of(tmp_path, (2.0, 2.0, 2.0)))
    arms = {arm.name: arm.measured for arm in found.arms}
    assert arms[PLAIN][SHARE.name].mean == pytest.approx(0.5, abs=1e-3)
    assert arms[RESIDUAL][SHARE.name].mean == pytest.approx(0.25, abs=1e-3)
    assert arms[RESIDUAL][MEAN_TRAINING_ERROR.name].mean == pytest.approx(0.225)  # (0.9 + 0.8 + ... + 0.1) / 20
    assert "resnet20 25.00" in found.summary.en
    assert "resnet20 신경망은 25.00" in found.summary.ko


@pytest.mark.parametrize(
    ("mark", "share"),
    [(0.9, 0.25), (0.8, 0.25), (0.6, 15 / 40), (0.4, 0.5), (0.35, 35 / 40), (0.1, 1.0), (0.05, 1.0)],
)
def test_share_until_the_first_time_at_the_mark(mark: float, share: float) -> None:
    assert share_until(CURVE, mark) == pytest.approx(share)


def test_halfway_and_mean() -> None:
    assert halfway_error(CURVE) == pytest.approx(0.4)
    assert halfway_error(CURVE[:3]) == pytest.approx(0.6)
    assert mean_error(CURVE) == pytest.approx(0.475)


def test_plan() -> None:
    assert names(CLAIM.plan(setting())) == ["plain20", "resnet20"]
