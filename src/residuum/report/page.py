"""One self-contained HTML page from a title and sections: no script, no network, every figure inside the file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from residuum.report.figures import Drawing


@dataclass(frozen=True)
class Table:
    """A table of text; `numeric` says which columns are aligned right."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: Sequence[int] = ()


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading with any of: a paragraph, a figure with its caption, a table, preformatted text that folds."""

    title: str
    text: str = ""
    drawing: Drawing | None = None
    caption: str = ""
    table: Table | None = None
    folded: str = ""

    @property
    def svg(self) -> Markup | None:
        """The figure's own markup; made by `figures`, where matplotlib escapes all labels."""
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
    environment = Environment(
        loader=PackageLoader("residuum.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("page.html").render(
        title=title, subtitle=subtitle, sections=sections, badge=badge, badge_kind=badge_kind, footer=footer
    )
