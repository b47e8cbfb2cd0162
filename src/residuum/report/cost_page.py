"""The page of `residuum summary`: totals, the network drawn, where its cost sits, memory, every layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from residuum.report.bars import cost_bars, memory_bars
from residuum.report.cost_tables import (
    LayerLike,
    MemoryLike,
    Totals,
    in_bytes,
    layer_table,
    memory_table,
    short_share_table,
)
from residuum.report.network import DrawnUnit, network
from residuum.report.numbers import alike, short
from residuum.report.page import Section, Table, Tile, render

NETWORK_CAPTION = (
    "Each band is one size of map. At the right of a box its output as channels x height x width; a name in a small "
    "frame is a layer that follows and changes no shape."
)
BARS_CAPTION = "Shares of the whole net, all bars on one scale. Activations are the values that layers newly write."
MEMORY_CAPTION = "The line marks the peak. What a training step is made of is not all held at the same time."


class CostLike(Protocol):
    """Totals of a net at one batch; see `residuum.costing.cost.Cost`."""

    @property
    def batch(self) -> int: ...
    @property
    def parameters(self) -> int: ...
    @property
    def inference_parameters(self) -> int: ...
    @property
    def macs(self) -> int: ...
    @property
    def flops(self) -> int: ...
    @property
    def activation_values(self) -> int: ...
    @property
    def activation_bytes(self) -> int: ...
    @property
    def receptive_field(self) -> tuple[int, ...] | None: ...
    @property
    def layers(self) -> Sequence[LayerLike]: ...
    @property
    def memory(self) -> MemoryLike: ...
    @property
    def unknown(self) -> Mapping[str, int]: ...


@dataclass(frozen=True, kw_only=True)
class CostFacts:
    """What the page of a net's cost is written from.

    Attributes:
        title, subtitle: at the top.
        cost: totals, layers and memory.
        units: what is drawn, repeated ones folded.
        stages, groups: shares by size of map and by kind of layer.
        glance: where most of it sits, in sentences.
        published: what others print beside what was counted here.
        convention: what is counted as one MAC and one FLOP.
        command: makes the page anew.
    """

    title: str
    subtitle: str
    cost: CostLike
    units: Sequence[DrawnUnit]
    stages: Sequence[Totals]
    groups: Sequence[Totals]
    glance: Sequence[str] = ()
    published: Table | None = None
    convention: str = ""
    command: str = ""


def cost_page(facts: CostFacts) -> str:
    """The self-contained page of what a net costs."""
    cost, units = facts.cost, facts.units
    where = [
        Section(title="Where the cost sits", drawing=cost_bars(units), narrow=True, caption=BARS_CAPTION),
        Section(title="By size of map", table=short_share_table("map", facts.stages)),
        Section(title="By kind of layer", table=short_share_table("kind", facts.groups)),
    ]
    drawing = network(units, title=f"The network {facts.title}")
    memory = memory_bars(cost.memory)
    sections = [
        Section(title="In short", tiles=_tiles(cost), text=_sentences(facts.glance)),
        Section(title="The network", drawing=drawing, narrow=True, caption=NETWORK_CAPTION, beside=where),
        Section(
            title=f"Memory at {_images(cost.batch)}",
            drawing=memory,
            narrow=True,
            caption=MEMORY_CAPTION if cost.memory.training_peak else "",
            beside=[Section(title="Memory in numbers", table=memory_table(cost.memory))],
        ),
        Section(title="Every layer", table=layer_table(cost.layers), folds=True),
    ]
    if facts.published is not None:
        sections.insert(1, Section(title="Published and counted", table=facts.published, stacks=True))
    if cost.unknown:
        rows = [[name, f"{count:,}"] for name, count in cost.unknown.items()]
        table = Table(("operator", "runs"), rows, numeric=(1,))
        text = "These operators are not known here; no total has them in it."
        sections.insert(0, Section(title="Not counted", text=text, table=table))
    footer = ". ".join(filter(None, [facts.convention, f"Made by: {facts.command}" if facts.command else ""]))
    return render(title=facts.title, subtitle=facts.subtitle, sections=sections, footer=footer)


def _tiles(cost: CostLike) -> list[Tile]:
    memory, batch = cost.memory, cost.batch
    at_batch = f"at {_images(batch)}"
    run = cost.inference_parameters
    used = f", of them {run:,} in evaluation" if run != cost.parameters else ""
    tiles = [
        Tile(short(cost.parameters), "parameters", f"{cost.parameters:,}{used}"),
        Tile(short(cost.macs / batch), "MACs for an image", f"{cost.macs // batch:,}"),
        Tile(short(cost.flops / batch), "FLOPs for an image", "2 for each MAC, and all others"),
        Tile(
            short(cost.activation_values / batch),
            "activations for an image",
            f"{cost.activation_values // batch:,} values, {in_bytes(cost.activation_bytes // batch)}",
        ),
        Tile(in_bytes(memory.forward_peak), "memory, evaluation", f"{at_batch}, parameters included"),
    ]
    if memory.training_peak:
        tiles.append(Tile(in_bytes(memory.training_peak), "memory, training step", f"{at_batch}, SGD with momentum"))
    if cost.receptive_field:
        tiles.append(Tile(f"{alike(cost.receptive_field)} px", "receptive field", "of the last convolution"))
    return tiles


def _images(batch: int) -> str:
    return "1 image" if batch == 1 else f"{batch:,} images"


def _sentences(lines: Sequence[str]) -> str:
    return " ".join(f"{line[:1].upper()}{line[1:].rstrip('.')}." for line in lines)
