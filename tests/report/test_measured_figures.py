"""Figures of measured quantities: everything is named, published values are marked, what is not finite is left out."""

from __future__ import annotations

import io
import math

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from residuum.records.quantity import Measured, Quantity, exactly
from residuum.report import measured_figures as module
from residuum.report.figures import Drawing
from residuum.report.measured_figures import Bar, Line, axis_label, bars, lines_over

ERROR, TIME = Quantity("test error"), Quantity("time", "ms")


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are drawn in a test."""
    figures: list[Figure] = []
    original = module.drawn

    def keep(figure: Figure) -> Drawing:
        figures.append(figure)
        return original(figure)

    monkeypatch.setattr(module, "drawn", keep)
    return figures


def test_bars_stand_for_means_with_published_values_beside(drawn: list[Figure]) -> None:
    found = bars(
        {
            "CIFAR-10": [Bar("resnet20", Measured((0.08, 0.09)), 0.0875), Bar("resnet32", Measured((0.07,)), 0.0751)],
            "digits": [Bar("lenet5_$x$", Measured((0.02, 0.02, 0.05)))],
        },
        ERROR,
    )
    for expected in ("CIFAR-10", "digits", "resnet20", "resnet32", "lenet5_$x$", "published", "test error (%)"):
        assert f">{expected}<" in found.svg, expected
    left, right = drawn[0].axes
    assert [patch.get_width() for patch in left.patches] == pytest.approx([8.5, 7.0])
    (diamonds,) = (line for line in left.lines if line.get_marker() == "D")
    assert [*diamonds.get_xdata()] == pytest.approx([8.75, 7.51])
    assert left.get_legend() is not None
    assert right.get_legend() is None
    assert left.get_ylim()[0] > left.get_ylim()[1], "from top to bottom"
    with Image.open(io.BytesIO(found.png)) as image:
        assert min(image.size) > 200


def test_what_is_counted_has_no_whiskers(drawn: list[Figure]) -> None:
    bars({"": [Bar("a", exactly(3)), Bar("b", exactly(4))]}, Quantity("layers", ""))
    assert not drawn[0].axes[0].collections
    bars({"": [Bar("a", Measured((3.0, 4.0))), Bar("b", exactly(4))]}, TIME)
    (whiskers,) = drawn[1].axes[0].collections
    ends = [path.vertices for path in whiskers.get_paths() if np.isfinite(path.vertices).all()]
    assert len(ends) == 1
    assert ends[0][:, 0] == pytest.approx([3.5 - math.sqrt(0.5), 3.5 + math.sqrt(0.5)])


@pytest.mark.parametrize("log", [False, True])
def test_what_is_not_finite_or_was_not_measured_is_left_out(log: bool) -> None:
    values = [Measured((0.1, 0.3)), Measured(()), Measured((math.inf, 1.0)), Measured((math.nan,)), exactly(0.0)]
    found = bars({"": [Bar(str(number), each) for number, each in enumerate(values)]}, TIME, log=log)
    assert found.png.startswith(b"\x89PNG")
    lines_over({"": {"a": Line(range(5), values)}}, TIME, x_label="depth", log_y=log)


def test_lines_have_a_band_and_look_different_in_grey(drawn: list[Figure]) -> None:
    names = [f"net{number}" for number in range(6)]
    members = {name: Line([1, 2, 4], [Measured((0.1, 0.2))] * 3) for name in names}
    members["counted"] = Line([1, 2, 4], [exactly(0.1)] * 3)
    found = lines_over({"one": members, "two": {}}, ERROR, x_label="blocks", log_x=True, level=0.9)
    for expected in (*names, "counted", "blocks", "test error (%)", "one", "two"):
        assert f">{expected}<" in found.svg, expected
    axis = drawn[0].axes[0]
    shown = [line for line in axis.lines if line.get_label() in members]
    assert len({(str(line.get_linestyle()), line.get_marker()) for line in shown[:6]}) == 6
    assert [*shown[0].get_ydata()] == pytest.approx([15.0] * 3)
    assert len(axis.collections) == 6, "no band for what was counted"
    assert axis.get_xscale() == "log"
    assert any([*line.get_ydata()] == [90.0, 90.0] for line in axis.lines), "the level, in percent"


def test_labels_name_the_unit() -> None:
    assert [axis_label(each) for each in (ERROR, TIME, Quantity("layers", ""))] == [
        "test error (%)", "time (ms)", "layers",
    ]  # fmt: skip


def test_the_style_is_put_back() -> None:
    before = dict(mpl.rcParams)
    bars({"": [Bar("a", exactly(1))]}, TIME)
    assert dict(mpl.rcParams) == before
