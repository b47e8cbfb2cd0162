"""`train` and `resume`: from names to a finished Run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from residuum.classifier import Classifier
from residuum.data.open import open_dataset
from residuum.data.preprocess import Preprocessing, fit
from residuum.data.source import Dataset, stratified
from residuum.errors import InputError
from residuum.files.lock import lock_directory
from residuum.nets import catalog
from residuum.nets.layers import set_bn_group
from residuum.nets.resnet import ResNet, zero_init_residual
from residuum.records.environment import environment
from residuum.report.run_page import write_run_report
from residuum.run import Run
from residuum.training.loop import Loop
from residuum.training.observer import Observer, Silent
from residuum.training.recipe import Execution, Recipe
from residuum.training.recipes import default_recipe
from residuum.training.recipes import recipe as named_recipe

HOLDOUT_SEED = 0  # the same images for every training seed, so that choices are comparable


def train(
    net: str | nn.Module,
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
        net: a name of the catalog, or your own `nn.Module`: images `(N, C, H, W)` to logits `(N, number of classes)`.
        data: `digits`, `cifar10`, ..., the path of an image folder, or a Dataset.
        recipe: a Recipe, the name of one, or None for the one that suits the data.
        changes: fields of the recipe to replace, such as `{"epochs": 5}`.
        out: directory of the Run; `runs/<net>-<data>-<recipe>-seed<seed>` by default.
        seed: of initial weights (of a named net), order and augmentation.
        data_dir: where the files of a named data set lie.
        execution: device, threads, how often to save.
        observer: who is told of the progress; nobody by default.

    Returns:
        The finished Run.

    Raises:
        InputError: net, data, recipe or directory cannot be used; nothing was written.
        TrainingError: a loss, gradient or buffer was not finite.
        Interrupted: stopped by a signal, saved before.
        StorageError: the disk is full, read-only or failing.
    """
    if seed < 0:
        raise InputError(f"seed: must be at least 0, got {seed}. Try: --seed 0")
    execution, observer = execution or Execution(), observer or Silent()
    if isinstance(net, str):
        catalog.entry(net)
    if isinstance(recipe, str):
        recipe = named_recipe(recipe)
    device = choose_device(execution.device)
    dataset = data if isinstance(data, Dataset) else _open(data, data_dir, observer)
    net_name = net if isinstance(net, str) else f"{type(net).__module__}.{type(net).__qualname__}"
    net_size = catalog.entry(net).input_size if isinstance(net, str) else 224
    recipe = (recipe or default_recipe(dataset, net_name, net_size)).changed(changes or {})
    path = Path(out) if out is not None else _default_path(net_name, dataset, recipe, seed)
    config = {
        "net": net_name,
        "own_net": not isinstance(net, str),
        "data": dataset.name,
        "data_dir": str(Path(data_dir).resolve()) if data_dir is not None else None,
        "data_fingerprint": dataset.fingerprint,
        "class_names": list(dataset.class_names),
        "seed": seed,
        "recipe": recipe.to_json(),
        "skipped": [[one.path, one.reason] for one in dataset.skipped],
    }
    dataset = with_holdout(dataset, recipe.holdout)
    preprocessing = fit_preprocessing(dataset, recipe, net_size)
    module = prepare_net(net, dataset, preprocessing, recipe, seed)
    path.mkdir(parents=True, exist_ok=True)
    with lock_directory(path):
        run = Run.create(path, config, environment())
        _fit(run, module, dataset, preprocessing, recipe, seed, execution, observer, device)
    return run


def resume(
    run: str | Path,
    *,
    net: nn.Module | None = None,
    data: Dataset | None = None,
    execution: Execution | None = None,
    observer: Observer | None = None,
) -> Run:
    """Continue a training that was stopped, in the middle of an epoch if need be; it ends with the same bits.

    Args:
        run: its directory.
        net: a fresh instance of your own class, where the training was of one.
        data: the Dataset, where the training was given one that has no name.
        execution: device, threads, how often to save; threads that differ are reported, since rounding then differs.
        observer: who is told of the progress.

    Returns:
        The finished Run; a Run that had finished already is returned as it is.

    Raises:
        InputError: no such Run; the data changed since; another process is training it.
        DamagedError: no checkpoint verifies.
        TrainingError, Interrupted, StorageError: as `train`.
    """
    execution, observer = execution or Execution(), observer or Silent()
    opened = Run.open(run)
    if opened.result is not None:
        observer.message(f"{opened.path}: is finished already")
        return opened
    device = choose_device(execution.device)
    with lock_directory(opened.path):
        opened.remove_leftovers()
        config = opened.config
        recipe = Recipe.from_json(config["recipe"])
        dataset = data or _open(config["data"], config["data_dir"], observer)
        _require_same_data(opened, config, dataset)
        dataset = with_holdout(dataset, recipe.holdout)
        if config["own_net"] and net is None:
            raise InputError(
                f"{opened.path}: trains your own {config['net']}. Try: resume(..., net=that class()) in Python"
            )
        module_or_name = net if net is not None else str(config["net"])
        net_size = catalog.entry(module_or_name).input_size if isinstance(module_or_name, str) else 224
        preprocessing = fit_preprocessing(dataset, recipe, net_size)
        module = prepare_net(module_or_name, dataset, preprocessing, recipe, config["seed"])
        _fit(opened, module, dataset, preprocessing, recipe, config["seed"], execution, observer, device)
    return opened


def _fit(
    run: Run,
    net: nn.Module,
    dataset: Dataset,
    preprocessing: Preprocessing,
    recipe: Recipe,
    seed: int,
    execution: Execution,
    observer: Observer,
    device: torch.device,
) -> None:
    if execution.threads is not None:
        torch.set_num_threads(execution.threads)
    torch.set_flush_denormal(True)
    net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    loop = Loop(
        run,
        net,
        dataset,
        preprocessing,
        recipe=recipe,
        execution=execution,
        seed=seed,
        device=device,
        observer=observer,
    )
    loop.restore()
    title = f"{run.config['net']} on {dataset.name}, {recipe.name}, seed {seed}"
    observer.started(title, loop.progress.step, loop.steps, recipe.batch_size)
    loop.fit()
    _finish(run, loop)


def _finish(run: Run, loop: Loop) -> None:
    """Evaluate the last iterate once on each split it was not trained on, save the Classifier, draw the report."""
    final = {name: loop.evaluate(split) for name, split in loop.dataset.splits().items() if name != "train"}
    config = run.config
    metrics = {name: each.to_json() for name, each in final.items()}
    card = {
        "recipe": config["recipe"],
        "seed": loop.seed,
        "data": {key: config[key] for key in ("data", "data_fingerprint")},
        "chosen_by": "nothing: the last iterate of a recipe fixed beforehand",
        "metrics": metrics,
        "environment": run.environment,
        "parameters": sum(parameter.numel() for parameter in loop.net.parameters()),
    }
    classifier = Classifier(
        net=loop.net,
        net_name=config["net"],
        preprocessing=loop.preprocessing,
        class_names=loop.dataset.class_names,
        card=card,
    )
    last = run.metrics()[-1]
    result = {
        "steps": loop.steps,
        "seconds": round(loop.progress.seconds, 2),
        "weights_sha256": weights_sha256(loop.net),
        "train": {key: last[f"train_{key}"] for key in ("loss", "error")},
        **{
            name: each.to_json() | {"per_class": each.per_class(loop.dataset.class_names)}
            for name, each in final.items()
        },
    }
    run.finish(classifier, result)
    write_run_report(run.path, config=config, environment=run.environment, metrics=run.metrics(), result=result)


def weights_sha256(net: nn.Module) -> str:
    """sha256 over names and bytes of all weights and buffers, in the order of their names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(net.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def choose_device(name: str) -> torch.device:
    """The device of that name; `auto` is a GPU where there is one.

    Raises:
        InputError: there is no such device here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"device: {name!r} cannot be used here ({reason}). Try: --device cpu") from error
    return device


def with_holdout(dataset: Dataset, share: float) -> Dataset:
    """The data set with `share` of its training images as validation split, stratified; as it is for a share of 0."""
    if not share or dataset.val is not None:
        return dataset
    held = round(share * len(dataset.train))
    train_part, val_part = stratified(dataset.train.labels, (len(dataset.train) - held, held), HOLDOUT_SEED)
    whole = dataset.train
    return replace(dataset, train=whole.subset(train_part, "train"), val=whole.subset(val_part, "val"))


def fit_preprocessing(dataset: Dataset, recipe: Recipe, net_size: int) -> Preprocessing:
    """The preprocessing of a training: sizes from recipe, data or net, statistics from the training images only."""
    if recipe.image_size is not None:
        size = (recipe.image_size, recipe.image_size)
    else:
        size = dataset.image_size or (net_size, net_size)
    margin = 256 / 224 if dataset.image_size is None and min(size) >= 64 else 1.0
    return fit(dataset.train.images, resize=round(min(size) * margin), crop=size, normalisation=recipe.normalisation)


def prepare_net(
    net: str | nn.Module, dataset: Dataset, preprocessing: Preprocessing, recipe: Recipe, seed: int
) -> nn.Module:
    """The net with initial weights, shown to take these images and to answer with these classes.

    Raises:
        InputError: it does not.
    """
    if isinstance(net, str):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module = catalog.net(net, num_classes=len(dataset.class_names), in_channels=dataset.channels)
    else:
        module = net
    if recipe.zero_init_residual and isinstance(module, ResNet):
        zero_init_residual(module)
    if recipe.bn_group is not None:
        set_bn_group(module, recipe.bn_group)
    _try_out(module, dataset, preprocessing)
    return module


def _try_out(net: nn.Module, dataset: Dataset, preprocessing: Preprocessing) -> None:
    shape = (1, dataset.channels, *preprocessing.crop)
    parameter = next(net.parameters(), None)
    net.eval()
    try:
        with torch.inference_mode():
            logits = net(torch.zeros(shape, device=parameter.device if parameter is not None else None))
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"net: cannot take images of shape {shape} ({reason})") from error
    expected = (1, len(dataset.class_names))
    if tuple(logits.shape) != expected:
        raise InputError(
            f"net: answers with shape {tuple(logits.shape)} (expected {expected}, one value for each class)"
        )


def _require_same_data(run: Run, config: dict[str, Any], dataset: Dataset) -> None:
    was, now = config["class_names"], list(dataset.class_names)
    if was != now:
        raise InputError(
            f"{run.path}: the classes changed since (gone: {sorted(set(was) - set(now)) or 'none'}; "
            f"new: {sorted(set(now) - set(was)) or 'none'}). Try: the data it was begun with"
        )
    if config["data_fingerprint"] != dataset.fingerprint:
        raise InputError(
            f"{run.path}: {dataset.name} changed since this training began (fingerprint expected "
            f"{config['data_fingerprint'][:12]}, got {dataset.fingerprint[:12]}). Try: the data it was begun with"
        )


def _open(data: str | Path, data_dir: str | Path | None, observer: Observer) -> Dataset:
    dataset = open_dataset(
        data,
        data_dir=Path(data_dir) if data_dir is not None else None,
        on_bytes=lambda name, done, total: observer.evaluating(f"download {name}", done, total or 0),
        on_progress=lambda done, total: observer.evaluating("reading images", done, total),
    )
    for one in dataset.skipped:
        observer.message(f"skipped {one.path}: {one.reason}")
    return dataset


def _default_path(net_name: str, dataset: Dataset, recipe: Recipe, seed: int) -> Path:
    data = Path(dataset.name).resolve().name
    return Path("runs") / f"{net_name.rpartition('.')[2]}-{data}-{recipe.name}-seed{seed}"
