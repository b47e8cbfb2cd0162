"""How fast does a net learn, data path included? residuum beside the usual loop, timm and pytorchcv, images/s.

    pip install torchvision timm; pip install --no-deps pytorchcv       # peers; residuum does not need them
    python benchmarks/train_peers.py results/train-cifar.json --shared ../shared
    python benchmarks/train_peers.py results/train-hymenoptera.json --shared ../shared --task hymenoptera

`cifar`: ResNet-20 on CIFAR-10, batches of 128 whole images, by SGD as all peers; ours by Muon as well. `hymenoptera`:
ResNet-18 at 224 from JPEGs, batches of 32. residuum trains by `residuum.train` with a recipe of its own, timed by an
observer between two steps. The usual loop is the net in plain modules (or torchvision's), per-image PIL transforms in a
DataLoader, eager fp32 in NCHW layout; timm is its net and its `create_loader` without colour jitter, channels last, in
fp32 and by autocast in bf16; pytorchcv is its `resnet20_cifar10` in the usual loop. Each peer is tried with {0, 1, 2}
workers of its loader and {1, 2} threads, and its best counts. All alternate, in processes of their own; figures are
medians of the rounds, after warm-up, from one step to a later one, so that starting and compiling are apart
(`start_seconds`, by round: caches are empty in the first). "Convolutions alone" is this net's convolutions forward and
backward in bf16, channels last, one after the other, nothing between them. `holds` is by the best of ours, as of each
peer. Run it only on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from convolutions import time_convolutions
from peers import (
    THREADS,
    Case,
    Enough,
    Measured,
    Stopwatch,
    alternate,
    best_of,
    cases_of,
    circumstances,
    command_of,
    fresh,
    peaks,
    row_of,
)
from trained_peers import (
    CIFAR,
    FOLDER,
    Peer,
    PlainResNet20,
    Settings,
    pytorchcv_resnet20,
    timm_cifar,
    timm_folder,
    timm_resnet18,
    timm_resnet20,
    torchvision_resnet18,
    train_peer,
    usual_cifar,
    usual_folder,
)

from residuum.files.atomic import write_file
from residuum.run import dumps

OURS, CONVOLUTIONS, USUAL = "residuum", "convolutions alone", "usual loop"
OURS_MUON = "residuum, Muon as in fast_cifar"
OURS_BF16, OURS_CACHED = "residuum, bf16", "residuum, bf16, decoded images cached"
MUON = {"orthogonal": {"rate": 0.02, "momentum": 0.9}}
BF16 = {"precision": "bf16"}
BOUND = 3.0  # times the usual loop
SHARE_BOUND = 0.5  # of the rate of the convolutions alone


@dataclass(frozen=True)
class Ours:
    """A way to train with residuum: changes to the recipe, and to how it is run."""

    changes: dict[str, Any] = field(default_factory=dict)
    execution: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """What is trained: the net by our name, images in a batch, who trains it, and bounds."""

    what: str
    net: str
    batch: int
    ours: dict[str, Ours]
    peers: dict[str, Peer]
    share_of_convolutions: bool

    def cases(self) -> list[Case]:
        own = [Case(name, threads) for name in self.ours for threads in THREADS]
        alone = [Case(CONVOLUTIONS, threads) for threads in THREADS] if self.share_of_convolutions else []
        return [*own, *alone, *cases_of(self.peers)]


TASKS = {
    "cifar": Task(
        "images/s of training ResNet-20 on CIFAR-10, batch 128",
        "resnet20",
        128,
        {OURS: Ours(), OURS_MUON: Ours(MUON)},
        {
            USUAL: Peer(PlainResNet20, usual_cifar),
            "timm, fp32": Peer(timm_resnet20, timm_cifar, channels_last=True),
            "timm, bf16": Peer(timm_resnet20, timm_cifar, channels_last=True, bf16=True),
            "pytorchcv in the usual loop": Peer(pytorchcv_resnet20, usual_cifar),
        },
        share_of_convolutions=True,
    ),
    "hymenoptera": Task(
        "images/s of training ResNet-18 at 224 from a folder of JPEGs, batch 32",
        "resnet18",
        32,
        {OURS: Ours(), OURS_BF16: Ours(BF16), OURS_CACHED: Ours(BF16, {"cache_gib": 4.0})},
        {
            USUAL: Peer(torchvision_resnet18, usual_folder),
            "timm, fp32": Peer(timm_resnet18, timm_folder, channels_last=True),
            "timm, bf16": Peer(timm_resnet18, timm_folder, channels_last=True, bf16=True),
        },
        share_of_convolutions=False,
    ),
}


def recipe_of(name: str | None, task: str) -> str:
    """The recipe that was asked for, or that of the task."""
    return name or {"cifar": "cifar", "hymenoptera": "folder"}[task]


def changes_of(given: Sequence[str]) -> dict[str, Any]:
    """Fields of a recipe from `name=value`, the value as JSON or a word."""
    pairs = (each.partition("=") for each in given)
    return {name: plain(value) for name, _, value in pairs}


def plain(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value


def train_ours(task: Task, recipe: str, ours: Ours, settings: Settings, watch: Stopwatch) -> None:
    """`residuum.train`, stopped after the steps that are timed; of a folder, without pauses to validate."""
    import residuum

    own: dict[str, Any] = {"data": "cifar10", "data_dir": settings.shared / CIFAR}
    if task.net == "resnet18":
        own = {"data": replace(residuum.open_dataset(settings.shared / FOLDER), val=None)}
    own["execution"] = residuum.Execution(device="cpu", threads=torch.get_num_threads(), **ours.execution)
    own["changes"] = {"batch_size": task.batch} | ours.changes
    with tempfile.TemporaryDirectory(dir=settings.scratch) as out, suppress(Enough):
        residuum.train(task.net, **own, recipe=recipe, out=Path(out) / "run", observer=watch)
        raise SystemExit(f"the recipe ended before step {watch.last}. Try: fewer --steps")


def time_convolutions_of(task: Task, watch: Stopwatch) -> None:
    """The convolutions alone of the net that is trained, at the size of its images."""
    from residuum.nets import catalog

    entry = catalog.entry(task.net)
    watch.batch = task.batch
    time_convolutions(entry.build(num_classes=10), (task.batch, *entry.input_shape), watch)


def child(given: argparse.Namespace) -> None:
    """Measure one case, and print the figures."""
    told = json.loads(given.child)
    start, case = told.pop("start"), Case(**{name: told[name] for name in ("name", "threads", "workers")})
    torch.set_num_threads(case.threads)
    torch.manual_seed(0)
    task, watch = TASKS[given.task], Stopwatch(given.warm_up, given.steps)
    settings = Settings(given.shared, given.scratch, task.batch, given.warm_up + given.steps)
    if case.name in task.ours:
        ours = task.ours[case.name]
        ours = replace(ours, changes=ours.changes | changes_of(given.change))
        train_ours(task, recipe_of(given.recipe, given.task), ours, settings, watch)
    elif case.name == CONVOLUTIONS:
        time_convolutions_of(task, watch)
    else:
        assert case.workers is not None
        train_peer(task.peers[case.name], case.workers, settings, watch)
    print(json.dumps(watch.figures(start) | peaks()))


def unpacked(shared: Path, scratch: Path) -> None:
    """CIFAR-10's training images as arrays in `scratch`, for the peers."""
    import residuum

    train = residuum.open_dataset("cifar10", data_dir=shared / CIFAR).train
    np.save(scratch / "images.npy", train.images.array)  # type: ignore[attr-defined]
    np.save(scratch / "labels.npy", train.labels)


def row(case: Case, runs: Sequence[Measured], task: Task) -> Measured:
    found = row_of(case, runs, ("images_per_second",), kept=("start_seconds",))
    if "failed" in found:
        return found
    found["batch_size"] = runs[0]["batch_size"]
    if case.name in task.ours:
        found["resident_bytes"] = {
            when: max(one[f"resident_{when}_bytes"] for one in runs) for when in ("quarter", "end")
        }
        found["resident_growth"] = round(max(grown(one) for one in runs), 4)
    return found


def grown(run: Measured) -> float:
    """How much more memory is resident at the end than after a quarter of the timed steps, as a share."""
    return run["resident_end_bytes"] / run["resident_quarter_bytes"] - 1  # type: ignore[no-any-return]


def ratios(rows: Sequence[Measured], task: Task) -> Measured:
    """Ours over the best of each peer, and the bounds."""
    best = {name: row["images_per_second"] for name, row in best_of(rows, "images_per_second").items()}
    faster = {
        name: {peer: round(best[name] / best[peer], 2) for peer in task.peers if peer in best}
        for name in task.ours
        if name in best
    }
    over_usual = [each[USUAL] for each in faster.values() if USUAL in each]
    found: Measured = {
        "best": best,
        "times_faster": faster,
        "bound": BOUND,
        "holds": bool(over_usual) and max(over_usual) >= BOUND,
    }
    if task.share_of_convolutions:
        share = best[OURS] / best[CONVOLUTIONS] if OURS in best and CONVOLUTIONS in best else None
        held = share is not None and share >= SHARE_BOUND
        found |= {"share_of_convolutions": share and round(share, 3), "share_bound": SHARE_BOUND, "share_holds": held}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, nargs="?")
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--task", choices=list(TASKS), default="cifar")
    parser.add_argument("--recipe", help="ours; cifar, and folder for hymenoptera")
    parser.add_argument("--change", action="append", default=[], help="a field of ours, such as batch_size=256")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, help="timed; 60 for cifar, 12 for hymenoptera")
    parser.add_argument("--warm-up", type=int, help="steps before; 15 for cifar, 4 for hymenoptera")
    parser.add_argument("--only", default="", help="cases that contain this, such as 'threads 2, workers 1'")
    parser.add_argument("--scratch", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    given.steps = given.steps or {"cifar": 60, "hymenoptera": 12}[given.task]
    given.warm_up = given.warm_up or {"cifar": 15, "hymenoptera": 4}[given.task]
    if given.child:
        child(given)
        return
    task, recipe = TASKS[given.task], recipe_of(given.recipe, given.task)
    needed = given.shared / (CIFAR if given.task == "cifar" else FOLDER)
    if not needed.is_dir():
        raise SystemExit(f"--shared: {needed} is not there. Try: the directory that holds {needed.name}")
    arguments = ["--shared", str(given.shared), "--task", given.task, "--recipe", recipe]
    arguments += [f"--change={each}" for each in given.change]
    arguments += ["--steps", str(given.steps), "--warm-up", str(given.warm_up)]
    cases = [case for case in task.cases() if given.only in str(case)]
    with tempfile.TemporaryDirectory() as made:
        scratch = Path(made)
        if given.task == "cifar":
            unpacked(given.shared, scratch)
        found = alternate(cases, given.rounds, partial(fresh, arguments=arguments, scratch=scratch), shown)
    rows = [row(case, runs, task) for case, runs in found.items()]
    record = {
        "what": f"{task.what}, data path included: residuum beside its peers, each at its best number of loader "
        "workers and threads; medians of rounds that alternate",
        "command": command_of("train_peers.py"),
        "environment": circumstances(THREADS),
        "seeds": [0],
        "recipe": plain_recipe(recipe, task, changes_of(given.change)),
        "rounds": given.rounds,
        "warm_up_steps": given.warm_up,
        "timed_steps": given.steps,
        "rows": rows,
        **ratios(rows, task),
    }
    print(json.dumps({name: record[name] for name in ("best", "times_faster", "holds")}, indent=1))
    if given.out is not None:
        write_file(given.out, dumps(record))


def shown(run: Measured) -> str:
    return f"{run['images_per_second']:,.0f} images/s, {run['start_seconds']:.1f} s to the first step"


def plain_recipe(name: str, task: Task, changes: dict[str, Any]) -> dict[str, Any]:
    from residuum.training.recipes import recipe

    return recipe(name, task.net).changed({"batch_size": task.batch} | changes).to_json()


if __name__ == "__main__":
    main()
