"""MNIST (LeCun 1998) and Fashion-MNIST (Xiao 2017): 60,000 training and 10,000 test images of 28x28 in grey.

Both come as idx files: a header of big-endian integers (magic number, sizes), then the values.
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from residuum.data.archives import OnBytes, fetch
from residuum.data.source import ArrayImages, Dataset, Split, array_fingerprint
from residuum.errors import InputError

FASHION_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
IMAGES_MAGIC, LABELS_MAGIC = 0x803, 0x801


def mnist(name: str, data_dir: Path | None, on_bytes: OnBytes) -> Dataset:
    """MNIST or Fashion-MNIST from the four idx files, gzipped or not; None as `data_dir` downloads them.

    Raises:
        InputError: a file is missing or is not an idx file; no network.
    """
    directory = fetch(name, on_bytes) if data_dir is None else data_dir
    train = _split(directory, "train", "train")
    test = _split(directory, "t10k", "test")
    return Dataset(
        name=name,
        class_names=FASHION_CLASSES if name == "fashion-mnist" else tuple(str(digit) for digit in range(10)),
        train=train,
        val=None,
        test=test,
        image_size=(int(train.images.load(0).shape[0]), int(train.images.load(0).shape[1])),
        fingerprint=array_fingerprint(train, test),
    )


def _split(directory: Path, prefix: str, part: str) -> Split:
    pixels = _read_idx(directory, f"{prefix}-images-idx3-ubyte", IMAGES_MAGIC, 3)
    labels = _read_idx(directory, f"{prefix}-labels-idx1-ubyte", LABELS_MAGIC, 1)
    if len(pixels) != len(labels):
        raise InputError(f"{directory}: {prefix} has {len(pixels)} images but {len(labels)} labels")
    if labels.max() > 9:
        raise InputError(f"{directory}: {prefix} has labels beyond 9. Try: the official files")
    return Split(part, ArrayImages(pixels[:, :, :, None]), labels.astype(np.int64))


def _read_idx(directory: Path, stem: str, magic: int, rank: int) -> NDArray[np.uint8]:
    path = next((each for each in (directory / stem, directory / f"{stem}.gz") if each.is_file()), None)
    if path is None:
        raise InputError(f"{directory / stem}.gz: no such file. Try: --data-dir with the four idx files in it")
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        header = np.frombuffer(content, dtype=">i4", count=1 + rank)
        values = np.frombuffer(content, dtype=np.uint8, offset=4 * (1 + rank))
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise InputError(f"{path}: is not an idx file ({error})") from error
    shape = tuple(int(size) for size in header[1:])
    if header[0] != magic or min(shape) < 1 or np.prod(shape) != len(values):
        raise InputError(f"{path}: is not an idx file of {rank} dimensions (its header says {shape})")
    return values.reshape(shape).copy()
