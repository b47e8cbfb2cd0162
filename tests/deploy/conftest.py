"""torchvision, where it can be imported."""

from __future__ import annotations

import pytest
import torch


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
