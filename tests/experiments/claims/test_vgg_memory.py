"""VGG's memory: the parts by hand, and the verdict on them."""

from __future__ import annotations

import pytest

from made_up import names, setting, verdict
from residuum.experiments.claims.vgg_memory import (
    ALL,
    CLAIM,
    EARLY,
    FULL,
    LATE,
    MEMORY,
    POOLED,
    SHARE_OF_PARAMETERS,
    SHARE_OF_VALUES,
    VALUES,
    counted,
    measure,
    parts,
)
from residuum.experiments.evidence import Evidence
from residuum.plans.plan import Executed
from residuum.records.finding import Verdict, judge

WIDTHS, CONVOLUTIONS = (64, 128, 256, 512, 512), (2, 2, 3, 3, 3)
SIDES = (224, 112, 56, 28, 14)
MAPS = [count * width * side**2 for count, width, side in zip(CONVOLUTIONS, WIDTHS, SIDES, strict=True)]


def test_values_of_each_part_by_hand() -> None:
    found = {name: sum(layer.activation_values for layer in layers) for name, layers in parts(counted()).items()}
    pooled = sum(width * (side // 2) ** 2 for width, side in zip(WIDTHS, SIDES, strict=True))
    assert found == {
        "image": 3 * 224 * 224,
        EARLY: sum(MAPS[:2]),
        LATE: sum(MAPS[2:]),
        POOLED: pooled,
        FULL: 4096 + 4096 + 1000,
    }
    assert sum(found.values()) == counted().activation_values == 15_237_608


def test_what_is_taught_of_the_sum_is_wrong_and_of_the_shares_right() -> None:
    found = measure(Evidence(setting=setting(), done=Executed({}, ())))
    arms = {arm.name: arm.measured for arm in found.arms}
    assert arms[ALL][VALUES.name].mean == pytest.approx(15.237608)
    assert arms[ALL][MEMORY.name].mean == pytest.approx(60.950432)
    assert arms[EARLY][SHARE_OF_VALUES.name].mean == pytest.approx(9_633_792 / 15_237_608)
    assert arms[FULL][SHARE_OF_PARAMETERS.name].mean == pytest.approx(123_642_856 / 138_357_544)
    verdicts = [judge(each, arms).verdict for each in found.comparisons]
    assert verdicts == [Verdict.DOES_NOT_HOLD, Verdict.DOES_NOT_HOLD, Verdict.HOLDS, Verdict.HOLDS]
    assert verdict(found) is Verdict.DOES_NOT_HOLD
    assert "15,237,608 values, 61.0 MB" in found.summary.en
    assert "63 % of them, the linear layers 89 % of all" in found.summary.en
    assert "15,237,608개, fp32로 61.0 MB" in found.summary.ko
    assert "값의 63 %를, 완전 연결 층이 전체 매개변수의 89 %를" in found.summary.ko
    korean = [arm.label.ko for arm in found.arms]
    assert korean == ["전체", "이미지", "앞쪽 합성곱 층", "뒤쪽 합성곱 층", "풀링 층", "완전 연결 층"]
    assert (found.basis, names(CLAIM.plan(setting()))) == ("counted", [])
