"""One recipe over several seeds, as one plan: how large is the difference that chance makes?

DIR/seeds.json    what was asked for, what came of each seed, mean and sample standard deviation
DIR/report.html   curves of all seeds with their spread, and the table
DIR/seed0, ...    each an ordinary Run
"""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from residuum.errors import InputError, Interrupted, TrainingError
from residuum.files.atomic import TEMPORARY_PREFIX
from residuum.plans.at_once import divided, how_many_of, require_side_by_side
from residuum.plans.execute import execute
from residuum.plans.plan import Executed, Plan, PlannedRun, PlanObserver, SilentPlan
from residuum.plans.seeds_record import SEEDS_FILE, Seeds, SeedsConfig, name_of
from residuum.run import Run
from residuum.training.asked import Asked, look_up
from residuum.training.prepare import choose_device
from residuum.training.recipe import Execution, Recipe
from residuum.training.start import MAX_SEED, default_path
from residuum.weights.store import digest

MAX_SEEDS = 1000
OWN_FILES = (SEEDS_FILE, "report.html", "curves.png")


def train_seeds(
    net: str | Path,
    data: str | Path,
    *,
    seeds: int = 3,
    seed: int = 0,
    recipe: str | Recipe | None = None,
    changes: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    data_dir: str | Path | None = None,
    side_by_side: int | None = None,
    execution: Execution | None = None,
    observer: PlanObserver | None = None,
) -> Seeds:
    """Train a net with several seeds, into one directory; the same call again goes on where it was stopped.

    Args:
        net: a name of the catalog, or a model reference with weights, as for `residuum.train`.
        data: name of a set, or the path of an image folder.
        seeds: how many.
        seed: the first; the others follow it.
        recipe, changes: as for `residuum.train`.
        out: where Runs, `seeds.json` and `report.html` go; `runs/<net>-<data>-<recipe>-seeds<first>-<last>` by default.
            Seeds of the same training that are there already are kept, and are part of the result.
        data_dir: where the files of a named set lie.
        side_by_side: at most so many trainings at once, each in a process of its own that gets its part of the threads;
            1 by default on a CPU, and on a GPU as many as its memory holds.
        execution: device, threads, how often to save.
        observer: who is told of the progress; nobody by default.

    Returns:
        The Seeds: Runs, means and standard deviations, and what failed.

    Raises:
        InputError: an argument cannot be used, or the directory holds something else.
        Interrupted: stopped by a signal, all running ones saved before.
        TrainingError: not one seed reached its end.
        StorageError: the disk is full, read-only or failing.
    """
    _require_numbers(seeds, seed, side_by_side)
    for name, value in (("net", net), ("data", data)):
        if not isinstance(value, str | Path):
            raise InputError(f"{name}: must be a name or a path, so that each seed begins anew. Try: residuum.train")
    execution, observer = execution or Execution(), observer or SilentPlan()
    device = choose_device(execution.device)
    if out is not None:
        _require_place(Path(out))
    asked = look_up(net, data, recipe=recipe, changes=changes, data_dir=data_dir, device=device, observer=observer)
    numbers = tuple(range(seed, seed + seeds))
    config = _config(asked, numbers, data_dir, side_by_side, execution)
    words = f"seeds{numbers[0]}-{numbers[-1]}"
    directory = Path(out) if out is not None else default_path(config.net, asked.dataset, asked.recipe, words)
    _require_place(directory)
    if is_plan_of_seeds(directory):
        was = SeedsConfig.read(directory)
        asked = asked.with_precision_of(Recipe.from_json(was.recipe))
        config = _config(asked, numbers, data_dir, side_by_side, execution)
        was.require_same(config, directory)
        config = config.model_copy(
            update={
                "seeds": tuple(sorted({*was.seeds, *numbers})),
                "side_by_side": side_by_side or was.side_by_side,
                "threads": config.threads if execution.threads or side_by_side else was.threads,
                "fuse": was.fuse,
            }
        )
    return _run(config, asked, directory, execution, observer)


def resume_seeds(
    directory: str | Path, *, execution: Execution | None = None, observer: PlanObserver | None = None
) -> Seeds:
    """Go on with the seeds of a directory: finished ones are kept, interrupted ones end with the same bits.

    Raises:
        InputError: there is no plan of seeds, or its data or weights changed.
        DamagedError: `seeds.json` is not what `train_seeds` writes.
        Interrupted, TrainingError, StorageError: as `train_seeds`.
    """
    directory, execution, observer = Path(directory), execution or Execution(), observer or SilentPlan()
    was = SeedsConfig.read(directory)
    recipe = Recipe.from_json(was.recipe)
    asked = look_up(
        was.start or was.net,
        was.data,
        recipe=recipe,
        changes=None,
        data_dir=was.data_dir,
        device=choose_device(execution.device),
        observer=observer,
    )
    now = _config(asked, was.seeds, was.data_dir, was.side_by_side, execution)
    was.require_same(now, directory)
    now = now.model_copy(update={"fuse": was.fuse})
    if execution.threads is None:
        now = now.model_copy(update={"threads": was.threads})
    return _run(now, asked, directory, execution, observer)


def is_plan_of_seeds(directory: Path) -> bool:
    """Whether seeds of a recipe have been trained there, or begun."""
    return os.path.isfile(directory / SEEDS_FILE)


def _config(
    asked: Asked, seeds: Sequence[int], data_dir: str | Path | None, side_by_side: int | None, execution: Execution
) -> SeedsConfig:
    assert isinstance(asked.net, str)
    at_once = _at_once(asked, len(seeds), side_by_side, execution)
    origin = asked.origin
    return SeedsConfig(
        net=asked.net,
        start=origin.model if origin else None,
        start_sha256=digest(origin.classifier.net.state_dict()) if origin else None,
        data=asked.dataset.reference,
        data_dir=str(Path(data_dir).resolve()) if data_dir is not None else None,
        data_fingerprint=asked.dataset.fingerprint,
        recipe=json.loads(json.dumps(asked.recipe.to_json())),
        seeds=tuple(seeds),
        side_by_side=side_by_side,
        threads=divided(execution, at_once).threads,
        fuse=execution.fuse,
    )


def _run(config: SeedsConfig, asked: Asked, directory: Path, execution: Execution, observer: PlanObserver) -> Seeds:
    """Execute the plan; the record is written at first and after each seed, the page at the end."""
    at_once = _at_once(asked, len(config.seeds), config.side_by_side, execution)
    each = replace(divided(execution, at_once), threads=config.threads, fuse=config.fuse)
    recipe = Recipe.from_json(config.recipe)
    plan = Plan(
        title=f"{config.net} on {Path(config.data).name}",
        trainings=[PlannedRun(config.net, recipe, seed, config.start, name_of(seed)) for seed in config.seeds],
        dataset=asked.dataset,
        directory=directory,
        data_dir=config.data_dir,
    )
    plan.finished()  # which refuses Runs that are not of this plan before anything is written
    created, known = _first_missing(directory), is_plan_of_seeds(directory)
    latest: dict[str, str] = {}

    def note(done: Executed) -> None:
        latest.update({failure.run: failure.reason for failure in done.failures})
        Seeds.found(directory, config, latest).save()

    note(Executed({}, ()))
    try:
        execute(plan, at_once, execution=each, observer=observer, on_end=note)
    except InputError:
        if not known:
            _forget(directory, created)
        raise
    except TrainingError:
        Seeds.found(directory, config, latest).draw()
        raise
    except (Interrupted, KeyboardInterrupt) as error:
        seeds = Seeds.found(directory, config, latest)
        seeds.save()
        seeds.draw()
        raise Interrupted(
            f"{directory}: stopped, saved, {len(seeds.runs)} of {len(config.seeds)} seeds finished. "
            f"Try: residuum resume {directory}",
            signal_number=error.signal_number if isinstance(error, Interrupted) else signal.SIGINT,
        ) from error
    seeds = Seeds.found(directory, config, latest)
    seeds.draw()
    return seeds


def _at_once(asked: Asked, seeds: int, most: int | None, execution: Execution) -> int:
    assert isinstance(asked.net, str)
    plan = [PlannedRun(asked.net, asked.recipe, seed) for seed in range(seeds)]
    crop = asked.origin.classifier.preprocessing.crop if asked.origin else None
    return how_many_of(plan, asked.dataset, execution, most, crop)


def _require_numbers(seeds: int, seed: int, side_by_side: int | None) -> None:
    if not 1 <= seeds <= MAX_SEEDS:
        raise InputError(f"seeds: must be at least 1 and at most {MAX_SEEDS:,}, got {seeds}. Try: 3")
    if not 0 <= seed <= MAX_SEED - seeds + 1:
        raise InputError(f"seed: must be at least 0 and at most {MAX_SEED - seeds + 1}, got {seed}. Try: 0")
    require_side_by_side(side_by_side)


def _require_place(directory: Path) -> None:
    """Check that a plan of seeds may begin or go on at `directory`.

    Raises:
        InputError: something else stands there.
    """
    if Run.stands_at(directory):
        raise InputError(f"{directory}: is a Run of one seed. Try: another --out")
    foreign = [entry.name for entry in directory.iterdir() if not _is_own(entry)] if os.path.isdir(directory) else []
    if foreign:
        raise InputError(f"{directory}: holds {foreign[0]}, which is not of a plan of seeds. Try: another --out")
    if not os.path.isdir(directory):
        Run.require_free(directory)


def _is_own(entry: Path) -> bool:
    seed = re.fullmatch(r"seed\d+", entry.name) is not None and entry.is_dir()
    return seed or entry.name in OWN_FILES or entry.name.startswith(TEMPORARY_PREFIX)


def _first_missing(directory: Path) -> list[Path]:
    """The directories that would have to be made for this one, the deepest first."""
    return [path for path in (directory, *directory.parents) if not os.path.exists(path)]


def _forget(directory: Path, created: Sequence[Path]) -> None:
    """Remove what was written for a plan of which no training could begin."""
    if any(entry.is_dir() for entry in directory.iterdir()):
        return
    (directory / SEEDS_FILE).unlink(missing_ok=True)
    for path in created:
        path.rmdir()
