"""Probes on features that tell the classes and on features that do not; pooled features by hand; PCA's identities."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from residuum.errors import InputError
from residuum.insight.places import stages
from residuum.insight.probes import embedding, linear_probes, stage_features
from residuum.nets.resnet import ResNet, Variant

LABELS = np.repeat(np.arange(4), 100)


def gaussian(images: int = 400, width: int = 6, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(images, width)).astype(np.float32)


def separable() -> NDArray[np.float32]:
    """Four groups ten deviations apart, in units that differ a thousandfold."""
    centres = 10 * np.eye(6)[:4]
    return ((gaussian() + centres[LABELS]) * np.array([1, 1000, 1, 1, 1, 1])).astype(np.float32)


# Features.


@pytest.mark.parametrize("preactivation", [False, True])
def test_features_are_the_mean_maps_of_the_stages(preactivation: bool) -> None:
    torch.manual_seed(0)
    variant = Variant(blocks=(1, 1), widths=(4, 8), stem="cifar", preactivation=preactivation)
    net = ResNet(variant, num_classes=5).train()
    images = torch.randn(5, 3, 8, 8)
    modes, values = [m.training for m in net.modules()], {k: v.clone() for k, v in net.state_dict().items()}
    done: list[int] = []
    features = stage_features(net, iter([images[:3], images[3:]]), on_images=done.append)
    assert done == [3, 5]
    assert [module.training for module in net.modules()] == modes
    assert all(torch.equal(tensor, values[name]) for name, tensor in net.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())
    assert all(parameter.grad is None for parameter in net.parameters())

    net.eval()
    assert list(features) == [stage.name for stage in stages(net, images)]
    with torch.no_grad():
        maps = net.forward_features(images)
        last = torch.relu(net.bn_last(maps["layer2"])) if preactivation else maps["layer2"]
        logits = net(images)
    shapes = {name: (values.shape, values.dtype) for name, values in features.items()}
    assert list(shapes.values()) == [((5, 4), np.float32), ((5, 8), np.float32)]
    first, final = features.values()
    np.testing.assert_allclose(first, maps["layer1"].mean(dim=(2, 3)), atol=1e-6)
    np.testing.assert_allclose(final, last.mean(dim=(2, 3)), atol=1e-6)
    np.testing.assert_allclose(net.fc(torch.from_numpy(final)).detach(), logits, atol=1e-5)


def test_features_of_no_images() -> None:
    with pytest.raises(InputError, match="batches: hold no image"):
        stage_features(nn.Conv2d(3, 4, 3), [])


# Probes.


def test_features_that_tell_the_classes_are_probed_without_an_error() -> None:
    probe, noise = linear_probes({"told": separable(), "noise": gaussian()}, LABELS)
    assert (probe.layer, probe.accuracy, probe.converged) == ("told", 1.0, True)
    assert (probe.train_images, probe.test_images) == (300, 100)
    assert probe.chance == 0.25
    assert noise.chance == 0.25
    assert abs(noise.accuracy - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 100)


def test_random_labels_are_told_by_chance_though_the_features_fit_them() -> None:
    """300 values for each of 300 images fit any labels of those; the images kept for the test tell the truth."""
    labels = np.random.default_rng(3).permutation(LABELS)
    (probe,) = linear_probes({"wide": gaussian(width=300)}, labels)
    assert abs(probe.accuracy - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 100)


def test_a_probe_is_linear() -> None:
    """Exclusive or: no line tells it, and the product of both features does."""
    both = gaussian(width=2, seed=5)
    labels = (both[:, 0] * both[:, 1] > 0).astype(np.int64)
    line, product = linear_probes({"both": both, "product": both[:, :1] * both[:, 1:]}, labels)
    assert line.accuracy < 0.65
    assert product.accuracy > 0.95


def test_chance_is_the_most_frequent_class_and_the_seed_divides() -> None:
    labels = np.repeat([0, 1], [300, 100])
    values = gaussian(seed=1)
    first, again, other = (linear_probes({"a": values}, labels, test_share=0.5, seed=seed)[0] for seed in (0, 0, 1))
    assert first == again
    assert first != other
    assert first.chance == 0.75
    assert first.test_images == 200


def test_all_layers_see_the_same_division() -> None:
    steps: list[tuple[int, int]] = []
    features = {name: gaussian() for name in ("a", "b", "c")}
    probes = linear_probes(features, LABELS, on_progress=lambda done, total: steps.append((done, total)))
    assert len({probe.accuracy for probe in probes}) == 1
    assert steps == [(1, 3), (2, 3), (3, 3)]


def test_few_images_of_many_classes_are_divided_so_that_each_class_is_on_both_sides() -> None:
    (probe,) = linear_probes({"a": np.eye(5, dtype=np.float32).repeat(2, axis=0)}, np.arange(5).repeat(2))
    assert (probe.train_images, probe.test_images, probe.accuracy, probe.chance) == (5, 5, 1.0, 0.2)


@pytest.mark.parametrize(
    ("features", "labels", "share", "says"),
    [
        (gaussian(10), np.zeros(10), 0.25, r"^labels: a probe needs two classes.*got 1 classes"),
        (gaussian(3), np.array([0, 0, 1]), 0.25, r"the smallest of 1 images"),
        (gaussian(10), np.arange(10) % 2, 1.0, r"^test_share: must lie between 0 and 1, got 1.0"),
        (gaussian(10), np.arange(9) % 2, 0.25, r"^features: a must hold a row for each of 9 labels"),
        (
            np.full((10, 2), np.inf, dtype=np.float32),
            np.arange(10) % 2,
            0.25,
            r"^features: a holds values that are not finite",
        ),
    ],
)
def test_what_cannot_be_probed(
    features: NDArray[np.float32], labels: NDArray[np.int64], share: float, says: str
) -> None:
    with pytest.raises(InputError, match=says):
        linear_probes({"a": features}, labels, test_share=share)


# Embeddings.


def test_pca_keeps_the_variance_it_says_and_the_distances_of_flat_features() -> None:
    flat = (gaussian(50, 2) * [3, 1]) @ np.linalg.qr(gaussian(7, 2, seed=2))[0].T
    found = embedding(flat.astype(np.float32), LABELS[:50])
    assert found.points.shape == (50, 2)
    assert found.explained is not None
    assert sum(found.explained) == pytest.approx(1, abs=1e-6)
    distances = [np.linalg.norm(each[:, None] - each[None], axis=2) for each in (flat, found.points)]
    np.testing.assert_allclose(distances[1], distances[0], atol=1e-4)

    values = gaussian(60, 9, seed=4)
    found = embedding(values, LABELS[:60])
    eigenvalues = np.sort(np.linalg.eigvalsh(np.cov(values.T)))[::-1]
    assert found.explained == pytest.approx(tuple(eigenvalues[:2] / eigenvalues.sum()), rel=1e-5)
    np.testing.assert_allclose(found.points.var(axis=0, ddof=1), eigenvalues[:2], rtol=1e-4)
    assert (found.labels == LABELS[:60]).all()


def test_pca_of_the_same_features_has_the_same_signs() -> None:
    values = gaussian(40, 5)
    order = np.random.default_rng(0).permutation(40)
    here, there = embedding(values, LABELS[:40]), embedding(values[order], LABELS[:40])
    np.testing.assert_allclose(there.points, here.points[order], atol=1e-4)


def test_tsne_keeps_groups_together_and_is_drawn_by_the_seed() -> None:
    values, labels = separable()[::10] / [1, 1000, 1, 1, 1, 1], LABELS[::10]
    found = embedding(values, labels, method="tsne", seed=1)
    assert (found.points.shape, found.explained) == ((40, 2), None)
    distances = np.linalg.norm(found.points[:, None] - found.points[None], axis=2) + 1e9 * np.eye(40)
    assert (labels[distances.argmin(axis=1)] == labels).mean() > 0.95
    assert (embedding(values, labels, method="tsne", seed=1).points == found.points).all()


def test_what_has_no_embedding() -> None:
    with pytest.raises(InputError, match=r"^method: 'tnse' is not known.*Try: tsne"):
        embedding(gaussian(9), np.zeros(9), method="tnse")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"^features: a plane needs four images"):
        embedding(gaussian(3), np.zeros(3))
    with pytest.raises(InputError, match=r"^features: are the same for all images"):
        embedding(np.ones((9, 3), dtype=np.float32), np.zeros(9))
