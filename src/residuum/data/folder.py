"""A folder of images: one directory for each class, under `train/` and `val/` (and `test/`), or one tree to be split.

    flowers/train/rose/a.jpg            flowers/rose/a.jpg
    flowers/val/rose/b.jpg              flowers/tulip/nested/b.png      (split 80 / 20, stratified)

Classes are ordered by name. Files may be nested. Every file is looked at before training starts: what cannot be used is
listed with its reason, and never replaced by something else. A file that was found sound before and has not changed
since is not read again (`residuum.data.scan`). A few that cannot be decoded are left out; a folder with more of them is
refused, since it may be the disk that is damaged.
"""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from residuum.data.decode import SUFFIXES, decode, decoding_threads, read_image_file
from residuum.data.scan import Identity, ScanMemory, identity
from residuum.data.source import Dataset, OnProgress, Pixels, Reduction, Skipped, Split
from residuum.errors import InputError
from residuum.files.atomic import sha256

SPLIT_DIRECTORIES = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}
VAL_SHARE = 0.2
ODD_SHARE = 0.01
UNREADABLE_SHARE, FEW_UNREADABLE = 0.01, 10  # of a folder's images that may be left out: the larger of the two
LOOKED_AT_ONCE = 4096  # files that are handed to threads at a time: to hand out a million would take gigabytes


@dataclass(frozen=True, eq=False)
class FolderImages:
    """Images that are decoded when asked for, as `(H, W, channels)` uint8 of any size.

    Attributes:
        paths: of the files.
        channels: 3 for colour, 1 for grey.
        digests: sha256 of each file's contents; empty where they are not known.
        reduction: how much of each is needed; None for the whole.
    """

    paths: tuple[Path, ...]
    channels: int = 3
    digests: tuple[str, ...] = ()
    reduction: Reduction | None = None

    def __len__(self) -> int:
        return len(self.paths)

    def load(self, index: int) -> Pixels:
        return decode(self.paths[index], channels=self.channels, reduction=self.reduction)

    def subset(self, indices: NDArray[np.int64]) -> FolderImages:
        digests = tuple(self.digests[index] for index in indices) if self.digests else ()
        return replace(self, paths=tuple(self.paths[index] for index in indices), digests=digests)

    def reduced(self, reduction: Reduction) -> FolderImages:
        return replace(self, reduction=reduction)


def folder(root: Path, *, channels: int = 3, on_progress: OnProgress = lambda done, total: None) -> Dataset:
    """Read an image folder.

    Args:
        root: the folder.
        channels: 3 for colour, 1 for grey.
        on_progress: called with files looked at and files in all.

    Raises:
        InputError: no such folder; one that cannot be listed; fewer than two classes; a class without a usable image;
            train and val differ in their classes; two class names that look the same; too many damaged images.
    """
    with _listing(root):
        if not root.is_dir():
            raise InputError(
                f"{root}: no such folder. Try: digits, cifar10, or a path with one directory for each class"
            )
        found = _split_directories(root) or {"all": root}
        class_names = _class_names(found.get("train", root))
        for name, directory in found.items():
            _same_classes(class_names, _class_names(directory), root, name)
        listed = {name: _files(directory, class_names, root) for name, directory in found.items()}
    every = _check_all(root, {name: files for name, (files, _) in listed.items()}, channels, on_progress)
    splits, skipped = {}, []
    fingerprint = hashlib.sha256()
    for name, checked in every.items():
        _every_class(checked.split, class_names, found[name])
        splits[name] = checked.split
        skipped += [*listed[name][1], *checked.skipped]
        for digest, label in zip(checked.digests, checked.split.labels, strict=True):
            fingerprint.update(f"{name} {class_names[label]} {digest}\n".encode())
    if "all" in splits:
        splits = _divide(splits["all"], root, class_names)
    return Dataset(
        name=str(root.resolve()),
        class_names=class_names,
        train=splits["train"],
        val=splits.get("val"),
        test=splits.get("test"),
        image_size=None,
        fingerprint=fingerprint.hexdigest(),
        skipped=tuple(skipped),
        remarks=tuple(_remarks(splits)),
    )


@contextmanager
def _listing(root: Path) -> Iterator[None]:
    """A directory that cannot be looked into, in one line."""
    try:
        yield
    except OSError as error:
        where = printable(str(error.filename or root))
        remedy = f"chmod u+rx {where}" if isinstance(error, PermissionError) else f"ls -l {where}"
        raise InputError(f"{where}: cannot be listed ({error.strerror or error}). Try: {remedy}") from error


def _split_directories(root: Path) -> dict[str, Path] | None:
    """The directories of the splits by name, or None where the folder is one tree of classes.

    A folder is divided if all its directories are named as splits, so that a class may be called `train` (beside
    `bus`).
    """
    named = {choice: name for name, choices in SPLIT_DIRECTORIES.items() for choice in choices}
    directories = sorted(entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not directories or any(entry.name.lower() not in named for entry in directories):
        return None
    found: dict[str, Path] = {}
    for entry in directories:
        name = named[entry.name.lower()]
        if name in found:
            raise InputError(f"{root}: {found[name].name} and {entry.name} are both the {name} split. Try: keep one")
        found[name] = entry
    if "train" not in found:
        raise InputError(f"{root}: has {', '.join(found)} but no train directory. Try: add train, or name the classes")
    return dict(sorted(found.items(), key=lambda item: list(SPLIT_DIRECTORIES).index(item[0])))


def _class_names(directory: Path) -> tuple[str, ...]:
    names = sorted(entry.name for entry in directory.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if len(names) < 2:
        raise InputError(
            f"{directory}: has {len(names)} class directories (expected at least 2). "
            "Try: one directory for each class, with its images inside"
        )
    seen: dict[str, str] = {}
    for name in names:
        if printable(name) != name:
            raise InputError(f"{directory}: class directory {printable(name)!r} is not UTF-8. Try: rename it")
        if (directory / name).is_symlink():
            raise InputError(f"{directory / name}: is a link; classes must lie in the folder itself. Try: copy it")
        key = unicodedata.normalize("NFC", name)
        if key in seen:
            raise InputError(f"{directory}: two class directories both read {printable(name)!r}. Try: rename one")
        seen[key] = name
    return tuple(names)


def _same_classes(expected: tuple[str, ...], got: tuple[str, ...], root: Path, name: str) -> None:
    missing, extra = sorted(set(expected) - set(got)), sorted(set(got) - set(expected))
    if missing or extra:
        raise InputError(
            f"{root}: train and {name} have different classes (only in train: {missing or 'none'}; "
            f"only in {name}: {extra or 'none'}). Try: the same directories in both"
        )


def _files(directory: Path, class_names: tuple[str, ...], root: Path) -> tuple[list[tuple[Path, int]], list[Skipped]]:
    """The files that may be images, with their labels, in the order of their names; and those that may not."""
    files = []
    skipped = [
        Skipped(printable(str(path)), "lies outside the class directories")
        for path in sorted(directory.iterdir())
        if not path.is_dir()
    ]
    for label, class_name in enumerate(class_names):
        for path in sorted(_walk(directory / class_name)):
            reason = _why_not(path, root)
            if reason:
                skipped.append(Skipped(printable(str(path)), reason))
            else:
                files.append((path, label))
    return files, skipped


def _walk(directory: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise error

    for parent, directories, names in os.walk(directory, onerror=refuse):
        left_out = [each for each in directories if each.startswith(".") or (Path(parent) / each).is_symlink()]
        directories[:] = [each for each in directories if each not in left_out]
        for name in (*left_out, *names):
            yield Path(parent) / name


def _why_not(path: Path, root: Path) -> str | None:
    if path.name.startswith("."):
        return "hidden file"
    if path.is_dir():
        return "link to a directory, not followed"
    if path.is_symlink() and not os.path.exists(path):
        return "link to nothing"
    if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root)):
        return "link that leaves the folder"
    if not path.is_file():
        return "not a regular file"
    if path.suffix.lower() not in SUFFIXES:
        return f"not an image file by its name ({path.suffix or 'no suffix'})"
    return None


@dataclass(frozen=True, eq=False)
class Checked:
    """A split of images that can be decoded, the digest of each, and the files that cannot."""

    split: Split
    digests: list[str]
    skipped: list[Skipped]


def _check_all(
    root: Path, listed: dict[str, list[tuple[Path, int]]], channels: int, on_progress: OnProgress
) -> dict[str, Checked]:
    """Look at the files of every split.

    Raises:
        InputError: too many of them cannot be decoded.
    """
    memory = ScanMemory(root, channels)
    total, done = sum(map(len, listed.values())), 0
    every = {}
    for name, files in listed.items():
        every[name] = _check(name, files, memory, channels, lambda n, start=done: on_progress(start + n, total))  # type: ignore[misc]
        done += len(files)
    memory.save()
    _require_sound(root, [each for checked in every.values() for each in checked.skipped], total, memory)
    return every


def _require_sound(root: Path, damaged: list[Skipped], total: int, memory: ScanMemory) -> None:
    """Refuse a folder of which more than a few images cannot be decoded; the list of them is written to a file."""
    allowed = max(FEW_UNREADABLE, int(UNREADABLE_SHARE * total))
    if len(damaged) <= allowed:
        return
    path = memory.write_list(f"{each.path}: {each.reason}" for each in damaged)
    remedy = f"less {path}, which lists them; mend or remove them" if path else "mend or remove them"
    raise InputError(
        f"{printable(str(root))}: {len(damaged):,} of {total:,} images cannot be used, the first is "
        f"{damaged[0].path}: {damaged[0].reason} (expected at most {allowed:,}). Try: {remedy}"
    )


def _check(
    name: str,
    files: list[tuple[Path, int]],
    memory: ScanMemory,
    channels: int,
    on_progress: Callable[[int], None],
) -> Checked:
    def look(item: tuple[Path, int]) -> tuple[str, str, Identity | None]:
        """The digest of a file's contents, what is wrong with it, if anything, and which file it was."""
        path = item[0]
        which = identity(path)
        if known := memory.digest(path, which):
            return known, "", which
        try:
            content = read_image_file(path)
            decode(content, channels=channels, name=str(path), reduction=Reduction(1))  # reads every byte all the same
        except InputError as error:
            return "", str(error).removeprefix(f"{path}: ").partition(". Try:")[0], which
        return sha256(content), "", which

    good, digests, skipped = [], [], []
    with ThreadPoolExecutor(decoding_threads()) as pool:
        starts = range(0, len(files), LOOKED_AT_ONCE)
        looked = chain.from_iterable(pool.map(look, files[start : start + LOOKED_AT_ONCE]) for start in starts)
        for number, (item, seen) in enumerate(zip(files, looked, strict=True), start=1):
            digest, problem, which = seen
            if problem:
                skipped.append(Skipped(printable(str(item[0])), problem))
            else:
                good.append(item)
                digests.append(digest)
                memory.keep(item[0], which, digest)
            on_progress(number)
    images = FolderImages(tuple(path for path, _ in good), channels, tuple(digests))
    return Checked(Split(name, images, np.array([label for _, label in good], dtype=np.int64)), digests, skipped)


def _every_class(split: Split, class_names: tuple[str, ...], directory: Path) -> None:
    counts = np.bincount(split.labels, minlength=len(class_names))
    empty = [printable(class_names[label]) for label in np.flatnonzero(counts == 0)]
    if empty:
        raise InputError(
            f"{directory}: no usable image in class {', '.join(empty)}. Try: add images, or remove the directory"
        )


def _divide(whole: Split, root: Path, class_names: tuple[str, ...]) -> dict[str, Split]:
    """Training and validation part of one tree: of each class a fifth, but at least one image, validates."""
    generator = np.random.Generator(np.random.Philox(key=0))
    train_part, val_part = [], []
    for label, class_name in enumerate(class_names):
        members = generator.permutation(np.flatnonzero(whole.labels == label))
        if len(members) < 2:
            raise InputError(f"{root / class_name}: has one image, too few to train and validate. Try: at least 2")
        held = max(1, round(VAL_SHARE * len(members)))
        val_part.append(members[:held])
        train_part.append(members[held:])
    parts = {"train": train_part, "val": val_part}
    return {name: whole.subset(np.sort(np.concatenate(part)), name) for name, part in parts.items()}


def _remarks(splits: dict[str, Split]) -> Iterator[str]:
    """The few files of another format in a large folder of one format: often a placeholder that a crawler left."""
    paths = [path for split in splits.values() if isinstance(split.images, FolderImages) for path in split.images.paths]
    counts = Counter(_format(path) for path in paths)
    for path in paths:
        if counts[_format(path)] <= ODD_SHARE * len(paths):
            among = f"{counts[_format(path)]} {_format(path)} among {len(paths):,} images"
            yield f"{printable(str(path))}: used, but one of {among}: look whether it is what it should be"


def _format(path: Path) -> str:
    suffix = path.suffix.lower()
    return {".jpg": ".jpeg", ".tif": ".tiff"}.get(suffix, suffix)


def printable(name: str) -> str:
    """A file name as text that any terminal and JSON file can hold, odd bytes and control characters escaped."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
