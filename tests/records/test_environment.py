"""The environment of a measurement: enough to repeat it, nothing that belongs to the person."""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from residuum import __version__
from residuum.records import environment as module
from residuum.records.environment import environment


def strings(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield from strings(key)
            yield from strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from strings(each)
    elif isinstance(value, str):
        yield value


def test_it_is_plain_json_and_says_what_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/usr/local/bin/residuum", "train", "resnet20", "digits"])
    record = environment()
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["python"] == platform.python_version()
    packages = record["packages"]
    assert isinstance(packages, dict)
    assert packages["torch"] == torch.__version__
    assert packages["residuum"] == __version__
    assert record["command"] == "residuum train resnet20 digits"
    assert isinstance(record["cpus"], int)
    assert record["cpus"] >= 1
    assert record["cpu"]
    memory = record["memory_gib"]
    assert isinstance(memory, float)
    assert 0.1 < memory < 1e5
    assert record["commit"] is None or re.fullmatch(r"[0-9a-f]{40}(\+changes)?", str(record["commit"]))


@pytest.mark.parametrize(
    "arguments",
    [
        ["digits"],
        ["--data", "/home/someone/private/photos"],
        ["--data-dir=/home/someone/private"],
        ["--out", str(Path.home() / "private" / "run")],
    ],
    ids=" ".join,
)
def test_it_holds_no_absolute_path_of_the_machine(monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    monkeypatch.setattr("sys.argv", ["/opt/private/bin/residuum", "train", "resnet20", *arguments])
    for text in strings(environment()):
        assert str(Path.cwd()) not in text
        assert not re.search(r"(^|[\s=])/\w+/", text), text


def test_no_git_and_no_package_are_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: object, **__: object) -> None:
        raise FileNotFoundError("git")

    monkeypatch.setattr(module.subprocess, "run", absent)
    monkeypatch.setattr(module, "PACKAGES", ("torch", "a-package-that-is-not-here"))
    record = environment()
    assert record["commit"] is None
    assert record["packages"] == {"torch": torch.__version__, "a-package-that-is-not-here": None}
