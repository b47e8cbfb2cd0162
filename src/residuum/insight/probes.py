"""Linear probes: how well a linear classifier tells the classes by what each stage of a net gives.

Alain & Bengio 2016, "Understanding intermediate layers using linear classifier probes" (arXiv 1610.01644). The maps of
a stage are averaged over their positions, as a ResNet does before its last layer, so that every stage is judged by one
value for each channel. A probe that does better at a later stage says that the classes lie apart by then; it does not
say that the net uses it.

Pooling is ours, and that the probes are fitted by scikit-learn.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from residuum.data.source import stratified
from residuum.errors import InputError, unknown
from residuum.insight.looks import OnProgress, unheard, without_gradients
from residuum.insight.places import stages
from residuum.insight.taps import device_of, evaluating, tapped

Features = NDArray[np.float32]
Method = Literal["pca", "tsne"]
MAX_ITERATIONS = 1000


@dataclass(frozen=True)
class Probe:
    """What a linear classifier makes of a layer.

    Attributes:
        layer: whose pooled features it saw.
        accuracy: share of the images kept for the test that it tells rightly.
        chance: share that the most frequent class has of them: what one gets who sees nothing.
        train_images, test_images: how many it was fitted on, and judged by.
        converged: whether the fit came to its end.
    """

    layer: str
    accuracy: float
    chance: float
    train_images: int
    test_images: int
    converged: bool


@dataclass(frozen=True, eq=False)
class Embedding:
    """Features as points of a plane.

    Attributes:
        method: how they were brought there.
        points: `(N, 2)`.
        labels: `(N,)`, as given: to colour them.
        explained: shares of the variance along both axes; None for t-SNE, whose axes mean nothing.
    """

    method: Method
    points: Features
    labels: NDArray[np.int64]
    explained: tuple[float, float] | None


@without_gradients
def stage_features(
    net: nn.Module, batches: Iterable[Tensor], *, on_images: Callable[[int], None] = lambda done: None
) -> dict[str, Features]:
    """The maps that end each stage, averaged over positions, in eval mode: stage name -> `(N, D)`.

    Args:
        net: any net that gives maps.
        batches: images `(N, C, H, W)`; gone through once.
        on_images: called with images done.

    Raises:
        InputError: there is no image, or the net gives no map larger than 1x1.
    """
    pooled: dict[str, list[Features]] = {}
    images = 0
    for batch in batches:
        shown = batch.to(device_of(net))
        names = list(pooled) or [stage.name for stage in stages(net, shown)]
        with evaluating(net), torch.no_grad(), tapped(net, names) as outputs:
            net(shown)
        for name in names:
            pooled.setdefault(name, []).append(outputs[name].mean(dim=(2, 3)).float().cpu().numpy())
        images += len(batch)
        on_images(images)
    if not images:
        raise InputError("batches: hold no image. Try: at least one batch of images")
    return {name: np.concatenate(parts) for name, parts in pooled.items()}


def linear_probes(
    features: Mapping[str, Features],
    labels: ArrayLike,
    *,
    test_share: float = 0.25,
    seed: int = 0,
    on_progress: OnProgress = unheard,
) -> list[Probe]:
    """A logistic regression for each layer, fitted on one part of the images and judged by the other.

    Features are standardised by the mean and deviation of the part that is fitted on; the regression has scikit-learn's
    usual L2 penalty (C = 1). All layers see the same division of the images, with the classes in their shares.

    Args:
        features: layer -> `(N, D)`, as `stage_features` gives them.
        labels: `(N,)`.
        test_share: of the images, kept for the test; at least one image of each class is.
        seed: draws which.
        on_progress: called with layers done and in all.

    Raises:
        InputError: there are fewer than two classes, or a class has fewer than two images; a feature is not finite;
            features and labels differ in number.
    """
    truth = np.asarray(labels)
    for layer, values in features.items():
        _require_values(layer, values, len(truth))
    train, test = _divided(truth, test_share, seed)
    probes = []
    for layer, values in features.items():
        probes.append(_probe(layer, values, truth, train, test))
        on_progress(len(probes), len(features))
    return probes


def _probe(
    layer: str, values: Features, labels: NDArray[np.int64], train: NDArray[np.int64], test: NDArray[np.int64]
) -> Probe:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    regression = LogisticRegression(max_iter=MAX_ITERATIONS)
    model = make_pipeline(StandardScaler(), regression)
    seen = values.astype(np.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # said by `converged`
        model.fit(seen[train], labels[train])
    return Probe(
        layer=layer,
        accuracy=float((model.predict(seen[test]) == labels[test]).mean()),
        chance=float(np.unique(labels[test], return_counts=True)[1].max() / len(test)),
        train_images=len(train),
        test_images=len(test),
        converged=bool(regression.n_iter_.max() < MAX_ITERATIONS),
    )


def _divided(labels: NDArray[np.int64], test_share: float, seed: int) -> list[NDArray[np.int64]]:
    """Indices to fit on and to judge by."""
    if not 0 < test_share < 1:
        raise InputError(f"test_share: must lie between 0 and 1, got {test_share}. Try: 0.25")
    images = np.unique(labels, return_counts=True)[1]
    if len(images) < 2 or images.min() < 2:
        raise InputError(
            "labels: a probe needs two classes with two images each "
            f"(got {len(images)} classes, the smallest of {images.min(initial=len(labels))} images). Try: more images"
        )
    test = int(np.clip(round(test_share * len(labels)), len(images), len(labels) - len(images)))
    return stratified(labels, (len(labels) - test, test), seed)


def embedding(features: Features, labels: ArrayLike, *, method: Method = "pca", seed: int = 0) -> Embedding:
    """Features `(N, D)` as points of a plane.

    `pca` keeps the two directions of greatest variance, so distances are those of the features seen from one side.
    `tsne` keeps neighbours together (van der Maaten & Hinton 2008, perplexity 30 or, of few images, a third of them):
    distances between groups and sizes of groups mean nothing.

    Args:
        features: `(N, D)` of one layer.
        labels: `(N,)`, passed on.
        method: which of the two.
        seed: of t-SNE.

    Raises:
        InputError: `method` is not known; there are fewer than four images or two features; all images have the same
            features, or one is not finite; features and labels differ in number.
    """
    truth = np.asarray(labels)
    _require_values("features", features, len(truth))
    if method not in get_args(Method):
        raise unknown("method", method, get_args(Method))
    if len(features) < 4 or features.shape[1] < 2:
        raise InputError(
            f"features: a plane needs four images and two features, got {features.shape[0]} and {features.shape[1]}. "
            "Try: more images"
        )
    if not np.ptp(features, axis=0).any():
        raise InputError("features: are the same for all images, so there is nothing to show. Try: another layer")
    if method == "tsne":
        return Embedding("tsne", _tsne(features, seed), truth, None)
    points, explained = _pca(features.astype(np.float64))
    return Embedding("pca", points, truth, explained)


def _pca(features: NDArray[np.float64]) -> tuple[Features, tuple[float, float]]:
    """Points on the two main axes, each axis with its largest weight positive, and their shares of the variance."""
    centred = features - features.mean(axis=0)
    left, sizes, axes = np.linalg.svd(centred, full_matrices=False)
    largest = np.abs(axes[:2]).argmax(axis=1)
    signs = np.sign(axes[[0, 1], largest])
    shares = sizes**2 / (sizes**2).sum()
    points = left[:, :2] * sizes[:2] * signs
    return points.astype(np.float32), (float(shares[0]), float(shares[1]))


def _tsne(features: Features, seed: int) -> Features:
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(features) - 1) / 3)
    model = TSNE(n_components=2, perplexity=perplexity, init="pca", random_state=seed)
    return np.asarray(model.fit_transform(features.astype(np.float32)), dtype=np.float32)


def _require_values(layer: str, values: Features, images: int) -> None:
    if values.ndim != 2 or len(values) != images:
        raise InputError(
            f"features: {layer} must hold a row for each of {images} labels, got the shape {values.shape}. "
            "Try: stage_features of the same images"
        )
    if not np.isfinite(values).all():
        raise InputError(f"features: {layer} holds values that are not finite. Try: a net whose weights are finite")
