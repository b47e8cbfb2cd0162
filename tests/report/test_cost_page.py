"""The page of a net's cost: all layers, all numbers, nothing loaded, hostile names as text."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from drawn_nets import HOSTILE, Cost, Memory, Unit, hostile, inception, residual
from page_reader import Reader, read
from residuum.report.cost_page import CostFacts, cost_page
from residuum.report.cost_tables import short_share_table
from residuum.report.page import Section, Table, Tile, render

SHOWN = HOSTILE.replace("\x00", "")


def page(units: list[Unit], **changes: Any) -> str:
    cost = changes.pop("cost", Cost(layers=tuple(replace(each, repeats=1) for each in units)))
    arguments: dict[str, Any] = {
        "title": "resnet50", "subtitle": "He et al. 2015. Input 3x224x224, batch 1.", "cost": cost, "units": units,
        "stages": [Unit(name="56x56"), Unit(name="head", macs=3_000_000)], "groups": [Unit(name="convolution")],
        "glance": ["most MACs: 56x56, 25.0 %"], "convention": "1 MAC = one multiply-add",
        "command": "residuum summary resnet50 --html resnet50.html",
    }  # fmt: skip
    return cost_page(CostFacts(**arguments | changes))


def text_of(reader: Reader) -> str:
    return " ".join(" ".join(reader.text).split()).replace("\N{NO-BREAK SPACE}", " ")


def test_the_page_of_a_net() -> None:
    published = Table(("quantity", "published", "exact"), [["MACs", "3.8e9", "4,089,184,256"]], (1, 2))
    reader = read(page(residual(), published=published))
    text = text_of(reader)
    for expected in ("resnet50", "Most MACs: 56x56, 25.0 %.", "25.6 M", "25,557,032", "4.09 G", "4,089,184,256",
                     "8.21 G", "427 px", "5.9 KiB", "16.6 KiB", "3.8e9", "1.00 M (25.0 %)", "optimizer state",
                     "optimizer step",
                     "1 MAC = one multiply-add. Made by: residuum summary resnet50 --html resnet50.html"):  # fmt: skip
        assert expected in text, expected
    assert reader.tags.count("svg") == 3
    assert reader.tags.count("details") == 1


def test_every_layer_is_in_the_folded_table() -> None:
    layers = tuple(Unit(name=f"layer{at}.conv", parameters=10**6 + at) for at in range(300))
    markup = page(residual(), cost=Cost(layers=layers))
    folded = markup[markup.index("<details>") : markup.index("</details>")]
    for layer in layers:
        assert f"<td>{layer.name}</td>" in folded
        assert f"{layer.parameters:,}" in folded
    assert "show 300 rows" in folded


def test_hostile_names_are_text() -> None:
    table = Table((SHOWN,), [[SHOWN]])
    reader = read(page(hostile(), title=SHOWN, subtitle=SHOWN, glance=[SHOWN], published=table, convention=SHOWN,
                       command=SHOWN, stages=[Unit(name=SHOWN)], groups=[Unit(name=SHOWN)],
                       cost=Cost(unknown={SHOWN: 3}, layers=(Unit(name=SHOWN, kind=SHOWN),),
                                 memory=Memory(forward_peak_at=SHOWN, training_problem=SHOWN))))  # fmt: skip
    assert sum(text.count("alert(1)") for text in reader.text) >= 12


def test_numbers_are_for_one_image_and_memory_for_the_batch() -> None:
    text = text_of(read(page(residual(), cost=Cost(batch=8, macs=8 * 4_089_184_256))))
    assert "4.09 G" in text
    assert "Memory at 8 images" in text


def test_a_net_that_cannot_be_trained_here_has_no_training_step() -> None:
    memory = Memory(training_peak=0, training_problem="one value per channel")
    text = text_of(read(page(residual(), cost=Cost(memory=memory))))
    assert "memory, training step" not in text
    assert "one value per channel" in text


def test_parameters_that_only_training_uses_are_told_apart() -> None:
    text = text_of(read(page(inception(), cost=Cost(parameters=13_378_280, inference_parameters=6_998_552))))
    assert "13,378,280, of them 6,998,552 in evaluation" in text


def test_operators_that_are_not_counted_come_first() -> None:
    text = text_of(read(page(residual(), cost=Cost(unknown={"fft_rfft": 3}))))
    assert text.index("fft_rfft") < text.index("In short")


def test_shares_add_up_in_the_last_row() -> None:
    table = short_share_table("map", [Unit(name="a", macs=3000), Unit(name="b", macs=1000), Unit(name="c", macs=0)])
    rows = [[cell.replace("\N{NO-BREAK SPACE}", " ") for cell in row] for row in table.rows]
    assert [row[2] for row in rows] == ["3.00 k (75.0 %)", "1.00 k (25.0 %)", "0", "4.00 k"]


def test_parts_of_a_page_that_only_some_have() -> None:
    section = Section(title="a", tiles=[Tile(SHOWN, SHOWN, SHOWN)], table=Table(("h",), [["1"]]), stacks=True,
                      beside=[Section(title="b", table=Table(("h",), [["2"]]), folds=True)])  # fmt: skip
    markup = render(title="t", subtitle="s", sections=[section])
    reader = read(markup)
    assert sum(text.count("alert(1)") for text in reader.text) == 3
    assert 'data-label="h"' in markup
    assert markup.index('class="pair"') < markup.index("<h2>a</h2>") < markup.index("<h2>b</h2>")
    plain = render(title="t", subtitle="s", sections=[replace(section, tiles=(), stacks=False, beside=())])
    assert not any(each in plain[plain.index("<body>") :] for each in ("tiles", "pair", "stacks", "narrow", "details"))
