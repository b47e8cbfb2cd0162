"""Outputs of the layers of any net, by module name, while it runs.

A name such as `bn_last.relu` stands for what a ReLU makes of the output of `bn_last` where the net applies it as a
function, so that no module has it: the last map of a pre-activation net, the stem of a residual one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from residuum.costing.limits import ERRORS
from residuum.costing.modes import in_mode
from residuum.errors import InputError

RELU = ".relu"
RELUS = frozenset({torch.relu, torch.relu_, functional.relu, Tensor.relu, Tensor.relu_})


@contextmanager
def tapped(net: nn.Module, names: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """A dictionary that every forward pass fills with the outputs of these layers; the net stays as it was.

    A layer that runs several times leaves its last output. Outputs are on the autograd graph where there is one. The
    net goes on with a copy of each, so that a later operation in place (the ReLUs of VGG) does not change them.

    Raises:
        InputError: the net has no layer of that name.
    """
    outputs: dict[str, Tensor] = {}
    with _listening(net, names, outputs.__setitem__):
        yield outputs


def output_of(net: nn.Module, name: str, images: Tensor, *, run: int = 1) -> Tensor:
    """What a layer gives for images `(N, C, H, W)`; the net is run no further.

    Args:
        net: any net.
        name: of the layer.
        images: to show.
        run: which of its runs, from 1, where the layer runs several times; the last where it runs less often.

    Raises:
        InputError: the net has no layer of that name, or it does not run, or gives no tensor.
    """
    found: list[Tensor] = []

    def stop(_: str, output: Tensor) -> None:
        found.append(output)
        if len(found) == run:
            raise _Reached

    with suppress(_Reached), _listening(net, [name], stop):
        net(images)
    if not found:
        raise InputError(f"layer: {name!r} gives no tensor when the net runs. Try: one of {_some(net)}")
    return found[-1]


def runs_of(net: nn.Module, name: str, image: Tensor) -> int:
    """How often a layer runs for an image `(1, C, H, W)`: several times where a net shares one ReLU, say.

    Of a net that does not take the image behind the layer, as a classifier of another size, how often until then.

    Raises:
        InputError: the net has no layer of that name. What the net raises before the layer has run is passed on.
    """
    runs = 0

    def count(_: str, output: Tensor) -> None:
        nonlocal runs
        runs += 1

    try:
        with torch.no_grad(), _listening(net, [name], count):
            net(image)
    except ERRORS:
        if not runs:
            raise
    return runs


def module_of(net: nn.Module, name: str) -> nn.Module:
    """The module of this name, or the one whose output `name.relu` rectifies.

    Raises:
        InputError: there is none; the message names a few that there are.
    """
    return net.get_submodule(maker_of(net, name))


def maker_of(net: nn.Module, name: str) -> str:
    """The name of the module whose output this is, or is made from: `bn_last` for `bn_last.relu`.

    Raises:
        InputError: there is none; the message names a few that there are.
    """
    for made in dict.fromkeys((name, name.removesuffix(RELU))):
        with suppress(AttributeError):
            net.get_submodule(made)
            return made
    raise InputError(f"layer: the net has no layer {name!r}. Try: one of {_some(net)}")


def device_of(net: nn.Module) -> torch.device:
    """Where the parameters of the net are; the CPU for one that has none."""
    return next((each.device for each in net.parameters()), torch.device("cpu"))


def evaluating(net: nn.Module) -> AbstractContextManager[None]:
    """The net in eval mode, then each of its modules in the mode that it was in; parameters keep their gradients."""
    return in_mode(net, training=False)


@contextmanager
def replaced(net: nn.Module, modules: Mapping[str, nn.Module]) -> Iterator[None]:
    """The net with other modules in the places of those of these names; afterwards its own are back.

    Raises:
        InputError: the net has no module of a name, or is itself the module.
    """
    originals = {name: module_of(net, name) for name in modules}
    if "" in originals:
        raise InputError("net: is itself the module to replace. Try: nn.Sequential(net), in which it is named '0'")
    for name in originals:
        if (made := maker_of(net, name)) != name:
            raise InputError(f"layer: {name!r} is what a function makes of {made!r}, and no module. Try: {made!r}")
    try:
        for name, module in modules.items():
            net.set_submodule(name, module)
        yield
    finally:
        for name, module in originals.items():
            net.set_submodule(name, module)


@contextmanager
def removing(handles: Sequence[RemovableHandle]) -> Iterator[None]:
    """Takes these hooks away at the end of the `with`."""
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class Relus(TorchFunctionMode):
    """While it is entered, calls `heard(given, result)` for every ReLU that is applied as a function."""

    def __init__(self, heard: Callable[[Tensor, Tensor], None]) -> None:
        super().__init__()
        self._heard = heard

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in RELUS:
            self._heard(args[0] if args else (kwargs or {})["input"], result)
        return result


class _Reached(Exception):
    """No error: it ends a forward pass whose rest nobody needs."""


@contextmanager
def _listening(net: nn.Module, names: Sequence[str], keep: Callable[[str, Tensor], None]) -> Iterator[None]:
    """Hands on the outputs of these layers, by name, as the net runs."""
    rectified: dict[str, Tensor] = {}  # given to a ReLU, perhaps

    def heard(given: Tensor, result: Tensor) -> None:
        for name in [name for name, output in rectified.items() if output is given]:
            keep(name, result)

    makers = {name: maker_of(net, name) for name in names}
    with ExitStack() as stack:
        for name, made in sorted(makers.items(), key=lambda each: each[0] != each[1]):  # the ReLU is given the copy
            hook = _keeping(name, keep) if made == name else _waiting(name, rectified)
            stack.callback(net.get_submodule(made).register_forward_hook(hook).remove)
        if any(made != name for name, made in makers.items()):
            stack.enter_context(Relus(heard))
        yield


Hook = Callable[[nn.Module, object, object], Tensor | None]


def _keeping(name: str, keep: Callable[[str, Tensor], None]) -> Hook:
    def hook(module: nn.Module, given: object, output: object) -> Tensor | None:
        if not isinstance(output, Tensor):
            return None
        keep(name, output)
        return output.clone()

    return hook


def _waiting(name: str, rectified: dict[str, Tensor]) -> Hook:
    def hook(module: nn.Module, given: object, output: object) -> None:
        if isinstance(output, Tensor):
            rectified[name] = output

    return hook


def _some(net: nn.Module) -> str:
    return ", ".join([known for known, _ in net.named_modules() if known][:6]) + ", ..."
