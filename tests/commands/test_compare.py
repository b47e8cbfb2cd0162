"""`residuum compare`: shares, errors by protocol, twins layer by layer, every form of output, any terminal."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest
from PIL import Image

from page_reader import read
from residuum.classifier import Classifier
from residuum.cli import main
from residuum.commands.compare import remarks, with_name
from residuum.costing.count import cost
from residuum.costing.difference import difference
from residuum.data.preprocess import Preprocessing
from residuum.nets import catalog
from residuum.nets.catalog import CATALOG
from residuum.references import skeleton

QUICK = [
    ("alexnet", "alexnet_2012"),
    ("googlenet", "googlenet_bn"),
    ("resnet50", "resnet50_v1"),
    ("resnet20", "plain20"),
    ("lenet5_1998", "lenet5"),
]


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert main(["compare", *arguments]) == 0
    return capsys.readouterr().out


def test_plain34_has_18_56_percent_of_vgg19(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, "plain34", "vgg19")
    assert "plain34 has 18.56 % of the MACs of vgg19." in out
    assert re.search(r"^MACs +3,644,493,824 +19,632,062,464 +18\.56 %$", out, re.MULTILINE)
    assert "prints 18 %" in out
    assert "residuum compare plain34 vgg19 --layers" in out
    assert "≠" not in out, "they are no twins"


def test_what_is_told_of_a_ratio_is_said_in_either_order(capsys: pytest.CaptureFixture[str]) -> None:
    for pair in (("googlenet", "alexnet"), ("alexnet", "googlenet")):
        assert "told as 12 times fewer parameters: 8.7 times" in printed(capsys, *pair)


@pytest.mark.parametrize(("first", "second"), QUICK, ids=map("-".join, QUICK))
def test_twins_are_shown_layer_by_layer(first: str, second: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert CATALOG[first].twin == second or CATALOG[second].twin == first
    out = printed(capsys, first, second)
    marks = re.findall(r"^([=≠+-])  ", out, re.MULTILINE)
    assert set(marks) - {"="}
    assert f"= equal; ≠ differs; - only in {first}; + only in {second}" in out
    found = json.loads(printed(capsys, first, second, "--json"))
    assert any(not pair["same"] for pair in found["layers"])
    for name in (first, second):
        assert found["nets"][name]["parameters"] == CATALOG[name].parameters
        assert found["nets"][name]["macs"] == CATALOG[name].macs


def test_nets_without_a_difference_say_so() -> None:
    found = skeleton("resnet20")
    counted = {name: cost(found.net, found.input_shape, training=False) for name in ("a", "b")}
    said = remarks(counted, difference(*counted.values()), ())
    assert said == [
        "a has as many MACs as b.",
        "No layer differs that convolves, multiplies, normalises, pools or adds.",
    ]


def test_errors_stand_with_their_protocol(capsys: pytest.CaptureFixture[str]) -> None:
    rows = list(csv.reader(io.StringIO(printed(capsys, "googlenet", "vgg16", "resnet50", "--format", "csv"))))
    table = {row[0]: row[1:] for row in rows if row}
    assert table["error % in its paper"] == ["10.07", "27.0", "22.85"]
    assert table["how it was measured"] == ["one net, one crop, top-5", "one scale, 256, top-1", "10-crop top-1"]
    assert table["ImageNet top-1 error %, one 224 crop (torchvision, first weights)"] == ["", "28.41", "23.87"]
    assert table["parameters in evaluation"] == ["6998552", "138357544", "25557032"]
    assert [int(value) for value in table["MACs"]] == [1_582_671_872, 15_470_264_320, 4_089_184_256]


def test_one_image_for_all_and_a_batch(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(printed(capsys, "resnet18", "resnet20", "--input", "3x64x64", "--batch", "4", "--json"))
    assert all(net["input_shapes"] == [[4, 3, 64, 64]] for net in found["nets"].values())
    assert found["layers"] is None
    assert re.search(r"^input +4 of 3x64x64 +4 of 3x64x64$", printed(
        capsys, "resnet18", "resnet20", "--input", "3x64x64", "--batch", "4"), re.MULTILINE)  # fmt: skip


@pytest.mark.parametrize("nets", [("resnet18", "plain18"), ("resnet18", "vgg16", "alexnet")], ids="-".join)
def test_markdown_and_csv_have_equal_rows(nets: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    tables = re.findall(r"(?:^\|.*\n)+", printed(capsys, *nets, "--format", "markdown"), re.MULTILINE)
    assert len(tables) == (2 if len(nets) == 2 else 1)
    for table in tables:
        lines = table.splitlines()
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
        assert all(cell.strip() for cell in lines[0].split("|")[1:-1]), "no column without a title"
    rows = list(csv.reader(io.StringIO(printed(capsys, *nets, "--format", "csv")), strict=True))
    assert len({len(row) for row in rows}) == 1
    assert rows[0][:3] == ["quantity", *nets[:2]]


@pytest.mark.parametrize("width", [80, 160])
@pytest.mark.parametrize(
    "nets", [("alexnet", "alexnet_2012"), ("resnet18", "resnet34", "resnet50", "vgg16", "googlenet")], ids="-".join
)
def test_no_line_is_longer_than_the_terminal(
    nets: tuple[str, ...], width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(width))
    out = re.sub(r"\x1b\[[0-9;]*m", "", printed(capsys, *nets))
    assert max(map(len, out.splitlines())) <= width
    for name in nets:
        assert f"{CATALOG[name].macs:,}" in out, "no number is broken"
        assert f"{CATALOG[name].parameters:,}" in out


def test_a_pipe_gets_no_colour(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, "resnet20", "plain20", "resnet32")
    assert "\x1b" not in out
    assert all(line == line.rstrip() for line in out.splitlines())


def test_the_plot_and_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    out = printed(capsys, "resnet50", "vgg16", "wrn16_1", "--plot", "a.png", "--html", "a.html")
    assert "Not drawn, for want of an error measured like the others: wrn16_1." in out
    with Image.open("a.png") as drawn:
        assert drawn.size[0] > 200
    printed(capsys, "resnet50", "vgg16", "--plot", "a.svg")
    assert Path("a.svg").read_text().lstrip().startswith(("<svg", "<?xml"))
    text = " ".join("".join(read(Path("a.html").read_text()).text).split())
    for expected in ("15,470,264,320", "Error against cost", "residuum compare resnet50 vgg16 wrn16_1 --html a.html"):
        assert expected in text
    printed(capsys, "alexnet", "alexnet_2012", "--html", "b.html")
    assert "only in alexnet_2012" in "".join(read(Path("b.html").read_text()).text)


def saved(path: Path) -> str:
    """A Classifier directory of a net of two classes."""
    path.parent.mkdir(exist_ok=True)
    Classifier(
        net=catalog.net("resnet20", num_classes=2).eval(),
        net_name="resnet20",
        preprocessing=Preprocessing(channels=3, resize=32, crop=(32, 32), mean=(0.5,) * 3, std=(0.25,) * 3),
        class_names=("<script>", "|"),
    ).save(path)
    return str(path)


def test_a_run_has_no_published_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = saved(tmp_path / "mine|*<b>")
    rows = list(csv.reader(io.StringIO(printed(capsys, path, "resnet20", "--format", "csv"))))
    table = {row[0]: row[1:] for row in rows if row}
    assert rows[0][1:3] == [path, "resnet20"]
    assert table["error % in its paper"] == ["", "8.75", ""]
    assert table["parameters"] == ["269202", "269722", "99.81 %"]
    page = tmp_path / "page.html"
    printed(capsys, path, "resnet20", "--layers", "--html", str(page))
    assert "mine|*<b>" in "".join(read(page.read_text()).text)


def test_csv_with_layers_is_the_table_of_layers(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "resnet20", "plain32", "--layers", "--format", "csv")
    rows = list(csv.reader(io.StringIO(text), strict=True))
    assert rows[0] == ["mark", "resnet20", "its layer", "plain32", "its layer"]
    assert len({len(row) for row in rows}) == 1
    assert any(row[1] == "conv1" for row in rows)


def test_errors_of_wide_nets_are_drawn_with_those_of_cifar(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, "resnet20", "wrn16_8", "wrn40_1", "--plot", str(tmp_path / "a.svg"))
    assert "for want of an error measured like the others: wrn40_1." in " ".join(out.split())


def test_a_plot_of_nothing_is_refused_before_any_net_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("counted")

    monkeypatch.setattr("residuum.commands.compare.counted_at", never)
    assert main(["compare", "lenet5", "lenet5_1998", "--plot", str(tmp_path / "a.svg")]) == 2
    assert "plot: none of these nets has an error measured like others" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("problem", "named"),
    [
        ("input: layer conv1 gets 1 pixel", "input: a, layer conv1 gets 1 pixel"),
        ("net: layer conv1 fails", "net: a, layer conv1 fails"),
        ("net: the module fails", "net: a, the module fails"),
        ("input: must be square, net: layer", "input: must be square, net: layer"),
    ],
)
def test_what_is_wrong_at_a_layer_names_the_net(problem: str, named: str) -> None:
    assert with_name("a", problem) == named


def test_the_page_tells_no_home_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for place in ("one", "two"):
        saved(tmp_path / place / "run")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    printed(capsys, *(str(tmp_path / place / "run") for place in ("one", "two")), "--html", str(tmp_path / "a.html"))
    text = " ".join("".join(read((tmp_path / "a.html").read_text()).text).split())
    assert "residuum compare one/run two/run --html a.html" in text
    assert str(tmp_path) not in text

    saved(tmp_path / "here" / "run")
    monkeypatch.chdir(tmp_path / "here")
    printed(capsys, "run", str(tmp_path / "here" / "run"), "--html", "same.html")
    assert "residuum compare run " in " ".join("".join(read(Path("same.html").read_text()).text).split())
