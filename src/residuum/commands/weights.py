"""`residuum weights`: fetch published weights, check them, say where they lie, and import a file of one's own."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

import tyro

from residuum.commands.options import taken
from residuum.errors import InputError

if TYPE_CHECKING:
    from residuum.data.preprocess import Preprocessing
    from residuum.weights.entries import PretrainedWeights
    from residuum.weights.layouts.mapped import Normalisation

Action = Literal["fetch", "verify", "path", "import"]


@dataclass(frozen=True)
class ImageOptions:
    """How images are prepared for an imported net; what is not given follows the file, or else --preprocessing."""

    preprocessing: Literal["imagenet", "cifar"] | None = None
    """Sizes, mean and deviation of ImageNet or CIFAR-10; sizes by those of the net, ImageNet's mean by default."""
    resize: int | None = None
    """Pixels of the shorter side before cropping."""
    crop: int | None = None
    """Side of the square crop, in pixels."""
    mean: tuple[float, ...] | None = None
    """Subtracted from each channel, of pixels in 0..1."""
    std: tuple[float, ...] | None = None
    """Each channel is divided by it."""
    interpolation: Literal["bilinear", "bicubic"] | None = None
    """How images are resized."""


@dataclass(frozen=True)
class Weights:
    """Fetch published weights, verify or find them in the cache, or import a weight file as a model.

    residuum weights fetch NET:TAG ...    residuum weights verify [NET:TAG ...]    residuum weights path NET:TAG
    residuum weights import FILE --net NET --classes imagenet --out DIR
    """

    action: Annotated[Action, tyro.conf.Positional]
    """What to do."""
    what: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="NET:TAG|FILE ...")] = ()
    """References, see `residuum list --weights` (verify without any checks all in the cache); to import, a file."""
    net: str | None = None
    """import: the net of the catalog the file belongs to."""
    classes: str | None = None
    """import: imagenet, cifar10, digits, or a text file with a class name in each line."""
    out: Path | None = None
    """import: the directory to write."""
    images: ImageOptions = ImageOptions()

    def run(self) -> int:
        if self.action != "import" and (self.net or self.classes or self.out or self.images != ImageOptions()):
            raise InputError(f"{self.action}: takes no options. Try: residuum weights import, or leave them out")
        if self.action == "import":
            return self._import()
        if self.action == "verify":
            return self._verify()
        return self._fetch() if self.action == "fetch" else self._path()

    def _fetch(self) -> int:
        from residuum.report.progress import ConsoleProgress
        from residuum.weights.fetch import fetch

        for reference, entry in entries_of(self.what, self.action):
            with ConsoleProgress() as progress:
                if line := taken(reference, entry):
                    progress.message(line)
                if entry.is_ours:
                    print(f"{entry.directory} (in the package)")
                    continue

                def report(done: int, total: int | None, name: str = entry.file_name, mib: float = entry.mib) -> None:
                    progress.evaluating(name, done, total or max(done + 1, int(mib * 2**20)))

                path = fetch(entry, on_bytes=report)
            print(path)
        return 0

    def _path(self) -> int:
        from residuum.weights.fetch import by_hand, is_cached, where

        for _, entry in entries_of(self.what, self.action):
            if not (entry.url or entry.is_ours):
                raise by_hand(entry)
            if not is_cached(entry):
                raise InputError(f"{where(entry)}: is not in the cache. Try: residuum weights fetch {entry.reference}")
            print(entry.directory if entry.is_ours else where(entry))
        return 0

    def _verify(self) -> int:
        from residuum.classifier import Classifier
        from residuum.weights.entries import every
        from residuum.weights.fetch import verify, where

        chosen = [entry for _, entry in entries_of(self.what, self.action)] if self.what else None
        if chosen is None:
            chosen = [entry for entry in every() if entry.is_ours or (entry.url and where(entry).is_file())]
        bad: list[str] = []
        for entry in chosen:
            try:
                if entry.is_ours:
                    Classifier.load(entry.directory)
                    print(f"{entry.reference}: right, in the package")
                else:
                    print(f"{entry.reference}: right, sha256 {verify(entry)}")
            except InputError as error:
                bad.append(str(error))
        if bad:
            raise InputError("; ".join(bad))
        if not chosen:
            print("no weights are in the cache")
        return 0

    def _import(self) -> int:
        from residuum.nets import catalog
        from residuum.references import classifier_of
        from residuum.weights.load import load_weights

        if len(self.what) != 1:
            raise InputError(f"import: one file at a time, got {len(self.what)}. Try: residuum weights import FILE")
        if self.net is None or self.classes is None or self.out is None:
            missing = next(n for n in ("net", "classes", "out") if getattr(self, n) is None)
            value = {"net": "resnet50", "classes": "imagenet", "out": "my-classifier"}[missing]
            raise InputError(f"--{missing}: is needed to import a file. Try: --{missing} {value}")
        file, names, entry = self.what[0], read_classes(self.classes), catalog.entry(self.net)
        channels = self._channels(entry.in_channels)
        net = catalog.net(self.net, num_classes=len(names), in_channels=channels)
        loaded = load_weights(net, file)
        prepared = preprocessing_for(self.images, entry.input_size, channels, loaded.preprocessing_hint)
        classifier = classifier_of(net, loaded, self.net, file, preprocessing=prepared, class_names=names)
        print(f"{classifier.save(self.out)}")
        print(f"layout {loaded.layout}; {described(prepared)}; {len(names):,} classes: {', '.join(names[:3])}, ...")
        for note in loaded.notes:
            print(note)
        if loaded.preprocessing_hint is None and (self.images.preprocessing, self.images.mean) == (None, None):
            print(
                "warning: the file does not say how its images were prepared; this is what most nets had. "
                "Try: --preprocessing cifar, or --mean and --std, if it was trained otherwise",
                file=sys.stderr,
            )
        return 0

    def _channels(self, usual: int) -> int:
        given = self.images.mean or self.images.std
        return len(given) if given else usual


def entries_of(references: Sequence[str], action: str) -> list[tuple[str, PretrainedWeights]]:
    """Each reference with what it stands for.

    Raises:
        InputError: there are none, or one stands for nothing.
    """
    from residuum.nets import catalog
    from residuum.weights.entries import find

    if not references:
        raise InputError(f"{action}: which weights? Try: residuum weights {action} resnet50:imagenet")
    found = []
    for reference in references:
        net, _, tag = reference.partition(":")
        found.append((reference, find(catalog.entry(net).name, tag or "imagenet")))
    return found


def read_classes(classes: str) -> tuple[str, ...]:
    """Class names by output: of a known set, or the lines of a text file.

    Raises:
        InputError: no such file or set; the file is empty, not text, or has a name twice.
    """
    from residuum.weights.labels import Labels, class_names

    if classes in get_args(Labels):
        return class_names(classes)
    try:
        names = tuple(line.strip() for line in Path(classes).read_text(encoding="utf-8").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise InputError(
            f"--classes: {classes!r} cannot be read (imagenet, cifar10, digits, or a text file). Try: imagenet"
        ) from error
    twice = sorted({name for name in names if names.count(name) > 1})
    if not names or twice:
        wrong = f"has {json.dumps(twice[0], ensure_ascii=False)} twice" if twice else "has no lines"
        raise InputError(f"{classes}: {wrong}. Try: one class name in each line, in the order of the net's outputs")
    return names


def preprocessing_for(
    options: ImageOptions, input_size: int, channels: int, hint: Normalisation | None
) -> Preprocessing:
    """Preprocessing by what was typed, then by what the file's layout tells, then by the size of the net's images."""
    from residuum.data.preprocess import Preprocessing
    from residuum.weights.entries import CIFAR_MEAN, CIFAR_STD, MEAN, STD

    large = options.preprocessing == "imagenet" or (options.preprocessing is None and input_size >= 64)
    colours = (CIFAR_MEAN, CIFAR_STD) if options.preprocessing == "cifar" else (MEAN, STD)
    usual = colours if channels == 3 else ((0.5,) * channels, (0.5,) * channels)
    mean, std = hint if hint is not None and options.preprocessing is None else usual
    crop = options.crop
    if crop is None:
        crop = input_size if options.preprocessing is None else 224 if large else 32
    base = Preprocessing(
        channels=channels,
        resize=options.resize if options.resize is not None else round(crop * 256 / 224) if large else crop,
        crop=(crop, crop),
        mean=options.mean if options.mean is not None else mean,
        std=options.std if options.std is not None else std,
    )
    return base if options.interpolation is None else replace(base, interpolation=options.interpolation)


def described(prepared: Preprocessing) -> str:
    """Preprocessing in a line."""
    mean, std = (", ".join(f"{value:.4g}" for value in values) for values in (prepared.mean, prepared.std))
    return (
        f"images resized to {prepared.resize} ({prepared.interpolation}), {prepared.crop[0]} cropped, "
        f"mean {mean}, deviation {std}"
    )
