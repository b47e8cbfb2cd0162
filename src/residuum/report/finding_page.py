"""The page of a Finding, and the tables of it for a terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping

from residuum.records.finding import CONFIDENCE, Basis, Finding, Judged, Measured, Relation, Verdict, exactly
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
    "budget. The rule was fixed before the run."
)
PUBLISHED = Text("published", "발표된 값")
RELATIONS: dict[Relation, Text] = {
    "above": Text("above, by more than {}", "{} 넘게 큼"),
    "not above": Text("not above, within {}", "{} 넘게 크지 않음"),
    "near": Text("equal, within {}", "{} 안에서 같음"),
}


def arms_table(finding: Finding, language: Language = "en") -> Table:
    """One row for each arm: published beside measured, mean ± std over the seeds."""
    names = [each.name for each in finding.quantities]
    labels = [each.label.in_language(language) for each in finding.quantities]
    titles = ("", PUBLISHED.in_language(language)) if any(arm.published for arm in finding.arms) else ("",)
    rows = [
        [
            *(arm.name, arm.published.in_language(language))[: len(titles)],
            *(_cell(finding, arm.measured, name, language) for name in names),
        ]
        for arm in finding.arms
    ]
    return Table((*titles, *labels), rows, numeric=tuple(range(len(titles), len(titles) + len(names))))


def _cell(finding: Finding, measured: Mapping[str, Measured], name: str, language: Language) -> str:
    return finding.quantity(name).shown(measured[name], language) if name in measured else ""


def runs_table(finding: Finding) -> Table:
    """One row for each training: errors, seconds, and the checksum of its weights."""
    splits = [split for split in ("train", "val", "test") if any(split in run for run in finding.runs.values())]
    rows = [
        [name, *(f"{100 * float(str(run[split])):.2f} %" if split in run else "" for split in splits),
         f"{float(str(run.get('seconds', 0))):.1f}", str(run.get("weights_sha256", ""))[:12]]
        for name, run in finding.runs.items()
    ]  # fmt: skip
    columns = ("run", *(f"{split} error" for split in splits), "seconds", "weights")
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
    "{arm}: {quantity} 여기서는 {ours}, 발표된 값은 {printed}. 차이 {difference}, 시드에 따른 흩어짐보다 큼",
)
WHY = Text("Why they differ: {}", "다른 까닭: {}")
WHY_UNKNOWN = Text("Why they differ is not known.", "다른 까닭은 알려져 있지 않습니다.")


def apart_lines(finding: Finding, language: Language = "en") -> list[str]:
    """Where measured values of the published nets lie apart from the printed ones, and why; nothing where none do."""
    lines = []
    for each in finding.apart:
        quantity = finding.quantity(each.quantity)
        said = APART.in_language(language).format(
            arm=each.arm,
            quantity=quantity.label.in_language(language),
            ours=quantity.shown(each.measured, language),
            printed=quantity.shown(exactly(each.printed), language),
            difference=quantity.difference(each.measured.mean - each.printed, 0.0, language),
        )
        lines.append(f"{said}.")
    if not lines:
        return []
    why = WHY.in_language(language).format(finding.otherwise.in_language(language))
    return [*lines, f"{why}." if finding.otherwise else WHY_UNKNOWN.in_language(language)]


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
        rule = f"{RULES[finding.basis]} {RULE}"
        sections += [
            Section(
                title="Published and measured",
                text=" ".join([f"{finding.conditions.en}.", *apart_lines(finding)]),
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
        subtitle=finding.source,
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


def listed(value: object) -> str:
    """A value of an environment, or all that occur."""
    several = value if isinstance(value, list) else [value]
    return " and ".join("unknown" if each is None else str(each) for each in several) or "unknown"
