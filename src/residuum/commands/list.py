"""`residuum list`: the nets there are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import tyro

from residuum.errors import InputError
from residuum.report.numbers import by

if TYPE_CHECKING:
    from residuum.nets.catalog import Entry
    from residuum.report.page import Table


@dataclass(frozen=True)
class List:
    """Show the nets that can be built by name, with their cost and what their paper reports."""

    pattern: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="PATTERN")] = ""
    """Part of a name, or a shell pattern such as 'preact_*'."""
    json: bool = False
    """Print JSON."""

    def run(self) -> int:
        from residuum.nets.catalog import matching
        from residuum.report.page import Table
        from residuum.report.table import print_table, print_text

        entries = matching(self.pattern)
        if not entries:
            raise InputError(f"pattern: no net matches {self.pattern!r}. Try: residuum list")
        if self.json:
            print(json.dumps([asdict(entry) for entry in entries], indent=1))
            return 0
        whole = table_of(entries)
        print_table(Table(whole.columns, [], whole.numeric), like=whole)
        for heading, group in groupby(entries, key=heading_of):
            print_text(f"\n{heading}")
            print_table(table_of(list(group)), like=whole, header=False)
        print()
        for entry in entries if self.pattern else ():
            if entry.note:
                print_text(f"{entry.name}: {entry.note}")
        print_text("residuum summary NET shows what one costs, residuum compare NET NET two side by side")
        return 0


def heading_of(entry: Entry) -> str:
    """What nets that stand together have in common: their paper and the size of their images."""
    return f"{entry.published.paper}, images of {by(entry.input_shape)}"


def table_of(entries: Sequence[Entry]) -> Table:
    """One row for each net: name, cost, published error with its protocol."""
    from residuum.report.page import Table

    rows = [
        [f"  {entry.name}", f"{entry.parameters:,}", f"{entry.macs:,}", error_of(entry)] for entry in entries
    ]  # fmt: skip
    return Table(("net", "parameters", "MACs", "published error %"), rows, numeric=(1, 2))


def error_of(entry: Entry) -> str:
    """The error as printed, and how it was measured: `22.85, 10-crop top-1`."""
    error, protocol = entry.published.error, entry.published.protocol
    known, _, remark = error.partition(" (")
    if remark and remark.rstrip(")") in protocol:  # said by both
        error = known
    return ", ".join(filter(None, [error, protocol]))
