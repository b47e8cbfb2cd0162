"""Counting ten nets with residuum and with its peers: who is exact, and how long it takes.

    pip install torchinfo fvcore calflops transformers      # peers; residuum does not need them
    python benchmarks/cost_peers.py results/cost-peers.json

Each tool counts each net in a process of its own, from the net's name to the figures: building it, on the meta device
where the tool can count there, on the CPU where it has to run the net; importing is not counted. Exact is what the
hand formulas of `tests/nets/hand_formulas.py` give: parameters, and multiply-adds of convolutions and linear layers.
Times are the median of several processes, and compared within one run only.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from statistics import median
from typing import Any

import torch
from usual_loop import without_torchvision_operators

import residuum
from residuum.files.atomic import write_file
from residuum.nets.catalog import CATALOG
from residuum.nets.skeleton import without_values
from residuum.records.environment import environment
from residuum.run import dumps

NETS = (
    "lenet5",
    "alexnet_2012",
    "vgg16",
    "googlenet",
    "resnet20",
    "resnet50",
    "resnet152",
    "resnext50_32x4d",
    "se_resnet50",
    "preact_resnet164",
)
PROCESSES = 3
LIMIT_SECONDS = 1.0  # for ResNet-152
LEAST_RATIO = 5.0

Counted = tuple[int, int]  # parameters, multiply-adds


def by_residuum(net: torch.nn.Module, shape: tuple[int, ...]) -> Counted:
    counted = residuum.cost(net, shape)
    return counted.parameters, counted.macs


def by_residuum_alone(net: torch.nn.Module, shape: tuple[int, ...]) -> Counted:
    """Without the memory of a training step, which no peer works out."""
    counted = residuum.cost(net, shape, training=False)
    return counted.parameters, counted.macs


def by_torchinfo(net: torch.nn.Module, shape: tuple[int, ...]) -> Counted:
    from torchinfo import summary

    found = summary(net, input_size=(1, *shape), verbose=0, device="cpu")
    return int(found.total_params), int(found.total_mult_adds)


def by_fvcore(net: torch.nn.Module, shape: tuple[int, ...]) -> Counted:
    import logging

    from fvcore.nn import FlopCountAnalysis, parameter_count

    logging.getLogger("fvcore").setLevel(logging.ERROR)
    found = FlopCountAnalysis(net.eval(), torch.zeros(1, *shape)).unsupported_ops_warnings(False)
    return int(parameter_count(net)[""]), int(found.total())


def by_calflops(net: torch.nn.Module, shape: tuple[int, ...]) -> Counted:
    from calflops import calculate_flops

    _, macs, parameters = calculate_flops(
        net.eval(), input_shape=(1, *shape), print_results=False, output_as_string=False
    )
    return int(parameters), int(macs)


TOOLS: dict[str, Callable[[torch.nn.Module, tuple[int, ...]], Counted]] = {
    "residuum": by_residuum,
    "residuum, no training": by_residuum_alone,
    "torchinfo": by_torchinfo,
    "fvcore": by_fvcore,
    "calflops": by_calflops,
}


OURS = ("residuum", "residuum, no training")


def load(tool: str) -> None:
    """Import what the tool needs, before the clock starts."""
    if tool == "calflops":
        without_torchvision_operators()
    small = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU())
    TOOLS[tool](small, (3, 16, 16))


def child(tool: str, net: str) -> None:
    """Count one net with one tool, and print figures and seconds."""
    load(tool)
    entry = CATALOG[net]
    started = time.perf_counter()
    with without_values() if tool in OURS else nullcontext():
        module = entry.build()
    built = time.perf_counter()
    parameters, macs = TOOLS[tool](module, entry.input_shape)
    ended = time.perf_counter()
    print(json.dumps({"parameters": parameters, "macs": macs, "build": built - started, "count": ended - built}))


def measure(tool: str, net: str) -> dict[str, Any]:
    entry, runs = CATALOG[net], []
    for _ in range(PROCESSES):
        done = subprocess.run([sys.executable, __file__, "--child", tool, net], capture_output=True, text=True)
        if done.returncode != 0:
            reason = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "no reason given"
            return {"tool": tool, "net": net, "failed": reason[:200]}
        runs.append(json.loads(done.stdout.strip().splitlines()[-1]))
    first = runs[0]
    return {
        "tool": tool,
        "net": net,
        "parameters": first["parameters"],
        "macs": first["macs"],
        "parameters_exact": first["parameters"] == entry.parameters,
        "macs_exact": first["macs"] == entry.macs,
        "macs_apart": first["macs"] / entry.macs - 1,
        "build_seconds": round(median(run["build"] for run in runs), 4),
        "count_seconds": round(median(run["count"] for run in runs), 4),
        "seconds": round(median(run["build"] + run["count"] for run in runs), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, nargs="?")
    parser.add_argument("--child", nargs=2, metavar=("TOOL", "NET"))
    given = parser.parse_args()
    if given.child:
        child(*given.child)
        return
    rows = []
    for net in NETS:
        for tool in TOOLS:
            row = measure(tool, net)
            rows.append(row)
            print(json.dumps(row))
    ours = {row["net"]: row["seconds"] for row in rows if row["tool"] == OURS[0]}
    peers = [tool for tool in TOOLS if tool != OURS[0]]
    counted = {tool: [row for row in rows if row["tool"] == tool and "failed" not in row] for tool in TOOLS}
    record = {
        "what": "ten nets counted by residuum and its peers: exactness, and seconds from name to figures after import",
        "command": "python benchmarks/cost_peers.py results/cost-peers.json",
        "environment": environment() | {"threads": torch.get_num_threads(), "device": "cpu"},
        "seeds": "none: nothing is drawn",
        "versions": {tool: importlib.metadata.version(tool.partition(",")[0]) for tool in TOOLS},
        "rows": rows,
        "exact_macs": {tool: sum(row["macs_exact"] for row in counted[tool]) for tool in TOOLS},
        "exact_parameters": {tool: sum(row["parameters_exact"] for row in counted[tool]) for tool in TOOLS},
        "resnet152_seconds": ours["resnet152"],
        "resnet152_within": ours["resnet152"] < LIMIT_SECONDS,
        "times_faster": {
            tool: {row["net"]: round(row["seconds"] / ours[row["net"]], 2) for row in counted[tool]} for tool in peers
        },
    }
    if given.out is not None:
        write_file(given.out, dumps(record))


if __name__ == "__main__":
    main()
