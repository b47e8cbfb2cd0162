"""ZFNet: the sides of the paper's Figure 3, and images of other sizes."""

from __future__ import annotations

import pytest
import torch

from residuum.errors import InputError
from residuum.nets.catalog import CATALOG
from residuum.nets.zfnet import LEAST_SIDE


@pytest.mark.parametrize(("name", "widths"), [("zfnet", (384, 384, 256)), ("zfnet_512", (512, 1024, 512))])
def test_maps_have_the_sides_of_figure_3(name: str, widths: tuple[int, int, int]) -> None:
    with torch.device("meta"):
        features = CATALOG[name].build().eval().forward_features(torch.empty(1, 3, 224, 224))
    assert {stage: tuple(value.shape[1:]) for stage, value in features.items()} == {
        "conv1": (96, 110, 110), "pool1": (96, 55, 55), "norm1": (96, 55, 55),
        "conv2": (256, 26, 26), "pool2": (256, 13, 13), "norm2": (256, 13, 13),
        "conv3": (widths[0], 13, 13), "conv4": (widths[1], 13, 13), "conv5": (widths[2], 13, 13),
        "pool5": (widths[2], 6, 6),
    }  # fmt: skip


def test_the_least_image_is_the_least_that_pytorch_can_compute() -> None:
    with torch.device("meta"):
        model = CATALOG["zfnet"].build(num_classes=3).eval()
        assert model(torch.empty(1, 3, LEAST_SIDE, 300)).shape == (1, 3)
        with pytest.raises(InputError, match=f"Try: --image-size {LEAST_SIDE}"):
            model(torch.empty(1, 3, 300, LEAST_SIDE - 1, device="cpu"))  # on the meta device the layer shows itself
        with pytest.raises(RuntimeError, match="too small"):
            model.features(torch.empty(1, 3, 300, LEAST_SIDE - 1))
