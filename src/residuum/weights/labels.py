"""Names of the classes that published weights know, in the order of their outputs.

ImageNet's 1,000 are the synsets of ILSVRC 2012, sorted by their WordNet id, each by its first lemma in WordNet 3.0. Two
pairs share a lemma (crane, maillot) and are told apart by a word in parentheses.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Literal, get_args

from residuum.data.cifar import CIFAR10_CLASSES
from residuum.errors import unknown

Labels = Literal["imagenet", "cifar10", "digits"]
IMAGENET_FILE = "imagenet_classes.txt"  # a line each: WordNet id, name


@cache
def name_by_wordnet_id() -> dict[str, str]:
    """The classes of ImageNet by their WordNet ids, as its directories are called: `n01440764` is `tench`."""
    text = files("residuum.weights").joinpath(IMAGENET_FILE).read_text(encoding="utf-8")
    return {number: name for number, _, name in (line.partition(" ") for line in text.splitlines())}


@cache
def class_names(labels: str) -> tuple[str, ...]:
    """The classes of `imagenet`, `cifar10` or `digits`, by output.

    Raises:
        InputError: another name.
    """
    if labels == "imagenet":
        return tuple(name_by_wordnet_id().values())
    if labels == "cifar10":
        return CIFAR10_CLASSES
    if labels == "digits":
        return tuple("0123456789")
    raise unknown("classes", labels, get_args(Labels))
