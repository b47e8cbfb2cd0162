"""The report of one Run: `report.html` with its curves also as `curves.png`."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from residuum.files.atomic import write_file
from residuum.report.figures import ArmCurves, Curve, error_curves, lines
from residuum.report.numbers import share
from residuum.report.page import Section, Table, render

SHOWN_LAYERS = 6  # as many as there are colours
LAYER_FIGURES = {
    "response_std": (
        "Responses of the layers",
        "standard deviation",
        "Of what each layer gives, after its batch normalisation and before ReLU or addition.",
    ),
    "gradient_norm": ("Gradients of the layers", "norm", "Of the loss with respect to the weights of each layer."),
    "residual_ratio": (
        "Residual branches",
        "|F(x)| / |x|",
        "What each block adds to its shortcut, as a share of what the shortcut carries.",
    ),
}


def write_run_report(
    directory: Path,
    *,
    config: Mapping[str, Any],
    environment: Mapping[str, Any],
    metrics: Sequence[Mapping[str, Any]],
    result: Mapping[str, Any] | None,
) -> Path:
    """Write the report of a Run, finished or not, into its directory; return the page's path."""
    recipe = config["recipe"]
    sections = []
    if metrics:
        watched = "test" if "test_error" in metrics[-1] else "val"
        shown = curve(metrics, f"{watched}_error") if f"{watched}_error" in metrics[-1] else None
        arm = ArmCurves(config["net"], curve(metrics, "train_error"), shown)
        errors = error_curves({"error": [arm]}, test_name={"val": "validation"}.get(watched, watched))
        rates = lines({"learning rate": curve(metrics, "learning_rate", scale=1)}, y_label="learning rate")
        write_file(directory / "curves.png", errors.png)
        sections.append(Section(title="Error", drawing=errors, caption=_curve_caption(metrics)))
        named = {"train_loss": "training", "val_loss": "validation", "test_loss": "test"}
        losses = {name: curve(metrics, key, scale=1) for key, name in named.items() if key in metrics[-1]}
        sections.append(Section(title="Loss", drawing=lines(losses, y_label="cross-entropy (nats)")))
        sections.append(Section(title="Learning rate", drawing=rates))
        sections += _layers(metrics)
    if result is not None:
        sections.insert(0, Section(title="Result", table=_results(result)))
        for name in ("test", "val"):
            if name in result:
                sections.append(Section(title=f"By class, on {name}", table=_per_class(result[name])))
    if config.get("skipped"):
        rows = [list(map(str, pair)) for pair in config["skipped"]]
        sections.append(Section(title="Files that were not used", table=Table(("file", "why"), rows)))
    sections.append(Section(title="Recipe", folded=json.dumps(recipe, indent=1)))
    sections.append(Section(title="Environment", folded=json.dumps(environment, indent=1)))
    state = "finished" if result is not None else "not finished"
    page = render(
        title=f"{config['net']} on {Path(config['data']).name}",
        subtitle=f"recipe {recipe['name']}, seed {config['seed']}, {state}",
        sections=sections,
        footer=f"made by: {shlex.join(['residuum', 'report', directory.resolve().name])}",
    )
    write_file(directory / "report.html", page)
    return directory / "report.html"


def curve(metrics: Sequence[Mapping[str, Any]], key: str, *, scale: float = 100) -> Curve:
    """One quantity of one Run's metrics over its steps."""
    return Curve([record["step"] for record in metrics], np.array([[scale * record[key] for record in metrics]]))


def _curve_caption(metrics: Sequence[Mapping[str, Any]]) -> str:
    text = "Training error counts the batches of each epoch as they were trained on."
    if "test_error" in metrics[-1]:
        text += " Test error is drawn for this figure only: nothing was chosen by it."
    return text


def _layers(metrics: Sequence[Mapping[str, Any]]) -> list[Section]:
    """Figures of the layer statistics, where the recipe asked for them: some layers from the first to the last."""
    steps = [record["step"] for record in metrics]
    sections = []
    for quantity, (title, y_label, caption) in LAYER_FIGURES.items():
        values = [record.get("layers", {}).get(quantity, {}) for record in metrics]
        names = list(values[-1])
        count = min(len(names), SHOWN_LAYERS)
        shown = [names[round(index * (len(names) - 1) / max(count - 1, 1))] for index in range(count)]
        curves = {name: Curve(steps, np.array([[each.get(name, np.nan) for each in values]])) for name in shown}
        if curves:
            more = f" {count} of {len(names)} are shown, from the image to the answer." if count < len(names) else ""
            text = f"{caption} Measured on a few training images at the end of each epoch.{more}"
            sections.append(Section(title=title, drawing=lines(curves, y_label=y_label), caption=text))
    return sections


def _results(result: Mapping[str, Any]) -> Table:
    rows = []
    for name in ("train", "val", "test"):
        if name in result:
            loss, error, images = result[name]["loss"], result[name]["error"], result[name].get("num_images")
            rows.append([name, f"{images:,}" if images else "last epoch", f"{100 * error:.2f} %", f"{loss:.4f}"])
    return Table(("split", "images", "error", "loss"), rows, numeric=(1, 2, 3))


def _per_class(metrics: Mapping[str, Any]) -> Table:
    rows = [
        [each["class"], f"{each['images']:,}", share(each["recall"]), share(each["precision"])]
        for each in metrics["per_class"]
    ]
    return Table(("class", "images", "recall", "precision"), rows, numeric=(1, 2, 3))
