"""A network is drawn whole: every unit, every shortcut; nothing is cut, covered, loaded or run."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from xml.etree import ElementTree

import pytest

from drawn_nets import HOSTILE, Memory, Unit, hostile, inception, residual, small, vgg
from residuum.report.bars import cost_bars, memory_bars
from residuum.report.network import HEAD, NOT_RUN, WIDTH, boxes, network, stage_colours
from residuum.report.numbers import percent, short
from residuum.report.svg import Vector, pill_width, shortened, text_width

SVG = "{http://www.w3.org/2000/svg}"
NETS = {"residual": residual(), "inception": inception(), "vgg": vgg(), "hostile": hostile(), "nothing": []}
Rectangle = tuple[float, float, float, float]


def root_of(drawing: Vector) -> ElementTree.Element:
    """The drawing, after it was found to be safe and self-contained."""
    root = ElementTree.fromstring(drawing.svg)
    assert drawing.svg.startswith("<svg")
    assert "<script" not in drawing.svg
    for element in root.iter():
        assert element.tag.removeprefix(SVG) in {"svg", "g", "rect", "circle", "path", "text", "title", "desc"}
        for name, value in element.attrib.items():
            assert "href" not in name
            assert not name.startswith("on")
            assert "url(" not in value
            assert "nan" not in value
    return root


def texts(root: ElementTree.Element) -> list[str]:
    return [each.text or "" for each in root.iter(f"{SVG}text")]


def labelled(root: ElementTree.Element, label: str) -> list[ElementTree.Element]:
    return [each for each in root.iter(f"{SVG}g") if label in each.get("class", "").split()]


def extent(text: ElementTree.Element) -> Rectangle:
    """Left, top, right and bottom of a text, by the widest of the usual fonts."""
    size, x, y = (float(text.get(name, "")) for name in ("font-size", "x", "y"))
    width = text_width(text.text or "", size, bold=text.get("font-weight") == "600")
    left = x - {"end": width, "middle": width / 2}.get(text.get("text-anchor", ""), 0.0)
    return left, y - 0.72 * size, left + width, y + 0.2 * size


def require_readable(root: ElementTree.Element) -> None:
    """All texts within the drawing, and none over another."""
    width, height = float(root.get("width", "")), float(root.get("height", ""))
    places = [(each.text, extent(each)) for each in root.iter(f"{SVG}text") if each.text]
    for text, (left, top, right, bottom) in places:
        assert left >= -0.01, text
        assert right <= width + 0.01, text
        assert top >= 0, text
        assert bottom <= height, text
    for (a, one), (b, other) in combinations(places, 2):
        apart = one[2] <= other[0] + 0.01 or other[2] <= one[0] + 0.01 or one[3] <= other[1] or other[3] <= one[1]
        assert apart, f"{a!r} and {b!r} cover each other"


@pytest.mark.parametrize("name", NETS)
def test_all_texts_have_room(name: str) -> None:
    for drawing in (network(NETS[name], title=HOSTILE), cost_bars(NETS[name])):
        root = root_of(drawing)
        assert root.get("viewBox", "").startswith(f"0 0 {WIDTH:g} ")
        require_readable(root)


@pytest.mark.parametrize("name", NETS)
def test_every_unit_is_in_one_box_and_every_box_is_drawn(name: str) -> None:
    units = NETS[name]
    found = boxes(units)
    assert sorted(each.name for box in found for each in box.units) == sorted(each.name for each in units)
    for quantity in ("parameters", "macs", "activation_bytes"):
        assert sum(box.total(quantity) for box in found) == sum(getattr(each, quantity) for each in units)
    drawn = labelled(root_of(network(units)), "unit")
    assert len(drawn) == len(found)
    for element, box in zip(drawn, found, strict=True):
        title = element.findtext(f"{SVG}title") or ""
        for unit in box.units:
            assert unit.name.replace("\x00", "\ufffd") in title, "in full for who points at it"
        outline = max(element.iter(f"{SVG}rect"), key=lambda each: float(each.get("height", "")))
        top, bottom = float(outline.get("y", "")), float(outline.get("y", "")) + float(outline.get("height", ""))
        for text in element.iter(f"{SVG}text"):
            assert top < extent(text)[1] < extent(text)[3] < bottom, f"{text.text} lies in its box"


def test_layers_that_change_no_shape_are_written_into_the_box_before_them() -> None:
    assert len(boxes(vgg())) == 22, "input, 13 convolutions, 5 poolings, 3 linear layers"
    assert [len(box.units) for box in boxes(residual())] == [1, 3, 1, 1, 1, 1, 1, 2, 1]
    assert {"BatchNorm2d", "relu", "Dropout"} <= set(texts(root_of(network(residual()))))


def test_a_small_layer_is_never_written_into_a_repeated_block_or_one_that_it_follows_with_another_shape() -> None:
    last = small("bn_last", "BatchNorm2d", "normalisation", (1, 256, 56, 56))
    block = Unit(name="layer1.0", shortcut="identity", output_shape=(1, 256, 56, 56))
    for before in (
        block,
        replace(block, shortcut="", repeats=3),
        replace(block, shortcut="", output_shape=(1, 8, 9, 9)),
    ):
        assert len(boxes([before, last])) == 2
    assert len(boxes([replace(block, shortcut=""), last])) == 1
    assert len(boxes([replace(block, shortcut=""), replace(last, macs=5)])) == 2


@pytest.mark.parametrize(
    ("shortcut", "dashes", "mark"),
    [("identity", "none", ""), ("padded", "1.5 3.5", "pad"), ("projection", "6 3", "1x1")],
)
def test_shortcuts_are_arcs_from_above_a_block_to_an_addition_below_it(shortcut: str, dashes: str, mark: str) -> None:
    root = root_of(network([Unit(name="block", details=("3x3, 64",), shortcut=shortcut), Unit(name="next")]))
    (arc,) = labelled(root, "shortcut")
    assert arc.get("class") == f"shortcut {shortcut}"
    fork, plus = arc.findall(f"{SVG}circle")
    box = next(labelled(root, "unit")[0].iter(f"{SVG}rect"))
    top = float(box.get("y", ""))
    assert float(fork.get("cy", "")) < top < top + float(box.get("height", "")) < float(plus.get("cy", ""))
    assert arc.findall(f"{SVG}path")[0].get("stroke-dasharray") == dashes
    assert texts(arc) == ([mark] if mark else [])


def test_each_block_with_a_shortcut_has_its_arc_and_others_have_none() -> None:
    kinds = [each.get("class") for each in labelled(root_of(network(residual())), "shortcut")]
    assert kinds == [f"shortcut {unit.shortcut}" for unit in residual() if unit.shortcut]
    assert not labelled(root_of(network(vgg())), "shortcut")


def test_the_legend_explains_what_occurs_and_nothing_else() -> None:
    shown = texts(root_of(network(residual())))
    assert {"identity shortcut", "padded shortcut", "projection shortcut", "repeated, totals of all"} <= set(shown)
    assert not any("shortcut" in each or "repeated" in each for each in texts(root_of(network(vgg()))))


def test_repeated_units_are_a_stack_with_their_number() -> None:
    root = root_of(network(residual(35)))
    assert "Bottleneck x 35" in texts(root)
    assert "layer1.1 to 35" in texts(root)
    stacked = [len(each.findall(f".//{SVG}rect[@rx='5']")) for each in labelled(root, "unit")]
    assert sorted(stacked) == [1] * 8 + [3]


def test_branches_stand_side_by_side() -> None:
    root = root_of(network(inception(4)))
    module = labelled(root, "unit")[1]
    details = [each for each in module.iter(f"{SVG}text") if "128" in (each.text or "")]
    columns: dict[str, list[str]] = {}
    for each in details:
        columns.setdefault(each.get("x", ""), []).append(each.text or "")
    assert sorted(map(tuple, columns.values())) == sorted(inception(4)[2].branches)
    assert "cat" in texts(module)
    assert "" not in texts(module)


def test_what_only_training_uses_comes_last() -> None:
    found = boxes(inception())
    assert [box.unit.name for box in found][-1] == "aux1"
    assert found[-1].stage == NOT_RUN
    shown = texts(root_of(network(inception())))
    assert shown.index(NOT_RUN) > shown.index("inception3b")


def test_bands_are_sizes_of_map() -> None:
    names = list(dict.fromkeys(box.stage for box in boxes(vgg())))
    assert names == ["224x224", "112x112", "56x56", "28x28", "14x14", "7x7", HEAD]
    shown = [each for each in texts(root_of(network(vgg()))) if each.startswith("map ")]
    assert shown == [f"map {name}" for name in names[:-1]]
    colours = stage_colours(boxes(vgg()))
    assert len(set(colours.values())) == len(colours)


def test_a_gate_between_maps_belongs_to_the_map_before_it() -> None:
    shapes = [(1, 8, 32, 32), (1, 8, 1, 1), (1, 8, 16, 16), (1, 8, 1, 1), (1, 10)]
    found = boxes([Unit(name=f"n{at}", output_shape=shape) for at, shape in enumerate(shapes)])
    assert [box.stage for box in found] == ["32x32", "32x32", "16x16", HEAD, HEAD]


def test_a_deep_net_fits_two_screens_of_a_phone() -> None:
    details = ("1x1, 64", "3x3, 64", "1x1, 256")
    blocks = [
        Unit(name=f"layer{at}", kind="Bottleneck", details=details, shortcut="identity", repeats=9, last_name="x",
             output_shape=(1, 256, 56 >> at // 2, 56 >> at // 2))
        for at in range(8)
    ]  # fmt: skip
    assert float(root_of(network([*residual()[:5], *blocks, *residual()[-3:]])).get("height", "")) < 2 * 750


@pytest.mark.parametrize("name", ["residual", "vgg", "inception"])
def test_bars_show_each_box_and_add_up(name: str) -> None:
    rows = labelled(root_of(cost_bars(NETS[name])), "row")
    found = [box for box in boxes(NETS[name]) if any(map(box.total, ("macs", "parameters", "activation_bytes")))]
    assert [texts(row)[0] for row in rows] == [box.name for box in found]
    shares = [[each for each in texts(row) if each.endswith("%")] for row in rows]
    assert {len(each) for each in shares} == {3}
    for column in zip(*shares, strict=True):
        assert sum(float(each.strip("<% ")) for each in column) == pytest.approx(100, abs=0.05 * len(found) + 0.1)


def test_bars_are_as_long_as_their_shares() -> None:
    units = [Unit(name="a", macs=3000, parameters=100), Unit(name="b", macs=1000, parameters=100)]
    rows = labelled(root_of(cost_bars(units)), "row")
    lengths = [[float(each.get("width", "")) for each in row.iter(f"{SVG}rect")] for row in rows]
    assert lengths[0][0] == pytest.approx(3 * lengths[1][0], rel=1e-3)
    assert lengths[0][1] == lengths[1][1] == pytest.approx(lengths[0][0] * 50 / 75, rel=1e-3)


@pytest.mark.parametrize(
    "memory",
    [
        Memory(),
        Memory(training_peak=0),
        Memory(training_peak=9000),
        Memory(forward_peak=0, parameters=0, buffers=0),
        Memory(forward_peak=0, parameters=0, buffers=0, input=0, training_peak=0),
        Memory(training_peak_at=HOSTILE * 9, forward_peak_at="특징" * 99),
    ],
)
def test_memory_bars(memory: Memory) -> None:
    root = root_of(memory_bars(memory))
    require_readable(root)
    assert ("training step" in texts(root)) == bool(memory.training_peak)
    for rect in root.iter(f"{SVG}rect"):
        assert float(rect.get("x", 0)) + float(rect.get("width", "")) <= WIDTH + 0.01


def test_the_parts_of_memory_are_as_long_as_their_bytes() -> None:
    bars = [each for each in root_of(memory_bars(Memory())).iter(f"{SVG}rect") if each.get("height") == "22"]
    widths = [float(each.get("width", "")) for each in bars]
    unit = widths[0] / 4100
    assert widths == pytest.approx([size * unit for size in (4100, 1900, 4100, 4000, 4000, 3600)], rel=1e-4)


@pytest.mark.parametrize(("value", "written"), [(0, "0"), (7, "7"), (999, "999"), (1000, "1.00 k"), (9999, "10.0 k"),
                         (60_192_808, "60.2 M"), (999_999, "1.00 M"), (11_513_626_624, "11.5 G"), (138e6, "138 M"),
                         (2.5e12, "2.50 T"), (25_557_032, "25.6 M")])  # fmt: skip
def test_short_numbers(value: float, written: str) -> None:
    assert short(value) == written


@pytest.mark.parametrize(("part", "whole", "written"), [(0, 5, "0 %"), (1, 10**6, "<0.1 %"), (1, 3, "33.3 %"),
                         (5, 5, "100 %"), (99_999, 100_000, ">99.9 %"), (0, 0, "0 %"), (1, 1000, "0.1 %")])  # fmt: skip
def test_percent(part: int, whole: int, written: str) -> None:
    assert percent(part, whole) == written


@pytest.mark.parametrize("text", ["conv1", "W" * 50, "개" * 30, "", "features.0"])
@pytest.mark.parametrize("room", [20.0, 60.0, 400.0])
def test_shortened_texts_fit(text: str, room: float) -> None:
    found = shortened(text, 12, room)
    assert text_width(found, 12) <= room
    assert found == text or (found.endswith("…") and text.startswith(found[:-1]))
    assert pill_width(text, 9.5) > text_width(text, 9.5)
