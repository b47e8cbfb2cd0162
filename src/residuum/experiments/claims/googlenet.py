"""GoogLeNet has twelve times fewer parameters than AlexNet, and is twice as fast.

Szegedy et al. 2014, section 1: 12 times fewer parameters than the net of Krizhevsky et al. 2012. That would be 5
million, where the paper's own Table 1 adds up to 6.8 million, or to 7.0: its rows are right if a K is 1,024. That it is
"twice as fast" is how this is retold in notes; the lecture slides of CS231n say "2x more compute".

Parameters and multiply-adds are counted, GoogLeNet without the auxiliary heads that only training uses. Time is that of
a forward pass over 8 images in eval mode and fp32, as the nets are built, in alternating rounds on the threads that the
machine gives; speed is AlexNet's time over the net's, round by round. AlexNet is the one of 2012 for the published
GoogLeNet; `alexnet` and `googlenet_bn`, what libraries ship, are shown beside them.

Twelve is judged as it rounds, within half; twice as fast as it rounds as well: at least 1.5 times.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from residuum.costing.count import cost
from residuum.experiments.claim import Claim, Conclusion
from residuum.experiments.evidence import Evidence
from residuum.experiments.timing import MILLI, forward_pass, in_rounds, noise, relative, times
from residuum.nets import catalog
from residuum.nets.skeleton import without_values
from residuum.records.finding import Arm, Comparison
from residuum.records.quantity import Measured, Quantity, exactly
from residuum.records.text import NOTHING, Text, paragraph
from residuum.report.measured_figures import Bar, bars

BATCH, ROUNDS, REPEATS = 8, 7, 2
ALEXNET, GOOGLENET = "alexnet_2012", "googlenet"
PUBLISHED = {
    GOOGLENET: Text("12 times fewer parameters than AlexNet; 1.5e9 MACs", "매개변수가 AlexNet의 12분의 1; 1.5e9 MACs"),
    "googlenet_bn": NOTHING,
    ALEXNET: Text("60 million parameters", "매개변수 6천만 개"),
    "alexnet": NOTHING,
}
PARAMETERS = Quantity("parameters", "million", korean="매개변수")
FEWER = Quantity("fewer parameters than AlexNet", "times", korean="AlexNet의 매개변수(이 신경망의 몇 배)")
MACS = Quantity("multiply-adds", "million", korean="곱셈-덧셈")
TIME = Quantity("time of an image", "ms", korean="이미지 한 장에 걸린 시간")
SPEED = Quantity("speed of AlexNet's", "times", korean="AlexNet 대비 속도")
TAUGHT_FEWER, FEWER_ROUNDING = 12.0, 0.5
TWICE_AS_ROUNDED = 1.5
# K, of Szegedy et al. 2014, Table 1, column "params": both convolutions, nine inception modules, linear layer.
PRINTED_PARAMETERS = (2.7, 112, 159, 380, 364, 437, 463, 580, 840, 1072, 1388, 1000)
CAPTION = Text(
    "Left: how many times fewer parameters than AlexNet of 2012. Right: how many times its images a second, mean over "
    "the rounds with one standard deviation. Diamonds are what is taught. One is AlexNet itself.",
    "왼쪽: 2012년 AlexNet의 매개변수가 그 신경망의 몇 배인지. 오른쪽: 1초에 처리하는 이미지 수가 AlexNet의 몇 배인지, "
    "여러 차례 잰 값의 평균과 표준편차. 마름모는 강의에서 가르치는 값입니다. 1은 AlexNet 자신입니다.",
)
WHY = Text(
    "Few parameters do not make a net fast: most of AlexNet's lie in linear layers, which use each once for an image, "
    "where a convolution uses it at every place.",
    "매개변수가 적다고 신경망이 빨라지지는 않습니다. AlexNet의 매개변수는 대부분 완전 연결 층에 있어 이미지 한 장에 "
    "한 번씩만 쓰이지만, 합성곱의 매개변수는 모든 자리에서 쓰입니다.",
)


@dataclass(frozen=True)
class Counted:
    """What a net costs: parameters that evaluation uses, and multiply-adds of one image."""

    parameters: int
    macs: int


def counted(name: str) -> Counted:
    """What a net of the catalog costs, without the heads that only training uses."""
    entry = catalog.entry(name)
    with without_values():
        net = entry.build()
    found = cost(net, entry.input_shape, training=False)
    return Counted(found.inference_parameters, found.macs)


def timed(evidence: Evidence) -> dict[str, Measured]:
    """Seconds of a forward pass over a batch, of each net, a value of each round."""
    works = {}
    for name in PUBLISHED:
        torch.manual_seed(0)
        net = catalog.net(name).to(evidence.device)
        works[name] = forward_pass(net, noise((BATCH, *catalog.entry(name).input_shape), evidence.device))
    return in_rounds(works, rounds=ROUNDS, repeats=REPEATS, progress=evidence.progress, device=evidence.device)


def measure(evidence: Evidence) -> Conclusion:
    """Cost and time of the four nets."""
    return conclude({name: counted(name) for name in PUBLISHED}, timed(evidence))


def conclude(costs: dict[str, Counted], seconds: dict[str, Measured]) -> Conclusion:
    """The verdict on costs and on seconds of a batch, by net."""
    arms = tuple(_arm(name, costs, seconds) for name in PUBLISHED)
    measured = {arm.name: arm.measured for arm in arms}
    return Conclusion(
        arms=arms,
        quantities=(PARAMETERS, FEWER, MACS, TIME, SPEED),
        comparisons=(
            Comparison(
                statement=Text(
                    "GoogLeNet has twelve times fewer parameters than AlexNet",
                    "GoogLeNet의 매개변수는 AlexNet의 12분의 1이다",
                ),
                a=GOOGLENET,
                b=TAUGHT_FEWER,
                relation="near",
                margin=FEWER_ROUNDING,
                quantity=FEWER.name,
                published=Text("12 times", "12배"),
            ),
            Comparison(
                statement=Text(
                    "GoogLeNet is at least 1.5 times as fast as AlexNet, which rounds to twice",
                    "GoogLeNet의 속도는 AlexNet의 1.5배 이상이다(반올림하면 두 배)",
                ),
                a=GOOGLENET,
                b=TWICE_AS_ROUNDED,
                relation="above",
                margin=0.0,
                quantity=SPEED.name,
                published=Text("twice (as retold)", "두 배(전해지는 말)"),
            ),
        ),
        summary=_summary(costs, measured[GOOGLENET][SPEED.name].mean),
        drawing=bars(
            {
                "fewer parameters": [
                    Bar(name, each[FEWER.name], TAUGHT_FEWER if name == GOOGLENET else None)
                    for name, each in measured.items()
                ],
                "speed": [
                    Bar(name, each[SPEED.name], 2.0 if name == GOOGLENET else None) for name, each in measured.items()
                ],
            },
            Quantity("against AlexNet of 2012", "times"),
        ),
        caption=CAPTION,
    )


def _arm(name: str, costs: dict[str, Counted], seconds: dict[str, Measured]) -> Arm:
    return Arm(
        name=name,
        published=PUBLISHED[name],
        measured={
            PARAMETERS.name: exactly(costs[name].parameters / 1e6),
            FEWER.name: exactly(costs[ALEXNET].parameters / costs[name].parameters),
            MACS.name: exactly(costs[name].macs / 1e6),
            TIME.name: times(MILLI / BATCH, seconds[name]),
            SPEED.name: exactly(1.0) if name == ALEXNET else relative(seconds[ALEXNET], seconds[name]),
        },
    )


def _summary(costs: dict[str, Counted], speed: float) -> Text:
    """Parameters, work and time."""
    fewer = costs[ALEXNET].parameters / costs[GOOGLENET].parameters
    more = costs[GOOGLENET].macs / costs[ALEXNET].macs
    needed = costs[ALEXNET].parameters / TAUGHT_FEWER / 1e6
    printed, binary = (each * sum(PRINTED_PARAMETERS) / 1e6 for each in (1000, 1024))
    return paragraph(
        [
            Text(
                f"GoogLeNet has {fewer:.1f} times fewer parameters than AlexNet; twelve times fewer would be "
                f"{needed:.1f} million, where the paper's own Table 1 adds up to {printed:.1f} million ({binary:.1f} "
                f"with a K of 1,024).",
                f"AlexNet의 매개변수는 GoogLeNet의 {fewer:.1f}배입니다. 12배이려면 GoogLeNet의 매개변수가 "
                f"{needed:.1f} M이어야 하지만, 논문의 표 1을 더하면 {printed:.1f} M입니다(1 K를 1,024로 보면 "
                f"{binary:.1f} M).",
            ),
            Text(
                f"It does {more:.1f} times as many multiply-adds for an image: CS231n's slides, too, say twice the "
                f"compute. Here it runs at {speed:.2f} times the speed of AlexNet.",
                f"이미지 한 장에 드는 GoogLeNet의 곱셈-덧셈은 AlexNet의 {more:.1f}배이며, CS231n 슬라이드에도 계산량이 "
                f"두 배라고 되어 있습니다. 여기서 잰 속도는 AlexNet의 {speed:.2f}배입니다.",
            ),
            WHY if speed < TWICE_AS_ROUNDED else NOTHING,
        ]
    )


CLAIM = Claim(
    name="googlenet",
    statement=Text(
        "GoogLeNet has twelve times fewer parameters than AlexNet and is twice as fast",
        "GoogLeNet의 매개변수는 AlexNet의 12분의 1이고, 속도는 두 배이다",
    ),
    source=Text(
        "Szegedy et al. 2014, section 1 (parameters); lecture notes (speed)",
        "Szegedy 등 2014, 1절(매개변수); 강의 노트(속도)",
    ),
    group="taught",
    measure=measure,
    kinds=frozenset({"grey", "colour", "folder"}),
)
