"""Folding: sums stay what they are, repeats become one, and the way around a block is told for what it is."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from residuum.costing.cost import Cost
from residuum.costing.count import cost
from residuum.costing.fold import Unit, folded, units
from residuum.nets.catalog import CATALOG, entry

SUMMED = ("parameters", "macs", "flops", "activation_values", "activation_bytes")
TAKEN = [name for name in ("resnet20", "resnet50", "preact_resnet164", "googlenet", "se_resnet50") if name in CATALOG]


def counted(name: str) -> Cost:
    known = entry(name)
    with torch.device("meta"):
        return cost(known.build(), known.input_shape, training=False)


def blocks(name: str, first: str = "layer") -> dict[str, Unit]:
    return {unit.name: unit for unit in units(counted(name), 2) if unit.name.startswith(first)}


@pytest.mark.parametrize("name", TAKEN)
def test_sums_are_kept_at_every_depth(name: str) -> None:
    whole = counted(name)
    for depth in range(5):
        parts = units(whole, depth)
        together = folded(parts)
        assert sum(unit.repeats for unit in together) == len(parts)
        for value in SUMMED:
            expected = sum(getattr(layer, value) for layer in whole.layers)
            assert sum(getattr(unit, value) for unit in parts) == expected
            assert sum(getattr(unit, value) for unit in together) == expected


@pytest.mark.parametrize("name", TAKEN)
def test_totals_stages_and_groups_agree(name: str) -> None:
    whole = counted(name)
    for shares in (whole.stages(), whole.groups()):
        assert sum(share.layers for share in shares) == len(whole.layers)
        assert sum(share.macs for share in shares) == whole.macs == entry(name).macs
        assert sum(share.parameters for share in shares) == whole.parameters == entry(name).parameters


def shortcuts(name: str) -> list[str]:
    return [unit.shortcut for unit in blocks(name).values()]


def test_resnet20_is_padded_where_it_halves() -> None:
    assert shortcuts("resnet20") == [*["identity"] * 3, "padded", *["identity"] * 2, "padded", *["identity"] * 2]


def test_a_shortcut_that_keeps_its_shape_is_altered_and_not_padded() -> None:
    halved = [*["altered"] * 3, "padded", *["altered"] * 2, "padded", *["altered"] * 2]
    assert shortcuts("resnet20+shortcut=halved") == halved
    assert shortcuts("resnet20+shortcut=dropout") == shortcuts("resnet20"), "in evaluation nothing is dropped"


@pytest.mark.parametrize("name", ["resnet50", "se_resnet50"])
def test_bottlenecks_project_at_the_start_of_each_stage(name: str) -> None:
    assert shortcuts(name) == [("identity" if at else "projection") for length in (3, 4, 6, 3) for at in range(length)]


def test_option_c_projects_everywhere() -> None:
    assert set(shortcuts("resnet34_c")) == {"projection"}


def test_preactivation_of_the_same_size_is_identity() -> None:
    expected = [("identity" if at else "projection") for _ in range(4) for at in range(2)]
    assert shortcuts("preact_resnet18") == ["identity", *expected[1:]]


def test_plain_nets_have_none() -> None:
    assert set(shortcuts("plain20")) == {""}


def test_the_main_path_of_a_block() -> None:
    parts = blocks("resnet50")
    assert parts["layer2.0"].details == ("1x1, 128", "3x3/2, 128", "1x1, 512")
    assert parts["layer2.1"].details == ("1x1, 128", "3x3, 128", "1x1, 512")
    assert parts["layer2.0"].kind == "Bottleneck"
    assert blocks("plain20")["layer1.0"].details == ("3x3, 16", "3x3, 16")


def test_repeats_are_folded() -> None:
    found = [(unit.name, unit.repeats, unit.last_name) for unit in folded(units(counted("resnet50"), 2))]
    assert ("layer3.0", 1, "") in found
    assert ("layer3.1", 5, "layer3.5") in found
    assert sum(repeats for name, repeats, _ in found if name.startswith("layer")) == 16


def test_the_last_name_of_a_unit_that_stands_alone_is_empty() -> None:
    assert {unit.last_name for unit in units(counted("resnet20"), 2)} == {""}


@pytest.mark.skipif("googlenet" not in CATALOG, reason="no GoogLeNet")
def test_branches_of_an_inception_module() -> None:
    """Szegedy et al. 2014, Table 1, inception (3a)."""
    module = next(unit for unit in units(counted("googlenet"), 1) if unit.name == "inception3a")
    assert set(module.branches) == {
        ("1x1, 64",),
        ("1x1, 96", "3x3, 128"),
        ("1x1, 16", "5x5, 32"),
        ("3x3", "1x1, 32"),
    }
    assert module.shortcut == ""
    idle = [unit for unit in units(counted("googlenet"), 1) if unit.idle]
    assert sum(unit.parameters for unit in idle) == 13_378_280 - 6_998_552


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x) + self.b(x)


def test_two_equal_branches_are_no_shortcut() -> None:
    parts = units(cost(nn.Sequential(Twice(), Twice()), (4, 8, 8)), 1)
    assert [unit.shortcut for unit in parts] == ["", "", ""]
    assert [(unit.name, unit.repeats) for unit in folded(parts)] == [("input", 1), ("0", 2)]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from(["conv", "relu", "block", "nested"]), min_size=1, max_size=8), st.integers(0, 4))
def test_sums_of_any_stack(parts: list[str], depth: int) -> None:
    made = {
        "conv": lambda: nn.Conv2d(4, 4, 3, padding=1),
        "relu": nn.ReLU,
        "block": Twice,
        "nested": lambda: nn.Sequential(Twice(), nn.Sequential(nn.BatchNorm2d(4), nn.ReLU())),
    }
    whole = cost(nn.Sequential(*(made[part]() for part in parts)), (4, 6, 6), training=False)
    for all_units in (units(whole, depth), folded(units(whole, depth))):
        for value in SUMMED:
            assert sum(getattr(unit, value) for unit in all_units) == sum(getattr(x, value) for x in whole.layers)
