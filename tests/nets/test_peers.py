"""Against torchvision, where it can be imported: equal keys, and equal logits with the same weights."""

from __future__ import annotations

import pytest
import torch

from residuum.nets.catalog import net


@pytest.fixture(scope="module")
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


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"])
def test_keys_and_logits_are_torchvisions(torchvision_models, name: str) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    theirs = getattr(torchvision_models, name)(weights=None).eval()
    for module in theirs.modules():  # statistics that are not 0 and 1, so that BN is really compared
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    ours = net(name).eval()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 3, 96, 96)
    with torch.inference_mode():
        torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-4)
