"""Figures are valid SVG and PNG, whatever the curves and the names."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from PIL import Image

from residuum.report.figures import ArmCurves, Curve, Drawing, confusion, error_curves, lines

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


def test_class_names_in_korean() -> None:
    check(confusion(np.eye(2, dtype=np.int64), ("개", "고양이")))
