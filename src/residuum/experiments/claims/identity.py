"""Identity is hard to learn for a stack of nonlinear layers, and easy for a residual one, since zero is easy.

He et al. 2015, sections 1 and 3.1: solvers might have difficulties in approximating identity by several nonlinear
layers; were identity best, a residual net would only have to drive its weights towards zero. The paper does not measure
it.

Measured on small stacks of 2, 4, 8 and 16 convolutions (`residuum.experiments.copying`) that are trained to copy their
input, with and without shortcuts, and without them to give zero; with batch normalisation, as all nets of the paper
have it, and without, for each seed. The error is the length of what is wrong as a share of the length of the input: 1
is what an answer of nothing has, 0.83 what the best constant answer has.

They are trained for 1,600 steps, which takes about 4 minutes on two cores, and under `paper` for 6,400. It matters:
after 400 steps 16 layers with shortcuts and batch normalisation still were at 67 %, after 1,600 one seed of them at
8.5 %, without shortcuts at 82.6 %.

Judged are the stacks of 16 layers with batch normalisation, by a tenth of the input's length, about where a copy begins
to look wrong: without shortcuts they must copy worse than with them, worse than they give zero, and worse than 2 layers
do; with shortcuts the copy must be right within a tenth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from residuum.experiments.claim import Claim, Conclusion
from residuum.experiments.copying import CONSTANT, RATES, Kind, errors
from residuum.experiments.evidence import Evidence, OnProgress
from residuum.records.finding import Arm, Comparison
from residuum.records.quantity import Measured, Quantity, exactly
from residuum.records.text import NOTHING, Text, paragraph
from residuum.report.measured_figures import Line, lines_over

DEPTHS = (2, 4, 8, 16)
PLAIN, RESIDUAL, ZERO = "copy, no shortcuts", "copy, shortcuts", "zero, no shortcuts"
TASKS = (PLAIN, RESIDUAL, ZERO)
NORMALISED, BARE = "with batch normalisation", "without"
KOREAN = {
    PLAIN: "복사, 지름길 없음",
    RESIDUAL: "복사, 지름길 있음",
    ZERO: "0 출력, 지름길 없음",
    NORMALISED: "배치 정규화 있음",
    BARE: "정규화 없음",
}
ERROR = Quantity("relative error", korean="상대 오차")
MARGIN = 0.1  # of the input's length
STEPS = {"quick": 1600, "short": 1600, "paper": 6400}
NO_BETTER = 0.01  # than a constant answer
# What 16 layers without shortcuts copy worse than.
WORSE = (
    (
        Text(
            "16 layers copy worse without shortcuts than with them",
            "16층은 지름길이 없으면 있을 때보다 입력을 부정확하게 복사한다",
        ),
        (RESIDUAL, 16),
    ),
    (
        Text(
            "16 layers without shortcuts copy worse than they give zero",
            "지름길 없는 16층은 0을 출력할 때보다 입력을 복사할 때 오차가 크다",
        ),
        (ZERO, 16),
    ),
    (
        Text("16 layers without shortcuts copy worse than 2", "지름길 없는 16층은 2층보다 입력을 부정확하게 복사한다"),
        (PLAIN, 2),
    ),
)
# Of every row: what it learns and how, its layers, its normalisation.
KINDS = [(task, layers, norm) for norm in (NORMALISED, BARE) for task in TASKS for layers in DEPTHS]
BETWEEN_NEWS = 500  # steps times layers
CAPTION = Text(
    "How wrong small stacks of convolutions are after training, as a share of their input's length, over their number "
    "of layers; lines are means over the seeds, with a band of one standard deviation. Each stack had the best of four "
    "learning rates.",
    "합성곱 층을 쌓은 작은 신경망이 학습 뒤에 얼마나 틀리는지를 입력의 크기에 대한 비로, 층수에 따라 나타냈습니다. "
    "선은 시드들의 평균이고, 띠는 ± 표준편차입니다. 신경망마다 네 가지 학습률 가운데 가장 좋은 것을 썼습니다.",
)
GAMMA = Text(
    "Under batch normalisation small weights of the convolutions do not make F small: its scale (gamma) must go to 0.",
    "배치 정규화가 있으면 합성곱의 가중치가 작아져도 F는 작아지지 않으며, 정규화의 배율(감마)이 0이 되어야 합니다.",
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


def arms(found: Mapping[str, Measured]) -> tuple[Arm, ...]:
    """A row for each kind of stack, by `arm_name`."""
    korean = {arm_name(*each): f"{KOREAN[each[0]]}, {each[1]}층, {KOREAN[each[2]]}" for each in KINDS}
    return tuple(
        Arm(name=name, korean=korean[name], published=NOTHING, measured={ERROR.name: each})
        for name, each in found.items()
    )


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
    seeds, steps = evidence.setting.seeds, STEPS[evidence.setting.budget]
    news = _News(evidence.progress, sum(steps * layers for _, layers, _ in KINDS))
    found = {}
    for task, layers, norm in KINDS:
        after_step = partial(news.step, layers)
        each = errors(kind(task, layers, norm), seeds, evidence.device, steps=steps, after_step=after_step)
        found[arm_name(task, layers, norm)] = Measured(tuple(each))
    return conclude(found, steps)


def conclude(found: Mapping[str, Measured], steps: int) -> Conclusion:
    """The verdict on relative errors by `arm_name` after so many steps."""
    return Conclusion(
        conditions=Text(
            f"{len(found)} small stacks of convolutions, {steps:,} steps at each of {len(RATES)} learning rates",
            f"합성곱 층을 쌓은 작은 신경망 {len(found)}가지, 학습률 {len(RATES)}가지마다 {steps:,}번씩 갱신",
        ),
        arms=arms(found),
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
                published=Text("easy (in words)", "쉬움(수치 없이 서술)"),
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
        published=Text("harder (in words)", "더 어려움(수치 없이 서술)"),
    )


def _summary(found: Mapping[str, Measured], steps: int) -> Text:
    """The deepest stacks, with and without normalisation."""
    plain, residual, zero = (_percent(found[arm_name(task, 16, NORMALISED)]) for task in TASKS)
    half = _percent(found[arm_name(RESIDUAL, 8, NORMALISED)])
    bare = {task: _percent(found[arm_name(task, 16, BARE)]) for task in TASKS}
    said = Text(
        f"After {steps:,} steps, 16 layers with batch normalisation and without shortcuts have a relative error of "
        f"{plain} when they are to copy their input, {residual} with shortcuts (8 layers: {half}), and {zero} when "
        f"they are to give zero. Without normalisation it is {bare[PLAIN]}, {bare[RESIDUAL]} and {bare[ZERO]}.",
        f"{steps:,}번 갱신한 뒤, 배치 정규화가 있는 16층의 상대 오차는 입력을 복사할 때 지름길이 없으면 {plain}, "
        f"있으면 {residual}(8층은 {half})이고, 지름길 없이 0을 출력할 때는 {zero}입니다. 정규화가 없으면 차례로 "
        f"{bare[PLAIN]}, {bare[RESIDUAL]}, {bare[ZERO]}입니다.",
    )
    return paragraph([said, _no_copy(found[arm_name(PLAIN, 16, NORMALISED)].mean), GAMMA])


def _no_copy(plain: float) -> Text:
    """Whether the plain stack does any better than one that ignores its input."""
    if plain < CONSTANT - NO_BETTER:
        return NOTHING
    best = _percent(exactly(CONSTANT))
    return Text(
        f"The best constant answer has {best}: without shortcuts 16 layers pass on all but nothing of their input.",
        f"가장 좋은 상수를 답해도 {best}이므로, 지름길 없는 16층은 입력을 거의 전달하지 못하는 셈입니다.",
    )


def _percent(error: Measured) -> str:
    return f"{100 * error.mean:.1f} %"


CLAIM = Claim(
    name="identity",
    statement=Text(
        "Identity is hard to learn for a stack of nonlinear layers, and easy for a residual one",
        "비선형 층을 쌓은 신경망은 항등 사상을 배우기 어렵고, 잔차 신경망은 쉽게 배운다",
    ),
    source=Text("He et al. 2015, sections 1 and 3.1", "He 등 2015, 1절과 3.1절"),
    group="He et al. 2015",
    measure=measure,
    kinds=frozenset({"grey", "colour", "folder"}),
    rule_changed=Text(
        "After the second record of quick, the stacks are trained for 1,600 steps in place of 400, which were too few "
        "for 16 layers with batch normalisation.",
        "quick의 두 번째 기록 뒤에, 갱신을 400번에서 1,600번으로 늘렸습니다. 배치 정규화가 있는 16층에 400번은 "
        "너무 적었기 때문입니다.",
    ),
)
