"""Whatever is wrong with a file, the message ends with something that one can do."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import residuum.weights

ROOM = Path(residuum.weights.__file__).parent
ERRORS = ("InputError", "DamagedError")
# What is said there is put together elsewhere, as sentences with an action of their own.
PASSED_ON = {"{path}: {what}", "{path}: {strange_directory(path)}"}


def messages(path: Path) -> list[str]:
    """The texts of all errors that a file makes, as they are written there."""
    made = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
    named = [node for node in made if isinstance(node.func, ast.Name) and node.func.id in ERRORS]
    return [ast.unparse(node.args[0])[2:-1] for node in named]


@pytest.mark.parametrize("path", sorted(ROOM.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOM)))
def test_every_error_says_what_to_do(path: Path) -> None:
    for message in messages(path):
        assert message in PASSED_ON or "Try: " in message, message
