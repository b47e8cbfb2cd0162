"""Tensors from files that others wrote. What a file is, its first bytes say; its name does not matter.

safetensors holds values only; its header is measured before it is parsed. PyTorch's files are pickles and are read with
`weights_only=True`, which refuses to call anything; there is no fallback.
"""

from __future__ import annotations

import pickle
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from residuum.errors import InputError

MAX_HEADER_BYTES = 16 << 20
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
        size = path.stat().st_size
        with path.open("rb") as stream:
            start = stream.read(16)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}). Try: the path of a weight file") from error
    if zipfile.is_zipfile(path) or start[:1] == b"\x80":
        return _read_torch(path)
    if len(start) > 9 and start[8:9] == b"{":
        return _read_safetensors(path, start, size)
    raise InputError(f"{path}: is not a weight file (expected safetensors or torch.save). Try: another file")


def _read_safetensors(path: Path, start: bytes, size: int) -> dict[str, Tensor]:
    (header_bytes,) = struct.unpack("<Q", start[:8])
    if header_bytes > min(MAX_HEADER_BYTES, size - 8):
        raise InputError(f"{path}: its header claims {header_bytes:,} bytes of a file of {size:,}; not read")
    try:
        return safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, ValueError) as error:
        raise InputError(f"{path}: is not a whole safetensors file ({error}). Try: another copy") from error


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
    if isinstance(content, Mapping):
        for wrapper in WRAPPERS:
            if isinstance(content.get(wrapper), Mapping):
                return _tensors(content[wrapper], path)
        tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
        if tensors:
            return tensors
    raise InputError(f"{path}: holds no tensors by name. Try: a state dict")
