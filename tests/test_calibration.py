"""Expected calibration error by hand, the temperature recovered, and both in a Classifier."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import residuum
from residuum.calibration import BINS, Reliability, fit_temperature
from residuum.classifier import Classifier
from residuum.data.source import Dataset
from residuum.errors import InputError
from residuum.weights.store import halved


def two_classes(*probabilities: float) -> torch.Tensor:
    first = torch.tensor(probabilities, dtype=torch.float64)
    return torch.stack([first, 1 - first], dim=1).log()


def test_expected_error_by_hand() -> None:
    """Three answers of 0.9, two of them right, and one of 0.6 that is wrong."""
    answers = two_classes(0.9, 0.9, 0.9, 0.6)
    found = Reliability.of(answers, torch.tensor([0, 0, 1, 1]))
    assert found.expected_error == pytest.approx((abs(2 - 2.7) + abs(0 - 0.6)) / 4)
    assert found.images.sum() == 4
    assert np.flatnonzero(found.images).tolist() == [math.ceil(0.6 * BINS) - 1, math.ceil(0.9 * BINS) - 1]


def test_batches_add_up() -> None:
    torch.manual_seed(0)
    answers, labels = torch.randn(60, 5).log_softmax(dim=1), torch.randint(0, 5, (60,))
    whole = Reliability.of(answers, labels)
    parts = Reliability.of(answers[:7], labels[:7]) + Reliability.of(answers[7:], labels[7:])
    assert parts.expected_error == pytest.approx(whole.expected_error, rel=1e-12)


def test_certain_and_right_is_no_error() -> None:
    assert Reliability.of(two_classes(1.0, 1.0), torch.tensor([0, 0])).expected_error == 0
    assert Reliability.of(two_classes(1.0, 1.0), torch.tensor([1, 1])).expected_error == 1


@pytest.mark.parametrize("scale", [0.4, 1.0, 3.0])
def test_the_temperature_undoes_a_scale(scale: float) -> None:
    """Labels drawn from softmax(z): the best temperature of `scale * z` is `scale`, but for the draw."""
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(20_000, 4, generator=generator, dtype=torch.float64) * 2
    labels = torch.multinomial(logits.softmax(dim=1), 1, generator=generator)[:, 0]
    assert fit_temperature(logits * scale, labels) == pytest.approx(scale, rel=0.03)


def test_nothing_to_fit_is_refused() -> None:
    with pytest.raises(InputError, match="temperature"):
        fit_temperature(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64))
    with pytest.raises(InputError, match="temperature"):
        fit_temperature(torch.full((2, 3), math.nan), torch.zeros(2, dtype=torch.int64))


@pytest.mark.parametrize(("labels", "right"), [([0, 1, 1], 3), ([1, 0, 0], 0)])
def test_no_temperature_is_made_up_where_none_is_best(labels: list[int], right: int) -> None:
    """All right: the lower the better, so that certainty would be learned from a handful of images; all wrong: 20."""
    logits = torch.tensor([[2.0, 1.0], [0.0, 1.0], [0.0, 3.0]])
    with pytest.raises(InputError, match=rf"is best, with {right} of 3 answers right. Try: more images"):
        fit_temperature(logits, torch.tensor(labels))


@pytest.fixture
def classifier(digits_data: Dataset, tmp_path: Path) -> Classifier:
    run = residuum.train("lenet5", digits_data, changes={"epochs": 4, "learning_rate": 0.02}, out=tmp_path / "run")
    return run.classifier()


def test_a_calibrated_classifier_answers_the_same_with_better_probabilities(
    classifier: Classifier, digits_data: Dataset, tmp_path: Path
) -> None:
    val = digits_data.split("val")
    calibrated = replace(classifier, temperature=3.0).calibrated(val, digits_data.class_names)
    before, after = classifier.evaluate(val), calibrated.evaluate(val)
    assert (before.confusion == after.confusion).all()
    assert after.loss <= before.loss + 1e-9
    told = calibrated.card["calibration"]
    first = replace(classifier, temperature=3.0).evaluate(val)
    assert (told["split"], told["num_images"], told["temperature_before"]) == ("val", 200, 3.0)
    for name, metrics in (("_before", first), ("", after)):
        assert told[f"loss{name}"] == pytest.approx(metrics.loss, rel=1e-5)
        assert told[f"ece{name}"] == pytest.approx(metrics.ece, rel=1e-5)
    assert calibrated.card["temperature_from"] == "200 images of the val split"
    assert set(calibrated.card["metrics"]["test"]) == {"num_images", "top1", "top5", "error"}
    assert "ece" in classifier.card["metrics"]["test"], "the one before keeps its card"
    calibrated.save(tmp_path / "saved")
    loaded = Classifier.load(tmp_path / "saved")
    assert loaded.temperature == calibrated.temperature != 1
    image = np.asarray(val.images.load(0))
    assert loaded.predict(image)[0].top == calibrated.predict(image)[0].top
    logits = loaded.logits(torch.zeros(1, 1, 32, 32))
    torch.testing.assert_close(loaded.scores(torch.zeros(1, 1, 32, 32)), logits / loaded.temperature)


def test_halves_are_rounded_once_and_loaded_as_they_are(classifier: Classifier, tmp_path: Path) -> None:
    whole, half = classifier.save(tmp_path / "whole"), classifier.save(tmp_path / "half", half=True)
    sizes = [(path / "model.safetensors").stat().st_size for path in (whole, half)]
    assert sizes[1] < 0.52 * sizes[0] + 2000
    loaded = Classifier.load(half).net.state_dict()
    for name, tensor in classifier.net.state_dict().items():
        assert loaded[name].dtype == tensor.dtype
        torch.testing.assert_close(loaded[name], tensor.half().to(tensor.dtype), rtol=0, atol=0)


def test_what_float16_cannot_hold_is_refused() -> None:
    with pytest.raises(InputError, match="weight"):
        halved({"weight": torch.tensor([1e6])})
