"""Classifying a folder of JPEGs with an ImageNet ResNet-18: residuum beside the usual loop.

    pip install torchvision                                            # the peer; residuum does not need it
    python benchmarks/classify_peers.py results/classify-peers.json --shared ../shared

The 397 JPEGs of hymenoptera_data, of many sizes, by the same weights. Ours is `Classifier.predict` on the folder, and
the whole command `residuum predict`, each in fp32 and in bf16; the faster counts. The usual loop opens each file with
PIL, resizes its shorter side to 256, crops 224, and gives torchvision's net batches of 32 by a DataLoader, eager fp32,
with {0, 1, 2} workers and {1, 2} threads; its best counts. `seconds` is from the paths to the answers with everything
imported and the net in memory, `process_seconds` the whole process. All alternate, in processes of their own; figures
are medians of the rounds. Run it only on a machine that does nothing else. That answers agree, in either precision, is
looked at beforehand, untimed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from peers import (
    THREADS,
    Case,
    Measured,
    alternate,
    best_of,
    cases_of,
    circumstances,
    command_of,
    fresh,
    peaks,
    row_of,
    surroundings_of,
)
from torch import nn
from torch.utils.data import DataLoader
from usual_loop import (
    Chain,
    Photos,
    centre,
    normaliser,
    opened,
    shorter_side,
    to_tensor,
    torchvision_transforms,
    without_torchvision_operators,
)

from residuum.files.atomic import write_file
from residuum.run import dumps

OURS = {"residuum, fp32": "fp32", "residuum, bf16": "bf16"}  # name of a row: precision
COMMANDS = {"residuum predict, fp32": "fp32", "residuum predict, bf16": "bf16"}
USUAL = "usual loop"
BOUND = 3.0  # times the usual loop
BATCH = 32
CLASSES = 1000
WEIGHTS, FOLDER = Path("data/weights/resnet18-imagenet-pq.safetensors"), Path("data/hymenoptera_data")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MODEL, PHOTOS, STATE = "model", "photos", "state.pt"  # in scratch
Answers = NDArray[np.float32]  # (images, classes), by the order of the paths


def unpacked(shared: Path, scratch: Path, most: int | None) -> int:
    """The photographs in one folder, and the weights as a Classifier and as torchvision takes them; how many photos."""
    import residuum

    folder = scratch / PHOTOS
    folder.mkdir()
    paths = sorted((shared / FOLDER).glob("*/*/*.jp*g"))[:most]
    for path in paths:
        shutil.copyfile(path, folder / "-".join(path.parts[-3:]))
    preprocessing = residuum.Preprocessing(channels=3, resize=256, crop=(224, 224), mean=MEAN, std=STD)
    names = [f"class {index}" for index in range(CLASSES)]
    classifier = residuum.import_weights("resnet18", shared / WEIGHTS, preprocessing=preprocessing, class_names=names)
    classifier.save(scratch / MODEL)
    torch.save(classifier.net.state_dict(), scratch / STATE)
    return len(paths)


def by_residuum(scratch: Path, precision: str, answers: bool) -> tuple[float, Answers | None]:
    """Seconds of `Classifier.predict`, and what it says where that is asked for."""
    import residuum

    classifier = residuum.load(str(scratch / MODEL))
    start = time.perf_counter()
    predictions = classifier.predict(scratch / PHOTOS, top=CLASSES if answers else 5, precision=precision)
    seconds = time.perf_counter() - start
    if not answers:
        return seconds, None
    found = np.zeros((len(predictions), CLASSES), np.float32)
    for row, prediction in enumerate(predictions):
        for name, probability in prediction.top:
            found[row, int(name.removeprefix("class "))] = probability
    return seconds, found


def usual_net(scratch: Path) -> nn.Module:
    without_torchvision_operators()
    from torchvision.models import resnet18

    net: nn.Module = resnet18()
    net.load_state_dict(torch.load(scratch / STATE, weights_only=True))
    return net.eval()


def usual_transform() -> object:
    if (transforms := torchvision_transforms()) is None:
        return Chain((shorter_side(256), centre(224), to_tensor, normaliser(MEAN, STD)))
    steps = [transforms.Resize(256), transforms.CenterCrop(224)]
    return transforms.Compose([*steps, transforms.ToTensor(), transforms.Normalize(MEAN, STD)])


def by_usual_loop(scratch: Path, workers: int) -> tuple[float, Answers]:
    """Seconds of the usual loop, and its probabilities."""
    net, transform = usual_net(scratch), usual_transform()
    start = time.perf_counter()
    paths = sorted((scratch / PHOTOS).iterdir())
    photos = Photos(paths, [0] * len(paths), opened, transform)  # type: ignore[arg-type]
    with torch.inference_mode():
        loader = DataLoader(photos, BATCH, num_workers=workers)
        probabilities = torch.cat([net(images).softmax(dim=1) for images, _ in loader])
    return time.perf_counter() - start, probabilities.numpy()


def by_command(case: Case, scratch: Path) -> Measured:
    """The whole command, from the shell's point of view."""
    command = [sys.executable, "-m", "residuum", "predict", str(scratch / PHOTOS), "--model", str(scratch / MODEL)]
    command += ["--precision", COMMANDS[case.name]]
    start = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--json"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=surroundings_of(case, scratch)
    )
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if code := os.waitstatus_to_exitcode(status):
        return {"failed": f"exit code {code}"}
    return {"process_seconds": seconds, "peak_bytes": usage.ru_maxrss * 1024, "worker_peak_bytes": 0}


def child(given: argparse.Namespace) -> None:
    """Classify the folder once, and print the seconds; or write the answers down."""
    told = json.loads(given.child)
    torch.set_num_threads(told["threads"])
    if precision := OURS.get(told["name"]):
        seconds, answers = by_residuum(given.scratch, precision, given.answers)
    else:
        seconds, answers = by_usual_loop(given.scratch, told["workers"])
    if given.answers:
        np.save(answers_of(told["name"], given.scratch), answers)  # type: ignore[arg-type]
    print(json.dumps({"seconds": seconds} | peaks()))


def answers_of(name: str, scratch: Path) -> Path:
    return scratch / f"{name}.npy"


def agreement(scratch: Path) -> dict[str, Measured]:
    """For each of ours: how many photos it and the usual loop call the same, and how far their probabilities differ."""
    for case in (*(Case(name, 1) for name in OURS), Case(USUAL, 1, 0)):
        found = fresh(case, ["--answers"], scratch)
        if "failed" in found:
            raise SystemExit(f"{case.name}: {found['failed']}")
    usual = np.load(answers_of(USUAL, scratch))
    return {name: difference(np.load(answers_of(name, scratch)), usual) for name in OURS}


def difference(ours: Answers, usual: Answers) -> Measured:
    return {
        "same_top1": float((ours.argmax(1) == usual.argmax(1)).mean()),
        "largest_difference_of_probabilities": float(np.abs(ours - usual).max()),
    }


def measure(case: Case, scratch: Path) -> Measured:
    return by_command(case, scratch) if case.name in COMMANDS else fresh(case, [], scratch)


def row(case: Case, runs: Sequence[Measured], num_images: int) -> Measured:
    """Medians, and images in a second with and without the start of the process."""
    rates = {"seconds": "images_per_second", "process_seconds": "images_per_second_with_start"}
    names = [name for name in rates if name in runs[0]] or list(rates)
    found = row_of(case, runs, names)
    if "failed" not in found:
        found |= {rates[name]: round(num_images / found[name], 1) for name in names}
    return found


def ratios(rows: Sequence[Measured]) -> Measured:
    """The faster of ours over the best of the usual loop: without and with the process's start, and as a command."""
    faster = {}
    for key, figure, names in (
        ("without_start", "seconds", OURS),
        ("with_start", "process_seconds", OURS),
        ("command", "process_seconds", COMMANDS),
    ):
        best = best_of([row for row in rows if row["name"] in (*names, USUAL)], figure, min)
        ours = [best[name][figure] for name in names if name in best]
        if ours and USUAL in best:
            faster[key] = round(best[USUAL][figure] / min(ours), 2)
    return {
        "times_faster": faster,
        "bound": BOUND,
        "holds": faster.get("without_start", 0) >= BOUND,
        "holds_with_start": faster.get("with_start", 0) >= BOUND,
    }


def shown(run: Measured) -> str:
    inside = f"{run['seconds']:.2f} s, " if "seconds" in run else ""
    return f"{inside}{run['process_seconds']:.2f} s with the start"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, nargs="?")
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--images", type=int, help="only the first so many, to see that it runs")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="cases that contain this, such as 'threads 2, workers 1'")
    parser.add_argument("--answers", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--scratch", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(given)
        return
    for needed in (given.shared / WEIGHTS, given.shared / FOLDER):
        if not needed.exists():
            raise SystemExit(f"--shared: {needed} is not there. Try: the directory that holds it")
    cases = [Case(name, threads) for name in (*OURS, *COMMANDS) for threads in THREADS] + cases_of([USUAL])
    cases = [case for case in cases if given.only in str(case)]
    with tempfile.TemporaryDirectory() as made:
        scratch = Path(made)
        num_images = unpacked(given.shared, scratch, given.images)
        agreed = agreement(scratch)
        print(json.dumps(agreed), flush=True)
        found = alternate(cases, given.rounds, partial(measure, scratch=scratch), shown)
    rows = [row(case, runs, num_images) for case, runs in found.items()]
    record = {
        "what": "seconds to classify a folder of JPEGs with ResNet-18, by residuum and by the usual loop at its best "
        "number of loader workers and threads; medians of rounds that alternate",
        "command": command_of("classify_peers.py"),
        "environment": circumstances(THREADS),
        "seeds": "none: nothing is drawn",
        "net": f"resnet18, weights {WEIGHTS.name}",
        "images": num_images,
        "rounds": given.rounds,
        "rows": rows,
        "answers": agreed,
        **ratios(rows),
    }
    print(json.dumps({name: record[name] for name in ("answers", "times_faster", "holds")}, indent=1))
    if given.out is not None:
        write_file(given.out, dumps(record))


if __name__ == "__main__":
    main()
