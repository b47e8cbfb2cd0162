"""Layers whose number of filters is a power of two run faster.

Taught as a rule of thumb: the lecture slides of CS231n (summary of the convolutional layer) call powers of two a common
setting of the number of filters, and speed is usually given as the reason.

Measured is a 3x3 convolution with as many channels as filters, forwards and backwards, in fp32 and laid out as our
trainings have it (channels last), on maps of 28x28 for a batch of 16, in alternating rounds. Its speed is multiply-adds
a second, three times those of the forward pass, so that layers of different widths can be compared. A power of two, 64
and 128, is held against two kinds of neighbours: one filter more or fewer, and 16 more or fewer, which are multiples of
a vector register's 8 or 16 numbers without being powers of two. One filter more and one fewer are shown apart as well:
where vectors are filled up, one more begins another vector, and one fewer leaves one place of the last empty.

If powers of two are what counts, they are faster than both, by more than a tenth: less does not decide how wide
somebody makes a layer. If they are faster than the first kind alone, it is the multiple of 16 that counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from residuum.experiments.claim import Claim, Conclusion
from residuum.experiments.evidence import Evidence
from residuum.experiments.timing import Work, in_rounds, relative
from residuum.records.finding import Arm, Comparison
from residuum.records.quantity import Measured, Quantity
from residuum.records.text import NOTHING, Text, paragraph
from residuum.report.measured_figures import Line, lines_over

BATCH, SIZE, KERNEL = 16, 28, 3
ROUNDS, REPEATS = 7, 3
POWERS = (64, 128)
WIDTHS = (48, 56, 60, 63, 64, 65, 68, 72, 80, 112, 120, 127, 128, 129, 136, 144)


@dataclass(frozen=True)
class Kind:
    """A kind of neighbour: how many filters off, what is claimed against it, and its name in Korean."""

    distance: int
    statement: Text
    korean: str


KINDS = {
    "neighbours by 1": Kind(
        1,
        Text(
            "powers of two are faster than one filter more or fewer",
            "필터 수가 2의 거듭제곱이면 하나 많거나 적을 때보다 빠르다",
        ),
        "1개 많거나 적은 이웃",
    ),
    "neighbours by 16": Kind(
        16,
        Text(
            "powers of two are faster than other multiples of 16",
            "필터 수가 2의 거듭제곱이면 2의 거듭제곱이 아닌 16의 배수일 때보다 빠르다",
        ),
        "16개 많거나 적은 이웃",
    ),
}
SIDES = {"one filter fewer": (-1, "필터 1개 적음"), "one filter more": (1, "필터 1개 많음")}  # shown, not judged
RATE = Quantity("speed", "billion multiply-adds a second", korean="속도")
FASTER = Quantity("powers of two against them", "times as fast", korean="2의 거듭제곱일 때의 속도(이웃 대비)")
MARGIN = 0.1
PASSES = 3  # forward pass, gradient of the input, gradient of the weights: each as many multiply-adds
CAPTION = Text(
    "Multiply-adds a second of a 3x3 convolution, forwards and backwards, over its number of filters; a band of one "
    "standard deviation over the rounds. If powers of two were special, 64 and 128 would stand out from 48, 80, 112 "
    "and 144 as well as from their nearest neighbours.",
    "3x3 합성곱의 순전파와 역전파가 1초에 하는 곱셈-덧셈 수를 필터 수에 따라 나타냈습니다. 선은 여러 회차에 잰 값의 "
    "평균이고, 띠는 ± 표준편차입니다. 2의 거듭제곱이 특별하다면, 64와 128은 바로 옆의 필터 수뿐 아니라 48, 80, 112, "
    "144보다도 두드러져야 합니다.",
)


def macs(width: int) -> int:
    """Multiply-adds of one forward and backward pass over the batch."""
    return PASSES * BATCH * SIZE * SIZE * KERNEL * KERNEL * width * width


def both_passes(width: int, device: torch.device) -> Work:
    """A convolution from `width` to `width` channels, forwards and backwards."""
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        values = torch.randn(shape, generator=generator)
        return values.to(device).contiguous(memory_format=torch.channels_last)

    x, given = (drawn(BATCH, width, SIZE, SIZE) for _ in range(2))
    weight = drawn(width, width, KERNEL, KERNEL)
    x.requires_grad_()
    weight.requires_grad_()

    def run() -> object:
        y = functional.conv2d(x, weight, padding=KERNEL // 2)
        return torch.autograd.grad(y, (x, weight), given)

    return run


def timed(evidence: Evidence) -> dict[int, Measured]:
    """Seconds of both passes by number of filters, a value of each round."""
    works = {str(width): both_passes(width, evidence.device) for width in WIDTHS}
    found = in_rounds(works, rounds=ROUNDS, repeats=REPEATS, progress=evidence.progress, device=evidence.device)
    return {int(width): seconds for width, seconds in found.items()}


def measure(evidence: Evidence) -> Conclusion:
    """The speed of all widths."""
    return conclude(timed(evidence))


def conclude(seconds: dict[int, Measured]) -> Conclusion:
    """The verdict on seconds by number of filters."""
    rates = {
        width: Measured(tuple(macs(width) / 1e9 / second for second in taken.values))
        for width, taken in seconds.items()
    }
    against = {kind: faster_than(rates, -each.distance, each.distance) for kind, each in KINDS.items()}
    apart = {side: faster_than(rates, distance) for side, (distance, _) in SIDES.items()}
    return Conclusion(
        arms=(
            *(_arm(f"{width} filters", f"필터 {width}개", RATE, rate) for width, rate in rates.items()),
            *(_arm(kind, KINDS[kind].korean, FASTER, each) for kind, each in against.items()),
            *(_arm(side, SIDES[side][1], FASTER, each) for side, each in apart.items()),
        ),
        quantities=(RATE, FASTER),
        comparisons=tuple(map(_comparison, KINDS)),
        summary=_summary(*(each.mean for each in (*against.values(), *apart.values()))),
        drawing=lines_over(
            {
                "3x3 convolution, forwards and backwards": {
                    "all widths": _line(rates, list(rates)),
                    "multiples of 16": _line(rates, [width for width in rates if width % 16 == 0]),
                }
            },
            RATE,
            x_label="filters",
        ),
        caption=CAPTION,
    )


def _arm(name: str, korean: str, quantity: Quantity, measured: Measured) -> Arm:
    return Arm(name=name, published=NOTHING, measured={quantity.name: measured}, korean=korean)


def faster_than(rates: dict[int, Measured], *distances: int) -> Measured:
    """How many times as fast the powers of two are as widths so many filters off: geometric mean, by round."""
    ratios = [relative(rates[power], rates[power + distance]) for power in POWERS for distance in distances]
    rounds = zip(*(ratio.values for ratio in ratios), strict=True)
    return Measured(tuple(math.exp(math.fsum(map(math.log, each)) / len(each)) for each in rounds))


def _line(rates: dict[int, Measured], widths: list[int]) -> Line:
    return Line(widths, [rates[width] for width in widths])


def _comparison(kind: str) -> Comparison:
    return Comparison(
        statement=KINDS[kind].statement,
        a=kind,
        b=1.0,
        relation="above",
        margin=MARGIN,
        quantity=FASTER.name,
        published=Text("faster (taught)", "더 빠름(강의 내용)"),
    )


def _summary(by_one: float, by_sixteen: float, fewer: float, more: float) -> Text:
    """How much faster, and which of the two explains it."""
    found = Text(
        f"A convolution with 64 or 128 filters works {by_one:.2f} times as fast as with one filter more or fewer "
        f"({fewer:.2f} with one fewer, {more:.2f} with one more), and {by_sixteen:.2f} times as fast as with 16 more "
        "or fewer.",
        f"필터가 64개나 128개인 합성곱의 속도는 필터가 하나 많거나 적을 때의 {by_one:.2f}배(하나 적을 때의 "
        f"{fewer:.2f}배, 하나 많을 때의 {more:.2f}배), 16개 많거나 적을 때의 {by_sixteen:.2f}배입니다.",
    )
    return paragraph([found, _explanation(by_one, by_sixteen)])


def _explanation(by_one: float, by_sixteen: float) -> Text:
    if by_one - 1 > MARGIN >= by_sixteen - 1:
        return Text(
            "What counts here is a multiple of 16, which fills the processor's vectors, not a power of two.",
            "여기서 중요한 것은 2의 거듭제곱이 아니라, 프로세서의 벡터 레지스터를 꽉 채우는 16의 배수입니다.",
        )
    if by_one - 1 > MARGIN:
        return Text("Powers of two are ahead of both.", "2의 거듭제곱이 두 경우 모두보다 빠릅니다.")
    if by_sixteen - 1 > MARGIN:
        return Text(
            "That they beat their distant neighbours alone is not what the rule of thumb says.",
            "먼 이웃보다만 빠른 것은 이 경험칙과 맞지 않습니다.",
        )
    return Text(
        "On this machine a few filters more or fewer hardly matter.",
        "이 기계에서는 필터가 몇 개 많거나 적어도 거의 차이가 없습니다.",
    )


CLAIM = Claim(
    name="powers_of_two",
    statement=Text(
        "Layers whose number of filters is a power of two run faster",
        "필터 수가 2의 거듭제곱인 층이 더 빠르다",
    ),
    source=Text(
        "CS231n lecture slides, summary of the convolutional layer; taught with speed as the reason",
        "CS231n 강의 자료, 합성곱 층 요약; 속도가 이유라고 가르침",
    ),
    group="taught",
    measure=measure,
    kinds=frozenset({"grey", "colour", "folder"}),
)
