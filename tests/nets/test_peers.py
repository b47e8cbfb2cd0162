"""Against torchvision, where it can be imported: equal keys, and equal logits with the same weights."""

from __future__ import annotations

import pytest
import torch

from residuum.nets.catalog import net
from residuum.nets.reported import ERRORS

RESNETS = ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"]
WIDER = ["resnext50_32x4d", "resnext101_32x8d", "wide_resnet50_2", "wide_resnet101_2"]
VGGS = [f"vgg{depth}{kind}" for kind in ("", "_bn") for depth in (11, 13, 16, 19)]
LINEAR_LAYERS: dict[str, torch.Tensor] = {}  # nine tenths of a VGG; drawn once for all of them


@pytest.mark.parametrize("name", ["alexnet", *VGGS, "googlenet_bn", *RESNETS, *WIDER])
def test_keys_and_logits_are_torchvisions(torchvision_models, name: str) -> None:  # type: ignore[no-untyped-def]
    options = {"aux_logits": False, "init_weights": False} if name == "googlenet_bn" else {}
    with torch.device("meta"):
        theirs = getattr(torchvision_models, name.removesuffix("_bn") if options else name)(weights=None, **options)
        ours = net(name)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    torch.manual_seed(0)
    state = {key: drawn(key, like, keep=name in VGGS) for key, like in theirs.state_dict().items()}
    x = torch.randn(1, 3, 96, 96) if name == "alexnet" else torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        for each in (ours, theirs):
            each.load_state_dict(state, assign=True)
        torch.testing.assert_close(ours.eval()(x), theirs.eval()(x), rtol=1e-4, atol=1e-4)


def drawn(key: str, like: torch.Tensor, *, keep: bool) -> torch.Tensor:
    """A random tensor of that shape; BN statistics are not 0 and 1, so that BN is really compared."""
    if like.ndim == 0:
        return torch.tensor(0)
    if like.ndim == 1:
        return torch.rand(like.shape) + 0.5 if key.endswith(("weight", "var")) else 0.1 * torch.randn(like.shape)
    if keep and key in LINEAR_LAYERS:
        return LINEAR_LAYERS[key]
    weight = torch.randn(like.shape) * (2 / like[0].numel()) ** 0.5
    if keep and like.ndim == 2:
        LINEAR_LAYERS[key] = weight
    return weight


def test_reported_errors_are_those_of_torchvisions_first_weights(torchvision_models) -> None:  # type: ignore[no-untyped-def]
    protocol = next(each for each in ERRORS if "torchvision" in each)
    for name, error in ERRORS[protocol].items():
        theirs = name.removesuffix("_bn") if name == "googlenet_bn" else name
        weights = torchvision_models.get_model_weights(theirs).IMAGENET1K_V1
        assert error == pytest.approx(100 - weights.meta["_metrics"]["ImageNet-1K"]["acc@1"], abs=1e-9), name
