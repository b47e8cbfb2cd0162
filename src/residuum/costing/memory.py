"""Memory of a forward pass and of a training step, by running both on tensors without storage.

What is held is followed storage by storage (`live`), so the peak is that of the very order in which the module, the
autograd engine and the optimizer make and drop tensors. Not in it: what kernels allocate inside themselves, the
allocator's own waste, and the code of libraries. `results/cost-memory.json` holds it against measured processes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from residuum.costing import shapes
from residuum.costing.live import LiveBytes
from residuum.costing.modes import in_mode


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes at one batch.

    Attributes:
        parameters, buffers: the net's own.
        input: the batch of images.
        forward_peak: the most held at once in evaluation, with all of the above; `forward_peak_at` names the module.
        forward_process: what a process on a CPU grows by for it, with what kernels and the allocator hold.
        saved_activations: held from the forward pass for the backward pass, with neither input nor parameters.
        gradients: one value for each parameter that is trained.
        optimizer_state: what the optimizer keeps (one momentum for each parameter that is trained).
        training_peak: the most held at once in a training step, with everything; `training_peak_at` says when.
        training_process: what a process on a CPU grows by for it.
        training_problem: why the module cannot be trained on this batch, where it cannot; the figures are then 0.
    """

    parameters: int
    buffers: int
    input: int
    forward_peak: int
    forward_peak_at: str
    forward_process: int
    saved_activations: int = 0
    gradients: int = 0
    optimizer_state: int = 0
    training_peak: int = 0
    training_peak_at: str = ""
    training_process: int = 0
    training_problem: str = ""


class Twin:
    """The parameters and buffers of a module on another device: without values on `meta`, copied elsewhere.

    The module itself is left as it is, in values, gradients and mode.
    """

    def __init__(self, module: nn.Module, device: torch.device) -> None:
        self.module, self.device = module, device
        made: dict[int, Tensor] = {}

        def twin(tensor: Tensor) -> Tensor:
            if id(tensor) not in made:
                with torch.no_grad():
                    on_meta = device.type == "meta"
                    made[id(tensor)] = shapes.empty_like(tensor) if on_meta else tensor.clone().to(device)
                if isinstance(tensor, nn.Parameter):
                    made[id(tensor)] = nn.Parameter(made[id(tensor)], requires_grad=tensor.requires_grad)
            return made[id(tensor)]

        self.parameters = {name: twin(each) for name, each in module.named_parameters(remove_duplicate=False)}
        self.buffers = {name: twin(each) for name, each in module.named_buffers(remove_duplicate=False)}

    def weights(self) -> Iterator[Tensor]:
        """All parameters and buffers."""
        yield from self.parameters.values()
        yield from self.buffers.values()

    def run(self, inputs: Sequence[Any]) -> Any:
        """Call the module with these values in place of its own."""
        with torch.device(self.device):
            return functional_call(self.module, {**self.parameters, **self.buffers}, tuple(inputs))


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Shows every result to a `LiveBytes`."""

    def __init__(self, memory: LiveBytes, device: torch.device) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.memory, self.device = memory, device

    def __torch_dispatch__(
        self, func: torch._ops.OpOverload, types: object, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        args = tuple(shapes.brought(each, self.device) for each in args)
        kwargs = {name: shapes.brought(each, self.device) for name, each in kwargs.items()} if kwargs else {}
        result = shapes.run(func, args, kwargs)
        with self.memory.passing(shapes.kernel_bytes(func, result)):
            for each in result if isinstance(result, list | tuple) else (result,):
                if isinstance(each, Tensor):
                    self.memory.see(each)
        return result


def total_bytes(tensors: Mapping[str, Tensor]) -> int:
    """Bytes of the tensors, each once."""
    return sum({id(each): each.nbytes for each in tensors.values()}.values())


def forward_memory(twin: Twin, inputs: Sequence[Any], held: LiveBytes) -> Memory:
    """Memory of an evaluation, from what its input and activations `held`."""
    parameters, buffers = total_bytes(twin.parameters), total_bytes(twin.buffers)
    return Memory(
        parameters=parameters,
        buffers=buffers,
        input=sum(each.nbytes for each in tree_leaves(inputs) if isinstance(each, Tensor)),
        forward_peak=parameters + buffers + held.peak,
        forward_peak_at=held.peak_at,
        forward_process=held.heap.peak,
    )


@dataclass(frozen=True)
class TrainingStep:
    """What a training step holds: bytes, and the phase of its peak."""

    saved: int
    gradients: int
    optimizer_state: int
    peak: int
    peak_at: str
    process: int


def training_step(twin: Twin, inputs: Sequence[Any]) -> TrainingStep:
    """Two steps of SGD with momentum as `residuum train` makes them, weights not counted; the first makes the momentum.

    Raises:
        RuntimeError, ValueError: the module cannot be trained on this batch.
    """
    phase = "forward"
    memory = LiveBytes(lambda: phase)
    for each in twin.weights():
        memory.know(each)
    trained = list({id(each): each for each in twin.parameters.values() if each.requires_grad}.values())
    optimizer = torch.optim.SGD(trained, lr=0.1, momentum=0.9, weight_decay=1e-4, foreach=True) if trained else None
    own = [tree_map(lambda each: each.clone() if isinstance(each, Tensor) else each, one) for one in inputs]
    for each in tree_leaves(own):
        if isinstance(each, Tensor):
            memory.see(each)
    saved = gradients = state = 0
    given = memory.now
    with in_mode(twin.module, training=True), _Watch(memory, twin.device), torch.enable_grad():
        for _ in range(2):
            phase = "forward"
            answer = twin.run(own)
            loss = sum(each.sum() for each in tree_leaves(answer) if isinstance(each, Tensor) and each.requires_grad)
            del answer
            saved = memory.now - given - (loss.nbytes if isinstance(loss, Tensor) else 0)
            phase = "backward"
            if isinstance(loss, Tensor):
                loss.backward()  # type: ignore[no-untyped-call]
            del loss
            gradients = sum(each.grad.nbytes for each in trained if each.grad is not None)
            phase = "optimizer step"
            if optimizer is not None:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                state = memory.now - given
    return TrainingStep(saved - state, gradients, state, memory.peak, memory.peak_at, memory.heap.peak)
