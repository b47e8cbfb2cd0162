"""A network drawn from its units: boxes in the bands of their sizes of map, shortcuts as arcs, branches side by side.

The drawing is 360 units wide, so that it can be read on a phone; all widths of text are estimated, never measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from math import prod
from typing import Protocol

from residuum.report.cost_tables import NOT_RUN, UnitLike
from residuum.report.numbers import by, short
from residuum.report.svg import (
    INK,
    LINE,
    PAPER,
    SOFT,
    Canvas,
    Layer,
    Vector,
    mixed,
    pill_width,
    shortened,
    text_width,
)

WIDTH = 360.0
LEFT, RIGHT = 10.0, 350.0  # of the boxes
ARC_ROOM = 40.0  # to the right of the boxes where a net has shortcuts
INNER = 9.0  # from the border of a box to what is in it
SIZE, SMALL, TINY = 12.5, 11.0, 9.5  # of text
ROW = 18.5
GAP = 14.0  # between boxes
BAND_HEAD = 24.0
STACK = 3.0  # how far a repeated box lies behind the one before it
MAX_ROWS = 4
FEWEST_WIDTH = 58.0  # of a branch's column

HEAD = "head"
TRIVIAL = ("normalisation", "activation", "addition", "other")
DASHES = {"identity": "none", "altered": "6 3 1.5 3", "padded": "1.5 3.5", "projection": "6 3"}
MARKS = {"altered": "alt", "padded": "pad", "projection": "1x1"}
MEANINGS = {
    "identity": "identity shortcut",
    "altered": "shortcut altered on its way",
    "padded": "padded shortcut",
    "projection": "projection shortcut",
}
# From the largest map to the smallest; what has no map is grey.
STAGE_COLOURS = ("#4a9fd8", "#2f78bd", "#3f5bb0", "#6a4ca3", "#94408d", "#b83a62", "#c9572f")
HEAD_COLOUR, IDLE_COLOUR = "#5b6472", "#a0a7b2"


class DrawnUnit(UnitLike, Protocol):
    """A unit and how data flows in it; see `residuum.costing.fold.Unit`."""

    @property
    def group(self) -> str: ...
    @property
    def branches(self) -> tuple[tuple[str, ...], ...]: ...
    @property
    def shortcut(self) -> str: ...


@dataclass(frozen=True)
class Box:
    """A unit with the small ones after it that change no shape, such as a normalisation."""

    units: tuple[DrawnUnit, ...]
    stage: str

    @property
    def unit(self) -> DrawnUnit:
        return self.units[0]

    @property
    def name(self) -> str:
        """Path of the module; of the first and the last where it is repeated."""
        first, last = self.unit.name, self.unit.last_name
        if self.unit.repeats == 1 or not last:
            return first
        above = first.rpartition(".")[0]
        return f"{first} to {last.removeprefix(above + '.') if above else last}"

    @property
    def branches(self) -> tuple[tuple[str, ...], ...]:
        """Where data flows side by side; nothing where the branches lie outside the unit."""
        return self.unit.branches if any(self.unit.branches) else ()

    def total(self, quantity: str) -> int:
        return sum(getattr(each, quantity) for each in self.units)


def boxes(units: Sequence[DrawnUnit]) -> list[Box]:
    """The boxes of a drawing, in order; what only training uses comes last."""
    running = [unit for unit in units if not unit.idle]
    together: list[list[DrawnUnit]] = []
    for unit in running:
        if together and _joins(together[-1][-1], unit) and _takes(together[-1][0]):
            together[-1].append(unit)
        else:
            together.append([unit])
    stages = _stages([each[0] for each in together])
    drawn = [Box(tuple(each), stage) for each, stage in zip(together, stages, strict=True)]
    return [*drawn, *(Box((unit,), NOT_RUN) for unit in units if unit.idle)]


def _joins(before: DrawnUnit, unit: DrawnUnit) -> bool:
    same = prod(before.output_shape) == prod(unit.output_shape)
    return same and unit.group in TRIVIAL and unit.repeats == 1 and not (unit.macs or unit.details or unit.shortcut)


def _takes(first: DrawnUnit) -> bool:
    """Whether small units may be written into its box: not where that would place them inside a repeated block."""
    return first.repeats == 1 and not first.shortcut and not any(first.branches)


def _stages(units: Sequence[DrawnUnit]) -> list[str]:
    """The size of the map each unit writes; as in `residuum.costing.cost`, what follows the last map is the head."""
    maps = {at for at, unit in enumerate(units) if max(unit.output_shape[2:], default=1) > 1}
    last = max(maps, default=-1)
    names: list[str] = []
    for at, unit in enumerate(units):
        before = names[-1] if names else HEAD
        names.append(HEAD if at > last else by(unit.output_shape[2:]) if at in maps else before)
    return names


def stage_colours(all_boxes: Sequence[Box]) -> dict[str, str]:
    """A colour for each stage, spread over the whole scale."""
    names = [name for name in dict.fromkeys(box.stage for box in all_boxes) if name not in (HEAD, NOT_RUN)]
    steps = max(len(names) - 1, 1)
    found = {name: _on_scale(at / steps) for at, name in enumerate(names)}
    return {**found, HEAD: HEAD_COLOUR, NOT_RUN: IDLE_COLOUR}


def _on_scale(part: float) -> str:
    at = part * (len(STAGE_COLOURS) - 1)
    low = min(int(at), len(STAGE_COLOURS) - 2)
    return mixed(STAGE_COLOURS[low], STAGE_COLOURS[low + 1], at - low)


def network(units: Sequence[DrawnUnit], *, title: str = "The network") -> Vector:
    """The network from top to bottom.

    Args:
        units: of one depth, repeated ones folded; see `residuum.costing.fold`.
        title: what a screen reader calls the drawing.
    """
    all_boxes = boxes(units)
    canvas = Canvas(WIDTH, title=title, description="; ".join(map(_described, all_boxes)))
    bands, flow, front = canvas.layer(), canvas.layer(), canvas.layer()
    arcs = any(box.unit.shortcut for box in all_boxes)
    frame = Frame(flow, front, LEFT, RIGHT - (ARC_ROOM if arcs else 0))
    colours = stage_colours(all_boxes)
    y = _legend(front, all_boxes)
    previous: float | None = None  # where the flow has come to
    for stage, members in groupby(all_boxes, key=lambda box: box.stage):
        top = y
        y += BAND_HEAD
        for box in members:
            if box.unit.idle:
                previous = None
            y, previous = _placed(frame, box, colours[stage], y, previous)
        bands.rect(0.5, top, WIDTH - 1, y - top - 3, rx=8, fill=mixed(colours[stage], PAPER, 0.9))
        label = stage if stage in (HEAD, NOT_RUN) else f"map {stage}"
        front.text(LEFT, top + 15, shortened(label, SMALL, frame.centre - 20, bold=True), SMALL,
                   font_weight=600, fill=mixed(colours[stage], INK, 0.25))  # fmt: skip
        y += 3
    return canvas.finished(y)


@dataclass(frozen=True)
class Frame:
    """Where the boxes of a drawing go: the layers of its lines and of its boxes, the left and the right border."""

    flow: Layer
    front: Layer
    left: float
    right: float

    @property
    def centre(self) -> float:
        return (self.left + self.right) / 2

    @property
    def width(self) -> float:
        return self.right - self.left


def _placed(frame: Frame, box: Box, colour: str, y: float, previous: float | None) -> tuple[float, float]:
    """Draw a box whose room begins at `y`; return where the next one's begins, and where the flow leaves this one."""
    fork = y
    top = y + (8 if box.unit.shortcut else 0)
    bottom = _box(frame, box, colour, top)
    if previous is not None:
        frame.flow.path(f"M{frame.centre:g} {previous:g}V{top:g}")
        frame.flow.path(f"M{frame.centre - 4:g} {top - 6:g}l4 5l4 -5z", fill=LINE, stroke="none")
    if not box.unit.shortcut:
        return bottom + GAP, bottom
    plus = bottom + 14
    frame.flow.path(f"M{frame.centre:g} {bottom:g}V{plus:g}")
    _arc(frame, box.unit.shortcut, fork - 2, plus)
    return plus + 7 + GAP, plus + 7


def _arc(frame: Frame, shortcut: str, start: float, end: float) -> None:
    """From the flow above a block around it to where it is added."""
    x, front, centre = frame.right + 24, frame.front, frame.centre
    arc = front.layer(MEANINGS[shortcut], label=f"shortcut {shortcut}")
    arc.circle(centre, start, 2.5, fill=SOFT)
    arc.path(f"M{centre:g} {start:g}H{x - 10:g}q10 0 10 10V{end - 10:g}q0 10 -10 10H{centre + 12:g}",
             stroke=SOFT, stroke_dasharray=DASHES[shortcut], stroke_width=1.8)  # fmt: skip
    arc.path(f"M{centre + 14:g} {end - 4:g}l-6 4l6 4z", fill=SOFT, stroke="none")
    arc.circle(centre, end, 7, fill=PAPER, stroke=SOFT, stroke_width=1.5)
    arc.path(f"M{centre - 3.5:g} {end:g}h7M{centre:g} {end - 3.5:g}v7", stroke=INK)
    if shortcut in MARKS:
        mark = MARKS[shortcut]
        arc.pill(x - pill_width(mark, TINY) / 2, (start + end) / 2 - 7, mark, TINY)


def _box(frame: Frame, box: Box, colour: str, top: float) -> float:
    """Draw a box and what is in it; return its lower end."""
    unit = box.unit
    group = frame.front.layer(_described(box), label="unit")
    behind = [group.layer() for _ in range(3)]  # filled when the height is known
    rows = _rows(box, frame.width - 2 * INNER)
    y = top + 4
    for row in rows:
        x = frame.left + INNER
        for token in row:
            token.draw(group, x, y)
            x += token.width + Token.GAP
        y += ROW
    group.text(frame.right - INNER, top + 17, _shape(unit, frame.width - 2 * INNER), SIZE, text_anchor="end")
    if box.branches:
        y = _branches(group, frame, box.branches, colour, y)
    y = _last_line(group, frame, box, y)
    style: dict[str, object] = {"rx": 5, "fill": PAPER, "stroke": colour, "stroke_width": 1.3}
    if unit.idle:
        style |= {"fill": "#fafbfc", "stroke_dasharray": "4 3"}
    offsets = (2 * STACK, STACK, 0.0) if unit.repeats > 1 else (0.0,)
    for layer, offset in zip(behind, offsets, strict=False):
        layer.rect(frame.left + offset, top + offset, frame.width, y - top, **style)
    return y + offsets[0]


@dataclass(frozen=True)
class Token:
    """A piece of text on a row of a box: plain, bold, or in a pill."""

    GAP = 6.0

    text: str
    look: str = ""
    fill: str = INK

    @property
    def width(self) -> float:
        return pill_width(self.text, TINY) if self.look == "pill" else text_width(self.text, SIZE, bold=bool(self.look))

    def draw(self, layer: Layer, x: float, y: float) -> None:
        if self.look == "pill":
            layer.pill(x, y + 1.5, self.text, TINY)
        else:
            layer.text(x, y + 13, self.text, SIZE, font_weight=600 if self.look else 400, fill=self.fill)


def _tokens(box: Box, room: float) -> list[list[Token]]:
    """What is written in a box, what belongs together: kind and repeats; details; the small units after it."""
    unit = box.unit
    fill = SOFT if unit.idle else INK
    times = f" x {unit.repeats}" if unit.repeats > 1 else ""
    kind = shortened(unit.kind, SIZE, room / 2, bold=True) + times
    details = () if box.branches else unit.details
    parts = [shortened(each, SIZE, room - 12) + " /" for each in details[:-1]]
    parts += [shortened(each, SIZE, room) for each in details[-1:]]
    whole = " ".join(parts)
    return [
        [Token(kind, "bold", fill)],
        [Token(part, fill=fill) for part in ([whole] if whole and text_width(whole, SIZE) <= room else parts)],
        [Token(shortened(each.kind, TINY, room / 2), "pill") for each in box.units[1:]],
    ]


def _rows(box: Box, room: float) -> list[list[Token]]:
    """Tokens in rows; the first row leaves room for the output shape, and what is too much is counted."""
    rows: list[list[Token]] = [[]]
    left = room - text_width(_shape(box.unit, room), SIZE) - Token.GAP
    for group in filter(None, _tokens(box, room)):
        if rows[-1] and (_width(group) > left or (group[0].look == "" and len(box.unit.details) > 1)):
            rows.append([])
            left = room
        for token in group:
            if rows[-1] and token.width > left:
                rows.append([])
                left = room
            rows[-1].append(token)
            left -= token.width + Token.GAP
    if len(rows) <= MAX_ROWS:
        return rows
    return [*rows[: MAX_ROWS - 1], [Token(f"and {sum(map(len, rows[MAX_ROWS - 1 :]))} more", fill=SOFT)]]


def _width(tokens: Sequence[Token]) -> float:
    return sum(token.width + Token.GAP for token in tokens) - Token.GAP


def _last_line(group: Layer, frame: Frame, box: Box, y: float) -> float:
    """The name at the left, parameters and MACs at the right."""
    counts = [(box.total("parameters"), "params"), (box.total("macs"), "MACs")]
    text = ", ".join(f"{short(count)} {word}" for count, word in counts if count)
    room = frame.width - 2 * INNER - text_width(text, SMALL) - 8
    if box.name != box.unit.kind:
        group.text(frame.left + INNER, y + 11, shortened(box.name, SMALL, room), SMALL, fill=SOFT)
    elif not text:
        return y + 3
    group.text(frame.right - INNER, y + 11, text, SMALL, fill=SOFT, text_anchor="end")
    return y + 17


def _branches(group: Layer, frame: Frame, branches: Sequence[Sequence[str]], colour: str, y: float) -> float:
    """Branches side by side between a fork and `cat`, as many in a line as there is room for."""
    room = frame.width - 2 * INNER
    in_line = min(len(branches), int(room // FEWEST_WIDTH))
    for first in range(0, len(branches), in_line):
        y = _side_by_side(group, frame, branches[first : first + in_line], colour, y + 2, room / in_line)
    text = "cat"
    group.pill(frame.centre - pill_width(text, TINY) / 2, y - 4, text, TINY)
    return y + 14


def _side_by_side(
    group: Layer, frame: Frame, branches: Sequence[Sequence[str]], colour: str, top: float, column: float
) -> float:
    size, height, step = 10.5, 17.0, 23.0
    bottom = top + 6 + step * max(1, *(len(branch) for branch in branches)) + 2
    first = frame.left + INNER + (frame.width - 2 * INNER - column * len(branches)) / 2 + column / 2
    centres = [first + at * column for at in range(len(branches))]
    for end in (top, bottom):
        group.path(f"M{centres[0]:g} {end:g}H{centres[-1]:g}", stroke_width=1.2)
    for centre, branch in zip(centres, branches, strict=True):
        group.path(f"M{centre:g} {top:g}V{bottom:g}", stroke_width=1.2)
        for at, detail in enumerate(branch):
            y = top + 6 + at * step
            group.rect(
                centre - column / 2 + 3, y, column - 6, height, rx=3, fill=mixed(colour, PAPER, 0.88), stroke=colour
            )
            text = shortened(detail, size, column - 10)
            group.text(centre, y + 12.3, text, size, text_anchor="middle")
    return bottom


def _shape(unit: DrawnUnit, room: float) -> str:
    """The output of a unit, in the half of its box that its kind leaves."""
    return shortened(by(unit.output_shape[1:]), SIZE, room / 2 - Token.GAP)


def _described(box: Box) -> str:
    """A box in words, with exact numbers."""
    unit = box.unit
    inside = " / ".join(unit.details) if not box.branches else " | ".join(" / ".join(each) for each in box.branches)
    parts = [
        f"{box.name}: {unit.repeats} x {unit.kind}" if unit.repeats > 1 else f"{box.name}: {unit.kind}",
        inside,
        f"then {', '.join(f'{each.name} ({each.kind})' for each in box.units[1:])}" if len(box.units) > 1 else "",
        MEANINGS.get(unit.shortcut, ""),
        f"output {by(unit.output_shape[1:])}" if unit.output_shape else "",
        f"{box.total('parameters'):,} parameters" if box.total("parameters") else "",
        f"{box.total('macs'):,} MACs" if box.total("macs") else "",
        NOT_RUN if unit.idle else "",
    ]
    return ", ".join(filter(None, parts))


def _legend(layer: Layer, all_boxes: Sequence[Box]) -> float:
    """What the lines and stacks mean, where there are any; returns where the drawing begins."""
    entries = [(kind, MEANINGS[kind]) for kind in DASHES if any(box.unit.shortcut == kind for box in all_boxes)]
    if any(box.unit.repeats > 1 for box in all_boxes):
        entries.append(("", "repeated, totals of all"))
    x, y = LEFT, 4.0
    for kind, meaning in entries:
        width = 30 + text_width(meaning, SMALL)
        if x > LEFT and x + width > WIDTH:
            x, y = LEFT, y + 16
        if kind:
            layer.path(f"M{x:g} {y + 6:g}h24", stroke=SOFT, stroke_width=1.8, stroke_dasharray=DASHES[kind])
        else:
            for offset in (6.0, 3.0, 0.0):
                layer.rect(x + offset, y + offset - 1, 16, 8, rx=2, fill=PAPER, stroke=SOFT)
        layer.text(x + 30, y + 10, meaning, SMALL, fill=SOFT)
        x += width + 12
    return y + 22 if entries else 1.0
