"""Figures as SVG (for pages) and PNG (for everything else), drawn by matplotlib without a screen."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, ParamSpec

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

# Okabe and Ito's colours, dark ones alternating with light ones so that neighbours differ in grey as well.
COLOURS = ("#E69F00", "#0072B2", "#56B4E9", "#D55E00", "#009E73", "#CC79A7")
PNG_DPI = 160
STYLE: Any = {
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "none",  # text stays text: a browser has fonts for scripts that matplotlib's own lacks
    "text.parse_math": False,  # a name may hold a dollar sign
}
MAX_SHOWN_ERROR = 100.0
LABELLED = "labelled"  # mark of the lines that a legend names
P = ParamSpec("P")


@dataclass(frozen=True)
class Drawing:
    """One figure in both formats."""

    svg: str
    png: bytes


@dataclass(frozen=True, eq=False)
class Curve:
    """Error over steps for one arm: `values` is `(seeds, points)`, in percent."""

    steps: Sequence[float]
    values: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ArmCurves:
    """Training and test curves of one net."""

    name: str
    train: Curve
    test: Curve | None


def _styled(draw: Callable[P, Drawing]) -> Callable[P, Drawing]:
    """Run a drawing function under this file's style."""

    @wraps(draw)
    def styled(*args: P.args, **kwargs: P.kwargs) -> Drawing:
        import matplotlib as mpl

        with mpl.rc_context(STYLE), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing from font")
            return draw(*args, **kwargs)

    return styled


@_styled
def error_curves(panels: Mapping[str, Sequence[ArmCurves]], *, test_name: str = "test") -> Drawing:
    """Training (thin) and test (bold) error over iterations, as in He et al. 2015, Figure 6.

    Lines are means over seeds, bands one standard deviation to either side. All panels share their axes.

    Args:
        panels: arms by the title of their panel.
        test_name: what the bold lines are.
    """
    figure, axes = _figure(len(panels))
    for axis, (title, arms) in zip(axes, panels.items(), strict=True):
        for colour, arm in zip(COLOURS, arms, strict=False):
            _line(axis, arm.train, colour, width=1.2, style="--")
            if arm.test is not None:
                _line(axis, arm.test, colour, width=2.6, style="-")
            axis.plot([], [], color=colour, linewidth=5, gid=LABELLED)
        axis.plot([], [], color="#555555", linewidth=1.2, linestyle="--", gid=LABELLED)
        axis.plot([], [], color="#555555", linewidth=2.6, gid=LABELLED)
        axis.set_title(title, fontsize=12, fontweight="bold", pad=32)
        axis.set_xlabel("iteration")
        axis.set_ylim(0, _top(panels))
        axis.grid(axis="y", color="#dddddd", linewidth=0.7)
        labels = [*(arm.name for arm in arms), "training", test_name]
        place: dict[str, Any] = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0), "ncols": len(labels)}
        _legend(axis, labels, fontsize=9, handlelength=1.6, columnspacing=1.2, **place)
    axes[0].set_ylabel("error (%)")
    return _draw(figure)


@_styled
def lines(curves: Mapping[str, Curve], *, y_label: str, top: float | None = None) -> Drawing:
    """Named curves over steps in one panel."""
    figure, axes = _figure(1)
    for colour, curve in zip(COLOURS, curves.values(), strict=False):
        _line(axes[0], curve, colour, width=2.0, style="-", gid=LABELLED)
    axes[0].set_xlabel("iteration")
    axes[0].set_ylabel(y_label)
    axes[0].set_ylim(bottom=0, top=top)
    axes[0].grid(axis="y", color="#dddddd", linewidth=0.7)
    _legend(axes[0], list(curves))
    return _draw(figure)


@_styled
def confusion(counts: NDArray[np.int64], class_names: Sequence[str]) -> Drawing:
    """A confusion matrix: true class in the row, answer in the column, shares of the row as shade."""
    size = max(4.0, 0.5 * len(class_names) + 2)
    figure = Figure(figsize=(size, size), layout="constrained")
    axis = figure.add_subplot()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axis.set_xticks(range(len(class_names)), class_names, rotation=60, ha="right")
    axis.set_yticks(range(len(class_names)), class_names)
    axis.set_xlabel("answer")
    axis.set_ylabel("true class")
    if len(class_names) <= 20:
        for (row, column), count in np.ndenumerate(counts):
            if count:
                colour = "white" if shares[row, column] > 0.5 else "black"
                axis.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=8)
    return _draw(figure)


def _figure(panels: int) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(5.2 * panels + 0.4, 4.2), layout="constrained")
    return figure, list(figure.subplots(1, panels, sharex=True, sharey=True, squeeze=False)[0])


def _legend(axis: Axes, labels: Sequence[str], **options: Any) -> None:
    """A legend of the axis's labelled lines, in order; set after the fact, since matplotlib hides names like `_x`."""
    handles = [line for line in axis.get_lines() if line.get_gid() == LABELLED]
    legend = axis.legend(handles, [str(number) for number in range(len(handles))], frameon=False, **options)
    for text, label in zip(legend.get_texts(), labels, strict=True):
        text.set_text(label)


def _line(axis: Axes, curve: Curve, colour: str, *, width: float, style: str, gid: str = "line") -> None:
    mean = curve.values.mean(axis=0)
    axis.plot(curve.steps, mean, color=colour, linewidth=width, linestyle=style, gid=gid)
    if len(curve.values) > 1:
        std = curve.values.std(axis=0, ddof=1)
        axis.fill_between(curve.steps, mean - std, mean + std, color=colour, alpha=0.15, linewidth=0)


def _top(panels: Mapping[str, Sequence[ArmCurves]]) -> float:
    """Upper end of the error axis: the whole range where an arm ends high, else twice the end, as the paper has it."""
    ends = [arm.train.values[:, -1].max() for arms in panels.values() for arm in arms]
    return MAX_SHOWN_ERROR if max(ends) > 25 else max(20.0, 2.0 * float(max(ends)))


def _draw(figure: Figure) -> Drawing:
    svg, png = io.StringIO(), io.BytesIO()
    figure.savefig(svg, format="svg", metadata={"Date": None})
    figure.savefig(png, format="png", dpi=PNG_DPI)
    markup = svg.getvalue()
    return Drawing(svg=markup[markup.index("<svg") :], png=png.getvalue())
