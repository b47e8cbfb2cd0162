"""CIFAR from tiny archives and parquet files, whole, cut and damaged; and the published facts of the real one."""

from __future__ import annotations

import contextlib
import functools
import gzip
import hashlib
import http.server
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from residuum.data import archives
from residuum.data.archives import ARCHIVES
from residuum.data.cifar import CIFAR10_CLASSES, cifar
from residuum.data.source import Dataset, Split
from residuum.errors import DamagedError, InputError

CIFAR100_NAMES = tuple(f"thing_{index}" for index in range(100))
COARSE_LABEL = 19


def pixels_of(index: int) -> NDArray[np.uint8]:
    return np.random.default_rng(index).integers(0, 256, (32, 32, 3), dtype=np.uint8)


def record(index: int, label: int, *, fine: bool = False) -> bytes:
    """As the official page says: label, 1,024 red, 1,024 green, 1,024 blue bytes, row by row."""
    planes = b"".join(pixels_of(index)[:, :, channel].tobytes() for channel in range(3))
    return (bytes([COARSE_LABEL]) if fine else b"") + bytes([label]) + planes


def members10() -> dict[str, bytes]:
    """Two records in each of five training batches, three for the test; in an order that is not alphabetical."""
    files = {
        f"data_batch_{batch}.bin": record(2 * batch, batch) + record(2 * batch + 1, 9 - batch)
        for batch in (3, 1, 5, 2, 4)
    }
    files["test_batch.bin"] = b"".join(record(100 + index, index) for index in range(3))
    files["batches.meta.txt"] = ("\n".join(CIFAR10_CLASSES) + "\n\n").encode()
    files["readme.html"] = b"<html></html>"
    return files


def members100() -> dict[str, bytes]:
    return {
        "train.bin": b"".join(record(index, 10 * index + 5, fine=True) for index in range(4)),
        "test.bin": b"".join(record(50 + index, 99 - index, fine=True) for index in range(2)),
        "fine_label_names.txt": ("\n".join(CIFAR100_NAMES) + "\n").encode(),
        "coarse_label_names.txt": b"wrong\nones\n",
    }


def write_archive(directory: Path, name: str, members: dict[str, bytes], links: dict[str, str] | None = None) -> Path:
    directory.mkdir(exist_ok=True)
    path = directory / {"cifar10": "cifar-10-binary.tar.gz", "cifar100": "cifar-100-binary.tar.gz"}[name]
    with tarfile.open(path, "w:gz") as tar:
        for base, content in members.items():
            info = tarfile.TarInfo(f"{name}-batches-bin/{base}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for base, target in (links or {}).items():
            info = tarfile.TarInfo(f"{name}-batches-bin/{base}")
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
    return path


def read(
    directory: Path,
    name: str = "cifar10",
    *,
    progress: list[tuple[int, int]] | None = None,
    digest: str | None = None,
) -> Dataset:
    """Read with `digest` as that of the official archive; by default, that of the archive which is there."""
    official = ARCHIVES[name][0]
    path = directory / official.file_name
    if digest is None and path.is_file():
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.MonkeyPatch.context() as patch:
        if digest is not None:
            patch.setitem(ARCHIVES, name, (replace(official, sha256=digest),))
        return cifar(
            name,
            directory,
            lambda file, done, total: None,
            lambda done, total: None if progress is None else progress.append((done, total)),
        )


def assert_holds(split: Split | None, expected: list[tuple[int, int]]) -> None:
    assert split is not None
    assert split.labels.tolist() == [label for _, label in expected]
    for position, (index, _) in enumerate(expected):
        assert (split.images.load(position) == pixels_of(index)).all()


def refusal(directory: Path, name: str = "cifar10", *, digest: str | None = None) -> str:
    with pytest.raises(InputError) as caught:
        read(directory, name, digest=digest)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    return message


# The binary archive


def test_the_archive_is_read_in_the_order_of_its_batches(tmp_path: Path) -> None:
    write_archive(tmp_path, "cifar10", members10())
    data = read(tmp_path)
    expected = [pair for b in range(1, 6) for pair in ((2 * b, b), (2 * b + 1, 9 - b))]
    assert_holds(data.train, expected)
    assert_holds(data.test, [(100, 0), (101, 1), (102, 2)])
    assert data.val is None
    assert data.class_names == CIFAR10_CLASSES
    assert (data.name, data.image_size, data.channels) == ("cifar10", (32, 32), 3)
    assert (data.train.name, data.split("test").name) == ("train", "test")


def test_of_cifar_100_the_fine_label_is_taken(tmp_path: Path) -> None:
    write_archive(tmp_path, "cifar100", members100())
    data = read(tmp_path, "cifar100")
    assert_holds(data.train, [(index, 10 * index + 5) for index in range(4)])
    assert_holds(data.test, [(50, 99), (51, 98)])
    assert data.class_names == CIFAR100_NAMES


def test_the_images_can_go_to_torch_without_a_warning(tmp_path: Path) -> None:
    write_archive(tmp_path, "cifar10", members10())
    images: Any = read(tmp_path).train.images
    assert images.array.flags.writeable
    assert images.array.flags.c_contiguous
    torch.from_numpy(images.array)


@pytest.mark.parametrize("part", ["train", "test"])
def test_records_that_are_not_whole_are_refused(part: str, tmp_path: Path) -> None:
    members = members10()
    file = {"train": "data_batch_4.bin", "test": "test_batch.bin"}[part]
    members[file] = members[file][:-1]
    path = write_archive(tmp_path, "cifar10", members)
    message = refusal(tmp_path)
    assert message.startswith(f"{path}: ")
    assert f"{part} records are not whole" in message


def test_an_archive_of_the_other_set_under_this_name_is_refused(tmp_path: Path) -> None:
    write_archive(tmp_path, "cifar10", members100())
    assert "not whole" in refusal(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"test_batch.bin": None},
        {"batches.meta.txt": None},
        {"data_batch_3.bin": None},
        {"data_batch_2.bin": record(4, 10) + record(5, 255)},
        {"batches.meta.txt": b"\xff\xfe\xff"},
        {"data_batch_6.bin": record(6, 6)},
    ],
    ids=["no-test", "no-names", "no-batch-3", "label-255", "no-text", "batch-6"],
)
def test_an_archive_of_other_contents_is_refused(change: dict[str, bytes | None], tmp_path: Path) -> None:
    members = {name: content for name, content in (members10() | change).items() if content is not None}
    path = write_archive(tmp_path, "cifar10", members)
    assert refusal(tmp_path, digest=ARCHIVES["cifar10"][0].sha256).startswith(f"{path}: is not the official archive")


@pytest.mark.parametrize("target", ["nowhere.bin", "data_batch_6.bin", "../../../../etc/passwd"])
def test_an_archive_with_links_is_refused(target: str, tmp_path: Path) -> None:
    path = write_archive(tmp_path, "cifar10", members10(), links={"data_batch_6.bin": target})
    assert refusal(tmp_path, digest=ARCHIVES["cifar10"][0].sha256).startswith(f"{path}: is not the official archive")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9])
def test_a_cut_archive_is_refused(share: float, tmp_path: Path) -> None:
    path = write_archive(tmp_path, "cifar10", members10())
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert refusal(tmp_path, digest=hashlib.sha256(content).hexdigest()).startswith(f"{path}: ")
    assert "not a readable archive" in refusal(tmp_path)


@pytest.mark.parametrize("position", [0.0, 0.1, 0.3, 0.5, 0.7])
@pytest.mark.parametrize("garbage", [b"\xff" * 64, b"\0" * 64], ids=["ones", "zeros"])
def test_a_damaged_archive_is_refused(position: float, garbage: bytes, tmp_path: Path) -> None:
    """Damage that still unpacks is known by the checksum at the end of the gzip stream only."""
    path = write_archive(tmp_path, "cifar10", members10())
    content = bytearray(path.read_bytes())
    at = int(len(content) * position)
    content[at : at + 64] = garbage
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_bytes(content)
    assert refusal(tmp_path, digest=digest).startswith(f"{path}: ")


@pytest.mark.parametrize(
    "content",
    [b"<html>404</html>", gzip.compress(b"no tar"), gzip.compress(b""), b"\x80\x04K."],
    ids=["page", "no tar", "empty", "pickle"],
)
def test_what_is_no_archive_is_refused(content: bytes, tmp_path: Path) -> None:
    path = write_archive(tmp_path, "cifar10", members10())
    path.write_bytes(content)
    assert refusal(tmp_path).startswith(f"{path}: ")


def test_a_directory_without_files_and_no_directory_are_refused(tmp_path: Path) -> None:
    message = refusal(tmp_path)
    assert message.startswith(f"{tmp_path}: holds neither cifar-10-binary.tar.gz nor train-*.parquet")
    message = refusal(tmp_path / "nowhere", "cifar100")
    assert message.startswith(f"{tmp_path / 'nowhere'}: no such directory")


# Parquet, as the hub ships it


def encoded(pixels: NDArray[np.uint8], format: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format, **({"lossless": True} if format == "WEBP" else {}))
    return stream.getvalue()


def write_parquet(
    path: Path,
    pairs: list[tuple[int, int]],
    *,
    fine: bool = False,
    names: tuple[str, ...] | None = None,
    images: list[bytes | None] | None = None,
) -> None:
    formats = ("PNG", "WEBP")
    contents = images or [encoded(pixels_of(index), formats[index % 2]) for index, _ in pairs]
    columns: dict[str, Any] = {
        "img": pa.array(
            [{"bytes": each, "path": None} for each in contents],
            pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
        )
    }
    labels = [label for _, label in pairs]
    columns |= {"fine_label": labels, "coarse_label": [0] * len(labels)} if fine else {"label": labels}
    table = pa.table(columns)
    if names:
        features = {"info": {"features": {"fine_label": {"names": names, "_type": "ClassLabel"}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(features)})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)


def two_shards(directory: Path) -> Path:
    write_parquet(directory / "train-00000-of-00002.parquet", [(0, 3), (1, 9)])
    write_parquet(directory / "train-00001-of-00002.parquet", [(2, 0), (3, 7), (4, 1)])
    write_parquet(directory / "test-00000-of-00001.parquet", [(20, 5), (21, 6)])
    return directory


@pytest.mark.parametrize("nested", ["", "plain_text", "data/plain_text"])
def test_parquet_files_are_read_in_the_order_of_their_names(nested: str, tmp_path: Path) -> None:
    two_shards(tmp_path / nested)
    data = read(tmp_path)
    assert_holds(data.train, [(0, 3), (1, 9), (2, 0), (3, 7), (4, 1)])
    assert_holds(data.test, [(20, 5), (21, 6)])
    assert data.class_names == CIFAR10_CLASSES
    assert data.train.labels.dtype == np.int64


def test_shards_are_read_in_order_whatever_the_disk_does(tmp_path: Path) -> None:
    for shard in (3, 0, 5, 2, 4, 1):
        write_parquet(tmp_path / f"train-{shard:05}-of-00006.parquet", [(shard, shard)])
    write_parquet(tmp_path / "test-00000-of-00001.parquet", [(20, 5)])
    assert_holds(read(tmp_path).train, [(shard, shard) for shard in range(6)])


def test_parquet_of_cifar_100_gives_fine_labels_and_their_names(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train-00000-of-00001.parquet", [(0, 42), (1, 99)], fine=True, names=CIFAR100_NAMES)
    write_parquet(tmp_path / "test-00000-of-00001.parquet", [(2, 7)], fine=True, names=CIFAR100_NAMES)
    data = read(tmp_path, "cifar100")
    assert_holds(data.train, [(0, 42), (1, 99)])
    assert data.class_names == CIFAR100_NAMES


def test_parquet_of_cifar_100_without_names_still_has_a_name_for_every_class(tmp_path: Path) -> None:
    """Of a hundred, though the labels that occur may be fewer."""
    write_parquet(tmp_path / "train-00000-of-00001.parquet", [(0, 42), (1, 60)], fine=True)
    write_parquet(tmp_path / "test-00000-of-00001.parquet", [(2, 99)], fine=True)
    data = read(tmp_path, "cifar100")
    assert data.test is not None
    assert len(data.class_names) > max(data.train.labels.max(), data.test.labels.max())


def test_archive_and_parquet_of_the_same_images_are_the_same_data(tmp_path: Path) -> None:
    write_archive(tmp_path / "a", "cifar10", members10())
    pairs = [pair for b in range(1, 6) for pair in ((2 * b, b), (2 * b + 1, 9 - b))]
    write_parquet(tmp_path / "b" / "train-00000-of-00001.parquet", pairs)
    write_parquet(tmp_path / "b" / "test-00000-of-00001.parquet", [(100, 0), (101, 1), (102, 2)])
    one, two = read(tmp_path / "a"), read(tmp_path / "b")
    assert one.fingerprint == two.fingerprint
    assert one.class_names == two.class_names


def test_progress_of_decoding_rises_to_the_number_of_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("residuum.data.cifar.DECODED_AT_ONCE", 2)
    seen: list[tuple[int, int]] = []
    read(two_shards(tmp_path), progress=seen)
    assert seen == [(2, 5), (4, 5), (5, 5), (2, 2)]


def test_a_folder_with_training_or_test_files_alone_is_refused(tmp_path: Path) -> None:
    two_shards(tmp_path)
    (tmp_path / "test-00000-of-00001.parquet").unlink()
    assert f"{tmp_path}: has no test-*.parquet" in refusal(tmp_path)
    for path in tmp_path.glob("train-*"):
        path.unlink()
    write_parquet(tmp_path / "test-00000-of-00001.parquet", [(20, 5)])
    assert f"{tmp_path}: has no train-*.parquet" in refusal(tmp_path)


def test_a_missing_shard_is_noticed(tmp_path: Path) -> None:
    """The names say how many there are: training on a fifth of CIFAR must not look like training on CIFAR."""
    two_shards(tmp_path)
    (tmp_path / "train-00001-of-00002.parquet").unlink()
    assert str(tmp_path) in refusal(tmp_path)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"<html></html>", b"PAR1" + b"\0" * 100 + b"PAR1"])
def test_what_is_no_parquet_file_is_refused(content: bytes, tmp_path: Path) -> None:
    path = two_shards(tmp_path) / "train-00001-of-00002.parquet"
    path.write_bytes(content)
    assert refusal(tmp_path).startswith(f"{path}: ")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_a_cut_parquet_file_is_refused(share: float, tmp_path: Path) -> None:
    path = two_shards(tmp_path) / "train-00000-of-00002.parquet"
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert refusal(tmp_path).startswith(f"{path}: ")


@pytest.mark.parametrize(
    "table",
    [
        {"image": [b""], "label": [0]},
        {"img": [b"flat bytes, no struct"], "label": [0]},
        {"img": [{"path": "x.png"}], "label": [0]},
        {"img": [None], "label": [0]},
        {"img": [{"bytes": encoded(pixels_of(0))}], "label": pa.array([None], pa.int64())},
        {"img": [{"bytes": encoded(pixels_of(0))}], "label": ["cat"]},
        {"img": [{"bytes": encoded(pixels_of(0))}], "label": [10]},
        {"img": [{"bytes": encoded(pixels_of(0))}], "label": [-1]},
    ],
    ids=["column", "bytes", "path-only", "null-image", "null-label", "text-label", "label-10", "negative-label"],
)
def test_a_parquet_file_of_another_layout_is_refused(table: dict[str, Any], tmp_path: Path) -> None:
    path = two_shards(tmp_path) / "train-00000-of-00002.parquet"
    pq.write_table(pa.table(table), path)
    assert str(tmp_path) in refusal(tmp_path)


def test_a_parquet_file_without_rows_is_refused(tmp_path: Path) -> None:
    directory = two_shards(tmp_path)
    write_parquet(directory / "test-00000-of-00001.parquet", [], images=None)
    assert str(tmp_path) in refusal(tmp_path)


@pytest.mark.parametrize("content", [b"no image", b"", None, encoded(pixels_of(5))[:900]])
def test_a_damaged_image_in_a_parquet_file_is_refused_and_the_file_named(content: bytes | None, tmp_path: Path) -> None:
    path = two_shards(tmp_path) / "train-00001-of-00002.parquet"
    write_parquet(path, [(0, 1), (1, 2)], images=[encoded(pixels_of(0)), content])
    assert str(tmp_path) in refusal(tmp_path)


def test_images_that_are_not_32_by_32_are_refused(tmp_path: Path) -> None:
    directory = two_shards(tmp_path)
    odd = encoded(np.zeros((16, 32, 3), np.uint8))
    write_parquet(directory / "test-00000-of-00001.parquet", [(0, 1), (1, 2)], images=[encoded(pixels_of(0)), odd])
    assert "not all 32x32" in refusal(tmp_path)


# Downloading


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]


@contextlib.contextmanager
def serving(directory: Path) -> Iterator[tuple[str, list[str]]]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(directory)))
    asked: list[str] = []
    server.asked = asked  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RESIDUUM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    return tmp_path / "cache" / "data"


def test_the_archive_is_downloaded_once_and_checked(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_archive(tmp_path / "server", "cifar10", members10())
    size, digest = source.stat().st_size, hashlib.sha256(source.read_bytes()).hexdigest()
    seen: list[tuple[str, int, int | None]] = []
    with serving(source.parent) as (url, asked):
        monkeypatch.setitem(archives.ARCHIVES, "cifar10", (archives.Archive(url + source.name, size, digest),))
        first = cifar("cifar10", None, lambda *each: seen.append(each), lambda done, total: None)
        again = cifar("cifar10", None, lambda *each: seen.append(each), lambda done, total: None)
        assert len(asked) == 1
    assert len(first.train) == 10
    assert first.fingerprint == again.fingerprint
    assert {(file, total) for file, _, total in seen} == {(source.name, size)}
    done = [each for _, each, _ in seen]
    assert done == sorted(done)
    assert done[-1] == size
    assert (cache / "cifar10" / source.name).read_bytes() == source.read_bytes()


def test_a_download_with_another_digest_is_refused_and_nothing_kept(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_archive(tmp_path / "server", "cifar10", members10())
    with serving(source.parent) as (url, _):
        archive = archives.Archive(url + source.name, source.stat().st_size, "0" * 64)
        monkeypatch.setitem(archives.ARCHIVES, "cifar10", (archive,))
        with pytest.raises(DamagedError, match="sha256 differs"):
            read_default()
    assert [path for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock"] == []


def read_default() -> Dataset:
    return cifar("cifar10", None, lambda file, done, total: None, lambda done, total: None)


def test_without_a_network_the_message_says_how_to_do_without(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(cache.parent.parent) as (url, _):
        monkeypatch.setitem(archives.ARCHIVES, "cifar10", (archives.Archive(url + "missing", 10, "0" * 64),))
        with pytest.raises(InputError, match=r"/missing: cannot be fetched .*--data-dir"):
            read_default()
    with pytest.raises(InputError, match=r"/missing: cannot be fetched .*--data-dir"):
        read_default()


def test_the_list_of_archives_has_whole_digests_and_no_pickles() -> None:
    assert {*archives.ARCHIVES} == {"cifar10", "cifar100", "mnist", "fashion-mnist"}
    every = [archive for each in archives.ARCHIVES.values() for archive in each]
    assert len({archive.sha256 for archive in every}) == len(every) == 10
    for archive in every:
        assert len(bytes.fromhex(archive.sha256)) == 32
        assert archive.size_bytes > 1000
        assert "python" not in archive.url


# The real thing


@pytest.fixture(scope="module")
def real(shared: Path) -> Dataset:
    return read(shared / "cifar10")


def test_real_cifar_10_has_5000_and_1000_images_of_each_class(real: Dataset) -> None:
    assert np.bincount(real.train.labels).tolist() == [5000] * 10
    assert real.test is not None
    assert np.bincount(real.test.labels).tolist() == [1000] * 10


def test_real_cifar_10_has_the_published_mean_and_the_deviation_over_all_pixels(real: Dataset) -> None:
    array: NDArray[np.uint8] = real.train.images.array  # type: ignore[attr-defined]
    counts = np.stack([np.bincount(array[:, :, :, channel].ravel(), minlength=256) for channel in range(3)])
    levels = np.arange(256) / 255
    mean = counts @ levels / counts.sum(axis=1)
    std = np.sqrt(counts @ levels**2 / counts.sum(axis=1) - mean**2)
    np.testing.assert_allclose(mean, (0.49140, 0.48216, 0.44653), atol=5e-6)
    np.testing.assert_allclose(std, (0.2470, 0.2435, 0.2616), atol=5e-5)


def test_real_cifar_10_has_no_training_image_twice(real: Dataset) -> None:
    images = real.train.images
    assert len({images.load(index).tobytes() for index in range(len(images))}) == 50_000
