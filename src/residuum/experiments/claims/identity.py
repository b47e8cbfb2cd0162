"""Identity is hard to learn for a stack of nonlinear layers, and easy for a residual one, since zero is easy.

He et al. 2015, section 3.1: solvers might have difficulties in approximating identity by several nonlinear layers;
were identity best, a residual net would only have to drive its weights towards zero. The paper does not measure it.

Measured on small stacks of 2, 4, 8 and 16 convolutions (`residuum.experiments.copying`) that are trained to copy their
input, with and without shortcuts, and without them to give zero; with batch normalisation, as all nets of the paper
have it, and without, for each seed. The error is the length of what is wrong as a share of the length of the input: 1
is what an answer of nothing has.

How long they are trained depends on the budget: 400, 1,600 or 6,400 steps. It matters: at 1,600 steps one seed of 16
layers with shortcuts and batch normalisation ended at 8.5 %, without shortcuts at 82.6 %.

Judged are the stacks of 16 layers with batch normalisation, by a tenth of the input's length, about where a copy begins
to look wrong: without shortcuts they must copy worse than with them, worse than they give zero, and worse than 2 layers
do; with shortcuts the copy must be right within a tenth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from residuum.experiments.claim import Claim, Conclusion
from residuum.experiments.copying import RATES, Kind, errors
from residuum.experiments.evidence import Evidence, OnProgress
from residuum.records.finding import Arm, Comparison, Measured, Quantity
from residuum.records.text import NOTHING, Text
from residuum.report.measured_figures import Line, lines_over

DEPTHS = (2, 4, 8, 16)
PLAIN, RESIDUAL, ZERO = "copy, no shortcuts", "copy, shortcuts", "zero, no shortcuts"
TASKS = (PLAIN, RESIDUAL, ZERO)
NORMALISED, BARE = "with batch normalisation", "without"
ERROR = Quantity("relative error", korean="상대 오차")
MARGIN = 0.1  # of the input's length
STEPS = {"quick": 400, "short": 1600, "paper": 6400}
# What 16 layers without shortcuts copy worse than.
WORSE = (
    (
        Text(
            "16 layers copy worse without shortcuts than with them",
            "16층은 지름길이 없으면 있을 때보다 입력을 잘 복사하지 못한다",
        ),
        (RESIDUAL, 16),
    ),
    (
        Text(
            "16 layers without shortcuts copy worse than they give zero",
            "지름길 없는 16층은 0을 내는 일보다 입력을 복사하는 일을 못한다",
        ),
        (ZERO, 16),
    ),
    (
        Text("16 layers without shortcuts copy worse than 2", "지름길 없는 16층은 2층보다 입력을 잘 복사하지 못한다"),
        (PLAIN, 2),
    ),
)
BETWEEN_NEWS = 500  # steps times layers
CAPTION = Text(
    "How wrong small stacks of convolutions are after training, as a share of their input's length, over their number "
    "of layers; a band of one standard deviation over the seeds. Each stack had the best of four learning rates.",
    "합성곱 층을 쌓은 작은 신경망이 학습 뒤에 얼마나 틀리는지를 입력의 크기에 대한 비로, 층수에 따라 나타냈습니다. "
    "시드에 대한 표준편차만큼 띠를 둘렀습니다. 신경망마다 네 가지 학습률 가운데 가장 좋은 것을 썼습니다.",
)


def kind(task: str, layers: int, norm: str) -> Kind:
    """The stack of a line, a depth and a panel of the figure."""
    return Kind(
        layers=layers,
        shortcuts=task == RESIDUAL,
        batch_norm=norm == NORMALISED,
        target="zero" if task == ZERO else "copy",
    )


def arm_name(task: str, layers: int, norm: str) -> str:
    """`copy, no shortcuts, 16 layers, with batch normalisation`."""
    return f"{task}, {layers} layers, {norm if norm == NORMALISED else 'no normalisation'}"


@dataclass
class _News:
    """Tells how much is done, in steps times layers, now and then."""

    progress: OnProgress
    total: int
    done: int = 0

    def step(self, layers: int) -> None:
        """One step of stacks of so many layers."""
        before = self.done // BETWEEN_NEWS
        self.done += layers
        if self.done // BETWEEN_NEWS > before:
            self.progress(self.done, self.total)


def measure(evidence: Evidence) -> Conclusion:
    """Train all kinds of stacks."""
    wanted = [(task, layers, norm) for norm in (NORMALISED, BARE) for task in TASKS for layers in DEPTHS]
    seeds, steps = evidence.setting.seeds, STEPS[evidence.setting.budget]
    news = _News(evidence.progress, sum(steps * layers for _, layers, _ in wanted))
    found = {}
    for task, layers, norm in wanted:
        after_step = partial(news.step, layers)
        each = errors(kind(task, layers, norm), seeds, evidence.device, steps=steps, after_step=after_step)
        found[arm_name(task, layers, norm)] = Measured(tuple(each))
    return conclude(found, steps)


def conclude(found: Mapping[str, Measured], steps: int) -> Conclusion:
    """The verdict on relative errors by `arm_name` after so many steps."""
    return Conclusion(
        conditions=Text(
            f"{len(found)} small stacks of convolutions, {steps:,} steps at each of {len(RATES)} learning rates",
            f"합성곱을 작게 쌓은 신경망 {len(found)}가지, 학습률 {len(RATES)}가지마다 {steps:,}번 갱신",
        ),
        arms=tuple(Arm(name=name, published=NOTHING, measured={ERROR.name: each}) for name, each in found.items()),
        quantities=(ERROR,),
        comparisons=(
            *(_worse(statement, than) for statement, than in WORSE),
            Comparison(
                statement=Text(
                    "16 layers with shortcuts copy all but exactly", "지름길 있는 16층은 입력을 거의 정확히 복사한다"
                ),
                a=arm_name(RESIDUAL, 16, NORMALISED),
                b=0.0,
                relation="not above",
                margin=MARGIN,
                quantity=ERROR.name,
                published=Text("easy (in words)", "쉬움(말로만)"),
            ),
        ),
        summary=_summary(found, steps),
        drawing=lines_over(
            {
                norm: {task: Line(DEPTHS, [found[arm_name(task, depth, norm)] for depth in DEPTHS]) for task in TASKS}
                for norm in (NORMALISED, BARE)
            },
            ERROR,
            x_label="layers",
        ),
        caption=CAPTION,
    )


def _worse(statement: Text, than: tuple[str, int]) -> Comparison:
    return Comparison(
        statement=statement,
        a=arm_name(PLAIN, 16, NORMALISED),
        b=arm_name(*than, NORMALISED),
        relation="above",
        margin=MARGIN,
        quantity=ERROR.name,
        published=Text("harder (in words)", "더 어려움(말로만)"),
    )


def _summary(found: Mapping[str, Measured], steps: int) -> Text:
    """The deepest stacks, with and without normalisation."""
    plain, residual, zero = (found[arm_name(task, 16, NORMALISED)].mean for task in TASKS)
    half = found[arm_name(RESIDUAL, 8, NORMALISED)].mean
    bare = {task: found[arm_name(task, 16, BARE)].mean for task in TASKS}
    return Text(
        f"After {steps:,} steps, 16 layers with batch normalisation and without shortcuts have a relative error of "
        f"{plain:.1%} when they are to copy their input, {residual:.1%} with shortcuts (8 layers: {half:.1%}), and "
        f"{zero:.1%} when they are to give zero. Without normalisation it is {bare[PLAIN]:.1%}, {bare[RESIDUAL]:.1%} "
        f"and {bare[ZERO]:.1%}.",
        f"{steps:,}번 갱신한 뒤, 배치 정규화가 있는 16층의 상대 오차는 입력을 복사할 때 지름길이 없으면 {plain:.1%}, "
        f"있으면 {residual:.1%}(8층은 {half:.1%})이고, 지름길 없이 0을 낼 때는 {zero:.1%}입니다. 정규화가 없으면 "
        f"차례로 {bare[PLAIN]:.1%}, {bare[RESIDUAL]:.1%}, {bare[ZERO]:.1%}입니다.",
    )


CLAIM = Claim(
    name="identity",
    statement=Text(
        "Identity is hard to learn for a stack of nonlinear layers, and easy for a residual one",
        "비선형 층을 쌓은 신경망은 항등 사상을 배우기 어렵고, 잔차 신경망은 쉽게 배운다",
    ),
    source="He et al. 2015, sections 3.1 and 3.2",
    group="He et al. 2015",
    measure=measure,
    kinds=frozenset({"grey", "colour", "folder"}),
)
