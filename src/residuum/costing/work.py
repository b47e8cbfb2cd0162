"""What operators cost; the conventions are written down in `operators`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from residuum.costing.execution import Execution, sizes


@dataclass(frozen=True)
class Work:
    """Multiply-adds, and floating-point operations (two for each multiply-add, and all others)."""

    macs: int = 0
    flops: int = 0


def free(run: Execution) -> Work:
    """Nothing: data is moved or looked up."""
    return Work()


def each_result(count: int) -> Callable[[Execution], Work]:
    """So many operations for each value of the result."""
    return lambda run: Work(flops=count * run.result.numel())


def each_input(count: int) -> Callable[[Execution], Work]:
    """So many operations for each value that goes in."""
    return lambda run: Work(flops=count * run.tensor(0).numel())


def convolution(run: Execution) -> Work:
    """Kernel size times channels of a group for each value, and one for each bias that is added."""
    source, weight, bias, is_transposed = run.tensor(0), run.tensor(1), run.get(2), run.get(6, False)
    values = source.numel() if is_transposed else run.result.numel()
    macs = values * math.prod(weight.shape[1:])
    return Work(macs, 2 * macs + (run.result.numel() if bias is not None else 0))


def product(left: int, *, biased: bool) -> Callable[[Execution], Work]:
    """Of a matrix product whose left factor is argument `left`: each result sums over its last dimension."""

    def work(run: Execution) -> Work:
        macs = run.result.numel() * run.tensor(left).shape[-1]
        return Work(macs, 2 * macs + (run.result.numel() if biased else 0))

    return work


def pool(axes: int) -> Callable[[Execution], Work]:
    """Each value of each window of a pooling over so many dimensions."""
    return lambda run: Work(flops=run.result.numel() * math.prod(sizes(run.arguments[1], axes)))


def normalisation(run: Execution) -> Work:
    """Scale and shift; the statistics as well where they are computed."""
    computed = bool(run.get(5, False))  # batch normalisation's `training`
    return Work(flops=(7 if computed else 2) * run.result.numel())


def attention(run: Execution) -> Work:
    """Two products over all pairs of positions, and a softmax between them."""
    query, key, value = run.tensor(0), run.tensor(1), run.tensor(2)
    pairs = query.shape[:-1].numel() * key.shape[-2]
    macs = pairs * (query.shape[-1] + value.shape[-1])
    return Work(macs, 2 * macs + 3 * pairs)
