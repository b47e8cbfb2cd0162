"""`residuum weights` and `residuum list --weights` as a person types them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from residuum.cli import main
from residuum.files.atomic import sha256_file
from residuum.nets import catalog
from residuum.references import load
from residuum.weights import entries


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file in a mirror that the table knows as resnet20:akamaster."""
    monkeypatch.chdir(tmp_path)
    Path("mirror").mkdir()
    file = tmp_path / "mirror" / "theirs.th"
    torch.save(catalog.net("resnet20").state_dict(), file)
    entry = replace(entries.find("resnet20", "akamaster"), url="https://x.invalid/theirs.th", sha256=sha256_file(file))
    monkeypatch.setattr(entries, "ENTRIES", (entry, entries.find("resnet50_caffe", "caffe")))
    monkeypatch.setattr(entries, "SHIPPED", tmp_path / "none")
    monkeypatch.setenv("RESIDUUM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("RESIDUUM_MIRROR", str(tmp_path / "mirror"))
    return file


def test_fetch_path_verify(theirs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", "path", "resnet20:cifar10"]) == 2
    assert "Try: residuum weights fetch resnet20:akamaster" in capsys.readouterr().err
    assert main(["weights", "fetch", "resnet20:cifar10"]) == 0
    cached = tmp_path / "cache" / "weights" / "theirs.th"
    said = capsys.readouterr()
    assert said.out == f"{cached}\n"
    assert said.err == "resnet20:cifar10 is resnet20:akamaster (by akamaster, 91.73 % top-1)\n"
    assert main(["weights", "path", "resnet20:akamaster"]) == 0
    assert capsys.readouterr().out == f"{cached}\n"
    assert main(["weights", "verify"]) == 0
    assert capsys.readouterr().out == f"resnet20:akamaster: right, sha256 {sha256_file(theirs)}\n"
    assert main(["list", "--weights", "resnet20", "--json"]) == 0
    (shown,) = json.loads(capsys.readouterr().out)
    assert shown["in_cache"]
    assert shown["preprocessing"]["crop"] == [32, 32]
    cached.write_bytes(b"x")
    assert main(["weights", "verify", "resnet20:akamaster"]) == 2
    assert "is not the file of resnet20:akamaster" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        ["predict", "photo.png", "--model", "{}"],
        ["evaluate", "{}", "--data", "nowhere"],
        ["train", "{}", "--data", "nowhere"],
        ["summary", "{}"],
        ["compare", "{}", "resnet20"],
        ["export", "{}", "--to", "classifier"],
    ],
    ids=lambda command: command[0],
)
def test_every_command_says_which_weights_it_took(
    command: list[str], theirs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Some fail afterwards, for want of images: what counts is that it was said."""
    line = "resnet20:cifar10 is resnet20:akamaster (by akamaster, 91.73 % top-1)\n"
    main([word.format("resnet20:cifar10") for word in command])
    said = capsys.readouterr()
    assert said.err.count(line) == 1
    assert line not in said.out
    if command[0] in ("predict", "summary"):
        main([word.format("resnet20:akamaster") for word in command])
        assert line not in capsys.readouterr().err


def test_the_table(theirs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--weights"]) == 0
    out = capsys.readouterr().out
    assert [line.split()[0] for line in out.splitlines()[:3]] == [
        "weights",
        "resnet20:akamaster",
        "resnet50_caffe:caffe",
    ]
    assert "91.73" in out
    assert "by hand" in out
    assert main(["list", "--weights", "nothing"]) == 2


def test_a_file_is_imported(theirs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("names.txt").write_text("\n".join(f"kind {i}" for i in range(10)))
    command = ["weights", "import", str(theirs), "--net", "resnet20", "--classes", "names.txt"]
    assert main([*command, "--out", "own", "--mean", "0.1", "0.2", "0.3", "--resize", "40"]) == 0
    out, err = capsys.readouterr()
    assert "layout own names" in out
    assert "warning" not in err
    found = load("own")
    assert found.class_names[9] == "kind 9"
    assert found.preprocessing.mean == (0.1, 0.2, 0.3)
    assert found.preprocessing.std == (0.229, 0.224, 0.225)
    assert (found.preprocessing.resize, found.preprocessing.crop) == (40, (32, 32))
    assert found.card["weights"] == "theirs.th"


def test_what_a_file_does_not_say_is_told(theirs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["weights", "import", str(theirs), "--net", "resnet20", "--classes", "cifar10", "--out"]
    assert main([*command, "usual"]) == 0
    assert "does not say how its images were prepared" in capsys.readouterr().err
    assert load("usual").preprocessing.mean == (0.485, 0.456, 0.406)
    assert main([*command, "cifar", "--preprocessing", "cifar"]) == 0
    assert "warning" not in capsys.readouterr().err
    found = load("cifar").preprocessing
    assert (found.mean, found.std) == ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
    assert (found.resize, found.crop) == (32, (32, 32))


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["fetch"], "fetch: which weights"),
        (["fetch", "resnet20:none"], "weights: 'resnet20:none'"),
        (["fetch", "resnet2O:cifar10"], "resnet20"),
        (["path", "resnet50_caffe:caffe"], "resnet50_caffe:caffe: cannot be fetched by a program"),
        (["fetch", "resnet50_caffe:caffe"], "residuum weights import ResNet-50-model.caffemodel"),
        (["fetch", "resnet20:cifar10", "--net", "resnet20"], "takes no options"),
        (["import", "mirror/theirs.th", "--net", "resnet20"], "--classes: is needed"),
        (["import", "mirror/theirs.th", "--net", "resnet20", "--classes", "no.txt", "--out", "o"], "cannot be read"),
        (["import", "mirror/theirs.th", "--net", "resnet32", "--classes", "cifar10", "--out", "o"], "does not fit"),
        (["import", "mirror/theirs.th", "--net", "resnet20", "--classes", "imagenet", "--out", "o"], "num_classes=10"),
    ],
)
def test_mistakes(typed: list[str], said: str, theirs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", *typed]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not Path("o").exists()
