"""Weights of numpy, Keras, Caffe and ONNX: layouts of those who write them, read value for value; and their faults."""

from __future__ import annotations

import io
import struct
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from residuum.errors import InputError
from residuum.weights.formats.wire import integers
from residuum.weights.read import read_tensors
from written_protobuf import field, varint

VALUES = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


def refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_tensors(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


# numpy


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_is_read(tmp_path: Path, save: Callable[..., None]) -> None:
    arrays = {
        "a/kernel": VALUES,
        "turned": np.asfortranarray(VALUES),
        "big_endian": VALUES.astype(">f4"),
        "half": VALUES.astype(np.float16),
        "scalar": np.array(7),
        "empty": np.zeros((0, 3)),
    }
    with (tmp_path / "w").open("wb") as stream:
        save(stream, **arrays)
    found = read_tensors(tmp_path / "w")
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert np.array_equal(found[name].numpy(), array), name
    assert found["half"].dtype == torch.float16


def test_object_arrays_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", a=np.array([{}, None], dtype=object))
    refused(tmp_path / "w.npz")


def test_an_npz_bomb_is_refused(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "w.npz", a=np.zeros(10_000_000, np.float32))
    assert (tmp_path / "w.npz").stat().st_size < 100_000
    assert "would unfold to 40,000,128" in refused(tmp_path / "w.npz")


@pytest.mark.parametrize(
    ("shape", "kind"),
    [((25,), "<f4"), ((2**40, 2**40), "<f4"), ((-24,), "<f4"), ((24,), "|O"), ((6,), "(4,)<f4"), ((24,), "|V4")],
)
def test_an_array_header_that_lies_is_refused(tmp_path: Path, shape: tuple[int, ...], kind: str) -> None:
    header = f"{{'descr': {kind!r}, 'fortran_order': False, 'shape': {shape!r}}}".ljust(117) + "\n"
    content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + VALUES.tobytes()
    with zipfile.ZipFile(tmp_path / "w.npz", "w") as archive:
        archive.writestr("a.npy", content)
    refused(tmp_path / "w.npz")


def test_a_single_array_is_named(tmp_path: Path) -> None:
    np.save(tmp_path / "w.npy", VALUES)
    assert "numpy.savez" in refused(tmp_path / "w.npy")


# Keras


@pytest.fixture
def h5py() -> Any:
    return pytest.importorskip("h5py")


def keras_file(path: Path, h5py: Any, top: str | None = None) -> Path:
    """What Keras 2 writes by save_weights, or, under `model_weights`, by save."""
    with h5py.File(path, "w") as file:
        root = file.create_group(top) if top else file
        root.attrs["layer_names"] = [b"conv1", b"pool"]
        layer = root.create_group("conv1")
        layer.attrs["weight_names"] = [b"conv1/kernel:0", b"conv1/bias:0"]
        layer.create_dataset("conv1/kernel:0", data=VALUES)
        layer.create_dataset("conv1/bias:0", data=VALUES[0, 0])
        root.create_group("pool").attrs["weight_names"] = np.zeros(0, "S1")
        if top:
            file.create_dataset("optimizer_weights/iterations:0", data=7)
    return path


@pytest.mark.parametrize("top", [None, "model_weights"])
def test_weights_of_keras_2_are_read(tmp_path: Path, h5py: Any, top: str | None) -> None:
    found = read_tensors(keras_file(tmp_path / "w", h5py, top))
    assert set(found) == {"conv1/conv1/kernel:0", "conv1/conv1/bias:0"}
    assert np.array_equal(found["conv1/conv1/kernel:0"].numpy(), VALUES)


def test_weights_of_keras_3_are_read(tmp_path: Path, h5py: Any) -> None:
    with h5py.File(tmp_path / "w", "w", libver="latest") as file:
        file.create_dataset("layers/conv2d/vars/0", data=VALUES.astype(">f8"))
        file.create_dataset("layers/conv2d/vars/1", data=np.float16(3))
        file.create_group("layers/pool/vars")
    found = read_tensors(tmp_path / "w")
    assert found["layers/conv2d/vars/0"].dtype == torch.float64
    assert found["layers/conv2d/vars/1"].tolist() == 3.0


def virtual(h5py: Any, file: Any, other: Path) -> None:
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource(str(other), "secret", (4,))
    file.create_virtual_dataset("a", layout)


ODD_HDF5: dict[str, Callable[[Any, Any, Path], object]] = {
    "external link": lambda h5py, file, other: file.__setitem__("a", h5py.ExternalLink(str(other), "secret")),
    "soft link": lambda h5py, file, other: file.__setitem__("a", h5py.SoftLink("/b")),
    "soft link as model_weights": lambda h5py, file, other: file.__setitem__("model_weights", h5py.SoftLink("/b")),
    "virtual": virtual,
    "external storage": lambda h5py, file, other: file.create_dataset("a", (4,), "f4", external=[(str(other), 0, 16)]),
    "gzip bomb": lambda h5py, file, other: file.create_dataset(
        "a", (10**9,), "f4", chunks=(10**6,), compression="gzip"
    ),
    "values left out": lambda h5py, file, other: file.create_dataset("a", (10**12,), "f4"),
    "chunks left out": lambda h5py, file, other: file.create_dataset("a", (10**12,), "f4", chunks=(10**6,)),
    "text": lambda h5py, file, other: file.create_dataset("a", data=[b"abc"]),
    "references": lambda h5py, file, other: file.create_dataset("a", data=file.ref, dtype=h5py.ref_dtype),
    "group in itself": lambda h5py, file, other: file.__setitem__("a", file["/"]),
    "no value": lambda h5py, file, other: file.create_dataset("a", data=h5py.Empty("f4")),
    "nothing": lambda h5py, file, other: None,
}


@pytest.mark.parametrize("kind", ODD_HDF5)
def test_what_keras_never_writes_is_refused(tmp_path: Path, h5py: Any, kind: str) -> None:
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["secret"] = np.ones(4, np.float32)
    with h5py.File(tmp_path / "w", "w") as file:
        ODD_HDF5[kind](h5py, file, other)
    refused(tmp_path / "w")


def test_h5py_missing_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "w").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    monkeypatch.setitem(sys.modules, "h5py", None)
    assert "pip install 'residuum[weights]'" in refused(tmp_path / "w")


# Protobuf, by hand.


@pytest.mark.parametrize("numbers", [[], [0], [1, 127, 128, 300, 2**31, 2**63 - 1, -1, -(2**63)]], ids=repr)
def test_packed_numbers(numbers: list[int]) -> None:
    assert integers(b"".join(map(varint, numbers))).tolist() == numbers


@pytest.mark.parametrize("packed", [b"\x80", b"\x01\xff", b"\xff" * 10 + b"\x01"])
def test_packed_numbers_that_are_not_whole_are_refused(packed: bytes) -> None:
    with pytest.raises(ValueError, match="number"):
        integers(packed)


# Caffe

NEW_SHAPE = field(7, field(1, varint(2) + varint(3) + varint(4)))
OLD_SHAPE = field(1, 1) + field(2, 2) + field(3, 3) + field(4, 4)
FLOATS = field(5, VALUES.tobytes())


def caffe_net(blob: bytes, *, old: bool = False, net_name: bytes = b"ResNet-50") -> bytes:
    name, blobs, layers = (4, 6, 2) if old else (1, 7, 100)
    layer = field(name, b"conv1") + field(2 if not old else 5, b"Convolution" if not old else 4) + field(blobs, blob)
    head = field(1, net_name) if net_name else b""
    return head + field(layers, layer) + field(layers, field(name, b"pool1"))


@pytest.mark.parametrize("net_name", [b"ResNet-50", b"", b"a" * 200])
def test_caffe_weights_are_read(tmp_path: Path, net_name: bytes) -> None:
    (tmp_path / "w").write_bytes(caffe_net(FLOATS + NEW_SHAPE, net_name=net_name))
    found = read_tensors(tmp_path / "w")
    assert list(found) == ["conv1/0"]
    assert np.array_equal(found["conv1/0"].numpy(), VALUES)


@pytest.mark.parametrize("net_name", [b"VGG_ILSVRC_16_layers", b""])
def test_old_caffe_weights_have_four_dimensions(tmp_path: Path, net_name: bytes) -> None:
    (tmp_path / "w").write_bytes(caffe_net(OLD_SHAPE + FLOATS, old=True, net_name=net_name))
    found = read_tensors(tmp_path / "w")
    assert found["conv1/0"].shape == (1, 2, 3, 4)
    assert np.array_equal(found["conv1/0"].numpy()[0], VALUES)


def test_caffe_doubles_and_several_blobs_are_read(tmp_path: Path) -> None:
    doubles = field(8, VALUES.astype(np.float64).tobytes()) + NEW_SHAPE
    bias = field(5, VALUES[0, 0].tobytes()) + field(7, field(1, varint(4)))
    (tmp_path / "w").write_bytes(field(100, field(1, b"fc") + field(7, doubles) + field(7, bias)))
    found = read_tensors(tmp_path / "w")
    assert list(found) == ["fc/0", "fc/1"]
    assert found["fc/0"].dtype == torch.float64
    assert found["fc/1"].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "content",
    [
        caffe_net(FLOATS),
        caffe_net(NEW_SHAPE),
        caffe_net(FLOATS[:-4] + NEW_SHAPE),
        caffe_net(field(5, VALUES.tobytes()[:-1]) + NEW_SHAPE),
        caffe_net(FLOATS + field(7, field(1, varint(-24)))),
        caffe_net(FLOATS + field(7, field(1, varint(2**62) * 4))),
        caffe_net(FLOATS + NEW_SHAPE) * 2,
        caffe_net(b""),
        caffe_net(FLOATS + NEW_SHAPE)[:-1],
        field(1, b"net"),
        b"\n\nA text that is no weights\n",
    ],
    ids=range(11),
)
def test_caffe_files_that_lie_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w").write_bytes(content)
    refused(tmp_path / "w")


def test_caffe_as_the_protobuf_runtime_writes_it(tmp_path: Path) -> None:
    """The reader here knows no schema; the writer is the runtime that Caffe uses."""
    pytest.importorskip("google.protobuf")
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    kinds = {"string": 9, "float": 2, "int64": 3, "message": 11}
    schema = {
        "BlobShape": [("dim", 1, "int64", "", True)],
        "BlobProto": [("data", 5, "float", "", True), ("shape", 7, "message", "BlobShape", False)],
        "LayerParameter": [("name", 1, "string", "", False), ("blobs", 7, "message", "BlobProto", True)],
        "NetParameter": [("name", 1, "string", "", False), ("layer", 100, "message", "LayerParameter", True)],
    }
    file = descriptor_pb2.FileDescriptorProto(name="c.proto", package="c", syntax="proto2")
    for message_name, fields in schema.items():
        message = file.message_type.add(name=message_name)
        for name, number, kind, of, repeated in fields:
            added = message.field.add(name=name, number=number, type=kinds[kind], label=3 if repeated else 1)
            if of:
                added.type_name = f".c.{of}"
            elif repeated:
                added.options.packed = True
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    net = message_factory.GetMessageClass(pool.FindMessageTypeByName("c.NetParameter"))(name="n")
    blob = net.layer.add(name="conv1").blobs.add()
    blob.data.extend(VALUES.ravel().tolist())
    blob.shape.dim.extend([2, 3, 4])
    (tmp_path / "w").write_bytes(net.SerializeToString())
    assert np.array_equal(read_tensors(tmp_path / "w")["conv1/0"].numpy(), VALUES)


# ONNX


def onnx_model(*tensors: Any) -> bytes:
    onnx = pytest.importorskip("onnx")
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "g", [], [], list(tensors))
    content: bytes = onnx.helper.make_model(graph).SerializeToString()
    return content


@pytest.mark.parametrize("raw", [False, True], ids=["typed", "raw"])
@pytest.mark.parametrize("kind", ["FLOAT", "DOUBLE", "FLOAT16", "BFLOAT16", "INT64", "INT32", "INT8", "UINT8", "BOOL"])
def test_onnx_initialisers_are_read(tmp_path: Path, kind: str, raw: bool) -> None:
    onnx = pytest.importorskip("onnx")
    number = getattr(onnx.TensorProto, kind)
    signed = kind not in ("UINT8", "BOOL")
    values = torch.tensor([[0, 1, 1], [0, -1 if signed else 1, 1]])
    if raw:
        dtype = {"BFLOAT16": torch.bfloat16}.get(kind)
        array = onnx.helper.tensor_dtype_to_np_dtype(number)
        content = values.to(dtype).view(torch.int16).numpy() if dtype else values.numpy().astype(array)
        tensor = onnx.helper.make_tensor("w", number, [2, 3], content.tobytes(), raw=True)
    else:
        tensor = onnx.helper.make_tensor("w", number, [2, 3], values.flatten().tolist())
    (tmp_path / "w").write_bytes(onnx_model(tensor))
    found = read_tensors(tmp_path / "w")["w"]
    assert found.dtype == getattr(torch, kind.lower().replace("double", "float64"))
    assert torch.equal(found.to(torch.int64), values)


def onnx_bytes(tensor: bytes, *, ir_version: int = 8) -> bytes:
    return field(1, ir_version) + field(7, field(2, b"g") + field(5, tensor))


HONEST = field(1, 24) + field(2, 1) + field(8, b"w") + field(9, VALUES.tobytes())


def test_an_honest_onnx_tensor_is_read(tmp_path: Path) -> None:
    """The table below starts from this one."""
    (tmp_path / "w").write_bytes(onnx_bytes(HONEST))
    assert read_tensors(tmp_path / "w")["w"].shape == (24,)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (onnx_bytes(HONEST + field(13, field(1, b"location") + field(2, b"/etc/passwd"))), "another file"),
        (onnx_bytes(HONEST + field(14, 1)), "another file"),
        (onnx_bytes(HONEST + field(1, 2)), "whole"),
        (onnx_bytes(HONEST.replace(field(1, 24), field(1, -24))), "whole"),
        (onnx_bytes(HONEST.replace(field(1, 24), field(1, 2**62) * 4)), "whole"),
        (onnx_bytes(HONEST.replace(field(2, 1), field(2, 8))), "type 8"),
        (onnx_bytes(HONEST + field(4, VALUES.tobytes())), "whole"),
        (onnx_bytes(HONEST)[:-1], "whole"),
        (onnx_bytes(HONEST) + field(7, field(5, HONEST)), "whole"),
        (field(1, 8) + field(7, field(2, b"g")), "no tensors"),
    ],
    ids=range(10),
)
def test_onnx_files_that_lie_are_refused(tmp_path: Path, content: bytes, what: str) -> None:
    (tmp_path / "w").write_bytes(content)
    assert what in refused(tmp_path / "w")


# Strangers


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"<!DOCTYPE html><html>404</html>", "web page"),
        (b"\n  <html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git lfs pull"),
        (b"\x1f\x8b\x08" + bytes(20), "gunzip"),
        (b"a" + bytes(256) + b"ustar\x0000" + bytes(300), "tar"),
        (b"\x80\x02}q\x01(U\x0bbatch_labelq\x02U\x15training batch 1 of 5q\x03", "CIFAR"),
    ],
)
def test_strangers_are_named(tmp_path: Path, content: bytes, what: str) -> None:
    (tmp_path / "w.pt").write_bytes(content)
    assert what in refused(tmp_path / "w.pt")


def test_a_distributed_checkpoint_is_named_and_not_opened(tmp_path: Path) -> None:
    directory = tmp_path / "checkpoint"
    directory.mkdir()
    (directory / ".metadata").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    assert "distributed checkpoint" in refused(directory)


def test_npz_stays_readable_by_numpy(tmp_path: Path) -> None:
    """The header written by hand above is numpy's own."""
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (24,)}".ljust(117) + "\n"
    content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + VALUES.tobytes()
    assert np.array_equal(np.load(io.BytesIO(content)), VALUES.ravel())
