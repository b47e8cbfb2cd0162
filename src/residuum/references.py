"""A model reference, the one string every command takes, and what it stands for.

resnet50             a net of the catalog, untrained
resnet50+widen=2     the same with fields changed (`residuum.nets.modified`)
resnet50:imagenet    published weights of it, the best on that data
resnet50:a1_in1k     those with that tag; `residuum list --weights` shows them
hub:owner/name       a Classifier on the Hugging Face hub
runs/my-run          a Run: its final Classifier
my-classifier        a Classifier directory
mine.safetensors     a Classifier in a file that `export` wrote
"""

from __future__ import annotations

import math
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Protocol

from torch import nn

from residuum.classifier import Classifier
from residuum.data.preprocess import Preprocessing
from residuum.errors import InputError, nearest
from residuum.files.download import OnBytes
from residuum.nets import catalog
from residuum.nets.skeleton import without_values
from residuum.run import Run
from residuum.weights.entries import PretrainedWeights, find
from residuum.weights.fetch import fetch, sha256_of
from residuum.weights.layouts.mapped import Normalisation
from residuum.weights.load import Loaded, load_weights
from residuum.weights.store import digest, matches

HUB = "hub:"
TAG = re.compile(r"[a-z0-9_]+")  # what a person may write for weights=, where it is no path


def load(
    reference: str | Path,
    *,
    net: nn.Module | None = None,
    on_bytes: OnBytes = lambda done, total: None,
) -> Classifier:
    """The Classifier a model reference stands for, on the CPU, in eval mode.

    Args:
        reference: a Run directory, a Classifier directory, a safetensors file that `export` wrote, the name of a net
            (untrained), `NET:TAG` or `hub:OWNER/NAME`.
        net: an instance of your own class, where the Classifier holds weights of one.
        on_bytes: called with bytes so far and in total while published weights are fetched.

    Raises:
        InputError: it stands for nothing; the Run is not finished; the directory is damaged; weights cannot be
            fetched.
    """
    path, name = Path(reference), str(reference)
    if os.path.isdir(name):  # false, not an error, for what cannot be a path
        if Run.stands_at(path):
            return Run.open(path).classifier(net=net)
        Run.require_not_several(path)
        return Classifier.load(path, net=net)
    if catalog.knows(name):
        return untrained(name)
    if os.path.exists(name):
        if _is_safetensors(path):
            from residuum.deploy.give import read_classifier

            return read_classifier(path)
        if path.suffix == ".onnx":
            raise InputError(f"{path}: is an ONNX graph, for other programs. Try: the Run it was exported from")
        raise InputError(
            f"{path}: is a file (expected a Run or Classifier directory). Try: its directory, or "
            f"residuum weights import {path} --net ... --classes ... --out ..., as residuum weights --help tells"
        )
    if name.startswith(HUB):
        from residuum.deploy import hub

        return Classifier.load(hub.fetch(name), net=net)
    entry = weights_of(name)
    if entry is not None:
        return pretrained(entry, on_bytes=on_bytes)
    if catalog.base(name) in catalog.CATALOG:
        catalog.entry(name)  # says which change is wrong
    raise InputError(
        f"model: {name!r} is neither a directory nor a net. Try: a Run directory, or {nearest(name, catalog.CATALOG)}"
    )


def weights_of(reference: str | Path) -> PretrainedWeights | None:
    """The published weights that a model reference stands for; None where it is not `NET:TAG`.

    Raises:
        InputError: that net has no such weights.
    """
    net_name, colon, tag = str(reference).partition(":")
    if not colon or os.path.exists(reference) or not catalog.knows(net_name):
        return None
    return find(net_name, tag)


def _is_safetensors(path: Path) -> bool:
    """Whether a file begins as one; one that cannot be read does not."""
    if not path.is_file():
        return False
    try:
        with path.open("rb") as stream:
            return matches(stream.read(16))
    except OSError:
        return False


def pretrained(entry: PretrainedWeights, *, on_bytes: OnBytes = lambda done, total: None) -> Classifier:
    """The Classifier of an entry, its file fetched where it is not in the cache.

    Raises:
        InputError: it cannot be fetched, or does not fit the net.
    """
    if entry.is_ours:
        return Classifier.load(entry.directory)
    path = fetch(entry, on_bytes=on_bytes)
    net = catalog.net(entry.net, num_classes=len(entry.class_names))
    loaded = load_weights(net, path)
    return Classifier(
        net=net.eval(),
        net_name=entry.net,
        preprocessing=entry.preprocessing,
        class_names=entry.class_names,
        card=card_of(entry, loaded, sha256_of(entry)),
    )


def card_of(entry: PretrainedWeights, loaded: Loaded, sha256: str) -> dict[str, object]:
    """Where published weights come from, and what their publisher says of them (shares, not percent)."""
    shares = {name: value / 100 for name, value in (("top1", entry.top1), ("top5", entry.top5)) if value is not None}
    return {
        "weights": entry.reference,
        "publisher": entry.publisher,
        "source": entry.url,
        "file_sha256": sha256,
        "layout": loaded.layout,
        "notes": list(loaded.notes),
        "licence": entry.licence,
        "published": {**shares, "num_images": entry.num_test_images, "page": entry.page},
    }


def untrained(name: str) -> Classifier:
    """A Classifier of an untrained net: right in shape, at chance in what it says."""
    entry = catalog.entry(name)
    channels = entry.in_channels
    return Classifier(
        net=catalog.net(name).eval(),
        net_name=name,
        preprocessing=usual_preprocessing(entry, (0.5,) * channels, (0.25,) * channels),
        class_names=tuple(f"class {index}" for index in range(entry.num_classes)),
        card={"weights": "untrained"},
    )


def usual_preprocessing(entry: catalog.Entry, mean: tuple[float, ...], std: tuple[float, ...]) -> Preprocessing:
    """Images at the size a net is made for, cropped from slightly larger ones where they are large."""
    size = entry.input_size
    resize = round(size * 256 / 224) if size >= 64 else size
    return Preprocessing(channels=len(mean), resize=resize, crop=(size, size), mean=mean, std=std)


def build(
    name: str,
    *,
    weights: str | Path | None = None,
    num_classes: int | None = None,
    in_channels: int | None = None,
    new_head: bool = False,
) -> nn.Module:
    """A net of the catalog, untrained or with the weights of a file.

    It warns of what one has to know to use the weights, such as how their images were normalised, and of a last layer
    that is new.

    Args:
        name: `resnet50`, `plain56`, ...
        weights: None for untrained; the path of a weight file of any format that is read; or a tag of published
            weights, such as `imagenet` or `a1_in1k`, whose last layer is replaced where `num_classes` differs.
        num_classes: outputs; that of the paper by default.
        in_channels: channels of the image; that of the paper by default.
        new_head: leave the last layer untrained where the file's is for another number of classes, or it has none.

    Raises:
        InputError: no such net, or the file cannot be read or does not fit.
    """
    net = catalog.net(name, num_classes=num_classes, in_channels=in_channels)
    if weights is not None:
        file = weight_file(name, weights)
        classes = catalog.entry(name).num_classes if num_classes is None else num_classes
        other = file.classes is not None and file.classes != classes
        loaded = load_weights(net, file.path, new_head=new_head or other)
        if loaded.new_head:
            were = f" in place of {file.classes:,}" if other else ""
            warnings.warn(f"{name}: the last layer is new, {classes:,} classes{were}, to be trained", stacklevel=3)
        for note in _told(loaded):
            warnings.warn(f"{name}: {note}", stacklevel=3)
    return net


def _told(loaded: Loaded) -> Iterator[str]:
    """What a net alone does not show of its weights, a sentence each."""
    yield from loaded.notes
    if loaded.preprocessing_hint is not None:
        yield f"its images are to be normalised with {_shown(loaded.preprocessing_hint)}, of pixels in 0..1"


def _shown(normalisation: Normalisation) -> str:
    mean, std = (", ".join(f"{value:.4g}" for value in values) for values in normalisation)
    return f"mean {mean} and deviation {std}"


@dataclass(frozen=True)
class WeightFile:
    """A file of weights; of published ones, the number of classes it is for."""

    path: Path
    classes: int | None = None


def weight_file(net_name: str, weights: str | Path) -> WeightFile:
    """The file that a path, or a tag of published weights of a net, stands for; fetched where it must be.

    Raises:
        InputError: it is neither.
    """
    if isinstance(weights, Path) or Path(weights).is_file() or not TAG.fullmatch(weights):
        return WeightFile(Path(weights))
    entry = find(net_name, weights)
    if entry.is_ours:
        return WeightFile(entry.directory / "model.safetensors", len(entry.class_names))
    return WeightFile(fetch(entry), len(entry.class_names))


class NetBuilder(Protocol):
    """A net of the catalog as a function."""

    def __call__(
        self,
        *,
        weights: str | Path | None = None,
        num_classes: int | None = None,
        in_channels: int | None = None,
        new_head: bool = False,
    ) -> nn.Module:
        """The net, untrained or with the weights of a file; see `build`."""


def builder(name: str) -> NetBuilder:
    """The function `residuum.<name>`."""

    def build_net(
        *,
        weights: str | Path | None = None,
        num_classes: int | None = None,
        in_channels: int | None = None,
        new_head: bool = False,
    ) -> nn.Module:
        return build(name, weights=weights, num_classes=num_classes, in_channels=in_channels, new_head=new_head)

    entry = catalog.entry(name)
    build_net.__name__ = build_net.__qualname__ = name
    build_net.__doc__ = (
        f"{name}: {entry.parameters:,} parameters, {entry.macs:,} multiply-adds on a {entry.input_size}-pixel square "
        f"({entry.published.place}).\n\n{build.__doc__}"
    )
    return build_net


def import_weights(
    net_name: str, weights: str | Path, *, preprocessing: Preprocessing | None = None, class_names: Sequence[str]
) -> Classifier:
    """A Classifier of weights that somebody else trained.

    It warns where the file says that its images were normalised otherwise than by `preprocessing`.

    Args:
        net_name: the net of the catalog they belong to.
        weights: a file of any format that is read; nothing in it is executed.
        preprocessing: as they were trained with; None where the file says it (those of Keras and Caffe do), with the
            image size of the net.
        class_names: by output.

    Raises:
        InputError: the file cannot be read, or does not fit the net; or `preprocessing` is None and the file does not
            say it.
    """
    in_channels = catalog.entry(net_name).in_channels if preprocessing is None else preprocessing.channels
    net = catalog.net(net_name, num_classes=len(class_names), in_channels=in_channels)
    loaded = load_weights(net, weights)
    if preprocessing is None:
        preprocessing = _as_told(net_name, str(weights), loaded)
    for note in contradictions(loaded, preprocessing):
        warnings.warn(f"{net_name}: {note}", stacklevel=2)
    return classifier_of(net, loaded, net_name, weights, preprocessing=preprocessing, class_names=class_names)


def _as_told(net_name: str, source: str, loaded: Loaded) -> Preprocessing:
    """Preprocessing by what the file's layout tells, at the size of the net's images."""
    if loaded.preprocessing_hint is None:
        raise InputError(
            f"preprocessing: {source} does not say how its images were prepared. "
            "Try: preprocessing=residuum.Preprocessing(...), with the mean and deviation it was trained with"
        )
    mean, std = loaded.preprocessing_hint
    return usual_preprocessing(catalog.entry(net_name), mean, std)


def contradictions(loaded: Loaded, preprocessing: Preprocessing) -> list[str]:
    """What the file says of its images and `preprocessing` does otherwise, by more than a hundredth."""
    if loaded.preprocessing_hint is None:
        return []
    image = preprocessing.mean_image
    mean = preprocessing.mean if image is None else tuple(map(float, image.mean(axis=(0, 1))))
    given = mean, preprocessing.std
    pairs = zip(chain(*given), chain(*loaded.preprocessing_hint), strict=False)
    if len(given[0]) == len(loaded.preprocessing_hint[0]) and all(math.isclose(a, b, rel_tol=0.01) for a, b in pairs):
        return []
    told = _shown(loaded.preprocessing_hint)
    return [f"the file's images were normalised with {told}; this Classifier does so with {_shown(given)}"]


def classifier_of(
    net: nn.Module,
    loaded: Loaded,
    net_name: str,
    weights: str | Path,
    *,
    preprocessing: Preprocessing,
    class_names: Sequence[str],
) -> Classifier:
    """The Classifier of a net that a file was loaded into; its card says what is known of the file.

    Args:
        net: with the weights.
        loaded: how they went into it.
        net_name: what the catalog calls it.
        weights: the file.
        preprocessing: of its images.
        class_names: by output.
    """
    card = {
        "weights": Path(weights).name,
        "weights_sha256": digest(net.state_dict()),
        "layout": loaded.layout,
        "notes": [*loaded.notes, *contradictions(loaded, preprocessing)],
    }
    return Classifier(
        net=net.eval(),
        net_name=net_name,
        preprocessing=preprocessing,
        class_names=tuple(class_names),
        card=card,
    )


@dataclass(frozen=True, eq=False)
class Skeleton:
    """The net a model reference stands for, for counting and drawing.

    Attributes:
        net: on the meta device where it is one of the catalog.
        input_shape: channels, height and width of the images it is made for.
        entry: its line of the catalog, where it has one.
    """

    net: nn.Module
    input_shape: tuple[int, int, int]
    entry: catalog.Entry | None


def skeleton(reference: str | Path) -> Skeleton:
    """The net of a model reference; one of the catalog is built without its weights, which are not fetched either.

    Raises:
        InputError: as `load`.
    """
    name = str(reference)
    if catalog.knows(name) and not os.path.isdir(reference):
        entry = catalog.entry(name)
        with without_values():
            return Skeleton(entry.build(), entry.input_shape, entry)
    weights = weights_of(name)
    if weights is not None:
        with without_values():
            net = catalog.net(weights.net, num_classes=len(weights.class_names))
        prepared = weights.preprocessing
        return Skeleton(net, (prepared.channels, *prepared.crop), catalog.entry(weights.net))
    classifier = load(reference)
    preprocessing = classifier.preprocessing
    return Skeleton(classifier.net, (preprocessing.channels, *preprocessing.crop), catalog.find(classifier.net_name))
