"""Images of a folder kept decoded on the disk, so that a training need not decode each of them in every epoch.

    $RESIDUUM_CACHE/decoded/<key>/pixels        the images one after another, uint8, `(H, W, C)` each
    $RESIDUUM_CACHE/decoded/<key>/index.json    where each image lies, its height and width, and its CRC-32

The key stands for the contents of the files, how much of each is decoded, and the decoder; what is kept is what
decoding would give, so that a training with it makes the same bits as without. A cache is built whole or not at all.
Its index and size are checked when it is opened, an image's pixels when they are first used: where they are not what
was written, the file is decoded instead. All caches together stay below a limit; the longest unused goes first.
"""

from __future__ import annotations

import os
import shutil
import threading
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import PIL
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from PIL import features

from residuum.data.checked import read_checked, write_checked
from residuum.data.decode import MAX_PIXELS, decode, decoding_threads, read_image_file
from residuum.data.folder import FolderImages
from residuum.data.source import Dataset, Images, OnProgress, Pixels, Reduction
from residuum.errors import InputError, ResiduumError
from residuum.files.atomic import TEMPORARY_PREFIX, remove_leftovers, sha256, sync_directory
from residuum.files.download import cache_directory

FORMAT = 1
INDEX, PIXELS = "index.json", "pixels"
GIB = 1 << 30
ENTRY_BYTES = 64  # that an image takes in the index, at most
WAIT_SECONDS = 600.0
NOWHERE = (-1, 0, 0, 0)
Tell = Callable[[str], None]


class DecodedCache:
    """An opened cache. `load` may be called by several threads.

    Args:
        directory: where it lies.
        entries: `(N, 4)` int64: offset, height, width and CRC-32 of each image; offset -1 where it was left out.
        channels: of the images.
        tell: told once if pixels are damaged.
    """

    def __init__(self, directory: Path, entries: NDArray[np.int64], channels: int, tell: Tell) -> None:
        self.directory, self.entries, self.channels, self.tell = directory, entries, channels, tell
        self.pixels = np.asarray(np.memmap(directory / PIXELS, dtype=np.uint8, mode="r"))
        self.sound = np.zeros(len(entries), dtype=bool)
        self.lock, self.told = threading.Lock(), False

    def load(self, row: int) -> Pixels | None:
        """Image `row`, `(H, W, C)` uint8 and read-only; None where it was left out or is damaged."""
        offset, height, width, crc = self.entries[row].tolist()
        if offset < 0:
            return None
        flat = self.pixels[offset : offset + height * width * self.channels]
        if not self.sound[row]:
            if zlib.crc32(flat.data) != crc:
                self._report_damage()
                return None
            self.sound[row] = True
        return flat.reshape(height, width, self.channels)

    def _report_damage(self) -> None:
        with self.lock:
            if self.told:
                return
            self.told = True
        with suppress(OSError):
            (self.directory / INDEX).unlink()  # the next training builds it anew
        self.tell(f"decoded cache: {self.directory} is damaged: its files are decoded instead, and it is built anew")


@dataclass(frozen=True, eq=False)
class CachedImages:
    """A folder's images, of which some lie decoded as one reduction leaves them.

    Attributes:
        images: the folder's.
        reduction: of the cached ones.
        cache: where they lie.
        rows: the place of each image in the cache.
    """

    images: FolderImages
    reduction: Reduction
    cache: DecodedCache
    rows: NDArray[np.int64]

    @property
    def channels(self) -> int:
        return self.images.channels

    def __len__(self) -> int:
        return len(self.images)

    def load(self, index: int) -> Pixels:
        pixels = None
        if self.images.reduction == self.reduction:
            pixels = self.cache.load(int(self.rows[index]))
        return pixels if pixels is not None else self.images.load(index)

    def subset(self, indices: NDArray[np.int64]) -> CachedImages:
        return replace(self, images=self.images.subset(indices), rows=self.rows[indices])

    def reduced(self, reduction: Reduction) -> CachedImages:
        return replace(self, images=self.images.reduced(reduction))


def with_decoded_cache(
    dataset: Dataset,
    reductions: Mapping[str, Reduction],
    gib: float,
    *,
    on_progress: OnProgress = lambda done, total: None,
    tell: Tell = lambda text: None,
) -> Dataset:
    """A data set whose images, or as many as fit, lie decoded on the disk; built where they do not yet.

    Args:
        dataset: of an image folder; any other lies in memory already, and is returned as it is.
        reductions: the splits whose images are kept, by name, the most needed first, and how much of an image is used.
        gib: the most that all caches may take together, in GiB.
        on_progress: called with images decoded and images in all, of each split.
        tell: told, in a line each, what was kept, removed or found damaged, or why nothing could be kept.

    Raises:
        InputError: a file vanished or changed since the folder was looked through.
    """
    kept = {}
    store = _Store(int(gib * GIB), on_progress, tell)
    for name, reduction in reductions.items():
        split = dataset.splits().get(name)
        if split is not None and isinstance(split.images, FolderImages) and split.images.digests:
            kept[name] = replace(split, images=store.keep(split.images.reduced(reduction), split.images))
    if not kept:
        tell(f"decoded cache: {dataset.name} is no image folder, there is nothing to keep")
    return replace(dataset, **kept)  # type: ignore[arg-type]


class _Store:
    """All caches of this user.

    Args:
        limit: bytes that they may take together.
        on_progress, tell: as in `with_decoded_cache`.
    """

    def __init__(self, limit: int, on_progress: OnProgress, tell: Tell) -> None:
        self.limit, self.on_progress, self.tell = limit, on_progress, tell
        self.in_use: set[str] = set()
        self.damaged: set[Path] = set()

    def keep(self, images: FolderImages, whole: FolderImages) -> Images:
        """`whole`, with what `images`, a reduction of it, decode to in a cache, where that can be had."""
        try:
            self.directory = cache_directory() / "decoded"
        except InputError as error:  # no home
            return self._without(whole, error)
        try:
            cache = self._open(images) or self._built(images)
        except InputError:
            raise
        except (OSError, RuntimeError, ResiduumError) as error:  # a disk that is full, read-only or failing
            return self._without(whole, error)
        if cache is None or images.reduction is None:
            return whole
        self.in_use.add(cache.directory.name)
        with suppress(Timeout, OSError), FileLock(self.directory / ".lock", timeout=0):
            self._make_room(0)  # a limit may be lower than it was
        return CachedImages(whole, images.reduction, cache, np.arange(len(whole)))

    def _without(self, images: FolderImages, error: Exception) -> FolderImages:
        self.tell(f"decoded cache: cannot be kept ({_reason(error)}), images are decoded as they are needed")
        return images

    def _open(self, images: FolderImages) -> DecodedCache | None:
        """The cache of these images, if there is one that is sound and suits the limit."""
        path = self.directory / _key(images)
        if not (path / INDEX).exists():
            return None
        document = read_checked(path / INDEX)
        entries = _entries(document, path, images) if document else None
        if document is None or entries is None:
            if path not in self.damaged:  # it is opened once more when nobody else builds it
                self.tell(f"decoded cache: {path} is damaged, it is built anew")
            self.damaged.add(path)
            return None
        built_for = document.get("limit")
        if _bytes(path) > self.limit or (
            (entries[:, 0] < 0).any() and (not isinstance(built_for, int) or built_for < self.limit)
        ):
            return None
        with suppress(OSError):
            os.utime(path / INDEX)
        return DecodedCache(path, entries, images.channels, self.tell)

    def _built(self, images: FolderImages) -> DecodedCache | None:
        """A new cache of these images, or the one another process built while this one waited."""
        self.directory.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.directory / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            self.tell("decoded cache: waiting for another process that builds one")
            try:
                lock.acquire(timeout=WAIT_SECONDS)
            except Timeout:
                self.tell("decoded cache: another process still builds one, images are decoded as they are needed")
                return None
        try:
            return self._open(images) or self._build(images)
        finally:
            lock.release()

    def _build(self, images: FolderImages) -> DecodedCache | None:
        remove_leftovers(self.directory)
        path = self.directory / _key(images)
        temporary = path.with_name(f"{TEMPORARY_PREFIX}{os.getpid()}-{path.name}")
        shutil.rmtree(path, ignore_errors=True)
        try:
            temporary.mkdir()
            entries, size = self._write(temporary / PIXELS, images)
            if size:
                document: dict[str, object] = {"limit": self.limit, "bytes": size, "images": entries}
                write_checked(temporary / INDEX, document)
                temporary.replace(path)
                sync_directory(self.directory)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        fitting = sum(entry[0] >= 0 for entry in entries)
        left = "" if fitting == len(entries) else f", no more fit in {self.limit / GIB:g} GiB"
        where = f", {size / GIB:.2f} GiB in {path}" if size else ""
        self.tell(f"decoded cache: {fitting:,} of {len(entries):,} images{where}{left}")
        return self._open(images) if size else None

    def _write(self, path: Path, images: FolderImages) -> tuple[list[tuple[int, int, int, int]], int]:
        """Decode images into a file until the limit is reached: the entry of each, and the size of the file."""
        entries: list[tuple[int, int, int, int]] = []
        size, at_once, index_bytes = 0, 2 * decoding_threads(), ENTRY_BYTES * len(images)
        with path.open("wb") as stream, ThreadPoolExecutor(decoding_threads()) as pool:
            for start in range(0, len(images), at_once):
                rows = range(start, min(start + at_once, len(images)))
                for pixels in pool.map(lambda row: _decode(images, row), rows):
                    if not self._make_room(size + pixels.nbytes + index_bytes):
                        entries += [NOWHERE] * (len(images) - len(entries))
                        break
                    stream.write(pixels.data)
                    entries.append((size, pixels.shape[0], pixels.shape[1], zlib.crc32(pixels.data)))
                    size += pixels.nbytes
                self.on_progress(len(entries), len(images))
                if len(entries) == len(images):
                    break
            stream.flush()
            os.fsync(stream.fileno())
        return entries, size

    def _make_room(self, needed: int) -> bool:
        """Whether `needed` bytes fit in, once caches not in use have been removed, the longest unused first."""
        others = [path for path in self.directory.iterdir() if not path.name.startswith(".")]
        taken = sum(map(_bytes, others))
        idle = sorted((path for path in others if path.name not in self.in_use), key=_used)
        if needed + taken - sum(map(_bytes, idle)) > self.limit:
            return False
        for path in idle:
            if needed + taken <= self.limit:
                break
            size = _bytes(path)
            shutil.rmtree(path, ignore_errors=True)
            if path.exists():
                continue
            taken -= size
            self.tell(f"decoded cache: removed {path}, the longest unused, to stay within {self.limit / GIB:g} GiB")
        return needed + taken <= self.limit


def _key(images: FolderImages) -> str:
    """What stands for these images, decoded: it changes with every pixel that could."""
    decoder = f"{FORMAT} Pillow {PIL.__version__} jpeg {features.version('jpg')} {features.version('libjpeg_turbo')}"
    digests = sha256("".join(images.digests).encode())
    return sha256(f"{decoder}\n{images.channels} {images.reduction}\n{digests}".encode())[:32]


def _decode(images: FolderImages, row: int) -> Pixels:
    """Image `row`, of the contents that the folder was looked through with."""
    path = images.paths[row]
    content = read_image_file(path)
    if sha256(content) != images.digests[row]:
        raise InputError(f"{path}: changed since the folder was looked through. Try: start again")
    return decode(content, channels=images.channels, name=str(path), reduction=images.reduction)


def _entries(document: Mapping[str, object], path: Path, images: FolderImages) -> NDArray[np.int64] | None:
    """The entries of an index that suits its pixels and these images; None for any other."""
    try:
        entries = np.array(document["images"], dtype=np.int64)
        size = (path / PIXELS).stat().st_size
    except (OSError, KeyError, TypeError, ValueError, OverflowError):
        return None
    if entries.shape != (len(images), 4) or size != document.get("bytes") or not size:
        return None
    offset, height, width, _ = entries[entries[:, 0] >= 0].T
    if (height < 1).any() or (width < 1).any() or (np.maximum(height, width) > MAX_PIXELS).any():
        return None
    return entries if (offset <= size - height * width * images.channels).all() else None


def _bytes(path: Path) -> int:
    """What a cache takes on the disk."""
    with suppress(OSError):
        return sum(file.stat().st_size for file in path.iterdir()) if path.is_dir() else path.stat().st_size
    return 0


def _used(path: Path) -> int:
    """When a cache was used last, in nanoseconds; one that is not whole was never."""
    with suppress(OSError):
        return (path / INDEX).stat().st_mtime_ns
    return 0


def _reason(error: Exception) -> str:
    return str(error.strerror or error) if isinstance(error, OSError) else str(error).partition(". Try:")[0]
