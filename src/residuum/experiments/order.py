"""What somebody asks a reproduction for, and which claims can be judged on what was asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from residuum.data.source import Dataset
from residuum.errors import InputError
from residuum.experiments import claims as every
from residuum.experiments.claim import Claim
from residuum.experiments.setting import DEFAULT_DATA, Kind, Setting, require_budget
from residuum.plans.at_once import require_side_by_side
from residuum.training.recipe import Execution

DEFAULT_SEEDS = 3
MAX_SEEDS = 1000
SUITED: dict[Kind, str] = {
    "grey": "--budget quick --data digits",
    "colour": "--data cifar10",
    "folder": "--data with a folder of images",
}


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is asked for.

    Attributes:
        claims: names; none for all that can be judged on these data.
        budget: `quick`, `short` or `paper`.
        data: a named set or an image folder; by default `digits` for `quick`, `cifar10` for the others.
        data_dir: where the files of a named set lie.
        seeds: trainings of each net; they are 0, 1, 2, ...
        depths: layers of the nets, rising, for claims that compare depths.
        out: where everything goes; by default a directory in `runs` that names data and budget.
        side_by_side: at most so many trainings at once, each in a process of its own that gets its part of the threads;
            1 by default on a CPU, and on a GPU as many as its memory holds.
        keep: take over what an earlier call has judged under the same conditions, in place of measuring again.
        execution: device and threads.

    Raises:
        InputError: the number of seeds, of trainings at once, or the budget cannot be used.
    """

    claims: tuple[str, ...] = ()
    budget: str = "quick"
    data: str | Path | None = None
    data_dir: str | Path | None = None
    seeds: int = DEFAULT_SEEDS
    depths: tuple[int, ...] | None = None
    out: str | Path | None = None
    side_by_side: int | None = None
    keep: bool = False
    execution: Execution = field(default_factory=Execution)

    def __post_init__(self) -> None:
        if not 1 <= self.seeds <= MAX_SEEDS:
            raise InputError(f"seeds: must be at least 1 and at most {MAX_SEEDS}, got {self.seeds}. Try: --seeds 3")
        require_side_by_side(self.side_by_side)
        require_budget(self.budget)

    @property
    def named_data(self) -> str:
        """What a person types for the data."""
        return str(self.data or DEFAULT_DATA[self.budget])

    @property
    def directory(self) -> Path:
        """Where everything goes."""
        depths = "".join(f"-{depth}" for depth in self.depths or ())
        name = f"reproduce-{Path(self.named_data).resolve().name}{depths}-{self.budget}"
        return Path(self.out) if self.out is not None else Path("runs") / name


def setting_of(order: Order, dataset: Dataset) -> Setting:
    """What every claim of an order is given, with these data."""
    return Setting(
        budget=require_budget(order.budget),
        data=order.named_data,
        data_dir=None if order.data_dir is None else str(order.data_dir),
        dataset=dataset,
        seeds=tuple(range(order.seeds)),
        depths=order.depths,
    )


def fitting_claims(order: Order, found: Sequence[Claim], setting: Setting) -> list[Claim]:
    """Those of some claims that can be judged on the data of a setting.

    Raises:
        InputError: one that was named cannot, or none can; or depths are given to a claim that takes none.
    """
    fitting = [claim for claim in found if setting.kind in claim.kinds]
    unfit = [claim for claim in found if claim not in fitting]
    if unfit and (order.claims or not fitting):
        suited = next(words for kind, words in SUITED.items() if kind in unfit[0].kinds)
        raise InputError(f"{unfit[0].name}: cannot be judged on {setting.data}. Try: {suited}")
    if order.depths is not None:
        without = [claim.name for claim in fitting if not claim.takes_depths]
        if without:
            takers = ", ".join(claim.name for claim in every.claims().values() if claim.takes_depths)
            raise InputError(f"depths: are for {takers} only, not for {without[0]}. Try: without --depths")
    return fitting
