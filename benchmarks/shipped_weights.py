"""The weights in the package: made of two finished Runs, judged as they are stored, and written down.

    residuum train resnet20 --data cifar10 --recipe cifar --epochs 70 --out runs/resnet20-50k
    residuum train resnet20 --data cifar10 --recipe cifar --epochs 70 --holdout 0.1 --out runs/resnet20-45k
    python benchmarks/shipped_weights.py runs/resnet20-50k --twin runs/resnet20-45k \\
        --to src/residuum/weights/shipped/resnet20-cifar10 --record results/shipped-resnet20.json

The twin was trained on 45,000 of the same images; the temperature is fitted on the 5,000 it has not seen, and taken
over. Where the data has a validation split of its own, the Run is its own twin; without a twin the temperature stays 1.
The test split is looked at once, by what is stored (float16), for the figures of the card; fp32 and the
probabilities before the temperature are evaluated beside it and choose nothing. Where an earlier attempt was judged on
that split before this one was decided upon, `--earlier RECORD` keeps its figure in the new record.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import residuum
from residuum.classifier import Classifier
from residuum.files.atomic import write_file
from residuum.records.environment import environment
from residuum.run import Run, dumps
from residuum.training.prepare import with_holdout
from residuum.weights.store import digest

LIMITS = {
    "cifar10": "It knows ten classes and answers every picture with one of them, also a picture of none. It sees 32x32 "
    "pixels of it, cropped from the centre: photographs of small, several or unusual things are beyond it.",
    "digits": "It knows single handwritten digits of 8x8 grey pixels, bright on dark, as scikit-learn has them; scans "
    "and photographs of digits look otherwise.",
}
KEPT = ("recipe", "seed", "data", "data_fingerprint", "chosen_by", "parameters")


def fitted(twin: Run, dataset: residuum.Dataset) -> tuple[float, str]:
    """The temperature that suits images the twin has not seen, and which these are."""
    held = with_holdout(dataset, twin.config.recipe["holdout"]).split("val")
    temperature = twin.classifier().calibrated(held, dataset.class_names).temperature
    what = "validation images" if dataset.val is not None else "training images that a twin was not trained on"
    return temperature, f"{len(held):,} {what}"


def judged(classifier: Classifier, dataset: residuum.Dataset) -> dict[str, Any]:
    """Metrics on the test split, with the per-class table."""
    metrics = classifier.evaluate(dataset.split("test"), dataset.class_names)
    return metrics.to_json() | {"per_class": metrics.per_class(classifier.class_names)}


def described(run: Run) -> dict[str, Any]:
    """All of a Run that a record keeps."""
    return {
        "config": run.config.model_dump(mode="json"),
        "environment": run.environment,
        "log": run.metrics(),
        "result": run.result,
    }


def attempt(record: dict[str, Any]) -> dict[str, Any]:
    """What a record of an earlier attempt says in one line."""
    config, stored = record["run"]["config"], record["test"]["stored"]
    return {
        "epochs": config["recipe"]["epochs"],
        "seed": config["seed"],
        "top1": stored["top1"],
        "commit": record["environment"]["commit"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--twin", type=Path)
    parser.add_argument("--earlier", type=Path)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--record", type=Path, required=True)
    given = parser.parse_args()
    made_in = environment()  # before anything is written
    earlier = [attempt(json.loads(given.earlier.read_text()))] if given.earlier is not None else []
    run = Run.open(given.run)
    twin = Run.open(given.twin) if given.twin is not None else None
    dataset = residuum.open_dataset(run.config.data, data_dir=given.data_dir)
    temperature, fitted_on = fitted(twin, dataset) if twin is not None else (1.0, "not fitted")
    whole = run.classifier()
    stored_at = given.to
    tensors = whole.net.state_dict()
    card = {name: whole.card[name] for name in KEPT} | {
        "weights": "in the package",
        "licence": "Apache-2.0",
        "stored_as": "float16",
        "run_weights_sha256": digest(tensors),
        "temperature_from": fitted_on,
        "limits": LIMITS[run.config.data],
        "record": given.record.name,
    }
    half = replace(whole, temperature=temperature, card=card)
    for values in tensors.values():
        if values.is_floating_point():
            values.copy_(values.half())
    figures = judged(half, dataset)
    card["metrics"] = {"test": {name: value for name, value in figures.items() if name != "per_class"}}
    card["per_class"] = {"test": figures["per_class"]}
    card["weights_sha256"] = digest(half.net.state_dict())
    half.save(stored_at, half=True)
    stored = Classifier.load(stored_at)
    assert digest(stored.net.state_dict()) == card["weights_sha256"]
    record = {
        "what": f"the run behind {given.to.name}, which is in the package",
        "command": f"python benchmarks/shipped_weights.py runs/{given.run.name}"
        + (f" --twin runs/{given.twin.name}" if given.twin is not None else ""),
        "environment": made_in | {"threads": run.environment.get("threads"), "device": "cpu"},
        "seeds": [run.config.seed],
        "earlier_attempts": earlier,
        "temperature": temperature,
        "bytes": sum(path.stat().st_size for path in stored_at.iterdir()),
        "test": {
            "stored": judged(stored, dataset),
            "stored, temperature 1": judged(replace(stored, temperature=1.0), dataset),
            "fp32, temperature 1": judged(run.classifier(), dataset),
        },
        "run": described(run),
    }
    if twin is not None and twin.path != run.path:
        record["test"]["twin, temperature 1"] = judged(twin.classifier(), dataset)
        record["twin"] = described(twin)
    text = dumps(record)
    if run.config.data_dir is not None:  # where it lay on the machine says nothing to others
        text = text.replace(run.config.data_dir, "DIR")
    write_file(given.record, text)
    for name, each in record["test"].items():
        print(f"{name}: top-1 {each['top1']:.4f}, loss {each['loss']:.4f}, ECE {each['ece']:.4f}")


if __name__ == "__main__":
    main()
