"""Judging maps: areas under curves that are known by hand, maps that must win or lose, and four real photos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import residuum.insight.cam as cams
from residuum.data.decode import decode
from residuum.data.preprocess import Preprocessing
from residuum.errors import InputError
from residuum.insight.attribution import blurred
from residuum.insight.cam import cam
from residuum.insight.judge import FILLS, Judged, deletion_insertion, randomised
from residuum.nets.resnet import ResNet
from residuum.references import build

SIDE = 14
TOP_LEFT = (slice(0, SIDE // 2), slice(0, SIDE // 2))
PHOTOS = ("n01514859_hen", "n02123045_tabby", "n02690373_airliner", "n07753592_banana")


class Corner(nn.Module):
    """Class 0 has the probability that is the mean brightness of the image's first quarter."""

    def forward(self, x: Tensor) -> Tensor:
        seen = x[:, 0, *TOP_LEFT].mean(dim=(1, 2)).clamp(1e-6, 1 - 1e-6)
        return torch.stack([seen.log(), (1 - seen).log()], dim=1)


def corner() -> np.ndarray:  # type: ignore[type-arg]
    heat = np.zeros((SIDE, SIDE), dtype=np.float32)
    heat[TOP_LEFT] = 1
    return heat


def white() -> Tensor:
    return torch.ones(1, 1, SIDE, SIDE)


def judge(heat: np.ndarray, **changes: object) -> Judged:  # type: ignore[type-arg]
    return deletion_insertion(Corner(), white(), 0, heat, **({"steps": 8, "fill": "grey"} | changes))  # type: ignore[arg-type]


def test_areas_of_a_perfect_map_and_of_its_opposite_by_hand() -> None:
    """The quarter goes, or comes, in the first two of eight steps: 1, 1/2, 0, 0, ...; or in the last two."""
    best, worst = judge(corner()), judge(-corner())
    assert best.deletion_curve == pytest.approx([1, *[0.5], *[0] * 7], abs=0.02)
    assert best.insertion_curve == pytest.approx([0, *[0.5], *[1] * 7], abs=0.02)
    assert (best.deletion, best.insertion) == pytest.approx((0.125, 0.875), abs=0.005)
    assert (worst.deletion, worst.insertion) == pytest.approx((0.875, 0.125), abs=0.005)
    assert best.score == pytest.approx(0.75, abs=0.01)
    assert (best.better, best.beaten) == (True, 1)
    assert (worst.better, worst.beaten) == (False, 0)
    assert best.sigmas > 1 > -1 > worst.sigmas


def test_a_flat_map_goes_by_chance_and_not_from_a_corner() -> None:
    flat = judge(np.zeros((SIDE, SIDE), dtype=np.float32))
    assert (flat.deletion, flat.insertion) == pytest.approx((0.5, 0.5), abs=0.06)


def test_random_maps_are_as_likely_as_not_to_be_better_than_random() -> None:
    generator = np.random.default_rng(5)
    heats = [generator.random((SIDE, SIDE)).astype(np.float32) for _ in range(40)]
    wins = sum(judge(heat, random=8, seed=index).better for index, heat in enumerate(heats))
    assert 8 <= wins <= 32


def test_random_maps_are_those_of_the_seed_and_have_the_spread_they_show() -> None:
    first, again, other = judge(corner()), judge(corner()), judge(corner(), seed=1)
    assert (first.random_scores == again.random_scores).all()
    assert not (first.random_scores == other.random_scores).any()
    assert first.random_insertion.mean - first.random_deletion.mean == pytest.approx(
        first.random_scores.mean(), abs=1e-6
    )
    assert first.random_deletion.std > 0
    many = judge(corner(), random=64)
    assert (many.random_deletion.mean, many.random_insertion.mean) == pytest.approx((0.5, 0.5), abs=0.1)


def test_curves_begin_and_end_with_what_is_shown() -> None:
    """The image and its grey; the image and its blur."""
    torch.manual_seed(0)
    picture = torch.rand(1, 1, SIDE, SIDE)

    def seen(shown: Tensor) -> float:
        return float(Corner()(shown).softmax(dim=1)[0, 0])

    found = deletion_insertion(Corner(), picture, 0, corner(), steps=3)
    assert FILLS["rise"] == ("grey", "blur")
    blur = blurred(picture)
    ends = (*found.deletion_curve[[0, -1]], *found.insertion_curve[[0, -1]])
    assert ends == pytest.approx((seen(picture), seen(torch.zeros_like(picture)), seen(blur), seen(picture)), abs=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"heat": np.zeros((7, 7), dtype=np.float32)},
            "heat: has another size than the image \\(expected \\(14, 14\\)",
        ),
        ({"heat": np.full((SIDE, SIDE), np.nan, dtype=np.float32)}, "heat: has values that are not finite"),
        ({"fill": "black"}, "fill: 'black' is not known"),
        ({"steps": 0}, "steps, random: too few"),
        ({"random": 1}, "steps, random: too few"),
    ],
)
def test_what_cannot_be_judged_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        judge(**({"heat": corner()} | changes))  # type: ignore[arg-type]


def left_as_it_was(net: ResNet, act: object) -> None:
    net.train()
    net.layer2.eval()
    modes = [module.training for module in net.modules()]
    state = {name: value.clone() for name, value in net.state_dict().items()}
    act()  # type: ignore[operator]
    assert [module.training for module in net.modules()] == modes
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in net.parameters())


def test_the_net_is_left_as_it_was(tiny_net: ResNet) -> None:
    left_as_it_was(tiny_net, lambda: deletion_insertion(tiny_net, white(), None, corner(), steps=2))
    left_as_it_was(tiny_net, lambda: randomised(tiny_net, white()))


def test_layers_lose_their_weights_from_the_answer_to_the_image(tiny_net: ResNet) -> None:
    torch.manual_seed(1)
    picture = torch.randn(1, 1, 28, 28)
    done: list[tuple[int, int]] = []
    rows = randomised(tiny_net, picture, 3, points=99, on_progress=lambda *step: done.append(step))
    names = [row.layer for row in rows]
    assert (names[0], names[-2:]) == ("fc", ["bn1", "conv1"])
    assert sorted(names) == sorted(
        name for name, module in tiny_net.named_modules() if any(True for _ in module.parameters(recurse=False))
    )
    assert done == [(number, len(names)) for number in range(1, len(names) + 1)]
    assert all(-1 <= row.correlation <= 1 for row in rows)
    assert min(abs(row.correlation) for row in rows) < 0.9
    assert rows == randomised(tiny_net, picture, 3, points=99)
    assert rows != randomised(tiny_net, picture, 3, points=99, seed=1)
    fewer = randomised(tiny_net, picture, 3, points=3)
    assert len(fewer) == 3
    assert fewer[-1] == rows[-1]


def test_a_map_that_only_shows_the_picture_does_not_change(tiny_net: ResNet, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check must tell it from one that explains the net."""
    fixed = torch.arange(49.0).view(7, 7)
    monkeypatch.setitem(cams.METHODS, "edges", lambda maps, gradients: fixed)
    monkeypatch.setitem(cams.METHODS, "nothing", lambda maps, gradients: torch.zeros(7, 7))
    rows = randomised(tiny_net, torch.randn(1, 1, 14, 14), method="edges")
    assert [row.correlation for row in rows] == pytest.approx([1] * len(rows))
    rows = randomised(tiny_net, torch.randn(1, 1, 14, 14), method="nothing")
    assert [row.correlation for row in rows] == [0] * len(rows)


def test_randomised_refuses_no_points(tiny_net: ResNet) -> None:
    with pytest.raises(InputError, match="points: must be at least 1, got 0"):
        randomised(tiny_net, white(), points=0)


def test_grad_cam_of_a_foreign_resnet18_is_better_than_random_on_photos(shared: Path) -> None:
    """Four of the 24; all of them, with more steps and maps, in benchmarks/inspect_photos.py."""
    net = build("resnet18", weights=shared / "weights" / "resnet18-imagenet-pq.safetensors")
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    preprocessing = Preprocessing(channels=3, resize=256, crop=(224, 224), mean=mean, std=std)
    for name in PHOTOS:
        pixels = preprocessing.view(decode(shared / "photos" / f"{name}.JPEG", channels=3))
        photo = preprocessing.normalise(torch.from_numpy(pixels.copy())[None])
        found = cam(net, photo)
        judged = deletion_insertion(net, photo, found.class_index, found.overlay, steps=4, random=2)
        assert judged.better, name
