"""Singular values and gradients of a block against a Jacobian written down; the verdict on both sides."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from made_up import made_up, names, setting, verdict
from residuum.experiments.claims.at_least_one import CLAIM, NETS, POST, PRE, Look, conclude, look
from residuum.records.finding import Verdict
from tiny_evidence import concluded, silent, tiny_net, undrawn


def data(images: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    shown = torch.randn(images, 1, 4, 4, generator=generator, dtype=torch.float64)
    return shown, torch.randint(0, 10, (images,), generator=generator)


def test_singular_values_are_those_of_the_jacobian_of_the_sum_alone() -> None:
    net = tiny_net(POST).double()
    images, labels = data()
    found = look(net, images, labels)
    block = net.layer2[1]
    x = net.layer2[0](net.layer1(net.stem(images[:1]))).detach()
    size = x.numel()
    jacobian = torch.autograd.functional.jacobian(lambda x: block.residual(x) + x, x).reshape(size, size)
    values = torch.linalg.svdvals(jacobian)
    assert [*found.smallest] == [*found.largest] == [2, 4], "the last block of each stage"
    assert found.smallest[4] == pytest.approx(float(values[-1]), rel=1e-6)
    assert found.largest[4] == pytest.approx(float(values[0]), rel=1e-6)


def test_the_gradient_kept_is_that_at_the_input_by_that_at_the_output() -> None:
    net = tiny_net(POST).double()
    images, labels = data()
    found = look(net, images, labels)
    net.train()
    x = net.layer2[0](net.layer1(net.stem(images))).detach().requires_grad_()
    y = net.layer2[1](x)
    at_x, at_y = torch.autograd.grad(functional.cross_entropy(net.head(y), labels), [x, y])
    assert [*found.kept] == [1, 2, 4], "all but the one whose shortcut pads"
    assert found.kept[4] == pytest.approx(float(at_x.norm() / at_y.norm()), rel=1e-9)


def test_where_f_is_zero_nothing_is_lost_and_nothing_gained() -> None:
    found = look(silent(tiny_net(PRE).double()), *data())
    for values in (found.smallest, found.largest, found.kept):
        assert [*values.values()] == pytest.approx([1.0] * len(values))


def looks(smallest: Sequence[float], kept: Sequence[float], usual: float = 1.5) -> list[Look]:
    return [Look({3: s}, {3: 2.0}, {1: usual, 3: k}) for s, k in zip(smallest, kept, strict=True)]


GOOD = looks([1.0, 1.01, 1.02], [1.1, 1.09, 1.11])


@pytest.mark.parametrize(
    ("other", "expected", "said"),
    [
        (GOOD, Verdict.HOLDS, "nothing falls below 1"),
        (looks([0.98, 0.985, 0.98], [0.99, 0.99, 0.98]), Verdict.HOLDS, "nothing falls below 1"),
        (looks([0.4, 0.5, 0.3], [1.1, 1.09, 1.11]), Verdict.DOES_NOT_HOLD, "no lower bound. Yet in no block"),
        (looks([0.4, 0.5, 0.3], [0.95, 0.96, 1.11]), Verdict.DOES_NOT_HOLD, "no lower bound. Yet in no block"),
        (looks([0.4, 0.5, 0.3], [0.94, 1.1, 1.11]), Verdict.DOES_NOT_HOLD, "no lower bound. Yet by the median"),
        (looks([1.0, 1.01, 1.02], [0.5, 0.6, 0.4]), Verdict.DOES_NOT_HOLD, "no lower bound. Yet by the median"),
        (looks([0.4, 0.5, 0.3], [0.5, 0.6, 0.4], usual=1.3), Verdict.DOES_NOT_HOLD, "so that it is no lower bound."),
        (looks([0.2, 1.6, 0.9], [1.1, 1.09, 1.11]), Verdict.NOT_DECIDED, "no lower bound. Yet in no block"),
    ],
)
def test_both_bounds_must_hold_in_both_nets(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, other: list[Look], expected: Verdict, said: str
) -> None:
    undrawn(monkeypatch, conclude)
    evidence = made_up(tmp_path, {net: [0.1] * 3 for net in NETS})
    conclusion = conclude(evidence, {POST: GOOD, PRE: other})
    assert verdict(conclusion) is expected
    assert said in conclusion.summary.en
    assert ("Yet" in said) == ("그래도" in conclusion.summary.ko)


def test_it_runs_from_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conclusion = concluded(CLAIM, NETS, tmp_path, monkeypatch)
    assert conclusion.arms[1].runs == (f"{POST}-seed0", f"{POST}-seed1")


def test_it_plans_a_net_of_each_paper() -> None:
    assert names(CLAIM.plan(setting(1))) == [POST, PRE]
