"""The tables of a cost report, from plain values: layers, stages, kinds of layer, memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from residuum.report.numbers import alike, by, percent, short
from residuum.report.page import Table

KIB = 1024
DOTS = "…"
IN_A_PROCESS = "with what kernels and the allocator hold"
NOT_RUN = "not run in evaluation"
SHARED = ("parameters", "macs", "activation_values")  # what tables of shares show


class Totals(Protocol):
    """What a layer, a unit or a share of a net adds up."""

    @property
    def name(self) -> str: ...
    @property
    def parameters(self) -> int: ...
    @property
    def macs(self) -> int: ...
    @property
    def flops(self) -> int: ...
    @property
    def activation_values(self) -> int: ...
    @property
    def activation_bytes(self) -> int: ...


class LayerLike(Totals, Protocol):
    """A layer; see `residuum.costing.cost.Layer`."""

    @property
    def kind(self) -> str: ...
    @property
    def group(self) -> str: ...
    @property
    def detail(self) -> str: ...
    @property
    def output_shape(self) -> tuple[int, ...]: ...
    @property
    def receptive_field(self) -> tuple[int, ...] | None: ...
    @property
    def stride(self) -> tuple[float, ...] | None: ...
    @property
    def calls(self) -> int: ...


class UnitLike(Totals, Protocol):
    """A module with its layers; see `residuum.costing.fold.Unit`."""

    @property
    def kind(self) -> str: ...
    @property
    def details(self) -> tuple[str, ...]: ...
    @property
    def branches(self) -> tuple[tuple[str, ...], ...]: ...
    @property
    def output_shape(self) -> tuple[int, ...]: ...
    @property
    def receptive_field(self) -> tuple[int, ...] | None: ...
    @property
    def stride(self) -> tuple[float, ...] | None: ...
    @property
    def repeats(self) -> int: ...
    @property
    def last_name(self) -> str: ...
    @property
    def idle(self) -> bool: ...


class MemoryLike(Protocol):
    """Bytes at one batch; see `residuum.costing.memory.Memory`."""

    @property
    def parameters(self) -> int: ...
    @property
    def buffers(self) -> int: ...
    @property
    def input(self) -> int: ...
    @property
    def forward_peak(self) -> int: ...
    @property
    def forward_peak_at(self) -> str: ...
    @property
    def forward_process(self) -> int: ...
    @property
    def saved_activations(self) -> int: ...
    @property
    def gradients(self) -> int: ...
    @property
    def optimizer_state(self) -> int: ...
    @property
    def training_peak(self) -> int: ...
    @property
    def training_peak_at(self) -> str: ...
    @property
    def training_process(self) -> int: ...
    @property
    def training_problem(self) -> str: ...


def in_bytes(count: int) -> str:
    """Bytes in the largest unit that leaves more than 0 before the point: 58.1 MiB."""
    value, units = float(count), ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
    for unit in units[:-1]:
        if round(value, 1) < KIB:
            return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= KIB
    return f"{value:.1f} {units[-1]}"


def inside(unit: UnitLike) -> str:
    """The layers of a unit in short, its branches side by side."""
    return " | ".join(map(" · ".join, unit.branches)) if any(unit.branches) else " · ".join(unit.details)


def unit_table(units: Sequence[UnitLike]) -> Table:
    """One row for each unit, repeated ones as one."""
    rows = [
        [
            f"{unit.name} {DOTS} {unit.last_name}" if unit.repeats > 1 else unit.name,
            (f"{unit.repeats} x " if unit.repeats > 1 else "") + f"{unit.kind} {inside(unit)}".strip(),
            NOT_RUN if unit.idle else by(unit.output_shape[1:]),
            f"{unit.parameters:,}",
            f"{unit.macs:,}",
            f"{unit.activation_values:,}",
            alike(unit.receptive_field),
            alike(unit.stride),
        ]
        for unit in units
    ]
    return Table(
        ("layer", "kind", "output", "parameters", "MACs", "activations", "sees px", "stride"), rows, (3, 4, 5, 6, 7)
    )


def layer_table(layers: Sequence[LayerLike]) -> Table:
    """One row for each layer, nothing folded."""
    rows = [
        [
            layer.name,
            " ".join([layer.kind, layer.detail]).strip() + (f" ({layer.calls} calls)" if layer.calls > 1 else ""),
            by(layer.output_shape[1:]) if layer.calls else NOT_RUN,
            f"{layer.parameters:,}",
            f"{layer.macs:,}",
            f"{layer.flops:,}",
            f"{layer.activation_values:,}",
            f"{layer.activation_bytes:,}",
            alike(layer.receptive_field),
            alike(layer.stride),
        ]
        for layer in layers
    ]
    columns = (
        "layer",
        "kind",
        "output",
        "parameters",
        "MACs",
        "FLOPs",
        "activations",
        "activation bytes",
        "sees px",
        "stride",
    )
    return Table(columns, rows, tuple(range(3, 10)))


def share_table(first_column: str, shares: Sequence[Totals]) -> Table:
    """Parts of a net with their share of the whole, and the whole in the last row."""
    whole = _whole(shares)
    rows = [
        [share.name]
        + [
            text
            for name in SHARED
            for text in (f"{getattr(share, name):,}", percent(getattr(share, name), whole[name]))
        ]
        for share in shares
    ]
    rows.append(["all", *(text for name in SHARED for text in (f"{whole[name]:,}", ""))])
    columns = (first_column, "parameters", "share", "MACs", "share", "activations", "share")
    return Table(columns, rows, tuple(range(1, 7)))


def short_share_table(first_column: str, shares: Sequence[Totals]) -> Table:
    """The same in short form, each part with its share in one cell; narrow enough for a phone."""
    whole = _whole(shares)
    rows = [[share.name, *(_with_share(getattr(share, name), whole[name]) for name in SHARED)] for share in shares]
    rows.append(["all", *(_kept_together(short(whole[name])) for name in SHARED)])
    return Table((first_column, "parameters", "MACs", "activations"), rows, (1, 2, 3))


def _whole(shares: Sequence[Totals]) -> dict[str, int]:
    return {name: sum(getattr(share, name) for share in shares) for name in SHARED}


def _with_share(part: int, whole: int) -> str:
    return f"{_kept_together(short(part))} ({_kept_together(percent(part, whole))})" if part else "0"


def _kept_together(text: str) -> str:
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def memory_table(memory: MemoryLike) -> Table:
    """What is held in evaluation and in a training step."""
    rows = [
        ["parameters", in_bytes(memory.parameters), ""],
        ["buffers", in_bytes(memory.buffers), "values that are not trained, such as running statistics"],
        ["input", in_bytes(memory.input), ""],
        ["evaluation, at its peak", in_bytes(memory.forward_peak), _at(memory.forward_peak_at)],
        ["evaluation, in a CPU process", in_bytes(memory.forward_process), IN_A_PROCESS],
    ]
    columns = ("memory", "size", "remark")
    if memory.training_problem:
        return Table(columns, [*rows, ["training", "", f"not possible: {memory.training_problem}"]], (1,))
    rows += [
        ["activations kept for backward", in_bytes(memory.saved_activations), ""],
        ["gradients", in_bytes(memory.gradients), ""],
        ["optimizer state", in_bytes(memory.optimizer_state), "SGD with momentum"],
        ["training step, at its peak", in_bytes(memory.training_peak), _at(memory.training_peak_at)],
        ["training step, in a CPU process", in_bytes(memory.training_process), IN_A_PROCESS],
    ]
    return Table(columns, rows, (1,))


def _at(place: str) -> str:
    return f"at {place}" if place else ""
