"""What the filters of a net look for: their weights, the patches that excite them most, an image made to do so.

first_filters       the weights themselves, which are small pictures where they act on the image
                    (Krizhevsky et al. 2012, Figure 3)
strongest_patches   the parts of real images at which a channel is strongest, one of each image
                    (Zeiler & Fergus 2013, Figure 2)
maximised           an image from noise by gradient ascent on one channel (Erhan et al. 2009), kept
                    picture-like by decay, blur (Yosinski et al. 2015, section 3) and jitter (Mordvintsev et al.
                    2015)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Sized
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from residuum.costing.execution import by
from residuum.costing.limits import require_input
from residuum.costing.view import FieldOfView, fields_of_view
from residuum.errors import InputError
from residuum.insight.blur import gaussian_blur
from residuum.insight.looks import OnProgress, unheard, with_gradients, without_gradients
from residuum.insight.places import first_convolution
from residuum.insight.taps import device_of, evaluating, maker_of, output_of, runs_of

Box = tuple[int, int, int, int]
CHANNELS_SHOWN = 8
LIMIT = 2.5  # standard deviations: the normalised pixels of photographs lie within
BLUR_EVERY = 4  # steps


@dataclass(frozen=True, eq=False)
class Filters:
    """The kernels `(K, C, h, w)` of a net's first convolution, as they are."""

    layer: str
    kernels: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Patches:
    """Where in a set of images each channel is strongest; the strongest first, at most one patch of each image.

    Attributes:
        layer: whose channels they are.
        channels: n of them.
        images: `(n, count)` index of the image over all batches.
        boxes: `(n, count, 4)` top, left, bottom, right of what the position sees, clipped to the image; bottom and
            right are the first pixels behind it.
        values: `(n, count)` of the channel at that position.
    """

    layer: str
    channels: tuple[int, ...]
    images: NDArray[np.int64]
    boxes: NDArray[np.int64]
    values: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Maximised:
    """An image that excites one channel.

    Attributes:
        layer, channel: which it is.
        image: `(C, H, W)` in the normalised space of the net's inputs.
        value: mean of the channel over its map for this image.
        history: `(steps,)` the same before each step, for the jittered image.
    """

    layer: str
    channel: int
    image: NDArray[np.float32]
    value: float
    history: NDArray[np.float32]


def first_filters(net: nn.Module) -> Filters:
    """The kernels of the convolution that sees the image: the first of the net, see `first_convolution`.

    Raises:
        InputError: the net has no convolution.
    """
    name, convolution = first_convolution(net)
    return Filters(name, convolution.weight.detach().float().cpu().numpy().copy())


# ----- the strongest patches of a data set


@without_gradients
def strongest_patches(
    net: nn.Module,
    layer: str,
    batches: Iterable[Tensor],
    *,
    channels: Sequence[int] | None = None,
    count: int = 9,
    on_progress: OnProgress = unheard,
) -> Patches:
    """The patches of many images at which channels of a layer are strongest, in eval mode.

    The net is run no further than the layer, but for one image, and nothing is kept but the best so far. A layer
    without maps, such as the last linear one, sees the whole image.

    Args:
        net: any net.
        layer: name of a module, or of its rectified output as `bn1.relu`; gives `(N, K, h, w)` or `(N, K)`. Of one that
            runs several times (a ReLU that a block shares) it is the last run.
        batches: images `(N, C, H, W)`, preprocessed, all of one size.
        channels: None for the 8 that reach the largest values.
        count: patches for each channel, fewer where there are fewer images.
        on_progress: called with the batches done and those in all, 0 where it is not known.

    Raises:
        InputError: no image, images of several sizes, no such layer or channel, or values that are not finite.
    """
    if count < 1:
        raise InputError(f"count: must be at least 1, got {count}. Try: 9")
    if channels is not None and not len(channels):
        raise InputError("channels: there is none. Try: channels=None")
    best = _Best(layer, channels, count)
    total = len(batches) if isinstance(batches, Sized) else 0
    run = 0
    with evaluating(net), torch.no_grad():
        for done, images in enumerate(batches, start=1):
            shown = images.to(device_of(net))
            run = run or runs_of(net, layer, shown[:1])
            best.take(output_of(net, layer, shown, run=run), tuple(images.shape[1:]))
            on_progress(done, total)
    if best.size is None:
        raise InputError("batches: there is no image in them. Try: a folder with images")
    best.choose()
    return Patches(
        layer=layer,
        channels=tuple(best.channels.tolist()),
        images=best.images.T.cpu().numpy(),
        boxes=best.boxes(_view(net, layer, best.size)),
        values=best.values.T.float().cpu().numpy(),
    )


class _Best:
    """The strongest positions so far: values, images and positions `(count, channels)`, the strongest first."""

    channels: Tensor
    values: Tensor
    images: Tensor
    positions: Tensor

    def __init__(self, layer: str, channels: Sequence[int] | None, count: int) -> None:
        self.layer, self.count = layer, count
        self.wanted = None if channels is None else list(channels)
        self.size: tuple[int, ...] | None = None
        self.width, self.seen = 1, 0

    def take(self, output: Tensor, size: tuple[int, ...]) -> None:
        """The output `(N, K, h, w)` or `(N, K)` for images of `size` (C, H, W)."""
        if output.ndim not in (2, 4):
            raise InputError(
                f"layer: {self.layer!r} gives no maps (expected (N, K, h, w) or (N, K), got {tuple(output.shape)}). "
                "Try: a convolution's name"
            )
        if not len(output):
            return
        if self.size is None:
            self._start(output, size)
        elif size != self.size:
            raise InputError(f"batches: images of several sizes (expected {self.size}, got {size}). Try: one size")
        output = output[:, self.channels]
        if not output.isfinite().all():
            raise InputError(f"net: gives values at {self.layer!r} that are not finite. Try: other weights")
        values, positions = output.flatten(2).max(dim=2) if output.ndim == 4 else (output, torch.zeros_like(output))
        images = torch.arange(self.seen, self.seen + len(output), device=output.device)[:, None].expand_as(values)
        self._merge(values, images, positions.long())
        self.seen += len(output)

    def choose(self) -> None:
        """Of all channels, those that reach the largest values; nothing where channels were asked for."""
        if self.wanted is None:
            chosen = self.values[0].sort(descending=True, stable=True).indices[:CHANNELS_SHOWN]
            self.channels, self.values = self.channels[chosen], self.values[:, chosen]
            self.images, self.positions = self.images[:, chosen], self.positions[:, chosen]

    def boxes(self, view: FieldOfView | None) -> NDArray[np.int64]:
        """`(channels, count, 4)`; the whole image where it is not known what a position sees."""
        height, width = (self.size or (1, 1, 1))[-2:]

        def box(position: int) -> Box:
            y, x = divmod(position, self.width)
            return view.box(y, x, height, width) if view is not None else (0, 0, height, width)

        return np.array([[box(each) for each in row] for row in self.positions.T.tolist()], dtype=np.int64)

    def _start(self, output: Tensor, size: tuple[int, ...]) -> None:
        self.size, self.width = size, output.shape[-1] if output.ndim == 4 else 1
        channels = list(range(output.shape[1])) if self.wanted is None else self.wanted
        for each in channels:
            _require_channel(self.layer, each, output.shape[1])
        self.channels = torch.tensor(channels, dtype=torch.int64, device=output.device)
        self.values = output.new_empty(0, len(channels))
        self.images, self.positions = self.channels.new_empty(2, 0, len(channels))

    def _merge(self, values: Tensor, images: Tensor, positions: Tensor) -> None:
        values = torch.cat([self.values, values])
        order = values.sort(dim=0, descending=True, stable=True).indices[: self.count]
        self.values = values.gather(0, order)
        self.images = torch.cat([self.images, images]).gather(0, order)
        self.positions = torch.cat([self.positions, positions]).gather(0, order)


def _require_channel(layer: str, channel: int, channels: int) -> None:
    if not 0 <= channel < channels:
        raise InputError(
            f"channel: {layer!r} has no channel {channel} (expected 0 to {channels - 1}). Try: {channels - 1}"
        )


def _view(net: nn.Module, layer: str, size: Sequence[int]) -> FieldOfView | None:
    try:
        return fields_of_view(net, size).get(maker_of(net, layer))
    except InputError:  # a net that runs, but not without values
        return None


# ----- an image made to excite one channel


@with_gradients
def maximised(
    net: nn.Module,
    layer: str,
    channel: int,
    *,
    input_size: Sequence[int],
    steps: int = 128,
    seed: int = 0,
    step_size: float = 0.1,
    jitter: int | None = None,
    decay: float = 0.01,
    blur: float = 0.5,
) -> Maximised:
    """An image for which one channel is large in the mean over its map, by gradient ascent from noise in eval mode.

    Each step shifts the image by a few pixels, around its borders, and moves it along the gradient, scaled to one
    size; then the pixels decay, are blurred every 4th step, and are held within 2.5 standard deviations. The net is
    run no further than the layer in any step. A channel that is 0 for noise everywhere gives no direction: its history
    stays 0.

    Args:
        net: any net.
        layer: name of a module, or of its rectified output as `bn1.relu`; gives `(N, K, h, w)` or `(N, K)`. Of one that
            runs several times (a ReLU that a block shares) it is the last run.
        channel: of the layer; of a last linear layer, the class.
        input_size: channels, height and width of the image.
        steps: of ascent.
        seed: of the noise and the jitter; the same seed gives the same image.
        step_size: root mean square of a step, in standard deviations of the pixels.
        jitter: largest shift in pixels; None for a 32nd of the image's side.
        decay: share of every pixel that is lost at each step.
        blur: standard deviation in pixels; 0 for none.

    Raises:
        InputError: no such layer or channel, or a number out of its range.
    """
    require_input(input_size, 1)
    if len(input_size) != 3:
        raise InputError(
            f"input_size: must be channels, height and width (expected 3 numbers, got {by(input_size)}). "
            "Try: (3, 224, 224)"
        )
    at_least = {"steps": (steps, 1), "step_size": (step_size, 0), "jitter": (jitter or 0, 0), "blur": (blur, 0)}
    for name, (value, least) in at_least.items():
        if value < least:
            raise InputError(f"{name}: must be at least {least}, got {value}. Try: {least}")
    generator = torch.Generator().manual_seed(seed)
    like = next((each for each in net.parameters() if each.is_floating_point()), torch.zeros(()))
    image = 0.1 * torch.randn(1, *input_size, generator=generator).to(like)
    reach = min(image.shape[-2:]) // 32 if jitter is None else jitter
    history = []
    with evaluating(net):
        run = runs_of(net, layer, image)
        for step in range(1, steps + 1):
            shift = torch.randint(-reach, reach + 1, (2,), generator=generator).tolist()
            value, gradient = _ascent(net, layer, channel, image.roll(shift, (2, 3)), run)
            history.append(value)
            size = gradient.square().mean().sqrt().clamp(min=torch.finfo(gradient.dtype).tiny)
            image = image + step_size * gradient.roll([-each for each in shift], (2, 3)) / size
            image = image * (1 - decay)
            if blur and step % BLUR_EVERY == 0:
                image = gaussian_blur(image, blur)
            image = image.clamp(-LIMIT, LIMIT)
        value, _ = _ascent(net, layer, channel, image, run)
    pixels = image[0].float().cpu().numpy()
    return Maximised(layer, channel, pixels, value, np.array(history, dtype=np.float32))


def _ascent(net: nn.Module, layer: str, channel: int, image: Tensor, run: int) -> tuple[float, Tensor]:
    """The mean of the channel over its map in this run of the layer, and its gradient `(1, C, H, W)`."""
    image = image.detach().requires_grad_()
    output = output_of(net, layer, image, run=run)
    if output.ndim < 2:
        raise InputError(f"layer: {layer!r} has no channels, its output is {tuple(output.shape)}. Try: a convolution")
    _require_channel(layer, channel, output.shape[1])
    value = output[:, channel].mean()
    (gradient,) = torch.autograd.grad(value, image)
    return float(value.detach()), gradient
