"""Image folders as people have them: nested, linked, damaged, oddly named; what is used and what is said."""

from __future__ import annotations

import errno
import json
import os
import shutil
import threading
import unicodedata
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from residuum.data import folder as module
from residuum.data.folder import FolderImages, folder, printable
from residuum.data.source import Dataset, Split
from residuum.errors import InputError

UNDECODABLE = os.fsdecode(b"\xff\xfe")


def image(path: Path, value: int = 100, size: tuple[int, int] = (6, 5)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, 0, 255 - value)).save(path, "PNG")
    return path


def tree(root: Path, classes: tuple[str, ...] = ("ant", "bee"), count: int = 5) -> Path:
    for number, name in enumerate(classes):
        for index in range(count):
            image(root / name / f"{index}.png", 100 * number + index)
    return root


def two_splits(root: Path) -> Path:
    tree(root / "train")
    tree(root / "val", count=2)
    return root


def names(split: Split | None, root: Path) -> list[str]:
    assert split is not None
    assert isinstance(split.images, FolderImages)
    return [path.relative_to(root).as_posix() for path in split.images.paths]


def reasons(data: Dataset, root: Path) -> dict[str, str]:
    return {each.path.removeprefix(f"{root}/"): each.reason for each in data.skipped}


def used(data: Dataset) -> set[Path]:
    every: set[Path] = set()
    for split in data.splits().values():
        assert isinstance(split.images, FolderImages)
        every |= {path.resolve() for path in split.images.paths}
    return every


def refusal(root: Path) -> str:
    with pytest.raises(InputError) as caught:
        folder(root)
    message = str(caught.value)
    assert message.startswith(str(root))
    assert len(message.splitlines()) == 1
    return message


# What is read


def test_images_carry_the_label_of_their_class_in_the_order_of_names(tmp_path: Path) -> None:
    for name in ("zebra", "ant", "Bee", "10", "9"):
        image(tmp_path / "train" / name / "x.png", len(name))
        image(tmp_path / "val" / name / "y.png")
    data = folder(tmp_path)
    assert data.class_names == ("10", "9", "Bee", "ant", "zebra")
    assert names(data.train, tmp_path) == [f"train/{name}/x.png" for name in data.class_names]
    assert data.train.labels.tolist() == [0, 1, 2, 3, 4]
    assert data.train.labels.dtype == np.int64
    assert [int(data.train.images.load(index)[0, 0, 0]) for index in range(5)] == [2, 1, 3, 3, 5]
    assert (data.name, data.image_size, data.skipped, data.test) == (str(tmp_path), None, (), None)


def test_the_order_does_not_depend_on_the_order_of_the_disk(tmp_path: Path) -> None:
    for root, order in (("a", (3, 1, 2)), ("b", (2, 3, 1))):
        for index in order:
            for name in ("y", "x") if root == "a" else ("x", "y"):
                image(tmp_path / root / "train" / name / f"{index}.png")
                image(tmp_path / root / "train" / name / "deep" / f"{4 - index}.png")
    one, two = folder(tmp_path / "a"), folder(tmp_path / "b")
    assert names(one.train, tmp_path / "a") == names(two.train, tmp_path / "b")
    assert one.fingerprint == two.fingerprint


@pytest.mark.parametrize("val", ["val", "valid", "validation"])
def test_validation_goes_by_three_names_and_there_may_be_a_test(val: str, tmp_path: Path) -> None:
    tree(tmp_path / "train")
    tree(tmp_path / val, count=2)
    tree(tmp_path / "test", count=1)
    data = folder(tmp_path)
    assert {name: len(split) for name, split in data.splits().items()} == {"train": 10, "val": 4, "test": 2}
    assert names(data.val, tmp_path)[0] == f"{val}/ant/0.png"
    assert all(name == split.name for name, split in data.splits().items())


def test_training_images_alone_are_not_split(tmp_path: Path) -> None:
    tree(tmp_path / "train")
    data = folder(tmp_path)
    assert len(data.train) == 10
    assert data.val is None


def test_without_train_no_other_split_is_taken_for_a_class(tmp_path: Path) -> None:
    tree(tmp_path / "val")
    tree(tmp_path / "test")
    assert "train" in refusal(tmp_path)


def test_nested_files_belong_to_the_class_on_top(tmp_path: Path) -> None:
    two_splits(tmp_path)
    image(tmp_path / "train" / "bee" / "2024" / "summer" / "deep.png")
    data = folder(tmp_path)
    position = names(data.train, tmp_path).index("train/bee/2024/summer/deep.png")
    assert data.train.labels[position] == 1


def test_images_are_decoded_in_colour_or_grey_at_their_own_size(tmp_path: Path) -> None:
    tree(tmp_path / "train", count=2)
    image(tmp_path / "train" / "ant" / "0.png", 255, (17, 11))
    assert folder(tmp_path).train.images.load(0).tolist() == [[[255, 0, 0]] * 17] * 11
    grey = folder(tmp_path, channels=1)
    assert grey.channels == 1
    assert grey.train.images.load(0).tolist() == [[[76]] * 17] * 11
    assert grey.train.subset(np.array([0])).images.channels == 1


def test_a_single_tree_is_split_80_to_20_with_each_class_by_its_share(tmp_path: Path) -> None:
    tree(tmp_path, ("ant",), 40)
    tree(tmp_path, ("bee",), 20)
    data = folder(tmp_path)
    assert np.bincount(data.train.labels).tolist() == [32, 16]
    assert data.val is not None
    assert np.bincount(data.val.labels).tolist() == [8, 4]
    both = names(data.train, tmp_path) + names(data.val, tmp_path)
    assert len(both) == len(set(both)) == 60
    for split in (data.train, data.val):
        assert [("ant", "bee")[label] for label in split.labels] == [n.split("/")[0] for n in names(split, tmp_path)]
    again = folder(tmp_path)
    assert names(again.val, tmp_path) == names(data.val, tmp_path)
    assert again.fingerprint == data.fingerprint


def test_a_single_tree_of_two_images_in_each_class_is_split_one_to_one(tmp_path: Path) -> None:
    data = folder(tree(tmp_path, ("a", "b", "c"), 2))
    assert data.train.labels.tolist() == [0, 1, 2]
    assert data.val is not None
    assert data.val.labels.tolist() == [0, 1, 2]


def test_a_rare_class_of_two_images_is_in_both_parts_of_a_single_tree(tmp_path: Path) -> None:
    """The message for smaller classes promises that two images in every class are enough."""
    tree(tmp_path, ("common",), 60)
    tree(tmp_path, ("rare",), 2)
    data = folder(tmp_path)
    assert data.val is not None
    assert np.bincount(data.train.labels, minlength=2).min() >= 1
    assert np.bincount(data.val.labels, minlength=2).min() >= 1


def test_a_single_tree_with_one_image_in_a_class_is_refused_and_the_class_named(tmp_path: Path) -> None:
    tree(tmp_path, ("ant", "bee"), 4)
    image(tmp_path / "wasp" / "only.png")
    message = refusal(tmp_path)
    assert "wasp" in message
    assert "ant" not in message.removeprefix(str(tmp_path))


# What is left out, and said


def test_odd_files_are_listed_with_their_reasons_and_not_used(tmp_path: Path) -> None:
    two_splits(tmp_path)
    ant = tmp_path / "train" / "ant"
    (ant / "notes.txt").write_text("hello")
    (ant / "Thumbs.db").write_bytes(b"\0")
    (ant / "README").write_text("hello")
    image(ant / ".hidden.png")
    (ant / "._resource.jpg").write_bytes(b"\0\5\x16\7")
    (tmp_path / "val" / "bee" / "deep").mkdir()
    (tmp_path / "val" / "bee" / "deep" / "labels.csv").write_text("a,b")
    data = folder(tmp_path)
    got = reasons(data, tmp_path)
    assert [*got] == sorted(got)
    assert {name: reason.partition(" (")[0] for name, reason in got.items()} == {
        "train/ant/.hidden.png": "hidden file",
        "train/ant/._resource.jpg": "hidden file",
        "train/ant/README": "not an image file by its name",
        "train/ant/Thumbs.db": "not an image file by its name",
        "train/ant/notes.txt": "not an image file by its name",
        "val/bee/deep/labels.csv": "not an image file by its name",
    }
    assert len(data.train) == 10


def test_damaged_images_are_listed_and_never_replaced(tmp_path: Path) -> None:
    two_splits(tmp_path)
    ant, bee = tmp_path / "train" / "ant", tmp_path / "train" / "bee"
    (ant / "empty.jpg").write_bytes(b"")
    (ant / "page.jpg").write_text("<html>404</html>")
    noise = np.random.default_rng(0).integers(0, 256, (30, 30, 3), dtype=np.uint8)
    Image.fromarray(noise).save(bee / "cut.png")
    (bee / "cut.png").write_bytes((bee / "cut.png").read_bytes()[:1000])
    data = folder(tmp_path)
    got = reasons(data, tmp_path)
    assert [*got] == ["train/ant/empty.jpg", "train/ant/page.jpg", "train/bee/cut.png"]
    assert got["train/ant/empty.jpg"] == "is empty (0 bytes)"
    assert "is not an image" in got["train/ant/page.jpg"]
    assert "cannot be decoded" in got["train/bee/cut.png"]
    expected = [f"train/{name}/{index}.png" for name in ("ant", "bee") for index in range(5)]
    assert names(data.train, tmp_path) == expected
    assert data.train.labels.tolist() == [0] * 5 + [1] * 5


def test_an_image_beside_the_class_directories_is_listed(tmp_path: Path) -> None:
    """It belongs to no class; "every file is looked at, what cannot be used is listed with its reason"."""
    two_splits(tmp_path)
    image(tmp_path / "train" / "lost.png")
    data = folder(tmp_path)
    assert len(data.train) == 10
    assert [*reasons(data, tmp_path)] == ["train/lost.png"]


def test_images_in_hidden_directories_are_not_used(tmp_path: Path) -> None:
    """Notebooks keep copies in .ipynb_checkpoints: the same image again, perhaps of the other split."""
    two_splits(tmp_path)
    image(tmp_path / "train" / "ant" / ".ipynb_checkpoints" / "0-checkpoint.png")
    image(tmp_path / "train" / ".git" / "x.png")
    data = folder(tmp_path)
    assert data.class_names == ("ant", "bee")
    assert len(data.train) == 10


def test_a_directory_named_like_an_image_is_walked_into(tmp_path: Path) -> None:
    two_splits(tmp_path)
    image(tmp_path / "train" / "ant" / "album.png" / "x.png")
    data = folder(tmp_path)
    assert "train/ant/album.png/x.png" in names(data.train, tmp_path)
    assert data.skipped == ()


def test_a_pipe_named_like_an_image_does_not_stop_the_scan(tmp_path: Path) -> None:
    pipe = two_splits(tmp_path) / "train" / "ant" / "pipe.png"
    os.mkfifo(pipe)
    hung = threading.Event()

    def release() -> None:
        hung.set()
        os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))

    timer = threading.Timer(2, release)
    timer.start()
    try:
        data = folder(tmp_path)
    finally:
        timer.cancel()
        timer.join()
    assert not hung.is_set(), "the scan waited for somebody to write into the pipe"
    assert [*reasons(data, tmp_path)] == ["train/ant/pipe.png"]


# Links


def test_links_within_the_folder_are_used_and_links_out_of_it_are_not(tmp_path: Path) -> None:
    root = two_splits(tmp_path / "root")
    outside = image(tmp_path / "outside" / "secret.png")
    ant = root / "train" / "ant"
    (ant / "inside.png").symlink_to(root / "val" / "ant" / "0.png")
    (ant / "relative.png").symlink_to("0.png")
    (ant / "leaves.png").symlink_to(outside)
    (ant / "twice.png").symlink_to(ant / "leaves.png")
    (ant / "up.png").symlink_to("../../../outside/secret.png")
    data = folder(root)
    assert reasons(data, root) == {
        f"train/ant/{name}.png": "link that leaves the folder" for name in ("leaves", "twice", "up")
    }
    assert {"train/ant/inside.png", "train/ant/relative.png"} < set(names(data.train, root))


def test_links_to_directories_are_listed_and_not_followed(tmp_path: Path) -> None:
    root = two_splits(tmp_path / "root")
    image(tmp_path / "outside" / "secret.png")
    ant = root / "train" / "ant"
    (ant / "out").symlink_to(tmp_path / "outside")
    (ant / "loop").symlink_to(ant)
    (ant / "top").symlink_to(root)
    data = folder(root)
    assert reasons(data, root) == {
        f"train/ant/{name}": "link to a directory, not followed" for name in ("loop", "out", "top")
    }
    assert len(data.train) == 10


def test_links_to_nothing_and_to_themselves_are_listed(tmp_path: Path) -> None:
    ant = two_splits(tmp_path) / "train" / "ant"
    (ant / "dangling.png").symlink_to("nothing.png")
    (ant / "self.png").symlink_to("self.png")
    (ant / "x.png").symlink_to("y.png")
    (ant / "y.png").symlink_to("x.png")
    data = folder(tmp_path)
    assert [*reasons(data, tmp_path)] == [f"train/ant/{name}.png" for name in ("dangling", "self", "x", "y")]
    assert len(data.train) == 10


@pytest.mark.parametrize("target", ["outside", "root", "root/train", "root/train/ant"])
def test_a_class_directory_that_is_a_link_brings_in_no_images_from_elsewhere(target: str, tmp_path: Path) -> None:
    """Out of the folder, to the folder itself, or to another class: refused, or nothing of it used."""
    root = two_splits(tmp_path / "root")
    secret = image(tmp_path / "outside" / "secret.png").resolve()
    shutil.rmtree(root / "val")
    (root / "train" / "cat").symlink_to(tmp_path / target)
    try:
        data = folder(root)
    except InputError as error:
        assert str(error).startswith(str(root))  # noqa: PT017 (either outcome is right)
    else:
        assert secret not in used(data)
        assert 2 not in data.train.labels


# What is refused


def test_no_folder_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "nowhere").startswith(f"{tmp_path / 'nowhere'}: no such folder")
    assert "no such folder" in refusal(image(tmp_path / "file.png"))


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_classes_are_refused(count: int, tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    tree(tmp_path / "train", ("ant",)[:count])
    image(tmp_path / "train" / "lost.png")
    (tmp_path / "train" / ".git").mkdir()
    assert refusal(tmp_path).startswith(f"{tmp_path / 'train'}: has {count} class directories (expected at least 2)")


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("content", [None, "text", "damaged"])
def test_a_class_without_a_usable_image_is_named(split: str, content: str | None, tmp_path: Path) -> None:
    two_splits(tmp_path)
    for other in ("train", "val"):
        (tmp_path / other / "cat").mkdir()
        if other != split:
            image(tmp_path / other / "cat" / "0.png")
    if content == "text":
        (tmp_path / split / "cat" / "notes.txt").write_text("hello")
    elif content == "damaged":
        (tmp_path / split / "cat" / "0.png").write_bytes(b"\x89PNG")
    message = refusal(tmp_path)
    assert message.startswith(f"{tmp_path / split}: no usable image in class cat")


def test_different_classes_are_refused_and_both_sides_named(tmp_path: Path) -> None:
    two_splits(tmp_path)
    (tmp_path / "train" / "bee").rename(tmp_path / "train" / "wasp")
    tree(tmp_path / "train", ("dog",))
    tree(tmp_path / "val", ("cow",), 1)
    message = refusal(tmp_path)
    assert "train and val have different classes" in message
    only_train, only_val = message.partition("only in val")[::2]
    assert all(name in only_train and name not in only_val for name in ("dog", "wasp"))
    assert all(name in only_val and name not in only_train for name in ("bee", "cow"))
    assert "ant" not in message.removeprefix(str(tmp_path))


def test_classes_of_the_test_split_are_compared_too(tmp_path: Path) -> None:
    two_splits(tmp_path)
    tree(tmp_path / "test", ("ant", "bee", "cow"), 1)
    message = refusal(tmp_path)
    assert "only in train: none; only in test: ['cow']" in message


@pytest.mark.parametrize("locked", ["", "train", "val/bee", "train/ant/deep"])
@pytest.mark.parametrize(
    ("number", "remedy"), [(errno.EACCES, "chmod u+rx"), (errno.EIO, "ls -l"), (errno.ENOTCONN, "ls -l")]
)
def test_a_directory_that_cannot_be_listed_is_named(
    locked: str, number: int, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image(two_splits(tmp_path) / "train" / "ant" / "deep" / "x.png")
    closed = tmp_path / locked

    def closing(original: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def look(path: Any = ".") -> Any:
            if Path(path) == closed:
                raise OSError(number, os.strerror(number), str(path))
            return original(path)

        return look

    for name in ("listdir", "scandir"):
        monkeypatch.setattr(os, name, closing(getattr(os, name)))
    assert refusal(tmp_path) == f"{closed}: cannot be listed ({os.strerror(number)}). Try: {remedy} {closed}"


def damage(root: Path, count: int) -> Path:
    for index in range(count):
        image(root / "train" / "ant" / f"damaged{index}.png").write_bytes(b"")
    return root


def test_a_few_damaged_images_are_left_out_and_more_are_refused(tmp_path: Path) -> None:
    """Ten of any folder: the disk of a folder that is damaged throughout may be about to fail."""
    sound = folder(two_splits(tmp_path)).fingerprint
    data = folder(damage(tmp_path, 10))
    assert len(data.skipped) == 10
    assert data.fingerprint == sound
    message = refusal(damage(tmp_path, 11))
    first = f"{tmp_path / 'train' / 'ant' / 'damaged0.png'}: is empty (0 bytes)"
    assert message.startswith(
        f"{tmp_path}: 11 of 25 images cannot be used, the first is {first} (expected at most 10). Try: less "
    )
    listed = Path(message.partition("Try: less ")[2].partition(",")[0]).read_text().splitlines()
    assert len(listed) == 11
    assert first in listed
    for line in listed:
        Path(line.partition(": ")[0]).unlink()
    assert folder(tmp_path).fingerprint == sound, "a training that was begun with them goes on without them"


def test_of_a_large_folder_one_percent_may_be_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FEW_UNREADABLE", 0)
    monkeypatch.setattr(module, "UNREADABLE_SHARE", 0.125)  # two of 16
    assert len(folder(damage(two_splits(tmp_path), 2)).skipped) == 2
    assert "3 of 17 images cannot be used" in refusal(damage(tmp_path, 3))


def test_a_damaged_folder_is_refused_as_well_where_no_list_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("RESIDUUM_CACHE", str(tmp_path / "file"))
    assert refusal(damage(two_splits(tmp_path / "root"), 11)).endswith("Try: mend or remove them")


# Names


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_of_any_script_are_kept(form: str, tmp_path: Path) -> None:
    odd = ("été 🐝", "naïve", "日本", "a b'c\"d")
    classes = tuple(unicodedata.normalize(form, name) for name in odd)
    assert set(folder(tree(tmp_path, classes)).class_names) == set(classes)


def test_two_classes_that_look_the_same_are_refused(tmp_path: Path) -> None:
    twins = tuple(unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    assert twins[0] != twins[1]
    tree(tmp_path / "train", ("ant", *twins))
    if len([*(tmp_path / "train").iterdir()]) < 3:
        pytest.skip("this file system takes the two for one")
    message = refusal(tmp_path)
    assert "two class directories both read" in message
    assert unicodedata.normalize("NFC", message).count("café") == 1


def undecodable(path: Path) -> Path:
    try:
        return image(path)
    except OSError:
        pytest.skip("this file system refuses such names")


def test_an_undecodable_file_name_is_used_and_its_image_part_of_the_fingerprint(tmp_path: Path) -> None:
    base = folder(two_splits(tmp_path)).fingerprint
    odd = undecodable(tmp_path / "train" / "ant" / f"{UNDECODABLE}.png")
    data = folder(tmp_path)
    assert odd.resolve() in used(data)
    assert data.skipped == ()
    assert data.fingerprint != base


def test_what_is_said_of_an_undecodable_name_can_be_printed_and_stored(tmp_path: Path) -> None:
    two_splits(tmp_path)
    odd = undecodable(tmp_path / "train" / "ant" / f"{UNDECODABLE}.png")
    odd.write_bytes(b"")
    (tmp_path / "train" / "ant" / f"{UNDECODABLE}.txt").write_bytes(b"")
    skipped = folder(tmp_path).skipped
    assert [each.path.removeprefix(f"{tmp_path}/train/ant/") for each in skipped] == [
        r"\xff\xfe.txt",
        r"\xff\xfe.png",
    ]
    assert skipped[1].reason == "is empty (0 bytes)"
    for each in skipped:
        json.dumps([each.path, each.reason], ensure_ascii=False).encode("utf-8")


def test_class_names_of_undecodable_directories_can_be_printed_and_stored(tmp_path: Path) -> None:
    """They end in a Classifier's JSON and on pages: no lone surrogates."""
    tree(tmp_path, ("ant",))
    for index in range(5):
        undecodable(tmp_path / UNDECODABLE / f"{index}.png")
    try:
        class_names = folder(tmp_path).class_names
    except InputError as error:
        assert r"\xff\xfe" in str(error).replace(r"\\", "\\")  # noqa: PT017 (to refuse them is as right)
        str(error).encode("utf-8")
    else:
        assert len(class_names) == 2
        for name in class_names:
            name.encode("utf-8")


@pytest.mark.parametrize("case", ["empty class", "difference", "twins"])
def test_messages_about_undecodable_names_can_be_printed(case: str, tmp_path: Path) -> None:
    two_splits(tmp_path)
    undecodable(tmp_path / "train" / UNDECODABLE / "x.png")
    if case != "difference":
        (tmp_path / "val" / UNDECODABLE).mkdir()
    if case == "twins":
        for form in ("NFC", "NFD"):
            image(tmp_path / "train" / unicodedata.normalize(form, "é" + UNDECODABLE) / "x.png")
    refusal(tmp_path).encode("utf-8")


def test_printable_keeps_text_and_escapes_bytes() -> None:
    assert printable("été 🐝.png") == "été 🐝.png"
    assert printable(f"a{UNDECODABLE}b") == r"a\xff\xfeb"


# Fingerprint and progress


def test_the_fingerprint_changes_with_classes_splits_and_contents(tmp_path: Path) -> None:
    root = two_splits(tmp_path / "root")
    seen = [folder(root).fingerprint]
    assert folder(shutil.copytree(root, tmp_path / "elsewhere")).fingerprint == seen[0]
    (root / "train" / "ant" / "0.png").rename(root / "train" / "bee" / "00.png")
    seen.append(folder(root).fingerprint)
    (root / "train" / "bee" / "00.png").rename(root / "val" / "bee" / "00.png")
    seen.append(folder(root).fingerprint)
    image(root / "val" / "bee" / "00.png", size=(60, 50))
    seen.append(folder(root).fingerprint)
    image(root / "val" / "bee" / "new.png")
    seen.append(folder(root).fingerprint)
    for split in ("train", "val"):
        (root / split / "ant").rename(root / split / "aphid")  # the order stays
    seen.append(folder(root).fingerprint)
    assert len(set(seen)) == len(seen) == 6


def test_the_fingerprint_changes_when_two_classes_of_equal_files_are_swapped(tmp_path: Path) -> None:
    """Bitmaps of one size: names and sizes stay, every label is wrong."""
    for name, value in (("ant", 0), ("bee", 200)):
        for index in range(3):
            path = tmp_path / "train" / name / f"{index}.bmp"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (8, 8), value + index).save(path)
    before = folder(tmp_path).fingerprint
    train = tmp_path / "train"
    (train / "ant").rename(train / "x")
    (train / "bee").rename(train / "ant")
    (train / "x").rename(train / "bee")
    assert folder(tmp_path).fingerprint != before


def test_progress_rises_by_one_to_the_number_of_files_over_all_splits(tmp_path: Path) -> None:
    two_splits(tmp_path)
    (tmp_path / "val" / "ant" / "1.png").write_bytes(b"")
    (tmp_path / "val" / "ant" / "notes.txt").write_bytes(b"")
    seen: list[tuple[int, int]] = []
    folder(tmp_path, on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 14) for done in range(1, 15)]


def test_files_are_handed_to_threads_by_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A million at once would take gigabytes before the first is looked at."""
    two_splits(tmp_path)
    whole = folder(tmp_path)
    handed: list[int] = []

    class Pool(ThreadPoolExecutor):
        def map(self, function: Any, items: Iterable[Any]) -> Any:  # type: ignore[override]
            given = [*items]
            handed.append(len(given))
            return super().map(function, given)

    monkeypatch.setattr(module, "ThreadPoolExecutor", Pool)
    monkeypatch.setattr(module, "LOOKED_AT_ONCE", 3)
    data = folder(tmp_path)
    assert handed == [3, 3, 3, 1, 3, 1]
    assert names(data.train, tmp_path) == names(whole.train, tmp_path)
    assert data.fingerprint == whole.fingerprint


def test_a_scan_leaves_the_warning_filters_as_they_were(tmp_path: Path) -> None:
    root = tree(tmp_path, count=100)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        before = list(warnings.filters)
        folder(root)
        assert list(warnings.filters) == before


def test_the_real_ants_and_bees_are_all_read_the_placeholder_among_them_too(shared: Path) -> None:
    """244 photographs to train, 153 to validate, and imageNotFound.gif, which is a sound image to any decoder."""
    data = folder(shared / "hymenoptera_data")
    assert data.class_names == ("ants", "bees")
    assert data.val is not None
    assert (len(data.train), len(data.val)) == (245, 153)
    assert np.bincount(data.train.labels).tolist() == [124, 121]
    assert np.bincount(data.val.labels).tolist() == [70, 83]
    assert data.skipped == ()
    assert "train/ants/imageNotFound.gif" in names(data.train, shared / "hymenoptera_data")


def test_a_stranger_among_many_files_of_one_format_is_used_but_remarked(tmp_path: Path) -> None:
    for name in ("ant", "bee"):
        (tmp_path / name).mkdir()
        for index in range(60):
            Image.new("L", (4, 4), index).save(tmp_path / name / f"{index}.png")
    assert folder(tmp_path).remarks == ()
    Image.new("L", (4, 4)).save(tmp_path / "ant" / "imageNotFound.gif")
    data = folder(tmp_path)
    assert len(data.train) + len(data.val) == 121  # type: ignore[arg-type]
    assert len(data.remarks) == 1
    assert "imageNotFound.gif: used, but one of 1 .gif among 121 images" in data.remarks[0]
