"""The page of `residuum inspect` for net after net: seconds and peak memory of fresh processes, and what each part did.

    python benchmarks/inspect_pages.py results/inspect-time.json --shared ../shared --only "one photo"
    python benchmarks/inspect_pages.py results/inspect-pages.json --shared ../shared --run runs/plain56

The bounds hold for the ImageNet ResNet-18 with one photo: the whole page, without what needs a data set, and filters
with class-activation maps; each is the median of three processes, so run these only on a machine that does nothing
else. The other nets run once, to see that every part runs or says why not, and how much memory the deepest takes.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch

from residuum.files.atomic import write_file
from residuum.records.environment import environment
from residuum.run import dumps

WEIGHTS, PHOTOS = Path("data/weights/resnet18-imagenet-pq.safetensors"), Path("data/photos")
CIFAR, FOLDER = Path("data/cifar10"), Path("data/hymenoptera_data")
PHOTO = "n02110185_Siberian_husky.JPEG"
RESNET18 = "the foreign ImageNet ResNet-18"
SECONDS = 240  # of --seconds, for nets with data


@dataclass(frozen=True)
class Case:
    """One page: whose, its other arguments, in how many processes, and how long it may take (seconds)."""

    name: str
    model: str
    arguments: tuple[str, ...]
    processes: int = 1
    bound: float | None = None


def cases(shared: Path, imported: Path, run: Path | None) -> list[Case]:
    """The nets of the lineage; where the machine has no weights for one, it is untrained."""
    photo, resnet18 = str(shared / PHOTOS / PHOTO), str(imported)
    cifar = ("--data", "cifar10", "--data-dir", str(shared / CIFAR), "--seconds", str(SECONDS))
    folder = (photo, "--data", str(shared / FOLDER), "--samples", "64", "--seconds", str(SECONDS))
    found = [
        Case(f"{RESNET18}, one photo: filters, cam", resnet18, (photo, "--only", "filters,cam"), 3, bound=5),
        Case(f"{RESNET18}, one photo", resnet18, (photo,), 3, bound=60),
        Case(f"{RESNET18}, 24 photos", resnet18, (str(shared / PHOTOS), "--seconds", "240")),
        Case("resnet20:cifar10", "resnet20:cifar10", cifar),
        Case("preact_resnet164, untrained", "preact_resnet164", cifar),
        *(Case(f"{net}, untrained", net, folder) for net in ("alexnet", "vgg16_bn", "googlenet", "resnet50")),
        Case("resnet152, untrained", "resnet152", folder),
    ]
    return [*found, Case(f"{run.name}, a Run", str(run), cifar)] if run else found


def page(case: Case, out: Path) -> dict[str, Any]:
    """Make a page in a process of its own: seconds, peak memory, and what became of each part."""
    command = [sys.executable, "-m", "residuum", "inspect", case.model, *case.arguments, "--out", str(out), "--json"]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if code := os.waitstatus_to_exitcode(status):
        raise SystemExit(f"{case.name}: exit code {code}")
    parts = json.loads((out / "inspection.json").read_text())["parts"]
    return {"seconds": seconds, "peak_bytes": usage.ru_maxrss * 1024, "parts": parts}


def row_of(case: Case, pages: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What the pages of a case took; its parts as the last one has them."""
    seconds = median(page["seconds"] for page in pages)
    parts = pages[-1]["parts"]
    return {
        "case": case.name,
        "processes": case.processes,
        "seconds": round(seconds, 2),
        "bound": case.bound,
        "peak_bytes": max(page["peak_bytes"] for page in pages),
        "parts": {
            name: {key: part[key] for key in ("state", "reason", "seconds") if part[key] != ""}
            for name, part in parts.items()
        },
    }


def shown(row: dict[str, Any]) -> str:
    states = Counter(part["state"] for part in row["parts"].values())
    counts = ", ".join(f"{count} {state}" for state, count in states.items())
    bound = f" (bound {row['bound']:g} s)" if row["bound"] else ""
    return f"{row['case']}: {row['seconds']:.1f} s{bound}, peak {row['peak_bytes'] / 2**30:.2f} GiB; {counts}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, nargs="?")
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--run", type=Path, help="a Run of a plain net on CIFAR-10, looked at as well")
    parser.add_argument("--only", default="", help="cases in whose name this regular expression is found")
    parser.add_argument("--keep", type=Path, help="where to leave the pages")
    given = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        kept = given.keep or Path(scratch)
        imported = Path(scratch) / "resnet18"
        arguments = ["--net", "resnet18", "--classes", "imagenet", "--out", str(imported)]
        command = [sys.executable, "-m", "residuum", "weights", "import", str(given.shared / WEIGHTS), *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        for number, case in enumerate(cases(given.shared, imported, given.run)):
            if re.search(given.only, case.name):
                pages = [page(case, kept / f"{number}-{again}") for again in range(case.processes)]
                rows.append(row_of(case, pages))
                print(shown(rows[-1]), flush=True)
    record = {
        "what": "seconds and peak memory of whole commands `residuum inspect`, and what became of each part; "
        "a bound is met where the median of the processes is below it",
        "command": " ".join(["python benchmarks/inspect_pages.py", *sys.argv[1:]]),
        "environment": environment() | {"threads": torch.get_num_threads(), "device": "cpu"},
        "seeds": [0],
        "rows": rows,
        "holds": all(row["seconds"] < row["bound"] for row in rows if row["bound"]),
    }
    if given.out is not None:
        write_file(given.out, dumps(record))


if __name__ == "__main__":
    main()
