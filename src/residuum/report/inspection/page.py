"""The page of `residuum inspect`: one self-contained HTML file, with every figure as a PNG file beside it."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from html import unescape
from typing import Any, Protocol

from markupsafe import Markup

from residuum.records.text import Language
from residuum.report.inspection.captions import CAPTIONS, STATES, WORDS, explained, reason, said
from residuum.report.inspection.parts import groups
from residuum.report.inspection.picture_parts import photo_figures
from residuum.report.inspection.shown import PHOTO, Group, PhotoLike, Shown
from residuum.report.inspection.twins import group as both
from residuum.report.page import Table, rendered

OPEN_GROUPS = 3  # photos whose figures are shown at once; those of more are folded
PAGE = "index.html"
TEXT = re.compile("<text[^>]*>([^<]*)</text>")


class OutcomeLike(Protocol):
    """What became of a part; see `residuum.inspection.inspect.Outcome`."""

    @property
    def name(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def found(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True, kw_only=True)
class PageFacts:
    """What the page says besides what was found.

    Attributes:
        title, subtitle: at the top.
        footer: the command that makes it anew.
        languages: of titles and captions.
        untrained: the nets whose weights are random.
        unreadable: one line for each image that was left out.
    """

    title: str
    subtitle: str
    footer: str
    languages: Sequence[Language]
    untrained: Sequence[str] = ()
    unreadable: Sequence[str] = ()


@dataclass(frozen=True)
class Beside:
    """A second net, whose parts are drawn in the figures of the first.

    Attributes:
        names: of the first and the second net.
        outcomes: of the second, of those parts that can be compared.
    """

    names: tuple[str, str]
    outcomes: Sequence[OutcomeLike]


class _Figure:
    """A figure as the template shows it."""

    def __init__(self, shown: Shown, languages: Sequence[Language]) -> None:
        self.markup = Markup(shown.svg) if shown.svg else None  # made by `figures`, which escapes all labels
        self.data = "data:image/png;base64," + base64.b64encode(shown.png).decode()
        self.label = said(shown.label, languages)
        self.width, self.small = shown.width, shown.width <= PHOTO
        self.alt = self.label or shown.name


@dataclass(frozen=True, kw_only=True)
class _Section:
    anchor: str
    title: str
    readings: Sequence[tuple[Language, str]] = ()
    state: str = ""
    groups: Sequence[Mapping[str, Any]] = ()


def inspect_page(
    facts: PageFacts, photos: Sequence[PhotoLike], outcomes: Sequence[OutcomeLike], beside: Beside | None = None
) -> dict[str, bytes]:
    """The files of an inspection's page by name: `index.html` and the PNGs.

    Args:
        facts: what it says at the top and the bottom.
        photos: as the net sees them.
        outcomes: the parts in order; what a part that was ended early has found is shown with why it ended.
        beside: another net, drawn in the same figures.
    """
    drawn = {outcome.name: _drawn(outcome, beside, photos) for outcome in outcomes}
    seen = photo_figures(photos)
    sections = [*_seen(facts, seen), *_shown(facts, outcomes, drawn), *_left_out(facts, outcomes, beside)]
    states = {outcome.state for outcome in (*outcomes, *(beside.outcomes if beside else ()))}
    stopped = [name for state, name in (("interrupted", "interrupted"), ("did not fit the time", "over_time"))
               if state in states]  # fmt: skip
    html = rendered(
        "inspect.html",
        title=facts.title,
        subtitle=facts.subtitle,
        untrained=[
            text.format(", ".join(facts.untrained))
            for _, text in WORDS["untrained"].in_languages(facts.languages)
            if facts.untrained
        ],
        badge=WORDS[stopped[0]].joined(facts.languages) if stopped else "",
        languages=facts.languages,
        sections=sections,
        footer=facts.footer,
        open_groups=OPEN_GROUPS,
    )
    figures = [*seen, *(figure for part in drawn.values() for group in part for figure in group.figures)]
    return {PAGE: html.encode(), **{f"{figure.name}.png": figure.png for figure in figures}}


def _drawn(outcome: OutcomeLike, beside: Beside | None, photos: Sequence[PhotoLike]) -> list[Group]:
    """What there is to see of a part: of both nets first, where there are two that found something."""
    own = groups(outcome.name, outcome.found, photos)
    other = next((each for each in beside.outcomes if each.name == outcome.name), None) if beside else None
    if beside is None or other is None or not other.found:
        return own
    shared = both(outcome.name, dict(zip(beside.names, (outcome.found, other.found), strict=True)))
    if shared is None:
        return own
    return [shared, *(replace(group, title=group.title or beside.names[0]) for group in own)]


def _seen(facts: PageFacts, figures: Sequence[Shown]) -> list[_Section]:
    if not figures:
        return []
    return [
        _Section(
            anchor="seen",
            title=WORDS["seen"].joined(facts.languages),
            readings=WORDS["seen_reading"].in_languages(facts.languages),
            groups=[_group(Group(figures=figures), facts.languages)],
        )
    ]


def _shown(facts: PageFacts, outcomes: Sequence[OutcomeLike], drawn: Mapping[str, Sequence[Group]]) -> list[_Section]:
    sections = []
    for outcome in outcomes:
        if not drawn[outcome.name]:
            continue
        caption = CAPTIONS[outcome.name]
        sections.append(
            _Section(
                anchor=outcome.name,
                title=caption.title.joined(facts.languages),
                readings=[
                    *caption.reading.in_languages(facts.languages),
                    *_terms(drawn[outcome.name], facts.languages),
                ],
                state=_state(outcome, facts.languages),
                groups=[_group(group, facts.languages) for group in drawn[outcome.name]],
            )
        )
    return sections


def _terms(groups: Sequence[Group], languages: Sequence[Language]) -> list[tuple[Language, str]]:
    """What the English labels in the figures mean, on a page that is not only in English."""
    labels = [text for group in groups for figure in group.figures for text in TEXT.findall(figure.svg)]
    line = explained(unescape(text) for text in labels)
    return [("ko", line)] if line and "ko" in languages else []


def _state(outcome: OutcomeLike, languages: Sequence[Language]) -> str:
    """Why a part is not all there; empty where it is."""
    if outcome.state == "done":
        return ""
    word = WORDS["incomplete"] if outcome.found else STATES[outcome.state]
    return f"{word.joined(languages)}: {reason(outcome.reason, languages)}"


def _left_out(facts: PageFacts, outcomes: Sequence[OutcomeLike], beside: Beside | None) -> list[_Section]:
    languages = facts.languages
    named = [("", each) for each in outcomes]
    named += [(f"{beside.names[1]}: ", each) for each in beside.outcomes] if beside else []
    rows = [
        [f"{net}{CAPTIONS[each.name].title.joined(languages)} ({each.name})", STATES[each.state].joined(languages),
         reason(each.reason, languages)]
        for net, each in named if each.state != "done"
    ]  # fmt: skip
    heads = tuple(WORDS[word].joined(languages) for word in ("part", "what", "why"))
    sections = []
    if rows:
        table = Group(tables=[Table(heads, rows)])
        sections.append(
            _Section(anchor="left-out", title=WORDS["left_out"].joined(languages), groups=[_group(table, languages)])
        )
    if facts.unreadable:
        table = Group(tables=[Table((heads[2],), [[line] for line in facts.unreadable])])
        sections.append(
            _Section(
                anchor="unreadable", title=WORDS["unreadable"].joined(languages), groups=[_group(table, languages)]
            )
        )
    return sections


def _group(group: Group, languages: Sequence[Language]) -> dict[str, Any]:
    figures = [_Figure(figure, languages) for figure in group.figures]
    tables = [
        replace(
            table,
            columns=[said(column, languages) for column in table.columns],
            rows=[[said(cell, languages) if cell in ("yes", "no") else cell for cell in row] for row in table.rows],
        )
        for table in group.tables
    ]
    note = "; ".join(reason(line, languages) for line in group.note.split("; ")) if group.note else ""
    return {"title": said(group.title, languages), "note": note, "figures": figures, "tables": tables}
