"""The exported graph, run by onnxruntime, answers as the net does in PyTorch."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import residuum
from residuum.data.decode import decode
from residuum.data.preprocess import Preprocessing
from residuum.deploy import onnx as graphs
from residuum.deploy.description import described
from residuum.deploy.give import export
from residuum.deploy.onnx import OPSET, example, run_onnx
from residuum.errors import InputError, ResiduumError
from residuum.nets import alexnet, googlenet, lenet, vgg, zfnet
from residuum.nets.resnet import ResNet, Variant
from residuum.references import import_weights
from to_give import make

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def residual(stem: str = "cifar", **changes: object) -> ResNet:
    fields = {"blocks": (1, 2), "widths": (8, 16), "stem": stem, "shortcut": "project"} | changes
    return ResNet(Variant(**fields), num_classes=3)  # type: ignore[arg-type]


# One net of each family, and of each kind of residual net; side of the image.
FAMILIES = {
    "option A, odd size": (lambda: residual(shortcut="pad"), 15),
    "option C": (lambda: residual(shortcut="project_all"), 16),
    "plain": (lambda: residual(shortcut="none"), 16),
    "bottleneck, 7x7 stem": (lambda: residual("imagenet", block="bottleneck"), 64),
    "stride on the first": (lambda: residual(block="bottleneck", stride_on="first"), 16),
    "resnext": (lambda: residual(block="bottleneck", groups=4), 16),
    "squeeze-and-excitation": (lambda: residual(block="bottleneck", squeeze=4), 16),
    "resnet-d, odd size": (lambda: residual("deep", shortcut="pool_project", block="bottleneck"), 75),
    "pre-activation": (lambda: residual(preactivation=True, widen=2), 16),
    "pre-activation bottleneck": (lambda: residual(preactivation=True, block="bottleneck"), 16),
    "lenet5": (lambda: lenet.LeNet5(num_classes=3, in_channels=3), 32),
    "lenet5 at 28, pooled to its grid": (lambda: lenet.LeNet5(num_classes=3, in_channels=3), 28),
    "lenet5_1998": (lambda: lenet.LeNet5As1998(num_classes=3, in_channels=3), 32),
    "alexnet_2012": (
        lambda: alexnet.AlexNet(alexnet.Variant(widths=(8, 8, 8, 8, 2), input_size=227, groups=2), num_classes=3), 75,
    ),
    "zfnet": (lambda: zfnet.ZFNet(zfnet.Variant(widths=(8, 8, 2)), num_classes=3), 80),
    "vgg": (lambda: vgg.VGG(vgg.Variant(convolutions=(1, 1, 1, 1, 1), head="average"), num_classes=3), 32),
    "vgg_bn": (
        lambda: vgg.VGG(vgg.Variant(convolutions=(1, 1, 1, 1, 1), batch_norm=True, head="average"), num_classes=3), 32,
    ),
    "googlenet": (lambda: googlenet.GoogLeNet(googlenet.PUBLISHED, num_classes=3), 64),
    "googlenet_bn": (lambda: googlenet.GoogLeNet(googlenet.WITH_BATCH_NORM, num_classes=3), 64),
}  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_answers_as_in_pytorch(family: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    build, size = FAMILIES[family]
    classifier = make(build(), size=size)
    done = export(classifier, tmp_path / "net.onnx")
    assert done.difference is not None
    assert done.difference < 1e-4
    for count in (1, 3, 5):
        images = torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(count))
        with torch.inference_mode():
            expected = classifier.logits(images).numpy()
        assert expected.std() > 0
        found = run_onnx(done.path, images.numpy())
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mean_image", [False, True])
def test_a_graph_with_preprocessing_inside_takes_pixels(channels: int, mean_image: bool, tmp_path: Path) -> None:
    classifier = make("resnet20", channels=channels, size=12, mean_image=mean_image)
    done = export(classifier, tmp_path / "net.onnx", preprocessing="inside")
    pixels = np.random.default_rng(1).integers(0, 256, (4, 12, 12, channels), dtype=np.uint8)
    mean = classifier.preprocessing.mean_image if mean_image else np.array(classifier.preprocessing.mean)
    normalised = (pixels / 255 - mean) / np.array(classifier.preprocessing.std)  # by hand
    with torch.inference_mode():
        expected = classifier.logits(torch.tensor(normalised.transpose(0, 3, 1, 2), dtype=torch.float32)).numpy()
    np.testing.assert_allclose(run_onnx(done.path, pixels), expected, rtol=1e-4, atol=1e-4)


def test_the_file_says_what_it_is(tmp_path: Path) -> None:
    classifier = make("resnet20", size=12, mean_image=True)
    classifier.temperature = 1.5
    path = export(classifier, tmp_path / "net.onnx").path
    model = onnx.load(path)
    assert [(each.domain, each.version) for each in model.opset_import if not each.domain] == [("", OPSET)]
    shapes = {
        each.name: [axis.dim_param or axis.dim_value for axis in each.type.tensor_type.shape.dim]
        for each in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {"images": ["N", 3, 12, 12], "logits": ["N", 3]}
    written = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(written["class_names"]) == ["개", "고양이", "<b>새</b>"]
    assert written["residuum"] == residuum.__version__
    assert written["source"] == "trained on cifar10, recipe paper_cifar, seed 1"
    found = described(written, "net.onnx")
    assert (found.net, found.class_names, found.temperature) == ("resnet20", classifier.class_names, 1.5)
    was, now = classifier.preprocessing, found.preprocessing
    assert (now.channels, now.resize, now.crop, now.mean, now.std) == (3, 14, (12, 12), was.mean, was.std)
    assert now.mean_image is not None
    assert was.mean_image is not None
    assert now.mean_image.tobytes() == was.mean_image.tobytes()


def test_the_file_names_no_path_of_this_machine(tmp_path: Path) -> None:
    content = export(make("resnet20", size=12), tmp_path / "net.onnx", preprocessing="inside").path.read_bytes()
    for each in (Path(residuum.__file__).parent, sys.prefix, Path.home(), "site-packages", "resnet.py"):
        assert str(each).encode() not in content


def test_exporting_twice_gives_the_same_bytes_and_says_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    classifier = make("resnet20", size=12)
    state = {name: each.clone() for name, each in classifier.net.state_dict().items()}
    files = [export(classifier, tmp_path / f"{name}.onnx").path.read_bytes() for name in "ab"]
    assert files[0] == files[1]
    assert capfd.readouterr() == ("", "")
    assert all(torch.equal(each, state[name]) for name, each in classifier.net.state_dict().items())


def test_half_and_channels_last_are_exported_as_fp32(tmp_path: Path) -> None:
    classifier = make("resnet20", size=12)
    expected = run_onnx(
        export(classifier, tmp_path / "a.onnx").path, example(classifier.preprocessing, 2, inside=False).numpy()
    )
    classifier.net.to(memory_format=torch.channels_last)
    found = run_onnx(
        export(classifier, tmp_path / "b.onnx").path, example(classifier.preprocessing, 2, inside=False).numpy()
    )
    np.testing.assert_array_equal(found, expected)
    classifier.net.half()
    kinds = {each.data_type for each in onnx.load(export(classifier, tmp_path / "c.onnx").path).graph.initializer}
    assert onnx.TensorProto.FLOAT in kinds
    assert onnx.TensorProto.FLOAT16 not in kinds


@pytest.mark.parametrize("wrong", [0.01, float("nan")])
def test_a_graph_that_answers_otherwise_is_not_left(
    wrong: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = graphs.run_onnx

    def three_images_wrong(graph: bytes, images: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
        logits = run(graph, images)
        return logits + wrong * np.abs(logits).max() if len(images) == 3 else logits

    monkeypatch.setattr(graphs, "run_onnx", three_images_wrong)
    with pytest.raises(ResiduumError, match=r"answers otherwise than PyTorch.*nothing was written. Try: "):
        export(make("resnet20", size=12), tmp_path / "net.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_net_without_finite_logits_is_not_exported(tmp_path: Path) -> None:
    classifier = make("resnet20", size=12)
    classifier.net.fc.weight.data.fill_(float("inf"))  # type: ignore[union-attr]
    with pytest.raises(ResiduumError, match=r"not finite.*Try: trained weights"):
        export(classifier, tmp_path / "net.onnx")
    assert list(tmp_path.iterdir()) == []


class Fickle(nn.Module):
    """A net whose layers depend on its input, which no graph can hold."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x.mean(dim=(2, 3))
        return y if float(y.sum()) > 0 else 2 * y


def test_a_net_that_is_no_graph_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ResiduumError, match=r"^export: this net cannot be written as ONNX \(.*Try: ") as caught:
        export(make(Fickle(), size=8), tmp_path / "net.onnx")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_without_the_runtime_it_is_written_and_said_to_be_unchecked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    done = export(make("resnet20", size=12), tmp_path / "net.onnx")
    assert done.difference is None
    assert done.path.is_file()
    with pytest.raises(InputError, match=r"needs onnxruntime.*Try: pip install 'residuum\[deploy\]'"):
        run_onnx(done.path, np.zeros((1, 3, 12, 12), dtype=np.float32))


@pytest.mark.parametrize("module", ["onnx", "onnxscript"])
def test_without_the_exporter_it_says_what_to_install(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=rf"needs {module}, .*Try: pip install 'residuum\[deploy\]'"):
        export(make("resnet20", size=12), tmp_path / "net.onnx")


def test_what_is_no_graph_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"\x08\x00not a graph")
    images = np.zeros((1, 3, 12, 12), dtype=np.float32)
    for path in (tmp_path / "bad.onnx", tmp_path / "none.onnx"):
        with pytest.raises(InputError, match=rf"{path.name}: cannot be .*Try: "):
            run_onnx(path, images)
    good = export(make("resnet20", size=12), tmp_path / "net.onnx").path
    with pytest.raises(InputError, match=r"net.onnx: cannot be run"):
        run_onnx(good, images.astype(np.uint8))


def test_the_photos_from_jpeg_bytes(shared: Path, tmp_path: Path) -> None:
    preprocessing = Preprocessing(channels=3, resize=256, crop=(224, 224), mean=MEAN, std=STD)
    classifier = import_weights(
        "resnet18",
        shared / "weights" / "resnet18-imagenet-pq.safetensors",
        preprocessing=preprocessing,
        class_names=[str(index) for index in range(1000)],
    )
    photos = [path.read_bytes() for path in sorted((shared / "photos").glob("*.JPEG"))]
    assert len(photos) == 24
    pixels = np.stack([preprocessing.view(decode(photo, channels=3, name="photo")) for photo in photos])
    images = preprocessing.normalise(torch.from_numpy(pixels)).contiguous()
    with torch.inference_mode():
        expected = classifier.logits(images).numpy()
    outside = export(classifier, tmp_path / "float.onnx").path
    np.testing.assert_allclose(run_onnx(outside, images.numpy()), expected, rtol=0, atol=1e-4)
    inside = export(classifier, tmp_path / "uint8.onnx", preprocessing="inside").path
    np.testing.assert_allclose(run_onnx(inside, pixels), expected, rtol=0, atol=1e-4)
