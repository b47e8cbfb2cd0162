"""The public names: complete, lazily imported, and never shadowed by a module of the same name."""

from __future__ import annotations

import importlib
import pkgutil
import re
from pathlib import Path

import pytest
import torch

import residuum
from residuum.nets.catalog import CATALOG


def test_all_names_exist_twice_after_importing_every_module() -> None:
    first = {name: getattr(residuum, name) for name in residuum.__all__}
    for module in pkgutil.walk_packages(residuum.__path__, "residuum."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    assert {name: getattr(residuum, name) for name in residuum.__all__} == first


def test_every_public_name_has_a_docstring() -> None:
    for name in residuum.__all__:
        assert name == "__version__" or getattr(residuum, name).__doc__, name


def test_nets_are_functions_of_the_package() -> None:
    net = residuum.resnet20(num_classes=7, in_channels=1).eval()
    assert net(torch.zeros(2, 1, 16, 16)).shape == (2, 7)


def test_every_net_is_declared_for_type_checkers_and_documented() -> None:
    source = Path(residuum.__file__).read_text()
    declared = re.findall(r"^    (\w+): NetBuilder$", source, re.MULTILINE)
    assert declared == list(CATALOG)
    assert "25,557,032 parameters" in residuum.resnet50.__doc__
    assert residuum.resnet50.__name__ == "resnet50"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="resnet5O"):
        _ = residuum.resnet5O


def test_train_resume_load_from_python(tmp_path, digits_data, tiny_net) -> None:  # type: ignore[no-untyped-def]
    recipe = residuum.recipe("digits").changed({"steps": 4})
    run = residuum.train(tiny_net, digits_data, recipe=recipe, out=tmp_path / "run")
    assert residuum.resume(run.path).result == run.result
    assert residuum.load(run.path, net=type(tiny_net)(tiny_net.variant, num_classes=10, in_channels=1)).class_names
