"""An inspection as files: `inspection.json` with all plain values, `arrays.npz` with all arrays."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from residuum.inspection.inspect import Inspection

NOT_KEPT = ("tiles",)  # pixels of the data set, which lie there


def plain(inspection: Inspection) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """What was found as JSON values, and the arrays among it, which stand there as `{"array": name}`.

    Arrays of one or no dimension with at most 64 numbers are written out.
    """
    arrays: dict[str, NDArray[Any]] = {}
    subject, samples = inspection.subject, inspection.subject.samples
    values = {
        "photos": [
            {"name": photo.name, "class_index": photo.class_index, "answers": [list(each) for each in photo.answers]}
            for photo in subject.photos
        ],
        "data": None if samples is None else {"name": samples.name, "images": len(samples)},
        "parts": {
            each.name: {
                "state": str(each.state),
                "reason": each.reason,
                "seconds": round(each.seconds, 3),
                "found": _plain(each.found, each.name, arrays),
            }
            for each in inspection.outcomes
        },
    }
    return values, arrays


def files(values: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> dict[str, bytes]:
    """Both as files by name."""
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
    text = json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False)
    return {"inspection.json": text.encode(), "arrays.npz": stream.getvalue()}


SHORT = 64


def _plain(value: Any, name: str, arrays: dict[str, NDArray[Any]]) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(each, f"{name}.{key}", arrays) for key, each in value.items() if key not in NOT_KEPT}
    if isinstance(value, list | tuple):
        return [_plain(each, f"{name}.{index}", arrays) for index, each in enumerate(value)]
    if isinstance(value, np.ndarray):
        if value.ndim <= 1 and value.size <= SHORT:
            return _plain(value.tolist(), name, arrays)
        arrays[name] = value
        return {"array": name}
    if isinstance(value, np.generic):
        return _plain(value.item(), name, arrays)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
