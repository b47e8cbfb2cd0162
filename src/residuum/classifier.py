"""A Classifier: a net with what it needs to be used.

Saved, it is a directory (see `residuum.classifier_directory`). Loading executes nothing: the net is built by its name
in the catalog, and its weights are read as values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from residuum.calibration import calibrate
from residuum.classifier_directory import Stored
from residuum.data.preprocess import Preprocessing, Views
from residuum.data.source import Labels, Split
from residuum.errors import InputError
from residuum.evaluation import Logits, Metrics, OnImages, collect, evaluate, mean_probabilities
from residuum.inference import MANY, Precision, evaluating, logits_of, shareable
from residuum.nets import catalog
from residuum.nets.skeleton import without_values
from residuum.prediction import (
    Answered,
    ImageLike,
    Looks,
    Prediction,
    Shown,
    expand,
    in_batches,
    in_parts,
    readable,
)
from residuum.weights.labels import name_by_wordnet_id
from residuum.weights.load import mismatches


@dataclass(eq=False, kw_only=True)
class Classifier:
    """A net with preprocessing, class names and card.

    Attributes:
        net: images `(N, C, H, W)` to logits `(N, len(class_names))`.
        net_name: its name in the catalog, or the qualified name of the user's own class.
        preprocessing: what is done to an image first.
        class_names: name of each output.
        temperature: what logits are divided by before they become probabilities; 1 unless it was fitted.
        card: where it comes from: recipe, data, the split that chose it, metrics, versions, hash of the weights.
    """

    net: nn.Module = field(repr=False)
    net_name: str
    preprocessing: Preprocessing
    class_names: tuple[str, ...]
    temperature: float = 1.0
    card: dict[str, Any] = field(default_factory=dict)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def to(self, device: str | torch.device) -> Classifier:
        """Move the net to a device; return this Classifier."""
        self.device = torch.device(device)
        self.net.to(self.device)
        return self

    def logits(self, images: Tensor) -> Tensor:
        """Logits of preprocessed images, in eval mode: `(N, C, H, W)` to `(N, K)`."""
        self.net.eval()
        return self.net(images.to(self.device))  # type: ignore[no-any-return]

    def scores(self, images: Tensor) -> Tensor:
        """Logits divided by the temperature, whose softmax are the probabilities: `(N, C, H, W)` to `(N, K)`."""
        return self.logits(images) / self.temperature

    def predict(
        self,
        images: ImageLike | Iterable[ImageLike],
        *,
        top: int = 5,
        views: Views = "1",
        precision: Precision = "fp32",
        on_images: OnImages = lambda done, total: None,
        on_unreadable: Callable[[InputError], None] | None = None,
    ) -> list[Prediction]:
        """Classify images.

        Args:
            images: a path, a folder, the bytes of a file, a PIL image, a `(H, W)`, `(H, W, 1)` or `(H, W, 3)` uint8
                array, or several of these.
            top: how many classes to give for each image.
            views: `1`, `10` or `multi-scale`; probabilities of several views are averaged.
            precision: `fp32`; `bf16`, faster on hardware that has it, its probabilities right to about two
                digits; or `auto`, which is bf16 where that is faster for this net, and fp32 for a few images.
            on_images: called with images done and in all.
            on_unreadable: called for each image that cannot be read, which is then left out; None raises instead.

        Returns:
            One Prediction for each image, in order; a folder's images in the order of their paths.

        Raises:
            InputError: an image is missing, unreadable, or an array has another shape or type; the precision is not
                known.
        """
        if top < 1:
            raise InputError(f"top: must be at least 1, got {top}. Try: 5")
        items = expand(images)
        logits = logits_of(self.net, precision, self.device, count=len(items))
        answer = partial(self._answers, logits, top)
        looks = Looks(self.preprocessing, items, views)
        shared = len(items) >= MANY and shareable(self.net, self.device)
        answered = in_parts(looks, answer) if shared else in_batches(looks, answer, self.device)
        predictions: list[Prediction] = []
        done = 0
        with evaluating(self.net), closing(answered):
            for answers in answered:
                done += len(answers)
                predictions += readable(answers, on_unreadable)
                on_images(done, len(items))
        return predictions

    def _answers(self, logits: Logits, top: int, shown: Sequence[Shown]) -> list[Answered]:
        """What the net says of images with their names, in order; errors stay where they are."""
        named = [each for each in shown if not isinstance(each, InputError)]
        if not named:
            return [each for each in shown if isinstance(each, InputError)]

        def scores(batch: Tensor) -> Tensor:
            return logits(batch) / self.temperature

        probabilities = mean_probabilities(scores, [own for _, own in named], self.preprocessing, self.device)
        best = probabilities.topk(min(top, len(self.class_names)), dim=1)
        said = zip(best.values.tolist(), best.indices.tolist(), strict=True)
        return [each if isinstance(each, InputError) else self._prediction(each[0], *next(said)) for each in shown]

    def _prediction(self, source: str, values: list[float], indices: list[int]) -> Prediction:
        return Prediction(source, tuple((self.class_names[k], p) for k, p in zip(indices, values, strict=True)))

    def evaluate(
        self,
        split: Split,
        class_names: Sequence[str] | None = None,
        *,
        views: Views = "1",
        batch_size: int = 256,
        on_images: OnImages = lambda done, total: None,
    ) -> Metrics:
        """Loss, top-1, top-5, per-class table and confusion matrix on a split, each image counted once.

        Args:
            split: images and labels.
            class_names: what the split's labels mean; they are matched to this Classifier's classes by name. None
                where they are this Classifier's own.
            views, batch_size, on_images: as in `residuum.evaluation.evaluate`.

        Raises:
            InputError: the split has classes that this Classifier does not know, or images of other channels, or an
                image cannot be read.
        """
        split = self._own_split(split, class_names)
        return evaluate(
            self.scores,
            split,
            self.preprocessing,
            num_classes=len(self.class_names),
            views=views,
            batch_size=batch_size,
            device=self.device,
            on_images=on_images,
        )

    def calibrated(
        self,
        split: Split,
        class_names: Sequence[str] | None = None,
        *,
        on_images: OnImages = lambda done, total: None,
    ) -> Classifier:
        """This Classifier with the temperature at which its probabilities suit a split best (Guo et al. 2017).

        Its card says what was fitted on which split (`calibration`), and keeps no loss or calibration error of before.

        Args:
            split: images that the net was not trained on, and that it is not judged by afterwards.
            class_names, on_images: as in `evaluate`.

        Raises:
            InputError: as `evaluate`; or no temperature is best, as where every answer is right.
        """
        split = self._own_split(split, class_names)
        logits, labels = collect(self.logits, split, self.preprocessing, device=self.device, on_images=on_images)
        found = calibrate(logits, labels, temperature=self.temperature)
        card = self.card | {
            "temperature_from": f"{len(split):,} images of the {split.name} split",
            "calibration": {"split": split.name, **asdict(found)},
        }
        if isinstance(metrics := self.card.get("metrics"), dict):
            card["metrics"] = {name: _without_probabilities(each) for name, each in metrics.items()}
        return replace(self, temperature=found.temperature, card=card)

    def _own_split(self, split: Split, class_names: Sequence[str] | None) -> Split:
        """A split with labels by this Classifier's classes.

        Raises:
            InputError: it has classes that this Classifier does not know, or images of other channels.
        """
        if class_names is not None:
            split = replace(split, labels=self.own_labels(split.labels, class_names))
        if split.images.channels != self.preprocessing.channels:
            raise InputError(
                f"data: its images have {split.images.channels} channels (expected {self.preprocessing.channels}). "
                "Try: the data this Classifier was trained on"
            )
        return split

    def own_labels(self, labels: Labels, class_names: Sequence[str]) -> Labels:
        """Labels by `class_names` as labels by this Classifier's classes, matched by name.

        A class of ImageNet may be called by its WordNet id, as the directories of the data set are.

        Raises:
            InputError: it does not know one of them.
        """
        if tuple(class_names) == self.class_names:
            return labels
        known, by_id = set(self.class_names), name_by_wordnet_id()
        class_names = [name if name in known else by_id.get(name, name) for name in class_names]
        twice = sorted(name for name in set(class_names) if self.class_names.count(name) > 1)
        if twice:
            raise InputError(
                f"data: its class {twice[0]} cannot be matched by name, since this Classifier has two of that name. "
                "Try: data with the same classes in the same order"
            )
        unknown = sorted(set(class_names) - set(self.class_names))
        if unknown:
            raise InputError(
                f"data: has classes this Classifier does not know: {', '.join(unknown[:5])} "
                f"(it knows {', '.join(self.class_names[:5])}, ...). Try: the data it was trained on"
            )
        own = np.array([self.class_names.index(name) for name in class_names], dtype=np.int64)
        return own[labels]

    def save(self, directory: str | Path, *, half: bool = False) -> Path:
        """Write this Classifier as a directory, whole or not at all; return its path.

        Args:
            directory: a new one.
            half: store the weights as float16, in half the bytes; they are float32 again when loaded, rounded.

        Raises:
            InputError: something stands there already.
            StorageError: no space, or no permission; nothing is left behind.
        """
        stored = Stored(
            state=self.net.state_dict(),
            net_name=self.net_name,
            preprocessing=self.preprocessing,
            class_names=self.class_names,
            temperature=self.temperature,
            card=self.card,
        )
        stored.write(Path(directory), half=half)
        return Path(directory)

    @classmethod
    def load(cls, directory: str | Path, *, net: nn.Module | None = None) -> Classifier:
        """Read a Classifier directory; nothing in it is executed.

        Args:
            directory: as written by `save`.
            net: an instance of the user's own class, where the Classifier was not made from a net of the catalog. It
                takes the weights, and stays on its device.

        Raises:
            DamagedError: a file is missing or is not what the manifest says.
            InputError: the directory is of a newer format, or its weights do not fit its net.
        """
        path = Path(directory)
        stored = Stored.read(path)
        if net is not None:
            _require_fit(stored.state, net.state_dict(), stored.net_name, str(path))
            net.load_state_dict(stored.state, strict=False)
        elif catalog.knows(stored.net_name):
            classes, channels = len(stored.class_names), stored.preprocessing.channels
            net = net_with(stored.state, stored.net_name, num_classes=classes, in_channels=channels, source=str(path))
        else:
            raise InputError(
                f"{path}: holds weights of {stored.net_name}, which is not in the catalog. "
                f"Try: Classifier.load({str(path)!r}, net=...) with an instance of that class"
            )
        return cls(
            net=net.eval(),
            net_name=stored.net_name,
            preprocessing=stored.preprocessing,
            class_names=stored.class_names,
            temperature=stored.temperature,
            card=stored.card,
            device=next((each.device for each in net.parameters()), torch.device("cpu")),
        )


def _without_probabilities(metrics: Mapping[str, object]) -> dict[str, object]:
    """Metrics that a temperature does not change."""
    return {name: value for name, value in metrics.items() if name not in ("loss", "ece")}


def net_with(
    state: Mapping[str, Tensor], net_name: str, *, num_classes: int, in_channels: int, source: str
) -> nn.Module:
    """A net of the catalog with these weights; they are compared with it before memory is taken for it.

    Raises:
        InputError: they do not fit; the message begins with `source`.
    """
    with without_values():
        expected = catalog.net(net_name, num_classes=num_classes, in_channels=in_channels).state_dict()
    _require_fit(state, expected, net_name, source)
    net = catalog.net(net_name, num_classes=num_classes, in_channels=in_channels)
    net.load_state_dict(state, strict=False)  # counters of batch normalisation may be missing
    return net.eval()


def _require_fit(state: Mapping[str, Tensor], expected: Mapping[str, Tensor], net_name: str, source: str) -> None:
    if problems := mismatches(state, expected):
        raise InputError(f"{source}: its weights do not fit {net_name} ({'; '.join(problems)}). Try: another copy")
