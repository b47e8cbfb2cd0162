"""Caffe's layout: the released networks written down again from their prototxt, with its pooling, against ours."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from residuum.errors import InputError
from residuum.nets import catalog
from residuum.nets.resnet import ResNet, Variant, stem_pooling
from residuum.weights.layouts.caffe import caffe
from residuum.weights.load import Loaded, load_tensors, load_weights
from written_protobuf import field, varint

State = dict[str, Tensor]
BGR_MEAN = torch.tensor([103.0626238, 115.90288257, 123.15163084])
SMALL = Variant(blocks=(2, 1, 2, 1), widths=(4, 8, 12, 16), block="bottleneck", stride_on="first", pool="ceil")
BLOCKS_50 = (3, 4, 6, 3)


def caffe_pooling(x: NDArray[np.float32], kernel: int, stride: int, pad: int) -> NDArray[np.float32]:
    """Maximum pooling by Caffe's formula: sizes rounded up, windows cut at the border; (N, C, H, W)."""
    sizes = []
    for side in x.shape[2:]:
        pooled = math.ceil((side + 2 * pad - kernel) / stride) + 1
        sizes.append(pooled - 1 if pad and (pooled - 1) * stride >= side + pad else pooled)
    out = np.empty((*x.shape[:2], *sizes), dtype=x.dtype)
    for row in range(sizes[0]):
        for column in range(sizes[1]):
            top, left = row * stride - pad, column * stride - pad
            window = x[:, :, max(top, 0) : top + kernel, max(left, 0) : left + kernel]
            out[:, :, row, column] = window.max(axis=(2, 3))
    return out


@pytest.mark.parametrize("side", [112, 38, 37, 36, 3, 2])
def test_the_stem_pools_as_caffe_does(side: int) -> None:
    x = np.random.default_rng(side).normal(size=(1, 2, side, side + 1 if side > 3 else side)).astype(np.float32)
    found = stem_pooling(SMALL)(torch.from_numpy(x)).numpy()
    np.testing.assert_array_equal(found, caffe_pooling(x, 3, 2, 0))


def test_torchvisions_pooling_is_shifted_by_a_pixel() -> None:
    """So that the reference above is known to tell one from the other."""
    x = np.random.default_rng(0).normal(size=(1, 1, 112, 112)).astype(np.float32)
    padded = stem_pooling(catalog.entry("resnet50_v1").variant)(torch.from_numpy(x)).numpy()  # type: ignore[arg-type]
    assert padded.shape == caffe_pooling(x, 3, 2, 0).shape == (1, 1, 56, 56)
    assert (padded != caffe_pooling(x, 3, 2, 0)).mean() > 0.3
    np.testing.assert_array_equal(padded[:, :, 1:, 1:], caffe_pooling(x[:, :, 1:, 1:], 3, 2, 0)[:, :, :55, :55])


def block_names(blocks: tuple[int, ...], *, numbered: bool) -> Iterator[tuple[str, bool]]:
    """`2a`, `2b`, ... of 50 layers; `3b1`, `3b2`, ... in stages 3 and 4 of 101 and 152. And whether it is the first."""
    for stage, count in enumerate(blocks, start=2):
        for block in range(count):
            later = f"b{block}" if numbered and stage in (3, 4) else "abcdefghi"[block]
            yield (f"{stage}a", True) if block == 0 else (f"{stage}{later}", False)


def resnet_state(blocks: tuple[int, ...], widths: tuple[int, ...], classes: int, *, numbered: bool = False) -> State:
    state: State = {}

    def add(conv: str, norm: str, scale: str, shape: tuple[int, ...]) -> None:
        cout, fan_in = shape[0], math.prod(shape[1:])
        state[f"{conv}/0"] = torch.randn(shape) * (2 / fan_in) ** 0.5
        factor = 999.98236083984375
        state[f"{norm}/0"] = 0.1 * torch.randn(cout) * factor
        state[f"{norm}/1"] = (0.3 + torch.rand(cout)) * factor
        state[f"{norm}/2"] = torch.tensor([factor])
        state[f"{scale}/0"] = 0.3 + 0.5 * torch.rand(cout)
        state[f"{scale}/1"] = 0.1 * torch.randn(cout)

    add("conv1", "bn_conv1", "scale_conv1", (widths[0], 3, 7, 7))
    state["conv1/0"] /= 60
    state["conv1/1"] = 0.1 * torch.randn(widths[0])  # the file of 50 layers has this bias
    channels = widths[0]
    for name, first in block_names(blocks, numbered=numbered):
        width = widths[int(name[0]) - 2]
        shapes = {"2a": (width, channels, 1, 1), "2b": (width, width, 3, 3), "2c": (4 * width, width, 1, 1)}
        if first:
            shapes["1"] = (4 * width, channels, 1, 1)
        for branch, shape in shapes.items():
            add(*(f"{kind}{name}_branch{branch}" for kind in ("res", "bn", "scale")), shape)  # type: ignore[arg-type]
        channels = 4 * width
    state["fc1000/0"] = 0.1 * torch.randn(classes, channels)
    state["fc1000/1"] = 0.1 * torch.randn(classes)
    return state


def as_in_caffe(state: State, rgb: Tensor, blocks: tuple[int, ...], *, numbered: bool = False) -> Tensor:
    """Logits of the released ResNet of images (N, 3, H, W) of 0..255, red first."""

    def norm(x: Tensor, bn: str, scale: str) -> Tensor:
        mean, variance = (state[f"{bn}/{index}"] / state[f"{bn}/2"] for index in (0, 1))
        x = (x - mean[:, None, None]) / torch.sqrt(variance + 1e-5)[:, None, None]
        return x * state[f"{scale}/0"][:, None, None] + state[f"{scale}/1"][:, None, None]

    def branch(x: Tensor, name: str, *, stride: int = 1, pad: int = 0) -> Tensor:
        y = functional.conv2d(x, state[f"res{name}/0"], stride=stride, padding=pad)
        return norm(y, f"bn{name}", f"scale{name}")

    x = rgb.flip(1) - BGR_MEAN[:, None, None]
    x = functional.conv2d(x, state["conv1/0"], state["conv1/1"], stride=2, padding=3)
    x = torch.relu(norm(x, "bn_conv1", "scale_conv1"))
    x = torch.from_numpy(caffe_pooling(x.numpy(), 3, 2, 0))
    for name, first in block_names(blocks, numbered=numbered):
        stride = 2 if first and name[0] != "2" else 1
        short = branch(x, f"{name}_branch1", stride=stride) if first else x
        y = torch.relu(branch(x, f"{name}_branch2a", stride=stride))
        y = torch.relu(branch(y, f"{name}_branch2b", pad=1))
        x = torch.relu(short + branch(y, f"{name}_branch2c"))
    return x.mean(dim=(2, 3)) @ state["fc1000/0"].T + state["fc1000/1"]


def ours(net: torch.nn.Module, loaded: Loaded, rgb: Tensor) -> Tensor:
    assert loaded.preprocessing_hint is not None
    mean, std = (torch.tensor(values)[:, None, None] for values in loaded.preprocessing_hint)
    logits: Tensor = net.eval()((rgb / 255 - mean) / std)
    return logits


def pixels(side: int) -> Tensor:
    return torch.randint(0, 256, (1, 3, side, side)).float()


def blank(name: str, **sizes: int) -> torch.nn.Module:
    """A net of the catalog whose tensors are not yet initialised."""
    with torch.device("meta"):
        net = catalog.net(name, **sizes)
    return net.to_empty(device="cpu")


def caffemodel(state: State) -> bytes:
    """NetParameter: name 1, layer 100 of name 1, type 2, blobs 7 of data 5 and shape 7 of dim 1 (caffe.proto)."""
    layers: dict[str, bytes] = {}
    for name, tensor in state.items():
        shape = field(1, b"".join(varint(size) for size in tensor.shape))
        data = struct.pack(f"<{tensor.numel()}f", *tensor.flatten().tolist())
        layer = name.rpartition("/")[0]
        layers[layer] = layers.get(layer, b"") + field(7, field(5, data) + field(7, shape))
    net = field(1, b"ResNet")
    for layer, blobs in layers.items():
        net += field(100, field(1, layer.encode()) + field(2, b"Convolution") + blobs)
    return net


@torch.inference_mode()
@pytest.mark.parametrize(("side", "numbered"), [(64, False), (71, True)])
def test_a_small_resnet(tmp_path: Path, side: int, numbered: bool) -> None:
    torch.manual_seed(side)
    state, rgb = resnet_state(SMALL.blocks, SMALL.widths, 7, numbered=numbered), pixels(side)
    (tmp_path / "net.caffemodel").write_bytes(caffemodel(state))
    net = ResNet(SMALL, num_classes=7)
    loaded = load_weights(net, tmp_path / "net.caffemodel")
    assert loaded.layout == "Caffe ResNet"
    assert "mean image" in loaded.notes[0]
    expected = as_in_caffe(state, rgb, SMALL.blocks, numbered=numbered)
    torch.testing.assert_close(ours(net, loaded, rgb), expected, rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_resnet50() -> None:
    torch.manual_seed(0)
    state, rgb = resnet_state(BLOCKS_50, (64, 128, 256, 512), 1000), pixels(64)
    net = blank("resnet50_caffe")
    loaded = load_tensors(net, state, source="file")
    torch.testing.assert_close(ours(net, loaded, rgb), as_in_caffe(state, rgb, BLOCKS_50), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("depth", "blocks"), [(50, BLOCKS_50), (101, (3, 4, 23, 3)), (152, (3, 8, 36, 3))])
def test_every_tensor_has_its_place(depth: int, blocks: tuple[int, ...]) -> None:
    with torch.device("meta"):
        own = catalog.net(f"resnet{depth}_caffe").state_dict()
    state = {name: torch.ones(1) for name in resnet_state(blocks, (1, 1, 1, 1), 1, numbered=depth > 50)}
    mapped = caffe(state)
    assert mapped is not None
    assert set(mapped.tensors) == {name for name in own if "num_batches" not in name}


@pytest.mark.parametrize(("factor", "expected"), [(2.0, [1.5, -2.0]), (0.0, [0.0, 0.0])])
def test_a_factor_divides_and_none_means_zero(factor: float, expected: list[float]) -> None:
    blobs = {"0": torch.tensor([3.0, -4.0]), "1": torch.tensor([3.0, -4.0]), "2": torch.tensor([factor])}
    mapped = caffe({f"{layer}/{number}": blob for layer in ("bn2a_branch2a", "res2a_branch2a") for number, blob in
                    (blobs.items() if layer.startswith("bn") else {"0": torch.ones(2, 1, 1, 1)}.items())})  # fmt: skip
    assert mapped is not None
    assert mapped.tensors["layer1.0.bn1.running_mean"].tolist() == expected
    assert mapped.tensors["layer1.0.bn1.running_var"].tolist() == expected
    assert set(mapped.tensors) == {"layer1.0.conv1.weight", "layer1.0.bn1.running_mean", "layer1.0.bn1.running_var"}


def test_the_pooling_of_others_is_another_net() -> None:
    """All tensors fit; the answers would be off by a pixel."""
    state = resnet_state(BLOCKS_50, (64, 128, 256, 512), 10)
    for name in ("resnet50", "resnet50_v1"):
        with pytest.raises(InputError, match=r"computes otherwise: .*pool padded for ceil\). Try: resnet50_caffe$"):
            load_tensors(blank(name, num_classes=10), state, source="file")


@pytest.mark.parametrize(("name", "convolutions"), [("vgg16", (2, 2, 3, 3, 3)), ("vgg19", (2, 2, 4, 4, 4))])
def test_vgg(name: str, convolutions: tuple[int, ...]) -> None:
    """fc6 takes channels, height, width, as ours does; old files have four sizes for every blob."""
    state: State = {}
    for stage, count in enumerate(convolutions, start=1):
        for number in range(1, count + 1):
            state[f"conv{stage}_{number}/0"] = torch.arange(27.0 * stage).reshape(stage, 3, 3, 3) + number
            state[f"conv{stage}_{number}/1"] = torch.full((1, 1, 1, stage), 10.0 * stage + number)
    for layer in (6, 7, 8):
        state |= {f"fc{layer}/0": torch.rand(1, 1, 2, 3), f"fc{layer}/1": torch.full((1, 1, 1, 2), float(layer))}
    mapped = caffe(state)
    assert mapped is not None
    with torch.device("meta"):
        own = catalog.net(name).state_dict()
    assert set(mapped.tensors) == set(own)
    assert [mapped.tensors[key].ndim for key in own] == [tensor.ndim for tensor in own.values()]
    biases = [mapped.tensors[key][0].item() for key in own if key.endswith("bias")]
    assert biases == [*sorted(biases[:-3]), 6, 7, 8]
    assert torch.equal(mapped.tensors["features.0.weight"], state["conv1_1/0"][:, [2, 1, 0]])
    assert torch.equal(mapped.tensors["features.2.weight"], state["conv1_2/0"])
    assert torch.equal(mapped.tensors["classifier.0.weight"], state["fc6/0"][0, 0])
    assert mapped.preprocessing == (tuple(m / 255 for m in (123.68, 116.779, 103.939)), (1 / 255,) * 3)


def test_the_mean_of_the_residual_networks_is_red_first() -> None:
    mapped = caffe({"res2a_branch2a/0": torch.ones(1, 1, 1, 1), "bn2a_branch2a/2": torch.ones(1)})
    assert mapped is not None
    assert mapped.preprocessing is not None
    assert [round(255 * value, 4) for value in mapped.preprocessing[0]] == [123.1516, 115.9029, 103.0626]


def test_another_order_of_layers_is_another_net() -> None:
    state = resnet_state(SMALL.blocks, SMALL.widths, 7)
    net = ResNet(replace(SMALL, placement="relu_only"), num_classes=7)
    with pytest.raises(InputError, match=r"otherwise: placement relu_only for published\)"):
        load_tensors(net, state, source="file")
