"""Keras's layout: its networks written down again from its definition, with its tensors, against ours."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from residuum.errors import InputError
from residuum.nets import catalog
from residuum.nets.resnet import ResNet, Variant
from residuum.weights.layouts.keras import keras
from residuum.weights.load import Loaded, load_tensors, load_weights

State = dict[str, Tensor]
BGR_MEAN = torch.tensor([103.939, 116.779, 123.68])
SMALL = Variant(blocks=(2, 1, 1, 2), widths=(4, 8, 12, 16), block="bottleneck", stride_on="first")
BLOCKS_50 = (3, 4, 6, 3)


def normal(*shape: int) -> Tensor:
    return 0.1 * torch.randn(*shape)


def add_convolution(state: State, name: str, kernel: int, cin: int, cout: int, *, norm: bool) -> None:
    """`name_conv`, and `name_bn` where there is one; kernels are height, width, in, out."""
    conv = f"{name}_conv" if norm else name
    state[f"{conv}/{conv}/kernel:0"] = torch.randn(kernel, kernel, cin, cout) * (2 / (kernel * kernel * cin)) ** 0.5
    state[f"{conv}/{conv}/bias:0"] = normal(cout)
    if norm:
        for kind in ("gamma", "moving_variance"):
            state[f"{name}_bn/{name}_bn/{kind}:0"] = 0.3 + 0.5 * torch.rand(cout)
        for kind in ("beta", "moving_mean"):
            state[f"{name}_bn/{name}_bn/{kind}:0"] = normal(cout)


def resnet_state(blocks: tuple[int, ...], widths: tuple[int, ...], classes: int, *, top: bool = True) -> State:
    state: State = {}
    add_convolution(state, "conv1", 7, 3, widths[0], norm=True)
    state["conv1_conv/conv1_conv/kernel:0"] /= 60  # of pixels of 0..255
    channels = widths[0]
    for stage, (count, width) in enumerate(zip(blocks, widths, strict=True), start=2):
        for block in range(1, count + 1):
            name = f"conv{stage}_block{block}"
            if block == 1:
                add_convolution(state, f"{name}_0", 1, channels, 4 * width, norm=True)
            add_convolution(state, f"{name}_1", 1, channels, width, norm=True)
            add_convolution(state, f"{name}_2", 3, width, width, norm=True)
            add_convolution(state, f"{name}_3", 1, width, 4 * width, norm=True)
            channels = 4 * width
    if top:
        state["predictions/predictions/kernel:0"] = normal(channels, classes)
        state["predictions/predictions/bias:0"] = normal(classes)
    return state


def as_in_keras(state: State, rgb: Tensor, blocks: tuple[int, ...]) -> Tensor:
    """Logits of keras.applications' ResNet (the first version) of images (N, H, W, 3) of 0..255, red first."""

    def convolution(x: Tensor, name: str, stride: int) -> Tensor:
        kernel = state[f"{name}_conv/{name}_conv/kernel:0"].permute(3, 2, 0, 1)
        return functional.conv2d(x, kernel, state[f"{name}_conv/{name}_conv/bias:0"], stride=stride)

    def norm(x: Tensor, name: str) -> Tensor:
        gamma, beta, mean, variance = (
            state[f"{name}_bn/{name}_bn/{kind}:0"][:, None, None]
            for kind in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        return (x - mean) / torch.sqrt(variance + 1.001e-5) * gamma + beta

    x = (rgb.flip(3) - BGR_MEAN).permute(0, 3, 1, 2)
    x = torch.relu(norm(convolution(functional.pad(x, (3, 3, 3, 3)), "conv1", 2), "conv1"))
    x = functional.max_pool2d(functional.pad(x, (1, 1, 1, 1)), 3, 2)
    for stage, count in enumerate(blocks, start=2):
        for block in range(1, count + 1):
            name, stride = f"conv{stage}_block{block}", 2 if block == 1 and stage > 2 else 1
            short = norm(convolution(x, f"{name}_0", stride), f"{name}_0") if block == 1 else x
            y = torch.relu(norm(convolution(x, f"{name}_1", stride), f"{name}_1"))
            y = torch.relu(norm(convolution(functional.pad(y, (1, 1, 1, 1)), f"{name}_2", 1), f"{name}_2"))
            x = torch.relu(short + norm(convolution(y, f"{name}_3", 1), f"{name}_3"))
    x = x.mean(dim=(2, 3))
    return x @ state["predictions/predictions/kernel:0"] + state["predictions/predictions/bias:0"]


def ours(net: torch.nn.Module, loaded: Loaded, rgb: Tensor) -> Tensor:
    """Our logits of the same pixels, normalised as the layout says."""
    assert loaded.preprocessing_hint is not None
    mean, std = map(torch.tensor, loaded.preprocessing_hint)
    logits: Tensor = net.eval()(((rgb / 255 - mean) / std).permute(0, 3, 1, 2))
    return logits


def blank(name: str, **sizes: int) -> torch.nn.Module:
    """A net of the catalog whose tensors are not yet initialised."""
    with torch.device("meta"):
        net = catalog.net(name, **sizes)
    return net.to_empty(device="cpu")


def pixels(side: int) -> Tensor:
    return torch.randint(0, 256, (1, side, side, 3)).float()


def write_h5(state: State, path: Path) -> Path:
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [name.partition("/")[0].encode() for name in state]
        for name, tensor in state.items():
            file.create_dataset(name, data=tensor.numpy())
    return path


@torch.inference_mode()
@pytest.mark.parametrize("side", [64, 77])
def test_a_small_resnet(tmp_path: Path, side: int) -> None:
    torch.manual_seed(side)
    state, rgb = resnet_state(SMALL.blocks, SMALL.widths, 7), pixels(side)
    net = ResNet(SMALL, num_classes=7)
    loaded = load_weights(net, write_h5(state, tmp_path / "weights.h5"))
    assert (loaded.layout, loaded.new_head) == ("Keras ResNet", ())
    torch.testing.assert_close(ours(net, loaded, rgb), as_in_keras(state, rgb, SMALL.blocks), rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_resnet50() -> None:
    torch.manual_seed(0)
    state, rgb = resnet_state(BLOCKS_50, (64, 128, 256, 512), 1000), pixels(64)
    net = blank("resnet50_v1")
    loaded = load_tensors(net, state, source="file")
    torch.testing.assert_close(ours(net, loaded, rgb), as_in_keras(state, rgb, BLOCKS_50), rtol=1e-4, atol=1e-4)


def test_the_last_layer_was_called_probs_once() -> None:
    state = resnet_state(SMALL.blocks, SMALL.widths, 7)
    older = {name.replace("predictions", "probs"): tensor for name, tensor in state.items()}
    first, second = (ResNet(SMALL, num_classes=7) for _ in range(2))
    load_tensors(first, state, source="file")
    load_tensors(second, older, source="file")
    assert torch.equal(first.fc.weight, second.fc.weight)


def test_the_epsilons_differ_by_a_hundred_millionth() -> None:
    mapped = keras({"conv1_conv/x/bias:0": torch.ones(2), "conv1_bn/x/moving_variance:0": torch.zeros(2)})
    assert mapped is not None
    torch.testing.assert_close(mapped.tensors["bn1.running_var"], torch.full((2,), 1e-8), rtol=1e-6, atol=0)


def test_a_bias_lowers_the_mean() -> None:
    mapped = keras(
        {"conv1_conv/x/bias:0": torch.tensor([1.0, -2.0]), "conv1_bn/x/moving_mean:0": torch.tensor([0.5, 0.5])}
    )
    assert mapped is not None
    assert {name: tensor.tolist() for name, tensor in mapped.tensors.items()} == {"bn1.running_mean": [-0.5, 2.5]}


@pytest.mark.parametrize(("depth", "blocks"), [(50, BLOCKS_50), (101, (3, 4, 23, 3)), (152, (3, 8, 36, 3))])
def test_every_tensor_has_its_place(depth: int, blocks: tuple[int, ...]) -> None:
    with torch.device("meta"):
        own = catalog.net(f"resnet{depth}_v1").state_dict()
        mapped = keras({name: torch.ones(1) for name in resnet_state(blocks, (1, 1, 1, 1), 1)})
    assert mapped is not None
    assert set(mapped.tensors) == {name for name in own if "num_batches" not in name}


def test_the_stride_on_the_3x3_is_another_net() -> None:
    """All tensors fit; the answers would be wrong."""
    state = resnet_state(SMALL.blocks, SMALL.widths, 7)
    net = ResNet(Variant(blocks=SMALL.blocks, widths=SMALL.widths, block="bottleneck"), num_classes=7)
    with pytest.raises(InputError, match=r"^file: does not fit .*computes otherwise: stride_on 3x3 for first"):
        load_tensors(net, state, source="file")


@pytest.mark.parametrize("name", ["resnet50", "resnet50_caffe"])
def test_the_right_net_is_named(name: str) -> None:
    state = resnet_state(BLOCKS_50, (64, 128, 256, 512), 10)
    with pytest.raises(InputError, match=r"Try: resnet50_v1$"):
        load_tensors(blank(name, num_classes=10), state, source="file")


def test_a_file_without_top_needs_a_new_head() -> None:
    state = resnet_state(SMALL.blocks, SMALL.widths, 7, top=False)
    net = ResNet(SMALL, num_classes=7)
    before = net.fc.weight.clone()
    with pytest.raises(
        InputError, match=r"\(2 missing: fc.bias, fc.weight\). Try: residuum.NET\(\.\.\., new_head=True"
    ):
        load_tensors(net, state, source="file")
    loaded = load_tensors(net, state, source="file", new_head=True)
    assert loaded.new_head == ("fc.weight", "fc.bias")
    assert torch.equal(net.fc.weight, before)


def many(*shape: int) -> Tensor:
    """Random numbers that repeat after a prime number of them: quick, and no two places of a row are exchangeable."""
    count = math.prod(shape)
    return torch.randn(1_000_003).repeat(count // 1_000_003 + 1)[:count].view(shape)


def vgg_state(convolutions: tuple[int, ...]) -> State:
    widths, state, channels = (64, 128, 256, 512, 512), {}, 3
    for stage, (count, width) in enumerate(zip(convolutions, widths, strict=True), start=1):
        for number in range(1, count + 1):
            add_convolution(state, f"block{stage}_conv{number}", 3, channels, width, norm=False)
            channels = width
    state["block1_conv1/block1_conv1/kernel:0"] /= 60
    for name, cin, cout in (("fc1", 25088, 4096), ("fc2", 4096, 4096), ("predictions", 4096, 1000)):
        state[f"{name}/{name}/kernel:0"] = many(cin, cout).mul_((2 / cin) ** 0.5)
        state[f"{name}/{name}/bias:0"] = normal(cout)
    return state


def vgg_as_in_keras(state: State, rgb: Tensor, convolutions: tuple[int, ...]) -> Tensor:
    x = (rgb.flip(3) - BGR_MEAN).permute(0, 3, 1, 2)
    for stage, count in enumerate(convolutions, start=1):
        for number in range(1, count + 1):
            name = f"block{stage}_conv{number}"
            kernel = state[f"{name}/{name}/kernel:0"].permute(3, 2, 0, 1)
            x = torch.relu(functional.conv2d(x, kernel, state[f"{name}/{name}/bias:0"], padding="same"))
        x = functional.max_pool2d(x, 2, 2)
    x = x.permute(0, 2, 3, 1).flatten(1)  # Keras flattens height, width, channels
    for name in ("fc1", "fc2"):
        x = torch.relu(x @ state[f"{name}/{name}/kernel:0"] + state[f"{name}/{name}/bias:0"])
    return x @ state["predictions/predictions/kernel:0"] + state["predictions/predictions/bias:0"]


@torch.inference_mode()
def test_vgg16() -> None:
    torch.manual_seed(0)
    convolutions = (2, 2, 3, 3, 3)
    state, rgb = vgg_state(convolutions), pixels(224)
    net = blank("vgg16")
    loaded = load_tensors(net, state, source="file")
    assert loaded.layout == "Keras VGG"
    torch.testing.assert_close(ours(net, loaded, rgb), vgg_as_in_keras(state, rgb, convolutions), rtol=1e-4, atol=1e-4)


def test_names_of_keras_1() -> None:
    """The VGG files in circulation have `block1_conv1_W_1:0`."""
    short = {
        "block1_conv1/block1_conv1_W_1:0": torch.ones(3, 3, 3, 2),
        "block1_conv1/block1_conv1_b_1:0": torch.ones(2),
    }
    linear = {"fc2/fc2_W_1:0": torch.ones(3, 2), "fc2/fc2_b_1:0": torch.ones(2)}
    mapped = keras(short | linear)
    assert mapped is not None
    assert {name: tuple(tensor.shape) for name, tensor in mapped.tensors.items()} == {
        "features.0.weight": (2, 3, 3, 3),
        "features.0.bias": (2,),
        "classifier.3.weight": (2, 3),
        "classifier.3.bias": (2,),
    }


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("conv2_block1_preact_bn/conv2_block1_preact_bn/gamma:0", "ResNet V2"),
        ("layers/conv2d/vars/0", "Keras 3"),
        ("res2a_branch2a/res2a_branch2a/kernel:0", "first ResNet50 of Keras"),
        ("dense/dense/kernel:0", "no net that is known"),
    ],
)
def test_what_is_not_mapped_is_said(name: str, told: str) -> None:
    with pytest.raises(InputError, match=rf"^file: .*{told}.*Try: "):
        load_tensors(ResNet(SMALL), {name: torch.ones(2)}, source="file")


def test_a_tensor_without_memory_behind_it_is_not_computed_with() -> None:
    state = resnet_state(SMALL.blocks, SMALL.widths, 7)
    state["conv1_bn/conv1_bn/moving_mean:0"] = torch.zeros(1).expand(10**15)
    state["conv1_conv/conv1_conv/bias:0"] = torch.zeros(1).expand(10**15)
    with pytest.raises(InputError, match="no ordinary tensor"):
        load_tensors(ResNet(SMALL, num_classes=7), state, source="file")


def test_kernels_of_other_shapes_are_reported_not_turned() -> None:
    state = resnet_state(SMALL.blocks, SMALL.widths, 7)
    state["conv1_conv/conv1_conv/kernel:0"] = torch.ones(7)
    state["conv2_block1_1_bn/conv2_block1_1_bn/moving_mean:0"] = torch.full((4,), torch.nan)
    net = ResNet(SMALL, num_classes=7)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with pytest.raises(
        InputError, match=r"1 of another shape: conv1.weight \(7,\).*1 not finite: layer1.0.bn1.running"
    ):
        load_tensors(net, state, source="file")
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())


@pytest.mark.parametrize("placement", ["norm_after_addition", "relu_before_addition", "relu_only"])
def test_another_order_of_layers_is_another_net(placement: str) -> None:
    """All tensors fit; the answers would be wrong."""
    state = resnet_state(BLOCKS_50, (64, 128, 256, 512), 10)
    with pytest.raises(InputError, match=rf"otherwise: placement {placement} for published\)\. Try: resnet50_v1$"):
        load_tensors(blank(f"resnet50_v1+placement={placement}", num_classes=10), state, source="file")


def test_the_bottleneck_net_of_as_many_blocks_is_named() -> None:
    with pytest.raises(InputError, match=r"block basic for bottleneck, stride_on 3x3 for first\)\. Try: resnet50_v1$"):
        load_tensors(blank("resnet34", num_classes=10), resnet_state(BLOCKS_50, (1, 1, 1, 1), 10), source="file")
