"""`residuum train` and `residuum resume`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from residuum.commands.options import Hardware, Saving, execution, share, shown_path, taken
from residuum.errors import InputError

if TYPE_CHECKING:
    from residuum.plans.seeds_record import Seeds
    from residuum.report.progress import ConsoleProgress
    from residuum.run import Run
    from residuum.training.recipe import Recipe


@dataclass(frozen=True)
class Train:
    """Train a net on a data set or a folder of images, into a Run directory."""

    net: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NET")]
    """Name of a net, untrained (`residuum list` shows them; fields changed as in resnet20+shortcut=project); or weights
    to go on from: resnet18:imagenet, a Run or a Classifier directory."""
    data: str
    """digits, cifar10, cifar100, mnist, fashion-mnist, or a folder with one directory for each class."""
    data_dir: Path | None = None
    """Where the files of a named data set lie; downloaded otherwise."""
    recipe: str | None = None
    """paper_cifar, cifar, fast_cifar, paper_imagenet, digits, folder or finetune; the one that suits net and data by
    default."""
    out: Path | None = None
    """Directory of the Run; runs/<net>-<data>-<recipe>-seed<seed> by default."""
    seed: int = 0
    """Of initial weights, order and augmentation."""
    seeds: int | None = None
    """Train so many times, with this seed and those after it, into one directory: mean and spread of the error."""
    side_by_side: int | None = None
    """With --seeds, at most so many trainings at once; 1 by default, on a GPU as many as fit."""
    epochs: float | None = None
    """Passes over the training set, instead of the recipe's."""
    minutes: float | None = None
    """Train for as many epochs as fit into these minutes on this machine; a few steps are timed first."""
    max_steps: int | None = None
    """Train for so many updates, instead of the recipe's."""
    batch_size: int | None = None
    """Images in an update."""
    learning_rate: float | None = None
    """Peak learning rate."""
    image_size: int | None = None
    """Side of the square the net sees, in pixels."""
    holdout: float | None = None
    """Share of the training images kept out to validate on; 0.1 is the 45k/5k split of CIFAR-10."""
    precision: Literal["fp32", "bf16", "auto"] | None = None
    """Numbers of the forward and backward pass; auto is bf16 where the device is faster with it."""
    trunk_rate: float | None = None
    """Rate of all layers but the last, as a share of the learning rate."""
    freeze_trunk: bool = False
    """Train the last layer alone: a trunk rate of 0."""
    batch_norm: Literal["trained", "frozen", "re-estimated"] | None = None
    """Statistics of batch normalisation: of each batch, kept as they are, or computed once from the training images."""
    compile: bool = False
    """Run through torch.compile."""
    layer_statistics: bool = False
    """Record responses and gradients of the layers after every epoch: for the report, and residuum inspect RUN."""
    json: bool = False
    """Print the result as JSON."""
    quiet: bool = False
    """No progress."""
    hardware: Annotated[Hardware, tyro.conf.arg(name="")] = field(default_factory=Hardware)
    saving: Annotated[Saving, tyro.conf.arg(name="")] = field(default_factory=Saving)

    def run(self) -> int:
        from residuum.report.progress import ConsoleProgress
        from residuum.training.start import train

        lengths = {"--max-steps": self.max_steps, "--epochs": self.epochs, "--minutes": self.minutes}
        if len(asked := [name for name, value in lengths.items() if value is not None]) > 1:
            raise InputError(f"{' and '.join(asked)} exclude each other. Try: one of them")
        if self.freeze_trunk and self.trunk_rate is not None:
            raise InputError("--freeze-trunk and --trunk-rate exclude each other. Try: one of them")
        changes = {
            "steps": self.max_steps,
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "learning_rate": self.learning_rate,
            "image_size": self.image_size,
            "holdout": self.holdout,
            "precision": self.precision,
            "trunk_rate": 0.0 if self.freeze_trunk else self.trunk_rate,
            "batch_norm": self.batch_norm,
            "compile": self.compile or None,
            "layer_statistics": self.layer_statistics or None,
        }
        if self.side_by_side is not None and self.seeds is None:
            raise InputError("--side-by-side: is for several seeds. Try: --seeds 3")
        given: dict[str, Any] = {
            "recipe": self.recipe,
            "changes": {name: value for name, value in changes.items() if value is not None},
            "out": self.out,
            "seed": self.seed,
            "data_dir": self.data_dir,
            "execution": execution(self.hardware, self.saving),
        }
        if self.minutes is not None:
            given |= {"recipe": self._within(self.minutes, given), "changes": None}
        if self.seeds is not None:
            return self._several(self.seeds, given)
        with ConsoleProgress(quiet=self.quiet) as progress:
            self._tell_weights(progress)
            run = train(self.net, self.data, **given, observer=progress)
        print_result(run, as_json=self.json)
        return 0

    def _within(self, minutes: float, given: Mapping[str, Any]) -> Recipe:
        """The recipe with as many epochs as fit into the minutes; what was found is said."""
        from residuum.report.progress import ConsoleProgress
        from residuum.training.asked import look_up
        from residuum.training.budget import within
        from residuum.training.prepare import choose_device

        with ConsoleProgress(quiet=self.quiet) as progress:
            asked = look_up(
                self.net,
                self.data,
                recipe=given["recipe"],
                changes=given["changes"],
                data_dir=self.data_dir,
                device=choose_device(given["execution"].device),
                observer=progress,
            )
            fitting = within(minutes, self.net, asked.dataset, asked.recipe, given["execution"])
            sides = ", ".join(str(side) for _, side in fitting.growing)
            smaller = f", images smaller at first ({sides} pixels)" if sides else ""
            progress.message(f"{minutes:g} minutes are {fitting.epochs:g} epochs here{smaller}")
        return fitting

    def _several(self, seeds: int, given: dict[str, Any]) -> int:
        from residuum.plans.seeds import train_seeds
        from residuum.report.progress import PlanProgress

        with PlanProgress(quiet=self.quiet) as progress:
            self._tell_weights(progress)
            found = train_seeds(
                self.net, self.data, seeds=seeds, side_by_side=self.side_by_side, **given, observer=progress
            )
        return print_seeds(found, as_json=self.json)

    def _tell_weights(self, progress: ConsoleProgress) -> None:
        if line := taken(self.net):
            progress.message(line)


@dataclass(frozen=True)
class Resume:
    """Continue a training that was stopped; on a CPU it ends with the same bits as if it had not been."""

    run_directory: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """The Run directory, or that of several seeds."""
    json: bool = False
    """Print the result as JSON."""
    quiet: bool = False
    """No progress."""
    hardware: Annotated[Hardware, tyro.conf.arg(name="")] = field(default_factory=Hardware)
    saving: Annotated[Saving, tyro.conf.arg(name="")] = field(default_factory=Saving)

    def run(self) -> int:
        from residuum.plans.seeds import is_plan_of_seeds, resume_seeds
        from residuum.report.progress import ConsoleProgress, PlanProgress
        from residuum.training.start import resume

        if is_plan_of_seeds(self.run_directory):
            with PlanProgress(quiet=self.quiet) as whole:
                found = resume_seeds(
                    self.run_directory, execution=execution(self.hardware, self.saving), observer=whole
                )
            return print_seeds(found, as_json=self.json)
        with ConsoleProgress(quiet=self.quiet) as progress:
            run = resume(self.run_directory, execution=execution(self.hardware, self.saving), observer=progress)
        print_result(run, as_json=self.json)
        return 0


def print_result(run: Run, *, as_json: bool) -> None:
    """The final metrics of a finished Run."""
    from residuum.plans.seeds_record import whole_result

    result = whole_result(run)
    path = shown_path(run.path)
    if as_json:
        print(json.dumps({"run": path, **result}, indent=1))
        return
    for name in ("train", "val", "test"):
        if name in result:
            print(f"{name} error {share(result[name]['error'])}, loss {result[name]['loss']:.4f}")
    print(f"{result['steps']:,} steps in {result['seconds']:.1f} s, weights sha256 {result['weights_sha256']}")
    print(f"run {path}, report {path}/report.html")


def print_seeds(seeds: Seeds, *, as_json: bool) -> int:
    """What came of several seeds; the exit code, 1 where one of them failed."""
    from residuum.report.seeds_page import seeds_table, spread
    from residuum.report.table import print_table

    record, path = seeds.to_json(), shown_path(seeds.directory)
    if as_json:
        print(json.dumps({"directory": path, **record}, indent=1, default=str))
        return int(bool(seeds.failures))
    print_table(seeds_table(record))
    print()
    for split in ("train", "val", "test"):
        if f"{split} error" in record["mean"]:
            error, loss = (spread(name, record["mean"][name]) for name in (f"{split} error", f"{split} loss"))
            print(f"{split} error {error}, loss {loss}")
    print(f"mean ± standard deviation of {len(seeds.runs)} of {len(seeds.config.seeds)} seeds")
    for seed, reason in seeds.failures.items():
        print(f"failed: seed {seed}: {reason}")
    print(f"seeds {path}, report {path}/report.html")
    return int(bool(seeds.failures))
