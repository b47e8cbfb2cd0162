"""A Run: the directory of one training.

run.json             what was asked for: net, data, recipe, seed; enough to go on after a crash
environment.json     hardware, versions, commit
metrics.jsonl        one line for each epoch
checkpoints/         step-00000391/ and so on, each whole and verified, newest last
classifier/          the final Classifier
result.json          the final metrics; its presence means the Run is finished
report.html          curves and tables, with their PNG beside them
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from residuum.classifier import Classifier
from residuum.errors import DamagedError, InputError
from residuum.files.atomic import read_directory, remove_leftovers, storage_error, write_directory, write_file

KEPT_CHECKPOINTS = 2
Record = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """One training, as a directory."""

    path: Path

    @classmethod
    def create(cls, path: Path, config: Mapping[str, Any], environment: Mapping[str, Any]) -> Run:
        """Begin a Run directory.

        Raises:
            InputError: the directory exists and is not empty.
            StorageError: it cannot be written.
        """
        if path.exists() and (not path.is_dir() or any(not entry.name.startswith(".lock") for entry in path.iterdir())):
            action = f"residuum resume {path}, or another --out" if (path / "run.json").exists() else "another --out"
            raise InputError(f"{path}: exists and is not empty. Try: {action}")
        write_file(path / "environment.json", dumps(environment))
        write_file(path / "run.json", dumps(config))
        return cls(path)

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """Open a Run directory.

        Raises:
            InputError: there is none, or it is no Run.
        """
        run = cls(Path(path))
        if not run.path.is_dir():
            raise InputError(f"{path}: no such directory. Try: the --out of an earlier training")
        if not (run.path / "run.json").is_file():
            raise InputError(f"{path}: is not a Run (it has no run.json). Try: the --out of an earlier training")
        return run

    @property
    def config(self) -> Record:
        """What was asked for."""
        return self._read("run.json")

    @property
    def environment(self) -> Record:
        return self._read("environment.json")

    @property
    def result(self) -> Record | None:
        """The final metrics, or None while the Run is not finished."""
        return self._read("result.json") if (self.path / "result.json").exists() else None

    def metrics(self) -> list[Record]:
        """The line of each finished epoch, in order; a last line cut by a crash is left out."""
        path = self.path / "metrics.jsonl"
        if not path.exists():
            return []
        records = []
        for line in path.read_text().splitlines():
            try:
                records.append(json.loads(line))
            except ValueError:
                break
        return records

    def append_metrics(self, record: Record) -> None:
        """Add the line of an epoch, through to the disk: a checkpoint of the same step must not outlive it."""
        path = self.path / "metrics.jsonl"
        try:
            with path.open("a") as stream:
                stream.write(json.dumps(record) + "\n")
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise storage_error(path, error) from error

    def rewind_metrics(self, step: int) -> None:
        """Forget the lines of steps after `step`: they will be measured again."""
        kept = [record for record in self.metrics() if record["step"] <= step]
        write_file(self.path / "metrics.jsonl", "".join(json.dumps(record) + "\n" for record in kept))

    def save_checkpoint(self, step: int, files: Mapping[str, bytes]) -> None:
        """Write a checkpoint, whole or not at all, and remove all but the newest ones."""
        target = self.path / "checkpoints" / f"step-{step:08d}"
        if target.exists():
            remove_tree(target)
        write_directory(target, files)
        for old in self.checkpoints()[:-KEPT_CHECKPOINTS]:
            remove_tree(old)

    def checkpoints(self) -> list[Path]:
        """Directories of checkpoints, oldest first, verified or not."""
        return sorted((self.path / "checkpoints").glob("step-*"))

    def newest_checkpoint(self) -> tuple[Path | None, dict[str, bytes], Sequence[str]]:
        """The newest checkpoint that verifies: path, files, and what is wrong with each newer one.

        None and no files where there is no checkpoint at all.

        Raises:
            DamagedError: there are checkpoints, but none verifies.
        """
        problems: list[str] = []
        for path in reversed(self.checkpoints()):
            try:
                return path, read_directory(path), problems
            except DamagedError as error:
                problems.append(str(error))
        if problems:
            raise DamagedError(f"{problems[0]}; no older checkpoint is left. Try: train again with another --out")
        return None, {}, []

    def finish(self, classifier: Classifier, result: Record) -> None:
        """Write the final Classifier and result."""
        target = self.path / "classifier"
        if target.exists():
            remove_tree(target)
        classifier.save(target)
        write_file(self.path / "result.json", dumps(result))

    def classifier(self) -> Classifier:
        """The final Classifier.

        Raises:
            InputError: the Run is not finished.
        """
        if self.result is None:
            raise InputError(f"{self.path}: is not finished. Try: residuum resume {self.path}")
        return Classifier.load(self.path / "classifier")

    def remove_leftovers(self) -> None:
        """Delete what interrupted writes left behind. The caller holds the lock."""
        for directory in (self.path, self.path / "checkpoints"):
            remove_leftovers(directory)

    def _read(self, name: str) -> Record:
        path = self.path / name
        try:
            value = json.loads(path.read_bytes())
        except FileNotFoundError as error:
            raise DamagedError(f"{path}: is missing") from error
        except (OSError, ValueError) as error:
            raise DamagedError(f"{path}: cannot be read as JSON ({error})") from error
        if not isinstance(value, dict):
            raise DamagedError(f"{path}: expected a JSON object, got {type(value).__name__}")
        return value


def remove_tree(path: Path) -> None:
    """Remove a directory so that a crash on the way leaves nothing that looks whole: the manifest goes first."""
    (path / "manifest.json").unlink(missing_ok=True)
    for entry in path.iterdir():
        entry.unlink()
    path.rmdir()


def dumps(value: object) -> str:
    """Readable JSON, one trailing newline."""
    return json.dumps(value, indent=1, ensure_ascii=False, default=str) + "\n"
