"""Are the older nets alive? Each family trained on digits, the images enlarged to what the net needs, three seeds.

    python benchmarks/lineage_digits.py results/lineage-digits.json --threads 2

Recipe `digits` as `residuum train` takes it for each net (one cycle up to 0.01 where there is no batch normalisation);
sizes, epochs and seeds are fixed below. The test split is looked at once, by the last iterate. Finished runs in
`runs/lineage` are reused, so that the command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import residuum
from residuum.files.atomic import write_file
from residuum.records.environment import environment
from residuum.run import dumps

SEEDS = (0, 1, 2)
BOUND = 0.95  # test accuracy
RUNS = Path("runs/lineage")
NETS: dict[str, dict[str, Any]] = {
    "lenet5": {"image_size": 32, "epochs": 30},
    "lenet5_1998": {"image_size": 32, "epochs": 30},
    "alexnet": {"image_size": 67, "epochs": 15},
    "vgg11": {"image_size": 32, "epochs": 10},
    "googlenet": {"image_size": 64, "epochs": 30},
}


def trained(net: str, seed: int, threads: int) -> residuum.Run:
    """The finished run of a net and a seed."""
    path = RUNS / f"{net}-seed{seed}"
    execution = residuum.Execution(threads=threads)
    if not (path / "run.json").exists():
        return residuum.train(net, "digits", changes=NETS[net], seed=seed, out=path, execution=execution)
    run = residuum.Run.open(path)
    return run if run.result is not None else residuum.resume(path, execution=execution)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, nargs="?")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    rows = []
    for net, changes in NETS.items():
        results = []
        for seed in SEEDS:
            run = trained(net, seed, given.threads)
            results.append(run.result)
            print(f"{net} seed {seed}: test accuracy {1 - run.result['test']['error']:.4f}", flush=True)
        accuracies = [1 - result["test"]["error"] for result in results]
        rows.append(
            {
                "net": net,
                **changes,
                "recipe": run.config.recipe,
                "test_accuracy": {"mean": mean(accuracies), "std": stdev(accuracies), "seeds": accuracies},
                "seconds": sum(result["seconds"] for result in results),
                "alive": min(accuracies) > BOUND,
            }
        )
    record = {
        "what": "test accuracy on digits of one net of each older family; every seed is to be over the bound",
        "command": f"python benchmarks/lineage_digits.py results/lineage-digits.json --threads {given.threads}",
        "environment": environment() | {"threads": given.threads, "device": "cpu"},
        "seeds": SEEDS,
        "bound": BOUND,
        "rows": rows,
        "holds": all(row["alive"] for row in rows),
    }
    if given.out is not None:
        write_file(given.out, dumps(record))


if __name__ == "__main__":
    main()
