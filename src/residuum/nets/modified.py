"""Names of nets with changed fields: `resnet20+shortcut=project+batch_norm=no`.

    BASE+FIELD=VALUE+FIELD=VALUE...

BASE is a net of the catalog, FIELD a field of its `Variant`, and VALUE is written by the type of the field:

    bool     yes, no
    int      16
    float    0.5
    Literal  project (one of the values that the field can have)
    tuple    1,1,1
    | None   none as well

So a comparison needs no name of its own for each of its nets. Whatever takes the name of a net takes such a name.
"""

from __future__ import annotations

import math
import re
import types
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin, get_type_hints

import torch
from torch import Tensor, nn

from residuum.errors import InputError, unknown
from residuum.nets.fitting import require_difference
from residuum.nets.layers import Shape
from residuum.nets.resnet import Variant
from residuum.nets.skeleton import without_values

if TYPE_CHECKING:
    from residuum.nets.catalog import Design

SEPARATOR, EQUALS = "+", "="
YES_NO = {"yes": True, "no": False}
NONE = "none"
MOST = 10_000  # of a whole number
# Of all numbers of such a field together, each of which is a number of layers: a name must not take hours to build.
MOST_LAYERS = {"blocks": 1_000, "convolutions": 1_000}


def base_of(name: str) -> str:
    """The net that a name changes; the name itself where it changes nothing."""
    return name.partition(SEPARATOR)[0]


def is_modified(name: str) -> bool:
    """Whether a name has the form of one that changes a net."""
    return SEPARATOR in name


def changes_of(name: str) -> dict[str, str]:
    """The changes of a name, as written: field to value.

    Raises:
        InputError: one of them is not of the form, or a field is changed twice.
    """
    changes: dict[str, str] = {}
    for change in name.split(SEPARATOR)[1:]:
        field, equals, value = change.partition(EQUALS)
        if not (field and equals and value):
            raise InputError(f"net: {change!r} in {name!r} is no change (expected FIELD=VALUE). Try: {base_of(name)}")
        if field in changes:
            raise InputError(f"net: {name!r} changes {field} twice. Try: {base_of(name)}+{field}={value}")
        changes[field] = value
    return changes


def modified(variant: Design, changes: Mapping[str, str]) -> Design:
    """A variant of any family with changed fields.

    Raises:
        InputError: it has no such field, the value is not of its type, the values do not fit each other, or one of
            those that are given makes no difference.
    """
    kinds = get_type_hints(type(variant))
    known = [each.name for each in fields(variant)]  # type: ignore[arg-type]
    values = {}
    for field, text in changes.items():
        if field not in known:
            raise unknown("field", field, known)
        values[field] = _value(field, kinds[field], text, getattr(variant, field))
    changed = replace(variant, **values)  # type: ignore[type-var]
    if isinstance(changed, Variant):
        require_difference(changed, changes)
    return changed


def described(variant: Design, changes: Mapping[str, str]) -> str:
    """What the changes are: `shortcut=project in place of pad, batch_norm=no in place of yes`."""
    was = {field: _written(getattr(variant, field)) for field in changes}
    return ", ".join(f"{field}={value} in place of {was[field]}" for field, value in changes.items())


def counted(net: nn.Module, input_shape: Shape) -> tuple[int, int]:
    """Parameters, and multiply-adds of convolutions and linear layers for one image in evaluation; both exact.

    Args:
        net: on the meta device.
        input_shape: channels, height and width of the image.
    """
    macs = 0

    def count(layer: nn.Module, given: object, output: Tensor) -> None:
        nonlocal macs
        weight = layer.get_parameter("weight")
        macs += output.numel() * weight[0].numel()

    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(count)
    with torch.no_grad():
        net.eval()(torch.empty(1, *input_shape, device="meta"))
    return sum(parameter.numel() for parameter in net.parameters()), macs


def cost_of(variant: Design, name: str) -> tuple[int, int]:
    """Parameters and multiply-adds of a variant of any family, built without values.

    Raises:
        InputError: it cannot be built, or does not take its own images.
    """
    try:
        with without_values():
            net = variant.build(num_classes=variant.num_classes, in_channels=variant.input_shape[0])
        return counted(net, variant.input_shape)
    except InputError:
        raise
    except (RuntimeError, ValueError, ArithmeticError, LookupError) as error:
        reason = " ".join(str(error).split())[:160]
        raise InputError(f"net: {name} cannot be built ({reason}). Try: {base_of(name)}") from error


def _value(field: str, kind: Any, text: str, now: object) -> object:
    """The value of a field from its text; `now` is the one of the base, to say how one looks."""
    if get_origin(kind) in (Union, types.UnionType):
        if text == NONE:
            return None
        (kind,) = (each for each in get_args(kind) if each is not types.NoneType)
    if kind is bool:
        if text not in YES_NO:
            raise unknown(field, text, YES_NO)
        return YES_NO[text]
    if get_origin(kind) is Literal:
        choices = {str(choice): choice for choice in get_args(kind)}
        if text not in choices:
            raise unknown(field, text, choices)
        return choices[text]
    if get_origin(kind) is tuple:
        return _numbers(field, kind, text, now)
    return _real(field, text) if kind is float else _whole(field, text)


def _whole(field: str, text: str) -> int:
    if not re.fullmatch("[0-9]{1,5}", text) or int(text) > MOST:
        raise InputError(f"{field}: expected a whole number from 0 to {MOST:,}, got {text!r}. Try: {field}=2")
    return int(text)


def _real(field: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{field}: expected a number, got {text!r}. Try: {field}=0.5")
    return number


def _numbers(field: str, kind: Any, text: str, now: object) -> tuple[int, ...]:
    numbers = tuple(_whole(field, part) for part in text.split(","))
    arguments = get_args(kind)
    if Ellipsis not in arguments and len(numbers) != len(arguments):
        shown = f"{field}={_written(now)}"
        raise InputError(f"{field}: expected {len(arguments)} numbers, got {len(numbers)}. Try: {shown}")
    if sum(numbers) > MOST_LAYERS.get(field, len(numbers) * MOST):
        most = MOST_LAYERS[field]
        raise InputError(f"{field}: at most {most:,} together, got {sum(numbers):,}. Try: {field}={_written(now)}")
    return numbers


def _written(value: object) -> str:
    """A value of a field as a name has it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    if isinstance(value, float):
        return f"{value:g}"
    return NONE if value is None else str(value)
