"""What a training needs to go on with the same bits, as files.

    state.safetensors   net/<name> and momentum/<name>
    state.json          step, epoch sums, schedule state, seconds; and where it was made, to say what may differ

No generator state is kept: order, augmentation and every random layer are functions of (seed, step).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import PIL
import torch
from pydantic import TypeAdapter
from torch import nn

from residuum.errors import DamagedError, TrainingError
from residuum.training.schedules import ScheduleState
from residuum.weights.store import from_bytes, to_bytes


@dataclass
class Progress:
    """Where a training stands.

    Attributes:
        step: updates made.
        loss_sum, wrong, images: of the training images since the last epoch ended.
        schedule: state of the learning rate.
        learning_rate: of the last update.
        seconds: time spent so far, over all its processes.
    """

    step: int = 0
    loss_sum: float = 0.0
    wrong: int = 0
    images: int = 0
    schedule: ScheduleState = field(default_factory=ScheduleState)
    learning_rate: float = 0.0
    seconds: float = 0.0


def circumstances(device: torch.device, *, compiled: bool, fused: str | None) -> dict[str, Any]:
    """What must be equal for two trainings to give the same bits, beside recipe, data and seed."""
    return {
        "compiled": compiled,
        "fused": fused,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "pillow": PIL.__version__,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads() if device.type == "cpu" else None,
    }


def pack(net: nn.Module, optimizer: torch.optim.SGD, progress: Progress, where: Mapping[str, Any]) -> dict[str, bytes]:
    """A checkpoint's files.

    Raises:
        TrainingError: a weight or buffer is not a number; such a state is never saved.
    """
    tensors = {f"net/{name}": tensor for name, tensor in net.state_dict().items()}
    for name, parameter in net.named_parameters():
        momentum = optimizer.state.get(parameter, {}).get("momentum_buffer")
        if momentum is not None:
            tensors[f"momentum/{name}"] = momentum
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise TrainingError(
                f"step {progress.step}: {name} holds values that are not finite; nothing was saved. "
                "Try: a lower --learning-rate"
            )
    state = {"progress": asdict(progress), "circumstances": dict(where)}
    return {
        "state.safetensors": to_bytes(tensors),
        "state.json": json.dumps(state, indent=1).encode(),
    }


@dataclass(frozen=True)
class Saved:
    """What the `state.json` of a checkpoint says.

    Attributes:
        progress: where the training stood.
        circumstances: where it was made; those that are not there were not kept yet.
    """

    progress: Progress
    circumstances: dict[str, Any] = field(default_factory=dict)

    @property
    def plain(self) -> bool:
        """Whether it was made with PyTorch's own operators only, and says so."""
        return self.circumstances.get("fused", "") is None

    @property
    def threads(self) -> int | None:
        """The number of CPU threads it was made with, where it says so."""
        threads = self.circumstances.get("threads")
        return threads if isinstance(threads, int) and threads > 0 else None

    def differences(self, where: Mapping[str, Any]) -> list[str]:
        """For each circumstance that differs a line such as `threads 2 != 1`."""
        was = self.circumstances
        return [f"{key} {was.get(key)} != {now}" for key, now in where.items() if was.get(key) != now]


def read_state(files: Mapping[str, bytes]) -> Saved:
    """What the `state.json` of a checkpoint says.

    Raises:
        DamagedError: it is not what `pack` writes.
    """
    try:
        return TypeAdapter(Saved).validate_python(json.loads(files["state.json"]))
    except (KeyError, ValueError, RecursionError) as error:  # ValueError: no JSON, or of another shape
        raise _unfit(error) from error


def unpack(files: Mapping[str, bytes], net: nn.Module, optimizer: torch.optim.SGD) -> None:
    """Load the tensors of a checkpoint into net and optimizer.

    Raises:
        DamagedError: they are not those of this net.
    """
    try:
        tensors = from_bytes(files["state.safetensors"], "state.safetensors")
        net.load_state_dict({name[4:]: tensor for name, tensor in tensors.items() if name.startswith("net/")})
        for name, parameter in net.named_parameters():
            if f"momentum/{name}" in tensors:
                momentum = torch.empty_like(parameter).copy_(tensors[f"momentum/{name}"]).detach()
                optimizer.state[parameter]["momentum_buffer"] = momentum
    except (KeyError, RuntimeError) as error:
        raise _unfit(error) from error


def _unfit(error: Exception) -> DamagedError:
    reason = " ".join(str(error).split())[:200]
    return DamagedError(f"checkpoint: does not fit this training ({reason}). Try: the net it was begun with")
