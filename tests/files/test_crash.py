"""A process that ends at once, at any call of a write, leaves the old content or the new one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import fault_steps
from residuum.files.atomic import TEMPORARY_PREFIX, read_directory, remove_leftovers, write_directory, write_file

OLD, NEW = b"old" * 10, b"new, longer" * 1000
FILES = {"a": b"1" * 5000, "b": b"2"}

SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from fault_steps import crash_at_every_step
from residuum.files.atomic import write_directory, write_file
root = Path(sys.argv[2])

def file(number):
    path = root / "file" / f"{number:03d}"
    path.mkdir(parents=True)
    (path / "f").write_bytes(b"old" * 10)
    return lambda: write_file(path / "f", b"new, longer" * 1000)

def directory(number):
    path = root / "directory" / f"{number:03d}"
    path.mkdir(parents=True)
    return lambda: write_directory(path / "new" / "d", {"a": b"1" * 5000, "b": b"2"})

crash_at_every_step(file)
crash_at_every_step(directory)
"""


def test_a_crash_at_any_call_leaves_old_or_new(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SCRIPT, str(Path(fault_steps.__file__).parent), str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr

    places = sorted((tmp_path / "file").iterdir())
    found = [(place / "f").read_bytes() for place in places]
    assert len(found) >= 6
    assert set(found) == {OLD, NEW}, "both ends are seen and nothing between"
    assert found == sorted(found, key=[OLD, NEW].index), "once new, never old again"
    for place in places:
        remove_leftovers(place)
        assert [path.name for path in place.iterdir()] == ["f"]
        write_file(place / "f", b"again")

    places = sorted((tmp_path / "directory").iterdir())
    whole = [(place / "new" / "d").exists() for place in places]
    assert len(whole) >= 12
    assert {*whole} == {False, True}
    for place in places:
        path = place / "new" / "d"
        if path.parent.exists():
            names = {each.name for each in path.parent.iterdir()}
            assert all(name == "d" or name.startswith(TEMPORARY_PREFIX) for name in names)
            remove_leftovers(path.parent)
        if not path.exists():
            write_directory(path, FILES)
        assert read_directory(path) == FILES
        assert [each.name for each in path.parent.iterdir()] == ["d"]
