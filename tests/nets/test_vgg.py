"""VGG: the columns of the paper's Table 1, its activations, the two heads, and images of other sizes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from residuum.errors import InputError
from residuum.nets.catalog import CATALOG
from residuum.nets.vgg import LEAST_SIDE


def stages_of(name: str) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        features = CATALOG[name].build().eval().forward_features(torch.empty(1, 3, 224, 224))
    return {stage: tuple(value.shape[1:]) for stage, value in features.items()}


@pytest.mark.parametrize("kind", ["", "_bn"])
@pytest.mark.parametrize("depth", [11, 13, 16, 19])
def test_the_number_in_the_name_counts_weighted_layers(depth: int, kind: str) -> None:
    with torch.device("meta"):
        model = CATALOG[f"vgg{depth}{kind}"].build()
    assert sum(isinstance(layer, nn.Conv2d | nn.Linear) for layer in model.modules()) == depth
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            assert (layer.kernel_size, layer.stride, layer.padding) == ((3, 3), (1, 1), (1, 1))


def test_maps_of_vgg16_are_column_d_of_table_1() -> None:
    stages = stages_of("vgg16")
    assert list(stages)[:4] == ["conv1_1", "conv1_2", "pool1", "conv2_1"]
    assert stages["conv3_3"] == (256, 56, 56)
    pooled = [stages[f"pool{n}"] for n in range(1, 6)]
    assert pooled == [(64, 112, 112), (128, 56, 56), (256, 28, 28), (512, 14, 14), (512, 7, 7)]


def test_activations_of_vgg16_are_15_million_values() -> None:
    # Convolutions, poolings and linear layers with the image, ReLU in place. Notes say 24 million; their rows do not.
    maps = sum(channels * height * width for channels, height, width in stages_of("vgg16").values())
    assert 3 * 224 * 224 + maps + 4096 + 4096 + 1000 == 15_237_608
    with torch.device("meta"):
        model = CATALOG["vgg16"].build()
    assert all(layer.inplace for layer in model.modules() if isinstance(layer, nn.ReLU))


def test_average_pooling_replaces_nine_tenths_of_the_parameters_and_keeps_the_convolutions() -> None:
    with torch.device("meta"):
        usual, averaged = CATALOG["vgg16"].build().state_dict(), CATALOG["vgg16_gap"].build().state_dict()
    shared = {key: value.shape for key, value in usual.items() if key.startswith("features.")}
    assert shared.items() <= {key: value.shape for key, value in averaged.items()}.items()
    assert set(averaged) - set(shared) == {"fc.weight", "fc.bias"}
    assert CATALOG["vgg16_gap"].parameters < 0.12 * CATALOG["vgg16"].parameters


@pytest.mark.parametrize("name", ["vgg11", "vgg16_gap"])
def test_the_least_image_is_the_least_that_pytorch_can_compute(name: str) -> None:
    with torch.device("meta"):
        model = CATALOG[name].build(num_classes=3).eval()
        assert model(torch.empty(1, 3, LEAST_SIDE, 77)).shape == (1, 3)
        with pytest.raises(InputError, match=f"Try: --image-size {LEAST_SIDE}"):
            model(torch.empty(1, 3, 77, LEAST_SIDE - 1, device="cpu"))  # on the meta device the layer shows itself
        with pytest.raises(RuntimeError, match="too small"):
            model.features(torch.empty(1, 3, 77, LEAST_SIDE - 1))


def test_initialisation_keeps_the_size_of_the_signal_over_sixteen_convolutions() -> None:
    torch.manual_seed(0)
    model = CATALOG["vgg16_gap"].build(num_classes=5).eval()
    with torch.inference_mode():
        last = model.features(torch.randn(2, 3, 64, 64))
    assert 0.1 < last.square().mean().sqrt().item() < 10
