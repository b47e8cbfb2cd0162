"""Units, layers and memory as plain values, for the tests of drawings: no torch is needed to draw."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

HOSTILE = "<script>alert(1)</script>&\"'\x00"


@dataclass(frozen=True, kw_only=True)
class Unit:
    name: str
    kind: str = "Conv2d"
    group: str = "convolution"
    details: tuple[str, ...] = ()
    branches: tuple[tuple[str, ...], ...] = ()
    shortcut: str = ""
    output_shape: tuple[int, ...] = (1, 64, 56, 56)
    parameters: int = 1000
    macs: int = 1_000_000
    flops: int = 2_000_000
    activation_values: int = 500
    activation_bytes: int = 2000
    receptive_field: tuple[int, ...] | None = (7, 7)
    stride: tuple[float, ...] | None = (2.0, 2.0)
    repeats: int = 1
    last_name: str = ""
    idle: bool = False
    detail: str = "3x3, 64"
    calls: int = 1


@dataclass(frozen=True, kw_only=True)
class Memory:
    parameters: int = 4000
    buffers: int = 100
    input: int = 600
    forward_peak: int = 6000
    forward_peak_at: str = "layer1.bn3"
    forward_process: int = 300_000_000
    saved_activations: int = 3000
    gradients: int = 4000
    optimizer_state: int = 4000
    training_peak: int = 17_000
    training_peak_at: str = "optimizer step"
    training_process: int = 1_100_000_000
    training_problem: str = ""


@dataclass(frozen=True, kw_only=True)
class Cost:
    batch: int = 1
    parameters: int = 25_557_032
    inference_parameters: int = 25_557_032
    macs: int = 4_089_184_256
    flops: int = 8_210_000_000
    activation_values: int = 22_000_000
    activation_bytes: int = 88_000_000
    receptive_field: tuple[int, ...] | None = (427, 427)
    layers: tuple[Unit, ...] = ()
    memory: Memory = field(default_factory=Memory)
    unknown: dict[str, int] = field(default_factory=dict)


def small(name: str, kind: str, group: str, shape: tuple[int, ...], **changes: Any) -> Unit:
    """A unit without multiply-adds."""
    return Unit(name=name, kind=kind, group=group, output_shape=shape, **({"macs": 0, "parameters": 0} | changes))


def residual(repeats: int = 35) -> list[Unit]:
    """A bottleneck net, folded, with each kind of shortcut."""
    stem, first = (1, 64, 112, 112), (1, 256, 56, 56)
    details = ("1x1, 64", "3x3, 64", "1x1, 256")
    block: dict[str, Any] = {"kind": "Bottleneck", "details": details}
    after = (1, 512, 28, 28)
    return [
        small("input", "input", "input", (1, 3, 224, 224)),
        Unit(name="conv1", details=("7x7/2, 64",), output_shape=stem),
        small("bn1", "BatchNorm2d", "normalisation", stem, parameters=128),
        small("relu", "relu", "activation", stem),
        small("maxpool", "MaxPool2d", "pooling", (1, 64, 56, 56), details=("3x3/2",)),
        Unit(name="layer1.0", shortcut="projection", output_shape=first, **block),
        Unit(name="layer1.1", shortcut="identity", output_shape=first, repeats=repeats,
             last_name=f"layer1.{repeats}", **block),
        Unit(name="layer2.0", shortcut="padded", output_shape=after, **block),
        Unit(name="layer2.1", shortcut="identity", output_shape=after, **block),
        small("mean", "mean", "pooling", (1, 512)),
        small("dropout", "Dropout", "other", (1, 512)),
        Unit(name="fc", kind="Linear", group="linear", details=("1000",), output_shape=(1, 1000)),
    ]  # fmt: skip


def inception(branches: int = 4) -> list[Unit]:
    """A net with branches, and heads that only training uses."""
    paths = tuple(
        tuple(f"{2 * at + 1}x{2 * at + 1}, 128" for at in range(1 + number % 3)) for number in range(branches)
    )
    module: dict[str, Any] = {"kind": "InceptionModule", "branches": paths, "details": paths[-1]}
    return [
        small("input", "input", "input", (1, 3, 224, 224)),
        Unit(name="aux1", kind="AuxiliaryHead", idle=True, output_shape=(), macs=0),
        Unit(name="inception3a", output_shape=(1, 256, 28, 28), **module),
        Unit(name="inception3b", output_shape=(1, 480, 28, 28), **module),
        Unit(name="cat", kind="cat", branches=((), ()), output_shape=(1, 490, 28, 28), macs=0),
        Unit(name="fc", kind="Linear", group="linear", details=("1000",), output_shape=(1, 1000)),
    ]


def vgg() -> list[Unit]:
    """Sixteen layers with a ReLU after each, five poolings."""
    units, at = [small("input", "input", "input", (1, 3, 224, 224))], 0
    for stage, count in enumerate((2, 2, 3, 3, 3)):
        side, width = 224 >> stage, min(64 << stage, 512)
        for _ in range(count):
            shape = (1, width, side, side)
            units.append(Unit(name=f"features.{at}", details=(f"3x3, {width}",), output_shape=shape))
            units.append(small(f"features.{at + 1}", "ReLU", "activation", shape, activation_bytes=0))
            at += 2
        units.append(
            small(f"features.{at}", "MaxPool2d", "pooling", (1, width, side // 2, side // 2), details=("2x2/2",))
        )
        at += 1
    units.append(small("flatten", "Flatten", "other", (1, 25088), activation_bytes=0))
    for number in range(3):
        width = 4096 if number < 2 else 1000
        units.append(Unit(name=f"classifier.{3 * number}", kind="Linear", group="linear", details=(str(width),),
                          output_shape=(1, width)))  # fmt: skip
    return units


def hostile() -> list[Unit]:
    """Names that are long, wide or markup."""
    long = "features.encoder.blocks.transformer" * 4
    return [
        Unit(name=HOSTILE, kind=HOSTILE, details=(HOSTILE, HOSTILE), shortcut="identity"),
        Unit(name=long, kind="W" * 90, details=tuple(f"3x3, {10**at}" for at in range(40)), repeats=3, last_name=long),
        Unit(name="특징" * 60, kind="모듈" * 40, details=("개" * 90,), output_shape=(1, 10**9, 10**6, 10**6)),
        Unit(name="many", branches=tuple((f"{at}x{at}, {10**at}",) * (at % 4) for at in range(17))),
        small("x" * 200, "Y" * 200, "other", (1, 64, 56, 56)),
        Unit(name="aux", kind="A" * 200, idle=True, output_shape=()),
    ]
