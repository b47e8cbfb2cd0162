"""A Recipe: everything that determines what a training computes, as one frozen value.

Recipes are made by the functions of `recipes.py`; a variant is `dataclasses.replace(recipe, epochs=10)`. What does
not change the result (device, threads, how often to save) is in `Execution`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

from residuum.data.augment import Augmentation, CropFlip, ScaleCropFlip
from residuum.data.source import Dataset
from residuum.errors import InputError, unknown
from residuum.training.schedules import OneCycle, Schedule, StepDecay, WarmUp

CIFAR_SIDE = 32  # pixels
PADDED_IN_PROPORTION = ("fast_cifar", "finetune")  # to the side of the images; the other recipes pad by 4 pixels

MAX_EPOCHS = 10**6
MAX_DECAY = 10
MAX_THREADS = 4 * (os.cpu_count() or 1)
MAX_CACHE_GIB = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Orthogonal:
    """Convolution weights move by orthogonalised momentum (`residuum.training.muon`).

    Attributes:
        rate: peak share of its norm by which a weight moves in a step; it follows the recipe's schedule.
        momentum: of these weights.
    """

    rate: float = 0.02
    momentum: float = 0.9

    def __post_init__(self) -> None:
        if not 0 < self.rate < 1:
            raise InputError(f"rate: must be above 0 and below 1, got {self.rate}. Try: 0.02")
        if not 0 <= self.momentum < 1:
            raise InputError(f"momentum: must be at least 0 and below 1, got {self.momentum}. Try: 0.9")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to train.

    Attributes:
        name: of the function that made it.
        steps: number of updates; or None and `epochs` says how long.
        epochs: passes over the training set, where `steps` is None.
        batch_size: images in an update.
        learning_rate: peak rate of SGD.
        momentum, nesterov, weight_decay: of SGD; the decay applies to all parameters, as in the papers.
        orthogonal: convolution weights are moved by Muon instead, without decay; or None.
        schedule: shape of the learning rate over the steps.
        warm_up: a lower rate until the training error falls, or None.
        augmentation: what is done to training images at random, or None.
        normalisation: `pixel` subtracts the mean image of the training set, `mean-only` its mean colour, `channel`
            also divides by the deviation. Weights to start from bring their own.
        image_size: side of the square the net sees, in pixels; None takes the data's own.
        growing: smaller images at first, as pairs: until this share of all steps, this side in pixels.
        holdout: share of the training set kept out to choose by, where the data has no validation split.
        track_test: record the test error after every epoch, for a figure; nothing is ever chosen by it.
        layer_statistics: record after every epoch how the layers respond to a few training images; the training itself
            stays the same to the bit.
        label_smoothing: share of the target spread over all classes.
        zero_init_residual: start every residual branch at zero.
        bn_group: images that each batch normalisation sees; None for the whole batch.
        precision: `fp32`, or `bf16` by autocast with fp32 weights; `auto` is decided when a training begins: bf16 where
            the device is faster with it.
        compile: run through `torch.compile`.
        trunk_rate: rate of all but the last layer, as a share of the learning rate; 0 freezes them, their statistics of
            batch normalisation as well.
        batch_norm: statistics of batch normalisation: `trained` are those of each batch; `frozen` are kept as they came
            with the weights, while training as in evaluation; `re-estimated` are computed once from training images
            before the first step, then kept.

    Raises:
        InputError: a value is out of its range, not exactly one of `steps` and `epochs` is given, or `nesterov` has no
            momentum.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")  # of `from_json`

    name: str
    steps: int | None = None
    epochs: float | None = None
    batch_size: int = 128
    learning_rate: float = 0.1
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 1e-4
    orthogonal: Orthogonal | None = None
    schedule: Schedule = field(default_factory=OneCycle)
    warm_up: WarmUp | None = None
    augmentation: Augmentation | None = None
    normalisation: Literal["pixel", "channel", "mean-only"] = "channel"
    image_size: int | None = None
    growing: tuple[tuple[float, int], ...] = ()
    holdout: float = 0.0
    track_test: bool = False
    layer_statistics: bool = False
    label_smoothing: float = 0.0
    zero_init_residual: bool = False
    bn_group: int | None = None
    precision: Literal["fp32", "bf16", "auto"] = "fp32"
    compile: bool = False
    trunk_rate: float = 1.0
    batch_norm: Literal["trained", "frozen", "re-estimated"] = "trained"

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.epochs is None):
            raise InputError(f"recipe: exactly one of steps and epochs is needed, got {self.steps} and {self.epochs}")
        bounds: dict[str, tuple[float | None, float, float]] = {
            "steps": (self.steps, 1, 10**9),
            "batch_size": (self.batch_size, 2, 10**6),
            "image_size": (self.image_size, 1, 2048),
            "bn_group": (self.bn_group, 2, 10**6),
        }
        for name, (value, least, most) in bounds.items():
            if value is not None and not least <= value <= most:
                near = least if value < least else most
                raise InputError(f"{name}: must be at least {least} and at most {most:,}, got {value}. Try: {near}")
        if not 0 <= self.weight_decay <= MAX_DECAY:
            allowed = f"at least 0 and at most {MAX_DECAY}"
            raise InputError(f"weight_decay: must be {allowed}, got {self.weight_decay}. Try: 0.0001")
        if self.nesterov and not self.momentum:
            raise InputError("nesterov: needs momentum, got momentum 0. Try: momentum=0.9, or nesterov=False")
        for name, share, usual in (
            ("holdout", self.holdout, 0.1),
            ("momentum", self.momentum, 0.9),
            ("label_smoothing", self.label_smoothing, 0.1),
        ):
            if not 0 <= share < 1:
                raise InputError(f"{name}: must be at least 0 and below 1, got {share}. Try: {usual}")
        shares, sides = [share for share, _ in self.growing], [side for _, side in self.growing]
        if shares != sorted(set(shares)) or not all(0 < share < 1 for share in shares) or min(sides, default=1) < 1:
            raise InputError(
                f"growing: needs shares of the steps that rise between 0 and 1, each with a side in pixels, "
                f"got {self.growing}. Try: ((0.5, 24),)"
            )
        if not 0 <= self.trunk_rate <= 1:
            raise InputError(f"trunk_rate: must be at least 0 and at most 1, got {self.trunk_rate}. Try: 0.1")
        if self.bn_group is not None and self.batch_size > self.bn_group and self.batch_size % self.bn_group:
            raise InputError(
                f"batch_size: must be a multiple of the recipe's bn_group {self.bn_group}, got {self.batch_size}. "
                f"Try: {max(1, round(self.batch_size / self.bn_group)) * self.bn_group}"
            )
        for name, positive, most, usual in (
            ("epochs", self.epochs, MAX_EPOCHS, 30),
            ("learning_rate", self.learning_rate, sys.float_info.max, 0.1),
        ):
            if positive is not None and not 0 < positive <= most:
                raise InputError(f"{name}: must be above 0, got {positive} (at most {most:g}). Try: {usual}")

    def changed(self, changes: Mapping[str, Any], *, dataset: Dataset | None = None) -> Recipe:
        """This recipe with some fields replaced.

        `steps` and `epochs` replace each other. What is not given itself keeps its proportion: random scales, sides of
        growing images and, in `fast_cifar` and `finetune`, the padding to a new `image_size`; the milestones of the
        schedule to another number of updates.

        Args:
            changes: the fields and their new values.
            dataset: what will be trained on, which says how many updates an epoch has. Without it milestones stay where
                they are once a length is in epochs.

        Raises:
            InputError: a recipe has no such field, or a value is out of its range or of another type.
        """
        given = dict(changes)
        known = [each.name for each in fields(self)]
        for name in given:
            if name not in known:
                raise unknown("recipe", name, known)
        if "steps" in given:
            given.setdefault("epochs", None)
        elif "epochs" in given:
            given.setdefault("steps", None)
        changed = Recipe.from_json(asdict(self) | self._in_proportion(given.get("image_size")) | given)
        return changed if "schedule" in given else changed._paced_as(self, dataset)

    def _in_proportion(self, size: object) -> dict[str, Any]:
        """The fields that keep their proportion to the side of the images, for images of another side."""
        own = self.image_size or (CIFAR_SIDE if self.name == "fast_cifar" else None)
        if not isinstance(size, int) or size < 1 or own is None:
            return {}
        found: dict[str, Any] = {"growing": tuple((until, max(1, round(s * size / own))) for until, s in self.growing)}
        augmentation = self.augmentation
        if isinstance(augmentation, ScaleCropFlip):
            smallest, largest = (round(s * size / own) for s in (augmentation.smallest, augmentation.largest))
            found["augmentation"] = replace(augmentation, smallest=smallest, largest=largest)
        elif isinstance(augmentation, CropFlip) and self.name in PADDED_IN_PROPORTION:
            pad = augmentation.pad * size // own
            found["augmentation"] = replace(augmentation, pad=max(pad, min(1, augmentation.pad)))
        return found

    def _paced_as(self, before: Recipe, dataset: Dataset | None) -> Recipe:
        """This with its milestones at the same shares of all updates as before, where both numbers are known."""
        was, now = before._updates(dataset), self._updates(dataset)
        if not isinstance(self.schedule, StepDecay) or was is None or now is None or was == now:
            return self
        milestones = tuple(max(1, round(each * now / was)) for each in self.schedule.milestones)
        return replace(self, schedule=replace(self.schedule, milestones=milestones))

    def _updates(self, dataset: Dataset | None) -> int | None:
        return self.steps if dataset is None else self.num_steps(self.num_images(dataset))

    def num_images(self, dataset: Dataset) -> int:
        """Training images of a data set that are left once those to validate on are kept out."""
        held = round(self.holdout * len(dataset.train)) if dataset.val is None else 0
        return len(dataset.train) - held

    def num_steps(self, num_images: int) -> int:
        """Updates in all, on a training set of `num_images`."""
        if self.steps is not None:
            return self.steps
        assert self.epochs is not None
        return max(1, round(self.epochs * num_images / self.batch_size))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @staticmethod
    def from_json(values: object) -> Recipe:
        """The Recipe that `to_json` wrote.

        Raises:
            InputError: a field is missing, unknown or of another type.
        """
        try:
            return TypeAdapter(Recipe).validate_python(values)
        except ValidationError as error:
            first, *others = error.errors()
            for each in (first, *others):  # of a union, those of all its members
                if isinstance(own := each.get("ctx", {}).get("error"), InputError):
                    raise own from error
            where = ".".join(str(part) for part in first["loc"])
            raise InputError(f"recipe.{where}: {first['msg']}") from error


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How to run a Recipe: nothing here changes the result beyond rounding.

    Attributes:
        device: `cpu`, `cuda`, `cuda:1`, or `auto` for a GPU where there is one.
        threads: CPU threads; None leaves PyTorch's choice.
        workers: threads that decode images; None for one for each CPU.
        cache_gib: keep a folder's images decoded on the disk, in the user's cache directory, where all such caches take
            at most so many GiB; None decodes each image whenever it is needed.
        fuse: let batch normalisation run together with what follows it, where this CPU's compiler can build that.
        checkpoint_seconds: time between two checkpoints.
        checkpoint_steps: save every so many steps as well.
    """

    device: str = "auto"
    threads: int | None = None
    workers: int | None = None
    cache_gib: float | None = None
    fuse: bool = True
    checkpoint_seconds: float = 60.0
    checkpoint_steps: int | None = None

    def __post_init__(self) -> None:
        for name in ("threads", "workers", "checkpoint_steps"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name}: must be at least 1, got {value}. Try: 1")
        for name, value in (("threads", self.threads), ("workers", self.workers)):
            if value is not None and value > MAX_THREADS:
                raise InputError(
                    f"{name}: must be at most {MAX_THREADS} on this machine, got {value}. Try: {MAX_THREADS // 4}"
                )
        if self.cache_gib is not None and not 0 < self.cache_gib <= MAX_CACHE_GIB:
            raise InputError(f"cache_gib: must be above 0 and at most {MAX_CACHE_GIB:,}, got {self.cache_gib}. Try: 10")
        if not self.checkpoint_seconds > 0:
            raise InputError(f"checkpoint_seconds: must be above 0, got {self.checkpoint_seconds}. Try: 60")
