"""What is reported of the nets: names and quantities that exist, figures that agree with what was counted."""

from __future__ import annotations

import re

import pytest

from residuum.costing.cost import Cost
from residuum.costing.count import cost
from residuum.nets.catalog import CATALOG
from residuum.nets.reported import ERRORS, RATIOS, TAUGHT
from residuum.references import skeleton

TEN_CROPS = "ImageNet top-1 error %, 10 crops (He et al. 2015)"
CIFAR = "CIFAR-10 test error %"


def counted(name: str) -> Cost:
    found = skeleton(name)
    return cost(found.net, found.input_shape, training=False)


@pytest.mark.parametrize("protocol", ERRORS)
def test_errors_are_of_nets_of_the_catalog(protocol: str) -> None:
    assert set(ERRORS[protocol]) <= set(CATALOG)
    assert all(0 < error < 100 for error in ERRORS[protocol].values())


@pytest.mark.parametrize("protocol", [TEN_CROPS, CIFAR])
def test_errors_of_a_paper_are_those_that_the_catalog_prints(protocol: str) -> None:
    for name, error in ERRORS[protocol].items():
        if name == "vgg16":  # of another paper, which reports another test of it
            continue
        printed = re.findall(r"\d+\.\d+", CATALOG[name].published.error)
        assert f"{error:.2f}" in printed, name


def test_a_protocol_holds_nets_of_one_size_of_image_and_one_number_of_classes() -> None:
    for protocol, errors in ERRORS.items():
        assert len({(CATALOG[name].input_shape, CATALOG[name].num_classes) for name in errors}) == 1, protocol


@pytest.mark.parametrize("name", TAUGHT)
def test_what_is_taught_is_of_a_quantity_that_is_counted(name: str) -> None:
    found = counted(CATALOG[name].name)
    for taught in TAUGHT[name]:
        assert isinstance(getattr(found, taught.quantity), int)
        assert taught.says
        assert taught.source
        assert taught.why


def test_the_reasons_name_exact_figures() -> None:
    values = counted("vgg16").activation_values
    assert f"{values / 1e6:.1f}M values; with 4 bytes each that is {4 * values / 1e6:.0f} MB" in TAUGHT["vgg16"][0].why
    assert f"({4 * values / 2**20:.0f} MiB)" in TAUGHT["vgg16"][0].why
    run = counted("googlenet").inference_parameters
    older = CATALOG["alexnet_2012"].parameters
    why = TAUGHT["googlenet"][0].why
    assert f"{run:,}" in why
    assert f"{older:,}" in why
    assert f"{older / run:.1f} times fewer" in why


def test_the_figure_of_vgg16_is_the_cost_of_its_convolutions() -> None:
    convolutions = next(share.macs for share in counted("vgg16").groups() if share.name == "convolution")
    assert f"{convolutions:,}" in CATALOG["vgg16"].differs["macs"]


@pytest.mark.parametrize("pair", RATIOS, ids="-".join)
def test_ratios_are_of_two_nets_of_the_catalog(pair: tuple[str, str]) -> None:
    assert set(pair) <= set(CATALOG)
    assert pair[0] != pair[1]
    assert (pair[1], pair[0]) not in RATIOS, "one remark for a pair, in whichever order it is typed"


@pytest.mark.parametrize(
    ("first", "second", "printed"), [("plain34", "vgg19", (3.6, 19.6)), ("resnet152_v1", "vgg19", (11.3, 19.6))]
)
def test_ratios_repeat_what_the_paper_rounds(first: str, second: str, printed: tuple[float, float]) -> None:
    got = tuple(float(f"{CATALOG[name].macs / 1e9:.1f}") for name in (first, second))
    assert got == printed


@pytest.mark.parametrize("other", ["alexnet", "alexnet_2012"])
def test_googlenet_has_8_7_times_fewer_parameters(other: str) -> None:
    times = CATALOG[other].parameters / counted("googlenet").inference_parameters
    assert f"{times:.1f} times" in RATIOS["googlenet", other]
