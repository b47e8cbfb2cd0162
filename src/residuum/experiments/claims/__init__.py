"""The claims that can be reproduced: one file each, found by itself."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from residuum.errors import InputError, unknown
from residuum.experiments.claim import Claim

# In the order in which they are told; those that are not named here follow.
ORDER = (
    "degradation", "table1", "table6", "shortcuts", "responses", "depth", "bottleneck",
    "preactivation", "shortcut_variants",
)  # fmt: skip


@cache
def claims() -> dict[str, Claim]:
    """All claims by name: of each file here its `CLAIM`.

    Raises:
        TypeError: a file has none, or it is called otherwise than its file.
    """
    names = [module.name for module in pkgutil.iter_modules(__path__)]
    found = {}
    for name in sorted(names, key=lambda each: (ORDER.index(each) if each in ORDER else len(ORDER), each)):
        claim = getattr(importlib.import_module(f"{__name__}.{name}"), "CLAIM", None)
        if not isinstance(claim, Claim) or claim.name != name:
            raise TypeError(f"{__name__}.{name}: must have a CLAIM called {name!r}")
        found[name] = claim
    return found


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
