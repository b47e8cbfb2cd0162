"""ResNet-152 costs less than VGG-16 and VGG-19, and is faster.

He et al. 2015, sections 3.3 and 4.1 with Table 1: 11.3 billion multiply-adds (the paper says FLOPs) of the 152 layers
against 15.3 and 19.6 billion of VGG-16 and VGG-19. (The 15.3 are the convolutions of VGG-16 alone, 15,346,630,656; the
19.6 of VGG-19 are with its linear layers. Here they are counted with them in both.) The paper speaks of complexity, not
of time; notes conclude that it runs faster. Published timings of 2016 say the opposite (github.com/jcjohnson/
cnn-benchmarks, Torch 7, forward pass over 16 images, in ms):

                                           ResNet-152   VGG-16   VGG-19
    GeForce GTX 1080, cuDNN                     109.9     66.6     80.4
    two Xeon E5-2630 v3                          6572     3102     3610

Multiply-adds are counted, of ResNet-152 with the stride on the first 1x1 as released (`resnet152_v1`). Time is that of
a forward pass over 2 images in eval mode and fp32, as the nets are built, in nine alternating rounds after three that
do not count; each value is a round's. So it says something of the processor that it is measured on, and of so many
images at a time. `resnet152`, which is what the name means to torch users, is shown beside it, and ResNet-152 with its
batch normalisation folded into the convolutions, which computes the same with less work.

A net counts as slower where it takes over a tenth more time: less would be hard to notice.
"""

from __future__ import annotations

import torch

from residuum.experiments.claim import Claim, Conclusion
from residuum.experiments.evidence import Evidence
from residuum.experiments.timing import MILLI, Work, forward_pass, in_rounds, noise, relative, times
from residuum.inference import prepared
from residuum.nets import catalog
from residuum.records.finding import Arm, Comparison
from residuum.records.quantity import Measured, Quantity, exactly
from residuum.records.text import NOTHING, Text, paragraph
from residuum.report.measured_figures import Bar, bars

BATCH, WARM_UP, ROUNDS, REPEATS = 2, 3, 9, 2
RESNET, FOLDED = "resnet152_v1", "resnet152_v1, folded"
PUBLISHED = {"vgg16": 15.3, "vgg19": 19.6, RESNET: 11.3}
NETS = ("vgg16", "vgg19", RESNET, "resnet152")
MACS = Quantity("multiply-adds", "billion", korean="곱셈-덧셈")
TIME = Quantity("time of an image", "ms", korean="이미지 한 장에 걸린 시간")
AGAINST = Quantity("time of ResNet-152's", "times", korean="ResNet-152 대비 시간")
MARGIN = 0.1  # of the time of ResNet-152
GTX_1080 = {"vgg16": 66.6, "vgg19": 80.4, RESNET: 109.9}  # ms for 16 images, jcjohnson/cnn-benchmarks
XEONS = {"vgg16": 3102, "vgg19": 3610, RESNET: 6572}
WHAT_IS_PRINTED = {
    "vgg16": Text("its convolutions alone", "합성곱만"),
    "vgg19": Text("with its linear layers", "완전 연결 층 포함"),
}
CAPTION = Text(
    "Multiply-adds of an image, with diamonds for what the paper prints, and the time of a forward pass as a multiple "
    "of that of ResNet-152, mean over the rounds of timing with one standard deviation.",
    "이미지 한 장의 곱셈-덧셈과 순전파 시간이 각각 ResNet-152의 몇 배인지 나타냈습니다. 마름모는 논문에 실린 값이고, "
    "시간은 여러 차례 잰 값의 평균과 표준편차입니다.",
)
OTHERS = Text(
    "Published timings of 2016 (jcjohnson/cnn-benchmarks, 16 images) have ResNet-152 slower than both: "
    f"{GTX_1080[RESNET]} ms against {GTX_1080['vgg16']} and {GTX_1080['vgg19']} on a GTX 1080, {XEONS[RESNET]} against "
    f"{XEONS['vgg16']} and {XEONS['vgg19']} on two Xeons.",
    "2016년에 발표된 측정(jcjohnson/cnn-benchmarks, 이미지 16장)에서는 ResNet-152가 둘보다 느립니다. GTX 1080에서 "
    f"{GTX_1080[RESNET]} ms 대 {GTX_1080['vgg16']} ms와 {GTX_1080['vgg19']} ms, Xeon 두 개에서 {XEONS[RESNET]} ms 대 "
    f"{XEONS['vgg16']} ms와 {XEONS['vgg19']} ms입니다.",
)
WHY = Text(
    "Time does not follow the multiply-adds: 152 layers also write and read more maps, and their small convolutions "
    "keep a processor less busy.",
    "시간은 곱셈-덧셈 수를 그대로 따르지 않습니다. 152층은 쓰고 읽는 맵도 더 많고, 작은 합성곱들은 프로세서의 성능을 "
    "다 쓰지 못합니다.",
)


def timed(evidence: Evidence) -> dict[str, Measured]:
    """Seconds of a forward pass over a batch, of each net, a value of each round."""
    images = noise((BATCH, 3, 224, 224), evidence.device)
    works: dict[str, Work] = {}
    for name in NETS:
        torch.manual_seed(0)
        net = catalog.net(name).eval().to(evidence.device)
        works[name] = forward_pass(net, images)
        if name == RESNET:
            works[FOLDED] = _folded(net, images)
    return in_rounds(
        works,
        rounds=ROUNDS,
        repeats=REPEATS,
        progress=evidence.progress,
        device=evidence.device,
        warm_up=WARM_UP,
    )


def _folded(net: torch.nn.Module, images: torch.Tensor) -> Work:
    """The net as `residuum predict` runs it: batch normalisation inside of the convolutions."""
    ready = prepared(net, images[:1], "fp32")
    return lambda: ready(images)


def measure(evidence: Evidence) -> Conclusion:
    """Cost and time of the nets."""
    return conclude(timed(evidence))


def conclude(seconds: dict[str, Measured]) -> Conclusion:
    """The verdict on the catalog's costs and on seconds of a batch, by net."""
    arms = tuple(_arm(name, seconds) for name in (*NETS, FOLDED))
    return Conclusion(
        arms=arms,
        quantities=(MACS, TIME, AGAINST),
        comparisons=(
            *(_costs_more(vgg) for vgg in ("vgg16", "vgg19")),
            *(_takes_longer(vgg) for vgg in ("vgg16", "vgg19")),
        ),
        summary=_summary({arm.name: arm.measured[AGAINST.name] for arm in arms}),
        drawing=bars(
            {
                "multiply-adds": [
                    Bar(name, exactly(_macs(name) / _macs(RESNET)), PUBLISHED[name] / PUBLISHED[RESNET])
                    if name in PUBLISHED
                    else Bar(name, exactly(_macs(name) / _macs(RESNET)))
                    for name in NETS
                ],
                "time": [Bar(arm.name, arm.measured[AGAINST.name]) for arm in arms],
            },
            Quantity("against ResNet-152", "times"),
        ),
        caption=CAPTION,
    )


def _macs(name: str) -> int:
    return catalog.entry(RESNET if name == FOLDED else name).macs


def _arm(name: str, seconds: dict[str, Measured]) -> Arm:
    against = exactly(1.0) if name == RESNET else relative(seconds[name], seconds[RESNET])
    return Arm(
        name=name,
        published=_printed(name) if name in PUBLISHED else NOTHING,
        measured={
            MACS.name: exactly(_macs(name) / 1e9),
            TIME.name: times(MILLI / BATCH, seconds[name]),
            AGAINST.name: against,
        },
        korean="resnet152_v1, 배치 정규화를 합침" if name == FOLDED else "",
    )


def _printed(name: str) -> Text:
    own, korean = f"{PUBLISHED[name]}e9 multiply-adds", f"곱셈-덧셈 {PUBLISHED[name]}e9"
    if name in WHAT_IS_PRINTED:
        also = WHAT_IS_PRINTED[name]
        return Text(f"{own} ({also.en})", f"{korean}({also.ko})")
    return Text(own, korean)


def _costs_more(vgg: str) -> Comparison:
    return Comparison(
        statement=Text(
            f"{vgg} takes more multiply-adds than ResNet-152", f"{vgg} 신경망은 ResNet-152보다 곱셈-덧셈이 많다"
        ),
        a=vgg,
        b=RESNET,
        relation="above",
        margin=0.0,
        quantity=MACS.name,
        published=Text(
            f"{PUBLISHED[vgg]} against {PUBLISHED[RESNET]} billion", f"{PUBLISHED[vgg]}e9 대 {PUBLISHED[RESNET]}e9"
        ),
    )


def _takes_longer(vgg: str) -> Comparison:
    return Comparison(
        statement=Text(
            f"{vgg} takes longer than ResNet-152 on this processor, {BATCH} images at a time",
            f"이 프로세서에 이미지를 한 번에 {BATCH}장씩 넣으면 {vgg} 신경망은 ResNet-152보다 오래 걸린다",
        ),
        a=vgg,
        b=1.0,
        relation="above",
        margin=MARGIN,
        quantity=AGAINST.name,
        published=Text(
            f"longer (taught); {GTX_1080[vgg]} against {GTX_1080[RESNET]} ms (GTX 1080, 16 images, cnn-benchmarks "
            "2016)",
            f"더 오래 걸림(강의 내용); {GTX_1080[vgg]} ms 대 {GTX_1080[RESNET]} ms(GTX 1080, 이미지 16장, "
            "cnn-benchmarks 2016)",
        ),
    )


def _summary(against: dict[str, Measured]) -> Text:
    """Work, time here, and time as others have measured it."""
    work, longer = _macs("vgg16") / _macs(RESNET), against["vgg16"].mean
    said = Text(
        f"VGG-16 does {work:.2f} times the multiply-adds of ResNet-152. On this processor, {BATCH} images at a time, "
        f"it takes {longer:.2f} times as long, and VGG-19 {against['vgg19'].mean:.2f} times; ResNet-152 with its "
        f"normalisation folded into the convolutions takes {against[FOLDED].mean:.2f} times its own time.",
        f"VGG-16의 곱셈-덧셈은 ResNet-152의 {work:.2f}배입니다. 이 프로세서에서 이미지를 한 번에 {BATCH}장씩 넣을 때 "
        f"걸리는 시간은 VGG-16이 ResNet-152의 {longer:.2f}배, VGG-19가 {against['vgg19'].mean:.2f}배이고, 배치 "
        f"정규화를 합성곱에 합친 ResNet-152는 합치지 않았을 때의 {against[FOLDED].mean:.2f}배입니다.",
    )
    return paragraph([said, WHY if longer < work - MARGIN else NOTHING, OTHERS])


CLAIM = Claim(
    name="resnet152_vgg",
    statement=Text(
        f"ResNet-152 costs less than VGG-16 and VGG-19, and runs faster (here: one processor, {BATCH} images at a "
        "time)",
        f"ResNet-152는 VGG-16과 VGG-19보다 연산량이 적고 더 빠르다(여기서는 프로세서 하나에 이미지를 {BATCH}장씩 넣을 "
        "때)",
    ),
    source=Text(
        "He et al. 2015, sections 3.3 and 4.1, Table 1; lecture notes (speed)",
        "He 등 2015, 3.3절과 4.1절, 표 1; 강의 노트(속도)",
    ),
    group="taught",
    measure=measure,
    rule_changed=Text(
        "After the second record of quick, in which two early rounds were disturbed, nine rounds of timing after three "
        "that do not count took the place of five after one, each the shorter of two calls.",
        "quick의 두 번째 기록에서 초기 두 회차가 방해를 받았으므로, 그 뒤로는 버리는 회차를 하나에서 셋으로, 재는 "
        "회차를 다섯에서 아홉으로 늘리고 회차마다 두 번 잰 것 중 짧은 값을 씁니다.",
    ),
    kinds=frozenset({"grey", "colour", "folder"}),
)
