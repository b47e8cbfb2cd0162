"""Evidence whose nets are tiny, so that what a claim measures can be run from end to end, and judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from made_up import made_up
from residuum.classifier import Classifier
from residuum.data.preprocess import Preprocessing
from residuum.experiments.claim import Claim, Conclusion
from residuum.experiments.evidence import Evidence
from residuum.nets.resnet import ResNet, Variant
from residuum.records.finding import judge
from residuum.report.figures import Drawing

PREPROCESSING = Preprocessing(channels=1, resize=8, crop=(8, 8), mean=(0.3,), std=(0.4,))


def tiny_net(name: str, seed: int = 0) -> ResNet:
    """A net of the family of that name, of two blocks in each of two stages, as after some training, for digits."""
    torch.manual_seed(seed)
    variant = Variant(
        blocks=(2, 2),
        widths=(4, 8),
        stem="cifar",
        shortcut="none" if name.startswith("plain") else "pad",
        preactivation="preactivation=yes" in name,
        batch_norm="batch_norm=no" not in name,
    )
    net = ResNet(variant, num_classes=10, in_channels=1)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.2, 0.2)
    return net.eval()


def silent(net: nn.Module) -> nn.Module:
    """The net with F(x) = 0 in every block: blocks with pre-activation give what they get."""
    for name, parameter in net.named_parameters():
        if name.endswith(("conv2.weight", "bn2.weight", "bn2.bias")):
            nn.init.zeros_(parameter)
    return net


def undrawn(monkeypatch: pytest.MonkeyPatch, conclude: Callable[..., Conclusion]) -> None:
    """Let the claim whose `conclude` this is draw nothing, which takes longer than all the rest."""
    names = {"lines_over", "bars"} & conclude.__globals__.keys()
    for name in names:
        monkeypatch.setitem(conclude.__globals__, name, lambda *args, **named: Drawing(svg="", png=b""))
    assert names


def concluded(
    claim: Claim, nets: Sequence[str], directory: Path, monkeypatch: pytest.MonkeyPatch, seeds: int = 2
) -> Conclusion:
    """What a claim comes to on tiny nets in place of its own; that all it compares is there is checked."""

    def classifiers(self: Evidence, net: str, **changes: Any) -> list[Classifier]:
        return [
            Classifier(net=tiny_net(net, seed), net_name=net, preprocessing=PREPROCESSING, class_names=CLASS_NAMES)
            for seed in self.setting.seeds
        ]

    def untrained(self: Evidence, net: str, seed: int, **changes: Any) -> nn.Module:
        return tiny_net(net, seed)

    monkeypatch.setattr(Evidence, "classifiers", classifiers)
    monkeypatch.setattr(Evidence, "untrained", untrained)
    return checked(claim.measure(made_up(directory, {net: [0.1] * seeds for net in nets})))


CLASS_NAMES = tuple(map(str, range(10)))


def checked(conclusion: Conclusion) -> Conclusion:
    """The conclusion, which can be judged and drawn and has words for what came out."""
    arms = {arm.name: arm.measured for arm in conclusion.arms}
    assert len(arms) == len(conclusion.arms)
    for comparison in conclusion.comparisons:
        judge(comparison, arms)
    known = {quantity.name for quantity in conclusion.quantities}
    assert all(set(measured) & known for measured in arms.values())
    assert {comparison.quantity for comparison in conclusion.comparisons} <= known
    said = [conclusion.summary, conclusion.caption, *(each.statement for each in conclusion.comparisons)]
    for text in said:
        assert any("가" <= letter <= "힣" for letter in text.ko), text
        assert not any("가" <= letter <= "힣" for letter in text.en), text
        assert "nan" not in text.en + text.ko
    assert conclusion.drawing.png.startswith(b"\x89PNG")
    return conclusion
