"""Errors of unfit inputs: one line that names the layer, and an advice that works when followed."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from residuum.costing.count import cost
from residuum.costing.limits import smallest_size
from residuum.costing.memory import Twin
from residuum.errors import InputError
from residuum.nets.resnet import ResNet, Variant

TINY_VGG = nn.Sequential(
    *(nn.Sequential(nn.Conv2d(3 if at == 0 else 4, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)) for at in range(5)),
    nn.AdaptiveAvgPool2d(7),
    nn.Flatten(),
    nn.Linear(4 * 49, 2),
)
TINY_ALEXNET = nn.Sequential(
    nn.Conv2d(3, 4, 11, stride=4, padding=2),
    nn.MaxPool2d(3, 2),
    nn.Conv2d(4, 4, 5, padding=2),
    nn.MaxPool2d(3, 2),
    nn.Conv2d(4, 4, 3, padding=1),
    nn.MaxPool2d(3, 2),
    nn.AdaptiveAvgPool2d(6),
)
TINY_RESNET = ResNet(Variant(blocks=(1, 1, 1, 1), widths=(2, 2, 2, 2)), num_classes=2)
FIXED = nn.Sequential(nn.Conv2d(3, 2, 5), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(2 * 15 * 15, 2))  # 34 and 35 only
FIXED_ONE = nn.Sequential(nn.Conv2d(3, 2, 5), nn.Flatten(), nn.Linear(2 * 39 * 39, 2))  # 43 only
VALID = nn.Sequential(nn.Conv2d(3, 2, 7, stride=2), nn.Conv2d(2, 2, 5, dilation=2), nn.AvgPool2d(3))
NETS = {
    "vgg": TINY_VGG,
    "alexnet": TINY_ALEXNET,
    "resnet": TINY_RESNET,
    "fixed": FIXED,
    "fixed one": FIXED_ONE,
    "valid": VALID,
}


def takes(net: nn.Module, side: int) -> bool:
    try:
        with torch.no_grad():
            net.eval()(torch.zeros(1, 3, side, side))
    except RuntimeError:
        return False
    return True


@pytest.mark.parametrize("name", NETS)
@pytest.mark.filterwarnings("ignore:an image of")
def test_smallest_size_is_that_of_trying_each(name: str) -> None:
    net = NETS[name]
    expected = next(side for side in range(1, 100) if takes(net, side))
    assert smallest_size(Twin(net, torch.device("meta")), 1, 3, torch.float32) == expected


def test_no_smallest_size_where_none_works() -> None:
    assert smallest_size(Twin(TINY_VGG, torch.device("meta")), 1, 5, torch.float32) is None


def advice(error: InputError) -> tuple[int, ...] | Tensor:
    """What the message says to try, as an input."""
    text = str(error).rpartition("Try: ")[2]
    sizes = tuple(int(each) for each in re.findall(r"\d+", text.rpartition(" of ")[2]))
    found = re.match(r"a torch\.(\w+) tensor of", text)
    return torch.zeros((2, *sizes), dtype=getattr(torch, found[1])) if found else sizes


UNFIT: dict[str, tuple[nn.Module, object, str]] = {
    "too small": (TINY_ALEXNET, (3, 20, 20), "layer 3 cannot take .* smallest square that works is 63. Try: 3x63x63"),
    "too small for a fixed head": (FIXED, (3, 20, 20), "layer 3 .* smallest square that works is 34. Try: 3x34x34"),
    "too large for a fixed head": (FIXED_ONE, (3, 224, 224), "smallest square that works is 43. Try: 3x43x43"),
    "channels": (TINY_ALEXNET, (1, 224, 224), "layer 0 cannot take an input of 1x224x224 .*Try: 3x224x224"),
    "channels and size": (TINY_ALEXNET, (4, 5, 5), "Try: 3x63x63"),
    "one dimension": (TINY_ALEXNET, (224,), "Try: 3x224x224"),
    "two dimensions": (TINY_ALEXNET, (224, 224), "Try: 3x224x224"),
    "four dimensions": (TINY_ALEXNET, (1, 3, 224, 224), "Try: 3x224x224"),
    "line": (nn.Sequential(nn.Conv1d(4, 2, 3)), (3, 50), "Try: 4x50"),
    "volume": (nn.Sequential(nn.Conv3d(2, 2, 3)), (3, 50, 50), "Try: 2x224x224x224"),
    "linear": (nn.Sequential(nn.Flatten(), nn.Linear(784, 2)), (1, 32, 32), "Try: (1x28x28|784)"),
    "last dimension": (nn.Sequential(nn.Linear(12, 2)), (7, 11), "Try: 7x12"),
    "double": (TINY_ALEXNET, torch.zeros(1, 3, 99, 99).double(), "Try: a torch.float32 tensor of 3x99x99"),
    "bytes": (TINY_ALEXNET, torch.zeros(1, 3, 99, 99, dtype=torch.uint8), "Try: a torch.float32 tensor of 3x99x99"),
    "words": (nn.Sequential(nn.Embedding(9, 4)), (6,), "Try: a torch.int64 tensor of 6"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_unfit_inputs_are_refused_with_advice_that_works(case: str) -> None:
    net, given, expected = UNFIT[case]
    with pytest.raises(InputError, match=expected) as caught:
        cost(net, given)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert cost(net, advice(caught.value)).layers[-1].output_shape


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((3, 0, 224), "sizes must be whole numbers, at least 1, got 3x0x224"),
        ((3, -1, 224), "sizes must be whole numbers, at least 1, got 3x-1x224"),
        ((3, 224.0, 224), "sizes must be whole numbers"),
        ((3, True, 224), "sizes must be whole numbers"),
        ((3, "224", 224), "sizes must be whole numbers"),
        (224, "must be a size such as"),
        ("3x224x224", "must be a size such as"),
        (None, "must be a size such as"),
        ((), "neither a size nor a tensor"),
        (torch.zeros(0, 3, 224, 224), "holds nothing"),
        ([torch.zeros(1, 3, 224, 224), 3], "mixed"),
        ((3, 10**10, 10**10), "more values than can be counted"),
    ],
)
def test_what_is_no_input(given: object, expected: str) -> None:
    with pytest.raises(InputError, match=f"^input: .*{expected}.* Try: [^\n]*$"):
        cost(TINY_VGG, given)  # type: ignore[arg-type]


@pytest.mark.parametrize("batch", [0, -1, 2.5, "2", None, True])
def test_what_is_no_batch(batch: int) -> None:
    with pytest.raises(InputError, match=r"^batch: must be a whole number, at least 1, got .* Try: batch=1$"):
        cost(TINY_VGG, (3, 64, 64), batch=batch)


def test_what_is_no_device() -> None:
    with pytest.raises(InputError, match=r"^device: .*'cuda'. Try: device='meta'$"):
        cost(TINY_VGG, (3, 64, 64), device="cuda")


def test_several_inputs_that_do_not_fit() -> None:
    with pytest.raises(InputError, match=r"cannot take an input of 3 and 4 .*Try: other example tensors$"):
        cost(nn.Bilinear(3, 5, 2), [torch.zeros(1, 3), torch.zeros(1, 4)])


@pytest.mark.parametrize("given", ["resnet50", None, nn.Linear])
def test_what_is_no_module(given: object) -> None:
    with pytest.raises(InputError, match=r"net: must be a torch.nn.Module, got .* Try: residuum.net\('resnet50'\)"):
        cost(given, (3, 224, 224))  # type: ignore[arg-type]


def test_lazy_layers_are_named() -> None:
    net = nn.Sequential(nn.Flatten(), nn.LazyLinear(3))
    with pytest.raises(InputError, match=r"^net: layer 1 \(LazyLinear\) has no weights before .*Try: [^\n]*$"):
        cost(net, (3, 8, 8))
    net(torch.zeros(1, 3, 8, 8))
    assert cost(net, (3, 8, 8)).macs == 3 * 192


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_torchscript_is_refused() -> None:
    scripted = torch.jit.trace(nn.Sequential(nn.Conv2d(3, 4, 3)), torch.zeros(1, 3, 8, 8))
    with pytest.raises(InputError, match="TorchScript"):
        cost(scripted, (3, 8, 8))


class Asks(nn.Module):
    def __init__(self, question: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.question = question

    def forward(self, x: Tensor) -> Tensor:
        return self.question(x)


@pytest.mark.parametrize(
    "question",
    [
        lambda x: x if x.sum() > 0 else -x,
        lambda x: x * x.max().item(),
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
        lambda x: x * len(x.flatten().unique()),
        lambda x: x * x.flatten().tolist()[0],
        lambda x: x * float(x.detach().numpy().max()),
        lambda x: x if torch.equal(x, x) else -x,
    ],
)
def test_a_module_that_needs_values_runs_on_the_cpu(question: Callable[[Tensor], Tensor]) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), Asks(question))
    with pytest.raises(InputError, match=r"^net: layer 1 needs the values .*Try: residuum.cost\(..., device='cpu'\)"):
        cost(net, (3, 8, 8))
    assert cost(net, (3, 8, 8), device="cpu").macs == 36 * 4 * 27


def lacks(x: Tensor) -> Tensor:
    return x.nothing_of_this_name  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        (lacks, "no attribute 'nothing_of_this_name'"),
        (lambda x: x * (1 // 0), "by zero"),
        (lambda x: x * {"a": 1}["b"], "KeyError 'b'"),
        (lambda x: x * [1][2], "out of range"),
    ],
)
def test_errors_of_a_modules_own_code_are_told_in_one_line(question: Callable[[Tensor], Tensor], reason: str) -> None:
    with pytest.raises(InputError, match=rf"^input: layer 1 cannot take an input of 3x8x8 \(.*{reason}.*Try: [^\n]*$"):
        cost(nn.Sequential(nn.Conv2d(3, 4, 3), Asks(question)), (3, 8, 8))


def test_sides_that_make_a_modules_own_code_fail_are_not_advised() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), Asks(lambda x: x[..., :: x.shape[-1] // (x.shape[-1] // 16)]))
    with pytest.raises(InputError, match=r"smallest square that works is 16. Try: 3x16x16$"):
        cost(net, (3, 8, 8))


def test_an_error_of_training_that_says_nothing_is_named() -> None:
    class NotTrained(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                raise AssertionError
            return x

    assert cost(NotTrained(), (3, 8, 8)).memory.training_problem == "AssertionError"
