"""The directory of a reproduction: what all of it is of, and the ledger of what is judged in it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from residuum.errors import InputError
from residuum.experiments import claims as every
from residuum.experiments.judging import PAGE, read_finding
from residuum.experiments.setting import Setting
from residuum.files.atomic import write_file
from residuum.records.finding import Finding
from residuum.records.findings_file import FIGURE
from residuum.report.ledger import Entry, small_figure, write_ledger
from residuum.run import dumps

MARK = "reproduction.json"
LEDGER = "ledger"


def require_own(directory: Path, setting: Setting) -> None:
    """Check that a reproduction may begin or go on in a directory.

    Raises:
        InputError: it holds something else, or a reproduction of other data or by another budget.
    """
    try:
        if directory.exists() and not directory.is_dir():
            raise InputError(f"{directory}: is a file (expected a directory). Try: another --out")
        if not directory.is_dir():
            return
        entries = [entry for entry in directory.iterdir() if not entry.name.startswith(".")]
        mark = json.loads((directory / MARK).read_text(encoding="utf-8")) if entries else mark_of(setting)
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{str(directory)[:80]}: exists and is not of a reproduction. Try: another --out") from error
    if mark != mark_of(setting):
        is_of = f"{mark.get('data')} at budget {mark.get('budget')}" if isinstance(mark, dict) else "something else"
        raise InputError(f"{directory}: holds a reproduction of other conditions ({is_of}). Try: another --out")


def mark_of(setting: Setting) -> dict[str, object]:
    """What all that is in a directory has in common."""
    dataset = setting.dataset
    return {"format": 1, "budget": setting.budget, "data": Path(setting.data).name, "fingerprint": dataset.fingerprint}


def write_mark(directory: Path, setting: Setting) -> None:
    """Write down what a directory is of.

    Raises:
        StorageError: the disk is full, read-only or failing.
    """
    write_file(directory / MARK, dumps(mark_of(setting)))


class OwnLedger:
    """The ledger of a directory, written anew with each claim that is judged.

    What stands there of other claims than those that are `remade` stays in it.
    """

    def __init__(self, directory: Path, remade: Sequence[str]) -> None:
        self.directory = directory
        found = {name: read_finding(directory / name) for name in every.claims() if name not in remade}
        self.entries = {name: _entry(finding) for name, finding in found.items() if finding is not None}

    def add(self, finding: Finding) -> None:
        """Take a claim in, and write the ledger in both languages.

        Raises:
            StorageError: the disk is full, read-only or failing.
        """
        self.entries[finding.name] = _entry(finding)
        entries = [self.entries[name] for name in every.claims() if name in self.entries]
        write_ledger(self.directory, entries, name=LEDGER)


def _entry(finding: Finding) -> Entry:
    figure = finding.directory / FIGURE
    has_figure = bool(finding.caption) and figure.is_file()
    return Entry(
        findings=(finding,),
        figure=small_figure(figure.read_bytes()) if has_figure else b"",
        picture=f"{finding.name}/{FIGURE}" if has_figure else "",
        page=f"{finding.name}/{PAGE}",
    )
