"""Pre-activation: each order on both sides, the gain by hand, and the nets of each budget."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_of_kinds import setting_of
from made_up import made_up, names, setting, verdict_of
from residuum.experiments.claims.preactivation import (
    CLAIM,
    FULL,
    GAIN,
    KOREAN,
    ORIGINAL,
    PLACEMENTS,
    PUBLISHED_GAINS,
    gain,
    nets,
)
from residuum.nets import catalog
from residuum.records.finding import Verdict, judge
from residuum.records.quantity import Measured

JITTER = (-0.0002, 0.0, 0.0002)


def errors(of_56: dict[str, float], of_20: dict[str, float], spread: float = 1.0) -> dict[str, list[float]]:
    """Runs of seven nets; placements that are not named have 7 %. Original and full vary together, so gains do not."""
    means = dict.fromkeys(nets(setting()).values(), 0.07)
    means |= {f"resnet56{PLACEMENTS[name].change}": mean for name, mean in of_56.items()}
    means |= {f"resnet20{PLACEMENTS[name].change}": mean for name, mean in of_20.items()}
    return {net: [mean + spread * each for each in JITTER] for net, mean in means.items()}


PUBLISHED = {ORIGINAL: 0.0661, "BN after addition": 0.0817, FULL: 0.0637}
AT_20 = {ORIGINAL: 0.09, FULL: 0.0899}


@pytest.mark.parametrize(
    ("of_56", "of_20", "expected"),
    [
        (PUBLISHED, AT_20, Verdict.HOLDS),
        (PUBLISHED | {FULL: 0.068}, AT_20, Verdict.DOES_NOT_HOLD),  # no better than the original
        (PUBLISHED | {"BN after addition": 0.064}, AT_20, Verdict.DOES_NOT_HOLD),  # better than the original
        (PUBLISHED, {ORIGINAL: 0.095, FULL: 0.09}, Verdict.DOES_NOT_HOLD),  # gains more in the shallow net
    ],
)
def test_verdict(tmp_path: Path, of_56: dict[str, float], of_20: dict[str, float], expected: Verdict) -> None:
    assert verdict_of(CLAIM, tmp_path, errors(of_56, of_20)) is expected


def test_a_usual_spread_decides_none_of_the_errors(tmp_path: Path) -> None:
    found = CLAIM.measure(made_up(tmp_path, errors(PUBLISHED, AT_20, spread=50)))
    arms = {arm.name: arm.measured for arm in found.arms}
    assert [judge(each, arms).verdict for each in found.comparisons[:2]] == [Verdict.NOT_DECIDED] * 2


def test_the_gain_is_of_each_seed_in_points() -> None:
    found = gain(Measured((0.08, 0.07)), Measured((0.05, 0.075)))
    assert found.values == pytest.approx((3.0, -0.5))


def test_arms_and_summary(tmp_path: Path) -> None:
    found = CLAIM.measure(made_up(tmp_path, errors(PUBLISHED, AT_20)))
    arms = {arm.name: arm for arm in found.arms}
    assert arms["original, 56 layers"].published.en.startswith("6.61 / 5.93")
    assert "164 with bottlenecks, medians of 5" in arms["original, 56 layers"].published.en
    assert arms["original, 20 layers"].published.en == ""
    assert "with bottlenecks 0.47 at 164" in arms["gain by pre-activation, 56 layers"].published.en
    assert arms["gain by pre-activation, 20 layers"].published.en == ""
    assert "6.61 against 6.37 (110 layers, medians of 5)" in [each.published.en for each in found.comparisons]
    assert arms["gain by pre-activation, 56 layers"].measured[GAIN.name].mean == pytest.approx(0.24)
    assert "full pre-activation 6.37 %, original 6.61 %" in found.summary.en
    assert "+0.01 points at 20 layers and +0.24 points at 56 layers" in found.summary.en
    assert "완전 사전 활성화 6.37 %, 원래 순서 6.61 %" in found.summary.ko
    assert {arm.label.ko for arm in found.arms} == {
        *(f"{name}, 56층" for name in KOREAN.values()),
        "원래 순서, 20층", "완전 사전 활성화, 20층", "사전 활성화의 이득, 56층", "사전 활성화의 이득, 20층",
    }  # fmt: skip
    assert found.comparisons[1].statement.ko == "덧셈 뒤 BN: 원래 순서보다 오차가 크다"


def test_the_published_gains_are_the_differences_of_the_published_errors() -> None:
    before, after = PLACEMENTS[ORIGINAL], PLACEMENTS[FULL]
    assert f"{before.at_110 - after.at_110:.2f} at 110 layers" in PUBLISHED_GAINS.en
    assert f"{before.at_164 - after.at_164:.2f} at 164" in PUBLISHED_GAINS.en
    assert f"{7.61 - 4.92:.2f} at 1001" in PUBLISHED_GAINS.en


def test_plan() -> None:
    assert names(CLAIM.plan(setting())) == [
        "resnet56",
        "resnet56+placement=norm_after_addition",
        "resnet56+placement=relu_before_addition",
        "resnet56+placement=relu_only",
        "resnet56+preactivation=yes",
        "resnet20",
        "resnet20+preactivation=yes",
    ]
    deep = names(CLAIM.plan(setting_of("colour", "paper")))
    assert deep[0] == "resnet110"
    assert all(each.startswith("resnet110") for each in deep[:5])


def test_the_five_have_the_same_layers() -> None:
    parameters = [catalog.entry(net).parameters for net in list(nets(setting()).values())[:5]]
    assert set(parameters) == {853_018}


def test_published_values_are_those_of_the_catalog() -> None:
    assert catalog.entry("preact_resnet110").published.error == f"{PLACEMENTS[FULL].at_110:.2f}"
    assert catalog.entry("preact_resnet164").published.error == f"{PLACEMENTS[FULL].at_164:.2f}"
