"""The same on a GPU, where there is one: training, resume, evaluation, and the caller's state left alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from residuum.data.source import Dataset
from residuum.training.recipe import Execution
from residuum.training.recipes import recipe
from residuum.training.start import resume, train

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
RECIPE = recipe("digits").changed({"steps": 20})
ON_GPU = Execution(device="cuda", checkpoint_steps=7)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_training_on_the_gpu_learns_and_its_classifier_predicts_on_the_cpu(
    tmp_path: Path, digits_data: Dataset, precision: str
) -> None:
    changed = RECIPE.changed({"precision": precision, "steps": 100})
    run = train("resnet20", digits_data, recipe=changed, out=tmp_path / "r", execution=ON_GPU)
    assert run.result is not None
    assert run.result["test"]["error"] < 0.2
    again = run.classifier().evaluate(digits_data.split("test"))
    assert again.error == pytest.approx(run.result["test"]["error"], abs=0.01)


def test_a_stopped_training_ends_with_the_same_bits(tmp_path: Path, digits_data: Dataset) -> None:
    from residuum.training.observer import Silent

    class Crash(Silent):
        def stepped(self, step: int, loss: float) -> None:
            if step == 12:
                raise KeyboardInterrupt

    whole = train("resnet20", digits_data, recipe=RECIPE, out=tmp_path / "a", execution=ON_GPU)
    with pytest.raises(KeyboardInterrupt):
        train("resnet20", digits_data, recipe=RECIPE, out=tmp_path / "b", execution=ON_GPU, observer=Crash())
    resumed = resume(tmp_path / "b", data=digits_data, execution=ON_GPU)
    assert resumed.result["weights_sha256"] == whole.result["weights_sha256"]  # type: ignore[index]


def test_the_callers_random_numbers_and_settings_stay(tmp_path: Path, digits_data: Dataset) -> None:
    torch.cuda.manual_seed_all(3)
    before = torch.cuda.get_rng_state(), torch.backends.cudnn.allow_tf32
    train("resnet20", digits_data, recipe=RECIPE, out=tmp_path / "r", execution=ON_GPU)
    assert torch.equal(torch.cuda.get_rng_state(), before[0])
    assert torch.backends.cudnn.allow_tf32 == before[1]
