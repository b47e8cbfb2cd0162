"""`residuum summary`: the published figures exactly, every form of output parses, any terminal and any directory."""

from __future__ import annotations

import csv
import io
import json
import re
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch

import residuum
from hand_formulas import by_hand
from page_reader import read
from residuum.classifier import Classifier
from residuum.cli import main
from residuum.commands.counting import image_shape
from residuum.commands.summary import Summary, number_of, published
from residuum.costing.cost import Cost
from residuum.costing.count import cost
from residuum.data.preprocess import Preprocessing
from residuum.errors import InputError
from residuum.nets import catalog
from residuum.nets.catalog import CATALOG
from residuum.references import skeleton

SLOW = {"resnet1202", "preact_resnet1001"}  # a thousand layers: seconds each
SHOWN = ("lenet5_1998", "vgg16", "googlenet", "resnet20", "se_resnet50")

# Parameters, parameters in evaluation, MACs; of the papers, the weights in circulation and hand formulas.
FACTS = {
    "lenet5": (61_706, 61_706, 416_520),
    "lenet5_1998": (60_000, 60_000, 325_680),
    "alexnet": (61_100_840, 61_100_840, 714_188_480),
    "alexnet_2012": (60_965_224, 60_965_224, 724_406_816),
    "alexnet_2012_merged": (62_378_344, 62_378_344, 1_135_256_096),
    "zfnet": (62_357_608, 62_357_608, 1_168_032_896),
    "zfnet_512": (107_627_624, 107_627_624, 2_476_704_896),
    "vgg11": (132_863_336, 132_863_336, 7_609_090_048),
    "vgg13": (133_047_848, 133_047_848, 11_308_466_176),
    "vgg16": (138_357_544, 138_357_544, 15_470_264_320),
    "vgg19": (143_667_240, 143_667_240, 19_632_062_464),
    "googlenet": (13_378_280, 6_998_552, 1_582_671_872),
    "googlenet_bn": (6_624_904, 6_624_904, 1_498_376_192),
    "resnet18": (11_689_512, 11_689_512, 1_814_073_344),
    "resnet34": (21_797_672, 21_797_672, 3_663_761_408),
    "resnet50": (25_557_032, 25_557_032, 4_089_184_256),
    "resnet101": (44_549_160, 44_549_160, 7_801_405_440),
    "resnet152": (60_192_808, 60_192_808, 11_513_626_624),
    "resnet50_v1": (25_557_032, 25_557_032, 3_857_973_248),
    "resnet101_v1": (44_549_160, 44_549_160, 7_570_194_432),
    "resnet152_v1": (60_192_808, 60_192_808, 11_282_415_616),
    "resnext50_32x4d": (25_028_904, 25_028_904, 4_230_479_872),
    "wide_resnet50_2": (68_883_240, 68_883_240, 11_398_021_120),
    "resnet20": (269_722, 269_722, 40_551_040),
    "resnet32": (464_154, 464_154, 68_862_592),
    "resnet44": (658_586, 658_586, 97_174_144),
    "resnet56": (853_018, 853_018, 125_485_696),
    "resnet110": (1_727_962, 1_727_962, 252_887_680),
}


@cache
def saved(name: str) -> dict[str, Any]:
    """What --json prints, read back."""
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", out)
        assert Summary(name, json=True).run() == 0
    found: dict[str, Any] = json.loads(out.getvalue())
    return found


@cache
def counted(name: str) -> Cost:
    found = skeleton(name)
    return cost(found.net, found.input_shape, training=False)


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert main(["summary", *arguments]) == 0
    return capsys.readouterr().out


def in_terminal(patch: pytest.MonkeyPatch, width: int) -> None:
    patch.setenv("FORCE_COLOR", "1")
    patch.setenv("COLUMNS", str(width))


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@pytest.mark.parametrize("name", FACTS)
def test_the_facts(name: str) -> None:
    found = counted(name)
    assert (found.parameters, found.inference_parameters, found.macs) == FACTS[name]


@pytest.mark.parametrize("name", [name for name in FACTS if name in SHOWN or CATALOG[name].parameters < 30e6])
def test_the_facts_in_json(name: str) -> None:
    found = saved(name)
    assert (found["parameters"], found["inference_parameters"], found["macs"]) == FACTS[name]


def test_activations_of_vgg16() -> None:
    assert saved("vgg16")["activation_values"] == 15_237_608
    assert saved("vgg16")["activation_bytes"] == 4 * 15_237_608


@pytest.mark.parametrize(
    ("name", "pixels"), [("resnet50", 427), ("resnet50_v1", 483), ("vgg16", 196), ("resnet20", 81)]
)
def test_receptive_fields(name: str, pixels: int) -> None:
    assert saved(name)["receptive_field"] == [pixels, pixels]


@pytest.mark.parametrize("name", [name for name in CATALOG if name not in SLOW])
def test_layers_add_up_to_the_totals_and_to_the_hand_formula(name: str) -> None:
    found, entry = counted(name), CATALOG[name]
    parameters, macs = by_hand(entry.variant, entry.input_size, entry.num_classes)
    for parts in (found.layers, found.stages(), found.groups()):
        assert sum(part.parameters for part in parts) == found.parameters == parameters == entry.parameters
        assert sum(part.macs for part in parts) == found.macs == macs == entry.macs
        assert sum(part.activation_values for part in parts) == found.activation_values
    assert not found.unknown
    assert found.memory.parameters == 4 * parameters
    assert found.layers[0].output_shape == (1, *entry.input_shape)
    assert [layer for layer in found.layers if layer.calls][-1].output_shape == (1, entry.num_classes)


@pytest.mark.parametrize("name", SHOWN)
def test_json_says_what_is_counted(name: str) -> None:
    found = saved(name)
    assert found == json.loads(json.dumps(found))
    for layers in ("layers", "stages", "groups"):
        assert sum(part["macs"] for part in found[layers]) == found["macs"] == counted(name).macs
    assert [layer["name"] for layer in found["layers"]] == [layer.name for layer in counted(name).layers]
    assert found["unknown_operators"] == {}
    assert found["memory"]["training_problem"] == ""


def test_a_batch_and_another_size_of_image(capsys: pytest.CaptureFixture[str]) -> None:
    one, many = saved("resnet20"), json.loads(printed(capsys, "resnet20", "--batch", "64", "--json"))
    assert many["batch"] == 64
    for name in ("macs", "flops", "activation_values"):
        assert many[name] == 64 * one[name]
    assert many["parameters"] == one["parameters"]
    out = printed(capsys, "resnet20", "--batch", "64")
    assert "MACs 2,595,266,560; FLOPs" in out
    assert out.count(" for 64 images") == 2
    large = json.loads(printed(capsys, "resnet20", "--input", "3X64×64", "--json"))
    assert large["macs"] - 640 == 4 * (one["macs"] - 640), "all but the linear layer"
    assert "published" not in printed(capsys, "resnet20", "--input", "3x64x64").split("\n\n")[-2]


def test_images_larger_than_any_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(printed(capsys, "vgg11", "--input", "3x999999x999999", "--json"))
    first = next(layer for layer in found["layers"] if layer["macs"])
    assert first["macs"] == 27 * 64 * 999_999**2


@pytest.mark.parametrize("name", SHOWN)
def test_markdown_is_tables_with_equal_rows(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, name, "--format", "markdown").splitlines()
    assert lines[0] == f"## {name}".replace("_", "\\_")
    width, tables = 0, 0
    for before, line in zip(["", *lines], lines, strict=False):
        if not line.startswith("|"):
            assert not line or not before.startswith("|"), "an empty line after a table"
            continue
        columns = len(re.findall(r"(?<!\\)\|", line)) - 1
        if not before.startswith("|"):
            width, tables = columns, tables + 1
            assert all(cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]), "no column without a title"
        assert columns == width, line
    assert tables >= 4


@pytest.mark.parametrize("name", SHOWN)
def test_csv_has_every_layer_and_whole_numbers(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    rows = list(csv.DictReader(io.StringIO(printed(capsys, name, "--format", "csv")), strict=True))
    found = saved(name)
    assert [row["layer"] for row in rows] == [layer["name"] for layer in found["layers"]]
    for row, layer in zip(rows, found["layers"], strict=True):
        assert None not in row
        assert int(row["parameters"]) == layer["parameters"]
        assert int(row["MACs"]) == layer["macs"]
        assert int(row["FLOPs"]) == layer["flops"]
        assert int(row["activation bytes"]) == layer["activation_bytes"]


@pytest.mark.parametrize("name", SHOWN)
def test_the_page_is_self_contained(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "net.html"
    assert main(["summary", name, "--html", str(path), "--json"]) == 0
    captured = capsys.readouterr()
    json.loads(captured.out)
    assert captured.err.startswith("page ")
    page = path.read_text()
    text = " ".join("".join(read(page).text).split())
    assert f"{CATALOG[name].parameters:,}" in text
    assert f"residuum summary {name} --html" in text
    outside = set(re.findall(r"https?://[^\s\"'<>)]+", page)) - {"http://www.w3.org/2000/svg"}
    assert not outside


@pytest.mark.parametrize("width", [80, 160])
@pytest.mark.parametrize("name", SHOWN)
def test_no_line_is_longer_than_the_terminal(
    name: str, width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    in_terminal(monkeypatch, width)
    out = printed(capsys, name)
    assert "\x1b" in out, "bold titles where there is a terminal"
    lines = plain(out).splitlines()
    assert max(map(len, lines)) <= width
    found = saved(name)
    for layer in found["layers"][:2]:
        assert any(line.startswith(layer["name"]) for line in lines)
    whole = next(line for line in lines if line.startswith("all "))
    assert whole.split()[1:3] == [f"{found['parameters']:,}", f"{found['macs']:,}"]
    titles = next(line for line in lines if line.startswith("layer ")).split()
    assert {"parameters", "MACs"} <= set(titles), "what counts is not dropped"
    assert ("left out for want of width" in " ".join(" ".join(lines).split())) == ("stride" not in titles)


def test_a_pipe_gets_no_colour_and_no_blanks_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, "resnet50")
    assert "\x1b" not in out
    assert all(line == line.rstrip() for line in out.splitlines())
    assert "\n\n\n" not in out


def test_depth(capsys: pytest.CaptureFixture[str]) -> None:
    rows = {depth: printed(capsys, "resnet20", "--depth", depth).split("\n\n")[1].splitlines() for depth in "129"}
    assert len(rows["1"]) < len(rows["2"]) < len(rows["9"])
    assert any(row.startswith("layer1.0 … layer1.2") for row in rows["2"])
    assert any(row.startswith("layer3.2.conv2 ") for row in rows["9"])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("vgg16", ["24M values, 93 MB for an image", "the convolutions alone, 15,346,630,656"]),
        (
            "googlenet",
            ["13,378,280 (51.0 MiB), 6,998,552 of them used in evaluation", "5M, 12 times fewer than AlexNet"],
        ),
        (
            "resnet50",
            [
                "stride on the 3x3, as in torchvision",
                "the last convolution sees 427 pixels along each side of the image, which has 224",
            ],
        ),
        ("lenet5", ["the last convolution sees 14 pixels along each side of the image most parameters"]),
        (
            "resnet20",
            [
                "most activations: 32x32, 59.4 %",
                "layer by layer against its twin: residuum compare resnet20 plain20",
                "1 MAC = one multiply-add",
            ],
        ),
    ],
)
def test_what_is_said_of_a_net(name: str, expected: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    out = " ".join(printed(capsys, name).split())
    for each in expected:
        assert each in out


def test_a_reason_is_printed_of_what_rounding_does_not_explain_alone(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("resnet110", "wrn40_2", "plain34", "resnet34_a"):
        found = counted(name)
        table = published(found, CATALOG[name])
        assert table is not None
        assert [row[-1] for row in table.rows] == [CATALOG[name].published.place] * len(table.rows), name
    out = " ".join(printed(capsys, "resnet34").split())
    assert "He et al. 2015, Table 1, Table 3: the cost without the three projections, 3,644,493,824" in out
    assert "10-crop" not in out
    assert out.startswith("resnet34: He et al. 2015. Input 3x224x224, batch 1.")


def test_the_reason_is_in_the_json() -> None:
    assert saved("googlenet")["catalog"]["differs"] == dict(CATALOG["googlenet"].differs)


def test_what_the_last_convolution_sees_is_compared_axis_by_axis(capsys: pytest.CaptureFixture[str]) -> None:
    assert "pixels along each side of the image, which has 300x60" in " ".join(
        printed(capsys, "resnet20", "--input", "3x300x60").split()
    )
    assert "which has" not in " ".join(printed(capsys, "resnet20", "--input", "3x300x90").split())


def test_the_page_tells_no_home_directory(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    elsewhere = directory.with_name("elsewhere")
    elsewhere.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(elsewhere)
        for typed in (str(directory), "../model"):
            printed(capsys, typed, "--html", str(directory.with_name("page.html")))
            text = " ".join("".join(read(directory.with_name("page.html").read_text()).text).split())
            assert "residuum summary model --html page.html" in text
            assert str(directory.parent) not in text
    printed(capsys, str(directory), "--html", "page.html")
    assert "residuum summary model --html page.html" in " ".join(
        "".join(read(Path("page.html").read_text()).text).split()
    )


@pytest.mark.parametrize(
    ("text", "number"), [("3.8e9", 3.8e9), ("0.27M", 270_000), ("60,000", 60_000), ("11.0M", 11e6)]
)
def test_printed_figures_are_read(text: str, number: float) -> None:
    assert number_of(text) == pytest.approx(number)


def test_sizes_are_read() -> None:
    usual = (3, 224, 224)
    assert image_shape(None, usual) == usual
    assert image_shape("1x28x20", usual) == (1, 28, 20)
    assert image_shape("3X32×48", usual) == (3, 32, 48)
    assert image_shape("3x5x3", usual) == (3, 5, 3)
    with pytest.raises(InputError, match=r"Try: --input 1x20x30$"):
        image_shape("20x30", (1, 28, 28))


# ----- directories


NAMES = ("<script>alert(1)</script>", "a|b*_`c`", "[red]x[/red] :cat:", "'\"&{{7*7}}", "개 <b>", "-x\ny")


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    Classifier(
        net=catalog.net("resnet20", num_classes=len(NAMES), in_channels=1).eval(),
        net_name="resnet20",
        preprocessing=Preprocessing(channels=1, resize=8, crop=(8, 12), mean=(0.5,), std=(0.25,)),
        class_names=NAMES,
    ).save(tmp_path / "model")
    return tmp_path / "model"


def test_a_directory_is_counted_at_its_own_size(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(printed(capsys, "model", "--json"))
    assert found["input_shapes"] == [[1, 1, 8, 12]]
    assert found["parameters"] == 269_722 - 2 * 9 * 16 - 4 * 65
    assert found["catalog"]["twin"] == "plain20"
    out = printed(capsys, "model")
    assert "He et al. 2015. Input 1x8x12, batch 1." in out
    assert "apart" not in out, "the paper's figures are of another number of channels and classes"


def test_other_classes_are_not_compared_with_the_paper(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Classifier(
        net=catalog.net("resnet20", num_classes=2).eval(),
        net_name="resnet20",
        preprocessing=Preprocessing(channels=3, resize=32, crop=(32, 32), mean=(0.5,) * 3, std=(0.25,) * 3),
        class_names=("a", "b"),
    ).save(tmp_path / "two")
    assert "apart" not in printed(capsys, str(tmp_path / "two"))
    assert "apart" in printed(capsys, "resnet20")


@pytest.mark.parametrize("name", ["<script>alert(1)</script>|*_`c`", "-[red]'\"&{{7*7}}", "개 <b>\n:cat:"])
def test_a_hostile_name_is_text(name: str, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = directory.rename(directory.with_name(name.replace("/", "∕")))
    arguments = (f"./{path.name}",)
    page = directory.with_name("page.html")
    found = json.loads(printed(capsys, *arguments, "--json", "--html", str(page)))
    assert found["model"] == arguments[0]
    assert printed(capsys, *arguments)
    heading = printed(capsys, *arguments, "--format", "markdown").splitlines()[:2]
    assert heading[1] == ""
    assert not re.search(r"(?<!\\)[<|*`]", heading[0])
    text = "".join(read(page.read_text()).text)
    assert " ".join(path.name.split()) in " ".join(text.split())
    assert "49" not in text.split("Input")[0]


def test_the_function_is_public() -> None:
    assert residuum.cost is cost
    assert "cost" in residuum.__all__
    assert residuum.cost(residuum.resnet20(), (3, 32, 32)).macs == FACTS["resnet20"][2]


def test_the_drawing_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["summary", "resnet20", "--drawing", str(tmp_path / "net.svg")]) == 0
    drawn = ElementTree.parse(tmp_path / "net.svg").getroot()
    text = " ".join(drawn.itertext())
    assert "BasicBlock" in text
    assert "64x8x8" in text
    assert "drawing" in capsys.readouterr().err
