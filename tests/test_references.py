"""The one string that names a model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import residuum
from residuum.classifier import Classifier
from residuum.cli import main
from residuum.data.preprocess import Preprocessing
from residuum.errors import DamagedError, InputError
from residuum.files.atomic import sha256_file
from residuum.nets import catalog
from residuum.references import build, builder, import_weights, load, skeleton, untrained
from residuum.run import Run, RunConfig
from residuum.weights import entries
from residuum.weights.entries import PretrainedWeights, find
from residuum.weights.read import read_tensors


@pytest.fixture
def classifier() -> Classifier:
    torch.manual_seed(0)
    return Classifier(
        net=catalog.net("resnet20", num_classes=2).eval(),
        net_name="resnet20",
        preprocessing=Preprocessing(channels=3, resize=8, crop=(8, 8), mean=(0.5,) * 3, std=(0.25,) * 3),
        class_names=("a", "b"),
    )


def run_at(path: Path) -> Run:
    """A Run that has just begun."""
    config = RunConfig(
        net="resnet20",
        own_net=False,
        data="digits",
        data_dir=None,
        data_fingerprint="0" * 64,
        class_names=("a", "b"),
        seed=0,
        recipe={},
    )
    return Run.create(path, config, {}, {"state.json": b"{}"})


def one_line(message: str) -> str:
    assert "\n" not in message
    assert "Try: " in message
    return message


@pytest.mark.parametrize(
    ("name", "size", "resize", "classes"), [("resnet20", 32, 32, 10), ("resnet18", 224, 256, 1000)]
)
def test_a_name_is_an_untrained_net(name: str, size: int, resize: int, classes: int) -> None:
    found = load(name)
    assert found.net_name == name
    assert not found.net.training
    assert found.card == {"weights": "untrained"}
    assert found.preprocessing.crop == (size, size)
    assert found.preprocessing.resize == resize
    assert len(found.class_names) == classes
    prediction = found.predict(np.zeros((40, 50, 3), dtype=np.uint8), top=2)
    assert len(prediction[0].top) == 2


@pytest.mark.parametrize(
    ("typed", "meant"), [("resnet5O", "resnet50"), ("resnt20", "resnet20"), ("plian56", "plain56")]
)
def test_an_unknown_name_gives_the_nearest(typed: str, meant: str) -> None:
    with pytest.raises(InputError, match=rf"{typed}.*\b{meant}$") as caught:
        load(typed)
    one_line(str(caught.value))
    for function in (build, untrained, catalog.net):
        with pytest.raises(InputError, match=rf"{typed}.*\b{meant}$"):
            function(typed)


@pytest.mark.parametrize("name", ["", "nowhere/at/all", "x" * 300, "a\0b", "resnet50/"])
def test_what_is_nothing_is_refused(name: str) -> None:
    with pytest.raises(InputError):
        load(name)


def test_weights_that_are_not_known_are_said_so() -> None:
    with pytest.raises(InputError, match=r"weights: 'resnet50:imagnet'.*resnet50:imagenet1k_v1") as caught:
        load("resnet50:imagnet")
    assert one_line(str(caught.value)).endswith("Try: resnet50:imagenet")
    with pytest.raises(InputError, match=r"no weights are known for plain56"):
        load("plain56:cifar10")
    with pytest.raises(InputError, match="neither"):
        load("resnet51:imagenet")


def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PretrainedWeights:
    """A ResNet-20 as akamaster saves it, known to the table and lying in a mirror."""
    (tmp_path / "mirror").mkdir()
    file = tmp_path / "mirror" / "theirs.th"
    torch.manual_seed(3)
    torch.save({"state_dict": nn.DataParallel(catalog.net("resnet20")).state_dict()}, file)
    found = replace(
        find("resnet20", "akamaster"), url="https://example.invalid/theirs.th", sha256=sha256_file(file)[:8]
    )
    monkeypatch.setattr(entries, "ENTRIES", (found,))
    monkeypatch.setattr(entries, "SHIPPED", tmp_path / "none")
    monkeypatch.setenv("RESIDUUM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("RESIDUUM_MIRROR", str(tmp_path / "mirror"))
    return found


@pytest.mark.parametrize("tag", ["akamaster", "cifar10"])
def test_a_tag_is_a_classifier_with_everything(tag: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = published(tmp_path, monkeypatch)
    found = load(f"resnet20:{tag}")
    assert found.class_names[3] == "cat"
    assert found.preprocessing is entry.preprocessing
    assert not found.net.training
    assert found.card["weights"] == "resnet20:akamaster"
    assert found.card["file_sha256"] == sha256_file(tmp_path / "mirror" / "theirs.th")
    assert found.card["published"]["top1"] == pytest.approx(0.9173)
    found.save(tmp_path / "c")
    image = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    assert load(tmp_path / "c").predict(image) == found.predict(image)
    net = build("resnet20", weights=tag)
    assert torch.equal(net.state_dict()["fc.weight"], found.net.state_dict()["fc.weight"])
    with pytest.warns(UserWarning, match="last layer is new, 3 classes in place of 10"):
        other = build("resnet20", weights=tag, num_classes=3)
    assert other.state_dict()["fc.weight"].shape == (3, 64)
    assert torch.equal(other.state_dict()["conv1.weight"], found.net.state_dict()["conv1.weight"])


def test_a_folder_named_like_a_tag_hides_no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published(tmp_path, monkeypatch)
    monkeypatch.chdir(tmp_path)
    Path("cifar10").mkdir()
    net = build("resnet20", weights="cifar10")
    assert torch.equal(net.state_dict()["fc.weight"], load("resnet20:cifar10").net.state_dict()["fc.weight"])


def test_the_skeleton_of_published_weights_fetches_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published(tmp_path, monkeypatch)
    found = skeleton("resnet20:cifar10")
    assert found.input_shape == (3, 32, 32)
    assert {each.device.type for each in found.net.parameters()} == {"meta"}
    assert not (tmp_path / "cache").exists()
    with pytest.raises(InputError, match="weights: 'resnet20:none'"):
        skeleton("resnet20:none")


def test_a_classifier_and_a_finished_run_are_loaded(tmp_path: Path, classifier: Classifier) -> None:
    classifier.save(tmp_path / "classifier")
    run = run_at(tmp_path / "run")
    run.finish(classifier, {"steps": 1})
    image = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    for reference in (
        tmp_path / "classifier",
        str(tmp_path / "classifier"),
        tmp_path / "run",
        tmp_path / "run/classifier",
    ):
        assert load(reference).predict(image) == classifier.predict(image)


def test_an_unfinished_run_says_how_to_go_on(tmp_path: Path) -> None:
    run_at(tmp_path / "run")
    with pytest.raises(InputError, match="not finished") as caught:
        load(tmp_path / "run")
    assert str(caught.value).endswith(f"Try: residuum resume {tmp_path / 'run'}")


def test_a_file_and_a_strange_directory_are_refused(tmp_path: Path) -> None:
    (tmp_path / "weights.pt").write_bytes(b"x")
    with pytest.raises(InputError, match=r"weights\.pt: is a file \(expected a Run or Classifier directory"):
        load(tmp_path / "weights.pt")
    with pytest.raises(InputError):
        load(tmp_path)


def test_a_damaged_classifier_of_a_run_is_named(tmp_path: Path, classifier: Classifier) -> None:
    run = run_at(tmp_path / "run")
    run.finish(classifier, {"steps": 1})
    model = tmp_path / "run" / "classifier" / "model.safetensors"
    content = bytearray(model.read_bytes())
    content[-1] ^= 1
    model.write_bytes(content)
    with pytest.raises(DamagedError, match=r"model\.safetensors: sha256 differs"):
        load(tmp_path / "run")


def test_a_run_of_an_own_net_is_loaded_with_an_instance(tmp_path: Path) -> None:
    def own() -> nn.Module:
        torch.manual_seed(4)
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 2))

    one = Classifier(
        net=own(),
        net_name="__main__.Own",
        preprocessing=Preprocessing(channels=1, resize=4, crop=(4, 4), mean=(0.5,), std=(0.5,)),
        class_names=("a", "b"),
    )
    run_at(tmp_path / "run").finish(one, {"steps": 1})
    with pytest.raises(InputError, match="net="):
        load(tmp_path / "run")
    image = np.full((4, 4), 77, dtype=np.uint8)
    assert load(tmp_path / "run", net=own()).predict(image) == one.predict(image)


def test_build(tmp_path: Path) -> None:
    net = build("resnet20", num_classes=7, in_channels=1)
    assert net(torch.zeros(2, 1, 8, 8)).shape == (2, 7)
    assert net.training
    torch.save(net.state_dict(), tmp_path / "w.pt")
    again = build("resnet20", weights=tmp_path / "w.pt", num_classes=7, in_channels=1)
    assert all(torch.equal(again.state_dict()[name], tensor) for name, tensor in net.state_dict().items())
    with pytest.raises(InputError, match=r"w\.pt: does not fit"):
        build("resnet20", weights=tmp_path / "w.pt")
    with pytest.raises(InputError, match="cannot be read"):
        build("resnet20", weights=tmp_path / "nowhere.pt")


NARROW_V1 = "resnet50_v1+blocks=1,1,1,1+widths=4,4,4,4"  # a bottleneck net that takes a moment


KERAS_PLACES = {
    "conv1": "1_conv", "bn1": "1_bn", "conv2": "2_conv", "bn2": "2_bn", "conv3": "3_conv", "bn3": "3_bn",
    "downsample.0": "0_conv", "downsample.1": "0_bn",
}  # fmt: skip
KERAS_ENDS = {"conv1": "conv1_conv", "bn1": "conv1_bn", "fc": "predictions"}
KERAS_KINDS = {"weight": "kernel", "bias": "bias"}
KERAS_NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}


def saved_as_keras(path: Path, net_name: str) -> nn.Module:
    """Weights of a bottleneck net with the names of Keras's layers; the net they are of."""
    net, arrays = catalog.net(net_name, num_classes=2), {}
    for name, tensor in net.state_dict().items():
        layer, _, kind = name.rpartition(".")
        if kind == "num_batches_tracked":
            continue
        theirs = KERAS_ENDS.get(layer)
        if theirs is None:
            stage, block, place = layer.removeprefix("layer").split(".", 2)
            theirs = f"conv{int(stage) + 1}_block{int(block) + 1}_{KERAS_PLACES[place]}"
        kinds = KERAS_NORM if theirs.endswith("bn") else KERAS_KINDS
        turned = tensor.permute(2, 3, 1, 0) if tensor.ndim == 4 else tensor.T if tensor.ndim == 2 else tensor
        arrays[f"{theirs}/{theirs}/{kinds[kind]}:0"] = turned.contiguous()
    torch.save(arrays, path)
    return net


def test_what_a_file_leaves_open_is_told(tmp_path: Path) -> None:
    """torchvision's weights have the names of a net with its stride elsewhere."""
    torch.save(catalog.net(NARROW_V1, num_classes=2).state_dict(), tmp_path / "w.pt")
    with pytest.warns(UserWarning, match=r"^resnet50_v1.*: torchvision's .* its answers are right only if") as told:
        build(NARROW_V1, weights=tmp_path / "w.pt", num_classes=2)
    assert len(told) == 1


def test_how_the_images_of_a_file_were_normalised_is_told(tmp_path: Path) -> None:
    saved_as_keras(tmp_path / "w.pt", NARROW_V1)
    with pytest.warns(UserWarning, match=r"normalised with mean 0.485, 0.458, 0.4076 and deviation 0.003922") as told:
        build(NARROW_V1, weights=tmp_path / "w.pt", num_classes=2)
    assert len(told) == 1


def test_a_warning_points_at_who_asked(tmp_path: Path) -> None:
    saved_as_keras(tmp_path / "w.pt", NARROW_V1)
    with pytest.warns(UserWarning, match="normalised") as told:
        builder(NARROW_V1)(weights=tmp_path / "w.pt", num_classes=2)
    assert told[0].filename == __file__


def test_a_new_head_on_the_weights_of_a_file(tmp_path: Path) -> None:
    net = build("resnet20")
    torch.save(net.state_dict(), tmp_path / "w.pt")
    with pytest.raises(InputError, match=r"Try: num_classes=10, or residuum\.NET\(\.\.\., new_head=True\)"):
        residuum.resnet20(weights=tmp_path / "w.pt", num_classes=5)
    with pytest.warns(UserWarning, match=r"^resnet20: the last layer is new, 5 classes, to be trained$"):
        other = residuum.resnet20(weights=tmp_path / "w.pt", num_classes=5, new_head=True)
    assert other.state_dict()["fc.weight"].shape == (5, 64)
    assert torch.equal(other.state_dict()["conv1.weight"], net.state_dict()["conv1.weight"])
    same = residuum.resnet20(weights=tmp_path / "w.pt", new_head=True)
    assert torch.equal(same.state_dict()["fc.weight"], net.state_dict()["fc.weight"])


def test_the_function_of_a_net_says_where_it_is_from() -> None:
    assert "(He et al. 2015, Table 1, Table 3)" in (builder("resnet50").__doc__ or "")


def test_imported_weights_are_a_classifier(tmp_path: Path, classifier: Classifier) -> None:
    torch.save({"state_dict": nn.DataParallel(classifier.net).state_dict()}, tmp_path / "theirs.pt")
    found = import_weights(
        "resnet20", tmp_path / "theirs.pt", preprocessing=classifier.preprocessing, class_names=["a", "b"]
    )
    image = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    assert found.predict(image) == classifier.predict(image)
    assert found.card["weights"] == "theirs.pt"
    assert not found.net.training
    found.save(tmp_path / "c")
    assert load(tmp_path / "c").predict(image) == classifier.predict(image)
    with pytest.raises(InputError, match="does not fit"):
        import_weights(
            "resnet20", tmp_path / "theirs.pt", preprocessing=classifier.preprocessing, class_names=["a", "b", "c"]
        )


def test_imported_weights_are_prepared_as_their_file_says(tmp_path: Path) -> None:
    net = saved_as_keras(tmp_path / "w.pt", NARROW_V1)
    found = import_weights(NARROW_V1, tmp_path / "w.pt", class_names=["a", "b"])
    prepared = found.preprocessing
    assert (prepared.channels, prepared.resize, prepared.crop) == (3, 256, (224, 224))
    assert [round(255 * value, 3) for value in (*prepared.mean, *prepared.std)] == [123.68, 116.779, 103.939, 1, 1, 1]
    torch.testing.assert_close(
        found.net.state_dict()["layer3.0.conv2.weight"], net.state_dict()["layer3.0.conv2.weight"]
    )
    assert found.card["notes"] == []
    again = import_weights(NARROW_V1, tmp_path / "w.pt", preprocessing=prepared, class_names=["a", "b"])
    assert again.card["notes"] == []


def test_other_images_than_those_of_the_file_are_told_and_noted(tmp_path: Path, classifier: Classifier) -> None:
    saved_as_keras(tmp_path / "w.pt", NARROW_V1)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    usual = replace(classifier.preprocessing, mean=mean, std=std)
    with pytest.warns(UserWarning, match=r"deviation 0.003922, .*; this Classifier does so with .* deviation 0.229"):
        found = import_weights(NARROW_V1, tmp_path / "w.pt", preprocessing=usual, class_names=["a", "b"])
    assert found.preprocessing is usual
    (note,) = found.card["notes"]  # type: ignore[misc]
    assert "were normalised with mean 0.485" in note
    of_pixels = tuple(np.float32(value) / 255 for value in (123.68, 116.779, 103.939))
    image = np.broadcast_to(np.array(of_pixels, np.float32), (8, 8, 3))
    exact = replace(usual, mean_image=image, std=(1 / 255,) * 3)
    assert import_weights(NARROW_V1, tmp_path / "w.pt", preprocessing=exact, class_names=["a", "b"]).card["notes"] == []


def test_where_neither_file_nor_person_says_how_images_are_prepared(tmp_path: Path, classifier: Classifier) -> None:
    torch.save(classifier.net.state_dict(), tmp_path / "theirs.pt")
    with pytest.raises(InputError, match=r"theirs\.pt does not say how its images were prepared\. Try: preprocessing="):
        import_weights("resnet20", tmp_path / "theirs.pt", class_names=["a", "b"])


def test_an_import_from_the_command_line_reads_the_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved_as_keras(tmp_path / "w.pt", NARROW_V1)
    (tmp_path / "names.txt").write_text("a\nb\n")
    read = []

    def counted(path: str | Path) -> dict[str, torch.Tensor]:
        read.append(path)
        return read_tensors(path)

    monkeypatch.setattr("residuum.weights.load.read_tensors", counted)
    classes, out = str(tmp_path / "names.txt"), str(tmp_path / "c")
    arguments = ["weights", "import", str(tmp_path / "w.pt"), "--net", NARROW_V1, "--classes", classes, "--out", out]
    assert main(arguments) == 0
    assert len(read) == 1
    assert load(out).card["layout"] == "Keras ResNet"


@pytest.mark.parametrize("name", ["lenet5", "alexnet_2012", "resnet20", "resnet152"])
def test_the_skeleton_of_a_name_allocates_nothing(name: str) -> None:
    found = skeleton(name)
    entry = catalog.CATALOG[name]
    assert found.entry is entry
    assert found.input_shape == entry.input_shape
    assert {each.device.type for each in found.net.parameters()} == {"meta"}
    assert sum(each.numel() for each in found.net.parameters()) == entry.parameters


def test_the_skeleton_of_a_directory_is_the_net_in_it(
    tmp_path: Path, classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    classifier.save(Path("c"))
    run_at(Path("run")).finish(classifier, {"steps": 1})
    classifier.save(Path("resnet50"))  # a directory goes before a name
    for path in ("c", "run", "resnet50"):
        found = skeleton(path)
        assert found.input_shape == (3, 8, 8)
        assert found.entry is catalog.CATALOG["resnet20"]
        assert {each.device.type for each in found.net.parameters()} == {"cpu"}


@pytest.mark.parametrize("name", ["", "resnet5O", "nowhere/run", "a\x00b", "x" * 5000])
def test_the_skeleton_of_nothing(name: str) -> None:
    with pytest.raises(InputError) as caught:
        skeleton(name)
    assert one_line(str(caught.value)).startswith("model: ")


def test_the_skeleton_of_a_run_that_has_not_ended(tmp_path: Path) -> None:
    run_at(tmp_path / "run")
    with pytest.raises(InputError, match="run: "):
        skeleton(tmp_path / "run")
