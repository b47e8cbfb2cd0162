"""Two nets in one figure: of the parts that can be compared, what the one found beside what the other did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from residuum.report.inspection.chart_parts import HISTORIES, drawing_of, finite, numbers
from residuum.report.inspection.charts import contours, curves, depths, histories
from residuum.report.inspection.shown import Found, Group, Shown


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One value of each layer or block.

    Attributes:
        rows, value: where it stands in what a part found.
        y_label: at the axis.
        log: whether the axis is logarithmic.
        line_at: a value to compare with.
    """

    rows: str
    value: str
    y_label: str
    log: bool = False
    line_at: float | None = None


COMPARED: Mapping[str, Sequence[Compared]] = {
    "responses": [Compared(rows="layers", value="std", y_label="std of responses")],
    "anatomy": [
        Compared(rows="blocks", value="ratio", y_label="|F(x)| / |x|", line_at=1),
        Compared(rows="blocks", value="cosine", y_label="cosine(x, F(x))", line_at=0),
    ],
    "gradients": [Compared(rows="layers", value="norm", y_label="|dL/dW|", log=True)],
    "probes": [Compared(rows="probes", value="accuracy", y_label="accuracy")],
    "landscape": [],
    "history": [],
}


def compared(part: str, found: Mapping[str, Found]) -> list[Shown]:
    """The figures of a part with both nets, by their names; none where the second net found nothing to draw."""
    if part == "landscape":
        return _landscapes(found)
    if part == "history":
        return _histories(found)
    drawn = []
    for each in COMPARED.get(part, ()):
        values = {name: _values(own, each) for name, own in found.items()}
        if any(values.values()):
            drawing = depths(values, y_label=each.y_label, log=each.log, line_at=each.line_at)
            drawn.append(drawing_of(f"{part}-{each.value}-both", drawing))
    return drawn


def _values(found: Found, each: Compared) -> list[float]:
    return [float(row[each.value]) for row in found.get(each.rows, ())]


def _landscapes(found: Mapping[str, Found]) -> list[Shown]:
    """One chart of both lines, and the planes in the same colours for the same loss."""
    lines = {name: finite(own["line"]).tolist() for name, own in found.items() if "line" in own}
    if not lines:
        return []
    at = next(own["line_at"] for own in found.values() if "line" in own)
    drawing = curves(at.tolist(), lines, x_label="along direction 1", y_label="loss (nats)", log=True)
    drawn = [drawing_of("landscape-line-both", drawing)]
    planes = {name: finite(own["values"]) for name, own in found.items() if "values" in own}
    limits = value_limits(list(planes.values()))
    for number, (name, values) in enumerate(planes.items(), start=1):
        places = found[name]["at"]
        done = int((~np.isnan(found[name]["values"])).sum())
        drawing = contours(places, places, values, label="loss (nats)", limits=limits)
        drawn.append(drawing_of(f"landscape-both-{number}", drawing, f"{name}: {done} of {values.size} points"))
    return drawn


def _histories(found: Mapping[str, Found]) -> list[Shown]:
    """The median layer of both nets over the steps of their trainings, for what both recorded."""
    shared = [name for name in HISTORIES if all(name in own["quantities"] for own in found.values())]
    drawn = []
    for quantity in shared:
        y_label, log = HISTORIES[quantity]
        tracks = {
            name: (own["steps"], np.nanmedian([numbers(each) for each in own["quantities"][quantity].values()], axis=0))
            for name, own in found.items()
        }
        drawing = histories(tracks, x_label="step", y_label=f"{y_label}, median layer", log=log)
        drawn.append(drawing_of(f"history-{quantity}-both", drawing))
    return drawn


def value_limits(surfaces: Sequence[NDArray[np.floating]]) -> tuple[float, float] | None:
    """The smallest and the largest of all values that are numbers."""
    values = np.concatenate([surface[~np.isnan(surface)] for surface in surfaces]) if surfaces else np.zeros(0)
    return (float(values.min()), float(values.max())) if values.size else None


def group(part: str, found: Mapping[str, Found]) -> Group | None:
    """The figures under a heading that names both nets."""
    figures = compared(part, found)
    return Group(title=" | ".join(found), figures=figures) if figures else None
