"""A Classifier as a directory, written and read; `residuum.classifier` makes a Classifier of what is read.

    model.safetensors          weights and buffers, by state-dict name
    classifier.json            format version, net, class names, preprocessing, and the card
    preprocessing.safetensors  the mean image, where training subtracted one
    manifest.json              size and sha256 of each of these

Reading executes nothing: JSON and safetensors hold values only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from residuum.data.preprocess import Interpolation, Preprocessing
from residuum.errors import DamagedError, InputError
from residuum.files.atomic import MANIFEST, read_directory, write_directory
from residuum.weights.store import from_bytes, halved, to_bytes

FORMAT = 1
WEIGHTS, DOCUMENT, MEAN_IMAGE = "model.safetensors", "classifier.json", "preprocessing.safetensors"


class _Preprocessing(BaseModel):
    model_config = ConfigDict(extra="forbid")
    channels: int
    resize: int
    crop: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    mean_image: bool
    interpolation: Interpolation = "bilinear"


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid")
    format: int
    net: str
    class_names: tuple[str, ...] = Field(min_length=1)
    preprocessing: _Preprocessing
    temperature: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    card: dict[str, Any]


@dataclass(frozen=True, eq=False, kw_only=True)
class Stored:
    """What a directory holds of a Classifier: all but the net, whose weights are in `state`, by state-dict name."""

    state: Mapping[str, Tensor]
    net_name: str
    preprocessing: Preprocessing
    class_names: tuple[str, ...]
    temperature: float
    card: dict[str, Any]

    def write(self, directory: Path, *, half: bool = False) -> None:
        """Write a new directory, whole or not at all; `half` stores the weights as float16.

        Raises:
            InputError: something stands there already, or a weight is too large for float16.
            StorageError: no space, or no permission; nothing is left behind.
        """
        preprocessing = self.preprocessing
        document = {
            "format": FORMAT,
            "net": self.net_name,
            "class_names": list(self.class_names),
            "preprocessing": {
                "channels": preprocessing.channels,
                "resize": preprocessing.resize,
                "crop": list(preprocessing.crop),
                "mean": list(preprocessing.mean),
                "std": list(preprocessing.std),
                "mean_image": preprocessing.mean_image is not None,
                "interpolation": preprocessing.interpolation,
            },
            "temperature": self.temperature,
            "card": self.card,
        }
        files = {
            WEIGHTS: to_bytes(halved(self.state) if half else self.state),
            DOCUMENT: json.dumps(document, indent=1, ensure_ascii=False).encode(),
        }
        if preprocessing.mean_image is not None:
            files[MEAN_IMAGE] = to_bytes({"mean_image": torch.from_numpy(preprocessing.mean_image)})
        write_directory(directory, files)

    @classmethod
    def read(cls, directory: Path) -> Stored:
        """What a directory holds, as written by `write`.

        Raises:
            DamagedError: a file is missing or is not what the manifest says.
            InputError: there is no such directory, or it is of a newer format.
        """
        if not directory.is_dir():
            raise InputError(f"{directory}: no such directory. Try: a Run or Classifier directory")
        if not any((directory / name).exists() for name in (MANIFEST, DOCUMENT, WEIGHTS)):
            raise InputError(f"{directory}: is not a Run or Classifier directory. Try: the --out of a training")
        files = read_directory(directory)
        _require_known_format(files.get(DOCUMENT, b""), directory)
        try:
            document = _Document.model_validate_json(files[DOCUMENT])
            state = from_bytes(files[WEIGHTS], str(directory / WEIGHTS))
            preprocessing = _preprocessing(document, files, directory)
        except DamagedError:
            raise
        except (KeyError, TypeError, ValidationError, InputError) as error:
            reason = str(error).splitlines()[0]
            raise DamagedError(f"{directory}: is not a Classifier directory ({reason}). Try: another copy") from error
        return cls(
            state=state,
            net_name=document.net,
            preprocessing=preprocessing,
            class_names=document.class_names,
            temperature=document.temperature,
            card=document.card,
        )


def _require_known_format(content: bytes, directory: Path) -> None:
    """Refuse what a newer version wrote before its fields are looked at."""
    try:
        written = json.loads(content).get("format")
    except (ValueError, AttributeError, RecursionError):
        return  # the fields will say what is wrong
    if isinstance(written, int) and written > FORMAT:
        raise InputError(
            f"{directory}: has format {written} (this program reads up to {FORMAT}). Try: a newer residuum"
        )


def _preprocessing(document: _Document, files: Mapping[str, bytes], directory: Path) -> Preprocessing:
    """The preprocessing of a document, with its mean image where it has one."""
    mean_image = None
    if document.preprocessing.mean_image:
        mean_image = from_bytes(files[MEAN_IMAGE], str(directory))["mean_image"].numpy()
    return Preprocessing(**document.preprocessing.model_dump() | {"mean_image": mean_image})
