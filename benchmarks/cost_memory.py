"""Predicted against measured memory: `python benchmarks/cost_memory.py results/cost-memory.json`.

For each net, batch and mode fresh processes build the net, run it on the CPU and report by how much the most resident
memory they ever had (VmHWM) exceeds what they had before; `residuum.cost` predicts the same figure without allocating
anything. With a GPU the most that PyTorch's allocator held is compared as well. Linux only.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

import torch

import residuum
from residuum.files.atomic import write_file
from residuum.records.environment import environment
from residuum.run import dumps

NETS = ("resnet18", "resnet50", "vgg16", "googlenet")
BATCHES = (8, 32)
PROCESSES = 3
MODES = ("forward", "training")
ALLOWED = {"cpu": 0.20, "cuda": 0.10}


def predicted(net: str, batch: int, mode: str, device: str) -> int:
    """Bytes at the peak, as `residuum.cost` has it."""
    with torch.device("meta"):
        module = residuum.net(net)
    memory = residuum.cost(module, (3, 224, 224), batch=batch).memory
    names = {"cpu": "process", "cuda": "peak"}
    bytes_held: int = getattr(memory, f"{mode}_{names[device]}")
    return bytes_held


def run_once(net: torch.nn.Module, images: torch.Tensor, mode: str) -> None:
    """What is measured: an evaluation, or two training steps (the first makes the momentum)."""
    if mode == "forward":
        with torch.no_grad():
            net.eval()(images)
        return
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9, weight_decay=1e-4, foreach=True)
    net.train()
    for _ in range(2):
        answer = net(images)
        heads = [answer] if isinstance(answer, torch.Tensor) else [answer.logits, *answer.auxiliary]
        sum(head.sum() for head in heads).backward()
        del answer, heads
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def status(name: str) -> int:
    """A figure of /proc/self/status in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def child(net: str, batch: int, mode: str, device: str) -> None:
    """Measure in this process and print bytes."""
    from residuum.nets.layers import WithAuxiliary  # noqa: F401, as the net will need it

    small = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.Conv2d(8, 8, 3))
    run_once(small.to(device), torch.zeros(2, 3, 16, 16, device=device), mode)  # libraries load their code
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    else:
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        before = status("VmRSS")
    with torch.device(device):
        module = residuum.net(net)
        images = torch.rand(batch, 3, 224, 224)
    run_once(module, images, mode)
    peak = torch.cuda.max_memory_allocated() if device == "cuda" else status("VmHWM")
    print(peak - before)


def measured(net: str, batch: int, mode: str, device: str) -> int:
    """Bytes by which a fresh process grew: the median of three, since where blocks lie differs from run to run."""
    command = [sys.executable, __file__, "--child", net, str(batch), mode, device]
    runs = [subprocess.run(command, check=True, capture_output=True, text=True) for _ in range(PROCESSES)]
    return int(median(int(run.stdout) for run in runs))


def compare(device: str) -> list[dict[str, Any]]:
    rows = []
    for net in NETS:
        for batch in BATCHES:
            for mode in MODES:
                guess, real = predicted(net, batch, mode, device), measured(net, batch, mode, device)
                apart = guess / real - 1
                row = {"net": net, "batch": batch, "mode": mode, "device": device}
                rows.append(row | {"predicted_bytes": guess, "measured_bytes": real, "apart": round(apart, 4)})
                mark = "" if abs(apart) <= ALLOWED[device] else "  beyond the bound"
                sizes = f"{guess / 2**20:8.0f} predicted {real / 2**20:8.0f} MiB measured"
                print(f"{device} {net:10} {batch:3} {mode:9} {sizes} {apart:+.1%}{mark}")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, nargs="?")
    parser.add_argument("--child", nargs=4, metavar=("NET", "BATCH", "MODE", "DEVICE"))
    given = parser.parse_args()
    if given.child:
        net, batch, mode, device = given.child
        child(net, int(batch), mode, device)
        return
    rows = compare("cpu") + (compare("cuda") if torch.cuda.is_available() else [])
    record = {
        "what": "peak memory predicted by residuum.cost against that of fresh processes, input 3x224x224",
        "command": "python benchmarks/cost_memory.py results/cost-memory.json",
        "environment": environment() | {"threads": torch.get_num_threads(), "device": "cpu"},
        "seeds": "none: figures do not depend on values",
        "allowed": ALLOWED,
        "rows": rows,
        "within": all(abs(row["apart"]) <= ALLOWED[row["device"]] for row in rows),
    }
    if given.out is not None:
        write_file(given.out, dumps(record))


if __name__ == "__main__":
    main()
