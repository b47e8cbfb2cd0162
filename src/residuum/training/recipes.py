"""The recipes, each a function that returns a complete Recipe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from residuum.data.augment import CropFlip, ScaleCropFlip
from residuum.data.preprocess import Preprocessing
from residuum.data.source import Dataset
from residuum.errors import InputError, unknown
from residuum.nets import catalog
from residuum.training.recipe import CIFAR_SIDE, Orthogonal, Recipe
from residuum.training.schedules import OneCycle, Plateau, StepDecay, WarmUp

# CIFAR nets that start at a lower rate. He et al. 2015 say so of ResNet-110 alone, and of 1202 that it is trained
# likewise; its plain twin is treated alike. He et al. 2016 warm up their CIFAR nets for 400 iterations.
WARM_UP_NETS = frozenset(
    {"resnet110", "plain110", "resnet1202", "preact_resnet110", "preact_resnet164", "preact_resnet1001"}
)


# Nets without batch normalisation. At the rates of the others their loss grows until it is no number; they get a tenth,
# 0.01 instead of 0.1, which is also what the papers of AlexNet, ZFNet and VGG started with.
UNNORMALISED_NETS = frozenset(
    {"lenet5", "lenet5_1998", "alexnet", "alexnet_2012", "alexnet_2012_merged", "zfnet", "zfnet_512"}
    | {"vgg11", "vgg13", "vgg16", "vgg19", "vgg16_gap", "googlenet"}
)

# Side in pixels that small images are enlarged to, for nets whose strides would leave nothing of them.
ENLARGED: dict[str, int] = {
    **dict.fromkeys(("lenet5", "lenet5_1998", "googlenet", "googlenet_bn"), 32),
    **dict.fromkeys(("alexnet", "zfnet", "zfnet_512"), 64),
    **dict.fromkeys(("alexnet_2012", "alexnet_2012_merged"), 67),
    **dict.fromkeys(("vgg11", "vgg13", "vgg16", "vgg19", "vgg16_gap"), 32),
    **dict.fromkeys(("vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn"), 32),
}


SMALLEST_PHOTOGRAPH = 64  # pixels; below it random scales would blur more than they vary

# Of `fast_cifar`: until this share of the steps, images of this share of the full side.
SMALLER_AT_FIRST = ((0.3, 0.625), (0.6, 0.8125))


@dataclass(frozen=True, kw_only=True)
class Preset:
    """What else a recipe changes where there is much time (`--minutes`).

    Attributes:
        epochs: for trainings of at least so many at the full size of the images.
        pad: of the crops, as a share of the side.
        growing: smaller images at first.
    """

    epochs: float
    pad: float
    growing: tuple[tuple[float, int], ...] = ()


# The first that fits counts.
PRESETS: dict[str, tuple[Preset, ...]] = {"fast_cifar": (Preset(epochs=30, pad=1 / 8),)}


def paper_cifar(
    *,
    split: Literal["50k", "45k/5k"] = "50k",
    warm_up: bool = False,
    learning_rate: float = 0.1,
    image_size: int | None = None,
) -> Recipe:
    """CIFAR-10 as in He et al. 2015, section 4.2.

    64k updates of 128 images, rate 0.1 divided by 10 at 32k and 48k; momentum 0.9, weight decay 1e-4; the mean image
    subtracted, padded by 4 zeros, random crop or its mirror image; the last iterate counts. `split="45k/5k"` keeps
    5,000 training images out, as the authors did to find this schedule; the nets they report saw all 50,000.
    `warm_up` is their start of ResNet-110 at 0.01. The paper's 128 images lay on two GPUs: `bn_group=64` normalises
    as they did. A lower rate and enlarged images are for nets that the paper did not train. A training of another
    length (`--epochs`, `--minutes`, `--max-steps`) has its milestones at the same shares of all updates, at a half and
    three quarters.
    """
    return Recipe(
        name="paper_cifar",
        steps=64_000,
        batch_size=128,
        learning_rate=learning_rate,
        momentum=0.9,
        weight_decay=1e-4,
        schedule=StepDecay(milestones=(32_000, 48_000)),
        warm_up=WarmUp() if warm_up else None,
        augmentation=CropFlip(pad=4),
        normalisation="pixel",
        image_size=image_size,
        holdout=0.1 if split == "45k/5k" else 0.0,
        bn_group=64,
    )


def cifar(*, learning_rate: float = 0.2, image_size: int | None = None) -> Recipe:
    """CIFAR-10 in a quarter of the paper's time: 40 epochs, one cycle up to 0.2, bf16 where that is faster.

    Batch 128, momentum 0.9 (Nesterov), weight decay 5e-4, crops of the padded image and mirror images as in
    `paper_cifar`. `results/shipped-resnet20.json` is the run behind the weights in the package.
    """
    return Recipe(
        name="cifar",
        epochs=40,
        batch_size=128,
        learning_rate=learning_rate,
        momentum=0.9,
        nesterov=True,
        weight_decay=5e-4,
        schedule=OneCycle(),
        augmentation=CropFlip(pad=4),
        image_size=image_size,
        precision="auto",
    )


def fast_cifar(*, image_size: int | None = None, flips: bool = True, grows: bool = True) -> Recipe:
    """CIFAR-10 in minutes: 20 epochs of batch 256, bf16 where that is faster; for nets with batch normalisation.

    What makes it fast; `benchmarks/fast_cifar.py ablation` measures each part:

    - Convolution weights move by orthogonalised momentum, Muon (Jordan et al. 2024, "Muon: An optimizer for hidden
      layers in neural networks", kellerjordan.github.io/posts/muon); all others by SGD with Nesterov momentum 0.9 and
      weight decay 5e-4.
    - One cycle: both rates rise over the first tenth of the steps, then fall as a cosine (Smith 2018, "A disciplined
      approach to neural network hyper-parameters").
    - Images are smaller at first, 20 pixels and then 26: progressive resizing, as in fast.ai's entries to DAWNBench
      (Howard 2018, "Training ImageNet in 3 hours for 25 minutes") and in EfficientNetV2 (Tan & Le 2021,
      "EfficientNetV2: Smaller models and faster training", section 4).
    - Crops of the image padded by 2 pixels, not 4, each image mirrored in every other epoch (Jordan 2024, "94% on
      CIFAR-10 in 3.29 Seconds on a Single GPU", section 3.6, who moves images by 2 pixels as well).
    - Convolutions are computed in bf16 with weights in fp32 (Kalamkar et al. 2019, "A study of BFLOAT16 for deep
      learning training").

    Images of another side are padded and shrunk in proportion. Without `flips` they are not mirrored; where it does not
    grow, a net that needs the whole image has it from the beginning.
    """
    side = image_size or CIFAR_SIDE
    return Recipe(
        name="fast_cifar",
        epochs=20,
        batch_size=256,
        learning_rate=0.2,
        momentum=0.9,
        nesterov=True,
        weight_decay=5e-4,
        orthogonal=Orthogonal(rate=0.02, momentum=0.9),
        schedule=OneCycle(rise=0.1),
        augmentation=CropFlip(pad=max(1, side // 16), flip="alternating" if flips else False),
        image_size=image_size,
        growing=tuple((until, max(1, round(share * side))) for until, share in SMALLER_AT_FIRST if grows),
        precision="auto",
    )


def paper_imagenet(*, learning_rate: float = 0.1) -> Recipe:
    """ImageNet as in He et al. 2015, section 3.4.

    60e4 updates of 256 images, rate 0.1 divided by 10 when the error plateaus; shorter side drawn from [256, 480], a
    random 224 crop or its mirror image, the mean image subtracted, colours shifted as by Krizhevsky et al. 2012; no
    dropout. A lower rate is for nets that the paper did not train.
    """
    return Recipe(
        name="paper_imagenet",
        steps=600_000,
        batch_size=256,
        learning_rate=learning_rate,
        momentum=0.9,
        weight_decay=1e-4,
        schedule=Plateau(),
        augmentation=ScaleCropFlip(smallest=256, largest=480),
        normalisation="pixel",
        image_size=224,
    )


def digits(*, learning_rate: float = 0.1, image_size: int | None = None) -> Recipe:
    """Small grey images: 30 epochs, batch 128, one cycle up to 0.1, momentum 0.9, no augmentation."""
    return Recipe(
        name="digits",
        epochs=30,
        batch_size=128,
        learning_rate=learning_rate,
        momentum=0.9,
        schedule=OneCycle(),
        image_size=image_size,
    )


def folder(*, learning_rate: float = 0.05, image_size: int = 224) -> Recipe:
    """A folder of photographs, from scratch: 60 epochs of batch 32, one cycle up to 0.05.

    Scale and crop vary as in `paper_imagenet`, in proportion to `image_size`.
    """
    return Recipe(
        name="folder",
        epochs=60,
        batch_size=32,
        learning_rate=learning_rate,
        schedule=OneCycle(),
        augmentation=ScaleCropFlip(smallest=round(image_size * 256 / 224), largest=round(image_size * 480 / 224)),
        image_size=image_size,
        zero_init_residual=True,
    )


def finetune(*, learning_rate: float = 0.005, image_size: int | None = 224, flips: bool = True) -> Recipe:
    """Weights that somebody trained, taken on to other images: 8 epochs of batch 32, one cycle up to 0.005, bf16 where
    that is faster.

    The last layer is new and learns at the full rate, all others at a tenth of it, since they know most already; batch
    normalisation keeps its statistics, which small batches estimate badly. Photographs vary mildly in scale, up to 1.3
    times the smallest; images below 64 pixels are padded and cropped by an eighth of their side. Without `flips`
    images are left as they are: digits and letters mirrored are others.
    """
    side = image_size or 224
    augmentation = ScaleCropFlip(smallest=round(side * 256 / 224), largest=round(side * 333 / 224), colour_std=0.0)
    small = CropFlip(pad=max(1, side // 8))
    return Recipe(
        name="finetune",
        epochs=8,
        batch_size=32,
        learning_rate=learning_rate,
        momentum=0.9,
        nesterov=True,
        schedule=OneCycle(),
        augmentation=None if not flips else small if side < SMALLEST_PHOTOGRAPH else augmentation,
        image_size=image_size,
        precision="auto",
        trunk_rate=0.1,
        batch_norm="frozen",
    )


def _fast_cifar_of(net: str) -> Recipe:
    _require_normalised("fast_cifar", net)
    side = _enlarged(net)
    return fast_cifar(image_size=side, grows=side is None)


# What each name means for a net.
RECIPES: dict[str, Callable[[str], Recipe]] = {
    "paper_cifar": lambda net: paper_cifar(
        warm_up=catalog.base(net) in WARM_UP_NETS, learning_rate=_rate(0.1, net), image_size=_enlarged(net)
    ),
    "cifar": lambda net: cifar(learning_rate=_rate(0.2, net), image_size=_enlarged(net)),
    "fast_cifar": _fast_cifar_of,
    "paper_imagenet": lambda net: paper_imagenet(learning_rate=_rate(0.1, net)),
    "digits": lambda net: digits(learning_rate=_rate(0.1, net), image_size=_enlarged(net)),
    "folder": lambda net: folder(learning_rate=_rate(0.05, net)),
    "finetune": lambda net: finetune(learning_rate=_rate(0.005, net)),
}


def recipe(name: str, net_name: str = "") -> Recipe:
    """The recipe of that name, as it is for a net.

    `paper_cifar` warms up the nets that the papers warm up. Nets without batch normalisation get a tenth of the rate;
    `fast_cifar` is not for them. `paper_cifar`, `cifar`, `fast_cifar` and `digits` enlarge the images for nets that
    need it.

    A net with changed fields, such as `resnet20+batch_norm=no`, is trained as its base, at its rate too: who compares
    the two wants nothing else to differ. Only `fast_cifar` looks whether it has batch normalisation itself.

    Raises:
        InputError: there is none, and the message names the nearest; or it is not for this net.
    """
    if name not in RECIPES:
        raise unknown("recipe", name, RECIPES)
    return RECIPES[name](net_name)


def _enlarged(net_name: str) -> int | None:
    return ENLARGED.get(catalog.base(net_name))


def _rate(normalised: float, net_name: str) -> float:
    return normalised / 10 if catalog.base(net_name) in UNNORMALISED_NETS else normalised


def _is_normalised(net_name: str) -> bool:
    """Whether it has batch normalisation: by the change of a net with changed fields, else by its base."""
    changed = catalog.changes(net_name).get("batch_norm")
    return changed == "yes" if changed is not None else catalog.base(net_name) not in UNNORMALISED_NETS


def _require_normalised(name: str, net_name: str) -> None:
    if not _is_normalised(net_name):
        raise InputError(
            f"recipe: {name} lets no weight of a convolution grow or shrink, which takes batch normalisation after it, "
            f"and {net_name} has none. Try: --recipe cifar"
        )


def default_recipe(dataset: Dataset, net_name: str, net_size: int) -> Recipe:
    """What a person means who names a net and a data set only; `net_size` is the net's own input size."""
    if dataset.image_size is None:
        return folder(learning_rate=_rate(0.05, net_name), image_size=net_size)
    return recipe("digits" if dataset.channels == 1 else "paper_cifar", net_name)


def finetune_recipe(preprocessing: Preprocessing, net_name: str) -> Recipe:
    """The recipe `finetune` for weights with this preprocessing: at the size of their images, greys not mirrored."""
    height, width = preprocessing.crop
    fitting = finetune(
        learning_rate=_rate(0.005, net_name), image_size=min(height, width), flips=preprocessing.channels == 3
    )
    return fitting if height == width else replace(fitting, image_size=None)


def fast_cifar_recipe(dataset: Dataset, net_name: str, net_size: int) -> Recipe:
    """The recipe `fast_cifar` for other images than CIFAR's: at their own size, greys not mirrored.

    Raises:
        InputError: it is not for this net.
    """
    _require_normalised("fast_cifar", net_name)
    base = catalog.base(net_name)
    own = min(dataset.image_size) if dataset.image_size else net_size
    side = ENLARGED.get(base, own) if dataset.image_size else net_size
    size = None if side == own == CIFAR_SIDE else side
    return fast_cifar(image_size=size, flips=dataset.channels == 3, grows=base not in ENLARGED)


def preset(recipe: Recipe, side: int, epochs: float) -> Recipe:
    """The recipe as it is for a training of so many epochs of images of `side` pixels."""
    for each in PRESETS.get(recipe.name, ()):
        if epochs >= each.epochs and isinstance(recipe.augmentation, CropFlip):
            augmentation = replace(recipe.augmentation, pad=max(1, round(each.pad * side)))
            return replace(recipe, augmentation=augmentation, growing=each.growing)
    return recipe
