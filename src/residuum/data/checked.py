"""JSON files that a later process may believe: the sha256 of the rest stands in the first line."""

from __future__ import annotations

import json
from pathlib import Path

from residuum.files.atomic import sha256, write_file

MOST_BYTES = 1 << 30


def write_checked(path: Path, document: dict[str, object]) -> None:
    """Replace the file at `path`, or leave it as it was.

    Raises:
        StorageError: the disk is full, read-only or failing.
    """
    body = json.dumps(document, separators=(",", ":"))
    write_file(path, f"{sha256(body.encode())}\n{body}")


def read_checked(path: Path) -> dict[str, object] | None:
    """What `write_checked` wrote; None where the file is anything else, or missing."""
    try:
        if not path.is_file() or path.stat().st_size > MOST_BYTES:
            return None
        digest, _, body = path.read_bytes().partition(b"\n")
        document = json.loads(body) if sha256(body).encode() == digest else None
    except (OSError, ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None
