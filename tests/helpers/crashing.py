"""Trainings that end as by a crash."""

from __future__ import annotations

from residuum.training.observer import Silent


class Crash(Exception):
    pass


class CrashAt(Silent):
    """An observer that ends the training after some step, as a crash would: nothing is saved on the way out."""

    def __init__(self, step: int) -> None:
        self.step = step

    def stepped(self, step: int, loss: float) -> None:
        if step == self.step:
            raise Crash
