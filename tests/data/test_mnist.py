"""MNIST and Fashion-MNIST from tiny idx files: whole, cut, damaged, missing, downloaded."""

from __future__ import annotations

import contextlib
import functools
import gzip
import hashlib
import http.server
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from residuum.data import archives
from residuum.data.batches import TrainingBatches, evaluation_batches
from residuum.data.mnist import mnist
from residuum.data.preprocess import fit
from residuum.data.source import Dataset
from residuum.errors import InputError

STEMS = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
IMAGES, LABELS = STEMS[:2]


def idx(array: NDArray[np.uint8]) -> bytes:
    """As LeCun's page says: two zeros, 8 for unsigned bytes, the rank, each size as big-endian int32, the values."""
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}i", *array.shape) + array.tobytes()


def contents() -> dict[str, NDArray[np.uint8]]:
    generator = np.random.default_rng(0)
    return {
        STEMS[0]: generator.integers(0, 256, (5, 28, 28), dtype=np.uint8),
        STEMS[1]: np.array([5, 0, 4, 1, 9], np.uint8),
        STEMS[2]: generator.integers(0, 256, (3, 28, 28), dtype=np.uint8),
        STEMS[3]: np.array([7, 2, 1], np.uint8),
    }


def write(directory: Path, *, zipped: bool = False) -> Path:
    directory.mkdir(exist_ok=True)
    for stem, array in contents().items():
        if zipped:
            (directory / f"{stem}.gz").write_bytes(gzip.compress(idx(array)))
        else:
            (directory / stem).write_bytes(idx(array))
    return directory


def read(directory: Path | None, name: str = "mnist") -> Dataset:
    return mnist(name, directory, lambda file, done, total: None)


def refusal(directory: Path) -> str:
    with pytest.raises(InputError) as caught:
        read(directory)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert message.startswith(str(directory))
    return message


@pytest.mark.parametrize("zipped", [False, True])
def test_images_and_labels_are_those_of_the_files(zipped: bool, tmp_path: Path) -> None:
    data = read(write(tmp_path, zipped=zipped))
    for split, images, labels in ((data.train, *STEMS[:2]), (data.split("test"), *STEMS[2:])):
        expected = contents()
        assert len(split) == len(expected[labels])
        assert split.labels.tolist() == expected[labels].tolist()
        assert split.labels.dtype == np.int64
        for index, pixels in enumerate(expected[images]):
            assert (split.images.load(index) == pixels[:, :, None]).all()
    assert data.val is None
    assert (data.name, data.image_size, data.channels) == ("mnist", (28, 28), 1)
    assert data.class_names == tuple("0123456789")


def test_fashion_mnist_has_its_own_class_names(tmp_path: Path) -> None:
    names = read(write(tmp_path), "fashion-mnist").class_names
    assert len(names) == 10
    assert (names[0], names[1], names[8], names[9]) == ("T-shirt/top", "Trouser", "Bag", "Ankle boot")


def test_the_same_files_have_the_same_fingerprint_and_a_changed_pixel_another(tmp_path: Path) -> None:
    base = read(write(tmp_path / "a")).fingerprint
    assert read(write(tmp_path / "b", zipped=True)).fingerprint == base
    changed = contents()[IMAGES]
    changed[4, 27, 27] ^= 1
    (tmp_path / "a" / IMAGES).write_bytes(idx(changed))
    assert read(tmp_path / "a").fingerprint != base


@pytest.mark.parametrize("zipped", [False, True])
def test_the_images_are_writable_and_go_to_torch_without_a_warning(zipped: bool, tmp_path: Path) -> None:
    """torch warns of read-only arrays, once in a process: so the flag is looked at, too."""
    data = read(write(tmp_path, zipped=zipped))
    preprocessing = fit(data.train.images, resize=28, crop=(28, 28), normalisation="channel")
    batches = TrainingBatches(
        data.train, preprocessing, None, batch_size=2, seed=0, device=torch.device("cpu"), workers=1
    )
    assert len([*batches.iterate(0, 2)]) == 2
    assert len([*evaluation_batches(data.train, preprocessing, batch_size=2, device=torch.device("cpu"))]) == 3
    assert data.train.images.array.flags.writeable  # type: ignore[attr-defined]


@pytest.mark.parametrize("stem", STEMS)
def test_a_missing_file_is_named(stem: str, tmp_path: Path) -> None:
    (write(tmp_path) / stem).unlink()
    message = refusal(tmp_path)
    assert stem in message
    assert "no such file" in message


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "nowhere")


@pytest.mark.parametrize("stem", STEMS)
@pytest.mark.parametrize("size", [0, 3, 4, 7, 8, -2, -1])
def test_a_cut_file_is_refused_and_named(stem: str, size: int, tmp_path: Path) -> None:
    path = write(tmp_path) / stem
    path.write_bytes(path.read_bytes()[:size])
    assert refusal(tmp_path).startswith(f"{path}: ")


def test_a_file_with_more_than_its_header_says_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path) / IMAGES
    path.write_bytes(path.read_bytes() + b"\0")
    assert "is not an idx file of 3 dimensions" in refusal(tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.005, 0.5, 0.9])
def test_a_cut_gzip_file_is_refused_and_named(share: float, tmp_path: Path) -> None:
    path = write(tmp_path, zipped=True) / f"{IMAGES}.gz"
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert refusal(tmp_path).startswith(f"{path}: ")


@pytest.mark.parametrize("position", [0, 10, 1000, -8, -4])
@pytest.mark.parametrize("value", [0x00, 0x55, 0xFF])
def test_a_damaged_gzip_file_is_refused_and_named(position: int, value: int, tmp_path: Path) -> None:
    """At the start, in the deflated data, in the checksum, in the length."""
    path = write(tmp_path, zipped=True) / f"{IMAGES}.gz"
    content = bytearray(path.read_bytes())
    end = position + 4 or len(content)
    content[position:end] = bytes([value] * 4)
    path.write_bytes(content)
    assert refusal(tmp_path).startswith(f"{path}: ")


@pytest.mark.parametrize(
    "content",
    [
        b"<html><body>404</body></html>" * 10,
        idx(np.zeros((5, 28), np.uint8)),
        idx(np.zeros(5, np.uint8)),
        idx(np.zeros((0, 28, 28), np.uint8)),
        bytes([0, 0, 9, 3]) + idx(np.zeros((5, 28, 28), np.uint8))[4:],
        idx(np.zeros((5, 28, 28), np.uint8)).replace(struct.pack(">2i", 5, 28), struct.pack(">2i", -5, -28)),
        idx(np.zeros((5, 28, 28), np.uint8)).replace(struct.pack(">2i", 28, 28), struct.pack(">2i", -28, -28)),
        bytes([0, 0, 8, 3]) + struct.pack(">3i", 2**31 - 1, 2**31 - 1, 2**31 - 1) + bytes(100),
        bytes([0, 0, 8, 3]) + struct.pack(">3i", 2**30, 2**30, 16) + bytes(100),
    ],
    ids=["html", "rank-2", "labels", "empty", "type", "negative", "negative-2", "huge", "overflow"],
)
def test_what_is_no_idx_file_of_images_is_refused(content: bytes, tmp_path: Path) -> None:
    path = write(tmp_path) / IMAGES
    path.write_bytes(content)
    assert refusal(tmp_path).startswith(f"{path}: ")


def test_a_web_page_under_the_name_of_a_gzip_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, zipped=True) / f"{LABELS}.gz"
    path.write_bytes(b"<html></html>")
    assert refusal(tmp_path).startswith(f"{path}: ")


def test_as_many_labels_as_images_are_wanted(tmp_path: Path) -> None:
    (write(tmp_path) / LABELS).write_bytes(idx(np.zeros(4, np.uint8)))
    assert "train has 5 images but 4 labels" in refusal(tmp_path)


def test_a_label_without_a_name_is_refused(tmp_path: Path) -> None:
    (write(tmp_path) / LABELS).write_bytes(idx(np.array([0, 1, 2, 3, 10], np.uint8)))
    refusal(tmp_path)


@contextlib.contextmanager
def serving(directory: Path) -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            asked.append(self.path)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(directory)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_the_four_files_are_downloaded_once_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESIDUUM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    source = write(tmp_path / "server", zipped=True)
    seen: list[tuple[str, int, int | None]] = []
    with serving(source) as (url, asked):
        listed = tuple(
            archives.Archive(url + path.name, path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
            for path in sorted(source.iterdir())
        )
        monkeypatch.setitem(archives.ARCHIVES, "mnist", listed)
        data = mnist("mnist", None, lambda *each: seen.append(each))
        read(None)
        assert sorted(asked) == sorted(set(asked))
        assert len(asked) == 4
    assert data.fingerprint == read(write(tmp_path / "plain")).fingerprint
    assert {(file, done) for file, done, total in seen if done == total} == {
        (archive.file_name, archive.size_bytes) for archive in listed
    }
    assert sorted(path.name for path in (tmp_path / "cache" / "data" / "mnist").glob("*.gz")) == sorted(
        f"{stem}.gz" for stem in STEMS
    )
    assert not [*(tmp_path / "cache").rglob("*.part")]


def test_the_official_files_have_the_names_that_are_read() -> None:
    for name in ("mnist", "fashion-mnist"):
        assert {archive.file_name for archive in archives.ARCHIVES[name]} == {f"{stem}.gz" for stem in STEMS}
