"""What can go wrong by no fault of this program, and how it is said.

Every message has one shape: `<path or argument>: <what is wrong> (expected X, got Y). Try: <one action>`. The command
line prints it as one line and exits with the code of the class; a library caller catches `ResiduumError`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ResiduumError(Exception):
    """Anything a person can mend; `exit_code` is what the command line ends with."""

    exit_code = 1


class InputError(ResiduumError, ValueError):
    """An argument, file or folder that cannot be used as it is. Exit code 2."""

    exit_code = 2


class InUseError(InputError):
    """A directory that another process is writing. Exit code 2."""


class DamagedError(InputError):
    """A file that is not what its digest or its format says. Exit code 2."""


class StorageError(ResiduumError):
    """The disk is full, read-only or failing. Exit code 1."""


class TrainingError(ResiduumError):
    """Training cannot go on: a loss, gradient or buffer is not a number. Exit code 1."""


class Interrupted(ResiduumError):
    """Stopped by a signal after the work so far was saved. Exit code 128 + signal."""

    def __init__(self, message: str, *, signal_number: int) -> None:
        super().__init__(message)
        self.signal_number = signal_number
        self.exit_code = 128 + signal_number


LOOKALIKES = str.maketrans({"o": "0", "l": "1", "i": "1", "-": None, "_": None, " ": None})


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name a person most likely meant, by spelling; the first one where none is near.

    `ResNet-50` and `resnet5O` are `resnet50`: case, hyphens and look-alike characters are tried first.

    Raises:
        ValueError: `known` is empty.
    """
    names = list(known)
    alike = name.lower().translate(LOOKALIKES)
    for each in names:
        if each.lower().translate(LOOKALIKES) == alike:
            return each
    matches = difflib.get_close_matches(name, names, n=1, cutoff=0.3)
    if matches:
        return matches[0]
    if not names:
        raise ValueError("known: nothing to choose from")
    return names[0]


def unknown(argument: str, value: str, known: Iterable[str]) -> InputError:
    """The error for a name that is not in a closed list."""
    names = list(known)
    shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    return InputError(f"{argument}: {value!r} is not known (expected one of {shown}). Try: {nearest(value, names)}")


def missing_extra(what: str, module: str, extra: str) -> InputError:
    """The error for a package that only some users need."""
    return InputError(f"{what}: needs {module}, which is not installed. Try: pip install 'residuum[{extra}]'")
