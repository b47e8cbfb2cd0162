"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009): 50,000 training and 10,000 test images of 32x32 in colour.

Read from the official binary archive, or from a directory of parquet files as the Hugging Face hub ships them, whose
images are lossless. The two hold the same images, in another order.
"""

from __future__ import annotations

import io
import json
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from residuum.data.archives import ARCHIVES, OnBytes, fetch
from residuum.data.decode import decode
from residuum.data.source import ArrayImages, Dataset, OnProgress, Pixels, Split, array_fingerprint
from residuum.errors import DamagedError, InputError
from residuum.files.atomic import sha256_file

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
PIXEL_BYTES = 3 * 32 * 32
DECODED_AT_ONCE = 500


def cifar(name: str, data_dir: Path | None, on_bytes: OnBytes, on_progress: OnProgress) -> Dataset:
    """CIFAR-10 or CIFAR-100.

    Args:
        name: `cifar10` or `cifar100`.
        data_dir: a directory with the binary archive or with parquet files; None downloads the archive.
        on_bytes: called with file name, bytes so far and in total.
        on_progress: called with images decoded and in all, for each split.

    Raises:
        InputError: the directory holds neither; a file is not what it should be; no network.
    """
    directory = fetch(name, on_bytes) if data_dir is None else data_dir
    if not directory.is_dir():
        raise InputError(f"{directory}: no such directory. Try: --data-dir with the folder of the {name} files")
    archive = directory / ARCHIVES[name][0].file_name
    if archive.is_file():
        _require_official(archive, name)
        train, test, class_names = _from_archive(archive, name)
    elif any(directory.rglob("*.parquet")):
        train, test, class_names = _from_parquet(directory, name, on_progress)
    else:
        raise InputError(
            f"{directory}: holds neither {archive.name} nor train-*.parquet. "
            f"Try: --data {name} without --data-dir, to download"
        )
    return Dataset(
        name=name,
        class_names=class_names,
        train=train,
        val=None,
        test=test,
        image_size=(32, 32),
        fingerprint=array_fingerprint(train, test),
    )


def _require_official(path: Path, name: str) -> None:
    expected, found = ARCHIVES[name][0].sha256, sha256_file(path)
    if found != expected:
        raise DamagedError(
            f"{path}: is not the official archive (sha256 expected {expected[:12]}, got {found[:12]}). "
            f"Try: delete it, then --data {name} without --data-dir, to download"
        )


def _from_archive(path: Path, name: str) -> tuple[Split, Split, tuple[str, ...]]:
    label_bytes = 1 if name == "cifar10" else 2  # CIFAR-100 puts the coarse label before the fine one
    names_file = "batches.meta.txt" if name == "cifar10" else "fine_label_names.txt"
    parts: dict[str, list[bytes]] = {"train": [], "test": []}
    class_names: tuple[str, ...] = ()
    try:
        with tarfile.open(path, "r:gz") as tar:
            for member in sorted(tar.getmembers(), key=lambda member: member.name):
                content = tar.extractfile(member)
                base = Path(member.name).name
                if content is None:
                    continue
                if base == names_file:
                    class_names = tuple(content.read().decode().split())
                elif base.startswith("test") and base.endswith(".bin"):
                    parts["test"].append(content.read())
                elif base.endswith(".bin"):
                    parts["train"].append(content.read())
    except (tarfile.TarError, EOFError, OSError) as error:
        raise InputError(
            f"{path}: is not a readable archive ({error}). Try: delete it, to download it again"
        ) from error
    splits = [_records(part, b"".join(blocks), label_bytes, path) for part, blocks in parts.items()]
    return splits[0], splits[1], class_names


def _records(part: str, content: bytes, label_bytes: int, path: Path) -> Split:
    record = label_bytes + PIXEL_BYTES
    if not content or len(content) % record:
        raise InputError(f"{path}: its {part} records are not whole ({len(content)} bytes, {record} each)")
    table = np.frombuffer(content, dtype=np.uint8).reshape(-1, record)
    pixels = table[:, label_bytes:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    labels = table[:, label_bytes - 1].astype(np.int64)
    return Split(part, ArrayImages(np.ascontiguousarray(pixels)), labels)


def _from_parquet(directory: Path, name: str, on_progress: OnProgress) -> tuple[Split, Split, tuple[str, ...]]:
    train, class_names = _parquet_split(directory, "train", name, on_progress)
    test, _ = _parquet_split(directory, "test", name, on_progress)
    return train, test, class_names


def _parquet_split(directory: Path, part: str, name: str, on_progress: OnProgress) -> tuple[Split, tuple[str, ...]]:
    import pyarrow
    import pyarrow.parquet

    paths = sorted(directory.rglob(f"{part}-*.parquet"))
    if not paths:
        raise InputError(f"{directory}: has no {part}-*.parquet. Try: the folder with both train and test files")
    _require_all_shards(paths)
    label_column = "label" if name == "cifar10" else "fine_label"
    encoded: list[tuple[str, bytes]] = []
    labels: list[int] = []
    metadata: dict[bytes, bytes] = {}
    for path in paths:
        try:
            table = pyarrow.parquet.read_table(path, columns=["img", label_column])
            rows = enumerate(table.column("img").to_pylist())
            encoded += [(f"{path} row {row}", bytes(entry["bytes"])) for row, entry in rows]
            labels += [int(label) for label in table.column(label_column).to_pylist()]
            metadata = table.schema.metadata or {}
        except (OSError, KeyError, ValueError, TypeError, pyarrow.ArrowException) as error:
            reason = str(error).partition("\n")[0]
            raise InputError(f"{path}: is not a {name} parquet file ({reason}). Try: another copy") from error
    images = _decode_all(encoded, on_progress)
    shapes = {image.shape for image in images}
    if shapes != {(32, 32, 3)}:
        raise InputError(f"{directory}: its images are not all 32x32 (got {sorted(shapes)[:3]})")
    split = Split(part, ArrayImages(np.stack(images)), np.asarray(labels, dtype=np.int64))
    classes = 10 if name == "cifar10" else 100
    if split.labels.min() < 0 or split.labels.max() >= classes:
        raise InputError(f"{directory}: has labels beyond the {classes} classes of {name}")
    return split, _class_names(metadata, label_column, name, classes)


def _require_all_shards(paths: list[Path]) -> None:
    """The hub names shards `train-00000-of-00005.parquet`: all of them must be there."""
    for path in paths:
        _, found, count = path.stem.rpartition("-of-")
        if found and count.isdigit() and int(count) != len(paths):
            raise InputError(
                f"{path.parent}: has {len(paths)} of {int(count)} {path.stem[:5]} files. Try: fetch the others"
            )


def _decode_all(encoded: list[tuple[str, bytes]], on_progress: OnProgress) -> list[Pixels]:
    """Decode many small images, handed to threads by the hundred: singly, the handing out costs more than decoding."""
    pieces = [encoded[start : start + DECODED_AT_ONCE] for start in range(0, len(encoded), DECODED_AT_ONCE)]
    images: list[Pixels] = []
    with ThreadPoolExecutor() as pool:
        for piece in pool.map(lambda each: [decode(content, channels=3, name=name) for name, content in each], pieces):
            images += piece
            on_progress(len(images), len(encoded))
    return images


def _class_names(metadata: dict[bytes, bytes], column: str, name: str, count: int) -> tuple[str, ...]:
    if name == "cifar10":
        return CIFAR10_CLASSES
    try:
        features: Any = json.load(io.BytesIO(metadata[b"huggingface"]))["info"]["features"]
        return tuple(str(each) for each in features[column]["names"])
    except (KeyError, ValueError, TypeError):
        return tuple(f"class {index}" for index in range(count))
