"""The README: its tables say what the records say, its commands parse, and the quick ones run as pasted."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from made_up_finding import figure, finding
from residuum.cli import main, parse
from residuum.experiments.directory import MARK
from residuum.experiments.judging import UNTRAINED
from residuum.records.findings_file import read_findings
from residuum.records.text import Text
from residuum.run import Run

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
    counting, python, looking, seeing = blocks("python")[:4]
    exec(counting, {})
    # The last two lines train for minutes; here with nets and epochs that take seconds.
    from residuum.experiments import setting
    from residuum.training.recipes import digits

    brief = setting.Budget(lambda net: digits().changed({"steps": 2}), Text.same("2 updates"))
    monkeypatch.setitem(setting.BUDGETS, "grey", {"quick": brief})
    exec(python, {})
    exec(looking, {})
    exec(seeing, {})
    assert (tmp_path / "runs" / "finding" / "degradation" / "report.html").is_file()
    assert (tmp_path / "googlenet.html").is_file()
    assert (tmp_path / "inspect-digits" / "index.html").is_file()
    assert (tmp_path / "plot.png").is_file()


@pytest.fixture(scope="module")
def render() -> Any:
    """The module `results/render.py`."""
    spec = importlib.util.spec_from_file_location("render", RENDER)
    assert spec is not None
    assert spec.loader is not None
    render = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(render)
    return render


def test_the_tables_say_what_the_records_say(render: Any) -> None:
    assert render.rendered(README) == README, "run: python results/render.py"


def test_the_ledger_and_what_the_package_knows_say_what_the_records_say(render: Any) -> None:
    from residuum.report.ledger import ledger_markdown

    entries = render.entries()
    if not entries:
        pytest.skip("no claim is on record")
    assert render.KNOWN.read_text() == render.known(), "run: python results/render.py"
    for language, ending in (("en", ""), ("ko", ".ko")):
        assert (ROOT / "docs" / f"claims{ending}.md").read_text() == ledger_markdown(entries, language)
        page = (ROOT / "docs" / f"claims{ending}.html").read_text()
        assert all(f'id="{entry.first.name}"' in page for entry in entries)
    for entry in entries:
        assert not entry.picture or (ROOT / "docs" / entry.picture).is_file()


def test_records_of_several_budgets_become_one_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, render: Any
) -> None:
    from residuum.experiments.known import read
    from residuum.records.findings_file import add_findings

    (tmp_path / "docs").mkdir()
    for name, path in (("HERE", tmp_path), ("DOCS", tmp_path / "docs"), ("KNOWN", tmp_path / "known.json")):
        monkeypatch.setattr(render, name, path)
    mark = "<!-- results: claims -->\n<!-- end -->"
    render.write_claims()
    assert not list((tmp_path / "docs").iterdir()), "nothing is on record"
    assert "No claim is on record yet." in render.rendered(mark)
    runs = {"plain20-seed0": {"train": 0.1, "seconds": 5.0}}
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    (tmp_path / "b" / "figure.png").write_bytes(figure())
    quick = [finding(name, runs=runs, directory=tmp_path / name) for name in ("a", "b")]
    paper = [finding("b", error=0.05, budget="paper", runs=runs, directory=tmp_path / "a")]
    add_findings(tmp_path / "claims-quick.json", quick, ["a", "b"])
    add_findings(tmp_path / "claims-paper.json", paper, ["a", "b"])
    render.write_claims()
    files = {path.relative_to(tmp_path / "docs").as_posix() for path in (tmp_path / "docs").rglob("*.*")}
    assert files == {"claims.md", "claims.ko.md", "claims.html", "claims.ko.html", "claims/b.png"}
    ledger = (tmp_path / "docs" / "claims.md").read_text()
    assert "### b: does not hold (paper)" in ledger
    assert "**holds (quick)**" in ledger
    assert "![b](claims/b.png)" in ledger, "of quick: paper has none"
    assert "1 hold, 1 do not hold, 0 not decided." in render.rendered(mark)
    known = read(json.loads((tmp_path / "known.json").read_text()))
    assert known.last("b") == ("paper", known.claims["b"]["paper"])
    assert known.last("a") == ("quick", known.claims["a"]["quick"])
    assert str(tmp_path) not in ledger + (tmp_path / "known.json").read_text()


@pytest.mark.parametrize("path", sorted((ROOT / "results").glob("*.json")), ids=lambda path: path.stem)
def test_a_record_says_how_it_was_made_and_names_no_path_of_a_machine(path: Path) -> None:
    text = path.read_text()
    found = json.loads(text)
    for record in found if isinstance(found, list) else [found]:
        assert record["seeds"] or record["conditions"] == UNTRAINED.to_json()
        for key in ("cpu", "threads", "device", "commit", "packages", "command"):
            assert record["environment"][key], key
    assert not re.search(r'"[^"]*(/home/|/root/|/tmp/|/work/)', text)


@pytest.mark.parametrize(
    "directory", sorted((ROOT / "results" / "reproductions").glob("*/runs/*")), ids=lambda directory: directory.name
)
def test_a_training_on_record_is_whole_and_names_no_path_of_a_machine(directory: Path) -> None:
    run = Run.open(directory)
    assert run.result is not None
    assert run.result["weights_sha256"]
    assert run.metrics()[-1]["step"] == run.result["steps"]
    assert f"{run.config.net}-seed{run.config.seed}" == directory.name
    assert (directory.parents[1] / MARK).is_file()
    for path in directory.iterdir():
        assert not re.search(r"/home/|/root/|/tmp/|/work/", path.read_text()), path


@pytest.mark.parametrize("path", sorted((ROOT / "results").glob("claims-*.json")), ids=lambda path: path.stem)
def test_what_a_record_says_of_a_claim_is_in_korean_too(path: Path) -> None:
    for recorded in read_findings(path):
        said = [recorded.claim, recorded.conditions, recorded.summary, recorded.caption]
        said += [each.comparison.statement for each in recorded.judged]
        for text in filter(None, said):
            assert any("가" <= letter <= "힣" for letter in text.ko), (recorded.name, text)


def test_links_and_pictures_exist() -> None:
    for target in [*re.findall(r"\]\(([^)#:]+)\)", README), *re.findall(r'src="([^"]+)"', README)]:
        assert (ROOT / target).exists(), target


def test_the_claim_that_contributing_shows_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its file is taken as it stands, and so is its test."""
    from residuum.experiments import claims

    text = (ROOT / "CONTRIBUTING.md").read_text()
    claim, tests = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (tmp_path / "width.py").write_text(claim)
    monkeypatch.setattr(claims, "__path__", [*claims.__path__, str(tmp_path)])
    claims.claims.cache_clear()
    try:
        assert claims.chosen(("width",))[0].statement.ko
        scope: dict[str, Any] = {}
        exec(compile(tests, "test_width.py", "exec"), scope)
        (cases,) = scope["test_the_verdict_follows_from_the_errors"].pytestmark
        for number, (wide, expected) in enumerate(cases.args[1]):
            scope["test_the_verdict_follows_from_the_errors"](tmp_path / str(number), wide, expected)
        scope["test_the_plan"]()
    finally:
        claims.claims.cache_clear()
        sys.modules.pop("residuum.experiments.claims.width", None)
