"""Charts of an inspection, drawn for the width of a phone; on a wide page several stand side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from residuum.report.figures import COLOURS, Drawing, drawn, styled

SIZE = (4.7, 3.4)  # inches
ORANGE, BLUE, SKY, RED, GREEN = COLOURS[:5]
GREY = "#8a94a3"
# What tells curves in one figure apart, in grey too: colour, line, marker.
STYLES = ((BLUE, "-", "o"), (ORANGE, "--", "s"), (GREEN, "-.", "^"), (RED, ":", "D"))
MARKERS = "os^Dv"  # of classes, beside their colours
LEAST = 1e-6  # that a logarithmic scale of colours shows
LONGEST = 24  # characters of a name at an axis or in a legend
NAMED = 14  # ticks with names; of more every second, third, ... is named
LEGEND = {"frameon": False, "fontsize": 9, "loc": "lower left", "bbox_to_anchor": (0, 1), "ncols": 3, "borderpad": 0.2,
          "handlelength": 1.4, "columnspacing": 1.0}  # fmt: skip


@dataclass(frozen=True)
class Span:
    """From `low` to `high`; `open` where the true lower end may lie lower still."""

    low: float
    high: float
    open: bool = False


@styled
def series(
    names: Sequence[str],
    values: Mapping[str, Sequence[float]],
    *,
    y_label: str,
    log: bool = False,
    line_at: float | None = None,
) -> Drawing:
    """Named values over layers or blocks; `line_at` draws a dashed line to compare with."""
    figure, axis = _panel(y_label)
    for (colour, line, marker), (label, own) in zip(STYLES, values.items(), strict=False):
        axis.plot(range(len(names)), own, line, marker=marker, color=colour, markersize=3.5, linewidth=1.4, label=label)
    if log:
        _logarithmic(axis)
    if line_at is not None:
        axis.axhline(line_at, color=GREY, linestyle="--", linewidth=1)
    if len(values) > 1:
        axis.legend(**LEGEND)
    _name_ticks(axis, names)
    return drawn(figure)


@styled
def bars(names: Sequence[str], values: Sequence[float], *, y_label: str, line_at: float | None = None) -> Drawing:
    """One bar for each name; of shares and correlations the axis ends at 1."""
    figure, axis = _panel(y_label)
    axis.bar(range(len(names)), values, color=BLUE, width=0.75)
    axis.axhline(0, color="#333333", linewidth=0.8)
    if line_at is not None:
        axis.axhline(line_at, color=RED, linestyle="--", linewidth=1.2)
    if all(-1 <= value <= 1 for value in values):
        axis.set_ylim(min(0, *values) * 1.1, 1.02)
    _name_ticks(axis, names)
    return drawn(figure)


@styled
def spans(names: Sequence[str], values: Mapping[str, Sequence[Span]], *, y_label: str) -> Drawing:
    """Spans side by side on a logarithmic axis; one that is open, or begins at 0, goes on dotted to the bottom.

    Those of the first name are thick, those of the second thin.
    """
    figure, axis = _panel(y_label)
    ends = [end for own in values.values() for span in own for end in (span.low, span.high) if end > 0]
    floor = min(ends, default=1.0) / 3
    width = 0.8 / max(len(values), 1)
    for index, (colour, thick, (label, own)) in enumerate(
        zip((BLUE, ORANGE), (4.5, 1.8), values.items(), strict=False)
    ):
        for at, span in enumerate(own):
            x, low = at + (index - (len(values) - 1) / 2) * width, max(span.low, floor)
            axis.plot([x, x], [low, max(span.high, low)], color=colour, linewidth=thick, solid_capstyle="butt")
            if span.open or span.low <= 0:
                axis.plot([x, x], [floor, low], ":", color=colour, linewidth=1.5)
        axis.plot([], [], color=colour, linewidth=thick, label=label)
    axis.axhline(1, color=GREY, linestyle="--", linewidth=1)
    _logarithmic(axis)
    axis.legend(**LEGEND)
    _name_ticks(axis, names)
    return drawn(figure)


@styled
def depths(
    values: Mapping[str, Sequence[float]], *, y_label: str, log: bool = False, line_at: float | None = None
) -> Drawing:
    """A value of each layer of several nets, over how deep in its net the layer lies."""
    figure, axis = _panel(y_label)
    for (colour, line, marker), (label, own) in zip(STYLES, values.items(), strict=False):
        if own:  # a net without such layers keeps its colour
            axis.plot(np.linspace(0, 1, len(own)), own, line, marker=marker, color=colour, markersize=3,
                      linewidth=1.4, label=_ending(label))  # fmt: skip
    if log:
        _logarithmic(axis)
    if line_at is not None:
        axis.axhline(line_at, color=GREY, linestyle="--", linewidth=1)
    axis.set_xlabel("depth, from the image (0) to the classifier (1)")
    axis.legend(**LEGEND)
    return drawn(figure)


@styled
def curves(
    x: Sequence[float], values: Mapping[str, Sequence[float]], *, x_label: str, y_label: str, log: bool = False
) -> Drawing:
    """Named curves over one quantity."""
    figure, axis = _panel(y_label)
    for (colour, line, _), (label, own) in zip(STYLES, values.items(), strict=False):
        axis.plot(x, own, line, color=colour, linewidth=2, label=_ending(label))
    if log:
        _logarithmic(axis)
    axis.set_xlabel(x_label)
    if len(values) > 1:
        axis.legend(**LEGEND)
    return drawn(figure)


@styled
def histories(
    tracks: Mapping[str, tuple[Sequence[float], NDArray[np.floating]]], *, x_label: str, y_label: str, log: bool = False
) -> Drawing:
    """Named curves, each over steps of its own."""
    figure, axis = _panel(y_label)
    for (colour, line, marker), (label, (x, own)) in zip(STYLES, tracks.items(), strict=False):
        axis.plot(x, own, line, marker=marker, color=colour, linewidth=1.6, markersize=3.5, label=_ending(label))
    if log:
        _logarithmic(axis)
    axis.set_xlabel(x_label)
    axis.legend(**LEGEND)
    return drawn(figure)


@styled
def hills(
    x: Sequence[float], counted: Sequence[float], carried_x: Sequence[float], carried: Sequence[float], *, x_label: str
) -> Drawing:
    """Two distributions as shares of their sums: grey what there is, orange what it carries."""
    figure, axis = _panel("share")
    axis.fill_between(x, counted, color=GREY, alpha=0.45, linewidth=0, label="paths")
    axis.plot(carried_x, carried, "o-", color=ORANGE, markersize=3.5, label="gradient")
    axis.set_ylim(bottom=0)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set_xlabel(x_label)
    axis.legend(**LEGEND)
    return drawn(figure)


@styled
def scatter(points: NDArray[np.floating], labels: NDArray[np.int64], class_names: Sequence[str]) -> Drawing:
    """Points `(N, 2)` in the colours and markers of their classes; up to twenty classes are named."""
    figure, axis = _panel("")
    present = sorted(set(labels.tolist()))
    import matplotlib as mpl

    palette = mpl.colormaps["tab20" if len(present) > 10 else "tab10"]
    for order, label in enumerate(present):
        own = points[labels == label]
        name = _ending(class_names[label] if label < len(class_names) else str(label))
        axis.scatter(own[:, 0], own[:, 1], s=9, color=palette(order % palette.N), linewidths=0, rasterized=True,
                     marker=MARKERS[order % len(MARKERS)], label=name if len(present) <= 20 else None)  # fmt: skip
    axis.set_xticks([])
    axis.set_yticks([])
    if len(present) <= 20:
        axis.legend(frameon=False, fontsize=7.5, loc="center left", bbox_to_anchor=(1, 0.5), borderpad=0.1,
                    handletextpad=0.1, labelspacing=0.3)  # fmt: skip
    return drawn(figure)


@styled
def contours(
    x: Sequence[float],
    y: Sequence[float],
    values: NDArray[np.floating],
    *,
    label: str,
    limits: tuple[float, float] | None = None,
) -> Drawing:
    """A surface over a plane, values on a logarithmic scale of colours; NaN stays white. The middle is marked.

    `limits` are the values of the first and the last colour, so that two surfaces can be compared.
    """
    figure, axis = _panel("direction 2")
    shown = np.log10(np.maximum(values, LEAST))
    low, high = (None, None) if limits is None else np.log10(np.maximum(limits, LEAST)).tolist()
    image = axis.pcolormesh(x, y, np.ma.masked_invalid(shown), cmap="viridis", shading="nearest", rasterized=True,
                            vmin=low, vmax=high)  # fmt: skip
    if np.isfinite(shown).all() and min(shown.shape) > 2 and np.ptp(shown) > 0:
        axis.contour(x, y, shown, levels=9, colors="white", linewidths=0.6, alpha=0.7)
    axis.plot([0], [0], "+", color="white", markersize=9, markeredgewidth=1.5)
    axis.set_xlabel("direction 1")
    bar = figure.colorbar(image, ax=axis, format=lambda value, _: f"{10**value:.2g}")
    bar.set_label(label)
    return drawn(figure)


def _panel(y_label: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=SIZE, layout="constrained")
    axis = figure.add_subplot()
    axis.set_ylabel(y_label)
    axis.grid(axis="y", color="#e3e6ea", linewidth=0.7)
    axis.set_axisbelow(True)
    return figure, axis


def _logarithmic(axis: Axes) -> None:
    """A logarithmic axis with plain numbers at it; a linear one where nothing is above zero."""
    shown = [value for line in axis.get_lines() for value in np.atleast_1d(line.get_ydata()) if value > 0]
    if not shown:
        return
    axis.set_yscale("log")
    near = max(shown) / min(shown) < 100
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if near else (1,), numticks=8))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
    axis.yaxis.set_minor_formatter(NullFormatter())


def _name_ticks(axis: Axes, names: Sequence[str]) -> None:
    """Names under the axis, upright, as many as there is room for."""
    places = range(0, len(names), max(1, -(-len(names) // NAMED)))
    axis.set_xticks(places, [_ending(names[place]) for place in places], rotation=90, fontsize=8)
    axis.set_xlim(-0.6, len(names) - 0.4)


def _ending(name: str) -> str:
    """The name, or the end of a long one, which tells more of a layer than its beginning."""
    return name if len(name) <= LONGEST else "…" + name[1 - LONGEST :]
