"""`residuum calibrate`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from residuum.commands.options import open_model, share, shown_path
from residuum.errors import InputError

if TYPE_CHECKING:
    from residuum.data.source import Dataset, Split


@dataclass(frozen=True)
class Calibrate:
    """Fit the temperature that makes a model's probabilities right, on images that it was not trained on.

    Its answers stay the same; only how sure it says it is changes (Guo et al. 2017).
    """

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """A Run directory, a Classifier directory, or NET:TAG."""
    data: str
    """digits, cifar10, cifar100, mnist, fashion-mnist, or a folder with one directory for each class."""
    data_dir: Path | None = None
    """Where the files of a named data set lie; downloaded otherwise."""
    split: Literal["val", "test"] = "val"
    """Which images; val are also those that --holdout kept out of the training of a Run. Never judge by them later."""
    out: Path | None = None
    """Directory to write the calibrated Classifier to; without it the figures are shown only."""
    device: str = "auto"
    """cpu, cuda, cuda:1, ..., or auto for a GPU where there is one."""
    json: bool = False
    """Print JSON."""

    def run(self) -> int:
        from residuum.report.progress import ConsoleProgress
        from residuum.training.asked import open_data
        from residuum.training.prepare import choose_device

        if self.out is not None and self.out.exists():
            raise InputError(f"{self.out}: already exists. Try: another --out")
        device = choose_device(self.device)
        with ConsoleProgress() as progress:
            classifier = open_model(self.model, progress).to(device)
            if classifier.card.get("weights") == "untrained":
                raise InputError(f"model: {self.model} is untrained. Try: a Run or Classifier directory")
            dataset = open_data(self.data, self.data_dir, progress, channels=classifier.preprocessing.channels)
            split = unseen(dataset, self.split, classifier.card)
            calibrated = classifier.calibrated(split, dataset.class_names, on_images=progress.images)
        if self.out is not None:
            calibrated.save(self.out)
        self._print(dataset.name, calibrated.card["calibration"])
        return 0

    def _print(self, data: str, found: dict[str, Any]) -> None:
        path = shown_path(self.out) if self.out is not None else None
        if self.json:
            print(json.dumps({"model": self.model, "data": data, **found, "path": path}))
            return
        print(f"{data} {found['split']}: {found['num_images']:,} images")
        print(f"temperature {found['temperature']:.4f}, was {found['temperature_before']:.4g}")
        print(f"calibration error {share(found['ece'])}, was {share(found['ece_before'])}, on these images")
        print(f"loss {found['loss']:.4f}, was {found['loss_before']:.4f}")
        print(path if path is not None else "not written. Try: --out DIRECTORY")


def unseen(dataset: Dataset, name: str, card: dict[str, Any]) -> Split:
    """The split of that name; for `val`, where the data has none, what a Run on these data kept out of its training.

    Raises:
        InputError: there is none.
    """
    from residuum.training.prepare import with_holdout

    if name != "val" or dataset.val is not None:
        return dataset.split(name)
    recipe = card.get("recipe")
    held = recipe.get("holdout", 0) if isinstance(recipe, dict) else 0
    if not held or card.get("data_fingerprint") != dataset.fingerprint:
        raise InputError(
            f"{dataset.name}: has no validation split, and this model kept no image of it out of its training. "
            "Try: residuum train with --holdout 0.1, or --split test"
        )
    return with_holdout(dataset, held).split("val")
