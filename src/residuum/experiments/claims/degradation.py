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
from residuum.experiments.plan import PlannedRun
from residuum.experiments.setting import Setting
from residuum.nets import catalog
from residuum.records.finding import Comparison, Measured
from residuum.records.text import Text
from residuum.report.figures import error_curves

MARGIN = 0.01  # one percentage point of training error
DEFAULT_DEPTHS = {"grey": (20, 56), "colour": (20, 56), "folder": (18, 34)}
FIGURE_ONLY = "figure only"

# Test error in percent, as printed; the plain CIFAR nets are shown in Figure 6 only.
PUBLISHED = {
    "plain18": "27.94 (ImageNet, top-1, 10-crop)",
    "plain34": "28.54 (ImageNet, top-1, 10-crop)",
    "resnet18": "27.88 (ImageNet, top-1, 10-crop; option A, ours B)",
    "resnet34": "25.03 (ImageNet, top-1, 10-crop; option A, ours B)",
    "resnet20": "8.75 (CIFAR-10, test)",
    "resnet32": "7.51 (CIFAR-10, test)",
    "resnet44": "7.17 (CIFAR-10, test)",
    "resnet56": "6.97 (CIFAR-10, test)",
    "resnet110": "6.43 (CIFAR-10, test, best of 5)",
    "plain110": "over 60 (CIFAR-10, training and test)",
}
CAPTION = (
    "Training (thin, dashed) and test or validation (bold) error, mean over the seeds with a band of one standard "
    "deviation. Training error counts the batches of each epoch as they were trained on. Test error is drawn for the "
    "figure only; nothing was chosen by it. Compare He et al. 2015, Figure 6."
)


def nets(setting: Setting) -> tuple[str, str, str, str]:
    """The plain and the residual nets of both depths: plain shallow and deep, residual shallow and deep.

    Raises:
        InputError: there are no such nets, or they are of two families.
    """
    shallow, deep = setting.depths or DEFAULT_DEPTHS[setting.kind]
    found = [f"{family}{depth}" for family in ("plain", "resnet") for depth in (shallow, deep)]
    for net in found:
        if net not in catalog.CATALOG:
            known = [name.removeprefix("plain") for name in catalog.CATALOG if name.startswith("plain")]
            raise InputError(f"depths: there is no {net} (expected two of {', '.join(known)}). Try: --depths 20 56")
    if len({catalog.entry(net).input_shape for net in found}) > 1:
        raise InputError(f"depths: {shallow} and {deep} are of two families (CIFAR and ImageNet). Try: --depths 20 56")
    if shallow >= deep:
        better = f"{deep} {shallow}" if shallow > deep else "20 56"
        raise InputError(f"depths: the first must be the smaller, got {shallow} {deep}. Try: --depths {better}")
    return found[0], found[1], found[2], found[3]


def plan(setting: Setting) -> Sequence[PlannedRun]:
    """All four nets."""
    return setting.planned(*nets(setting))


def measure(evidence: Evidence) -> Conclusion:
    """The training errors at the end, beside each other."""
    plain_shallow, plain_deep, residual_shallow, residual_deep = all_nets = nets(evidence.setting)
    curves = {net: evidence.curves(net) for net in all_nets}
    has_test = evidence.setting.dataset.test is not None
    return Conclusion(
        arms=tuple(evidence.arm(net, PUBLISHED.get(net, FIGURE_ONLY)) for net in all_nets),
        quantities=evidence.errors,
        comparisons=(
            Comparison(
                statement=f"{plain_deep} trains worse than {plain_shallow}: degradation",
                a=plain_deep,
                b=plain_shallow,
                relation="above",
                margin=MARGIN,
                quantity=TRAINING_ERROR.name,
                published="figure only: worse" if evidence.setting.kind != "folder" else "28.54 against 27.94 (val)",
            ),
            Comparison(
                statement=f"{residual_deep} trains no worse than {residual_shallow}: no degradation",
                a=residual_deep,
                b=residual_shallow,
                relation="not above",
                margin=MARGIN,
                quantity=TRAINING_ERROR.name,
                published="figure only: better",
            ),
            Comparison(
                statement=f"{plain_deep} trains worse than {residual_deep}: the shortcuts are the cure",
                a=plain_deep,
                b=residual_deep,
                relation="above",
                margin=MARGIN,
                quantity=TRAINING_ERROR.name,
                published="figure only: worse",
            ),
        ),
        summary=_summary({net: evidence.error(net, TRAINING_ERROR) for net in all_nets}),
        drawing=error_curves(
            {
                "plain networks": [curves[net] for net in all_nets[:2]],
                "residual networks": [curves[net] for net in all_nets[2:]],
            },
            test_name="test" if has_test else "validation",
        ),
        caption=CAPTION,
    )


def _summary(training: dict[str, Measured]) -> str:
    """The four training errors as two sentences."""
    names = [*training]
    errors = [f"{100 * each.mean:.1f} %" for each in training.values()]
    return (
        f"Without shortcuts, {names[0]} ends at a training error of {errors[0]} and the deeper {names[1]} at "
        f"{errors[1]}, though it could copy the shallow net and let its other layers do nothing. With shortcuts, "
        f"{names[2]} ends at {errors[2]} and {names[3]} at {errors[3]}."
    )


CLAIM = Claim(
    name="degradation",
    statement=Text(
        "Deeper plain networks have higher training error; with shortcuts they do not",
        "지름길이 없는 신경망은 깊어질수록 학습 오차가 커지고, 지름길이 있으면 그렇지 않다",
    ),
    source="He et al. 2015, Figures 1, 4 and 6, Table 2",
    group="He et al. 2015",
    measure=measure,
    plan=plan,
    kinds=frozenset({"grey", "colour", "folder"}),
    takes_depths=True,
)
