"""The page of `residuum inspect`: one self-contained HTML file, with every figure as a PNG file beside it."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from residuum.report.captions import CAPTIONS, STATES, WORDS, Language
from residuum.report.inspect_parts import PHOTO, Group, PhotoLike, Shown, groups, photo_figures
from residuum.report.page import Table

OPEN_GROUPS = 3  # photos whose figures are shown at once; those of more are folded
PAGE = "index.html"


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
        untrained: whether the weights are random.
        unreadable: one line for each image that was left out.
    """

    title: str
    subtitle: str
    footer: str
    languages: Sequence[Language]
    untrained: bool = False
    unreadable: Sequence[str] = ()


class _Figure:
    """A figure as the template shows it."""

    def __init__(self, shown: Shown) -> None:
        self.markup = Markup(shown.svg) if shown.svg else None  # made by `figures`, which escapes all labels
        self.data = "data:image/png;base64," + base64.b64encode(shown.png).decode()
        self.label, self.width, self.small = shown.label, shown.width, shown.width <= PHOTO
        self.alt = shown.label or shown.name


@dataclass(frozen=True, kw_only=True)
class _Section:
    anchor: str
    title: str
    readings: Sequence[tuple[Language, str]] = ()
    state: str = ""
    groups: Sequence[Mapping[str, Any]] = ()


def inspect_page(facts: PageFacts, photos: Sequence[PhotoLike], outcomes: Sequence[OutcomeLike]) -> dict[str, bytes]:
    """The files of an inspection's page by name: `index.html` and the PNGs.

    Args:
        facts: what it says at the top and the bottom.
        photos: as the net sees them.
        outcomes: the parts in order; what a part that was ended early has found is shown with why it ended.
    """
    drawn = {outcome.name: groups(outcome.name, outcome.found, photos) for outcome in outcomes}
    seen = photo_figures(photos)
    sections = [*_seen(facts, seen), *_shown(facts, outcomes, drawn), *_left_out(facts, outcomes)]
    states = {outcome.state for outcome in outcomes}
    stopped = [name for state, name in (("interrupted", "interrupted"), ("did not fit the time", "over_time"))
               if state in states]  # fmt: skip
    environment = Environment(
        loader=PackageLoader("residuum.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    html = environment.get_template("inspect.html").render(
        title=facts.title,
        subtitle=facts.subtitle,
        badge=WORDS[stopped[0]].joined(facts.languages) if stopped else "",
        languages=facts.languages,
        sections=sections,
        footer=facts.footer,
        open_groups=OPEN_GROUPS,
    )
    figures = [*seen, *(figure for part in drawn.values() for group in part for figure in group.figures)]
    return {PAGE: html.encode(), **{f"{figure.name}.png": figure.png for figure in figures}}


def _seen(facts: PageFacts, figures: Sequence[Shown]) -> list[_Section]:
    if not figures:
        return []
    state = WORDS["untrained"].joined(facts.languages) if facts.untrained else ""
    return [
        _Section(
            anchor="seen",
            title=WORDS["seen"].joined(facts.languages),
            readings=WORDS["seen_reading"].in_languages(facts.languages),
            state=state,
            groups=[_group(Group(figures=figures))],
        )
    ]


def _shown(facts: PageFacts, outcomes: Sequence[OutcomeLike], drawn: Mapping[str, Sequence[Group]]) -> list[_Section]:
    sections = []
    for outcome in outcomes:
        if not drawn[outcome.name]:
            continue
        done = outcome.state == "done"
        caption = CAPTIONS[outcome.name]
        state = "" if done else f"{WORDS['incomplete'].joined(facts.languages)}: {outcome.reason}"
        sections.append(
            _Section(
                anchor=outcome.name,
                title=caption.title.joined(facts.languages),
                readings=caption.reading.in_languages(facts.languages),
                state=state,
                groups=[_group(group) for group in drawn[outcome.name]],
            )
        )
    return sections


def _left_out(facts: PageFacts, outcomes: Sequence[OutcomeLike]) -> list[_Section]:
    languages = facts.languages
    rows = [
        [f"{CAPTIONS[each.name].title.joined(languages)} ({each.name})", STATES[each.state].joined(languages),
         each.reason]
        for each in outcomes if each.state != "done"
    ]  # fmt: skip
    heads = tuple(WORDS[word].joined(languages) for word in ("part", "what", "why"))
    sections = []
    if rows:
        table = Group(tables=[Table(heads, rows)])
        sections.append(_Section(anchor="left-out", title=WORDS["left_out"].joined(languages), groups=[_group(table)]))
    if facts.unreadable:
        table = Group(tables=[Table((heads[2],), [[line] for line in facts.unreadable])])
        sections.append(
            _Section(anchor="unreadable", title=WORDS["unreadable"].joined(languages), groups=[_group(table)])
        )
    return sections


def _group(group: Group) -> dict[str, Any]:
    figures = list(map(_Figure, group.figures))
    return {"title": group.title, "note": group.note, "figures": figures, "tables": group.tables}
