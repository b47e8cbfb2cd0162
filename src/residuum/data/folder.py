"""A folder of images: one directory for each class, under `train/` and `val/` (and `test/`), or one tree to be split.

    flowers/train/rose/a.jpg            flowers/rose/a.jpg
    flowers/val/rose/b.jpg              flowers/tulip/nested/b.png      (split 80 / 20, stratified)

Classes are ordered by name. Files may be nested. Every file is looked at before training starts: what cannot be used is
listed with its reason, and never replaced by something else.
"""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from residuum.data.decode import SUFFIXES, decode
from residuum.data.source import Dataset, OnProgress, Pixels, Skipped, Split, stratified
from residuum.errors import InputError

SPLIT_DIRECTORIES = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}
VAL_SHARE = 0.2


@dataclass(frozen=True, eq=False)
class FolderImages:
    """Images that are decoded when asked for, as `(H, W, channels)` uint8 of any size."""

    paths: tuple[Path, ...]
    channels: int = 3

    def __len__(self) -> int:
        return len(self.paths)

    def load(self, index: int) -> Pixels:
        return decode(self.paths[index], channels=self.channels)

    def subset(self, indices: NDArray[np.int64]) -> FolderImages:
        return FolderImages(tuple(self.paths[index] for index in indices), self.channels)


def folder(root: Path, *, channels: int = 3, on_progress: OnProgress = lambda done, total: None) -> Dataset:
    """Read an image folder.

    Args:
        root: the folder.
        channels: 3 for colour, 1 for grey.
        on_progress: called with files looked at and files in all.

    Raises:
        InputError: no such folder; fewer than two classes; a class without a usable image; train and val differ in
            their classes; two class names that look the same.
    """
    if not root.is_dir():
        raise InputError(f"{root}: no such folder. Try: digits, cifar10, or a path with one directory for each class")
    found = {
        name: directory
        for name, choices in SPLIT_DIRECTORIES.items()
        if (directory := next((root / choice for choice in choices if (root / choice).is_dir()), None))
    }
    if "train" not in found:
        found = {"all": root}
    class_names = _class_names(found.get("train", root))
    for name, directory in found.items():
        _same_classes(class_names, _class_names(directory), root, name)
    listed = {name: _files(directory, class_names, root) for name, directory in found.items()}
    total = sum(len(files) for files, _ in listed.values())
    splits, skipped = {}, []
    done = 0
    for name, (files, odd) in listed.items():
        start = done
        split, unreadable = _check(name, files, channels, lambda n, start=start: on_progress(start + n, total))  # type: ignore[misc]
        _every_class(split, class_names, found[name])
        splits[name] = split
        skipped += [*odd, *unreadable]
        done += len(files)
    if "all" in splits:
        splits = _divide(splits["all"], root, class_names)
    return Dataset(
        name=str(root),
        class_names=class_names,
        train=splits["train"],
        val=splits.get("val"),
        test=splits.get("test"),
        image_size=None,
        fingerprint=_fingerprint(splits, root),
        skipped=tuple(skipped),
    )


def _class_names(directory: Path) -> tuple[str, ...]:
    names = sorted(entry.name for entry in directory.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if len(names) < 2:
        raise InputError(
            f"{directory}: has {len(names)} class directories (expected at least 2). "
            "Try: one directory for each class, with its images inside"
        )
    seen: dict[str, str] = {}
    for name in names:
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
    files, skipped = [], []
    for label, class_name in enumerate(class_names):
        for path in sorted(_walk(directory / class_name)):
            reason = _why_not(path, root)
            if reason:
                skipped.append(Skipped(printable(str(path)), reason))
            else:
                files.append((path, label))
    return files, skipped


def _walk(directory: Path) -> Iterator[Path]:
    for parent, directories, names in os.walk(directory):  # links to directories are listed but not entered
        for name in directories:
            if (Path(parent) / name).is_symlink():
                yield Path(parent) / name
        for name in names:
            yield Path(parent) / name


def _why_not(path: Path, root: Path) -> str | None:
    if path.name.startswith("."):
        return "hidden file"
    if path.is_dir():
        return "link to a directory, not followed"
    if path.is_symlink() and not path.resolve().is_relative_to(root.resolve()):
        return "link that leaves the folder"
    if path.suffix.lower() not in SUFFIXES:
        return f"not an image file by its name ({path.suffix or 'no suffix'})"
    return None


def _check(
    name: str, files: list[tuple[Path, int]], channels: int, on_progress: Callable[[int], None]
) -> tuple[Split, list[Skipped]]:
    def problem(item: tuple[Path, int]) -> str | None:
        try:
            decode(item[0], channels=channels)
        except InputError as error:
            return str(error).removeprefix(f"{item[0]}: ").partition(". Try:")[0]
        return None

    good, skipped = [], []
    with ThreadPoolExecutor() as pool:
        for number, (item, reason) in enumerate(zip(files, pool.map(problem, files), strict=True), start=1):
            if reason:
                skipped.append(Skipped(printable(str(item[0])), reason))
            else:
                good.append(item)
            on_progress(number)
    paths = tuple(path for path, _ in good)
    return Split(name, FolderImages(paths, channels), np.array([label for _, label in good], dtype=np.int64)), skipped


def _every_class(split: Split, class_names: tuple[str, ...], directory: Path) -> None:
    counts = np.bincount(split.labels, minlength=len(class_names))
    empty = [printable(class_names[label]) for label in np.flatnonzero(counts == 0)]
    if empty:
        raise InputError(
            f"{directory}: no usable image in class {', '.join(empty)}. Try: add images, or remove the directory"
        )


def _divide(whole: Split, root: Path, class_names: tuple[str, ...]) -> dict[str, Split]:
    few = [printable(class_names[label]) for label in np.flatnonzero(np.bincount(whole.labels) < 2)]
    val = max(round(VAL_SHARE * len(whole)), len(class_names))
    if few or len(whole) - val < len(class_names):
        raise InputError(f"{root}: too few images to split (in {few or 'all'}). Try: at least 2 images in every class")
    train_part, val_part = stratified(whole.labels, (len(whole) - val, val), seed=0)
    splits = {"train": whole.subset(train_part, "train"), "val": whole.subset(val_part, "val")}
    for split in splits.values():
        _every_class(split, class_names, root)
    return splits


def _fingerprint(splits: dict[str, Split], root: Path) -> str:
    digest = hashlib.sha256()
    for name, split in splits.items():
        assert isinstance(split.images, FolderImages)
        for path, label in zip(split.images.paths, split.labels, strict=True):
            relative = os.fsencode(path.relative_to(root))
            digest.update(b"%s %d %d %s\n" % (name.encode(), label, path.stat().st_size, relative))
    return digest.hexdigest()


def printable(name: str) -> str:
    """A file name as text that any terminal and JSON file can hold: undecodable bytes as escapes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
