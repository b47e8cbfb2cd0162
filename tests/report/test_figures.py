"""Figures are valid SVG and PNG, whatever the curves and the names."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ElementTree
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from residuum.report.figures import (
    ArmCurves,
    Curve,
    Drawing,
    Point,
    accuracy_against_macs,
    axis_top,
    confusion,
    error_curves,
    lines,
    spread_out,
)
from residuum.report.labels import Disc, Rectangle, label_places

HOSTILE = "<script>alert(1)</script>"


def curve(seeds: int, points: int = 5, *, level: float = 40.0) -> Curve:
    steps = list(range(100, 100 * (points + 1), 100))
    values = np.linspace(90, level, points) + np.arange(seeds)[:, None]
    return Curve(steps, values)


def check(drawing: Drawing) -> None:
    root = ElementTree.fromstring(drawing.svg)
    assert root.tag.endswith("svg")
    assert drawing.svg.startswith("<svg")
    assert len(list(root.iter())) > 30
    for element in root.iter():
        assert not element.tag.endswith("script")
        for name, value in element.attrib.items():
            if name.endswith(("href", "src")):
                assert value.startswith(("#", "data:")), f"{name}={value} loads something"
    with Image.open(io.BytesIO(drawing.png)) as image:
        image.load()
        assert image.format == "PNG"
        pixels = np.asarray(image.convert("L"))
    assert min(pixels.shape) > 200
    assert pixels.min() < 100 < 250 < pixels.max(), "something is drawn on white"


def texts(drawing: Drawing) -> list[str]:
    """The texts of a figure, which stay text."""
    return [
        "".join(each.itertext()) for each in ElementTree.fromstring(drawing.svg).iter() if each.tag.endswith("}text")
    ]


@pytest.mark.parametrize("seeds", [1, 2, 5])
@pytest.mark.parametrize("points", [1, 2, 7])
def test_error_curves_with_one_and_several_seeds(seeds: int, points: int) -> None:
    arms = [ArmCurves("plain20", curve(seeds, points), curve(seeds, points)), ArmCurves("plain56", curve(seeds), None)]
    check(error_curves({"plain networks": arms, "residual networks": arms[:1]}))


def test_bands_are_drawn_for_several_seeds_only() -> None:
    def bands(seeds: int) -> int:
        return error_curves({"p": [ArmCurves("a", curve(seeds), None)]}).svg.count("FillBetweenPolyCollection")

    assert bands(1) == 0
    assert bands(3) == 1


@pytest.mark.parametrize(
    ("known", "new", "top"), [(1.0, 45.0, 100), (1.0, 12.0, 24), (0.5, 2.0, 20), (30.0, 5.0, 100), (1.0, np.nan, 20)]
)
def test_the_axis_reaches_what_overfits(known: float, new: float, top: float) -> None:
    assert axis_top({"panel": [ArmCurves("resnet18", curve(1, level=known), curve(1, level=new))]}) == top


def test_the_words_of_a_figure() -> None:
    drawing = error_curves({"panel": [ArmCurves("resnet20", curve(1), curve(1))]}, test_name="validation")
    assert {"panel", "resnet20", "training", "validation", "iteration", "error (%)"} <= set(texts(drawing))


@pytest.mark.parametrize("name", ["__main__.Net", "_private"])
def test_the_legend_names_a_net_of_a_script(name: str) -> None:
    """A user's own class in the script that is run is called `__main__.Net`."""
    assert name in texts(error_curves({"error": [ArmCurves(name, curve(1), None)]}))
    assert name in texts(lines({name: curve(1)}, y_label="rate"))


@pytest.mark.parametrize("name", [HOSTILE, "a & b", '"quoted"', "-->", "$\\bad{$", "$", "a_b^c"])
def test_any_name_can_be_drawn(name: str) -> None:
    check(error_curves({name: [ArmCurves(name, curve(1), None)]}, test_name=name))
    check(lines({name: curve(1)}, y_label=name))
    check(confusion(np.eye(2, dtype=np.int64), (name, "other")))


def test_six_nets_in_a_panel_are_all_named() -> None:
    names = [f"resnet{depth}" for depth in (20, 32, 44, 56, 110, 1202, 164)]
    drawing = error_curves({"residual": [ArmCurves(name, curve(1), curve(1)) for name in names]})
    assert set(names) <= set(texts(drawing))
    check(drawing)


@pytest.mark.parametrize(
    ("heights", "expected"),
    [
        ([10.0, 50.0], [10.0, 50.0]),
        ([10.0, 12.0], [10.0, 15.0]),
        ([12.0, 10.0], [15.0, 10.0]),
        ([7.0, 7.0, 7.0], [7.0, 12.0, 17.0]),
        ([99.0, 100.0], [95.0, 100.0]),
        ([140.0, 3.0], [100.0, 3.0]),
        ([], []),
    ],
)
def test_names_at_the_ends_of_lines_do_not_meet(heights: list[float], expected: list[float]) -> None:
    assert spread_out(heights, apart=5, top=100) == pytest.approx(expected)


def test_lines() -> None:
    check(lines({"learning rate": curve(1, level=0.001)}, y_label="learning rate"))


def test_confusion_matrix_shows_its_counts() -> None:
    counts = np.array([[123, 4, 0], [0, 0, 0], [7, 0, 56]])
    drawing = confusion(counts, ("a", "b", "c"))
    check(drawing)
    shown = texts(drawing)
    assert {"123", "4", "7", "56", "a", "b", "c", "answer", "true class"} <= set(shown)
    assert "0" not in shown


def test_a_large_confusion_matrix_has_no_numbers() -> None:
    drawing = confusion(np.full((30, 30), 77), tuple(f"n{index}" for index in range(30)))
    check(drawing)
    assert "77" not in texts(drawing)


def test_a_matrix_of_many_classes_stays_a_picture() -> None:
    drawing = confusion(np.eye(120, dtype=np.int64), tuple(f"n{index}" for index in range(120)))
    assert max(Image.open(io.BytesIO(drawing.png)).size) <= 24 * 160
    assert {"n0", "n3", "n117"} <= {*texts(drawing)}
    assert not {"n1", "n2", "n118"} & {*texts(drawing)}


def test_class_names_in_korean() -> None:
    check(confusion(np.eye(2, dtype=np.int64), ("개", "고양이")))


def point(name: str, at: int = 0, protocol: str = "CIFAR-10 test error %") -> Point:
    return Point(
        name=name, macs=40_551_040 * (at + 1), parameters=269_722 * (at + 1), error=8.75 - at, protocol=protocol
    )


def test_error_against_macs() -> None:
    points = [point("resnet20"), point("resnet56", 2), point("vgg16", 3, "ImageNet top-1 error %")]
    drawing = accuracy_against_macs(points)
    check(drawing)
    shown = texts(drawing)
    assert {"resnet20", "resnet56", "vgg16", "CIFAR-10 test error %", "ImageNet top-1 error %"} <= set(shown)
    assert shown.count("published error (%)") == 2, "one panel for each protocol"
    assert "1 M parameters" in shown, "a size to compare with"


@pytest.mark.parametrize("count", [1, 2, 25])
def test_error_against_macs_of_one_and_many_nets(count: int) -> None:
    check(accuracy_against_macs([point(f"net{at}", at % 7) for at in range(count)]))


@pytest.mark.parametrize("name", [HOSTILE, "a & b", "$\\bad{$", "_private", "고양이"])
def test_any_net_can_be_drawn_against_macs(name: str) -> None:
    drawing = accuracy_against_macs([point(name, protocol=name)])
    check(drawing)
    assert texts(drawing).count(name) == 2


def test_error_against_macs_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="points"):
        accuracy_against_macs([])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(50, 350), st.floats(50, 250), st.floats(1, 15)), max_size=12))
def test_labels_neither_cover_each_other_nor_leave_the_panel(discs: list[tuple[float, float, float]]) -> None:
    drawn = [Disc(x, y, radius, 50, 10) for x, y, radius in discs]
    bounds = Rectangle(0, 0, 400, 300)
    places = label_places(drawn, bounds)
    assert len(places) == len(drawn)
    for place in places:
        assert place.overlap(bounds) == pytest.approx(place.area)
        assert place.area == pytest.approx(500)
    for one, other in combinations(places, 2):
        assert one.overlap(other) < 0.01


def test_a_label_stands_at_the_right_of_a_disc_that_is_alone() -> None:
    (place,) = label_places([Disc(100, 100, 10, 50, 10)], Rectangle(0, 0, 400, 300))
    assert (place.left, place.low) == pytest.approx((113, 95))
    (place,) = label_places([Disc(380, 100, 10, 50, 10)], Rectangle(0, 0, 400, 300))
    assert place.right == pytest.approx(367), "at the left where the panel ends"
