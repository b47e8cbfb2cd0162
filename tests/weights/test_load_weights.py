"""Weights into a net: every key accounted for, one message for all that is wrong, nothing half loaded."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from residuum.errors import InputError
from residuum.nets.catalog import net as catalog_net
from residuum.nets.resnet import ResNet, Variant
from residuum.weights.load import heads, load_tensors, load_weights, mismatches

State = dict[str, Tensor]
SMALL = Variant(blocks=(1, 1), widths=(4, 8), stem="cifar", shortcut="project")


def net(seed: int) -> ResNet:
    torch.manual_seed(seed)
    return ResNet(SMALL, num_classes=10, in_channels=1)


@pytest.fixture
def given() -> State:
    """Weights of another net of the same kind."""
    return {name: tensor.clone() for name, tensor in net(1).state_dict().items()}


@pytest.fixture
def target() -> ResNet:
    return net(2)


def copied(module: nn.Module) -> State:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def equal(a: State, b: State) -> bool:
    return set(a) == set(b) and all(torch.equal(a[name], b[name]) for name in a)


def refused(module: nn.Module, path: Path) -> str:
    """The message; the net has not changed by a bit."""
    before = copied(module)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(InputError) as caught:
            load_weights(module, path)
    assert equal(copied(module), before)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


def saved(tensors: State, path: Path) -> Path:
    torch.save(tensors, path)
    return path


def test_weights_arrive_bit_for_bit(tmp_path: Path, given: State, target: ResNet) -> None:
    torch.save(given, tmp_path / "zip.pt")
    torch.save(given, tmp_path / "legacy.pt", _use_new_zipfile_serialization=False)
    safetensors.torch.save_file(given, tmp_path / "w.safetensors")
    for path in tmp_path.iterdir():
        target = net(2)
        assert not equal(copied(target), given)
        load_weights(target, path)
        assert equal(copied(target), given), path.name


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_prefixes_of_wrappers_are_taken_off(tmp_path: Path, given: State, target: ResNet, prefix: str) -> None:
    """DataParallel, torch.compile, and both, in either order."""
    load_weights(target, saved({prefix + name: tensor for name, tensor in given.items()}, tmp_path / "w.pt"))
    assert equal(copied(target), given)


def test_data_parallel_itself(tmp_path: Path, given: State, target: ResNet) -> None:
    torch.save({"state_dict": nn.DataParallel(net(1)).state_dict(), "epoch": 9}, tmp_path / "w.pt")
    load_weights(target, tmp_path / "w.pt")
    assert equal(copied(target), given)


def test_a_last_layer_called_linear_is_fc(tmp_path: Path, given: State, target: ResNet) -> None:
    renamed = {f"module.{name.replace('fc.', 'linear.')}": tensor for name, tensor in given.items()}
    load_weights(target, saved(renamed, tmp_path / "w.pt"))
    assert equal(copied(target), given)


def test_a_net_takes_its_own_names(tmp_path: Path) -> None:
    """A user's net whose layer really is called `linear`, or `module`."""
    for name in ("linear", "module"):
        source, own = (nn.Sequential() for _ in range(2))
        for each in (source, own):
            each.add_module(name, nn.Linear(2, 3))
        load_weights(own, saved(source.state_dict(), tmp_path / "w.pt"))
        assert equal(copied(own), copied(source))


def test_counters_of_batch_normalisation_may_be_missing(tmp_path: Path, given: State, target: ResNet) -> None:
    few = {name: tensor for name, tensor in given.items() if "num_batches_tracked" not in name}
    assert len(few) < len(given)
    load_weights(target, saved(few, tmp_path / "w.pt"))
    after = copied(target)
    assert equal({name: after[name] for name in few}, few)


def drop(state: State) -> None:
    del state["bn1.weight"], state["fc.bias"]


def add(state: State) -> None:
    state["extra.weight"] = torch.ones(2)


def reshape(state: State) -> None:
    state["fc.weight"] = torch.ones(100, 8)


def spoil(state: State) -> None:
    state["conv1.weight"][0, 0, 0, 0] = torch.nan
    state["bn1.running_var"][1] = torch.inf


FAULTS: dict[str, tuple[Callable[[State], None], tuple[str, ...]]] = {
    "missing": (drop, ("2 missing: bn1.weight, fc.bias",)),
    "extra": (add, ("1 not in the net: extra.weight",)),
    "mis-shaped": (reshape, ("1 of another shape: fc.weight (100, 8) for (10, 8)",)),
    "not finite": (spoil, ("2 not finite: bn1.running_var, conv1.weight",)),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_named(tmp_path: Path, given: State, target: ResNet, fault: str) -> None:
    change, expected = FAULTS[fault]
    change(given)
    message = refused(target, saved(given, tmp_path / "w.pt"))
    assert f"({'; '.join(expected)})" in message, "this fault and no other"


def test_what_the_type_of_the_net_cannot_hold_is_not_finite(given: State, target: ResNet) -> None:
    given["conv1.weight"] = given["conv1.weight"].double() + 1e300
    with pytest.raises(InputError, match=r"\(1 not finite: conv1.weight\)"):
        load_tensors(target, given, source="here")


def test_integers_are_no_weights(given: State, target: ResNet) -> None:
    given["conv1.weight"] = given["conv1.weight"].to(torch.uint8)
    with pytest.raises(InputError, match=r"1 of a kind that is not read: conv1.weight \(torch.uint8"):
        load_tensors(target, given, source="here")


def test_all_faults_are_one_message(tmp_path: Path, given: State, target: ResNet) -> None:
    for change, _ in FAULTS.values():
        change(given)
    message = refused(target, saved({f"module.{name}": t for name, t in given.items()}, tmp_path / "w.pt"))
    for _, expected in FAULTS.values():
        assert all(each in message for each in expected)
    assert message.count("Try: ") == 1


def test_long_lists_are_cut_and_counted(tmp_path: Path, target: ResNet) -> None:
    path = saved({f"t{index:03d}": torch.ones(1) for index in range(100)}, tmp_path / "w.pt")
    message = refused(target, path)
    assert "100 not in the net: t000, t001, t002, t003, ..." in message
    assert len(message) < 1000


def test_two_tensors_of_one_name_are_refused(tmp_path: Path, given: State, target: ResNet) -> None:
    """Which of the two would count is nothing the order of a file should decide."""
    for twin in ("linear.weight", "module.fc.weight"):
        refused(target, saved({**given, twin: given["fc.weight"] + 1}, tmp_path / "w.pt"))


def test_a_tensor_without_memory_behind_it_is_refused_at_once(tmp_path: Path, given: State, target: ResNet) -> None:
    """One number, stretched to 10^18 by strides of 0: 1 kB on the disk, an exabyte if anything looks at each value."""
    given["fc.weight"] = torch.zeros(1).expand(10**9, 10**9)
    path = saved(given, tmp_path / "w.pt")
    assert path.stat().st_size < 100_000
    assert "fc.weight" in refused(target, path)
    with pytest.raises(InputError, match=r"1 of another shape: fc\.weight"):
        load_tensors(target, given, source="here")


@pytest.mark.parametrize("kind", ["sparse", "meta", "complex", "float8"])
def test_tensors_of_odd_kinds_are_refused_or_loaded(tmp_path: Path, given: State, target: ResNet, kind: str) -> None:
    weight = given["fc.weight"]
    given["fc.weight"] = {
        "sparse": weight.to_sparse,
        "meta": lambda: weight.to("meta"),
        "complex": lambda: torch.complex(weight, weight),
        "float8": lambda: weight.to(torch.float8_e4m3fn),
    }[kind]()
    path = saved(given, tmp_path / "w.pt")
    try:
        load_weights(target, path)
    except InputError:
        refused(target, path)
    else:
        assert kind in ("sparse", "float8"), "an imaginary part, or a value that is not there, was dropped"
        assert torch.allclose(target.fc.weight, weight, atol=0.1)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_converted(tmp_path: Path, given: State, target: ResNet, kind: torch.dtype) -> None:
    cast = {name: tensor.to(kind) if tensor.is_floating_point() else tensor for name, tensor in given.items()}
    load_weights(target, saved(cast, tmp_path / "w.pt"))
    assert target.fc.weight.dtype == torch.float32
    assert torch.equal(target.fc.weight, cast["fc.weight"].float())


def test_a_great_many_tensors_are_refused_in_a_second(tmp_path: Path, target: ResNet) -> None:
    """200,000 names in a header of 13 MB that claims to be a net of forty."""
    entry = '{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    header = ("{" + ",".join(f'"t{index}":{entry}' for index in range(200_000)) + "}").encode()
    path = tmp_path / "w.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    start = time.process_time()
    refused(target, path)
    assert time.process_time() - start < 1


def test_groups_are_sorted_and_empty_ones_left_out(given: State) -> None:
    own = net(1).state_dict()
    assert mismatches(given, own) == []
    assert mismatches({}, {"b": torch.ones(1), "a": torch.ones(1)}) == ["2 missing: a, b"]


def of_classes(num_classes: int) -> ResNet:
    torch.manual_seed(num_classes)
    return ResNet(SMALL, num_classes=num_classes, in_channels=1)


def test_a_head_of_other_classes_is_kept_only_when_asked(tmp_path: Path, given: State) -> None:
    target, path = of_classes(3), saved(given, tmp_path / "w.pt")
    before = copied(target)
    message = refused(target, path)
    assert message.endswith("Try: num_classes=10, or residuum.NET(..., new_head=True), which keeps this net's own fc")
    loaded = load_weights(target, path, new_head=True)
    assert loaded.new_head == ("fc.weight", "fc.bias")
    after = copied(target)
    for name, tensor in after.items():
        assert torch.equal(tensor, before[name] if name.startswith("fc.") else given[name]), name


def test_a_head_that_fits_is_taken(tmp_path: Path, given: State, target: ResNet) -> None:
    assert load_weights(target, saved(given, tmp_path / "w.pt"), new_head=True).new_head == ()
    assert equal(copied(target), given)


def test_asking_for_a_new_head_forgives_nothing_else(tmp_path: Path, given: State) -> None:
    del given["bn1.weight"]
    given["conv1.weight"][0] = torch.nan
    target = of_classes(3)
    before = copied(target)
    with pytest.raises(InputError, match=r"\(1 missing: bn1.weight; 1 not finite: conv1.weight\)"):
        load_weights(target, saved(given, tmp_path / "w.pt"), new_head=True)
    assert equal(copied(target), before)


def test_a_last_layer_of_other_features_is_no_head(given: State) -> None:
    """Its classes fit; what it takes does not: that is another net, not another task."""
    given["fc.weight"] = torch.ones(10, 9)
    with pytest.raises(InputError, match=r"fc.weight \(10, 9\) for \(10, 8\)\). Try: the net it was trained as"):
        load_tensors(net(2), given, source="here", new_head=True)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet18", ["fc"]),
        ("vgg16", ["classifier.6"]),
        ("alexnet", ["classifier.6"]),
        ("googlenet", ["aux1.fc2", "aux2.fc2", "fc"]),
        ("lenet5", ["fc3"]),
        ("lenet5_1998", ["output"]),
    ],
)
def test_heads(name: str, expected: list[str]) -> None:
    with torch.device("meta"):
        assert list(heads(catalog_net(name))) == expected


def test_every_head_of_googlenet_is_new() -> None:
    source, target = catalog_net("googlenet", num_classes=5), catalog_net("googlenet", num_classes=4)
    loaded = load_tensors(target, source.state_dict(), source="here", new_head=True)
    assert loaded.new_head == tuple(f"{head}.{kind}" for head in heads(target) for kind in ("weight", "bias"))
    assert torch.equal(copied(target)["aux1.fc1.weight"], copied(source)["aux1.fc1.weight"])


def test_the_codes_of_lenet_5_are_its_head() -> None:
    source, target = catalog_net("lenet5_1998"), catalog_net("lenet5_1998", num_classes=12)
    with pytest.raises(
        InputError, match=r"Try: num_classes=10, or .*new_head=True\), which keeps this net's own output$"
    ):
        load_tensors(target, source.state_dict(), source="here")
    codes = copied(target)["output.codes"]
    assert load_tensors(target, source.state_dict(), source="here", new_head=True).new_head == ("output.codes",)
    assert torch.equal(copied(target)["output.codes"], codes)
    assert torch.equal(copied(target)["f6.weight"], copied(source)["f6.weight"])
