"""One self-contained HTML page from a title and sections: no script, no network, every figure inside the file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup


class Figure(Protocol):
    """Anything drawn as SVG, with its labels escaped; by `figures` or on a `svg.Canvas`."""

    @property
    def svg(self) -> str: ...


@dataclass(frozen=True)
class Table:
    """A table of text; `numeric` says which columns are aligned right."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: Sequence[int] = ()


@dataclass(frozen=True)
class Tile:
    """One number that stands out, with what it is and a remark."""

    value: str
    label: str
    remark: str = ""


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading with any of: a paragraph, tiles, a figure with its caption, a table, preformatted text that folds.

    Attributes:
        narrow: the figure is drawn for a column of a phone's width.
        stacks: on a phone each row of the table becomes a list of its cells; for few rows with long texts.
        folds: the table is folded away.
        beside: sections to the right of this one where the window is wide, below it where it is not.
    """

    title: str
    text: str = ""
    tiles: Sequence[Tile] = ()
    drawing: Figure | None = None
    narrow: bool = False
    caption: str = ""
    table: Table | None = None
    stacks: bool = False
    folds: bool = False
    folded: str = ""
    beside: Sequence[Section] = ()

    @property
    def svg(self) -> Markup | None:
        """The figure's own markup; made by those that escape all labels."""
        return Markup(self.drawing.svg) if self.drawing else None


def render(
    *, title: str, subtitle: str, sections: Sequence[Section], badge: str = "", badge_kind: str = "", footer: str = ""
) -> str:
    """The page as HTML.

    Args:
        title, subtitle: at the top.
        sections: in order.
        badge: a few words that stand out, such as a verdict; `badge_kind` is `good`, `bad` or `open`.
        footer: a last line, such as the command that makes the page anew.
    """
    return rendered(
        "page.html",
        title=title,
        subtitle=subtitle,
        sections=sections,
        badge=badge,
        badge_kind=badge_kind,
        footer=footer,
    )


def rendered(template: str, **values: object) -> str:
    """A template of this package with these values; all text is escaped, and one that is missing is an error."""
    environment = Environment(
        loader=PackageLoader("residuum.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template(template).render(values)
