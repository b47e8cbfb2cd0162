"""Layers folded into the modules they belong to, and repeated modules into one: what a table or a drawing shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from residuum.costing.cost import Cost, Layer
from residuum.costing.operators import ADDITION, CONVOLUTION, LINEAR, POOLING

Shortcut = Literal["identity", "altered", "padded", "projection", ""]
SHOWN_DETAILS = (CONVOLUTION, LINEAR, POOLING)


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A module with the layers inside it, or a single layer.

    Attributes:
        name: path of the module.
        kind: its class, or the operator.
        group: that of its layers with the most multiply-adds.
        details: kernel, stride and channels of its main path, layer by layer.
        branches: details of each path that its `cat` joins, where it has one.
        shortcut: how its input reaches the addition at its end: as it is, altered but of its own shape (scaled, dropped
            in part), cut and padded to another shape, by a convolution, or not at all.
        output_shape: of its last layer, images first.
        receptive_field, stride: of its last layer.
        repeats: how many units of this kind follow each other; the totals are of all of them.
        last_name: path of the last of them.
        idle: it does not run in evaluation.
    """

    name: str
    kind: str
    group: str
    details: tuple[str, ...] = ()
    branches: tuple[tuple[str, ...], ...] = ()
    shortcut: Shortcut = ""
    output_shape: tuple[int, ...] = ()
    parameters: int = 0
    macs: int = 0
    flops: int = 0
    activation_values: int = 0
    activation_bytes: int = 0
    receptive_field: tuple[int, ...] | None = None
    stride: tuple[float, ...] | None = None
    repeats: int = 1
    last_name: str = ""
    idle: bool = False


def units(cost: Cost, depth: int) -> tuple[Unit, ...]:
    """The net as modules `depth` levels below it; layers that lie higher stay as they are.

    A module whose branches run side by side stays whole at the last level: in a row its parts would mislead.
    """
    if depth < 2:
        return _parts(cost, 1)
    below = _parts(cost, depth)
    whole = {unit.name: unit for unit in _parts(cost, depth - 1) if any(unit.branches)}
    kept: dict[str, Unit] = {}
    for unit in below:
        above = ".".join(unit.name.split(".")[: depth - 1])
        kept[above if above in whole else unit.name] = whole.get(above, unit)
    return tuple(kept.values())


def _parts(cost: Cost, depth: int) -> tuple[Unit, ...]:
    parts: dict[str, list[int]] = {}
    for at, layer in enumerate(cost.layers):
        parts.setdefault(".".join(layer.name.split(".")[:depth]), []).append(at)
    return tuple(_unit(cost, name, places) for name, places in parts.items())


def folded(all_units: Sequence[Unit]) -> tuple[Unit, ...]:
    """Neighbours that differ in nothing but their names, as one."""
    together: list[Unit] = []
    for unit in all_units:
        last = together[-1] if together else None
        if last is not None and _alike(last, unit):
            together[-1] = _added(last, unit)
        else:
            together.append(unit)
    return tuple(together)


def _alike(a: Unit, b: Unit) -> bool:
    def shape(unit: Unit) -> tuple[object, ...]:
        each = unit.parameters // unit.repeats, unit.macs // unit.repeats
        return (unit.kind, unit.details, unit.branches, unit.shortcut, unit.output_shape, unit.idle, *each)

    return shape(a) == shape(b)


def _added(a: Unit, b: Unit) -> Unit:
    return Unit(
        name=a.name,
        kind=a.kind,
        group=a.group,
        details=a.details,
        branches=a.branches,
        shortcut=a.shortcut,
        output_shape=b.output_shape,
        parameters=a.parameters + b.parameters,
        macs=a.macs + b.macs,
        flops=a.flops + b.flops,
        activation_values=a.activation_values + b.activation_values,
        activation_bytes=a.activation_bytes + b.activation_bytes,
        receptive_field=b.receptive_field,
        stride=b.stride,
        repeats=a.repeats + b.repeats,
        last_name=b.name,
        idle=a.idle,
    )


def _unit(cost: Cost, name: str, places: Sequence[int]) -> Unit:
    layers = [cost.layers[at] for at in places]
    last = next((layer for layer in reversed(layers) if layer.calls), layers[-1])
    heaviest = max(layers, key=lambda layer: layer.macs)
    paths = _paths(cost.layers, places)
    main = max(paths, key=len, default=())
    joins = len(paths) > 1
    return Unit(
        name=name,
        kind=cost.kinds.get(name, layers[0].kind),
        group=heaviest.group if heaviest.macs else layers[0].group,
        details=tuple(_details(cost.layers, main)) if joins else tuple(_details(cost.layers, places)),
        branches=tuple(tuple(_details(cost.layers, path)) for path in paths) if _concatenates(last) else (),
        shortcut=_shortcut(cost.layers, paths) if joins and not _concatenates(last) else "",
        output_shape=last.output_shape,
        parameters=sum(layer.parameters for layer in layers),
        macs=sum(layer.macs for layer in layers),
        flops=sum(layer.flops for layer in layers),
        activation_values=sum(layer.activation_values for layer in layers),
        activation_bytes=sum(layer.activation_bytes for layer in layers),
        receptive_field=last.receptive_field,
        stride=last.stride,
        idle=not any(layer.calls for layer in layers),
    )


def _concatenates(layer: Layer) -> bool:
    return layer.kind in ("cat", "stack")


def _paths(layers: Sequence[Layer], places: Sequence[int]) -> list[tuple[int, ...]]:
    """The ways through a unit to where they are joined last: by an addition or by `cat`; empty where none is."""
    inside = set(places)
    joints = [at for at in places if (layers[at].group == ADDITION or _concatenates(layers[at]))]
    joints = [at for at in joints if len(layers[at].sources) > 1]
    if not joints:
        return []
    return [tuple(reversed(list(_back(layers, inside, source)))) for source in layers[joints[-1]].sources]


def _back(layers: Sequence[Layer], inside: set[int], at: int) -> Iterator[int]:
    """From a layer back to where its unit begins; where two meet on the way, along the one that is not the gate."""
    while at in inside:
        yield at
        if not layers[at].sources:
            return
        at = _carrying(layers, layers[at].sources)


def _carrying(layers: Sequence[Layer], sources: Sequence[int]) -> int:
    """The source whose map is larger; the later one where they are equal."""
    return max(sources, key=lambda at: (len(layers[at].output_shape), *layers[at].size, at))


def _shortcut(layers: Sequence[Layer], paths: Sequence[tuple[int, ...]]) -> Shortcut:
    short, long = min(paths, key=len), max(paths, key=len)
    weighted = [sum(layers[at].macs > 0 for at in path) for path in (short, long)]
    if weighted[0] >= weighted[1]:
        return ""
    own = [at for at in short if at not in long]
    if not own:
        return "identity"
    if any(layers[at].macs for at in own):
        return "projection"
    before = [layers[source].output_shape for source in layers[own[0]].sources]
    return "altered" if layers[own[-1]].output_shape in before else "padded"


def _details(layers: Sequence[Layer], places: Sequence[int]) -> list[str]:
    return [layers[at].detail for at in places if layers[at].detail and layers[at].group in SHOWN_DETAILS]
