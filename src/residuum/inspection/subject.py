"""What is looked at: a net, the photos as it sees them with its answers, and images of a data set."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from residuum.classifier import Classifier
from residuum.data.decode import decode
from residuum.data.folder import printable
from residuum.data.preprocess import Preprocessing
from residuum.data.source import Dataset, Pixels, Split, reduced
from residuum.errors import InputError
from residuum.evaluation import repeatable
from residuum.prediction import expand

BATCH = 32
SHOWN_WITHOUT_IMAGES = 3  # photos that are taken from the data where none are given
ANSWERS = 3
OnUnreadable = Callable[[InputError], None]


@dataclass(frozen=True, eq=False)
class Photo:
    """One image as the net sees it, and what it says of it.

    Attributes:
        name: of the file, without its directory.
        pixels: the crop the net is shown, `(H, W, C)` uint8.
        class_index: of the best answer; None where the net gives no classes.
        answers: names and probabilities of the best classes, best first.
    """

    name: str
    pixels: Pixels
    class_index: int | None
    answers: tuple[tuple[str, float], ...]


@dataclass(frozen=True, eq=False)
class Samples:
    """Images of a data set.

    Attributes:
        name: data set and split.
        pixels: `(N, H, W, C)` uint8, as the net is shown them.
        labels: `(N,)` of the data set, names in `class_names`.
        own_labels: the same by the classes of the net; None where they do not fit, with the reason in `unfit`.
    """

    name: str
    pixels: Pixels
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    own_labels: NDArray[np.int64] | None
    unfit: str = ""

    def __len__(self) -> int:
        return len(self.pixels)


@dataclass(frozen=True, eq=False, kw_only=True)
class Subject:
    """A net with what there is to show it.

    Attributes:
        net: on `device`.
        preprocessing: of the net.
        class_names: by output.
        photos: may be empty.
        samples: None where no data set was given.
        untrained: whether the weights are random, and batch normalisation has no statistics of its own yet.
        history: of a Run whose recipe asked for layer statistics, the records of its epochs that have them.
    """

    net: nn.Module
    preprocessing: Preprocessing
    class_names: tuple[str, ...]
    device: torch.device
    photos: tuple[Photo, ...] = ()
    samples: Samples | None = None
    untrained: bool = False
    history: tuple[Mapping[str, Any], ...] = ()

    @property
    def input_size(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        return self.preprocessing.channels, *self.preprocessing.crop

    def image(self, index: int) -> Tensor:
        """Photo `index` as the net takes it, `(1, C, H, W)`."""
        return self.normalised(self.photos[index].pixels[None])

    def normalised(self, pixels: Pixels) -> Tensor:
        """`(N, H, W, C)` uint8 as `(N, C, H, W)` float32 on the device."""
        return self.preprocessing.normalise(torch.from_numpy(pixels).to(self.device))

    def few(self, most: int = BATCH) -> Tensor:
        """Up to so many images at once: of the data where there are any, else the photos."""
        pixels = self.samples.pixels[spread(len(self.samples), most)] if self.samples else self._photos()[:most]
        return self.normalised(pixels)

    def few_labels(self, most: int = BATCH) -> Tensor:
        """The labels of `few`: of the data, else the net's own answers.

        Raises:
            InputError: the classes of the data are not those of the net, or the net gives none.
        """
        if self.samples is None:
            found = np.array([self.class_of(photo) for photo in self.photos[:most]], dtype=np.int64)
        else:
            found = self.own_labels()[spread(len(self.samples), most)]
        return torch.from_numpy(found).to(self.device)

    @staticmethod
    def class_of(photo: Photo) -> int:
        """The net's answer for a photo.

        Raises:
            InputError: the net gives no classes.
        """
        if photo.class_index is None:
            raise InputError("net: gives no classes, so there is none to explain. Try: a net that classifies")
        return photo.class_index

    def own_labels(self) -> NDArray[np.int64]:
        """Labels of the samples by the classes of the net.

        Raises:
            InputError: they do not fit.
        """
        assert self.samples is not None
        if self.samples.own_labels is None:
            raise InputError(self.samples.unfit)
        return self.samples.own_labels

    def batches(self, most: int | None = None) -> Batches:
        """The samples in batches, with their labels by the net's classes; only `most` of them, spread over all.

        Raises:
            InputError: the classes of the data are not those of the net.
        """
        labels = self.own_labels()
        assert self.samples is not None
        chosen = spread(len(labels), len(labels) if most is None else most)
        return Batches(self, self.samples.pixels[chosen], labels[chosen])

    def images(self) -> ImageBatches:
        """The samples in batches, without labels."""
        assert self.samples is not None
        return ImageBatches(self, self.samples.pixels)

    def _photos(self) -> Pixels:
        return np.stack([photo.pixels for photo in self.photos])


@dataclass(frozen=True, eq=False)
class ImageBatches:
    """Images `(N, C, H, W)` batch by batch, as often as they are asked for."""

    subject: Subject
    pixels: Pixels

    def __len__(self) -> int:
        return -(-len(self.pixels) // BATCH)

    def __iter__(self) -> Iterator[Tensor]:
        for start in range(0, len(self.pixels), BATCH):
            yield self.subject.normalised(self.pixels[start : start + BATCH])


@dataclass(frozen=True, eq=False)
class Batches:
    """Images `(N, C, H, W)` with labels `(N,)` batch by batch, as often as they are asked for."""

    subject: Subject
    pixels: Pixels
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return -(-len(self.pixels) // BATCH)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for index, images in enumerate(ImageBatches(self.subject, self.pixels)):
            labels = torch.from_numpy(self.labels[index * BATCH : index * BATCH + len(images)])
            yield images, labels.to(self.subject.device)


def subject(
    classifier: Classifier,
    images: Sequence[str | Path] = (),
    dataset: Dataset | None = None,
    *,
    samples: int = 512,
    history: Sequence[Mapping[str, Any]] = (),
    on_unreadable: OnUnreadable | None = None,
) -> Subject:
    """A Classifier with images and data to look at it by.

    Args:
        classifier: whose net is looked at, on its device.
        images: files, or folders of them; a few of the data where there are none.
        dataset: images with labels; those of `val` are taken where there are any, else of `test`, else of `train`.
        samples: how many images of the data to take, spread over the whole split.
        history: records of the epochs of the Run that made it, as in `metrics.jsonl`.
        on_unreadable: called for each image that cannot be read, which is then left out; None raises instead.

    Raises:
        InputError: an image cannot be read; `samples` is below 1; the data's images have other channels.
    """
    if samples < 1:
        raise InputError(f"samples: must be at least 1, got {samples}. Try: --samples 512")
    taken = _samples(classifier, dataset, samples) if dataset is not None else None
    pixels = list(_decoded(classifier.preprocessing, images, on_unreadable))
    if not images and taken is not None:
        shown = spread(len(taken), SHOWN_WITHOUT_IMAGES)
        pixels = [(f"{taken.name} {taken.class_names[taken.labels[k]]}", taken.pixels[k]) for k in shown]
    return Subject(
        net=classifier.net,
        preprocessing=classifier.preprocessing,
        class_names=classifier.class_names,
        device=classifier.device,
        photos=tuple(_photo(classifier, name, own) for name, own in pixels),
        samples=taken,
        untrained=_untrained(classifier),
        history=tuple(record for record in history if record.get("layers")),
    )


def _untrained(classifier: Classifier) -> bool:
    return classifier.card.get("weights") == "untrained"


def spread(count: int, most: int) -> NDArray[np.int64]:
    """Up to `most` indices spread evenly over `count`."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))


def _decoded(
    preprocessing: Preprocessing, images: Sequence[str | Path], on_unreadable: OnUnreadable | None
) -> Iterator[tuple[str, Pixels]]:
    for item in expand(images) if images else ():
        path = Path(str(item))
        try:
            yield (
                printable(path.name),
                preprocessing.view(decode(path, channels=preprocessing.channels, reduction=preprocessing.reduction())),
            )
        except InputError as error:
            if on_unreadable is None:
                raise
            on_unreadable(error)


@torch.no_grad()
def _photo(classifier: Classifier, name: str, pixels: Pixels) -> Photo:
    """A photo with the net's answers; without any where its output is not one value for each class."""
    pixels = np.array(pixels)  # of a resized image they cannot be written, which torch warns of
    batch = torch.from_numpy(pixels[None]).to(classifier.device)
    with repeatable(classifier.device):
        scores = classifier.scores(classifier.preprocessing.normalise(batch))
    if not isinstance(scores, Tensor) or scores.ndim != 2 or scores.shape[1] < 2:
        return Photo(name, pixels, None, ())
    best = functional.softmax(scores.double(), dim=1)[0].topk(min(ANSWERS, scores.shape[1]))
    names = classifier.class_names
    answers = tuple(
        (names[index] if index < len(names) else f"class {index}", value)
        for value, index in zip(best.values.tolist(), best.indices.tolist(), strict=True)
    )
    return Photo(name, pixels, int(best.indices[0]), answers)


def _samples(classifier: Classifier, dataset: Dataset, count: int) -> Samples:
    name = next(each for each in ("val", "test", "train") if each in dataset.splits())
    split: Split = dataset.split(name)
    preprocessing = classifier.preprocessing
    if split.images.channels != preprocessing.channels:
        raise InputError(
            f"data: its images have {split.images.channels} channels (expected {preprocessing.channels}). "
            "Try: the data this Classifier was trained on"
        )
    chosen = split.subset(spread(len(split), count))
    images = reduced(chosen.images, preprocessing.reduction())
    pixels = np.stack([preprocessing.view(images.load(index)) for index in range(len(chosen))])
    own, unfit = _own_labels(classifier, dataset, chosen.labels)
    title = f"{printable(Path(dataset.name).name)} {name}"
    return Samples(title, pixels, chosen.labels, dataset.class_names, own, unfit)


def _own_labels(
    classifier: Classifier, dataset: Dataset, labels: NDArray[np.int64]
) -> tuple[NDArray[np.int64] | None, str]:
    if _untrained(classifier) and len(dataset.class_names) <= len(classifier.class_names):
        return labels, ""  # its classes have no names yet
    try:
        return classifier.own_labels(labels, dataset.class_names), ""
    except InputError as error:
        return None, str(error)
