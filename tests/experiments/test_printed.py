"""Published errors: as the catalog prints them, and as shares that agree with what is printed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from data_of_kinds import setting_of
from made_up import made_up
from residuum.experiments.printed import cifar_error, cifar_error_share, printed_error
from residuum.nets.reported import ERRORS
from residuum.records.text import NOTHING


def test_errors_as_printed() -> None:
    assert cifar_error("resnet20").en == "8.75 (CIFAR-10, test)"
    assert printed_error("resnet110").ko == "6.43(다섯 번 중 가장 좋은 값), 6.61 ± 0.16"
    assert cifar_error("plain20") == NOTHING, "Figure 6 shows it without a number"


def test_an_arm_knows_what_is_printed_of_the_same_net_on_the_same_data(tmp_path: Path) -> None:
    on_cifar = made_up(tmp_path / "cifar", {"resnet20": [0.1, 0.1, 0.1]}, setting_of("colour", "short"))
    assert on_cifar.arm("resnet20").printed == {"test error": 0.0875}
    assert on_cifar.arm("resnet20", learning_rate=0.01).printed == {}, "trained otherwise"
    assert on_cifar.arm("plain20").printed == {}, "none is printed"
    assert on_cifar.arm("resnet110+shortcut=halved", printed=0.2).printed == {"test error": 0.2}
    on_digits = made_up(tmp_path / "digits", {"resnet20": [0.1, 0.1, 0.1]})
    assert on_digits.arm("resnet20").printed == {}


@pytest.mark.parametrize("net", [name for name in ERRORS["CIFAR-10 test error %"] if name.startswith("resnet")])
def test_what_is_drawn_is_what_is_printed(net: str) -> None:
    printed = [float(each) for each in re.findall(r"\d+\.\d+", cifar_error(net).en)]
    assert round(100 * cifar_error_share(net), 2) in printed
