"""Signals that ask for an orderly end."""

from __future__ import annotations

import os
import signal

import pytest

from residuum.training.signals import HANDLED, Interrupting, StopRequest


@pytest.mark.parametrize("number", HANDLED)
def test_the_first_signal_is_noted_and_handlers_are_put_back(number: int) -> None:
    before = {each: signal.getsignal(each) for each in HANDLED}
    with StopRequest() as stop:
        assert stop.signal_number is None
        os.kill(os.getpid(), number)
        assert stop.signal_number == number
        assert {each: signal.getsignal(each) for each in HANDLED} == before
    assert {each: signal.getsignal(each) for each in HANDLED} == before


def test_work_that_asks_nobody_is_interrupted() -> None:
    with pytest.raises(KeyboardInterrupt), Interrupting() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
    assert stop.signal_number == signal.SIGTERM


def test_what_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequest() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert stop.signal_number is None
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
