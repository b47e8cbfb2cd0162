"""`residuum summary`: what a net costs, layer by layer."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from residuum.commands.counting import Format, Shown, counted_at, images_of, require_batch, require_file, warnings
from residuum.commands.options import shown_models, shown_path, taken
from residuum.errors import InputError

if TYPE_CHECKING:
    from residuum.costing.cost import Cost, Share
    from residuum.nets.catalog import Entry
    from residuum.report.page import Table

WIDE_COLUMNS = (7, 6, 5, 2)  # of the table of units: what a narrow terminal does without
WORDS = {
    "parameters": "parameters",
    "inference_parameters": "parameters in evaluation",
    "macs": "MACs (the paper's FLOPs)",
    "activation_values": "activations",
}


@dataclass(frozen=True)
class Summary:
    """What a net costs: shapes, parameters, MACs, memory, receptive field of each layer; exact, nothing is allocated.

    residuum summary vgg16 --html vgg16.html draws the network as well.
    """

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """The name of a net, or a Run or Classifier directory."""
    input: str | None = None
    """The image as CHANNELSxHEIGHTxWIDTH; that of the net by default."""
    batch: int = 1
    """Images at once."""
    depth: int = 2
    """Levels of modules to show in table, markdown, page and drawing; 9 shows every layer."""
    format: Format = "table"
    """table for the terminal; markdown; csv, every layer whatever --depth."""
    html: Path | None = None
    """Write a page with a drawing of the network to this file."""
    drawing: Path | None = None
    """Write the drawing of the network alone to this .svg file."""
    json: bool = False
    """Print JSON, with every layer, whatever --format and --depth."""

    def run(self) -> int:
        from residuum.files.atomic import write_file
        from residuum.references import skeleton

        require_file(self.html, ".html")
        require_file(self.drawing, ".svg")
        require_batch(self.batch)
        if self.depth < 1:
            raise InputError(f"depth: must be at least 1, got {self.depth}. Try: 2")
        if line := taken(self.model):
            print(line, file=sys.stderr)
        found = skeleton(self.model)
        counted = counted_at(found, self.input, self.batch)
        for warning in warnings(counted):
            print(warning, file=sys.stderr)
        if self.html is not None:
            write_file(self.html, self._page(counted, found.entry, self.html).encode())
            print(f"page {shown_path(self.html)}", file=sys.stderr)
        if self.drawing is not None:
            write_file(self.drawing, self._drawn(counted))
            print(f"drawing {shown_path(self.drawing)}", file=sys.stderr)
        if self.json:
            print(json.dumps(as_json(self.model, counted, found.entry)))
        elif self.format == "csv":
            self._print_csv(counted)
        else:
            self._print(counted, found.entry)
        return 0

    def _command(self, html: Path) -> str:
        words = ["residuum", "summary", self._shown()]
        words += ["--input", self.input] if self.input else []
        words += ["--batch", str(self.batch)] if self.batch != 1 else []
        words += ["--depth", str(self.depth)] if self.depth != 2 else []
        return shlex.join([*words, "--html", html.name])

    def _shown(self) -> str:
        return shown_models([self.model])[self.model]

    def _drawn(self, counted: Cost) -> bytes:
        from residuum.costing.fold import folded, units
        from residuum.report.network import network

        return network(folded(units(counted, self.depth)), title=self._shown()).svg.encode()

    def _page(self, counted: Cost, entry: Entry | None, html: Path) -> str:
        from residuum.costing.cost import CONVENTION
        from residuum.costing.fold import folded, units
        from residuum.report.cost_page import CostFacts, cost_page

        facts = CostFacts(
            title=self._shown(),
            subtitle=headline(counted, entry),
            glance=glance(counted),
            cost=counted,
            units=folded(units(counted, self.depth)),
            stages=counted.stages(),
            groups=counted.groups(),
            published=published(counted, entry),
            convention=CONVENTION,
            command=self._command(html),
        )
        return cost_page(facts)

    def _print_csv(self, counted: Cost) -> None:
        from residuum.report.cost_tables import layer_table
        from residuum.report.table import as_csv

        print(as_csv(layer_table(counted.layers)))

    def _print(self, counted: Cost, entry: Entry | None) -> None:
        from residuum.costing.cost import CONVENTION
        from residuum.costing.fold import folded, units
        from residuum.report.cost_tables import memory_table, share_table, unit_table

        show = Shown(self.format)
        show.heading(self.model)
        show.line(headline(counted, entry))
        show.table(unit_table(folded(units(counted, self.depth))), droppable=WIDE_COLUMNS, foldable=1)
        show.table(share_table("size of map", counted.stages()))
        show.table(share_table("kind of layer", counted.groups()))
        show.table(memory_table(counted.memory))
        if (table := published(counted, entry)) is not None:
            show.table(table)
        show.gap()
        for line in (*totals(counted), *glance(counted)):
            show.line(line)
        if entry is not None and entry.note:
            show.line(f"note: {entry.note}")
        if entry is not None and entry.twin:
            show.line(f"layer by layer against its twin: residuum compare {entry.name} {entry.twin}")
        show.line(CONVENTION)


def headline(counted: Cost, entry: Entry | None) -> str:
    """Paper, input and batch in one line."""
    source = f"{entry.name}: {entry.published.paper}" if entry is not None else counted.name
    return f"{source}. Input {images_of(counted)}, batch {counted.batch}."


def totals(counted: Cost) -> list[str]:
    """The totals in words."""
    from residuum.report.cost_tables import in_bytes
    from residuum.report.numbers import alike

    memory = counted.memory
    run = counted.inference_parameters
    heads = f", {run:,} of them used in evaluation" if run != counted.parameters else ""
    images = f" for {counted.batch:,} images" if counted.batch > 1 else ""
    values, held = counted.activation_values, in_bytes(counted.activation_bytes)
    lines = [
        f"parameters {counted.parameters:,} ({in_bytes(memory.parameters)}){heads}",
        f"MACs {counted.macs:,}; FLOPs {counted.flops:,}{images}",
        f"activations {values:,} values ({held}), input included{images}",
    ]
    if seen := counted.receptive_field:
        size = counted.input_shapes[0][2:]
        beyond = f", which has {alike(size)}" if any(s > t for s, t in zip(seen, size, strict=False)) else ""
        lines.append(f"the last convolution sees {alike(seen)} pixels along each side of the image{beyond}")
    return lines


def glance(counted: Cost) -> list[str]:
    """Where most of it sits."""
    from residuum.report.numbers import percent

    groups, stages = counted.groups(), counted.stages()
    lines = []
    for quantity, name, shares in (
        ("parameters", "parameters", groups),
        ("macs", "MACs", groups),
        ("activation_values", "activations", stages),
    ):
        whole = sum(getattr(share, quantity) for share in shares)
        if whole:
            most = _most(shares, quantity, whole)
            part = sum(getattr(share, quantity) for share in most)
            lines.append(f"most {name}: {' and '.join(share.name for share in most)}, {percent(part, whole)}")
    return lines


def _most(shares: Sequence[Share], quantity: str, whole: int) -> list[Share]:
    """The largest shares that make up more than half together."""
    chosen: list[Share] = []
    for share in sorted(shares, key=lambda each: -getattr(each, quantity)):
        chosen.append(share)
        if 2 * sum(getattr(each, quantity) for each in chosen) > whole:
            break
    return [share for share in shares if share in chosen]


def published(counted: Cost, entry: Entry | None) -> Table | None:
    """What is published beside what was counted; None for one's own net, other classes or another size of image."""
    from residuum.nets.reported import TAUGHT
    from residuum.report.page import Table

    if entry is None or (counted.input_shapes[0][1:], counted.parameters) != (entry.input_shape, entry.parameters):
        return None
    rows = []
    for quantity, printed in (("parameters", entry.published.parameters), ("macs", entry.published.macs)):
        if printed:
            exact = _exact(counted, quantity)
            apart = exact / number_of(printed) - 1
            source = ": ".join(filter(None, [entry.published.place, entry.differs.get(quantity)]))
            rows.append([WORDS[quantity], printed, f"{exact:,}", f"{100 * apart:+.1f} %", source])
    for taught in TAUGHT.get(entry.name, ()):
        exact = _exact(counted, taught.quantity)
        rows.append([WORDS[taught.quantity], taught.says, f"{exact:,}", "", f"{taught.source}: {taught.why}"])
    return Table(("quantity", "published", "exact", "apart", "source and reason"), rows, (2, 3)) if rows else None


def _exact(counted: Cost, quantity: str) -> int:
    value: int = getattr(counted, quantity)
    return value // counted.batch if quantity in ("macs", "activation_values") else value


def number_of(printed: str) -> float:
    """A figure as a paper prints it, such as 3.8e9, 0.27M or 60,000."""
    text = printed.split()[0].replace(",", "")
    return float(text[:-1]) * 1e6 if text.endswith("M") else float(text)


def as_json(name: str, counted: Cost, entry: Entry | None) -> dict[str, object]:
    """The whole report as plain values, with what the catalog knows of the net."""
    from dataclasses import asdict

    known = None
    if entry is not None:
        known = {"published": asdict(entry.published), "differs": entry.differs, "note": entry.note, "twin": entry.twin}
    return {"model": name, "catalog": known, **counted.to_json()}
