"""`residuum inspect`: what a net does inside, as a page, pictures and arrays."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from residuum.commands.options import open_model, shown_models, shown_path
from residuum.errors import InputError, Interrupted

if TYPE_CHECKING:
    from residuum.classifier import Classifier
    from residuum.inspection.inspect import Inspection
    from residuum.report.captions import Language


@dataclass(frozen=True)
class Inspect:
    """Look inside a net: filters, maps, why this class, what F(x) does, gradients, lesions, the loss around it.

    residuum inspect resnet20:cifar10 photo.jpg writes a page, its pictures as PNG files, and all arrays. Parts that
    need a data set run where --data names one.
    """

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """A Run directory, a Classifier directory, NET:TAG, or the name of a net (untrained)."""
    images: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[IMAGE ...]")] = ()
    """Image files, or folders of them; a few of --data where there are none."""
    data: str | None = None
    """digits, cifar10, cifar100, mnist, fashion-mnist, or a folder with one directory for each class."""
    data_dir: Path | None = None
    """Where the files of a named data set lie; downloaded otherwise."""
    samples: int = 512
    """Images of the data set to use."""
    only: str | None = None
    """Parts, joined by commas; all that can run by default. Of the net alone: filters, maximised. Of images:
activations, cam, responses, anatomy, gradients, attribution, judge, sanity, jacobian, paths. Of data: probes, patches,
lesions, landscape."""
    out: Path | None = None
    """Directory to write; inspect-MODEL by default."""
    seconds: float = 120.0
    """Time for all parts together; what does not fit is named on the page."""
    lang: Literal["en", "ko", "both"] = "en"
    """Language of titles and captions."""
    device: str = "auto"
    """cpu, cuda, cuda:1, ..., or auto for a GPU where there is one."""
    json: bool = False
    """Print JSON, without the arrays."""

    def run(self) -> int:
        from residuum.files.atomic import write_directory
        from residuum.inspection.inspect import chosen, inspect
        from residuum.inspection.record import files, plain
        from residuum.inspection.subject import subject
        from residuum.report.progress import PartsProgress
        from residuum.training.prepare import choose_device
        from residuum.training.start import open_data

        only = [name.strip() for name in self.only.split(",") if name.strip()] if self.only is not None else None
        chosen(only)
        if not self.seconds > 0:
            raise InputError(f"seconds: must be above 0, got {self.seconds:g}. Try: --seconds 60")
        out = self.out or Path(f"inspect-{_slug(self.model)}")
        require_free(out)
        unreadable: list[InputError] = []
        device = choose_device(self.device)
        with PartsProgress() as progress:
            classifier = open_model(self.model, progress).to(device)
            channels = classifier.preprocessing.channels
            dataset = open_data(self.data, self.data_dir, progress, channels=channels) if self.data else None
            looked_at = subject(classifier, self.images, dataset, samples=self.samples, on_unreadable=unreadable.append)
            if unreadable and not looked_at.photos:
                raise unreadable[0]
            found = inspect(looked_at, only, seconds=self.seconds, watcher=progress)
        values, arrays = plain(found)
        values = {"model": shown_models([self.model])[self.model], "net": classifier.net_name, **values}
        values["unreadable"] = [str(error) for error in unreadable]
        written = {**self._page(classifier, found, unreadable), **files(values, arrays)}
        if out.is_dir():
            out.rmdir()  # empty, as was checked
        write_directory(out, written)
        self._say(found, values, out)
        for error in unreadable:
            print(f"error: {error}", file=sys.stderr)
        if found.interrupted:
            raise Interrupted(f"interrupted: what was found until then is in {shown_path(out)}", signal_number=2)
        return InputError.exit_code if unreadable else 0

    def _page(self, classifier: Classifier, found: Inspection, unreadable: Sequence[InputError]) -> dict[str, bytes]:
        from residuum.report.captions import LANGUAGES
        from residuum.report.inspect_page import PageFacts, inspect_page
        from residuum.report.numbers import by, short

        languages: Sequence[Language] = LANGUAGES if self.lang == "both" else (self.lang,)
        shown = shown_models([self.model])[self.model]
        parameters = sum(parameter.numel() for parameter in classifier.net.parameters())
        size = by(found.subject.input_size)
        samples = found.subject.samples
        data = f", {len(samples):,} images of {samples.name}" if samples is not None else ""
        facts = PageFacts(
            title=f"Inside {shown}" if self.lang != "ko" else f"{shown}의 속",
            subtitle=f"{classifier.net_name}, {short(parameters)} parameters, images of {size}{data}",
            footer=f"made by: {shlex.join(self._command(shown))}",
            languages=languages,
            untrained=classifier.card.get("weights") == "untrained",
            unreadable=[str(error) for error in unreadable],
        )
        return inspect_page(facts, found.subject.photos, found.outcomes)

    def _command(self, shown: str) -> list[str]:
        words = ["residuum", "inspect", shown, *(Path(image).name for image in self.images)]
        for option, value in (("--data", self.data), ("--only", self.only)):
            words += [option, Path(value).name if option == "--data" else value] if value else []
        return [*words, *(["--lang", self.lang] if self.lang != "en" else [])]

    def _say(self, found: Inspection, values: dict[str, object], out: Path) -> None:
        """What became of each part, and where the page is."""
        from residuum.inspection.inspect import State
        from residuum.report.inspect_page import PAGE

        if self.json:
            print(json.dumps({"directory": shown_path(out), **values}, ensure_ascii=False))
            return
        for outcome in found.outcomes:
            if outcome.state is not State.DONE:
                print(f"{outcome.name}: {outcome.state}: {outcome.reason}", file=sys.stderr)
        done = [outcome.name for outcome in found.outcomes if outcome.state is State.DONE]
        print(f"done: {', '.join(done) or 'nothing'}")
        print(f"page {shown_path(out / PAGE)}")


def require_free(path: Path) -> None:
    """Check that a directory may be written at `path`.

    Raises:
        InputError: something stands there that is no empty directory.
    """
    try:
        taken = path.is_dir() and any(path.iterdir())
        other = path.exists() and not path.is_dir()
    except OSError as error:
        shown = str(path)[:80]
        raise InputError(f"{shown}: cannot be a directory ({error.strerror}). Try: another --out") from error
    if other:
        raise InputError(f"{path}: is a file (expected a new directory). Try: another --out")
    if taken:
        raise InputError(f"{path}: exists and is not empty. Try: another --out")


def _slug(model: str) -> str:
    """A model reference as part of the name of a directory."""
    name = Path(model).resolve().name if Path(model).is_dir() else model
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "model"
