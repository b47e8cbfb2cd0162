"""Shortcut variants: whatever is done to the shortcut of a residual net, the plain identity trains best.

He et al. 2016, section 3, Table 1, Figures 2 and 3. ResNet-110, test error on CIFAR-10 in percent (medians of 5 runs):

    identity                                       6.61
    x and F(x) both times 0.5                     12.35
    x times 0.5; no shortcut at all             over 20 (reported as failed)
    exclusive gating, bias -6                      8.70
    shortcut-only gating, bias -6 / bias 0   6.91 / 12.86
    1x1 convolution                               12.22
    dropout of 0.5 on the shortcut              over 20 (reported as failed)

The paper argues that this is a matter of optimisation, not of what the nets could represent: gates and convolutions
contain the identity. So the *training* error decides, at 56 layers (110 in the budget `paper`).

How the verdict falls. Each variant must train worse than the identity. The margin is 0, since "worse" is an order: the
smallest published difference is 0.3 points, so any difference that the seeds are sure of counts. Where two nets both
end without a training error, that order is not decided. The net with dropout is judged by its test error: its training
error is counted while its shortcuts drop half of their values, so it would be higher even had the net learnt as much.

A training that diverges is counted as the error of chance: the paper reports two of these nets as failed. (Since the
second record of `quick`; in the first, two trainings with dropout diverged and the claim was left without numbers.)

The net without a shortcut is the plain net, in which F has the same layers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from residuum.experiments.claim import Claim, Conclusion
from residuum.experiments.evidence import TRAINING_ERROR, Evidence
from residuum.experiments.plan import PlannedRun
from residuum.experiments.setting import Setting
from residuum.records.finding import Comparison, Measured, Quantity
from residuum.records.text import Text, paragraph

MARGIN = 0.0  # an order
IDENTITY, DROPOUT = "identity", "dropout of 0.5"
MEAN_TRAINING_ERROR = Quantity("training error over all epochs", korean="모든 에폭의 평균 학습 오차")
CAPTION = Text(
    "Training and test error at the end, mean over the seeds with one standard deviation. The diamonds, where the data "
    "are CIFAR-10, are the published test errors of 110 layers; two variants have none, being over 20 %. Compare He et "
    "al. 2016, Table 1 and Figure 3.",
    "마지막 학습 오차와 시험 오차, 시드들의 평균과 표준편차. 데이터가 CIFAR-10일 때 마름모는 110층에서 발표된 시험 "
    "오차입니다. 두 변형은 20 %가 넘어 마름모가 없습니다. He 등 2016, 표 1, 그림 3과 비교해 보십시오.",
)


@dataclass(frozen=True)
class Shortcut:
    """A net (`{}` is its depth), and the published test error of 110 layers in percent, None for over 20."""

    net: str
    error: float | None

    @property
    def published(self) -> Text:
        return Text("over 20", "20 초과") if self.error is None else Text.same(f"{self.error:.2f}")


VARIANTS = {
    IDENTITY: Shortcut("resnet{}", 6.61),
    "x and F times 0.5": Shortcut("resnet{}+shortcut=halved_both", 12.35),
    "x times 0.5": Shortcut("resnet{}+shortcut=halved", None),
    "none": Shortcut("plain{}", None),
    "exclusive gating, bias -6": Shortcut("resnet{}+shortcut=gated", 8.70),
    "shortcut-only gating, bias -6": Shortcut("resnet{}+shortcut=gated_shortcut", 6.91),
    "shortcut-only gating, bias 0": Shortcut("resnet{}+shortcut=gated_shortcut+gate_bias=0", 12.86),
    "1x1 convolution": Shortcut("resnet{}+shortcut=project_all", 12.22),
    DROPOUT: Shortcut("resnet{}+shortcut=dropout", None),
}


def nets(setting: Setting) -> dict[str, str]:
    """The nets by what their shortcut is."""
    depth = 110 if setting.budget == "paper" else 56
    return {name: each.net.format(depth) for name, each in VARIANTS.items()}


def plan(setting: Setting) -> Sequence[PlannedRun]:
    """All of them."""
    return setting.planned(*nets(setting).values())


def measure(evidence: Evidence) -> Conclusion:
    """The training errors, each against that of the identity."""
    of_nets = nets(evidence.setting)
    printed = {name: each.error / 100 for name, each in VARIANTS.items() if each.error is not None}
    over_epochs = {
        name: evidence.over_metrics(net, lambda records: sum(each["train_error"] for each in records) / len(records))
        for name, net in of_nets.items()
    }
    arms = [
        evidence.arm(
            net,
            Text(
                f"{VARIANTS[name].published.en} (CIFAR-10, 110 layers, test)",
                f"{VARIANTS[name].published.ko} (CIFAR-10, 110층, 시험)",
            ),
            name=name,
            own={MEAN_TRAINING_ERROR.name: over_epochs[name]},
            printed=printed.get(name) if evidence.setting.budget == "paper" else None,
            of_failed=evidence.chance,
        )
        for name, net in of_nets.items()
    ]
    return Conclusion(
        arms=tuple(arms),
        quantities=(*evidence.errors, MEAN_TRAINING_ERROR),
        comparisons=tuple(
            _worse(name, evidence.judged_error if name == DROPOUT else TRAINING_ERROR)
            for name in VARIANTS
            if name != IDENTITY
        ),
        summary=paragraph([_summary({arm.name: arm.measured[TRAINING_ERROR.name] for arm in arms}), evidence.diverged]),
        drawing=evidence.error_bars(arms, printed),
        caption=CAPTION,
    )


def _worse(name: str, quantity: Quantity) -> Comparison:
    how = Text("trains worse", "학습 오차가 더 크다")
    if quantity is not TRAINING_ERROR:
        how = Text("does worse on new images", "새 이미지에서 더 못하다")
    own, identity = VARIANTS[name].published, VARIANTS[IDENTITY].published
    return Comparison(
        statement=Text(f"{name}: {how.en} than identity shortcuts", f"{name}: 항등 지름길보다 {how.ko}"),
        a=name,
        b=IDENTITY,
        relation="above",
        margin=MARGIN,
        quantity=quantity.name,
        published=Text(f"{own.en} against {identity.en} (test)", f"{own.ko} 대 {identity.ko} (시험)"),
    )


def _summary(training: Mapping[str, Measured]) -> Text:
    """The training error of the identity, and which variants end above, level with or below it."""
    identity = training[IDENTITY].mean
    others = {name: one.mean for name, one in training.items() if name not in (IDENTITY, DROPOUT)}
    sides = {
        Text("higher", "이보다 큰 것"): [name for name, mean in others.items() if mean > identity],
        Text("the same", "이와 같은 것"): [name for name, mean in others.items() if mean == identity],
        Text("lower", "이보다 작은 것"): [name for name, mean in others.items() if mean < identity],
    }
    found = [
        (side, ", ".join(f"{name} ({100 * others[name]:.2f} %)" for name in names))
        for side, names in sides.items()
        if names
    ]
    return Text(
        f"With identity shortcuts the net ends at a training error of {100 * identity:.2f} %. The mean is "
        f"{'; '.join(f'{side.en} with {listed}' for side, listed in found)}. Dropout on the shortcuts raises the "
        "training error by itself, so it is compared by the error on new images.",
        f"항등 지름길을 쓴 신경망의 마지막 학습 오차는 {100 * identity:.2f} %입니다. 평균이 "
        f"{'; '.join(f'{side.ko}: {listed}' for side, listed in found)}. 지름길의 드롭아웃은 그 자체로 학습 오차를 "
        "키우므로 새 이미지의 오차로 비교합니다.",
    )


CLAIM = Claim(
    name="shortcut_variants",
    statement=Text(
        "Whatever is done to the shortcut (scaling, gates, convolutions, dropout), the identity trains best",
        "지름길에 무엇을 하든(축소, 게이트, 합성곱, 드롭아웃) 항등 지름길이 가장 잘 학습된다",
    ),
    source="He et al. 2016, section 3, Table 1",
    group="He et al. 2016",
    measure=measure,
    plan=plan,
    excuses_failures=True,
)
