"""The model card says what is known, nothing else, and shows every name as it is."""

from __future__ import annotations

import json
from dataclasses import replace

from residuum.report.card import CardFacts, model_card
from residuum.report.table import in_markdown

PER_CLASS = [
    {"class": "a|b", "images": 600, "recall": 0.95, "precision": None},
    {"class": "<img src=x>", "images": 400, "recall": 0.9, "precision": 0.8},
]
FACTS = CardFacts(
    hub_name="me/pets",
    net="resnet20",
    paper="He et al. 2015",
    parameters=269_722,
    class_names=("a|b", "<img src=x>"),
    preprocessing={
        "channels": 3,
        "resize": 32,
        "crop": (32, 32),
        "mean": (0.5, 0.25, 0.125),
        "std": (1.0, 1.0, 1.0),
        "mean_image": False,
        "interpolation": "bilinear",
    },
    temperature=1.0,
    card={
        "data": "cifar10",
        "seed": 3,
        "recipe": {"name": "paper_cifar", "steps": 64_000, "epochs": None, "batch_size": 128},
        "chosen_by": "the last iterate",
        "metrics": {
            "val": {"num_images": 5000, "loss": 0.4, "top1": 0.91, "top5": 0.99, "error": 0.09},
            "test": {"num_images": 10_000, "loss": 0.31234, "top1": 0.9173, "top5": None, "error": 0.0827},
        },
        "weights_sha256": "ab12",
        "per_class": {"test": PER_CLASS},
        "environment": {"cpu": "A CPU", "commit": "c0ffee", "packages": {"torch": "2.13.0", "residuum": "0.1.0"}},
    },
    license="mit",
)
BARE = replace(FACTS, card={}, license=None, paper=None, net="my.Net")


def header(card: str) -> dict[str, object]:
    lines = card.removeprefix("---\n").partition("\n---\n")[0].splitlines()
    return {line.partition(": ")[0]: json.loads(line.partition(": ")[2]) for line in lines}


def test_a_whole_card() -> None:
    card = model_card(FACTS)
    assert header(card) == {
        "license": "mit",
        "library_name": "residuum",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "residuum", "resnet20"],
        "datasets": ["uoft-cs/cifar10"],
        "metrics": ["accuracy"],
    }
    for line in (
        "# resnet20 on cifar10",
        "| split | images | top-1 | top-5 | error | loss |",
        "| test | 10,000 | 91.73 % |  | 8.27 % | 0.3123 |",
        "| val | 5,000 | 91.00 % | 99.00 % | 9.00 % | 0.4000 |",
        r"| a\|b | 600 | 95.0 % | none |",
        r"| \<img src=x\> | 400 | 90.0 % | 80.0 % |",
        "| recipe | paper\\_cifar |",
        "| steps | 64000 |",
        "| seed | 3 |",
        "| weights sha256 | ab12 |",
        "| commit | c0ffee |",
        "| versions | residuum 0.1.0, torch 2.13.0 |",
        "- Its probabilities are not calibrated.",
        'classifier = residuum.load("hub:me/pets")',
    ):
        assert line in card.splitlines(), line
    assert "mean (0.5, 0.25, 0.125) subtracted, divided by (1, 1, 1)" in card
    assert "32x32 pixels: a photograph is reduced" in card


def test_what_is_not_known_is_left_out() -> None:
    card = model_card(BARE)
    assert set(header(card)) == {"library_name", "pipeline_tag", "tags"}
    for absent in ("## Accuracy", "## By class", "## Training", "## Provenance", "None", "license", 'my.Net"'):
        assert absent not in card, absent
    assert "No accuracy is recorded for these weights." in card
    assert "net=..." in card
    assert "## Classes" in card


def test_limits_and_temperature_of_the_card_are_told() -> None:
    own = replace(FACTS, temperature=1.5, card={**FACTS.card, "limits": ["Night scenes."]})
    lines = model_card(own).splitlines()
    assert "- Night scenes." in lines
    assert "- Its probabilities were calibrated by one temperature, 1.5; on images unlike those they are not." in lines
    fitted = {"temperature_from": "200 images of the val split", "calibration": {"ece_before": 0.031, "ece": 0.012}}
    told = model_card(replace(own, card={**FACTS.card, **fitted}))
    assert (
        "one temperature, 1.5, fitted on 200 images of the val split (expected calibration error there 3.10 % before, "
        "1.20 % after)"
    ) in told


def test_a_fine_tuned_net_says_what_it_was_made_from() -> None:
    start = {"model": "resnet18:imagenet", "weights_sha256": "cd34", "licence": "BSD-3-Clause", "new_head": True}
    card = model_card(replace(FACTS, card={**FACTS.card, "start": start}))
    assert "Fine-tuned from resnet18:imagenet on cifar10 by residuum." in card
    lines = card.splitlines()
    assert "| fine-tuned from | resnet18:imagenet |" in lines
    assert "| licence of these | BSD-3-Clause |" in lines
    assert "| sha256 of these | cd34 |" in lines


def test_published_figures_are_told_as_such() -> None:
    published = {"top1": 0.9173, "num_images": 10_000, "page": "https://example.org"}
    card = model_card(replace(BARE, card={"weights": "w", "publisher": "somebody", "published": published}))
    assert "Published by somebody: top-1 91.73 % of 10,000 images, https://example.org. Not measured again." in card
    assert "No accuracy is recorded" not in card
    assert "measured on the images above" not in card
    assert "Its accuracy is its publisher's word" in card


def test_many_classes_are_counted() -> None:
    names = tuple(f"class {index}" for index in range(1000))
    card = model_card(replace(BARE, class_names=names))
    assert "class 99, ... (1,000 in all, in classifier.json)" in card
    assert "class 100" not in card


def test_any_name_is_one_line_that_shows_it() -> None:
    assert in_markdown("a\n# b\u2028c\x00|`<b>&amp; $x$") == r"a \# b c \|\`\<b\>\&amp; \$x\$"
