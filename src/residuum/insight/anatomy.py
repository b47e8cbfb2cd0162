"""Residual anatomy: how large F(x) is beside x, block by block, and how strongly each layer responds.

He et al. 2015, section 4.2, "Analysis of Layer Responses", with Figure 7: the layers of residual nets respond more
weakly than those of their plain twins, the more so the deeper the net.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from residuum.insight.looks import without_gradients
from residuum.insight.places import ResidualBlock, first_convolution, residual_blocks
from residuum.insight.taps import device_of, evaluating, module_of, removing
from residuum.insight.terms import ShortcutKind, Terms, finished, shortcut_blocks, shortcut_kind, watching
from residuum.nets.blocks import SqueezeExcitation

SHORTCUTS = ("downsample", "shortcut")  # names of a block's part, in the nets of many
Hook = Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]


@dataclass(frozen=True)
class BlockAnatomy:
    """One block, in means over the images of a batch.

    Attributes:
        name: of the block.
        shortcut: `identity`, `pad`, `projection` or another kind (`terms.ShortcutKind`). Where it is not the identity,
            x below is what the shortcut makes of the input: that is what F(x) is added to.
        norm_x, norm_f: Euclidean norms of x and F(x) over channels and positions.
        ratio: norm_f / norm_x.
        cosine: of the angle between x and F(x); 0 where F(x) is 0.
        distance_from_identity: how far the block's output is from what it would be with F(x) = 0, as a share of the
            latter's norm. Without a last ReLU this is `ratio`; with one, what it cuts off does not count.
        response_std: standard deviation of F(x) over all images, channels and positions together, as in `Response`.
    """

    name: str
    shortcut: ShortcutKind
    norm_x: float
    norm_f: float
    ratio: float
    cosine: float
    distance_from_identity: float
    response_std: float


@dataclass(frozen=True)
class Response:
    """How strongly one layer responds.

    Attributes:
        layer: name of the convolution.
        std: standard deviation of its responses over all images, channels and positions together.
    """

    layer: str
    std: float


@without_gradients
def anatomy(net: nn.Module, images: Tensor) -> list[BlockAnatomy]:
    """What each residual block adds to its shortcut, in eval mode, from the image to the classifier.

    Means are of each image's own value, images whose x is 0 left out of quotients (nan where all are).

    Args:
        net: with blocks of `residuum.nets.blocks`.
        images: `(N, C, H, W)`, preprocessed.

    Raises:
        InputError: the net is plain, or has no residual blocks.
    """
    blocks = dict(shortcut_blocks(net))
    found: list[BlockAnatomy] = []

    def measure(name: str, terms: Terms) -> None:
        found.append(_anatomy_of(name, blocks[name], terms))

    with evaluating(net), torch.no_grad(), watching([*blocks.items()], measure):
        net(images.to(device_of(net)))
    return found


def _anatomy_of(name: str, block: ResidualBlock, terms: Terms) -> BlockAnatomy:
    x, residual, output = _wide(terms.shortcut), _wide(terms.residual), _wide(terms.output)
    without = finished(block, x)
    norm_x, norm_f = _norms(x), _norms(residual)
    product = (x * residual).sum(dim=(1, 2, 3)) / (norm_x * norm_f)
    return BlockAnatomy(
        name=name,
        shortcut=shortcut_kind(block),
        norm_x=float(norm_x.mean()),
        norm_f=float(norm_f.mean()),
        ratio=_mean_quotient(norm_f, norm_x),
        cosine=float(torch.where(norm_x * norm_f > 0, product, 0).mean()),
        distance_from_identity=_mean_quotient(_norms(output - without), _norms(without)),
        response_std=_std(residual),
    )


def _wide(maps: Tensor) -> Tensor:
    """In float32 at least: a sum of products of float16 maps is soon beyond 65,504."""
    return maps.to(torch.promote_types(maps.dtype, torch.float32))


def _norms(maps: Tensor) -> Tensor:
    """The norm of each image's maps, `(N,)`."""
    norms: Tensor = torch.linalg.vector_norm(maps, dim=(1, 2, 3))
    return norms


def _mean_quotient(above: Tensor, below: Tensor) -> float:
    counted = below > 0
    return float((above[counted] / below[counted]).mean()) if bool(counted.any()) else math.nan


def _std(values: Tensor) -> float:
    return float(_wide(values).std(correction=0))


@without_gradients
def responses(net: nn.Module, images: Tensor) -> list[Response]:
    """The strength of each layer's response, in eval mode, of plain and residual nets alike (He et al. 2015, Figure 7).

    A response is what a layer gives after its BN, before ReLU or addition: of each convolution, the output of the batch
    normalisation that takes its output directly, or its own where none does (nets without BN; the last convolution of a
    pre-activation block). Convolutions on a shortcut and those of squeeze-and-excitation are left out: of our blocks;
    of others, what lies in a `downsample` or `shortcut` beside a `conv1`, as in torchvision.

    Differs from the paper: that shows the 3x3 layers, this gives all. What its deviation is over the paper does not
    say; here it is over all values of the layer together.

    Args:
        net: any with convolutions.
        images: `(N, C, H, W)`, preprocessed. Memory is that of one forward pass, no maps are kept.

    Raises:
        InputError: the net has no convolution.
    """
    first_convolution(net)
    images = images.to(device_of(net))
    places = _response_places(net, images[:1])
    found: dict[str, float] = {}

    def measuring(layer: str) -> Hook:
        def measure(module: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
            found[layer] = _std(output)

        return measure

    handles = [module_of(net, place).register_forward_hook(measuring(layer)) for layer, place in places.items()]
    with removing(handles), evaluating(net), torch.no_grad():
        net(images)
    return [Response(layer, found[layer]) for layer in places]


def _response_places(net: nn.Module, image: Tensor) -> dict[str, str]:
    """For each convolution, in the order they run, the module after which its response is read: its BN, or itself.

    Found by one pass of one image: a BN belongs to the convolution whose very tensor it is given, unchanged since.
    """
    beside = _beside_the_path(net)
    places: dict[str, str] = {}
    made: dict[int, tuple[str, Tensor, int]] = {}

    def noting(name: str) -> Hook:
        def note(module: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
            if isinstance(module, nn.Conv2d):
                places[name] = name
                made[id(output)] = (name, output, output._version)
                return
            layer, tensor, version = made.get(id(given[0]), ("", output, 0))
            if tensor is given[0] and tensor._version == version:
                places[layer] = name

        return note

    layers = [(n, m) for n, m in net.named_modules() if isinstance(m, nn.Conv2d | nn.BatchNorm2d) and m not in beside]
    handles = [module.register_forward_hook(noting(name)) for name, module in layers]
    with removing(handles), evaluating(net), torch.no_grad():
        net(image)
    return places


def _beside_the_path(net: nn.Module) -> set[nn.Module]:
    """The modules of shortcuts and of squeeze-and-excitation."""
    roots = [block.downsample for _, block in residual_blocks(net) if block.downsample is not None]
    roots += [module for module in net.modules() if isinstance(module, SqueezeExcitation)]
    for module in net.modules():
        children = dict(module.named_children())
        roots += [children[name] for name in SHORTCUTS if name in children and "conv1" in children]
    return {module for root in roots for module in root.modules()}
