"""Bars: where MACs, parameters and activations sit, unit by unit; and what memory is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from residuum.report.cost_tables import MemoryLike, in_bytes
from residuum.report.network import WIDTH, DrawnUnit, boxes, stage_colours
from residuum.report.numbers import percent, short
from residuum.report.svg import INK, SOFT, Canvas, Vector, shortened, text_width

SIZE, SMALL = 12.5, 11.0
QUANTITIES = (("macs", "MACs"), ("parameters", "parameters"), ("activation_bytes", "activations"))
COLUMN = WIDTH / 3
LABEL_ROOM = text_width("<0.1 %", SMALL) + 4
LONGEST = COLUMN - LABEL_ROOM - 10
ROW = 34.0
COLOURS = ("#2f78bd", "#d98200", "#94408d", "#2f8f6b")  # of the parts of memory
THICK = 22.0  # height of a bar of memory


def cost_bars(units: Sequence[DrawnUnit]) -> Vector:
    """For each box of the drawing its share of MACs, parameters and memory of activations.

    All bars have one scale: the longest of the drawing is the largest share.
    """
    all_boxes = [box for box in boxes(units) if any(box.total(quantity) for quantity, _ in QUANTITIES)]
    colours = stage_colours(boxes(units))
    totals = {quantity: sum(box.total(quantity) for box in all_boxes) for quantity, _ in QUANTITIES}
    largest = max((box.total(each) / totals[each] for box in all_boxes for each in totals if totals[each]), default=1.0)
    told = (f"{box.name}: " + ", ".join(f"{percent(box.total(quantity), totals[quantity])} of {word}"
            for quantity, word in QUANTITIES) for box in all_boxes)  # fmt: skip
    canvas = Canvas(WIDTH, title="Where the cost sits", description="; ".join(told))
    for at, (quantity, word) in enumerate(QUANTITIES):
        whole = in_bytes(totals[quantity]) if quantity == "activation_bytes" else short(totals[quantity])
        canvas.text(at * COLUMN, 13, word, SIZE, font_weight=600)
        canvas.text(at * COLUMN, 28, whole, SMALL, fill=SOFT)
    y = 36.0
    for box in all_boxes:
        row = canvas.layer(label="row")
        row.path(f"M0 {y:g}H{WIDTH:g}", stroke="#e6e9ee", stroke_width=1)
        kind = "" if box.unit.kind == box.name else shortened(box.unit.kind, SMALL, WIDTH / 2)
        kind += f" x {box.unit.repeats}" if box.unit.repeats > 1 else ""
        row.text(0, y + 14, shortened(box.name, SMALL, WIDTH - text_width(kind, SMALL) - 10), SMALL)
        row.text(WIDTH - 2, y + 14, kind, SMALL, fill=SOFT, text_anchor="end")
        for at, (quantity, _) in enumerate(QUANTITIES):
            x, part = at * COLUMN, box.total(quantity)
            if part:
                length = max(LONGEST * part / totals[quantity] / largest, 1.0)
                row.rect(x, y + 19, length, 10, rx=1.5, fill=colours[box.stage])
                x += length + 4
            row.text(x, y + 28, percent(part, totals[quantity]), SMALL, fill=INK if part else SOFT)
        y += ROW
    return canvas.finished(y + 2)


@dataclass(frozen=True)
class Stack:
    """What memory is made of in one use of a net, and the most that is held at once."""

    name: str
    parts: tuple[tuple[str, int], ...]
    peak: int
    peak_at: str

    @property
    def length(self) -> int:
        """Bytes that the drawing has to have room for."""
        return max(self.peak, sum(size for _, size in self.parts))


def memory_bars(memory: MemoryLike) -> Vector:
    """A bar of what evaluation holds at its peak, and one of the parts of a training step with its peak marked."""
    weights = ("parameters and buffers", memory.parameters + memory.buffers)
    activations = max(memory.forward_peak - weights[1], 0)
    stacks = [
        Stack(
            "evaluation", (weights, ("input and activations", activations)), memory.forward_peak, memory.forward_peak_at
        )
    ]
    if memory.training_peak:
        parts = (
            weights,
            ("gradients", memory.gradients),
            ("optimizer state", memory.optimizer_state),
            ("input and saved activations", memory.input + memory.saved_activations),
        )
        stacks.append(Stack("training step", parts, memory.training_peak, memory.training_peak_at))
    told = (
        f"{stack.name}: {', '.join(f'{part} {in_bytes(size)}' for part, size in stack.parts)}, "
        f"peak {in_bytes(stack.peak)}"
        for stack in stacks
    )
    canvas = Canvas(WIDTH, title="What memory is made of", description="; ".join(told))
    scale = (WIDTH - 2) / max(1, *(stack.length for stack in stacks))
    y = 0.0
    for stack in stacks:
        y = _stacked(canvas, stack, scale, y)
    return canvas.finished(y)


def _stacked(canvas: Canvas, stack: Stack, scale: float, y: float) -> float:
    """A stacked bar with its name above and its parts below; a line marks the peak."""
    room = WIDTH - text_width(stack.name, SIZE, bold=True) - 10
    peak = f"peak {in_bytes(stack.peak)}" + (f", at {stack.peak_at}" if stack.peak_at else "")
    canvas.text(0, y + 14, stack.name, SIZE, font_weight=600)
    canvas.text(WIDTH - 2, y + 14, shortened(peak, SMALL, room), SMALL, text_anchor="end")
    colours = [*COLOURS[: len(stack.parts) - 1], COLOURS[-1]]  # the first and the last mean the same in every bar
    x, y = 1.0, y + 24
    for (_, size), colour in zip(stack.parts, colours, strict=True):
        canvas.rect(x, y, size * scale, THICK, fill=colour)
        x += size * scale
    canvas.path(f"M{1 + stack.peak * scale:g} {y - 4:g}v{THICK + 8:g}", stroke=INK, stroke_width=2)
    y += THICK + 8
    for (part, size), colour in zip(stack.parts, colours, strict=True):
        canvas.rect(0, y + 4, 10, 10, rx=2, fill=colour)
        canvas.text(16, y + 13, part, SMALL)
        canvas.text(WIDTH - 2, y + 13, in_bytes(size), SMALL, text_anchor="end", fill=SOFT)
        y += 18
    return y + 14
