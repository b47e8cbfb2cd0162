"""Gaussian blur of images, for what is shown in their place and for what must stay picture-like."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def gaussian_blur(images: Tensor, sigma: float) -> Tensor:
    """Images `(N, C, H, W)` blurred by a Gaussian of `sigma` pixels, cut off at three of them; borders are mirrored."""
    for side, dim in ((images.shape[2], 2), (images.shape[3], 3)):
        reach = min(max(1, round(3 * sigma)), side - 1)
        places = torch.arange(-reach, reach + 1, dtype=torch.float64)
        bell = torch.exp(-(places**2) / (2 * sigma**2))
        kernel = (bell / bell.sum()).to(images).view(1, 1, *((-1, 1) if dim == 2 else (1, -1)))
        wide = functional.pad(images, (0, 0, reach, reach) if dim == 2 else (reach, reach, 0, 0), mode="reflect")
        images = functional.conv2d(wide, kernel.repeat(images.shape[1], 1, 1, 1), groups=images.shape[1])
    return images
