"""The tables of a cost report: numbers as they are, every form of output parses, any terminal is wide enough."""

from __future__ import annotations

import csv
import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drawn_nets import HOSTILE, Memory, Unit, inception, residual
from residuum.report.cost_tables import (
    in_bytes,
    layer_table,
    memory_table,
    share_table,
    unit_table,
)
from residuum.report.numbers import alike, by
from residuum.report.page import Table
from residuum.report.table import as_csv, as_markdown, in_markdown, in_parts, print_table, print_text

WIDE = Table(
    ("layer", "kind", "output", "parameters", "MACs"),
    [["features.0", "Conv2d " + "1x1, 64 · " * 12, "64x224x224", "1,792", "86,704,128"]],
    (3, 4),
)


@pytest.fixture(autouse=True)
def _no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLUMNS", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(params=[40, 80, 160])
def width(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    columns: int = request.param
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(columns))
    return columns


def lines_of(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()


@pytest.mark.parametrize(
    ("count", "written"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (60_950_432, "58.1 MiB"), (553_430_176, "527.8 MiB"),
     (1_048_520, "1023.9 KiB"), (1_048_550, "1.0 MiB"), (2**30, "1.0 GiB"), (2**60, "1024.0 PiB")],
)  # fmt: skip
def test_bytes(count: int, written: str) -> None:
    assert in_bytes(count) == written


def test_sizes() -> None:
    assert by((64, 56, 56)) == "64x56x56"
    assert alike((7, 7)) == "7"
    assert alike((7, 9)) == "7x9"
    assert alike((0.5, 0.5)) == "0.5"
    assert by((3, 1_000_000, 999_999.0, 0.125)) == "3x1000000x999999x0.125"
    assert alike((10**6, 10**6)) == "1000000"
    assert alike((float("inf"),)) == "inf"
    assert alike(None) == alike(()) == ""


@pytest.mark.parametrize("units", [residual(), inception()], ids=["residual", "inception"])
def test_tables_have_a_title_and_a_cell_for_each_column(units: list[Unit]) -> None:
    for table in (unit_table(units), layer_table(units), share_table("map", units), memory_table(Memory())):
        assert all(table.columns), "no column without a title"
        assert {len(row) for row in table.rows} == {len(table.columns)}


def test_shares_add_up_and_small_ones_are_not_nothing() -> None:
    parts = [Unit(name="a", macs=999_999, parameters=0), Unit(name="b", macs=1, parameters=0)]
    table = share_table("map", parts)
    macs = table.columns.index("MACs")
    assert [row[macs] for row in table.rows] == ["999,999", "1", "1,000,000"]
    assert [row[macs + 1] for row in table.rows] == [">99.9 %", "<0.1 %", ""]
    assert [row[2] for row in table.rows] == ["0 %", "0 %", ""]


def test_a_net_that_cannot_be_trained_says_why() -> None:
    table = memory_table(Memory(training_problem="no gradient"))
    assert table.rows[-1] == ["training", "", "not possible: no gradient"]


def test_columns_go_before_lines_break(width: int, capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(("name", "a", "b", "c"), [["x" * 30, "1" * 20, "2" * 20, "3" * 20]], (1, 2, 3))
    left_out = print_table(table, droppable=(3, 1, 2))
    lines = lines_of(capsys)
    assert left_out == {40: ["a", "b", "c"], 80: ["c"], 160: []}[width]
    assert len(lines) == 2
    assert max(map(len, lines)) <= width


def test_no_line_is_longer_than_the_terminal_and_no_number_is_broken(
    width: int, capsys: pytest.CaptureFixture[str]
) -> None:
    left_out = print_table(WIDE, droppable=(2,), foldable=1)
    lines = lines_of(capsys)
    assert max(map(len, lines)) <= width
    assert left_out == (["output"] if width == 40 else []), "texts are broken before columns go"
    if width >= 80:
        assert lines[1].startswith("features.0  Conv2d")
        assert "64x224x224" in lines[1]
        assert "1,792" in lines[1]
        assert "86,704,128" in lines[1]
    print_text("a sentence " * 30)
    lines = lines_of(capsys)
    assert max(map(len, lines)) <= width
    assert " ".join(" ".join(lines).split()) == ("a sentence " * 30).strip()


def test_a_wide_table_comes_in_parts_that_fit(width: int, capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"net{number}" for number in range(9)]
    table = Table(("quantity", *names), [["MACs", *(f"{10**9 + number:,}" for number in range(9))]], range(1, 10))
    parts = list(in_parts(table))
    assert len(parts) == {40: 5, 80: 3, 160: 1}[width]
    assert [name for part in parts for name in part.columns[1:]] == names
    assert all(part.columns[0] == "quantity" and part.rows[0][0] == "MACs" for part in parts)
    assert all(part.numeric == list(range(1, len(part.columns))) for part in parts)
    for part in parts:
        print_table(part)
    assert max(map(len, lines_of(capsys))) <= width


def test_parts_of_a_table_stand_in_line(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(("net", "MACs", "note"), [["a", "1", "x"], ["b" * 9, "1,000,000", "y" * 20]], (1,))
    print_table(Table(table.columns, [], table.numeric), like=table)
    for row in table.rows:
        print_table(Table(table.columns, [row], table.numeric), like=table, header=False)
    assert lines_of(capsys) == [
        "net             MACs  note",
        "a                  1  x",
        "bbbbbbbbb  1,000,000  yyyyyyyyyyyyyyyyyyyy",
    ]


def test_a_pipe_gets_neither_colour_nor_blanks_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(WIDE)
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert all(line == line.rstrip() for line in out.splitlines())


def test_csv_is_read_back_with_numbers_as_numbers() -> None:
    rows = list(csv.reader(io.StringIO(as_csv(layer_table(residual())))))
    assert all(len(row) == len(rows[0]) for row in rows)
    for row in rows[1:]:
        for place in range(3, 8):
            assert int(row[place]) >= 0


@given(st.lists(st.text(max_size=20), min_size=2, max_size=2))
def test_csv_keeps_every_text(cells: list[str]) -> None:
    cells = [cell.replace("\r", "") for cell in cells]
    rows = list(csv.reader(io.StringIO(as_csv(Table(("a", "b"), [cells]))), strict=True))
    assert rows[0] == ["a", "b"]
    assert [cell.rstrip("\n") for cell in rows[1]] == [cell.rstrip("\n") for cell in cells]


@given(st.text(max_size=60))
def test_markdown_cells_stay_in_their_row(text: str) -> None:
    lines = as_markdown(Table(("a", "b"), [[text, HOSTILE]])).split("\n")
    assert len(lines) == 3
    assert all(len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) == 3 for line in lines)


def test_markdown_means_nothing_but_itself() -> None:
    assert in_markdown("<b>*_`[x](http://y)|\n#") == r"\<b\>\*\_\`\[x\](http://y)\| \#"
