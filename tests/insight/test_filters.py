"""Filters, the patches that excite them and the images made for them, against brute force and hand computation."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from residuum.errors import InputError
from residuum.insight.activations import activation_maps
from residuum.insight.filters import first_filters, maximised, strongest_patches
from residuum.insight.taps import output_of
from residuum.nets.catalog import net as build
from residuum.nets.resnet import ResNet
from small_nets import Shared


def cropping(seed: int = 0) -> nn.Sequential:
    """Two convolutions without padding: what a position gives, the crop that it sees gives alone."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(2, 4, 3, stride=2), nn.ReLU(inplace=True), nn.Conv2d(4, 12, (3, 2)))


def test_first_filters_are_a_copy_of_the_weights(tiny_net: ResNet) -> None:
    filters = first_filters(tiny_net)
    assert filters.layer == "conv1"
    assert filters.kernels.dtype == np.float32
    assert np.array_equal(filters.kernels, tiny_net.conv1.weight.detach().numpy())
    filters.kernels[:] = 0
    assert tiny_net.conv1.weight.abs().min() > 0
    assert first_filters(build("googlenet_bn")).layer == "conv1.conv"


@pytest.mark.parametrize("sizes", [(10,), (3, 1, 6), (1,) * 10])
def test_patches_are_the_strongest_of_all_images(sizes: tuple[int, ...]) -> None:
    net, images = cropping(), torch.randn(10, 2, 14, 16)
    told: list[tuple[int, int]] = []
    batches = list(images.split(sizes))
    patches = strongest_patches(
        net, "2", batches, channels=[7, 0, 3], count=4, on_progress=lambda done, total: told.append((done, total))
    )
    with torch.no_grad():
        output = net(images).numpy()
    assert patches.channels == (7, 0, 3)
    for row, channel in enumerate(patches.channels):
        peaks = output[:, channel].max(axis=(1, 2))
        order = np.argsort(-peaks)[:4]
        assert patches.images[row].tolist() == order.tolist()
        assert np.allclose(patches.values[row], peaks[order], atol=1e-6)
        for image, box, value in zip(patches.images[row], patches.boxes[row], patches.values[row], strict=True):
            top, left, bottom, right = box
            assert (bottom - top, right - left) == (7, 5)
            alone = net(images[image : image + 1, :, top:bottom, left:right]).detach()
            assert alone.shape[2:] == (1, 1)
            assert float(alone[0, channel]) == pytest.approx(float(value), abs=1e-6)
    assert told == [(done, len(sizes)) for done in range(1, len(sizes) + 1)]
    assert (patches.images.dtype, patches.boxes.dtype, patches.values.dtype) == (np.int64, np.int64, np.float32)


def test_the_channels_with_the_largest_peaks_are_chosen() -> None:
    net, images = cropping(), torch.randn(5, 2, 14, 16)
    patches = strongest_patches(net, "2", iter([images]))
    peaks = net(images).amax(dim=(0, 2, 3))
    assert patches.channels == tuple(peaks.sort(descending=True).indices[:8].tolist())
    assert patches.images.shape == patches.values.shape == (8, 5)  # five images, so five patches and not nine
    assert patches.boxes.shape == (8, 5, 4)
    assert np.allclose(patches.values[:, 0], peaks.sort(descending=True).values[:8].detach(), rtol=1e-6)


def test_boxes_are_clipped_to_the_image() -> None:
    net = nn.Sequential(nn.Conv2d(1, 1, 5, padding=2, bias=False))
    nn.init.ones_(net[0].weight)
    image = torch.zeros(1, 1, 6, 9)
    image[0, 0, 0, 8] = 1
    image[0, 0, 2, 8] = 1  # both are seen from the last column of rows 0 to 2; the first of equals counts
    patches = strongest_patches(net, "0", [image])
    assert patches.boxes[0, 0].tolist() == [0, 4, 3, 9]
    assert patches.values[0, 0] == 2


def test_of_a_layer_without_maps_the_image_is_the_patch(tiny_net: ResNet) -> None:
    images = torch.randn(6, 1, 16, 16)
    patches = strongest_patches(tiny_net, "fc", images.split(4), channels=[5], count=2)
    scores = tiny_net.eval()(images)[:, 5]
    assert patches.images[0].tolist() == scores.sort(descending=True).indices[:2].tolist()
    assert patches.boxes[0].tolist() == [[0, 0, 16, 16]] * 2


def test_of_a_layer_that_runs_twice_all_looks_show_the_last_run() -> None:
    torch.manual_seed(0)
    net, images = Shared(), torch.randn(1, 1, 12, 12)
    with torch.no_grad():
        output = net(images)[0]
    patches = strongest_patches(net, "relu", [images], channels=[0, 1], count=1)
    (maps,) = activation_maps(net, images, layers="relu")
    assert patches.values[:, 0].tolist() == output.amax(dim=(1, 2)).tolist()
    assert sorted(maps.maps.max(axis=(1, 2)).tolist()) == sorted(patches.values[:, 0].tolist())
    for channel, (top, left, bottom, right) in enumerate(patches.boxes[:, 0].tolist()):
        assert (bottom - top, right - left) == (5, 5)
        alone = net(images[:, :, top:bottom, left:right]).detach()
        assert float(alone[0, channel]) == pytest.approx(float(patches.values[channel, 0]), abs=1e-6)
    made = maximised(net, "relu", 0, input_size=(1, 8, 8), steps=2)
    with torch.no_grad():
        assert made.value == pytest.approx(float(net(torch.from_numpy(made.image)[None])[0, 0].mean()), rel=1e-5)


def test_an_image_of_a_size_that_the_classifier_does_not_take() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(7, 2))
    assert maximised(net, "0", 1, input_size=(1, 8, 8), steps=1).image.shape == (1, 8, 8)


def test_progress_of_a_stream_has_no_total() -> None:
    def stream() -> Iterator[Tensor]:
        yield from torch.randn(4, 2, 14, 16).split(2)

    told: list[tuple[int, int]] = []
    strongest_patches(cropping(), "0", stream(), on_progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 0), (2, 0)]


def test_wrong_arguments_of_patches() -> None:
    net, images = cropping(), torch.randn(2, 2, 14, 16)
    with pytest.raises(InputError, match="batches: there is no image"):
        strongest_patches(net, "2", [])
    with pytest.raises(InputError, match=r"images of several sizes \(expected \(2, 14, 16\), got \(2, 20, 16\)\)"):
        strongest_patches(net, "2", [images, torch.randn(2, 2, 20, 16)])
    with pytest.raises(InputError, match=r"'2' has no channel 12 \(expected 0 to 11\)"):
        strongest_patches(net, "2", [images], channels=[12])
    with pytest.raises(InputError, match="channels: there is none"):
        strongest_patches(net, "2", [images], channels=[])
    with pytest.raises(InputError, match="count: must be at least 1"):
        strongest_patches(net, "2", [images], count=0)
    with pytest.raises(InputError, match="not finite"):
        strongest_patches(net, "2", [images * torch.nan])


# ----- activation maximisation


def test_the_image_for_a_linear_filter_is_the_filter() -> None:
    """One convolution with a single position: the gradient is its kernel, and so the image is."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 2, 7))
    made = maximised(net, "0", 1, input_size=(3, 7, 7), jitter=0, decay=0.1, blur=0, step_size=0.05, steps=64)
    kernel = net[0].weight[1].detach().numpy()
    cosine = float((made.image * kernel).sum() / np.linalg.norm(made.image) / np.linalg.norm(kernel))
    assert cosine > 0.999
    with torch.no_grad():
        assert made.value == pytest.approx(float(net(torch.from_numpy(made.image)[None])[0, 1, 0, 0]), rel=1e-5)
    assert made.history.shape == (64,)
    assert (np.diff(made.history[:30]) > 0).all()
    assert made.history[-1] == pytest.approx(made.value, rel=1e-3)


def test_a_step_without_regularisation_by_hand() -> None:
    """From noise of deviation 0.1, one step of root mean square 0.5 along the gradient of the mean of the map."""
    net = nn.Sequential(nn.Conv2d(1, 1, 3, bias=False))
    image = 0.1 * torch.randn(1, 1, 5, 5, generator=torch.Generator().manual_seed(4))
    expected = torch.zeros(5, 5)
    for row in range(3):
        for column in range(3):
            expected[row : row + 3, column : column + 3] += net[0].weight[0, 0].detach() / 9
    expected = image[0, 0] + 0.5 * expected / expected.square().mean().sqrt()
    options = {"jitter": 0, "decay": 0, "blur": 0}
    made = maximised(net, "0", 0, input_size=(1, 5, 5), steps=1, seed=4, step_size=0.5, **options)  # type: ignore[arg-type]
    assert np.allclose(made.image[0], expected.numpy().clip(-2.5, 2.5), atol=1e-6)
    assert made.history[0] == pytest.approx(net(image).mean().item(), rel=1e-4)


def test_no_image_made_for_another_class_suits_a_class_better(tiny_net: ResNet) -> None:
    classes = (0, 3, 7)
    made = [maximised(tiny_net, "fc", each, input_size=(1, 8, 8), steps=24) for each in classes]
    with torch.no_grad():
        answers = tiny_net.eval()(torch.stack([torch.from_numpy(each.image) for each in made]))[:, classes]
    assert answers.argmax(dim=0).tolist() == [0, 1, 2]
    assert answers.diagonal().tolist() == pytest.approx([each.value for each in made], rel=1e-5)


@pytest.mark.parametrize("layer", ["layer2", "bn1.relu", "layer1.0.conv2"])
def test_excites_its_channel_more_than_noise_does(tiny_net: ResNet, layer: str) -> None:
    made = maximised(tiny_net, layer, 2, input_size=(1, 16, 16), steps=12)
    again = maximised(tiny_net, layer, 2, input_size=(1, 16, 16), steps=12)
    other = maximised(tiny_net, layer, 2, input_size=(1, 16, 16), steps=12, seed=1)
    assert np.array_equal(made.image, again.image)
    assert not np.array_equal(made.image, other.image)
    noise = torch.randn(32, 1, 16, 16) * float(made.image.std())
    with torch.no_grad():
        reached = output_of(tiny_net.eval(), layer, noise)[:, 2].mean(dim=(1, 2))
    assert made.value > float(reached.max())
    assert np.abs(made.image).max() <= 2.5


def test_blur_and_decay_make_it_smoother_and_smaller(tiny_net: ResNet) -> None:
    options = {"input_size": (1, 16, 16), "steps": 8}
    sharp = maximised(tiny_net, "layer1", 0, blur=0, decay=0, **options).image[0]  # type: ignore[arg-type]
    soft = maximised(tiny_net, "layer1", 0, blur=1, decay=0, **options).image[0]  # type: ignore[arg-type]
    small = maximised(tiny_net, "layer1", 0, blur=0, decay=0.3, **options).image[0]  # type: ignore[arg-type]

    def roughness(image: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> float:
        return float(np.square(np.diff(image, axis=1)).mean() / image.var())

    assert roughness(soft) < roughness(sharp)
    assert small.std() < sharp.std()


def test_a_dead_channel_leaves_noise_that_decays() -> None:
    net = nn.Sequential(nn.Conv2d(1, 1, 3), nn.ReLU(inplace=True))
    nn.init.constant_(net[0].bias, -100)
    made = maximised(net, "1", 0, input_size=(1, 8, 8), steps=4)
    assert made.value == 0
    assert not made.history.any()
    assert np.isfinite(made.image).all()


def test_wrong_arguments_of_maximisation(tiny_net: ResNet) -> None:
    with pytest.raises(InputError, match=r"'layer1' has no channel 4 \(expected 0 to 3\)"):
        maximised(tiny_net, "layer1", 4, input_size=(1, 16, 16))
    with pytest.raises(InputError, match="no layer 'layer5'"):
        maximised(tiny_net, "layer5", 0, input_size=(1, 16, 16))
    with pytest.raises(InputError, match=r"^input_size: .* \(expected 3 numbers, got 3x224\). Try: \(3, 224, 224\)$"):
        maximised(tiny_net, "layer1", 0, input_size=(3, 224))
    for name in ("steps", "step_size", "jitter", "blur"):
        with pytest.raises(InputError, match=f"{name}: must be at least"):
            maximised(tiny_net, "layer1", 0, input_size=(1, 16, 16), **{name: -1})


def test_the_net_stays_as_it_was(tiny_net: ResNet) -> None:
    tiny_net.train()
    tiny_net.bn1.eval()
    tiny_net.fc.weight.requires_grad_(False)
    gradient = tiny_net.fc.bias.grad = torch.ones(10)
    modes = [each.training for each in tiny_net.modules()]
    values = {name: each.clone() for name, each in tiny_net.state_dict().items()}
    random = torch.get_rng_state()
    first_filters(tiny_net)
    with torch.inference_mode():
        maximised(tiny_net, "layer2", 0, input_size=(1, 16, 16), steps=2)
    strongest_patches(tiny_net, "bn1.relu", [torch.ones(2, 1, 16, 16)])
    assert torch.equal(random, torch.get_rng_state())
    assert [each.training for each in tiny_net.modules()] == modes
    assert not any(each._forward_hooks or each._forward_pre_hooks for each in tiny_net.modules())
    assert all(torch.equal(each, values[name]) for name, each in tiny_net.state_dict().items())
    assert [name for name, each in tiny_net.named_parameters() if not each.requires_grad] == ["fc.weight"]
    assert tiny_net.fc.bias.grad is gradient
    assert all(each.grad is None for name, each in tiny_net.named_parameters() if name != "fc.bias")
