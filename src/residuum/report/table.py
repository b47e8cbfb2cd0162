"""Tables on the terminal, aligned and in colour only where there is a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from residuum.report.page import Table

WIDTH_OF_A_PIPE = 160


def print_table(table: Table, *, title: str | None = None) -> None:
    """Print a table to standard output."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDTH_OF_A_PIPE)
    drawn = RichTable(
        title=Text(title) if title else None, title_justify="left", box=None, pad_edge=False, header_style="bold"
    )
    for index, column in enumerate(table.columns):
        drawn.add_column(Text(column), justify="right" if index in table.numeric else "left", overflow="fold")
    for row in table.rows:
        drawn.add_row(*map(Text, row))
    console.print(drawn)
