"""Files that are often taken for weights and are none: what they are, and what to try."""

from __future__ import annotations

from pathlib import Path

TAR_SIGNATURE = slice(257, 262)


def stranger(start: bytes) -> str | None:
    """What a file is that begins so, with an action; None where it may be weights."""
    text = start.lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "is a web page, not weights. Try: the address of the file itself"
    if start.startswith(b"version https://git-lfs"):
        return "is a git-lfs pointer, not the weights. Try: git lfs pull"
    if start.startswith(b"\x1f\x8b"):
        return "is compressed by gzip. Try: gunzip"
    if start[TAR_SIGNATURE] == b"ustar":
        return "is a tar archive, which is not opened. Try: the weight file inside it"
    if start.startswith(b"\x93NUMPY"):
        return "is one array without a name (.npy). Try: numpy.savez with a name for each array"
    if start.startswith(b"\x80") and (b"batch_label" in start or b"label_names" in start):
        return "is a batch of CIFAR images, not weights. Try: --data cifar10"
    return None


def strange_directory(path: Path) -> str:
    """What a directory is that was given for a weight file."""
    if (path / ".metadata").exists():
        return "is a distributed checkpoint, whose index is a pickle; not opened. Try: the same weights as safetensors"
    return "is a directory. Try: the weight file inside it"
