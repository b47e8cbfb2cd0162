"""The claims that can be reproduced: one file each, found by itself."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import get_args

from residuum.errors import InputError, unknown
from residuum.experiments.claim import Claim, Group

# In the order in which they are told, group by group; those that are not named here follow.
ORDER = (
    "degradation", "not_vanishing", "convergence", "table1", "table6", "depth", "bottleneck", "shortcuts", "responses",
    "unrolled", "minus_one", "shortcut_variants", "preactivation", "one_layer",
    "identity", "at_least_one", "explode", "residual_to_zero", "zero_init", "learning_rate", "dropout",
    "lesion", "landscape",
)  # fmt: skip


@cache
def claims() -> dict[str, Claim]:
    """All claims by name, in the order in which they are told: of each file here its `CLAIM`.

    Raises:
        TypeError: a file has none, or it is called otherwise than its file.
    """
    found = []
    for module in pkgutil.iter_modules(__path__):
        if module.name.startswith("_"):  # what several claims share
            continue
        claim = getattr(importlib.import_module(f"{__name__}.{module.name}"), "CLAIM", None)
        if not isinstance(claim, Claim) or claim.name != module.name:
            raise TypeError(f"{__name__}.{module.name}: must have a CLAIM called {module.name!r}")
        found.append(claim)
    return {claim.name: claim for claim in sorted(found, key=_place)}


def _place(claim: Claim) -> tuple[int, int, str]:
    place = ORDER.index(claim.name) if claim.name in ORDER else len(ORDER)
    return get_args(Group).index(claim.group), place, claim.name


def chosen(names: tuple[str, ...]) -> list[Claim]:
    """The claims of these names, all where none is given, in the order in which they are told.

    Raises:
        InputError: there is none of that name; the message names the nearest.
    """
    known = claims()
    for name in names:
        if name not in known:
            raise unknown("claim", name, known)
    if len(set(names)) < len(names):
        raise InputError(f"claims: {' '.join(names)} names one twice. Try: {' '.join(dict.fromkeys(names))}")
    return [claim for name, claim in known.items() if not names or name in names]
