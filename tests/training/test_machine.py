"""What a training does to its process and its optimizer: fused or not it learns the same, and leaves no trace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from residuum.data.source import Dataset
from residuum.files.native import NoLibraryError
from residuum.nets.fused import require_library
from residuum.training.observer import Silent
from residuum.training.recipe import Execution
from residuum.training.start import resume, train


class Losses(Silent):
    """Keeps the loss of every step."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def stepped(self, step: int, loss: float) -> None:
        self.losses.append(loss)


def losses_of(out: Path, *, fuse: bool, precision: str) -> list[float]:
    seen = Losses()
    changes = {"steps": 6, "precision": precision, "learning_rate": 0.02}
    run = train(
        "resnet20", "digits", changes=changes, out=out, execution=Execution(fuse=fuse, threads=1), observer=seen
    )
    assert (run.environment["fused"] is not None) == fuse
    return seen.losses


@pytest.mark.parametrize(("precision", "apart"), [("fp32", 5e-3), ("bf16", 3e-2)])
def test_fused_operators_train_alike(tmp_path: Path, precision: str, apart: float) -> None:
    try:
        require_library()
    except NoLibraryError as error:
        pytest.skip(str(error))
    plain = losses_of(tmp_path / "plain", fuse=False, precision=precision)
    ours = losses_of(tmp_path / "fused", fuse=True, precision=precision)
    assert ours[:2] == pytest.approx(plain[:2], rel=apart / 50), "later ones differ more, since rounding grows"
    assert ours == pytest.approx(plain, rel=apart)


class Crash(Exception):
    pass


class CrashAtFour(Silent):
    def stepped(self, step: int, loss: float) -> None:
        if step == 4:
            raise Crash


def test_a_run_of_plain_operators_goes_on_with_them(tmp_path: Path) -> None:
    plain = Execution(fuse=False, checkpoint_steps=2)
    whole = train("resnet8_narrow", "digits", changes={"steps": 8}, out=tmp_path / "a", execution=plain)
    given: dict[str, Any] = {"changes": {"steps": 8}, "out": tmp_path / "b", "observer": CrashAtFour()}
    with pytest.raises(Crash):
        train("resnet8_narrow", "digits", execution=plain, **given)
    again = resume(tmp_path / "b")
    assert again.result["weights_sha256"] == whole.result["weights_sha256"]  # type: ignore[index]


class Late(nn.Module):
    """A net with a branch that is used from its third training batch on."""

    def __init__(self) -> None:
        super().__init__()
        self.always, self.late, self.calls = nn.Linear(64, 10), nn.Linear(64, 10), 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += self.training
        y: Tensor = self.always(x.flatten(1))
        return y + self.late(x.flatten(1)) if self.calls > 2 else y


class Strided(nn.Module):
    """A net with a weight that lies in memory with gaps."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter((torch.randn(64, 20) / 8)[:, ::2])

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.weight


@pytest.mark.parametrize("own", [Late, Strided])
def test_odd_nets_of_your_own(own: type[nn.Module], tmp_path: Path, digits_data: Dataset) -> None:
    torch.manual_seed(0)
    run = train(own(), digits_data, changes={"epochs": 4.0}, out=tmp_path / "run")
    assert run.result["train"]["error"] < 0.2  # type: ignore[index]
