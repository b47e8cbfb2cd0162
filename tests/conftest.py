"""What all tests share: where the optional material lies, torchvision, a tiny net, small data, one image folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings
from PIL import Image

from residuum.data.digits import digits
from residuum.data.source import Dataset
from residuum.nets.resnet import ResNet, Variant

# The same examples each time, so that a red suite means a changed program; `make nightly` draws others.
settings.register_profile("same", derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

TINY = Variant(blocks=(1, 1), widths=(4, 8), stem="cifar", shortcut="pad")


@pytest.fixture(scope="session", autouse=True)
def _two_threads() -> None:
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", min(2, os.cpu_count() or 1))))


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing that tests keep is kept for the user, and nothing of the user's is believed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RESIDUUM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and foreign weights beside the project, where there is one."""
    path = Path(os.environ.get("RESIDUUM_SHARED", Path(__file__).parents[2] / "shared"))
    if not (path / "data").is_dir():
        pytest.skip(f"{path}/data is not here (set RESIDUUM_SHARED)")
    return path / "data"


@pytest.fixture(scope="session")
def torchvision_models():  # type: ignore[no-untyped-def]
    """torchvision.models; beside a CPU build of torch its operators' fake kernels must be left out."""
    original = torch.library.register_fake

    def without_torchvision(op, *args, **kwargs):  # type: ignore[no-untyped-def]
        if isinstance(op, str) and op.startswith("torchvision::"):
            return lambda function: function
        return original(op, *args, **kwargs)

    torch.library.register_fake = without_torchvision
    try:
        import torchvision.models as models
    except (ImportError, RuntimeError, AttributeError) as error:
        pytest.skip(f"torchvision cannot be imported: {error}")
    finally:
        torch.library.register_fake = original
    return models


@pytest.fixture(scope="session")
def digits_data() -> Dataset:
    return digits()


@pytest.fixture
def tiny_net() -> ResNet:
    """A net of four weighted layers for grey images and ten classes."""
    torch.manual_seed(0)
    return ResNet(TINY, num_classes=10, in_channels=1)


@pytest.fixture
def image_folder(tmp_path: Path) -> Path:
    """train/ and val/ with two classes: red and blue images of several sizes."""
    generator = np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 3)):
        for channel, name in ((2, "blue"), (0, "red")):
            directory = tmp_path / "colours" / split / name
            directory.mkdir(parents=True)
            for index in range(count):
                pixels = generator.integers(0, 60, (40 + index, 50, 3), dtype=np.uint8)
                pixels[:, :, channel] += 180
                Image.fromarray(pixels).save(directory / f"{index}.png")
    return tmp_path / "colours"
