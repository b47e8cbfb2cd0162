"""`residuum inspect`: every part on a small net, one line for every mistake, nothing lost by a part that fails."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from residuum.classifier import Classifier
from residuum.cli import main, parse
from residuum.data.preprocess import Preprocessing
from residuum.data.source import Dataset
from residuum.errors import InputError
from residuum.inspection import parts
from residuum.inspection.inspect import Inspection, State, chosen, inspect_subject
from residuum.inspection.parts import PARTS, Part, Task
from residuum.inspection.record import files, plain
from residuum.inspection.subject import Subject, spread, subject

MODEL = "resnet8_narrow:digits"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save("photo.png")
    return tmp_path


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Less of everything that is drawn by chance or repeated."""
    for name, value in {"ASCENT_STEPS": 2, "LANCZOS_STEPS": (4, 4), "PATHS": 2, "MAXIMISED_CHANNELS": 1, "DRAWS": 1,
                        "PLANE_POINTS": 3, "LINE_POINTS": 3, "LANDSCAPE_IMAGES": 16}.items():  # fmt: skip
        monkeypatch.setattr(parts, name, value)


def run_with(monkeypatch: pytest.MonkeyPatch, *table: Part) -> None:
    monkeypatch.setattr("residuum.inspection.inspect.PARTS", table)


def written(directory: str = "out") -> dict[str, Any]:
    values: dict[str, Any] = json.loads(Path(directory, "inspection.json").read_text())
    return values


def states(values: dict[str, Any]) -> dict[str, str]:
    return {name: each["state"] for name, each in values["parts"].items()}


def a_classifier(net: nn.Module, channels: int = 3, side: int = 16, classes: int = 4) -> Classifier:
    shape = Preprocessing(
        channels=channels, resize=side, crop=(side, side), mean=(0.5,) * channels, std=(1.0,) * channels
    )
    names = tuple(f"class {index}" for index in range(classes))
    return Classifier(net=net.eval(), net_name="own", preprocessing=shape, class_names=names)


def test_every_part_runs_on_digits(short: None, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["inspect", MODEL, "photo.png", "--data", "digits", "--samples", "64", "--out", "out"]
    assert main([*arguments, "--seconds", "5000", "--lang", "both"]) == 0
    out, err = capsys.readouterr()
    assert "page out/index.html" in out
    values = written()
    assert {name for name, state in states(values).items() if state != "done"} == {"history"}, err
    assert values["data"]["images"] == 64
    found = {name: each["found"] for name, each in values["parts"].items()}
    with np.load("out/arrays.npz") as arrays:
        kernels = arrays[found["filters"]["kernels"]["array"]]
        assert kernels.shape[1:] == (1, 3, 3)
        assert not any("tiles" in name for name in arrays.files)
        middle = arrays[found["landscape"]["values"]["array"]][1, 1]
    assert len(found["landscape"]["line"]) == 3
    assert middle == pytest.approx(found["landscape"]["line"][1]), "both are the net as it is"
    assert sum(found["paths"]["count"]) == 2 ** len(found["anatomy"]["blocks"])
    whole = found["lesions"]["lesions"][0]
    assert whole["removed"] == []
    assert whole["accuracy"] > 0.9, "the digits net is right on its data"
    page = Path("out/index.html").read_text()
    shown = {part.name for part in PARTS} - {"history"} | {"seen", "left-out"}
    assert page.count("data:image/png;base64,") >= 6
    assert set(re.findall(r'<section id="([a-z-]+)"', page)) == shown
    manifest = json.loads(Path("out/manifest.json").read_text())["files"]
    assert set(manifest) == {path.name for path in Path("out").iterdir()} - {"manifest.json"}


def test_json_and_the_default_directory(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", MODEL, "--only", "filters", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["directory"] == "inspect-resnet8_narrow-digits"
    assert printed["parts"]["filters"]["found"]["layer"] == "conv1"
    assert Path(printed["directory"], "index.html").is_file()
    assert main(["inspect", MODEL, "--only", "filters"]) == 2
    assert "exists and is not empty. Try: another --out" in capsys.readouterr().err


def test_an_empty_directory_is_taken(here: Path) -> None:
    Path("out").mkdir()
    assert main(["inspect", MODEL, "--only", "filters", "--out", "out"]) == 0
    assert Path("out/filters.png").is_file()


MISTAKES = {
    "unknown part": (["photo.png", "--only", "filters,grad-cam"], "only: 'grad-cam' is not known"),
    "no part": (["photo.png", "--only", ","], "only: names no part"),
    "no image": (["--only", "cam,activations"], "needs an image. Try: residuum inspect MODEL photo.jpg"),
    "no data": (["photo.png", "--only", "probes"], "probes: needs a data set"),
    "a missing image": (["nowhere.png"], "nowhere.png: no such file"),
    "a corrupt image": (["corrupt.png"], "corrupt.png: "),
    "a text as image": (["text.jpg"], "text.jpg: is not an image this program reads"),
    "no time": (["photo.png", "--seconds", "0"], "seconds: must be above 0, got 0. Try: --seconds 60"),
    "no samples": (["--data", "digits", "--samples", "0"], "samples: must be at least 1, got 0"),
    "a file as directory": (["photo.png", "--out", "photo.png"], "photo.png: is a file (expected a new directory)"),
    "no such data": (["--data", "cifar10", "--data-dir", "nowhere"], "nowhere: no such directory"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_one_line(name: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("text.jpg").write_text("not an image")
    Path("corrupt.png").write_bytes(Path("photo.png").read_bytes()[:600])
    before = {path.name for path in here.iterdir()}
    given, expected = MISTAKES[name]
    assert main(["inspect", MODEL, *given]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert expected in err
    assert len(err.splitlines()) == 1
    assert {path.name for path in here.iterdir()} == before, "nothing was written"


def test_one_unreadable_image_of_several(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("corrupt.png").write_bytes(Path("photo.png").read_bytes()[:600])
    assert main(["inspect", MODEL, "photo.png", "corrupt.png", "--only", "cam", "--out", "out"]) == 2
    assert "error: corrupt.png: " in capsys.readouterr().err
    values = written()
    assert [photo["name"] for photo in values["photos"]] == ["photo.png"]
    assert "corrupt.png" in Path("out/index.html").read_text()


def test_photos_turned_grey_and_large(here: Path) -> None:
    upright = np.zeros((20, 30, 3), dtype=np.uint8)
    upright[:, :15] = (255, 0, 0)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: shown, its rows become columns
    Image.fromarray(np.ascontiguousarray(np.rot90(upright))).save("turned.png", exif=exif)
    Image.fromarray(upright[:, :, 0]).save("grey.png")
    Image.fromarray(np.repeat(np.repeat(upright, 200, axis=0), 200, axis=1)).save("large.png", compress_level=1)
    model = a_classifier(nn.Conv2d(3, 4, 1))
    photos = subject(model, ["turned.png", "grey.png", "large.png"]).photos
    assert [photo.pixels.shape for photo in photos] == [(16, 16, 3)] * 3
    turned, grey, large = (photo.pixels.astype(int) for photo in photos)
    assert np.abs(turned - large).max() < 60, "the turned photo is upright again"
    assert turned[8, 1, 0] > 200 > 50 > turned[8, 14, 0]
    assert (grey == grey[:, :, :1]).all()
    assert [photo.class_index for photo in photos] == [None] * 3, "maps are no classes"


def test_a_net_without_classes_keeps_what_needs_none(here: Path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1))
    found = inspect_subject(
        subject(a_classifier(net), ["photo.png"]), ["filters", "activations", "cam", "responses", "anatomy"]
    )
    assert {each.name: each.state for each in found.outcomes} == {
        "filters": State.DONE, "activations": State.DONE, "cam": State.DOES_NOT_APPLY, "responses": State.DONE,
        "anatomy": State.DOES_NOT_APPLY,
    }  # fmt: skip
    assert "gives no classes" in found["cam"].reason
    assert all("\n" not in each.reason for each in found.outcomes)


def test_a_plain_net_says_why_anatomy_does_not_apply(here: Path, tiny_plain: nn.Module) -> None:
    model = a_classifier(tiny_plain, side=16)
    found = inspect_subject(subject(model, ["photo.png"]), ["anatomy", "gradients", "paths"])
    assert found["anatomy"].state is State.DOES_NOT_APPLY
    assert found["gradients"].state is State.DONE
    assert found["gradients"].found["remark"], "the split does not apply, the norms do"
    assert found["gradients"].found["layers"]
    assert found["paths"].state is State.DOES_NOT_APPLY


@pytest.fixture
def tiny_plain() -> nn.Module:
    from residuum.nets.resnet import ResNet, Variant

    torch.manual_seed(0)
    return ResNet(Variant(blocks=(1, 1), widths=(4, 8), stem="cifar", shortcut="none"), num_classes=4)


# ----- one part cannot spoil another


def good(subject: Subject, task: Task) -> None:
    task.found["layers"] = [{"layer": "a", "std": 1.0}]


def bad(subject: Subject, task: Task) -> None:
    raise RuntimeError("one\n  two")


def stopped(subject: Subject, task: Task) -> None:
    task.found["layers"] = [{"layer": "a", "std": 1.0}]
    task.step(1, 3)
    raise KeyboardInterrupt


def slow(subject: Subject, task: Task) -> None:
    for number in range(3):
        task.found["photos"] = []
        task.step(number + 1, 3)


def small() -> Subject:
    return Subject(
        net=nn.Identity(),
        preprocessing=a_classifier(nn.Identity()).preprocessing,
        class_names=(),
        device=torch.device("cpu"),
    )


def test_a_part_that_fails_says_so_and_the_others_run(monkeypatch: pytest.MonkeyPatch) -> None:
    run_with(monkeypatch, Part("filters", None, bad), Part("cam", "image", good), Part("responses", None, good))
    found = inspect_subject(small())
    assert [each.state for each in found.outcomes] == [State.FAILED, State.LACKS, State.DONE]
    assert found["filters"].reason == "RuntimeError: one two"
    assert found["cam"].reason.startswith("needs an image")


def test_a_part_without_time_is_ended_at_its_next_step(monkeypatch: pytest.MonkeyPatch) -> None:
    run_with(monkeypatch, Part("cam", None, slow), Part("responses", None, good))
    found = inspect_subject(small(), seconds=1e-9)
    assert {each.state for each in found.outcomes} == {State.NO_TIME}
    assert found["responses"].reason.startswith("did not begin when the time was over. Try: --only responses")
    assert found["cam"].reason.startswith("did not begin")
    ticks = iter(range(100))
    monkeypatch.setattr("time.monotonic", lambda: float(next(ticks)))
    found = inspect_subject(small(), seconds=3.5)
    assert found["cam"].reason.startswith("ended at step 2 of 3 when the time was over")
    assert found["cam"].found == {"photos": []}, "what was found until then is kept"


def test_the_command_writes_what_there_was_before_ctrl_c(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_with(monkeypatch, Part("responses", None, stopped), Part("anatomy", None, good))
    assert main(["inspect", MODEL, "--out", "out"]) == 130
    assert "interrupted: what was found until then is in out" in capsys.readouterr().err
    assert states(written()) == {"responses": "interrupted", "anatomy": "interrupted"}
    assert written()["parts"]["responses"]["reason"] == "interrupted at step 1 of 3"
    page = Path("out/index.html").read_text()
    assert "interrupted: not everything is here" in page
    assert "Layer responses" in page


def killed(subject: Subject, task: Task) -> None:
    task.found["layers"] = [{"layer": "a", "std": 1.0}]
    task.step(1, 3)
    os.kill(os.getpid(), signal.SIGTERM)
    task.step(2, 3)


def test_sigterm_writes_what_there_was_as_ctrl_c_does(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    run_with(monkeypatch, Part("responses", None, killed), Part("anatomy", None, good))
    assert main(["inspect", MODEL, "--out", "out"]) == 143
    assert "interrupted: what was found until then is in out" in capsys.readouterr().err
    assert states(written()) == {"responses": "interrupted", "anatomy": "interrupted"}
    assert signal.getsignal(signal.SIGTERM) is before


# ----- two nets, and a landscape that goes on


def test_two_nets_are_drawn_in_the_same_figures(short: None, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parts = "anatomy,cam,gradients,landscape,probes,responses"
    arguments = ["inspect", MODEL, "--beside", "other", "--data", "digits", "--samples", "64"]
    open_classifier(MODEL).save("other")
    assert main([*arguments, "--only", parts, "--seconds", "5000", "--out", "out"]) == 0, capsys.readouterr().err
    values = written()
    other = values["beside"]
    assert (other["model"], set(other["parts"])) == ("other", set(parts.split(",")) - {"cam"})
    assert set(states(other).values()) == {"done"}
    own, its = (each["parts"]["gradients"]["found"]["layers"] for each in (values, other))
    assert [each["norm"] for each in own] == pytest.approx([each["norm"] for each in its], rel=1e-3), "same weights"
    with np.load("out/arrays.npz") as arrays:
        one, two = arrays["landscape.values"], arrays["beside.landscape.values"]
        assert one == pytest.approx(two, rel=1e-3)
    page = Path("out/index.html").read_text()
    assert f"<h1>Inside {MODEL} | other</h1>" in page
    for name in ("responses-std", "anatomy-ratio", "anatomy-cosine", "gradients-norm", "probes-accuracy",
                 "landscape-line", "landscape"):  # fmt: skip
        assert list(Path("out").glob(f"{name}-both*.png")), name


def test_the_history_of_a_run_beside_that_of_another(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    training = ["--data", "digits", "--max-steps", "20", "--quiet"]
    assert main(["train", "resnet8_narrow", *training, "--layer-statistics", "--out", "asked"]) == 0
    assert main(["train", "plain20", *training, "--layer-statistics", "--out", "plain"]) == 0
    assert main(["train", "resnet8_narrow", *training, "--seed", "1", "--out", "silent"]) == 0
    assert main(["inspect", "asked", "--beside", "plain", "--only", "history", "--out", "out"]) == 0
    own = written()["parts"]["history"]["found"]
    records = [json.loads(line) for line in Path("asked/metrics.jsonl").read_text().splitlines()]
    assert own["steps"] == [record["step"] for record in records]
    assert own["quantities"]["gradient_norm"]["conv1"] == [
        record["layers"]["gradient_norm"]["conv1"] for record in records
    ]
    drawn = {path.name for path in Path("out").glob("history*.png")}
    assert "history-gradient_norm-both.png" in drawn
    assert "history-residual_ratio-both.png" not in drawn, "a plain net has none"
    assert "history-residual-ratio.png" in drawn
    capsys.readouterr()
    assert main(["inspect", "silent", "--only", "history", "--out", "none"]) == 2
    assert "needs a Run that recorded its layers. Try: residuum train NET --layer-statistics" in capsys.readouterr().err


def open_classifier(reference: str) -> Classifier:
    from residuum.references import load

    return load(reference)


BESIDE = {
    "itself": (["--beside", MODEL], "beside: is the same model"),
    "nothing to compare": (["--beside", "other", "--only", "filters"], "no part that compares nets is asked for"),
    "no such model": (["--beside", "resnet21"], "resnet21"),
}


@pytest.mark.parametrize("name", BESIDE)
def test_mistakes_with_a_second_net(name: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given, expected = BESIDE[name]
    assert main(["inspect", MODEL, "photo.png", *given]) == 2
    err = capsys.readouterr().err
    assert expected in err
    assert len(err.splitlines()) == 1


def test_an_unfinished_landscape_goes_on_to_the_same_bits(
    short: None, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["inspect", MODEL, "--data", "digits", "--samples", "16", "--only", "landscape", "--seconds", "500"]
    assert main([*arguments, "--out", "whole"]) == 0
    mean_loss = parts.mean_loss
    computed: list[int] = []

    def ending(batches: Any) -> Any:
        loss = mean_loss(batches)

        def counted(net: nn.Module) -> float:
            computed.append(1)
            if len(computed) == 7:
                os.kill(os.getpid(), signal.SIGTERM)
            return loss(net)

        return counted

    monkeypatch.setattr(parts, "mean_loss", ending)
    monkeypatch.setattr(parts, "PIECE_SECONDS", 0)
    assert main([*arguments, "--out", "broken"]) == 143
    before = len(computed)
    Path("broken/note.txt").write_text("mine")
    assert main([*arguments, "--out", "broken"]) == 2, "what is not ours is not thrown away"
    assert "note.txt" in capsys.readouterr().err
    Path("broken/note.txt").unlink()
    other = [each if each != "16" else "17" for each in arguments]
    assert main([*other, "--out", "broken"]) == 2
    assert "broken: holds an inspection of other weights or data" in capsys.readouterr().err
    computed.clear()
    computed += [1] * 7
    assert main([*arguments, "--out", "broken"]) == 0
    assert len(computed) - 7 == 12 - (before - 1), "3 on the line and 9 on the plane, none of them twice"
    whole, broken = (written(each)["parts"]["landscape"]["found"] for each in ("whole", "broken"))
    assert whole["line"] == broken["line"]
    with np.load("whole/arrays.npz") as one, np.load("broken/arrays.npz") as two:
        assert (one["landscape.values"] == two["landscape.values"]).all()
    assert {path.name for path in here.iterdir()} == {"photo.png", "whole", "broken"}


def test_a_finished_landscape_beside_an_unfinished_one_is_not_computed_again(
    short: None, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["inspect", MODEL, "--beside", "other", "--data", "digits", "--samples", "16", "--only", "landscape",
                 "--seconds", "500", "--out", "out"]  # fmt: skip
    other = open_classifier(MODEL)
    with torch.no_grad():
        other.net.get_parameter("fc.bias").add_(1)
    other.save("other")
    mean_loss = parts.mean_loss
    computed: list[int] = []
    infinite, last = 2, 12 + 8  # of 3 points on the line and 9 on the plane of each net

    def ending(batches: Any) -> Any:
        loss = mean_loss(batches)

        def counted(net: nn.Module) -> float:
            computed.append(1)
            if len(computed) == last:
                os.kill(os.getpid(), signal.SIGTERM)
            return float("inf") if len(computed) == infinite else loss(net)

        return counted

    monkeypatch.setattr(parts, "mean_loss", ending)
    monkeypatch.setattr(parts, "PIECE_SECONDS", 0)
    assert main(arguments) == 143
    broken = written()
    assert [states(each)["landscape"] for each in (broken, broken["beside"])] == ["done", "interrupted"]
    with np.load("out/arrays.npz") as arrays:
        first = arrays["landscape.values"]
    begun = len(computed)
    infinite = last = 0
    computed.clear()
    assert main(arguments) == 0, capsys.readouterr().err
    assert len(computed) == 24 - (begun - 1), "of the second what was missing, of the first nothing"
    whole = written()
    assert [states(each)["landscape"] for each in (whole, whole["beside"])] == ["done", "done"]
    assert None in whole["parts"]["landscape"]["found"]["line"]
    assert whole["parts"]["landscape"]["found"]["line"] == broken["parts"]["landscape"]["found"]["line"]
    with np.load("out/arrays.npz") as arrays:
        assert (arrays["landscape.values"] == first).all()
    assert main(arguments) == 2, "finished, it is not overwritten"


def test_an_untrained_net_is_normalised_by_the_batch(here: Path) -> None:
    from residuum.insight.gradients import gradient_norms

    looked_at = subject(open_classifier("resnet20"), ["photo.png", "photo.png"])
    found = inspect_subject(looked_at, ["gradients"])["gradients"].found
    assert found["statistics"] == "batch"
    expected = gradient_norms(looked_at.net, looked_at.few(8), looked_at.few_labels(8), batch_statistics=True)
    assert found["layers"][0]["norm"] == pytest.approx(expected[0].norm)
    alone = inspect_subject(subject(open_classifier("resnet20"), ["photo.png"]), ["gradients"])["gradients"].found
    assert alone["statistics"] == "running"
    assert "normalises nothing here" in alone["remark"]


@pytest.mark.parametrize(
    ("net", "side", "steps"), [("resnet18", 224, 24), ("resnet56", 32, 79), ("resnet8_narrow", 8, 128)]
)
def test_a_net_whose_passes_are_cheap_gets_more_steps_of_lanczos(net: str, side: int, steps: int) -> None:
    from residuum.inspection.parts import _lanczos_steps
    from residuum.nets import catalog

    with torch.device("meta"):
        own = a_classifier(catalog.net(net), side=side)
    looked_at = Subject(net=own.net, preprocessing=own.preprocessing, class_names=own.class_names, device=own.device)
    assert _lanczos_steps(looked_at) == steps  # ResNet-56: 126 million, ResNet-18: 1.8 billion


def test_an_untrained_net_is_the_same_each_time(here: Path) -> None:
    for directory in ("one", "two"):
        assert main(["inspect", "resnet20", "photo.png", "--only", "gradients", "--out", directory]) == 0
    one, two = (written(each)["parts"]["gradients"]["found"]["layers"] for each in ("one", "two"))
    assert one == two


def test_from_python(here: Path) -> None:
    import residuum

    found = residuum.inspect(MODEL, "photo.png", only=["filters", "anatomy", "probes"])
    assert [each.state for each in found.outcomes] == [State.DONE, State.DONE, State.LACKS]
    assert found["filters"].found["kernels"].shape[1:] == (1, 3, 3)
    own = residuum.inspect(a_classifier(nn.Conv2d(3, 4, 3)), only=["filters"])
    assert own["filters"].state is State.DONE
    assert residuum.inspect(MODEL, data="digits", samples=20, only=["anatomy"])["anatomy"].state is State.DONE
    with pytest.raises(InputError, match="grad-cam"):
        residuum.inspect("nothing", only=["grad-cam"])


def test_progress_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from residuum.report.progress import PartsProgress

    now = [0.0]
    monkeypatch.setattr("residuum.report.progress.time.monotonic", lambda: now[0])
    with PartsProgress() as progress:
        progress.part_started("cam", 1, 2)
        for done, at in ((1, 1.0), (2, 2.5), (3, 5.0), (6, 13.0), (10, 30.0)):
            now[0] = at
            progress.part_progress(done, 10)
    err = capsys.readouterr().err.splitlines()
    assert err == ["  cam: 2 of 10, 0.8/s, 10 s left", "  cam: 6 of 10, 0.462/s, 9 s left"]


# ----- the subject, the record, the surface


def test_photos_are_taken_from_the_data_where_none_are_given(digits_data: Dataset) -> None:
    model = a_classifier(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), channels=1, side=8, classes=10)
    looked_at = subject(model, dataset=digits_data, samples=20)
    assert looked_at.samples is not None
    assert len(looked_at.samples) == 20
    assert len(looked_at.photos) == 3
    assert looked_at.photos[0].name.startswith("digits val")
    with pytest.raises(InputError, match="does not know"):
        looked_at.own_labels()
    with pytest.raises(InputError, match=r"images have 1 channels \(expected 3\)"):
        subject(a_classifier(nn.Conv2d(3, 4, 1)), dataset=digits_data)
    named = Classifier(
        net=model.net, net_name="own", preprocessing=model.preprocessing, class_names=digits_data.class_names
    )
    batches = subject(named, dataset=digits_data, samples=50).batches(40)
    assert len(batches) == 2
    assert [len(labels) for _, labels in batches] == [32, 8]
    assert [len(labels) for _, labels in batches] == [32, 8], "they can be gone through again"


@pytest.mark.parametrize(("count", "most"), [(10, 3), (3, 10), (1, 1), (512, 512), (1000, 7)])
def test_samples_are_spread_over_the_whole(count: int, most: int) -> None:
    indices = spread(count, most)
    assert len(indices) == min(count, most)
    assert indices[0] == 0
    if len(indices) > 1:
        assert indices[-1] == count - 1
    assert (np.diff(indices) > 0).all()


def test_the_record_is_json_with_its_arrays_apart() -> None:
    from residuum.inspection.inspect import Outcome

    long, brief = np.arange(6.0).reshape(2, 3), np.array([1.0, np.nan])
    found = {"a": [{"long": long, "brief": brief}], "tiles": [long], "count": 2**200, "none": None, "n": np.int64(3)}
    values, arrays = plain(Inspection(small(), (Outcome("cam", State.DONE, "", 0.5, found),)))
    kept = values["parts"]["cam"]["found"]
    assert kept == {
        "a": [{"long": {"array": "cam.a.0.long"}, "brief": [1.0, None]}],
        "count": 2**200,
        "none": None,
        "n": 3,
    }
    assert [*arrays] == ["cam.a.0.long"]
    assert json.loads(files(values, arrays)["inspection.json"]) == values


def test_parts_are_chosen_in_the_order_of_their_cost() -> None:
    assert [part.name for part in chosen(["cam", "filters"])] == ["filters", "cam"]
    assert chosen(None) == PARTS
    with pytest.raises(InputError, match="Try: jacobian"):
        chosen(["jacobain"])


def test_the_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["inspect", "--help"])
    out = capsys.readouterr().out
    found = set(re.findall(r"^[│\s]+--([a-z][a-z-]*)", out, re.MULTILINE)) - {"help"}
    assert found == {"beside", "data", "data-dir", "samples", "only", "out", "seconds", "lang", "device", "json"}
    for part in PARTS:
        assert part.name in out
