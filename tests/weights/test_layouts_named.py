"""Layouts that differ from ours by names: torchvision and timm themselves, wrappers, akamaster's CIFAR ResNets."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from residuum.errors import InputError
from residuum.nets import catalog
from residuum.nets.resnet import ResNet, Variant, cifar
from residuum.weights.load import load_tensors, load_weights

State = dict[str, Tensor]
LINEAR_LAYERS: State = {}  # nine tenths of a VGG; drawn once for all of them


def peer(name: str) -> ModuleType:
    """torchvision.models or timm; beside a CPU build of torch the fake kernels of torchvision must be left out."""
    original = torch.library.register_fake

    def without_torchvision(op, *args, **kwargs):  # type: ignore[no-untyped-def]
        if isinstance(op, str) and op.startswith("torchvision::"):
            return lambda function: function
        return original(op, *args, **kwargs)

    torch.library.register_fake = without_torchvision
    try:
        return importlib.import_module(name)
    except (ImportError, RuntimeError, AttributeError) as error:
        pytest.skip(f"{name} cannot be imported: {error}")
    finally:
        torch.library.register_fake = original


def drawn(key: str, like: Tensor) -> Tensor:
    """A random tensor of that shape; BN statistics are not 0 and 1, so that BN is really compared."""
    if like.ndim == 0:
        return torch.tensor(5)
    if like.ndim == 1:
        return torch.rand(like.shape) + 0.5 if key.endswith(("weight", "var")) else 0.1 * torch.randn(like.shape)
    fan_in = like[0].numel()
    if fan_in >= 4096 and len(like) == 4096:
        first = LINEAR_LAYERS.setdefault(str(fan_in), torch.randn(64, fan_in).repeat(64, 1) * (2 / fan_in) ** 0.5)
        return first.view(like.shape)
    return torch.randn(like.shape) * (2 / fan_in) ** 0.5


def blank(name: str) -> nn.Module:
    """A net of the catalog, in evaluation, whose tensors are not yet initialised."""
    with torch.device("meta"):
        net = catalog.net(name)
    return net.to_empty(device="cpu").eval()


def filled(build: Callable[[], nn.Module]) -> nn.Module:
    """The peer's net with random weights, in evaluation."""
    torch.manual_seed(0)
    with torch.device("meta"):
        net = build()
    net.load_state_dict({key: drawn(key, like) for key, like in net.state_dict().items()}, assign=True)
    return net.eval()


@torch.inference_mode()
@pytest.mark.parametrize(("name", "suffix"), [("resnet18", "pth"), ("resnet50", "safetensors"), ("vgg11_bn", "pth")])
def test_torchvision_by_file(tmp_path: Path, name: str, suffix: str) -> None:
    models = peer("torchvision.models")
    theirs, ours = filled(lambda: getattr(models, name)(weights=None)), blank(name)
    path = tmp_path / f"w.{suffix}"
    if suffix == "pth":
        torch.save(theirs.state_dict(), path)
    else:
        safetensors.torch.save_file(theirs.state_dict(), path)
    loaded = load_weights(ours, path)
    assert (loaded.layout, loaded.new_head, loaded.notes, loaded.preprocessing_hint) == ("own names", (), (), None)
    x = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-4)


@torch.inference_mode()
@pytest.mark.parametrize(
    ("name", "theirs_name", "layout"),
    [("resnet18", "resnet18", "own names"), ("resnetd50", "resnet50d", "own names"), ("vgg11", "vgg11", "timm VGG")],
)
def test_timm(name: str, theirs_name: str, layout: str) -> None:
    timm = peer("timm")
    theirs, ours = filled(lambda: timm.create_model(theirs_name)), blank(name)
    assert load_tensors(ours, theirs.state_dict(), source="file").layout == layout
    x = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_googlenet_with_its_auxiliary_heads() -> None:
    """Theirs turns ImageNet's normalisation into mean 0.5 and deviation 0.5 inside of the net; ours is given that."""
    models = peer("torchvision.models")
    theirs = filled(lambda: models.googlenet(weights=None, init_weights=False, transform_input=True))
    ours = blank("googlenet_bn")
    loaded = load_tensors(ours, theirs.state_dict(), source="file")
    assert loaded.layout == "torchvision GoogLeNet"
    assert "mean 0.5" in loaded.notes[0]
    pixels = torch.rand(1, 3, 96, 96)
    mean, std = (torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    torch.testing.assert_close(ours((pixels - 0.5) / 0.5), theirs((pixels - mean) / std), rtol=1e-4, atol=1e-4)


SMALL = Variant(blocks=(1, 1), widths=(4, 8), stem="cifar", shortcut="pad")


def small(**changes: object) -> ResNet:
    return ResNet(Variant(**{**vars(SMALL), **changes}), num_classes=10)  # type: ignore[arg-type]


@pytest.mark.parametrize("prefix", ["module.", "model.", "backbone.", "encoder.", "model.module.", "module.model."])
def test_a_prefix_that_all_share_is_taken_off(prefix: str) -> None:
    theirs, ours = small(), small()
    load_tensors(ours, {prefix + name: t for name, t in theirs.state_dict().items()}, source="file")
    assert torch.equal(ours.fc.weight, theirs.fc.weight)


def test_a_prefix_of_a_part_is_not() -> None:
    state = small().state_dict()
    state["encoder.fc.weight"] = state.pop("fc.weight")
    with pytest.raises(InputError, match=r"1 missing: fc.weight; 1 not in the net: encoder.fc.weight"):
        load_tensors(small(), state, source="file")


def test_averages_of_torch() -> None:
    """AveragedModel counts beside its `module.`, as torchvision's `model_ema` files do."""
    theirs, ours = small(), small()
    averaged = torch.optim.swa_utils.AveragedModel(theirs)
    assert "n_averaged" in averaged.state_dict()
    load_tensors(ours, averaged.state_dict(), source="file")
    assert torch.equal(ours.fc.weight, theirs.fc.weight)


def akamaster_state(net: nn.Module) -> State:
    return {f"module.{name.replace('fc.', 'linear.')}": t for name, t in net.state_dict().items()}


def test_akamaster_into_a_plain_net_is_refused() -> None:
    """Option A has no tensors: a plain net has the same names and shapes, and computes something else."""
    state = akamaster_state(catalog.net("resnet20"))
    assert load_tensors(catalog.net("resnet20"), state, source="file").layout == "akamaster"
    with pytest.raises(InputError, match=r"shortcut none for pad\). Try: resnet20$"):
        load_tensors(catalog.net("plain20"), state, source="file")


@pytest.mark.parametrize(
    ("change", "differing"),
    [
        ("shortcut=halved", "shortcut halved for pad"),
        ("shortcut=halved_both", "shortcut halved_both for pad"),
        ("downsampling=max_pool", "downsampling max_pool for stride"),
        ("placement=norm_after_addition", "placement norm_after_addition for published"),
        ("placement=relu_before_addition", "placement relu_before_addition for published"),
        ("placement=relu_only", "placement relu_only for published"),
        ("shortcut=halved+placement=relu_only", "shortcut halved for pad, placement relu_only for published"),
    ],
)
def test_akamaster_into_a_net_that_computes_otherwise_is_refused(change: str, differing: str) -> None:
    """All have the tensors of the published net, so that nothing but the layout can tell them apart."""
    state = akamaster_state(catalog.net("resnet20"))
    net = catalog.net(f"resnet20+{change}")
    with pytest.raises(InputError, match=rf"\(it is of a net that computes otherwise: {differing}\)\. Try: resnet20$"):
        load_tensors(net, state, source="file")
    assert load_tensors(net, net.state_dict(), source="file").layout == "own names"


def test_akamaster_into_a_net_with_gates_is_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"^file: does not fit .*missing: .*gate"):
        load_tensors(
            catalog.net("resnet20+shortcut=gated+gate_bias=0"), akamaster_state(catalog.net("resnet20")), source="file"
        )


def test_akamaster_with_option_b() -> None:
    theirs, ours = small(shortcut="project"), small(shortcut="project")
    state = {name.replace("downsample", "shortcut"): t for name, t in akamaster_state(theirs).items()}
    load_tensors(ours, state, source="file")
    assert torch.equal(ours.layer2[0].downsample[0].weight, theirs.layer2[0].downsample[0].weight)


def test_residual_weights_do_not_fit_a_plain_net() -> None:
    with pytest.raises(InputError, match=r"^file: does not fit this net \(\d+ not in the net: layer2.0.downsample.0"):
        load_tensors(catalog.net("plain18"), catalog.net("resnet18").state_dict(), source="file")


def test_deeper_weights_do_not_fit() -> None:
    message = (
        r"^file: does not fit this net \(\d+ not in the net: layer1.2.bn1.bias, .*\). Try: the net it was trained as"
    )
    with pytest.raises(InputError, match=message):
        load_tensors(catalog.net("resnet18"), catalog.net("resnet34").state_dict(), source="file")


def test_one_name_on_the_other_stride_is_said() -> None:
    small_v1 = Variant(blocks=(1, 1), widths=(4, 8), block="bottleneck", stride_on="first")
    loaded = load_tensors(ResNet(small_v1), ResNet(small_v1).state_dict(), source="file")
    assert "stride on the 3x3" in loaded.notes[0]
    assert not load_tensors(small(), small().state_dict(), source="file").notes


@pytest.mark.parametrize("name", ["onnx::Conv_193", "val_3", "layer1.0.conv1.weight_bias"])
def test_an_onnx_file_with_folded_normalisation_is_explained(name: str) -> None:
    state = {"fc.weight": torch.ones(10, 8), "fc.bias": torch.ones(10), name: torch.ones(4)}
    with pytest.raises(InputError, match=r"^file: its exporter has made .*Try: the state dict"):
        load_tensors(small(), state, source="file")


def test_the_epsilon_that_keras_is_turned_to_is_that_of_our_nets() -> None:
    from residuum.weights.layouts.keras import OUR_EPSILON

    norms = [m for m in ResNet(cifar(20)).modules() if isinstance(m, nn.BatchNorm2d)]
    assert {norm.eps for norm in norms} == {OUR_EPSILON}
