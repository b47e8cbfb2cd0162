"""`residuum evaluate` and `residuum predict`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import tyro

from residuum.commands.options import doubt_of_views, open_model, share
from residuum.errors import InputError

if TYPE_CHECKING:
    from residuum.classifier import Classifier
    from residuum.evaluation import Metrics

IN_THE_PACKAGE = "resnet20:cifar10"
ViewsName = Literal["1", "10", "multi-scale"]


@dataclass(frozen=True)
class Evaluate:
    """Loss, error, per-class table and confusion matrix of a model on a data set, each image counted once."""

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """A Run directory, a Classifier directory, NET:TAG, or the name of a net (untrained)."""
    data: str
    """digits, cifar10, cifar100, mnist, fashion-mnist, or a folder with one directory for each class."""
    data_dir: Path | None = None
    """Where the files of a named data set lie; downloaded otherwise."""
    split: Literal["train", "val", "test"] | None = None
    """Which images; test where there is one, else val."""
    views: ViewsName = "1"
    """One centre crop, ten crops, or the whole image at five scales."""
    batch_size: int = 256
    """Images at a time."""
    confusion: Path | None = None
    """Write the confusion matrix as a PNG file."""
    device: str = "auto"
    """cpu, cuda, cuda:1, ..., or auto for a GPU where there is one."""
    json: bool = False
    """Print JSON, with the confusion matrix."""

    def run(self) -> int:
        from residuum.files.atomic import write_file
        from residuum.report.figures import confusion

        if self.confusion is not None and (self.confusion.suffix != ".png" or not self.confusion.parent.is_dir()):
            raise InputError(
                f"{self.confusion}: cannot be written (a .png file in an existing directory). Try: confusion.png"
            )
        classifier, images, metrics = self._measured()
        if self.json:
            self._print_json(classifier, images, metrics)
        else:
            self._print(classifier, images, metrics)
        if self.confusion is not None:
            write_file(self.confusion, confusion(metrics.confusion, classifier.class_names).png)
            if not self.json:
                print(f"confusion matrix {self.confusion}")
        return 0

    def _measured(self) -> tuple[Classifier, _Images, Metrics]:
        from residuum.report.progress import ConsoleProgress
        from residuum.training.asked import open_data
        from residuum.training.prepare import choose_device

        device = choose_device(self.device)
        with ConsoleProgress() as progress:
            classifier = open_model(self.model, progress).to(device)
            dataset = open_data(self.data, self.data_dir, progress, channels=classifier.preprocessing.channels)
            if doubt := doubt_of_views(self.views, classifier.preprocessing.crop):
                progress.message(doubt)
            split = self.split or ("test" if dataset.test is not None else "val")
            names = None if classifier.card.get("weights") == "untrained" else dataset.class_names
            metrics = classifier.evaluate(
                dataset.split(split), names, views=self.views, batch_size=self.batch_size, on_images=progress.images
            )
        return classifier, _Images(dataset.name, split), metrics

    def _print_json(self, classifier: Classifier, images: _Images, metrics: Metrics) -> None:
        asked = {"model": self.model, "data": images.dataset, "split": images.split, "views": self.views}
        more = {"per_class": metrics.per_class(classifier.class_names), "confusion": metrics.confusion.tolist()}
        print(json.dumps({**asked, **metrics.to_json(), **more}))

    def _print(self, classifier: Classifier, images: _Images, metrics: Metrics) -> None:
        from residuum.report.page import Table
        from residuum.report.table import print_table

        top5 = f", top-5 {share(metrics.top5)}" if metrics.top5 is not None else ""
        views = {"1": "one view each", "10": "ten crops each", "multi-scale": "five scales each"}[self.views]
        print(f"{images.dataset} {images.split}: {metrics.num_images:,} images, {views}")
        print(
            f"top-1 {share(metrics.top1)}{top5}, error {share(metrics.error)}, loss {metrics.loss:.4f}, "
            f"calibration error {share(metrics.ece)}"
        )
        rows = [
            [str(one["class"]), f"{one['images']:,}", *(share(one[name]) for name in ("recall", "precision"))]
            for one in metrics.per_class(classifier.class_names)
        ]
        print_table(Table(("class", "images", "recall", "precision"), rows, numeric=(1, 2, 3)))


class _Images(NamedTuple):
    """What was evaluated: the data set's name and the split."""

    dataset: str
    split: str


@dataclass(frozen=True)
class Predict:
    """Name the class of images, offline with a CIFAR-10 net of the package where no model is named."""

    images: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="IMAGE ...")]
    """Image files, or folders of them."""
    model: str = IN_THE_PACKAGE
    """A Run directory, a Classifier directory, or NET:TAG; `residuum list --weights` shows them."""
    top: int = 3
    """How many classes to show for each image."""
    views: ViewsName = "1"
    """One centre crop, ten crops, or the whole image at five scales."""
    precision: Literal["fp32", "bf16", "auto"] = "fp32"
    """bf16 is faster on hardware that has it, its probabilities right to about two digits; auto measures."""
    device: str = "auto"
    """cpu, cuda, cuda:1, ..., or auto for a GPU where there is one."""
    json: bool = False
    """Print JSON, one line for each image."""

    def run(self) -> int:
        from residuum.data.folder import printable
        from residuum.report.progress import ConsoleProgress
        from residuum.training.prepare import choose_device

        if not self.images:
            raise InputError("images: none were given. Try: residuum predict photo.jpg")
        for image in self.images:
            if any((Path(image) / name).is_file() for name in ("run.json", "classifier.json")):
                raise InputError(f"{image}: is a model (expected images). Try: residuum predict IMAGE --model {image}")
        unreadable: list[InputError] = []
        device = choose_device(self.device)
        with ConsoleProgress() as progress:
            classifier = open_model(self.model, progress).to(device)
            if doubt := doubt_of_views(self.views, classifier.preprocessing.crop):
                progress.message(doubt)
            predictions = classifier.predict(
                list(self.images),
                top=self.top,
                views=self.views,
                precision=self.precision,
                on_images=progress.images,
                on_unreadable=unreadable.append,
            )
            if classifier.card.get("weights") == "untrained":
                progress.message(f"warning: {self.model} is untrained, its answers mean nothing")
            elif self.model == IN_THE_PACKAGE:
                progress.message(card_line(self.model, classifier))
        for prediction in predictions:
            if self.json:
                print(json.dumps(asdict(prediction)))
            else:
                print(
                    f"{printable(prediction.source)}: " + ", ".join(f"{name} {share(p)}" for name, p in prediction.top)
                )
        for error in unreadable:
            print(f"error: {error}", file=sys.stderr)
        return InputError.exit_code if unreadable else 0


def card_line(reference: str, classifier: Classifier) -> str:
    """What a person should know of a model before believing it: what it knows, and how often it is right."""
    tested = classifier.card["metrics"]["test"]
    return (
        f"{reference}, in the package: right on {share(tested['top1'])} of {tested['num_images']:,} test images; knows "
        f"{', '.join(classifier.class_names)} and nothing else. Try: --model, `residuum list --weights`"
    )
