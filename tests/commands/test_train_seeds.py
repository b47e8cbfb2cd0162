"""`residuum train --seeds` and `residuum resume` of what it made, as a person types them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from residuum.cli import main

BRIEF = ("resnet8_narrow", "--data", "digits", "--max-steps", "2", "--batch-size", "50")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_seeds_are_trained_printed_and_gone_on_with(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *BRIEF, "--seed", "5", "--seeds", "2", "--checkpoint-steps", "1"]) == 0
    captured = capsys.readouterr()
    directory = "runs/resnet8_narrow-digits-digits-seeds5-6"
    assert f"seeds {directory}, report {directory}/report.html" in captured.out
    assert re.search(r"^test error \d+\.\d\d ± \d+\.\d\d %, loss \d\.\d{4} ± \d\.\d{4}$", captured.out, re.MULTILINE)
    assert "mean ± standard deviation of 2 of 2 seeds" in captured.out
    assert "run 1 of 2" in captured.err
    assert {path.name for path in (here / directory).iterdir()} == {
        "seed5",
        "seed6",
        "seeds.json",
        "report.html",
        "curves.png",
    }
    (here / directory / "report.html").unlink()
    assert main(["report", directory]) == 0
    assert capsys.readouterr().out == f"{directory}/report.html\n"
    assert (here / directory / "report.html").is_file()
    for command in (["evaluate", directory, "--data", "digits"], ["export", directory, "--to", "pth"]):
        assert main(command) == 2
        assert f"holds trainings and is none itself. Try: {directory}/seed5" in capsys.readouterr().err
    for command in (["resume", directory], ["train", *BRIEF, "--seed", "5", "--seeds", "2"]):
        assert main([*command, "--json", "--quiet"]) == 0
        record = json.loads(capsys.readouterr().out)
        assert record.pop("directory") == directory
        assert record == json.loads((here / directory / "seeds.json").read_text())
    mistakes = {
        "another recipe": (["train", *BRIEF, "--seeds", "2", "--learning-rate", "0.3", "--out", directory], "--out"),
        "a run in it": (["train", *BRIEF, "--seeds", "2", "--out", f"{directory}/seed5"], "is a Run of one seed"),
        "one seed over it": (["train", *BRIEF, "--out", directory], "exists and is not empty"),
        "none": (["train", *BRIEF, "--seeds", "0"], "--seeds: must be at least 1 and at most 1,000, got 0. Try: --see"),
        "below none": (["train", *BRIEF, "--seeds", "-1"], "got -1. Try: --seeds 3"),
        "too many": (["train", *BRIEF, "--seeds", "1001"], "got 1001. Try: --seeds 3"),
        "letters": (["train", *BRIEF, "--seeds", "many"], "--seeds: cannot be 'many'"),
        "beside nothing": (
            ["train", *BRIEF, "--side-by-side", "2"],
            "--side-by-side: is for several seeds. Try: --see",
        ),
        "none beside": (["train", *BRIEF, "--seeds", "2", "--side-by-side", "0"], "Try: --side-by-side 1"),
        "unknown net": (["train", "resnet8_narow", *BRIEF[1:], "--seeds", "2"], "Try: resnet8_narrow"),
        "too large a batch": (["train", *BRIEF[:-1], "5000", "--seeds", "2"], "at most the 1,297 training images"),
        "damaged": (["resume", "damaged"], "damaged/seeds.json: cannot be read"),
    }
    (here / "damaged").mkdir()
    (here / "damaged" / "seeds.json").write_text("{")
    before = sorted(path for path in here.rglob("*") if path.name != ".lock")
    for what, (arguments, expected) in mistakes.items():
        assert main(arguments) == 2, what
        captured = capsys.readouterr()
        assert (captured.out, len(captured.err.splitlines())) in {("", 1), ("", 2)}, (what, captured.err)
        last = captured.err.splitlines()[-1]
        assert last.startswith("error: "), what
        assert expected in last, (what, last)
        assert ". Try: " in last, what
        assert sorted(path for path in here.rglob("*") if path.name != ".lock") == before, what


def test_seeds_that_fail_are_exit_code_1(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wild = ["train", *BRIEF[:3], "--max-steps", "30", "--learning-rate", "1e30", "--seeds", "2", "--quiet"]
    assert main(wild) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: every run failed, the first one so: seed0: step")
