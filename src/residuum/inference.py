"""A net made ready to classify many images: a copy, its batch normalisation folded in, channels last, bf16 if wanted.

On a CPU a folded convolution does the ReLU after it and the addition of a shortcut as well, with weights laid out for
it beforehand: oneDNN's operators, which PyTorch ships. Seen on one core, ResNet-18, parts of 8: 9 % less time in bf16,
18 % in fp32. Where they are missing, the same is done one after the other.

Only a copy is changed; the net that is given keeps its weights, its hooks and its training mode. Which normalisation
follows which convolution is seen by running the copy on an image, so any net may be given. The copy must answer as the
net does, else the net itself is used: where it has hooks, cannot be copied, or does something that is not seen here.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from statistics import median
from threading import Lock
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from residuum.errors import InputError
from residuum.nets.blocks import PostActivation, SingleBlock
from residuum.nets.layers import NormalisesWithReLU, normalised_relu
from residuum.nets.resnet import ResNet

Precision = Literal["fp32", "bf16", "auto"]
SAME = 1e-4  # the copy's logits may differ by so much of the largest
GAIN = 1.2  # bf16 must be so many times faster to be chosen
TRIALS = 3
MANY = 32  # images from which on a copy of the net is worth its making
SAMPLE = 1  # images that a copy is compared by
OWN_CODE = ("torch.nn.", "residuum.nets.")  # modules whose classes keep nothing of a call in eval mode
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
        return torch.autocast(self.device.type, self.dtype, cache_enabled=False)  # the cache is not each thread's own


def logits_of(net: nn.Module, precision: Precision, device: torch.device, *, count: int) -> Logits:
    """What gives the logits of `count` images, in batches: prepared by the first of them.

    Few images are given to the net as it is, in bf16 by autocast; `auto` is then fp32. Several threads may call it
    where they may call the net (`shareable`).

    Raises:
        InputError: the precision is not known.
    """
    require_precision(precision)
    if count < MANY:
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        return Prepared(net, dtype, converted=precision != "bf16", device=device)
    ready: list[Prepared] = []
    lock = Lock()

    def run(images: Tensor) -> Tensor:
        with lock:
            if not ready:
                ready.append(prepared(net, images[:SAMPLE], precision))
        return ready[0](images)

    return run


def shareable(net: nn.Module, device: torch.device) -> bool:
    """Whether threads may run a net in eval mode beside each other: on a CPU, without hooks or code of the user."""
    own = all(type(module).__module__.startswith(OWN_CODE) for module in net.modules())
    return device.type == "cpu" and own and not _has_hooks(net)


@contextmanager
def one_thread_each(workers: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that each compute alone, so that nothing they compute depends on how many they are.

    Nobody else's setting is changed: `torch.set_num_threads` sets OpenMP and MKL of the thread that calls it, and what
    a thread begins with that has not computed yet (PyTorch, ATen/ParallelOpenMP.cpp). The second is put back at the
    end; `get_num_threads` makes a thread take it, so that it does not do so later.
    """
    before = torch.get_num_threads()

    def begin() -> None:
        torch.get_num_threads()
        torch.set_num_threads(1)

    try:
        with ThreadPoolExecutor(workers, initializer=begin if before > 1 else None) as pool:
            try:
                yield pool
            finally:
                pool.shutdown(cancel_futures=True)
    finally:
        if before > 1:
            torch.set_num_threads(before)


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
        return _packed(full, images)
    half = _packed(_in_bf16(full, images), images)
    if precision == "auto":
        full = _packed(full, images)
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
    """Stands where a convolution was that is done by what follows."""

    def forward(self, x: Tensor) -> Tensor:
        return x


class _Convolution(NormalisesWithReLU):
    """A convolution in the place of the normalisation folded into it, where it learns what is to be done after it.

    Attributes:
        conv: the convolution.
        packed: its weight as oneDNN wants it for `conv.weight`'s type, where oneDNN's operators are used.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__(conv.out_channels, affine=False, track_running_stats=False)
        self.conv = conv
        self.packed: Tensor | None = None

    def pack(self) -> None:
        conv = self.conv
        how = (conv.padding, conv.stride, conv.dilation, conv.groups)
        self.packed = torch.ops.mkldnn._reorder_convolution_weight(conv.weight.detach(), *how, None)

    def takes(self, x: Tensor, shortcut: Tensor | None = None) -> bool:
        return True

    def forward(self, x: Tensor) -> Tensor:
        return self._run(x, "none") if self.packed is not None else self.conv(x)

    def relu(self, x: Tensor, shortcut: Tensor | None = None) -> Tensor:
        """relu(conv(x) + shortcut); the shortcut is written over."""
        if self.packed is not None:
            return self._run(x, "relu", shortcut)
        y = self.conv(x)
        return torch.relu(y if shortcut is None else y + shortcut)

    def _run(self, x: Tensor, last: str, shortcut: Tensor | None = None) -> Tensor:
        conv, operators = self.conv, torch.ops.mkldnn
        how = (self.packed, conv.bias, conv.padding, conv.stride, conv.dilation, conv.groups)
        if shortcut is None:
            return operators._convolution_pointwise(x, *how, last, [], "")  # type: ignore[no-any-return]
        return operators._convolution_pointwise_.binary(shortcut, x, *how, "add", 1.0, last, [], "")  # type: ignore[no-any-return]


class _Joined(nn.Module):
    """A block that gives its shortcut to its last layer to add; its input is written over, nobody needs it again."""

    def __init__(self, block: PostActivation) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        shortcut = None if self.block.downsample is None else self.block.downsample(x)
        return normalised_relu(self.block.last_norm, self.block.convolved(x), shortcut)


def _to_join(net: nn.Module) -> dict[nn.Module, nn.Module]:
    """What to put in the place of a catalog net's blocks that end with a normalisation, an addition and a ReLU."""
    blocks = [module for module in net.modules() if isinstance(module, PostActivation)]
    ours = type(net) is ResNet and all(type(block).forward is PostActivation.forward for block in blocks)
    return {block: _Joined(block) for block in blocks if ours and _may_join(block)}


def _may_join(block: PostActivation) -> bool:
    """Whether one operation can end a block; of a single layer it would write over what that layer reads."""
    return block.is_plain_sum and not isinstance(block, SingleBlock)


def _packed(found: Prepared, images: Tensor) -> Prepared:
    """The same, its folded convolutions run by oneDNN's operators where they can be."""
    convolutions = [module for module in found.net.modules() if isinstance(module, _Convolution)]
    if found.device.type == "cpu" and found.converted:
        try:
            for each in convolutions:
                each.pack()
            found(images)
        except (AttributeError, RuntimeError, TypeError):  # no such operator here, or not for this type or padding
            for each in convolutions:
                each.packed = None
    return found


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
    """Give each convolution the work and the place of its normalisation, and all of them weights in channels last."""
    instead = _to_join(net)
    for conv, norm in folds:
        weight, bias = folded_weights(conv, norm)
        conv.weight, conv.bias = nn.Parameter(weight, requires_grad=False), nn.Parameter(bias, requires_grad=False)
        instead |= {conv: _Done(), norm: _Convolution(conv)}
    for module in [*net.modules()]:
        for name, child in module.named_children():
            if child in instead:
                setattr(module, name, instead[child])
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
