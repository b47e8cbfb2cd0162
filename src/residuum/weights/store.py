"""Tensors as safetensors bytes and back: the only form in which this program keeps weights."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from residuum.errors import DamagedError, InputError

MAX_HEADER_BYTES = 2 << 20


def to_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    """Tensors as a safetensors file; those that share memory are written once for each name."""
    copies = {
        name: tensor.detach().to("cpu", copy=True).clone(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
    content: bytes = safetensors.torch.save(copies)
    return content


def halved(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Floating-point tensors as float16, others as they are.

    Raises:
        InputError: a value is too large for float16.
    """
    halves = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    for name, half in halves.items():
        if half.is_floating_point() and not half.isfinite().all():
            raise InputError(f"half: {name} has values beyond float16. Try: without half")
    return halves


def require_header(start: bytes, size_bytes: int, name: str) -> None:
    """Check the length of the header that the first eight bytes of a safetensors file claim.

    Raises:
        DamagedError: it is larger than the file, or than any header of a net.
    """
    if len(start) < 8:
        raise DamagedError(f"{name}: is too short to be a safetensors file ({size_bytes} bytes). Try: another copy")
    (header_bytes,) = struct.unpack("<Q", start[:8])
    if header_bytes > min(MAX_HEADER_BYTES, size_bytes - 8):
        raise DamagedError(
            f"{name}: its header claims {header_bytes:,} bytes of a file of {size_bytes:,}. Try: another copy"
        )


def matches(start: bytes) -> bool:
    """Whether a file begins as safetensors: eight bytes of length, then JSON."""
    return len(start) > 9 and start[8:9] == b"{"


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file; its header is checked whole before any value is read.

    Raises:
        DamagedError: it is not a whole safetensors file.
    """
    with path.open("rb") as stream:
        require_header(stream.read(8), path.stat().st_size, str(path))
    try:
        with safetensors.safe_open(path, framework="pt"):
            pass
    except Exception as error:  # as in from_bytes
        reason = str(error).partition("\n")[0]
        raise DamagedError(f"{path}: is not a whole safetensors file ({reason}). Try: another copy") from error
    return from_bytes(path.read_bytes(), str(path))


def from_bytes(content: bytes, name: str) -> dict[str, Tensor]:
    """The tensors of a safetensors file; its header is measured before it is parsed.

    Raises:
        DamagedError: it is not a whole safetensors file; the message begins with `name`.
    """
    require_header(content[:8], len(content), name)
    try:
        tensors: dict[str, Tensor] = safetensors.torch.load(content)
    except Exception as error:  # its reader raises what it likes on a header that lies
        reason = str(error).partition("\n")[0]
        raise DamagedError(f"{name}: is not a whole safetensors file ({reason}). Try: another copy") from error
    return tensors


def digest(tensors: Mapping[str, Tensor]) -> str:
    """sha256 over names and bytes of all tensors, in the order of their names."""
    total = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        total.update(name.encode())
        values = tensor.detach().cpu().contiguous().reshape(-1)
        total.update(values.view(torch.uint8).numpy().tobytes())  # numpy has no bfloat16
    return total.hexdigest()
