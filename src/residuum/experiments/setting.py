"""What a reproduction is asked for: how much it may cost, on which data, over which seeds.

A budget says how every net is trained; the nets are the claims' own. The recipes by kind of data and budget:

    data            quick                             short                           paper
    grey, small     30 epochs, rate 0.1               -                               -
    colour, small   5,000 images, 10 epochs           all images, 10 epochs           64,000 updates as published
    a folder        5 epochs                          20 epochs                       600,000 updates as published

`quick` and `short` have the paper's optimiser under one cycle of the learning rate, in bf16 where that is faster.
`fast_cifar` would be faster still, but moves weights by Muon, which the papers' nets did not have: what is claimed of
plain nets is claimed of plain gradient descent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np

from residuum.data.open import open_dataset
from residuum.data.source import ArrayImages, Dataset, Split
from residuum.errors import InputError, unknown
from residuum.plans.plan import PlannedRun
from residuum.records.text import NOTHING, Text
from residuum.training import recipes
from residuum.training.recipe import Recipe
from residuum.training.schedules import OneCycle

Kind = Literal["grey", "colour", "folder"]
BudgetName = Literal["quick", "short", "paper"]
BUDGET_NAMES: tuple[str, ...] = get_args(BudgetName)
SUBSET_IMAGES = 5000


@dataclass(frozen=True)
class Budget:
    """How much a reproduction may cost.

    Attributes:
        recipe: of each net.
        words: the same for people.
        images: number of training images if not all.
        unlike_published: what is not as it was published, where errors can be compared with published ones.
    """

    recipe: Callable[[str], Recipe]
    words: Text
    images: int | None = None
    unlike_published: Text = NOTHING


def _one_cycle_cifar(net: str) -> Recipe:
    """The augmentation and optimiser of the paper under one cycle of the learning rate."""
    own = recipes.recipe("paper_cifar", net)
    return replace(
        own, name="one_cycle_cifar", steps=None, epochs=10, schedule=OneCycle(), warm_up=None, precision="auto"
    )


def _folder(epochs: float) -> Callable[[str], Recipe]:
    """Photographs; no branch starts at zero, which a plain net could not do."""
    return lambda net: replace(recipes.recipe("folder", net), epochs=epochs, zero_init_residual=False)


ONE_CYCLE_WORDS = Text(
    "10 epochs, one cycle up to 0.1, augmented as in the paper", "10 에폭, 학습률 0.1까지 한 주기, 논문대로 증강"
)
BUDGETS: dict[Kind, dict[str, Budget]] = {
    "grey": {
        "quick": Budget(
            lambda net: recipes.recipe("digits", net),
            Text("30 epochs, one cycle up to 0.1", "30 에폭, 학습률 0.1까지 한 주기"),
        )
    },
    "colour": {
        "quick": Budget(
            _one_cycle_cifar,
            ONE_CYCLE_WORDS,
            SUBSET_IMAGES,
            unlike_published=Text(
                "10 epochs of 5,000 images (390 updates) here, 64,000 updates on all images in the paper",
                "여기서는 이미지 5,000장을 10 에폭(390번 갱신), 논문은 모든 이미지로 64,000번 갱신",
            ),
        ),
        "short": Budget(
            _one_cycle_cifar,
            ONE_CYCLE_WORDS,
            unlike_published=Text(
                "10 epochs under one cycle (3,906 updates) here, 64,000 updates in the paper",
                "여기서는 한 주기 10 에폭(3,906번 갱신), 논문은 64,000번 갱신",
            ),
        ),
        "paper": Budget(
            lambda net: recipes.recipe("paper_cifar", net),
            Text("64,000 updates as published", "발표된 대로 64,000번 갱신"),
        ),
    },
    "folder": {
        "quick": Budget(_folder(5), Text("5 epochs, one cycle up to 0.05", "5 에폭, 학습률 0.05까지 한 주기")),
        "short": Budget(_folder(20), Text("20 epochs, one cycle up to 0.05", "20 에폭, 학습률 0.05까지 한 주기")),
        "paper": Budget(
            lambda net: recipes.recipe("paper_imagenet", net),
            Text("600,000 updates as published", "발표된 대로 600,000번 갱신"),
        ),
    },
}
ANY_NET: dict[Kind, str] = {"grey": "resnet20", "colour": "resnet20", "folder": "resnet18"}
DEFAULT_DATA = {"quick": "digits", "short": "cifar10", "paper": "cifar10"}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What every claim of a reproduction is given.

    Attributes:
        budget: its name; `recipe` gives what it means for a net.
        data: what a person types for it; `data_dir` where a named set's files lie.
        dataset: the images, already no more than the budget allows.
        seeds: of every net.
        depths: that were asked for in place of a claim's own.
    """

    budget: BudgetName
    data: str
    dataset: Dataset
    seeds: tuple[int, ...]
    data_dir: str | None = None
    depths: tuple[int, ...] | None = None

    @property
    def kind(self) -> Kind:
        return kind_of(self.dataset)

    @property
    def unlike_published(self) -> Text:
        """What is not as it was published."""
        return BUDGETS[self.kind][self.budget].unlike_published

    @property
    def regime(self) -> Text:
        """What is trained on, on how many images it is judged, and how it is trained, in words."""
        dataset, words = self.dataset, BUDGETS[self.kind][self.budget].words
        name = dataset.name.rsplit("/", 1)[-1]
        size = " ({}x{})".format(*dataset.image_size) if dataset.image_size else ""
        judged = dataset.test or dataset.val
        split = Text("test", "시험") if dataset.test is not None else Text("validation", "검증")
        counts = f"{len(dataset.train):,}", f"{len(judged) if judged is not None else 0:,}"
        updates = f"{self.recipe(ANY_NET[self.kind]).num_steps(len(dataset.train)):,}"
        english = [f"{name}{size}", f"{counts[0]} training images", f"{counts[1]} {split.en} images", words.en]
        korean = [f"{name}{size}", f"학습 이미지 {counts[0]}장", f"{split.ko} 이미지 {counts[1]}장", words.ko]
        if self.budget != "paper":  # whose words say it
            english.append(f"{updates} updates")
            korean.append(f"갱신 {updates}번")
        return Text(", ".join(english), ", ".join(korean))

    @property
    def conditions(self) -> Text:
        """As `regime`, with the number of seeds."""
        return self.with_seeds(self.regime)

    def with_seeds(self, trained: Text) -> Text:
        """What was trained, with the number of seeds."""
        count = len(self.seeds)
        return Text(f"{trained.en}; {count} seed{'s' if count > 1 else ''}", f"{trained.ko}; 시드 {count}개")

    def recipe(self, net: str, **changes: Any) -> Recipe:
        """How a net is trained under this budget; `changes` are fields of the recipe."""
        recipe = BUDGETS[self.kind][self.budget].recipe(net)
        recipe = replace(recipe, track_test=self.dataset.test is not None)
        return recipe.changed(changes) if changes else recipe

    def planned(self, *nets: str, **changes: Any) -> list[PlannedRun]:
        """A training of each net and seed, `changes` to the recipe in its name."""
        return [
            PlannedRun(net, self.recipe(net, **changes), seed, label=run_name(net, seed, changes))
            for seed in self.seeds
            for net in nets
        ]


def run_name(net: str, seed: int, changes: dict[str, Any]) -> str:
    """What a training is called: `resnet20-seed0`, `resnet20,learning_rate=0.01-seed0`."""
    said = [f"{name}={value}" for name, value in sorted(changes.items())]
    return f"{','.join([net, *said])}-seed{seed}"


def kind_of(dataset: Dataset) -> Kind:
    """By which recipes a data set is trained on."""
    if dataset.image_size is None:
        return "folder"
    return "grey" if dataset.channels == 1 else "colour"


def within_budget(dataset: Dataset, budget: str) -> Dataset:
    """The data set with no more training images than the budget allows, the same ones always.

    Raises:
        InputError: there is no such budget for these data.
    """
    choices = BUDGETS[kind_of(dataset)]
    if budget not in choices:
        raise InputError(
            f"budget: there is no {budget} for {dataset.name}, only {', '.join(choices)}. "
            f"Try: --budget {budget} --data cifar10"
        )
    images = choices[budget].images
    return dataset if images is None else dataset.limited(images)


def require_budget(name: str) -> BudgetName:
    """The budget of that name.

    Raises:
        InputError: there is none.
    """
    for known in get_args(BudgetName):
        if name == known:
            return known  # type: ignore[no-any-return]
    raise unknown("budget", name, BUDGET_NAMES)


def stand_in(budget: str) -> Dataset:
    """What a budget is meant for, to plan on: digits, or CIFAR-10 in shape and number only, without its images."""
    if DEFAULT_DATA[budget] == "digits":
        return open_dataset("digits")
    train, test = (_blank(name, count) for name, count in (("train", 50_000), ("test", 10_000)))
    names = tuple(map(str, range(10)))
    return Dataset("cifar10", names, train, None, test, image_size=(32, 32), fingerprint="")


def _blank(name: str, count: int) -> Split:
    pixels = np.broadcast_to(np.uint8(0), (count, 32, 32, 3))
    return Split(name, ArrayImages(pixels), np.arange(count) % 10)
