"""A figure of the first filters of several nets beside each other."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from residuum.report.figures import Drawing, drawn, styled
from residuum.report.inspection.pictures import contact_sheet, filter_tiles

COLUMNS = 4
TILE = 40  # pixels of the longer side of a filter
WIDTH = 2.4  # inches of a panel


@styled
def filter_sheets(panels: Mapping[str, NDArray[np.float32]]) -> Drawing:
    """Kernels `(K, C, h, w)` by the title of their panel, each with its own scale; in colour where C is 3, or grey."""
    sheets = {
        title: contact_sheet(filter_tiles(kernels), columns=COLUMNS, side=TILE) for title, kernels in panels.items()
    }
    tallest = max(sheet.shape[0] / sheet.shape[1] for sheet in sheets.values())
    figure = Figure(figsize=(WIDTH * len(sheets) + 0.2, WIDTH * tallest + 0.5), layout="constrained")
    for axis, (title, sheet) in zip(figure.subplots(1, len(sheets), squeeze=False)[0], sheets.items(), strict=True):
        axis.imshow(sheet, interpolation="nearest")
        axis.set_title(title, fontsize=10, fontweight="bold")
        axis.set_axis_off()
        axis.set_anchor("N")
    return drawn(figure)
