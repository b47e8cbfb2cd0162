"""How far probabilities can be believed, and the one number that mends most of it.

Source: Guo et al. 2017, "On Calibration of Modern Neural Networks".
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from residuum.errors import InputError

BINS = 15
LEAST_TEMPERATURE, GREATEST_TEMPERATURE = 0.05, 20.0
AT_BOUND = 1.001  # a fit this near to the least or greatest has found neither


@dataclass(frozen=True, eq=False)
class Reliability:
    """Answers by how sure they were, in bins of equal width from 0 to 1; bins of several batches add up.

    Attributes:
        images, right: `(BINS,)` counts of answers and of right answers.
        confidence: `(BINS,)` sums of the probability given to the answer.
    """

    images: NDArray[np.int64]
    right: NDArray[np.int64]
    confidence: NDArray[np.float64]

    @staticmethod
    def of(log_probabilities: Tensor, labels: Tensor) -> Reliability:
        """Of answers `(N, K)` to images of classes `(N,)`."""
        best = log_probabilities.double().max(dim=1)
        confidence = best.values.exp().clamp(max=1).cpu().numpy()
        right = (best.indices == labels).cpu().numpy()
        bins = np.minimum((np.ceil(confidence * BINS) - 1).astype(int).clip(0), BINS - 1)
        return Reliability(
            np.bincount(bins, minlength=BINS).astype(np.int64),
            np.bincount(bins, weights=right, minlength=BINS).astype(np.int64),
            np.bincount(bins, weights=confidence, minlength=BINS).astype(np.float64),
        )

    def __add__(self, other: Reliability) -> Reliability:
        return Reliability(self.images + other.images, self.right + other.right, self.confidence + other.confidence)

    @property
    def expected_error(self) -> float:
        """Expected calibration error: the mean distance of confidence and accuracy over the bins, by their images."""
        return float(np.abs(self.right - self.confidence).sum() / self.images.sum())


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """A temperature, and what it mends on the images it was fitted on.

    Attributes:
        num_images: how many these are.
        temperature_before, temperature: what logits were divided by, and are now.
        loss_before, loss: mean cross-entropy, in nats.
        ece_before, ece: expected calibration error, in 15 bins.
    """

    num_images: int
    temperature_before: float
    temperature: float
    loss_before: float
    loss: float
    ece_before: float
    ece: float


def calibrate(logits: Tensor, labels: Tensor, *, temperature: float = 1.0) -> Calibration:
    """Fit a temperature and say what it mends.

    Args:
        logits: `(N, K)` of images that the net was not trained on.
        labels: `(N,)` their classes.
        temperature: the one so far.

    Raises:
        InputError: as `fit_temperature`.
    """
    fitted = fit_temperature(logits, labels)
    loss_before, ece_before = _judged(logits, labels, temperature)
    loss, ece = _judged(logits, labels, fitted)
    return Calibration(
        num_images=len(labels),
        temperature_before=temperature,
        temperature=fitted,
        loss_before=loss_before,
        loss=loss,
        ece_before=ece_before,
        ece=ece,
    )


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The temperature T for which softmax(logits / T) has the least cross-entropy.

    Args:
        logits: `(N, K)` of images that the net was not trained on.
        labels: `(N,)` their classes.

    Raises:
        InputError: there is no image, a logit is not finite, or no temperature is best: where every answer is right
            each lower one is better, and where the answers are no better than chance each higher one.
    """
    from scipy.optimize import minimize_scalar  # most of a second to import

    if not len(labels) or not logits.isfinite().all():
        raise InputError("temperature: needs finite answers to at least one image. Try: a validation split")
    scores, truth = logits.double(), labels.to(torch.int64)

    def loss(log_temperature: float) -> float:
        return float(functional.cross_entropy(scores / math.exp(log_temperature), truth))

    bounds = (math.log(LEAST_TEMPERATURE), math.log(GREATEST_TEMPERATURE))
    found = math.exp(float(minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6}).x))
    if not LEAST_TEMPERATURE * AT_BOUND < found < GREATEST_TEMPERATURE / AT_BOUND:
        right = int((scores.argmax(dim=1) == truth).sum())
        raise InputError(
            f"temperature: none from {LEAST_TEMPERATURE:g} to {GREATEST_TEMPERATURE:g} is best, with {right:,} of "
            f"{len(truth):,} answers right. Try: more images, or those of a split it was not trained on"
        )
    return found


def _judged(logits: Tensor, labels: Tensor, temperature: float) -> tuple[float, float]:
    """Mean cross-entropy and expected calibration error at a temperature."""
    answers = functional.log_softmax(logits.double() / temperature, dim=1)
    return float(functional.nll_loss(answers, labels)), Reliability.of(answers, labels).expected_error
