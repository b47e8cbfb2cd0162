"""`residuum conv`: the explanation of one layer, the table of several, JSON, and one line for every mistake."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from residuum.commands.conv import Conv, pair_of, shape_of, window_of
from residuum.costing.arithmetic import Window, conv, pool
from residuum.errors import InputError

ALEXNET = ("96@11/4", "pool3/2", "256@5+2", "pool3/2", "384@3+1", "384@3+1", "256@3+1", "pool3/2")


def test_one_layer_by_options_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert Conv("32x32x3", filters=10, kernel="5", padding="2").run() == 0
    lines = capsys.readouterr().out.splitlines()
    text = "\n".join(" ".join(line.split()) for line in lines)
    for part in (
        "10 filters of 5x5x3, stride 1, padding 2, over 32x32x3 (height x width x channels)",
        "height and width (32 + 2*2 - 5) / 1 + 1 = 32",
        "output 32x32x10, 10,240 values",
        "floor drops nothing",
        "to keep the size padding (5 - 1)/2 = 2 at stride 1",
        "768,000 MACs (multiply-adds) for one image, or 1,536,000 FLOPs (2 for each MAC)",
        "shared (convolution) 10 filters x (5x5x3 + 1) 750 10 760",
        "unshared (locally connected) 10,240 values x (5x5x3 + 1) 768,000 10,240 778,240",
        "fully connected 10,240 values x (32x32x3 + 1) 31,457,280 10,240 31,467,520",
    ):
        assert part in text


def test_one_layer_by_a_word_is_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    Conv("227x227x3", filters=96, kernel="11x11", stride="4").run()
    by_options = capsys.readouterr().out
    Conv("227x227x3", ("96@11/4",)).run()
    assert capsys.readouterr().out == by_options
    assert "105,705,600" in by_options


@pytest.mark.parametrize(
    ("command", "parts"),
    [
        (
            Conv("224x224x3", ("96@11/4",)),
            ("floor(213 / 4) + 1 = 54", "drops the last 1 of 224 pixels", "stride 3, or an input of 223 or 227"),
        ),
        (Conv("224x224x3", ("64@7/2+3",)), ("drops the last 1 of 230 padded pixels, all of them padding",)),
        (
            Conv("13x13x1", ("1@5/3+1",)),
            ("drops the last 1 of 15", "stride 2 or 5, padding 2, or an input of 12 or 15"),
        ),
        (Conv("9x9x1", ("1@5/4+1",)), ("drops the last 2 of 11 padded pixels, 1 of them of the image",)),
        (Conv("4x4x1", ("1@4",)), ("no padding that is equal on both sides does: it takes (4 - 1) = 3", "1 and 2")),
        (Conv("9x9x1", filters=1, kernel="4", dilation="2"), ("padding 2*(4 - 1)/2 = 3", "dilation 2")),
        (Conv("56x56x64", ("128@1/2",)), ("a stride of 2 leaves 1 pixel unread between windows of 1",)),
        (Conv("8x9x4", filters=2, kernel="3", groups=2), ("2 filters of 3x3x2", "2 groups", "height ", "width ")),
        (Conv("6x6x4", kernel="2", pool=True), ("pooling of 2x2, stride 2", "144 comparisons", "no parameters")),
        (Conv("13x13x1", kernel="3", dilation="2", pool=True), ("which PyTorch refuses for a pooling of 3",)),
    ],
)
def test_what_is_said_of_a_layer(command: Conv, parts: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert command.run() == 0
    out = capsys.readouterr().out
    for part in parts:
        assert part in out


def test_a_chain_is_a_table_with_totals(capsys: pytest.CaptureFixture[str]) -> None:
    assert Conv("227x227x3", ALEXNET).run() == 0
    out = capsys.readouterr().out
    rows = [line.split() for line in out.splitlines()]
    assert rows[0] == ["layer", "output", "parameters", "MACs", "field", "stride"]
    assert rows[1] == ["input", "227x227x3"]
    assert rows[2] == ["1", "96@11/4", "55x55x96", "34,944", "105,415,200", "11", "4"]
    assert rows[3] == ["2", "pool3/2", "27x27x96", "0", "0", "19", "8"]
    assert rows[9] == ["8", "pool3/2", "6x6x256", "0", "0", "195", "32"]
    assert rows[10] == ["total", "3,747,200", "1,076,634,144"]
    assert "parameters: 3,745,824 weights and 1,376 biases" in out
    assert "FLOPs: 2,153,268,288 (2 for each MAC)" in out
    assert "floor" not in out
    assert "\x1b" not in out, "no colour where there is no terminal"


def test_a_chain_warns_of_what_floor_drops(capsys: pytest.CaptureFixture[str]) -> None:
    assert Conv("13x14x1", ("4@1", "pool2", "4@1/3")).run() == 0
    out = capsys.readouterr().out.splitlines()
    assert (
        "layer 2 (pool2), height: floor drops the last 1 of 13 pixels. Fits: stride 1, or an input of 12 or 14" in out
    )
    assert not any(line.startswith("layer 2 (pool2), width") for line in out)
    assert "layer 3 (4@1/3), height: a stride of 3 leaves 2 pixels unread between windows of 1" in out


def test_json_holds_every_number(capsys: pytest.CaptureFixture[str]) -> None:
    assert Conv("227x227x3", ("96@11/4", "pool3/2"), json=True).run() == 0
    got = json.loads(capsys.readouterr().out)
    assert got["input"] == [227, 227, 3]
    first, second = got["layers"]
    assert first["output"] == second["input"] == [55, 55, 96]
    assert (first["kind"], first["kernel"], first["filters"]) == ("conv", [11, 11], 96)
    assert first["shared"] == {"weights": 34_848, "biases": 96}
    assert first["unshared"] == {"weights": 105_415_200, "biases": 290_400}
    assert first["same_padding"] == [5, 5]
    assert second["operations"] == 9 * 27 * 27 * 96
    assert second["receptive_field"] == [19, 19]
    assert got["total"] == {
        "weights": 34_848,
        "biases": 96,
        "parameters": 34_944,
        "macs": 105_415_200,
        "flops": 210_830_400,
        "operations": 9 * 27 * 27 * 96,
    }


def test_channels_first_is_doubted(capsys: pytest.CaptureFixture[str]) -> None:
    assert Conv("3x32x32", ("8@3+1",)).run() == 0
    assert capsys.readouterr().err == "warning: 3x32x32 is read as height, width, channels. Try: 32x32x3\n"


def test_channels_first_is_doubted_where_nothing_fits(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match="is larger than its padded input"):
        Conv("3x227x227", ("96@11/4",)).run()
    assert capsys.readouterr().err == "warning: 3x227x227 is read as height, width, channels. Try: 227x227x3\n"


@pytest.mark.parametrize(
    ("word", "window"),
    [
        ("96@11/4", conv(96, 11, stride=4)),
        ("256@5+2", conv(256, 5, padding=2)),
        ("64@3x3/2+1", conv(64, 3, stride=2, padding=1)),
        ("8@1x7+0x3", conv(8, (1, 7), padding=(0, 3))),
        ("pool2", pool(2)),
        ("pool3/2+1", pool(3, stride=2, padding=1)),
        ("Pool3×2/1x2", pool((3, 2), stride=(1, 2))),
    ],
)
def test_words_stand_for_layers(word: str, window: Window) -> None:
    assert window_of(word) == window
    assert window_of(str(window)) == window


def test_shapes_and_pairs() -> None:
    assert shape_of("32x24x3") == shape_of("32X24×3") == (32, 24, 3)
    assert pair_of("kernel", "5") == (5, 5)
    assert pair_of("kernel", "3x5") == (3, 5)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (Conv("32x32", ("8@3",)), "input: 32x32 has 2 numbers (expected HEIGHTxWIDTHxCHANNELS). Try: 32x32x3"),
        (Conv("32", ("8@3",)), "input: 32 has 1 number (expected HEIGHTxWIDTHxCHANNELS). Try: 32x32x3"),
        (Conv("1x3x32x32", ("8@3",)), "has 4 numbers"),
        (Conv("large", ("8@3",)), "input: cannot be 'large' (expected HEIGHTxWIDTHxCHANNELS). Try: 32x32x3"),
        (Conv("", ("8@3",)), "input: cannot be ''"),
        (Conv("٣x٣x٣", ("8@3",)), "input: cannot be"),
        (Conv("0x32x3", ("8@3",)), "input: must be a whole number from 1 to 1,000,000, got 0. Try: 32x32x3"),
        (Conv("32x-1x3", ("8@3",)), "input: must be"),
        (Conv("9999999x32x3", ("8@3",)), "got 9999999. Try: 32x32x3"),
        (Conv("32x32x3"), "layers: none were given. Try: residuum conv 227x227x3 96@11/4 pool3/2"),
        (Conv("32x32x3", ("96",)), "96: is not a layer (expected FILTERS@KERNEL"),
        (Conv("32x32x3", ("poolx",)), "Try: pool2"),
        (Conv("32x32x3", ("8@3/2/2",)), "8@3/2/2: is not a layer"),
        (Conv("32x32x3", ("8@3x3x3",)), "8@3x3x3: is not a layer"),
        (Conv("32x32x3", ("8@3.5",)), "8@3.5: is not a layer"),
        (Conv("32x32x3", ("8@0",)), "8@0: kernel must be a whole number from 1 to 1,000,000, got 0. Try: 8@1"),
        (Conv("32x32x3", ("0@3/2+1",)), "Try: 1@3/2+1"),
        (Conv("32x32x3", ("8@3/0",)), "8@3/0: stride must be"),
        (Conv("32x32x3", ("8@3+-1",)), "8@3+-1: padding must be"),
        (Conv("32x32x3", ("pool2/2+2",)), "(expected at most 1, got 2). Try: pool2/2+1"),
        (Conv("32x32x3", ("pool2", "8@17")), "layer 2 (8@17): 17x17 is larger than its padded input of 16x16"),
        (Conv("32x32x3", ("8@3",), kernel="3"), "kernel: options describe one layer, words such as 8@3 several"),
        (Conv("32x32x3", ("8@3",), pool=True), "pool: options describe one layer"),
        (Conv("32x32x3", kernel="3"), "filters: are missing (--pool for a pooling). Try: --filters 10"),
        (Conv("32x32x3", filters=8), "kernel: is missing. Try: --kernel 3"),
        (Conv("32x32x3", pool=True), "kernel: is missing. Try: --kernel 2"),
        (Conv("32x32x3", kernel="2", filters=8, pool=True), "filters: mean nothing for a pooling"),
        (Conv("32x32x3", kernel="2", groups=1, pool=True), "groups: mean nothing for a pooling"),
        (Conv("32x32x3", kernel="3", padding="2", pool=True), "padding: of a pooling may be at most half"),
        (Conv("32x32x3", filters=8, kernel="three"), "kernel: cannot be 'three' (expected a whole number, or two"),
        (Conv("32x32x3", filters=8, kernel="3", stride=""), "stride: cannot be ''"),
        (Conv("32x32x3", filters=0, kernel="3"), "filters: must be a whole number from 1 to 1,000,000, got 0. Try: 1"),
        (Conv("32x32x3", filters=8, kernel="3", stride="0"), "stride: must be"),
        (Conv("32x32x3", filters=8, kernel="3", dilation="0"), "dilation: must be"),
        (Conv("32x32x3", filters=8, kernel="3", groups=0), "groups: must be"),
        (Conv("32x32x3", filters=8, kernel="3", groups=2), "groups: 2 groups do not divide the 3 channels"),
        (Conv("32x32x3", filters=8, kernel="33"), "kernel: 33x33 is larger than its padded input of 32x32"),
    ],
)
def test_every_mistake_gets_one_line(command: Conv, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError) as caught:
        command.run()
    message = str(caught.value)
    assert said in message
    assert message.count(". Try: ") == 1
    assert "\n" not in message
    assert capsys.readouterr().out == ""


def test_a_suggested_layer_or_input_works() -> None:
    for command in (Conv("32x32x3", ("pool2+2",)), Conv("32x32x3", ("8@0/2+1",)), Conv("32x32x3", ("0@3x5",))):
        with pytest.raises(InputError) as caught:
            command.run()
        window_of(str(caught.value).rpartition("Try: ")[2])
    with pytest.raises(InputError) as caught:
        Conv("32x32x3", ("6@5", "pool2", "16@5", "pool2", "120@5", "84@2")).run()
    image = str(caught.value).rpartition(" ")[2]
    assert image == "36x36x3"
    assert Conv(image, ("6@5", "pool2", "16@5", "pool2", "120@5", "84@2")).run() == 0


def test_the_command_loads_no_torch() -> None:
    script = (
        "import sys; from residuum.commands.conv import Conv\n"
        "Conv('32x32x3', ('8@3', 'pool2')).run(); sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
