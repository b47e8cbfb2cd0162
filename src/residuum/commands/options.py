"""Options that several commands share."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from residuum.classifier import Classifier
    from residuum.report.progress import ConsoleProgress
    from residuum.training.recipe import Execution
    from residuum.weights.entries import PretrainedWeights


SMALLEST_SCALED = 64  # pixels; the scales were chosen for nets of 224


@dataclass(frozen=True)
class Hardware:
    """Where to compute."""

    device: str = "auto"
    """cpu, cuda, cuda:1, ..., or auto for a GPU where there is one."""
    threads: int | None = None
    """CPU threads; PyTorch's choice by default."""
    workers: int | None = None
    """Threads that decode images; one for each CPU by default."""
    cache_gib: float | None = None
    """Keep a folder's images decoded on the disk; the most GiB that all such caches may take together."""
    plain_operators: bool = False
    """PyTorch's own operators only: slower on a CPU, the same up to rounding."""


@dataclass(frozen=True)
class Saving:
    """How often to save."""

    checkpoint_seconds: float = 60.0
    """Seconds between two checkpoints."""
    checkpoint_steps: int | None = None
    """Save after every so many steps as well."""


def execution(hardware: Hardware, saving: Saving | None = None) -> Execution:
    """The two as one value for a training."""
    from residuum.training.recipe import Execution

    saving = saving or Saving()
    return Execution(
        device=hardware.device,
        threads=hardware.threads,
        workers=hardware.workers,
        cache_gib=hardware.cache_gib,
        fuse=not hardware.plain_operators,
        checkpoint_seconds=saving.checkpoint_seconds,
        checkpoint_steps=saving.checkpoint_steps,
    )


def open_model(reference: str, progress: ConsoleProgress) -> Classifier:
    """The Classifier of a model reference; shown are a download, and which weights were taken."""
    from residuum.references import load

    if line := taken(reference):
        progress.message(line)
    return load(reference, on_bytes=lambda done, total: progress.evaluating(f"download {reference}", done, total or 0))


def taken(reference: str, entry: PretrainedWeights | None = None) -> str | None:
    """Which weights a reference such as `resnet50:imagenet` stands for, in a line; None where it names them itself."""
    from residuum.references import weights_of

    entry = entry or weights_of(reference)
    if entry is None or entry.reference == reference:
        return None
    right = f", {entry.top1:.2f} % top-1" if entry.top1 is not None else ""
    return f"{reference} is {entry.reference} (by {entry.publisher}{right})"


def share(value: float | None) -> str:
    """A share as percent with two digits; `none` where there is none."""
    return "none" if value is None else f"{100 * value:.2f} %"


def doubt_of_views(views: str, crop: tuple[int, int]) -> str | None:
    """What a person should know before reading figures of these views, if anything."""
    if views == "multi-scale" and min(crop) < SMALLEST_SCALED:
        return f"warning: five scales say little of a net made for {crop[0]}x{crop[1]} pixels. Try: --views 1"
    return None


def shown_models(models: Sequence[str]) -> dict[str, str]:
    """What a page calls models: as typed, but directories elsewhere by the end of their path, which tells no home."""
    longest = max(len(Path(model).parts) for model in models)
    for parts in range(1, longest + 1):
        shown = {model: _shown_model(model, parts) for model in models}
        if len(set(shown.values())) == len(shown):
            return shown
    return {model: model for model in models}


def _shown_model(model: str, parts: int) -> str:
    path = Path(model)
    if not os.path.isdir(model) or not (path.is_absolute() or ".." in path.parts):
        return model
    resolved = path.resolve()
    if resolved.is_relative_to(Path.cwd()):
        return shown_path(path)
    return "/".join(resolved.parts[-parts:])


def shown_path(path: Path) -> str:
    """A path as a person would type it: relative to here where it lies below."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
