"""Names with changed fields: what they stand for, what is wrong with others, and that every command takes them."""

from __future__ import annotations

import dataclasses
import json
import typing
from pathlib import Path

import pytest
import torch
from torch import nn

import residuum
from hand_formulas import by_hand
from residuum import references
from residuum.classifier import Classifier
from residuum.cli import main
from residuum.costing.count import cost
from residuum.data.source import Dataset
from residuum.deploy.give import export
from residuum.errors import InputError
from residuum.nets import catalog, modified
from residuum.nets.catalog import CATALOG, OF_NO_PAPER
from residuum.training.budget import within
from residuum.training.parts import head_names
from residuum.training.recipe import Execution
from residuum.training.recipes import default_recipe, fast_cifar_recipe, recipe

NAMES = (
    "resnet20+shortcut=project",
    "resnet20+batch_norm=no",
    "resnet20+blocks=1,1,1",
    "resnet20+blocks=1,2,3,4+widths=16,16,32,64",
    "resnet56+preactivation=yes",
    "resnet20+block=single+blocks=6,6,6",
    "resnet20+block=bottleneck+shortcut=project+stride_on=first",
    "preact_resnet164+block=single+shortcut=pad+blocks=2,2,2",
    "preact_resnet110+batch_norm=no+blocks=2,2,2",
    "resnet20+shortcut=gated+gate_bias=0",
    "resnet20+shortcut=gated_shortcut",
    "resnet20+shortcut=halved_both+squeeze=4",
    "resnet20+head=linear+dropout=0.5",
    "resnet20+downsampling=max_pool+placement=norm_after_addition",
    "resnet50+downsampling=average_pool",
    "resnet50+batch_norm=no",
    "resnetd50+batch_norm=no",
    "se_resnet50+squeeze=none",
    "wrn16_1+widen=3",
    "vgg11+batch_norm=yes+head=average",
    "vgg11+convolutions=1,1,1,1,1",
    "googlenet+auxiliary=no+largest_kernel=3",
    "lenet5+as_published=yes",
    "alexnet+groups=2",
    "zfnet+widths=8,8,8",
)


@pytest.mark.parametrize("name", NAMES)
def test_the_cost_of_a_modified_net_by_hand_formula_and_as_counted(name: str) -> None:
    entry = catalog.entry(name)
    assert (entry.parameters, entry.macs) == by_hand(entry.variant, entry.input_size, entry.num_classes)
    counted = cost(references.skeleton(name).net, entry.input_shape, training=False)
    assert (counted.parameters, counted.macs) == (entry.parameters, entry.macs)
    assert not counted.unknown


def test_an_entry_says_what_is_changed_and_is_made_once() -> None:
    entry = catalog.entry("resnet20+shortcut=project+batch_norm=no")
    assert entry.name == "resnet20+shortcut=project+batch_norm=no"
    assert entry.twin == "resnet20"
    assert entry.note == "resnet20 with shortcut=project in place of pad, batch_norm=no in place of yes"
    assert entry.published.source == OF_NO_PAPER
    assert not entry.published.parameters + entry.published.macs + entry.published.error
    assert not entry.differs
    assert entry.variant == dataclasses.replace(
        CATALOG["resnet20"].variant,  # type: ignore[type-var]
        shortcut="project",
        batch_norm=False,
    )
    assert catalog.entry(entry.name) is entry
    assert entry.name not in CATALOG


@pytest.mark.parametrize(
    ("change", "field", "value"),
    [
        ("batch_norm=no", "batch_norm", False),
        ("preactivation=yes", "preactivation", True),
        ("widen=4", "widen", 4),
        ("dropout=0.25", "dropout", 0.25),
        ("shortcut=project_all", "shortcut", "project_all"),
        ("blocks=2,2,2", "blocks", (2, 2, 2)),
        ("squeeze=8", "squeeze", 8),
        ("squeeze=none", "squeeze", None),
    ],
)
def test_values_are_read_by_the_type_of_the_field(change: str, field: str, value: object) -> None:
    found = getattr(catalog.entry(f"resnet20+{change}").variant, field)
    assert found == value
    assert type(found) is type(value)


def test_choices_that_are_numbers_are_numbers() -> None:
    assert catalog.entry("googlenet+last_pool=2").variant.last_pool == 2  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["lenet5", "alexnet", "zfnet", "vgg11", "googlenet", "resnet20"])
def test_every_field_of_every_family_can_be_written(name: str) -> None:
    """What a net has now, written as a value and read again, is the same net."""
    variant = CATALOG[name].variant
    now = {field.name: modified._written(getattr(variant, field.name)) for field in dataclasses.fields(variant)}  # type: ignore[arg-type]
    assert now
    assert modified.modified(variant, now) == variant
    assert set(now) == set(typing.get_type_hints(type(variant)))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet2O+shortcut=project", r"net: 'resnet2O' is not known .* Try: resnet20"),
        ("resnet20+shortcuts=project", r"field: 'shortcuts' is not known .* Try: shortcut$"),
        ("resnet20+shortcut=projected", r"shortcut: 'projected' is not known .* Try: project$"),
        ("resnet20+batch_norm=false", r"batch_norm: 'false' is not known \(expected one of yes, no\)"),
        ("resnet20+widen=two", r"widen: expected a whole number from 0 to 10,000, got 'two'\. Try: widen=2"),
        ("resnet20+widen=-1", r"widen: expected a whole number"),
        ("resnet20+widen=99999", r"widen: expected a whole number"),
        ("resnet20+dropout=nan", r"dropout: expected a number, got 'nan'\. Try: dropout=0\.5"),
        ("resnet20+dropout=1", r"dropout: must be at least 0 and below 1, got 1\. Try: 0\.5"),
        ("resnet20+blocks=1,1", r"blocks: one number for each of 3 stages is needed, got 2\. Try: 1,1,1"),
        ("resnet20+blocks=3,0,3", r"blocks: each stage has at least 1, got 0"),
        ("resnet20+blocks=", r"'blocks=' in .* is no change \(expected FIELD=VALUE\)\. Try: resnet20"),
        ("resnet20+", r"'' in 'resnet20\+' is no change"),
        ("resnet20+plain", r"'plain' in .* is no change"),
        ("resnet20+blocks=900,900,900", r"blocks: at most 1,000 together, got 2,700\. Try: blocks=3,3,3"),
        ("resnet20+widen=2+widen=3", r"changes widen twice\. Try: resnet20\+widen=3"),
        ("resnet20+groups=2", r"only bottlenecks have groups, got 2"),
        ("resnet50+groups=3", r"groups: must divide the channels of the 3x3 convolutions, 64, 128, 256, 512, got 3"),
        ("resnet20+squeeze=17", r"squeeze: must be from 1 to 16, the fewest channels of a block, got 17"),
        ("resnet20+widths=64,32,16", r"shortcut: pad fills new channels with zeros and cannot leave any out"),
        ("resnet20+gate_bias=0", r"gate_bias: a net with shortcut=pad has no gates\. Try: shortcut=gated"),
        ("resnet20+shortcut=gated+preactivation=yes", r"exclusive gates are of post-activation blocks.*gated_shortcut"),
        ("resnet20+shortcut=gated+downsampling=max_pool", r"downsampling: .* got max_pool\. Try: stride"),
        ("resnet20+shortcut=gated+placement=relu_only", r"placement: exclusive gates are of the published order"),
        ("plain20+placement=relu_only", r"placement: relu_only is about the addition, and a plain net has none"),
        ("preact_resnet110+placement=relu_only", r"placement: relu_only is of post-activation blocks"),
        ("resnet20+placement=norm_after_addition+batch_norm=no", r"placement: .* moves a normalisation"),
        ("resnet20+stride_on=first", r"stride_on: basic blocks have no 1x1 .* got first\. Try: block=bottleneck"),
        ("resnet20+block=single+stride_on=first", r"stride_on: single blocks have no 1x1"),
        ("resnet50_v1+block=basic+stride_on=first", r"stride_on: basic blocks have no 1x1"),
        (
            "resnet50+stride_on=first+downsampling=max_pool",
            r"stride_on: with downsampling=max_pool no .* Try: downsamp",
        ),
        ("resnet20+pool=ceil", r"pool: the stem cifar has no pooling, got ceil\. Try: stem=imagenet"),
        ("resnet18+stem=cifar+pool=ceil", r"pool: the stem cifar has no pooling"),
        ("resnet50+downsampling=average_pool+shortcut=pool_project", r"shortcut: .* got pool_project\. Try: project"),
        ("resnet50+downsampling=max_pool+shortcut=pool_project", r"shortcut: downsampling=max_pool pools before it"),
        ("alexnet+widths=8,8,8", r"widths: expected 5 numbers, got 3\. Try: widths=64,192,384,256,256"),
        ("alexnet+groups=7", r"net: alexnet\+groups=7 cannot be built \(.*\)\. Try: alexnet$"),
        ("vgg11+convolutions=9999,9999,1,1,1", r"convolutions: at most 1,000 together"),
        ("googlenet+largest_kernel=4", r"largest_kernel: '4' is not known \(expected one of 3, 5\)"),
    ],
)
def test_what_is_wrong_is_said_in_a_line_with_what_to_do(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        catalog.entry(name)
    assert "\n" not in str(caught.value)
    assert catalog.find(name) is None
    assert not catalog.knows(name)


@pytest.mark.parametrize(
    "name",
    [
        "resnet50_v1+block=basic",
        "resnet50_v1+downsampling=average_pool",
        "resnet50_caffe+stem=cifar",
        "resnetd50+downsampling=average_pool",
        "resnet20+stride_on=3x3+pool=padded",
        "wrn16_1+stride_on=3x3",
    ],
)
def test_what_the_base_has_and_nobody_asked_for_may_change_nothing(name: str) -> None:
    assert catalog.knows(name)


def test_pooled_twice_is_pooled_once() -> None:
    """What is refused as changing nothing does change nothing."""
    base = dataclasses.replace(CATALOG["resnet20"].variant, downsampling="max_pool", shortcut="project")  # type: ignore[type-var]
    once, twice = (
        dataclasses.replace(base, shortcut=shortcut).build(num_classes=2, in_channels=1).eval()
        for shortcut in ("project", "pool_project")
    )
    twice.load_state_dict(dict(zip(twice.state_dict(), once.state_dict().values(), strict=True)))
    x = torch.randn(1, 1, 13, 13)
    assert torch.equal(once(x), twice(x))


def test_find_and_knows_take_both_kinds_of_names() -> None:
    assert catalog.find("resnet20") is CATALOG["resnet20"]
    assert catalog.knows("resnet20")
    assert catalog.knows("resnet20+widen=2")
    assert catalog.find("no_such_net") is None
    assert not catalog.knows("runs/mine")
    assert catalog.base("resnet20+widen=2") == "resnet20"
    assert catalog.base("my.own.Net") == "my.own.Net"
    assert catalog.changes("resnet20+widen=2+block=single") == {"widen": "2", "block": "single"}


def test_counting_draws_no_random_numbers() -> None:
    catalog._modified_entry.cache_clear()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    catalog.entry("resnet20+widen=2")
    assert torch.equal(torch.rand(3), expected)


def test_a_modified_net_starts_from_the_same_draws_whether_known_before_or_not() -> None:
    weights = []
    for _ in range(2):
        torch.manual_seed(1)
        weights.append(residuum.net("resnet20+batch_norm=no", num_classes=3).state_dict()["layer3.2.conv2.weight"])
    assert torch.equal(*weights)


# ----- recipes


@pytest.mark.parametrize("base", ["resnet110", "resnet20", "vgg11_bn", "lenet5"])
@pytest.mark.parametrize("name", ["paper_cifar", "cifar", "digits", "folder", "finetune"])
def test_a_modified_net_has_the_recipe_of_its_base(base: str, name: str) -> None:
    change = "as_published=yes" if base == "lenet5" else "batch_norm=no"
    assert recipe(name, f"{base}+{change}") == recipe(name, base)


def test_only_fast_cifar_looks_for_batch_normalisation(digits_data: Dataset) -> None:
    with pytest.raises(InputError, match=r"resnet20\+batch_norm=no has none\. Try: --recipe cifar"):
        recipe("fast_cifar", "resnet20+batch_norm=no")
    with pytest.raises(InputError, match="has none"):
        fast_cifar_recipe(digits_data, "resnet20+batch_norm=no", 32)
    assert recipe("fast_cifar", "resnet20+shortcut=project") == recipe("fast_cifar", "resnet20")
    assert recipe("fast_cifar", "vgg11+batch_norm=yes").image_size == 32
    assert default_recipe(digits_data, "resnet20+batch_norm=no", 32) == recipe("digits", "resnet20")


# ----- everything that takes a name


def test_a_reference_loads_an_untrained_net() -> None:
    classifier = residuum.load("resnet20+head=linear")
    assert classifier.net_name == "resnet20+head=linear"
    assert classifier.card == {"weights": "untrained"}
    assert isinstance(classifier.net.get_submodule("fc"), nn.Sequential)


def test_a_wrong_change_is_told_as_such_and_not_as_a_missing_directory() -> None:
    for take in (references.load, references.skeleton, lambda name: residuum.train(name, "digits")):
        with pytest.raises(InputError, match="shortcut: 'projected' is not known"):
            take("resnet20+shortcut=projected")


def test_a_modified_net_has_no_published_weights() -> None:
    with pytest.raises(InputError, match=r"no weights are known for resnet20\+widen=2"):
        references.load("resnet20+widen=2:cifar10")


def test_the_last_layer_of_a_modified_net_is_found() -> None:
    assert head_names("resnet20+head=linear", 10, 1) == {"fc.3.weight", "fc.3.bias"}


def test_trained_saved_loaded_resumed_and_given_away(
    tmp_path: Path, digits_data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name = "resnet8_narrow+shortcut=gated+dropout=0.5+head=linear"
    run = residuum.train(name, digits_data, changes={"steps": 2})
    assert run.path == Path("runs") / f"{name}-digits-digits-seed0"
    assert run.config.net == name
    trained = run.classifier()
    images = torch.rand(2, 1, 8, 8)
    expected = trained.net(images)
    assert residuum.resume(run.path).result == run.result
    for number, load in enumerate((Classifier.load, residuum.load)):
        saved = trained.save(tmp_path / f"saved{number}")
        loaded = load(saved)
        assert loaded.net_name == name
        assert torch.equal(loaded.net(images), expected)
    for form in ("safetensors", "pth"):
        done = export(trained, tmp_path / f"net.{form}", to=form)  # type: ignore[arg-type]
        assert done.size_bytes
    assert torch.equal(residuum.load(tmp_path / "net.safetensors").net(images), expected)
    assert references.skeleton(run.path).entry is catalog.entry(name)


def test_the_weights_of_a_modified_net_can_be_taken_on(tmp_path: Path, digits_data: Dataset) -> None:
    first = residuum.train("resnet8_narrow+widen=2", digits_data, changes={"steps": 1}, out=tmp_path / "first")
    second = residuum.train(first.path, digits_data, changes={"steps": 1}, out=tmp_path / "second")
    assert second.config.net == "resnet8_narrow+widen=2"
    assert second.config.start is not None


def test_a_budget_in_minutes_knows_the_images_of_a_modified_net(digits_data: Dataset) -> None:
    found = within(0.02, "resnet8_narrow+widen=2", digits_data, recipe("digits"), Execution())
    assert found.epochs


def test_commands_take_modified_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = "resnet20+shortcut=project"
    assert main(["summary", name, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["parameters"] == catalog.entry(name).parameters
    assert shown["catalog"]["twin"] == "resnet20"
    assert main(["summary", name]) == 0
    assert f"{name}: {OF_NO_PAPER}. Input 3x32x32" in capsys.readouterr().out
    assert main(["compare", name, "resnet20", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)
    out = tmp_path / "inspected"
    assert main(["inspect", "resnet8_narrow+batch_norm=no", "--only", "filters", "--out", str(out)]) == 0
    assert main(["train", name, "--data", "digits", "--max-steps", "1", "--out", str(tmp_path / "run"), "--json"]) == 0
    assert main(["summary", "resnet20+shortcut=projected"]) == InputError.exit_code
    assert "Try: project" in capsys.readouterr().err
