"""Published and exact costs: every figure recomputed by hand formula and from the built net."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from residuum.nets.catalog import CATALOG, Entry, matching
from residuum.nets.resnet import Variant

# Facts of the papers and of the weights in circulation: parameters, multiply-adds.
FACTS = {
    "resnet18": (11_689_512, 1_814_073_344),
    "resnet34": (21_797_672, 3_663_761_408),
    "resnet50": (25_557_032, 4_089_184_256),
    "resnet101": (44_549_160, 7_801_405_440),
    "resnet152": (60_192_808, 11_513_626_624),
    "resnet50_v1": (25_557_032, 3_857_973_248),
    "resnet101_v1": (44_549_160, 7_570_194_432),
    "resnet152_v1": (60_192_808, 11_282_415_616),
    "resnet20": (269_722, 40_551_040),
    "resnet32": (464_154, 68_862_592),
    "resnet44": (658_586, 97_174_144),
    "resnet56": (853_018, 125_485_696),
    "resnet110": (1_727_962, 252_887_680),
    "resnet1202": (19_421_274, 2_829_238_912),
}


def conv_cost(cin: int, cout: int, kernel: int, side: int) -> tuple[int, int]:
    """Parameters and multiply-adds of a convolution without bias, at an output of side x side."""
    weights = cin * cout * kernel * kernel
    return weights, weights * side * side


def by_hand(variant: Variant, input_size: int, num_classes: int) -> tuple[int, int]:
    """Parameters and multiply-adds by formula: convolutions, two values a channel for each BN, the linear layer."""
    terms: list[tuple[int, int]] = []
    norms = 0
    kernel, side = (7, input_size // 2) if variant.stem == "imagenet" else (3, input_size)
    terms.append(conv_cost(3, variant.widths[0], kernel, side))
    norms += variant.widths[0]
    side = side // 2 if variant.stem == "imagenet" else side
    channels = variant.widths[0]
    for stage, (count, width) in enumerate(zip(variant.blocks, variant.widths, strict=True)):
        for number in range(count):
            before, out = side, width * variant.expansion
            if stage > 0 and number == 0:
                side //= 2
            if variant.block == "basic":
                terms += [conv_cost(channels, width, 3, side), conv_cost(width, width, 3, side)]
                inner = [channels, width] if variant.preactivation else [width, width]
            else:
                reduced = side if variant.stride_on == "first" else before
                terms += [
                    conv_cost(channels, width, 1, reduced),
                    conv_cost(width, width, 3, side),
                    conv_cost(width, out, 1, side),
                ]
                inner = [channels, width, width] if variant.preactivation else [width, width, out]
            norms += sum(inner)
            if variant.preactivation and stage == number == 0:
                norms -= channels  # the stem's activation serves the first block
            changes = channels != out or side != before
            if variant.shortcut == "project_all" or (variant.shortcut == "project" and changes):
                terms.append(conv_cost(channels, out, 1, side))
                norms += 0 if variant.preactivation else out
            channels = out
    norms += channels if variant.preactivation else 0
    parameters = sum(weights for weights, _ in terms) + 2 * norms + channels * num_classes + num_classes
    return parameters, sum(macs for _, macs in terms) + channels * num_classes


def measured(entry: Entry) -> tuple[int, int]:
    """Parameters and multiply-adds of the built net, on the meta device."""
    with torch.device("meta"):
        model = entry.build()
    macs = 0

    def count(module: nn.Module, inputs: object, output: torch.Tensor) -> None:
        nonlocal macs
        weight = module.get_parameter("weight")
        macs += output.numel() * weight[0].numel() if isinstance(module, nn.Conv2d) else weight.numel()

    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.register_forward_hook(count)
    model.eval()(torch.empty(1, 3, entry.input_size, entry.input_size, device="meta"))
    return sum(parameter.numel() for parameter in model.parameters()), macs


@pytest.mark.parametrize("name", CATALOG)
def test_cost_by_hand_formula_and_by_the_built_net(name: str) -> None:
    entry = CATALOG[name]
    stated = (entry.parameters, entry.macs)
    assert by_hand(entry.variant, entry.input_size, entry.num_classes) == stated
    assert measured(entry) == stated


@pytest.mark.parametrize("name", FACTS)
def test_cost_equals_the_known_facts(name: str) -> None:
    assert (CATALOG[name].parameters, CATALOG[name].macs) == FACTS[name]


@pytest.mark.parametrize("name", CATALOG)
def test_what_the_paper_prints_agrees_with_the_exact_figures(name: str) -> None:
    entry = CATALOG[name]
    if entry.published.parameters:
        assert float(entry.published.parameters.rstrip("M")) == pytest.approx(entry.parameters / 1e6, rel=0.03)
    if entry.published.macs:
        gap = abs(float(entry.published.macs) - entry.macs) / entry.macs
        assert gap < 0.025 or entry.note, "a difference from the paper is explained"


def test_plain34_has_18_56_percent_of_the_macs_of_vgg19() -> None:
    # The paper says 18 %: its rounded 3.6 over 19.6. VGG-19: 19,632,062,464.
    assert round(100 * CATALOG["plain34"].macs / 19_632_062_464, 2) == 18.56


def test_matching_takes_parts_and_shell_patterns() -> None:
    assert [entry.name for entry in matching("plain*")] == [name for name in CATALOG if name.startswith("plain")]
    assert {entry.name for entry in matching("1202")} == {"resnet1202"}
    assert len(matching("")) == len(CATALOG)
