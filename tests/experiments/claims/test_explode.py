"""Growth where each block's factor is known; the verdict on both sides; the factor that theory expects."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from made_up import made_up, names, setting, verdict
from residuum.experiments.claims.explode import CLAIM, UNTRAINED, WITH, WITHOUT, conclude, growth
from residuum.nets.resnet import ResNet, Variant
from residuum.records.finding import Verdict
from tiny_evidence import concluded, silent, undrawn


def data(side: int = 4, channels: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(8, channels, side, side, generator=generator), torch.randint(0, 10, (8,), generator=generator)


def test_growth_is_the_product_of_the_factors_behind_it() -> None:
    torch.manual_seed(0)
    variant = Variant(blocks=(3,), widths=(4,), stem="cifar", shortcut="pad", preactivation=True)
    net = silent(ResNet(variant, num_classes=10, in_channels=1))
    assert growth(net, *data()) == pytest.approx({1: 1.0, 2: 1.0, 3: 1.0})
    net.layer1[0].branch = lambda x: 2 * x  # its activation is the identity: it follows that of the stem
    assert growth(net, *data()) == pytest.approx({1: 3.0, 2: 1.0, 3: 1.0})


def test_without_normalisation_each_block_multiplies_by_about_the_root_of_two() -> None:
    torch.manual_seed(0)
    variant = Variant(blocks=(8,), widths=(32,), stem="cifar", shortcut="pad", batch_norm=False)
    found = growth(ResNet(variant, num_classes=10), *data(8, 3))
    assert found[1] ** (1 / len(found)) == pytest.approx(2**0.5, rel=0.15)


def growths(*factors: float) -> list[dict[int, float]]:
    return [{1: factor, 2: factor**0.5} for factor in factors]


def conclusion_of(tmp_path: Path, without: Sequence[float], untrained: Sequence[float]) -> Verdict:
    evidence = made_up(tmp_path, {WITH: [0.1] * 3})
    found = {UNTRAINED[WITHOUT]: growths(*without), UNTRAINED[WITH]: growths(*untrained), WITH: growths(2, 2, 3)}
    return verdict(conclude(evidence, found))


@pytest.mark.parametrize(
    ("without", "untrained", "expected"),
    [
        ([9e3, 1.1e4, 8e3], [3, 4, 3], Verdict.HOLDS),
        ([9e3, 1.1e4, 8e3], [4e3, 5e3, 4e3], Verdict.HOLDS),  # normalisation prevents little; that is not judged
        ([5, 6, 7], [0.1, 0.1, 0.1], Verdict.DOES_NOT_HOLD),
        ([2, 1e6, 5], [3, 4, 3], Verdict.NOT_DECIDED),
    ],
)
def test_without_normalisation_it_must_grow_tenfold(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, without: list[float], untrained: list[float], expected: Verdict
) -> None:
    undrawn(monkeypatch, conclude)
    assert conclusion_of(tmp_path, without, untrained) is expected


def test_it_runs_from_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conclusion = concluded(CLAIM, [WITH], tmp_path, monkeypatch)
    assert [arm.name for arm in conclusion.arms] == [*UNTRAINED.values(), WITH]
    assert [arm.label.ko for arm in conclusion.arms] == [f"{WITHOUT}, 학습 전", f"{WITH}, 학습 전", WITH]


def test_it_plans_one_net_that_others_train_as_well() -> None:
    assert names(CLAIM.plan(setting(1))) == [WITH]
