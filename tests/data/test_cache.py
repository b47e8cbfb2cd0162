"""Decoded images on the disk: the same bits with them as without, whatever becomes of the files."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from PIL import Image

import fault_steps
from residuum.data import cache as module
from residuum.data.augment import Augmentation, CropFlip, ScaleCropFlip
from residuum.data.batches import TrainingBatches, evaluation_batches, training_reduction
from residuum.data.cache import GIB, CachedImages, with_decoded_cache
from residuum.data.folder import FolderImages, folder
from residuum.data.preprocess import Preprocessing
from residuum.data.source import Dataset, Reduction
from residuum.errors import InputError
from residuum.files.atomic import sha256

CPU = torch.device("cpu")
PLAIN = Preprocessing(channels=3, resize=20, crop=(16, 16), mean=(0.4,) * 3, std=(0.2,) * 3)
HALF = Reduction(20)
IMAGE_BYTES = 20 * 30 * 3  # of one image of 40 x 60 pixels, decoded at half its size
INDEX_BYTES = 12 * 64
ENOUGH = 1.0


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """Twelve images to train, four to validate, and a cache of its own."""
    monkeypatch.setenv("RESIDUUM_CACHE", str(tmp_path / "cache"))
    generator = np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 2)):
        for name in ("ant", "bee"):
            (tmp_path / "root" / split / name).mkdir(parents=True)
            for index in range(count):
                pixels = generator.integers(0, 256, (10, 15, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
                Image.fromarray(pixels).save(tmp_path / "root" / split / name / f"{index}.jpg", quality=90)
    return folder(tmp_path / "root")


def kept(data: Dataset, gib: float = ENOUGH, **reductions: Reduction) -> tuple[Dataset, list[str]]:
    """The data set with a cache, and what was told."""
    told: list[str] = []
    return with_decoded_cache(data, reductions or {"train": HALF}, gib, tell=told.append), told


def stored(data: Dataset) -> Path:
    assert isinstance(data.train.images, CachedImages)
    return data.train.images.cache.directory


def caches(photos: Dataset) -> Path:
    return Path(photos.name).parent / "cache" / "decoded"


def require_same(one: Dataset, two: Dataset, reduction: Reduction = HALF) -> None:
    left, right = (data.train.images.reduced(reduction) for data in (one, two))  # type: ignore[attr-defined]
    assert len(left) == len(right)
    for index in range(len(left)):
        assert (left.load(index) == right.load(index)).all()


def fitting(data: Dataset) -> int:
    assert isinstance(data.train.images, CachedImages)
    return int((data.train.images.cache.entries[:, 0] >= 0).sum())


# The same bits


@pytest.mark.parametrize("augmentation", [None, CropFlip(pad=2), ScaleCropFlip(smallest=18, largest=20)])
@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("images", [12, 5, 0])
def test_batches_are_the_same_with_and_without(
    augmentation: Augmentation | None, workers: int, images: int, photos: Dataset
) -> None:
    reductions = {"train": training_reduction(PLAIN, augmentation), "val": PLAIN.reduction()}
    assert reductions["train"] == HALF
    room = ENOUGH if images == 12 else (images * IMAGE_BYTES + INDEX_BYTES + 1) / GIB
    with_cache, _ = kept(photos, room, **reductions)
    assert isinstance(with_cache.train.images, CachedImages) == (images > 0)
    batches = [
        TrainingBatches(data.train, PLAIN, augmentation, batch_size=5, seed=1, device=CPU, workers=workers)
        for data in (photos, with_cache)
    ]
    for (one, labels), (two, others) in zip(*(each.iterate(0, 7) for each in batches), strict=True):
        assert torch.equal(one, two)
        assert torch.equal(labels, others)
    assert photos.val is not None
    assert with_cache.val is not None
    for split, other in ((photos.val, with_cache.val), (photos.train, with_cache.train)):
        evaluated = [[*evaluation_batches(each, PLAIN, batch_size=3, device=CPU)] for each in (split, other)]
        for (one, _), (two, _) in zip(*evaluated, strict=True):
            assert torch.equal(one, two)


def test_what_lies_in_it_is_used_and_nothing_else_is_decoded(photos: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    data, told = kept(photos)
    assert told == [f"decoded cache: 12 of 12 images, 0.00 GiB in {stored(data)}"]
    assert (stored(data) / "pixels").stat().st_size == 12 * IMAGE_BYTES
    reduced = [photos.train.images.reduced(HALF).load(index) for index in range(12)]  # type: ignore[attr-defined]
    whole = photos.train.images.load(3)

    def failing(self: FolderImages, index: int) -> None:
        raise AssertionError(index)

    monkeypatch.setattr(FolderImages, "load", failing)
    again, told = kept(photos)
    assert told == []
    chosen = np.array([3, 0, 11])
    for images in (data.train.images, again.train.images):
        few = images.subset(chosen).reduced(HALF)  # type: ignore[attr-defined]
        assert len(few) == 3
        for place, index in enumerate(chosen):
            assert (few.load(place) == reduced[index]).all()
            assert not few.load(place).flags.writeable
    monkeypatch.undo()
    assert (again.train.images.load(3) == whole).all()  # the whole image, and another reduction, are decoded
    assert again.train.images.reduced(Reduction(5)).load(3).shape == (5, 8, 3)  # type: ignore[attr-defined]


def test_it_is_of_these_contents_this_reduction_and_these_channels(photos: Dataset) -> None:
    places = {stored(kept(photos, train=reduction)[0]) for reduction in (HALF, Reduction(5), Reduction(20, True))}
    places.add(stored(kept(folder(Path(photos.name), channels=1))[0]))
    first = Path(photos.name) / "train" / "ant" / "0.jpg"
    Image.new("RGB", (60, 40)).save(first)
    places.add(stored(kept(folder(Path(photos.name)))[0]))
    assert len(places) == 5
    copied = shutil.copytree(photos.name, Path(photos.name).parent / "copy")
    assert stored(kept(folder(copied))[0]) in places


def test_progress_rises_to_the_number_of_images(photos: Dataset) -> None:
    seen: list[tuple[int, int]] = []
    with_decoded_cache(photos, {"train": HALF}, ENOUGH, on_progress=lambda done, total: seen.append((done, total)))
    assert seen == sorted(set(seen))
    assert seen[-1] == (12, 12)


def test_data_in_memory_are_returned_as_they_are(digits_data: Dataset) -> None:
    data, told = kept(digits_data)
    assert data.train is digits_data.train
    assert told == ["decoded cache: digits is no image folder, there is nothing to keep"]


def test_a_file_that_changed_since_the_look_is_refused(photos: Dataset) -> None:
    Image.new("RGB", (60, 40)).save(Path(photos.name) / "train" / "ant" / "0.jpg")
    with pytest.raises(InputError, match=r"0\.jpg: changed since the folder was looked through"):
        kept(photos)
    assert [path.name for path in caches(photos).iterdir()] == [".lock"]


# Bounds


def test_as_many_images_as_fit_are_kept_and_more_when_more_do(photos: Dataset) -> None:
    room = 5 * IMAGE_BYTES + INDEX_BYTES
    data, told = kept(photos, room / GIB)
    assert fitting(data) == 5
    assert "5 of 12 images" in told[0]
    assert "no more fit in" in told[0]
    assert module._bytes(stored(data)) <= room
    assert kept(photos, room / GIB)[1] == []  # as it is
    assert fitting(kept(photos)[0]) == 12
    assert fitting(kept(photos, room / GIB)[0]) == 5  # a lower limit holds for what was built before
    none, told = kept(photos, (IMAGE_BYTES + INDEX_BYTES - 1) / GIB)
    assert none.train is not photos.train
    assert none.train.images is photos.train.images
    assert told == [f"decoded cache: 0 of 12 images, no more fit in {int(IMAGE_BYTES + INDEX_BYTES - 1) / GIB:g} GiB"]
    assert [path.name for path in caches(photos).iterdir()] == [".lock"]


def test_the_longest_unused_caches_go_and_those_in_use_stay(photos: Dataset) -> None:
    sizes = [Reduction(20), Reduction(10), Reduction(20, True)]  # 20 x 30, 10 x 15 and 40 x 60 pixels
    places = []
    for age, reduction in enumerate(sizes):
        places.append(stored(kept(photos, train=reduction)[0]))
        os.utime(places[-1] / "index.json", (1000 + age, 1000 + age))
    kept(photos, train=sizes[0])  # used again: the second is now the longest unused
    room = sum(map(module._bytes, places))
    val = Reduction(10)
    _, told = kept(photos, (room + 100) / GIB, val=val)
    assert [place.exists() for place in places] == [True, False, True]
    assert [line for line in told if "removed" in line] == [
        f"decoded cache: removed {places[1]}, the longest unused, to stay within {(room + 100) / GIB:g} GiB"
    ]
    data, told = kept(photos, 30_000 / GIB, train=sizes[0], val=val)
    assert not places[2].exists()
    assert stored(data) == places[0]
    assert sum(module._bytes(path) for path in caches(photos).iterdir()) <= 30_000


# Damage


def index_of(path: Path) -> dict[str, object]:
    return json.loads((path / "index.json").read_bytes().partition(b"\n")[2])  # type: ignore[no-any-return]


def write_index(path: Path, document: object) -> None:
    body = json.dumps(document).encode()
    (path / "index.json").write_bytes(sha256(body).encode() + b"\n" + body)


def with_entry(entry: object) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        document = index_of(path)
        document["images"][3] = entry  # type: ignore[index]
        write_index(path, document)

    return spoil


def shorter(path: Path) -> None:
    os.truncate(path / "pixels", 100)


def unsigned(path: Path) -> None:
    content = (path / "index.json").read_bytes()
    (path / "index.json").write_bytes(content.replace(b"[0,", b"[7,", 1))


def of_other_images(path: Path) -> None:
    document = index_of(path)
    document["images"] = document["images"][:-1]  # type: ignore[index]
    write_index(path, document)


HOSTILE = [
    shorter,
    unsigned,
    of_other_images,
    lambda path: (path / "index.json").write_bytes(b""),
    lambda path: (path / "pixels").unlink(),
    lambda path: write_index(path, []),
    lambda path: write_index(path, {"images": 5, "bytes": 12 * IMAGE_BYTES}),
    with_entry([12 * IMAGE_BYTES - 1, 20, 30, 0]),
    with_entry([0, -20, -30, 0]),
    with_entry([0, 0, 30, 0]),
    with_entry([0, 2**31, 2**31, 0]),
    with_entry([0, 2**62, 8, 0]),
    with_entry([2**70, 20, 30, 0]),
    with_entry([0, 20, 30]),
    with_entry(["0", None, 30, 0]),
    with_entry({}),
]


@pytest.mark.parametrize("spoil", HOSTILE)
def test_a_damaged_or_hostile_cache_is_named_and_built_anew(spoil: Callable[[Path], None], photos: Dataset) -> None:
    data, _ = kept(photos)
    path = stored(data)
    sound = (path / "pixels").read_bytes()
    del data
    spoil(path)
    again, told = kept(photos)
    assert told[0] == f"decoded cache: {path} is damaged, it is built anew"
    assert len(told) == 2, "that once, and what is kept now"
    assert "12 of 12 images" in told[-1]
    assert (path / "pixels").read_bytes() == sound
    require_same(again, photos)
    assert kept(photos)[1] == []


@pytest.mark.parametrize("entry", [(0, 20, 30, 1), (1, 20, 30, None), (0, 30, 20, None)], ids=str)
def test_pixels_that_are_not_what_was_written_are_never_used(
    entry: tuple[int, int, int, int | None], photos: Dataset
) -> None:
    """A flipped bit, a wrong place: found at first use, the file decoded instead, once said, built anew next time."""
    path = stored(kept(photos)[0])
    with (path / "pixels").open("r+b") as stream:
        for index in (2, 7):
            stream.seek(index * IMAGE_BYTES + 500)
            value = stream.read(1)[0]
            stream.seek(-1, os.SEEK_CUR)
            stream.write(bytes([value ^ 1]))
    data, told = kept(photos)
    require_same(data, photos)
    require_same(data, photos)
    assert told == [f"decoded cache: {path} is damaged: its files are decoded instead, and it is built anew"]
    again, told = kept(photos)
    assert "12 of 12" in told[0]
    require_same(again, photos)


def test_a_cache_that_goes_while_it_is_used_does_no_harm(photos: Dataset) -> None:
    data, _ = kept(photos)
    shutil.rmtree(caches(photos))
    require_same(data, photos)


# Disks and processes


@pytest.mark.parametrize("call", ["write", "fsync", "mkdir", "replace", "create"])
@pytest.mark.parametrize("at", [1, 2, 3])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_is_full_or_read_only_is_named_and_nothing_is_left(
    call: str, at: int, number: int, photos: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        steps = fault_steps.Steps(at, fault_steps.raising(number), only=call, lasting=True)
        steps.install(patch.setattr)
        data, told = kept(photos)
    if steps.failed:
        assert told == [f"decoded cache: cannot be kept ({told[0].split('(', 1)[1]}"]
        assert os.strerror(number) in told[0]
        assert data.train.images is photos.train.images
        left = caches(photos)
        assert not left.exists() or {path.name for path in left.iterdir()} <= {".lock"}
        assert "12 of 12 images" in kept(photos)[1][-1]


def test_no_home_and_a_file_in_its_place_are_no_end(photos: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESIDUUM_CACHE", str(Path(photos.name) / "train" / "ant" / "0.jpg"))
    data, told = kept(photos)
    assert data.train.images is photos.train.images
    assert len(told) == 1
    assert told[0].startswith("decoded cache: cannot be kept (Not a directory)")


def test_a_user_without_a_home_trains_without_a_cache(photos: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", none)
    for name in ("RESIDUUM_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    data, told = kept(photos)
    assert data.train.images is photos.train.images
    assert len(told) == 1
    assert told[0].startswith("decoded cache: cannot be kept (RESIDUUM_CACHE: there is no home directory)")


def test_an_interrupted_build_leaves_nothing_that_is_believed(photos: Dataset) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        with_decoded_cache(photos, {"train": HALF}, ENOUGH, on_progress=stop)
    assert [path.name for path in caches(photos).iterdir()] == [".lock"]
    left = caches(photos) / ".writing-1-killed"  # of a process that could not tidy up
    left.mkdir()
    (left / "pixels").write_bytes(b"half")
    data, told = kept(photos)
    assert "12 of 12" in told[0]
    assert not left.exists()
    require_same(data, photos)


def test_a_second_process_waits_or_goes_without(photos: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAIT_SECONDS", 0.1)
    caches(photos).mkdir(parents=True)
    with FileLock(caches(photos) / ".lock"):
        data, told = kept(photos)
        assert data.train.images is photos.train.images
        assert told == [
            "decoded cache: waiting for another process that builds one",
            "decoded cache: another process still builds one, images are decoded as they are needed",
        ]
    path = stored(kept(photos)[0])
    with FileLock(caches(photos) / ".lock"):
        assert stored(kept(photos)[0]) == path  # what is whole can be used meanwhile


def test_two_processes_at_once_build_one_cache(photos: Dataset) -> None:
    script = (
        "import sys; from pathlib import Path; from residuum.data.folder import folder\n"
        "from residuum.data.cache import with_decoded_cache; from residuum.data.source import Reduction\n"
        "data = with_decoded_cache(folder(Path(sys.argv[1])), {'train': Reduction(20)}, 1.0, tell=print)\n"
        "print(type(data.train.images).__name__)"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", script, photos.name], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    answers = [process.communicate(timeout=60)[0] for process in running]
    assert all(answer.endswith("CachedImages\n") for answer in answers)
    assert sum("12 of 12" in answer for answer in answers) == 1


def test_the_first_use_of_an_image_is_checked_and_later_ones_are_quick(photos: Dataset) -> None:
    data, _ = kept(photos)
    images = data.train.images.reduced(HALF)  # type: ignore[attr-defined]
    assert isinstance(images, CachedImages)
    images.load(4)
    assert images.cache.sound.tolist() == [index == 4 for index in range(12)]
    began = time.perf_counter()
    for _ in range(100):
        images.load(4)
    assert time.perf_counter() - began < 0.2
