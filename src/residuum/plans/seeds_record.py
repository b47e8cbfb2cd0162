"""What is written down about several seeds of one recipe: what was asked for and what came of it, in `seeds.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from residuum.errors import DamagedError, InputError
from residuum.files.atomic import write_file
from residuum.plans.plan import together
from residuum.records.quantity import Measured
from residuum.report.seeds_page import write_seeds_report
from residuum.run import Record, Run, dumps
from residuum.training.recipe import Recipe

SEEDS_FILE = "seeds.json"
RESULT_FIELDS = {"steps", "seconds", "train", "weights_sha256"}
SPLITS = ("test", "val", "train")


class SeedsConfig(BaseModel):
    """What was asked for, as `seeds.json` keeps it beside the results.

    Attributes:
        net: name in the catalog.
        start, start_sha256: model reference and sha256 of the weights to start from; None for random ones.
        data: name of a set, or the absolute path of a folder; `data_dir` is where a set's files lie.
        data_fingerprint: of the training set as it was.
        recipe: as trained.
        seeds: all of them.
        side_by_side: at most so many at once; None for what suits the device.
        threads: CPU threads of each training; None for PyTorch's choice.
        fuse: whether fused operators may be used, as in `Execution`.
    """

    model_config = ConfigDict(frozen=True)
    format: Literal[1] = 1
    net: str
    start: str | None
    start_sha256: str | None
    data: str
    data_dir: str | None
    data_fingerprint: str
    recipe: dict[str, Any]
    seeds: tuple[int, ...] = Field(min_length=1)
    side_by_side: int | None
    threads: int | None
    fuse: bool = True

    @classmethod
    def read(cls, directory: Path) -> SeedsConfig:
        """That of a directory.

        Raises:
            InputError: there is no plan of seeds.
            DamagedError: `seeds.json` is not what `train_seeds` writes.
        """
        path = directory / SEEDS_FILE
        try:
            config = cls.model_validate(json.loads(path.read_bytes()))
            Recipe.from_json(config.recipe)
            return config
        except FileNotFoundError as error:
            raise InputError(f"{directory}: is not a plan of seeds (it has no {SEEDS_FILE}). Try: another") from error
        except (OSError, ValueError, RecursionError) as error:
            first = error.errors()[0] if isinstance(error, ValidationError) else None
            reason = f"{'.'.join(map(str, first['loc'])) or 'it'}: {first['msg']}" if first else str(error)
            raise DamagedError(
                f"{path}: cannot be read ({reason}). Try: delete it, then the same residuum train as before"
            ) from error

    def require_same(self, other: SeedsConfig, directory: Path) -> None:
        """Refuse to put the seeds of `other` beside these.

        Raises:
            InputError: they are of another net, data or recipe.
        """
        recipes = [_normal(each.recipe) for each in (self, other)]
        for what, was, now in (
            ("net", self.start or self.net, other.start or other.net),
            ("weights", self.start_sha256, other.start_sha256),
            ("data", Path(self.data).name, Path(other.data).name),
            ("data", self.data_fingerprint[:12], other.data_fingerprint[:12]),
            *(("recipe", *(f"{name} {each[name]}" for each in recipes)) for name in recipes[0]),
        ):
            if was != now:
                raise InputError(
                    f"{directory}: holds seeds of another {what} (expected {was}, got {now}). Try: another --out"
                )


@dataclass(frozen=True)
class Seeds:
    """Trainings that differ in nothing but the seed.

    Attributes:
        directory: where they lie.
        config: what was asked for.
        runs: the finished ones, by seed.
        failures: why the others failed, by seed.
    """

    directory: Path
    config: SeedsConfig
    runs: Mapping[int, Run]
    failures: Mapping[int, str]

    @property
    def measured(self) -> dict[str, Measured]:
        """Error (a share) and loss of each split, and seconds, over the finished seeds, by names like `test error`.

        Raises:
            DamagedError: the result of a Run is not whole.
        """
        results = [whole_result(run) for run in self.runs.values()]
        named = {
            f"{split} {key}": Measured(tuple(float(result[split][key]) for result in results))
            for split in SPLITS
            if results and all(split in result for result in results)
            for key in ("error", "loss")
        }
        if results:
            named["seconds"] = Measured(tuple(float(result["seconds"]) for result in results))
        return named

    @classmethod
    def found(cls, directory: Path, config: SeedsConfig, failures: Mapping[str, str]) -> Seeds:
        """What stands in the directory by now; `failures` are reasons by the name of the Run."""
        runs = {seed: Run(directory / name_of(seed)) for seed in config.seeds}
        finished = {seed: run for seed, run in runs.items() if run.result is not None}
        return cls(
            directory, config, finished, {s: failures[name_of(s)] for s in config.seeds if name_of(s) in failures}
        )

    def save(self) -> None:
        """Write `seeds.json`."""
        write_file(self.directory / SEEDS_FILE, dumps(self.to_json()))

    @classmethod
    def read(cls, directory: Path) -> Seeds:
        """What stands in a directory, with the failures that are on record.

        Raises:
            InputError: there is no plan of seeds.
            DamagedError: `seeds.json` is not what `train_seeds` writes.
        """
        config = SeedsConfig.read(directory)
        rows = json.loads((directory / SEEDS_FILE).read_bytes()).get("failed", [])
        try:
            failures = {name_of(int(row["seed"])): str(row["reason"]) for row in rows}
        except (KeyError, TypeError, ValueError) as error:
            raise DamagedError(
                f"{directory / SEEDS_FILE}: failed: cannot be read. Try: delete it, then the same residuum train"
            ) from error
        return cls.found(directory, config, failures)

    def draw(self) -> Path:
        """Write the page, and give its path."""
        metrics = {seed: run.metrics() for seed, run in self.runs.items()}
        return write_seeds_report(self.directory, self.to_json(), metrics)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values: what was asked for, every seed, means, failures; what `seeds.json` holds."""
        return {
            **self.config.model_dump(mode="json"),
            "finished": len(self.runs),
            "mean": {
                name: {"mean": one.mean, "std": one.std if len(one.values) > 1 else None, "values": list(one.values)}
                for name, one in self.measured.items()
            },
            "runs": [self._row(seed) for seed in self.config.seeds],
            "failed": [{"seed": seed, "reason": reason} for seed, reason in self.failures.items()],
            "environment": together(self.runs.values()),
        }

    def _row(self, seed: int) -> Record:
        row: Record = {"seed": seed, "run": name_of(seed)}
        if seed in self.failures:
            return row | {"state": "failed", "reason": self.failures[seed]}
        if seed not in self.runs:
            return row | {"state": "not finished" if Run.stands_at(self.directory / name_of(seed)) else "not begun"}
        result = whole_result(self.runs[seed])
        row |= {"state": "finished"} | {name: result[name] for name in ("steps", "seconds", "weights_sha256")}
        for split in SPLITS:
            if split in result:
                row[split] = {key: result[split][key] for key in ("error", "loss")}
        return row


def name_of(seed: int) -> str:
    """What the Run of a seed is called."""
    return f"seed{seed}"


def whole_result(run: Run) -> Record:
    """The result of a finished Run.

    Raises:
        DamagedError: it lacks what every result has.
    """
    result = run.result or {}
    if not set(result) >= RESULT_FIELDS:
        damaged = run.path / "result.json"
        raise DamagedError(f"{damaged}: is not whole. Try: delete it, then residuum resume {run.path}")
    return result


def _normal(recipe: Mapping[str, Any]) -> dict[str, str]:
    """Each field as text; those that `seeds.json` does not name have their defaults."""
    return {name: json.dumps(value) for name, value in Recipe.from_json(recipe).to_json().items()}
