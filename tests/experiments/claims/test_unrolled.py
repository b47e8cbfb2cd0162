"""The sum over a stage by hand, with and without a ReLU after the addition; the verdict on both sides."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from made_up import made_up, names, setting, verdict
from residuum.errors import InputError
from residuum.experiments.claims.unrolled import (
    CLAIM,
    DEEP_POST,
    DEEP_PRE,
    ERROR,
    POST,
    PRE,
    TRAINED,
    UNTRAINED,
    conclude,
    unrolled_error,
)
from residuum.nets.resnet import ResNet, Variant
from residuum.records.finding import Verdict
from residuum.records.quantity import Measured
from tiny_evidence import concluded, tiny_net, undrawn

IMAGES = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_with_preactivation_only_rounding_is_left() -> None:
    assert unrolled_error(tiny_net(PRE).double(), IMAGES) < 1e-14
    assert unrolled_error(tiny_net(PRE), IMAGES.float()) < 1e-6


def test_with_a_relu_after_the_addition_it_is_what_the_relus_cut_off() -> None:
    torch.manual_seed(0)
    variant = Variant(blocks=(2,), widths=(4,), stem="cifar", shortcut="pad")
    net = ResNet(variant, num_classes=10, in_channels=1).double().eval()
    first, second = net.layer1
    with torch.no_grad():
        x = net.stem(IMAGES)
        middle = torch.relu(x + first.residual(x))
        output = torch.relu(middle + second.residual(middle))
        missing = output - (x + first.residual(x) + second.residual(middle))
    assert unrolled_error(net, IMAGES) == pytest.approx(float(missing.norm() / output.norm()), rel=1e-9)


def test_a_plain_net_has_no_such_sum() -> None:
    with pytest.raises(InputError, match="is plain"):
        unrolled_error(tiny_net("plain20"), IMAGES.float())


GOOD = {PRE: [1e-7, 2e-7], POST: [0.3, 0.32], DEEP_POST: [0.5, 0.52]}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, Verdict.HOLDS),
        ({PRE: [0.1, 0.11]}, Verdict.DOES_NOT_HOLD),
        ({POST: [1e-7, 2e-7]}, Verdict.DOES_NOT_HOLD),
        ({DEEP_POST: [0.001, 0.9]}, Verdict.NOT_DECIDED),
    ],
)
def test_exact_with_preactivation_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, change: dict[str, list[float]], expected: Verdict
) -> None:
    undrawn(monkeypatch, conclude)
    trained = {net: Measured(tuple(values)) for net, values in (GOOD | change).items()}
    untrained = {UNTRAINED[DEEP_PRE]: Measured((1e-7, 2e-7)), UNTRAINED[DEEP_POST]: Measured((0.5, 0.6))}
    evidence = made_up(tmp_path, {net: [0.1] * 2 for net in TRAINED})
    assert verdict(conclude(evidence, trained | untrained)) is expected


def test_it_runs_from_end_to_end_and_holds_of_the_architecture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conclusion = concluded(CLAIM, TRAINED, tmp_path, monkeypatch)
    errors = {arm.name: arm.measured[ERROR.name].values for arm in conclusion.arms}
    assert max(*errors[PRE], *errors[UNTRAINED[DEEP_PRE]]) < 1e-6
    assert min(*errors[POST], *errors[DEEP_POST]) > 0.01
    korean = {arm.name: arm.label.ko for arm in conclusion.arms}
    assert korean[UNTRAINED[DEEP_PRE]] == f"{DEEP_PRE}, 학습 전"
    assert korean[PRE] == PRE
    assert f"{DEEP_PRE}, 학습 전: 반올림 오차뿐이다" in [each.statement.ko for each in conclusion.comparisons]


def test_it_plans_nets_that_others_train_as_well() -> None:
    assert names(CLAIM.plan(setting(1))) == [PRE, POST, DEEP_POST]
