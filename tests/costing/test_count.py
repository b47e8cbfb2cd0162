"""Costs of all kinds of modules: parameters and rows add up, nothing of the module changes, odd forms are taken."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm
from torch.utils.flop_counter import FlopCounterMode

from residuum.costing.cost import CONVENTION, INPUT, Cost, Layer
from residuum.costing.count import cost
from residuum.errors import InputError
from residuum.nets.catalog import ENTRIES, Entry

LARGE = {"resnet1202", "preact_resnet1001"}


PARTS = ("conv", "relu", "norm", "same", "gate", "attention", "weight_norm", "unused")


def ran(counted: Cost) -> dict[str, Layer]:
    return {layer.name: layer for layer in counted.layers if layer.calls and layer.name != INPUT}


def idle(counted: Cost) -> dict[str, int]:
    return {layer.name: layer.parameters for layer in counted.layers if not layer.calls}


class Call(nn.Module):
    """A function of the module's parts and inputs, as a module."""

    def __init__(self, function: Callable[..., Any], *parts: nn.Module, **weights: Tensor) -> None:
        super().__init__()
        self.function, self.parts = function, nn.ModuleList(parts)
        for name, each in weights.items():
            self.register_parameter(name, nn.Parameter(each))

    def forward(self, *values: Tensor) -> Any:
        return self.function(self, *values)


# ----- the catalog


@pytest.mark.parametrize("known", [each for each in ENTRIES if each.name not in LARGE], ids=lambda each: each.name)
def test_every_net_of_the_catalog(known: Entry) -> None:
    """Parameters and MACs of the catalog, and of PyTorch's own counter on the meta device."""
    with torch.device("meta"):
        net = known.build()
    counted = cost(net, known.input_shape, training=False)
    assert not counted.unknown
    assert (counted.parameters, counted.macs) == (known.parameters, known.macs)
    assert sum(layer.parameters for layer in counted.layers) == counted.parameters
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net.eval()(torch.empty(1, *known.input_shape, device="meta"))
    assert counter.get_total_flops() == 2 * counted.macs
    assert all(0 <= source < at for at, layer in enumerate(counted.layers) for source in layer.sources)


def test_all_but_the_weights_scales_with_the_batch() -> None:
    known = next(each for each in ENTRIES if each.name == "resnet20")
    one, many = (cost(known.build(), known.input_shape, batch=batch) for batch in (1, 7))
    assert many.batch == 7
    for value in ("macs", "flops", "activation_values", "activation_bytes"):
        assert getattr(many, value) == 7 * getattr(one, value)
    assert many.parameters == one.parameters
    assert [layer.receptive_field for layer in many.layers] == [layer.receptive_field for layer in one.layers]


# ----- parameters


def test_shared_modules_are_one_row_with_two_calls() -> None:
    conv = nn.Conv2d(3, 3, 3, padding=1)
    counted = cost(nn.Sequential(conv, nn.ReLU(), conv), (3, 8, 8))
    row = ran(counted)["0"]
    assert (row.calls, row.parameters, row.macs) == (2, 84, 2 * 64 * 81)
    assert list(ran(counted)) == ["0", "1"]
    assert counted.parameters == 84


def test_tied_weights_count_once() -> None:
    first, second = nn.Linear(5, 5), nn.Linear(5, 5)
    second.weight = first.weight
    counted = cost(nn.Sequential(first, second), (5,))
    assert counted.parameters == 25 + 5 + 5
    assert [layer.parameters for layer in counted.layers] == [0, 30, 5]


@pytest.mark.parametrize(
    "function",
    [
        lambda m, x: x @ m.w.t(),
        lambda m, x: functional.linear(x, m.w),
        lambda m, x: functional.linear(x, m.w.reshape(4, 2, 3).flatten(1)),
        lambda m, x: x @ m.w[:2].T + 0 * m.w[2:].sum(),
        lambda m, x: torch.where(x > 0, x, m.w[0]) * m.w[1],
        lambda m, x: torch.addcmul(x, x, m.w[0]),
        lambda m, x: functional.linear(functional.linear(x, m.w), m.w.t()),
    ],
)
def test_parameters_a_module_owns_itself_are_found_through_views(function: Callable[..., Tensor]) -> None:
    counted = cost(Call(function, w=torch.zeros(4, 6)), (6,))
    assert counted.parameters == sum(layer.parameters for layer in counted.layers if layer.calls) == 24
    assert counted.inference_parameters == 24


def test_parametrised_layers_are_one_row() -> None:
    counted = cost(nn.Sequential(weight_norm(nn.Conv2d(3, 4, 3)), nn.ReLU()), (3, 8, 8))
    assert not counted.unknown
    assert {name: layer.parameters for name, layer in ran(counted).items()} == {"0": 108 + 4 + 4, "1": 0}
    assert counted.macs == 36 * 4 * 27


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_weight_norm_of_old_belongs_to_its_layer() -> None:
    counted = cost(nn.Sequential(nn.utils.weight_norm(nn.Conv2d(3, 4, 3))), (3, 8, 8))
    assert {name: layer.parameters for name, layer in ran(counted).items()} == {"0": 108 + 4 + 4}


def test_what_only_training_uses_is_idle() -> None:
    class WithHead(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Sequential(nn.Conv2d(4, 2, 1), nn.Linear(6, 2))
            self.never = nn.Parameter(torch.zeros(11))

        def forward(self, x: Tensor) -> Any:
            y = self.conv(x)
            return (y, self.head(y)) if self.training else y

    counted = cost(WithHead(), (3, 8, 8))
    assert idle(counted) == {"WithHead": 11, "head.0": 10, "head.1": 14}
    assert (counted.parameters, counted.inference_parameters) == (112 + 35, 112)
    assert counted.memory.saved_activations >= 4 * 4 * 36  # the head's input, in training


def test_frozen_parameters() -> None:
    counted = cost(nn.Sequential(nn.Linear(3, 4).requires_grad_(False), nn.Linear(4, 2)), (3,))
    assert (counted.parameters, counted.trainable_parameters) == (26, 10)
    assert counted.memory.gradients == 40


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(PARTS), max_size=8))
def test_rows_add_up_to_the_parameters_of_any_stack(parts: list[str]) -> None:
    shared = nn.Conv2d(4, 4, 1)
    made: dict[str, Callable[[], nn.Module]] = {
        "conv": lambda: nn.Conv2d(4, 4, 3, padding=1),
        "relu": lambda: nn.ReLU(inplace=True),
        "norm": lambda: nn.BatchNorm2d(4),
        "same": lambda: shared,
        "gate": lambda: Call(lambda m, x: x * m.w, w=torch.zeros(4, 1, 1)),
        "attention": lambda: Call(
            lambda m, x: m.parts[0](*[x.flatten(2).mT] * 3)[0].mT.reshape(x.shape),
            nn.MultiheadAttention(4, 2, batch_first=True),
        ),
        "weight_norm": lambda: weight_norm(nn.Conv2d(4, 4, 1)),
        "unused": lambda: Call(lambda m, x: x + 1, w=torch.zeros(5)),
    }
    module = nn.Sequential(*(made[part]() for part in parts))
    counted = cost(module, (4, 6, 6))
    assert not counted.unknown
    assert counted.parameters == sum(each.numel() for each in module.parameters())
    assert counted.parameters == sum(layer.parameters for layer in counted.layers)
    assert counted.parameters - counted.inference_parameters == 5 * parts.count("unused")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module.eval()(torch.zeros(1, 4, 6, 6))
    if "attention" not in parts:  # of which the fast path on the CPU hides its products
        assert counter.get_total_flops() == 2 * counted.macs


# ----- rows


def test_operators_of_a_block_have_rows_and_sources() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.conv2, self.relu = (
                nn.Conv2d(4, 4, 3, 1, 1),
                nn.Conv2d(4, 4, 3, 1, 1),
                nn.ReLU(inplace=True),
            )

        def forward(self, x: Tensor) -> Tensor:
            y = self.conv2(self.relu(self.conv1(x)))
            y += x
            return self.relu(y)

    counted = cost(nn.Sequential(Block(), Block()), (4, 8, 8))
    assert [layer.name for layer in counted.layers] == [
        "input",
        *(f"{block}.{name}" for block in (0, 1) for name in ("conv1", "relu", "conv2", "add")),
    ]
    by_name = {layer.name: layer for layer in counted.layers}
    places = {layer.name: at for at, layer in enumerate(counted.layers)}
    assert by_name["0.add"].sources == (0, places["0.conv2"])
    assert by_name["0.relu"].calls == 2
    assert by_name["0.relu"].activation_values == by_name["0.add"].activation_values == 0  # in place
    assert by_name["0.conv1"].activation_values == 256


def test_writing_into_parts_of_a_tensor_keeps_all_that_was_written() -> None:
    def join(m: Call, x: Tensor) -> Tensor:
        y = torch.zeros(x.shape[0], 6, 8, 8)
        y[:, :3] = m.parts[0](x)
        y[:, 3:] = x
        return m.parts[1](y)

    counted = cost(Call(join, nn.Conv2d(3, 3, 5, padding=2), nn.Conv2d(6, 2, 3)), (3, 8, 8))
    assert counted.receptive_field == (7, 7)
    assert len(ran(counted)["parts.1"].sources) == 2


def test_views_are_free_and_no_rows() -> None:
    counted = cost(Call(lambda m, x: x.flatten(1).view(x.shape).mT[:, 1:, ::2].squeeze().unsqueeze(0)), (3, 8, 8))
    assert not ran(counted)
    assert counted.activation_values == 192


NORMS: dict[str, tuple[Callable[..., Tensor], tuple[int, ...]]] = {
    "normalize": (lambda self, x: functional.normalize(self.parts[0](x)), (3, 3)),
    "norm of an order": (lambda self, x: self.parts[0](x).norm(2, dim=(2, 3), keepdim=True), (6, 6)),
    "norm along one axis": (lambda self, x: self.parts[0](x).norm(2, dim=3, keepdim=True), (3, 6)),
    "sum with a type": (lambda self, x: self.parts[0](x) + self.parts[0](x).sum(dtype=torch.float32), (6, 6)),
    "mean with a type": (lambda self, x: self.parts[0](x).mean((2, 3), keepdim=True, dtype=torch.float64), (6, 6)),
}


@pytest.mark.parametrize("case", NORMS)
def test_norms_and_sums_see_what_they_span(case: str) -> None:
    function, seen = NORMS[case]
    counted = cost(Call(function, nn.Conv2d(1, 2, 3)), (1, 6, 6), training=False)
    last = counted.layers[-1]
    assert not counted.unknown
    assert last.receptive_field == seen


def test_a_tensor_given_by_keyword_trains() -> None:
    limit = torch.full((1, 1, 1, 1), 0.5)
    counted = cost(Call(lambda self, x: self.parts[0](x).clamp(min=limit), nn.Conv2d(1, 1, 3)), (1, 6, 6))
    assert counted.memory.training_problem == ""


def test_a_single_layer_is_its_own_root() -> None:
    counted = cost(nn.Conv2d(3, 4, 3), (3, 8, 8))
    assert {name: layer.parameters for name, layer in ran(counted).items()} == {"Conv2d": 112}


def test_a_net_without_modules() -> None:
    def forward(m: Call, x: Tensor) -> Tensor:
        x = functional.relu(functional.conv2d(x, m.w, padding=1))
        x = functional.max_pool2d(x, 2).flatten(1)
        return functional.linear(x, m.v)

    counted = cost(Call(forward, w=torch.zeros(4, 3, 3, 3), v=torch.zeros(5, 64)), (3, 8, 8))
    assert {name: (x.group, x.parameters) for name, x in ran(counted).items()} == {
        "convolution": ("convolution", 108),
        "relu": ("activation", 0),
        "max_pool2d_with_indices": ("pooling", 0),
        "mm": ("linear", 320),
    }
    assert counted.macs == 64 * 4 * 27 + 320


# ----- odd forms


@dataclass
class Answer:
    logits: Tensor
    maps: tuple[Tensor, ...]


torch.utils._pytree.register_dataclass(Answer)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda y: {"logits": y, "more": [y.mean(), None]},
        lambda y: (y, [y]),
        lambda y: Answer(y, (y,)),
        lambda y: None,
        lambda y: 7,
        lambda y: "text",
    ],
)
def test_outputs_of_any_form(wrap: Callable[[Tensor], Any]) -> None:
    counted = cost(Call(lambda m, x: wrap(m.parts[0](x)), nn.Conv2d(3, 4, 3)), (3, 8, 8))
    assert ran(counted)["parts.0"].macs == 36 * 4 * 27


def test_several_inputs_of_several_kinds() -> None:
    def forward(m: Call, image: Tensor, words: Tensor, vector: Tensor) -> Tensor:
        features = torch.cat([m.parts[0](image).mean((2, 3)), m.parts[1](words).mean(1), vector], 1)
        return m.parts[2](features)

    module = Call(forward, nn.Conv2d(3, 4, 3), nn.Embedding(10, 5), nn.Linear(4 + 5 + 2, 3))
    counted = cost(module, [torch.zeros(2, 3, 8, 8), torch.zeros(2, 7, dtype=torch.long), torch.zeros(2, 2)])
    assert not counted.unknown
    assert counted.macs == 2 * (36 * 4 * 27 + 33)
    assert counted.input_shapes == ((2, 3, 8, 8), (2, 7), (2, 2))
    assert ran(counted)["parts.2"].receptive_field == (8, 8)
    assert counted.parameters == counted.inference_parameters == 112 + 50 + 36


def test_words() -> None:
    module = nn.Sequential(nn.Embedding(10, 4), nn.Linear(4, 3))
    counted = cost(module, torch.zeros(2, 5, dtype=torch.long))
    assert (counted.macs, counted.unknown, counted.receptive_field) == (2 * 5 * 12, {}, None)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_types(dtype: torch.dtype) -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
    plain, other = cost(module, (3, 8, 8)), cost(module.to(dtype), (3, 8, 8))
    assert (plain.macs, plain.flops, plain.activation_values) == (other.macs, other.flops, other.activation_values)
    assert plain.activation_bytes * dtype.itemsize == other.activation_bytes * 4


def test_tensors_kept_as_plain_attributes() -> None:
    module = Call(lambda m, x: m.parts[0](x).add(m.table, alpha=2) * m.table, nn.Conv2d(3, 4, 3))
    module.table = torch.ones(4, 1, 1)
    counted = cost(module, (3, 8, 8))
    assert (counted.macs, counted.memory.training_problem) == (36 * 4 * 27, "")


def test_compiled_modules_are_their_originals() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    whole = cost(torch.compile(module, backend="eager"), (3, 8, 8))  # type: ignore[arg-type]
    assert whole == cost(module, (3, 8, 8))
    assert cost(nn.Sequential(torch.compile(module, backend="eager")), (3, 8, 8)).macs == whole.macs  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "module", [nn.ReLU(), nn.Identity(), nn.Sequential(), nn.Flatten(), nn.Sequential(nn.Identity())]
)
def test_modules_without_parameters(module: nn.Module) -> None:
    counted = cost(module, (3, 8, 8))
    assert (counted.parameters, counted.macs, counted.activation_values >= 192) == (0, 0, True)


def test_a_module_that_goes_on_after_a_part_failed() -> None:
    def forward(m: Call, x: Tensor) -> Tensor:
        try:
            return m.parts[0](x)
        except RuntimeError:
            return m.parts[1](x)

    counted = cost(
        nn.Sequential(Call(forward, nn.Sequential(nn.Linear(9, 9)), nn.Conv2d(3, 4, 3)), Call(lambda m, x: x + 1)),
        (3, 8, 8),
    )
    assert counted.macs == 36 * 4 * 27
    assert ran(counted)["1.add"].output_shape == (1, 4, 6, 6)


def test_on_the_cpu_as_on_meta() -> None:
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 2)
    )
    on_meta, on_cpu = cost(module, (3, 8, 8), batch=2), cost(module, (3, 8, 8), batch=2, device="cpu")
    assert on_meta.layers == on_cpu.layers
    assert on_meta.memory.saved_activations == on_cpu.memory.saved_activations


def test_a_report_is_plain_values() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    counted = cost(module, (3, 8, 8))
    report = json.loads(json.dumps(counted.to_json()))
    assert report["convention"] == CONVENTION
    assert report["macs"] == counted.macs
    assert [layer["name"] for layer in report["layers"]] == ["input", "0", "1"]


# ----- nothing changes


def state(module: nn.Module) -> dict[str, Any]:
    """All that could change of a module, values copied."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_forward_hooks_with_kwargs")
    return {
        "values": {name: each.detach().clone() for name, each in module.state_dict().items()},
        "same": {name: id(each) for name, each in [*module.named_parameters(), *module.named_buffers()]},
        "gradients": {name: each.grad for name, each in module.named_parameters()},
        "wanted": {name: each.requires_grad for name, each in module.named_parameters()},
        "mode": {name: each.training for name, each in module.named_modules()},
        "hooks": {(name, kind): dict(getattr(each, kind)) for name, each in module.named_modules() for kind in hooks},
    }


def assert_same(before: dict[str, Any], after: dict[str, Any]) -> None:
    values, others = before.pop("values"), after.pop("values")
    assert before == after
    assert list(values) == list(others)
    assert all(torch.equal(values[name], others[name]) for name in values)


@pytest.mark.parametrize("device", ["meta", "cpu"])
@pytest.mark.parametrize("size", [(3, 8, 8), (3, 2, 2)])
def test_the_module_is_left_as_it_was(device: str, size: tuple[int, ...]) -> None:
    """Values, statistics, gradients, modes of each part, hooks, and PyTorch's random numbers; also after an error."""
    seen: list[str] = []
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.RReLU(), nn.Dropout(), nn.Sequential(nn.Conv2d(4, 2, 3), nn.ReLU())
    )
    module(torch.rand(2, 3, 8, 8)).sum().backward()
    module[1].eval()
    module[0].weight.requires_grad_(False)
    module[4].register_forward_hook(lambda *_: seen.append("after"))
    module[4].register_forward_pre_hook(lambda *_: seen.append("before"))
    before, numbers = state(module), torch.random.get_rng_state()
    try:
        cost(module, size, batch=2, device=device)
        assert size == (3, 8, 8)
    except InputError:
        assert size == (3, 2, 2)
    assert_same(before, state(module))
    assert torch.equal(numbers, torch.random.get_rng_state())


def test_an_example_is_left_as_it_was() -> None:
    image = -torch.rand(2, 3, 8, 8)
    before = image.clone()
    cost(nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(3, 4, 3)), image, device="cpu")
    assert torch.equal(image, before)
    assert image.grad is None


def test_costs_are_frozen_and_equal_for_equal_nets() -> None:
    one, other = (cost(nn.Sequential(nn.Conv2d(3, 4, 3)), (3, 8, 8)) for _ in range(2))
    assert one == other
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.parameters = 3  # type: ignore[misc]
