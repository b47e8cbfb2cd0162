"""Layer responses: what is measured against hooks on the BN of a small net; the verdict on made-up deviations."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from data_of_kinds import setting_of
from made_up import made_up, names, setting, verdict
from residuum.classifier import Classifier
from residuum.data.preprocess import Preprocessing
from residuum.experiments.claims.responses import CLAIM, RESPONSE, conclude, deviations
from residuum.experiments.evidence import Evidence
from residuum.nets.resnet import ResNet, Variant
from residuum.plans.plan import Executed
from residuum.records.finding import Verdict

NETS = ("plain20", "plain56", "resnet20", "resnet56")
AS_PUBLISHED = {"plain20": 1.5, "plain56": 1.6, "resnet20": 0.9, "resnet56": 0.5}


def test_deviations_are_those_of_what_each_normalisation_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    nets = [small(seed) for seed in (0, 1)]
    classifiers = [
        Classifier(net=net, net_name="own", preprocessing=grey(), class_names=tuple("0123456789")) for net in nets
    ]
    monkeypatch.setattr(Evidence, "classifiers", lambda self, net: classifiers)
    evidence = Evidence(setting=setting(2), done=Executed({}, ()))
    found = deviations(evidence, "own")
    images, _ = evidence.images(classifiers[0], "train", 256)
    assert images.shape == (256, 1, 8, 8)
    for net, row in zip(nets, found, strict=True):
        assert row == pytest.approx(by_hand(net, images), rel=1e-5)
    assert found[0] != found[1]


def grey() -> Preprocessing:
    return Preprocessing(channels=1, resize=8, crop=(8, 8), mean=(0.3,), std=(0.4,))


def small(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    variant = Variant(blocks=(2, 1), widths=(4, 8), stem="cifar", shortcut="project")
    net = ResNet(variant, num_classes=10, in_channels=1)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return net


def by_hand(net: nn.Module, images: Tensor) -> list[float]:
    """The outputs of all BN but those of projections, from the image on."""
    outputs: dict[str, Tensor] = {}
    handles = [
        module.register_forward_hook(lambda module, given, output, name=name: outputs.update({name: output.clone()}))
        for name, module in net.named_modules()
        if isinstance(module, nn.BatchNorm2d) and "downsample" not in name
    ]
    with torch.no_grad():
        net.eval()(images)
    for handle in handles:
        handle.remove()
    assert len(outputs) == 7
    return [float(output.std(correction=0)) for output in outputs.values()]


def deviating(means: dict[str, float], spread: float = 0.01) -> dict[str, list[list[float]]]:
    """Three seeds of three layers with this mean."""
    return {net: [[mean + shift - 0.1, mean + shift, mean + shift + 0.1] for shift in (-spread, 0.0, spread)]
            for net, mean in means.items()}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, Verdict.HOLDS),
        ({"plain20": 0.92}, Verdict.DOES_NOT_HOLD),  # 0.02 above: less than the margin
        ({"plain56": 0.4}, Verdict.DOES_NOT_HOLD),
        ({"resnet56": 0.95}, Verdict.DOES_NOT_HOLD),  # the deeper net responds more strongly
        # plain nets that are hardly further from 1 than the margin, and hardly less far
        ({"plain20": 1.07}, Verdict.HOLDS),
        ({"plain20": 1.04}, Verdict.NOT_DECIDED),
        ({"plain20": 0.96, "resnet20": 1.2}, Verdict.NOT_DECIDED),
        ({"plain20": 0.93, "resnet20": 1.2}, Verdict.DOES_NOT_HOLD),
        # residual nets of which one or neither is
        ({"resnet20": 1.04, "resnet56": 0.93}, Verdict.HOLDS),
        ({"resnet20": 1.07, "resnet56": 0.96}, Verdict.HOLDS),
        ({"resnet20": 1.04, "resnet56": 0.96}, Verdict.NOT_DECIDED),
    ],
)
def test_verdict(tmp_path: Path, change: dict[str, float], expected: Verdict) -> None:
    evidence = made_up(tmp_path, {net: [0.1, 0.1, 0.1] for net in NETS})
    conclusion = conclude(evidence, deviating(AS_PUBLISHED | change))
    assert verdict(conclusion) is expected
    all_moved = all(each.decidable for each in conclusion.comparisons)
    assert ("nothing is decided" in conclusion.summary.en) != all_moved
    assert ("판정하지 않습니다" in conclusion.summary.ko) != all_moved


def test_a_spread_as_large_as_the_difference_decides_nothing(tmp_path: Path) -> None:
    evidence = made_up(tmp_path, {net: [0.1, 0.1, 0.1] for net in NETS})
    assert verdict(conclude(evidence, deviating(AS_PUBLISHED, spread=0.5))) is Verdict.NOT_DECIDED


def test_the_mean_over_the_layers_of_each_seed_is_compared(tmp_path: Path) -> None:
    evidence = made_up(tmp_path, {net: [0.1, 0.1, 0.1] for net in NETS})
    rows = deviating(AS_PUBLISHED) | {"plain20": [[1.0, 2.0, 6.0], [1.0, 1.0, 1.0], [2.0, 2.0, 2.0]]}
    found = conclude(evidence, rows)
    assert found.arms[0].measured[RESPONSE.name].values == (3.0, 1.0, 2.0)
    assert "resnet56, resnet20, plain56, plain20" in found.summary.en
    assert "had 30 updates" in found.summary.en


def test_plan_and_comparisons_of_each_budget(tmp_path: Path) -> None:
    assert names(CLAIM.plan(setting())) == [*NETS]
    longer = setting_of("colour", "short")
    assert names(CLAIM.plan(longer)) == [*NETS, "resnet110"]
    evidence = made_up(tmp_path, {net: [0.1, 0.1, 0.1] for net in (*NETS, "resnet110")}, longer)
    found = conclude(evidence, deviating(AS_PUBLISHED | {"resnet110": 0.3}))
    assert [(each.a, each.b) for each in found.comparisons][-1] == ("resnet56", "resnet110")
    assert verdict(found) is Verdict.HOLDS
