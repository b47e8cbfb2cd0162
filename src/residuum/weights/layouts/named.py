"""Layouts that differ from ours by names alone: wrappers, akamaster's, timm's VGG, torchvision's GoogLeNet.

Our names are torchvision's, and timm's where torchvision has no such net, so that most files need nothing of this.
"""

from __future__ import annotations

from torch import Tensor

from residuum.nets.resnet import Variant
from residuum.weights.layouts.mapped import Mapped, Tensors, Trained

# nn.DataParallel, torch.compile, and what training scripts call the net inside of theirs.
PREFIXES = ("module.", "_orig_mod.", "model.", "backbone.", "encoder.")
COUNTER = "n_averaged"  # of torch.optim.swa_utils.AveragedModel, beside the averages, which are called `module.`
OWN = "own names"
TIMM_VGG = {"pre_logits.fc1": "classifier.0", "pre_logits.fc2": "classifier.3", "head.fc": "classifier.6"}
PROJECTIONS = ("project", "project_all", "pool_project")  # shortcuts that have tensors
AUXILIARY = ("aux1.", "aux2.")
NO_HEADS = (
    "the auxiliary heads (aux1, aux2), which serve training only, are left out; torchvision's published weights take "
    "images with mean 0.5 and deviation 0.5 (transform_input)"
)


def unwrapped(tensors: Tensors, own: Tensors) -> dict[str, Tensor]:
    """Without the prefixes that all names share and the net does not have."""
    inner = dict(tensors)
    if COUNTER in inner and COUNTER not in own and all(name.startswith("module.") for name in inner.keys() - {COUNTER}):
        del inner[COUNTER]
    for _ in PREFIXES:  # one inside the other, but not without end
        if any(name in own for name in inner):
            break
        prefix = next((each for each in PREFIXES if all(name.startswith(each) for name in inner)), None)
        if prefix is None:
            break
        inner = {name[len(prefix) :]: tensor for name, tensor in inner.items()}
    return inner


def named(tensors: Tensors, own: Tensors) -> Mapped:
    """Tensors by our names already, or by names that differ in little."""
    if "linear.weight" in tensors and "linear.weight" not in own:
        return akamaster(tensors)
    if "pre_logits.fc1.weight" in tensors and "pre_logits.fc1.weight" not in own:
        return timm_vgg(tensors)
    return without_auxiliary_heads(tensors, own)


def akamaster(tensors: Tensors) -> Mapped:
    """The CIFAR ResNets of akamaster/pytorch_resnet_cifar10: `linear` is our `fc`; option A has no tensors.

    A plain network has the same tensors, and so have other shortcuts without any, orders of layers and poolings: which
    net they are of, the name `linear` tells. Where projections are, their tensors tell it.
    """

    def our_name(name: str) -> str:
        ours = "fc." + name.removeprefix("linear.") if name.startswith("linear.") else name
        ours = ours.replace(".shortcut.", ".downsample.")
        return name if ours in tensors else ours

    def residual(variant: Variant) -> Trained:
        shortcut = variant.shortcut if variant.shortcut in PROJECTIONS else "pad"
        return {"shortcut": shortcut, "downsampling": "stride", "placement": "published"}

    return Mapped("akamaster", {our_name(name): tensor for name, tensor in tensors.items()}, trained=residual)


def timm_vgg(tensors: Tensors) -> Mapped:
    """timm's VGG: its linear layers are convolutions."""
    mapped = {}
    for name, tensor in tensors.items():
        layer, _, kind = name.rpartition(".")
        ours = TIMM_VGG.get(layer)
        mapped[f"{ours}.{kind}" if ours else name] = tensor.flatten(1) if ours and tensor.ndim == 4 else tensor
    return Mapped("timm VGG", mapped)


def without_auxiliary_heads(tensors: Tensors, own: Tensors) -> Mapped:
    """torchvision's GoogLeNet for a net that has no auxiliary heads; others as they are."""
    surplus = {name for name in tensors if name.startswith(AUXILIARY)}
    if not surplus or any(name.startswith(AUXILIARY) for name in own) or "inception3a.branch1.conv.weight" not in own:
        return Mapped(OWN, tensors)
    kept = {name: tensor for name, tensor in tensors.items() if name not in surplus}
    return Mapped("torchvision GoogLeNet", kept, notes=(NO_HEADS,))
