"""Files of torch.save: what training scripts write, and what is no state dict of tensors."""

from __future__ import annotations

import io
import pickle
import struct
import time
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from residuum.errors import InputError
from residuum.weights.formats import pickles, torch_files
from residuum.weights.read import read_tensors

PLAIN, AVERAGED = {"w": torch.zeros(2)}, {"w": torch.ones(2)}


def saved(content: object, path: Path, *, legacy: bool = False) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path


def refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_tensors(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("wrapper", torch_files.WRAPPERS)
def test_every_wrapper_is_opened(tmp_path: Path, wrapper: str) -> None:
    assert torch.equal(read_tensors(saved({wrapper: AVERAGED, "epoch": 1}, tmp_path / "w"))["w"], torch.ones(2))


@pytest.mark.parametrize("average", ["ema", "state_dict_ema", "model_ema", "model_state_dict_ema"])
@pytest.mark.parametrize("plain", ["state_dict", "model", "net", "model_state", "model_state_dict"])
def test_plain_weights_come_before_averaged_ones(tmp_path: Path, plain: str, average: str) -> None:
    path = saved({average: AVERAGED, plain: PLAIN}, tmp_path / "w")
    assert torch.equal(read_tensors(path)["w"], torch.zeros(2))


def test_the_checkpoint_of_pytorchs_tutorial_is_read(tmp_path: Path) -> None:
    """docs.pytorch.org, Saving and Loading a General Checkpoint; its loss may be a tensor."""
    net = nn.Linear(2, 3)
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    net(torch.ones(1, 2)).sum().backward()
    optimiser.step()
    checkpoint = {
        "epoch": 5,
        "model_state_dict": net.state_dict(),
        "optimizer_state_dict": optimiser.state_dict(),
        "loss": torch.tensor(0.4),
    }
    found = read_tensors(saved(checkpoint, tmp_path / "w"))
    assert set(found) == {"weight", "bias"}
    assert torch.equal(found["weight"], net.weight)


def test_a_loss_beside_weights_of_another_name_is_no_state_dict(tmp_path: Path) -> None:
    path = tmp_path / "w"
    message = refused(saved({"loss": torch.tensor(0.4), "generator": PLAIN, "critic": PLAIN}, path))
    assert "do not say which are the weights ('generator', 'critic')" in message
    (typed,) = (message.partition("Try: ")[2],)
    assert typed == f"torch.save(torch.load({str(path)!r})['generator'], 'weights.pt')"
    exec(typed.replace("'weights.pt'", repr(str(tmp_path / "weights.pt"))), {"torch": torch})
    assert torch.equal(read_tensors(tmp_path / "weights.pt")["w"], PLAIN["w"])


def test_a_configuration_called_model_hides_no_weights(tmp_path: Path) -> None:
    path = saved({"model": {"name": "resnet18"}, "model_state_dict": PLAIN}, tmp_path / "w")
    assert torch.equal(read_tensors(path)["w"], PLAIN["w"])


def test_many_names_for_many_mappings_take_no_time(tmp_path: Path) -> None:
    """Each mapping is looked through once: 20,000 names for one of 20,000 entries are not 400 million looks."""
    inner = dict.fromkeys(range(20_000), 1)
    path = saved({**dict.fromkeys(map(str, range(20_000)), inner), "w": torch.ones(1)}, tmp_path / "w")
    start = time.process_time()
    assert list(read_tensors(path)) == ["w"]
    assert time.process_time() - start < 2


def test_a_newer_protocol_is_told_what_to_do(tmp_path: Path) -> None:
    torch.save(PLAIN, tmp_path / "w", pickle_protocol=4)
    message = refused(tmp_path / "w")
    assert "by default. Try: save it again with torch's default protocol, or as safetensors" in message


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize(
    "dtype",
    [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.uint8, torch.bool],
)
def test_each_type_of_number_is_read(tmp_path: Path, dtype: torch.dtype, legacy: bool) -> None:
    tensor = torch.tensor([[0, 1], [1, 0]]).to(dtype)
    found = read_tensors(saved({"w": tensor, "turned": tensor.T}, tmp_path / "w", legacy=legacy))
    assert found["w"].dtype == dtype
    assert torch.equal(found["w"], tensor)
    assert torch.equal(found["turned"], tensor.T)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_a_whole_training_checkpoint_is_read(tmp_path: Path, legacy: bool) -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    net(torch.ones(1, 1, 4, 4)).sum().backward()
    optimiser.step()
    checkpoint = {
        "state_dict": net.state_dict(),
        "optimizer": optimiser.state_dict(),
        "epoch": 3,
        "best": 0.5,
        "big": 1 << 70,
        "history": [(1, 0.5), None, True],
        "device": torch.device("cpu"),
        "shape": torch.Size([1, 2]),
        "dtype": torch.float32,
    }
    found = read_tensors(saved(checkpoint, tmp_path / "w", legacy=legacy))
    assert set(found) == set(net.state_dict())


def test_tied_tensors_are_read(tmp_path: Path) -> None:
    tied = torch.arange(1000.0)
    found = read_tensors(saved({"a": tied, "b": tied, "c": tied[500:]}, tmp_path / "w"))
    assert torch.equal(found["c"], tied[500:])


def test_python_2_wrote_ordered_dictionaries_by_a_call(tmp_path: Path) -> None:
    """PROTO 2, OrderedDict, [['epoch', 3]], TUPLE1, REDUCE, STOP: the walk agrees with torch's reader."""
    content = b"\x80\x02ccollections\nOrderedDict\n](](X\x05\x00\x00\x00epochK\x03ee\x85R."
    assert pickle.loads(content) == OrderedDict(epoch=3)
    assert pickles.survey(io.BytesIO(content), tmp_path).storage_bytes == {}


@pytest.mark.parametrize(
    ("instructions", "what"),
    [
        (b"ctorch.storage\nUntypedStorage\n\x8a\x06\0\0\0\0\0\x01\x85R", "calls"),
        (b"ctorch\nFloatStorage\n\x85", None),
        (b"ctorch._utils\n_rebuild_qtensor\n", "_rebuild_qtensor"),
        (b"ctorch._utils\n_rebuild_device_tensor_from_cpu_tensor\n", "_rebuild_device_tensor_from_cpu_tensor"),
        (b"c_codecs\nencode\n", "_codecs.encode"),
        (b"cbuiltins\nbytearray\n", "bytearray"),
        (b"ctorch\nTensor\n)\x81", "torch.Tensor"),
        (b"ccollections\nOrderedDict\n)\x81", "NEWOBJ"),
        (b"}}b", "attributes"),
        (b"}K\x01K\x02\x86K\x01s", "key"),
        (b"}]K\x01s", "key"),
        (b"(X\x06\x00\x00\x00moduleNNNNtQ", "no storage"),
        (b"K\x01Q", "no storage"),
        (b"\x94", "MEMOIZE"),
    ],
    ids=repr,
)
def test_what_tensors_do_not_need_is_refused(tmp_path: Path, instructions: bytes, what: str | None) -> None:
    """Torch's own list allows some of these, which take memory at will, or hash for ever."""
    stream = io.BytesIO(b"\x80\x02" + instructions + b".")
    if what is None:
        pickles.survey(stream, tmp_path)
        return
    with pytest.raises(InputError, match=what):
        pickles.survey(stream, tmp_path)


def rewritten(path: Path, change: Callable[[str, bytes], bytes]) -> Path:
    """A zip file of torch.save with its entries changed, its sizes and checksums right."""
    with zipfile.ZipFile(path) as archive:
        entries = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, change(name, content))
    return path


def test_a_rewritten_archive_is_read(tmp_path: Path) -> None:
    """The tables below start from this."""
    path = rewritten(saved({"w": torch.arange(100.0)}, tmp_path / "w"), lambda name, content: content)
    assert torch.equal(read_tensors(path)["w"], torch.arange(100.0))


def test_a_storage_larger_than_its_entry_is_refused(tmp_path: Path) -> None:
    """torch 2.13 checks this too; here it is refused before torch reads."""
    path = saved({"w": torch.arange(100.0)}, tmp_path / "w")
    rewritten(path, lambda name, content: content[:4] if name.endswith("data/0") else content)
    assert "claims 400 bytes and has 4" in refused(path)


def test_a_storage_that_is_not_there_is_refused(tmp_path: Path) -> None:
    path = saved({"w": torch.arange(100.0)}, tmp_path / "w")
    with zipfile.ZipFile(path) as archive:
        entries = {i.filename: archive.read(i) for i in archive.infolist() if not i.filename.endswith("data/0")}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    assert "claims 400 bytes and has 0" in refused(path)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize(
    "tensor",
    [
        torch.zeros(1).expand(10**6, 10**6),
        torch.zeros(1999).as_strided((1000, 1000), (1, 1)),
        torch.zeros(1).expand(2),
    ],
    ids=["stride 0", "overlapping", "two for one"],
)
def test_a_tensor_larger_than_its_storage_is_refused(tmp_path: Path, tensor: Tensor, legacy: bool) -> None:
    assert "'w' claims" in refused(saved({"w": tensor}, tmp_path / "w", legacy=legacy))


def test_many_names_for_one_large_storage_are_refused(tmp_path: Path) -> None:
    one = torch.zeros(100_000)
    assert "share memory" in refused(saved({str(index): one for index in range(100)}, tmp_path / "w"))


def test_a_legacy_storage_larger_than_the_file_is_refused(tmp_path: Path) -> None:
    path = saved({"w": torch.arange(100, dtype=torch.uint8)}, tmp_path / "w", legacy=True)
    content = path.read_bytes()
    count = b"K\x64N"  # BININT1 100, then no view: the storage's description
    assert content.count(count) == 1
    path.write_bytes(content.replace(count, b"J" + struct.pack("<i", 2**31 - 1) + b"N"))
    assert "claim" in refused(path)


@pytest.mark.parametrize(
    ("entry", "what"),
    [
        ("archive/constants.pkl", "TorchScript"),
        ("archive/archive_format", ".pt2"),
        ("model.weights.h5", "Keras"),
        ("photo.jpg", "zip file"),
    ],
)
def test_archives_of_other_kinds_are_named(tmp_path: Path, entry: str, what: str) -> None:
    with zipfile.ZipFile(tmp_path / "w", "w") as archive:
        archive.writestr(entry, b"")
    assert what in refused(tmp_path / "w")


def test_a_pickle_of_something_else_is_named(tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(pickle.dumps({"data": [1, 2]}, protocol=2))
    assert "a pickle, but not of torch.save" in refused(tmp_path / "w")


def test_a_long_pickle_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickles, "MAX_WORK", 100)
    assert "more than 100 steps" in refused(saved({str(n): n for n in range(100)}, tmp_path / "w"))
