"""What a training needs before its first step: device, data with a validation split, preprocessing, net."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from residuum.data.batches import evaluation_batches, sample_order, training_reduction
from residuum.data.cache import with_decoded_cache
from residuum.data.preprocess import Preprocessing, fit
from residuum.data.source import Dataset, stratified
from residuum.errors import InputError
from residuum.nets import catalog
from residuum.nets.layers import set_bn_group
from residuum.nets.resnet import ResNet, zero_init_residual
from residuum.training.observer import Observer
from residuum.training.recipe import Execution, Recipe

HOLDOUT_SEED = 0  # the same images for every training seed, so that choices are comparable
STATISTICS_SEED = 0  # the same images for every training seed, so that trainings are comparable
STATISTICS_IMAGES = 64  # that layer statistics are of, at most: a few thousand positions of each channel
OWN_NET_SIZE = 224  # pixels a folder's images are brought to for a net that is not of the catalog


@dataclass(frozen=True, eq=False)
class Prepared:
    """A training that has all it needs, on its device."""

    net: nn.Module
    net_name: str
    dataset: Dataset
    preprocessing: Preprocessing
    recipe: Recipe
    seed: int
    device: torch.device

    def statistics_batch(self) -> tuple[Tensor, Tensor]:
        """The training images that layer statistics are of, as in evaluation, and their labels: always the same."""
        train = self.dataset.train
        count = min(STATISTICS_IMAGES, self.recipe.batch_size, len(train))
        few = train.subset(sample_order(len(train), STATISTICS_SEED, 0, count), "train")
        return next(evaluation_batches(few, self.preprocessing, batch_size=count, device=self.device))


def prepare(
    net: str | nn.Module,
    dataset: Dataset,
    recipe: Recipe,
    *,
    seed: int,
    device: torch.device,
    preprocessing: Preprocessing | None = None,
) -> Prepared:
    """Divide the data, compute the preprocessing from the training images, build the net and try it out.

    Args:
        net: a name of the catalog, or a module.
        dataset: what to train on.
        recipe: how.
        seed: of initial weights.
        device: where.
        preprocessing: of the weights that the net will take; computed by default.

    Raises:
        InputError: the net does not take these images or does not answer with these classes.
    """
    dataset = with_holdout(dataset, recipe.holdout)
    if recipe.batch_size > len(dataset.train):
        images = len(dataset.train)
        raise InputError(
            f"batch_size: must be at most the {images:,} training images, got {recipe.batch_size:,}. Try: {images}"
        )
    preprocessing = preprocessing or fit_preprocessing(dataset, recipe, net_size(net))
    module = prepare_net(net, dataset, preprocessing, recipe, seed)
    module.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Prepared(module, net_name(net), dataset, preprocessing, recipe, seed, device)


def with_cache(prepared: Prepared, execution: Execution, observer: Observer) -> Prepared:
    """The same training, its images kept decoded on the disk where the execution asks for that."""
    if execution.cache_gib is None:
        return prepared
    evaluated = prepared.preprocessing.reduction()
    reductions = {"train": training_reduction(prepared.preprocessing, prepared.recipe.augmentation), "val": evaluated}
    if prepared.recipe.track_test:
        reductions["test"] = evaluated
    dataset = with_decoded_cache(
        prepared.dataset,
        reductions,
        execution.cache_gib,
        on_progress=lambda done, total: observer.evaluating("decoded cache", done, total),
        tell=observer.message,
    )
    return replace(prepared, dataset=dataset)


@contextmanager
def own_random_state() -> Iterator[None]:
    """Leave the caller's random numbers as they were, on the CPU and on every GPU."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        yield


def net_name(net: str | nn.Module) -> str:
    """The name in the catalog, or the qualified name of the user's own class."""
    return net if isinstance(net, str) else f"{type(net).__module__}.{type(net).__qualname__}"


def net_size(net: str | nn.Module) -> int:
    """Side of the images a net is made for, in pixels."""
    return catalog.entry(net).input_size if isinstance(net, str) else OWN_NET_SIZE


def choose_device(name: str) -> torch.device:
    """The device of that name; `auto` is a GPU where there is one.

    Raises:
        InputError: there is no such device here.
    """
    if name != "auto" and name.partition(":")[0] not in ("cpu", "cuda"):
        raise InputError(f"device: {name!r} is not known (expected auto, cpu, cuda or cuda:N). Try: --device cpu")
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
    """The data set with `share` of its training images as validation split, stratified; as it is for a share of 0.

    Raises:
        InputError: the share leaves either part without an image of every class.
    """
    if not share or dataset.val is not None:
        return dataset
    whole, held = dataset.train, round(share * len(dataset.train))
    fewest = int(np.bincount(whole.labels, minlength=len(dataset.class_names)).min())
    if min(share, 1 - share) * fewest < 1:
        enough = max(0.1, 1 / max(fewest, 2))
        raise InputError(f"holdout: {share} of a class of {fewest} images leaves a part without it. Try: {enough:.2g}")
    train_part, val_part = stratified(whole.labels, (len(whole) - held, held), HOLDOUT_SEED)
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
        with own_random_state():
            torch.manual_seed(seed)
            module = catalog.net(net, num_classes=len(dataset.class_names), in_channels=dataset.channels)
    else:
        module = net
    if recipe.zero_init_residual and isinstance(module, ResNet):
        zero_init_residual(module)
    set_bn_group(module, recipe.bn_group)
    for side in (min(preprocessing.crop), *(side for _, side in recipe.growing)):
        _try_out(module, dataset, grown(preprocessing.crop, side))
    return module


def grown(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Height and width of images whose shorter side is brought to `side` pixels."""
    height, width = (max(1, round(each * side / min(size))) for each in size)
    return height, width


def _try_out(net: nn.Module, dataset: Dataset, size: tuple[int, int]) -> None:
    shape = (1, dataset.channels, *size)
    parameter = next((each for each in net.parameters() if each.requires_grad), None)
    if parameter is None:
        raise InputError("net: has no parameters that learn, so there is nothing to train. Try: net.requires_grad_()")
    net.eval()
    try:
        with torch.no_grad():  # not inference mode, which lazy layers and modules that cache would carry into training
            logits = net(torch.zeros(shape, device=parameter.device))
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"net: cannot take images of shape {shape} ({reason})") from error
    expected = (1, len(dataset.class_names))
    if not isinstance(logits, Tensor):
        raise InputError(
            f"net: answers with a {type(logits).__name__} (expected logits, a tensor of shape {expected}). "
            "Try: a forward that returns them alone"
        )
    if tuple(logits.shape) != expected:
        raise InputError(f"net: answers with shape {tuple(logits.shape)} (expected {expected}, one for each class)")
