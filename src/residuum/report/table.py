"""Tables on the terminal, aligned and in colour only where there is a terminal; and as Markdown and CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from residuum.report.page import Table

WIDTH_OF_A_PIPE = 160
GAP = 2  # characters between two columns
NARROWEST = 18  # characters of a column that is broken into lines


def print_table(
    table: Table,
    *,
    droppable: Sequence[int] = (),
    foldable: int | None = None,
    like: Table | None = None,
    header: bool = True,
) -> list[str]:
    """Print a table to standard output.

    Args:
        table: what to print.
        droppable: columns that are left out, the first of these first, where the terminal is too narrow.
        foldable: a column of long texts, which is broken into lines of 18 characters or more before any is left out.
        like: a larger table that this one is a part of, so that columns stand where they stand there.
        header: print the titles of the columns.

    Returns:
        The titles of the columns that were left out.
    """
    console = _console()
    whole = table if like is None else like
    spared = 0 if foldable is None else max(0, _widths(whole)[foldable] - NARROWEST)
    left_out: Sequence[int] = ()
    fits = False
    for number in range(len(droppable) + 1):
        left_out = droppable[:number]
        fits = _width(without_columns(whole, left_out)) - spared <= console.width
        if fits:
            break
    table, shown = without_columns(table, left_out), without_columns(whole, left_out)
    drawn = RichTable(
        box=None,
        pad_edge=False,
        header_style="bold",
        show_header=header,
    )
    long = None if foldable is None else whole.columns[foldable]
    *others, last = _widths(shown)
    aligned = like is not None and sum(others) + GAP * len(others) < console.width
    for index, (column, width) in enumerate(zip(table.columns, [*others, last], strict=True)):
        drawn.add_column(
            Text(column),
            justify="right" if index in table.numeric else "left",
            overflow="fold",
            no_wrap=fits and long is not None and column != long,
            min_width=width if aligned and index < len(others) else None,
        )
    for row in table.rows:
        drawn.add_row(*map(Text, row))
    if console.is_terminal:
        console.print(drawn)
    else:
        with console.capture() as written:
            console.print(drawn)
        print("\n".join(line.rstrip() for line in written.get().splitlines()))
    return [whole.columns[place] for place in sorted(left_out)]


def in_parts(table: Table, *, titles: int = 1) -> Iterator[Table]:
    """The table as several that each fit the terminal, where it is too wide: columns below each other, not squeezed.

    Args:
        table: a wide one.
        titles: columns at the left that say what a row is, and come again in each part.
    """
    width, widths = _console().width, _widths(table)
    left = min(sum(widths[:titles]) + GAP * titles, width // 3)
    part: list[int] = []
    for place in range(titles, len(table.columns)):
        if part and left + sum(widths[at] + GAP for at in [*part, place]) - GAP > width:
            yield _only_columns(table, [*range(titles), *part])
            part = []
        part.append(place)
    yield _only_columns(table, [*range(titles), *part])


def print_text(text: str) -> None:
    """Print a paragraph, on a terminal broken between words."""
    console = _console()
    if console.is_terminal:
        console.print(Text(text))
    else:
        print(text)


def without_columns(table: Table, places: Sequence[int]) -> Table:
    """The table without some of its columns."""
    return _only_columns(table, [place for place in range(len(table.columns)) if place not in places])


def as_markdown(table: Table) -> str:
    """The table as Markdown; nothing in a cell can break out of it."""
    lines = [
        "| " + " | ".join(in_markdown(column) for column in table.columns) + " |",
        "|" + "|".join(" ---: " if at in table.numeric else " --- " for at in range(len(table.columns))) + "|",
    ]
    lines += ["| " + " | ".join(in_markdown(cell) for cell in row) + " |" for row in table.rows]
    return "\n".join(lines)


def in_markdown(text: object) -> str:
    """Any text as one line of Markdown that means nothing but itself; what cannot be printed is left out."""
    plain = " ".join("".join(each if each.isprintable() else " " for each in str(text)).split())
    return re.sub(r"([\\|<>*_`\[\]#~$]|&(?=#?\w+;))", r"\\\1", plain)


def as_csv(table: Table) -> str:
    """The table as CSV; numbers without their thousands separators."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.columns)
    for row in table.rows:
        writer.writerow(re.sub(r"(?<=\d),(?=\d{3}\b)", "", c) if at in table.numeric else c for at, c in enumerate(row))
    return text.getvalue().rstrip("\n")


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=WIDTH_OF_A_PIPE)


def _only_columns(table: Table, kept: Sequence[int]) -> Table:
    return Table(
        [table.columns[place] for place in kept],
        [[row[place] for place in kept] for row in table.rows],
        [at for at, place in enumerate(kept) if place in table.numeric],
    )


def _width(table: Table) -> int:
    """Characters of the widest row of each column, and the gaps between them."""
    return sum(_widths(table)) + GAP * (len(table.columns) - 1)


def _widths(table: Table) -> list[int]:
    rows = [table.columns, *table.rows]
    return [max(cell_len(row[place]) for row in rows) for place in range(len(table.columns))]
