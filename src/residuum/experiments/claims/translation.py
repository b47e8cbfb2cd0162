"""Max pooling gives exact translation invariance.

Taught in most introductions, as in the notes of many courses: the largest value of a window stays the same where its
place changes a little. Zhang 2019, "Making Convolutional Networks Shift-Invariant Again" (arXiv 1904.11486), measures
how far nets are from it.

Trained are ResNet-20, which halves its maps by convolutions of stride 2, and the same net with 2x2 max or average
pooling in front of those, whose stride is then 1. Images that none was trained on are moved by one or two pixels in
each of four directions, the border repeated where they leave a gap. Measured are the share of images that get the same
answer as before, and how far the averaged last maps move, as a share of their length. Beside it, without any training:
one 3x3 convolution of random weights with a ReLU, which halves its map by stride, by max pooling or by average pooling;
by how much its map changes when the image moves by one pixel.

Invariance is taken at its word, within one image in a hundred: the net with max pooling must give the same answers
after one pixel. It must also give more of the same answers than the net with strides by one point, and the single
layer with max pooling must change less than that with stride by five points of the map's length. How much one pixel is
depends on the images, an eighth of the side of a digit; and nets whose training moves its images learn to bear it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from residuum.classifier import Classifier
from residuum.data.batches import evaluation_batches
from residuum.data.preprocess import Preprocessing
from residuum.data.source import ArrayImages, Pixels, Split
from residuum.experiments.claim import Claim, Conclusion
from residuum.experiments.evidence import Evidence
from residuum.experiments.setting import Setting
from residuum.insight.taps import evaluating
from residuum.nets.resnet import ResNet
from residuum.plans.plan import PlannedRun
from residuum.records.finding import Arm, Comparison
from residuum.records.quantity import Measured, Quantity
from residuum.records.text import NOTHING, Text, paragraph
from residuum.report.measured_figures import Bar, bars

STRIDE, MAX, AVERAGE = "resnet20", "resnet20+downsampling=max_pool", "resnet20+downsampling=average_pool"
NETS = {STRIDE: "stride", MAX: "max pooling", AVERAGE: "average pooling"}
SHIFTS = (1, 2)  # pixels
IMAGES = 512
SAME = {shift: Quantity(f"same answer, moved by {shift}", korean=f"{shift}픽셀 옮겨도 같은 답") for shift in SHIFTS}
MOVED = {
    shift: Quantity(f"change of features, moved by {shift}", korean=f"{shift}픽셀 옮겼을 때 특징의 변화")
    for shift in SHIFTS
}
KOREAN = {"stride": "보폭", "max pooling": "최대 풀링", "average pooling": "평균 풀링"}
LAYER = Quantity("change of the map, moved by 1", korean="1픽셀 옮겼을 때 특징 맵의 변화")
ONE_LAYER = "one layer, "
CHANNELS = 32  # of the single layer
ANSWERS_MARGIN = 0.01  # one image in a hundred
MAP_MARGIN = 0.05  # of the map's length
CAPTION = Text(
    "Share of images that get the same answer after they were moved by one or two pixels, mean over four directions "
    "and the seeds with one standard deviation, for ResNet-20 that halves its maps by stride, max or average pooling. "
    "Invariance would be 100 %.",
    "한두 픽셀 옮긴 뒤에도 같은 답이 나오는 이미지의 비율이며, 네 방향과 시드들에 대한 평균과 표준편차입니다. "
    "ResNet-20이 특징 맵을 절반으로 줄이는 방법을 보폭, 최대 풀링, 평균 풀링으로 달리했습니다. "
    "이동에 불변이라면 100 %일 것입니다.",
)
STILL = Text("Training moved no image.", "학습 중에는 이미지를 옮기지 않았습니다(증강 없음).")
AUGMENTED = Text(
    "Training itself moved its images at random (augmentation).", "학습 중에도 이미지를 무작위로 옮겼습니다(증강)."
)
DAMPED = Text("pooling damps a shift, it does not undo it", "풀링은 이동의 영향을 줄일 뿐 없애지는 못합니다")
UNDONE = Text("pooling all but undoes the shift", "풀링은 이동의 영향을 거의 없앱니다")
Halving = Callable[[Tensor, Tensor], Tensor]


def plan(setting: Setting) -> Sequence[PlannedRun]:
    """ResNet-20 with each way of halving its maps."""
    return setting.planned(*NETS)


def moved(pixels: Pixels, down: int, right: int) -> Pixels:
    """Images `(N, H, W, C)` moved by whole pixels, the border repeated where they leave a gap."""
    reach = max(abs(down), abs(right))
    padded = np.pad(pixels, ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode="edge")
    height, width = pixels.shape[1:3]
    top, left = reach - down, reach - right
    return padded[:, top : top + height, left : left + width]


def directions(shift: int) -> list[tuple[int, int]]:
    """Down and right of each of the four moves."""
    return [(shift, 0), (-shift, 0), (0, shift), (0, -shift)]


@dataclass(frozen=True)
class Shown:
    """What a net makes of images: its answers `(N,)` and its averaged last maps `(N, C)`."""

    answers: Tensor
    features: Tensor


@dataclass(frozen=True)
class Steadiness:
    """Share of the same answers, and mean change of the features as a share of their length."""

    same: float
    change: float


def steadiness(classifier: Classifier, pixels: Pixels, shift: int) -> Steadiness:
    """How a net answers images `(N, H, W, C)` uint8 that are moved by `shift` pixels, over the four directions."""
    still = shown(classifier, pixels)
    after = [shown(classifier, moved(pixels, *direction)) for direction in directions(shift)]
    same = [(each.answers == still.answers).double().mean() for each in after]
    change = [relative_change(still.features, each.features) for each in after]
    return Steadiness(float(torch.stack(same).mean()), sum(change) / len(change))


@torch.no_grad()
def shown(classifier: Classifier, pixels: Pixels) -> Shown:
    """What a ResNet makes of images `(N, H, W, C)` uint8."""
    net = classifier.net
    assert isinstance(net, ResNet)  # all that are planned here are
    answers, features = [], []
    with evaluating(net):
        for images in batches(pixels, classifier.preprocessing, classifier.device):
            last = [*net.forward_features(images).values()][-1]
            answers.append(net.head(last).argmax(dim=1))
            features.append(last.mean(dim=(2, 3)))
    return Shown(torch.cat(answers), torch.cat(features))


def batches(pixels: Pixels, preprocessing: Preprocessing, device: torch.device) -> Iterator[Tensor]:
    """Images `(N, H, W, C)` uint8 as a net takes them."""
    split = Split("moved", ArrayImages(np.ascontiguousarray(pixels)), np.zeros(len(pixels), dtype=np.int64))
    for images, _ in evaluation_batches(split, preprocessing, batch_size=256, device=device):
        yield images


def relative_change(before: Tensor, after: Tensor) -> float:
    """Distance of two tensors `(N, ...)` as a share of the length of the first, mean over the images that have one."""
    before, after = before.flatten(1).double(), after.flatten(1).double()
    length = before.norm(dim=1)
    seen = length > 0
    return float(((after - before).norm(dim=1)[seen] / length[seen]).mean())


def stride(x: Tensor, weight: Tensor) -> Tensor:
    """A convolution of stride 2, rectified."""
    return functional.conv2d(x, weight, stride=2, padding=1).relu()


def max_pooling(x: Tensor, weight: Tensor) -> Tensor:
    """A convolution, rectified, and the largest of each 2x2."""
    return functional.max_pool2d(functional.conv2d(x, weight, padding=1).relu(), 2)


def average_pooling(x: Tensor, weight: Tensor) -> Tensor:
    """A convolution, rectified, and the mean of each 2x2."""
    return functional.avg_pool2d(functional.conv2d(x, weight, padding=1).relu(), 2)


LAYERS: dict[str, Halving] = {"stride": stride, "max pooling": max_pooling, "average pooling": average_pooling}


def layer_changes(pixels: Pixels, preprocessing: Preprocessing, seed: int) -> dict[str, float]:
    """How the map of one layer of random weights changes when images `(N, H, W, C)` uint8 move by one pixel."""
    fan_in = 9 * pixels.shape[3]
    weight = torch.randn(CHANNELS, pixels.shape[3], 3, 3, generator=torch.Generator().manual_seed(seed))
    weight *= (2 / fan_in) ** 0.5
    cpu = torch.device("cpu")
    still = torch.cat([*batches(pixels, preprocessing, cpu)])
    after = [torch.cat([*batches(moved(pixels, *way), preprocessing, cpu)]) for way in directions(1)]
    return {
        name: sum(relative_change(halve(still, weight), halve(each, weight)) for each in after) / len(after)
        for name, halve in LAYERS.items()
    }


def measure(evidence: Evidence) -> Conclusion:
    """Steadiness of each trained net, and of single layers."""
    split = evidence.setting.dataset.split(evidence.judged_split)
    pixels = np.stack([split.images.load(index) for index in range(min(IMAGES, len(split)))])
    found: dict[str, dict[str, Measured]] = {}
    for number, net in enumerate(NETS):
        classifiers = evidence.classifiers(net)
        each = {shift: [steadiness(one, pixels, shift) for one in classifiers] for shift in SHIFTS}
        found[net] = {SAME[shift].name: Measured(tuple(one.same for one in each[shift])) for shift in SHIFTS}
        found[net] |= {MOVED[shift].name: Measured(tuple(one.change for one in each[shift])) for shift in SHIFTS}
        evidence.progress(number + 1, len(NETS) + 1)
    preprocessing = evidence.classifiers(STRIDE)[0].preprocessing
    layers = [layer_changes(pixels, preprocessing, seed) for seed in evidence.setting.seeds]
    evidence.progress(len(NETS) + 1, len(NETS) + 1)
    arms = [evidence.arm(net, own=own) for net, own in found.items()]
    changes = {name: Measured(tuple(each[name] for each in layers)) for name in LAYERS}
    augmented = evidence.setting.recipe(STRIDE).augmentation is not None
    return conclude(arms, changes, evidence.errors, side=pixels.shape[2], augmented=augmented)


def conclude(
    nets: Sequence[Arm], layers: dict[str, Measured], errors: Sequence[Quantity], *, side: int, augmented: bool
) -> Conclusion:
    """The verdict on the three nets, in the order of `NETS`, and on the changes of single layers by name.

    Images are `side` pixels wide; `augmented` is whether training moved them at random.
    """
    by_name = {arm.name: arm.measured for arm in nets}
    single = [
        Arm(name=ONE_LAYER + name, korean=f"한 층, {KOREAN[name]}", published=NOTHING, measured={LAYER.name: each})
        for name, each in layers.items()
    ]
    return Conclusion(
        arms=(*nets, *single),
        quantities=(*errors, *SAME.values(), *MOVED.values(), LAYER),
        comparisons=(
            Comparison(
                statement=Text(
                    "with max pooling, images moved by one pixel get the same answer",
                    "최대 풀링을 쓰면 이미지를 한 픽셀 옮겨도 답이 같다",
                ),
                a=MAX,
                b=1.0,
                relation="near",
                margin=ANSWERS_MARGIN,
                quantity=SAME[1].name,
                published=Text("invariant (taught)", "불변(강의 내용)"),
            ),
            Comparison(
                statement=Text(
                    "with max pooling more answers stay the same than with stride",
                    "최대 풀링을 쓰면 보폭을 쓸 때보다 답이 그대로인 이미지가 많다",
                ),
                a=MAX,
                b=STRIDE,
                relation="above",
                margin=ANSWERS_MARGIN,
                quantity=SAME[1].name,
                published=Text("more (taught)", "더 많음(강의 내용)"),
            ),
            Comparison(
                statement=Text(
                    "one layer changes more with stride than with max pooling",
                    "한 층의 특징 맵은 최대 풀링보다 보폭을 쓸 때 더 크게 바뀐다",
                ),
                a=f"{ONE_LAYER}stride",
                b=f"{ONE_LAYER}max pooling",
                relation="above",
                margin=MAP_MARGIN,
                quantity=LAYER.name,
                published=Text("more (taught)", "더 큼(강의 내용)"),
            ),
        ),
        summary=paragraph([_summary(by_name, layers, side), AUGMENTED if augmented else STILL]),
        drawing=bars(
            {
                f"moved by {shift} pixel{'s' if shift > 1 else ''}": [
                    Bar(words, by_name[net][SAME[shift].name]) for net, words in NETS.items()
                ]
                for shift in SHIFTS
            },
            Quantity("images with the same answer"),
        ),
        caption=CAPTION,
    )


def _summary(nets: Mapping[str, Mapping[str, Measured]], layers: Mapping[str, Measured], side: int) -> Text:
    """Answers of the three nets, and the single layers."""
    same = {words: f"{100 * nets[net][SAME[1].name].mean:.1f} %" for net, words in NETS.items()}
    change = {words: f"{100 * layer.mean:.0f} %" for words, layer in layers.items()}
    damped = DAMPED if layers["max pooling"].mean > MAP_MARGIN else UNDONE
    return Text(
        f"Moved by one pixel of {side}, {same['max pooling']} of the images keep their answer in the net with max "
        f"pooling, {same['stride']} in the one with strides and {same['average pooling']} with average pooling. The "
        f"map of a single layer changes by {change['max pooling']} of its length with max pooling, and by "
        f"{change['stride']} with stride: {damped.en}.",
        f"이미지를 한 변의 {side}픽셀 가운데 한 픽셀만큼 옮겨도 답이 그대로인 비율은 최대 풀링을 쓴 신경망이 "
        f"{same['max pooling']}, 보폭을 쓴 신경망이 {same['stride']}, 평균 풀링을 쓴 신경망이 "
        f"{same['average pooling']}입니다. 한 층의 특징 맵은 최대 풀링을 쓰면 그 크기의 {change['max pooling']}, "
        f"보폭을 쓰면 {change['stride']}만큼 바뀝니다: {damped.ko}.",
    )


CLAIM = Claim(
    name="translation",
    statement=Text("Max pooling gives exact translation invariance", "최대 풀링은 정확한 이동 불변성을 준다"),
    source=Text(
        "lecture notes; Zhang 2019 measures how far nets are from it",
        "강의 노트; Zhang 2019는 신경망이 여기서 얼마나 먼지를 쟀음",
    ),
    group="taught",
    measure=measure,
    plan=plan,
)
