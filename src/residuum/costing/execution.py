"""One run of an operator, as the rules of `work` and `reach` see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from residuum.costing.field import Field


@dataclass(frozen=True)
class Execution:
    """One run of an operator.

    Attributes:
        arguments: by position.
        result: its first one.
        seen: field and shape of each tensor argument that depends on the image; `positions` says where it stands.
    """

    arguments: Sequence[Any]
    result: Tensor
    seen: Sequence[tuple[Field, tuple[int, ...]]]
    positions: Sequence[int]

    def tensor(self, position: int) -> Tensor:
        value: Tensor = self.arguments[position]
        return value

    def get(self, position: int, otherwise: Any = None) -> Any:
        """An argument that may have been left out."""
        return self.arguments[position] if position < len(self.arguments) else otherwise

    @property
    def first(self) -> Field:
        """What the first tensor that depends on the image sees."""
        return self.seen[0][0]


def sizes(value: int | Sequence[int], axes: int) -> list[int]:
    """A setting such as a stride for each axis, where one number may stand for all."""
    values = [value] if isinstance(value, int) else list(value)
    return values * axes if len(values) == 1 else values


def by(values: Sequence[object]) -> str:
    """`3x224x224`."""
    return "x".join(map(str, values))
