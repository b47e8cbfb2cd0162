"""The ledger: every claim with its published value, ours, verdict, figure, command and cost, as Markdown and as a page.

It is made from Findings alone, in English and in Korean, so that what was recorded can be put together without anything
being measured again. A claim that was judged by several budgets is told by the dearest; the others stand below it.
Failures are in English in both, and so are the names of nets.
"""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from residuum.files.atomic import write_file
from residuum.records.finding import Finding, Judged, Verdict
from residuum.records.text import LANGUAGES, Language, Text
from residuum.report.finding_page import (
    BADGES,
    PUBLISHED,
    arms_table,
    listed,
    off_published_lines,
    processor,
    rule_changed,
    runs_table,
    to_be,
)
from residuum.report.numbers import duration
from residuum.report.page import Table, Tile, rendered
from residuum.report.table import as_markdown, in_markdown

BY_COST = ("paper", "short", "quick")  # budgets, the dearest first
VERDICTS = {
    Verdict.HOLDS: Text("holds", "성립함"),
    Verdict.DOES_NOT_HOLD: Text("does not hold", "성립하지 않음"),
    Verdict.NOT_DECIDED: Text("not decided at this budget", "이 예산으로는 판정할 수 없음"),
}
COUNTED = {
    Verdict.HOLDS: Text("hold", "성립함"),
    Verdict.DOES_NOT_HOLD: Text("do not hold", "성립하지 않음"),
    Verdict.NOT_DECIDED: Text("not decided", "판정할 수 없음"),
}
GROUPS = {
    "He et al. 2015": Text(
        "He et al. 2015, Deep Residual Learning for Image Recognition",
        "He 등 2015, Deep Residual Learning for Image Recognition",
    ),
    "He et al. 2016": Text(
        "He et al. 2016, Identity Mappings in Deep Residual Networks",
        "He 등 2016, Identity Mappings in Deep Residual Networks",
    ),
    "taught": Text("What is taught about these networks", "강의에서 가르치는 내용"),
    "beyond": Text("Beyond the two papers", "두 논문을 넘어서"),
}
WORDS = {
    "title": Text("What is claimed of residual networks, and what was found", "잔차 신경망에 대한 주장과 확인한 결과"),
    "subtitle": Text(
        "Each claim is one command, judged by a rule that was fixed before the run; what was changed after results had "
        "been seen is told with its claim",
        "주장마다 명령 하나로 다시 확인할 수 있고, 판정 규칙은 실행 전에 정해 두었으며, 결과를 본 뒤 바꾼 점은 그 "
        "주장에 밝혀 두었습니다",
    ),
    "claim": Text("claim", "주장"),
    "source": Text("source", "출처"),
    "comparison": Text("comparison", "비교"),
    "published": PUBLISHED,
    "ours": Text("measured here", "여기서 잰 값"),
    "difference": Text("difference", "차이"),
    "to be": Text("to be", "기준"),
    "verdict": Text("verdict", "판정"),
    "more": Text("more comparisons", "나머지 비교"),
    "all": Text("published and measured, every value", "발표된 값과 잰 값 전체"),
    "runs": Text("every training", "학습 하나하나"),
    "figure": Text("figure", "그림"),
    "page": Text("its page", "자세한 페이지(영어)"),
    "failed": Text("failed", "실패"),
    "rule": Text(
        "A comparison is decided where the 95 % confidence interval of the difference of two means (Welch's t, over "
        "the seeds or over rounds of timing) lies on one side of its margin; a claim holds if all its comparisons do, "
        "and does not hold if one does not. Values are mean ± standard deviation over the seeds, by the last iterate "
        "of each training; the spread is over seeds, not over test images. What is counted has no spread: there the "
        "difference itself decides.",
        "두 평균의 차이에 대한 95 % 신뢰 구간(시드 또는 측정 회차를 표본으로 한 Welch의 t)이 기준값의 어느 한쪽에만 "
        "놓이면 그 비교를 판정합니다. 모든 비교가 성립하면 주장이 성립하고, 하나라도 성립하지 않으면 주장은 성립하지 "
        "않습니다. 값은 각 학습이 끝났을 때의 가중치로 구한 것이며, 시드에 대한 평균 ± 표준편차입니다(시험 "
        "이미지에 따른 흩어짐은 들어 있지 않습니다). 세어서 얻은 값에는 흩어짐이 없으므로 차이 자체로 판정합니다.",
    ),
    "counted": Text("counted exactly", "정확히 세어 확인함"),
    "published only": Text("decided by published figures alone", "발표된 값만으로 판정함"),
}
FIGURE_PIXELS = 900  # width of a figure in the page
FIGURE_COLOURS = 256  # of 64, thin lines took the colour of their neighbours
SHOWN_COMPARISONS = 6


@dataclass(frozen=True)
class Entry:
    """One claim of a ledger.

    Attributes:
        findings: of it, that of the dearest budget first.
        figure: a small PNG of the first, which the page holds; empty where there is none.
        picture: where the figure lies, relative to the ledger, for Markdown.
        page: where the claim's own page lies, relative to the ledger; empty where there is none.
    """

    findings: tuple[Finding, ...]
    figure: bytes = b""
    picture: str = ""
    page: str = ""

    @property
    def first(self) -> Finding:
        return self.findings[0]


def by_claim(findings: Sequence[Finding]) -> list[tuple[Finding, ...]]:
    """Findings of one claim together, those of the dearest budget first; claims in the order in which they come."""
    found: dict[str, list[Finding]] = {}
    for finding in findings:
        found.setdefault(finding.name, []).append(finding)
    return [tuple(sorted(each, key=lambda one: BY_COST.index(one.budget))) for each in found.values()]


def write_ledger(directory: Path, entries: Sequence[Entry], *, name: str) -> None:
    """Write the ledger into a directory: `NAME.md` and `NAME.html`, in Korean `NAME.ko.md` and `NAME.ko.html`.

    Raises:
        StorageError: the disk is full, read-only or failing.
    """
    for language in LANGUAGES:
        ending = "" if language == "en" else f".{language}"
        write_file(directory / f"{name}{ending}.md", ledger_markdown(entries, language))
        write_file(directory / f"{name}{ending}.html", ledger_page(entries, language))


def small_figure(png: bytes) -> bytes:
    """A figure small enough for a page that holds many: at most 900 pixels wide, 256 colours."""
    from PIL import Image

    with Image.open(io.BytesIO(png)) as image:
        shown = image.convert("RGB")
    shown.thumbnail((FIGURE_PIXELS, 10 * FIGURE_PIXELS), Image.Resampling.LANCZOS)
    written = io.BytesIO()
    shown.quantize(FIGURE_COLOURS).save(written, format="PNG", optimize=True)
    return written.getvalue()


def counts(entries: Sequence[Entry]) -> dict[Verdict, int]:
    """How many claims came to which verdict."""
    found = Counter(entry.first.verdict for entry in entries)
    return {verdict: found[verdict] for verdict in Verdict}


def counts_in_words(entries: Sequence[Entry], language: Language) -> str:
    """`17 hold, 4 do not hold, 3 not decided`."""
    if language == "ko":
        return ", ".join(f"{COUNTED[each].ko} {count}개" for each, count in counts(entries).items())
    return ", ".join(f"{count} {COUNTED[each].en}" for each, count in counts(entries).items())


def summary_markdown(entries: Sequence[Entry], language: Language = "en") -> str:
    """A table with one line for each claim, below how many there are of each verdict."""
    columns = [_word(each, language) for each in ("claim", "source", "verdict")]
    rows = [
        [
            entry.first.claim.in_language(language),
            entry.first.source.in_language(language),
            _verdict(entry.first, language),
        ]
        for entry in _in_order(entries)
    ]
    table = Table(columns, rows)
    return f"{counts_in_words(entries, language)}.\n\n{as_markdown(table)}"


def ledger_markdown(entries: Sequence[Entry], language: Language) -> str:
    """The ledger as Markdown: a summary, then a part for each claim."""
    lines = [f"# {_word('title', language)}", "", f"{_word('subtitle', language)}.", "", _word("rule", language), ""]
    lines.append(summary_markdown(entries, language))
    for group, members in _grouped(entries).items():
        lines += ["", f"## {GROUPS[group].in_language(language)}"]
        for entry in members:
            lines += ["", *_markdown_of(entry, language)]
    return "\n".join(lines) + "\n"


def _markdown_of(entry: Entry, language: Language) -> list[str]:
    first = entry.first
    lines = [
        f"### {in_markdown(first.name)}: {_verdict(first, language)}",
        "",
        f"**{in_markdown(first.claim.in_language(language))}** ({in_markdown(first.source.in_language(language))})",
        "",
        in_markdown(first.summary.in_language(language)),
    ]
    for finding in entry.findings:
        if finding is not first:
            lines += ["", f"**{_verdict(finding, language)}**: {in_markdown(finding.summary.in_language(language))}"]
        shown, folded = comparisons(finding, language)
        lines += ["", as_markdown(shown)] if shown else []
        if folded:
            summary = f"<details><summary>{_word('more', language)} ({len(folded.rows)})</summary>"
            lines += ["", summary, "", as_markdown(folded), "", "</details>"]
        changed = rule_changed(finding, language)
        lines += ["", in_markdown(changed)] if changed else []
        apart = off_published_lines(finding, language)
        lines += ["", *(f"- {in_markdown(each)}" for each in apart)] if apart else []
        if finding.failures:
            lines += ["", *(f"- {_word('failed', language)}: {in_markdown(each)}" for each in finding.failures)]
        lines += ["", f"`{finding.command}`", "", in_markdown(cost(finding, language))]
        if finding.runs:
            summary = f"<details><summary>{_word('runs', language)} ({len(finding.runs)})</summary>"
            lines += ["", summary, "", as_markdown(runs_table(finding, language)), "", "</details>"]
    if entry.picture:
        lines += ["", f"<details><summary>{_word('figure', language)}</summary>", ""]
        lines += [
            f"![{first.name}]({entry.picture})",
            "",
            in_markdown(first.caption.in_language(language)),
            "",
            "</details>",
        ]
    return lines


def ledger_page(entries: Sequence[Entry], language: Language) -> str:
    """The ledger as a self-contained page."""
    return rendered(
        "ledger.html",
        language=language,
        title=_word("title", language),
        subtitle=_word("subtitle", language),
        rule=_word("rule", language),
        words={name: text.in_language(language) for name, text in WORDS.items()},
        tiles=[Tile(str(count), COUNTED[each].in_language(language)) for each, count in counts(entries).items()],
        groups={
            GROUPS[group].in_language(language): [_shown(entry, language) for entry in members]
            for group, members in _grouped(entries).items()
        },
        footer="residuum reproduce --all",
    )


def _shown(entry: Entry, language: Language) -> dict[str, object]:
    """What the page shows of a claim."""
    first = entry.first
    figure = f"data:image/png;base64,{base64.b64encode(entry.figure).decode()}" if entry.figure else ""
    return {
        "name": first.name,
        "claim": first.claim.in_language(language),
        "source": first.source.in_language(language),
        "figure": figure,
        "caption": first.caption.in_language(language),
        "page": entry.page,
        "findings": [
            {
                "verdict": _verdict(each, language),
                "kind": BADGES[each.verdict],
                "summary": each.summary.in_language(language),
                "comparisons": comparisons(each, language),
                "changed": rule_changed(each, language),
                "arms": arms_table(each, language) if each.arms else None,
                "apart": off_published_lines(each, language),
                "failures": each.failures,
                "runs": runs_table(each, language) if each.runs else None,
                "command": each.command,
                "cost": cost(each, language),
            }
            for each in entry.findings
        ],
    }


def _grouped(entries: Sequence[Entry]) -> dict[str, list[Entry]]:
    members = {group: [entry for entry in entries if entry.first.group == group] for group in GROUPS}
    return {group: each for group, each in members.items() if each}


def _in_order(entries: Sequence[Entry]) -> list[Entry]:
    return [entry for members in _grouped(entries).values() for entry in members]


def _verdict(finding: Finding, language: Language) -> str:
    """`holds (quick)`; said as well where nothing was measured."""
    how = {"measured": "", "counted": _word("counted", language), "published": _word("published only", language)}
    said = how[finding.basis] or finding.budget
    return f"{VERDICTS[finding.verdict].in_language(language)} ({said})"


def comparisons_table(finding: Finding, judged: Sequence[Judged], language: Language) -> Table:
    """One row for each of some comparisons: what is published, what was measured, their difference, verdict."""
    rows = [
        [
            each.comparison.statement.in_language(language),
            each.comparison.published.in_language(language),
            ours(finding, each, language),
            finding.quantity(each.comparison.quantity).difference(each.difference, each.half_width, language),
            to_be(finding, each, language),
            VERDICTS[each.verdict].in_language(language),
        ]
        for each in judged
    ]
    names = ("comparison", "published", "ours", "difference", "to be", "verdict")
    return Table([_word(name, language) for name in names], rows)


def comparisons(finding: Finding, language: Language) -> tuple[Table | None, Table | None]:
    """The comparisons that are shown, and those that are folded away: where there are many, what fails comes first."""
    judged = finding.judged
    if len(judged) > SHOWN_COMPARISONS:
        judged = tuple(sorted(judged, key=lambda each: each.verdict is Verdict.HOLDS))
    parts = (judged[:SHOWN_COMPARISONS], judged[SHOWN_COMPARISONS:])
    shown, folded = (comparisons_table(finding, part, language) if part else None for part in parts)
    return shown, folded


def ours(finding: Finding, judged: Judged, language: Language) -> str:
    """What was measured for one comparison: the quantity of both arms, or of one beside a number."""
    comparison = judged.comparison
    quantity = finding.quantity(comparison.quantity)
    named = {arm.name: arm for arm in finding.arms}
    arms = [named[each] for each in (comparison.a, comparison.b) if isinstance(each, str)]
    shown = "; ".join(
        f"{arm.label.in_language(language)} {quantity.shown(arm.measured[quantity.name], language)}" for arm in arms
    )
    return f"{quantity.label.in_language(language)}: {shown}"


def cost(finding: Finding, language: Language) -> str:
    """What was trained, how long all trainings took together, on which processor, and how long the measuring took."""
    count, environment = len(finding.runs), finding.environment
    training, measuring = duration(finding.seconds, language), duration(finding.measuring_seconds, language)
    if language == "ko":
        where = f"{listed(environment.get('cpu'), language)}, 스레드 {listed(environment.get('threads'), language)}개"
        trained = (
            f"학습 {count}회, 모두 {training} ({where}); 측정 {measuring}" if count else f"측정 {measuring} ({where})"
        )
        return f"{finding.conditions.ko}; {trained}"
    where = f"on {processor(environment)}"
    trained = f"{count} training{'' if count == 1 else 's'}, {training} in all {where}; measured in {measuring}"
    return f"{finding.conditions.en}; {trained if count else f'measured in {measuring} {where}'}"


def _word(name: str, language: Language) -> str:
    return WORDS[name].in_language(language)
