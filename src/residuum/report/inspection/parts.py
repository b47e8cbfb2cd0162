"""What is drawn of each part of an inspection: from named values and arrays to groups of figures and tables."""

from __future__ import annotations

from collections.abc import Sequence

from residuum.report.inspection.chart_parts import CHARTS
from residuum.report.inspection.picture_parts import PICTURES
from residuum.report.inspection.shown import Draw, Found, Group, PhotoLike

DRAWN: dict[str, Draw] = {**PICTURES, **CHARTS}


def groups(part: str, found: Found, photos: Sequence[PhotoLike]) -> list[Group]:
    """What there is to see of a part; nothing where it found nothing."""
    return DRAWN[part](found, photos) if found else []
