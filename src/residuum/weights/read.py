"""Tensors from files that others wrote. What a file is, its first bytes say; its name does not matter.

Nothing is executed, whatever a file holds, and no file takes memory beyond what it has: each format is checked before
it is read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from residuum.errors import InputError
from residuum.weights import store
from residuum.weights.formats import MAX_TENSORS, caffe, hdf5, npz, onnx, torch_files
from residuum.weights.formats.strangers import strange_directory, stranger

START_BYTES = 1024


@dataclass(frozen=True)
class Format:
    """How a format is recognised by its first bytes, and read."""

    name: str
    matches: Callable[[bytes], bool]
    read: Callable[[Path], dict[str, Tensor]]


# The first that matches reads the file; those without a signature come last.
FORMATS = (
    Format("Keras (.h5)", hdf5.matches, hdf5.read),
    Format("numpy (.npz)", npz.matches, npz.read),
    Format("safetensors", store.matches, store.read),  # before torch.save: its first byte may be that of a pickle
    Format("torch.save", torch_files.matches, torch_files.read),
    Format("ONNX", onnx.matches, onnx.read),
    Format("Caffe", caffe.matches, caffe.read),
)


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """All tensors of a weight file, on the CPU, by the names they have there.

    Args:
        path: a file of safetensors, `torch.save` (zip or legacy; the state dict, also in a wrapper, plain rather than
            averaged where both are there), Keras (`.h5`), numpy (`.npz`), Caffe (`.caffemodel`) or ONNX.

    Raises:
        InputError: missing, empty, damaged, of an unknown format, it would execute something, or it claims more than
            it has; or the package that reads it is not installed.
    """
    path = Path(path)
    start = _start(path)
    what = stranger(start)
    if what:
        raise InputError(f"{path}: {what}")
    for each in FORMATS:
        if each.matches(start):
            return _counted(each.read(path), path)
    known = ", ".join(each.name for each in FORMATS)
    raise InputError(f"{path}: is not a weight file (expected one of {known}). Try: another file")


def _start(path: Path) -> bytes:
    if path.is_dir():
        raise InputError(f"{path}: {strange_directory(path)}")
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise InputError(f"{path}: is a pipe or a device. Try: a file")
    try:
        with path.open("rb") as stream:
            return stream.read(START_BYTES)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{path}: cannot be read ({reason}). Try: the path of a weight file") from error


def _counted(tensors: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    if not tensors:
        raise InputError(f"{path}: holds no tensors by name. Try: a state dict")
    if len(tensors) > MAX_TENSORS:
        raise InputError(
            f"{path}: holds {len(tensors):,} tensors (expected at most {MAX_TENSORS:,}). "
            "Try: a file with the weights alone"
        )
    return tensors
