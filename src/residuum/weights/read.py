"""Tensors from files that others wrote. What a file is, its first bytes say; its name does not matter.

safetensors holds values only; its header is measured before it is parsed. PyTorch's files are pickles and are read with
`weights_only=True`, which refuses to call anything; there is no fallback.
"""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from residuum.errors import InputError
from residuum.weights.store import from_bytes, require_header

MAX_WRAPPERS = 3
WRAPPERS = ("state_dict", "model", "net")


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """All tensors of a weight file, on the CPU, by the names they have there.

    Args:
        path: a `.safetensors` file, or a file of `torch.save` (`.pth`, `.pt`, `.th`), zip or legacy.

    Raises:
        InputError: missing, empty, damaged, of an unknown format, or it would execute something.
    """
    path = Path(path)
    try:
        with path.open("rb") as stream:
            start = stream.read(16)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}). Try: the path of a weight file") from error
    if start[:2] == b"PK":
        _refuse_compressed(path)
        return _read_torch(path)
    if start[:1] == b"\x80":
        return _read_torch(path)
    if len(start) > 9 and start[8:9] == b"{":
        require_header(start, path.stat().st_size, str(path))
        return from_bytes(path.read_bytes(), str(path))
    raise InputError(f"{path}: is not a weight file (expected safetensors or torch.save). Try: another file")


def _refuse_compressed(path: Path) -> None:
    """torch.save stores without compression; a compressed entry can unfold to any size."""
    try:
        with zipfile.ZipFile(path) as archive:
            packed = [entry.filename for entry in archive.infolist() if entry.compress_type != zipfile.ZIP_STORED]
    except Exception as error:  # a damaged directory of a zip file can make its reader raise anything
        raise InputError(f"{path}: is not a whole zip file. Try: another copy") from error
    if packed:
        raise InputError(f"{path}: has compressed entries ({packed[0]}), which torch.save never writes; not read")


def _read_torch(path: Path) -> dict[str, Tensor]:
    try:
        with path.open("rb") as stream:  # by a stream, since torch.load chooses another reader by a path's suffix
            content = torch.load(stream, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can make its reader raise anything
        called = re.search(r"GLOBAL (\S+)", str(error)) if isinstance(error, pickle.UnpicklingError) else None
        if called:
            raise InputError(
                f"{path}: is refused, since reading it could execute code (it names {called[1]}). "
                "Try: the same weights as safetensors"
            ) from error
        raise InputError(f"{path}: is not a whole file of torch.save. Try: another copy") from error
    return _tensors(content, path)


def _tensors(content: object, path: Path) -> dict[str, Tensor]:
    """The state dict in what was saved: itself, or wrapped as training scripts do."""
    for _ in range(MAX_WRAPPERS):
        if not isinstance(content, Mapping):
            break
        inner = next((content[name] for name in WRAPPERS if isinstance(content.get(name), Mapping)), None)
        if inner is None:
            tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
            if tensors:
                return tensors
            break
        content = inner
    raise InputError(f"{path}: holds no tensors by name. Try: a state dict")
