"""Pages load nothing, run nothing, and show hostile text as text."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from page_reader import HOSTILE, read
from residuum.records.finding import Arm, Comparison, Finding, Verdict, judge
from residuum.records.quantity import Measured, Quantity, exactly
from residuum.records.text import LANGUAGES, NOTHING, Text
from residuum.report.figures import ArmCurves, Curve, Drawing, error_curves
from residuum.report.finding_page import arms_table, finding_page, judged_table, runs_table, to_be
from residuum.report.page import Section, Table, render
from residuum.report.run_page import curve, write_run_report

SHORT = "<script>alert(1)</script>"  # for figures, where a long name leaves no room for the curves


def drawing(name: str = "arm") -> Drawing:
    return error_curves({name: [ArmCurves(name, Curve([1, 2], np.array([[50.0, 40.0]])), None)]}, test_name=name)


def test_a_page_shows_what_it_is_given_and_escapes_it() -> None:
    section = Section(
        title=HOSTILE,
        text=HOSTILE,
        drawing=drawing(SHORT),
        caption=HOSTILE,
        table=Table((HOSTILE, "b"), [[HOSTILE, "1"]], numeric=(1,)),
        folded=HOSTILE,
    )
    page = render(title=HOSTILE, subtitle=HOSTILE, sections=[section], badge=HOSTILE, badge_kind="good", footer=HOSTILE)
    reader = read(page)
    assert sum(text.count(HOSTILE) for text in reader.text) == 11, "shown everywhere, word for word"
    assert "img" not in reader.tags
    assert reader.tags.count("svg") == 1
    assert page.startswith("<!doctype html>")


def test_a_badge_kind_cannot_leave_its_attribute() -> None:
    read(render(title="t", subtitle="s", sections=[], badge="b", badge_kind='"><script>alert(1)</script>'))


def test_empty_parts_are_left_out() -> None:
    reader = read(render(title="t", subtitle="s", sections=[Section(title="only")]))
    assert not {"table", "figure", "details", "span", "p.badge"} & set(reader.tags)


def finding(text: str, **changes: Any) -> Finding:
    a, b = Measured((0.30, 0.32, 0.31)), Measured((0.10, 0.12, 0.11))
    comparison = Comparison(
        statement=Text.same(text),
        a="a",
        b="b",
        relation="above",
        margin=0.005,
        quantity="training error",
        published=Text.same(text),
    )
    arms = (
        Arm(name=f"{text}a", published=Text.same(text), measured={"training error": a}, runs=("a-0", "a-1", "a-2")),
        Arm(name="b", published=Text.same("8.75 %"), measured={"training error": b}, runs=("b-0", "b-1", "b-2")),
    )
    measured = {"a": {"training error": a}, "b": {"training error": b}}
    runs = {
        f"{name}-{seed}": {"train": error, "seconds": 15.0, "weights_sha256": "0123456789abcdef"}
        for name, values in (("a", a.values), ("b", b.values))
        for seed, error in enumerate(values)
    }
    values: dict[str, Any] = {
        "name": "degradation", "claim": Text(text, text), "source": Text.same(text), "group": "He et al. 2015",
        "summary": Text.same("In two sentences."), "caption": Text.same(f"the caption {text}"), "budget": "quick",
        "conditions": Text.same(text), "basis": "measured", "quantities": (Quantity("training error"),), "arms": arms,
        "judged": (judge(comparison, measured),), "seeds": (0, 1, 2), "runs": runs, "seconds": 90.0,
        "measuring_seconds": 2.5, "recipe": {"name": text},
        "environment": {"cpu": text, "cpus": 2, "threads": 2, "packages": {"torch": "2.13"}},
        "command": f"residuum reproduce degradation {text}", "directory": Path("x"),
    }  # fmt: skip
    return Finding(**values | changes)


def test_the_page_of_a_finding() -> None:
    one = finding("The claim.")
    assert one.verdict == Verdict.HOLDS
    page = finding_page(one, drawing())
    text = " ".join(read(page).text)
    for expected in ("The claim.", "holds", "31.00 ± 1.00 %", "8.75 %", "+20.00 ± 2.27 points",
                     "above, by more than 0.50 points", "a-2", "32.00 %", "15.0", "0123456789ab", "the caption",
                     "1.5 min of training and 2.5 s of measuring", "2 threads", "torch 2.13", "commit unknown",
                     "residuum reproduce degradation"):  # fmt: skip
        assert expected in text, expected
    assert 'class="badge good"' in page
    assert "stacks" in page


def test_a_hostile_finding_is_text() -> None:
    one = finding(HOSTILE, failures=(HOSTILE,))
    page = finding_page(one, drawing())
    reader = read(page)
    assert "img" not in reader.tags
    assert "alert(1)" in "".join(reader.text)
    assert 'class="badge open"' in page
    assert "not decided at this budget" in "".join(reader.text)


def test_a_finding_of_one_seed_and_one_without_comparisons() -> None:
    a, b = Measured((0.3,)), Measured((0.1,))
    comparison = Comparison(
        statement=Text.same("s"), a="a", b="b", relation="above", margin=0.005, quantity="e", published=Text.same("3 %")
    )
    arms = tuple(Arm(name=n, published=NOTHING, measured={"e": m}, runs=(f"{n}-0",)) for n, m in (("a", a), ("b", b)))
    one = finding(
        "c",
        arms=arms,
        quantities=(Quantity("e"),),
        judged=(judge(comparison, {arm.name: arm.measured for arm in arms}),),
        runs={"a-0": {"train": 0.3, "test": 0.4, "seconds": 1.0}, "b-0": {"train": 0.1, "seconds": 2.0}},
    )
    assert judged_table(one).rows == [
        ["s", "e", "3 %", "+20.00 points", "above, by more than 0.50 points", "not decided at this budget"]
    ]
    assert arms_table(one).rows == [["a", "30.00 %"], ["b", "10.00 %"]], "no column without a value"
    assert arms_table(one).numeric == (1,)
    assert runs_table(one).rows == [["a-0", "30.00 %", "40.00 %", "1.0", ""], ["b-0", "10.00 %", "", "2.0", ""]]
    read(finding_page(one, drawing()))
    failed = finding_page(finding("c", arms=(), judged=(), quantities=(), failures=("a-1: nan",)), None)
    assert "a-1: nan" in "".join(read(failed).text)
    assert "<svg" not in failed


def test_a_finding_that_was_counted_says_how_it_was_decided() -> None:
    sizes = Quantity("parameters", "")
    arms = (
        Arm(
            name="resnet50",
            published=Text.same("25.6 M"),
            measured={"parameters": exactly(25_557_032), "error": Measured(())},
        ),
        Arm(name="vgg16", published=NOTHING, measured={"parameters": exactly(138_357_544)}),
    )
    fewer = Comparison(
        statement=Text.same("s"), a="vgg16", b="resnet50", relation="above", margin=1e6, quantity="parameters"
    )
    same = Comparison(
        statement=Text.same("s"), a="resnet50", b=25e6, relation="near", margin=1e6, quantity="parameters"
    )
    measured = {arm.name: arm.measured for arm in arms}
    one = finding(
        "c", basis="counted", quantities=(sizes, Quantity("error")), arms=arms, runs={}, seeds=(),
        judged=(judge(fewer, measured), judge(same, measured)),
    )  # fmt: skip
    assert one.verdict == Verdict.HOLDS
    assert arms_table(one).rows == [["resnet50", "25.6 M", "25,557,032", "none"], ["vgg16", "", "138,357,544", ""]]
    assert [row[3] for row in judged_table(one).rows] == ["+112,800,512", "+557,032"]
    assert to_be(one, one.judged[1]) == "equal, within 1,000,000"
    assert to_be(one, one.judged[1], "ko") == "±1,000,000 이내"
    assert to_be(one, one.judged[0], "ko") == "1,000,000 초과"
    other = replace(one.judged[0], comparison=replace(fewer, relation="not above"))
    assert to_be(one, other, "ko") == "1,000,000 미만"
    text = " ".join(read(finding_page(one, drawing())).text)
    assert "counted exactly" in text
    assert "of training" not in text
    assert "Every training" not in text


def test_what_was_changed_after_results_had_been_seen_stands_beside_the_rule() -> None:
    told = " ".join(read(finding_page(finding("c"), None)).text)
    assert "The rule was fixed before the run." in told
    assert "Changed" not in told
    changed = Text("After the first record, two more seeds were taken.", "첫 기록 뒤 시드를 둘 늘렸습니다.")
    told = " ".join(read(finding_page(finding("c", rule_changed=changed), None)).text)
    assert f"Changed after results had been seen: {changed.en} All else of the rule was fixed before the run." in told
    assert "The rule was fixed" not in told


def test_arms_are_named_in_the_language() -> None:
    arms = (Arm(name="no shortcuts", published=NOTHING, measured={}, korean="지름길 없음"),)
    one = finding("c", arms=arms)
    assert [arms_table(one, language).rows[0][0] for language in LANGUAGES] == ["no shortcuts", "지름길 없음"]


def test_an_environment_of_several_machines_names_all() -> None:
    places = {"cpu": ["A", "B"], "threads": [1, 2], "packages": [{"torch": "2.12"}, {"torch": "2.13"}], "commit": None}
    text = " ".join(read(finding_page(finding("c", environment=places), None)).text)
    assert "A and B, 1 and 2 threads, Python unknown, torch 2.12 and 2.13, commit unknown" in text


def config(**changes: Any) -> dict[str, Any]:
    values = {"net": "resnet20", "data": "digits", "seed": 3, "recipe": {"name": "quick", "steps": 20}, "skipped": []}
    return values | changes


def metrics(count: int, **changes: float) -> list[dict[str, Any]]:
    return [
        {
            "step": 10 * (n + 1), "epoch": n + 1.0, "learning_rate": 0.1 / (n + 1), "train_loss": 1.0, "seconds": 1.0,
            "train_error": 0.5 / (n + 1), "val_error": 0.6 / (n + 1), "val_loss": 1.1, **changes,
        }
        for n in range(count)
    ]  # fmt: skip


def result(name: str = "nine") -> dict[str, Any]:
    classes = [
        {"class": name, "images": 150, "recall": 0.875, "precision": None},
        {"class": "zero", "images": 0, "recall": None, "precision": 0.25},
    ]
    return {
        "train": {"loss": 0.51, "error": 0.1234},
        "val": {"num_images": 200, "loss": 0.6, "error": 0.0765, "per_class": classes},
        "test": {"num_images": 300, "loss": 0.7, "error": 0.0815, "per_class": classes},
    }


def test_the_report_of_a_finished_run(tmp_path: Path) -> None:
    path = write_run_report(tmp_path, config=config(), environment={"cpu": "x"}, metrics=metrics(3), result=result())
    assert path == tmp_path / "report.html"
    assert {each.name for each in tmp_path.iterdir()} == {"report.html", "curves.png"}
    with Image.open(tmp_path / "curves.png") as image:
        image.load()
    reader = read(path.read_text())
    text = " ".join(reader.text)
    for expected in ("resnet20 on digits", "recipe quick, seed 3, finished", "12.34 %", "7.65 %", "8.15 %", "0.5100",
                     "last epoch", "300", "nine", "87.5 %", "25.0 %", "none", "By class, on test"):  # fmt: skip
        assert expected in text, expected
    assert "not finished" not in text
    assert reader.tags.count("svg") == 3


@pytest.mark.parametrize("epochs", [0, 1, 4])
def test_the_report_of_an_unfinished_run(tmp_path: Path, epochs: int) -> None:
    path = write_run_report(tmp_path, config=config(), environment={}, metrics=metrics(epochs), result=None)
    reader = read(path.read_text())
    assert "not finished" in " ".join(reader.text)
    assert reader.tags.count("svg") == (3 if epochs else 0)
    assert (tmp_path / "curves.png").exists() == bool(epochs)


def test_a_hostile_run_is_text(tmp_path: Path) -> None:
    path = write_run_report(
        tmp_path,
        config=config(net=SHORT, data=HOSTILE, recipe={"name": HOSTILE}, skipped=[[HOSTILE, HOSTILE]]),
        environment={"cpu": HOSTILE},
        metrics=metrics(2),
        result=result(HOSTILE),
    )
    reader = read(path.read_text())
    assert "img" not in reader.tags
    assert sum(text.count("alert(1)") for text in reader.text) >= 8


def test_test_error_is_said_to_be_for_the_figure_only(tmp_path: Path) -> None:
    arguments = {"config": config(), "environment": {}, "result": None}
    watched = write_run_report(tmp_path / "a", metrics=metrics(2, test_error=0.5), **arguments).read_text()
    assert "nothing was chosen by it" in watched
    assert ">test</text>" in watched
    unwatched = write_run_report(tmp_path / "b", metrics=metrics(2), **arguments).read_text()
    assert "nothing was chosen by it" not in unwatched
    assert ">validation</text>" in unwatched


def test_class_names_in_korean_stay_readable(tmp_path: Path) -> None:
    path = write_run_report(tmp_path, config=config(), environment={}, metrics=[], result=result("고양이"))
    assert "고양이".encode() in path.read_bytes()
    assert 'charset="utf-8"' in path.read_text()


def test_a_curve_is_in_percent_and_in_order() -> None:
    found = curve(metrics(2), "train_error")
    assert found.steps == [10, 20]
    assert found.values.tolist() == [[50.0, 25.0]]
    assert curve(metrics(2), "learning_rate", scale=1).values.tolist() == [[0.1, 0.05]]


def test_folded_json_can_be_read_back(tmp_path: Path) -> None:
    path = write_run_report(tmp_path, config=config(), environment={"cpu": "<b>"}, metrics=metrics(1), result=None)
    reader = read(path.read_text())
    assert {"cpu": "<b>"} in [json.loads(text) for text in reader.text if text.startswith("{")]
