"""GoogLeNet: the maps of Table 1, auxiliary heads in training only, and images of other sizes."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from residuum.errors import InputError
from residuum.nets.catalog import CATALOG, net
from residuum.nets.googlenet import PUBLISHED, WITH_BATCH_NORM, AuxiliaryHead, GoogLeNet, Variant
from residuum.nets.layers import WithAuxiliary


@pytest.mark.parametrize("name", ["googlenet", "googlenet_bn"])
def test_maps_are_the_output_sizes_of_table_1(name: str) -> None:
    with torch.device("meta"):
        features = net(name).eval().forward_features(torch.empty(1, 3, 224, 224))
    assert {stage: tuple(value.shape[1:3]) for stage, value in features.items()} == {
        "conv1": (64, 112), "conv2": (64, 56), "conv3": (192, 56),
        "inception3a": (256, 28), "inception3b": (480, 28),
        "inception4a": (512, 14), "inception4b": (512, 14), "inception4c": (512, 14), "inception4d": (528, 14),
        "inception4e": (832, 14), "inception5a": (832, 7), "inception5b": (1024, 7),
    }  # fmt: skip


def test_inference_needs_half_of_the_parameters() -> None:
    with torch.device("meta"):
        model = net("googlenet")
    used = sum(p.numel() for name, p in model.named_parameters() if not name.startswith("aux"))
    assert used == 6_998_552
    assert "6,998,552" in CATALOG["googlenet"].note
    assert round(CATALOG["alexnet_2012"].parameters / used, 1) == 8.7, "the paper says 12"


def test_auxiliary_heads_answer_in_training_only() -> None:
    torch.manual_seed(0)
    model, x = net("googlenet", num_classes=4, in_channels=1), torch.randn(2, 1, 64, 64)
    answer = model.train()(x)
    assert isinstance(answer, WithAuxiliary)
    assert answer.weight == 0.3
    assert [logits.shape for logits in (answer.logits, *answer.auxiliary)] == [(2, 4)] * 3
    assert model.eval()(x).shape == (2, 4)
    assert isinstance(GoogLeNet(WITH_BATCH_NORM, num_classes=4, in_channels=1)(x), torch.Tensor)


def test_heads_stand_on_4a_and_4d() -> None:
    model, x = net("googlenet", num_classes=4).train(), torch.randn(1, 3, 64, 64)
    for head in (model.aux1, model.aux2):
        head.dropout.p = 0.0
    answer = model(x)
    features = model.forward_features(x)
    torch.testing.assert_close(answer.auxiliary[0], model.aux1(features["inception4a"]))
    torch.testing.assert_close(answer.auxiliary[1], model.aux2(features["inception4d"]))


def test_a_head_pools_14x14_by_5x5_with_stride_3() -> None:
    head, x = AuxiliaryHead(6, 3).eval(), torch.randn(2, 6, 14, 14)
    pooled = functional.avg_pool2d(x, 5, stride=3)
    assert pooled.shape == (2, 6, 4, 4)
    expected = head.fc2(torch.relu(head.fc1(torch.relu(head.conv.conv(pooled)).flatten(1))))
    torch.testing.assert_close(head(x), expected)


@pytest.mark.parametrize(("variant", "least"), [(PUBLISHED, 31), (WITH_BATCH_NORM, 15)])
def test_the_least_image_is_the_least_that_pytorch_can_compute(
    variant: Variant, least: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with torch.device("meta"):
        model = GoogLeNet(variant, num_classes=3)
        assert model.eval()(torch.empty(1, 3, least, 70)).shape == (1, 3)
        model.train()(torch.empty(2, 3, least, 70))
        with pytest.raises(InputError, match=f"Try: --image-size {least}"):
            model(torch.empty(1, 3, 70, least - 1, device="cpu"))  # on the meta device the layer shows itself
        monkeypatch.setattr("residuum.nets.googlenet.require_side", lambda x, least: None)
        with pytest.raises(RuntimeError, match="too small"):
            model(torch.empty(1, 3, 70, least - 1))


def test_initialisation_keeps_the_size_of_the_signal_over_nine_modules() -> None:
    torch.manual_seed(0)
    model = net("googlenet", num_classes=4).eval()
    with torch.inference_mode():
        last = model.forward_features(torch.randn(2, 3, 64, 64))["inception5b"]
    assert 0.01 < last.square().mean().sqrt().item() < 100
