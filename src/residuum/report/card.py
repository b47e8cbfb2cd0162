"""The README of a Classifier on the hub: what it is, what it was trained on, what it can do and what it cannot.

Every line is from the Classifier itself. What its card does not say is left out.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from residuum.report.numbers import by, share
from residuum.report.page import Table
from residuum.report.table import as_markdown, in_markdown

Plain = Mapping[str, Any]

# Names of the hub for the data sets that have one there.
HUB_DATASETS = {
    "cifar10": "uoft-cs/cifar10",
    "cifar100": "uoft-cs/cifar100",
    "mnist": "ylecun/mnist",
    "fashion-mnist": "zalando-datasets/fashion_mnist",
}
SPLITS = ("test", "val", "train")
COLUMNS = {"num_images": "images", "top1": "top-1", "top5": "top-5", "error": "error", "loss": "loss", "ece": "ECE"}
SHARES = ("top1", "top5", "error", "ece")
TRAINING = ("name", "epochs", "steps", "batch_size", "learning_rate", "momentum", "weight_decay", "label_smoothing")
MOST_CLASSES = 100  # named one by one
SMALL_IMAGE = 64  # pixels; photographs lose most of what they show


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """What a model card is written from, as plain values.

    Attributes:
        hub_name: `owner/name`.
        net: its name.
        paper: where the net was published; None for a net of the user's own.
        parameters: trainable values.
        class_names: by output.
        preprocessing: channels, resize, crop, mean, std, whether there is a mean image.
        temperature: what logits are divided by.
        card: the Classifier's own.
        license: of the weights, as the hub names it.
    """

    hub_name: str
    net: str
    paper: str | None
    parameters: int
    class_names: Sequence[str]
    preprocessing: Plain
    temperature: float
    card: Plain
    license: str | None = None


def model_card(facts: CardFacts) -> str:
    """The README of a Classifier, in Markdown with the hub's header."""
    sections = {
        "": _about(facts),
        "Use": _use(facts),
        "Accuracy": _accuracy(facts),
        "By class": _by_class(facts),
        "What it is not good for": _limits(facts),
        "Preprocessing": _preprocessing(facts),
        "Training": _training(facts),
        "Provenance": _provenance(facts),
        "Classes": _classes(facts),
    }
    body = "\n\n".join((f"## {title}\n\n" if title else "") + text for title, text in sections.items() if text)
    return f"{_header(facts)}\n# {_title(facts)}\n\n{body}\n"


def _header(facts: CardFacts) -> str:
    dataset = HUB_DATASETS.get(str(facts.card.get("data")))
    values: dict[str, object] = {
        "license": facts.license,
        "library_name": "residuum",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "residuum", *([facts.net] if facts.paper else [])],
        "datasets": [dataset] if dataset else None,
        "metrics": ["accuracy"] if _metrics(facts) else None,
    }
    lines = [f"{name}: {json.dumps(value)}" for name, value in values.items() if value]
    return "\n".join(("---", *lines, "---", ""))


def _title(facts: CardFacts) -> str:
    data = facts.card.get("data")
    return in_markdown(facts.net) + (f" on {in_markdown(data)}" if data else "")


def _about(facts: CardFacts) -> str:
    card, paper = facts.card, f" ({in_markdown(facts.paper)})" if facts.paper else ""
    text = f"A {in_markdown(facts.net)}{paper} with {facts.parameters:,} parameters"
    text += f" that tells {len(facts.class_names):,} classes of images apart."
    start = _mapping(card, "start").get("model")
    if card.get("data"):
        how = f"Fine-tuned from {in_markdown(start)}" if start else "Trained"
        text += f" {how} on {in_markdown(card['data'])} by residuum."
    elif card.get("weights"):
        text += f" Its weights come from {in_markdown(card['weights'])}."
    return text


def _use(facts: CardFacts) -> str:
    net = "" if facts.paper else ", net=..."
    own = (
        ""
        if facts.paper
        else f"\n\n`net` is an instance of the class `{in_markdown(facts.net)}`, which is not part of it."
    )
    return (
        f'```python\nimport residuum\n\nclassifier = residuum.load("hub:{facts.hub_name}"{net})\n'
        f'print(classifier.predict("photo.jpg"))\n```\n\n'
        "Loading executes nothing: the weights are safetensors, the rest is JSON, each file checked by its sha256."
        + own
    )


def _metrics(facts: CardFacts) -> dict[str, Plain]:
    metrics = facts.card.get("metrics")
    if not isinstance(metrics, Mapping):
        return {}
    return {name: metrics[name] for name in SPLITS if isinstance(metrics.get(name), Mapping)}


def _accuracy(facts: CardFacts) -> str:
    metrics = _metrics(facts)
    shown = [name for name in COLUMNS if any(each.get(name) is not None for each in metrics.values())]
    if not shown:
        return _published(facts)
    rows = [[split, *(_number(name, each.get(name)) for name in shown)] for split, each in metrics.items()]
    table = as_markdown(Table(("split", *(COLUMNS[name] for name in shown)), rows))
    chosen = facts.card.get("chosen_by")
    remarks = [f"Weights: {in_markdown(chosen)}."] if chosen else []
    if "ece" in shown:
        remarks.append("ECE: expected calibration error, in 15 bins.")
    return "\n\n".join((table, " ".join(remarks))).rstrip()


def _published(facts: CardFacts) -> str:
    """What the publisher of the weights says of them."""
    published = _mapping(facts.card, "published")
    shares = [f"{COLUMNS[name]} {_number(name, published[name])}" for name in ("top1", "top5") if name in published]
    if not shares:
        return ""
    images = published.get("num_images")
    of = f" of {_number('num_images', images)} images" if images else ""
    by_whom = in_markdown(facts.card.get("publisher", "others"))
    page = f", {in_markdown(published['page'])}" if published.get("page") else ""
    return f"Published by {by_whom}: {', '.join(shares)}{of}{page}. Not measured again."


def _number(name: str, value: object) -> str:
    if not isinstance(value, int | float):
        return ""
    if name in SHARES:
        return f"{100 * value:.2f} %"
    return f"{value:,}" if name == "num_images" else f"{value:.4f}"


def _by_class(facts: CardFacts) -> str:
    per_class = _mapping(facts.card, "per_class")
    split = next((name for name in SPLITS if per_class.get(name)), None)
    if split is None:
        return ""
    rows = [
        [str(each["class"]), f"{each['images']:,}", share(each.get("recall")), share(each.get("precision"))]
        for each in per_class[split]
    ]
    what = "Recall: right among the images of a class. Precision: right among the answers of that class."
    return f"On {split}.\n\n" + as_markdown(Table(("class", "images", "recall", "precision"), rows)) + f"\n\n{what}"


def _limits(facts: CardFacts) -> str:
    height, width = facts.preprocessing["crop"]
    limits = [
        f"It answers with one of its {len(facts.class_names):,} classes for every image, "
        "also for one that shows none of them."
    ]
    if min(height, width) < SMALL_IMAGE:
        limits.append(f"It sees {height}x{width} pixels: a photograph is reduced to that, and its details are lost.")
    if _metrics(facts):
        limits.append("It was measured on the images above only; on others expect less.")
    elif _published(facts):
        limits.append("Its accuracy is its publisher's word, on their images; on others expect less.")
    else:
        limits.append("No accuracy is recorded for these weights.")
    if facts.temperature == 1:
        limits.append("Its probabilities are not calibrated.")
    else:
        limits.append(_calibrated(facts))
    own = facts.card.get("limits") or facts.card.get("not_good_for") or ()
    limits += [str(each) for each in ([own] if isinstance(own, str) else own)]
    return "\n".join(f"- {in_markdown(each)}" for each in limits)


def _calibrated(facts: CardFacts) -> str:
    fitted_on = facts.card.get("temperature_from")
    text = f"Its probabilities were calibrated by one temperature, {facts.temperature:.4g}"
    text += f", fitted on {fitted_on}" if fitted_on else ""
    was, now = (_mapping(facts.card, "calibration").get(name) for name in ("ece_before", "ece"))
    if was is not None and now is not None:
        text += f" (expected calibration error there {_number('ece', was)} before, {_number('ece', now)} after)"
    return f"{text}; on images unlike those they are not."


def _preprocessing(facts: CardFacts) -> str:
    values = facts.preprocessing
    kind = {1: "grey", 3: "RGB"}[values["channels"]]
    how = f", {values['interpolation']} with antialiasing" if values.get("interpolation") else ""
    mean = "the mean image of the training set" if values.get("mean_image") else f"mean {_values(values['mean'])}"
    return (
        f"Pixels as {kind}, the shorter side resized to {values['resize']}{how}, the centre cropped to "
        f"{by(values['crop'])} (height x width), divided by 255, {mean} subtracted, divided by "
        f"{_values(values['std'])}. The Classifier does this itself."
    )


def _values(values: Sequence[float]) -> str:
    return "(" + ", ".join(f"{each:.4g}" for each in values) + ")"


def _training(facts: CardFacts) -> str:
    recipe, card = facts.card.get("recipe"), facts.card
    if not isinstance(recipe, Mapping):
        return ""
    rows = [
        ["recipe" if name == "name" else name.replace("_", " "), str(recipe[name])]
        for name in TRAINING
        if recipe.get(name) not in (None, 0, 0.0)
    ]
    rows += [["seed", str(card["seed"])]] if card.get("seed") is not None else []
    whole = html.escape(json.dumps(recipe, indent=1), quote=False)
    folded = f"<details><summary>The whole recipe</summary>\n\n<pre>{whole}</pre>\n\n</details>"
    return as_markdown(Table(("", ""), rows)) + f"\n\n{folded}"


def _provenance(facts: CardFacts) -> str:
    card = facts.card
    environment = _mapping(card, "environment")
    packages, start = _mapping(environment, "packages"), _mapping(card, "start")
    rows = {
        "weights sha256": card.get("weights_sha256"),
        "data fingerprint": card.get("data_fingerprint"),
        "weights from": card.get("weights") if card.get("data") else None,
        "fine-tuned from": start.get("model"),
        "sha256 of these": start.get("weights_sha256"),
        "licence of these": start.get("licence"),
        "source": card.get("source") or card.get("url"),
        "licence": facts.license,
        "commit": environment.get("commit"),
        "versions": ", ".join(f"{name} {packages[name]}" for name in ("residuum", "torch") if packages.get(name)),
        "hardware": environment.get("gpu") or environment.get("cpu"),
    }
    known = [[name, str(value)] for name, value in rows.items() if value]
    return as_markdown(Table(("", ""), known)) if known else ""


def _mapping(values: Plain, name: str) -> Plain:
    found = values.get(name)
    return found if isinstance(found, Mapping) else {}


def _classes(facts: CardFacts) -> str:
    names = facts.class_names
    if _by_class(facts):
        return ""
    shown = ", ".join(map(in_markdown, names[:MOST_CLASSES]))
    return shown + (f", ... ({len(names):,} in all, in classifier.json)" if len(names) > MOST_CLASSES else "")
