"""What the page of an inspection is made of: figures, groups of them, and the photos that they are about."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from residuum.report.page import Table

PHOTO, SHEET = 240, 280  # pixels on the page: a photo, a contact sheet; two of each stand in a row
METHODS = {
    "gradcam": "Grad-CAM",
    "gradcam++": "Grad-CAM++",
    "layercam": "Layer-CAM",
    "integrated_gradients": "integrated gradients",
    "occlusion": "occlusion",
    "pca": "PCA",
    "tsne": "t-SNE",
}
Found = Mapping[str, Any]


class PhotoLike(Protocol):
    """A photo as the net sees it; see `residuum.inspection.subject.Photo`."""

    @property
    def name(self) -> str: ...
    @property
    def pixels(self) -> NDArray[np.uint8]: ...
    @property
    def answers(self) -> Sequence[tuple[str, float]]: ...


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One figure: a file of its own and a place on the page.

    Attributes:
        name: of the file, without its suffix.
        png: the file.
        svg: shown on the page in place of the PNG, where there is one.
        label: what it is, in a few words.
        width: pixels it takes on the page at most.
    """

    name: str
    png: bytes
    svg: str = ""
    label: str = ""
    width: int = SHEET


@dataclass(frozen=True, kw_only=True)
class Group:
    """Figures that stand side by side, under a heading where there is more than one group; tables below."""

    title: str = ""
    note: str = ""
    figures: Sequence[Shown] = ()
    tables: Sequence[Table] = field(default_factory=tuple)


Draw = Callable[[Found, Sequence[PhotoLike]], list[Group]]  # what a part found, and the photos it is about


def photo_title(photo: PhotoLike) -> str:
    """A photo's name with the net's answer, where it has one."""
    return f"{photo.name}: {photo.answers[0][0]} {percent(photo.answers[0][1])}" if photo.answers else photo.name


def percent(share: float) -> str:
    """A share from 0 to 1, to a tenth of a percent."""
    return f"{100 * share:.1f} %"


def file_name(name: str) -> str:
    """A name as part of the name of a file."""
    return "".join(each if each.isascii() and each.isalnum() else "-" for each in name.replace("++", "-pp"))
