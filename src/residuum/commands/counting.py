"""What `summary` and `compare` share: reading the image, counting a model, printing tables in a format."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from residuum.errors import InputError
from residuum.report.numbers import by

if TYPE_CHECKING:
    from residuum.costing.cost import Cost
    from residuum.references import Skeleton
    from residuum.report.page import Table

Format = Literal["table", "markdown", "csv"]
LARGEST_BATCH = 2**20
LARGEST_INPUT = 2**42  # values; no layer here makes 2**18 times as many, which would be beyond 64 bits


@dataclass(frozen=True)
class Shown:
    """Prints tables and headings as the terminal or as Markdown wants them."""

    format: Format

    def heading(self, text: str) -> None:
        from residuum.report.table import in_markdown

        if self.format == "markdown":
            print(f"## {in_markdown(text)}\n")

    def table(self, table: Table, *, droppable: Sequence[int] = (), foldable: int | None = None) -> None:
        """The table after an empty line; says which columns a terminal is too narrow for."""
        from residuum.report.table import as_csv, as_markdown, print_table

        if self.format == "csv":
            print(as_csv(table))
        elif self.format == "markdown":
            print(as_markdown(table) + "\n")
        else:
            print()
            if left_out := print_table(table, droppable=droppable, foldable=foldable):
                self.line(f"(left out for want of width: {', '.join(left_out)}; --format markdown has all)")

    def gap(self) -> None:
        """An empty line between a table and text."""
        if self.format == "table":
            print()

    def line(self, text: str) -> None:
        """A line of text; in Markdown a paragraph."""
        from residuum.report.table import in_markdown, print_text

        if self.format == "markdown":
            print(in_markdown(text) + "\n")
        else:
            print_text(text)


def require_file(path: Path | None, *suffixes: str) -> None:
    """Refuse a file that cannot be written, before any work.

    Raises:
        InputError: it is a directory, has another suffix, or its directory does not exist.
    """
    if path is None:
        return
    suffix = path.suffix if path.suffix in suffixes else suffixes[0]
    if path.is_dir():
        raise InputError(f"{path}: is a directory (expected a file). Try: {path / f'net{suffix}'}")
    if path.suffix not in suffixes:
        name = path.with_name(f"{'net' if path.name.startswith('.') else path.stem}{suffix}")
        raise InputError(f"{path}: must end in {' or '.join(suffixes)}. Try: {name}")
    if not path.parent.is_dir():
        raise InputError(f"{path}: there is no directory {path.parent}. Try: {path.name}")


def require_batch(batch: int) -> None:
    """Refuse a batch that is none, or larger than any.

    Raises:
        InputError: with one that works.
    """
    if not 1 <= batch <= LARGEST_BATCH:
        raise InputError(f"batch: must be at least 1 and at most {LARGEST_BATCH:,}, got {batch}. Try: 1")


def image_shape(text: str | None, usual: tuple[int, int, int]) -> tuple[int, int, int]:
    """`3x224x224` as numbers; the usual ones where nothing was given.

    Raises:
        InputError: it is not of this form, or the channels stand last.
    """
    if text is None:
        return usual
    words = text.lower().replace("×", "x").split("x")
    numbers = [int(word) for word in words if re.fullmatch("[0-9]{1,6}", word) and int(word)]
    channels, height, width = usual
    if len(numbers) != len(words) or len(numbers) != 3:
        if len(numbers) == len(words) and len(numbers) < 3:  # the size alone
            height, width = numbers[0], numbers[-1]
        raise InputError(
            f"input: must be CHANNELSxHEIGHTxWIDTH, each from 1 to 999,999, got {text!r}. "
            f"Try: --input {channels}x{height}x{width}"
        )
    if numbers[0] != channels == numbers[2]:
        raise InputError(
            f"input: must be CHANNELSxHEIGHTxWIDTH, got {text} with {channels} channels last. "
            f"Try: --input {channels}x{numbers[0]}x{numbers[1]}"
        )
    return numbers[0], numbers[1], numbers[2]


def counted_at(found: Skeleton, image: str | None, batch: int) -> Cost:
    """What a net costs at this size of image, or at its own.

    Raises:
        InputError: the net cannot take it, or it holds more values than integers can count.
    """
    from residuum.costing.count import cost

    shape = image_shape(image, found.input_shape)
    if batch * math.prod(shape) > LARGEST_INPUT:
        raise InputError(
            f"input: {batch:,} x {by(shape)} is more than {LARGEST_INPUT:,} values. "
            f"Try: --input {by(found.input_shape)}"
        )
    return cost(found.net, shape, batch=batch)


def images_of(counted: Cost) -> str:
    """The images that were counted: `3x224x224`, several inputs after commas."""
    return ", ".join(by(shape[1:]) for shape in counted.input_shapes)


def warnings(counted: Cost) -> list[str]:
    """What a person should know before trusting the totals."""
    return [
        f"warning: the operator {name} is not known and not counted ({count} times)"
        for name, count in counted.unknown.items()
    ]
