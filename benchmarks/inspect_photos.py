"""Does a class-activation map lie on what matters? An ImageNet ResNet-18 on 24 photos, by deletion and insertion.

    python benchmarks/inspect_photos.py results/inspect-photos.json --shared ../shared --threads 2

The map of the net's own answer to each photo is judged beside random maps (`residuum.insight.judge` says how, and what
"better than random" means); the bound is 20 photos of 24. With `--time` each part of `PARTS` is timed on one photo, the
median of three after one more: only on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean, median

import torch
from torch import Tensor, nn

import residuum
from residuum.data.decode import decode
from residuum.files.atomic import write_file
from residuum.insight.attribution import integrated_gradients, occlusion
from residuum.insight.cam import METHODS, cam
from residuum.insight.judge import Judged, deletion_insertion, randomised
from residuum.records.environment import environment
from residuum.run import dumps

STEPS, RANDOM = 32, 5
BOUND = 20  # photos of 24
WEIGHTS = Path("data/weights/resnet18-imagenet-pq.safetensors")
PHOTOS = Path("data/photos")
IMAGENET = residuum.Preprocessing(
    channels=3, resize=256, crop=(224, 224), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
)
# What is timed, with its defaults, for one photo.
PARTS: dict[str, Callable[[nn.Module, Tensor], object]] = {
    "gradcam": cam,
    "gradcam++": lambda net, photo: cam(net, photo, method="gradcam++"),
    "layercam": lambda net, photo: cam(net, photo, method="layercam"),
    "integrated gradients": integrated_gradients,
    "occlusion": occlusion,
    "deletion and insertion": lambda net, photo: deletion_insertion(net, photo, None, cam(net, photo).overlay),
    "randomised weights": randomised,
}


def classifier(shared: Path) -> residuum.Classifier:
    """The foreign net; what its thousand classes are called matters to nothing here."""
    names = [f"class {index}" for index in range(1000)]
    return residuum.import_weights("resnet18", shared / WEIGHTS, preprocessing=IMAGENET, class_names=names)


def shown(path: Path) -> Tensor:
    """A photo as the net sees it, `(1, 3, 224, 224)`."""
    pixels = IMAGENET.view(decode(path, channels=3))
    return IMAGENET.normalise(torch.from_numpy(pixels.copy())[None])


def row_of(path: Path, judged: Judged) -> dict[str, object]:
    """What a photo showed."""
    return {
        "photo": path.stem,
        "class": judged.class_index,
        "deletion": judged.deletion,
        "insertion": judged.insertion,
        "score": judged.score,
        "random_score": float(judged.random_scores.mean()),
        "random_scores": [float(score) for score in judged.random_scores],
        "sigmas": judged.sigmas,
        "better": judged.better,
    }


def judged_photos(net: nn.Module, paths: list[Path], method: str) -> list[dict[str, object]]:
    rows = []
    for seed, path in enumerate(paths):
        photo = shown(path)
        found = cam(net, photo, method=method)
        judged = deletion_insertion(net, photo, found.class_index, found.overlay, steps=STEPS, random=RANDOM, seed=seed)
        rows.append(row_of(path, judged))
        verdict = "better" if judged.better else "not better"
        print(
            f"{method:10} {path.stem:30} {judged.score:+.3f}, random {judged.random_scores.mean():+.3f}: {verdict}",
            flush=True,
        )
    return rows


def seconds_of(part: Callable[[nn.Module, Tensor], object], net: nn.Module, photo: Tensor) -> float:
    taken = []
    for _ in range(4):
        start = time.perf_counter()
        part(net, photo)
        taken.append(time.perf_counter() - start)
    return median(taken[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, nargs="?")
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--method", choices=list(METHODS), default="gradcam")
    parser.add_argument("--time", action="store_true", help="time the parts as well")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    net = classifier(given.shared).net
    paths = sorted((given.shared / PHOTOS).glob("*.JPEG"))
    rows = judged_photos(net, paths, given.method)
    better = sum(bool(row["better"]) for row in rows)
    beaten_all = sum(row["score"] > max(row["random_scores"]) for row in rows)  # type: ignore[operator, call-overload]
    print(f"{given.method}: better than random for {better} of {len(rows)}; than every random map for {beaten_all}")
    record = {
        "what": "photos for which a class-activation map has a higher score (insertion minus deletion) than random "
        "maps have in the mean; at least the bound are to be",
        "command": f"python benchmarks/inspect_photos.py results/inspect-photos.json --shared ../shared "
        f"--threads {given.threads} --method {given.method}" + (" --time" if given.time else ""),
        "environment": environment() | {"threads": given.threads, "device": "cpu"},
        "net": "resnet18, weights resnet18-imagenet-pq.safetensors",
        "seeds": list(range(len(paths))),  # of the random maps: the number of the photo
        "method": given.method,
        "steps": STEPS,
        "random_maps": RANDOM,
        "bound": BOUND,
        "rows": rows,
        "photos": len(rows),
        "better": better,
        "better_than_every_random_map": beaten_all,
        "mean_score": mean(row["score"] for row in rows),  # type: ignore[misc]
        "mean_random_score": mean(row["random_score"] for row in rows),  # type: ignore[misc]
        "seconds": {name: seconds_of(part, net, shown(paths[0])) for name, part in PARTS.items()} if given.time else {},
        "holds": better >= BOUND,
    }
    if given.out is not None:
        write_file(given.out, dumps(record))


if __name__ == "__main__":
    main()
