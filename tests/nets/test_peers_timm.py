"""Against timm, where it can be imported: equal keys, and equal logits with the same weights."""

from __future__ import annotations

import pytest
import torch

from residuum.nets.catalog import net


@pytest.fixture(scope="module")
def create_model(torchvision_models):  # type: ignore[no-untyped-def]
    """timm.create_model; timm imports torchvision."""
    return pytest.importorskip("timm").create_model


@pytest.mark.parametrize(("name", "theirs_name"), [("se_resnet50", "seresnet50"), ("resnetd50", "resnet50d")])
def test_keys_and_logits_are_timms(create_model, name: str, theirs_name: str) -> None:  # type: ignore[no-untyped-def]
    with torch.device("meta"):
        theirs, ours = create_model(theirs_name), net(name)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    torch.manual_seed(0)
    state = {key: drawn(key, like) for key, like in theirs.state_dict().items()}
    for each in (ours, theirs):
        each.load_state_dict(state, assign=True)
        each.eval()
    for size in (64, 97):  # at odd sizes the pooled shortcut averages what there is
        x = torch.randn(1, 3, size, size)
        with torch.inference_mode():
            torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-4)


def drawn(key: str, like: torch.Tensor) -> torch.Tensor:
    """A random tensor of that shape; BN statistics are not 0 and 1, so that BN is really compared."""
    if like.ndim == 0:
        return torch.tensor(0)
    if like.ndim == 1:
        return torch.rand(like.shape) + 0.5 if key.endswith(("weight", "var")) else 0.1 * torch.randn(like.shape)
    return torch.randn(like.shape) * (2 / like[0].numel()) ** 0.5
