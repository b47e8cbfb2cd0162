"""The page of an inspection: every part drawn from plain arrays, nothing loaded, hostile names as text."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import page_reader
from page_reader import HOSTILE, Reader, read
from residuum.records.text import LANGUAGES
from residuum.report.figures import Drawing
from residuum.report.inspection import captions
from residuum.report.inspection.captions import CAPTIONS, STATES
from residuum.report.inspection.charts import STYLES, Span, curves, depths, histories, series, spans
from residuum.report.inspection.page import PAGE, TEXT, Beside, PageFacts, inspect_page
from residuum.report.inspection.parts import DRAWN, groups
from residuum.report.inspection.pictures import (
    coloured,
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
from residuum.report.inspection.twins import COMPARED, value_limits

GENERATOR = np.random.default_rng(0)


@dataclass(frozen=True)
class Photo:
    name: str = "cat.jpg"
    pixels: Any = field(default_factory=lambda: GENERATOR.integers(0, 256, (16, 16, 3), dtype=np.uint8))
    answers: Any = (("cat", 0.75), ("dog", 0.25))


@dataclass(frozen=True)
class Outcome:
    name: str
    state: str
    reason: str
    found: Any


def values(*shape: int) -> Any:
    return GENERATOR.normal(size=shape).astype(np.float32)


def spectrum(**changes: Any) -> dict[str, Any]:
    whole = {"largest": 2.0, "smallest": 0.5, "smallest_at_most": 0.5, "residual_norm": 0.0, "dead_rows": 3,
             "rows": 100}  # fmt: skip
    return whole | changes


def spread() -> dict[str, float]:
    return {"mean": 0.4, "std": 0.1}


def found(layer: str = "layer1.0") -> dict[str, dict[str, Any]]:
    """Something for every part, as `residuum.inspection` finds it."""
    judged = {"deletion": 0.2, "insertion": 0.7, "random_deletion": spread(), "random_insertion": spread(),
              "deletion_curve": np.linspace(1, 0, 9), "insertion_curve": np.linspace(0, 1, 9),
              "better": True}  # fmt: skip
    attribution = {"map": values(16, 16), "completeness_error": 0.01}
    lesion = {"accuracy": 0.8, "loss": 1.0, "images": 64}
    embedding = {"points": values(12, 2), "labels": np.arange(12) % 3, "explained": (0.5, 0.2)}
    patch = GENERATOR.integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return {
        "filters": {"layer": layer, "kernels": values(10, 3, 5, 5)},
        "activations": {"photos": [[{"layer": layer, "channels": np.arange(6), "maps": values(6, 4, 4),
                                     "boxes": [(2, 3, 9, 11)] * 6}]]},
        "cam": {"photos": [[{"method": method, "layer": layer, "overlay": np.abs(values(16, 16)).clip(0, 1)}
                            for method in ("gradcam", "gradcam++", "layercam")]]},
        "responses": {"layers": [{"layer": layer, "std": 0.3}, {"layer": "b", "std": 0.2}]},
        "anatomy": {"blocks": [{"name": layer, "shortcut": "identity", "norm_x": 2.0, "norm_f": 1.0, "ratio": 0.5,
                                "cosine": -0.25, "distance_from_identity": 0.5, "response_std": 0.125}]},
        "gradients": {"layers": [{"layer": layer, "norm": 1e-3}, {"layer": "fc", "norm": 0.5}],
                      "blocks": [{"block": layer, "whole": 1.5, "identity": 1.0, "residual": 0.5}]},
        "history": {"steps": [3, 6], "quantities": {"response_std": {layer: [0.3, 0.2], "b": [0.4, None]},
                                                   "gradient_norm": {layer: [0.1, 0.01]}}},
        "attribution": {"photos": [[{"method": "integrated_gradients", **attribution},
                                    {"method": "occlusion", **attribution, "completeness_error": None}]]},
        "judge": {"photos": [judged]},
        "sanity": {"layers": [{"layer": "fc", "correlation": 0.5}, {"layer": layer, "correlation": -0.1}]},
        "jacobian": {"blocks": [{"block": layer, "before": spectrum(),
                                 "after": spectrum(smallest=None, residual_norm=0.0312)}]},
        "paths": {"length": (0, 1, 2), "count": (1, 2, 1),
                  "gradient": {"length": np.arange(3), "share": np.array([0.5, 0.4, 0.1]),
                               "mean": np.array([1.0, 0.1, 0.0])}},
        "maximised": {"images": [{"layer": layer, "channel": 3, "image": values(3, 12, 12)}]},
        "probes": {"class_names": ["a", "b", "c"], "embeddings": {"pca": embedding},
                   "probes": [{"layer": layer, "accuracy": 0.5, "chance": 0.3, "test_images": 16}]},
        "patches": {"layers": [{"layer": layer, "channels": (4, 1), "images": np.zeros((2, 3), dtype=np.int64),
                                "tiles": [[patch] * 3] * 2}]},
        "lesions": {"lesions": [{"removed": (), **lesion}, {"removed": (layer,), **lesion}],
                    "several": [{"removed": (layer, "b"), **lesion}],
                    "swaps": [{"swapped": ((layer, "b"),), **lesion}]},
        "landscape": {"at": np.linspace(-1, 1, 3), "line_at": np.linspace(-1, 1, 5), "images": 64,
                      "line": np.array([3.0, 2.0, 1.0, np.inf, 3.0]),
                      "values": np.array([[3.0, 2, 3], [2, 1, 2], [np.nan, np.nan, np.nan]])},
    }  # fmt: skip


def outcomes(layer: str = "layer1.0") -> list[Outcome]:
    return [Outcome(name, "done", "", each) for name, each in found(layer).items()]


def facts(**changes: Any) -> PageFacts:
    return PageFacts(**{"title": "t", "subtitle": "s", "footer": "f", "languages": ("en",)} | changes)


@pytest.fixture(autouse=True)
def _more_tags(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_reader, "ALLOWED", page_reader.ALLOWED | {"nav", "a", "img", "h3"})


class Pictures(Reader):
    def __init__(self) -> None:
        super().__init__()
        self.images: list[bytes] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        super().handle_starttag(tag, attributes)
        named = dict(attributes)
        if tag == "img":
            assert named["alt"]
            self.images.append(base64.b64decode((named["src"] or "").removeprefix("data:image/png;base64,")))
        if tag == "a":
            self.links.append((named["href"] or "")[1:])
        if not self.svg and "id" in named:
            self.anchors.add(named["id"] or "")


def test_every_part_is_drawn_and_every_picture_is_on_the_page_and_a_file() -> None:
    files = inspect_page(facts(), [Photo()], outcomes())
    html = files.pop(PAGE).decode()
    read(html)
    page = Pictures()
    page.feed(html)
    for caption in CAPTIONS.values():
        assert caption.title.en in "".join(page.text)
        assert caption.reading.en in "".join(page.text)
    assert {Image.open(io.BytesIO(each)).size for each in page.images} <= {
        Image.open(io.BytesIO(each)).size for each in files.values()
    }
    assert set(page.images) <= set(files.values()), "the pictures on the page are those of the files"
    assert all(name.endswith(".png") and re.fullmatch(r"[\w.-]+", name) for name in files)
    assert set(page.links) <= page.anchors
    assert len(page.links) == 1 + len(DRAWN)
    assert page.tags.count("svg") == len([each for each in files.values() if each not in set(page.images)])
    assert "What is not on this page" not in html
    assert "mathdefault" not in html, "numbers at logarithmic axes are plain"


def test_the_tables_have_captions_for_every_part_and_state() -> None:
    from residuum.inspection.inspect import State
    from residuum.inspection.parts import PARTS

    names = [part.name for part in PARTS]
    assert set(names) == set(CAPTIONS) == set(DRAWN) == set(found())
    assert {str(state) for state in State} == set(STATES)


def test_captions_are_short_and_differ_by_language() -> None:
    for name, caption in CAPTIONS.items():
        assert 80 < len(caption.reading.en) < 520, name
        assert 40 < len(caption.reading.ko) < 300, name
        for text in (caption.title.ko, caption.reading.ko):
            assert re.search("[가-힣]", text), name
        assert not re.search("[가-힣]", caption.title.en + caption.reading.en), name
        assert caption.reading.en.endswith(".")
        assert "  " not in caption.reading.en + caption.reading.ko


@pytest.mark.parametrize("languages", [("en",), ("ko",), LANGUAGES])
def test_languages(languages: Any) -> None:
    html = inspect_page(facts(languages=languages), [Photo()], outcomes()[:1])[PAGE].decode()
    caption = CAPTIONS["filters"]
    assert (caption.reading.en in html) == ("en" in languages)
    assert (caption.reading.ko in html) == ("ko" in languages)
    assert f'<html lang="{languages[0]}">' in html
    assert ('<p class="reading" lang="ko">' in html) == ("ko" in languages)


def test_hostile_names_are_text() -> None:
    photo = Photo(name=HOSTILE, answers=((HOSTILE, 1.0),))
    files = inspect_page(
        facts(title=HOSTILE, subtitle=HOSTILE, footer=HOSTILE, unreadable=[HOSTILE]), [photo], outcomes(HOSTILE)
    )
    html = files[PAGE].decode()
    reader = read(html)
    assert "".join(reader.text).count("alert(1)") > 20
    assert all(re.fullmatch(r"[\w.-]+", name) for name in files), [*files]


def test_what_did_not_run_says_why() -> None:
    changed = [
        Outcome("anatomy", "does not apply", "net: is plain", {}),
        Outcome("judge", "failed", "RuntimeError: x", {}),
        Outcome("landscape", "did not fit the time", "ended at step 5 of 9", found()["landscape"]),
    ]
    text = " ".join(read(inspect_page(facts(), [Photo()], changed)[PAGE].decode()).text)
    for expected in ("net: is plain", "does not apply", "RuntimeError: x", "failed", "the time ended first",
                     "not complete: ended at step 5 of 9", "6 of 9 points"):  # fmt: skip
        assert expected in text, expected
    assert CAPTIONS["anatomy"].reading.en not in text


@pytest.mark.parametrize("part", DRAWN)
def test_a_part_that_found_nothing_is_not_drawn(part: str) -> None:
    assert groups(part, {}, [Photo()]) == []
    half = {
        "activations": {"photos": []}, "cam": {"photos": []}, "attribution": {"photos": []}, "judge": {"photos": []},
        "jacobian": {"blocks": []}, "paths": {"length": (0, 1), "count": (1, 1)}, "maximised": {"images": []},
        "patches": {"layers": []}, "probes": {"class_names": []}, "gradients": {"layers": [], "labels": "data"},
        "landscape": {"at": np.zeros(3), "line_at": np.zeros(3), "images": 3},
    }  # fmt: skip
    if part in half:
        assert not [
            figure for group in groups(part, half[part], [Photo()]) for figure in group.figures if not figure.svg
        ]


def test_only_the_first_photos_are_open() -> None:
    maps = found()["cam"]["photos"][0]
    html = inspect_page(facts(), [Photo()] * 5, [Outcome("cam", "done", "", {"photos": [maps] * 5})])[PAGE].decode()
    assert html.count('<details class="more">') == 2


def test_untrained_weights_are_said_to_be_random() -> None:
    html = inspect_page(facts(untrained=["net7"]), [], [])[PAGE].decode()
    assert "net7: random weights. Nothing was trained" in html, "without photos too"
    assert "random weights" not in inspect_page(facts(), [Photo()], [])[PAGE].decode()


def test_a_bound_on_a_singular_value_stands_with_how_near_one_lies() -> None:
    (group,) = groups("jacobian", found()["jacobian"], [])
    assert list(group.tables[0].rows[0]) == ["layer1.0", "2", "0.5", "0", "2", "at most 0.5", "0.03", "3 of 100"]
    assert len(group.tables[0].columns) == 8


def test_two_nets_stand_in_one_figure_and_what_does_not_apply_is_said_of_each() -> None:
    own = {name: each for name, each in found().items() if name in COMPARED}
    first = [
        Outcome("anatomy", "does not apply", "net: is plain, so", {}),
        *(Outcome(name, "done", "", each) for name, each in own.items() if name != "anatomy"),
    ]
    second = [
        *(Outcome(name, "done", "", each) for name, each in own.items() if name != "probes"),
        Outcome("probes", "failed", "RuntimeError: x", {}),
    ]
    files = inspect_page(facts(), [], first, Beside(("plain", HOSTILE), second))
    text = " ".join(read(files[PAGE].decode()).text)
    both = {name.removesuffix(".png") for name in files if "-both" in name}
    assert both == {
        "responses-std-both", "anatomy-ratio-both", "anatomy-cosine-both", "gradients-norm-both",
        "landscape-line-both", "landscape-both-1", "landscape-both-2",
        "history-response_std-both", "history-gradient_norm-both",
    }  # fmt: skip
    assert "does not apply : net: is plain" in text.replace("apply:", "apply :")
    assert f"{HOSTILE}: What each stage already knows (probes)" in text
    alone = inspect_page(facts(), [], first, None)
    assert not [name for name in alone if "both" in name]


def test_two_surfaces_have_the_same_colours_for_the_same_values() -> None:
    surfaces = [np.array([[1.0, np.nan], [3.0, 2.0]]), np.array([[0.5, 9.0], [np.nan, np.nan]])]
    assert value_limits(surfaces) == (0.5, 9.0)
    assert value_limits([np.full((2, 2), np.nan)]) is None
    assert value_limits([]) is None


def test_heads_and_reasons_in_korean() -> None:
    left = [Outcome("cam", "lacks what it needs", "needs an image. Try: residuum inspect MODEL photo.jpg", {}),
            Outcome("sanity", "failed", "RuntimeError: x", {})]  # fmt: skip
    done = [Outcome("anatomy", "done", "", found()["anatomy"]), Outcome("judge", "done", "", found()["judge"])]
    text = " ".join(read(inspect_page(facts(languages=("ko",)), [Photo()], [*done, *left])[PAGE].decode()).text)
    for expected in ("블록", "지름길", "무작위보다 나은가", "예", "사진이 필요합니다. 해 볼 것: residuum inspect",
                     "RuntimeError: x"):  # fmt: skip
        assert expected in text, expected
    both = " ".join(read(inspect_page(facts(languages=LANGUAGES), [Photo()], [*done, *left])[PAGE].decode()).text)
    assert "block / 블록" in both
    assert "needs an image. Try" in both


def test_every_word_in_a_figure_and_under_it_is_explained_in_korean() -> None:
    names = {"layer1.0", "a", "b", "c", "fc", "layer1.0 and b", "1", "2", "one", "two"}
    second = [each for each in outcomes() if each.name in COMPARED]
    for beside in (None, Beside(("one", "two"), second)):
        for outcome in outcomes():
            page = inspect_page(facts(languages=("ko",)), [Photo()] * 2, [outcome], beside)[PAGE].decode()
            inside = {unescape(text) for text in TEXT.findall(page) if re.search("[A-Za-z]{2}", text)} - names
            assert inside <= set(captions.TERMS), outcome.name
            for text in inside:
                assert captions.TERMS[text] in page, text
            under = re.findall('<figcaption>(.*?)</figcaption>|<th(?: class="number")?>(.*?)</th>|<h3>(.*?)</h3>', page)
            for text in ("".join(each) for each in under):
                left = re.sub(
                    r"layer1\.0|cat\.jpg|ReLU|PCA|F\(x\)|Grad-CAM\+*( at)?|Layer-CAM at|one|two|cat|dog", "", text
                )
                assert not re.search("[A-Za-z]{2}", left), text


def test_labels_with_numbers_are_translated_and_names_are_not() -> None:
    assert captions.said("judged by 16 images", ("ko",)) == "이미지 16장으로 판정"
    assert captions.said("resnet20: 12 of 225 points", ("ko",)) == "resnet20: 225점 가운데 12점"
    assert captions.said("judged by 16 images", ("en",)) == "judged by 16 images"
    assert captions.said("64 paths; the mean length by gradient is 2.5 of 6 blocks", ("ko",)).endswith(
        "블록 6개 중 2.5개"
    )
    assert captions.said("cat.jpg", LANGUAGES) == "cat.jpg"


def test_terms_are_explained_only_where_there_is_korean() -> None:
    for languages in (("en",), ("ko",), LANGUAGES):
        responses = Outcome("responses", "done", "", found()["responses"])
        page = inspect_page(facts(languages=languages), [], [responses])[PAGE].decode()
        assert ("그림 속 용어" in page) == ("ko" in languages)


def test_reasons_that_are_translated_are_those_that_are_given() -> None:
    sources = "".join(path.read_text() for path in Path(captions.__file__).parents[1].glob("ins*/*.py"))
    flat = re.sub(r'"\s+f?"', "", sources)
    for beginning in captions.REASONS:
        assert beginning.partition(" when")[0] in flat, beginning


# ----- pictures


def test_filters_have_grey_at_zero_and_the_largest_weight_at_an_end() -> None:
    kernels = np.zeros((1, 3, 2, 2), dtype=np.float32)
    kernels[0, 0, 0, 0], kernels[0, 1, 1, 1] = 2.0, -1.0
    (tile,) = filter_tiles(kernels)
    assert tile.shape == (2, 2, 3)
    assert tile[0, 0].tolist() == [255, 128, 128]
    assert tile[1, 1].tolist() == [128, 64, 128]
    grey = filter_tiles(np.ones((1, 16, 2, 2), dtype=np.float32))[0]
    assert (grey == 255).all()


def test_maps_that_are_constant_or_not_finite_are_drawn() -> None:
    assert (map_tile(np.full((2, 2), 7.0, dtype=np.float32)) == coloured(np.zeros((2, 2)), "viridis")).all()
    assert map_tile(np.array([[np.nan, np.inf]], dtype=np.float32)).shape == (1, 2, 3)
    assert (signed_tile(np.zeros((2, 2), dtype=np.float32)) > 240).all()
    assert normalised_tile(np.zeros((1, 2, 2), dtype=np.float32)).tolist() == [[[128] * 3] * 2] * 2
    signed = signed_tile(np.array([[-1.0, 1.0]], dtype=np.float32))[0].astype(int)
    assert signed[0, 2] > signed[0, 0]
    assert signed[1, 0] > signed[1, 2]


def test_heat_leaves_cold_places_as_they_are() -> None:
    photo = GENERATOR.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    heat = np.zeros((4, 4), dtype=np.float32)
    heat[1, 2] = 1
    laid = overlaid(photo, heat)
    changed = (laid != photo).any(axis=2)
    assert changed[1, 2]
    assert changed.sum() == 1
    wide = enlarged_heat(heat, (8, 8))
    assert wide.shape == (8, 8)
    assert wide.argmax() // 8 in (2, 3)


def test_a_contact_sheet_keeps_order_and_shape() -> None:
    tiles = [np.full((2, 2 + index % 2, 3), 40 * index, dtype=np.uint8) for index in range(5)]
    sheet = contact_sheet(tiles, columns=3, side=10)
    assert sheet.shape == (24, 38, 3)
    assert [int(sheet[5, 5 + 14 * column, 0]) for column in range(3)] == [0, 40, 80]
    assert [int(sheet[19, 5 + 14 * column, 0]) for column in range(2)] == [120, 160]
    assert (sheet[14:, 28:] == 255).all()
    assert sheet[0, 14 + 5, 0] == 255, "a tile that is not square is not stretched"
    with pytest.raises(ValueError, match="at least one"):
        contact_sheet([], columns=3, side=10)


@pytest.mark.parametrize("box", [(2, 3, 6, 8), (-5, -5, 40, 40), (9, 9, 10, 10), (0, 0, 1, 1)])
def test_a_frame_lies_on_the_edge_of_its_box(box: tuple[int, int, int, int]) -> None:
    picture = np.zeros((10, 10, 3), dtype=np.uint8)
    rows, columns = np.nonzero(framed(picture, box).any(axis=2))
    assert (rows.min(), columns.min()) == (max(box[0], 0), max(box[1], 0))
    assert (rows.max(), columns.max()) == (min(box[2], 10) - 1, min(box[3], 10) - 1)
    scaled = framed(enlarged(picture, 20), (2, 3, 6, 8), scale=2)
    assert np.nonzero(scaled.any(axis=2))[0].max() == 11


def test_png_is_lossless() -> None:
    picture = GENERATOR.integers(0, 256, (5, 7, 3), dtype=np.uint8)
    assert (np.asarray(Image.open(io.BytesIO(png(picture)))) == picture).all()
    assert enlarged(picture, 14).shape == (10, 14, 3)
    assert enlarged(picture, 3).shape == (5, 7, 3)


# ----- charts


def dashes(drawing: Drawing) -> list[str]:
    """How each of the coloured lines is broken, or how thick it is where it is not."""
    written = re.findall('style="(fill: none;[^"]*)"', drawing.svg)
    styles = [dict(re.findall(r"([a-z-]+): ([^;]+)", style)) for style in written]
    own = [style for style in styles if style.get("stroke", "").lower() in {each.lower() for each, _, _ in STYLES}]
    return [style.get("stroke-dasharray", style["stroke-width"]) for style in own]


def test_curves_in_one_figure_differ_in_grey() -> None:
    four = {name: [1.0, 2.0, 3.0] for name in "abcd"}
    assert len({line for _, line, _ in STYLES}) == len({marker for _, _, marker in STYLES}) == 4
    for drawing in (
        series(["x", "y", "z"], four, y_label="v"),
        depths(four, y_label="v"),
        curves([0, 1, 2], four, x_label="x", y_label="v"),
    ):
        assert len(set(dashes(drawing))) >= 4
    two = {name: ([0, 1, 2], np.arange(3.0)) for name in "ab"}
    assert len(set(dashes(histories(two, x_label="x", y_label="v")))) >= 2
    both = {name: [Span(0.5, 2.0)] for name in "ab"}
    assert len(set(dashes(spans(["x"], both, y_label="v")))) >= 2
