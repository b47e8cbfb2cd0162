"""Sharing weights over all places makes a convolution affordable.

LeCun et al. 1998, section II.B: the first layer of LeNet-5, C1, has 156 trainable parameters and 122,304 connections:
it would have as many parameters if every connection had its own. The notes of CS231n (convolutional networks,
parameter sharing) count the same of AlexNet's first layer: 55 x 55 x 96 places with 363 weights and a bias each make
105,705,600 parameters; shared they are 34,944.

Counted by convolution arithmetic: parameters of a convolution, of the locally connected layer of the same shape (each
output has its own weights), and of the fully connected one (each output sees the whole input). The printed numbers
must come out exactly, and in every layer shown here the shared ones must be the fewest.
"""

from __future__ import annotations

from dataclasses import dataclass

from residuum.costing.arithmetic import ImageShape, Step, Window, chain, conv
from residuum.experiments.claim import Claim, Conclusion
from residuum.experiments.evidence import Evidence
from residuum.records.finding import Arm, Comparison
from residuum.records.quantity import Quantity, exactly
from residuum.records.text import NOTHING, Text
from residuum.report.measured_figures import Bar, bars

SHARED = Quantity("shared", "", korean="공유할 때의 매개변수")
UNSHARED = Quantity("unshared", "", korean="공유하지 않을 때의 매개변수")
FULL = Quantity("fully connected", "", korean="완전 연결일 때의 매개변수")
SAVED = Quantity("unshared against shared", "times", korean="공유하지 않을 때 대 공유할 때")


@dataclass(frozen=True)
class Layer:
    """A first layer: what it sees as height, width, channels, and its window.

    Attributes:
        net: of the catalog; `name` is the module there that is this layer.
        published: what the source prints, in words.
        printed: the same by quantity, where it prints it.
    """

    net: str
    name: str
    image: ImageShape
    window: Window
    published: Text = NOTHING
    printed: tuple[tuple[Quantity, int], ...] = ()

    @property
    def step(self) -> Step:
        """The layer over its image."""
        return chain(self.image, [self.window])[0]

    @property
    def title(self) -> str:
        """`lenet5, first layer`."""
        return f"{self.net}, first layer"

    @property
    def korean(self) -> str:
        """The same in Korean."""
        return f"{self.net}의 첫 층"


LAYERS = (
    Layer(
        "lenet5", "conv1", (32, 32, 1), conv(6, 5),
        Text("156 parameters, 122,304 connections", "매개변수 156개, 연결 122,304개"),
        ((SHARED, 156), (UNSHARED, 122_304)),
    ),
    Layer(
        "alexnet_2012", "features.0", (227, 227, 3), conv(96, 11, stride=4),
        Text("34,944 against 105,705,600", "34,944 대 105,705,600"),
        ((SHARED, 34_944), (UNSHARED, 105_705_600)),
    ),
    Layer("vgg16", "features.0", (224, 224, 3), conv(64, 3, padding=1)),
)  # fmt: skip
CAPTION = Text(
    "Parameters of the first layers of three nets: as convolutions, whose weights are shared by all places, as locally "
    "connected and as fully connected layers. The axis is logarithmic: each step is ten times as many.",
    "세 신경망의 첫 층을, 모든 위치가 가중치를 공유하는 합성곱 층, 위치마다 가중치가 따로 있는 국소 연결 층, "
    "완전 연결 층으로 만들 때의 매개변수 수입니다. 축은 로그 눈금이며 한 칸이 열 배입니다.",
)


def measure(evidence: Evidence) -> Conclusion:
    """The parameters of the layers in each form."""
    return Conclusion(
        arms=tuple(_arm(layer) for layer in LAYERS),
        quantities=(SHARED, UNSHARED, FULL, SAVED),
        comparisons=(
            *(_as_printed(layer, quantity, number) for layer in LAYERS for quantity, number in layer.printed),
            *(_fewer(layer) for layer in LAYERS),
        ),
        summary=_summary(LAYERS[1].step),
        drawing=bars({layer.title: _bars(layer) for layer in LAYERS}, Quantity("parameters", ""), log=True),
        caption=CAPTION,
        basis="counted",
    )


def _forms(step: Step) -> dict[str, int]:
    return {SHARED.name: step.shared.total, UNSHARED.name: step.unshared.total, FULL.name: step.dense.total}


def _arm(layer: Layer) -> Arm:
    measured = {name: exactly(number) for name, number in _forms(layer.step).items()}
    saved = exactly(layer.step.unshared.total / layer.step.shared.total)
    measured |= {SAVED.name: saved}
    return Arm(name=layer.title, published=layer.published, measured=measured, korean=layer.korean)


def _bars(layer: Layer) -> list[Bar]:
    printed = {quantity.name: float(number) for quantity, number in layer.printed}
    return [Bar(name, exactly(number), printed.get(name)) for name, number in _forms(layer.step).items()]


def _as_printed(layer: Layer, quantity: Quantity, number: int) -> Comparison:
    return Comparison(
        statement=Text(
            f"{layer.title}: {number:,} parameters {quantity.name}",
            f"{layer.korean}: {quantity.label.ko}는 {number:,}개이다",
        ),
        a=layer.title,
        b=number,
        relation="near",
        margin=0.0,
        quantity=quantity.name,
        published=Text.same(f"{number:,}"),
    )


def _fewer(layer: Layer) -> Comparison:
    return Comparison(
        statement=Text(f"{layer.title}: sharing saves parameters", f"{layer.korean}: 공유하면 매개변수가 적어진다"),
        a=layer.title,
        b=1.0,
        relation="above",
        margin=0.0,
        quantity=SAVED.name,
        published=Text("fewer", "더 적음"),
    )


def _summary(alexnet: Step) -> Text:
    """AlexNet's first layer in one sentence."""
    places = f"{alexnet.output[0]}x{alexnet.output[1]}"
    return Text(
        f"AlexNet's first convolution has {alexnet.shared.total:,} parameters. With weights of its own at each of its "
        f"{places} places it would have {alexnet.unshared.total:,}, and {alexnet.dense.total / 1e9:.1f} billion if it "
        "were fully connected.",
        f"AlexNet의 첫 합성곱 층에는 매개변수가 {alexnet.shared.total:,}개 있습니다. {places}개 위치마다 "
        f"가중치가 따로 있다면 {alexnet.unshared.total:,}개, 완전 연결 층이라면 "
        f"{alexnet.dense.total / 1e8:,.0f}억 개가 됩니다.",
    )


CLAIM = Claim(
    name="weight_sharing",
    statement=Text(
        "Sharing weights over all places makes a convolution affordable",
        "모든 위치가 가중치를 공유하기 때문에 합성곱 층의 매개변수 수는 감당할 만하다",
    ),
    source=Text(
        "LeCun et al. 1998, section II.B; CS231n lecture notes, parameter sharing",
        "LeCun 등 1998, II.B절; CS231n 강의 노트, 매개변수 공유",
    ),
    group="taught",
    measure=measure,
    kinds=frozenset({"grey", "colour", "folder"}),
)
