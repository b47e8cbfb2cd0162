"""Fine-tuning: what is taken from the weights, what is new, what each part learns, and resume to the bit."""

from __future__ import annotations

import copy
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from crashing import Crash, CrashAt
from residuum.classifier import Classifier
from residuum.cli import main
from residuum.data.augment import CropFlip, ScaleCropFlip
from residuum.data.batches import sample_order
from residuum.data.preprocess import Preprocessing
from residuum.data.source import ArrayImages, Dataset, Split
from residuum.deploy.give import export
from residuum.errors import DamagedError, InputError
from residuum.nets import catalog
from residuum.references import untrained
from residuum.run import Run
from residuum.training import batch_norm
from residuum.training.observer import Silent
from residuum.training.parts import head_names
from residuum.training.recipe import Execution
from residuum.training.recipes import finetune, finetune_recipe, recipe
from residuum.training.schedules import ScheduleState, rate
from residuum.training.start import resume, train
from residuum.weights.store import digest, from_bytes

SHORT = {"steps": 6, "batch_size": 64, "precision": "fp32"}
OTHER_NAMES = tuple("abcdefghij")


class Listener(Silent):
    def __init__(self) -> None:
        self.told: list[str] = []

    def message(self, text: str) -> None:
        self.told.append(text)


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory, digits_data: Dataset) -> Run:
    """A small residual net that saw a little of the digits, the mean image subtracted."""
    changes = {"steps": 30, "batch_size": 64, "normalisation": "pixel"}
    return train("resnet8_narrow", digits_data, changes=changes, out=tmp_path_factory.mktemp("started") / "run")


@pytest.fixture
def weights(started: Run) -> Classifier:
    return started.classifier()


@pytest.fixture(scope="module")
def letters(digits_data: Dataset) -> Dataset:
    """The digits under other names."""
    return replace(digits_data, class_names=OTHER_NAMES)


@pytest.fixture(scope="module")
def two(digits_data: Dataset) -> Dataset:
    """Zeros and ones only."""
    chosen = np.flatnonzero(digits_data.train.labels < 2)
    return replace(digits_data, class_names=("0", "1"), train=digits_data.train.subset(chosen), val=None, test=None)


def folded(classifier: Classifier) -> Classifier:
    """The same function with every mean 0 and every variance 1."""
    net = copy.deepcopy(classifier.net)
    with torch.no_grad():
        for bn in batch_norm.layers(net).values():
            root = (bn.running_var + bn.eps).sqrt()  # type: ignore[operator]
            bn.bias -= bn.weight * bn.running_mean / root  # type: ignore[operator]
            bn.weight *= (1 + bn.eps) ** 0.5 / root
            bn.running_mean.zero_()  # type: ignore[union-attr, operator]
            bn.running_var.fill_(1)  # type: ignore[union-attr, operator]
    return replace(classifier, net=net)


def images_of(classifier: Classifier, split: Split, count: int = 256) -> Tensor:
    assert isinstance(split.images, ArrayImages)
    return classifier.preprocessing.normalise(torch.from_numpy(split.images.array[:count]))


def state_at(run: Run, step: int) -> dict[str, Tensor]:
    """The net as the checkpoint of that step has it."""
    path = run.path / "checkpoints" / f"step-{step:08d}" / "state.safetensors"
    tensors = from_bytes(path.read_bytes(), str(path))
    return {name[4:]: tensor for name, tensor in tensors.items() if name.startswith("net/")}


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}


def without_time(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key not in ("seconds", "waiting", "resident_bytes")}


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("resnet18", {"fc.weight", "fc.bias"}),
        ("preact_resnet164", {"fc.weight", "fc.bias"}),
        ("vgg16", {"classifier.6.weight", "classifier.6.bias"}),
        ("lenet5", {"fc3.weight", "fc3.bias"}),
        ("lenet5_1998", {"output.codes"}),
        ("googlenet", {f"{part}.{kind}" for part in ("aux1.fc2", "aux2.fc2", "fc") for kind in ("weight", "bias")}),
    ],
)
def test_the_last_layer_of_each_family(name: str, head: set[str]) -> None:
    assert head_names(name, 2, 3) == head


def test_other_class_names_make_a_new_last_layer(
    tmp_path: Path, started: Run, weights: Classifier, letters: Dataset
) -> None:
    listener, seldom = Listener(), Execution(checkpoint_steps=10**6, checkpoint_seconds=1e9)
    run = train(started.path, letters, changes=SHORT, out=tmp_path / "r", execution=seldom, observer=listener, seed=4)
    assert "new last layer: 10 classes in place of 10 of other names" in listener.told
    assert changed(weights.net.state_dict(), state_at(run, 0)) == {"fc.weight", "fc.bias"}
    torch.manual_seed(4)
    fresh = catalog.net("resnet8_narrow", num_classes=10, in_channels=1).state_dict()
    assert torch.equal(state_at(run, 0)["fc.weight"], fresh["fc.weight"])
    final = run.classifier()
    assert final.class_names == OTHER_NAMES
    assert (final.net_name, run.config.own_net, run.config.recipe["name"]) == ("resnet8_narrow", False, "finetune")
    sha256 = started.result["weights_sha256"]  # type: ignore[index]
    assert run.config.start is not None
    assert run.config.start.model_dump() == {
        "model": str(started.path.resolve()), "weights_sha256": sha256, "new_head": True, "licence": None,
    }  # fmt: skip
    assert final.card["start"] == {"model": "run", "weights_sha256": sha256, "new_head": True}
    assert final.card["per_class"]["test"] == run.result["test"]["per_class"]  # type: ignore[index]


def test_the_same_classes_in_another_order_are_said_to_be(
    tmp_path: Path, weights: Classifier, digits_data: Dataset
) -> None:
    listener = Listener()
    start = replace(weights, class_names=weights.class_names[::-1])
    train(start, digits_data, changes=SHORT | {"steps": 1}, out=tmp_path / "r", observer=listener)
    assert "new last layer: 10 classes in place of 10 in another order" in listener.told


def test_an_exported_file_is_a_start(tmp_path: Path, weights: Classifier, letters: Dataset) -> None:
    path = export(weights, tmp_path / "w.safetensors", to="safetensors").path
    run = train(path, letters, changes=SHORT | {"steps": 1}, out=tmp_path / "r")
    assert run.config.start is not None
    assert run.config.start.model == str(path.resolve())
    assert run.classifier().card["start"]["model"] == "w.safetensors"


def test_the_same_classes_keep_the_last_layer(tmp_path: Path, weights: Classifier, digits_data: Dataset) -> None:
    listener = Listener()
    run = train(weights, digits_data, changes=SHORT | {"steps": 1}, out=tmp_path / "r", observer=listener)
    assert "the last layer is kept: its 10 classes are those of the data" in listener.told
    assert changed(weights.net.state_dict(), state_at(run, 0)) == set()
    assert run.config.start is not None
    assert not run.config.start.new_head
    assert run.config.start.model == "resnet8_narrow"


def test_fewer_classes(tmp_path: Path, weights: Classifier, two: Dataset) -> None:
    listener = Listener()
    before = digest(weights.net.state_dict())
    run = train(weights, two, changes=SHORT | {"steps": 30}, out=tmp_path / "r", observer=listener)
    assert "new last layer: 2 classes in place of 10" in listener.told
    assert run.classifier().class_names == ("0", "1")
    assert run.metrics()[-1]["train_error"] < 0.1
    assert digest(weights.net.state_dict()) == before, "the Classifier that was given stays as it is"


def test_the_preprocessing_is_that_of_the_weights(tmp_path: Path, weights: Classifier, letters: Dataset) -> None:
    run = train(weights, letters, changes=SHORT | {"steps": 1}, out=tmp_path / "r")
    for own in (run.classifier().preprocessing, run.preprocessing):
        assert own is not None
        assert own.mean_image is not None
        assert weights.preprocessing.mean_image is not None
        assert np.array_equal(own.mean_image, weights.preprocessing.mean_image)
        assert replace(own, mean_image=None).__dict__ == replace(weights.preprocessing, mean_image=None).__dict__


def test_another_image_size_is_said_and_keeps_the_proportion(tmp_path: Path, image_folder: Path) -> None:
    preprocessing = Preprocessing(channels=3, resize=36, crop=(32, 32), mean=(0.4, 0.5, 0.6), std=(0.2, 0.2, 0.2))
    net = catalog.net("resnet8_narrow", num_classes=3)
    classifier = Classifier(
        net=net, net_name="resnet8_narrow", preprocessing=preprocessing, class_names=("a", "b", "c")
    )
    reference = classifier.save(tmp_path / "classifier")
    listener = Listener()
    changes = {"steps": 1, "batch_size": 4, "image_size": 16}
    run = train(str(reference), image_folder, changes=changes, out=tmp_path / "r", observer=listener)
    assert "images of 16x16 pixels in place of the 32x32 of the weights" in listener.told
    got = run.classifier()
    assert (got.preprocessing.resize, got.preprocessing.crop) == (18, (16, 16))
    assert (got.preprocessing.mean, got.class_names) == (preprocessing.mean, ("blue", "red"))


def test_a_frozen_trunk_stays_bit_identical(tmp_path: Path, weights: Classifier, letters: Dataset) -> None:
    run = train(weights, letters, changes=SHORT | {"trunk_rate": 0.0, "batch_norm": "trained"}, out=tmp_path / "r")
    after = run.classifier().net.state_dict()
    assert changed(weights.net.state_dict(), after) == {"fc.weight", "fc.bias"}
    assert changed(state_at(run, 0), after) == {"fc.weight", "fc.bias"}


def test_a_trunk_of_your_own_is_frozen_for_the_training_only(tmp_path: Path, digits_data: Dataset) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 10))
    before = copy.deepcopy(net.state_dict())
    changes = SHORT | {"trunk_rate": 0.0}
    train(net, digits_data, recipe=recipe("digits"), changes=changes, out=tmp_path / "r")
    assert changed(before, net.state_dict()) == {"3.weight", "3.bias"}
    assert all(parameter.requires_grad for parameter in net.parameters())


def test_a_trunk_rate_is_sgd_by_hand_with_that_rate(tmp_path: Path, weights: Classifier, digits_data: Dataset) -> None:
    steps, peak, decay = 4, 0.05, 1e-2
    by_hand = copy.deepcopy(weights.net).eval()  # as batch normalisation that is frozen
    x, y = images_of(weights, digits_data.train, 10**6), torch.from_numpy(digits_data.train.labels)
    velocity = {name: torch.zeros_like(p) for name, p in by_hand.named_parameters()}
    fitting = finetune_recipe(weights.preprocessing, "resnet8_narrow")
    for step in range(steps):
        chosen = torch.from_numpy(sample_order(len(y), 5, step * 64, 64))
        by_hand.zero_grad()
        functional.cross_entropy(by_hand(x[chosen]), y[chosen]).backward()
        lr = rate(peak, fitting.schedule, None, ScheduleState(), step, steps)
        with torch.no_grad():
            for name, p in by_hand.named_parameters():
                assert p.grad is not None
                gradient = p.grad + decay * p
                velocity[name] = 0.9 * velocity[name] + gradient
                share = 1.0 if name.startswith("fc.") else 0.1
                p -= lr * share * (gradient + 0.9 * velocity[name])  # Nesterov
    changes = SHORT | {"steps": steps, "learning_rate": peak, "weight_decay": decay, "augmentation": None}
    run = train(weights, digits_data, changes=changes, seed=5, out=tmp_path / "r")
    ours = dict(run.classifier().net.named_parameters())
    for name, theirs in by_hand.named_parameters():
        moved = (theirs - weights.net.get_parameter(name)).norm()
        assert (ours[name] - theirs).norm() <= 1e-3 * moved, name


def test_frozen_statistics_stay_while_scale_and_shift_learn(
    tmp_path: Path, weights: Classifier, letters: Dataset
) -> None:
    run = train(weights, letters, changes=SHORT, out=tmp_path / "r")
    moved = changed(weights.net.state_dict(), run.classifier().net.state_dict())
    assert moved == {name for name, _ in weights.net.named_parameters()}
    free = train(weights, letters, changes=SHORT | {"batch_norm": "trained"}, out=tmp_path / "free")
    assert "bn1.running_mean" in changed(weights.net.state_dict(), free.classifier().net.state_dict())


def test_statistics_are_estimated_again_and_then_kept(tmp_path: Path, weights: Classifier, letters: Dataset) -> None:
    run = train(weights, letters, changes=SHORT | {"batch_norm": "re-estimated"}, out=tmp_path / "r")
    before, first, last = weights.net.state_dict(), state_at(run, 0), run.classifier().net.state_dict()
    buffers = {name for name, _ in weights.net.named_buffers()}
    assert changed(before, first) - {"fc.weight", "fc.bias"} <= buffers
    assert {name for name in buffers if "running" in name} <= changed(before, first)
    assert not changed(first, last) & buffers


def test_statistics_of_a_net_of_your_own_are_estimated_again_and_then_kept(
    tmp_path: Path, weights: Classifier, digits_data: Dataset
) -> None:
    listener, own = Listener(), copy.deepcopy(weights.net)
    changes = SHORT | {"batch_norm": "re-estimated"}
    run = train(own, digits_data, recipe=recipe("digits"), changes=changes, out=tmp_path / "r", observer=listener)
    assert run.config.own_net
    assert "statistics of batch normalisation computed anew from training images" in listener.told
    before, first, last = weights.net.state_dict(), state_at(run, 0), own.state_dict()
    buffers = {name for name, _ in own.named_buffers()}
    assert {name for name in buffers if "running" in name} <= changed(before, first) <= buffers
    assert not changed(first, last) & buffers


def test_statistics_estimated_again_are_those_of_the_images(weights: Classifier, digits_data: Dataset) -> None:
    net, images = copy.deepcopy(weights.net), images_of(weights, digits_data.train)
    batch_norm.re_estimate(net, images.split(64))
    seen = functional.conv2d(images, net.conv1.weight, padding=1)  # type: ignore[arg-type]
    got = net.state_dict()
    torch.testing.assert_close(got["bn1.running_mean"], seen.mean(dim=(0, 2, 3)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(got["bn1.running_var"], seen.var(dim=(0, 2, 3)), rtol=2e-2, atol=1e-4)
    assert all(bn.momentum == 0.1 for bn in batch_norm.layers(net).values())
    assert not any(module.training for module in net.modules())


def test_statistics_of_layers_that_evaluation_leaves_out_are_kept(weights: Classifier, digits_data: Dataset) -> None:
    class WithHead(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk, self.auxiliary = nn.BatchNorm2d(1), nn.BatchNorm2d(1)

        def forward(self, x: Tensor) -> Tensor:
            return torch.as_tensor(self.auxiliary(x) if self.training else self.trunk(x))

    net = WithHead()
    net.auxiliary.running_mean.fill_(3.0)  # type: ignore[union-attr]
    before = copy.deepcopy(net.auxiliary.state_dict())
    batch_norm.re_estimate(net, images_of(weights, digits_data.train).split(64))
    assert changed(before, net.auxiliary.state_dict()) == set()
    assert net.trunk.num_batches_tracked == 4


def test_unfolding_keeps_what_the_net_answers_and_makes_it_fit_to_train(
    weights: Classifier, digits_data: Dataset
) -> None:
    classifier, images = folded(weights), images_of(weights, digits_data.train)
    net = classifier.net
    assert batch_norm.is_folded(net)
    assert not batch_norm.is_folded(weights.net)
    assert not batch_norm.is_folded(nn.Linear(2, 2))
    with torch.no_grad():
        before = net.eval()(images)
        torch.testing.assert_close(before, weights.net(images), rtol=1e-4, atol=1e-4)
        nonsense = copy.deepcopy(net).train()(images)
        batch_norm.unfold(net, images.split(100))
        after = net.eval()(images)
        training = copy.deepcopy(net).train()(images)
    assert (after - before).norm() <= 1e-5 * before.norm()
    assert (training - before).norm() <= 0.02 * before.norm(), "the batch is all that was counted"
    assert (nonsense - before).norm() >= 0.5 * before.norm()
    for name, (mean, variance) in batch_norm.seen(net, [images]).items():
        bn = batch_norm.layers(net)[name]
        torch.testing.assert_close(bn.running_mean, mean.float(), rtol=1e-3, atol=1e-4, msg=name)
        torch.testing.assert_close(bn.running_var, variance.float(), rtol=1e-3, atol=1e-4, msg=name)


@pytest.mark.parametrize(
    ("how", "trunk_rate", "unfolds"),
    [("trained", 0.1, True), ("re-estimated", 0.1, True), ("frozen", 0.1, False), ("trained", 0.0, False)],
)
def test_folded_weights_are_unfolded_where_their_statistics_are_used(
    tmp_path: Path, weights: Classifier, digits_data: Dataset, how: str, trunk_rate: float, unfolds: bool
) -> None:
    start, listener = folded(weights), Listener()
    images = images_of(weights, digits_data.train)
    changes = SHORT | {"steps": 1, "batch_norm": how, "trunk_rate": trunk_rate}
    run = train(start, digits_data, changes=changes, out=tmp_path / "r", observer=listener)
    first = copy.deepcopy(start.net)
    first.load_state_dict(state_at(run, 0))
    assert batch_norm.is_folded(first) != unfolds
    with torch.no_grad():
        torch.testing.assert_close(first.eval()(images), start.net.eval()(images), rtol=1e-4, atol=1e-4)
    message = "computed from training images, scale and shift changed" if unfolds else "kept so"
    assert sum("no statistics of batch normalisation" in text and message in text for text in listener.told) == 1


@pytest.mark.parametrize("step", [2, 5, 9])
@pytest.mark.parametrize("how", [{"batch_norm": "trained"}, {"precision": "bf16"}, {"trunk_rate": 0.0}])
def test_a_crash_in_the_middle_changes_nothing_though_the_start_is_gone(
    tmp_path: Path, weights: Classifier, letters: Dataset, undisturbed: dict[str, Run], how: dict[str, Any], step: int
) -> None:
    changes = SHORT | {"steps": 10, "batch_size": 200} | how  # epochs end at steps 4 and 10
    key = json.dumps(how)
    if key not in undisturbed:
        undisturbed[key] = train(folded(weights), letters, changes=changes, out=tmp_path / "whole")
    reference = folded(weights).save(tmp_path / "start")
    execution = Execution(checkpoint_steps=2, checkpoint_seconds=1e9)
    with pytest.raises(Crash):
        train(reference, letters, changes=changes, out=tmp_path / "r", execution=execution, observer=CrashAt(step))
    shutil.rmtree(reference)
    run = resume(tmp_path / "r", data=letters)
    whole = undisturbed[key]
    assert run.result["weights_sha256"] == whole.result["weights_sha256"]  # type: ignore[index]
    assert [without_time(each) for each in run.metrics()] == [without_time(each) for each in whole.metrics()]
    assert run.classifier().preprocessing.mean_image is not None


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, Run]:
    return {}


def test_a_damaged_mean_image_is_found(tmp_path: Path, weights: Classifier, letters: Dataset) -> None:
    with pytest.raises(Crash):
        train(weights, letters, changes=SHORT, out=tmp_path / "r", observer=CrashAt(2))
    path = tmp_path / "r" / "preprocessing.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedError, match=r"preprocessing\.safetensors: sha256 differs"):
        resume(tmp_path / "r", data=letters)
    path.unlink()
    with pytest.raises(DamagedError, match=r"preprocessing\.safetensors: cannot be read"):
        resume(tmp_path / "r", data=letters)


def test_a_run_of_an_earlier_version_goes_on(tmp_path: Path, digits_data: Dataset) -> None:
    with pytest.raises(Crash):
        train("resnet8_narrow", digits_data, changes=SHORT, out=tmp_path / "r", observer=CrashAt(2))
    path = tmp_path / "r" / "run.json"
    config = json.loads(path.read_text())
    del config["start"], config["preprocessing"], config["recipe"]["trunk_rate"], config["recipe"]["batch_norm"]
    path.write_text(json.dumps(config))
    assert resume(tmp_path / "r", data=digits_data).result is not None


def test_a_recipe_that_zeroes_residual_branches_leaves_weights_alone(
    tmp_path: Path, weights: Classifier, digits_data: Dataset
) -> None:
    zeroing = recipe("digits").changed({"zero_init_residual": True, "steps": 1, "batch_size": 64})
    run = train(weights, digits_data, recipe=zeroing, out=tmp_path / "r")
    assert changed(weights.net.state_dict(), state_at(run, 0)) == set()
    assert run.config.recipe["zero_init_residual"] is False


@pytest.mark.parametrize("card", [{"licence": "BSD-3-Clause"}, {"start": {"licence": "BSD-3-Clause"}}])
def test_the_licence_of_the_weights_goes_with_what_was_made_of_them(
    tmp_path: Path, weights: Classifier, letters: Dataset, card: dict[str, Any]
) -> None:
    changes = SHORT | {"steps": 1}
    run = train(replace(weights, card=card), letters, changes=changes, out=tmp_path / "r")
    assert run.classifier().card["start"]["licence"] == "BSD-3-Clause"


def test_the_recipe_suits_the_images_of_the_weights() -> None:
    def suited(size: int, channels: int = 3, net: str = "resnet18") -> Any:
        values = (0.5,) * channels
        return finetune_recipe(
            Preprocessing(channels=channels, resize=size, crop=(size, size), mean=values, std=values), net
        )

    assert suited(224) == finetune()
    assert suited(224).augmentation == ScaleCropFlip(smallest=256, largest=333, colour_std=0.0)
    assert suited(32).augmentation == CropFlip(pad=4)
    assert suited(8, channels=1).augmentation is None, "a digit mirrored is another"
    enlarged = suited(112).changed({"image_size": 224}).augmentation
    assert isinstance(enlarged, ScaleCropFlip)
    assert (enlarged.smallest, enlarged.largest) == (256, pytest.approx(333, abs=1))
    assert suited(224, net="vgg16").learning_rate == pytest.approx(finetune().learning_rate / 10)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trunk_rate": 1.5}, "trunk_rate: must be at least 0 and at most 1, got 1.5. Try: 0.1"),
        ({"trunk_rate": float("nan")}, "trunk_rate: must be at least 0 and at most 1"),
        ({"batch_norm": "melted"}, "recipe.batch_norm: Input should be 'trained', 'frozen' or 're-estimated'"),
    ],
)
def test_values_out_of_range_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        finetune().changed(changes)


def test_what_does_not_go_together_is_refused(
    tmp_path: Path, weights: Classifier, digits_data: Dataset, image_folder: Path
) -> None:
    out, advice = tmp_path / "r", "resnet8_narrow is untrained. Try: a model with weights, such as resnet18:imagenet"
    with pytest.raises(InputError, match=f"recipe: finetune is for weights, and {advice}"):
        train("resnet8_narrow", digits_data, recipe="finetune", out=out)
    with pytest.raises(InputError, match=f"trunk_rate: 0 keeps all but the last layer, and {advice}"):
        train("resnet8_narrow", digits_data, changes={"trunk_rate": 0.0}, out=out)
    with pytest.raises(InputError, match=f"batch_norm: frozen is for weights, and {advice}"):
        train("resnet8_narrow", digits_data, changes={"batch_norm": "frozen"}, out=out)
    colour = replace(
        weights, preprocessing=Preprocessing(channels=3, resize=8, crop=(8, 8), mean=(0, 0, 0), std=(1, 1, 1))
    )
    with pytest.raises(InputError, match=r"data: the images of digits are grey, 1 channel \(expected in colour"):
        train(colour, digits_data, out=out)
    with pytest.raises(InputError, match=r"net: of\.Mine is not of the catalog"):
        train(replace(weights, net_name="of.Mine"), digits_data, out=out)
    with pytest.raises(InputError, match="Try: resnet20"):
        train("resnet2O", digits_data, out=out)
    with pytest.raises(InputError, match=r"net: resnet20 is untrained, there is nothing to go on from. Try: the name"):
        train(untrained("resnet20"), digits_data, out=out)
    codes = replace(weights, net_name="lenet5_1998", net=catalog.net("lenet5_1998"))
    with pytest.raises(
        InputError, match=r"trunk_rate: lenet5_1998 has no last layer with weights of its own. Try: --trunk-rate 1"
    ):
        train(codes, digits_data, changes=SHORT | {"image_size": 32}, out=out)
    with pytest.raises(InputError, match="does not fit resnet8_narrow"):
        train(replace(weights, net=catalog.net("resnet32", in_channels=1)), digits_data, changes=SHORT, out=out)
    assert not out.exists()


def test_the_command(tmp_path: Path, started: Run, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["train", str(started.path / "classifier"), "--data", "digits", "--max-steps", "1", "--json", "--quiet"]
    assert main([*asked, "--freeze-trunk", "--batch-norm", "re-estimated", "--out", str(tmp_path / "r")]) == 0
    capsys.readouterr()
    recipe = Run.open(tmp_path / "r").config.recipe
    assert (recipe["name"], recipe["trunk_rate"], recipe["batch_norm"]) == ("finetune", 0.0, "re-estimated")
    assert main([*asked, "--freeze-trunk", "--trunk-rate", "0.5", "--out", str(tmp_path / "s")]) == 2
    assert "--freeze-trunk and --trunk-rate exclude each other" in capsys.readouterr().err
    assert main(["train", "resnet8_narrow", "--data", "digits", "--recipe", "finetune"]) == 2
    assert "recipe: finetune is for weights" in capsys.readouterr().err
