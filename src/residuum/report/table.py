"""Tables on the terminal, aligned and in colour only where there is a terminal; and as Markdown and CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from residuum.report.page import Table

WIDTH_OF_A_PIPE = 160


def print_table(table: Table, *, title: str | None = None, droppable: Sequence[int] = ()) -> None:
    """Print a table to standard output.

    Args:
        table: what to print.
        title: a line above it.
        droppable: columns that are left out, the first of these first, where the terminal is too narrow.
    """
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDTH_OF_A_PIPE)
    for number in range(len(droppable) + 1):
        fitting = without_columns(table, droppable[:number])
        if _width(fitting) <= console.width:
            break
    table = fitting
    drawn = RichTable(
        title=Text(title) if title else None, title_justify="left", box=None, pad_edge=False, header_style="bold"
    )
    for index, column in enumerate(table.columns):
        drawn.add_column(Text(column), justify="right" if index in table.numeric else "left", overflow="fold")
    for row in table.rows:
        drawn.add_row(*map(Text, row))
    console.print(drawn)


def without_columns(table: Table, places: Sequence[int]) -> Table:
    """The table without some of its columns."""
    kept = [place for place in range(len(table.columns)) if place not in places]
    return Table(
        [table.columns[place] for place in kept],
        [[row[place] for place in kept] for row in table.rows],
        [at for at, place in enumerate(kept) if place in table.numeric],
    )


def as_markdown(table: Table) -> str:
    """The table as Markdown; nothing in a cell can break out of it."""
    lines = [
        "| " + " | ".join(_in_markdown(column) for column in table.columns) + " |",
        "|" + "|".join(" ---: " if at in table.numeric else " --- " for at in range(len(table.columns))) + "|",
    ]
    lines += ["| " + " | ".join(_in_markdown(cell) for cell in row) + " |" for row in table.rows]
    return "\n".join(lines)


def as_csv(table: Table) -> str:
    """The table as CSV; numbers without their thousands separators."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.columns)
    for row in table.rows:
        writer.writerow(re.sub(r"(?<=\d),(?=\d{3}\b)", "", c) if at in table.numeric else c for at, c in enumerate(row))
    return text.getvalue().rstrip("\n")


def _in_markdown(text: str) -> str:
    return re.sub(r"([\\|<>*_`])", r"\\\1", text.replace("\n", " "))


def _width(table: Table) -> int:
    """Characters of the widest row of each column, with two between columns."""
    cells = [table.columns, *table.rows]
    return sum(max(len(row[place]) for row in cells) + 2 for place in range(len(table.columns)))
