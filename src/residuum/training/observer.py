"""What a training tells while it runs. Whoever wants to show it implements this; nothing here prints."""

from __future__ import annotations

from typing import Any, Protocol


class Observer(Protocol):
    """Listener of one training."""

    def started(self, title: str, step: int, steps: int, batch_size: int) -> None:
        """Training begins, or goes on after `step` of `steps` updates."""

    def stepped(self, step: int, loss: float) -> None:
        """Update number `step` (from 1) was made."""

    def evaluating(self, split: str, done: int, total: int) -> None:
        """`done` of `total` images of a split have been evaluated."""

    def epoch_ended(self, record: dict[str, Any]) -> None:
        """An epoch ended with these metrics, the line of `metrics.jsonl`."""

    def message(self, text: str) -> None:
        """Something a person should know."""


class Silent:
    """An observer that shows nothing."""

    def started(self, title: str, step: int, steps: int, batch_size: int) -> None: ...

    def stepped(self, step: int, loss: float) -> None: ...

    def evaluating(self, split: str, done: int, total: int) -> None: ...

    def epoch_ended(self, record: dict[str, Any]) -> None: ...

    def message(self, text: str) -> None: ...
