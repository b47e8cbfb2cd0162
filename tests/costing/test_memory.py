"""Memory against real runs on the CPU: what autograd keeps, and what the profiler saw allocated and freed.

Allocations that a convolution makes and frees within itself are left out of the measurement: they are workspaces of
the backend's kernels, which the cost does not claim to know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._C._profiler import _EventType
from torch.profiler import ProfilerActivity, profile

from residuum.costing.count import cost
from residuum.nets.catalog import net
from residuum.nets.resnet import ResNet, Variant

KERNELS = ("aten::convolution", "aten::convolution_backward")
BATCH = 16


def residual(*blocks: int, classes: int = 10, **changes: Any) -> nn.Module:
    return ResNet(Variant(blocks=blocks, widths=(8, 16, 32)[: len(blocks)], **changes), num_classes=classes)


def nets() -> dict[str, tuple[nn.Module, tuple[int, int, int]]]:
    return {
        "option A": (residual(1, 1, stem="cifar", shortcut="pad"), (3, 48, 48)),
        "bottleneck": (residual(1, 1, 1, block="bottleneck"), (3, 96, 96)),
        "pre-activation": (residual(2, 1, stem="cifar", preactivation=True), (3, 48, 48)),
        "gates": (residual(1, 1, block="bottleneck", stem="cifar", squeeze=4), (3, 32, 32)),
        "lenet5": (net("lenet5"), (1, 32, 32)),
        "in place, dropout": (
            nn.Sequential(
                nn.Conv2d(3, 16, 3),
                nn.ReLU(inplace=True),
                nn.MaxPool2d(2),
                nn.Dropout(),
                nn.Flatten(),
                nn.Linear(3600, 9),
            ),
            (3, 32, 32),
        ),
        "layer norm": (
            nn.Sequential(nn.Conv2d(3, 8, 3), nn.GELU(), nn.LayerNorm(30), nn.SiLU(), nn.AvgPool2d(2), nn.Flatten()),
            (3, 32, 32),
        ),
    }


NETS = list(nets())


def kept_for_backward(module: nn.Module, image: Tensor) -> int:
    """Bytes of all storages autograd saves, but those of the image and the parameters."""
    left_out = {each.untyped_storage().data_ptr() for each in (image, *module.parameters(), *module.buffers())}
    kept: dict[int, int] = {}
    alive: list[Tensor] = []

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in left_out and storage.nbytes():
            kept[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        module.train()(image)
    return sum(kept.values())


def measured_peak(run: Callable[[], None]) -> int:
    """The most bytes held at once that were allocated during the run, without workspaces of convolutions."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    events: list[tuple[int, int, int, int]] = []  # time, address, bytes, id of the convolution around it

    def collect(nodes: Iterable[Any], kernel: int) -> None:
        for node in nodes:
            inside = node.id if not kernel and node.name in KERNELS else kernel
            if node.tag == _EventType.Allocation:
                fields = node.extra_fields
                events.append((node.start_time_ns, fields.ptr, fields.alloc_size, inside))
            collect(node.children, inside)

    collect(profiler.profiler.kineto_results.experimental_event_tree(), 0)
    events.sort(key=lambda event: event[0])
    born: dict[int, int] = {}
    workspace: set[int] = set()
    for at, (_, address, size, kernel) in enumerate(events):
        if size > 0:
            born[address] = at
        elif address in born:
            made = born.pop(address)
            if kernel and kernel == events[made][3]:
                workspace |= {made, at}
    now = most = 0
    for at, (_, _, size, _) in enumerate(events):
        now += 0 if at in workspace else size
        most = max(most, now)
    return most


@pytest.mark.parametrize("name", NETS)
def test_saved_activations_are_what_autograd_keeps(name: str) -> None:
    module, size = nets()[name]
    saved = cost(module, size, batch=BATCH).memory.saved_activations
    assert saved == kept_for_backward(module, torch.rand(BATCH, *size))


@pytest.mark.parametrize("name", NETS)
def test_the_peak_of_an_evaluation_is_the_measured_one(name: str) -> None:
    module, size = nets()[name]
    memory = cost(module, size, batch=BATCH).memory
    image = torch.rand(BATCH, *size)
    module.eval()

    def run() -> None:
        with torch.no_grad():
            own = image.clone()
            module(own)

    run()
    measured = measured_peak(run) + memory.parameters + memory.buffers
    assert memory.forward_peak == pytest.approx(measured, rel=1e-3)


@pytest.mark.parametrize("name", NETS)
def test_the_peak_of_a_training_step_is_the_measured_one(name: str) -> None:
    module, size = nets()[name]
    memory = cost(module, size, batch=BATCH).memory
    image = torch.rand(BATCH, *size)
    module.train()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4, foreach=True)

    def step() -> None:
        own = image.clone()
        module(own).sum().backward()
        optimizer.step()

    step()
    optimizer.zero_grad(set_to_none=True)
    measured = measured_peak(step) + memory.parameters + memory.buffers + memory.optimizer_state
    assert memory.training_peak == pytest.approx(measured, rel=0.06)  # option A's backward copies within its kernels


def test_a_chain_by_hand() -> None:
    """Input, result and the result before it are held at once; backward needs the results of sigmoid and tanh."""
    module = nn.Sequential(nn.Conv2d(3, 3, 1, bias=False), nn.Sigmoid(), nn.Tanh())
    one = 2 * 3 * 8 * 8 * 4
    memory = cost(module, (3, 8, 8), batch=2).memory
    assert (memory.parameters, memory.input, memory.forward_peak) == (36, one, 36 + 3 * one)
    assert memory.saved_activations == 2 * one


def test_parameters_gradients_and_state_by_hand() -> None:
    module = nn.Sequential(nn.Linear(10, 7), nn.BatchNorm1d(7), nn.Linear(7, 3).requires_grad_(False))
    memory = cost(module, (10,), batch=4).memory
    assert memory.parameters == 4 * (77 + 14 + 24)
    assert memory.buffers == 4 * 14 + 8  # running mean and variance, and a count of int64
    assert memory.gradients == memory.optimizer_state == 4 * (77 + 14)


def test_shared_weights_and_views_of_them_are_held_once() -> None:
    first, second = nn.Linear(6, 6, bias=False), nn.Linear(6, 6, bias=False)
    second.weight = first.weight
    memory = cost(nn.Sequential(first, second), (6,)).memory
    assert memory.parameters == memory.gradients == 4 * 36
    assert memory.forward_peak == 4 * 36 + 3 * 4 * 6


@pytest.mark.parametrize(("dtype", "size"), [(torch.float16, 2), (torch.bfloat16, 2), (torch.float64, 8)])
def test_types_have_their_sizes(dtype: torch.dtype, size: int) -> None:
    memory = cost(nn.Conv2d(3, 4, 3, bias=False).to(dtype), (3, 8, 8)).memory
    assert (memory.parameters, memory.input) == (108 * size, 192 * size)
    assert memory.forward_peak == (108 + 192 + 144) * size


def test_a_batch_that_cannot_be_trained_is_said() -> None:
    memory = cost(nn.Sequential(nn.Flatten(), nn.BatchNorm1d(192)), (3, 8, 8), batch=1).memory
    assert "more than 1 value per channel" in memory.training_problem
    assert (memory.saved_activations, memory.training_peak) == (0, 0)
    assert memory.forward_peak > 0


def test_a_module_without_parameters_has_a_training_step() -> None:
    memory = cost(nn.ReLU(), (3, 8, 8)).memory
    assert (memory.gradients, memory.optimizer_state, memory.training_problem) == (0, 0, "")


def test_nothing_is_allocated() -> None:
    """100,000 images through resnet152 hold terabytes."""
    with torch.device("meta"):
        module = net("resnet152")
    counted = cost(module, (3, 224, 224), batch=100_000)
    assert counted.memory.training_peak > 10**12
    assert counted.macs == 100_000 * 11_513_626_624
