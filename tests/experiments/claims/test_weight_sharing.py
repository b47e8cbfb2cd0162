"""Sharing weights: the printed numbers by hand, and that they are those of the nets in the catalog."""

from __future__ import annotations

import pytest

from made_up import names, setting, verdict
from residuum.experiments.claims.weight_sharing import CLAIM, FULL, LAYERS, SHARED, UNSHARED, measure
from residuum.experiments.evidence import Evidence
from residuum.nets import catalog
from residuum.nets.skeleton import without_values
from residuum.plans.plan import Executed
from residuum.records.finding import Verdict

BY_HAND = {
    "lenet5, first layer": (6 * 26, 28 * 28 * 6 * 26, (32 * 32 + 1) * 28 * 28 * 6),
    "alexnet_2012, first layer": (34_848 + 96, 55 * 55 * 96 * 364, (227 * 227 * 3 + 1) * 55 * 55 * 96),
    "vgg16, first layer": (1_792, 224 * 224 * 64 * 28, (224 * 224 * 3 + 1) * 224 * 224 * 64),
}


def test_the_numbers_by_hand_and_the_verdict() -> None:
    found = measure(Evidence(setting=setting(), done=Executed({}, ())))
    forms = {arm.name: tuple(arm.measured[each.name].mean for each in (SHARED, UNSHARED, FULL)) for arm in found.arms}
    assert forms == BY_HAND
    assert (forms["lenet5, first layer"][1], forms["alexnet_2012, first layer"][1]) == (122_304, 105_705_600)
    assert verdict(found) is Verdict.HOLDS
    assert "mathdefault" not in found.drawing.svg, "numbers on the logarithmic axis are set as numbers"
    assert "34,944 parameters" in found.summary.en
    assert "105,705,600, and 44.9 billion" in found.summary.en
    assert "105,705,600개, 완전 연결 층이라면 449억 개" in found.summary.ko
    assert [arm.label.ko for arm in found.arms] == ["lenet5의 첫 층", "alexnet_2012의 첫 층", "vgg16의 첫 층"]
    assert (found.basis, names(CLAIM.plan(setting()))) == ("counted", [])


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.net)
def test_the_layer_is_the_first_of_its_net(layer) -> None:  # type: ignore[no-untyped-def]
    entry = catalog.entry(layer.net)
    with without_values():
        module = entry.build().get_submodule(layer.name)
    assert sum(each.numel() for each in module.parameters()) == layer.step.shared.total
    assert entry.input_shape == (layer.image[2], *layer.image[:2])
