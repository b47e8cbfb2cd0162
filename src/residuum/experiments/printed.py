"""What papers print of the nets that claims train: errors as words from the catalog, and as shares from `reported`."""

from __future__ import annotations

from residuum.nets import catalog
from residuum.nets.reported import ERRORS
from residuum.records.text import NOTHING, Text

CIFAR = "CIFAR-10 test error %"
FIGURE_ONLY = Text("figure only", "그림만 있음")
WORSE = Text("figure only: worse", "그림만 있음: 더 나쁨")
BETTER = Text("figure only: better", "그림만 있음: 더 좋음")
BEST_OF_5 = Text(" best of 5", "(다섯 번 중 가장 좋은 값)")


def printed_error(net: str) -> Text:
    """The error in percent as printed: `6.43 best of 5, 6.61 ± 0.16`; empty where none is.

    Raises:
        InputError: there is no such net.
    """
    printed = catalog.entry(net).published.error
    return Text(printed, printed.replace(BEST_OF_5.en, BEST_OF_5.ko))


def cifar_error(net: str) -> Text:
    """The same of a net for CIFAR-10, with what it is: `8.75 (CIFAR-10, test)`; empty for other nets."""
    if net not in ERRORS[CIFAR]:
        return NOTHING
    printed = printed_error(net)
    return Text(f"{printed.en} (CIFAR-10, test)", f"{printed.ko} (CIFAR-10, 시험)")


def cifar_error_share(net: str) -> float:
    """The same as a share, for figures and comparisons; the mean where several were trained.

    Raises:
        KeyError: none is published.
    """
    return ERRORS[CIFAR][net] / 100
