"""Load tensors into a net: names mapped, shapes checked, every key accounted for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from residuum.errors import InputError
from residuum.nets.catalog import ENTRIES
from residuum.nets.googlenet import AuxiliaryHead
from residuum.nets.lenet import BitmapDistance
from residuum.nets.resnet import ResNet
from residuum.weights.layouts.mapped import Mapped, Normalisation, is_plain
from residuum.weights.layouts.named import OWN
from residuum.weights.layouts.recognise import by_our_names
from residuum.weights.read import read_tensors

SHOWN = 4
HEAD_TENSORS = ("weight", "bias", "codes")
ANOTHER_NET = "the net it was trained as"
WHICH_STRIDE = (
    "torchvision's and timm's weights are of nets with the stride on the 3x3 and padded pooling; this net has not: its "
    "answers are right only if the file was saved from a net like this one"
)


@dataclass(frozen=True)
class Loaded:
    """How a file went into a net.

    Attributes:
        layout: what its names were taken for: `own names`, `akamaster`, `Keras ResNet`, ...
        new_head: tensors that stayed as the net had them, since the file's are for another number of classes.
        notes: what a person should know, a sentence each.
        preprocessing_hint: mean and deviation of each channel, red, green, blue, of pixels in 0..1, where the layout
            tells which the net was trained with.
    """

    layout: str
    new_head: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    preprocessing_hint: Normalisation | None = None


def load_weights(net: nn.Module, path: str | Path, *, new_head: bool = False) -> Loaded:
    """Load a weight file into `net`.

    Args:
        net: the net.
        path: a file of any format that `read_tensors` reads.
        new_head: keep the net's own last layer where the file's is for another number of classes, or it has none.

    Raises:
        InputError: the file cannot be read, or does not fit (see `load_tensors`).
    """
    return load_tensors(net, read_tensors(path), source=str(path), new_head=new_head)


def load_tensors(net: nn.Module, tensors: Mapping[str, Tensor], *, source: str, new_head: bool = False) -> Loaded:
    """Load tensors into `net`, by its own names or in one of the layouts of `residuum.weights.layouts`.

    BN counters (`num_batches_tracked`), which inference does not need, may be missing; nothing else may be missing,
    left over, of another shape, or not finite, except the head where `new_head` allows it.

    Args:
        net: the net.
        tensors: by the names they have where they come from.
        source: the file or whatever they come from; messages begin with it.
        new_head: keep the net's own last layer where the given one is for another number of classes, or there is none.

    Raises:
        InputError: they do not fit; one message lists all that is wrong, and `net` is unchanged.
    """
    own = net.state_dict()
    mapped = by_our_names(tensors, own, source=source)
    other_head = tuple(head_of_other_classes(net, mapped.tensors))
    kept = other_head if new_head else ()
    given = {name: tensor for name, tensor in mapped.tensors.items() if name not in kept}
    problems = mismatches(given, without(own, kept))
    remedy = ANOTHER_NET
    if other_head and not new_head and not mismatches(without(given, other_head), without(own, other_head)):
        remedy = head_remedy(mapped.tensors, other_head)
    if other := another_net(net, mapped):
        problems.append(other[0])
        remedy = other[1]
    if problems:
        raise InputError(f"{source}: does not fit this net ({'; '.join(problems)}). Try: {remedy}")
    net.load_state_dict(own | given)
    return Loaded(mapped.layout, kept, (*mapped.notes, *notes_on(net, mapped)), mapped.preprocessing)


def without(tensors: Mapping[str, Tensor], names: tuple[str, ...]) -> dict[str, Tensor]:
    """Tensors except those of these names."""
    return {name: tensor for name, tensor in tensors.items() if name not in names}


def heads(net: nn.Module) -> Iterator[str]:
    """The layers that give one value for each class: that of each auxiliary head, and the last one.

    These are linear, but for the distances to a code of each class of the LeNet-5 of 1998.
    """
    giving = [name for name, module in net.named_modules() if isinstance(module, nn.Linear | BitmapDistance)]
    for prefix, module in net.named_modules():
        if isinstance(module, AuxiliaryHead):
            yield [name for name in giving if name.startswith(f"{prefix}.")][-1]
    yield from giving[-1:]


def head_of_other_classes(net: nn.Module, tensors: Mapping[str, Tensor]) -> Iterator[str]:
    """The tensors of each head that is missing in `tensors`, or of which only the number of classes differs."""
    own = net.state_dict()
    for head in heads(net):
        names = [name for kind in HEAD_TENSORS if (name := f"{head}.{kind}") in own]
        there = [name for name in names if name in tensors]
        alike = all(
            tensors[name].ndim == own[name].ndim and tensors[name].shape[1:] == own[name].shape[1:] for name in there
        )
        if alike and any(name not in there or tensors[name].shape != own[name].shape for name in names):
            yield from names


def head_remedy(tensors: Mapping[str, Tensor], head: tuple[str, ...]) -> str:
    """What to do about a head of other classes."""
    given = tensors.get(head[-2] if len(head) > 1 else head[-1])
    classes = f"num_classes={len(given)}, or " if given is not None else ""
    return f"{classes}residuum.NET(..., new_head=True), which keeps this net's own {head[-1].rpartition('.')[0]}"


def another_net(net: nn.Module, mapped: Mapped) -> tuple[str, str] | None:
    """What is wrong, and what to do, where the tensors are of a net that computes something else."""
    if not isinstance(net, ResNet):
        return None
    ours, trained = vars(net.variant), mapped.trained(net.variant)
    differing = [f"{name} {ours[name]} for {value}" for name, value in trained.items() if ours[name] != value]
    if not differing:
        return None
    remedy = next((entry.name for entry in ENTRIES if vars(entry.variant) == {**ours, **trained}), ANOTHER_NET)
    return f"it is of a net that computes otherwise: {', '.join(differing)}", remedy


def notes_on(net: nn.Module, mapped: Mapped) -> Iterator[str]:
    """What equal names do not tell of a net."""
    if mapped.layout == OWN and isinstance(net, ResNet) and net.variant.block == "bottleneck":
        variant = net.variant
        if variant.stem == "imagenet" and (variant.stride_on, variant.pool) != ("3x3", "padded"):
            yield WHICH_STRIDE


def mismatches(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> list[str]:
    """What does not fit, grouped: missing, extra, mis-shaped, not finite."""
    required = {name for name in own if not name.endswith("num_batches_tracked")}
    both = sorted(set(tensors) & set(own))
    readable = {name for name in both if is_readable(tensors[name], own[name])}
    fitting = [name for name in both if tensors[name].shape == own[name].shape and name in readable]
    groups = {
        "missing": sorted(required - set(tensors)),
        "not in the net": sorted(set(tensors) - set(own)),
        "of another shape": [
            f"{name} {tuple(tensors[name].shape)} for {tuple(own[name].shape)}"
            for name in both
            if tensors[name].shape != own[name].shape
        ],
        "of a kind that is not read": [
            f"{name} ({tensors[name].dtype}, {tensors[name].layout})" for name in both if name not in readable
        ],
        "not finite": [name for name in fitting if not is_finite(tensors[name], own[name])],
    }
    return [
        f"{len(names)} {what}: {', '.join(names[:SHOWN])}{', ...' if len(names) > SHOWN else ''}"
        for what, names in groups.items()
        if names
    ]


def is_readable(tensor: Tensor, own: Tensor) -> bool:
    """Whether a tensor holds ordinary numbers of the kind that the net's does: integers are no weights."""
    return is_plain(tensor) and (tensor.is_floating_point() or not own.is_floating_point())


def is_finite(tensor: Tensor, own: Tensor) -> bool:
    """Whether all values are numbers, and stay so in the type of the net's tensor."""
    return bool(tensor.isfinite().all() and tensor.to(own.dtype).isfinite().all())
