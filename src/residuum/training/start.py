"""`train` and `resume`: from names to a finished Run."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import torch
from torch import nn

from residuum.classifier import Classifier
from residuum.data.decode import decoding_with
from residuum.data.source import NAMES, Dataset
from residuum.errors import DamagedError, InputError
from residuum.evaluation import Metrics
from residuum.files.atomic import storage_error
from residuum.files.lock import lock_directory
from residuum.nets import catalog
from residuum.records.environment import environment
from residuum.report.run_page import write_run_report
from residuum.run import KeptPreprocessing, Record, Run, RunConfig
from residuum.training.asked import look_up, open_data
from residuum.training.loop import Loop
from residuum.training.observer import Observer, Silent
from residuum.training.prepare import Prepared, choose_device, net_name, prepare, with_cache
from residuum.training.recipe import Execution, Recipe
from residuum.training.schedules import Plateau
from residuum.training.transfer import (
    own_preprocessing,
    require_channels,
    settle_statistics,
    take_weights,
)
from residuum.weights.store import digest

MAX_SEED = 2**31 - 1
Arguments = ParamSpec("Arguments")
Made = TypeVar("Made")


def with_own_workers(function: Callable[Arguments, Made]) -> Callable[Arguments, Made]:
    """As many threads decode as its `execution` says, from the first look at the data to the last evaluation."""

    @wraps(function)
    def limited(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Made:
        execution = kwargs.get("execution")
        with decoding_with(execution.workers if isinstance(execution, Execution) else None):
            return function(*args, **kwargs)

    return limited


@with_own_workers
def train(
    net: str | Path | nn.Module | Classifier,
    data: str | Path | Dataset,
    *,
    recipe: str | Recipe | None = None,
    changes: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    seed: int = 0,
    data_dir: str | Path | None = None,
    execution: Execution | None = None,
    observer: Observer | None = None,
) -> Run:
    """Train a net and write a Run directory.

    Args:
        net: what to train. A name of the catalog is an untrained net. A Classifier, or a model reference with weights
            (`resnet18:imagenet`, a Run or Classifier directory), is fine-tuned: a new net takes its weights and
            preprocessing, with a new last layer unless the data has the same classes. Your own `nn.Module`, images
            `(N, C, H, W)` to logits `(N, number of classes)`, is trained in place: moved to the device, put in
            channels-last layout, and left in eval mode.
        data: `digits`, `cifar10`, ..., the path of an image folder, or a Dataset.
        recipe: a Recipe, the name of one, or None for the one that suits the data; `finetune` for weights.
        changes: fields of the recipe to replace, such as `{"epochs": 5}`. What hangs on them keeps its proportion, such
            as the milestones of the learning rate to the length of the training.
        out: directory of the Run; `runs/<net>-<data>-<recipe>-seed<seed>` by default.
        seed: of initial weights (of a named net, or a new last layer), order and augmentation.
        data_dir: where the files of a named data set lie.
        execution: device, threads, how often to save.
        observer: who is told of the progress; nobody by default.

    Returns:
        The finished Run.

    Raises:
        InputError: net, data, recipe or directory cannot be used, nothing was written; or `torchrun` started several
            processes.
        TrainingError: a loss, gradient or buffer was not finite.
        ResiduumError: the memory of the GPU is full.
        Interrupted: stopped by a signal, saved before.
        StorageError: the disk is full, read-only or failing.
    """
    _require_one_process()
    if not 0 <= seed <= MAX_SEED:
        raise InputError(f"seed: must be at least 0 and at most {MAX_SEED}, got {seed}. Try: --seed 0")
    execution, observer = execution or Execution(), observer or Silent()
    device = choose_device(execution.device)
    if out is not None:
        Run.require_free(Path(out))
    asked = look_up(net, data, recipe=recipe, changes=changes, data_dir=data_dir, device=device, observer=observer)
    named, origin, dataset, recipe = asked.net, asked.origin, asked.dataset, asked.recipe
    if recipe.holdout and dataset.val is not None:
        observer.message(f"note {dataset.name} has a validation split of its own: nothing is held out")
    path = Path(out) if out is not None else default_path(net_name(named), dataset, recipe, f"seed{seed}")
    Run.require_free(path)
    preprocessing = begun = None
    if origin is not None:
        require_channels(origin, dataset)
        preprocessing = own_preprocessing(origin, recipe, observer)
    prepared = prepare(named, dataset, recipe, seed=seed, device=device, preprocessing=preprocessing)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(execution.threads or threads)
        if origin is not None:
            begun = take_weights(prepared, origin, observer)
        elif isinstance(named, nn.Module) and recipe.batch_norm != "trained":
            settle_statistics(prepared, observer)
        config = RunConfig(
            net=net_name(named),
            own_net=not isinstance(named, str),
            data=dataset.reference,
            data_dir=str(Path(data_dir).resolve()) if data_dir is not None else None,
            data_fingerprint=dataset.fingerprint,
            class_names=dataset.class_names,
            channels=dataset.channels,
            seed=seed,
            recipe=recipe.to_json(),
            skipped=tuple((one.path, one.reason) for one in dataset.skipped),
            start=begun,
            preprocessing=KeptPreprocessing.of(preprocessing) if preprocessing else None,
        )
        return _begin(path, config, with_cache(prepared, execution, observer), execution, observer)
    finally:
        torch.set_num_threads(threads)


def _require_one_process() -> None:
    """Refuse to be one of several processes of `torchrun`, which would all write the same Run.

    Raises:
        InputError: this is one.
    """
    processes = os.environ.get("WORLD_SIZE", "1")
    if processes.isdecimal() and int(processes) > 1:
        raise InputError(
            f"WORLD_SIZE: training on several GPUs in one run is not supported (expected 1 process, got {processes}). "
            f"Try: residuum train without torchrun, several seeds at once with --seeds {processes} "
            f"--side-by-side {processes}"
        )


def _begin(path: Path, config: RunConfig, prepared: Prepared, execution: Execution, observer: Observer) -> Run:
    """Write a new Run directory and train to the end."""
    loop = Loop(Run(path), prepared, execution, observer)
    first = loop.checkpoint()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(path, error) from error
    with lock_directory(path):
        image = prepared.preprocessing.mean_image if config.preprocessing else None
        Run.create(path, config, environment() | loop.circumstances, first, mean_image=image)
        _fit(loop)
    return loop.run


@with_own_workers
def resume(
    run: str | Path,
    *,
    net: nn.Module | None = None,
    data: Dataset | None = None,
    execution: Execution | None = None,
    observer: Observer | None = None,
) -> Run:
    """Continue a training that was stopped, in the middle of an epoch if need be; on a CPU it ends with the same bits.

    Args:
        run: its directory.
        net: a fresh instance of your own class, where the training was of one.
        data: the Dataset, where the training was given one that has no name.
        execution: device, threads (those of the checkpoint by default), how often to save. What differs from before and
            may change the bits is reported.
        observer: who is told of the progress.

    Returns:
        The finished Run; a Run that had finished already is returned as it is.

    Raises:
        InputError: no such Run; the data changed since; another process is training it; or `torchrun` started several
            processes.
        DamagedError: no checkpoint verifies, or the line of the last epoch is gone.
        TrainingError, ResiduumError, Interrupted, StorageError: as `train`.
    """
    _require_one_process()
    execution, observer = execution or Execution(), observer or Silent()
    opened = Run.open(run)
    if opened.result is not None:
        observer.message(f"{opened.path}: is finished already")
        return opened
    device = choose_device(execution.device)
    threads = torch.get_num_threads()
    with lock_directory(opened.path):
        if opened.result is not None:  # by a process that held the lock until now
            return opened
        opened.remove_leftovers()
        config = opened.config
        if config.own_net != (net is not None):
            kind = "your own class: resume(..., net=that class()) in Python" if config.own_net else "residuum resume"
            raise InputError(f"{opened.path}: trains {config.net}. Try: {kind}")
        if data is None and config.data not in NAMES and not Path(config.data).is_dir():
            raise InputError(
                f"{config.data}: the data of this Run is no longer there. Try: put it back, or a link to it"
            )
        kept = opened.preprocessing
        channels = kept.channels if kept else config.channels or 3
        dataset = data or open_data(config.data, config.data_dir, observer, channels=channels)
        _require_same_data(opened, config, dataset)
        recipe = Recipe.from_json(config.recipe)
        prepared = prepare(net or config.net, dataset, recipe, seed=config.seed, device=device, preprocessing=kept)
        loop = Loop(opened, with_cache(prepared, execution, observer), execution, observer)
        try:
            loop.restore()
            _fit(loop)
        finally:
            torch.set_num_threads(threads)
    return opened


def _fit(loop: Loop) -> None:
    """Train to the end, draw the report, save the Classifier; the result, which ends the Run, comes last."""
    final = loop.fit()
    run, config = loop.run, loop.run.config
    names = loop.dataset.class_names
    last = _last_record(run, loop.steps)
    result = {
        "steps": loop.steps,
        "seconds": round(loop.progress.seconds, 2),
        "weights_sha256": digest(loop.net.state_dict()),
        "train": {key: last[f"train_{key}"] for key in ("loss", "error")},
        **{name: each.to_json() | {"per_class": each.per_class(names)} for name, each in final.items()},
    }
    write_run_report(
        run.path,
        config=config.model_dump(mode="json"),
        environment=run.environment,
        metrics=run.metrics(),
        result=result,
    )
    run.finish(_classifier(loop, config, final, str(result["weights_sha256"])), result)


def _last_record(run: Run, steps: int) -> Record:
    """The line of the last epoch, which has the training error of the result.

    Raises:
        DamagedError: it is not there.
    """
    last = next(reversed(run.metrics()), {})
    if last.get("step") != steps or not {"train_loss", "train_error"} <= last.keys():
        raise DamagedError(
            f"{run.path / 'metrics.jsonl'}: the line of step {steps:,}, the last one, is missing or damaged. "
            f"Try: delete {run.checkpoints()[-1]}, then residuum resume {run.path}, which makes that epoch again"
        )
    return last


def _classifier(loop: Loop, config: RunConfig, final: Mapping[str, Metrics], weights_sha256: str) -> Classifier:
    by_error = isinstance(loop.recipe.schedule, Plateau) and loop.dataset.val is not None
    card = {
        "recipe": config.recipe,
        "seed": config.seed,
        "data": Path(config.data).name,
        "data_fingerprint": config.data_fingerprint,
        "chosen_by": "the last iterate" + (", its learning rate lowered by the validation error" if by_error else ""),
        "metrics": {name: each.to_json() for name, each in final.items()},
        "per_class": {name: each.per_class(loop.dataset.class_names) for name, each in final.items()},
        "weights_sha256": weights_sha256,
        "parameters": sum(parameter.numel() for parameter in loop.net.parameters()),
        "environment": loop.run.environment,
    }
    if config.start is not None:
        begun = config.start.model_dump(exclude_none=True)
        card["start"] = begun | {"model": Path(config.start.model).name}  # which tells no home
    return Classifier(
        net=loop.net,
        net_name=config.net,
        preprocessing=loop.preprocessing,
        class_names=loop.dataset.class_names,
        card=card,
    )


def _require_same_data(run: Run, config: RunConfig, dataset: Dataset) -> None:
    was, now = config.class_names, dataset.class_names
    if was != now:
        raise InputError(
            f"{run.path}: the classes changed since (gone: {sorted(set(was) - set(now)) or 'none'}; "
            f"new: {sorted(set(now) - set(was)) or 'none'}). Try: the data it was begun with"
        )
    if config.data_fingerprint != dataset.fingerprint:
        raise InputError(
            f"{run.path}: {dataset.name} changed since this training began (fingerprint expected "
            f"{config.data_fingerprint[:12]}, got {dataset.fingerprint[:12]}). Try: the data it was begun with"
        )


def default_path(net_name: str, dataset: Dataset, recipe: Recipe, seeds: str) -> Path:
    """Where what is trained goes if nobody says: a directory in `runs` that names net, data, recipe and seeds."""
    data = Path(dataset.name).resolve().name
    name = net_name if catalog.knows(net_name) else net_name.rpartition(".")[2]
    return Path("runs") / f"{name}-{data}-{recipe.name}-{seeds}"
