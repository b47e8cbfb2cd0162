"""The parts of an inspection that are charts and tables: of layers, of blocks, of curves over pixels or weights.

A part that was ended early has found less: what is there is drawn.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from residuum.report.figures import Drawing
from residuum.report.inspection.charts import Span, bars, contours, curves, hills, scatter, series, spans
from residuum.report.inspection.shown import (
    METHODS,
    Draw,
    Found,
    Group,
    PhotoLike,
    Shown,
    file_name,
    percent,
    photo_title,
)
from residuum.report.page import Table

WIDTH = 470  # pixels on the page
HISTORY_LAYERS = 4  # that are drawn over the steps of a training: as many as can be told apart in grey
HISTORIES = {  # label of the axis, and whether it is logarithmic
    "response_std": ("std of responses", False),
    "gradient_norm": ("|dL/dW|", True),
    "residual_ratio": ("|F(x)| / |x|", False),
}


def _judge(found: Found, photos: Sequence[PhotoLike]) -> list[Group]:
    rows, figures = [], []
    for number, (photo, judged) in enumerate(zip(photos, found["photos"], strict=False), start=1):
        rows.append(
            [
                photo_title(photo),
                f"{judged['deletion']:.3f}",
                _spread(judged["random_deletion"]),
                f"{judged['insertion']:.3f}",
                _spread(judged["random_insertion"]),
                "yes" if judged["better"] else "no",
            ]
        )
        shares = np.linspace(0, 100, len(judged["deletion_curve"]))
        named = {"deletion": judged["deletion_curve"], "insertion": judged["insertion_curve"]}
        drawing = curves(shares.tolist(), named, x_label="pixels taken or put in (%)", y_label="probability")
        figures.append(drawing_of(f"judge-{number}", drawing, photo.name))
    columns = ("photo", "deletion", "random", "insertion", "random", "better than random")
    better = sum(bool(judged["better"]) for judged in found["photos"])
    table = Table(columns, rows, numeric=(1, 2, 3, 4))
    title = f"{better} of {len(rows)} better than random" if len(rows) > 1 else ""
    return [Group(title=title, figures=figures, tables=[table])] if rows else []


def _spread(spread: Found) -> str:
    return f"{spread['mean']:.3f} ± {spread['std']:.3f}"


def _sanity(found: Found, photos: Sequence[PhotoLike]) -> list[Group]:
    names = [each["layer"] for each in found["layers"]]
    drawing = bars(names, [each["correlation"] for each in found["layers"]], y_label="rank correlation")
    return [
        Group(figures=[drawing_of("sanity", drawing, f"{photos[0].name}; random from the left on" if photos else "")])
    ]


def _responses(found: Found, photos: Sequence[PhotoLike]) -> list[Group]:
    names, values = _columns(found["layers"], "layer", "std")
    return [Group(figures=[drawing_of("responses", series(names, {"std": values["std"]}, y_label="std of responses"))])]


def _anatomy(found: Found, photos: Sequence[PhotoLike]) -> list[Group]:
    names, values = _columns(found["blocks"], "name", "ratio", "cosine", "distance_from_identity")
    sizes = {"|F(x)| / |x|": values["ratio"], "distance from identity": values["distance_from_identity"]}
    figures = [
        drawing_of("anatomy-ratio", series(names, sizes, y_label="share of |x|", line_at=1)),
        drawing_of("anatomy-cosine", series(names, {"cosine": values["cosine"]}, y_label="cosine(x, F(x))", line_at=0)),
    ]
    columns = ("name", "shortcut", "norm_x", "norm_f", "ratio", "cosine", "distance_from_identity", "response_std")
    heads = ("block", "shortcut", "|x|", "|F(x)|", "|F(x)| / |x|", "cosine", "from identity", "std of F(x)")
    rows = [[_cell(each[column]) for column in columns] for each in found["blocks"]]
    return [Group(figures=figures, tables=[Table(heads, rows, numeric=range(2, len(heads)))])]


def _cell(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _gradients(found: Found, photos: Sequence[PhotoLike]) -> list[Group]:
    names, values = _columns(found["layers"], "layer", "norm")
    drawing = series(names, {"norm": values["norm"]}, y_label="|dL/dW|", log=True)
    figures = [drawing_of("gradients-layers", drawing, "gradient of each layer's weights")]
    if found.get("blocks"):
        names, values = _columns(found["blocks"], "block", "whole", "identity", "residual")
        named = {"whole": values["whole"], "by the shortcut": values["identity"], "by F": values["residual"]}
        drawing = series(names, named, y_label="|dL/dx|", log=True)
        figures.append(drawing_of("gradients-blocks", drawing, "gradient at each block's input"))
    return [Group(note=found.get("remark", ""), figures=figures)]


def _jacobian(found: Found, photos: Sequence[PhotoLike]) -> list[Group]:
    blocks = found["blocks"]
    if not blocks:
        return []
    names = [each["block"] for each in blocks]
    values = {"before the last ReLU": [_span(each["before"]) for each in blocks],
              "after it": [_span(each["after"]) for each in blocks]}  # fmt: skip
    drawing = spans(names, values, y_label="singular values")
    rows = [[each["block"], *_ends(each["before"]), *_ends(each["after"]), _dead(each["after"])] for each in blocks]
    heads = (
        "block",
        "largest before ReLU",
        "smallest",
        "within",
        "largest after it",
        "smallest",
        "within",
        "dead rows",
    )
    table = Table(heads, rows, numeric=range(1, len(heads)))
    return [Group(figures=[drawing_of("jacobian", drawing)], tables=[table])]


def _span(spectrum: Found) -> Span:
    return Span(spectrum["smallest_at_most"], spectrum["largest"], open=spectrum["smallest"] is None)


def _ends(spectrum: Found) -> list[str]:
    smallest = spectrum["smallest"]
    least = f"{smallest:.3g}" if smallest is not None else f"at most {spectrum['smallest_at_most']:.2g}"
    return [f"{spectrum['largest']:.3g}", least, f"{spectrum['residual_norm']:.1g}"]


def _dead(spectrum: Found) -> str:
    return f"{spectrum['dead_rows']:,} of {spectrum['rows']:,}"


def _paths(found: Found, photos: Sequence[PhotoLike]) -> list[Group]:
    if "gradient" not in found:
        return []
    total, gradient = sum(found["count"]), found["gradient"]
    counted = [count / total for count in found["count"]]  # exact integers, larger than any float before this
    drawing = hills(found["length"], counted, gradient["length"], gradient["share"], x_label="blocks entered")
    middle = float(np.sum(np.asarray(gradient["length"]) * gradient["share"]))
    label = f"{_power(total)} paths; the mean length by gradient is {middle:.1f} of {max(found['length'])} blocks"
    alone = curves(gradient["length"], {"": np.maximum(gradient["mean"], 1e-30).tolist()}, x_label="blocks entered",
                   y_label="gradient of one path", log=True)  # fmt: skip
    return [Group(figures=[drawing_of("paths", drawing, label), drawing_of("paths-single", alone)])]


def _power(count: int) -> str:
    return f"{count:,}" if count < 10**6 else f"2^{math.log2(count):.0f}"


def _probes(found: Found, photos: Sequence[PhotoLike]) -> list[Group]:
    figures = []
    if found.get("probes"):
        names, values = _columns(found["probes"], "layer", "accuracy", "chance")
        drawing = series(names, {"accuracy": values["accuracy"]}, y_label="accuracy", line_at=values["chance"][0])
        figures.append(drawing_of("probes", drawing, f"judged by {found['probes'][0]['test_images']} images"))
    for method, each in found.get("embeddings", {}).items():
        explained = each["explained"]
        kept = f", {percent(sum(explained))} of the variance" if explained else ""
        drawing = scatter(each["points"], each["labels"], found["class_names"])
        figures.append(drawing_of(f"embedding-{method}", drawing, METHODS[method] + kept))
    return [Group(figures=figures)]


def _lesions(found: Found, photos: Sequence[PhotoLike]) -> list[Group]:
    if "lesions" not in found:
        return []
    whole, *rest = found["lesions"]
    names, accuracy = [each["removed"][0] for each in rest], [each["accuracy"] for each in rest]
    drawing = bars(names, accuracy, y_label="accuracy", line_at=whole["accuracy"])
    label = f"without one block; the whole net: {percent(whole['accuracy'])} of {whole['images']:,} images"
    figures = [drawing_of("lesions", drawing, label)]
    if found.get("several"):
        numbers = [1, *sorted({len(each["removed"]) for each in found["several"]})]
        means = [
            float(np.mean([each["accuracy"] for each in [*rest, *found["several"]] if len(each["removed"]) == number]))
            for number in numbers
        ]
        drawing = bars(list(map(str, numbers)), means, y_label="mean accuracy", line_at=whole["accuracy"])
        figures.append(drawing_of("lesions-several", drawing, "without so many blocks, drawn by chance"))
    if found.get("swaps"):
        pairs = [" and ".join(each["swapped"][0]) for each in found["swaps"]]
        values = [each["accuracy"] for each in found["swaps"]]
        drawing = bars(pairs, values, y_label="accuracy", line_at=whole["accuracy"])
        figures.append(drawing_of("lesions-swaps", drawing, "two neighbours exchanged"))
    return [Group(figures=figures)]


def _landscape(found: Found, photos: Sequence[PhotoLike]) -> list[Group]:
    figures = []
    if "line" in found:
        drawing = curves(found["line_at"].tolist(), {"": finite(found["line"]).tolist()}, x_label="along direction 1",
                         y_label="loss (nats)")  # fmt: skip
        figures.append(drawing_of("landscape-line", drawing, f"{found['images']} images"))
    if "values" in found:
        done = int((~np.isnan(found["values"])).sum())
        drawing = contours(found["at"], found["at"], finite(found["values"]), label="loss (nats)")
        figures.append(drawing_of("landscape", drawing, f"{done} of {found['values'].size} points"))
    return [Group(figures=figures)] if figures else []


def _history(found: Found, photos: Sequence[PhotoLike]) -> list[Group]:
    figures = []
    for quantity, layers in found["quantities"].items():
        y_label, log = HISTORIES[quantity]
        names = spread_over(list(layers), HISTORY_LAYERS)
        values = {name: numbers(layers[name]) for name in names}
        drawing = curves(found["steps"], values, x_label="step", y_label=y_label, log=log)
        label = f"{len(names)} of {len(layers)}, from the image to the answer" if len(names) < len(layers) else ""
        figures.append(drawing_of(f"history-{file_name(quantity)}", drawing, label))
    return [Group(figures=figures)]


def drawing_of(name: str, drawing: Drawing, label: str = "") -> Shown:
    """A chart as a figure of the page."""
    return Shown(name=name, png=drawing.png, svg=drawing.svg, label=label, width=WIDTH)


def spread_over(names: Sequence[str], most: int) -> list[str]:
    """Up to so many of them, evenly spread from the first to the last."""
    count = min(len(names), most)
    return [names[round(index * (len(names) - 1) / max(count - 1, 1))] for index in range(count)]


def numbers(values: Sequence[float | None]) -> list[float]:
    """The values, NaN where there is none."""
    return [np.nan if value is None else value for value in values]


def finite(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """The values, NaN where they are infinite."""
    return np.where(np.isinf(values), np.nan, values)


def _columns(rows: Sequence[Found], name: str, *keys: str) -> tuple[list[str], dict[str, list[float]]]:
    return [str(row[name]) for row in rows], {key: [float(row[key]) for row in rows] for key in keys}


CHARTS: dict[str, Draw] = {
    "judge": _judge,
    "sanity": _sanity,
    "responses": _responses,
    "anatomy": _anatomy,
    "gradients": _gradients,
    "jacobian": _jacobian,
    "paths": _paths,
    "probes": _probes,
    "lesions": _lesions,
    "landscape": _landscape,
    "history": _history,
}
