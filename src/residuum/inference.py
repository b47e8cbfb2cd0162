"""A net made ready to classify many images: a copy, its batch normalisation folded in, channels last, bf16 if wanted.

Only a copy is changed; the net that is given keeps its weights, its hooks and its training mode. Which normalisation
follows which convolution is seen by running the copy on an image, so any net may be given. The copy must answer as the
net does, else the net itself is used: where it has hooks, cannot be copied, or does something that is not seen here.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from statistics import median
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from residuum.errors import InputError

Precision = Literal["fp32", "bf16", "auto"]
SAME = 1e-4  # the copy's logits may differ by so much of the largest
GAIN = 1.2  # bf16 must be so many times faster to be chosen
TRIALS = 3
MANY = 32  # images from which on a copy of the net is worth its making
SAMPLE = 1  # images that a copy is compared by
PART_BYTES = 4 * 224 * 224 * 4  # of one channel; with more images at once the first maps leave a CPU's cache
Fold = tuple[nn.Conv2d, nn.BatchNorm2d]
Logits = Callable[[Tensor], Tensor]


def require_precision(precision: str) -> None:
    """Refuse a precision that is not known.

    Raises:
        InputError: it is none of `Precision`.
    """
    if precision not in get_args(Precision):
        known = ", ".join(get_args(Precision))
        raise InputError(f"precision: {precision!r} is not known (expected {known}). Try: --precision fp32")


@dataclass(frozen=True, eq=False)
class Prepared:
    """A net ready to classify.

    Attributes:
        net: images `(N, C, H, W)` to logits.
        dtype: what it computes in.
        converted: whether its weights are of that type; autocast otherwise.
        device: where it lies.
    """

    net: nn.Module
    dtype: torch.dtype
    converted: bool
    device: torch.device

    def __call__(self, images: Tensor) -> Tensor:
        """Logits `(N, K)` float32 of preprocessed images `(N, C, H, W)` float32."""
        images = images.to(self.device, self.dtype if self.converted else images.dtype)
        with torch.no_grad(), evaluating(self.net), self._casting():
            if self.device.type != "cpu":
                return self.net(images).float()  # type: ignore[no-any-return]
            fit = PART_BYTES // (images.element_size() * images.shape[-2] * images.shape[-1])
            return torch.cat([self.net(part).float() for part in torch.split(images, max(1, fit))])

    def _casting(self) -> torch.autocast | nullcontext[None]:
        if self.converted or self.dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, self.dtype)


def logits_of(net: nn.Module, precision: Precision, device: torch.device, *, count: int) -> Logits:
    """What gives the logits of `count` images, in batches: prepared by the first of them.

    Few images are given to the net as it is, in bf16 by autocast; `auto` is then fp32.

    Raises:
        InputError: the precision is not known.
    """
    require_precision(precision)
    if count < MANY:
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        return Prepared(net, dtype, converted=precision != "bf16", device=device)
    ready: list[Prepared] = []

    def run(images: Tensor) -> Tensor:
        if not ready:
            ready.append(prepared(net, images[:SAMPLE], precision))
        return ready[0](images)

    return run


def prepared(net: nn.Module, images: Tensor, precision: Precision) -> Prepared:
    """A net ready to classify images like these.

    Args:
        net: images `(N, C, H, W)` to logits `(N, K)`; all of it on one device.
        images: a few, preprocessed, on the net's device; by them the copy is compared with the net.
        precision: `auto` is bf16 where that is faster: on a GPU that has it, on a CPU by the clock.
    """
    plain = Prepared(net, torch.float32, converted=True, device=images.device)
    full = _folded(plain, images)
    if precision == "fp32" or (precision == "auto" and not _may_have_bf16(images.device)):
        return full
    half = _in_bf16(full, images)
    if precision == "auto" and images.device.type == "cpu" and _seconds(full, images) < GAIN * _seconds(half, images):
        return full
    return half


@contextmanager
def evaluating(net: nn.Module) -> Iterator[None]:
    """`net` in eval mode, and afterwards in the mode in which each of its modules was."""
    training = [module for module in net.modules() if module.training]
    net.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def folded_weights(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Weight and bias of the convolution that does norm(conv(x)), of evaluation.

    With s = gamma / sqrt(variance + epsilon) of each channel: weight s W, bias s (b - mean) + beta. s and the bias are
    computed in double precision. Mean and variance are the running ones (Ioffe & Szegedy 2015, section 3.1).
    """
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    scale = scale if norm.weight is None else scale * norm.weight.double()
    bias = (-norm.running_mean.double() if conv.bias is None else conv.bias.double() - norm.running_mean) * scale
    bias = bias if norm.bias is None else bias + norm.bias.double()
    weight = conv.weight * scale.to(conv.weight.dtype)[:, None, None, None]
    return weight, bias.to(weight.dtype)


class _Done(nn.Module):
    """Stands where a normalisation was; what it did is done by the convolution before it."""

    def forward(self, x: Tensor) -> Tensor:
        return x


def _folded(plain: Prepared, images: Tensor) -> Prepared:
    """A folded copy in channels last, or what was given where that does not answer the same."""
    if _has_hooks(plain.net):
        return plain
    try:
        found = replace(plain, net=_copy_without_values(plain.net).eval())
        _fold(found.net, _folds(found.net, images))
        expected, answer = plain(images), found(images)
        same = bool((answer - expected).abs().max() <= SAME * expected.abs().max())
    except Exception:  # whatever a user's net does not let be done with a copy of it
        return plain
    return found if same else plain


def _in_bf16(full: Prepared, images: Tensor) -> Prepared:
    """A net that computes in bf16, but for its last linear layer; by autocast where its weights cannot be of it."""
    autocast = replace(full, dtype=torch.bfloat16, converted=False)
    if _has_hooks(full.net):
        return autocast
    try:
        net = _copy_without_values(full.net).eval()
        last = _last_called(net, images)
        for module in net.modules():
            if module is not last and isinstance(module, nn.Conv2d | nn.Linear):
                for name, value in [*module.named_parameters(recurse=False)]:  # new ones: the values are shared
                    setattr(module, name, nn.Parameter(value.detach().bfloat16(), requires_grad=False))
        if isinstance(last, nn.Linear):
            last.register_forward_pre_hook(lambda module, given: tuple(each.float() for each in given))
        found = replace(autocast, net=net, converted=True)
        found(images)
    except Exception:  # such as two types in one operator
        return autocast
    return found


def _copy_without_values(net: nn.Module) -> nn.Module:
    """A copy of the modules, with the same tensors."""
    tensors = (*net.parameters(), *net.buffers())
    return copy.deepcopy(net, {id(tensor): tensor for tensor in tensors})


def _has_hooks(net: nn.Module) -> bool:
    return any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


@torch.no_grad()
def _folds(net: nn.Module, images: Tensor) -> list[Fold]:
    """Each normalisation whose input is the untouched output of a convolution, both used once."""
    made: dict[int, tuple[Tensor, int, nn.Conv2d]] = {}  # by the output's id; a tensor that is kept keeps its id
    folds: list[Fold] = []
    calls: dict[nn.Module, int] = {}

    def note(conv: nn.Module, given: Any, output: Tensor) -> None:
        assert isinstance(conv, nn.Conv2d)
        calls[conv] = calls.get(conv, 0) + 1
        made[id(output)] = (output, output._version, conv)

    def pair(norm: nn.Module, given: tuple[Tensor, ...]) -> None:
        assert isinstance(norm, nn.BatchNorm2d)
        calls[norm] = calls.get(norm, 0) + 1
        output, version, conv = made.get(id(given[0]), (None, 0, None))
        if output is not None and conv is not None and version == output._version and norm.running_mean is not None:
            folds.append((conv, norm))

    with ExitStack() as hooks:
        for module in net.modules():
            if type(module) is nn.Conv2d:
                hooks.callback(module.register_forward_hook(note).remove)
            elif isinstance(module, nn.BatchNorm2d):
                hooks.callback(module.register_forward_pre_hook(pair).remove)
        net(images[:1])
    return [(conv, norm) for conv, norm in folds if calls[conv] == calls[norm] == 1]


@torch.no_grad()
def _fold(net: nn.Module, folds: list[Fold]) -> None:
    """Give each convolution the work of its normalisation, and all of them weights in channels last."""
    done = {norm for _, norm in folds}
    for conv, norm in folds:
        weight, bias = folded_weights(conv, norm)
        conv.weight, conv.bias = nn.Parameter(weight, requires_grad=False), nn.Parameter(bias, requires_grad=False)
    for module in [*net.modules()]:
        for name, child in module.named_children():
            if child in done:
                setattr(module, name, _Done())
        if type(module) is nn.Conv2d:
            weight = module.weight.contiguous(memory_format=torch.channels_last)
            module.weight = nn.Parameter(weight, requires_grad=False)


@torch.no_grad()
def _last_called(net: nn.Module, images: Tensor) -> nn.Module | None:
    """The last of the layers without parts that a net runs."""
    called: list[nn.Module] = []
    with ExitStack() as hooks:
        for module in net.modules():
            if not any(module.children()):
                hooks.callback(module.register_forward_hook(lambda own, given, output: called.append(own)).remove)
        net(images[:1])
    return called[-1] if called else None


def _may_have_bf16(device: torch.device) -> bool:
    if device.type != "cuda":
        return True
    with torch.cuda.device(device):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))


def _seconds(run: Logits, images: Tensor) -> float:
    taken = []
    for _ in range(TRIALS):
        start = time.perf_counter()
        run(images)
        taken.append(time.perf_counter() - start)
    return median(taken)
