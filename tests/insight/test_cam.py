"""Class-activation maps: captum's on the same layer, the classical map where that is defined, and the right layer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from residuum.data.decode import decode
from residuum.data.preprocess import Preprocessing
from residuum.errors import InputError
from residuum.insight.cam import METHODS, cam, gradcam_plus_plus
from residuum.nets.catalog import net as create
from residuum.nets.resnet import ResNet, Variant
from residuum.references import build
from small_nets import lived_in

PLAIN = Variant(blocks=(1, 1), widths=(4, 8), stem="cifar", shortcut="none")
POST = Variant(blocks=(1, 1), widths=(4, 8), stem="cifar", shortcut="pad")
PRE = Variant(blocks=(1, 1), widths=(4, 8), stem="cifar", preactivation=True)
SQUEEZED = Variant(blocks=(1, 1), widths=(4, 8), stem="cifar", block="bottleneck", squeeze=4)


def residual(variant: Variant) -> ResNet:
    torch.manual_seed(0)
    net = lived_in(ResNet(variant, num_classes=10)).double()
    assert isinstance(net, ResNet)
    return net


def image(side: int = 16, channels: int = 3) -> Tensor:
    return torch.randn(1, channels, side, side, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def with_modules(in_place: bool) -> nn.Module:
    """A small net whose ReLUs are modules, two of them the same one, in place or not."""
    torch.manual_seed(0)
    again = nn.ReLU(inplace=in_place)
    maps = (nn.Conv2d(3, 4, 3), again, nn.MaxPool2d(2), nn.Conv2d(4, 6, 3), again, nn.MaxPool2d(2))
    return nn.Sequential(*maps, nn.Flatten(), nn.Linear(24, 5)).double()


@pytest.mark.parametrize(
    ("net", "side", "layer"),
    [
        pytest.param(lambda: residual(POST), 16, "layer2", id="residual"),
        pytest.param(lambda: residual(POST), 16, "layer1.0.bn2", id="before the addition"),
        pytest.param(lambda: residual(PLAIN), 16, "layer2.0.bn1", id="plain"),
        pytest.param(lambda: residual(PRE), 16, "bn_last", id="pre-activation, before the ReLU"),
        pytest.param(lambda: residual(PRE), 16, "layer2", id="pre-activation, the sum"),
        pytest.param(lambda: residual(SQUEEZED), 16, "layer2.0", id="squeezed"),
        pytest.param(lambda: with_modules(False), 14, "3", id="modules"),
        pytest.param(
            lambda: lived_in(create("googlenet_bn", num_classes=10)).double(), 64, "inception4e", id="inception"
        ),
    ],
)
def test_grad_cam_equals_captums(net: Callable[[], nn.Module], side: int, layer: str) -> None:
    """As a share of the largest value, since an untrained net's logits may be of any size."""
    captum = pytest.importorskip("captum.attr")
    built = net().eval()
    ours = cam(built, image(side), 3, layer=layer)
    peer = captum.LayerGradCam(built, built.get_submodule(layer))
    theirs = peer.attribute(image(side), target=3, relu_attributions=True).detach()
    assert ours.layer == layer
    most = theirs.max()
    assert most > 0
    torch.testing.assert_close(torch.from_numpy(ours.map) / most, theirs[0, 0] / most, rtol=0, atol=1e-5)
    wide = captum.LayerAttribution.interpolate(theirs, (side, side), "bilinear")[0, 0]
    torch.testing.assert_close(torch.from_numpy(ours.overlay), wide / wide.max(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("variant", [POST, PRE, PLAIN], ids=["post", "pre", "plain"])
def test_grad_cam_of_the_chosen_layer_is_the_classical_map(variant: Variant) -> None:
    """Zhou et al. 2016: what the linear layer would say of each place alone, behind the last ReLU."""
    net = residual(variant).eval()
    with torch.no_grad():
        last = net.forward_features(image())["layer2"]
        if net.bn_last is not None:
            last = net.bn_last(last).relu()
        classical = torch.einsum("k,khw->hw", net.fc.weight[3], last[0]).clamp(min=0) / last[0, 0].numel()
    assert classical.max() > 0
    torch.testing.assert_close(torch.from_numpy(cam(net, image(), 3).map), classical)


def test_grad_cam_of_a_photo_equals_captums(shared: Path) -> None:
    """The foreign ResNet-18 in float32, the layer chosen by us."""
    captum = pytest.importorskip("captum.attr")
    net = build("resnet18", weights=shared / "weights" / "resnet18-imagenet-pq.safetensors").eval()
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    preprocessing = Preprocessing(channels=3, resize=256, crop=(224, 224), mean=mean, std=std)
    pixels = preprocessing.view(decode(shared / "photos" / "n02123045_tabby.JPEG", channels=3))
    photo = preprocessing.normalise(torch.from_numpy(pixels.copy())[None])
    ours = cam(net, photo)
    peer = captum.LayerGradCam(net, net.layer4)
    theirs = peer.attribute(photo, target=ours.class_index, relu_attributions=True).detach()
    torch.testing.assert_close(torch.from_numpy(ours.map), theirs[0, 0], rtol=0, atol=1e-5)


def test_a_relu_in_place_changes_no_map() -> None:
    for layer in ("0", "3"):
        maps = [cam(with_modules(in_place), image(14), 3, layer=layer).map for in_place in (False, True)]
        assert maps[0].max() > 0
        assert (maps[0] == maps[1]).all()


@pytest.mark.parametrize(
    ("name", "side", "layer", "size"),
    [
        ("plain20", 32, "layer3", 8),
        ("preact_resnet164", 32, "bn_last.relu", 8),
        ("googlenet", 96, "inception5b", 3),
        ("vgg16_gap", 64, "features.29", 4),
        ("lenet5", 32, "conv2.relu", 10),
    ],
)
def test_no_layer_has_to_be_chosen(name: str, side: int, layer: str, size: int) -> None:
    """More families in test_places.py."""
    torch.manual_seed(0)
    channels = 1 if name == "lenet5" else 3
    found = cam(create(name), image(side, channels).float())
    assert (found.layer, found.map.shape, found.overlay.shape) == (layer, (size, size), (side, side))


@pytest.mark.parametrize("method", METHODS)
def test_maps_have_their_ranges_and_the_net_is_left_as_it_was(method: str) -> None:
    net = residual(POST).train()
    net.layer2.eval()
    net.fc.weight.requires_grad_(False)
    net.fc.bias.grad = torch.ones(10, dtype=torch.float64)
    modes = [module.training for module in net.modules()]
    state = {name: value.clone() for name, value in net.state_dict().items()}
    given = image()
    found = cam(net, given, method=method)
    assert found.map.min() >= 0
    assert (found.overlay.min() >= 0, found.overlay.max()) == (True, 1)
    assert [module.training for module in net.modules()] == modes
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    assert not given.requires_grad
    assert net.conv1.weight.grad is None
    assert torch.equal(net.fc.bias.grad, torch.ones(10, dtype=torch.float64))
    assert [parameter.requires_grad for parameter in net.fc.parameters()] == [False, True]
    assert found.class_index == int(net.eval()(image()).argmax())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_maps_of_a_net_of_half_precision_are_float32(dtype: torch.dtype) -> None:
    net = residual(POST)
    exact = cam(net, image(), 3)
    half = cam(net.to(dtype), image(), 3)
    assert (half.signed.dtype, half.map.dtype, half.overlay.dtype) == ("float32",) * 3
    assert abs(half.overlay - exact.overlay).max() < 0.1


def test_a_frozen_net_and_inference_mode_do_no_harm() -> None:
    net = residual(POST)
    expected = cam(net, image(), 3).map
    net.requires_grad_(False)
    assert (cam(net, image(), 3).map == expected).all()
    with torch.inference_mode():
        assert (cam(net, image(), 3).map == expected).all()
    with torch.no_grad():
        assert (cam(net, image(), 3).map == expected).all()


def test_the_weights_of_grad_cam_plus_plus_are_those_of_its_paper() -> None:
    """By the first, second and third derivatives of exp(logit) at every place, taken by autograd one after another."""
    torch.manual_seed(0)
    maps = torch.rand(2, 2, 3, dtype=torch.float64)
    head = torch.randn(2, 2, 3, dtype=torch.float64)
    weights = []
    for channel in range(2):
        weight = 0.0
        for row in range(2):
            for column in range(3):
                place = maps[channel, row, column].clone().requires_grad_()
                others = (maps * head).sum() - maps[channel, row, column] * head[channel, row, column]
                score = (others + place * head[channel, row, column]).exp()
                first = torch.autograd.grad(score, place, create_graph=True)[0]
                second = torch.autograd.grad(first, place, create_graph=True)[0]
                third = torch.autograd.grad(second, place)[0]
                scale = score.detach()
                share = second / (2 * second + maps[channel].sum() * third)
                weight += float((share * first.clamp(min=0) / scale).detach())
        weights.append(weight)
    expected = sum(weight * maps[channel] for channel, weight in enumerate(weights))
    torch.testing.assert_close(gradcam_plus_plus(maps, head), expected)


def test_layer_cam_counts_places_and_grad_cam_counts_maps() -> None:
    """One map, a gradient of +3 on the left and -1 on the right: its mean is 1."""
    maps, gradients = torch.ones(1, 1, 2), torch.tensor([[[3.0, -1.0]]])
    assert METHODS["gradcam"](maps, gradients).tolist() == [[1, 1]]
    assert METHODS["layercam"](maps, gradients).tolist() == [[3, 0]]
    share = 1 / (2 + 3 * 2)
    assert METHODS["gradcam++"](maps, gradients).tolist() == [[3 * share, 3 * share]]


def test_a_map_without_evidence_is_zero_everywhere() -> None:
    net = residual(POST)
    nn.init.constant_(net.fc.weight, -1)
    assert cam(net, image(), 0).map.max() == 0
    assert cam(net, image(), 0).overlay.max() == 0


class Deaf(nn.Module):
    """A net with a branch that nothing comes of."""

    def __init__(self) -> None:
        super().__init__()
        self.unheard, self.heard, self.never = nn.Conv2d(3, 2, 1), nn.Conv2d(3, 2, 1), nn.Conv2d(3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        self.unheard(x)
        return functional.relu(self.heard(x)).mean(dim=(2, 3))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "gradcam+"}, "method: 'gradcam\\+' is not known .*Try: gradcam"),
        ({"layer": "head"}, "layer: the net has no layer 'head'"),
        ({"layer": "unheard"}, "layer: the answer does not depend on 'unheard'"),
        ({"layer": "never"}, "layer: 'never' gives no maps .*got nothing"),
        ({"class_index": 2}, "class_index: no such class \\(expected 0 to 1, got 2\\)"),
        ({"class_index": -1}, "class_index: no such class"),
        ({"image": torch.zeros(2, 3, 4, 4)}, "image: not one image .*got \\(2, 3, 4, 4\\)"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(change: dict[str, object], message: str) -> None:
    asked = {"image": torch.zeros(1, 3, 4, 4), "class_index": 0} | change
    with pytest.raises(InputError, match=message):
        cam(Deaf(), **asked)  # type: ignore[arg-type]


def test_a_net_that_gives_no_logits_is_refused() -> None:
    with pytest.raises(InputError, match="net: gives no logits"):
        cam(nn.Conv2d(3, 2, 1), torch.zeros(1, 3, 4, 4), layer="")
