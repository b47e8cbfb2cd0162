"""`residuum compare`: nets side by side, and two of them layer by layer."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from residuum.commands.counting import Format, Shown, counted_at, images_of, require_batch, require_file, warnings
from residuum.commands.options import share, shown_models, shown_path, taken
from residuum.errors import InputError
from residuum.report.numbers import alike, by

if TYPE_CHECKING:
    from residuum.costing.cost import Cost, Layer
    from residuum.costing.difference import Pair
    from residuum.nets.catalog import Entry
    from residuum.references import Skeleton
    from residuum.report.figures import Point
    from residuum.report.page import Section, Table

QUANTITIES = (
    ("parameters", "parameters"),
    ("inference_parameters", "parameters in evaluation"),
    ("macs", "MACs"),
    ("flops", "FLOPs"),
    ("activation_values", "activations"),
)
HELD = (("forward_peak", "memory in evaluation"), ("training_peak", "memory of a training step"))
LEGEND = "= equal; ≠ differs; - only in {0}; + only in {1}"


@dataclass(frozen=True)
class Compare:
    """Nets side by side: cost, memory, receptive field, published error; two of them layer by layer as well.

    residuum compare alexnet alexnet_2012 shows where twins differ.
    """

    models: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="MODEL ...")]
    """Names of nets, or Run or Classifier directories; two or more."""
    input: str | None = None
    """One image for all as CHANNELSxHEIGHTxWIDTH; each net's own by default."""
    batch: int = 1
    """Images at once."""
    layers: bool = False
    """Show two nets layer by layer though they are no twins, with what they have in common; of csv the whole output."""
    format: Format = "table"
    """table for the terminal, markdown or csv."""
    plot: Path | None = None
    """Draw published error against MACs to this .png or .svg file."""
    html: Path | None = None
    """Write a page with the tables and the plot to this file."""
    json: bool = False
    """Print JSON, whatever --format."""

    def run(self) -> int:
        from residuum.files.atomic import write_file

        self._require()
        found = self._found()
        entries = {name: entry_of(name, each) for name, each in found.items()}
        points = points_of(entries)
        if self.plot is not None and not points:
            raise InputError(
                "plot: none of these nets has an error measured like others. Try: residuum compare vgg16 resnet50"
            )
        counted = self._counted(found)
        pairs = self._pairs(counted, entries)
        if self.plot is not None:
            write_file(self.plot, self._drawn(points))
            print(f"plot {shown_path(self.plot)}", file=sys.stderr)
        if self.html is not None:
            write_file(self.html, self._page(counted, entries, pairs, points, self.html).encode())
            print(f"page {shown_path(self.html)}", file=sys.stderr)
        if self.json:
            print(json.dumps(as_json(counted, entries, pairs)))
        elif self.format == "csv":
            self._print_csv(counted, entries, pairs)
        else:
            self._print(counted, entries, pairs, points if self.plot is not None else ())
        return 0

    def _print_csv(self, counted: dict[str, Cost], entries: dict[str, Entry | None], pairs: list[Pair] | None) -> None:
        """One table, which is all that a file of csv holds."""
        if pairs is not None and self.layers:
            Shown("csv").table(pair_table(pairs, *counted, everything=True))
        else:
            Shown("csv").table(side_by_side(counted, entries))

    def _print(
        self,
        counted: dict[str, Cost],
        entries: dict[str, Entry | None],
        pairs: list[Pair] | None,
        drawn: Sequence[Point],
    ) -> None:
        from residuum.report.table import in_parts

        show = Shown(self.format)
        table = side_by_side(counted, entries)
        for part in in_parts(table) if self.format == "table" else [table]:
            show.table(part)
        if pairs is not None:
            show.table(pair_table(pairs, *counted, everything=self.layers))
            show.line(LEGEND.format(*counted))
        show.gap()
        for line in remarks(counted, pairs, drawn):
            show.line(line)

    def _require(self) -> None:
        require_file(self.plot, ".png", ".svg")
        require_file(self.html, ".html")
        if len(self.models) < 2:
            others = [name for name in ("resnet50", "resnet18") if name not in self.models]
            two = [*self.models, *others][:2]
            raise InputError(
                f"models: at least two are needed, got {len(self.models)}. Try: residuum compare {shlex.join(two)}"
            )
        if repeated := next((name for name in self.models if self.models.count(name) > 1), None):
            raise InputError(f"models: {repeated} is named twice. Try: each net once")
        if self.layers and len(self.models) != 2:
            raise InputError(
                f"layers: needs exactly two nets, got {len(self.models)}. "
                f"Try: residuum compare {self.models[0]} {self.models[1]} --layers"
            )
        require_batch(self.batch)

    def _found(self) -> dict[str, Skeleton]:
        from residuum.references import skeleton

        for line in filter(None, map(taken, self.models)):
            print(line, file=sys.stderr)
        all_found = {name: skeleton(name) for name in self.models}
        self._require_one_image(all_found)
        return all_found

    def _counted(self, all_found: dict[str, Skeleton]) -> dict[str, Cost]:
        from residuum.report.progress import ConsoleProgress

        counted: dict[str, Cost] = {}
        with ConsoleProgress() as progress:
            for number, (name, found) in enumerate(all_found.items()):
                try:
                    counted[name] = counted_at(found, self.input, self.batch)
                except InputError as error:
                    raise InputError(with_name(name, str(error))) from error
                for warning in warnings(counted[name]):
                    progress.message(f"{warning[:-1]} in {name})")
                progress.evaluating("nets", number + 1, len(self.models))
        return counted

    def _require_one_image(self, all_found: dict[str, Skeleton]) -> None:
        """One image for all can only be given where all take as many channels."""
        channels = {found.input_shape[0] for found in all_found.values()}
        if self.input is not None and len(channels) > 1:
            taken = ", ".join(f"{name} {found.input_shape[0]}" for name, found in all_found.items())
            raise InputError(f"input: no image is one for all (channels: {taken}). Try: the same without --input")

    def _pairs(self, counted: dict[str, Cost], entries: dict[str, Entry | None]) -> list[Pair] | None:
        from residuum.costing.difference import difference

        if len(counted) != 2 or not (self.layers or are_twins(entries)):
            return None
        return difference(*counted.values())

    def _command(self, html: Path) -> str:
        words = ["residuum", "compare", *shown_models(self.models).values()]
        words += ["--input", self.input] if self.input else []
        words += ["--batch", str(self.batch)] if self.batch != 1 else []
        words += ["--layers"] if self.layers else []
        return shlex.join([*words, "--html", html.name])

    def _drawn(self, points: Sequence[Point]) -> bytes:
        from residuum.report.figures import accuracy_against_macs

        drawing = accuracy_against_macs(points)
        return drawing.png if self.plot is not None and self.plot.suffix == ".png" else drawing.svg.encode()

    def _page(
        self,
        counted: dict[str, Cost],
        entries: dict[str, Entry | None],
        pairs: list[Pair] | None,
        points: Sequence[Point],
        html: Path,
    ) -> str:
        from residuum.costing.cost import CONVENTION
        from residuum.report.figures import accuracy_against_macs
        from residuum.report.page import Section, render

        shown = shown_models(self.models)
        counted = {shown[name]: each for name, each in counted.items()}
        entries = {shown[name]: each for name, each in entries.items()}
        sections: list[Section] = [Section(title="Side by side", table=side_by_side(counted, entries))]
        if points:
            caption = "Published test error against multiply-adds for one image; the area of a disc is its parameters."
            sections.append(Section(title="Error against cost", drawing=accuracy_against_macs(points), caption=caption))
        if pairs is not None:
            table = pair_table(pairs, *counted, everything=self.layers)
            sections.append(Section(title="Layer by layer", text=LEGEND.format(*counted), table=table))
        return render(
            title=" and ".join(counted) if len(counted) == 2 else "Nets compared",
            subtitle=" ".join(remarks(counted, pairs, points)),
            sections=sections,
            footer=f"{CONVENTION}. Made by: {self._command(html)}",
        )


def entry_of(name: str, found: Skeleton) -> Entry | None:
    """What the catalog knows of a net named by the user; nothing of a directory."""
    return found.entry if found.entry is not None and found.entry.name == name else None


def with_name(name: str, problem: str) -> str:
    """What is wrong at a layer, with the net it is a layer of."""
    return re.sub(r"^(input|net): (?=layer|the module)", lambda match: f"{match[0]}{name}, ", problem)


def are_twins(entries: dict[str, Entry | None]) -> bool:
    """Whether the catalog says of either of two nets that it is to be compared with the other."""
    (a, first), (b, second) = entries.items()
    return (first is not None and first.twin == b) or (second is not None and second.twin == a)


def side_by_side(counted: dict[str, Cost], entries: dict[str, Entry | None]) -> Table:
    """One column for each net; for two nets also the first as a share of the second."""
    from residuum.nets.reported import ERRORS
    from residuum.report.cost_tables import in_bytes
    from residuum.report.page import Table

    costs = list(counted.values())
    known = [entries[name] for name in counted]
    two = len(costs) == 2
    rows = [["input", *map(_images, costs)]]
    for name, words in QUANTITIES:
        numbers = [getattr(each, name) for each in costs]
        if name != "inference_parameters" or numbers != [each.parameters for each in costs]:
            rows.append([words, *(f"{number:,}" for number in numbers), *([_share(*numbers)] if two else [])])
    for name, words in HELD:
        held = [getattr(each.memory, name) for each in costs]
        rows.append([words, *map(in_bytes, held), *([_share(*held)] if two else [])])
    rows.append(["last convolution sees, px", *(alike(each.receptive_field) for each in costs)])
    rows.append(["error % in its paper", *(each.published.error if each else "" for each in known)])
    rows.append(["how it was measured", *(each.published.protocol if each else "" for each in known)])
    for protocol, errors in ERRORS.items():
        reported = [f"{errors[each.name]:.2f}" if each and each.name in errors else "" for each in known]
        rows.append([protocol, *reported])
    shown = [row + [""] * (two and len(row) == 3) for row in rows if any(row[1:])]
    last = [f"{next(iter(counted))} / {list(counted)[1]}"] if two else []
    return Table(["quantity", *counted, *last], shown, tuple(range(1, len(costs) + 1 + len(last))))


def _images(counted: Cost) -> str:
    return (f"{counted.batch:,} of " if counted.batch > 1 else "") + images_of(counted)


def _share(first: int, second: int) -> str:
    return share(first / second) if second else ""


def pair_table(pairs: Sequence[Pair], first: str, second: str, *, everything: bool) -> Table:
    """Two nets opposite each other; runs of equal layers as one line, unless `everything` is asked for."""
    from residuum.report.page import Table

    rows: list[list[str]] = []
    for same, together in groupby(pairs, key=lambda pair: pair.same):
        run = list(together)
        if same and not everything:
            equal = f"{len(run)} equal layers" if len(run) > 1 else "1 equal layer"
            rows.append(["=", _ends(run, "first"), equal, _ends(run, "second"), ""])
            continue
        rows += [["=" if same else _mark(pair), *_words(pair.first), *_words(pair.second)] for pair in run]
    return Table(("mark", first, "its layer", second, "its layer"), rows)


def _ends(run: Sequence[Pair], side: Literal["first", "second"]) -> str:
    """The names of the first and the last layer of a run."""
    names = [layer.name for pair in run if (layer := getattr(pair, side)) is not None]
    return " … ".join(dict.fromkeys([names[0], names[-1]]))


def _mark(pair: Pair) -> str:
    return "-" if pair.second is None else "+" if pair.first is None else "≠"


def _words(layer: Layer | None) -> list[str]:
    from residuum.report.cost_tables import NOT_RUN

    if layer is None:
        return ["", ""]
    text = f"{layer.kind} {layer.detail}".strip()
    size = by(layer.output_shape[1:]) if layer.calls else NOT_RUN
    return [layer.name, f"{text} → {size}" + (f", {layer.parameters:,} parameters" if layer.parameters else "")]


def remarks(counted: dict[str, Cost], pairs: Sequence[Pair] | None, points: Sequence[Point]) -> list[str]:
    """The ratio of two nets in words, what is told of it, and which nets have no error that can be drawn."""
    from residuum.nets.reported import RATIOS

    lines = []
    names = list(counted)
    if len(names) == 2:
        macs = [each.macs for each in counted.values()]
        equal = macs[0] == macs[1]
        many = "as many MACs as" if equal else f"{_share(*macs)} of the MACs of"
        lines.append(f"{names[0]} has {many} {names[1]}.")
        told = RATIOS.get((names[0], names[1])) or RATIOS.get((names[1], names[0]))
        if told:
            lines.append(f"{told}.")
        if pairs is not None and all(pair.same for pair in pairs):
            lines.append("No layer differs that convolves, multiplies, normalises, pools or adds.")
        if pairs is None:
            lines.append(f"Layer by layer: residuum compare {names[0]} {names[1]} --layers")
    drawn = {point.name for point in points}
    if points and (missing := [name for name in names if name not in drawn]):
        lines.append(f"Not drawn, for want of an error measured like the others: {', '.join(missing)}.")
    return lines


def points_of(entries: dict[str, Entry | None]) -> list[Point]:
    """Each net under every protocol by which its error is known, at the net's own size of image."""
    from residuum.nets.reported import ERRORS
    from residuum.report.figures import Point

    return [
        Point(name=name, macs=entry.macs, parameters=entry.parameters, error=errors[name], protocol=protocol)
        for protocol, errors in ERRORS.items()
        for name, entry in entries.items()
        if entry is not None and name in errors
    ]


def as_json(
    counted: dict[str, Cost], entries: dict[str, Entry | None], pairs: Sequence[Pair] | None
) -> dict[str, object]:
    """Totals of each net, and the layers of two nets opposite each other where they are shown."""
    nets = {}
    for name, each in counted.items():
        entry = entries[name]
        totals = {key: value for key, value in each.to_json().items() if key not in ("layers", "stages", "groups")}
        nets[name] = {**totals, "published": asdict(entry.published) if entry is not None else None}
    return {"nets": nets, "layers": None if pairs is None else [asdict(pair) for pair in pairs]}
