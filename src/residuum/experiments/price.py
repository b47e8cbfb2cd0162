"""What a reproduction costs before it is made: trainings, multiply-adds, and the time that the same took before.

The time is told by what was made already in the same directory, since that is of the same machine; where nothing was,
by what the package knows of earlier reproductions, with the processor that they were made on. Trainings of nets that
were not timed are judged by their multiply-adds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from residuum.experiments.known import Known, without_seed
from residuum.experiments.setting import Setting
from residuum.plans.plan import PlannedRun, work_of
from residuum.report.numbers import duration, short
from residuum.run import Run


@dataclass(frozen=True, kw_only=True)
class Price:
    """What has still to be made.

    Attributes:
        trainings: how many.
        macs: multiply-adds of their forward passes.
        seconds: that they will take; None where nothing like them was made before.
        measuring_seconds: that measuring will take beside; None where that is not known of any claim.
        source: by what the times are told.
    """

    trainings: int
    macs: float
    seconds: float | None
    measuring_seconds: float | None
    source: str

    def __str__(self) -> str:
        """`12 trainings, 1.2 T multiply-adds forward: about 4.5 min, and 20 s of measuring, as on AMD EPYC`."""
        cost = f"{_counted(self.trainings, 'training')}, {short(self.macs)} multiply-adds forward"
        if not self.trainings:
            cost = "nothing to train"
        measuring = f"{duration(self.measuring_seconds)} of measuring" if self.measuring_seconds is not None else ""
        training = f"about {duration(self.seconds)}" if self.trainings and self.seconds is not None else ""
        time = ", and ".join(filter(None, (training, measuring)))
        return f"{cost}: {time}, {self.source}" if time else cost


def price(
    plan: Sequence[PlannedRun],
    claims: Sequence[str],
    setting: Setting,
    *,
    made: Mapping[str, Run],
    known: Known,
) -> Price:
    """What it takes to make all of a plan that is not made yet, and to measure.

    Args:
        plan: all trainings.
        claims: names of those that will be measured.
        setting: of the reproduction.
        made: finished Runs of the plan, by name.
        known: of earlier reproductions.
    """
    missing = [each for each in plan if each.name not in made]
    times: Mapping[str, float] = _times(made)
    source = f"as the {_counted(len(made), 'training')} made here"
    if not times and setting.regime.en in known.trainings:
        timed = known.trainings[setting.regime.en]
        times, source = timed.seconds, f"as on {timed.machine}"
    works = {each.name: work_of(each, setting.dataset) for each in plan}
    found = {name: known.claims.get(name, {}).get(setting.budget) for name in claims}
    measuring = [one for one in found.values() if one is not None]
    if measuring and not times:
        source = f"as on {measuring[0].machine}"
    return Price(
        trainings=len(missing),
        macs=sum(works[each.name] for each in missing),
        seconds=_seconds(plan, missing, works, times),
        measuring_seconds=sum(one.measuring_seconds for one in measuring) if measuring else None,
        source=source,
    )


def _seconds(
    plan: Sequence[PlannedRun], missing: Sequence[PlannedRun], works: Mapping[str, float], times: Mapping[str, float]
) -> float | None:
    timed = [each for each in plan if without_seed(each.name) in times]
    if not timed:
        return None
    work = sum(works[each.name] for each in timed)
    rate = sum(times[without_seed(each.name)] for each in timed) / work
    return sum(times.get(without_seed(each.name), rate * works[each.name]) for each in missing)


def _times(made: Mapping[str, Run]) -> dict[str, float]:
    seconds: dict[str, list[float]] = {}
    for name, run in made.items():
        seconds.setdefault(without_seed(name), []).append(float((run.result or {}).get("seconds", 0)))
    return {name: fmean(each) for name, each in seconds.items()}


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
