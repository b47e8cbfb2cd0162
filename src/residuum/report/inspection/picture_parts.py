"""The parts of an inspection that are pictures: filters, maps, heat over photos, images made for a channel.

A part that was ended early has found less: what is there is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from residuum.report.inspection.pictures import (
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
from residuum.report.inspection.shown import (
    METHODS,
    PHOTO,
    SHEET,
    Draw,
    Found,
    Group,
    PhotoLike,
    Shown,
    file_name,
    percent,
    photo_title,
)

TILE = 96  # pixels of a tile in the file


def photo_figures(photos: Sequence[PhotoLike]) -> list[Shown]:
    """The photos with the answers of the net."""
    return [
        Shown(name=f"photo-{number}", png=png(_photo(photo)), label=_answers(photo), width=PHOTO)
        for number, photo in enumerate(photos, start=1)
    ]


def _photo(photo: PhotoLike) -> Picture:
    return enlarged(as_colour(photo.pixels), PHOTO)


def _answers(photo: PhotoLike) -> str:
    said = ", ".join(f"{name} {percent(value)}" for name, value in photo.answers)
    return f"{photo.name}: {said}" if said else photo.name


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
            stem = f"activations-{number}-{file_name(each['layer'])}"
            size = "x".join(map(str, each["maps"].shape[1:]))
            sheet = contact_sheet([map_tile(one) for one in each["maps"]], columns=4, side=TILE)
            label = f"{each['layer']}: maps of {size}, channels {', '.join(map(str, each['channels'][:4]))}, ..."
            figures.append(Shown(name=stem, png=png(sheet), label=label, width=SHEET))
            if each["boxes"]:
                figures.append(_strongest(stem, photo, each))
        drawn.append(Group(title=photo_title(photo), figures=figures))
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
            name, label = f"cam-{number}-{file_name(each['method'])}", f"{METHODS[each['method']]} at {each['layer']}"
            figures.append(Shown(name=name, png=png(_heat(photo, each["overlay"])), label=label, width=PHOTO))
        drawn.append(Group(title=photo_title(photo), figures=figures))
    return drawn


def _attribution(found: Found, photos: Sequence[PhotoLike]) -> list[Group]:
    drawn = []
    for number, (photo, maps) in enumerate(zip(photos, found["photos"], strict=False), start=1):
        figures = []
        for each in maps:
            error = each["completeness_error"]
            label = METHODS[each["method"]] + (f", adds up to within {percent(error)}" if error is not None else "")
            picture = enlarged(signed_tile(each["map"]), PHOTO)
            figures.append(
                Shown(name=f"{file_name(each['method'])}-{number}", png=png(picture), label=label, width=PHOTO)
            )
        drawn.append(Group(title=photo_title(photo), figures=figures))
    return drawn


def _maximised(found: Found, photos: Sequence[PhotoLike]) -> list[Group]:
    figures = []
    for layer, images in groupby(found["images"], key=lambda each: str(each["layer"])):
        own = list(images)
        sheet = contact_sheet([normalised_tile(each["image"]) for each in own], columns=2, side=160)
        label = f"{layer}: channels {', '.join(str(each['channel']) for each in own)}"
        figures.append(Shown(name=f"maximised-{file_name(layer)}", png=png(sheet), label=label, width=330))
    return [Group(figures=figures)]


def _patches(found: Found, photos: Sequence[PhotoLike]) -> list[Group]:
    figures = []
    for each in found["layers"]:
        tiles = [as_colour(tile) for row in each["tiles"] for tile in row]
        sheet = contact_sheet(tiles, columns=each["images"].shape[1], side=64)
        label = f"{each['layer']}: channels {', '.join(map(str, each['channels']))}, one in each row"
        figures.append(Shown(name=f"patches-{file_name(each['layer'])}", png=png(sheet), label=label, width=560))
    return [Group(figures=figures)]


PICTURES: dict[str, Draw] = {
    "filters": _filters,
    "activations": _activations,
    "cam": _cam,
    "attribution": _attribution,
    "maximised": _maximised,
    "patches": _patches,
}
