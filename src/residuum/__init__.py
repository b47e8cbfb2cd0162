"""residuum: the residual-network workbench.

    import residuum

    net = residuum.net("resnet20")                       # an untrained torch.nn.Module
    run = residuum.train("resnet20", "digits")           # a Run directory
    run.classifier().predict("image.png")
    finding = residuum.reproduce("degradation")          # a Finding, with its page

The public names are those of `__all__`, and every net of the catalog as a function:
`residuum.resnet50(weights=None)`. They are imported when first used: `import residuum` itself loads no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from residuum.classifier import Classifier
    from residuum.costing.cost import Cost
    from residuum.costing.count import cost
    from residuum.data.open import open_dataset
    from residuum.data.preprocess import Preprocessing
    from residuum.data.source import Dataset
    from residuum.errors import ResiduumError
    from residuum.evaluation import Metrics
    from residuum.experiments.reproduce import reproduce
    from residuum.inspection.inspect import Inspection
    from residuum.inspection.start import inspect
    from residuum.nets.catalog import net
    from residuum.plans.seeds import train_seeds
    from residuum.prediction import Prediction
    from residuum.records.finding import Finding, Verdict
    from residuum.references import NetBuilder, import_weights, load
    from residuum.run import Run
    from residuum.training.recipe import Execution, Recipe
    from residuum.training.recipes import recipe
    from residuum.training.start import resume, train

    lenet5: NetBuilder
    lenet5_1998: NetBuilder
    alexnet: NetBuilder
    alexnet_2012: NetBuilder
    alexnet_2012_merged: NetBuilder
    zfnet: NetBuilder
    zfnet_512: NetBuilder
    vgg11: NetBuilder
    vgg13: NetBuilder
    vgg16: NetBuilder
    vgg19: NetBuilder
    vgg11_bn: NetBuilder
    vgg13_bn: NetBuilder
    vgg16_bn: NetBuilder
    vgg19_bn: NetBuilder
    vgg16_gap: NetBuilder
    googlenet: NetBuilder
    googlenet_bn: NetBuilder
    resnet18: NetBuilder
    resnet34: NetBuilder
    resnet50: NetBuilder
    resnet101: NetBuilder
    resnet152: NetBuilder
    resnet50_v1: NetBuilder
    resnet101_v1: NetBuilder
    resnet152_v1: NetBuilder
    resnet50_caffe: NetBuilder
    resnet101_caffe: NetBuilder
    resnet152_caffe: NetBuilder
    resnet18_a: NetBuilder
    resnet34_a: NetBuilder
    resnet34_c: NetBuilder
    plain18: NetBuilder
    plain34: NetBuilder
    resnet8_narrow: NetBuilder
    resnet20: NetBuilder
    resnet32: NetBuilder
    resnet44: NetBuilder
    resnet56: NetBuilder
    resnet110: NetBuilder
    resnet1202: NetBuilder
    plain20: NetBuilder
    plain32: NetBuilder
    plain44: NetBuilder
    plain56: NetBuilder
    plain110: NetBuilder
    preact_resnet18: NetBuilder
    preact_resnet34: NetBuilder
    preact_resnet50: NetBuilder
    preact_resnet101: NetBuilder
    preact_resnet152: NetBuilder
    preact_resnet200: NetBuilder
    preact_resnet110: NetBuilder
    preact_resnet164: NetBuilder
    preact_resnet1001: NetBuilder
    resnext50_32x4d: NetBuilder
    resnext101_32x8d: NetBuilder
    wide_resnet50_2: NetBuilder
    wide_resnet101_2: NetBuilder
    se_resnet50: NetBuilder
    resnetd50: NetBuilder
    wrn16_1: NetBuilder
    wrn16_2: NetBuilder
    wrn16_4: NetBuilder
    wrn16_8: NetBuilder
    wrn22_8: NetBuilder
    wrn28_10: NetBuilder
    wrn40_1: NetBuilder
    wrn40_2: NetBuilder
    wrn40_4: NetBuilder

_HOMES = {
    "Classifier": "residuum.classifier",
    "Cost": "residuum.costing.cost",
    "Dataset": "residuum.data.source",
    "Execution": "residuum.training.recipe",
    "Finding": "residuum.records.finding",
    "Inspection": "residuum.inspection.inspect",
    "Metrics": "residuum.evaluation",
    "Prediction": "residuum.prediction",
    "Preprocessing": "residuum.data.preprocess",
    "Recipe": "residuum.training.recipe",
    "ResiduumError": "residuum.errors",
    "Run": "residuum.run",
    "Verdict": "residuum.records.finding",
    "cost": "residuum.costing.count",
    "import_weights": "residuum.references",
    "inspect": "residuum.inspection.start",
    "load": "residuum.references",
    "net": "residuum.nets.catalog",
    "open_dataset": "residuum.data.open",
    "recipe": "residuum.training.recipes",
    "reproduce": "residuum.experiments.reproduce",
    "resume": "residuum.training.start",
    "train": "residuum.training.start",
    "train_seeds": "residuum.plans.seeds",
}

__all__ = [
    "Classifier",
    "Cost",
    "Dataset",
    "Execution",
    "Finding",
    "Inspection",
    "Metrics",
    "Prediction",
    "Preprocessing",
    "Recipe",
    "ResiduumError",
    "Run",
    "Verdict",
    "__version__",
    "cost",
    "import_weights",
    "inspect",
    "load",
    "net",
    "open_dataset",
    "recipe",
    "reproduce",
    "resume",
    "train",
    "train_seeds",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if not name.startswith("_"):
        from residuum.nets.catalog import CATALOG
        from residuum.references import builder

        if name in CATALOG:
            return builder(name)
    raise AttributeError(f"module 'residuum' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
