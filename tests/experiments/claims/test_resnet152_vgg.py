"""ResNet-152 against VGG: the verdict on the catalog's costs and made-up times."""

from __future__ import annotations

import pytest

from made_up import names, setting, verdict
from residuum.experiments.claims.resnet152_vgg import AGAINST, CLAIM, FOLDED, MACS, NETS, PUBLISHED, RESNET, conclude
from residuum.nets import catalog
from residuum.records.finding import Verdict
from residuum.records.quantity import Measured

ONE = (0.30, 0.33, 0.36)


def seconds(**factors: float) -> dict[str, Measured]:
    """Each net takes so many times as long as ResNet-152, in every round."""
    return {name: Measured(tuple(factors.get(name, 1.0) * each for each in ONE)) for name in (*NETS, FOLDED)}


@pytest.mark.parametrize(
    ("factors", "expected"),
    [
        ({"vgg16": 1.3, "vgg19": 1.7}, Verdict.HOLDS),
        ({"vgg16": 1.12, "vgg19": 1.12}, Verdict.HOLDS),
        ({"vgg16": 1.08, "vgg19": 1.7}, Verdict.DOES_NOT_HOLD),
        ({"vgg16": 0.6, "vgg19": 0.8}, Verdict.DOES_NOT_HOLD),
    ],
)
def test_verdict(factors: dict[str, float], expected: Verdict) -> None:
    assert verdict(conclude(seconds(**factors))) is expected


def test_what_is_printed_of_vgg() -> None:
    """Of VGG-16 the convolutions alone, 512 maps of 7x7 before the linear layers; of VGG-19 all."""
    linear = 512 * 49 * 4096 + 4096**2 + 4096 * 1000
    convolutions = catalog.entry("vgg16").macs - linear
    assert convolutions == 15_346_630_656
    assert round(convolutions / 1e9, 1) == PUBLISHED["vgg16"]
    assert round(catalog.entry("vgg19").macs / 1e9, 1) == PUBLISHED["vgg19"]
    assert round((catalog.entry("vgg19").macs - linear) / 1e9, 1) != PUBLISHED["vgg19"]


def test_rounds_that_disagree_decide_nothing() -> None:
    taken = seconds(vgg19=1.7) | {"vgg16": Measured((0.30, 0.50, 0.36))}
    assert verdict(conclude(taken)) is Verdict.NOT_DECIDED


def test_costs_are_the_published_ones_and_the_summary_says_which_way_it_came_out() -> None:
    found = conclude(seconds(vgg16=0.6, vgg19=0.8))
    arms = {arm.name: arm.measured for arm in found.arms}
    assert arms[RESNET][MACS.name].mean == pytest.approx(11.282415616)
    assert arms["vgg16"][MACS.name].mean == pytest.approx(15.470264320)
    assert arms["vgg16"][AGAINST.name].values == pytest.approx((0.6,) * 3)
    assert "Time does not follow" in found.summary.en
    assert "Time does not follow" not in conclude(seconds(vgg16=1.5, vgg19=1.8)).summary.en
    assert "109.9 ms against 66.6 and 80.4 on a GTX 1080" in found.summary.en
    published = {arm.name: arm.published.en for arm in found.arms}
    assert published["vgg16"] == "15.3e9 multiply-adds (its convolutions alone)"
    assert published[RESNET] == "11.3e9 multiply-adds"
    assert names(CLAIM.plan(setting())) == []
