"""The ledger: every claim with its published value, ours, verdict, command and cost, as Markdown and as a page.

It is made from what `Finding.to_json` wrote, in English and in Korean, so that records of before can be put together
without anything being measured again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from residuum.files.atomic import write_file
from residuum.records.finding import Finding, Judged, Verdict
from residuum.records.text import LANGUAGES, Language, Text
from residuum.report.finding_page import duration
from residuum.report.page import Section, Table, Tile, render

VERDICTS = {
    Verdict.HOLDS: Text("holds", "성립함"),
    Verdict.DOES_NOT_HOLD: Text("does not hold", "성립하지 않음"),
    Verdict.NOT_DECIDED: Text("not decided at this budget", "이 예산으로는 판정할 수 없음"),
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
    "taught": Text("What is taught about these networks", "강의에서 가르치는 것들"),
    "beyond": Text("Beyond the two papers", "두 논문을 넘어서"),
}
WORDS = {
    "title": Text("The ledger of claims", "주장의 장부"),
    "claim": Text("claim", "주장"),
    "source": Text("source", "출처"),
    "published": Text("published", "발표된 값"),
    "ours": Text("measured here", "여기서 잰 값"),
    "verdict": Text("verdict", "판정"),
    "budget": Text("budget", "예산"),
    "cost": Text("cost", "비용"),
    "command": Text("command", "명령"),
    "figure": Text("figure", "그림"),
    "rule": Text(
        "Each claim is judged by a rule fixed in code before the run: the 95 % confidence interval of a difference of "
        "means over the seeds (Welch's t) must lie on one side of a margin. Values are mean ± standard deviation over "
        "the seeds, by the last iterate of each training.",
        "각 주장은 실행 전에 코드로 정해 둔 규칙으로 판정합니다. 시드들에 대한 평균 차의 95 % 신뢰 구간(Welch의 t)이 "
        "여유 값의 한쪽에만 있어야 합니다. 값은 각 학습의 마지막 반복에서 얻은, 시드들의 평균 ± 표준편차입니다.",
    ),
    "counted": Text("counted exactly", "정확히 계산함"),
    "only published": Text("decided by published figures only", "발표된 값으로만 판정함"),
    "no training": Text("no training", "학습 없음"),
}
SHOWN_COMPARISONS = 3  # in a row; the page of the claim has all


@dataclass(frozen=True)
class Entry:
    """One claim of a ledger.

    Attributes:
        group: whose claim it is, a key of `GROUPS`.
        record: what `Finding.to_json` gave.
        page, figure: where they lie, relative to the ledger; empty where they do not.
    """

    group: str
    record: Mapping[str, Any]
    page: str = ""
    figure: str = ""

    @property
    def finding(self) -> Finding:
        return Finding.from_json(self.record, Path())


def write_ledger(directory: Path, entries: Sequence[Entry], *, markdown: str = "claims", page: str = "ledger") -> None:
    """Write the ledger into a directory: `claims.md`, `claims.ko.md`, `ledger.html`, `ledger.ko.html`."""
    for language in LANGUAGES:
        ending = "" if language == "en" else f".{language}"
        write_file(directory / f"{markdown}{ending}.md", ledger_markdown(entries, language))
        write_file(directory / f"{page}{ending}.html", ledger_page(entries, language))


def counts(entries: Sequence[Entry]) -> dict[Verdict, int]:
    """How many claims came to which verdict."""
    found = Counter(Verdict(entry.record["verdict"]) for entry in entries)
    return {verdict: found[verdict] for verdict in Verdict}


def ledger_markdown(entries: Sequence[Entry], language: Language) -> str:
    """The ledger as Markdown, a table for each group."""
    columns = [_word(name, language) for name in ("claim", "source", "published", "ours", "verdict", "command", "cost")]
    lines = [f"# {_word('title', language)}", "", _word("rule", language), ""]
    lines += [", ".join(f"{count} {VERDICTS[each].in_language(language)}" for each, count in counts(entries).items())]
    for group, members in _grouped(entries).items():
        lines += ["", f"## {GROUPS[group].in_language(language)}", ""]
        lines += [_markdown_row(columns), _markdown_row(["---"] * len(columns))]
        for entry in members:
            cells = _cells(entry.finding, language)
            figure = f" ([{_word('figure', language)}]({entry.figure}))" if entry.figure else ""
            cells[0] += figure
            lines.append(_markdown_row([cell.replace("|", "\\|").replace("\n", "<br>") for cell in cells]))
    return "\n".join(lines) + "\n"


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def ledger_page(entries: Sequence[Entry], language: Language) -> str:
    """The ledger as a self-contained page."""
    tiles = [Tile(str(count), VERDICTS[each].in_language(language)) for each, count in counts(entries).items()]
    columns = [_word(name, language) for name in ("claim", "source", "published", "ours", "verdict", "command", "cost")]
    sections = [Section(title=_word("verdict", language), text=_word("rule", language), tiles=tiles)]
    for group, members in _grouped(entries).items():
        rows = [_cells(entry.finding, language) for entry in members]
        table = Table(columns, rows)
        sections.append(Section(title=GROUPS[group].in_language(language), table=table, stacks=True))
    return render(title=_word("title", language), subtitle="residuum reproduce --all", sections=sections)


def _grouped(entries: Sequence[Entry]) -> dict[str, list[Entry]]:
    grouped: dict[str, list[Entry]] = {}
    for group in GROUPS:
        if members := [entry for entry in entries if entry.group == group]:
            grouped[group] = members
    return grouped


def _cells(finding: Finding, language: Language) -> list[str]:
    judged = finding.judged[:SHOWN_COMPARISONS]
    published = dict.fromkeys(each.comparison.published for each in judged if each.comparison.published)
    verdict = VERDICTS[finding.verdict].in_language(language)
    if finding.basis != "measured":
        verdict += f" ({_word('counted' if finding.basis == 'counted' else 'only published', language)})"
    return [
        f"`{finding.name}`: {finding.claim.in_language(language)}",
        finding.source,
        "\n".join(published),
        "\n".join(ours(finding, each) for each in judged) or "; ".join(finding.failures[:1]),
        verdict,
        f"`{finding.command}`",
        cost(finding, language),
    ]


def ours(finding: Finding, judged: Judged) -> str:
    """What was measured for one comparison: both arms, with the quantity."""
    comparison = judged.comparison
    quantity = finding.quantity(comparison.quantity)
    measured = {arm.name: arm.measured for arm in finding.arms}
    a = f"{comparison.a} {quantity.shown(measured[comparison.a][quantity.name])}"
    if isinstance(comparison.b, str):
        return f"{quantity.name}: {a}, {comparison.b} {quantity.shown(measured[comparison.b][quantity.name])}"
    return f"{quantity.name}: {a}"


def cost(finding: Finding, language: Language) -> str:
    """Trainings and time."""
    if not finding.runs:
        return f"{_word('no training', language)}, {duration(finding.measuring_seconds)}"
    count = len(finding.runs)
    return f"{count} x, {duration(finding.seconds + finding.measuring_seconds)}"


def _word(name: str, language: Language) -> str:
    return WORDS[name].in_language(language)
