"""Figures of measured quantities with their spread: bars beside published values, and lines over something that varies.

Readable in grey: bars are told apart by their labels, lines by dash and marker, published values by a diamond. What is
not finite, or was not measured, is not drawn.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from residuum.records.quantity import PERCENT, Measured, Quantity
from residuum.report.figures import COLOURS, Drawing, drawn, styled
from residuum.report.numbers import short

DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P")
BAR_HEIGHT = 0.36  # inches


@dataclass(frozen=True)
class Bar:
    """One bar: what was measured, and what is published for it in the same unit (a share where that is percent)."""

    name: str
    measured: Measured
    published: float | None = None


@dataclass(frozen=True)
class Line:
    """Measured values over something that varies, such as depth; a band shows one standard deviation."""

    x: Sequence[float]
    measured: Sequence[Measured]


@styled
def bars(panels: Mapping[str, Sequence[Bar]], quantity: Quantity, *, log: bool = False) -> Drawing:
    """Horizontal bars from 0 with whiskers of one standard deviation, a panel for each title; diamonds are published.

    Args:
        panels: bars by the title of their panel, from top to bottom.
        quantity: what is on the axis.
        log: a logarithmic axis.
    """
    longest = max(len(members) for members in panels.values())
    figure = Figure(figsize=(5.6 * len(panels) + 0.4, 1.3 + BAR_HEIGHT * longest), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, (title, members) in zip(axes, panels.items(), strict=True):
        marked = _bars(axis, members, quantity)
        axis.set_title(title, fontsize=12, fontweight="bold", pad=26 if marked else None)
        axis.set_xlabel(axis_label(quantity))
        axis.grid(axis="x", color="#dddddd", linewidth=0.7)
        axis.set_axisbelow(True)
        if log:
            axis.set_xscale("log")
            _plain_ticks(axis.xaxis)
        elif not any(bar.measured.mean or bar.published for bar in members):
            axis.set_xlim(0, 1)  # all are 0: left to itself the axis would have 0 in its middle
    return drawn(figure)


def _bars(axis: Axes, members: Sequence[Bar], quantity: Quantity) -> bool:
    """Draw the bars of a panel; whether any has a published value, which a line above the panel explains."""
    scale = 100.0 if quantity.unit == PERCENT else 1.0
    means, spreads = _drawable(scale, [bar.measured for bar in members])
    places = range(len(members))
    whiskers = [spread or math.nan for spread in spreads] if any(spreads) else None
    axis.barh(places, means, xerr=whiskers, color=COLOURS[2], edgecolor="#003f66", linewidth=0.8, height=0.7,
              error_kw={"elinewidth": 1.2, "capsize": 3})  # fmt: skip
    published = [(place, scale * bar.published) for place, bar in enumerate(members) if bar.published is not None]
    if published:
        axis.plot([value for _, value in published], [place for place, _ in published], "D", color="black",
                  markersize=6, label="published", linestyle="none")  # fmt: skip
        axis.legend(frameon=False, fontsize=9, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    axis.set_yticks(list(places), [bar.name for bar in members])
    axis.invert_yaxis()
    return bool(published)


def _drawable(scale: float, measured: Sequence[Measured]) -> tuple[list[float], list[float]]:
    """Means, nan where there is nothing to draw, and standard deviations, 0 where there is none."""
    means = [scale * one.mean if math.isfinite(one.mean) else math.nan for one in measured]
    return means, [scale * one.std if one.varies and math.isfinite(one.std) else 0.0 for one in measured]


@styled
def lines_over(
    panels: Mapping[str, Mapping[str, Line]],
    quantity: Quantity,
    *,
    x_label: str,
    log_x: bool = False,
    log_y: bool = False,
    level: float | None = None,
) -> Drawing:
    """Named lines of means with a band of one standard deviation, a panel for each title; axes are shared.

    Args:
        panels: lines by their name, by the title of their panel.
        quantity: what is on the vertical axis.
        x_label: what varies.
        log_x, log_y: logarithmic axes.
        level: a value to be marked by a horizontal line, in the unit of the quantity.
    """
    figure = Figure(figsize=(5.2 * len(panels) + 0.4, 4.2), layout="constrained")
    axes = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0]
    scale = 100.0 if quantity.unit == PERCENT else 1.0
    for axis, (title, members) in zip(axes, panels.items(), strict=True):
        for index, (name, line) in enumerate(members.items()):
            _line(axis, line, scale, {"label": name, **look(index)})
        if level is not None:
            axis.axhline(scale * level, color="#777777", linewidth=1.0)
        axis.set_title(title, fontsize=12, fontweight="bold")
        axis.set_xlabel(x_label)
        axis.grid(color="#dddddd", linewidth=0.7)
        if log_x:
            axis.set_xscale("log")
            _plain_ticks(axis.xaxis)
        if log_y:
            axis.set_yscale("log")
            _plain_ticks(axis.yaxis)
        if members:
            axis.legend(frameon=False, fontsize=9)
    axes[0].set_ylabel(axis_label(quantity))
    return drawn(figure)


def look(index: int) -> dict[str, Any]:
    """Colour, dash and marker of line `index`, so that lines can be told apart without colours as well."""
    return {
        "color": COLOURS[(index + 1) % len(COLOURS)],
        "linestyle": DASHES[index % len(DASHES)],
        "marker": MARKERS[index % len(MARKERS)],
        "markersize": 4,
    }


def _line(axis: Axes, line: Line, scale: float, style: dict[str, Any]) -> None:
    means, spreads = _drawable(scale, line.measured)
    axis.plot(line.x, means, linewidth=1.8, **style)
    if any(spreads):
        low, high = ([mean + sign * spread for mean, spread in zip(means, spreads, strict=True)] for sign in (-1, 1))
        axis.fill_between(line.x, low, high, color=style["color"], alpha=0.15, linewidth=0)


def axis_label(quantity: Quantity) -> str:
    """Name and unit."""
    return f"{quantity.name} ({quantity.unit})" if quantity.unit else quantity.name


def _plain_ticks(axis: Axis) -> None:
    """Numbers in full on a logarithmic axis: matplotlib writes powers of ten as formulas, which are not set here."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: re.sub(r"\.0+ ", " ", short(value))))
    axis.set_minor_formatter(NullFormatter())
