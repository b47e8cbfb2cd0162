"""A Run: the directory of one training.

run.json                   what was asked for: net, data, recipe, seed; enough to go on after a crash
environment.json           hardware, versions, commit
metrics.jsonl              one line for each epoch
preprocessing.safetensors  the mean image of the weights the training started from, where they have one
checkpoints/               step-00000391/ and so on, each whole and verified, newest last
classifier/                the final Classifier
result.json                the final metrics; its presence means the Run is finished
report.html                curves and tables, with their PNG beside them
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor, nn

from residuum.classifier import Classifier
from residuum.data.preprocess import Interpolation, Preprocessing
from residuum.errors import DamagedError, InputError
from residuum.files.atomic import (
    MANIFEST,
    TEMPORARY_PREFIX,
    read_directory,
    remove_leftovers,
    storage_error,
    write_directory,
    write_file,
)
from residuum.weights.store import digest, from_bytes, to_bytes

RUN_FILE = "run.json"
KEPT_CHECKPOINTS = 2
MEAN_IMAGE = "preprocessing.safetensors"
FORMAT = 1
# What a training that crashed before it began leaves behind.
LEFTOVERS = (".lock", ".lock-holder", "environment.json", "metrics.jsonl", MEAN_IMAGE, "step-00000000")
Record = dict[str, Any]


class Start(BaseModel):
    """The weights a training started from.

    Attributes:
        model: what they were called: a model reference, or the name of the net where a Classifier was given.
        weights_sha256: of all their tensors.
        new_head: whether the last layer began anew.
        licence: of the weights, where their card names one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    model: str
    weights_sha256: str
    new_head: bool
    licence: str | None = None


class KeptPreprocessing(BaseModel):
    """A preprocessing that came with weights, and so cannot be computed from the data again.

    Attributes:
        channels, resize, crop, mean, std, interpolation: as of `residuum.Preprocessing`.
        mean_image_sha256: of the mean image in `preprocessing.safetensors`, where there is one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    channels: int
    resize: int
    crop: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: Interpolation = "bilinear"
    mean_image_sha256: str | None = None

    @classmethod
    def of(cls, preprocessing: Preprocessing) -> KeptPreprocessing:
        """What to keep of a preprocessing."""
        image = preprocessing.mean_image
        values = {name: getattr(preprocessing, name) for name in cls.model_fields if name != "mean_image_sha256"}
        return cls(**values, mean_image_sha256=None if image is None else digest(_mean_image(image)))


class RunConfig(BaseModel):
    """What was asked for, as `run.json` keeps it.

    Attributes:
        net: name in the catalog, or the qualified name of the user's own class (`own_net`).
        data: name of a set, or the absolute path of a folder; `data_dir` is where a set's files lie.
        data_fingerprint: of the training set as it was.
        class_names: by label.
        channels: of the images; None in Runs from before this was kept.
        seed, recipe: as trained.
        skipped: files that were not used, with their reasons.
        start: the weights it began with; None for random ones.
        preprocessing: of these weights; None where it is computed from the training images.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    format: int = FORMAT
    net: str
    own_net: bool
    data: str
    data_dir: str | None
    data_fingerprint: str
    class_names: tuple[str, ...]
    channels: int | None = None
    seed: int
    recipe: dict[str, Any]
    skipped: tuple[tuple[str, str], ...] = ()
    start: Start | None = None
    preprocessing: KeptPreprocessing | None = None


@dataclass(frozen=True)
class Run:
    """One training, as a directory."""

    path: Path

    @staticmethod
    def stands_at(path: str | Path) -> bool:
        """Whether a Run has begun at `path`; false for what cannot be a path."""
        return os.path.isfile(Path(path) / RUN_FILE)

    @staticmethod
    def require_free(path: Path) -> None:
        """Check that a Run may begin at `path`.

        Raises:
            InputError: something that is not a half-begun Run stands there.
        """
        try:
            taken = path.exists() and not path.is_dir()
        except OSError as error:  # a name that is too long
            raise InputError(
                f"{str(path)[:80]}...: cannot be a directory ({error.strerror}). Try: another --out"
            ) from error
        if taken:
            raise InputError(f"{path}: is a file (expected a directory for the Run). Try: another --out")
        begun = Run.stands_at(path)
        if path.is_dir() and (begun or any(not _is_leftover(entry) for entry in path.iterdir())):
            action = f"residuum resume {path}, or another --out" if begun else "another --out"
            raise InputError(f"{path}: exists and is not empty. Try: {action}")

    @classmethod
    def create(
        cls,
        path: Path,
        config: RunConfig,
        environment: Mapping[str, Any],
        first_checkpoint: Mapping[str, bytes],
        *,
        mean_image: NDArray[np.float32] | None = None,
    ) -> Run:
        """Begin a Run directory; `run.json` is written last, so that a Run has all it needs to go on.

        Args:
            path: the directory.
            config: what was asked for.
            environment: where it is made.
            first_checkpoint: files of step 0.
            mean_image: of `config.preprocessing`, where it has one.

        Raises:
            InputError: the directory exists and is not empty.
            StorageError: it cannot be written.
        """
        cls.require_free(path)
        run = cls(path)
        for old in run.checkpoints():
            remove_tree(old)
        write_file(path / "environment.json", dumps(environment))
        write_file(path / "metrics.jsonl", "")
        if mean_image is not None:
            write_file(path / MEAN_IMAGE, to_bytes(_mean_image(mean_image)))
        run.save_checkpoint(0, first_checkpoint)
        write_file(path / RUN_FILE, dumps(config.model_dump(mode="json")))
        return run

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """Open a Run directory.

        Raises:
            InputError: there is none, or it is no Run.
        """
        run = cls(Path(path))
        if not run.path.is_dir():
            raise InputError(f"{path}: no such directory. Try: the --out of an earlier training")
        if not Run.stands_at(path):
            cls.require_not_several(run.path)
            raise InputError(f"{path}: is not a Run (it has no run.json). Try: the --out of an earlier training")
        return run

    @staticmethod
    def require_not_several(path: Path) -> None:
        """Check that a directory which is no Run does not hold some, as that of several seeds does.

        Raises:
            InputError: it does; the message names the first.
        """
        several = [entry for entry in path.iterdir() if Run.stands_at(entry)]
        if several:
            first = min(several, key=lambda entry: (len(entry.name), entry.name))
            raise InputError(f"{path}: holds trainings and is none itself. Try: {first}")

    @property
    def config(self) -> RunConfig:
        """What was asked for.

        Raises:
            DamagedError: `run.json` is not what `create` writes.
        """
        try:
            return RunConfig.model_validate(self._read(RUN_FILE))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise DamagedError(f"{self.path / 'run.json'}: {where}: {first['msg']}. Try: train again") from error

    @property
    def preprocessing(self) -> Preprocessing | None:
        """That of the weights the Run started from; None where it is computed from the training images.

        Raises:
            DamagedError: `run.json` or the mean image is not what `create` wrote.
        """
        kept = self.config.preprocessing
        if kept is None:
            return None
        image = None
        if kept.mean_image_sha256 is not None:
            path = self.path / MEAN_IMAGE
            try:
                tensors = from_bytes(path.read_bytes(), str(path))
            except OSError as error:
                raise DamagedError(f"{path}: cannot be read ({error.strerror}). Try: train again") from error
            if digest(tensors) != kept.mean_image_sha256:
                raise DamagedError(f"{path}: sha256 differs from that in run.json. Try: train again")
            image = tensors["mean_image"].numpy()
        try:
            return Preprocessing(**kept.model_dump(exclude={"mean_image_sha256"}), mean_image=image)
        except InputError as error:
            raise DamagedError(f"{self.path / 'run.json'}: {error}. Try: train again") from error

    @property
    def environment(self) -> Record:
        """Where it was made; a file that cannot be read is said to be so, since nothing else depends on it."""
        try:
            return self._read("environment.json")
        except DamagedError as error:
            return {"damaged": str(error).partition(": ")[2]}

    @property
    def result(self) -> Record | None:
        """The final metrics, or None while the Run is not finished."""
        if not (self.path / "result.json").exists():
            return None
        return self._read("result.json")

    def metrics(self) -> list[Record]:
        """The line of each finished epoch, in order; one that cannot be read is left out."""
        return [record for record in self._lines() if record is not None]

    def damaged_metrics(self) -> list[int]:
        """Numbers (from 1) of the lines that cannot be read, but for a last one: a crash may have cut it."""
        return [number for number, record in enumerate(self._lines()[:-1], start=1) if record is None]

    def _lines(self) -> list[Record | None]:
        path = self.path / "metrics.jsonl"
        if not path.exists():
            return []
        return [_record(line) for line in path.read_text(errors="replace").splitlines()]

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
        """Write a checkpoint, whole or not at all, then remove all but the newest ones.

        Raises:
            StorageError: it could not be written; the ones before are kept.
        """
        write_directory(self._checkpoint(step), files)
        for old in self.checkpoints()[:-KEPT_CHECKPOINTS]:
            remove_tree(old)

    def remove_checkpoints_after(self, step: int) -> None:
        """Remove checkpoints newer than `step`: they did not verify. The caller holds the lock."""
        for path in self.checkpoints():
            if path.name > self._checkpoint(step).name:
                remove_tree(path)

    def _checkpoint(self, step: int) -> Path:
        return self.path / "checkpoints" / f"step-{step:08d}"

    def checkpoints(self) -> list[Path]:
        """Directories of checkpoints, oldest first, verified or not."""
        return sorted((self.path / "checkpoints").glob("step-" + "[0-9]" * 8))

    def newest_checkpoint(self) -> tuple[int, dict[str, bytes], Sequence[str]]:
        """The newest checkpoint that verifies: its step, its files, and what is wrong with each newer one.

        Raises:
            DamagedError: none verifies.
        """
        problems: list[str] = []
        for path in reversed(self.checkpoints()):
            try:
                return int(path.name.removeprefix("step-")), read_directory(path), problems
            except DamagedError as error:
                problems.append(str(error).partition(". Try:")[0])
        reason = problems[0] if problems else f"{self.path}: has no checkpoint"
        raise DamagedError(f"{reason}; no older checkpoint is left. Try: train again with another --out")

    def finish(self, classifier: Classifier, result: Record) -> None:
        """Write the final Classifier and result."""
        target = self.path / "classifier"
        if target.exists():
            remove_tree(target)
        classifier.save(target)
        write_file(self.path / "result.json", dumps(result))

    def classifier(self, *, net: nn.Module | None = None) -> Classifier:
        """The final Classifier; `net` is an instance of the user's own class, where the Run trained one.

        Raises:
            InputError: the Run is not finished.
            DamagedError: a file of it is missing or damaged.
        """
        if self.result is None:
            raise InputError(f"{self.path}: is not finished. Try: residuum resume {self.path}")
        try:
            return Classifier.load(self.path / "classifier", net=net)
        except DamagedError as error:
            reason, result = str(error).partition(". Try:")[0], self.path / "result.json"
            raise DamagedError(
                f"{reason}. Try: delete {result}, then residuum resume {self.path}, which rebuilds it"
            ) from error

    def remove_leftovers(self) -> None:
        """Delete what interrupted writes left behind. The caller holds the lock."""
        for directory in (self.path, self.path / "checkpoints"):
            remove_leftovers(directory)

    def _read(self, name: str) -> Record:
        path = self.path / name
        try:
            value = json.loads(path.read_bytes())
        except FileNotFoundError as error:
            raise DamagedError(f"{path}: is missing. Try: train again") from error
        except (OSError, ValueError, RecursionError) as error:
            raise DamagedError(f"{path}: cannot be read as JSON ({error}). Try: train again") from error
        if not isinstance(value, dict):
            raise DamagedError(f"{path}: expected a JSON object, got {type(value).__name__}. Try: train again")
        return value


def _mean_image(image: NDArray[np.float32]) -> dict[str, Tensor]:
    return {"mean_image": torch.from_numpy(image)}


def _record(line: str) -> Record | None:
    """A line of `metrics.jsonl`; None where it is none."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and isinstance(record.get("step"), int) else None


def _is_leftover(entry: Path) -> bool:
    if entry.name == "checkpoints":
        return all(_is_leftover(each) for each in entry.iterdir())
    return entry.name in LEFTOVERS or entry.name.startswith(TEMPORARY_PREFIX)


def remove_tree(path: Path) -> None:
    """Remove a directory so that a crash on the way leaves nothing that looks whole: the manifest goes first.

    What cannot be removed stays: a checkpoint too many does no harm.
    """
    with suppress(OSError):
        (path / MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(path, ignore_errors=True)


def dumps(value: object) -> str:
    """Readable JSON, one trailing newline."""
    return json.dumps(value, indent=1, ensure_ascii=False, default=str) + "\n"
