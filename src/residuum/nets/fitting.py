"""Which values of a residual network's `Variant` fit each other: what cannot be built, or would change nothing.

A value that changes nothing is refused where somebody asks for it; a net that another change leaves with one, as
`resnet50_v1+block=basic` with its stride on the first 1x1, is built.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import chain, pairwise
from typing import TYPE_CHECKING

from residuum.errors import InputError

if TYPE_CHECKING:
    from residuum.nets.resnet import Variant

GATE_BIAS = -6.0  # the best start of gates that He et al. 2016, section 3.1, found
GATED = ("gated", "gated_shortcut")
OF_OPTION_A = ("pad", "halved", "halved_both", "gated", "gated_shortcut", "dropout")  # where the shape changes


def require_fitting(variant: Variant) -> None:
    """Refuse a variant that is no network, or of which a value says nothing.

    Raises:
        InputError: the first thing that is wrong with it.
    """
    for problem in chain(_of_sizes(variant), _of_blocks(variant), _of_placement(variant), _of_shortcut(variant)):
        raise InputError(problem)


def require_difference(variant: Variant, asked: Collection[str]) -> None:
    """Refuse a value that was asked for and makes no difference beside the others.

    Args:
        variant: the net with its changes.
        asked: the fields that were changed.

    Raises:
        InputError: the first such value.
    """
    for field, problem in _without_effect(variant):
        if field in asked:
            raise InputError(f"{field}: {problem}")


def _without_effect(variant: Variant) -> Iterator[tuple[str, str]]:
    """Fields whose value the net does not show, and why."""
    if variant.stride_on == "first" and variant.block != "bottleneck":
        yield "stride_on", f"{variant.block} blocks have no 1x1 to put a stride on, got first. Try: block=bottleneck"
    if variant.stride_on == "first" and variant.downsampling != "stride":
        yield "stride_on", f"with downsampling={variant.downsampling} no convolution has one. Try: downsampling=stride"
    if variant.pool == "ceil" and variant.stem == "cifar":
        yield "pool", "the stem cifar has no pooling, got ceil. Try: stem=imagenet"
    if variant.shortcut == "pool_project" and variant.downsampling != "stride":
        yield "shortcut", f"downsampling={variant.downsampling} pools before it already, got pool_project. Try: project"


def _of_sizes(variant: Variant) -> Iterator[str]:
    """Numbers that no net has."""
    stages, channels = len(variant.widths), min(variant.widths, default=0)
    least = 2 if variant.stem == "deep" else 1
    if len(variant.blocks) != stages or not stages:
        ones = ",".join(["1"] * max(stages, 1))
        yield f"blocks: one number for each of {stages} stages is needed, got {len(variant.blocks)}. Try: {ones}"
    if min(variant.blocks, default=1) < 1:
        yield f"blocks: each stage has at least 1, got {min(variant.blocks)}. Try: 1"
    if channels < least:
        yield f"widths: each stage has at least {least}, got {channels}. Try: 16"
    if variant.widen < 1:
        yield f"widen: must be at least 1, got {variant.widen}. Try: 2"
    if not 0 <= variant.dropout < 1:
        yield f"dropout: must be at least 0 and below 1, got {variant.dropout:g}. Try: 0.5"


def _of_blocks(variant: Variant) -> Iterator[str]:
    """What a block cannot be made of."""
    groups, squeeze = variant.groups, variant.squeeze
    if groups != 1 and variant.block != "bottleneck":
        yield f"groups: only bottlenecks have groups, got {groups}. Try: block='bottleneck'"
    if groups < 1 or any(width % groups for width in variant.inner_widths):
        widths = ", ".join(str(width) for width in variant.inner_widths)
        yield f"groups: must divide the channels of the 3x3 convolutions, {widths}, got {groups}. Try: 1"
    if squeeze is not None and not 1 <= squeeze <= min(variant.outputs):
        least = min(variant.outputs)
        yield f"squeeze: must be from 1 to {least}, the fewest channels of a block, got {squeeze}. Try: 2"


def _of_placement(variant: Variant) -> Iterator[str]:
    """An order of layers that is none, or is the published one."""
    placement = variant.placement
    if placement == "published":
        return
    if variant.preactivation:
        yield f"placement: {placement} is of post-activation blocks, got preactivation. Try: preactivation=no"
    if variant.shortcut == "none":
        yield f"placement: {placement} is about the addition, and a plain net has none. Try: shortcut=pad"
    if placement == "norm_after_addition" and not variant.batch_norm:
        yield f"placement: {placement} moves a normalisation, got batch_norm=no. Try: batch_norm=yes"
    if variant.shortcut == "gated":
        yield f"placement: exclusive gates are of the published order, got {placement}. Try: shortcut=gated_shortcut"


def _of_shortcut(variant: Variant) -> Iterator[str]:
    """A shortcut that its block cannot have."""
    shortcut = variant.shortcut
    if shortcut == "gated" and variant.preactivation:
        yield "shortcut: exclusive gates are of post-activation blocks, got preactivation. Try: gated_shortcut"
    if shortcut == "gated" and variant.downsampling != "stride":
        yield f"downsampling: blocks with exclusive gates have strides, got {variant.downsampling}. Try: stride"
    if variant.gate_bias != GATE_BIAS and shortcut not in GATED:
        yield f"gate_bias: a net with shortcut={shortcut} has no gates. Try: shortcut=gated"
    channels = (variant.widths[0], *variant.outputs)
    if shortcut in OF_OPTION_A and any(after < before for before, after in pairwise(channels)):
        yield f"shortcut: {shortcut} fills new channels with zeros and cannot leave any out. Try: project"
