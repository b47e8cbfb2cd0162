"""The ledger: every claim once, in both languages, the dearest budget first; nothing but text from what is recorded."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from made_up_finding import ERROR, figure, finding
from residuum.records.finding import Basis, Verdict
from residuum.records.text import LANGUAGES, NOTHING, Language, Text
from residuum.report import ledger as module
from residuum.report.finding_page import finding_page
from residuum.report.ledger import (
    GROUPS,
    VERDICTS,
    WORDS,
    Entry,
    by_claim,
    comparisons,
    counts,
    ledger_markdown,
    ledger_page,
    small_figure,
    summary_markdown,
    write_ledger,
)

HOSTILE = "<script>alert(1)</script>|`x`[y](http://evil.example)\n# z"


class Page(HTMLParser):
    """Text and tags of a page; nothing in it may load or run."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert tag not in ("script", "iframe", "object", "embed", "link", "base")
        for name, value in attributes:
            assert not name.startswith("on")
            if name == "src":
                assert (value or "").startswith("data:image/png;base64,")
            elif name == "href":
                assert tag == "a"
                self.links.append(value or "")
            elif name == "id":
                self.ids.append(value or "")

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    @property
    def all(self) -> str:
        return " ".join(" ".join(self.text).split())


HOLDS, FAILS, OPEN = finding("b"), finding("c", error=0.05, group="taught"), finding("d", error=0.115, group="taught")
ENTRIES = [
    Entry((FAILS,)),
    Entry((finding("a", budget="paper"), finding("a", error=0.05)), small_figure(figure()), "claims/a.png", "a/r.html"),
    Entry((OPEN,)),
    Entry((HOLDS,)),
]


def test_the_made_up_findings_came_out_all_three_ways() -> None:
    verdicts = [each.verdict for each in (HOLDS, FAILS, OPEN)]
    assert verdicts == [Verdict.HOLDS, Verdict.DOES_NOT_HOLD, Verdict.NOT_DECIDED]
    assert [*counts(ENTRIES).values()] == [2, 1, 1]


def test_the_dearest_budget_comes_first_and_claims_stay_in_order() -> None:
    quick, short, paper = (finding("a", budget=budget) for budget in ("quick", "short", "paper"))
    other = finding("b")
    assert by_claim([quick, other, paper, short]) == [(paper, short, quick), (other,)]
    assert by_claim([]) == []


@pytest.mark.parametrize("language", ["en", "ko"])
def test_both_forms_tell_everything_of_every_claim(language: Language) -> None:
    page, markdown = Page(ledger_page(ENTRIES, language)), ledger_markdown(ENTRIES, language)
    for entry in ENTRIES:
        for found in entry.findings:
            for expected in (
                found.claim.in_language(language), found.source.in_language(language), found.command,
                found.summary.in_language(language), found.judged[0].comparison.statement.in_language(language),
                found.judged[0].comparison.published.in_language(language),
                VERDICTS[found.verdict].in_language(language),
                "1.7 min" if language == "en" else "1.7분", "AMD EPYC",
                "plain56 30.33 ± 0.58 %; plain20 10.33 ± 0.58 %" if found.verdict is Verdict.HOLDS else "",
            ):  # fmt: skip
                assert expected in page.all, expected
                assert expected in markdown.replace("\\", ""), expected
    assert page.ids == ["a", "b", "c", "d"], "group by group"
    assert {f"#{name}" for name in page.ids} <= set(page.links)
    assert "a/r.html" in page.links
    assert page.tags.count("img") == 1
    assert markdown.count("![a](claims/a.png)") == 1
    headings = re.findall(r"^#+ .*$", markdown, re.MULTILINE)
    assert len(headings) == 1 + 2 + 4
    titles = [GROUPS[group].in_language(language) for group in ("He et al. 2015", "taught")]
    assert all(title in page.all and f"## {title}" in markdown for title in titles)
    assert GROUPS["beyond"].in_language(language) not in page.all


@pytest.mark.parametrize("language", ["en", "ko"])
def test_every_training_is_listed(language: Language) -> None:
    runs = {"plain20-seed0": {"train": 0.1234, "seconds": 5.0, "weights_sha256": "abcdef0123456789"}}
    entry = Entry((finding(runs=runs),))
    for told in (Page(ledger_page([entry], language)).all, ledger_markdown([entry], language)):
        assert f"{WORDS['runs'].in_language(language)} (1)" in told
        for expected in ("plain20-seed0", "12.34 %", "abcdef012345"):
            assert expected in told
    untrained = Entry((finding(runs={}),))
    assert WORDS["runs"].in_language(language) not in ledger_markdown([untrained], language)


def test_a_claim_of_two_budgets_shows_both_verdicts() -> None:
    text = Page(ledger_page(ENTRIES, "en")).all
    assert text.index("holds (paper)") < text.index("does not hold (quick)")
    markdown = ledger_markdown(ENTRIES, "en")
    assert "### a: holds (paper)" in markdown
    assert "**does not hold (quick)**: It came out so." in markdown


@pytest.mark.parametrize(("basis", "expected"), [("counted", "counted exactly"), ("published", "published figures")])
def test_what_was_not_measured_says_so(basis: Basis, expected: str) -> None:
    entry = Entry(
        (finding(basis=basis, runs={}, seeds=(), conditions=Text("nothing trained beforehand", "미리 학습한 것 없음")),)
    )
    for told in (Page(ledger_page([entry], "en")).all, ledger_markdown([entry], "en"), summary_markdown([entry])):
        assert expected in told
    assert "nothing trained beforehand; measured in 2.0 s on AMD EPYC, 2 threads" in ledger_markdown([entry], "en")
    assert "미리 학습한 것 없음; 측정 2.0초 (AMD EPYC, 스레드 2개)" in ledger_markdown([entry], "ko")


@pytest.mark.parametrize("unlike", [Text("fewer updates", "갱신 횟수가 적음"), NOTHING])
def test_what_lies_apart_from_the_printed_value_is_told_with_the_reason(unlike: Text) -> None:
    arms = tuple(replace(arm, printed={ERROR.name: 0.108}) for arm in HOLDS.arms)  # plain20 is at 0.1033 ± 0.0058
    one = finding(arms=arms, unlike_published=unlike)
    assert [(each.arm, each.quantity, each.printed) for each in one.off_published] == [("plain56", ERROR.name, 0.108)]
    english = (
        "plain56: training error 30.33 ± 0.58 % here, 10.80 % published: +19.53 points, more than the seeds spread"
    )
    korean = (
        "plain56의 training error: 여기서는 30.33 ± 0.58 %, 발표된 값은 10.80 %입니다. 차이는 +19.53 %p로, 시드에 "
        "대한 표준편차보다 큽니다."
    )
    why = {"en": "Why they differ: fewer updates.", "ko": "다른 까닭: 갱신 횟수가 적음."}
    unknown = {"en": "Why they differ is not known.", "ko": "다른 까닭은 알려져 있지 않습니다."}
    for language in LANGUAGES:
        told = [Page(ledger_page([Entry((one,))], language)).all, ledger_markdown([Entry((one,))], language)]
        if language == "en":
            told.append(Page(finding_page(one, None)).all)
        for each in told:
            assert (why if unlike else unknown)[language] in each
            assert {"en": english, "ko": korean}[language] in each
            assert "plain20: " not in each
            assert "plain20의" not in each
    assert HOLDS.off_published == ()


LEADS = {"en": "Changed after results had been seen:", "ko": "결과를 본 뒤 바꾼 점:"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_was_changed_in_the_rule_is_told_below_the_comparisons(language: Language) -> None:
    changed = Text(f"two more seeds, {HOSTILE}", f"시드를 둘 늘림, {HOSTILE}")
    entry = Entry((finding(rule_changed=changed),))
    page, markdown = Page(ledger_page([entry], language)).all, ledger_markdown([entry], language)
    for each in (page, markdown):
        assert f"{LEADS[language]} {changed.in_language(language).split(',')[0]}, " in each
        statement = entry.first.judged[0].comparison.statement.in_language(language)
        assert each.index(statement) < each.index(LEADS[language]) < each.index(entry.first.command)
    assert "<script" not in markdown.replace("\\<script", "")
    for each in (
        Page(ledger_page([Entry((finding(),))], language)).all,
        ledger_markdown([Entry((finding(),))], language),
    ):
        assert LEADS[language] not in each


def test_arms_and_what_is_not_known_are_named_in_the_language() -> None:
    arms = (replace(HOLDS.arms[0], korean="깊은 것"), HOLDS.arms[1])
    places = {"cpu": None, "threads": [1, 2]}
    entry = Entry((finding(arms=arms, environment=places),))
    expected = {
        "en": ("training error: plain56 30.33 ± 0.58 %; plain20 10.33", "on unknown, 1 and 2 threads"),
        "ko": ("training error: 깊은 것 30.33 ± 0.58 %; plain20 10.33", "(알 수 없음, 스레드 1, 2개)"),
    }
    for language in LANGUAGES:
        for told in (Page(ledger_page([entry], language)).all, ledger_markdown([entry], language)):
            assert all(each in told for each in expected[language])


def test_a_failed_training_is_told() -> None:
    entry = Entry((finding(arms=(), quantities=(), judged=(), failures=("plain56-seed1: step 3: the loss is nan",)),))
    for told in (Page(ledger_page([entry], "en")).all, ledger_markdown([entry], "en")):
        assert "failed: plain56-seed1: step 3: the loss is nan" in told
        assert "not decided at this budget (quick)" in told


def test_a_hostile_finding_is_text_in_both_forms() -> None:
    one = finding(
        claim=Text(HOSTILE, HOSTILE), source=Text.same(HOSTILE), summary=Text.same(HOSTILE), caption=Text.same(HOSTILE),
        conditions=Text.same(HOSTILE), failures=(HOSTILE,), environment={"cpu": HOSTILE, "threads": 2},
    )  # fmt: skip
    entry = Entry((one,), small_figure(figure()), "claims/x.png")
    page = Page(ledger_page([entry], "en"))
    assert page.all.count("alert(1)") >= 6
    assert not any("evil" in link for link in page.links)
    markdown = ledger_markdown([entry], "en")
    for told in (markdown, summary_markdown([entry])):
        assert "script" in told
        assert not re.search(r"(?<!\\)(<script|\]\(http|`x)", told)
        assert "\n# z" not in told


def test_the_summary_has_a_line_for_each_claim() -> None:
    lines = summary_markdown(ENTRIES).splitlines()
    assert lines[0] == "2 hold, 1 do not hold, 1 not decided."
    assert [line.split(" | ")[0] for line in lines[4:]] == [f"| {name} is so" for name in "abcd"]
    assert lines[4].endswith("| holds (paper) |")
    assert summary_markdown(ENTRIES, "ko").startswith("성립함 2개, 성립하지 않음 1개, 판정할 수 없음 1개.")


def test_figures_are_made_small_and_stay_readable() -> None:
    large = figure()
    with Image.open(io.BytesIO(small_figure(large))) as shown:
        assert shown.size == (900, 350)
    with Image.open(io.BytesIO(small_figure(figure(300, 200)))) as shown:
        assert shown.size == (300, 200), "never enlarged"
    assert small_figure(large) == small_figure(large)


def test_it_is_written_in_both_languages_and_forms(tmp_path: Path) -> None:
    write_ledger(tmp_path, ENTRIES, name="claims")
    assert {path.name for path in tmp_path.iterdir()} == {
        "claims.md", "claims.ko.md", "claims.html", "claims.ko.html",
    }  # fmt: skip
    assert '<html lang="ko">' in (tmp_path / "claims.ko.html").read_text()
    write_ledger(tmp_path, [], name="none")
    assert "0 hold" in (tmp_path / "none.md").read_text()


def test_every_word_is_in_both_languages() -> None:
    for text in [*WORDS.values(), *VERDICTS.values(), *GROUPS.values(), *module.COUNTED.values()]:
        assert any("가" <= letter <= "힣" for letter in text.ko), text
        assert text.en.isascii() or "±" in text.en


@pytest.mark.parametrize("language", ["en", "ko"])
def test_of_many_comparisons_what_fails_is_shown_and_the_rest_is_folded(language: Language) -> None:
    holding, failing = HOLDS.judged[0], replace(FAILS.judged[0], difference=-0.05)
    assert (holding.verdict, failing.verdict) == (Verdict.HOLDS, Verdict.DOES_NOT_HOLD)
    shown, folded = comparisons(finding(judged=(*[holding] * 8, failing)), language)
    assert shown is not None
    assert folded is not None
    assert [len(table.rows) for table in (shown, folded)] == [6, 3]
    assert shown.rows[0][3] == ("-5.00 ± 1.31 points" if language == "en" else "-5.00 ± 1.31 %p")
    assert comparisons(finding(judged=(holding,) * 6), language)[1] is None
    assert comparisons(finding(judged=(), failures=("a",)), language) == (None, None)
    page = ledger_page([Entry((finding(judged=(*[holding] * 8, failing)),))], language)
    assert f"{WORDS['more'].in_language(language)} (3)" in Page(page).all
    assert f"{WORDS['more'].in_language(language)} (3)" in ledger_markdown(
        [Entry((finding(judged=(*[holding] * 8, failing)),))], language
    )
