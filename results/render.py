"""Write what is told of the records in this folder: `python results/render.py`.

A place in the README is marked `<!-- results: NAME -->`; what stands there up to `<!-- end -->` is replaced by the
table of `NAME.json`. `degradation` is that claim at its quick budget, `degradation-short` at short, `claims` all of
`claims-*.json`, of which are also made:

    docs/claims.md, claims.html      the ledger of claims; claims.ko.* in Korean, figures in docs/claims/
    src/residuum/experiments/known.json   what the package knows of its claims

`tests/test_readme.py` fails where any of these does not say what the records say.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from residuum.experiments.known import condensed
from residuum.records.finding import Finding
from residuum.records.findings_file import figure_of, read_findings
from residuum.report.finding_page import arms_table, processor
from residuum.report.ledger import Entry, by_claim, small_figure, summary_markdown, write_ledger
from residuum.report.numbers import duration
from residuum.report.table import as_markdown

HERE = Path(__file__).parent
README = HERE.parent / "README.md"
DOCS = HERE.parent / "docs"
KNOWN = HERE.parent / "src" / "residuum" / "experiments" / "known.json"
LEDGER = "claims"
DEGRADATION = {"degradation": "quick", "degradation-short": "short"}  # marks of the README, and their budgets
MARK = re.compile(r"(<!-- results: (?P<name>[\w-]+) -->\n).*?(?P<end><!-- end -->)", re.DOTALL)


def percent(quantity: dict[str, Any]) -> str:
    """`12.34 ± 0.56 %`; without the spread for a single value."""
    spread = "" if quantity["std"] is None else f" ± {100 * quantity['std']:.2f}"
    return f"{100 * quantity['mean']:.2f}{spread} %"


def finding_table(name: str, budget: str) -> str:
    """A claim's Finding on record: its arms, its verdict, and where and how it was measured."""
    finding = next(one for one in read_findings(HERE / f"{LEDGER}-{budget}.json") if one.name == name)
    lines = [
        as_markdown(arms_table(finding)),
        "",
        f"Verdict: **{finding.verdict}**. {finding.summary.en}",
        "",
        f"Budget {finding.budget}: {finding.conditions.en}. Mean ± std over the seeds; "
        f"{duration(finding.seconds)} of training on {machine({'environment': finding.environment})}.",
    ]
    return "\n".join(lines)


def lineage_table(record: dict[str, Any]) -> str:
    """The older nets on digits."""
    lines = ["| net | image | epochs | test accuracy, mean ± std of 3 seeds |", "| --- | ---: | ---: | ---: |"]
    for row in record["rows"]:
        accuracy = percent(row["test_accuracy"])
        lines.append(f"| {row['net']} | {row['image_size']} px | {row['epochs']} | {accuracy} |")
    return "\n".join(lines)


def peers_table(record: dict[str, Any]) -> str:
    """Who is exact, and how long each takes."""
    nets = len({row["net"] for row in record["rows"]})
    lines = [
        f"| tool | exact parameters | exact MACs | ResNet-152, name to figures | times of residuum on {nets} nets |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for tool, version in record["versions"].items():
        exact = (record["exact_parameters"][tool], record["exact_macs"][tool])
        deep = next(row for row in record["rows"] if row["tool"] == tool and row["net"] == "resnet152")
        ratios = sorted(record["times_faster"].get(tool, {}).values())
        middle = f"{ratios[0]:.1f} to {ratios[-1]:.1f}" if ratios else ""
        lines.append(
            f"| {tool} {version} | {exact[0]} of {nets} | {exact[1]} of {nets} | {deep['seconds']:.2f} s | {middle} |"
        )
    return "\n".join([*lines, "", f"Measured on {machine(record)}."])


def memory_table(record: dict[str, Any]) -> str:
    """Predicted against measured memory."""
    lines = [
        "| net | batch | | predicted | a fresh process grew by | apart |",
        "| --- | ---: | --- | ---: | ---: | ---: |",
    ]
    for row in record["rows"]:
        sizes = " | ".join(f"{row[name] / 2**20:,.0f} MiB" for name in ("predicted_bytes", "measured_bytes"))
        lines.append(f"| {row['net']} | {row['batch']} | {row['mode']} | {sizes} | {100 * row['apart']:+.1f} % |")
    return "\n".join([*lines, "", f"Measured on {machine(record)}."])


def shipped_table(record: dict[str, Any]) -> str:
    """One net in the package: what is stored, judged on the test split."""
    stored, before = record["test"]["stored"], record["test"]["stored, temperature 1"]
    config = record["run"]["config"]
    reference = f"{config['net']}:{config['data']}"
    ece = f"{100 * stored['ece']:.1f} %"
    if record["temperature"] != 1:
        ece = f"{100 * before['ece']:.1f} % before, {ece} after temperature scaling (T = {record['temperature']:.2f})"
    lines = [
        f"| `{reference}` | |",
        "| --- | --- |",
        f"| test accuracy of what is stored | {100 * stored['top1']:.2f} % of {stored['num_images']:,} images |",
        f"| expected calibration error | {ece} |",
        f"| size | {record['bytes'] / 1000:,.0f} kB, float16 |",
        f"| run | recipe {config['recipe']['name']}, {config['recipe']['epochs']:g} epochs, seed {config['seed']}, "
        f"{machine(record)} |",
    ]
    for attempt in record.get("earlier_attempts", []):
        what = f"{attempt['epochs']:g} epochs, seed {attempt['seed']}"
        lines.append(f"| an attempt before it | {what}: {100 * attempt['top1']:.2f} % |")
    return "\n".join(lines)


def finetune_table(record: dict[str, Any]) -> str:
    """Ants and bees, seed by seed."""
    lines = ["| seed | val accuracy | seconds of training |", "| --- | ---: | ---: |"]
    for row in record["rows"]:
        lines.append(f"| {row['seed']} | {100 * row['val_accuracy']:.2f} % | {row['seconds']:.0f} |")
    images = record["rows"][0]["val_images"]
    summary = f"{percent(record['val_accuracy'])} of {images} validation images, by the last iterate"
    return "\n".join([*lines, "", f"Mean ± std: {summary}. Measured on {machine(record)}."])


def training_table(record: dict[str, Any]) -> str:
    """Who trains how fast, each at its best number of loader workers and threads."""
    best = record["best"]
    ours = max((name for name in best if name.startswith("residuum")), key=lambda name: best[name], default="")
    lines = [f"| | best of | images/s | {ours}: times theirs | peak |", "| --- | --- | ---: | ---: | ---: |"]
    for name in dict.fromkeys(row["name"] for row in record["rows"]):
        rows = [row for row in record["rows"] if row["name"] == name]
        if name not in record["best"]:
            lines.append(f"| {name} | {rows[0]['failed']} | | | |")
            continue
        row = max((row for row in rows if "failed" not in row), key=lambda one: one["images_per_second"])
        rate = row["images_per_second"]
        faster = f"{best[ours] / rate:.2f}" if ours and not name.startswith("residuum") else ""
        peak = f"{row['peak_bytes'] / 2**20:,.0f} MiB"
        lines.append(f"| {name} | {chosen(row)} | {rate:,.0f} | {faster} | {peak} |")
    others = [
        f"{name}: " + "; ".join(f"{times:.2f} times {peer}" for peer, times in peers.items()) + "."
        for name, peers in record["times_faster"].items()
        if name != ours
    ]
    return "\n".join([*lines, "", " ".join([*others, f"Measured on {machine(record)}."])])


def classifying_table(record: dict[str, Any]) -> str:
    """A folder of JPEGs: the best of each, with and without the start of the process."""
    lines = ["| | best of | seconds | with the start | peak |", "| --- | --- | ---: | ---: | ---: |"]
    for name in dict.fromkeys(row["name"] for row in record["rows"]):
        rows = [row for row in record["rows"] if row["name"] == name]
        worked = [row for row in rows if "failed" not in row]
        if not worked:
            lines.append(f"| {name} | {rows[0]['failed']} | | | |")
            continue
        row = min(worked, key=lambda one: one.get("seconds", one["process_seconds"]))
        seconds = f"{row['seconds']:.2f}" if "seconds" in row else ""
        peak = f"{row['peak_bytes'] / 2**20:,.0f} MiB"
        lines.append(f"| {name} | {chosen(row)} | {seconds} | {row['process_seconds']:.2f} | {peak} |")
    ratios = "; ".join(times_usual(record, name) for name in record["answers"])
    ratios = f"Beside the usual loop, which is in fp32: {ratios}."
    agree = f"The same class for so many of {record['images']} photos: " + "; ".join(
        f"{name} {100 * one['same_top1']:.1f} % "
        f"(their probabilities differ by up to {one['largest_difference_of_probabilities']:.2g})"
        for name, one in record["answers"].items()
    )
    return "\n".join([*lines, "", f"{ratios} {agree}. Measured on {machine(record)}."])


def times_usual(record: dict[str, Any], name: str) -> str:
    """How many times as fast as the usual loop one of ours classifies, without and with the start of the process."""
    best = {
        key: {
            each: min(row[key] for row in record["rows"] if row["name"] == each and "failed" not in row)
            for each in (name, "usual loop")
        }
        for key in ("seconds", "process_seconds")
    }
    alone, whole = (each["usual loop"] / each[name] for each in best.values())
    return f"{name} is {alone:.2f} times as fast (with the start {whole:.2f})"


def ablation_table(record: dict[str, Any]) -> str:
    """A recipe without one ingredient at a time."""
    lines = ["| | validation accuracy | difference | seconds |", "| --- | ---: | ---: | ---: |"]
    for row in record["table"]:
        difference = ""
        if "difference" in row:
            sure = "" if row["half_width"] is None else f" ± {100 * row['half_width']:.2f}"
            difference = f"{100 * row['difference']:+.2f}{sure}"
        lines.append(f"| {row['name']} | {percent(row['val_accuracy'])} | {difference} | {row['seconds']:,.0f} |")
    seeds, images = len(record["seeds"]), f"{record['rows'][0]['images']:,}"
    how = (
        f"Mean ± std of {seeds} seeds on {images} training images held out, {record['epochs']:g} epochs each; "
        "differences in points, with their 95 % confidence interval."
    )
    return "\n".join([*lines, "", f"{how} Measured on {machine(record)}."])


def fast_table(record: dict[str, Any]) -> str:
    """From command to test accuracy, seed by seed."""
    lines = ["| seed | test accuracy | seconds, command to result | peak |", "| --- | ---: | ---: | ---: |"]
    for row in record["rows"]:
        peak = f"{row['peak_bytes'] / 2**20:,.0f} MiB"
        lines.append(f"| {row['seed']} | {100 * row['accuracy']:.2f} % | {row['seconds']:.0f} | {peak} |")
    verdict = (
        f"Mean ± std: {percent(record['test_accuracy'])} of {record['rows'][0]['images']:,} test images, single view, "
        f"by the last iterate; published {100 * record['published']:.2f} %, limit "
        f"{record['limit_seconds'] / 60:g} minutes a seed: **{record['verdict']}**."
    )
    return "\n".join([*lines, "", f"{verdict} Measured on {machine(record)}."])


def chosen(row: dict[str, Any]) -> str:
    """The configuration that did best."""
    workers = "" if row["workers"] is None else f", workers {row['workers']}"
    return f"threads {row['threads']}{workers}"


def machine(record: dict[str, Any]) -> str:
    """Where a record was made."""
    environment = record["environment"]
    return f"{processor(environment)}, torch {environment['packages']['torch']}"


TABLES = {
    "lineage-digits": lineage_table,
    "cost-peers": peers_table,
    "cost-memory": memory_table,
    "shipped-resnet20": shipped_table,
    "shipped-digits": shipped_table,
    "finetune-hymenoptera": finetune_table,
    "train-cifar": training_table,
    "train-hymenoptera": training_table,
    "classify-peers": classifying_table,
    "fast-cifar": fast_table,
    "fast-cifar-ablation": ablation_table,
}


def recorded() -> dict[Path, list[Finding]]:
    """The Findings of each record of claims, in the order of the claims."""
    return {path: read_findings(path) for path in sorted(HERE.glob(f"{LEDGER}-*.json"))}


def entries() -> list[Entry]:
    """The claims on record; each with the figure of the dearest budget that has one."""
    found = recorded()
    files = {id(finding): path for path, findings in found.items() for finding in findings}
    made = []
    for findings in by_claim([finding for each in found.values() for finding in each]):
        figures = (figure_of(files[id(finding)], finding.name) for finding in findings)
        figure = next((path for path in figures if path.is_file()), None)
        small = small_figure(figure.read_bytes()) if figure else b""
        made.append(Entry(findings, figure=small, picture=f"{LEDGER}/{findings[0].name}.png" if figure else ""))
    return made


def known() -> str:
    """What the package knows of its claims, as JSON."""
    findings = [finding for each in recorded().values() for finding in each]
    return json.dumps(condensed(findings), indent=1, ensure_ascii=False) + "\n"


def write_claims() -> None:
    """The ledger with its figures, and what the package knows."""
    found = entries()
    if not found:
        return
    (DOCS / LEDGER).mkdir(exist_ok=True)
    for entry in found:
        if entry.figure:
            (DOCS / entry.picture).write_bytes(entry.figure)
    write_ledger(DOCS, found, name=LEDGER)
    KNOWN.write_text(known(), encoding="utf-8")


def claims_table() -> str:
    """How many claims came to which verdict, and a line for each."""
    found = entries()
    return summary_markdown(found) if found else "No claim is on record yet."


def written(name: str) -> str:
    """What stands at the mark of that name."""
    if name == LEDGER:
        return claims_table()
    if name in DEGRADATION:
        return finding_table("degradation", DEGRADATION[name])
    return TABLES[name](json.loads((HERE / f"{name}.json").read_text()))


def rendered(text: str) -> str:
    """The README with all tables as the records have them."""

    def table(match: re.Match[str]) -> str:
        return f"{match[1]}{written(match['name'])}\n{match['end']}"

    return MARK.sub(table, text)


if __name__ == "__main__":
    write_claims()
    README.write_text(rendered(README.read_text(encoding="utf-8")), encoding="utf-8")
