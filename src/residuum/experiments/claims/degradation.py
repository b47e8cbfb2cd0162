"""Degradation: a deeper plain network has the higher *training* error, and shortcuts cure it.

He et al. 2015, section 1 with Figure 1, section 4.1 with Table 2 and Figure 4 (18 and 34 layers, ImageNet), section
4.2 with Figure 6 (20 to 110 layers, CIFAR-10). The plain and the residual nets of one depth have the same layers;
with option A also the same parameters. Since it is the training error that rises, it is not overfitting.
"""

from __future__ import annotations

from collections.abc import Sequence

from residuum.errors import InputError
from residuum.experiments.claim import Claim, Conclusion
from residuum.experiments.evidence import TRAINING_ERROR, Evidence
from residuum.experiments.printed import BETTER, FIGURE_ONLY, WORSE, cifar_error
from residuum.experiments.setting import Setting
from residuum.nets import catalog
from residuum.plans.plan import PlannedRun
from residuum.records.finding import Comparison
from residuum.records.quantity import Measured
from residuum.records.text import Text
from residuum.report.figures import error_curves

MARGIN = 0.01  # one percentage point of training error
DEFAULT_DEPTHS = {"grey": (20, 56), "colour": (20, 56), "folder": (18, 34)}
DEPTHS_AS_PUBLISHED = (20, 32, 44, 56)  # of CIFAR in the budget paper: Figure 6, left

# Test error in percent, as printed, beside what the catalog has; the plain CIFAR nets are shown in Figure 6 only.
PUBLISHED = {
    "plain18": Text.same("27.94 (ImageNet, top-1, 10-crop)"),
    "plain34": Text.same("28.54 (ImageNet, top-1, 10-crop)"),
    "resnet18": Text(
        "27.88 (ImageNet, top-1, 10-crop; option A, ours B)",
        "27.88 (ImageNet, top-1, 10-crop; 논문은 옵션 A, 여기서는 B)",
    ),
    "resnet34": Text(
        "25.03 (ImageNet, top-1, 10-crop; option A, ours B)",
        "25.03 (ImageNet, top-1, 10-crop; 논문은 옵션 A, 여기서는 B)",
    ),
    "plain110": Text("over 60 (CIFAR-10, training and test)", "60 초과 (CIFAR-10, 학습과 시험)"),
}
CAPTION = Text(
    "Training (thin, dashed) and test or validation (bold) error, mean over the seeds with a band of one standard "
    "deviation. Training error counts the batches of each epoch as they were trained on. Test error is drawn for the "
    "figure only; nothing was chosen by it. Compare He et al. 2015, Figure 6.",
    "학습 오차(가는 점선)와 시험 또는 검증 오차(굵은 선)입니다. 선은 시드들의 평균이고, 띠는 ± 표준편차입니다. 학습 "
    "오차는 에폭마다 학습하면서 그 배치에서 그대로 센 값입니다. 시험 오차는 그림에 보이기만 하고, 무엇을 고르는 데 "
    "쓰지 않았습니다. He 등 2015, 그림 6과 비교해 보십시오.",
)


def nets(setting: Setting) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The plain and the residual nets, each from the shallowest to the deepest.

    Raises:
        InputError: there are no such nets, they are of two families or fewer than two, or they do not rise.
    """
    as_published = setting.budget == "paper" and setting.kind == "colour"
    own = DEPTHS_AS_PUBLISHED if as_published else DEFAULT_DEPTHS[setting.kind]
    depths = own if setting.depths is None else setting.depths
    plain, residual = (tuple(f"{family}{depth}" for depth in depths) for family in ("plain", "resnet"))
    for net in (*plain, *residual):
        if net not in catalog.CATALOG:
            known = [name.removeprefix("plain") for name in catalog.CATALOG if name.startswith("plain")]
            raise InputError(f"depths: there is no {net} (expected some of {', '.join(known)}). Try: --depths 20 56")
    listed = " ".join(map(str, depths))
    if len({catalog.entry(net).input_shape for net in plain}) > 1:
        raise InputError(f"depths: {listed} are of two families (CIFAR and ImageNet). Try: --depths 20 56")
    rising = sorted(set(depths))
    if len(rising) < 2:
        raise InputError(f"depths: must be two or more, got {listed or 'none'}. Try: --depths 20 56")
    if [*depths] != rising:
        better = " ".join(map(str, rising))
        raise InputError(f"depths: must rise, got {listed}. Try: --depths {better}")
    return plain, residual


def plan(setting: Setting) -> Sequence[PlannedRun]:
    """All of them."""
    plain, residual = nets(setting)
    return setting.planned(*plain, *residual)


def measure(evidence: Evidence) -> Conclusion:
    """The training errors at the end, beside each other: the deepest are judged against the shallowest."""
    plain, residual = nets(evidence.setting)
    (plain_shallow, *_, plain_deep), (residual_shallow, *_, residual_deep) = plain, residual
    all_nets = (*plain, *residual)
    curves = {net: evidence.curves(net) for net in all_nets}
    has_test = evidence.setting.dataset.test is not None
    return Conclusion(
        arms=tuple(evidence.arm(net, PUBLISHED.get(net) or cifar_error(net) or FIGURE_ONLY) for net in all_nets),
        quantities=evidence.errors,
        comparisons=(
            Comparison(
                statement=Text(
                    f"{plain_deep} trains worse than {plain_shallow}: degradation",
                    f"{plain_deep} 신경망은 {plain_shallow} 신경망보다 학습 오차가 크다: 성능 저하(degradation)",
                ),
                a=plain_deep,
                b=plain_shallow,
                relation="above",
                margin=MARGIN,
                quantity=TRAINING_ERROR.name,
                published=WORSE
                if evidence.setting.kind != "folder"
                else Text("28.54 against 27.94 (val)", "28.54 대 27.94 (검증)"),
            ),
            Comparison(
                statement=Text(
                    f"{residual_deep} trains no worse than {residual_shallow}: no degradation",
                    f"{residual_deep} 신경망은 {residual_shallow} 신경망보다 학습 오차가 크지 않다: 성능 저하 없음",
                ),
                a=residual_deep,
                b=residual_shallow,
                relation="not above",
                margin=MARGIN,
                quantity=TRAINING_ERROR.name,
                published=BETTER,
            ),
            Comparison(
                statement=Text(
                    f"{plain_deep} trains worse than {residual_deep}: the shortcuts are the cure",
                    f"{plain_deep} 신경망은 {residual_deep} 신경망보다 학습 오차가 크다: 지름길이 해결책이다",
                ),
                a=plain_deep,
                b=residual_deep,
                relation="above",
                margin=MARGIN,
                quantity=TRAINING_ERROR.name,
                published=WORSE,
            ),
        ),
        summary=_summary(
            {
                net: evidence.error(net, TRAINING_ERROR)
                for net in (plain_shallow, plain_deep, residual_shallow, residual_deep)
            }
        ),
        drawing=error_curves(
            {
                "plain networks": [curves[net] for net in plain],
                "residual networks": [curves[net] for net in residual],
            },
            test_name="test" if has_test else "validation",
        ),
        caption=CAPTION,
    )


def _summary(training: dict[str, Measured]) -> Text:
    """The training errors of the shallowest and the deepest of both families, as two sentences."""
    names = [*training]
    errors = [f"{100 * each.mean:.1f} %" for each in training.values()]
    return Text(
        f"Without shortcuts, {names[0]} ends at a training error of {errors[0]} and the deeper {names[1]} at "
        f"{errors[1]}, though it could copy the shallow net and let its other layers do nothing. With shortcuts, "
        f"{names[2]} ends at {errors[2]} and {names[3]} at {errors[3]}.",
        f"지름길이 없으면 학습이 끝났을 때 {names[0]} 신경망의 학습 오차는 {errors[0]}입니다. 더 깊은 {names[1]} "
        "신경망은 얕은 신경망을 그대로 본뜨고 나머지 층은 아무 일도 하지 않게 둘 수 있는데도 "
        f"{errors[1]}입니다. 지름길이 있으면 {names[2]} 신경망은 {errors[2]}, {names[3]} 신경망은 {errors[3]}입니다.",
    )


CLAIM = Claim(
    name="degradation",
    statement=Text(
        "Deeper plain networks have higher training error; with shortcuts they do not",
        "plain 신경망(지름길이 없는 신경망)은 깊어질수록 학습 오차가 커지고, 지름길이 있으면 그렇지 않다",
    ),
    source=Text("He et al. 2015, Figures 1, 4 and 6, Table 2", "He 등 2015, 그림 1, 4, 6, 표 2"),
    group="He et al. 2015",
    measure=measure,
    plan=plan,
    kinds=frozenset({"grey", "colour", "folder"}),
    takes_depths=True,
)
