"""The parts of an inspection, in order of their cost: what each needs, and how it is made of `residuum.insight`.

    part         needs            what it finds
    filters      nothing          first-layer filters
    activations  an image         strongest maps at the end of every stage, and where their peak looks
    cam          an image, class  Grad-CAM, Grad-CAM++ and Layer-CAM of the best answer
    responses    images           standard deviation of each layer's responses
    anatomy      images, blocks   F(x) beside x in each residual block
    gradients    images, class    gradient of each layer's weights; of each block, split in identity and residual
    history      a Run            how responses, gradients and F(x) beside x changed while it was trained
    attribution  an image, class  integrated gradients and occlusion
    judge        an image, class  deletion and insertion score of the Grad-CAM map, beside random ones
    sanity       an image, class  what becomes of the map when weights are randomised
    paths        images, class    lengths of the paths through a residual net, and how much gradient each carries
    maximised    nothing          images that excite one channel of each stage most
    jacobian     an image, blocks extreme singular values of each block's Jacobian
    probes       data             how well each stage's features tell the classes apart; the last in two dimensions
    patches      data             parts of images that excite channels of each stage most
    lesions      data, classes    accuracy without single blocks, and without several
    landscape    data, classes    loss around the weights, on a line and on a plane

Each function fills `task.found` with plain values and arrays, nested by name, as it goes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from residuum.costing.count import cost
from residuum.errors import InputError
from residuum.insight.activations import Maps, activation_maps
from residuum.insight.anatomy import anatomy, responses
from residuum.insight.attribution import integrated_gradients, occlusion
from residuum.insight.cam import METHODS, cam
from residuum.insight.filters import first_filters, maximised, strongest_patches
from residuum.insight.gradients import gradient_norms, gradient_split
from residuum.insight.jacobian import block_spectra
from residuum.insight.landscape import directions, line, mean_loss, plane
from residuum.insight.lesions import lesions, may_change_places, removable, swaps
from residuum.insight.paths import gradient_by_length, path_lengths
from residuum.insight.places import residual_blocks, stages
from residuum.insight.probes import embedding, linear_probes, stage_features
from residuum.insight.taps import evaluating
from residuum.inspection.subject import BATCH, Subject

Found = dict[str, Any]  # names to plain values, numpy arrays, lists and dictionaries of these
Step = Callable[[int, int], None]  # done, in all
Need = Literal["image", "images", "data", "run"]


@dataclass(frozen=True, eq=False)
class Task:
    """What a part is given beside the subject.

    Attributes:
        found: to be filled.
        step: to be called with steps done and in all; may raise to end the part.
        seconds: that are left; infinite without a budget.
    """

    found: Found
    step: Step
    seconds: float

    def share(self, number: int, count: int) -> Step:
        """`step` for the work inside piece `number` (from 0) of `count` equal ones."""
        return lambda done, total: self.step(number * total + done, count * total) if total else None


@dataclass(frozen=True)
class Part:
    """One way of looking inside.

    Attributes:
        name: what a person types.
        needs: `image`: a photo; `images`: photos or data; `data`: a data set; `run`: the records of a
            training; None: the net alone.
        run: fills the task.
    """

    name: str
    needs: Need | None
    run: Callable[[Subject, Task], None]

    def lacks(self, subject: Subject) -> str:
        """What the subject would have to have, in one line; empty where nothing is missing."""
        if self.needs in ("image", "images") and not subject.photos:
            return f"needs an image. Try: residuum inspect MODEL photo.jpg --only {self.name}"
        if self.needs == "data" and subject.samples is None:
            return f"needs a data set. Try: residuum inspect MODEL --only {self.name} --data cifar10"
        if self.needs == "run" and not subject.history:
            return "needs a Run that recorded its layers. Try: residuum train NET --layer-statistics"
        return ""


def _filters(subject: Subject, task: Task) -> None:
    task.found.update(asdict(first_filters(subject.net)))


def _activations(subject: Subject, task: Task) -> None:
    task.found["photos"] = photos = []
    for number in range(len(subject.photos)):
        maps = activation_maps(subject.net, subject.image(number))
        photos.append([asdict(each) | {"boxes": _peaks(each, subject.input_size)} for each in maps])
        task.step(number + 1, len(subject.photos))


def _peaks(maps: Maps, input_size: tuple[int, int, int]) -> list[tuple[int, int, int, int]]:
    """For each channel what its largest value sees of the image; empty where that is not known."""
    if maps.field is None:
        return []
    peaks = [divmod(int(one.argmax()), one.shape[1]) for one in maps.maps]
    return [maps.field.box(y, x, *input_size[1:]) for y, x in peaks]


def _cam(subject: Subject, task: Task) -> None:
    task.found["photos"] = photos = []
    for number, photo in enumerate(subject.photos):
        wanted = subject.class_of(photo)
        photos.append([asdict(cam(subject.net, subject.image(number), wanted, method=method)) for method in METHODS])
        task.step(number + 1, len(subject.photos))


def _responses(subject: Subject, task: Task) -> None:
    task.found["layers"] = [asdict(each) for each in responses(subject.net, subject.few())]


def _anatomy(subject: Subject, task: Task) -> None:
    task.found["blocks"] = [asdict(each) for each in anatomy(subject.net, subject.few())]


def _gradients(subject: Subject, task: Task) -> None:
    images, labels = subject.few(IN_TRAINING), subject.few_labels(IN_TRAINING)
    remarks = []
    normalises = any(isinstance(module, _BatchNorm) for module in subject.net.modules())
    own = subject.untrained and normalises and len(images) > 1
    if subject.untrained and normalises and not own:
        remarks.append(UNNORMALISED)
    task.found["labels"] = "data" if subject.samples else "answers"
    task.found["statistics"] = "batch" if own else "running"
    norms = gradient_norms(subject.net, images, labels, batch_statistics=own)
    if not norms:
        raise InputError("net: no layer has a weight of its own, so no gradient is shown. Try: a net of convolutions")
    task.found["layers"] = [asdict(each) for each in norms]
    task.step(1, 2)
    try:
        split = gradient_split(subject.net, images, labels, batch_statistics=own)
        task.found["blocks"] = [asdict(each) for each in split]
    except InputError as error:
        remarks.append(str(error))
    if remarks:
        task.found["remark"] = "; ".join(remarks)
    task.step(2, 2)


def _attribution(subject: Subject, task: Task) -> None:
    methods = (integrated_gradients, occlusion)
    task.found["photos"] = photos = []
    for number, photo in enumerate(subject.photos):
        image, wanted = subject.image(number), subject.class_of(photo)
        own: list[Found] = []
        photos.append(own)
        for method in methods:
            piece = task.share(number * len(methods) + len(own), len(methods) * len(subject.photos))
            own.append(asdict(method(subject.net, image, wanted, on_progress=piece)))


def _judge(subject: Subject, task: Task) -> None:
    from residuum.insight.judge import deletion_insertion  # its scipy.stats takes a second to import

    task.found["photos"] = photos = []
    for number, photo in enumerate(subject.photos):
        image, wanted = subject.image(number), subject.class_of(photo)
        heat = cam(subject.net, image, wanted, method="gradcam").overlay
        piece = task.share(number, len(subject.photos))
        judged = deletion_insertion(subject.net, image, wanted, heat, steps=JUDGED_STEPS, on_progress=piece)
        verdict = {"score": judged.score, "better": judged.better, "sigmas": judged.sigmas, "beaten": judged.beaten}
        photos.append(asdict(judged) | verdict)


def _sanity(subject: Subject, task: Task) -> None:
    from residuum.insight.judge import randomised

    wanted = subject.class_of(subject.photos[0])
    layers = randomised(subject.net, subject.image(0), wanted, on_progress=task.step)
    task.found["layers"] = [asdict(each) for each in layers]


def _jacobian(subject: Subject, task: Task) -> None:
    names: list[str | None] = [name for name, _ in residual_blocks(subject.net)]
    steps = _lanczos_steps(subject)
    task.found["blocks"] = blocks = []
    for number, name in enumerate(names or [None], start=1):  # without blocks it says why not
        chosen = None if name is None else [name]
        spectra = block_spectra(subject.net, subject.image(0), names=chosen, steps=steps)
        blocks += [asdict(each) for each in spectra]
        task.step(number, len(names))


def _lanczos_steps(subject: Subject) -> int:
    """The more, the less a pass through the net costs: by count, so that they are the same on every machine."""
    least, most = LANCZOS_STEPS
    try:
        return min(max(LANCZOS_MACS // max(cost(subject.net, subject.input_size).macs, 1), least), most)
    except InputError:  # a net that runs, but not without values
        return least


def _paths(subject: Subject, task: Task) -> None:
    task.found.update(asdict(path_lengths(subject.net)))
    images, labels = subject.few(FOLLOWED), subject.few_labels(FOLLOWED)
    carried = gradient_by_length(subject.net, images, labels, samples=PATHS, on_progress=task.step)
    task.found["gradient"] = asdict(carried)


def _maximised(subject: Subject, task: Task) -> None:
    channels, height, width = subject.input_size
    size = (channels, min(height, MAXIMISED_SIDE), min(width, MAXIMISED_SIDE))
    ends = stages(subject.net, torch.zeros(1, *size, device=subject.device))
    wanted = [(end.name, channel) for end in ends for channel in range(min(MAXIMISED_CHANNELS, end.channels))]
    task.found["images"] = images = []
    for number, (layer, channel) in enumerate(wanted, start=1):
        images.append(asdict(maximised(subject.net, layer, channel, input_size=size, steps=ASCENT_STEPS)))
        task.step(number, len(wanted))


def _probes(subject: Subject, task: Task) -> None:
    assert subject.samples is not None
    labels, count = subject.samples.labels, len(subject.samples)
    first, second = task.share(0, 2), task.share(1, 2)
    features = stage_features(subject.net, subject.images(), on_images=lambda done: first(done, count))
    task.found["class_names"] = list(subject.samples.class_names)
    task.found["embeddings"] = {
        method: asdict(embedding(features[[*features][-1]], labels, method=method)) for method in ("pca", "tsne")
    }
    task.found["probes"] = [asdict(each) for each in linear_probes(features, labels, on_progress=second)]


def _patches(subject: Subject, task: Task) -> None:
    assert subject.samples is not None
    ends = stages(subject.net, next(iter(subject.images())))
    task.found["layers"] = layers = []
    for number, end in enumerate(ends):
        piece = task.share(number, len(ends))
        found = strongest_patches(subject.net, end.name, subject.images(), on_progress=piece)
        tiles = [
            [subject.samples.pixels[image][top:bottom, left:right] for image, (top, left, bottom, right) in row]
            for row in (zip(*pair, strict=True) for pair in zip(found.images, found.boxes.tolist(), strict=True))
        ]
        layers.append(asdict(found) | {"tiles": tiles})


def _lesions(subject: Subject, task: Task) -> None:
    names = removable(subject.net)
    several = _several(names)
    pairs = _pairs(subject.net)
    changes = 2 + len(names) + len(several) + len(pairs)
    batches = subject.batches(_fitting(subject, task.seconds, changes))
    singles = lesions(subject.net, batches, on_progress=task.share(0, 3))
    task.found["lesions"] = [asdict(each) for each in singles]
    task.found["several"] = [
        asdict(each) for each in lesions(subject.net, batches, groups=several, on_progress=task.share(1, 3))[1:]
    ]
    task.found["swaps"] = [
        asdict(each) for each in swaps(subject.net, batches, pairs=pairs, on_progress=task.share(2, 3))[1:]
    ]


def _several(names: Sequence[str]) -> list[list[str]]:
    """Blocks to take out together: a few draws by chance of each number of them."""
    generator = np.random.default_rng(0)
    numbers = [number for number in (2, 4, 8, 16, 32, 64) if number < len(names)]
    return [[*generator.choice(names, number, replace=False)] for number in numbers for _ in range(DRAWS)]


def _pairs(net: nn.Module) -> list[tuple[str, str]]:
    """Neighbours that can change places: both keep the shape of their maps."""
    blocks = [(name, block) for name, block in residual_blocks(net) if isinstance(block.downsample, nn.Identity)]
    return [
        (one, other)
        for (one, first), (other, second) in pairwise(blocks)
        if one.rpartition(".")[0] == other.rpartition(".")[0] and may_change_places(first, second)
    ]


@torch.no_grad()
def _fitting(subject: Subject, seconds: float, passes: int) -> int:
    """How many of the samples can be shown so often within two thirds of the time; at least one batch of them."""
    assert subject.samples is not None
    images = next(iter(subject.images()))
    start = time.monotonic()
    with evaluating(subject.net):
        subject.net(images)
    each = max(time.monotonic() - start, 1e-6) / len(images)
    fitting = seconds * 2 / 3 / (each * passes)
    return len(subject.samples) if fitting >= len(subject.samples) else max(BATCH, int(fitting))


def _landscape(subject: Subject, task: Task) -> None:
    net, loss = subject.net, mean_loss(subject.batches(LANDSCAPE_IMAGES))
    x, y = directions(net, 0), directions(net, 1)
    at, fine = np.linspace(-1, 1, PLANE_POINTS), np.linspace(-1, 1, LINE_POINTS)
    found = task.found
    found.update(at=at, line_at=fine, images=min(LANDSCAPE_IMAGES, len(subject.samples or ())))
    total = LINE_POINTS + PLANE_POINTS**2
    begin = time.monotonic()
    for name, survey, offset in (
        ("line", partial(line, net, loss, x, fine), 0),
        ("values", partial(plane, net, loss, x, y, at), LINE_POINTS),
    ):
        found[name] = survey(done=found.get(name), seconds=0)
        while np.isnan(found[name]).any():  # in pieces: what is done is kept whatever happens
            left = task.seconds - (time.monotonic() - begin)
            found[name] = survey(done=found[name], seconds=min(PIECE_SECONDS, max(left, 0)))
            task.step(offset + int((~np.isnan(found[name])).sum()), total)


def _history(subject: Subject, task: Task) -> None:
    task.found["steps"] = [record["step"] for record in subject.history]
    task.found["quantities"] = quantities = {}
    for quantity, last in subject.history[-1]["layers"].items():
        quantities[quantity] = {
            name: [record["layers"].get(quantity, {}).get(name) for record in subject.history] for name in last
        }


UNNORMALISED = (
    "images: batch normalisation of an untrained net has no statistics, and of one image takes none, so it normalises "
    "nothing here. Try: two images or more"
)
# Chosen so that the parts of a ResNet-18 and one photo take less than a minute on two cores.
IN_TRAINING = 8  # images whose gradients are looked at together
FOLLOWED = 8  # images whose gradients are followed along paths
PATHS = 16  # of each length
JUDGED_STEPS = 16
LANCZOS_STEPS = (24, 128)  # at least and at most; some 100 find the smallest value behind a last ReLU
LANCZOS_MACS = 10**10  # of one image, steps times those of the net: 24 steps of a ResNet-18, 79 of a ResNet-56
MAXIMISED_SIDE = 112  # pixels; enough for what one channel looks for
MAXIMISED_CHANNELS = 2  # of each stage
ASCENT_STEPS = 64
DRAWS = 3  # of blocks to take out together
LANDSCAPE_IMAGES = 256
PLANE_POINTS, LINE_POINTS = 15, 31  # odd: the net itself is one of them
PIECE_SECONDS = 2.0

PARTS = (
    Part("filters", None, _filters),
    Part("activations", "image", _activations),
    Part("cam", "image", _cam),
    Part("responses", "images", _responses),
    Part("anatomy", "images", _anatomy),
    Part("gradients", "images", _gradients),
    Part("history", "run", _history),
    Part("attribution", "image", _attribution),
    Part("judge", "image", _judge),
    Part("sanity", "image", _sanity),
    Part("paths", "images", _paths),
    Part("maximised", None, _maximised),
    Part("jacobian", "image", _jacobian),
    Part("probes", "data", _probes),
    Part("patches", "data", _patches),
    Part("lesions", "data", _lesions),
    Part("landscape", "data", _landscape),
)
