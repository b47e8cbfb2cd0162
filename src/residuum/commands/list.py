"""`residuum list`: the nets there are."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Annotated

import tyro

from residuum.errors import InputError


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
        from residuum.report.table import print_table

        entries = matching(self.pattern)
        if not entries:
            raise InputError(f"pattern: no net matches {self.pattern!r}. Try: residuum list")
        if self.json:
            print(json.dumps([asdict(entry) for entry in entries], indent=1))
            return 0
        rows = [
            [
                entry.name,
                f"{entry.parameters:,}",
                f"{entry.macs:,}",
                "x".join(map(str, entry.input_shape)),
                entry.published.error,
                entry.published.source,
            ]
            for entry in entries
        ]
        columns = ("net", "parameters", "MACs", "input", "published error %", "source")
        print_table(Table(columns, rows, numeric=(1, 2)))
        for entry in entries if self.pattern else ():
            if entry.note:
                print(f"{entry.name}: {entry.note}")
        return 0
