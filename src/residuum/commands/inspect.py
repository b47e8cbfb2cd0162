"""`residuum inspect`: what a net does inside, as a page, pictures and arrays."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from signal import SIGINT
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from residuum.commands.options import open_model, shown_models, shown_path
from residuum.errors import InputError, Interrupted

if TYPE_CHECKING:
    from residuum.classifier import Classifier
    from residuum.inspection.inspect import Inspection
    from residuum.inspection.subject import Subject
    from residuum.records.text import Language
    from residuum.report.progress import PartsProgress


@dataclass(frozen=True)
class Inspect:
    """Look inside a net: filters, maps, why this class, what F(x) does, gradients, lesions, the loss around it.

    residuum inspect resnet20:cifar10 photo.jpg writes a page, its pictures as PNG files, and all arrays. Parts that
    need a data set run where --data names one.
    """

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """A Run directory, a Classifier directory, NET:TAG, or the name of a net (untrained, of seed 0)."""
    images: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[IMAGE ...]")] = ()
    """Image files, or folders of them; a few of --data where there are none."""
    data: str | None = None
    """digits, cifar10, cifar100, mnist, fashion-mnist, or a folder with one directory for each class."""
    data_dir: Path | None = None
    """Where the files of a named data set lie; downloaded otherwise."""
    samples: int = 512
    """Images of the data set to use."""
    beside: str | None = None
    """A second model, drawn in the same figures: responses, anatomy, gradients, history, probes,
landscape."""
    only: str | None = None
    """Parts, joined by commas; all that can run by default. Of the net alone: filters, maximised. Of images:
activations, cam, responses, anatomy, gradients, attribution, judge, sanity, jacobian, paths. Of data: probes, patches,
lesions, landscape. Of a Run: history."""
    out: Path | None = None
    """Directory to write; inspect-MODEL by default. A landscape that was not finished there goes on."""
    seconds: float = 120.0
    """Time for all parts together; what does not fit is named on the page."""
    lang: Literal["en", "ko", "both"] = "en"
    """Language of titles and captions."""
    device: str = "auto"
    """cpu, cuda, cuda:1, ..., or auto for a GPU where there is one."""
    json: bool = False
    """Print JSON, without the arrays."""

    def run(self) -> int:
        from residuum.inspection.inspect import chosen
        from residuum.inspection.record import files, plain, unfinished
        from residuum.report.progress import PartsProgress

        only = [name.strip() for name in self.only.split(",") if name.strip()] if self.only is not None else None
        compared = self._compared([part.name for part in chosen(only)])
        if not self.seconds > 0:
            raise InputError(f"seconds: must be above 0, got {self.seconds:g}. Try: --seconds 60")
        out = self._directory()
        begun = unfinished(out)
        if not begun:
            require_free(out)
        names = shown_models([self.model, *([self.beside] if self.beside else [])])
        with PartsProgress() as progress:
            looks = self._looks(only, compared, begun, progress)
        first = looks[0]
        values, arrays = plain(first.found)
        values = {"model": names[self.model], "net": first.classifier.net_name, **values}
        values["unreadable"] = [str(error) for error in first.unreadable]
        for look in looks[1:]:
            own, more = plain(look.found, prefix="beside.")
            values["beside"] = {"model": names[look.model], "net": look.classifier.net_name, **own}
            arrays |= more
        _write(out, {**self._page(looks, names), **files(values, arrays)}, over=bool(begun))
        self._say(looks, values, out)
        for error in first.unreadable:
            print(f"error: {error}", file=sys.stderr)
        if stopped := next((look.stopped for look in looks if look.stopped is not None), None):
            raise Interrupted(f"interrupted: what was found until then is in {shown_path(out)}", signal_number=stopped)
        return InputError.exit_code if first.unreadable else 0

    def _directory(self) -> Path:
        return self.out or Path(f"inspect-{_slug(self.model)}")

    def _compared(self, names: Sequence[str]) -> list[str]:
        """The parts of these that are made of a second net as well."""
        from residuum.report.inspection.twins import COMPARED

        if self.beside is None:
            return []
        if self.beside == self.model:
            raise InputError(f"beside: is the same model, {self.model!r}. Try: --beside with another one")
        both = [name for name in names if name in COMPARED]
        if not both:
            raise InputError(f"beside: no part that compares nets is asked for. Try: --only {','.join(COMPARED)}")
        return both

    def _looks(
        self,
        only: Sequence[str] | None,
        compared: Sequence[str],
        begun: Mapping[str, Mapping[str, dict[str, Any]]],
        progress: PartsProgress,
    ) -> list[_Look]:
        """What was found of the model, and of the one beside it, which has half of the time and what the first left."""
        from residuum.inspection.inspect import State, inspect_subject
        from residuum.inspection.record import fingerprint
        from residuum.training.signals import Interrupting

        opened = [self._opened(model, progress) for model in (self.model, self.beside) if model is not None]
        prints = [fingerprint(look.subject) for look in opened] if begun else [""] * len(opened)
        if begun and not set(begun) & set(prints):
            raise InputError(
                f"{shown_path(self._directory())}: holds an inspection of other weights or data. Try: another --out"
            )
        looks: list[_Look] = []
        share, left = self.seconds / len(opened), 0.0
        for look, own in zip(opened, prints, strict=True):
            parts: Sequence[str] | None = only
            if looks:
                lacking = [each.name for each in looks[0].found.outcomes if each.state is State.LACKS]
                parts = [name for name in compared if name not in lacking]
            if parts is not None and not parts:
                break
            end = time.monotonic() + share + left
            with Interrupting() as stop:
                try:
                    found = inspect_subject(
                        look.subject, parts, seconds=share + left, watcher=progress, begun=begun.get(own)
                    )
                except KeyboardInterrupt:
                    raise Interrupted("interrupted", signal_number=stop.signal_number or SIGINT) from None
            left = max(end - time.monotonic(), 0)
            stopped = (stop.signal_number or SIGINT) if found.interrupted else None
            looks.append(replace(look, found=found, stopped=stopped))
            if found.interrupted:
                break
        return looks

    def _opened(self, model: str, progress: PartsProgress) -> _Look:
        from residuum.inspection.inspect import Inspection
        from residuum.inspection.start import history, seeded
        from residuum.inspection.subject import subject
        from residuum.training.asked import open_data
        from residuum.training.prepare import choose_device

        unreadable: list[InputError] = []
        device = choose_device(self.device)
        with seeded():
            classifier = open_model(model, progress).to(device)
        channels = classifier.preprocessing.channels
        dataset = open_data(self.data, self.data_dir, progress, channels=channels) if self.data else None
        looked_at = subject(
            classifier,
            self.images,
            dataset,
            samples=self.samples,
            history=history(model),
            on_unreadable=unreadable.append,
        )
        if unreadable and not looked_at.photos:
            raise unreadable[0]
        return _Look(model, classifier, looked_at, tuple(unreadable), Inspection(looked_at, ()))

    def _page(self, looks: Sequence[_Look], names: Mapping[str, str]) -> dict[str, bytes]:
        from residuum.records.text import LANGUAGES
        from residuum.report.inspection.captions import WORDS
        from residuum.report.inspection.page import Beside, PageFacts, inspect_page

        languages: Sequence[Language] = LANGUAGES if self.lang == "both" else (self.lang,)
        first, shown = looks[0], " | ".join(names[look.model] for look in looks)
        samples = first.subject.samples
        data = [f"{len(samples):,} images of {samples.name}"] if samples is not None else []
        facts = PageFacts(
            title=WORDS["title"].joined(languages[:1]).format(shown),
            subtitle="; ".join([*map(_described, looks), *data]),
            footer=f"made by: {shlex.join(self._command(names))}",
            languages=languages,
            untrained=[names[look.model] for look in looks if look.subject.untrained],
            unreadable=[str(error) for error in first.unreadable],
        )
        second = looks[1] if len(looks) > 1 else None
        beside = Beside((names[self.model], names[second.model]), second.found.outcomes) if second else None
        return inspect_page(facts, first.subject.photos, first.found.outcomes, beside)

    def _command(self, names: Mapping[str, str]) -> list[str]:
        words = ["residuum", "inspect", names[self.model], *(Path(image).name for image in self.images)]
        data = Path(self.data).name if self.data else None
        beside = names[self.beside] if self.beside else None
        for option, value in (("--data", data), ("--only", self.only), ("--beside", beside)):
            words += [option, value] if value else []
        for name in ("samples", "seconds", "lang"):
            value = getattr(self, name)
            words += [f"--{name}", f"{value}"] if value != getattr(Inspect, name) else []
        return words

    def _say(self, looks: Sequence[_Look], values: Mapping[str, object], out: Path) -> None:
        """What became of each part, and where the page is."""
        from residuum.inspection.inspect import State
        from residuum.inspection.record import UNFINISHED
        from residuum.report.inspection.page import PAGE

        if self.json:
            print(json.dumps({"directory": shown_path(out), **values}, ensure_ascii=False))
            return
        for number, look in enumerate(looks):
            net = f"{look.model}: " if number else ""
            for outcome in look.found.outcomes:
                if outcome.state is not State.DONE:
                    print(f"{net}{outcome.name}: {outcome.state}: {outcome.reason}", file=sys.stderr)
        outcomes = [outcome for look in looks for outcome in look.found.outcomes]
        if any(outcome.name == "landscape" and outcome.state in UNFINISHED for outcome in outcomes):
            print("landscape: goes on where it ended, by the same command", file=sys.stderr)
        done = [outcome.name for outcome in looks[0].found.outcomes if outcome.state is State.DONE]
        print(f"done: {', '.join(done) or 'nothing'}")
        print(f"page {shown_path(out / PAGE)}")


@dataclass(frozen=True, eq=False)
class _Look:
    """One model: what it is, what was found of it, and the number of the signal that ended that."""

    model: str
    classifier: Classifier
    subject: Subject
    unreadable: tuple[InputError, ...]
    found: Inspection
    stopped: int | None = None


def _described(look: _Look) -> str:
    from residuum.report.numbers import by, short

    parameters = sum(parameter.numel() for parameter in look.classifier.net.parameters())
    size = by(look.subject.input_size)
    return f"{look.classifier.net_name}, {short(parameters)} parameters, images of {size}"


def _write(out: Path, files: Mapping[str, bytes], *, over: bool) -> None:
    """The directory; `over` an unfinished inspection, which stays until the new one is whole."""
    from residuum.files.atomic import write_directory

    if not over:
        if out.is_dir():
            out.rmdir()  # empty, as was checked
        write_directory(out, files)
        return
    new, old = (out.with_name(f".{out.resolve().name}-{word}-{os.getpid()}") for word in ("new", "old"))
    write_directory(new, files)
    out.replace(old)
    new.replace(out)
    shutil.rmtree(old, ignore_errors=True)


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
    if path.resolve() == Path.cwd():
        raise InputError(f"{path}: is the directory that you are in (expected a new one). Try: --out inspect")
    if other:
        raise InputError(f"{path}: is a file (expected a new directory). Try: another --out")
    if taken:
        raise InputError(f"{path}: exists and is not empty. Try: another --out")


def _slug(model: str) -> str:
    """A model reference as part of the name of a directory."""
    name = Path(model).resolve().name if Path(model).is_dir() else model
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "model"
