"""A Classifier as an ONNX graph: written by PyTorch's exporter, then run beside the net before it is given away.

Input `images`, output `logits` `(N, K)`; the batch N is free, height and width are those of the crop. Preprocessing
outside, `images` are `(N, C, H, W)` float32, normalised; inside, `(N, H, W, C)` uint8, the pixels of resized and
cropped images, and the graph subtracts and divides: a service has to decode, resize and crop, nothing else.
Probabilities are the softmax of logits divided by the temperature, which is among the metadata, those of `describe`.
"""

from __future__ import annotations

import contextlib
import copy
import importlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from residuum.classifier import Classifier
from residuum.data.preprocess import Preprocessing
from residuum.deploy.description import describe
from residuum.errors import InputError, ResiduumError, missing_extra

OPSET = 18  # what PyTorch's exporter writes without converting
EXTRA = "deploy"
INPUT, OUTPUT = "images", "logits"
TRACED_BATCH = 2  # 0 and 1 would be taken for constants
CHECKED_BATCHES = (1, 3)
GREATEST_DIFFERENCE = 1e-3  # of a logit, relative to the largest one
CHECK_SEED = 0


class FromPixels(nn.Module):
    """A net with its preprocessing in front: `(N, H, W, C)` uint8 to logits `(N, K)`."""

    def __init__(self, net: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.net, self.preprocessing = net, preprocessing
        self.register_buffer("mean", preprocessing.subtracted_mean(torch.device("cpu"), preprocessing.crop))

    def forward(self, images: Tensor) -> Tensor:
        """Logits of pixels."""
        return self.net(self.preprocessing.normalise_with(images, self.mean))  # type: ignore[no-any-return, arg-type]


def checked_graph(classifier: Classifier, *, inside: bool) -> tuple[bytes, float | None]:
    """The ONNX file of a Classifier, and how far its logits are from PyTorch's.

    Args:
        classifier: unchanged.
        inside: whether the graph takes uint8 pixels and normalises them.

    Returns:
        The file, and the greatest difference of a logit relative to the largest one, over batches of 1 and 3 random
        images; None where onnxruntime is not installed.

    Raises:
        InputError: onnx or onnxscript is not installed.
        ResiduumError: the net cannot be exported, or the graph answers differently.
    """
    net = copy.deepcopy(classifier.net).cpu().float().to(memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
    preprocessing = classifier.preprocessing
    model = FromPixels(net, preprocessing) if inside else net
    content = _written(model, example(preprocessing, TRACED_BATCH, inside=inside), describe(classifier))
    try:
        importlib.import_module("onnxruntime")
    except ImportError:
        return content, None
    differences = [_difference(content, model, example(preprocessing, n, inside=inside)) for n in CHECKED_BATCHES]
    worst = max(differences, key=lambda each: float("inf") if np.isnan(each) else each)
    if not worst <= GREATEST_DIFFERENCE:
        raise ResiduumError(
            f"export: the graph of {classifier.net_name} answers otherwise than PyTorch (by {worst:.1e} of the largest "
            f"logit, expected at most {GREATEST_DIFFERENCE:.0e}); nothing was written. Try: --to safetensors"
        )
    return content, worst


def example(preprocessing: Preprocessing, count: int, *, inside: bool) -> Tensor:
    """Random images as the graph takes them, the same at every call."""
    generator = torch.Generator().manual_seed(CHECK_SEED)
    shape = (count, *preprocessing.crop, preprocessing.channels)
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    return pixels if inside else preprocessing.normalise(pixels).contiguous()


def run_onnx(graph: str | Path | bytes, images: NDArray[Any]) -> NDArray[np.float32]:
    """Logits of an exported graph, by onnxruntime on the CPU.

    Args:
        graph: a file that `export` wrote, or its content.
        images: as the graph takes them: float32 `(N, C, H, W)` or uint8 `(N, H, W, C)`.

    Raises:
        InputError: onnxruntime is not installed, the file cannot be read, or the images do not fit the graph.
    """
    name = "graph" if isinstance(graph, bytes) else str(graph)
    runtime = _module("onnxruntime", name)
    options = runtime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is raised
    try:
        content = graph if isinstance(graph, bytes) else Path(graph).read_bytes()
        session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        (logits,) = session.run([OUTPUT], {INPUT: np.ascontiguousarray(images)})
    except OSError as error:
        raise InputError(f"{name}: cannot be read ({error.strerror}). Try: the --out of residuum export") from error
    except Exception as error:  # the runtime has a type for each of its failures, none of them public
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"{name}: cannot be run ({reason}). Try: the --out of residuum export") from error
    return np.asarray(logits, dtype=np.float32)


def require_exporter() -> Any:
    """The package onnx.

    Raises:
        InputError: it, or onnxscript, is not installed.
    """
    _module("onnxscript", "export")
    return _module("onnx", "export")


def _written(model: nn.Module, images: Tensor, description: dict[str, str]) -> bytes:
    onnx = require_exporter()
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                model,
                (images,),
                dynamo=True,
                verbose=False,
                opset_version=OPSET,
                external_data=False,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=({0: torch.export.Dim("N", min=1)},),
            )
        if program is None:
            raise TypeError("the exporter gave nothing back")
        graph = program.model_proto
        _forget_where_it_was_made(graph)
        onnx.helper.set_model_props(graph, description)
        onnx.checker.check_model(graph, full_check=True)
        content: bytes = graph.SerializeToString()
    except Exception as error:  # the exporter raises what it likes on a net it cannot follow
        reason = " ".join(str(error).split())[:300]
        raise ResiduumError(f"export: this net cannot be written as ONNX ({reason}). Try: --to safetensors") from error
    return content


def _forget_where_it_was_made(graph: Any) -> None:
    """Remove the lines of source, with the paths of this machine, that the exporter notes beside every node."""
    body = graph.graph
    for each in (body, *body.node, *body.initializer, *body.value_info, *body.input, *body.output, *graph.functions):
        each.doc_string = ""
        del each.metadata_props[:]
    for function in graph.functions:
        for node in function.node:
            node.doc_string = ""
            del node.metadata_props[:]


def _difference(content: bytes, model: nn.Module, images: Tensor) -> float:
    with torch.inference_mode():
        expected = model(images).numpy()
    if not np.isfinite(expected).all():
        raise ResiduumError(
            "export: the logits of this net are not finite, so its graph cannot be checked. Try: trained weights"
        )
    found = run_onnx(content, images.numpy())
    if found.shape != expected.shape:
        return float("inf")
    return float(np.abs(found - expected).max() / max(np.abs(expected).max(), np.finfo(np.float32).tiny))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter says to those who develop it."""
    before = logging.root.manager.disable
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(before)


def _module(name: str, what: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise missing_extra(what, name, EXTRA) from error
