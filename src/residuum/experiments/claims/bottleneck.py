"""Bottlenecks: 50 layers at about the cost of 34, and more accurate.

He et al. 2015, section 4.1, "Deeper Bottleneck Architectures", Figure 5, Tables 1 and 3: a block of two 3x3 layers is
replaced by one of 1x1, 3x3 and 1x1, of which the first narrows and the last widens by four. The 34-layer net becomes
one of 50 layers at 3.8 in place of 3.6e9 multiply-adds; the 10-crop top-1 error on ImageNet falls from 25.03 (option A)
or 24.52 (option B) to 22.85.

The cost of these two nets is counted whatever the data: `resnet34` (option B, as the 50 layers have) and `resnet50_v1`
(stride on the first 1x1, as released). The accuracy is measured on them for a folder of photographs. For small images
it is measured on the same exchange in ResNet-20 of option B: its nine blocks as bottlenecks of option B with the stride
on the first 1x1, 29 layers, so that nothing but the blocks differs; what these two cost is shown beside, at their
published input (3x32x32), and not judged, since the paper has no such pair.

How the verdict falls:

- 50 layers cost the same as 34 within a tenth: "about the cost" is the claim, and a tenth of a net's time is little
  beside what the machine makes of it. Counted, so there is no spread. Printed, the costs differ by 5.6 %.
- The net of basic blocks has the higher error. The margin is 0, since this is an order: any difference that the seeds
  are sure of counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from residuum.experiments.claim import Claim, Conclusion
from residuum.experiments.evidence import Evidence
from residuum.experiments.printed import cifar_error
from residuum.experiments.setting import Setting
from residuum.nets import catalog
from residuum.plans.plan import PlannedRun
from residuum.records.finding import Arm, Comparison
from residuum.records.quantity import Measured, Quantity, exactly
from residuum.records.text import Text
from residuum.report.figures import Drawing
from residuum.report.measured_figures import Bar, bars

SAME_COST = 0.1  # of the cost of the net of basic blocks
MACS = Quantity("MACs", "G", korean="곱셈-덧셈")
COUNTED = ("resnet34", "resnet50_v1")  # basic blocks, bottlenecks
SMALL = ("resnet20+shortcut=project", "resnet20+block=bottleneck+shortcut=project+stride_on=first")
PUBLISHED = {
    "resnet34": Text(
        "3.6e9, 24.52 (ImageNet, top-1, 10-crop; option A 25.03)",
        "3.6e9, 24.52 (ImageNet, top-1, 10-crop; 옵션 A는 25.03)",
    ),
    "resnet50_v1": Text.same("3.8e9, 22.85 (ImageNet, top-1, 10-crop)"),
    SMALL[0]: Text(f"option A: {cifar_error('resnet20').en}", f"옵션 A는 {cifar_error('resnet20').ko}"),
}
NAMES = {  # of arms, where other than the net's
    SMALL[0]: Text("resnet20 of option B", "resnet20(옵션 B)"),
    SMALL[1]: Text("resnet20 of bottlenecks", "병목 블록을 쓴 resnet20"),
}
NOT_PUBLISHED = Text("not of the paper: 29 layers", "논문에 없음: 29층")
IN_FIGURE = (
    ("resnet34_a", "34 layers, option A", 0.2503),
    ("resnet34", "34 layers, option B", 0.2452),
    ("resnet50_v1", "50 layers, bottlenecks", 0.2285),
)
CAPTION = Text(
    "Left: as published, ImageNet, top-1 error of 10 crops, one net each. Right: ours, mean over the seeds with one "
    "standard deviation. Beside each name its multiply-adds for one image, counted. The axes differ; what can be "
    "compared is which net is better. Compare He et al. 2015, Tables 1 and 3.",
    "왼쪽: 발표된 값, ImageNet, 10-crop top-1 오차, 신경망 하나씩. 오른쪽: 여기서 잰 값, 시드들의 평균과 표준편차. "
    "이름 옆의 수는 이미지 한 장의 곱셈-덧셈을 센 값입니다. 두 축이 다르므로 어느 신경망이 나은지만 비교할 수 "
    "있습니다. He 등 2015, 표 1, 3과 비교해 보십시오.",
)


def nets(setting: Setting) -> tuple[str, str]:
    """The nets that are trained: of basic blocks, and of bottlenecks."""
    return COUNTED if setting.kind == "folder" else SMALL


def plan(setting: Setting) -> Sequence[PlannedRun]:
    """Both."""
    return setting.planned(*nets(setting))


def measure(evidence: Evidence) -> Conclusion:
    """Cost counted, error measured."""
    trained, error = nets(evidence.setting), evidence.judged_error
    shown = dict.fromkeys((*COUNTED, *trained))
    basic, bottleneck = trained
    errors = {net: evidence.error(net, error) for net in trained}
    return Conclusion(
        arms=tuple(_arm(evidence, net) for net in shown),
        quantities=(MACS, *evidence.errors),
        comparisons=(
            Comparison(
                statement=Text(
                    "50 layers of bottlenecks cost about as much as 34 of basic blocks",
                    "병목 블록 50층의 비용은 기본 블록 34층과 비슷하다",
                ),
                a=COUNTED[1],
                b=COUNTED[0],
                relation="near",
                margin=SAME_COST * macs(COUNTED[0]).mean,
                quantity=MACS.name,
                published=Text("3.8e9 against 3.6e9", "3.8e9 대 3.6e9"),
            ),
            Comparison(
                statement=Text(
                    f"{_name(bottleneck).en} does better on new images than {_name(basic).en}",
                    f"새 이미지에서 병목 블록을 쓴 신경망이 {_name(basic).ko} 신경망보다 낫다",
                ),
                a=_name(basic).en,
                b=_name(bottleneck).en,
                relation="above",
                margin=0.0,
                quantity=error.name,
                published=Text(
                    "24.52 (A 25.03) against 22.85 (ImageNet, 34 and 50 layers)",
                    "24.52 (옵션 A는 25.03) 대 22.85 (ImageNet, 34층과 50층)",
                ),
            ),
        ),
        summary=_summary(errors, error),
        drawing=_drawing(errors, error),
        caption=CAPTION,
    )


def macs(net: str) -> Measured:
    """Multiply-adds for one image at the published input, in 1e9."""
    return exactly(catalog.entry(net).macs / 1e9)


def _arm(evidence: Evidence, net: str) -> Arm:
    published, own = PUBLISHED.get(net, NOT_PUBLISHED), {MACS.name: macs(net)}
    if net in nets(evidence.setting):
        return evidence.arm(net, published, name=_name(net).en, korean=_name(net).ko, own=own)
    return Arm(name=net, published=published, measured=own)


def _name(net: str) -> Text:
    return NAMES.get(net, Text.same(net))


def _summary(errors: Mapping[str, Measured], error: Quantity) -> Text:
    """Cost of the published pair, cost and error of the trained one."""
    basic, bottleneck = errors
    difference = 100 * (errors[bottleneck].mean - errors[basic].mean)
    way = Text("the same", "같습니다")
    if difference:
        way = Text(
            f"{abs(difference):.2f} points {'higher' if difference > 0 else 'lower'}",
            f"{abs(difference):.2f} %p {'높습니다' if difference > 0 else '낮습니다'}",
        )
    published, own = _more(*COUNTED), _more(basic, bottleneck)
    return Text(
        f"Counted, 50 layers of bottlenecks take {published.en} multiply-adds than 34 layers of basic blocks. "
        f"Measured, {_name(basic).en} ends at a {error.name} of {errors[basic].percent()}; with bottlenecks in place "
        f"of its basic blocks, for {own.en} multiply-adds, it is {errors[bottleneck].percent()}, {way.en}. Published "
        "for 34 and 50 layers on ImageNet: 1.67 points lower.",
        f"세어 보면 병목 블록 50층의 곱셈-덧셈은 기본 블록 34층보다 {published.ko}. 재어 보면 {_name(basic).ko} "
        f"신경망의 {error.label.ko}는 {errors[basic].percent()}입니다. 기본 블록을 병목 블록으로 바꾼 신경망은 "
        f"곱셈-덧셈이 {own.ko}. 그 오차는 {errors[bottleneck].percent()}로, {way.ko}. ImageNet에서 발표된 오차는 "
        "50층이 34층보다 1.67 %p 낮습니다.",
    )


def _more(basic: str, bottleneck: str) -> Text:
    """By how much the second costs more: `5.3 % more`."""
    share = 100 * (macs(bottleneck).mean / macs(basic).mean - 1)
    size = f"{abs(share):.1f} %"
    return Text(f"{size} {'more' if share >= 0 else 'fewer'}", f"{size} {'많습니다' if share >= 0 else '적습니다'}")


def _drawing(errors: Mapping[str, Measured], error: Quantity) -> Drawing:
    published = [Bar(_label(net, words), exactly(share)) for net, words, share in IN_FIGURE]
    words = ("basic blocks", "bottlenecks")
    ours = [Bar(_label(net, each), errors[net]) for net, each in zip(errors, words, strict=True)]
    return bars({"published: ImageNet": published, "ours": ours}, Quantity("error", error.unit))


def _label(net: str, words: str) -> str:
    return f"{words}, {MACS.shown(macs(net))}"


CLAIM = Claim(
    name="bottleneck",
    statement=Text(
        "Bottleneck blocks give 50 layers for about the cost of 34, and the deeper net is the more accurate",
        "병목 블록을 쓰면 34층과 비슷한 비용으로 50층을 쌓을 수 있고, 이렇게 깊어진 신경망이 더 정확하다",
    ),
    source=Text("He et al. 2015, section 4.1, Figure 5, Tables 1 and 3", "He 등 2015, 4.1절, 그림 5, 표 1과 3"),
    group="He et al. 2015",
    measure=measure,
    plan=plan,
    rule_changed=Text(
        "After the second record of quick the net of basic blocks has option B as well (resnet20+shortcut=project), "
        "since resnet20 of option A differed from the net of bottlenecks in its shortcuts too.",
        "quick의 두 번째 기록 뒤에, 기본 블록 신경망도 옵션 B로 바꾸었습니다(resnet20+shortcut=project). 옵션 A의 "
        "resnet20은 병목 블록 신경망과 지름길까지 달랐기 때문입니다.",
    ),
    kinds=frozenset({"grey", "colour", "folder"}),
)
