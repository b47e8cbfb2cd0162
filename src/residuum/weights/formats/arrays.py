"""The values of an array in a file, as a tensor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

MAX_DIMENSIONS = 8


def shaped(values: npt.NDArray[np.generic], shape: Sequence[int], order: Literal["C", "F"] = "C") -> Tensor:
    """A copy of the values in that shape, in the byte order of this machine.

    Args:
        values: one after the other.
        shape: as the file claims it.
        order: C where the last index runs first, F where the first does.

    Raises:
        ValueError: the shape has too many dimensions (their product could take for ever), or is not of so many values.
    """
    if len(shape) > MAX_DIMENSIONS:
        raise ValueError(f"{len(shape):,} dimensions")
    if any(size < 0 for size in shape) or math.prod(shape) != values.size:
        raise ValueError(f"{values.size} values for shape {tuple(shape)}")
    array = values.reshape(tuple(shape), order=order)
    return torch.from_numpy(np.array(array, values.dtype.newbyteorder("="), order="C"))
