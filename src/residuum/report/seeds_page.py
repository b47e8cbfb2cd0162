"""The page of one recipe over several seeds: `report.html` with its curves also as `curves.png`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from residuum.files.atomic import write_file
from residuum.report.figures import ArmCurves, Curve, error_curves
from residuum.report.page import Section, Table, Tile, render
from residuum.report.run_page import curve

CAPTION = (
    "Training (thin, dashed) and {watched} (bold) error, mean over the seeds with a band of one standard deviation to "
    "either side. Training error counts the batches of each epoch as they were trained on."
)
TEST_CAPTION = " Test error is drawn for this figure only: nothing was chosen by it."
SHA_DIGITS = 12


def over_seeds(metrics: Sequence[Sequence[Mapping[str, Any]]], key: str) -> Curve | None:
    """One quantity of several Runs over their common steps; None where it was not recorded."""
    if any(key not in record for records in metrics for record in records):
        return None
    each = [curve(records, key) for records in metrics]
    return Curve(each[0].steps, np.concatenate([one.values for one in each]))


def write_seeds_report(
    directory: Path, record: Mapping[str, Any], metrics: Mapping[int, Sequence[Mapping[str, Any]]]
) -> Path:
    """Write the page of a plan of seeds into its directory; return its path.

    Args:
        directory: where `seeds.json` lies.
        record: what it holds.
        metrics: of each finished Run, by seed.
    """
    runs, failed = record["runs"], record["failed"]
    asked, finished = len(runs), record["finished"]
    sections = [Section(title="Result", tiles=_tiles(record["mean"], finished))]
    if failed:
        rows = [[str(each["seed"]), each["reason"]] for each in failed]
        text = f"{finished} of {asked} seeds are in the means."
        sections.append(Section(title="Seeds that failed", text=text, table=Table(("seed", "why"), rows, numeric=(0,))))
    sections += _curves(directory, record["net"], metrics)
    sections.append(Section(title="Every seed", table=seeds_table(record)))
    sections.append(Section(title="Recipe", folded=json.dumps(record["recipe"], indent=1)))
    sections.append(Section(title="Environment", folded=json.dumps(record["environment"], indent=1, default=str)))
    page = render(
        title=f"{record['net']} on {Path(record['data']).name}, {asked} seeds",
        subtitle=f"recipe {record['recipe']['name']}, {finished} of {asked} finished",
        sections=sections,
        footer=f"made by: {_command(record['environment'])}",
    )
    write_file(directory / "report.html", page)
    return directory / "report.html"


def _command(environment: Mapping[str, Any]) -> str:
    command = environment.get("command", "residuum train --seeds")
    return str(command[0] if isinstance(command, list) else command)


def seeds_table(record: Mapping[str, Any]) -> Table:
    """One row for each seed, finished or not."""
    splits = [split for split in ("train", "val", "test") if f"{split} error" in record["mean"]]
    columns = (
        "seed",
        *(f"{split} error" for split in splits),
        f"{(splits or ['test'])[-1]} loss",
        "seconds",
        "weights",
    )
    rows = [_row(run, splits) for run in record["runs"]]
    return Table(columns, rows, numeric=tuple(range(len(columns) - 1)))


def _row(run: Mapping[str, Any], splits: Sequence[str]) -> list[str]:
    if run["state"] != "finished":
        return [str(run["seed"]), *["–"] * (len(splits) + 2), run["state"]]
    errors = [f"{100 * run[split]['error']:.2f} %" for split in splits]
    loss = f"{run[splits[-1]]['loss']:.4f}"
    return [str(run["seed"]), *errors, loss, f"{run['seconds']:.1f}", run["weights_sha256"][:SHA_DIGITS]]


def spread(name: str, measured: Mapping[str, Any]) -> str:
    """Mean ± sample standard deviation; errors in percent, without the spread for a single value."""
    scale, digits, unit = (100, 2, " %") if name.endswith("error") else (1, 4, "") if "loss" in name else (1, 1, " s")
    around = "" if measured["std"] is None else f" ± {scale * measured['std']:.{digits}f}"
    return f"{scale * measured['mean']:.{digits}f}{around}{unit}"


def _tiles(mean: Mapping[str, Mapping[str, Any]], finished: int) -> list[Tile]:
    remark = f"over {finished} seeds" if finished > 1 else "one seed: no spread"
    return [Tile(spread(name, one), name, remark) for name, one in mean.items()]


def _curves(directory: Path, net: str, metrics: Mapping[int, Sequence[Mapping[str, Any]]]) -> list[Section]:
    """The figure, of those seeds whose metrics are whole."""
    steps = {seed: [record["step"] for record in records] for seed, records in metrics.items()}
    longest = max(steps.values(), key=len, default=[])
    whole = [metrics[seed] for seed in metrics if longest and steps[seed] == longest]
    train = over_seeds(whole, "train_error") if whole else None
    if train is None:
        return []
    tested = over_seeds(whole, "test_error")
    watched = "test" if tested is not None else "validation"
    arm = ArmCurves(net, train, tested or over_seeds(whole, "val_error"))
    drawing = error_curves({"error": [arm]}, test_name=watched)
    write_file(directory / "curves.png", drawing.png)
    caption = CAPTION.format(watched=watched) + (TEST_CAPTION if tested else "")
    if len(whole) < len(metrics):
        caption += f" {len(metrics) - len(whole)} seeds are not drawn: their metrics are not whole."
    return [Section(title="Error", drawing=drawing, caption=caption)]
