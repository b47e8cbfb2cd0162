"""Two 3x3 convolutions see what one 5x5 sees, with fewer parameters and one ReLU more.

Simonyan & Zisserman 2014, section 2.3: two layers of 3x3 have the receptive field of one 5x5, three that of one 7x7;
three 3x3 have 27 C^2 weights, one 7x7 has 49 C^2, 81 % more; and there are two more ReLUs in between. That two against
one 5x5 are 18 C^2 against 25 C^2 follows, but is not printed. (Section 4.1: their net B with a 5x5 for each pair of 3x3
had a top-1 error 7 % higher.)

Counted on the nets themselves: all layers from C to C channels at stride 1, the size kept, without biases. Receptive
fields must be the same, weights fewer, ReLUs more. What is counted decides.

Whether fewer multiply-adds are also less time is measured beside it, and not judged: a forward pass in alternating
rounds.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from residuum.costing.count import cost
from residuum.experiments.claim import Claim, Conclusion
from residuum.experiments.evidence import Evidence
from residuum.experiments.timing import MILLI, forward_pass, in_rounds, noise, relative, times
from residuum.records.finding import Arm, Comparison
from residuum.records.quantity import Measured, Quantity, exactly
from residuum.records.text import NOTHING, Text, paragraph
from residuum.report.measured_figures import Bar, bars

CHANNELS, SIZE = 64, 56
BATCH, ROUNDS, REPEATS = 8, 7, 3


@dataclass(frozen=True)
class Stack:
    """`layers` convolutions of `kernel` x `kernel`, each followed by a ReLU."""

    kernel: int
    layers: int

    def build(self) -> nn.Sequential:
        """As a net; the same weights each time."""
        torch.manual_seed(0)
        net = nn.Sequential()
        for _ in range(self.layers):
            padding = self.kernel // 2
            net.extend([nn.Conv2d(CHANNELS, CHANNELS, self.kernel, padding=padding, bias=False), nn.ReLU(inplace=True)])
        return net


STACKS = {
    "one 5x5": Stack(5, 1),
    "two 3x3": Stack(3, 2),
    "one 7x7": Stack(7, 1),
    "three 3x3": Stack(3, 3),
}
PAIRS = (("two 3x3", "one 5x5"), ("three 3x3", "one 7x7"))
KOREAN = {"one 5x5": "5x5 한 층", "two 3x3": "3x3 두 층", "one 7x7": "7x7 한 층", "three 3x3": "3x3 세 층"}
WEIGHTS_PRINTED = {"one 5x5": "25 C^2", "two 3x3": "18 C^2", "one 7x7": "49 C^2", "three 3x3": "27 C^2"}
PRINTED, FOLLOWS = NOTHING, Text(" (follows from section 2.3)", " (2.3절에서 따라 나옴)")
REMARKS = {"one 5x5": FOLLOWS, "two 3x3": FOLLOWS, "one 7x7": PRINTED, "three 3x3": PRINTED}
FIELD = Quantity("receptive field", "pixels", korean="수용 영역")
WEIGHTS = Quantity("weights / C^2", "", korean="가중치 수 / C^2")
RELUS = Quantity("ReLUs", "", korean="ReLU 수")
MACS = Quantity("multiply-adds", "million", korean="곱셈-덧셈")
TIME = Quantity("time of an image", "ms", korean="이미지 한 장에 걸린 시간")
AGAINST = Quantity("time of the single layer's", "times", korean="한 층 대비 시간")
CAPTION = Text(
    f"Weights for each pair of channels, counted, and time of a forward pass over an image of {SIZE}x{SIZE} with "
    f"{CHANNELS} channels, both as a multiple of the single layer's: one 5x5, and one 7x7. Whiskers are one standard "
    "deviation over the rounds.",
    f"채널 쌍마다 센 가중치 수와, 채널이 {CHANNELS}개인 {SIZE}x{SIZE} 이미지 한 장의 순전파에 걸린 시간입니다. "
    "둘 다 5x5 한 층과 7x7 한 층의 값에 대한 배수입니다. 오차 막대는 측정 회차에 대한 표준편차입니다.",
)


def counted(stack: Stack) -> dict[str, Measured]:
    """Receptive field, weights, ReLUs and multiply-adds of a stack."""
    net = stack.build()
    built = cost(net, (CHANNELS, SIZE, SIZE), training=False)
    assert built.receptive_field is not None  # it has convolutions
    return {
        FIELD.name: exactly(built.receptive_field[0]),
        WEIGHTS.name: exactly(built.parameters / CHANNELS**2),
        RELUS.name: exactly(sum(isinstance(layer, nn.ReLU) for layer in net)),
        MACS.name: exactly(built.macs / 1e6),
    }


def timed(evidence: Evidence) -> dict[str, Measured]:
    """Milliseconds of a forward pass, for each image, a value of each round."""
    images = noise((BATCH, CHANNELS, SIZE, SIZE), evidence.device)
    works = {name: forward_pass(stack.build().to(evidence.device), images) for name, stack in STACKS.items()}
    found = in_rounds(works, rounds=ROUNDS, repeats=REPEATS, progress=evidence.progress, device=evidence.device)
    return {name: times(MILLI / BATCH, seconds) for name, seconds in found.items()}


def measure(evidence: Evidence) -> Conclusion:
    """What the stacks see, what they cost, and how long they take."""
    return conclude({name: counted(stack) for name, stack in STACKS.items()}, timed(evidence))


def conclude(found: dict[str, dict[str, Measured]], taken: dict[str, Measured]) -> Conclusion:
    """The verdict on what was counted and on milliseconds of an image, by stack."""
    against = _against_the_single(taken)
    return Conclusion(
        arms=tuple(
            Arm(
                name=name,
                korean=KOREAN[name],
                published=Text(WEIGHTS_PRINTED[name] + REMARKS[name].en, WEIGHTS_PRINTED[name] + REMARKS[name].ko),
                measured=found[name] | {TIME.name: taken[name], AGAINST.name: against[name]},
            )
            for name in STACKS
        ),
        quantities=(FIELD, WEIGHTS, RELUS, MACS, TIME, AGAINST),
        comparisons=tuple(each for small, large in PAIRS for each in _comparisons(small, large)),
        summary=_summary(found, against),
        drawing=bars(
            {
                "weights": [
                    Bar(name, exactly(found[name][WEIGHTS.name].mean / found[large][WEIGHTS.name].mean))
                    for small, large in PAIRS
                    for name in (large, small)
                ],
                "time of a forward pass": [Bar(name, each) for name, each in against.items()],
            },
            Quantity("of the single layer's", "times"),
        ),
        caption=CAPTION,
        basis="counted",
    )


def _comparisons(small: str, large: str) -> tuple[Comparison, ...]:
    return (
        Comparison(
            statement=Text(f"{small} see what {large} sees", f"{KOREAN[small]}은 {KOREAN[large]}과 같은 영역을 본다"),
            a=small,
            b=large,
            relation="near",
            margin=0.0,
            quantity=FIELD.name,
            published=Text("the same", "같음"),
        ),
        Comparison(
            statement=Text(
                f"{large} has more weights than {small}", f"{KOREAN[large]}은 {KOREAN[small]}보다 가중치가 많다"
            ),
            a=large,
            b=small,
            relation="above",
            margin=0.0,
            quantity=WEIGHTS.name,
            published=Text(
                f"{WEIGHTS_PRINTED[large]} against {WEIGHTS_PRINTED[small]}{REMARKS[small].en}",
                f"{WEIGHTS_PRINTED[large]} 대 {WEIGHTS_PRINTED[small]}{REMARKS[small].ko}",
            ),
        ),
        Comparison(
            statement=Text(
                f"{small} have more ReLUs than {large}", f"{KOREAN[small]}은 {KOREAN[large]}보다 ReLU가 많다"
            ),
            a=small,
            b=large,
            relation="above",
            margin=0.0,
            quantity=RELUS.name,
            published=Text("more", "더 많음"),
        ),
    )


def _against_the_single(taken: dict[str, Measured]) -> dict[str, Measured]:
    """Times as a multiple of the single layer's of the pair, round by round."""
    found: dict[str, Measured] = {}
    for small, large in PAIRS:
        found |= {large: exactly(1.0), small: relative(taken[small], taken[large])}
    return found


def _summary(found: dict[str, dict[str, Measured]], against: dict[str, Measured]) -> Text:
    """Weights and times of both pairs."""
    sentences = []
    for small, large in PAIRS:
        weights = f"{100 * found[small][WEIGHTS.name].mean / found[large][WEIGHTS.name].mean:.0f} %"
        time = f"{100 * against[small].mean:.0f} %"
        field = round(found[small][FIELD.name].mean)
        sentences.append(
            Text(
                f"{small.capitalize()} see {field}x{field} pixels, as {large} does, with {weights} of its weights and "
                f"multiply-adds; they take {time} of its time here.",
                f"{KOREAN[small]}은 {KOREAN[large]}처럼 {field}x{field} 픽셀 영역을 봅니다. 가중치와 곱셈-덧셈은 "
                f"{KOREAN[large]}의 {weights}, 여기서 잰 시간은 {time}입니다.",
            )
        )
    return paragraph(sentences)


CLAIM = Claim(
    name="two_3x3",
    statement=Text(
        "Two 3x3 convolutions see what one 5x5 sees, with fewer parameters and one ReLU more",
        "3x3 합성곱 두 층은 5x5 한 층과 같은 영역을 보면서 매개변수는 더 적고 ReLU는 하나 더 많다",
    ),
    source=Text("Simonyan & Zisserman 2014, section 2.3", "Simonyan & Zisserman 2014, 2.3절"),
    group="taught",
    measure=measure,
    kinds=frozenset({"grey", "colour", "folder"}),
)
