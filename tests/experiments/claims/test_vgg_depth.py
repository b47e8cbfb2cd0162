"""VGG's depth: the published figures as printed, and the verdict were they others."""

from __future__ import annotations

from copy import deepcopy

import pytest

from made_up import names, setting, verdict
from residuum.experiments.claims.vgg_depth import CLAIM, FIXED, LARGER, ONE, THREE, TOP_1, VARIED, conclude
from residuum.experiments.evidence import Evidence
from residuum.nets import catalog
from residuum.plans.plan import Executed
from residuum.records.finding import Verdict


def with_errors(changes: dict[tuple[str, str, str], float]) -> dict[str, dict[str, dict[str, float]]]:
    errors = deepcopy(TOP_1)
    for (scales, size, net), error in changes.items():
        errors[scales][size][net] = error
    return errors


def test_the_catalog_prints_the_same_figures() -> None:
    printed = {
        net: catalog.entry(f"vgg{depth}").published.error for net, depth in zip("ABDE", (11, 13, 16, 19), strict=True)
    }
    assert {net: str(TOP_1[ONE][FIXED][net]) for net in printed} == printed


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, Verdict.DOES_NOT_HOLD),  # at three scales 16 and 19 layers are equal
        ({(THREE, VARIED, "E"): 25.1}, Verdict.HOLDS),
        ({(THREE, VARIED, "E"): 24.9}, Verdict.DOES_NOT_HOLD),  # by less than the margin
        ({(THREE, VARIED, "E"): 25.1, (THREE, FIXED, "E"): 26.5}, Verdict.DOES_NOT_HOLD),
        ({(THREE, VARIED, "E"): 25.1, (THREE, FIXED, "B"): 26.0}, Verdict.DOES_NOT_HOLD),
    ],
)
def test_verdict(changes: dict[tuple[str, str, str], float], expected: Verdict) -> None:
    assert verdict(conclude(with_errors(changes))) is expected


def test_what_is_said_follows_from_the_figures() -> None:
    found = CLAIM.measure(Evidence(setting=setting(), done=Executed({}, ())))
    assert "from 28.2 to 26.6 %. In 2 of 6 ways" in found.summary.en
    assert "28.2 %에서 26.6 %로" in found.summary.ko
    assert "densely at three scales, 16 end at 24.8 % and 19 at 24.8 %, and with several crops" in found.summary.en
    assert "besides (Table 5) both at 24.4 %." in found.summary.en
    assert found.summary.en.endswith("VGG is no better at 16 layers than at 19.")
    other = conclude(with_errors({(THREE, VARIED, "E"): 25.1, (THREE, LARGER, "E"): 26.9}))
    assert "In 4 of 6 ways" in other.summary.en
    assert other.summary.en.endswith("VGG is best at 16 layers.")
    assert (found.basis, names(CLAIM.plan(setting()))) == ("published", [])
