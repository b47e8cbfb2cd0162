"""Degradation: a deeper plain network has the higher *training* error, and shortcuts cure it.

He et al. 2015, section 1 with Figure 1, section 4.1 with Table 2 and Figure 4 (18 and 34 layers, ImageNet), section
4.2 with Figure 6 (20 to 110 layers, CIFAR-10). The plain and the residual nets of one depth have the same layers;
with option A also the same parameters. Since it is the training error that rises, it is not overfitting.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from residuum.data.source import Dataset, stratified
from residuum.errors import InputError, unknown
from residuum.experiments.plan import Executed, PlannedRun, PlanObserver, SilentPlan, execute, together
from residuum.files.atomic import write_file
from residuum.nets import catalog
from residuum.records.finding import Arm, Comparison, Finding, Measured, judge
from residuum.report.figures import ArmCurves, Drawing, error_curves
from residuum.report.finding_page import finding_page
from residuum.report.seeds_page import over_seeds
from residuum.run import Run, dumps
from residuum.training import recipes
from residuum.training.recipe import Execution, Recipe
from residuum.training.schedules import OneCycle
from residuum.training.start import open_data

CLAIM = "Deeper plain networks have higher training error; with shortcuts they do not"
SOURCE = "He et al. 2015, Figures 1, 4 and 6, Table 2"
MARGIN = 0.01  # one percentage point of training error
QUANTITY = "training error"
SUBSET_IMAGES = 5000

# Test error in percent, as printed; the plain CIFAR nets are shown in Figure 6 only.
PUBLISHED = {
    "plain18": "27.94 (ImageNet, top-1, 10-crop)",
    "plain34": "28.54 (ImageNet, top-1, 10-crop)",
    "resnet18": "27.88 (ImageNet, top-1, 10-crop; option A, ours B)",
    "resnet34": "25.03 (ImageNet, top-1, 10-crop; option A, ours B)",
    "resnet20": "8.75 (CIFAR-10, test)",
    "resnet32": "7.51 (CIFAR-10, test)",
    "resnet44": "7.17 (CIFAR-10, test)",
    "resnet56": "6.97 (CIFAR-10, test)",
    "resnet110": "6.43 (CIFAR-10, test, best of 5)",
    "plain110": "over 60 (CIFAR-10, training and test)",
}
FIGURE_ONLY = "figure only"


@dataclass(frozen=True)
class Budget:
    """How much a reproduction may cost: the recipe of each net, and the number of training images if not all."""

    recipe: Callable[[str], Recipe]
    words: str
    images: int | None = None


def _one_cycle_cifar(epochs: float) -> Recipe:
    """The augmentation and optimiser of the paper under one cycle of the learning rate."""
    return replace(recipes.paper_cifar(), name="one_cycle_cifar", steps=None, epochs=epochs, schedule=OneCycle())


def _folder(epochs: float) -> Recipe:
    """Photographs; no branch starts at zero, which a plain net could not do."""
    return replace(recipes.folder(), epochs=epochs, zero_init_residual=False)


# By kind of data, then by name; the first is the default.
BUDGETS: dict[str, dict[str, Budget]] = {
    "grey": {"quick": Budget(lambda net: recipes.digits(), "30 epochs, one cycle up to 0.1")},
    "colour": {
        "short": Budget(lambda net: _one_cycle_cifar(10), "10 epochs, one cycle up to 0.1, augmented as in the paper"),
        "quick": Budget(
            lambda net: _one_cycle_cifar(10), "10 epochs, one cycle up to 0.1, augmented as in the paper", SUBSET_IMAGES
        ),
        "paper": Budget(lambda net: recipes.recipe("paper_cifar", net), "64,000 updates as published"),
    },
    "folder": {
        "short": Budget(lambda net: _folder(20), "20 epochs, one cycle up to 0.05"),
        "quick": Budget(lambda net: _folder(5), "5 epochs, one cycle up to 0.05"),
        "paper": Budget(lambda net: recipes.paper_imagenet(), "600,000 updates as published"),
    },
}
DEFAULT_DEPTHS = {"grey": (20, 56), "colour": (20, 56), "folder": (18, 34)}


def degradation(
    data: str | Path = "digits",
    *,
    seeds: int = 3,
    depths: tuple[int, int] | None = None,
    budget: str | None = None,
    out: str | Path | None = None,
    data_dir: str | Path | None = None,
    execution: Execution | None = None,
    observer: PlanObserver | None = None,
) -> Finding:
    """Train plain and residual nets of two depths over several seeds and judge the claim.

    Args:
        data: `digits`, `cifar10`, another named set, or an image folder.
        seeds: how many; they are 0, 1, 2, ...
        depths: the shallow and the deep one: 20 and 56 by default, 18 and 34 for a folder.
        budget: `quick`, `short` or `paper`, as far as the data has them.
        out: where runs, `finding.json`, `report.html` and `figure.png` go; by default a directory in `runs` that names
            data, depths and budget. Finished runs found there are reused.
        data_dir: where the files of a named set lie.
        execution: device and threads.
        observer: who is told of the progress.

    Raises:
        InputError: an argument cannot be used; nothing was written.
        Interrupted: stopped by a signal; the same call goes on from there.
        TrainingError: not one training reached its end.
        StorageError: the disk is full, read-only or failing.
    """
    if seeds < 1:
        raise InputError(f"seeds: must be at least 1, got {seeds}. Try: --seeds 3")
    observer = observer or SilentPlan()
    dataset = open_data(data, data_dir, observer)
    kind = _kind(dataset)
    shallow, deep = depths or DEFAULT_DEPTHS[kind]
    nets = _nets(shallow, deep)
    chosen, chosen_name = _budget(kind, budget)
    dataset = _subset(dataset, chosen.images)
    name = Path(dataset.name).resolve().name
    directory = Path(out) if out is not None else Path("runs") / f"degradation-{name}-{shallow}-{deep}-{chosen_name}"
    if directory.exists() and any(directory.iterdir()) and not (directory / "runs").is_dir():
        raise InputError(f"{directory}: exists and is not of a reproduction. Try: another --out")
    plan = [
        PlannedRun(net, replace(chosen.recipe(net), track_test=dataset.test is not None), seed)
        for seed in range(seeds)
        for net in nets
    ]
    done = execute(
        plan,
        dataset,
        directory / "runs",
        data_dir=data_dir,
        title=f"degradation on {name}",
        execution=execution or Execution(),
        observer=observer,
    )
    images = f"{len(dataset.train):,} training images"
    words = f"{chosen_name}: {name}, {images}, {chosen.words}; {seeds} seed{'s' if seeds > 1 else ''}."
    finding = conclude(done, nets, seeds=seeds, budget=words, recipe=plan[0].recipe, directory=directory)
    command = _command(data, data_dir, (shallow, deep), seeds, chosen_name)
    _write(finding, draw(done, nets, seeds), command)
    return finding


def conclude(done: Executed, nets: list[str], *, seeds: int, budget: str, recipe: Recipe, directory: Path) -> Finding:
    """The Finding from finished runs: training error of the last epoch, judged by the rule of `records.finding`."""
    plain_shallow, plain_deep, residual_shallow, residual_deep = nets
    comparisons = (
        Comparison(
            statement=f"{plain_deep} trains worse than {plain_shallow}: degradation",
            a=plain_deep,
            b=plain_shallow,
            relation="above",
            margin=MARGIN,
        ),
        Comparison(
            statement=f"{residual_deep} trains no worse than {residual_shallow}: no degradation",
            a=residual_deep,
            b=residual_shallow,
            relation="not above",
            margin=MARGIN,
        ),
        Comparison(
            statement=f"{plain_deep} trains worse than {residual_deep}: the shortcuts are the cure",
            a=plain_deep,
            b=residual_deep,
            relation="above",
            margin=MARGIN,
        ),
    )
    arms = tuple(_arm(net, found) for net in nets if (found := _runs_of(net, done, seeds)))
    training = {arm.name: arm.measured[QUANTITY] for arm in arms}
    judged = tuple(judge(each, training) for each in comparisons) if not done.failures else ()
    return Finding(
        name="degradation",
        claim=CLAIM,
        source=SOURCE,
        budget=budget,
        summary=_summary(nets, training),
        quantity=QUANTITY,
        arms=arms,
        judged=judged,
        seeds=tuple(range(seeds)),
        seconds=sum(float((run.result or {}).get("seconds", 0)) for run in done.runs.values()),
        recipe=recipe.to_json(),
        environment=together(done.runs.values()),
        directory=directory,
        failures=done.failures,
    )


def _summary(nets: list[str], training: dict[str, Measured]) -> str:
    """The four training errors as two sentences."""
    if any(net not in training for net in nets):
        return "Not every net reached its end, so there is nothing to compare."
    plain_shallow, plain_deep, residual_shallow, residual_deep = (f"{100 * training[net].mean:.1f} %" for net in nets)
    return (
        f"Without shortcuts, {nets[0]} ends at a training error of {plain_shallow} and the deeper {nets[1]} at "
        f"{plain_deep}, though it could copy the shallow net and let its other layers do nothing. With shortcuts, "
        f"{nets[2]} ends at {residual_shallow} and {nets[3]} at {residual_deep}."
    )


def draw(done: Executed, nets: list[str], seeds: int) -> Drawing:
    """Training and test error over the steps: plain nets on the left, residual ones on the right, as in Figure 6."""
    curves = {net: _curves(net, [*found.values()]) for net in nets if (found := _runs_of(net, done, seeds))}
    panels = {
        title: [curves[net] for net in pair if net in curves]
        for title, pair in {"plain networks": nets[:2], "residual networks": nets[2:]}.items()
    }
    has_test = any(arm.test is not None for arm in curves.values())
    return error_curves({t: arms for t, arms in panels.items() if arms}, test_name="test" if has_test else "validation")


def _runs_of(net: str, done: Executed, seeds: int) -> dict[str, Run]:
    names = (PlannedRun.name_of(net, seed) for seed in range(seeds))
    return {name: done.runs[name] for name in names if name in done.runs}


def _arm(net: str, runs: dict[str, Run]) -> Arm:
    results = [run.result or {} for run in runs.values()]
    measured = {QUANTITY: Measured(tuple(float(result["train"]["error"]) for result in results))}
    for split in ("val", "test"):
        if all(split in result for result in results):
            measured[f"{split} error"] = Measured(tuple(float(result[split]["error"]) for result in results))
    return Arm(name=net, published=PUBLISHED.get(net, FIGURE_ONLY), measured=measured, runs=tuple(runs))


def _curves(net: str, runs: list[Run]) -> ArmCurves:
    metrics = [run.metrics() for run in runs]
    train = over_seeds(metrics, "train_error")
    assert train is not None
    return ArmCurves(net, train, over_seeds(metrics, "test_error") or over_seeds(metrics, "val_error"))


def _kind(dataset: Dataset) -> str:
    if dataset.image_size is None:
        return "folder"
    return "grey" if dataset.channels == 1 else "colour"


def _nets(shallow: int, deep: int) -> list[str]:
    nets = [f"{family}{depth}" for family in ("plain", "resnet") for depth in (shallow, deep)]
    for net in nets:
        if net not in catalog.CATALOG:
            known = [name.removeprefix("plain") for name in catalog.CATALOG if name.startswith("plain")]
            raise InputError(f"depths: there is no {net} (expected two of {', '.join(known)}). Try: --depths 20 56")
    if len({catalog.entry(net).input_shape for net in nets}) > 1:
        raise InputError(f"depths: {shallow} and {deep} are of two families (CIFAR and ImageNet). Try: --depths 20 56")
    if shallow >= deep:
        better = f"{deep} {shallow}" if shallow > deep else "20 56"
        raise InputError(f"depths: the first must be the smaller, got {shallow} {deep}. Try: --depths {better}")
    return nets


def _budget(kind: str, name: str | None) -> tuple[Budget, str]:
    choices = BUDGETS[kind]
    name = name or next(iter(choices))
    if name not in choices:
        raise unknown("budget", name, choices)
    return choices[name], name


def _subset(dataset: Dataset, images: int | None) -> Dataset:
    if images is None or images >= len(dataset.train):
        return dataset
    part, _ = stratified(dataset.train.labels, (images, len(dataset.train) - images), seed=0)
    return dataset.with_train(part)


def _command(data: str | Path, data_dir: str | Path | None, depths: tuple[int, int], seeds: int, budget: str) -> str:
    """What to type for the same Finding."""
    words = ["residuum", "reproduce", "degradation", "--data", str(data)]
    words += ["--data-dir", str(data_dir)] if data_dir is not None else []
    words += ["--depths", *map(str, depths), "--seeds", str(seeds), "--budget", budget]
    return shlex.join(words)


def _write(finding: Finding, drawing: Drawing, command: str) -> None:
    caption = (
        "Training (thin, dashed) and test or validation (bold) error, mean over the seeds with a band of one standard "
        "deviation. Training error counts the batches of each epoch as they were trained on. Test error is drawn for "
        "the figure only; nothing was chosen by it. Compare He et al. 2015, Figure 6."
    )
    write_file(finding.directory / "finding.json", dumps(finding.to_json()))
    write_file(finding.directory / "figure.png", drawing.png)
    write_file(finding.directory / "report.html", finding_page(finding, drawing, caption=caption, command=command))
