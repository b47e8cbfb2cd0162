"""Memory settings are made by the first use and undone by the last; after an error too."""

from __future__ import annotations

import pytest

from residuum.files import memory
from residuum.files.memory import memory_stays

BEGUN, ENDED = [*memory.STAYING.items()], [*memory.USUAL.items(), (0, 0)]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """What the C library is told."""
    told: list[tuple[int, int]] = []

    class Libc:
        def mallopt(self, parameter: int, value: int) -> None:
            told.append((parameter, value))

        def malloc_trim(self, pad: int) -> None:
            told.append((0, pad))

    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: Libc())
    monkeypatch.setattr(memory.platform, "libc_ver", lambda: ("glibc", "2.36"))
    return told


def test_uses_inside_each_other(told: list[tuple[int, int]]) -> None:
    with memory_stays():
        with memory_stays():
            assert told == BEGUN
        assert told == BEGUN
    assert told == BEGUN + ENDED


def test_uses_beside_each_other(told: list[tuple[int, int]]) -> None:
    first, second = memory_stays(), memory_stays()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert told == BEGUN
    second.__exit__(None, None, None)
    assert told == BEGUN + ENDED


def test_an_error_ends_it(told: list[tuple[int, int]]) -> None:
    with pytest.raises(ZeroDivisionError), memory_stays():
        _ = 1 / 0
    assert told == BEGUN + ENDED


def test_another_c_library_is_left_alone(told: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory.platform, "libc_ver", lambda: ("", ""))
    with memory_stays():
        pass
    assert told == []
