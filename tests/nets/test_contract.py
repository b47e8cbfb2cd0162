"""One contract that every net of the catalog keeps: shapes, stages, state-dict keys, refusals, repeatable answers."""

from __future__ import annotations

import functools

import pytest
import torch
from torch import nn

from residuum.errors import InputError
from residuum.nets.catalog import CATALOG, net
from residuum.nets.layers import WithAuxiliary

# All but the two whose thousand layers take seconds even on the meta device; they are built by test_catalog.
NETS = [name for name in CATALOG if name not in ("resnet1202", "preact_resnet1001")]
# Nets that compute quickly, one or two of each family, with the side of an image.
QUICK = {
    "lenet5": 32,
    "lenet5_1998": 32,
    "alexnet_2012": 67,
    "vgg16_gap": 32,
    "googlenet": 32,
    "googlenet_bn": 32,
    "resnet20": 32,
    "preact_resnet18": 64,
}


@functools.cache
def on_meta(name: str, *, in_channels: int) -> nn.Module:
    """The net with seven classes."""
    with torch.device("meta"):
        return CATALOG[name].build(num_classes=7, in_channels=in_channels).eval()


@pytest.mark.parametrize("name", NETS)
def test_images_of_any_channels_to_logits_of_any_classes(name: str) -> None:
    _, height, width = CATALOG[name].input_shape
    for in_channels in (1, 3):
        x = torch.empty(2, in_channels, height, width, device="meta")
        assert on_meta(name, in_channels=in_channels)(x).shape == (2, 7)


@pytest.mark.parametrize("name", NETS)
def test_stages_have_names_and_are_maps_that_never_grow(name: str) -> None:
    entry = CATALOG[name]
    x = torch.empty(2, *entry.input_shape, device="meta")
    features = on_meta(name, in_channels=entry.in_channels).forward_features(x)
    sides = [entry.input_size]
    for stage, value in features.items():
        assert stage.isidentifier()
        assert value.ndim == 4
        assert len(value) == 2
        assert value.shape[-1] <= sides[-1]
        sides.append(value.shape[-1])
    assert len(features) >= 3


@pytest.mark.parametrize("name", NETS)
def test_only_the_first_convolution_knows_the_channels_of_the_image(name: str) -> None:
    grey, colour = (on_meta(name, in_channels=channels).state_dict() for channels in (1, 3))
    assert list(grey) == list(colour)
    differing = [key for key in grey if grey[key].shape != colour[key].shape]
    assert differing == [next(key for key, value in grey.items() if value.ndim == 4)]


@pytest.mark.parametrize("name", NETS)
def test_sizes_below_one_are_refused(name: str) -> None:
    for bad in ({"num_classes": 0}, {"in_channels": -1}):
        with pytest.raises(InputError, match="must be at least 1, got"):
            CATALOG[name].build(**bad)


@pytest.mark.parametrize(("name", "size"), QUICK.items())
def test_in_evaluation_the_same_images_have_the_same_logits(name: str, size: int) -> None:
    torch.manual_seed(0)
    model = net(name, num_classes=5, in_channels=3).eval()
    x = torch.randn(2, 3, size, size)
    with torch.inference_mode():
        first = model(x)
        assert first.isfinite().all()
        assert torch.equal(model(x), first)
        torch.testing.assert_close(model(x[:1]), first[:1], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("name", "size"), QUICK.items())
def test_every_parameter_gets_a_gradient(name: str, size: int) -> None:
    torch.manual_seed(0)
    model = net(name, num_classes=5, in_channels=1).train()
    answer = model(torch.randn(4, 1, size, size))
    parts = (answer.logits, *answer.auxiliary) if isinstance(answer, WithAuxiliary) else (answer,)
    sum(part.logsumexp(dim=1).sum() for part in parts).backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.abs().sum() > 0, key
