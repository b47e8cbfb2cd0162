"""The values of a cost report: `Layer` by layer, totals by stage and by kind of layer, memory; plain exact integers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from residuum.costing.execution import by
from residuum.costing.memory import Memory
from residuum.costing.operators import CONVOLUTION, GROUPS

CONVENTION = (
    "1 MAC = one multiply-add of a convolution or matrix product, biases not counted (the papers' FLOPs); "
    "1 FLOP = one floating-point operation: 2 for each MAC, and all others"
)
INPUT = "input"
HEAD = "head"
TRAINING_ONLY = "not run in evaluation"
TOTALS = ("macs", "flops", "activation_values", "activation_bytes", "inference_parameters", "receptive_field")


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer: a module without parts, or an operator that a module calls itself (`layer1.0.add`).

    Attributes:
        name: its path in the module.
        kind: class of the module, or the operator.
        group: convolution, linear, normalisation, activation, pooling, addition or other.
        detail: kernel, stride and channels, such as `3x3/2, 64`.
        output_shape: of one call, images first.
        parameters: trainable and frozen values, each counted at the first layer that uses it.
        macs, flops: of all calls, for the whole batch.
        activation_values, activation_bytes: what its result newly takes; 0 for views and work in place.
        receptive_field: pixels seen along each axis of the image, borders not clipped; None where that has no meaning.
        stride: pixels from one position to the next.
        calls: how often it runs in evaluation; 0 for what only training uses.
        sources: places of the layers whose results it reads.
    """

    name: str
    kind: str
    group: str
    detail: str = ""
    output_shape: tuple[int, ...] = ()
    parameters: int = 0
    macs: int = 0
    flops: int = 0
    activation_values: int = 0
    activation_bytes: int = 0
    receptive_field: tuple[int, ...] | None = None
    stride: tuple[float, ...] | None = None
    calls: int = 0
    sources: tuple[int, ...] = ()

    @property
    def size(self) -> tuple[int, ...]:
        """Height and width of the map; empty where positions are lost."""
        return self.output_shape[2:]


@dataclass(frozen=True)
class Share:
    """Totals of a part of the net: a stage (one size of map) or a group of layers."""

    name: str
    layers: int
    parameters: int
    macs: int
    flops: int
    activation_values: int
    activation_bytes: int


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a module costs at one batch; all integers are exact.

    Attributes:
        name: class of the module.
        input_shapes: of the inputs, images first.
        layers: in the order of their first run; the first is the input, the last are those that do not run.
        parameters, trainable_parameters: each tensor counted once.
        memory: bytes of evaluation and training.
        unknown: operators that are not counted, with the number of times they ran; the totals leave them out.
        kinds: class of each module by its path, for tables that fold.
    """

    name: str
    input_shapes: tuple[tuple[int, ...], ...]
    layers: tuple[Layer, ...]
    parameters: int
    trainable_parameters: int
    memory: Memory
    unknown: Mapping[str, int]
    kinds: Mapping[str, str]

    @property
    def batch(self) -> int:
        return self.input_shapes[0][0] if self.input_shapes and self.input_shapes[0] else 1

    @property
    def macs(self) -> int:
        return sum(layer.macs for layer in self.layers)

    @property
    def flops(self) -> int:
        return sum(layer.flops for layer in self.layers)

    @property
    def activation_values(self) -> int:
        """Values that all layers write, with the input's own."""
        return sum(layer.activation_values for layer in self.layers)

    @property
    def activation_bytes(self) -> int:
        return sum(layer.activation_bytes for layer in self.layers)

    @property
    def inference_parameters(self) -> int:
        """Parameters of the layers that run in evaluation."""
        return sum(layer.parameters for layer in self.layers if layer.calls)

    @property
    def receptive_field(self) -> tuple[int, ...] | None:
        """Of the last convolution, in pixels along each axis; of the one that sees most where several end the net."""
        convolutions = [layer for layer in self.layers if layer.group == CONVOLUTION and layer.calls]
        fields = [layer.receptive_field for layer in convolutions]
        if not fields or fields[-1] is None:
            return None
        same_map = [seen for seen in fields if seen is not None and len(seen) == len(fields[-1])]
        return max(same_map, key=math.prod)

    def stages(self) -> tuple[Share, ...]:
        """Totals by size of map, in order; layers that have lost all positions at the end are the head."""
        names = _stage_names(self.layers)
        order = list(dict.fromkeys(names))
        return tuple(_share(n, [x for x, of in zip(self.layers, names, strict=True) if of == n]) for n in order)

    def groups(self) -> tuple[Share, ...]:
        """Totals by kind of layer."""
        parts = {group: [layer for layer in self.layers if layer.group == group] for group in (INPUT, *GROUPS)}
        return tuple(_share(group, layers) for group, layers in parts.items() if layers)

    def to_json(self) -> dict[str, Any]:
        """Plain values: totals, every layer, stages, groups, memory."""
        return {
            "name": self.name,
            "convention": CONVENTION,
            "input_shapes": self.input_shapes,
            "batch": self.batch,
            "parameters": self.parameters,
            "trainable_parameters": self.trainable_parameters,
            **{name: getattr(self, name) for name in TOTALS},
            "memory": asdict(self.memory),
            "stages": [asdict(share) for share in self.stages()],
            "groups": [asdict(share) for share in self.groups()],
            "layers": [asdict(layer) for layer in self.layers],
            "unknown_operators": dict(self.unknown),
        }


def _share(name: str, layers: Sequence[Layer]) -> Share:
    summed = ("parameters", "macs", "flops", "activation_values", "activation_bytes")
    return Share(name, len(layers), *(sum(getattr(layer, field) for layer in layers) for field in summed))


def _stage_names(layers: Sequence[Layer]) -> list[str]:
    """The stage of each layer: the size of the map it writes; what comes after the last map is the head.

    A layer between two maps that has no positions of its own (a gate) belongs to the map before it.
    """
    maps = {at for at, layer in enumerate(layers) if layer.size and max(layer.size) > 1 and layer.calls}
    last = max(maps, default=-1)
    names: list[str] = []
    current = HEAD
    for at, layer in enumerate(layers):
        if at in maps:
            current = by(layer.size)
        names.append(TRAINING_ONLY if not layer.calls else HEAD if at > last else current)
    return names
