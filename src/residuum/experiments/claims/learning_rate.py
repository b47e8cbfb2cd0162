"""Learning rate: with batch normalisation a rate of 0.1 works where 0.01 was needed without.

Ioffe & Szegedy 2015, "Batch Normalization" (arXiv 1502.03167), sections 3.3 and 4.2: normalised nets train at 5 and 30
times the usual rate, where the net without normalisation diverges even at 5 times. AlexNet (2012) and VGG (2014) began
at 0.01, the nets of He et al. 2015 at 0.1.

Measured here on plain-20, without shortcuts, which would help a net without normalisation as well: with batch
normalisation and without (a bias for each channel in its place), each at a peak rate of 0.1 and of 0.01, all else the
same. A training that diverges, so that its loss or a gradient is no finite number, has no error; it counts as the error
of chance, 90 % for ten classes, in training and test alike. The page lists those that did.

How the verdict falls, by the training error, since "works" is about training:

- With normalisation, 0.1 is not above 0.01 by 1 percentage point or more: what the claim `degradation` takes for a
  difference that matters.
- Without, 0.1 is above 0.01 by more than 10 points: it does not work, which is more than being somewhat worse.
- Without, at 0.01, the net is below chance by more than 10 points: that rate does work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from residuum.experiments.claim import Claim, Conclusion
from residuum.experiments.evidence import TRAINING_ERROR, Evidence
from residuum.experiments.plan import PlannedRun
from residuum.experiments.setting import Setting
from residuum.records.finding import Comparison, Measured
from residuum.records.text import Text

MARGIN = 0.01  # one percentage point
FAR = 0.1  # ten percentage points: works against does not work
CAPTION = (
    "Training and test error at the end, mean over the seeds with one standard deviation; a training that diverged "
    "counts as the error of chance. Compare Ioffe & Szegedy 2015, Figure 2, whose nets are of another kind."
)


@dataclass(frozen=True)
class Case:
    """A net at a learning rate; the recipe's own is 0.1."""

    net: str
    changes: Mapping[str, float]
    published: str


WITH, WITHOUT = "plain20", "plain20+batch_norm=no"
LOWER = {"learning_rate": 0.01}
NORMALISED_HIGH, NORMALISED_LOW = "BN, rate 0.1", "BN, rate 0.01"
BARE_HIGH, BARE_LOW = "no BN, rate 0.1", "no BN, rate 0.01"
CASES = {
    NORMALISED_HIGH: Case(WITH, {}, "used by He et al. 2015"),
    NORMALISED_LOW: Case(WITH, LOWER, ""),
    BARE_HIGH: Case(WITHOUT, {}, "diverges at 5 times the usual rate (Inception)"),
    BARE_LOW: Case(WITHOUT, LOWER, "used by AlexNet and VGG"),
}


def plan(setting: Setting) -> Sequence[PlannedRun]:
    """Both nets at both rates."""
    return [each for case in CASES.values() for each in setting.planned(case.net, **case.changes)]


def chance(evidence: Evidence) -> float:
    """The error of an answer at random."""
    return 1 - 1 / len(evidence.setting.dataset.class_names)


def measure(evidence: Evidence) -> Conclusion:
    """The training errors, a diverged training counted as chance."""
    at_chance = chance(evidence)
    errors = {
        name: {
            quantity.name: evidence.error(case.net, quantity, of_failed=at_chance, **case.changes)
            for quantity in evidence.errors
        }
        for name, case in CASES.items()
    }
    arms = [
        evidence.arm(case.net, case.published, name=name, own=errors[name], **case.changes)
        for name, case in CASES.items()
    ]
    training = {name: each[TRAINING_ERROR.name] for name, each in errors.items()}
    return Conclusion(
        arms=tuple(arms),
        quantities=evidence.errors,
        comparisons=(
            Comparison(
                statement="with BN, a rate of 0.1 trains no worse than 0.01",
                a=NORMALISED_HIGH,
                b=NORMALISED_LOW,
                relation="not above",
                margin=MARGIN,
                quantity=TRAINING_ERROR.name,
                published="0.1 used (He et al. 2015)",
            ),
            Comparison(
                statement="without BN, a rate of 0.1 trains far worse than 0.01",
                a=BARE_HIGH,
                b=BARE_LOW,
                relation="above",
                margin=FAR,
                quantity=TRAINING_ERROR.name,
                published="diverges (Ioffe & Szegedy 2015)",
            ),
            Comparison(
                statement=f"without BN, a rate of 0.01 does train: more than 10 points below chance, {at_chance:.0%}",
                a=BARE_LOW,
                b=at_chance - FAR,
                relation="not above",
                margin=0.0,
                quantity=TRAINING_ERROR.name,
            ),
        ),
        summary=_summary(training, len(evidence.done.failures), at_chance),
        drawing=evidence.error_bars(arms),
        caption=CAPTION,
    )


def _summary(training: Mapping[str, Measured], diverged: int, at_chance: float) -> str:
    """The four training errors, at which rates the net learns without normalisation, and how many diverged."""
    learns = [training[name].mean < at_chance - FAR for name in (BARE_HIGH, BARE_LOW)]
    places = {(True, True): "both rates", (True, False): "0.1 alone", (False, True): "0.01 alone"}
    where = places.get((learns[0], learns[1]), "neither rate")
    number = "No training" if not diverged else "1 training" if diverged == 1 else f"{diverged} trainings"
    counts = f", counted as the error of chance, {at_chance:.0%}" if diverged else ""
    return (
        f"With batch normalisation, plain-20 ends at a training error of {training[NORMALISED_HIGH].percent()} at a "
        f"rate of 0.1 and {training[NORMALISED_LOW].percent()} at 0.01; without it, at {training[BARE_HIGH].percent()} "
        f"and {training[BARE_LOW].percent()}: it learns at {where}. {number} diverged{counts}."
    )


CLAIM = Claim(
    name="learning_rate",
    statement=Text(
        "With batch normalisation a learning rate of 0.1 works where 0.01 was needed without",
        "배치 정규화가 없으면 0.01이어야 하던 학습률을, 있으면 0.1까지 올려도 학습된다",
    ),
    source="Ioffe & Szegedy 2015, sections 3.3 and 4.2; He et al. 2015, section 3.4",
    group="taught",
    measure=measure,
    plan=plan,
    excuses_failures=True,
)
