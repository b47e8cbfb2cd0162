"""What a claim is judged by: its finished trainings, and what is measured on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from residuum.classifier import Classifier
from residuum.data.batches import evaluation_batches
from residuum.data.preprocess import Preprocessing
from residuum.data.source import Split
from residuum.experiments.printed import CIFAR, cifar_error_share
from residuum.experiments.setting import Setting, run_name
from residuum.nets import catalog
from residuum.nets.reported import ERRORS
from residuum.plans.plan import Executed
from residuum.records.finding import Arm
from residuum.records.quantity import Measured, Quantity
from residuum.records.text import NOTHING, Text
from residuum.report.figures import ArmCurves, Drawing
from residuum.report.measured_figures import Bar, bars
from residuum.report.seeds_page import over_seeds
from residuum.run import Record, Run
from residuum.training.prepare import fit_preprocessing, prepare_net
from residuum.training.recipe import Recipe

OnProgress = Callable[[int, int], None]
PROBE_IMAGES = 128


def unheard(done: int, total: int) -> None:
    """Progress that nobody follows."""


TRAINING_ERROR = Quantity("training error", korean="학습 오차")
VAL_ERROR = Quantity("val error", korean="검증 오차")
TEST_ERROR = Quantity("test error", korean="시험 오차")
SPLITS = {TRAINING_ERROR.name: "train", VAL_ERROR.name: "val", TEST_ERROR.name: "test"}


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The trainings of one claim, done.

    Attributes:
        setting: what was asked for.
        done: finished Runs by name, and the failures.
        progress: to be told how many of how many measurements are done, where they take more than a moment.
        device: where to measure.
    """

    setting: Setting
    done: Executed
    progress: OnProgress = unheard
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def runs(self, net: str, **changes: Any) -> dict[str, Run]:
        """The finished Runs of a net by name, in the order of the seeds; `changes` as they were planned."""
        names = (run_name(net, seed, changes) for seed in self.setting.seeds)
        return {name: self.done.runs[name] for name in names if name in self.done.runs}

    def results(self, net: str, **changes: Any) -> list[Record]:
        """What these Runs came to."""
        return [run.result or {} for run in self.runs(net, **changes).values()]

    @property
    def errors(self) -> tuple[Quantity, ...]:
        """The errors that every training of these data has: of training, and of the splits there are."""
        dataset = self.setting.dataset
        named = ((VAL_ERROR, dataset.val), (TEST_ERROR, dataset.test))
        return (TRAINING_ERROR, *(quantity for quantity, split in named if split is not None))

    @property
    def judged_error(self) -> Quantity:
        """Which error stands for how well a net does on new images: test, or validation where there is no test."""
        return self.errors[-1]

    @property
    def chance_error(self) -> float:
        """The error of an answer at random."""
        return 1 - 1 / len(self.setting.dataset.class_names)

    @property
    def diverged_in_words(self) -> Text:
        """How many trainings did not reach their end, for claims that count these as the error of chance."""
        count, chance = len(self.done.failures), f"{self.chance_error:.0%}"
        if not count:
            return Text("No training diverged.", "발산한 학습은 없습니다.")
        number = "1 training" if count == 1 else f"{count} trainings"
        return Text(
            f"{number} diverged, counted as the error of chance, {chance}.",
            f"학습 {count}번이 발산했으며, 무작위로 찍을 때의 오차 {chance}로 셌습니다.",
        )

    def error(self, net: str, quantity: Quantity, *, of_failed: float | None = None, **changes: Any) -> Measured:
        """The error of the last iterate over the seeds, a share; without values where no training reached its end.

        Trainings that failed are left out, or counted with the error `of_failed`.
        """
        split = SPLITS[quantity.name]
        failed = {failure.run for failure in self.done.failures if failure.diverged}
        values = []
        for name in (run_name(net, seed, changes) for seed in self.setting.seeds):
            if name in self.done.runs:
                values.append(float((self.done.runs[name].result or {})[split]["error"]))
            elif name in failed and of_failed is not None:
                values.append(of_failed)
        return Measured(tuple(values))

    def arm(
        self,
        net: str,
        published: Text = NOTHING,
        *,
        name: str | None = None,
        korean: str = "",
        own: Mapping[str, Measured] | None = None,
        printed: float | None = None,
        of_failed: float | None = None,
        **changes: Any,
    ) -> Arm:
        """An arm with all errors of a net, those of failed trainings as in `error`.

        `own` are further quantities, `changes` as its trainings were planned. `printed` is the test error of this net
        on CIFAR-10 in the source, a share; where it is not given, the one that the catalog has.
        """
        if printed is None and net in ERRORS[CIFAR] and not changes:
            printed = cifar_error_share(net)
        on_cifar = self.setting.dataset.name == "cifar10"
        measured = {
            quantity.name: self.error(net, quantity, of_failed=of_failed, **changes) for quantity in self.errors
        }
        return Arm(
            name=name or net,
            published=published,
            measured=measured | dict(own or {}),
            printed={TEST_ERROR.name: printed} if printed is not None and on_cifar else {},
            runs=tuple(self.runs(net, **changes)),
            korean=korean,
        )

    def curves(self, net: str, *, name: str | None = None, **changes: Any) -> ArmCurves:
        """Training and test error of a net over the steps, each seed a row.

        Raises:
            ValueError: not one of its trainings reached its end.
        """
        metrics = [run.metrics() for run in self.runs(net, **changes).values()]
        train = over_seeds(metrics, "train_error") if metrics else None
        if train is None:
            raise ValueError(f"{net}: has no curves: no training reached its end")
        return ArmCurves(name or net, train, over_seeds(metrics, "test_error") or over_seeds(metrics, "val_error"))

    def over_metrics(self, net: str, measure: Callable[[list[Record]], float], **changes: Any) -> Measured:
        """Something measured on what each seed's training recorded, a record an epoch, in order."""
        return Measured(tuple(measure(run.metrics()) for run in self.runs(net, **changes).values()))

    def error_bars(self, arms: Sequence[Arm], published: Mapping[str, float] | None = None) -> Drawing:
        """Training and judged error of arms beside each other; `published` are shares by arm, drawn on CIFAR-10."""
        marks = (published or {}) if self.setting.dataset.name == "cifar10" else {}
        panels = {}
        for quantity in dict.fromkeys((TRAINING_ERROR, self.judged_error)):
            of_judged = quantity is self.judged_error
            panels[quantity.name] = [
                Bar(arm.name, arm.measured[quantity.name], marks.get(arm.name) if of_judged else None)
                for arm in arms
                if quantity.name in arm.measured
            ]
        return bars(panels, Quantity("error"))

    def classifiers(self, net: str, **changes: Any) -> list[Classifier]:
        """The trained nets, in the order of the seeds, in eval mode on `device`."""
        return [run.classifier().to(self.device) for run in self.runs(net, **changes).values()]

    def images(self, classifier: Classifier, split: str, most: int = PROBE_IMAGES) -> tuple[Tensor, Tensor]:
        """The first so many images of a split as the net takes them, `(N, C, H, W)`, and their labels, `(N,)`."""
        part = self._first(self.setting.dataset.split(split), most)
        return next(evaluation_batches(part, classifier.preprocessing, batch_size=len(part), device=self.device))

    def batches(
        self, classifier: Classifier, split: str, most: int, batch_size: int = 256
    ) -> Sequence[tuple[Tensor, Tensor]]:
        """As `images`, in batches."""
        part = self._first(self.setting.dataset.split(split), most)
        return [*evaluation_batches(part, classifier.preprocessing, batch_size=batch_size, device=self.device)]

    @property
    def judged_split(self) -> str:
        """The split that `judged_error` is of."""
        return SPLITS[self.judged_error.name]

    def untrained(self, net: str, seed: int, **changes: Any) -> nn.Module:
        """A net as its training began from that seed, in eval mode on `device`."""
        recipe, dataset = self.setting.recipe(net, **changes), self.setting.dataset
        return prepare_net(net, dataset, self._preprocessing(net, recipe), recipe, seed).eval().to(self.device)

    def untrained_images(self, net: str, split: str, most: int = PROBE_IMAGES, **changes: Any) -> tuple[Tensor, Tensor]:
        """As `images`, prepared as for the training of a net."""
        preprocessing = self._preprocessing(net, self.setting.recipe(net, **changes))
        part = self._first(self.setting.dataset.split(split), most)
        return next(evaluation_batches(part, preprocessing, batch_size=len(part), device=self.device))

    def _preprocessing(self, net: str, recipe: Recipe) -> Preprocessing:
        return fit_preprocessing(self.setting.dataset, recipe, catalog.entry(net).input_size)

    @staticmethod
    def _first(split: Split, most: int) -> Split:
        return split.subset(np.arange(min(most, len(split))))
