"""ResNet-20 on CIFAR-10 by the recipe `fast_cifar`: what each ingredient gives, and how soon 91.25 % are reached.

    python benchmarks/fast_cifar.py ablation results/fast-cifar-ablation.json --shared ../shared --epochs 16 --seeds 3
    python benchmarks/fast_cifar.py final results/fast-cifar.json --shared ../shared --threads 2

`ablation`: accuracy on 5,000 training images that are held out, the same ones for every seed, after the recipe, after
the recipe without one ingredient at a time, and after the recipe `cifar`, all for as many epochs. The test images are
dropped before anything looks at them. Differences are to the whole recipe, with the 95 % confidence interval by Welch's
t. `final`: three seeds trained on all 50,000 images by the command itself, each in a fresh process with empty caches;
the 10,000 test images are looked at once, at the end, as single views. Seconds are from the start of the process to its
end, so that imports, compiling, reading the images and the evaluation are included.

The file is written after each training. The same command again goes on where it was stopped: trainings in the file
count where commit, recipe, seed, threads and device are the same; a file with others is left alone.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from peers import command_of, rounded

from residuum.files.atomic import write_file
from residuum.records.environment import commit, environment
from residuum.records.finding import half_width
from residuum.records.quantity import Measured
from residuum.run import dumps
from residuum.training.recipe import Recipe
from residuum.training.recipes import recipe as named

NET, DATA, RECIPE = "resnet20", "cifar10", "fast_cifar"
CIFAR = Path("data/cifar10")
HOLDOUT = 0.1  # 45,000 and 5,000 images
SEEDS = (0, 1, 2)  # of `final`
PUBLISHED = 0.9125  # test accuracy, He et al. 2015, Table 6
LIMIT = 720  # seconds
WHOLE = "fast_cifar"
Row = dict[str, Any]
SAME = ("arm", "seed", "recipe", "threads", "device", "commit")  # what makes two trainings one


@dataclass(frozen=True)
class Training:
    """One training: a row of a record before it is measured."""

    arm: str
    recipe: Recipe
    seed: int
    threads: int
    device: str
    shared: Path

    def asked(self) -> Row:
        """What the row says before anything is measured."""
        own: Row = {"arm": self.arm, "seed": self.seed, "threads": self.threads, "device": self.device}
        return own | {"recipe": json.loads(dumps(self.recipe.to_json())), "commit": commit()}


# What is trained


def arms(epochs: float | None) -> dict[str, Recipe]:
    """The whole recipe, then without one ingredient each, then the recipe `cifar`; on 45,000 images."""
    cifar = named("cifar", NET)
    whole = named(RECIPE, NET).changed({"holdout": HOLDOUT})
    whole = whole.changed({"epochs": epochs or whole.epochs})
    found = {
        WHOLE: whole,
        "SGD in place of Muon": whole.changed({"orthogonal": None, "learning_rate": cifar.learning_rate}),
        "labels smoothed by 0.1": whole.changed({"label_smoothing": 0.1}),
        "mirrored by chance": whole.changed({"augmentation": cifar.to_json()["augmentation"]}),
        "batches of 128": whole.changed({"batch_size": 128}),
        "all images whole": whole.changed({"growing": ()}),
        "padded by 4 pixels": whole.changed({"augmentation": {**whole.to_json()["augmentation"], "pad": 4}}),
        "a cycle that rises for 30 %": whole.changed({"schedule": cifar.to_json()["schedule"]}),
    }
    return found | {"cifar": cifar.changed({"holdout": HOLDOUT, "epochs": whole.epochs})}


def train_held_out(told: Mapping[str, Any], shared: Path) -> Row:
    """Train on 45,000 images and validate once on the others: what a row says of it."""
    import residuum
    from residuum.training.observer import Silent

    class Lines(Silent):
        def epoch_ended(self, record: dict[str, Any]) -> None:
            said = (
                f"epoch {record['epoch']:.1f}: val error {100 * record['val_error']:.2f} %, {record['seconds']:.0f} s"
            )
            print(f"  {told['arm']}, seed {told['seed']}: {said}", file=sys.stderr, flush=True)

    data = replace(residuum.open_dataset(DATA, data_dir=shared / CIFAR), test=None)
    execution = residuum.Execution(device=told["device"], threads=told["threads"])
    recipe = Recipe.from_json(told["recipe"])
    with tempfile.TemporaryDirectory() as scratch:
        run = residuum.train(
            NET, data, recipe=recipe, seed=told["seed"], out=Path(scratch) / "r", execution=execution, observer=Lines()
        )
        result, resolved = run.result, run.config.recipe["precision"]
    assert result is not None
    return found_by(result, "val") | {"precision": resolved}


def found_by(result: Mapping[str, Any], split: str) -> Row:
    """What a row says of the result of a Run, judged by one of its splits."""
    return {
        "accuracy": 1 - result[split]["error"],
        "loss": result[split]["loss"],
        "images": result[split]["num_images"],
        "train_error_last_epoch": result["train"]["error"],
        "train_seconds": result["seconds"],
        "steps": result["steps"],
        "weights_sha256": result["weights_sha256"],
    }


# Processes


def measured(command: Sequence[str], variables: Mapping[str, str]) -> tuple[str, float, int]:
    """What a process printed, its seconds from start to end, and the most resident memory that it had, in bytes.

    Raises:
        SystemExit: it failed; its complaint was shown.
    """
    with tempfile.TemporaryFile() as printed:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=printed, env=dict(variables))
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"a training failed, exit code {process.returncode}")
        printed.seek(0)
        return printed.read().decode(), seconds, used.ru_maxrss * 1024


def surroundings(threads: int, cache: Path) -> dict[str, str]:
    """The environment of a process: its threads, and a cache directory of its own."""
    count = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    return os.environ | count | {"RESIDUUM_CACHE": str(cache), "TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor")}


def ablated(training: Training) -> Row:
    """A row of the ablation, trained in a process of its own."""
    asked = training.asked()
    command = [sys.executable, str(Path(__file__).resolve()), "ablation", "--shared", str(training.shared)]
    with tempfile.TemporaryDirectory() as cache:
        said, seconds, peak = measured(
            [*command, "--child", json.dumps(asked)], surroundings(training.threads, Path(cache))
        )
    found: Row = json.loads(said.strip().splitlines()[-1])
    return asked | found | {"seconds": rounded(seconds), "peak_bytes": peak}


def trained_by_command(training: Training) -> Row:
    """A row of `final`: the command as a person types it, in a fresh process with empty caches."""
    asked = training.asked()
    words = ["train", NET, "--data", DATA, "--recipe", RECIPE, "--seed", str(training.seed)]
    words += ["--threads", str(training.threads), "--device", training.device]
    if training.recipe.epochs != named(RECIPE, NET).epochs:
        words += ["--epochs", f"{training.recipe.epochs:g}"]
    own = ["--data-dir", str(training.shared / CIFAR), "--json", "--quiet"]
    with tempfile.TemporaryDirectory() as made:
        out = ["--out", str(Path(made) / "run")]
        command = [sys.executable, "-m", "residuum", *words, *own, *out]
        said, seconds, peak = measured(command, surroundings(training.threads, Path(made) / "cache"))
        epochs = (Path(made) / "run" / "metrics.jsonl").read_text().splitlines()
    own_row = {
        "command": " ".join(["residuum", *words]),
        "seconds": rounded(seconds),
        "peak_bytes": peak,
        "resident_bytes_by_epoch": [json.loads(line)["resident_bytes"] for line in epochs],
    }
    return asked | found_by(json.loads(said), "test") | own_row


# Records


def kept(out: Path | None, asked: Sequence[Row], any_commit: bool = False) -> list[Row]:
    """The rows that a file of before holds of what may be asked.

    Raises:
        SystemExit: it holds others, which would be lost.
    """
    if out is None or not out.exists():
        return []
    same = [name for name in SAME if name != "commit" or not any_commit]
    wanted = {(row["arm"], row["seed"]): {name: row[name] for name in same} for row in asked}
    try:
        rows: list[Row] = json.loads(out.read_text())["rows"]
        for row in rows:
            key = wanted.get((row["arm"], row["seed"]))
            differs = [] if key is None else [name for name in same if key[name] != row[name]]
            if key is None or differs:
                why = f"with another {' and '.join(differs)}" if differs else "which is not asked for"
                action = ", or --any-commit" if differs == ["commit"] else ", or delete it"
                raise SystemExit(f"{out}: holds {row['arm']}, seed {row['seed']}, {why}. Try: another file{action}")
    except (ValueError, KeyError, TypeError) as error:
        raise SystemExit(f"{out}: is no record of this script. Try: another file") from error
    return rows


def mean_and_std(values: Sequence[float]) -> dict[str, Any]:
    """Mean and sample standard deviation; None for the latter of a single value."""
    return {"mean": fmean(values), "std": Measured(tuple(values)).std if len(values) > 1 else None}


def table(rows: Sequence[Row]) -> list[Row]:
    """For each arm accuracy and seconds over its seeds, and how much better it is than the whole recipe."""
    by_arm = {arm: [row for row in rows if row["arm"] == arm] for arm in dict.fromkeys(row["arm"] for row in rows)}
    found = []
    for arm, own in by_arm.items():
        line: Row = {
            "name": arm,
            "seeds": [row["seed"] for row in own],
            "val_accuracy": mean_and_std([row["accuracy"] for row in own]),
            "seconds": rounded(fmean(row["seconds"] for row in own)),
        }
        if arm != WHOLE and WHOLE in by_arm:
            ours, others = (Measured(tuple(row["accuracy"] for row in each)) for each in (own, by_arm[WHOLE]))
            line["difference"] = ours.mean - others.mean
            several = min(len(own), len(by_arm[WHOLE])) > 1
            line["half_width"] = half_width(ours, others) if several else None
        found.append(line)
    return found


def ablation_record(rows: Sequence[Row], trainings: Sequence[Training]) -> Row:
    first = trainings[0]
    return {
        "what": "accuracy on 5,000 held-out training images of CIFAR-10 of ResNet-20 by the recipe fast_cifar, without "
        "one ingredient at a time, and by the recipe cifar, all for as many epochs",
        "command": command_of("fast_cifar.py"),
        "environment": environment() | {"threads": first.threads, "device": first.device},
        "seeds": sorted({each.seed for each in trainings}),
        "epochs": first.recipe.epochs,
        "table": table(rows),
        "rows": rows,
        "complete": len(rows) == len(trainings),
    }


def final_record(rows: Sequence[Row], trainings: Sequence[Training]) -> Row:
    first = trainings[0]
    accuracy, seconds = (mean_and_std([row[name] for row in rows]) for name in ("accuracy", "seconds"))
    complete, slowest = len(rows) == len(trainings), max(row["seconds"] for row in rows)
    holds = complete and accuracy["mean"] >= PUBLISHED and slowest < LIMIT
    return {
        "what": "from command to test accuracy: ResNet-20 on all 50,000 training images of CIFAR-10 by the recipe "
        "fast_cifar, tested once, single views; the mean is to reach what is published, each seed within the limit",
        "command": command_of("fast_cifar.py"),
        "environment": environment() | {"threads": first.threads, "device": first.device},
        "seeds": [each.seed for each in trainings],
        "recipe": rows[0]["recipe"],
        "published": PUBLISHED,
        "limit_seconds": LIMIT,
        "rows": rows,
        "test_accuracy": accuracy,
        "seconds": seconds | {"max": slowest},
        "peak_bytes": max(row["peak_bytes"] for row in rows),
        "complete": complete,
        "holds": holds,
        "verdict": "holds" if holds else "does not hold" if complete else "not complete",
    }


@dataclass(frozen=True)
class Work:
    """All trainings of a record, and how one is made.

    Attributes:
        trainings: all, in the order of the record.
        measure: makes a row.
        record: makes the record of the rows that are there.
    """

    trainings: Sequence[Training]
    measure: Callable[[Training], Row]
    record: Callable[[Sequence[Row], Sequence[Training]], Row]


def work_through(work: Work, given: argparse.Namespace) -> list[Row]:
    """Measure what the file does not hold yet, write the file after each, and say how far it is."""
    trainings, out = work.trainings, given.out
    asked = [each.asked() for each in trainings]
    order = {(row["arm"], row["seed"]): place for place, row in enumerate(asked)}
    rows = kept(out, asked, given.any_commit)
    done = {(row["arm"], row["seed"]) for row in rows}
    missing = [each for each in trainings if (each.arm, each.seed) not in done]
    now = [each for each in missing if not given.only or each.arm in given.only]
    print(f"{len(rows)} of {len(trainings)} trainings are there", flush=True)
    with ThreadPoolExecutor(given.at_once) as pool:
        running = [pool.submit(work.measure, each) for each in now]
        failure: BaseException | None = None
        try:
            for future in as_completed(running):
                if future.cancelled():
                    continue
                if found := future.exception():
                    failure = failure or found
                    for each in running:
                        each.cancel()
                    continue
                row = future.result()
                rows = sorted([*rows, row], key=lambda one: order[one["arm"], one["seed"]])
                if out is not None:
                    write_file(out, dumps(work.record(rows, trainings)))
                told = f"accuracy {100 * row['accuracy']:.2f} %, {row['seconds']:.0f} s"
                print(f"{len(rows)}/{len(trainings)} {row['arm']}, seed {row['seed']}: {told}", flush=True)
        finally:
            pool.shutdown(cancel_futures=True)
    if failure is not None:
        raise failure
    return rows


# Commands


def ablation(given: argparse.Namespace) -> None:
    if given.child:
        print(json.dumps(train_held_out(json.loads(given.child), given.shared)))
        return
    recipes = arms(given.epochs)
    for name in given.only or ():
        if name not in recipes:
            raise SystemExit(f"--only: {name!r} is not an arm. Try: one of {', '.join(recipes)}")
    trainings = [
        Training(name, recipe, seed, given.threads, given.device, given.shared)
        for seed in range(given.seeds)
        for name, recipe in recipes.items()
    ]
    rows = work_through(Work(trainings, ablated, ablation_record), given)
    for line in table(rows):
        difference = f", {100 * line['difference']:+.2f}" if "difference" in line else ""
        print(f"{line['name']}: {100 * line['val_accuracy']['mean']:.2f} %{difference}, {line['seconds']:.0f} s")


def final(given: argparse.Namespace) -> None:
    recipe = named(RECIPE, NET)
    recipe = recipe.changed({"epochs": given.epochs or recipe.epochs})
    trainings = [Training(WHOLE, recipe, seed, given.threads, given.device, given.shared) for seed in SEEDS]
    rows = work_through(Work(trainings, trained_by_command, final_record), given)
    record = final_record(rows, trainings)
    print(json.dumps({name: record[name] for name in ("test_accuracy", "seconds", "verdict")}, indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["ablation", "final"])
    parser.add_argument("out", type=Path, nargs="?")
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--epochs", type=float, help="the recipe's by default")
    parser.add_argument("--threads", type=int, default=2, help="of one training")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seeds", type=int, default=3, help="of the ablation, from 0")
    parser.add_argument("--only", action="append", help="an arm of the ablation by its name; may be given again")
    parser.add_argument("--at-once", type=int, default=1, help="trainings of the ablation side by side")
    parser.add_argument("--any-commit", action="store_true", help="go on with a file that other commits began")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if not (given.shared / CIFAR).is_dir():
        raise SystemExit(f"--shared: {given.shared / CIFAR} is not there. Try: the directory that holds {CIFAR}")
    for name in ("threads", "seeds", "at_once"):
        if getattr(given, name) < 1:
            raise SystemExit(f"--{name.replace('_', '-')}: must be at least 1, got {getattr(given, name)}. Try: 1")
    if given.what == "final" and (given.only or given.at_once > 1):
        raise SystemExit("final: is timed, one training after the other. Try: without --only and --at-once")
    {"ablation": ablation, "final": final}[given.what](given)


if __name__ == "__main__":
    main()
