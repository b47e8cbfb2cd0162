"""Files of `torch.save`: a zip file with a pickle and one entry for each storage, or, before torch 1.6, a stream.

The zip directory and the pickle are checked first, then `torch.load` reads with `weights_only=True`; there is no other
way in. Programs that look alike (TorchScript, `torch.export`) are named and refused.
"""

from __future__ import annotations

import io
import math
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from residuum.errors import DamagedError, InputError
from residuum.weights.formats.archive import directory
from residuum.weights.formats.pickles import MAX_PICKLE_BYTES, survey

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # torch/serialization.py, MAGIC_NUMBER
LEGACY_PICKLES = 5  # magic number, protocol, machine, content, keys of storages
LEGACY_CONTENT = 3
MAX_WRAPPERS = 3
# What training scripts call the state dict in theirs (PyTorch's tutorial: model_state_dict); averages come last.
WRAPPERS = (
    "state_dict", "model", "net", "model_state", "model_state_dict",
    "state_dict_ema", "model_ema", "ema", "model_state_dict_ema",
)  # fmt: skip
SHOWN = 4
MAX_SHARING = 8  # times that all tensors together may be as large as the file: names that share memory
PROGRAMS = {
    "constants.pkl": "a TorchScript archive, which is a program",
    "archive_format": "an exported program (.pt2)",
    "serialized_exported_program.json": "an exported program (.pt2)",
    "model.weights.h5": "a Keras archive",
}


def matches(start: bytes) -> bool:
    """Whether a file begins as a zip file or a pickle."""
    return start[:2] == b"PK" or start[:1] == b"\x80"


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of the state dict that was saved, itself or wrapped as training scripts do.

    Where a file holds both plain weights and their moving average (`ema`), the plain ones are read.

    Raises:
        InputError: damaged, or it holds anything but plain tensors, or tensors larger than their storage; or its state
            dict has a name that says nothing.
    """
    with path.open("rb") as stream:
        zipped = stream.read(2) == b"PK"
    if zipped:
        _check_zip(path)
    else:
        _check_stream(path)
    try:
        with path.open("rb") as stream, warnings.catch_warnings():  # a path's suffix would choose another reader
            warnings.simplefilter("ignore")
            content = torch.load(stream, map_location="cpu", weights_only=True, mmap=False)
    except Exception as error:  # a damaged file can make its reader raise anything
        raise DamagedError(f"{path}: is not a whole file of torch.save. Try: another copy") from error
    tensors = _state_dict(content, path)
    _require_memory(tensors, path)
    return tensors


def _check_zip(path: Path) -> None:
    entries = {entry.orig_filename.lower(): entry for entry in directory(path)}
    root = next(iter(entries), "").partition("/")[0]
    for name, what in PROGRAMS.items():
        if f"{root}/{name}" in entries or name in entries:
            raise InputError(f"{path}: is {what}, not weights. Try: the state dict of its net, as safetensors")
    packed = [entry.filename for entry in entries.values() if entry.compress_type != zipfile.ZIP_STORED]
    if packed:
        raise InputError(
            f"{path}: has compressed entries ({packed[0]!a}), which torch.save never writes. "
            "Try: the file as torch.save wrote it"
        )
    index = entries.get(f"{root}/data.pkl")
    if index is None:
        raise InputError(f"{path}: is a zip file, not of weights. Try: the weight file inside it")
    if index.file_size > MAX_PICKLE_BYTES:
        raise InputError(
            f"{path}: its pickle has {index.file_size:,} bytes (expected at most {MAX_PICKLE_BYTES:,}). "
            "Try: torch.save of the net's state_dict() alone"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            found = survey(io.BytesIO(archive.read(index)), path)
    except InputError:
        raise
    except Exception as error:
        raise DamagedError(f"{path}: is not a whole file of torch.save. Try: another copy") from error
    for key, claimed in found.storage_bytes.items():
        entry = entries.get(f"{root}/data/{key}".lower())
        if entry is None or claimed > entry.file_size:
            held = entry.file_size if entry else 0
            raise DamagedError(
                f"{path}: storage {key[:20]!a} claims {claimed:,} bytes and has {held:,}. Try: another copy"
            )


def _check_stream(path: Path) -> None:
    with path.open("rb") as stream:
        head = io.BytesIO(stream.read(MAX_PICKLE_BYTES))
    try:
        found = [survey(head, path)]
        if found[0].value != LEGACY_MAGIC:
            raise InputError(f"{path}: is a pickle, but not of torch.save. Try: the weights as safetensors")
        while len(found) < LEGACY_PICKLES:
            found.append(survey(head, path, found[-1].work))
    except InputError:
        raise
    except Exception as error:
        raise DamagedError(f"{path}: is not a whole file of torch.save. Try: another copy") from error
    claimed = sum(found[LEGACY_CONTENT].storage_bytes.values())
    if claimed > path.stat().st_size:
        raise DamagedError(
            f"{path}: its storages claim {claimed:,} bytes of a file of {path.stat().st_size:,}. Try: another copy"
        )


def _state_dict(content: object, path: Path) -> dict[str, Tensor]:
    for _ in range(MAX_WRAPPERS):
        if not isinstance(content, Mapping):
            break
        inner = _wrapped(content)
        if inner is None:
            return _tensors(content, path)
        content = inner
    raise InputError(f"{path}: holds no tensors by name. Try: a state dict")


def _wrapped(content: Mapping[object, object]) -> Mapping[object, object] | None:
    """What lies under the first of the usual names, tensors or another wrapper: `model` may be a configuration too."""
    for name in WRAPPERS:
        inner = content.get(name)
        if isinstance(inner, Mapping) and (
            _holds_tensors(inner) or any(isinstance(inner.get(each), Mapping) for each in WRAPPERS)
        ):
            return inner
    return None


def _tensors(content: Mapping[object, object], path: Path) -> dict[str, Tensor]:
    """The tensors of a mapping that is the state dict; beside mappings of tensors, a loss is none."""
    inner = _of_tensors(content)
    if inner:
        shown = ", ".join(inner[:SHOWN]) + (", ..." if len(inner) > SHOWN else "")
        raise InputError(
            f"{path}: holds its tensors under names that do not say which are the weights ({shown}). "
            f"Try: torch.save(torch.load({str(path)!a})[{inner[0]}], 'weights.pt')"
        )
    tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if not tensors:
        raise InputError(f"{path}: holds no tensors by name. Try: a state dict")
    return tensors


def _of_tensors(content: Mapping[object, object]) -> list[str]:
    """The keys of mappings of tensors, as typed. Each mapping is looked through once: many keys may have the same."""
    mappings = {id(value): value for value in content.values() if isinstance(value, Mapping)}
    full = {identity for identity, value in mappings.items() if _holds_tensors(value)}
    return [ascii(key)[:60] for key, value in content.items() if id(value) in full]


def _holds_tensors(content: Mapping[object, object]) -> bool:
    return any(isinstance(value, Tensor) for value in content.values())


def _require_memory(tensors: Mapping[str, Tensor], path: Path) -> None:
    """A stride of 0, or strides that overlap, let a few bytes stand for any number of values."""
    total = 0
    for name, tensor in tensors.items():
        needed, held = math.prod(tensor.shape) * tensor.element_size(), tensor.untyped_storage().nbytes()
        if needed > held:
            raise InputError(
                f"{path}: {name[:60]!a} claims {needed:,} bytes and has {held:,}. "
                "Try: save it again with .contiguous() of each tensor"
            )
        total += needed
    if total > MAX_SHARING * path.stat().st_size:
        raise InputError(
            f"{path}: its tensors share memory and would take {total:,} bytes apart. "
            "Try: save it again with .clone() of each tensor"
        )
