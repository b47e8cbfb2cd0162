"""Load tensors into a net: names mapped, shapes checked, every key accounted for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from residuum.errors import InputError
from residuum.weights.read import read_tensors

PREFIXES = ("module.", "_orig_mod.")
SHOWN = 4
PLAIN_TYPES = frozenset(
    {torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int32, torch.int64, torch.uint8, torch.bool}
)


def load_weights(net: nn.Module, path: str | Path) -> None:
    """Load a weight file into `net`.

    Names are matched after wrappers' prefixes (`module.`) are taken off and a last layer called `linear` is read as
    `fc` (the CIFAR ResNets of akamaster). BN counters (`num_batches_tracked`), which inference does not need, may be
    missing; nothing else may be missing, left over, of another shape, or not finite.

    Raises:
        InputError: the file cannot be read, or does not fit; one message lists all that is wrong, and `net` is
            unchanged.
    """
    theirs = read_tensors(path)
    own = net.state_dict()
    tensors = {name if name in own else our_name(name): tensor for name, tensor in theirs.items()}
    problems = mismatches(tensors, own)
    if len(tensors) < len(theirs):
        problems.append(f"{len(theirs) - len(tensors)} names stand for a parameter that has another name too")
    if problems:
        raise InputError(f"{path}: does not fit this net ({'; '.join(problems)}). Try: the net it was trained as")
    net.load_state_dict(own | tensors)


def our_name(name: str) -> str:
    """A parameter's name as our nets have it."""
    while name.startswith(PREFIXES):
        name = name.partition(".")[2]
    return "fc." + name.removeprefix("linear.") if name.startswith("linear.") else name


def is_plain(tensor: Tensor) -> bool:
    """Whether a tensor holds ordinary numbers, one for each of its places."""
    return tensor.layout is torch.strided and not tensor.is_meta and tensor.dtype in PLAIN_TYPES


def mismatches(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> list[str]:
    """What does not fit, grouped: missing, extra, mis-shaped, not finite."""
    required = {name for name in own if not name.endswith("num_batches_tracked")}
    both = sorted(set(tensors) & set(own))
    fitting = [name for name in both if tensors[name].shape == own[name].shape and is_plain(tensors[name])]
    groups = {
        "missing": sorted(required - set(tensors)),
        "not in the net": sorted(set(tensors) - set(own)),
        "of another shape": [
            f"{name} {tuple(tensors[name].shape)} for {tuple(own[name].shape)}"
            for name in both
            if tensors[name].shape != own[name].shape
        ],
        "of a kind that is not read": [
            f"{name} ({tensors[name].dtype}, {tensors[name].layout})" for name in both if not is_plain(tensors[name])
        ],
        "not finite": [n for n in fitting if tensors[n].is_floating_point() and not torch.isfinite(tensors[n]).all()],
    }
    return [
        f"{len(names)} {what}: {', '.join(names[:SHOWN])}{', ...' if len(names) > SHOWN else ''}"
        for what, names in groups.items()
        if names
    ]
