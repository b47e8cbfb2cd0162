"""The README: its tables say what the records say, its commands parse, and the quick ones run as pasted."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
from pathlib import Path

import pytest

from residuum.cli import main, parse

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
RENDER = ROOT / "results" / "render.py"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands() -> list[list[str]]:
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    words = [shlex.split(line) for line in lines if re.match(r"(\.venv/bin/)?residuum ", line)]
    return [each[1:] for each in words]


@pytest.mark.parametrize("arguments", commands(), ids=" ".join)
def test_every_command_parses(arguments: list[str]) -> None:
    parse(arguments)


def test_the_commands_on_digits_and_the_python_run_as_pasted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for arguments in commands():
        if arguments[0] in ("list", "summary", "compare", "conv") or "runs/digits" in arguments:
            assert main(arguments) == 0, arguments
    counting, python, looking = blocks("python")[:3]
    exec(counting, {})
    # The last two lines train for minutes; here with nets and epochs that take seconds.
    from residuum.experiments import degradation
    from residuum.training.recipes import digits

    brief = degradation.Budget(lambda net: digits().changed({"steps": 2}), "2 updates")
    monkeypatch.setitem(degradation.BUDGETS, "grey", {"quick": brief})
    exec(python, {})
    exec(looking, {})
    assert (tmp_path / "runs" / "finding" / "report.html").is_file()
    assert (tmp_path / "googlenet.html").is_file()
    assert (tmp_path / "inspect-digits" / "index.html").is_file()
    assert (tmp_path / "plot.png").is_file()


def test_the_tables_say_what_the_records_say() -> None:
    spec = importlib.util.spec_from_file_location("render", RENDER)
    assert spec is not None
    assert spec.loader is not None
    render = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(render)
    assert render.rendered(README) == README, "run: python results/render.py"


@pytest.mark.parametrize("path", sorted((ROOT / "results").glob("*.json")), ids=lambda path: path.stem)
def test_a_record_says_how_it_was_made_and_names_no_path_of_a_machine(path: Path) -> None:
    text = path.read_text()
    record = json.loads(text)
    environment = record["environment"]
    assert record["seeds"]
    for key in ("cpu", "threads", "device", "commit", "packages", "command"):
        assert environment[key], key
    assert not re.search(r'"[^"]*(/home/|/root/|/tmp/|/work/)', text)


def test_links_and_pictures_exist() -> None:
    for target in [*re.findall(r"\]\(([^)#:]+)\)", README), *re.findall(r'src="([^"]+)"', README)]:
        assert (ROOT / target).exists(), target
