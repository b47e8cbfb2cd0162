"""What a weight file or graph must say to be used without its Classifier directory, as a few strings.

net              name in the catalog, or of the user's own class
class_names      JSON list, by output
preprocessing    JSON object: the fields of `Preprocessing`; a mean image as base64 of its float32 values, H W C
temperature      what logits are divided by before the softmax
weights_sha256   digest over names and values of all tensors
source           where the weights come from, where the card says so
residuum         version that wrote the file
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

import residuum
from residuum.classifier import Classifier
from residuum.data.preprocess import Interpolation, Preprocessing
from residuum.errors import DamagedError
from residuum.weights.store import digest


@dataclass(frozen=True)
class Description:
    """What `describe` wrote, read back."""

    net: str
    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    temperature: float
    weights_sha256: str
    source: str | None


def describe(classifier: Classifier) -> dict[str, str]:
    """A Classifier without its weights, as strings by name."""
    description = {
        "net": classifier.net_name,
        "class_names": json.dumps(list(classifier.class_names), ensure_ascii=False),
        "preprocessing": json.dumps(plain_preprocessing(classifier.preprocessing)),
        "temperature": repr(float(classifier.temperature)),
        "weights_sha256": digest(classifier.net.state_dict()),
        "residuum": residuum.__version__,
    }
    if source := source_of(classifier.card):
        description["source"] = source
    return description


def plain_preprocessing(preprocessing: Preprocessing) -> dict[str, object]:
    """Preprocessing as JSON values."""
    values = {each.name: getattr(preprocessing, each.name) for each in fields(preprocessing)}
    if preprocessing.mean_image is not None:
        values["mean_image"] = base64.b64encode(preprocessing.mean_image.astype("<f4").tobytes()).decode()
    return values


def source_of(card: Mapping[str, object]) -> str | None:
    """Where the weights of a card come from, in a few words; None where it does not say."""
    if card.get("data"):
        recipe, seed = card.get("recipe"), card.get("seed")
        how = [f"recipe {recipe['name']}" if isinstance(recipe, Mapping) and "name" in recipe else ""]
        how.append(f"seed {seed}" if seed is not None else "")
        return ", ".join([f"trained on {card['data']}", *filter(None, how)])
    return str(card["weights"]) if card.get("weights") else None


def described(metadata: Mapping[str, str], name: str) -> Description:
    """Read what `describe` wrote.

    Raises:
        DamagedError: an entry is missing or is not what `describe` writes; the message begins with `name`.
    """
    try:
        class_names = json.loads(metadata["class_names"])
        if not class_names or not isinstance(class_names, list) or not all(isinstance(n, str) for n in class_names):
            raise ValueError("class_names is no list of names")
        temperature = float(metadata["temperature"])
        if not 0 < temperature < math.inf:
            raise ValueError(f"temperature is {temperature}")
        return Description(
            net=metadata["net"],
            class_names=tuple(class_names),
            preprocessing=_preprocessing(metadata["preprocessing"]),
            temperature=temperature,
            weights_sha256=metadata["weights_sha256"],
            source=metadata.get("source"),
        )
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        reason = str(error).partition("\n")[0][:200]
        raise DamagedError(
            f"{name}: does not describe a Classifier ({reason}). "
            f"Try: residuum weights import {name} --net NET --classes FILE --out DIR"
        ) from error


class _Plain(BaseModel):
    """What `plain_preprocessing` wrote."""

    model_config = ConfigDict(extra="forbid")
    channels: int
    resize: int
    crop: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    mean_image: str | None = None
    interpolation: Interpolation = "bilinear"


def _preprocessing(written: str) -> Preprocessing:
    try:
        plain = _Plain.model_validate_json(written)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"preprocessing {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    image = None
    if plain.mean_image is not None:
        flat = np.frombuffer(base64.b64decode(plain.mean_image, validate=True), dtype="<f4")
        image = flat.reshape((*plain.crop, plain.channels)).astype(np.float32)
    return Preprocessing(**plain.model_dump(exclude={"mean_image"}), mean_image=image)
