"""Tensors from files that others wrote. What a file is, its first bytes say; its name does not matter.

safetensors holds values only; its header is measured before it is parsed. PyTorch's files are pickles and are read with
`weights_only=True`, which refuses to call anything; there is no fallback.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from residuum.errors import InputError
from residuum.weights.store import from_bytes

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
    if zipfile.is_zipfile(path):
        _refuse_compressed(path)
        return _read_torch(path)
    if start[:1] == b"\x80":
        return _read_torch(path)
    if len(start) > 9 and start[8:9] == b"{":
        return from_bytes(path.read_bytes(), str(path))
    raise InputError(f"{path}: is not a weight file (expected safetensors or torch.save). Try: another file")


def _refuse_compressed(path: Path) -> None:
    """torch.save stores without compression; a compressed entry can unfold to any size."""
    try:
        with zipfile.ZipFile(path) as archive:
            packed = [entry.filename for entry in archive.infolist() if entry.compress_type != zipfile.ZIP_STORED]
    except zipfile.BadZipFile as error:
        raise InputError(f"{path}: is not a whole zip file ({error}). Try: another copy") from error
    if packed:
        raise InputError(f"{path}: has compressed entries ({packed[0]}), which torch.save never writes; not read")


def _read_torch(path: Path) -> dict[str, Tensor]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = next((line for line in str(error).splitlines() if "GLOBAL" in line or "global" in line), "")
        raise InputError(
            f"{path}: is refused, since reading it could execute code ({reason.strip()[:160]}). "
            "Try: the same weights as safetensors"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        reason = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
        raise InputError(f"{path}: cannot be read ({reason}). Try: another copy") from error
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
