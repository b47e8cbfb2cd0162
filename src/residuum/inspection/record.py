"""An inspection as files: `inspection.json` with all plain values, `arrays.npz` with all arrays; and back again.

Only landscapes are read back: one goes on where the time ended or a signal came, if weights and data are still the
same, and one that was finished beside it is not computed again.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from residuum.errors import DamagedError
from residuum.files.atomic import read_directory
from residuum.inspection.inspect import Inspection, State
from residuum.inspection.parts import Found
from residuum.inspection.subject import Subject

RECORD, ARRAYS = "inspection.json", "arrays.npz"
UNFINISHED = (State.NO_TIME, State.INTERRUPTED)
KEPT = (State.DONE, *UNFINISHED)
NOT_KEPT = ("tiles",)  # pixels of the data set, which lie there


def plain(inspection: Inspection, prefix: str = "") -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """What was found as JSON values, and the arrays among it, which stand there as `{"array": name}`.

    Arrays of one or no dimension with at most 64 numbers are written out. Names of the others begin with `prefix`.
    """
    arrays: dict[str, NDArray[Any]] = {}
    subject, samples = inspection.subject, inspection.subject.samples
    values: dict[str, Any] = {
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
                "found": _plain(each.found, prefix + each.name, arrays),
            }
            for each in inspection.outcomes
        },
    }
    if any(each.name == "landscape" and each.state in KEPT for each in inspection.outcomes):
        values["fingerprint"] = fingerprint(subject)
    return values, arrays


def files(values: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> dict[str, bytes]:
    """Both as files by name."""
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
    text = json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False)
    return {RECORD: text.encode(), ARRAYS: stream.getvalue()}


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


def fingerprint(subject: Subject) -> str:
    """A sha256 of the weights and the samples: what a landscape depends on."""
    digest = hashlib.sha256()
    for name, tensor in subject.net.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().float().numpy().tobytes())
    if subject.samples is not None:
        for array in (subject.samples.pixels, subject.samples.labels):
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def unfinished(directory: Path) -> dict[str, dict[str, Found]]:
    """By fingerprint what an inspection in `directory` can go on from; nothing where none is there or it is complete.

    Raises:
        DamagedError: files were changed since, or others lie beside them.
    """
    if not (directory / RECORD).is_file():
        return {}
    written = read_directory(directory)
    strangers = {path.name for path in directory.iterdir()} - {*written, "manifest.json"}
    values = json.loads(written[RECORD])
    inspections = [each for each in (values, values.get("beside")) if each]
    surveys = [(each["fingerprint"], _landscape(each)) for each in inspections if "fingerprint" in each]
    if not any(part["state"] in UNFINISHED for _, part in surveys):
        return {}
    surveys.sort(key=lambda survey: survey[1]["state"] == State.DONE)  # of two nets with the same weights it is kept
    with np.load(io.BytesIO(written[ARRAYS])) as arrays:
        begun = {print_: {"landscape": _surveyed(part, arrays)} for print_, part in surveys}
    if strangers:
        raise DamagedError(
            f"{directory}: holds {min(strangers)[:80]!r} besides an inspection. Try: to move it away, or another --out"
        )
    return begun


def _landscape(inspection: Mapping[str, Any]) -> Mapping[str, Any]:
    return inspection["parts"].get("landscape", {"state": ""})  # type: ignore[no-any-return]


def _surveyed(part: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Found:
    """The line and the plane of a landscape as far as they are there; what was not computed is NaN."""
    read = {}
    for name in ("line", "values"):
        value = part["found"].get(name)
        if isinstance(value, dict):
            read[name] = arrays[value["array"]]
        elif value is not None:
            read[name] = np.array(value, dtype=np.float64)
            if part["state"] == State.DONE:  # JSON has no infinity
                read[name][np.isnan(read[name])] = np.inf
    return read
