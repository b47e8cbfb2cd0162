"""From what a person types after `--data` to a Dataset."""

from __future__ import annotations

import os
from pathlib import Path

from residuum.data.archives import OnBytes
from residuum.data.cifar import cifar
from residuum.data.digits import digits
from residuum.data.folder import folder
from residuum.data.mnist import mnist
from residuum.data.source import NAMES, Dataset, OnProgress
from residuum.errors import InputError, nearest

DATA_DIR_VARIABLE = "RESIDUUM_DATA_DIR"


def open_dataset(
    data: str | Path,
    *,
    data_dir: Path | None = None,
    channels: int = 3,
    on_bytes: OnBytes = lambda name, done, total: None,
    on_progress: OnProgress = lambda done, total: None,
) -> Dataset:
    """Open a data set.

    Args:
        data: `digits`, `cifar10`, `cifar100`, `mnist`, `fashion-mnist`, or the path of an image folder; a `Path` is
            always a folder.
        data_dir: where the files of a named set lie; else `$RESIDUUM_DATA_DIR/<name>` where that exists; else the
            official archive is downloaded. Meaningless for `digits` and folders.
        channels: of a folder's images: 3 for colour, 1 for grey.
        on_bytes: progress of a download: file name, bytes so far, bytes in all.
        on_progress: progress of looking through a folder or decoding a set: images so far, images in all.

    Raises:
        InputError: there is no such set or folder, or its files cannot be used.
    """
    name = str(data)
    if isinstance(data, Path) or name not in NAMES:
        if not Path(data).exists() and not isinstance(data, Path) and os.sep not in name:
            raise InputError(f"data: there is no set and no folder {name!r}. Try: {nearest(name, NAMES)}")
        if data_dir is not None:
            raise InputError(f"data_dir: means nothing for the folder {name}. Try: --data {data_dir}")
        return folder(Path(data), channels=channels, on_progress=on_progress)
    if name == "digits":
        if data_dir is not None:
            raise InputError("data_dir: means nothing for digits, which come with scikit-learn. Try: without it")
        return digits()
    directory = data_dir or _from_environment(name)
    if name.startswith("cifar"):
        return cifar(name, directory, on_bytes, on_progress)
    return mnist(name, directory, on_bytes)


def _from_environment(name: str) -> Path | None:
    base = os.environ.get(DATA_DIR_VARIABLE)
    if not base:
        return None
    directory = Path(base) / name
    return directory if directory.is_dir() else None
