"""What is drawn of each part of an inspection: from named values and arrays to groups of figures and tables.

A part that was ended early has found less: what is there is drawn.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from residuum.report.charts import Span, bars, contours, curves, hills, scatter, series, spans
from residuum.report.figures import Drawing
from residuum.report.page import Table
from residuum.report.pictures import (
    Picture,
    as_colour,
    contact_sheet,
    enlarged,
    enlarged_heat,
    filter_tiles,
    framed,
    map_tile,
    normalised_tile,
    overlaid,
    png,
    signed_tile,
)

PHOTO, SHEET = 240, 280  # pixels on the page: a photo, a contact sheet; two of each stand in a row
TILE = 96  # pixels of a tile in the file
METHODS = {
    "gradcam": "Grad-CAM",
    "gradcam++": "Grad-CAM++",
    "layercam": "Layer-CAM",
    "integrated_gradients": "integrated gradients",
    "occlusion": "occlusion",
    "pca": "PCA",
    "tsne": "t-SNE",
}
HISTORY_LAYERS = 4  # that are drawn over the steps of a training: as many as can be told apart in grey
HISTORIES = {  # label of the axis, and whether it is logarithmic
    "response_std": ("std of responses", False),
    "gradient_norm": ("|dL/dW|", True),
    "residual_ratio": ("|F(x)| / |x|", False),
}
Found = Mapping[str, Any]


class PhotoLike(Protocol):
    """A photo as the net sees it; see `residuum.inspection.subject.Photo`."""

    @property
    def name(self) -> str: ...
    @property
    def pixels(self) -> NDArray[np.uint8]: ...
    @property
    def answers(self) -> Sequence[tuple[str, float]]: ...


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One figure: a file of its own and a place on the page.

    Attributes:
        name: of the file, without its suffix.
        png: the file.
        svg: shown on the page in place of the PNG, where there is one.
        label: what it is, in a few words.
        width: pixels it takes on the page at most.
    """

    name: str
    png: bytes
    svg: str = ""
    label: str = ""
    width: int = SHEET


@dataclass(frozen=True, kw_only=True)
class Group:
    """Figures that stand side by side, under a heading where there is more than one group; tables below."""

    title: str = ""
    note: str = ""
    figures: Sequence[Shown] = ()
    tables: Sequence[Table] = field(default_factory=tuple)


def groups(part: str, found: Found, photos: Sequence[PhotoLike]) -> list[Group]:
    """What there is to see of a part; nothing where it found nothing."""
    return DRAWN[part](found, photos) if found else []


def photo_figures(photos: Sequence[PhotoLike]) -> list[Shown]:
    """The photos with the answers of the net."""
    return [
        Shown(name=f"photo-{number}", png=png(_photo(photo)), label=_answers(photo), width=PHOTO)
        for number, photo in enumerate(photos, start=1)
    ]


def _photo(photo: PhotoLike) -> Picture:
    return enlarged(as_colour(photo.pixels), PHOTO)


def _answers(photo: PhotoLike) -> str:
    said = ", ".join(f"{name} {_percent(value)}" for name, value in photo.answers)
    return f"{photo.name}: {said}" if said else photo.name


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _title(photo: PhotoLike) -> str:
    return f"{photo.name}: {photo.answers[0][0]} {_percent(photo.answers[0][1])}" if photo.answers else photo.name


def _drawing(name: str, drawing: Drawing, label: str = "", width: int = 470) -> Shown:
    return Shown(name=name, png=drawing.png, svg=drawing.svg, label=label, width=width)


def _filters(found: Found, photos: Sequence[PhotoLike]) -> list[Group]:
    tiles = filter_tiles(found["kernels"])
    count, channels, height, width = found["kernels"].shape
    sheet = png(contact_sheet(tiles, columns=8 if count < 100 else 12, side=72))
    label = f"{found['layer']}: {count} filters of {height}x{width} on {channels} channels"
    return [Group(figures=[Shown(name="filters", png=sheet, label=label, width=640)])]


def _activations(found: Found, photos: Sequence[PhotoLike]) -> list[Group]:
    drawn = []
    for number, (photo, layers) in enumerate(zip(photos, found["photos"], strict=False), start=1):
        figures = []
        for each in layers:
            stem = f"activations-{number}-{_file(each['layer'])}"
            size = "x".join(map(str, each["maps"].shape[1:]))
            sheet = contact_sheet([map_tile(one) for one in each["maps"]], columns=4, side=TILE)
            label = f"{each['layer']}: maps of {size}, channels {', '.join(map(str, each['channels'][:4]))}, ..."
            figures.append(Shown(name=stem, png=png(sheet), label=label, width=SHEET))
            if each["boxes"]:
                figures.append(_strongest(stem, photo, each))
        drawn.append(Group(title=_title(photo), figures=figures))
    return drawn


def _strongest(stem: str, photo: PhotoLike, layer: Found) -> Shown:
    """The strongest map of a layer laid over the photo, with a frame around what its peak sees."""
    base, peak = _photo(photo), layer["maps"][0]
    shares = np.clip(peak, 0, None) / max(float(peak.max()), 1e-12)
    heat = enlarged_heat(shares.astype(np.float32), (base.shape[0], base.shape[1]))
    box, scale = layer["boxes"][0], base.shape[0] // photo.pixels.shape[0]
    size = f"{box[2] - box[0]}x{box[3] - box[1]}"
    label = f"{layer['layer']}, channel {layer['channels'][0]}: its peak sees {size} pixels"
    picture = framed(overlaid(base, heat), box, scale=scale)
    return Shown(name=f"{stem}-over", png=png(picture), label=label, width=PHOTO)


def _heat(photo: PhotoLike, heat: NDArray[np.float32]) -> Picture:
    base = _photo(photo)
    return overlaid(base, enlarged_heat(heat, (base.shape[0], base.shape[1])))


def _cam(found: Found, photos: Sequence[PhotoLike]) -> list[Group]:
    drawn = []
    for number, (photo, maps) in enumerate(zip(photos, found["photos"], strict=False), start=1):
        figures = [Shown(name=f"photo-{number}", png=png(_photo(photo)), label=photo.name, width=PHOTO)]
        for each in maps:
            name, label = f"cam-{number}-{_file(each['method'])}", f"{METHODS[each['method']]} at {each['layer']}"
            figures.append(Shown(name=name, png=png(_heat(photo, each["overlay"])), label=label, width=PHOTO))
        drawn.append(Group(title=_title(photo), figures=figures))
    return drawn


def _attribution(found: Found, photos: Sequence[PhotoLike]) -> list[Group]:
    drawn = []
    for number, (photo, maps) in enumerate(zip(photos, found["photos"], strict=False), start=1):
        figures = []
        for each in maps:
            error = each["completeness_error"]
            label = METHODS[each["method"]] + (f", adds up to within {_percent(error)}" if error is not None else "")
            picture = enlarged(signed_tile(each["map"]), PHOTO)
            figures.append(Shown(name=f"{_file(each['method'])}-{number}", png=png(picture), label=label, width=PHOTO))
        drawn.append(Group(title=_title(photo), figures=figures))
    return drawn


def _judge(found: Found, photos: Sequence[PhotoLike]) -> list[Group]:
    rows, figures = [], []
    for number, (photo, judged) in enumerate(zip(photos, found["photos"], strict=False), start=1):
        rows.append(
            [
                _title(photo),
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
        figures.append(_drawing(f"judge-{number}", drawing, photo.name))
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
        Group(figures=[_drawing("sanity", drawing, f"{photos[0].name}; random from the left on" if photos else "")])
    ]


def _responses(found: Found, photos: Sequence[PhotoLike]) -> list[Group]:
    names, values = _columns(found["layers"], "layer", "std")
    return [Group(figures=[_drawing("responses", series(names, {"std": values["std"]}, y_label="std of responses"))])]


def _anatomy(found: Found, photos: Sequence[PhotoLike]) -> list[Group]:
    names, values = _columns(found["blocks"], "name", "ratio", "cosine", "distance_from_identity")
    sizes = {"|F(x)| / |x|": values["ratio"], "distance from identity": values["distance_from_identity"]}
    figures = [
        _drawing("anatomy-ratio", series(names, sizes, y_label="share of |x|", line_at=1)),
        _drawing("anatomy-cosine", series(names, {"cosine": values["cosine"]}, y_label="cosine(x, F(x))", line_at=0)),
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
    figures = [_drawing("gradients-layers", drawing, "gradient of each layer's weights")]
    if found.get("blocks"):
        names, values = _columns(found["blocks"], "block", "whole", "identity", "residual")
        named = {"whole": values["whole"], "by the shortcut": values["identity"], "by F": values["residual"]}
        drawing = series(names, named, y_label="|dL/dx|", log=True)
        figures.append(_drawing("gradients-blocks", drawing, "gradient at each block's input"))
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
    heads = ("block", "largest before ReLU", "smallest", "largest after it", "smallest", "dead rows")
    table = Table(heads, rows, numeric=range(1, len(heads)))
    return [Group(figures=[_drawing("jacobian", drawing)], tables=[table])]


def _span(spectrum: Found) -> Span:
    return Span(spectrum["smallest_at_most"], spectrum["largest"], open=spectrum["smallest"] is None)


def _ends(spectrum: Found) -> list[str]:
    smallest = spectrum["smallest"]
    least = f"{smallest:.3g}" if smallest is not None else f"at most {spectrum['smallest_at_most']:.2g}"
    return [f"{spectrum['largest']:.3g}", least]


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
    return [Group(figures=[_drawing("paths", drawing, label), _drawing("paths-single", alone)])]


def _power(count: int) -> str:
    return f"{count:,}" if count < 10**6 else f"2^{math.log2(count):.0f}"


def _maximised(found: Found, photos: Sequence[PhotoLike]) -> list[Group]:
    figures = []
    for layer, images in groupby(found["images"], key=lambda each: str(each["layer"])):
        own = list(images)
        sheet = contact_sheet([normalised_tile(each["image"]) for each in own], columns=2, side=160)
        label = f"{layer}: channels {', '.join(str(each['channel']) for each in own)}"
        figures.append(Shown(name=f"maximised-{_file(layer)}", png=png(sheet), label=label, width=330))
    return [Group(figures=figures)]


def _patches(found: Found, photos: Sequence[PhotoLike]) -> list[Group]:
    figures = []
    for each in found["layers"]:
        tiles = [as_colour(tile) for row in each["tiles"] for tile in row]
        sheet = contact_sheet(tiles, columns=each["images"].shape[1], side=64)
        label = f"{each['layer']}: channels {', '.join(map(str, each['channels']))}, one in each row"
        figures.append(Shown(name=f"patches-{_file(each['layer'])}", png=png(sheet), label=label, width=560))
    return [Group(figures=figures)]


def _probes(found: Found, photos: Sequence[PhotoLike]) -> list[Group]:
    figures = []
    if found.get("probes"):
        names, values = _columns(found["probes"], "layer", "accuracy", "chance")
        drawing = series(names, {"accuracy": values["accuracy"]}, y_label="accuracy", line_at=values["chance"][0])
        figures.append(_drawing("probes", drawing, f"judged by {found['probes'][0]['test_images']} images"))
    for method, each in found.get("embeddings", {}).items():
        explained = each["explained"]
        kept = f", {_percent(sum(explained))} of the variance" if explained else ""
        drawing = scatter(each["points"], each["labels"], found["class_names"])
        figures.append(_drawing(f"embedding-{method}", drawing, METHODS[method] + kept))
    return [Group(figures=figures)]


def _lesions(found: Found, photos: Sequence[PhotoLike]) -> list[Group]:
    if "lesions" not in found:
        return []
    whole, *rest = found["lesions"]
    names, accuracy = [each["removed"][0] for each in rest], [each["accuracy"] for each in rest]
    drawing = bars(names, accuracy, y_label="accuracy", line_at=whole["accuracy"])
    label = f"without one block; the whole net: {_percent(whole['accuracy'])} of {whole['images']:,} images"
    figures = [_drawing("lesions", drawing, label)]
    if found.get("several"):
        numbers = [1, *sorted({len(each["removed"]) for each in found["several"]})]
        means = [
            float(np.mean([each["accuracy"] for each in [*rest, *found["several"]] if len(each["removed"]) == number]))
            for number in numbers
        ]
        drawing = bars(list(map(str, numbers)), means, y_label="mean accuracy", line_at=whole["accuracy"])
        figures.append(_drawing("lesions-several", drawing, "without so many blocks, drawn by chance"))
    if found.get("swaps"):
        pairs = [" and ".join(each["swapped"][0]) for each in found["swaps"]]
        values = [each["accuracy"] for each in found["swaps"]]
        drawing = bars(pairs, values, y_label="accuracy", line_at=whole["accuracy"])
        figures.append(_drawing("lesions-swaps", drawing, "two neighbours exchanged"))
    return [Group(figures=figures)]


def _landscape(found: Found, photos: Sequence[PhotoLike]) -> list[Group]:
    figures = []
    if "line" in found:
        drawing = curves(found["line_at"].tolist(), {"": finite(found["line"]).tolist()}, x_label="along direction 1",
                         y_label="loss (nats)")  # fmt: skip
        figures.append(_drawing("landscape-line", drawing, f"{found['images']} images"))
    if "values" in found:
        done = int((~np.isnan(found["values"])).sum())
        drawing = contours(found["at"], found["at"], finite(found["values"]), label="loss (nats)")
        figures.append(_drawing("landscape", drawing, f"{done} of {found['values'].size} points"))
    return [Group(figures=figures)] if figures else []


def _history(found: Found, photos: Sequence[PhotoLike]) -> list[Group]:
    figures = []
    for quantity, layers in found["quantities"].items():
        y_label, log = HISTORIES[quantity]
        names = spread_over(list(layers), HISTORY_LAYERS)
        values = {name: numbers(layers[name]) for name in names}
        drawing = curves(found["steps"], values, x_label="step", y_label=y_label, log=log)
        label = f"{len(names)} of {len(layers)}, from the image to the answer" if len(names) < len(layers) else ""
        figures.append(_drawing(f"history-{_file(quantity)}", drawing, label))
    return [Group(figures=figures)]


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


def value_limits(surfaces: Sequence[NDArray[np.floating]]) -> tuple[float, float] | None:
    """The smallest and the largest of all values that are numbers."""
    values = np.concatenate([surface[~np.isnan(surface)] for surface in surfaces]) if surfaces else np.zeros(0)
    return (float(values.min()), float(values.max())) if values.size else None


def _columns(rows: Sequence[Found], name: str, *keys: str) -> tuple[list[str], dict[str, list[float]]]:
    return [str(row[name]) for row in rows], {key: [float(row[key]) for row in rows] for key in keys}


def _file(name: str) -> str:
    """A name as part of the name of a file."""
    return "".join(each if each.isascii() and each.isalnum() else "-" for each in name.replace("++", "-pp"))


DRAWN: dict[str, Callable[[Found, Sequence[PhotoLike]], list[Group]]] = {
    "filters": _filters,
    "activations": _activations,
    "cam": _cam,
    "responses": _responses,
    "anatomy": _anatomy,
    "gradients": _gradients,
    "attribution": _attribution,
    "judge": _judge,
    "sanity": _sanity,
    "jacobian": _jacobian,
    "paths": _paths,
    "maximised": _maximised,
    "probes": _probes,
    "patches": _patches,
    "lesions": _lesions,
    "landscape": _landscape,
    "history": _history,
}
