"""Write the tables of the README from the records in this folder: `python results/render.py`.

A place in the README is marked `<!-- results: NAME -->`; what stands there up to `<!-- end -->` is replaced by the
table of `NAME.json`. `tests/test_readme.py` fails where the README does not say what the records say.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
README = HERE.parent / "README.md"
MARK = re.compile(r"(<!-- results: (?P<name>[\w-]+) -->\n).*?(?P<end><!-- end -->)", re.DOTALL)


def percent(quantity: dict[str, Any]) -> str:
    """`12.34 ± 0.56 %`."""
    return f"{100 * quantity['mean']:.2f} ± {100 * quantity['std']:.2f} %"


def finding_table(record: dict[str, Any]) -> str:
    """A Finding as Markdown: arms, verdict, and where and how it was measured."""
    quantities = list(record["arms"][0]["measured"])
    lines = [
        "| net | published test error | " + " | ".join(quantities) + " |",
        "| --- | --- |" + " ---: |" * len(quantities),
    ]
    for arm in record["arms"]:
        values = " | ".join(percent(arm["measured"][name]) for name in quantities)
        lines.append(f"| {arm['name']} | {arm['published']} | {values} |")
    environment = record["environment"]
    lines += [
        "",
        f"Verdict: **{record['verdict']}**. {record['summary']}",
        "",
        f"Budget {record['budget']} Mean ± std over seeds {record['seeds']}; {record['seconds'] / 60:.1f} minutes of "
        f"training on {environment['cpu']}, {environment['threads']} threads, "
        f"torch {environment['packages']['torch']}.",
    ]
    return "\n".join(lines)


def rendered(text: str) -> str:
    """The README with all tables as the records have them."""

    def table(match: re.Match[str]) -> str:
        record = json.loads((HERE / f"{match['name']}.json").read_text())
        return f"{match[1]}{finding_table(record)}\n{match['end']}"

    return MARK.sub(table, text)


if __name__ == "__main__":
    README.write_text(rendered(README.read_text()))
