"""The page of a Finding, and the tables of it for a terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping

from residuum.records.finding import CONFIDENCE, Basis, Finding, Judged, Relation, Verdict
from residuum.records.quantity import UNKNOWN, Measured, exactly
from residuum.records.text import Language, Text
from residuum.report.figures import Drawing
from residuum.report.numbers import duration
from residuum.report.page import Section, Table, render

BADGES = {Verdict.HOLDS: "good", Verdict.DOES_NOT_HOLD: "bad", Verdict.NOT_DECIDED: "open"}
RULES: dict[Basis, str] = {
    "measured": f"A comparison is decided when the {CONFIDENCE:.0%} confidence interval of the difference of the two "
    "means (Welch's t, over the seeds or over rounds of timing) lies on one side of the margin.",
    "counted": "The numbers are counted exactly and have no spread, so that their difference itself decides.",
    "published": "Published figures alone decide: what it would take to measure this lies beyond this budget. Their "
    "spread is unknown, so that their difference itself decides.",
}
RULE = (
    "The claim holds if every comparison holds, does not hold if one does not, and is otherwise not decided at this "
    "budget."
)
FIXED = "The rule was fixed before the run."
FIXED_BUT_FOR_THAT = "All else of the rule was fixed before the run."
RULE_CHANGED = Text("Changed after results had been seen: {}.", "결과를 본 뒤 바꾼 점: {}.")
PUBLISHED = Text("published", "발표된 값")
RELATIONS: dict[Relation, Text] = {
    "above": Text("above, by more than {}", "{} 초과"),
    "not above": Text("not above, within {}", "{} 미만"),
    "near": Text("equal, within {}", "±{} 이내"),
}


def arms_table(finding: Finding, language: Language = "en") -> Table:
    """One row for each arm: published beside measured, mean ± std over the seeds."""
    names = [each.name for each in finding.quantities]
    labels = [each.label.in_language(language) for each in finding.quantities]
    titles = ("", PUBLISHED.in_language(language)) if any(arm.published for arm in finding.arms) else ("",)
    rows = [
        [
            *(arm.label.in_language(language), arm.published.in_language(language))[: len(titles)],
            *(_cell(finding, arm.measured, name, language) for name in names),
        ]
        for arm in finding.arms
    ]
    return Table((*titles, *labels), rows, numeric=tuple(range(len(titles), len(titles) + len(names))))


def _cell(finding: Finding, measured: Mapping[str, Measured], name: str, language: Language) -> str:
    return finding.quantity(name).shown(measured[name], language) if name in measured else ""


RUN_COLUMNS = {
    "run": Text("run", "학습"),
    "train": Text("train error", "학습 오차"),
    "val": Text("val error", "검증 오차"),
    "test": Text("test error", "시험 오차"),
    "seconds": Text("seconds", "초"),
    "weights": Text("weights", "가중치"),
}


def runs_table(finding: Finding, language: Language = "en") -> Table:
    """One row for each training: errors, seconds, and the checksum of its weights."""
    splits = [split for split in ("train", "val", "test") if any(split in run for run in finding.runs.values())]
    rows = [
        [name, *(f"{100 * float(str(run[split])):.2f} %" if split in run else "" for split in splits),
         f"{float(str(run.get('seconds', 0))):.1f}", str(run.get("weights_sha256", ""))[:12]]
        for name, run in finding.runs.items()
    ]  # fmt: skip
    columns = [RUN_COLUMNS[each].in_language(language) for each in ("run", *splits, "seconds", "weights")]
    return Table(columns, rows, numeric=tuple(range(1, 2 + len(splits))))


def judged_table(finding: Finding) -> Table:
    """One row for each comparison: difference with its confidence interval, margin, verdict."""
    rows = []
    for each in finding.judged:
        comparison = each.comparison
        quantity = finding.quantity(comparison.quantity)
        rows.append(
            [
                comparison.statement.en,
                comparison.quantity,
                comparison.published.en,
                quantity.difference(each.difference, each.half_width),
                to_be(finding, each),
                str(each.verdict),
            ]
        )
    columns = ("comparison", "quantity", "published", "difference", "to be", "verdict")
    return Table(columns, rows, numeric=(3,))


def to_be(finding: Finding, judged: Judged, language: Language = "en") -> str:
    """What a comparison asks of its difference: `above, by more than 1.00 points`."""
    comparison = judged.comparison
    margin = finding.quantity(comparison.quantity).margin(comparison.margin, language)
    return RELATIONS[comparison.relation].in_language(language).format(margin)


APART = Text(
    "{arm}: {quantity} {ours} here, {printed} published: {difference}, more than the seeds spread",
    "{arm}의 {quantity}: 여기서는 {ours}, 발표된 값은 {printed}입니다. 차이는 {difference}로, 시드에 대한 표준편차보다 "
    "큽니다",
)
WHY = Text("Why they differ: {}", "다른 까닭: {}")
WHY_UNKNOWN = Text("Why they differ is not known.", "다른 까닭은 알려져 있지 않습니다.")


def off_published_lines(finding: Finding, language: Language = "en") -> list[str]:
    """Where measured values of the published nets lie apart from the printed ones, and why; nothing where none do."""
    lines = []
    names = {arm.name: arm.label for arm in finding.arms}
    for each in finding.off_published:
        quantity = finding.quantity(each.quantity)
        said = APART.in_language(language).format(
            arm=names[each.arm].in_language(language),
            quantity=quantity.label.in_language(language),
            ours=quantity.shown(each.measured, language),
            printed=quantity.shown(exactly(each.printed), language),
            difference=quantity.difference(each.measured.mean - each.printed, 0.0, language),
        )
        lines.append(f"{said}.")
    if not lines:
        return []
    why = WHY.in_language(language).format(finding.unlike_published.in_language(language))
    return [*lines, f"{why}." if finding.unlike_published else WHY_UNKNOWN.in_language(language)]


def rule_changed(finding: Finding, language: Language = "en") -> str:
    """What was changed in the rule after results had been seen; empty where nothing was."""
    said = finding.rule_changed.in_language(language).rstrip(".")
    return RULE_CHANGED.in_language(language).format(said) if said else ""


def finding_page(finding: Finding, drawing: Drawing | None) -> str:
    """The self-contained page of a Finding; it has no drawing where a training failed."""
    sections = [Section(title="In short", text=finding.summary.en)]
    if finding.failures:
        failures = Table(("run",), [[failure] for failure in finding.failures])
        answer = "That a training fails is part of the answer." if finding.excused else ""
        sections.append(Section(title="Trainings that failed", text=answer, table=failures))
    if drawing is not None:
        sections.append(Section(title="What was measured", drawing=drawing, caption=finding.caption.en))
    if finding.arms:
        changed = rule_changed(finding)
        fixed = f"{changed} {FIXED_BUT_FOR_THAT}" if changed else FIXED
        rule = f"{RULES[finding.basis]} {RULE} {fixed}"
        sections += [
            Section(
                title="Published and measured",
                text=" ".join([f"{finding.conditions.en}.", *off_published_lines(finding)]),
                table=arms_table(finding),
            ),
            Section(title="Verdict", text=rule, table=judged_table(finding), stacks=True),
        ]
    if finding.runs:
        sections.append(Section(title="Every training", table=runs_table(finding), folds=len(finding.runs) > 12))
    sections.append(
        Section(
            title="How it was made",
            text=how(finding),
            folded=json.dumps(
                {"recipe": finding.recipe, "environment": finding.environment}, indent=1, default=str
            ),
        )
    )  # fmt: skip
    return render(
        title=finding.claim.en,
        subtitle=finding.source.en,
        sections=sections,
        badge=str(finding.verdict),
        badge_kind=BADGES[finding.verdict],
        footer=f"made by: {finding.command}",
    )


def how(finding: Finding) -> str:
    """How long it took, on which machine, with which versions."""
    trained = f"{duration(finding.seconds)} of training and " if finding.runs else ""
    return f"{trained}{duration(finding.measuring_seconds)} of measuring on {machine(finding.environment)}."


def machine(environment: Mapping[str, object]) -> str:
    """Device, processor, threads, versions and commit; all that occur, where trainings were made in several places."""
    packages = environment.get("packages")
    several = packages if isinstance(packages, list) else [packages]
    versions = [each.get("torch") for each in several if isinstance(each, Mapping)]
    said = {name: listed(environment.get(name)) for name in ("device", "python", "commit")}
    return (
        f"{said['device']}: {processor(environment)}, Python {said['python']}, "
        f"torch {listed([*dict.fromkeys(versions)])}, commit {said['commit']}"
    )


def processor(environment: Mapping[str, object]) -> str:
    """`AMD EPYC, 2 threads`."""
    threads = listed(environment.get("threads"))
    return f"{listed(environment.get('cpu'))}, {threads} thread{'' if threads == '1' else 's'}"


def listed(value: object, language: Language = "en") -> str:
    """A value of an environment, or all that occur."""
    several = value if isinstance(value, list) else [value]
    unknown, between = UNKNOWN.in_language(language), " and " if language == "en" else ", "
    return between.join(unknown if each is None else str(each) for each in several) or unknown
