"""The table of published weights, and the names of classes."""

from __future__ import annotations

import math
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from photo_classes import PHOTOS
from residuum.classifier import Classifier
from residuum.data.preprocess import Preprocessing
from residuum.errors import InputError
from residuum.nets import catalog
from residuum.nets.catalog import CATALOG
from residuum.weights import entries
from residuum.weights.entries import ENTRIES, PretrainedWeights, find
from residuum.weights.labels import class_names


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.reference)
def test_an_entry_fits_its_net_and_can_be_checked(entry: PretrainedWeights) -> None:
    net = CATALOG[entry.net]
    assert len(entry.class_names) == net.num_classes
    assert entry.preprocessing.crop == (net.input_size,) * 2
    assert entry.preprocessing.resize >= net.input_size
    assert entry.licence
    assert entry.page.startswith("https://")
    if entry.url:
        assert entry.url.startswith("https://")
        assert re.fullmatch(r"[0-9a-f]{8}|[0-9a-f]{64}", entry.sha256) or re.fullmatch(r"[0-9a-f]{32}", entry.md5)
        assert not entry.sha256 or entry.sha256 in entry.file_name
    else:
        assert "residuum weights import" in entry.how_to_get
    assert entry.top1 is not None
    assert 50 < entry.top1 < 100
    assert entry.top5 is None or entry.top1 < entry.top5 < 100
    halves = 2 if entry.reference in ("wide_resnet50_2:imagenet1k_v1", "wide_resnet101_2:imagenet1k_v1") else 4
    extra = 25 if entry.net == "googlenet_bn" else 0  # MiB of auxiliary heads
    assert entry.mib == pytest.approx(net.parameters * halves / 2**20 + extra, rel=0.04, abs=0.2)


def test_torchvision_says_the_same(torchvision_models: Any) -> None:
    for entry in (each for each in ENTRIES if each.publisher == "torchvision"):
        net = "googlenet" if entry.net == "googlenet_bn" else entry.net
        theirs = torchvision_models.get_model_weights(net)[entry.tag.upper()]
        prepared, published = theirs.transforms(), theirs.meta["_metrics"]["ImageNet-1K"]
        assert theirs.url == entry.url
        assert (published["acc@1"], published["acc@5"]) == (entry.top1, entry.top5)
        assert theirs.meta["_file_size"] == pytest.approx(entry.mib, abs=0.001)
        ours = entry.preprocessing
        assert prepared.interpolation.value == ours.interpolation
        assert (prepared.resize_size, prepared.crop_size) == ([ours.resize], [ours.crop[0]])
        if net != "googlenet":  # whose net changes the images itself (transform_input)
            assert (tuple(prepared.mean), tuple(prepared.std)) == (ours.mean, ours.std)


def test_timm_says_the_same(torchvision_models: Any) -> None:
    timm = pytest.importorskip("timm")
    for entry in (each for each in ENTRIES if each.publisher == "timm"):
        theirs = timm.models.get_pretrained_cfg(entry.page.rpartition("/")[2])
        assert theirs.hf_hub_id == entry.page.partition(".co/")[2]
        assert theirs.url.rpartition("/")[2] == entry.file_name
        assert theirs.license == entry.licence.lower()
        ours = entry.preprocessing
        assert (theirs.mean, theirs.std, theirs.interpolation) == (ours.mean, ours.std, ours.interpolation)
        at_224 = theirs.crop_pct if theirs.input_size[1] == 224 else theirs.test_crop_pct  # A3 trained at 160 pixels
        assert ours.resize == math.floor(ours.crop[0] / at_224)


def test_what_lies_in_the_package_is_prepared_as_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = Preprocessing(channels=1, resize=9, crop=(8, 8), mean=(0.1,), std=(0.2,), interpolation="bicubic")
    Classifier(
        net=catalog.net("resnet8_narrow", in_channels=1), net_name="resnet8_narrow", preprocessing=prepared,
        class_names=tuple("0123456789"),
    ).save(tmp_path / "resnet8_narrow-digits")  # fmt: skip
    monkeypatch.setattr(entries, "SHIPPED", tmp_path)
    (found,) = entries.ours()
    assert asdict(found.preprocessing) == asdict(prepared)


def test_no_two_entries_are_one() -> None:
    assert len({entry.reference for entry in ENTRIES}) == len(ENTRIES)
    names = [entry.file_name for entry in ENTRIES if entry.url]
    assert len(set(names)) == len(names), "they lie in one folder"


@pytest.mark.parametrize(
    ("net", "tag", "taken"),
    [
        ("resnet50", "imagenet", "imagenet1k_v2"),
        ("resnet18", "imagenet", "a1_in1k"),
        ("resnet50_v1", "imagenet", "keras"),
        ("resnet50_caffe", "imagenet", "caffe"),
        ("resnet56", "cifar10", "akamaster"),
        ("resnet50", "a3_in1k", "a3_in1k"),
    ],
)
def test_which_weights_are_taken(net: str, tag: str, taken: str) -> None:
    assert find(net, tag).tag == taken


def test_ours_go_before_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever others print of theirs; so long as no entry has that very tag."""
    prepared = Preprocessing(channels=3, resize=32, crop=(32, 32), mean=(0.5,) * 3, std=(0.5,) * 3)
    Classifier(
        net=catalog.net("resnet56"), net_name="resnet56", preprocessing=prepared, class_names=class_names("cifar10"),
    ).save(tmp_path / "resnet56-v2")  # fmt: skip
    monkeypatch.setattr(entries, "SHIPPED", tmp_path)
    assert find("resnet56", "cifar10").is_ours
    assert find("resnet56", "cifar10").tag == "v2"
    assert find("resnet56", "akamaster").tag == "akamaster"


# What each reference stood for before ours went first: the best that can be fetched, and by exact tag what has it.
BEST_BEFORE = {
    "alexnet:imagenet": "imagenet1k_v1", "vgg16:imagenet": "imagenet1k_v1", "vgg19:imagenet": "imagenet1k_v1",
    "resnet34:imagenet": "a1_in1k", "resnet101:imagenet": "imagenet1k_v2", "resnet152:imagenet": "imagenet1k_v2",
    "resnetd50:imagenet": "a1_in1k", "se_resnet50:imagenet": "a2_in1k", "resnet20:cifar10": "cifar10",
    "resnet1202:cifar10": "akamaster", "resnet8_narrow:digits": "digits", "resnet152_caffe:imagenet": "caffe",
}  # fmt: skip


@pytest.mark.parametrize("reference", BEST_BEFORE)
def test_references_stand_for_what_they_stood_for(reference: str) -> None:
    assert find(*reference.split(":")).tag == BEST_BEFORE[reference]


def test_an_unknown_tag_lists_those_there_are() -> None:
    with pytest.raises(
        InputError, match=r"weights: 'resnet34:v9'.*resnet34:imagenet, resnet34:imagenet1k_v1, resnet34:a1_in1k"
    ):
        find("resnet34", "v9")
    with pytest.raises(InputError, match="cifar10"):
        find("resnet18", "cifar10")


def test_imagenets_classes() -> None:
    names = class_names("imagenet")
    assert len(names) == len(set(names)) == 1000
    assert {name: names.index(name.replace("_", " ")) for name in PHOTOS} == PHOTOS
    assert [names[i] for i in (0, 134, 517, 638, 639, 999)] == [
        "tench", "crane (bird)", "crane (machine)", "maillot (tights)", "maillot (tank suit)", "toilet tissue",
    ]  # fmt: skip


def test_the_file_of_names_is_sorted_by_its_ids() -> None:
    from importlib.resources import files

    lines = files("residuum.weights").joinpath("imagenet_classes.txt").read_text().splitlines()
    assert lines == sorted(lines)
    assert all(re.fullmatch(r"n\d{8} \S.*\S", line) for line in lines)
