"""Files made to harm: nothing in them is executed, and none takes more than a moment or some memory.

`RESIDUUM_MUTANTS=10000 pytest tests/weights/test_hostile_files.py` reads 10,000 damaged files of each format instead
of 300. None of the formats has a digest, so that a mutant may be read with changed values and nobody can tell: what is
tested is that it is read or refused, in one way. (What this program downloads and writes has a digest, checked before.)
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import random
import struct
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from residuum.errors import ResiduumError
from residuum.weights.read import read_tensors
from written_protobuf import field, varint

NUM_MUTANTS = int(os.environ.get("RESIDUUM_MUTANTS", "300"))
MAX_SECONDS = 1  # of work, by the clock of the process, since the machine may be busy (faults.md, row 17)
MAX_BYTES = 80 << 20
MILLION = 1_000_000


def state() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "conv.weight": torch.randn(4, 3, 3, 3, generator=generator),
        "bn.running_var": torch.rand(4, generator=generator),
        "bn.num_batches_tracked": torch.tensor(7),
    }


# Good files, one for each format


def write_zip(path: Path) -> None:
    torch.save(state(), path)


def write_legacy(path: Path) -> None:
    torch.save({"state_dict": state(), "epoch": 3}, path, _use_new_zipfile_serialization=False)


def write_safetensors(path: Path) -> None:
    safetensors.torch.save_file(state(), path)


def write_npz(path: Path) -> None:
    with path.open("wb") as stream:
        np.savez(stream, **{name: tensor.numpy() for name, tensor in state().items()})


def write_compressed_npz(path: Path) -> None:
    with path.open("wb") as stream:
        np.savez_compressed(stream, **{name: tensor.numpy() for name, tensor in state().items()})


def write_hdf5(path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"conv", b"bn"]
        for name, tensor in state().items():
            layer = name.partition(".")[0]
            file.create_dataset(f"{layer}/{layer}/{name}:0", data=tensor.numpy())
            file[layer].attrs["weight_names"] = [name.encode()]


def write_caffe(path: Path) -> None:
    layers = b""
    for name, tensor in state().items():
        blob = field(5, tensor.float().numpy().tobytes()) + field(7, field(1, b"".join(map(varint, tensor.shape))))
        layers += field(100, field(1, name.encode()) + field(7, blob))
    path.write_bytes(field(1, b"net") + layers)


def write_onnx(path: Path) -> None:
    graph = b""
    for name, tensor in state().items():
        shape = b"".join(field(1, size) for size in tensor.shape)
        kind = 1 if tensor.is_floating_point() else 7
        graph += field(5, shape + field(2, kind) + field(8, name.encode()) + field(9, tensor.numpy().tobytes()))
    path.write_bytes(field(1, 8) + field(2, b"a test") + field(7, graph))


FORMATS: dict[str, Callable[[Path], None]] = {
    "zip": write_zip,
    "legacy": write_legacy,
    "safetensors": write_safetensors,
    "npz": write_npz,
    "compressed-npz": write_compressed_npz,
    "hdf5": write_hdf5,
    "caffe": write_caffe,
    "onnx": write_onnx,
}


@pytest.mark.parametrize("kind", FORMATS)
def test_the_good_files_are_read(tmp_path: Path, kind: str) -> None:
    FORMATS[kind](tmp_path / "w")
    found = {
        name.partition("/0")[0].rpartition("/")[2].removesuffix(":0"): t
        for name, t in read_tensors(tmp_path / "w").items()
    }
    assert set(found) == set(state())
    for name, tensor in state().items():
        assert torch.equal(found[name].to(tensor.dtype), tensor)


# Mutants


def mutant(whole: bytes, draw: random.Random) -> bytes:
    """Bits turned, bytes changed, a number of 1 to 8 bytes made extreme, a cut, a piece repeated or left out."""
    changed = bytearray(whole)
    start = min(len(whole), 600) if draw.random() < 0.5 else len(whole)  # half of them near the start
    place = draw.randrange(start)
    match draw.randrange(6):
        case 0:
            changed[place] ^= 1 << draw.randrange(8)
        case 1:
            for _ in range(draw.choice((1, 3, 20))):
                changed[draw.randrange(start)] = draw.randrange(256)
        case 2:
            width = draw.choice((1, 2, 4, 8))
            number = draw.choice((0, 1, (1 << 8 * width - 1) - 1, 1 << 8 * width - 1, (1 << 8 * width) - 1))
            changed[place : place + width] = number.to_bytes(width, "little")
        case 3:
            del changed[place:]
        case 4:
            changed[place:place] = whole[place : place + draw.randrange(1, 100)]
        case _:
            del changed[place : place + draw.randrange(1, 100)]
    return bytes(changed)


def outcome(path: Path) -> str:
    """Empty where the file is read or refused as it should be."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read_tensors(path)
    except ResiduumError as error:
        return "" if "\n" not in str(error) and str(error).startswith(f"{path}: ") else str(error)
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:80]}"
    return ""


@pytest.mark.timeout(max(120, NUM_MUTANTS))
@pytest.mark.parametrize("kind", FORMATS)
def test_mutants_are_read_or_refused_and_nothing_else(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "w"
    FORMATS[kind](path)
    whole = path.read_bytes()
    odd = {}
    for seed in range(NUM_MUTANTS):
        path.write_bytes(mutant(whole, random.Random(seed)))
        found = outcome(path)
        if found:
            odd[found] = seed
    assert odd == {}


# Files that call, and files that grow


class Gadget:
    """Its pickle calls a function when it is read."""

    def __init__(self, function: Any, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


def gadgets(directory: Path) -> dict[str, str]:
    """Files whose pickles touch `canary`, and the name that the refusal has to give."""
    canary = directory / "canary"
    named = {}
    calls = {
        "system": Gadget(os.system, f"touch {canary}"),
        "exec": Gadget(exec, f"open({str(canary)!r}, 'w')"),
        "open": Gadget(open, str(canary), "w"),
        "Popen": Gadget(subprocess.Popen, ["touch", str(canary)]),
        "getattr": Gadget(getattr, "text", "upper"),
        "import_module": Gadget(__import__("importlib").import_module, "antigravity"),
        "torch.hub.load": Gadget(torch.hub.load, "a/b", "c"),
    }
    for name, gadget in calls.items():
        for suffix, legacy in ((".pt", False), (".th", True)):
            path = directory / f"{name}{suffix}"
            torch.save({"w": torch.ones(2), "x": gadget}, path, _use_new_zipfile_serialization=not legacy)
            named[path.name] = name
    plain = directory / "plain.pth"
    plain.write_bytes(pickle.dumps(calls["system"], protocol=4))
    named[plain.name] = "pickle"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = directory / "script.pt"
        torch.jit.script(nn.Linear(2, 2)).save(str(script))
    named[script.name] = "TorchScript"
    checkpoint = directory / "dcp"
    checkpoint.mkdir()
    (checkpoint / ".metadata").write_bytes(pickle.dumps(calls["system"]))
    named[checkpoint.name] = "distributed"
    batch = directory / "data_batch_1"
    batch.write_bytes(pickle.dumps({"batch_label": "training batch 1 of 5", "data": calls["system"]}, protocol=2))
    named[batch.name] = "CIFAR"
    return named


def zip_of(path: Path, entries: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)


def many_names(count: int) -> bytes:
    """The pickle of a dictionary with one list under many names."""
    pairs = b"".join(b"X\x07\0\0\0%07dh\0" % index for index in range(count))
    return b"\x80\x02]q\x00}(" + pairs + b"u."


def legacy_head() -> bytes:
    return b"".join(
        pickle.dumps(value, protocol=2)
        for value in (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True})
    )


def endless_key() -> bytes:
    """A tuple of twice a tuple of twice a tuple, sixty deep, as a key: 2^60 steps to hash."""
    doubled = b"".join(b"h%ch%c\x86q%c" % (index, index, index + 1) for index in range(60))
    return b"\x80\x02})q\x00" + doubled + b"K\x01s."


LIST_OF_PAIRS = b"](" + b"K\x01K\x02\x86" * 50_000 + b"e"
NUMBERS = b"(" + b"K\x01" * 100_000 + b"t"
ORDERED = b"ccollections\nOrderedDict\n"
COPYING = {  # a few instructions each time, and each time all of a long list is copied
    "pairs": ORDERED + b"q\0" + LIST_OF_PAIRS + b"\x85q\1](" + b"h\0h\1R" * 100_000 + b"e",
    "attributes": ORDERED + b"q\0}(" + b"".join(b"J" + struct.pack("<i", i) + b"N" for i in range(50_000)) + b"uq\1"
    b"](" + b"h\0)Rh\1b" * 50_000 + b"e",
    "sizes": b"ctorch\nSize\nq\0" + NUMBERS + b"\x85q\1](" + b"h\0h\1R" * 100_000 + b"e",
    "a shown tuple": b")q\0" + b"".join(b"h%ch%c\x86q%c" % (i, i, i + 1) for i in range(60)) + b")R",
    "a tensor taken apart": b"ctorch\nSize\n(X\7\0\0\0storagectorch\nByteStorage\nX\1\0\0\x000X\3\0\0\0cpuK\1tQ\x85R",
}


def links(path: Path) -> None:
    """One array under a hundred names."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        file["0"] = np.zeros(1 << 20, np.float32)
        for index in range(1, 100):
            file[str(index)] = file["0"]


def shape_of(count: int) -> bytes:
    """More dimensions than anything has; to multiply them takes for ever."""
    return b"\x7f" * count


def overlapping_zip(path: Path) -> None:
    """Two entries of the directory for the same bytes."""
    zip_of(path, {"a/data.pkl": b"\x80\x02}.", "a/data/0": bytes(1000), "a/data/1": b""})
    content = bytearray(path.read_bytes())
    first = content.index(b"PK\1\2", content.index(b"PK\1\2") + 4)
    second = content.index(b"PK\1\2", first + 4)
    content[second + 20 : second + 28] = content[first + 20 : first + 28]
    content[second + 42 : second + 46] = content[first + 42 : first + 46]
    path.write_bytes(content)


def many_entries(path: Path, count: int) -> None:
    record = struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0)
    central = b"".join(record + b"%07d" % index for index in range(count))
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, len(central), 0, 0)
    path.write_bytes(central + end)


def header_only(path: Path, header: bytes, size_bytes: int = 0, claimed: int | None = None) -> None:
    path.write_bytes(struct.pack("<Q", len(header) if claimed is None else claimed) + header)
    os.truncate(path, max(size_bytes, path.stat().st_size))


def growing(directory: Path) -> list[str]:
    """Small files that claim much, and large files whose first bytes say enough."""
    made: dict[str, Callable[[Path], object]] = {
        "deflated.pt": lambda path: zip_of(
            path, {"a/data.pkl": b"\x80\x02}.", "a/data/0": bytes(100 << 20)}, zipfile.ZIP_DEFLATED
        ),
        "deflated.npz": lambda path: zip_of(path, {"a.npy": bytes(100 << 20)}, zipfile.ZIP_DEFLATED),
        "long.pt": lambda path: zip_of(path, {"a/data.pkl": bytes(17 << 20)}),
        "names.pt": lambda path: zip_of(path, {"a/data.pkl": many_names(600_000)}),
        "names.th": lambda path: path.write_bytes(legacy_head() + many_names(600_000)),
        "key.pt": lambda path: zip_of(path, {"a/data.pkl": endless_key()}),
        "key.th": lambda path: path.write_bytes(legacy_head() + endless_key()),
        "string.th": lambda path: path.write_bytes(legacy_head() + b"\x80\x02X\xff\xff\xff\xff"),
        "memo.th": lambda path: path.write_bytes(legacy_head() + b"\x80\x02}r\xff\xff\xff\x7f."),
        "overlap.pt": overlapping_zip,
        "entries.pt": lambda path: many_entries(path, 200_000),
        "entries-50000.pt": lambda path: many_entries(path, 50_000),
        "links.h5": links,
        "shape.caffemodel": lambda path: path.write_bytes(
            field(100, field(1, b"a") + field(7, field(7, field(1, shape_of(MILLION)))))
        ),
        "shape.onnx": lambda path: path.write_bytes(
            field(1, 8) + field(7, field(5, field(1, shape_of(MILLION)) + field(2, 1)))
        ),
        "integers.onnx": lambda path: path.write_bytes(
            field(1, 8) + field(7, field(5, field(1, 4 * MILLION) + field(2, 7) + field(7, bytes(4 * MILLION))))
        ),
        "heads.th": lambda path: path.write_bytes(
            legacy_head() + b"".join(b"\x80\2](" + b"N" * 400_000 + b"e." for _ in range(2))
        ),
        "stride.pt": lambda path: torch.save({"w": torch.zeros(1).expand(10**6, 10**6)}, path),
        "header.safetensors": lambda path: header_only(path, b'{"a":', 90 << 20, claimed=80 << 20),
        "offsets.safetensors": lambda path: header_only(
            path, b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[18446744073709551612,18446744073709551616]}}'
        ),
        "large.safetensors": lambda path: header_only(
            path, b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}}', 300 << 20
        ),
        "million.safetensors": lambda path: header_only(
            path,
            json.dumps(
                {f"t{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(200_000)}
            ).encode(),
        ),
        "layers.caffemodel": lambda path: path.write_bytes(field(100, b"") * MILLION),
        "blobs.caffemodel": lambda path: path.write_bytes(field(100, field(1, b"a") + field(7, b"") * MILLION)),
        "million.onnx": lambda path: path.write_bytes(
            field(1, 8) + field(7, b"".join(field(5, field(2, 1) + field(8, b"%d" % i)) for i in range(130_000)))
        ),
        "large.onnx": lambda path: path.write_bytes(field(1, 8) + field(7, field(5, field(9, bytes(90 << 20))))),
    }
    for name, pickled in COPYING.items():
        made[f"{name}.pt"] = lambda path, pickled=pickled: zip_of(  # type: ignore[misc]
            path, {"a/data.pkl": b"\x80\2" + pickled + b".", "a/data/0": b"1"}
        )
    for name, make in made.items():
        make(directory / name)
    return list(made)


CHILD = """
import json, sys, time
from pathlib import Path
from residuum.errors import ResiduumError
from residuum.weights.read import read_tensors

good, files = json.loads(sys.argv[1])
for path in good:
    read_tensors(path)
seen = []
def watch(event, arguments):
    calls = event.startswith(("os.", "subprocess.", "socket.", "ctypes.")) and event not in ("os.listdir", "os.scandir")
    if calls or event in ("exec", "import", "pickle.find_class"):
        seen.append(event)
    if event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
        seen.append(f"open {arguments[0]}")
def memory(kind):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(kind))
reset = open("/proc/self/clear_refs", "w")  # "5" sets the highest resident size to the present one (man 5 proc)
sys.addaudithook(watch)
found = {}
for path in files:
    reset.write("5")
    reset.flush()
    base, start = memory("VmRSS"), time.process_time()
    try:
        read_tensors(path)
        message = None
    except ResiduumError as error:
        message = str(error)
    seconds = time.process_time() - start
    grown = memory("VmHWM") - base
    found[path] = {"message": message, "seconds": seconds, "bytes": grown, "events": list(seen)}
    seen.clear()
print(json.dumps(found))
"""


def read_apart(good: list[Path], files: list[Path]) -> dict[str, Any]:
    """What a process of its own finds in the files: messages, seconds, growth of memory, what was executed."""
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("the highest resident size of a process cannot be reset here")
    argument = json.dumps([[str(path) for path in good], [str(path) for path in files]])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CHILD, argument],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture
def good(tmp_path: Path) -> list[Path]:
    """What a reader imports at its first file is imported before anything is watched."""
    directory = tmp_path / "good"
    directory.mkdir()
    for kind, write in FORMATS.items():
        if kind != "hdf5" or pytest.importorskip("h5py"):
            write(directory / kind)
    return sorted(directory.iterdir())


@pytest.mark.parametrize("kind", COPYING)
def test_what_a_pickle_copies_is_counted(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "w"
    zip_of(path, {"a/data.pkl": b"\x80\2" + COPYING[kind] + b".", "a/data/0": b"1"})
    with pytest.raises(ResiduumError, match=r"does more than|calls"):
        read_tensors(path)


def test_nothing_in_a_file_is_executed(tmp_path: Path, good: list[Path]) -> None:
    named = gadgets(tmp_path)
    found = read_apart(good, [tmp_path / name for name in named])
    for name, expected in named.items():
        report = found[str(tmp_path / name)]
        assert report["message"] is not None, name
        assert expected in report["message"]
        assert report["events"] == [], name
        for advice in ("weights_only", "safe_globals", "trust"):
            assert advice not in report["message"]
    assert not (tmp_path / "canary").exists()


def test_no_file_takes_time_or_memory_beyond_its_due(tmp_path: Path, good: list[Path]) -> None:
    names = growing(tmp_path)
    found = read_apart(good, [tmp_path / name for name in names])
    for name in names:
        report = found[str(tmp_path / name)]
        assert report["message"] is not None, name
        assert report["seconds"] < MAX_SECONDS, name
        assert report["bytes"] < MAX_BYTES, name


def test_a_gadget_that_was_tampered_with_stays_one(tmp_path: Path) -> None:
    """Mutants of a file that calls: none of them gets to call."""
    canary = tmp_path / "canary"
    path = tmp_path / "w"
    torch.save({"x": Gadget(open, str(canary), "w")}, path, _use_new_zipfile_serialization=False)
    whole = path.read_bytes()
    for seed in range(min(NUM_MUTANTS, 300)):
        path.write_bytes(mutant(whole, random.Random(seed)))
        outcome(path)
    assert not canary.exists()
    assert hashlib.sha256(whole).digest() != hashlib.sha256(path.read_bytes()).digest()
