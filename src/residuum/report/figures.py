"""Figures as SVG (for pages) and PNG (for everything else), drawn by matplotlib without a screen."""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from itertools import cycle
from textwrap import wrap
from typing import Any, ParamSpec

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

from residuum.report.labels import Disc, Rectangle, distance, label_places, nearest
from residuum.report.numbers import short

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
LARGEST_MATRIX = 24.0  # inches
MOST_NAMED = 48  # classes at the side of a matrix
LARGEST_DISC = 850.0  # square points
LEADER = 7.0  # points from disc to label from which a line joins them
LABEL_SIZE = 9.0
END_GAP = 0.055  # between names at the ends of lines, of the height of the axis
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


@dataclass(frozen=True, kw_only=True)
class Point:
    """One net: multiply-adds for an image, parameters, published error in percent and how that was measured."""

    name: str
    macs: int
    parameters: int
    error: float
    protocol: str


def styled(draw: Callable[P, Drawing]) -> Callable[P, Drawing]:
    """Run a drawing function under this file's style."""

    @wraps(draw)
    def styled(*args: P.args, **kwargs: P.kwargs) -> Drawing:
        import matplotlib as mpl

        with mpl.rc_context(STYLE), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing from font")
            return draw(*args, **kwargs)

    return styled


@styled
def error_curves(panels: Mapping[str, Sequence[ArmCurves]], *, test_name: str = "test") -> Drawing:
    """Training (thin) and test (bold) error over iterations, as in He et al. 2015, Figure 6.

    Lines are means over seeds, bands one standard deviation to either side. All panels share their axes. Each arm's
    name stands beside the end of its test line, or of its training line where it has none, so that arms can be told
    apart without colours.

    Args:
        panels: arms by the title of their panel.
        test_name: what the bold lines are.
    """
    figure, axes = _figure(len(panels))
    for axis, (title, arms) in zip(axes, panels.items(), strict=True):
        for colour, arm in zip(cycle(COLOURS), arms, strict=False):
            _line(axis, arm.train, colour, width=1.2, style="--")
            if arm.test is not None:
                _line(axis, arm.test, colour, width=2.6, style="-")
        axis.plot([], [], color="#555555", linewidth=1.2, linestyle="--", gid=LABELLED)
        axis.plot([], [], color="#555555", linewidth=2.6, gid=LABELLED)
        axis.set_title(title, fontsize=12, fontweight="bold", pad=32)
        axis.set_xlabel("iteration")
        axis.set_ylim(0, axis_top(panels))
        _name_ends(axis, arms)
        axis.grid(axis="y", color="#dddddd", linewidth=0.7)
        place: dict[str, Any] = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0), "ncols": 2}
        _legend(axis, ["training", test_name], fontsize=9, handlelength=1.6, columnspacing=1.2, **place)
    axes[0].set_ylabel("error (%)")
    return drawn(figure)


@styled
def lines(curves: Mapping[str, Curve], *, y_label: str) -> Drawing:
    """Named curves over steps in one panel."""
    figure, axes = _figure(1)
    for colour, curve in zip(COLOURS, curves.values(), strict=False):
        _line(axes[0], curve, colour, width=2.0, style="-", gid=LABELLED)
    axes[0].set_xlabel("iteration")
    axes[0].set_ylabel(y_label)
    axes[0].set_ylim(bottom=0)
    axes[0].grid(axis="y", color="#dddddd", linewidth=0.7)
    _legend(axes[0], list(curves))
    return drawn(figure)


@styled
def confusion(counts: NDArray[np.int64], class_names: Sequence[str]) -> Drawing:
    """A confusion matrix: true class in the row, answer in the column, shares of the row as shade.

    Of more than `MOST_NAMED` classes only every second, third, ... is named.
    """
    size = min(max(4.0, 0.5 * len(class_names) + 2), LARGEST_MATRIX)
    every = -(-len(class_names) // MOST_NAMED)
    figure = Figure(figsize=(size, size), layout="constrained")
    axis = figure.add_subplot()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axis.set_xticks(range(0, len(class_names), every), class_names[::every], rotation=60, ha="right")
    axis.set_yticks(range(0, len(class_names), every), class_names[::every])
    axis.set_xlabel("answer")
    axis.set_ylabel("true class")
    if len(class_names) <= 20:
        for (row, column), count in np.ndenumerate(counts):
            if count:
                colour = "white" if shares[row, column] > 0.5 else "black"
                axis.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=8)
    return drawn(figure)


@styled
def accuracy_against_macs(points: Sequence[Point]) -> Drawing:
    """Published error over multiply-adds, one panel for each protocol; the area of a disc is the number of parameters.

    Raises:
        ValueError: there are no points.
    """
    if not points:
        raise ValueError("points: must be at least one, got none. Try: nets that have a published error")
    panels: dict[str, list[Point]] = {}
    for point in points:
        panels.setdefault(point.protocol, []).append(point)
    columns = min(len(panels), 2)
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(5.8 * columns + 0.4, 4.9 * rows), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    area = LARGEST_DISC / max(point.parameters for point in points)
    for axis, (protocol, members) in zip(axes, panels.items(), strict=False):
        _discs(axis, protocol, members, area)
    for axis in axes[len(panels) :]:
        axis.remove()
    figure.draw_without_rendering()  # places the axes, by which the labels are placed
    figure.set_layout_engine("none")
    for axis, members in zip(axes, panels.values(), strict=False):
        _labels(canvas, axis, members, area)
    return drawn(figure)


def _discs(axis: Axes, protocol: str, points: Sequence[Point], area: float) -> None:
    axis.scatter(
        [point.macs for point in points],
        [point.error for point in points],
        s=[area * point.parameters for point in points],
        c=COLOURS[1], alpha=0.35, linewidths=0,
    )  # fmt: skip
    axis.scatter([point.macs for point in points], [point.error for point in points], s=7, c="#003f66", linewidths=0)
    axis.set_title("\n".join(wrap(protocol, 46)), fontsize=11, fontweight="bold", pad=30)
    axis.set_xscale("log")
    low, high = (limit(point.macs for point in points) for limit in (min, max))
    axis.set_xlim(low / 2.2, high * 2.2)
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 50 else (1,)))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _rounded(value)))
    axis.xaxis.set_minor_formatter(NullFormatter())
    errors = [point.error for point in points]
    room = max(0.16 * (max(errors) - min(errors)), 0.5)
    axis.set_ylim(max(0.0, min(errors) - room), max(errors) + room)
    axis.set_xlabel("MACs for an image (log scale)")
    axis.set_ylabel("published error (%)")
    axis.grid(color="#e3e6ea", linewidth=0.7)
    axis.set_axisbelow(True)
    largest = 10 ** int(np.log10(LARGEST_DISC / area))
    sizes = [largest / 100, largest / 10, largest]
    handles = [axis.scatter([], [], s=area * size, c=COLOURS[1], alpha=0.35, linewidths=0) for size in sizes]
    axis.legend(handles, [_rounded(size) + (" parameters" if size == largest else "") for size in sizes],
                frameon=False, fontsize=9, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)  # fmt: skip


def _rounded(value: float) -> str:
    """A round number without the zeros behind its point."""
    return re.sub(r"\.0+ ", " ", short(value))


def _labels(canvas: FigureCanvasAgg, axis: Axes, points: Sequence[Point], area: float) -> None:
    """Names beside their discs; a line joins those that had to go further."""
    pixels = canvas.figure.dpi / 72
    renderer = canvas.get_renderer()  # type: ignore[no-untyped-call]
    texts = [axis.text(0, 0, point.name, fontsize=LABEL_SIZE) for point in points]
    discs = []
    for text, point in zip(texts, points, strict=True):
        box = text.get_window_extent(renderer)
        x, y = axis.transData.transform((point.macs, point.error))
        discs.append(Disc(x, y, np.sqrt(area * point.parameters / np.pi) * pixels, box.width + 4 * pixels, box.height))
    frame = axis.get_window_extent()
    back = axis.transData.inverted()
    for text, disc, place in zip(
        texts, discs, label_places(discs, Rectangle(frame.x0, frame.y0, frame.x1, frame.y1)), strict=True
    ):
        left, middle = back.transform((place.left + 2 * pixels, (place.low + place.high) / 2))
        text.set_position((left, middle))
        text.set_verticalalignment("center")
        if distance(place, disc) > LEADER * pixels:
            ends = back.transform([(disc.x, disc.y), nearest(place, disc)])
            axis.plot(ends[:, 0], ends[:, 1], color="#8a94a3", linewidth=0.7, zorder=1)


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


def _name_ends(axis: Axes, arms: Sequence[ArmCurves]) -> None:
    """The name of each arm right of the axis, at the height of its end or as near as the others leave room."""
    top = axis.get_ylim()[1]
    last = [float((arm.test or arm.train).values[:, -1].mean()) for arm in arms]
    heights = spread_out([end if math.isfinite(end) else top for end in last], apart=END_GAP * top, top=top)
    beside = axis.get_yaxis_transform()
    for colour, arm, height in zip(cycle(COLOURS), arms, heights, strict=False):
        axis.plot([1.005, 1.03], [height] * 2, color=colour, linewidth=2.6, transform=beside, clip_on=False, gid="end")
        axis.text(1.04, height, arm.name, transform=beside, fontsize=LABEL_SIZE, verticalalignment="center")


def spread_out(heights: Sequence[float], *, apart: float, top: float) -> list[float]:
    """Heights between 0 and `top` in their order, each pushed up until it lies `apart` from the one below.

    What is pushed beyond `top` comes down again, and the others with it; where there are too many they meet at 0.
    """
    order = sorted(range(len(heights)), key=lambda index: heights[index])
    placed = [0.0] * len(heights)
    lowest = 0.0
    for index in order:
        placed[index] = max(min(heights[index], top), lowest)
        lowest = placed[index] + apart
    highest = top
    for index in reversed(order):
        placed[index] = max(0.0, min(placed[index], highest))
        highest = placed[index] - apart
    return placed


def axis_top(panels: Mapping[str, Sequence[ArmCurves]]) -> float:
    """Upper end of the error axis: the whole range where a curve ends high, else twice the end, as the paper has it."""
    arms = [arm for members in panels.values() for arm in members]
    curves = [curve for arm in arms for curve in (arm.train, arm.test) if curve is not None]
    ends = [float(end) for curve in curves for end in curve.values[:, -1] if math.isfinite(end)]
    highest = max(ends, default=MAX_SHOWN_ERROR)
    return MAX_SHOWN_ERROR if highest > 25 else max(20.0, 2.0 * highest)


def drawn(figure: Figure) -> Drawing:
    """The figure in both formats."""
    svg, png = io.StringIO(), io.BytesIO()
    figure.savefig(svg, format="svg", metadata={"Date": None})
    figure.savefig(png, format="png", dpi=PNG_DPI)
    markup = svg.getvalue()
    return Drawing(svg=markup[markup.index("<svg") :], png=png.getvalue())
