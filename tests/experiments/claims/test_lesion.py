"""Which blocks are taken out and what a step is; the verdict on both sides."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from made_up import made_up, names, setting, verdict
from residuum.experiments.claims.lesion import (
    CLAIM,
    DEEP,
    NETS,
    ORDERS,
    PLAIN,
    SHARES,
    TWIN,
    Look,
    blocks_to_remove,
    conclude,
    look,
)
from residuum.insight.lesions import lesions
from residuum.records.finding import Verdict
from tiny_evidence import concluded, silent, tiny_net, undrawn

KEEP_THEIR_SHAPE = ["layer1.0", "layer1.1", "layer2.1"]


def batches() -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [(torch.randn(64, 1, 8, 8, generator=generator), torch.randint(0, 10, (64,), generator=generator))]


@pytest.mark.parametrize("net", ["plain20", "resnet20", "resnet20+preactivation=yes"])
def test_blocks_that_keep_their_shape_are_taken_out(net: str) -> None:
    assert blocks_to_remove(tiny_net(net)) == KEEP_THEIR_SHAPE


def test_a_net_whose_blocks_do_nothing_misses_none() -> None:
    found = look(silent(tiny_net("resnet20")), batches())
    assert found.single == [found.whole] * 3
    assert found.without_shares == pytest.approx([found.whole] * len(SHARES))
    assert found.largest_step == found.rise_without_all == 0


def test_errors_are_those_without_each_block_and_without_all() -> None:
    net = tiny_net("resnet20", seed=3)
    found = look(net, batches())
    alone = [1 - each.accuracy for each in lesions(net, batches(), groups=[(), *KEEP_THEIR_SHAPE, KEEP_THEIR_SHAPE])]
    assert [found.whole, *found.single] == alone[1:2] + alone[2:5]
    assert [each[-1] for each in found.several] == [alone[-1]] * ORDERS, "all of them, in whatever order"
    assert found.rise_without_all == pytest.approx(alone[-1] - found.whole)


def test_the_largest_step_is_a_share_of_the_whole_rise() -> None:
    assert Look(0.1, [0.1], [[0.1, 0.2, 0.7, 0.9]]).largest_step == pytest.approx(0.5 / 0.8)
    assert Look(0.5, [0.5], [[0.4, 0.3]]).largest_step == 0


def test_cliffs_of_single_orders_are_not_smeared_by_their_mean() -> None:
    cliffs = [[0.9, 0.9, 0.9, 0.9], [0.1, 0.9, 0.9, 0.9], [0.1, 0.1, 0.9, 0.9]]
    found = Look(0.1, [0.1], cliffs)
    assert found.largest_step == pytest.approx(1)
    assert found.without_shares == pytest.approx([1.1 / 3, 1.9 / 3, 0.9, 0.9])
    assert Look(0.1, [0.1], [[0.3, 0.5, 0.7, 0.9]] * 3).largest_step == pytest.approx(0.25)


SMOOTHLY = (0.2, 0.4, 0.6, 0.8)
CLIFFS = [[0.02] * cliff + [0.9] * (8 - cliff) for cliff in (1, 3, 5)]


def looks(rises: Sequence[float], several: Sequence[float] = SMOOTHLY, whole: float = 0.02) -> list[Look]:
    course = [*several, *[several[-1]] * 4]
    return [Look(whole, [whole + rise] * 3, [course] * ORDERS) for rise in rises]


GOOD = {PLAIN: looks([0.7, 0.6, 0.65]), TWIN: looks([0.1, 0.12, 0.11]), DEEP: looks([0.01, 0.02, 0.01])}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, Verdict.HOLDS),
        ({DEEP: looks([0.2, 0.21, 0.2])}, Verdict.DOES_NOT_HOLD),
        ({PLAIN: looks([0.2, 0.21, 0.2])}, Verdict.DOES_NOT_HOLD),
        ({DEEP: looks([0.01, 0.02, 0.01], several=(0.02, 0.02, 0.9, 0.9))}, Verdict.DOES_NOT_HOLD),
        ({DEEP: [Look(0.02, [0.02] * 3, CLIFFS)] * 3}, Verdict.DOES_NOT_HOLD),  # smooth in the mean of its orders
        ({DEEP: looks([0.01, 0.12, 0.01])}, Verdict.NOT_DECIDED),
        ({DEEP: looks([0.0, 0.0, 0.0], several=(0.9,) * 4, whole=0.9)}, Verdict.DOES_NOT_HOLD),  # learned nothing
        ({DEEP: looks([0.01, 0.02, 0.01], several=(0.08, 0.14, 0.2, 0.26))}, Verdict.DOES_NOT_HOLD),  # loses 24 points
        ({DEEP: looks([0.01, 0.02, 0.01], several=(0.09, 0.16, 0.23, 0.3))}, Verdict.HOLDS),
    ],
)
def test_little_lost_much_lost_and_no_cliff(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, change: dict[str, list[Look]], expected: Verdict
) -> None:
    undrawn(monkeypatch, conclude)
    evidence = made_up(tmp_path, {net: [0.02] * 3 for net in NETS})
    assert verdict(conclude(evidence, GOOD | change)) is expected


def test_it_runs_from_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conclusion = concluded(CLAIM, NETS, tmp_path, monkeypatch)
    assert [arm.name for arm in conclusion.arms] == [PLAIN, TWIN, DEEP]


def test_it_plans_nets_that_others_train_as_well() -> None:
    assert names(CLAIM.plan(setting(1))) == [PLAIN, TWIN, DEEP]
