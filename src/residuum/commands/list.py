"""`residuum list`: the nets there are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import tyro

from residuum.errors import InputError
from residuum.report.numbers import by

if TYPE_CHECKING:
    from residuum.nets.catalog import Entry
    from residuum.report.page import Table
    from residuum.weights.entries import PretrainedWeights


@dataclass(frozen=True)
class List:
    """Show the nets that can be built by name, with their cost and what their paper reports."""

    pattern: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="PATTERN")] = ""
    """Part of a name, or a shell pattern such as 'preact_*'."""
    weights: bool = False
    """Show published weights instead: accuracy, on how many images and which crop, size, licence."""
    json: bool = False
    """Print JSON."""

    def run(self) -> int:
        if self.weights:
            return self._weights()
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
        print_text(
            "residuum summary NET shows what one costs, residuum compare NET NET two side by side\n"
            "Fields of a net can be changed: residuum summary resnet20+shortcut=project+batch_norm=no"
        )
        return 0

    def _weights(self) -> int:
        from residuum.report.table import print_table, print_text
        from residuum.weights.entries import every

        entries = [each for each in every() if fits(each.reference, self.pattern)]
        if not entries:
            raise InputError(f"pattern: no weights match {self.pattern!r}. Try: residuum list --weights")
        if self.json:
            print(json.dumps([plain_weights(entry) for entry in entries], indent=1))
            return 0
        print_table(weights_table(entries), droppable=(7, 5, 2))
        print_text(
            "\nAccuracy is the publisher's, of one centre crop; 'here' needs no network. NET:imagenet and NET:cifar10 "
            "are the best of a net.\n"
            "residuum weights fetch NET:TAG fetches one, residuum predict IMAGE --model NET:TAG uses it"
        )
        return 0


def fits(reference: str, pattern: str) -> bool:
    """Whether `NET:TAG` contains a pattern, or matches it as a shell pattern."""
    return pattern in reference or any(fnmatch(part, pattern) for part in (reference, reference.partition(":")[0]))


def weights_table(entries: Sequence[PretrainedWeights]) -> Table:
    """One row for each file: reference, accuracy, images and crop it was measured on, size, licence."""
    from residuum.report.page import Table
    from residuum.weights.fetch import is_cached

    rows = [
        [
            entry.reference,
            _percent(entry.top1),
            _percent(entry.top5),
            f"{entry.num_test_images:,}",
            f"{entry.preprocessing.crop[0]} of {entry.preprocessing.resize}",
            f"{entry.mib:.2g}" if entry.mib < 10 else f"{entry.mib:.0f}",
            "in the package" if entry.is_ours else "here" if is_cached(entry) else "" if entry.url else "by hand",
            f"{entry.publisher}, {entry.licence}",
        ]
        for entry in entries
    ]
    columns = ("weights", "top-1 %", "top-5 %", "test images", "crop", "MiB", "", "from, licence")
    return Table(columns, rows, numeric=(1, 2, 3, 5))


def plain_weights(entry: PretrainedWeights) -> dict[str, object]:
    """An entry as JSON shows it."""
    from residuum.weights.fetch import is_cached

    plain: dict[str, object] = {name: value for name, value in asdict(entry).items() if name != "preprocessing"}
    prepared = entry.preprocessing
    plain["preprocessing"] = {
        "channels": prepared.channels,
        "resize": prepared.resize,
        "crop": prepared.crop,
        "mean": prepared.mean,
        "std": prepared.std,
        "interpolation": prepared.interpolation,
    }
    return {"reference": entry.reference, **plain, "in_cache": is_cached(entry)}


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


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
