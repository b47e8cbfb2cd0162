"""Run a module once on tensors without storage and write down every operator: who ran it, at what cost, seeing what.

The operators are caught where PyTorch dispatches them, below modules and functions, so that `nn.Conv2d`,
`functional.conv2d` and `x @ w` are all seen, on every branch. Hooks on the modules say which module each belongs to.
"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from residuum.costing import shapes
from residuum.costing.execution import Execution
from residuum.costing.field import UNKNOWN, Field, of_image, union
from residuum.costing.live import LiveBytes
from residuum.costing.operators import OTHER, Operator, lookup
from residuum.costing.work import Work

IMAGE = -1  # stands for the input among the sources of an operation


@dataclass(eq=False)
class Call:
    """One call of a module, and what came of it."""

    path: str
    module: nn.Module
    parent: Call | None
    born_from: int
    matrix_operations: int = 0
    output: tuple[int, ...] = ()
    field: Field | None = None
    new_values: int = 0
    new_bytes: int = 0


@dataclass(eq=False)
class Operation:
    """One operator as it ran, views left out."""

    name: str
    group: str
    detail: str
    work: Work
    call: Call
    output: tuple[int, ...]
    field: Field | None
    sources: frozenset[int]
    new_values: int
    new_bytes: int
    parameters: frozenset[str]  # those it reads


@dataclass(frozen=True)
class Origin:
    """Where a tensor comes from.

    Attributes:
        sources: the operations that made it, or `IMAGE`.
        field: what it sees of the image; None where it does not depend on it.
        parameters: those that it is, or is a view of.
    """

    sources: frozenset[int] = frozenset()
    field: Field | None = None
    parameters: frozenset[str] = frozenset()


@dataclass
class Trace:
    """What ran: operators, and both operators (by their place) and calls of modules in the order they began."""

    operations: list[Operation] = field(default_factory=list)
    order: list[Call | int] = field(default_factory=list)
    unknown: Counter[str] = field(default_factory=Counter)


class Origins:
    """The origin of every tensor that is alive."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[weakref.ref[Tensor], Origin]] = {}
        self._written: dict[int, Origin] = {}  # by storage: what was written into a part of it

    def put(self, tensor: Tensor, origin: Origin, *, written: bool = False, new: bool = False) -> None:
        """Keep the origin of a tensor, whose storage was `written` into or is `new`."""
        self._known[id(tensor)] = (weakref.ref(tensor), origin)
        key = tensor.untyped_storage()._cdata
        if written:
            before = self._written.get(key)
            self._written[key] = origin if before is None else _joined(before, origin, tensor.dim())
        elif new:
            self._written.pop(key, None)  # it may lie where an old one lay

    def get(self, tensor: Tensor) -> Origin | None:
        reference, origin = self._known.get(id(tensor), (None, None))
        if reference is None or reference() is not tensor:
            origin = None
        if not self._written:
            return origin
        written = self._written.get(tensor.untyped_storage()._cdata)
        if written is None or origin is None:
            return origin or written
        return origin if written.sources <= origin.sources else _joined(origin, written, tensor.dim())


def _joined(a: Origin, b: Origin, rank: int) -> Origin:
    """Both together: a tensor into whose part another was written."""
    fields = [each for each in (a.field, b.field) if each is not None]
    if len(fields) < 2:
        return Origin(a.sources | b.sources, fields[0] if fields else None)
    shape = (2,) * rank  # positions along an axis that both share are the same ones; only equality matters
    return Origin(a.sources | b.sources, union([(each, shape) for each in fields], rank))


class Tracer(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Catches every operator that runs while it is entered."""

    def __init__(self, parameters: Mapping[str, Tensor], weights: Iterable[Tensor], device: torch.device) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.trace = Trace()
        self.origins = Origins()
        for name, parameter in parameters.items():
            self.origins.put(parameter, Origin(parameters=frozenset({name})))
        self.stack: list[Call] = []
        self.memory = LiveBytes(self.where)
        self._device = device
        for tensor in weights:
            self.memory.know(tensor)
        self._born: dict[int, int] = {}
        self._births = 0

    def where(self) -> str:
        """The module that is running."""
        return self.stack[-1].path if self.stack else ""

    def image(self, tensor: Tensor) -> None:
        """Declare an input: an image, or a batch of anything else."""
        axes = max(0, tensor.dim() - 2) if tensor.is_floating_point() else 0
        self.origins.put(tensor, Origin(frozenset({IMAGE}), of_image(axes)))
        self.memory.see(tensor)

    def __torch_dispatch__(
        self, func: torch._ops.OpOverload, types: object, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        args = tuple(shapes.brought(each, self._device) for each in args)
        kwargs = {name: shapes.brought(each, self._device) for name, each in kwargs.items()} if kwargs else {}
        result = shapes.run(func, args, kwargs)
        outputs = list(_tensors([result]))
        if not outputs:
            return result
        with self.memory.passing(shapes.kernel_bytes(func, outputs[0])):
            born = {id(each) for each in outputs if self._see(each)}
        self._record(func, (*args, *_tensors(list(kwargs.values()))), outputs, born)
        return result

    def _see(self, tensor: Tensor) -> bool:
        new = self.memory.see(tensor)
        if new:
            self._births += 1
            self._born[tensor.untyped_storage()._cdata] = self._births
        return new

    def _record(
        self, func: torch._ops.OpOverload, args: tuple[Any, ...], outputs: list[Tensor], born: set[int]
    ) -> None:
        name, operator = lookup(func)
        given = [(at, tensor) for at, each in enumerate(args) for tensor in _tensors([each])]
        origins = [(at, tensor, origin) for at, tensor in given if (origin := self.origins.get(tensor)) is not None]
        result = outputs[0]
        run = _execution(args, result, origins)
        origin = Origin(
            frozenset().union(*(each.sources for _, _, each in origins)),
            _field(operator, run),
            frozenset().union(*(each.parameters for _, _, each in origins)),
        )
        written = any(result is tensor for _, tensor in given)
        if operator is None or not operator.view:
            new = id(result) in born
            operation = Operation(
                name=name,
                group=operator.group if operator is not None else OTHER,
                detail=operator.detail(run) if operator is not None else "",
                work=operator.work(run) if operator is not None else Work(),
                call=self.stack[-1],
                output=tuple(result.shape),
                field=origin.field,
                sources=origin.sources,
                new_values=result.numel() if new else 0,
                new_bytes=result.nbytes if new else 0,
                parameters=origin.parameters,
            )
            origin = Origin(frozenset({len(self.trace.operations)}), origin.field)
            self._keep(operation, known=operator is not None)
        for output in outputs:
            self.origins.put(output, origin, written=written, new=id(output) in born)

    def _keep(self, operation: Operation, *, known: bool) -> None:
        self.trace.order.append(len(self.trace.operations))
        self.trace.operations.append(operation)
        if not known:
            self.trace.unknown[operation.name] += 1
        if operation.work.macs:
            for call in self.stack:
                call.matrix_operations += 1

    @contextmanager
    def hooked(self, module: nn.Module) -> Iterator[None]:
        """Listen to the calls of a module and all below it."""
        with ExitStack() as hooks:
            for path, each in module.named_modules():
                before = each.register_forward_pre_hook(self._enter(path), prepend=True)
                after = each.register_forward_hook(self._leave)
                hooks.callback(before.remove)
                hooks.callback(after.remove)
            yield

    def _enter(self, path: str) -> Any:
        def enter(module: nn.Module, _: object) -> None:
            call = Call(path, module, self.stack[-1] if self.stack else None, self._births)
            self.trace.order.append(call)
            self.stack.append(call)

        return enter

    def _leave(self, module: nn.Module, _: object, output: Any) -> None:
        call = self.stack.pop()
        while call.module is not module:  # it failed, and whoever called it went on without it
            call = self.stack.pop()
        tensors = [each for each in tree_leaves(output) if isinstance(each, Tensor)]
        if not tensors:
            return
        call.output = tuple(tensors[0].shape)
        origin = self.origins.get(tensors[0])
        call.field = origin.field if origin is not None else None
        for tensor in tensors:
            if self._born.get(tensor.untyped_storage()._cdata, 0) > call.born_from:
                call.new_values += tensor.numel()
                call.new_bytes += tensor.nbytes


def _execution(args: tuple[Any, ...], result: Tensor, origins: Sequence[tuple[int, Tensor, Origin]]) -> Execution:
    depending = [(at, tensor, origin.field) for at, tensor, origin in origins if origin.field is not None]
    seen = [(field, tuple(tensor.shape)) for _, tensor, field in depending]
    return Execution(args, result, seen, [at for at, _, _ in depending])


def _field(operator: Operator | None, run: Execution) -> Field | None:
    """What the result sees: nothing where no argument depends on the image, unknown after an unknown operator."""
    if not run.seen:
        return None
    if operator is None or not all(field.known for field, _ in run.seen):
        return UNKNOWN
    seen = operator.field(run)
    lost = seen.known and not seen.axes and any(field.axes for field, _ in run.seen)
    return None if lost else seen


def _tensors(values: Any) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)
