"""`export`: a Classifier in a form that other programs read.

    pth          `torch.save` of the state dict: torchvision loads it where it has the net; the tensors and nothing else
    safetensors  the same tensors, with net, class names, preprocessing and digest as metadata: `read_classifier`
    onnx         a graph, checked by running it (`residuum.deploy.onnx`), with the same metadata
    classifier   a Classifier directory, for example of a Run

Tensors are written as they are: the same type, the same bits, under the same names.
"""

from __future__ import annotations

import io
import json
import os
import struct
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import safetensors.torch
import torch
from torch import Tensor

from residuum.classifier import Classifier, net_with
from residuum.deploy.description import describe, described
from residuum.deploy.onnx import OPSET, checked_graph, require_exporter
from residuum.errors import DamagedError, InputError, unknown
from residuum.files.atomic import write_file
from residuum.nets import catalog
from residuum.weights.store import digest, from_bytes, require_header

Form = Literal["onnx", "pth", "safetensors", "classifier"]
Place = Literal["outside", "inside"]


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What `export` wrote.

    Attributes:
        path: where.
        form: what it is.
        size_bytes: of the file; of all files of a Classifier directory.
        opset: of an ONNX graph.
        difference: greatest difference of the graph's logits from PyTorch's, relative to the largest logit; None where
            the graph was not run.
    """

    path: Path
    form: Form
    size_bytes: int
    opset: int | None = None
    difference: float | None = None


def export(
    classifier: Classifier, path: str | Path, *, to: Form = "onnx", preprocessing: Place = "outside"
) -> Exported:
    """Write a Classifier in a form that other programs read, whole or not at all.

    Args:
        classifier: what to give away; unchanged.
        path: a new file, or a new directory for `classifier`.
        to: `onnx`, `pth`, `safetensors` or `classifier`.
        preprocessing: of an ONNX graph. `outside`: its input is `(N, C, H, W)` float32, normalised. `inside`: its input
            is `(N, H, W, C)` uint8, resized and cropped pixels, and the graph normalises.

    Raises:
        InputError: something stands at `path`, an option does not fit, or a package is missing.
        ResiduumError: the graph cannot be made, or does not answer as the net does; nothing was written.
        StorageError: no space, or no permission; nothing is left behind.
    """
    path = Path(path)
    require_exportable(path, to=to, preprocessing=preprocessing)
    if classifier.card.get("weights") == "untrained":
        warnings.warn(f"{classifier.net_name} is untrained, its answers mean nothing", stacklevel=2)
    if to == "classifier":
        classifier.save(path)
        return Exported(path=path, form=to, size_bytes=sum(each.stat().st_size for each in path.iterdir()))
    if to == "onnx":
        content, difference = checked_graph(classifier, inside=preprocessing == "inside")
        write_file(path, content)
        return Exported(path=path, form=to, size_bytes=len(content), opset=OPSET, difference=difference)
    content = _pth(classifier) if to == "pth" else _safetensors(classifier)
    write_file(path, content)
    return Exported(path=path, form=to, size_bytes=len(content))


def require_exportable(path: Path, *, to: Form, preprocessing: Place) -> None:
    """Check what `export` is asked for, before there is a Classifier to export.

    Raises:
        InputError: something stands at `path`, an option does not fit, or a package is missing.
    """
    if to not in get_args(Form):
        raise unknown("to", to, get_args(Form))
    if preprocessing not in get_args(Place):
        raise unknown("preprocessing", preprocessing, get_args(Place))
    if preprocessing == "inside" and to != "onnx":
        raise InputError(f"preprocessing inside (--uint8): only an ONNX graph can hold it, not {to}. Try: --to onnx")
    if os.path.lexists(path):
        raise InputError(f"{path}: already exists. Try: another --out")
    if to == "onnx":
        require_exporter()


def read_classifier(path: str | Path) -> Classifier:
    """The Classifier in a safetensors file that `export` wrote; nothing in it is executed.

    Raises:
        InputError: it cannot be read, describes no Classifier, or its net is not in the catalog.
        DamagedError: its weights are not those it describes.
    """
    path = Path(path)
    metadata, content = _read_safetensors(path)
    description = described(metadata, str(path))
    if not catalog.knows(description.net):
        raise InputError(f"{path}: holds weights of {description.net}, which is not in the catalog. Try: its directory")
    state = from_bytes(content, str(path))
    if digest(state) != description.weights_sha256:
        raise DamagedError(f"{path}: its weights are not those it was written with. Try: another copy")
    net = net_with(
        state,
        description.net,
        num_classes=len(description.class_names),
        in_channels=description.preprocessing.channels,
        source=str(path),
    )
    card = {"weights": description.source or path.name, "weights_sha256": description.weights_sha256}
    return Classifier(
        net=net,
        net_name=description.net,
        preprocessing=description.preprocessing,
        class_names=description.class_names,
        temperature=description.temperature,
        card=card,
    )


def _read_safetensors(path: Path) -> tuple[dict[str, str], bytes]:
    """Metadata and content of a safetensors file; its header is measured before it is parsed."""
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            start = stream.read(8)
            require_header(start, size, str(path))
            content = start + stream.read()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}). Try: the path of a weight file") from error
    (length,) = struct.unpack("<Q", start)
    try:
        metadata = json.loads(content[8 : 8 + length]).get("__metadata__", {})
        return {str(name): str(value) for name, value in metadata.items()}, content
    except (ValueError, AttributeError, RecursionError) as error:
        raise DamagedError(f"{path}: is not a whole safetensors file. Try: another copy") from error


def _tensors(classifier: Classifier) -> dict[str, Tensor]:
    """The state dict in a plain dictionary: on the CPU, in the usual order of memory, each tensor with its own."""
    state = classifier.net.state_dict()
    return {name: each.detach().cpu().clone(memory_format=torch.contiguous_format) for name, each in state.items()}


def _pth(classifier: Classifier) -> bytes:
    stream = io.BytesIO()
    torch.save(_tensors(classifier), stream)
    return stream.getvalue()


def _safetensors(classifier: Classifier) -> bytes:
    content: bytes = safetensors.torch.save(_tensors(classifier), describe(classifier))
    return content
