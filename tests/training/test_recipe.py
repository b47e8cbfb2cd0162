"""Recipes: what the papers say, changes that keep a recipe whole, JSON there and back, bad values refused."""

from __future__ import annotations

import json
import re
from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from residuum.data.augment import CropFlip, ScaleCropFlip
from residuum.data.source import ArrayImages, Dataset, Split
from residuum.errors import InputError
from residuum.nets.catalog import CATALOG
from residuum.training.recipe import Execution, Orthogonal, Recipe
from residuum.training.recipes import (
    ENLARGED,
    PRESETS,
    RECIPES,
    UNNORMALISED_NETS,
    default_recipe,
    fast_cifar,
    fast_cifar_recipe,
    finetune,
    folder,
    paper_cifar,
    paper_imagenet,
    preset,
    recipe,
)
from residuum.training.schedules import OneCycle, Plateau, StepDecay


def test_paper_cifar_is_section_4_2_of_he_2015() -> None:
    got = paper_cifar()
    assert (got.steps, got.batch_size, got.learning_rate, got.momentum, got.weight_decay) == (
        64_000,
        128,
        0.1,
        0.9,
        1e-4,
    )
    assert got.schedule == StepDecay(milestones=(32_000, 48_000), factor=0.1)
    assert got.augmentation == CropFlip(pad=4, flip=True)
    assert (got.normalisation, got.holdout, got.bn_group, got.label_smoothing) == ("pixel", 0.0, 64, 0.0)
    assert not got.nesterov
    assert paper_cifar(split="45k/5k").holdout == 0.1


def test_paper_imagenet_is_section_3_4_of_he_2015() -> None:
    got = paper_imagenet()
    assert (got.steps, got.batch_size, got.learning_rate, got.momentum, got.weight_decay) == (
        600_000,
        256,
        0.1,
        0.9,
        1e-4,
    )
    assert got.augmentation == ScaleCropFlip(smallest=256, largest=480, colour_std=0.1)
    assert isinstance(got.schedule, Plateau)
    assert got.image_size == 224


def test_digits_is_thirty_epochs_of_one_cycle() -> None:
    got = recipe("digits")
    assert (got.epochs, got.batch_size, got.learning_rate, got.momentum) == (30, 128, 0.1, 0.9)
    assert got.schedule == OneCycle()
    assert got.num_steps(1297) == 304


def test_fast_cifar_is_muon_one_cycle_and_alternating_mirrors() -> None:
    got = recipe("fast_cifar", "resnet20")
    assert (got.batch_size, got.learning_rate, got.momentum, got.nesterov, got.weight_decay) == (
        256,
        0.2,
        0.9,
        True,
        5e-4,
    )
    assert got.orthogonal == Orthogonal(rate=0.02, momentum=0.9)
    assert got.schedule == OneCycle(rise=0.1)
    assert got.augmentation == CropFlip(pad=2, flip="alternating")
    assert (got.label_smoothing, got.precision, got.image_size, got.holdout) == (0.0, "auto", None, 0.0)


@pytest.mark.parametrize("name", sorted(UNNORMALISED_NETS))
def test_fast_cifar_is_refused_for_nets_without_batch_normalisation(name: str, digits_data) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match=f"and {name} has none. Try: --recipe cifar"):
        recipe("fast_cifar", name)
    with pytest.raises(InputError, match=f"and {name} has none"):
        fast_cifar_recipe(digits_data, name, 32)


def test_fast_cifar_fits_other_images(digits_data) -> None:  # type: ignore[no-untyped-def]
    """Greys may be digits, which mirrored are others; small images are not padded by their half."""
    images = ArrayImages(np.zeros((len(digits_data.train), 32, 32, 3), np.uint8))
    colour = replace(digits_data, train=Split("train", images, digits_data.train.labels), image_size=(32, 32))
    assert fast_cifar_recipe(colour, "resnet20", 32) == recipe("fast_cifar", "resnet20")
    small = fast_cifar_recipe(digits_data, "resnet20", 32)
    assert (small.augmentation, small.image_size) == (CropFlip(pad=1, flip=False), 8)
    assert fast_cifar_recipe(digits_data, "vgg11_bn", 224).image_size == 32
    photographs = replace(colour, image_size=None)
    assert fast_cifar_recipe(photographs, "resnet18", 224).augmentation == CropFlip(pad=14, flip="alternating")


def test_fast_cifar_grows_in_proportion() -> None:
    assert recipe("fast_cifar", "resnet20").growing == ((0.3, 20), (0.6, 26))
    assert fast_cifar(image_size=64).growing == ((0.3, 40), (0.6, 52))
    assert recipe("fast_cifar", "vgg11_bn").growing == (), "a net that needs the whole image"


@pytest.mark.parametrize("side", [16, 24, 40, 48, 56, 64, 224])
def test_fast_cifar_of_another_size_is_in_proportion_however_it_is_asked_for(side: int) -> None:
    assert recipe("fast_cifar", "resnet20").changed({"image_size": side}) == fast_cifar(image_size=side)
    given = {"growing": ((0.5, 9),), "augmentation": {"kind": "crop-flip", "pad": 3}}
    changed = recipe("fast_cifar", "resnet20").changed({"image_size": side} | given)
    assert (changed.growing, changed.augmentation) == (((0.5, 9),), CropFlip(pad=3))


def test_crops_of_small_images_keep_their_proportion_where_the_recipe_says_so() -> None:
    assert finetune(image_size=32).changed({"image_size": 16}).augmentation == CropFlip(pad=2)
    assert finetune(image_size=8).changed({"image_size": 32}).augmentation == CropFlip(pad=4)
    for pads_by_four in (recipe("cifar"), recipe("paper_cifar", "alexnet")):
        assert pads_by_four.changed({"image_size": 128}).augmentation == CropFlip(pad=4)


def test_presets_are_for_long_trainings() -> None:
    fast = recipe("fast_cifar", "resnet20")
    (long,) = PRESETS["fast_cifar"]
    assert preset(fast, 32, long.epochs - 0.1) == fast
    changed = preset(fast, 32, long.epochs)
    assert (changed.growing, changed.augmentation) == ((), CropFlip(pad=4, flip="alternating"))
    assert preset(recipe("cifar"), 32, 100) == recipe("cifar")


def test_recipes_stored_before_there_was_an_alternating_mirror_mean_what_they_meant() -> None:
    stored = json.loads(json.dumps(recipe("cifar").to_json()))
    assert stored["augmentation"] == {"kind": "crop-flip", "pad": 4, "flip": True}
    assert Recipe.from_json(stored) == recipe("cifar")
    for flip in (True, False, "alternating"):
        changed = recipe("cifar").changed({"augmentation": {"kind": "crop-flip", "flip": flip}})
        assert isinstance(changed.augmentation, CropFlip)
        assert changed.augmentation.flip is flip or changed.augmentation.flip == flip == "alternating"
    with pytest.raises(InputError, match="flip"):
        recipe("cifar").changed({"augmentation": {"kind": "crop-flip", "flip": "sometimes"}})


@pytest.mark.parametrize("name", CATALOG)
def test_nets_without_batch_normalisation_get_a_tenth_of_the_rate(name: str, digits_data) -> None:  # type: ignore[no-untyped-def]
    entry = CATALOG[name]
    with torch.device("meta"):
        normalised = any(isinstance(module, torch.nn.BatchNorm2d) for module in entry.build().modules())
    photographs = replace(digits_data, image_size=None)
    for usual, got in (
        (0.1, recipe("digits", name)),
        (0.1, recipe("paper_cifar", name)),
        (0.1, recipe("paper_imagenet", name)),
        (0.1, default_recipe(digits_data, name, entry.input_size)),
        (0.05, recipe("folder", name)),
        (0.05, default_recipe(photographs, name, entry.input_size)),
    ):
        assert got.learning_rate == pytest.approx(usual if normalised else usual / 10)


@pytest.mark.parametrize("name", ENLARGED)
def test_small_images_are_enlarged_for_nets_that_need_it(name: str, digits_data) -> None:  # type: ignore[no-untyped-def]
    size = default_recipe(digits_data, name, 224).image_size
    with torch.device("meta"):
        model = CATALOG[name].build(num_classes=10, in_channels=1).eval()
        assert model(torch.empty(1, 1, size, size)).shape == (1, 10)
        with pytest.raises((InputError, RuntimeError)):
            model(torch.empty(1, 1, 8, 8))


@pytest.mark.parametrize("name", RECIPES)
def test_json_there_and_back(name: str) -> None:
    got = recipe(name)
    assert Recipe.from_json(json.loads(json.dumps(got.to_json()))) == got


@pytest.mark.parametrize(
    ("change", "where"),
    [({"batch_size": "many"}, "batch_size"), ({"schedule": {"kind": "magic"}}, "schedule"), ({"unknown": 1}, "")],
)
def test_json_that_is_no_recipe_is_refused(change: dict[str, object], where: str) -> None:
    with pytest.raises(InputError, match=f"recipe.{where}"):
        Recipe.from_json(recipe("digits").to_json() | change)


def test_steps_and_epochs_replace_each_other() -> None:
    assert paper_cifar().changed({"epochs": 2}).num_steps(50_000) == 781
    assert recipe("digits").changed({"steps": 7}).num_steps(1297) == 7


def test_milestones_keep_their_shares_of_all_updates(digits_data: Dataset) -> None:
    def milestones(changes: dict[str, object], dataset: Dataset | None = digits_data) -> tuple[int, ...]:
        schedule = paper_cifar().changed(changes, dataset=dataset).schedule
        assert isinstance(schedule, StepDecay)
        return schedule.milestones

    assert milestones({}) == milestones({"steps": 64_000}) == milestones({"batch_size": 64}) == (32_000, 48_000)
    assert milestones({"steps": 1000}) == milestones({"steps": 1000}, None) == (500, 750)
    assert milestones({"epochs": 30}) == (152, 228), "of 304 updates: 1,297 images in batches of 128"
    assert milestones({"epochs": 30, "batch_size": 64}) == (304, 456)
    assert milestones({"epochs": 30}, None) == (32_000, 48_000), "nobody knows how many updates these are"
    kept_out = replace(digits_data, val=None)
    assert milestones({"epochs": 30, "holdout": 0.5}, kept_out) == (76, 114), "of 152, half of the images kept out"
    given = {"steps": 1000, "schedule": {"kind": "step-decay", "milestones": (10, 20)}}
    assert milestones(given) == (10, 20)
    longer = paper_cifar().changed({"epochs": 30}, dataset=digits_data).changed({"epochs": 60}, dataset=digits_data)
    assert longer.schedule == StepDecay(milestones=(304, 456))


def test_an_optional_field_can_be_taken_away() -> None:
    changed = paper_cifar(warm_up=True).changed({"bn_group": None, "warm_up": None, "augmentation": None})
    assert (changed.bn_group, changed.warm_up, changed.augmentation) == (None, None, None)


def test_scales_keep_their_proportion_to_the_image_size() -> None:
    assert folder().changed({"image_size": 112}).augmentation == ScaleCropFlip(smallest=128, largest=240)
    assert folder(image_size=112).augmentation == ScaleCropFlip(smallest=128, largest=240)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "steps: must be at least 1 and at most 1,000,000,000, got 0. Try: 1"),
        ({"epochs": -1.0}, "epochs: must be above 0, got -1"),
        ({"batch_size": 1}, "batch_size: must be at least 2 and at most 1,000,000, got 1. Try: 2"),
        ({"learning_rate": 0.0}, "learning_rate: must be above 0"),
        ({"learning_rate": float("nan")}, "learning_rate: must be above 0"),
        ({"image_size": -5}, "image_size: must be at least 1"),
        ({"holdout": 1.0}, "holdout: must be at least 0 and below 1, got 1.0"),
        ({"momentum": 1.5}, "momentum: must be at least 0 and below 1"),
        ({"batch_size": 100, "bn_group": 64}, "multiple of the recipe's bn_group 64, got 100. Try: 128"),
        ({"epochs": 1e300}, "epochs: must be above 0, got 1e+300 (at most 1e+06). Try: 30"),
        ({"learning_rate": float("inf")}, "learning_rate: must be above 0"),
        ({"precision": "fp16"}, "recipe.precision: Input should be 'fp32', 'bf16' or 'auto'"),
        ({"epochs": "many"}, "recipe.epochs"),
        ({"steps": 2.5}, "recipe.steps"),
        ({"augmentation": {"kind": "crop-flip", "pad": -1}}, "pad: must be at least 0, got -1"),
        ({"lerning_rate": 1}, "Try: learning_rate"),
        ({"weight_decay": -1e-4}, "weight_decay: must be at least 0 and at most 10, got -0.0001. Try: 0.0001"),
        ({"nesterov": True, "momentum": 0.0}, "nesterov: needs momentum, got momentum 0. Try: momentum=0.9"),
        ({"warm_up": {"window": 0}}, "window: must be at least 1, got 0. Try: 100"),
        ({"schedule": {"kind": "plateau", "patience": 0}}, "patience: must be at least 1, got 0. Try: 5"),
    ],
)
def test_values_out_of_range_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        recipe("digits").changed(change)


def test_exactly_one_length_is_needed() -> None:
    with pytest.raises(InputError, match="exactly one of steps and epochs"):
        Recipe(name="x", steps=1, epochs=1.0)


def test_execution_refuses_what_cannot_be() -> None:
    with pytest.raises(InputError, match="threads: must be at least 1, got 0"):
        Execution(threads=0)


def test_every_field_is_documented() -> None:
    for each in (Recipe, Execution):
        for field in fields(each):
            assert f"{field.name}" in (each.__doc__ or ""), field.name


def test_the_recipe_that_suits_the_data(digits_data) -> None:  # type: ignore[no-untyped-def]
    assert default_recipe(digits_data, "resnet20", 32).name == "digits"


def test_an_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(InputError, match="Try: paper_cifar"):
        recipe("paper_cifr")
