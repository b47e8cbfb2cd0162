"""What a module costs: `cost(module, (3, 224, 224))` gives every layer and all totals, exact, nothing allocated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

import torch
from torch import Tensor, nn

from residuum.costing.cost import INPUT, Cost, Layer
from residuum.costing.field import Field
from residuum.costing.limits import ERRORS, explained, require_input, require_module, require_place, said
from residuum.costing.memory import Memory, Twin, forward_memory, training_step
from residuum.costing.modes import in_mode
from residuum.costing.operators import CONVOLUTION, LINEAR, NORMALISATION, OTHER, POOLING
from residuum.costing.trace import IMAGE, Call, Operation, Trace, Tracer
from residuum.errors import InputError


def cost(
    module: nn.Module,
    input_size: Sequence[int] | Tensor | Sequence[Tensor],
    *,
    batch: int = 1,
    device: str = "meta",
    training: bool = True,
) -> Cost:
    """Count what a module costs, without allocating its weights or activations and without changing it.

    Args:
        module: any `nn.Module` that runs on meta tensors; its own device does not matter.
        input_size: channels, height and width of one image; or example tensors with their batch, where the module takes
            several inputs or other than floating-point ones. Their shape and type count, on `cpu` their values as well.
            Of floating-point ones, dimensions from the third on are the axes of receptive fields.
        batch: images at once, where `input_size` is a size.
        device: `meta`, or `cpu` for a module that needs real values to run: it is then really run, on random ones.
        training: work out the memory of a training step as well.

    Raises:
        InputError: the module cannot take this input; the message names the layer and an input that works.
    """
    require_place(device)
    require_input(input_size, batch)
    require_module(module)
    module = getattr(module, "_orig_mod", module)  # what torch.compile has wrapped
    with torch.random.fork_rng(devices=[]):  # dropout draws numbers, on the meta device too
        return _counted(module, input_size, batch, torch.device(device), training=training)


def _counted(
    module: nn.Module,
    input_size: Sequence[int] | Tensor | Sequence[Tensor],
    batch: int,
    device: torch.device,
    *,
    training: bool,
) -> Cost:
    twin, inputs, tracer = traced(module, input_size, batch, device)
    memory = forward_memory(twin, inputs, tracer.memory)
    if training:
        memory = _with_training(memory, twin, inputs)
    own = {id(each): each for each in module.parameters()}.values()
    return Cost(
        name=type(module).__name__,
        input_shapes=tuple(tuple(each.shape) for each in inputs),
        layers=tuple(_layers(module, tracer.trace, inputs)),
        parameters=sum(each.numel() for each in own),
        trainable_parameters=sum(each.numel() for each in own if each.requires_grad),
        memory=memory,
        unknown=dict(tracer.trace.unknown),
        kinds={path: type(each).__name__ for path, each in module.named_modules()},
    )


def traced(
    module: nn.Module, input_size: Sequence[int] | Tensor | Sequence[Tensor], batch: int, device: torch.device
) -> tuple[Twin, list[Tensor], Tracer]:
    """Run a twin of the module once: the twin, what it was given, and all that was written down.

    Raises:
        InputError: the module cannot take this input.
    """
    twin = Twin(module, device)
    inputs = _inputs(twin, input_size, batch)
    parameters = {name: twin.parameters[name] for name, _ in module.named_parameters()}
    tracer = Tracer(parameters, twin.weights(), device)
    for each in inputs:
        tracer.image(each)
    try:
        with torch.no_grad(), in_mode(module, training=False), tracer.hooked(module), tracer:
            twin.run(inputs)
    except ERRORS as error:
        raise explained(error, twin, inputs, tracer.where()) from error
    return twin, inputs, tracer


def _inputs(twin: Twin, given: Sequence[int] | Tensor | Sequence[Tensor], batch: int) -> list[Tensor]:
    """The input on the device of the trace: copies, or of the type of the weights where only a size was given."""
    if isinstance(given, Tensor):
        given = [given]
    if all(isinstance(each, Tensor) for each in given):
        return [each.detach().to(twin.device, copy=True) for each in given]  # type: ignore[union-attr]
    types = [each.dtype for each in twin.parameters.values() if each.is_floating_point()]
    generator = torch.Generator().manual_seed(0) if twin.device.type != "meta" else None
    shape = (batch, *given)
    try:
        return [torch.rand(shape, generator=generator, device=twin.device, dtype=types[0] if types else None)]
    except RuntimeError as error:
        raise InputError(f"input: {shape} holds more values than can be counted. Try: (3, 224, 224)") from error


def _with_training(memory: Memory, twin: Twin, inputs: Sequence[Tensor]) -> Memory:
    try:
        step = training_step(twin, inputs)
    except ERRORS as error:
        return replace(memory, training_problem=said(error)[:200])
    return replace(
        memory,
        saved_activations=step.saved,
        gradients=step.gradients,
        optimizer_state=step.optimizer_state,
        training_peak=memory.parameters + memory.buffers + step.peak,
        training_peak_at=step.peak_at,
        training_process=step.process,
    )


# ----- from operators to layers


@dataclass
class _Row:
    """A layer in the making: the operators and calls that belong to it."""

    name: str
    calls: list[Call] = field(default_factory=list)
    operations: dict[int, Operation] = field(default_factory=dict)


def _layers(module: nn.Module, trace: Trace, inputs: Sequence[Tensor]) -> Iterator[Layer]:
    """The input, what ran in its order, then what has parameters and did not run."""
    yield _input_layer(inputs)
    sizes = {name: each.numel() for name, each in module.named_parameters()}
    rows = _rows(trace)
    places = {index: at for at, row in enumerate(rows, start=1) for index in row.operations} | {IMAGE: 0}
    for at, row in enumerate(rows, start=1):
        names = {name for operation in row.operations.values() for name in operation.parameters}
        parameters = sum(sizes.pop(name, 0) for name in names)
        sources = {places[source] for operation in row.operations.values() for source in operation.sources} - {at}
        made = _module_layer(row) if row.calls else _operator_layer(row)
        yield replace(made, parameters=parameters, sources=tuple(sorted(sources)))
    yield from _idle_layers(module, sizes)


def _rows(trace: Trace) -> list[_Row]:
    rows: dict[tuple[str, str], _Row] = {}
    numbers: Counter[tuple[Call, str]] = Counter()
    for event in trace.order:
        if isinstance(event, Call):
            if _layer_call(event) is event and not isinstance(event.module, nn.Identity):
                name = event.path or type(event.module).__name__
                rows.setdefault((event.path, ""), _Row(name)).calls.append(event)
            continue
        operation = trace.operations[event]
        call = operation.call
        layer = _layer_call(call)
        if layer is not None:
            rows[layer.path, ""].operations[event] = operation
            continue
        numbers[call, operation.name] += 1
        number = numbers[call, operation.name]
        name = ".".join(filter(None, (call.path, operation.name))) + (f"_{number}" if number > 1 else "")
        rows.setdefault((call.path, name), _Row(name)).operations[event] = operation
    return list(rows.values())


def _layer_call(call: Call | None) -> Call | None:
    """The outermost call, of this one and those around it, that is shown as one layer."""
    found = None
    while call is not None:
        if _is_layer(call):
            found = call
        call = call.parent
    return found


def _is_layer(call: Call) -> bool:
    """A layer of PyTorch, or a module without parts that convolves or multiplies at most once."""
    module = call.module
    if isinstance(module, nn.MultiheadAttention):
        return True
    if any(name != "parametrizations" for name, _ in module.named_children()):
        return False
    of_torch = _is_of_torch(type(module))  # type: ignore[arg-type]  # torch types __hash__ of modules oddly
    return of_torch or (call.parent is not None and call.matrix_operations <= 1)


@cache
def _is_of_torch(kind: type) -> bool:
    return any(base.__module__.startswith("torch.nn.modules") and base is not nn.Module for base in kind.__mro__)


def _module_layer(row: _Row) -> Layer:
    first, operations = row.calls[0], list(row.operations.values())
    kind = type(first.module).__name__
    main = max(operations, key=lambda each: each.work.macs, default=None)
    group = OTHER if main is None else main.group
    if main is None or not main.work.macs:
        group = NORMALISATION if "Norm" in kind else POOLING if "Pool" in kind else group
    return Layer(
        name=row.name,
        kind=kind,
        group=group,
        detail=main.detail if main is not None else "",
        output_shape=first.output,
        macs=sum(each.work.macs for each in operations),
        flops=sum(each.work.flops for each in operations),
        activation_values=sum(call.new_values for call in row.calls),
        activation_bytes=sum(call.new_bytes for call in row.calls),
        receptive_field=_sizes(first.field),
        stride=_jumps(first.field),
        calls=len(row.calls),
    )


def _operator_layer(row: _Row) -> Layer:
    operations = list(row.operations.values())
    first = operations[0]
    return Layer(
        name=row.name,
        kind=first.name,
        group=first.group,
        detail=first.detail,
        output_shape=first.output,
        macs=sum(each.work.macs for each in operations),
        flops=sum(each.work.flops for each in operations),
        activation_values=sum(each.new_values for each in operations),
        activation_bytes=sum(each.new_bytes for each in operations),
        receptive_field=_sizes(first.field),
        stride=_jumps(first.field),
        calls=len(operations),
    )


def _idle_layers(module: nn.Module, sizes: dict[str, int]) -> Iterator[Layer]:
    """Modules whose parameters no layer has used: what only training uses, or nothing does."""
    owners: Counter[str] = Counter()
    for name, size in sizes.items():
        owners[name.rpartition(".")[0]] += size
    for path, size in owners.items():
        kind = type(module.get_submodule(path)).__name__
        yield Layer(name=path or kind, kind=kind, group=_idle_group(kind), parameters=size)


def _idle_group(kind: str) -> str:
    for part, group in (("Conv", CONVOLUTION), ("Linear", LINEAR), ("Norm", NORMALISATION)):
        if part in kind:
            return group
    return OTHER


def _sizes(seen: Field | None) -> tuple[int, ...] | None:
    return tuple(axis.size for axis in seen.axes) or None if seen is not None and seen.known else None


def _jumps(seen: Field | None) -> tuple[float, ...] | None:
    return tuple(float(axis.jump) for axis in seen.axes) or None if seen is not None and seen.known else None


def _input_layer(inputs: Sequence[Tensor]) -> Layer:
    axes = max(0, inputs[0].dim() - 2)
    return Layer(
        name=INPUT,
        kind=INPUT,
        group=INPUT,
        output_shape=tuple(inputs[0].shape),
        activation_values=sum(each.numel() for each in inputs),
        activation_bytes=sum(each.nbytes for each in inputs),
        receptive_field=(1,) * axes or None,
        stride=(1.0,) * axes or None,
        calls=1,
    )
