"""Times of several computations beside each other, in alternating rounds.

A machine is slower at one moment than at another: other programs run, the processor gets warm. So each round runs every
computation, in every other round in the opposite order, and gives one value of each: the shortest of a few calls, since
what disturbs a call only makes it longer. Computations are then compared within each round (`relative`), where what
slows one slows the others as well; the spread over the rounds is that of the finding.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from residuum.experiments.evidence import OnProgress
from residuum.records.quantity import Measured

Work = Callable[[], object]
MILLI = 1e3


def in_rounds(
    works: Mapping[str, Work],
    *,
    rounds: int,
    repeats: int,
    progress: OnProgress,
    device: torch.device,
    warm_up: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Measured]:
    """Seconds that each computation takes, a value of each round; the rounds before these are run and not counted.

    Args:
        works: what to run, by name.
        rounds: values of each.
        repeats: calls in a row, of which the shortest counts.
        progress: is told of the computations done, and of how many there are.
        device: where they run; a GPU is waited for.
        warm_up: rounds that are not counted.
        clock: seconds from any beginning.
    """
    taken: dict[str, list[float]] = {name: [] for name in works}
    total, done = (warm_up + rounds) * len(works), 0
    for turn in range(warm_up + rounds):
        order = [*works.items()] if turn % 2 else [*works.items()][::-1]
        for name, work in order:
            seconds = min(_seconds(work, device, clock) for _ in range(repeats))
            if turn >= warm_up:
                taken[name].append(seconds)
            done += 1
            progress(done, total)
    return {name: Measured(tuple(values)) for name, values in taken.items()}


def _seconds(work: Work, device: torch.device, clock: Callable[[], float]) -> float:
    _wait(device)
    begin = clock()
    work()
    _wait(device)
    return clock() - begin


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def relative(a: Measured, b: Measured) -> Measured:
    """How many times `b` the values of `a` are, round by round."""
    return Measured(tuple(one / other for one, other in zip(a.values, b.values, strict=True)))


def times(factor: float, measured: Measured) -> Measured:
    """All values times a factor."""
    return Measured(tuple(factor * value for value in measured.values), exact=measured.exact)


def forward_pass(net: nn.Module, images: Tensor) -> Work:
    """One pass of a net over images `(N, C, H, W)`, in eval mode, without gradients."""
    net.eval()

    def run() -> object:
        with torch.inference_mode():
            return net(images)

    return run


def noise(shape: tuple[int, ...], device: torch.device) -> Tensor:
    """The same random values each time: how long a net takes does not depend on what the images show."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(device)
