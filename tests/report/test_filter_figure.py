"""The figure of first filters: a panel for each net, in both formats."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from residuum.report.filter_figure import filter_sheets


def test_a_panel_for_each_net_in_both_formats() -> None:
    generator = np.random.default_rng(0)
    grey, coloured = (generator.normal(size=(6, channels, 3, 3)).astype(np.float32) for channels in (1, 3))
    drawing = filter_sheets({"grey ones": grey, "coloured ones": coloured})
    assert drawing.svg.startswith("<svg")
    assert all(f">{title}<" in drawing.svg for title in ("grey ones", "coloured ones"))
    assert drawing.svg.count("<image") == 2
    pixels = np.asarray(Image.open(io.BytesIO(drawing.png)).convert("RGB")).astype(int)
    left, right = np.array_split(pixels, 2, axis=1)
    assert np.ptp(left, axis=2).max() == 0
    assert np.ptp(right, axis=2).max() > 50
