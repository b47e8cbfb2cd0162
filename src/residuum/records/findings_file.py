"""Findings on record: one JSON file for each budget, the figures in a folder of the same name beside it.

    results/claims-quick.json
    results/claims-quick/degradation.png

What is recorded anew replaces what was there of the same claim; all other claims stay. No path of a machine is kept.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from residuum.errors import DamagedError, InputError
from residuum.files.atomic import write_file
from residuum.records.environment import without_directories
from residuum.records.finding import Finding

FIGURE = "figure.png"  # in the directory of a Finding


def read_findings(path: Path) -> list[Finding]:
    """The Findings of such a file, in its order; none where there is no file.

    Raises:
        InputError: it cannot be read, or is something else.
    """
    if not path.exists():
        return []
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DamagedError(f"{path}: cannot be read as JSON ({error}). Try: another file") from error
    if not isinstance(plain, list):
        raise InputError(f"{path}: is no list of Findings (got {type(plain).__name__}). Try: another file")
    return [Finding.from_json(record, path) for record in plain]


def findings_to_add_to(path: Path, budget: str, data: str) -> list[Finding]:
    """The Findings that a record holds already, once it is clear that those of a budget on some data can be added.

    Raises:
        InputError: it holds something else, or Findings of another budget or other data; or no file can be written
            there.
    """
    own, name = (budget, Path(data).name), f"claims-{budget}.json"
    if path.is_dir():
        raise InputError(f"record: {path}: is a directory (expected a file). Try: --record {path / name}")
    if path.suffix != ".json":
        raise InputError(f"record: must end in .json, got {path}. Try: --record {path.with_suffix('.json')}")
    if not path.parent.is_dir():
        raise InputError(f"record: {path}: there is no directory {path.parent}. Try: --record {path.name}")
    findings = read_findings(path)
    others = {(finding.budget, data_of(finding)) for finding in findings} - {own}
    if others:
        listed = ", ".join(f"{of_data} at {of_budget}" for of_budget, of_data in sorted(others))
        other = name if name != path.name else f"claims-{Path(data).name}-{budget}.json"
        raise InputError(
            f"record: {path} holds Findings of other conditions ({listed}). Try: --record {path.with_name(other)}"
        )
    return findings


def data_of(finding: Finding) -> str:
    """The data that a Finding was made on, as its command names them, without directories."""
    words = shlex.split(finding.command)
    return Path(words[words.index("--data") + 1]).name if "--data" in words[:-1] else ""


def add_findings(path: Path, findings: Sequence[Finding], order: Sequence[str]) -> None:
    """Write Findings into a record beside those of other claims, and their figures.

    Args:
        path: the file, new or not.
        findings: all of one budget, on the same data; with none nothing is written.
        order: names of claims; those that it lacks come last.

    Raises:
        InputError: the file holds something else.
        StorageError: the disk is full, read-only or failing.
    """
    if not findings:
        return
    before = findings_to_add_to(path, findings[0].budget, data_of(findings[0]))
    known = {finding.name: finding for finding in before}
    known |= {finding.name: _without_paths(finding) for finding in findings}
    for finding in findings:
        drawn, kept = finding.directory / FIGURE, figure_of(path, finding.name)
        if drawn.is_file() and finding.caption:
            write_file(kept, drawn.read_bytes())
        else:
            kept.unlink(missing_ok=True)
    places = {name: place for place, name in enumerate(order)}
    ordered = sorted(known.values(), key=lambda finding: (places.get(finding.name, len(places)), finding.name))
    write_file(path, json.dumps([each.to_json() for each in ordered], indent=1, ensure_ascii=False, default=str) + "\n")


def figure_of(path: Path, name: str) -> Path:
    """Where the figure of a claim lies that is in the record at `path`."""
    return path.with_suffix("") / f"{name}.png"


def _without_paths(finding: Finding) -> Finding:
    command = shlex.join(map(without_directories, shlex.split(finding.command)))
    return replace(finding, command=command)
