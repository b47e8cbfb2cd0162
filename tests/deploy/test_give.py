"""Weights given away come back bit for bit, and are what torchvision loads."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors
import torch

from residuum.classifier import Classifier
from residuum.deploy.give import export, read_classifier
from residuum.errors import DamagedError, InputError
from residuum.nets import catalog
from residuum.references import import_weights, load, untrained
from residuum.weights.load import load_weights
from residuum.weights.read import read_tensors
from residuum.weights.store import digest
from to_give import make


def same(classifier: Classifier, other: Classifier) -> None:
    mine, theirs = classifier.net.state_dict(), other.net.state_dict()
    assert list(mine) == list(theirs)
    for name, tensor in mine.items():
        assert tensor.dtype == theirs[name].dtype
        assert torch.equal(tensor, theirs[name]), name
    assert classifier.class_names == other.class_names
    assert not other.net.training


@pytest.mark.parametrize("name", ["resnet20", "lenet5_1998"])
@pytest.mark.parametrize("form", ["pth", "safetensors"])
def test_weights_come_back_bit_for_bit(name: str, form: str, tmp_path: Path) -> None:
    classifier = make(name)
    classifier.net.to(memory_format=torch.channels_last)
    done = export(classifier, tmp_path / "file", to=form)  # type: ignore[arg-type]
    assert done.size_bytes == done.path.stat().st_size
    tensors = read_tensors(done.path)
    assert digest(tensors) == digest(classifier.net.state_dict())
    assert all(tensor.is_contiguous() for tensor in tensors.values())
    back = import_weights(name, done.path, preprocessing=classifier.preprocessing, class_names=classifier.class_names)
    same(classifier, back)


def test_a_pth_file_is_a_plain_state_dict(tmp_path: Path) -> None:
    path = export(make("resnet20"), tmp_path / "w.pth", to="pth").path
    content = torch.load(path, weights_only=True)
    assert type(content) is dict
    assert all(type(each) is torch.Tensor for each in content.values())


def test_safetensors_bring_their_classifier_with_them(tmp_path: Path) -> None:
    classifier = make("resnet20", mean_image=True)
    classifier.temperature = 1.25
    path = export(classifier, tmp_path / "w.safetensors", to="safetensors").path
    with safetensors.safe_open(path, "pt") as file:
        assert json.loads(file.metadata()["class_names"]) == list(classifier.class_names)
    back = read_classifier(path)
    same(classifier, back)
    assert back.temperature == 1.25
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    assert back.predict(pixels) == classifier.predict(pixels)
    assert back.card["weights"] == "trained on cifar10, recipe paper_cifar, seed 1"


def test_torchvision_loads_our_files(torchvision_models, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    classes = tuple(f"class {index}" for index in range(1000))
    ours = make("resnet18", size=64, classes=classes)
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    for form in ("pth", "safetensors"):
        path = export(ours, tmp_path / form, to=form).path  # type: ignore[arg-type]
        theirs = torchvision_models.resnet18(weights=None)
        theirs.load_state_dict(read_tensors(path), strict=True)
        with torch.inference_mode():
            torch.testing.assert_close(theirs.eval()(images), ours.logits(images), rtol=1e-5, atol=1e-5)


def test_a_classifier_directory(tmp_path: Path) -> None:
    classifier = make("resnet20", mean_image=True)
    done = export(classifier, tmp_path / "c", to="classifier")
    same(classifier, Classifier.load(done.path))
    assert done.size_bytes == sum(each.stat().st_size for each in (tmp_path / "c").iterdir())


@pytest.mark.parametrize("form", ["pth", "safetensors", "onnx", "classifier"])
def test_what_stands_there_is_kept(form: str, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for name in ("mine", "dangling"):
        with pytest.raises(InputError, match=rf"{name}: already exists. Try: another --out"):
            export(make("resnet20"), tmp_path / name, to=form)  # type: ignore[arg-type]
    assert (tmp_path / "mine").read_text() == "precious"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["dangling", "mine"]


def test_options_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    classifier = make("resnet20")
    with pytest.raises(InputError, match=r"to: 'onx' is not known .*Try: onnx"):
        export(classifier, tmp_path / "a", to="onx")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"preprocessing: 'in' is not known .*Try: inside"):
        export(classifier, tmp_path / "a", preprocessing="in")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"only an ONNX graph can hold it, not pth. Try: --to onnx"):
        export(classifier, tmp_path / "a", to="pth", preprocessing="inside")
    assert list(tmp_path.iterdir()) == []


def test_an_untrained_net_is_given_with_a_warning(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="resnet20 is untrained, its answers mean nothing"):
        export(untrained("resnet20"), tmp_path / "w.pth", to="pth")
    assert (tmp_path / "w.pth").is_file()


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    content = bytearray(export(make("resnet20"), tmp_path / "w", to="safetensors").path.read_bytes())
    content[-3] ^= 1
    (tmp_path / "changed").write_bytes(content)
    with pytest.raises(DamagedError, match="its weights are not those it was written with"):
        read_classifier(tmp_path / "changed")
    (tmp_path / "cut").write_bytes(content[:-3])
    with pytest.raises(DamagedError, match="cut"):
        read_classifier(tmp_path / "cut")


@pytest.mark.parametrize(
    "changes",
    [
        {"class_names": None},
        {"class_names": "{}"},
        {"class_names": "[1, 2, 3]"},
        {"class_names": "[" * 100_000},
        {"preprocessing": "[]"},
        {"preprocessing": '{"channels": 3}'},
        {"preprocessing": '{"channels": 3, "resize": 9, "crop": [9, 9], "mean": [0, 0, 0], "std": [1, 1, 1], "x": 1}'},
        {"preprocessing": '{"channels": 3, "resize": 9, "crop": [9, 9], "mean": ["a", 0, 0], "std": [1, 1, 1]}'},
        {"preprocessing": '{"channels": 3, "resize": 9.5, "crop": [9, 9], "mean": [0, 0, 0], "std": [1, 1, 1]}'},
        {"class_names": "[]"},
        {"temperature": "warm"},
        {"temperature": "nan"},
        {"temperature": "0"},
        {"weights_sha256": None},
    ],
)
def test_a_description_that_lies_is_one_line(changes: dict[str, str | None], tmp_path: Path) -> None:
    path = export(make("resnet20"), tmp_path / "w", to="safetensors").path
    with safetensors.safe_open(path, "pt") as file:
        metadata = {name: value for name, value in (file.metadata() | changes).items() if value is not None}
    from safetensors.torch import save_file

    save_file(read_tensors(path), tmp_path / "lies", metadata)
    with pytest.raises(InputError, match=r"lies: does not describe a Classifier") as caught:
        read_classifier(tmp_path / "lies")
    assert "\n" not in str(caught.value)


def test_a_file_without_a_description_is_one_line(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file(make("resnet20").net.state_dict(), tmp_path / "bare")
    with pytest.raises(InputError, match=r"bare: does not describe a Classifier .*Try: residuum weights import"):
        read_classifier(tmp_path / "bare")
    with pytest.raises(InputError, match="none: cannot be read"):
        read_classifier(tmp_path / "none")


def test_a_safetensors_file_is_a_model_reference(tmp_path: Path) -> None:
    classifier = make("resnet20", mean_image=True)
    path = export(classifier, tmp_path / "w", to="safetensors").path
    same(classifier, load(path))
    same(classifier, load(str(path)))


def test_classes_beyond_the_weights_take_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A header of 1 MB may name 200,000 classes: 52 million weights that are not in the file."""
    from safetensors.torch import save_file

    path = export(make("resnet20"), tmp_path / "w", to="safetensors").path
    with safetensors.safe_open(path, "pt") as file:
        metadata = file.metadata() | {"class_names": json.dumps([""] * 200_000)}
    save_file(read_tensors(path), tmp_path / "many", metadata)
    largest = 0
    build = catalog.net

    def watched(*args, **options):  # type: ignore[no-untyped-def]
        nonlocal largest
        net = build(*args, **options)
        largest = max(largest, *(each.numel() for each in net.parameters() if not each.is_meta), 0)
        return net

    monkeypatch.setattr(catalog, "net", watched)
    with pytest.raises(InputError, match=r"many: its weights do not fit resnet20 \(2 of another shape: fc\.bias"):
        read_classifier(tmp_path / "many")
    assert largest == 0


def test_a_safetensors_file_loads_into_a_net(tmp_path: Path) -> None:
    classifier, other = make("resnet20"), make("resnet20")
    for parameter in other.net.parameters():
        parameter.data.zero_()
    load_weights(other.net, export(classifier, tmp_path / "w", to="safetensors").path)
    same(classifier, other)
