"""Singular values of a block's Jacobian: by how much a block can stretch or shrink the gradient that passes it.

With J = dy/dx, the gradient at the block's input is J^T g: its norm lies between the smallest and the largest singular
value of J times that of g. Whether a block "lets the gradient through" is therefore a statement about the smallest.

A row of J that is 0 belongs to an output that no small change of x moves: behind a ReLU, one that is off. Such rows
are counted apart (`dead_rows`): with even one of them, some g is stopped, and what the other rows do would be hidden.

J itself has (C H W)^2 entries. Where it is small it is written down and decomposed; elsewhere both ends of the spectrum
are found from products with J and J^T, both by reverse mode, by Lanczos bidiagonalisation with full
reorthogonalisation (Golub & Kahan 1965; Golub & Van Loan 2013, section 10.4).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from residuum.errors import InputError, unknown
from residuum.insight.looks import OnProgress, in_float64, unheard, with_gradients
from residuum.insight.places import ResidualBlock
from residuum.insight.taps import device_of, evaluating, removing
from residuum.insight.terms import blocks_of
from residuum.nets.blocks import PostActivation

Function = Callable[[Tensor], Tensor]
DENSE_BELOW = 2048  # rows and columns
STEPS = 256
TOLERANCE = 1e-3
CHECK_EVERY = 16  # steps


@dataclass(frozen=True)
class Spectrum:
    """Both ends of the singular values of a Jacobian, its dead rows left out.

    The rest has min(rows - dead_rows, columns) singular values. Of the whole Jacobian the largest is the same, and the
    smallest that g can meet is 0 where there are dead rows, or more rows than columns.

    Attributes:
        largest: singular value; of `lanczos` a lower bound, closer than `largest_residual` where that is small.
        largest_residual: norm of what is missing in J v = s u and J^T u = s v; 0 for `dense`.
        smallest: singular value; None where Lanczos did not converge, or every row is dead. Of `lanczos` the smallest
            that it met: one still smaller may hide where the random start hardly has its direction.
        smallest_at_most: what the smallest surely does not exceed (up to rounding), converged or not.
        residual_norm: as `largest_residual`, for `smallest_at_most`: a singular value lies that close to it.
        dead_rows: rows that are 0.
        rows, columns: of the whole Jacobian: values out and in.
        method: `dense` or `lanczos`.
        steps: of Lanczos; 0 for `dense`.
    """

    largest: float
    largest_residual: float
    smallest: float | None
    smallest_at_most: float
    residual_norm: float
    dead_rows: int
    rows: int
    columns: int
    method: Literal["dense", "lanczos"]
    steps: int


@dataclass(frozen=True)
class BlockSpectrum:
    """Spectra of one block at the input that it has for an image.

    Attributes:
        block: its name.
        before: of F(x) + shortcut(x); of F(x) where the block has no shortcut.
        after: of the whole block, behind its last ReLU; `before` where it has none (pre-activation).
        residual: of F(x) alone; `before` where the block has no shortcut.
    """

    block: str
    before: Spectrum
    after: Spectrum
    residual: Spectrum


@with_gradients
def singular_values(
    function: Function,
    x: Tensor,
    *,
    dense_below: int = DENSE_BELOW,
    steps: int = STEPS,
    tolerance: float = TOLERANCE,
    seed: int = 0,
) -> Spectrum:
    """The largest and smallest singular value of the Jacobian of `function` at `x`.

    Args:
        function: of one tensor, differentiable twice; a block in eval mode, say.
        x: where; one image `(1, C, H, W)`, or a tensor of any shape.
        dense_below: up to this many rows and columns the Jacobian is written down.
        steps: of Lanczos at most. Memory is (steps + 1) x (rows + columns) numbers.
        tolerance: Lanczos has converged where a residual is at most this share of the largest singular value.
        seed: of the vector Lanczos starts from, and of that by which it finds dead rows.

    Raises:
        InputError: no gradient of `function` can be taken, or there are no steps.
    """
    if steps < 1:
        raise InputError(f"steps: must be at least 1, got {steps}. Try: {STEPS}")
    jacobian = _Jacobian(function, x)
    with torch.no_grad():
        if max(jacobian.rows, jacobian.columns) <= dense_below:
            return _dense(jacobian)
        return _by_lanczos(jacobian, steps, tolerance, torch.Generator().manual_seed(seed))


class _Jacobian:
    """The Jacobian of a function at x, by its products with flat vectors."""

    def __init__(self, function: Function, x: Tensor) -> None:
        with torch.enable_grad():
            self.x = x.detach().requires_grad_()
            self.output = function(self.x)
            if not self.output.requires_grad:
                raise InputError("function: has no gradient with respect to x. Try: a block of a net, in eval mode")
            self.u = torch.zeros_like(self.output, requires_grad=True)
            # J^T u is linear in u, so that its own gradient with respect to u, given v, is J v.
            (self.pulled,) = torch.autograd.grad(self.output, self.x, self.u, create_graph=True)
        self.rows, self.columns = self.output.numel(), x.numel()

    def times(self, v: Tensor) -> Tensor:
        """J v, `(rows,)`."""
        return self._product(self.pulled, self.u, v)

    def transposed_times(self, u: Tensor) -> Tensor:
        """J^T u, `(columns,)`."""
        return self._product(self.output, self.x, u)

    @staticmethod
    def _product(of: Tensor, by: Tensor, vector: Tensor) -> Tensor:
        (product,) = torch.autograd.grad(of, by, vector.reshape(of.shape), retain_graph=True)
        return product.reshape(-1)

    def random(self, length: int, generator: torch.Generator) -> Tensor:
        """Standard normal numbers of x's type and device."""
        return torch.randn(length, generator=generator, dtype=torch.float64).to(self.x.dtype).to(self.x.device)


def _dense(jacobian: _Jacobian) -> Spectrum:
    unit = torch.zeros(jacobian.rows, dtype=jacobian.x.dtype, device=jacobian.x.device)
    matrix = unit.new_empty(jacobian.rows, jacobian.columns)
    for row in range(jacobian.rows):
        unit[row] = 1
        matrix[row] = jacobian.transposed_times(unit)
        unit[row] = 0
    live = matrix[matrix.ne(0).any(dim=1)]
    values = torch.linalg.svdvals(in_float64(live))
    least = float(values[-1]) if len(values) else None
    return Spectrum(
        largest=float(values[0]) if len(values) else 0.0,
        largest_residual=0.0,
        smallest=least,
        smallest_at_most=least or 0.0,
        residual_norm=0.0,
        dead_rows=jacobian.rows - len(live),
        rows=jacobian.rows,
        columns=jacobian.columns,
        method="dense",
        steps=0,
    )


def _by_lanczos(jacobian: _Jacobian, steps: int, tolerance: float, generator: torch.Generator) -> Spectrum:
    live = jacobian.times(jacobian.random(jacobian.columns, generator)).ne(0)  # a row that is not 0 gives no exact 0
    num_live = int(live.sum())
    ends = _Ends(0.0, 0.0, 0.0, 0.0, 0)
    if num_live >= jacobian.columns:
        start = jacobian.random(jacobian.columns, generator)
        ends = _bidiagonalise(jacobian.times, jacobian.transposed_times, start, jacobian.rows, steps, tolerance)
    elif num_live:  # from the side of the rows, where no vector is lost; J J^T keeps the dead ones at 0
        start = jacobian.random(jacobian.rows, generator) * live
        ends = _bidiagonalise(jacobian.transposed_times, jacobian.times, start, jacobian.columns, steps, tolerance)
    converged = num_live > 0 and ends.smallest_residual <= tolerance * ends.largest
    return Spectrum(
        largest=ends.largest,
        largest_residual=ends.largest_residual,
        smallest=ends.smallest if converged else None,
        smallest_at_most=ends.smallest,
        residual_norm=ends.smallest_residual,
        dead_rows=jacobian.rows - num_live,
        rows=jacobian.rows,
        columns=jacobian.columns,
        method="lanczos",
        steps=ends.steps,
    )


@dataclass(frozen=True)
class _Ends:
    """Both ends of what Lanczos knows of a spectrum, with their residuals, after some steps."""

    largest: float
    largest_residual: float
    smallest: float
    smallest_residual: float
    steps: int


def _bidiagonalise(
    times: Function, transposed_times: Function, start: Tensor, rows: int, steps: int, tolerance: float
) -> _Ends:
    """Both ends of the singular values of A, which has at least as many rows as columns that matter.

    After k steps A V = U B and A^T U = V B^T + b v e_k^T, with orthonormal U and V, and B bidiagonal.

    Args:
        times, transposed_times: products with A and with A^T.
        start: a random vector of A's columns.
        rows: of A.
        steps: at most.
        tolerance: to stop at, as a share of the largest singular value.
    """
    steps = min(steps, len(start))
    right, left = start.new_zeros(steps + 1, len(start)), start.new_zeros(steps, rows)
    right[0] = start / start.norm()
    diagonal: list[float] = []
    beside: list[float] = []
    while True:
        k = len(diagonal)
        u = _orthogonal(times(right[k]), left[:k])
        diagonal.append(float(u.norm()))
        negligible = 8 * torch.finfo(start.dtype).eps * max(diagonal + beside)
        if diagonal[-1] > negligible:
            left[k] = u / diagonal[-1]
            v = _orthogonal(transposed_times(left[k]), right[: k + 1])
            beside.append(float(v.norm()))
        else:  # A v is 0: the space is exhausted, with a singular value of 0
            diagonal[-1] = 0.0
            beside.append(0.0)
        exhausted = beside[-1] <= negligible
        if exhausted or k + 1 == steps or (k + 1) % CHECK_EVERY == 0:
            ends = _ends(diagonal, beside)
            enough = max(ends.largest_residual, ends.smallest_residual) <= tolerance * ends.largest
            if exhausted or enough or k + 1 == steps:
                return ends
        right[k + 1] = v / beside[-1]


def _orthogonal(vector: Tensor, to: Tensor) -> Tensor:
    """The vector less its part in the span of the rows of `to`, which are orthonormal; twice, against rounding."""
    for _ in range(2):
        vector = vector - (to @ vector) @ to
    return vector


def _ends(diagonal: Sequence[float], beside: Sequence[float]) -> _Ends:
    small = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
    small += torch.diag(torch.tensor(beside[:-1], dtype=torch.float64), 1)
    vectors, values, _ = torch.linalg.svd(small)
    residuals = beside[-1] * vectors[-1].abs()
    first, last = (float(residuals[index]) for index in (0, -1))
    return _Ends(float(values[0]), first, float(values[-1]), last, len(diagonal))


@with_gradients
def block_spectra(
    net: nn.Module,
    image: Tensor,
    *,
    names: str | Sequence[str] | None = None,
    dense_below: int = DENSE_BELOW,
    steps: int = STEPS,
    tolerance: float = TOLERANCE,
    on_progress: OnProgress = unheard,
) -> list[BlockSpectrum]:
    """The spectra of each block of a net, plain or residual, in eval mode, at its own input for one image.

    Args:
        net: with blocks of `residuum.nets.blocks`.
        image: `(1, C, H, W)`, preprocessed.
        names: of blocks, or of one; None for all.
        dense_below, steps, tolerance: as for `singular_values`.
        on_progress: told how many blocks are done, and of how many.

    Raises:
        InputError: the net has no such blocks, `image` is not one image, or there are no steps.
    """
    if len(image) != 1:
        raise InputError(f"image: a Jacobian is of one image, got {len(image)}. Try: images[:1]")
    blocks = _chosen(net, names)
    inputs: dict[str, Tensor] = {}

    def keeping(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def keep(module: nn.Module, given: tuple[Tensor, ...]) -> None:
            inputs[name] = given[0]

        return keep

    handles = [block.register_forward_pre_hook(keeping(name)) for name, block in blocks]
    with removing(handles), evaluating(net), torch.no_grad():
        net(image.to(device_of(net)))
    found = []
    with evaluating(net):
        for done, (name, block) in enumerate(blocks, start=1):
            spectrum = partial(
                singular_values, x=inputs.pop(name), dense_below=dense_below, steps=steps, tolerance=tolerance
            )
            found.append(_block_spectrum(name, block, spectrum))
            on_progress(done, len(blocks))
    return found


def _block_spectrum(name: str, block: ResidualBlock, spectrum: Callable[[Function], Spectrum]) -> BlockSpectrum:
    residual = spectrum(block.residual)
    before = residual if block.downsample is None else spectrum(_addition(block))
    after = spectrum(block) if isinstance(block, PostActivation) else before
    return BlockSpectrum(name, before, after, residual)


def _addition(block: ResidualBlock) -> Function:
    """F(x) + shortcut(x) as a function of x."""
    shortcut = block.downsample
    assert shortcut is not None
    if isinstance(block, PostActivation):
        return lambda x: block.residual(x) + shortcut(x)
    return block


def _chosen(net: nn.Module, names: str | Sequence[str] | None) -> list[tuple[str, ResidualBlock]]:
    blocks = blocks_of(net)
    if names is None:
        return blocks
    known, wanted = dict(blocks), [names] if isinstance(names, str) else names
    for name in wanted:
        if name not in known:
            raise unknown("names", name, known)
    return [(name, known[name]) for name in wanted]
