"""Weight files of others: read where they hold tensors, refused where they hold anything else."""

from __future__ import annotations

import json
import os
import struct
import time
import tracemalloc
import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from residuum.errors import InputError
from residuum.weights.read import read_tensors

LEGACY = pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])


def state() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "conv.weight": torch.randn(4, 3, 3, 3, generator=generator),
        "bn.running_var": torch.rand(4, generator=generator),
        "bn.num_batches_tracked": torch.tensor(7),
        "half": torch.randn(5, generator=generator).half(),
    }


def save(content: object, path: Path, *, legacy: bool) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path


def refused(path: Path) -> str:
    """The message of the refusal: one line that begins with the path."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(InputError) as caught:
            read_tensors(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


def header_only(path: Path, header: object, data: bytes = b"") -> Path:
    encoded = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(encoded)) + encoded + data)
    return path


def same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    return set(found) == set(expected) and all(
        found[name].dtype == tensor.dtype and torch.equal(found[name], tensor) for name, tensor in expected.items()
    )


@LEGACY
@pytest.mark.parametrize("name", ["w.pt", "w.th", "w.safetensors", "w"])
def test_torch_files_are_told_by_their_content_not_their_name(tmp_path: Path, legacy: bool, name: str) -> None:
    assert same(read_tensors(save(state(), tmp_path / name, legacy=legacy)), state())


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt", "w"])
def test_safetensors_are_told_by_their_content(tmp_path: Path, name: str) -> None:
    safetensors.torch.save_file(state(), tmp_path / name)
    assert same(read_tensors(str(tmp_path / name)), state())


@LEGACY
@pytest.mark.parametrize("wrapper", ["state_dict", "model", "net"])
def test_a_state_dict_is_found_in_its_wrapper(tmp_path: Path, legacy: bool, wrapper: str) -> None:
    wrapped = {"epoch": 3, wrapper: OrderedDict(state()), "best": 0.9, "optimizer": {"lr": 0.1}}
    assert same(read_tensors(save(wrapped, tmp_path / "w.pt", legacy=legacy)), state())


def test_parameters_are_tensors(tmp_path: Path) -> None:
    save({"w": nn.Parameter(torch.ones(3))}, tmp_path / "w.pt", legacy=False)
    assert torch.equal(read_tensors(tmp_path / "w.pt")["w"], torch.ones(3))


class Gadget:
    """Its pickle calls a function when it is read."""

    def __init__(self, function: Any, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


@LEGACY
@pytest.mark.parametrize("inside", [False, True], ids=["alone", "among tensors"])
@pytest.mark.parametrize(("function", "named"), [(os.system, "system"), (exec, "exec"), (eval, "eval"), (open, "open")])
def test_a_pickle_that_calls_is_refused_and_calls_nothing(
    tmp_path: Path, legacy: bool, inside: bool, function: Any, named: str
) -> None:
    canary = tmp_path / "canary"
    code = f"__import__('pathlib').Path({str(canary)!r}).touch()"
    arguments = {"system": (f"touch {canary}",), "open": (str(canary), "w")}.get(named, (code,))
    gadget = Gadget(function, *arguments)
    path = save({**state(), "x": gadget} if inside else gadget, tmp_path / "w.pt", legacy=legacy)
    message = refused(path)
    assert not canary.exists()
    assert named in message
    assert "execute" in message


@LEGACY
def test_a_pickled_module_is_refused_without_advice_to_trust_it(tmp_path: Path, legacy: bool) -> None:
    message = refused(save(nn.Linear(2, 2), tmp_path / "w.pt", legacy=legacy))
    assert "torch.nn.modules.linear.Linear" in message
    for advice in ("weights_only", "safe_globals", "add_safe", "trust"):
        assert advice not in message


def test_torchscript_is_refused_without_advice_to_trust_it(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(nn.Linear(2, 2)).save(str(tmp_path / "w.pt"))
    assert "weights_only" not in refused(tmp_path / "w.pt")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80",
        b"\x80\x02",
        b"PK\x03\x04",
        b"PK\x05\x06" + bytes(18),
        b"<!doctype html><html><body>404</body></html>",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        bytes(100),
        b'{"a": 1}',
    ],
    ids=repr,
)
def test_what_is_no_weight_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w.pt").write_bytes(content)
    refused(tmp_path / "w.pt")


def test_garbage_is_not_said_to_execute_anything(tmp_path: Path) -> None:
    (tmp_path / "w.pt").write_bytes(b"\x80\x02garbage")
    message = refused(tmp_path / "w.pt")
    assert "execute" not in message
    assert "()" not in message


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "w.pt")
    assert "pipe" in refused(tmp_path / "w.pt")


def test_missing_files_and_directories_are_refused(tmp_path: Path) -> None:
    assert "No such file" in refused(tmp_path / "nowhere.pt")
    assert "directory" in refused(tmp_path)
    assert "null" in refused(Path("a\0b"))


@LEGACY
def test_every_cut_file_is_refused(tmp_path: Path, legacy: bool) -> None:
    path = save(state(), tmp_path / "w.pt", legacy=legacy)
    whole = path.read_bytes()
    odd = []
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        try:
            refused(path)
        except Exception as error:
            odd.append((length, repr(error)[:100]))
    assert odd == []


def test_every_cut_safetensors_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    safetensors.torch.save_file(state(), path)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        refused(path)


@pytest.mark.parametrize("content", [{}, {"a": 1}, [torch.ones(2)], torch.ones(2), {"state_dict": {}}, None], ids=repr)
def test_no_tensors_by_name_is_refused(tmp_path: Path, content: object) -> None:
    assert "holds no tensors" in refused(save(content, tmp_path / "w.pt", legacy=False))


def test_a_dictionary_that_contains_itself_is_refused(tmp_path: Path) -> None:
    endless: dict[str, object] = {}
    endless["state_dict"] = endless
    refused(save(endless, tmp_path / "w.pt", legacy=False))


def test_a_deflated_archive_is_refused(tmp_path: Path) -> None:
    """64 kB that become 64 MB in memory; torch itself never compresses."""
    stored, deflated = tmp_path / "stored.pt", tmp_path / "deflated.pt"
    save({"w": torch.zeros(16 << 20)}, stored, legacy=False)
    with zipfile.ZipFile(stored) as source, zipfile.ZipFile(deflated, "w", zipfile.ZIP_DEFLATED) as target:
        for entry in source.infolist():
            target.writestr(entry.filename, source.read(entry.filename))
    stored.unlink()
    assert deflated.stat().st_size < 100_000
    refused(deflated)


@pytest.mark.parametrize("claimed", [90 << 20, 17 << 20, 2**63, 2**64 - 1])
def test_a_huge_safetensors_header_is_refused_at_once(tmp_path: Path, claimed: int) -> None:
    path = tmp_path / "w.safetensors"
    with path.open("wb") as stream:
        stream.write(struct.pack("<Q", claimed) + b'{"a":')
        stream.truncate(min(claimed, 90 << 20) + 1000)
    tracemalloc.start()
    start = time.process_time()
    message = refused(path)
    seconds = time.process_time() - start
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert f"{claimed:,}" in message
    assert seconds < 1
    assert peak < 20 << 20, "the file is 90 MB, and its first eight bytes say enough"


ONE = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}


@pytest.mark.parametrize(
    "header",
    [
        {"a": ONE | {"data_offsets": [0, 8]}},
        {"a": ONE | {"data_offsets": [4, 8]}},
        {"a": ONE | {"data_offsets": [2**64 - 4, 2**64]}},
        {"a": ONE | {"data_offsets": [-4, 0]}},
        {"a": ONE | {"shape": [2]}},
        {"a": ONE | {"shape": [2**62, 4]}},
        {"a": ONE | {"shape": [-1]}},
        {"a": ONE | {"dtype": "F31"}},
        {"a": {"dtype": "F32", "shape": [2**63, 0], "data_offsets": [0, 0]}, "b": ONE},
        {"a": ONE, "b": ONE},
        {"a": 1},
        b"{" * 10_000,
        b'{"a":' + b"[" * 10_000,
        b'{"\xff": 1}',
        b"{not json}",
    ],
    ids=lambda header: repr(header)[:70],
)
def test_a_safetensors_header_that_lies_is_refused(tmp_path: Path, header: object) -> None:
    refused(header_only(tmp_path / "w.safetensors", header, b"\0\0\x80\x3f"))


def test_an_honest_header_is_read(tmp_path: Path) -> None:
    """The table above starts from this one."""
    found = read_tensors(header_only(tmp_path / "w.safetensors", {"a": ONE}, b"\0\0\x80\x3f"))
    assert found["a"].tolist() == [1.0]
