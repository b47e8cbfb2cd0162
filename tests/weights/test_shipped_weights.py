"""The weights in the package are the ones their records speak of, and still do what is written there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import residuum
from residuum.classifier import Classifier
from residuum.weights.store import digest

RESULTS = Path(__file__).parents[2] / "results"
PACKAGE = Path(residuum.__file__).parent / "weights" / "shipped"
SHIPPED = {"resnet20:cifar10": "shipped-resnet20", "resnet8_narrow:digits": "shipped-digits"}


def record_of(reference: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((RESULTS / f"{SHIPPED[reference]}.json").read_text())
    return read


def correct_of(record: dict[str, Any]) -> int:
    stored = record["test"]["stored"]
    return round(stored["top1"] * stored["num_images"])


@pytest.mark.parametrize("reference", SHIPPED)
def test_the_record_speaks_of_the_weights_in_the_package(reference: str) -> None:
    record, classifier = record_of(reference), residuum.load(reference)
    assert isinstance(classifier, Classifier)
    assert digest(classifier.net.state_dict()) == classifier.card["weights_sha256"]
    assert classifier.card["run_weights_sha256"] == record["run"]["result"]["weights_sha256"]
    assert classifier.temperature == record["temperature"]
    assert classifier.card["metrics"]["test"]["top1"] == record["test"]["stored"]["top1"]
    assert classifier.card["limits"]


def test_the_package_grows_by_600_kb_at_most() -> None:
    sizes = {each.name: sum(file.stat().st_size for file in each.iterdir()) for each in PACKAGE.iterdir()}
    assert set(sizes) == {"resnet20-cifar10", "resnet8_narrow-digits"}
    assert sizes["resnet8_narrow-digits"] < 60_000
    assert sum(sizes.values()) <= 610_000


def test_the_digits_net_does_what_its_record_says() -> None:
    record, classifier = record_of("resnet8_narrow:digits"), residuum.load("resnet8_narrow:digits")
    test = residuum.open_dataset("digits").split("test")
    metrics = classifier.evaluate(test, classifier.class_names)
    assert int(metrics.confusion.trace()) == correct_of(record)
    assert metrics.ece == pytest.approx(record["test"]["stored"]["ece"], abs=1e-4)


@pytest.mark.timeout(240)
def test_the_cifar_net_has_the_papers_accuracy_and_that_of_its_record(shared: Path) -> None:
    """91.25 % of 10,000 test images: He et al. 2015, Table 6 (8.75 % error of ResNet-20)."""
    record, classifier = record_of("resnet20:cifar10"), residuum.load("resnet20:cifar10")
    test = residuum.open_dataset("cifar10", data_dir=shared / "cifar10").split("test")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # several threads wait for each other, for minutes where other programs run beside them
    try:
        metrics = classifier.evaluate(test, classifier.class_names)
    finally:
        torch.set_num_threads(threads)
    assert metrics.num_images == 10_000
    assert abs(int(metrics.confusion.trace()) - correct_of(record)) <= 2  # two images may lie on the edge elsewhere
    assert metrics.top1 >= 0.9125
    assert metrics.ece == pytest.approx(record["test"]["stored"]["ece"], abs=5e-4)
