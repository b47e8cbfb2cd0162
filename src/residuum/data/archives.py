"""Where the official files of the small data sets lie, and their digests.

The CIFAR archives are the binary ones: the usual Python archives are pickles, which execute what they contain.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from residuum.files.download import cache_directory, download

OnBytes = Callable[[str, int, int | None], None]


@dataclass(frozen=True)
class Archive:
    """A file on a server: address, size in bytes, sha256."""

    url: str
    size_bytes: int
    sha256: str

    @property
    def file_name(self) -> str:
        return self.url.rpartition("/")[2]


_TORONTO = "https://www.cs.toronto.edu/~kriz/"
_MNIST = "https://storage.googleapis.com/cvdf-datasets/mnist/"
_FASHION = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"

# fmt: off
ARCHIVES: dict[str, tuple[Archive, ...]] = {
    "cifar10": (
        Archive(_TORONTO + "cifar-10-binary.tar.gz", 170_052_171,
                "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"),
    ),
    "cifar100": (
        Archive(_TORONTO + "cifar-100-binary.tar.gz", 168_513_733,
                "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec"),
    ),
    "mnist": (
        Archive(_MNIST + "train-images-idx3-ubyte.gz", 9_912_422,
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
        Archive(_MNIST + "train-labels-idx1-ubyte.gz", 28_881,
                "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
        Archive(_MNIST + "t10k-images-idx3-ubyte.gz", 1_648_877,
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
        Archive(_MNIST + "t10k-labels-idx1-ubyte.gz", 4_542,
                "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
    ),
    "fashion-mnist": (
        Archive(_FASHION + "train-images-idx3-ubyte.gz", 26_421_880,
                "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
        Archive(_FASHION + "train-labels-idx1-ubyte.gz", 29_515,
                "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
        Archive(_FASHION + "t10k-images-idx3-ubyte.gz", 4_422_102,
                "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
        Archive(_FASHION + "t10k-labels-idx1-ubyte.gz", 5_148,
                "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
    ),
}
# fmt: on


def fetch(name: str, on_bytes: OnBytes) -> Path:
    """Download what the data set `name` needs into the cache; return the directory.

    Raises:
        InputError, DamagedError, StorageError: as `residuum.files.download.download`.
    """
    directory = cache_directory() / "data" / name
    for archive in ARCHIVES[name]:

        def report(done: int, total: int | None, file_name: str = archive.file_name) -> None:
            on_bytes(file_name, done, total)

        download(
            archive.url,
            directory / archive.file_name,
            sha256=archive.sha256,
            size_bytes=archive.size_bytes,
            on_bytes=report,
        )
    return directory
