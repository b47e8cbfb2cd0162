"""The floors of the house: a room imports only from lower floors, never sideways; and some rooms load no torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "residuum"

# Room -> floor. A room is a file or a folder directly under the package.
FLOORS = {
    "errors": 0,
    "files": 0,
    "records": 0,
    "nets": 1,
    "costing": 1,
    "data": 1,
    "report": 1,
    "calibration": 1,
    "evaluation": 2,
    "inference": 2,
    "weights": 2,
    "insight": 2,
    "classifier_directory": 3,
    "prediction": 3,
    "classifier": 3,
    "run": 3,
    "deploy": 4,
    "references": 5,
    "inspection": 6,
    "training": 6,
    "plans": 7,
    "experiments": 8,
    "serve": 8,
    "commands": 9,
    "cli": 10,
    "__main__": 11,
}
# On one floor the order is fixed where one room builds on the other, such as errors, then files, then records.
ORDER_ON_A_FLOOR = {
    ("files", "errors"),
    ("records", "errors"),
    ("records", "files"),
    ("classifier", "classifier_directory"),
    ("classifier", "prediction"),
    ("run", "classifier"),
}


def modules() -> list[Path]:
    return sorted(path for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py")


def room_of(parts: tuple[str, ...]) -> str:
    return parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module] if node.module != "residuum" else [f"residuum.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        rooms |= {name.split(".")[1] for name in names if name.startswith("residuum.")}
    return rooms - {"__version__"}


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_room_imports_only_from_lower_floors(path: Path) -> None:
    room = room_of(path.relative_to(SOURCE).parts)
    for other in imported_rooms(path) - {room}:
        allowed = FLOORS[other] < FLOORS[room] or (room, other) in ORDER_ON_A_FLOOR
        assert allowed, f"{path.relative_to(SOURCE)} (floor {FLOORS[room]}) imports {other} (floor {FLOORS[other]})"


@pytest.mark.parametrize("room", ["errors", "files", "records", "report"])
def test_these_rooms_import_no_torch(room: str) -> None:
    for path in modules():
        if room_of(path.relative_to(SOURCE).parts) == room:
            imports = {
                alias.name.split(".")[0]
                for node in ast.walk(ast.parse(path.read_text()))
                if isinstance(node, ast.Import)
                for alias in node.names
            } | {
                (node.module or "").split(".")[0]
                for node in ast.walk(ast.parse(path.read_text()))
                if isinstance(node, ast.ImportFrom)
            }
            assert "torch" not in imports, path


@pytest.mark.parametrize(
    "code",
    [
        "import residuum; dir(residuum)",
        "from residuum.cli import parse; parse(['--help'])",
        "from residuum.cli import parse; parse(['train', '--help'])",
        "import residuum.errors, residuum.records.finding",
    ],
)
def test_import_and_help_load_no_torch(code: str) -> None:
    script = f"import sys, atexit\natexit.register(lambda: print('torch' in sys.modules, file=sys.stderr))\n{code}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stderr.strip() == "False"


def test_every_module_begins_by_saying_what_it_is() -> None:
    for path in SOURCE.rglob("*.py"):
        assert ast.get_docstring(ast.parse(path.read_text())), path
