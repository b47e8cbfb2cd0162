"""The command line as a person types it: results, exit codes, one line for every mistake, nothing half-written."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from residuum import __version__
from residuum.cli import main, parse
from residuum.experiments.claims import claims
from residuum.nets.catalog import CATALOG

BRIEF = ("--max-steps", "2", "--batch-size", "16")


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "run"
    assert main(["train", "resnet20", "--data", "digits", *BRIEF, "--out", str(path), "--quiet"]) == 0
    return path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"residuum {__version__}\n"


def test_list_shows_and_filters(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "plain*", "--json"]) == 0
    names = [entry["name"] for entry in json.loads(capsys.readouterr().out)]
    assert names == ["plain18", "plain34", "plain20", "plain32", "plain44", "plain56", "plain110"]
    assert main(["list", "resnet50"]) == 0
    out = capsys.readouterr().out
    assert "25,557,032" in out
    assert "\x1b" not in out, "no colour where there is no terminal"


@pytest.mark.parametrize("width", [80, 160])
def test_the_whole_list_fits_a_terminal(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(width))
    assert main(["list"]) == 0
    lines = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()
    assert max(map(len, lines)) <= width
    for entry in CATALOG.values():
        row = next(line for line in lines if line.startswith(f"  {entry.name} "))
        assert row.split()[1:3] == [f"{entry.parameters:,}", f"{entry.macs:,}"]
    rows = [found for line in lines if (found := re.match(r"  \w+ +[\d,]+ +[\d,]+(?= |$)", line))]
    assert len(rows) == len(CATALOG)
    assert len({row.end() for row in rows}) == 1, "MACs end in one column"
    headings = [line for line in lines if ", images of " in line]
    assert "He et al. 2015, images of 3x32x32" in headings
    assert len(headings) == len(set(headings))


def test_an_error_is_listed_with_its_protocol(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "*net*"]) == 0
    out = capsys.readouterr().out
    for expected in ("10.07, one net, one crop, top-5", "27.88, 10-crop top-1, option A", "24.52 (option B), 10-crop"):
        assert expected in out


@pytest.mark.parametrize("width", [80, 160])
def test_the_list_of_claims_fits_a_terminal(
    width: int, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    assert main(["reproduce", "--list", "--budget", "quick"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    for name, claim in claims().items():
        assert any(re.match(rf"{name}  +(\d+ trainings|no training|needs other data)", line) for line in lines), name
        assert claim.statement.en.split()[0] in " ".join(lines)
    whole = " ".join(" ".join(lines).split())
    assert re.search(r" all, at budget quick, 3 seeds: \d+ trainings, [\d.]+ T multiply-adds forward", whole)
    assert not list(here.iterdir()), "nothing is made"
    assert main(["reproduce", "degradation", "table1", "--list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["name"], row["trainings"]) for row in rows] == [("degradation", 12), ("table1", 0)]


def test_a_claim_is_reproduced_printed_and_recorded(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that needs no training."""
    assert main(["reproduce", "vgg_memory", "--out", "out", "--record", "claims-quick.json"]) == 0
    printed = capsys.readouterr()
    assert re.search(r"^verdict: (holds|does not hold)$", printed.out, re.MULTILINE)
    assert "report: out/vgg_memory/report.html" in printed.out
    assert "1 claim: nothing to train" in printed.err
    assert (
        main(["reproduce", "two_3x3", "vgg_memory", "--out", "out", "--resume", "--record", "claims-quick.json"]) == 0
    )
    printed = capsys.readouterr()
    assert "ledger: out/ledger.html" in printed.out
    assert re.search(r"^two_3x3 +Two 3x3", printed.out, re.MULTILINE)
    recorded = [each["name"] for each in json.loads((here / "claims-quick.json").read_text())]
    assert recorded == ["two_3x3", "vgg_memory"]
    assert {path.name for path in (here / "claims-quick").iterdir()} == {"two_3x3.png", "vgg_memory.png"}
    assert main(["reproduce", "vgg_memory", "--out", "out", "--resume", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "vgg_memory"


def test_train_writes_a_run_and_says_where(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "plain20", "--data", "digits", *BRIEF]) == 0
    captured = capsys.readouterr()
    assert "test error" in captured.out
    assert "runs/plain20-digits-digits-seed0" in captured.out
    assert "step 0 of 2" in captured.err, "progress goes to standard error"
    files = {path.name for path in (here / "runs" / "plain20-digits-digits-seed0").iterdir()}
    assert {"run.json", "environment.json", "metrics.jsonl", "checkpoints", "classifier", "result.json"} <= files
    assert {"report.html", "curves.png"} <= files


def test_evaluate_and_predict_a_run(finished_run: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(finished_run), "--data", "digits", "--json", "--confusion", "c.png"]) == 0
    got = json.loads(capsys.readouterr().out)
    assert (got["num_images"], got["split"]) == (300, "test")
    assert np.sum(got["confusion"]) == 300
    with Image.open(here / "c.png") as drawn:
        assert drawn.size[0] > 100
    result = json.loads((finished_run / "result.json").read_text())
    assert got["error"] == pytest.approx(result["test"]["error"])
    for name in ("a.png", "숫자.png"):
        Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(here / name)
    assert main(["predict", "a.png", "숫자.png", "--model", str(finished_run), "--json", "--top", "2"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["source"] for line in lines] == ["a.png", "숫자.png"]
    assert lines[0]["top"] == lines[1]["top"]
    assert len(lines[0]["top"]) == 2


@pytest.mark.parametrize("precision", ["bf16", "auto"])
def test_predict_in_another_precision(
    finished_run: Path, here: Path, capsys: pytest.CaptureFixture[str], precision: str
) -> None:
    for number in range(40):
        Image.fromarray(np.full((8, 8), number, dtype=np.uint8)).save(here / f"{number:02}.png")
    command = ["predict", str(here), "--model", str(finished_run), "--json", "--top", "10", "--precision"]
    answers = []
    for each in ("fp32", precision):
        assert main([*command, each]) == 0
        answers.append([dict(json.loads(line)["top"]) for line in capsys.readouterr().out.splitlines()])
    assert len(answers[0]) == 40
    assert all(abs(p - two[name]) < 0.02 for one, two in zip(*answers, strict=True) for name, p in one.items())


def test_evaluate_shows_a_table(finished_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(finished_run), "--data", "digits", "--split", "val"]) == 0
    out = capsys.readouterr().out
    assert "200 images" in out
    assert re.search(r"class\s+images\s+recall\s+precision", out)


def test_a_run_is_counted_and_compared(finished_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["summary", str(finished_run), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["parameters"] == CATALOG["resnet20"].parameters - 2 * 9 * 16, "grey images: one channel for three"
    assert found["input_shapes"][0][:2] == [1, 1]
    assert main(["compare", str(finished_run), "resnet20"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^error % in its paper +8\.75$", out, re.MULTILINE), "the run is not of the paper"


def test_report_draws_anew(finished_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (finished_run / "report.html").unlink()
    assert main(["report", str(finished_run)]) == 0
    assert (finished_run / "report.html").is_file()


def test_resume_of_a_finished_run_says_so(finished_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["resume", str(finished_run)]) == 0
    assert "is finished already" in capsys.readouterr().err


def test_an_untrained_net_is_named_as_such(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (40, 40)).save(here / "a.png")
    assert main(["predict", "a.png", "--model", "resnet20"]) == 0
    assert "untrained" in capsys.readouterr().err


def mistakes(here: Path, run: Path) -> dict[str, tuple[list[str], str]]:
    """What a person may do wrong: arguments, and what the one line must say."""
    train = ["train", "resnet20", "--data"]
    Image.new("RGB", (9, 9)).save(here / "ok.png")
    (here / "empty").mkdir()
    (here / "one" / "cats").mkdir(parents=True)
    Image.new("RGB", (9, 9)).save(here / "one" / "cats" / "a.png")
    for name in ("cats", "dogs"):
        (here / "bad" / name).mkdir(parents=True)
        (here / "bad" / name / "a.jpg").write_text("<html>not an image</html>")
    (here / "zero.png").write_bytes(b"")
    (here / "page.jpg").write_text("<html></html>")
    (here / "used").mkdir()
    (here / "used" / "thesis.txt").write_text("mine")
    (here / "file").write_text("a file")
    (here / "none.json").write_text("{}")
    (here / "bad.json").write_text("[{")
    damaged = here / "damaged"
    (damaged / "checkpoints" / "step-00000001").mkdir(parents=True)
    for name in ("run.json", "environment.json"):
        (damaged / name).write_bytes((run / name).read_bytes())
    (damaged / "checkpoints" / "step-00000001" / "manifest.json").write_text("{")
    broken = here / "broken"
    broken.mkdir()
    (broken / "run.json").write_text("not json")
    return {
        "unknown net": (["train", "resnet5O", "--data", "digits"], "Try: resnet50"),
        "unknown net in evaluate": (["evaluate", "resnet2O", "--data", "digits"], "Try: a Run directory, or resnet20"),
        "unknown data": ([*train, "cifar"], "Try: --data cifar10"),
        "a number that is none": (
            [*train, "digits", "--epochs", "abc"],
            "--epochs: cannot be 'abc'. Try: residuum train",
        ),
        "epochs below 0": ([*train, "digits", "--epochs", "-1"], "Try: --epochs 30"),
        "both lengths": ([*train, "digits", "--epochs", "1", "--max-steps", "2"], "exclude each other"),
        "batch of more than all": ([*train, "digits", "--batch-size", "5000"], "at most the 1,297 training images"),
        "directory for digits": ([*train, "digits", "--data-dir", "empty"], "means nothing for digits"),
        "batch of none": (["evaluate", str(run), "--data", "digits", "--batch-size", "0"], "Try: --batch-size 256"),
        "wrong channels": (["evaluate", str(run), "--data", "cifar10", "--data-dir", "nowhere"], "no such directory"),
        "confusion of another kind": (
            ["evaluate", str(run), "--data", "digits", "--confusion", "a.txt"],
            "Try: confusion.png",
        ),
        "foreign directory for a reproduction": (["reproduce", "degradation", "--out", "used"], "another --out"),
        "parent of a run": (["predict", "ok.png", "--model", str(run.parent)], f"is none itself. Try: {run}"),
        "missing folder": ([*train, "no/such"], "no such folder"),
        "missing data files": ([*train, "cifar10", "--data-dir", "empty"], "holds neither cifar-10-binary.tar.gz"),
        "missing data directory": ([*train, "cifar10", "--data-dir", "nowhere"], "no such directory"),
        "empty folder": ([*train, "./empty"], "has 0 class directories"),
        "one class": ([*train, "./one"], "has 1 class directories (expected at least 2)"),
        "unreadable images": ([*train, "./bad"], "no usable image in class cats, dogs"),
        "negative size": (
            [*train, "digits", "--image-size", "-3"],
            "--image-size: must be at least 1 and at most 2,048, got -3. Try: --image-size 1",
        ),
        "negative steps": ([*train, "digits", "--max-steps", "-1"], "--max-steps: must be at least 1"),
        "negative seed": ([*train, "digits", "--seed", "-1"], "--seed: must be at least 0"),
        "unknown recipe": ([*train, "digits", "--recipe", "digit"], "Try: --recipe digits"),
        "unknown device": ([*train, "digits", "--device", "gpu0"], "Try: --device cpu"),
        "directory in use": ([*train, "digits", "--out", "used"], "exists and is not empty"),
        "out is a file": ([*train, "digits", "--out", "file"], "file:"),
        "run exists": ([*train, "digits", "--out", str(run)], f"Try: residuum resume {run}"),
        "no run": (["resume", "nowhere"], "no such directory"),
        "not a run": (["resume", "used"], "is not a Run"),
        "damaged checkpoint": (["resume", "damaged"], "cannot be read as a manifest"),
        "broken run": (["resume", "broken"], "cannot be read as JSON"),
        "no image": (["predict", "none.png", "--model", str(run)], "none.png: no such file"),
        "empty image": (["predict", "zero.png", "--model", str(run)], "zero.png: is empty"),
        "html image": (["predict", "page.jpg", "--model", str(run)], "page.jpg: is not an image"),
        "folder without images": (["predict", "empty", "--model", str(run)], "holds no image files"),
        "unknown precision": (["predict", "ok.png", "--precision", "fp16"], "precision"),
        "no images given": (["predict", "--model", str(run)], "images: none were given"),
        "model as image": (["predict", str(run), "ok.png"], "is a model"),
        "file as model": (["predict", "ok.png", "--model", "ok.png"], "is a file"),
        "no such weights": (
            ["predict", "ok.png", "--model", "resnet50:nothing"],
            "weights: 'resnet50:nothing' is not known (expected one of resnet50:imagenet",
        ),
        "classes differ": (["evaluate", str(run), "--data", "fashion-mnist", "--data-dir", "empty"], "no such file"),
        "no such split": (["evaluate", str(run), "--data", "digits", "--views", "10"], "Try: --views 1"),
        "report of nothing": (["report", "empty"], "is not a Run"),
        "unknown claim": (["reproduce", "degradatoin"], "Try: degradation"),
        "unknown claim in the list": (["reproduce", "degradatoin", "--list"], "Try: degradation"),
        "no claim": (["reproduce"], "names no claim. Try: residuum reproduce degradation, or --all, or --list"),
        "a claim and all": (["reproduce", "degradation", "--all"], "Try: residuum reproduce --all"),
        "a claim twice": (["reproduce", "degradation", "degradation"], "names one twice. Try: degradation"),
        "no seeds": (["reproduce", "degradation", "--seeds", "0"], "--seeds: must be at least 1 and at most 1000"),
        "unknown budget": (["reproduce", "degradation", "--budget", "quik"], "Try: --budget quick"),
        "unknown budget in the list": (["reproduce", "--list", "--budget", "quik"], "Try: --budget quick"),
        "a budget that digits lack": (
            ["reproduce", "degradation", "--budget", "paper", "--data", "digits"],
            "--budget: there is no paper for digits, only quick. Try: --budget paper --data cifar10",
        ),
        "depths of one net": (["reproduce", "degradation", "--depths", "20", "20"], "Try: --depths 20 56"),
        "depths of a claim without": (
            ["reproduce", "degradation", "shortcuts", "--depths", "20", "32"],
            "not for shortcuts. Try: without --depths",
        ),
        "depths of all": (["reproduce", "--all", "--depths", "20", "32"], "Try: without --depths"),
        "a reproduction into a file": (["reproduce", "degradation", "--out", "file"], "file: is a file"),
        "a record of text": (["reproduce", "degradation", "--record", "a.txt"], "Try: --record a.json"),
        "a record nowhere": (["reproduce", "degradation", "--record", "no/a.json"], "Try: --record a.json"),
        "a record that is none": (["reproduce", "degradation", "--record", "none.json"], "is no list of Findings"),
        "a damaged record": (["reproduce", "degradation", "--record", "bad.json"], "cannot be read as JSON"),
        "a list with data": (["reproduce", "--list", "--data", "mnist"], "--data: means nothing for --list"),
        "a list with a place": (["reproduce", "--list", "--data-dir", "x"], "--data-dir: means nothing for --list"),
        "a list on two threads": (["reproduce", "--list", "--threads", "2"], "how to train: means nothing for --list"),
        "a record that is a directory": (
            ["reproduce", "degradation", "--record", "."],
            "is a directory (expected a file). Try: --record claims-quick.json",
        ),
        "unknown pattern": (["list", "densenet"], "no net matches 'densenet'. Try: residuum list"),
    }


def mistakes_of_counting(here: Path, run: Path) -> dict[str, tuple[list[str], str]]:
    """The same of summary, compare and conv."""
    (here / "file").write_text("a file")
    (here / "d.html").mkdir()
    unfinished = here / "unfinished"
    unfinished.mkdir()
    for name in ("run.json", "environment.json"):
        (unfinished / name).write_bytes((run / name).read_bytes())
    one, two = ["summary", "resnet50"], ["compare", "resnet50", "vgg16"]
    form = "--input: must be CHANNELSxHEIGHTxWIDTH"
    usual = "Try: --input 3x224x224"
    return {
        "unknown net": (["summary", "resnet5O"], "Try: a Run directory, or resnet50"),
        "no net": (["summary", ""], "model: '' is neither a directory nor a net"),
        "a net too many": (["summary", "resnet50", "vgg16"], "Unrecognized options: vgg16"),
        "a file as model": (["summary", "file"], "file: is a file (expected a Run or Classifier directory)"),
        "a directory of something": (["summary", "d.html"], "is not a Run or Classifier directory"),
        "a run that has not ended": (["summary", "unfinished"], "unfinished: "),
        "one number": ([*one, "--input", "320"], f"{form}, each from 1 to 999,999, got '320'. Try: --input 3x320x320"),
        "two numbers": ([*one, "--input", "192x160"], "Try: --input 3x192x160"),
        "four numbers": (
            [*one, "--input", "1x3x224x224"],
            f"{form}, each from 1 to 999,999, got '1x3x224x224'. {usual}",
        ),
        "nothing": ([*one, "--input", ""], f"got ''. {usual}"),
        "sides of zero": ([*one, "--input", "3x0x0"], f"got '3x0x0'. {usual}"),
        "a side below zero": ([*one, "--input", "3x-1x5"], f"got '3x-1x5'. {usual}"),
        "letters": ([*one, "--input", "axbxc"], f"got 'axbxc'. {usual}"),
        "digits of another script": ([*one, "--input", "٣x٣x٣"], usual),
        "too many digits": ([*one, "--input", "3x99999999x3"], f"got '3x99999999x3'. {usual}"),
        "channels last": ([*one, "--input", "200x300x3"], "with 3 channels last. Try: --input 3x200x300"),
        "grey": ([*one, "--input", "1x200x300"], "layer conv1 cannot take an input of 1x200x300"),
        "too small for alexnet": (
            ["summary", "alexnet", "--input", "3x32x32"],
            "--input: layer features.12 cannot take an input of 3x32x32",
        ),
        "too small for vgg16": (
            ["summary", "vgg16", "--input", "3x8x8"],
            "the smallest square that works is 32. Try: --input 3x32x32",
        ),
        "too small for lenet5": (
            ["summary", "lenet5", "--input", "1x1x1"],
            "layer conv1 cannot take an input of 1x1x1",
        ),
        "more than can be counted": (
            [*one, "--input", "3x999999x999999", "--batch", "1000000"],
            f"1,000,000 x 3x999999x999999 is more than 4,398,046,511,104 values. {usual}",
        ),
        "batch of none": ([*one, "--batch", "0"], "at least 1 and at most 1,048,576, got 0. Try: --batch 1"),
        "batch below none": ([*two, "--batch", "-1"], "got -1. Try: --batch 1"),
        "batch of all": ([*two, "--batch", "99999999999"], "got 99999999999. Try: --batch 1"),
        "batch in letters": ([*one, "--batch", "abc"], "--batch: cannot be 'abc'. Try: residuum summary --help"),
        "no depth": ([*one, "--depth", "0"], "--depth: must be at least 1, got 0. Try: --depth 2"),
        "another format": (
            [*one, "--format", "html"],
            "--format: cannot be 'html' (expected one of 'table', 'markdown'",
        ),
        "a page without a name": ([*one, "--html"], "--html: its value is missing. Try: residuum summary --help"),
        "a page nowhere": ([*one, "--html", "no/a.html"], "no/a.html: there is no directory no. Try: a.html"),
        "a page below a file": (
            [*one, "--html", "file/a.html"],
            "file/a.html: there is no directory file. Try: a.html",
        ),
        "a page over a directory": (
            [*one, "--html", "d.html"],
            "d.html: is a directory (expected a file). Try: d.html/net",
        ),
        "a page of text": ([*one, "--html", "d.html/a.txt"], "must end in .html. Try: d.html/a.html"),
        "a hidden page": ([*one, "--html", ".html"], ".html: must end in .html. Try: net.html"),
        "a page of two nowhere": ([*two, "--html", "no/a.html"], "Try: a.html"),
        "a plot nowhere": ([*two, "--plot", "no/a.svg"], "no/a.svg: there is no directory no. Try: a.svg"),
        "a plot over a directory": ([*two, "--plot", "d.html"], "Try: d.html/net.png"),
        "a plot of another kind": ([*two, "--plot", "a.pdf"], "a.pdf: must end in .png or .svg. Try: a.png"),
        "nothing to plot": (["compare", "plain20", "wrn16_1", "--plot", "a.png"], "--plot: none of these nets has"),
        "no nets": (["compare"], "got 0. Try: residuum compare resnet50 resnet18"),
        "one net": (["compare", "resnet50"], "got 1. Try: residuum compare resnet50 resnet18"),
        "a net twice": (["compare", "vgg16", "resnet50", "vgg16"], "models: vgg16 is named twice. Try: each net once"),
        "an unknown net of three": (["compare", "vgg16", "resnet5O", "vgg19"], "model: 'resnet5O' is neither"),
        "three layer by layer": ([*two, "vgg19", "--layers"], "--layers: needs exactly two nets, got 3. Try: residuum"),
        "one image for grey and colour": (
            ["compare", "resnet20", "lenet5", "--input", "3x32x32"],
            "--input: no image is one for all (channels: resnet20 3, lenet5 1). Try: the same without --input",
        ),
        "one image that one cannot take": (
            ["compare", "resnet50", "alexnet", "--input", "3x32x32"],
            "--input: alexnet, layer features.12 cannot take an input of 3x32x32",
        ),
        "conv of nothing": (["conv"], "Missing from residuum conv: INPUT"),
        "conv of two numbers": (
            ["conv", "32x32", "8@3"],
            "has 2 numbers (expected HEIGHTxWIDTHxCHANNELS). Try: 32x32x3",
        ),
        "conv that is none": (["conv", "32x32x3", "8@0"], "kernel must be a whole number from 1 to 1,000,000, got 0"),
        "conv in letters": (["conv", "32x32x3", "--kernel", "3", "--filters", "abc"], "--filters: cannot be 'abc'"),
        "conv without a value": (["conv", "32x32x3", "--kernel"], "--kernel: its value is missing"),
        "conv of another option": (["conv", "32x32x3", "8@3", "--html", "x"], "Unrecognized options: --html x. Try:"),
    }


@pytest.fixture(params=[mistakes, mistakes_of_counting])
def typed(request: pytest.FixtureRequest, here: Path, finished_run: Path) -> dict[str, tuple[list[str], str]]:
    made: dict[str, tuple[list[str], str]] = request.param(here, finished_run)
    return made


def test_a_suggested_image_works_when_typed(capsys: pytest.CaptureFixture[str]) -> None:
    for net, image in (
        ("alexnet", "3x32x32"), ("vgg16", "3x8x8"), ("lenet5", "1x1x1"), ("googlenet", "3x1x1"), ("zfnet", "4x16x16"),
        ("resnet50", "224x200x3"), ("resnet50", "320"), ("resnet20", "1x-1"), ("lenet5_1998", "3x32x32"),
    ):  # fmt: skip
        assert main(["summary", net, "--input", image]) == 2
        suggested = capsys.readouterr().err.rpartition("Try: ")[2].split()
        assert suggested[0] == "--input"
        assert main(["summary", net, *suggested, "--json"]) == 0, (net, suggested)
        capsys.readouterr()


def test_the_smallest_image_is_the_smallest(capsys: pytest.CaptureFixture[str]) -> None:
    for net, channels, side in (("alexnet", 3, 63), ("vgg16", 3, 32), ("lenet5", 1, 16)):
        assert main(["summary", net, "--input", f"{channels}x{side - 1}x{side - 1}"]) == 2
        assert f"smallest square that works is {side}." in capsys.readouterr().err


def test_every_mistake_gets_one_line_and_exit_code_2(
    here: Path, typed: dict[str, tuple[list[str], str]], capsys: pytest.CaptureFixture[str]
) -> None:
    for what, (arguments, expected) in typed.items():
        before = sorted(path for path in here.rglob("*") if not path.name.startswith(".lock"))
        capsys.readouterr()
        code = main(arguments)
        captured = capsys.readouterr()
        lines = [line for line in captured.err.splitlines() if not line.startswith("skipped ")]
        assert code == 2, (what, captured.err)
        assert expected in captured.err, (what, captured.err)
        assert len(lines) == 1, (what, captured.err)
        assert lines[0].startswith("error: "), (what, captured.err)
        assert ". Try: " in lines[0], (what, captured.err)
        assert captured.out == "", what
        after = sorted(path for path in here.rglob("*") if not path.name.startswith(".lock"))
        assert after == before, f"{what}: something was written"


def test_a_loss_that_is_not_a_number_is_exit_code_1(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wild = ["train", "resnet20", "--data", "digits", "--max-steps", "30", "--learning-rate", "1e30", "--quiet"]
    assert main(wild) == 1
    assert re.search(
        r"^error: step \d+: .*Try: train again with --learning-rate 0\.1$", capsys.readouterr().err, re.MULTILINE
    )


def test_no_space_is_named_and_nothing_is_half_written(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    from residuum.files import atomic

    def full(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(atomic, "_write_through", full)
    assert main(["train", "resnet20", "--data", "digits", *BRIEF, "--out", "run"]) == 1
    assert "No space left on device" in capsys.readouterr().err
    assert not [path for path in here.rglob("*") if path.is_file() and not path.name.startswith(".lock")]


@pytest.mark.parametrize(
    "arguments", [["train"], ["nonsense"], ["train", "resnet20", "--data", "digits", "--sed", "1"]]
)
def test_arguments_that_do_not_parse_exit_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert len(captured.err.splitlines()) == 1
    assert captured.err.startswith("error: ")


OPTIONS = {
    "train": "data data-dir recipe out seed seeds side-by-side epochs minutes max-steps batch-size learning-rate "
    "image-size holdout precision trunk-rate freeze-trunk batch-norm compile layer-statistics json quiet "
    "device threads workers cache-gib plain-operators checkpoint-seconds checkpoint-steps",
    "resume": "json quiet device threads workers cache-gib plain-operators checkpoint-seconds checkpoint-steps",
    "evaluate": "data data-dir split views batch-size confusion device json",
    "predict": "model top views precision device json",
    "calibrate": "data data-dir split out device json",
    "export": "to out uint8 json",
    "push": "private license",
    "reproduce": "all list budget data data-dir seeds depths out side-by-side resume record json "
    "device threads workers cache-gib plain-operators",
    "report": "",
    "list": "weights json",
    "summary": "input batch depth format html drawing json",
    "compare": "input batch layers format plot html json",
    "conv": "filters kernel stride padding dilation groups pool json",
}


@pytest.mark.parametrize("command", OPTIONS)
def test_the_surface_of_each_command(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse([command, "--help"])
    assert caught.value.code == 0
    found = set(re.findall(r"^[│\s]+--([a-z][a-z0-9-]*)", capsys.readouterr().out, re.MULTILINE)) - {"help"}
    assert found == set(OPTIONS[command].split())
