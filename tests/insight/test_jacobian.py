"""Singular values against analytic ones and against a dense SVD of the whole Jacobian."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from residuum.errors import InputError
from residuum.insight.jacobian import Spectrum, block_spectra, singular_values
from residuum.nets.resnet import ResNet, Variant, zero_init_residual
from small_nets import small

VARIANTS = {
    "pad": Variant(blocks=(1, 1), widths=(4, 8), stem="cifar", shortcut="pad"),
    "project": Variant(blocks=(1, 1), widths=(4, 8), stem="cifar", shortcut="project_all"),
    "bottleneck": Variant(blocks=(1, 1), widths=(2, 4), stem="cifar", block="bottleneck", squeeze=2),
    "preact": Variant(blocks=(1, 1), widths=(4, 8), stem="cifar", shortcut="project", preactivation=True),
    "plain": Variant(blocks=(1, 1), widths=(4, 8), stem="cifar", shortcut="none"),
}


@pytest.fixture
def image() -> Tensor:
    return torch.randn(1, 3, 6, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def linear(values: list[float], rows: int, columns: int) -> Tensor:
    """A matrix `(rows, columns)` with these singular values."""
    generator = torch.Generator().manual_seed(2)
    left, right = (
        torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64)).Q for size in (rows, columns)
    )
    return left[:, : len(values)] @ torch.diag(torch.tensor(values, dtype=torch.float64)) @ right[:, : len(values)].T


@pytest.mark.parametrize("dense_below", [1000, 0])
@pytest.mark.parametrize(("rows", "columns"), [(12, 12), (20, 12), (12, 20)])
def test_a_linear_map_has_the_singular_values_it_was_made_of(dense_below: int, rows: int, columns: int) -> None:
    values = [7.0, 5.0, 3.0, 2.0, 1.5, 1.2, 1.1, 1.0, 0.9, 0.5, 0.25, 0.125]
    matrix = linear(values, rows, columns)
    found = singular_values(lambda x: matrix @ x, torch.randn(columns).double(), dense_below=dense_below)
    assert (found.rows, found.columns, found.dead_rows) == (rows, columns, 0)
    assert found.method == ("dense" if dense_below else "lanczos")
    assert found.largest == pytest.approx(7, rel=1e-6)
    assert found.smallest == pytest.approx(0.125, rel=1e-6)


@pytest.mark.parametrize("dense_below", [1000, 0])
def test_a_circular_convolution_has_the_moduli_of_its_fourier_transform(dense_below: int) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular", bias=False).double()
    kernel = torch.zeros(9, 9, dtype=torch.float64)
    kernel[:3, :3] = layer.weight.detach()[0, 0]
    moduli = torch.fft.fft2(kernel).abs()
    found = singular_values(layer, torch.randn(1, 1, 9, 9).double(), dense_below=dense_below)
    assert found.largest == pytest.approx(float(moduli.max()), rel=1e-6)
    assert found.smallest == pytest.approx(float(moduli.min()), rel=1e-5)


@pytest.mark.parametrize("dense_below", [100, 0])
def test_dead_rows_are_counted_and_do_not_hide_the_others(dense_below: int) -> None:
    scale = torch.arange(1.0, 13.0, dtype=torch.float64)
    x = torch.ones(12, dtype=torch.float64)
    x[[3, 5, 11]] = -1
    found = singular_values(lambda x: torch.relu(scale * x), x, dense_below=dense_below)
    assert (found.dead_rows, found.rows) == (3, 12)
    assert (found.largest, found.smallest) == (pytest.approx(11), pytest.approx(1))


@pytest.mark.parametrize("dense_below", [100, 0])
def test_the_identity_and_nothing_at_all(dense_below: int) -> None:
    x = torch.randn(1, 2, 3, 3).double()
    same = singular_values(lambda x: x, x, dense_below=dense_below)
    assert (same.largest, same.smallest, same.dead_rows) == (pytest.approx(1), pytest.approx(1), 0)
    none = singular_values(lambda x: 0 * x, x, dense_below=dense_below)
    assert (none.largest, none.smallest, none.dead_rows) == (0, None, 18)


@pytest.mark.parametrize("dense_below", [100, 0])
def test_a_direction_that_is_lost_is_a_smallest_of_zero(dense_below: int) -> None:
    matrix = linear([3.0, 2.0, 1.0, 0.5, 0.0], 5, 5)
    found = singular_values(lambda x: matrix @ x, torch.randn(5).double(), dense_below=dense_below)
    assert found.smallest == pytest.approx(0, abs=1e-6)
    assert found.largest == pytest.approx(3)


def test_what_did_not_converge_is_none_with_a_bound_that_holds() -> None:
    values = torch.linspace(0.01, 1, 400, dtype=torch.float64)
    found = singular_values(lambda x: values * x, torch.randn(400).double(), dense_below=0, steps=12)
    assert found.smallest is None
    assert found.residual_norm > 1e-3 * found.largest
    assert 0.01 <= found.smallest_at_most < 1
    assert found.largest <= 1 + 1e-12
    assert found.steps == 12
    more = singular_values(lambda x: values * x, torch.randn(400).double(), dense_below=0, steps=400)
    assert more.smallest == pytest.approx(0.01, abs=1e-3)
    assert more.smallest_at_most <= found.smallest_at_most


def dense(function, x: Tensor) -> tuple[Tensor, int]:  # type: ignore[no-untyped-def]
    """The singular values of the rows that are not 0, and the number of those that are."""
    jacobian = torch.autograd.functional.jacobian(function, x).reshape(-1, x.numel())
    live = jacobian.abs().sum(dim=1) > 0
    return torch.linalg.svdvals(jacobian[live]), int((~live).sum())


def check(found: Spectrum, function, x: Tensor) -> None:  # type: ignore[no-untyped-def]
    values, dead = dense(function, x)
    assert found.dead_rows == dead
    assert found.largest == pytest.approx(float(values[0]), rel=1e-5)
    assert found.smallest == pytest.approx(float(values[-1]), rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("dense_below", [2048, 0])
@pytest.mark.parametrize("name", VARIANTS)
def test_blocks_have_the_values_of_a_dense_svd_before_and_after_the_last_relu(
    name: str, dense_below: int, image: Tensor
) -> None:
    net = small(VARIANTS[name])
    found = block_spectra(net.train(), image, dense_below=dense_below, tolerance=1e-8)
    net.eval()
    x = net.stem(image).detach()
    blocks = [(f"{stage}.{index}", block) for stage, part in net.stages() for index, block in enumerate(part)]
    assert [each.block for each in found] == [block for block, _ in blocks]
    for each, (_, block) in zip(found, blocks, strict=True):
        check(each.after, block, x)
        check(each.residual, block.residual, x)
        if name == "preact":
            assert each.before == each.after
        elif name == "plain":
            assert each.before == each.residual
            assert each.after.dead_rows > 0
        else:
            check(each.before, lambda x, b=block: b.residual(x) + b.downsample(x), x)
            assert each.before.dead_rows == 0 < each.after.dead_rows
            assert each.after.dead_rows == int((block(x) == 0).sum())
        x = block(x).detach()


def test_blocks_that_start_at_zero_are_the_identity(image: Tensor) -> None:
    net = ResNet(VARIANTS["pad"]).double()
    zero_init_residual(net)
    first = block_spectra(net, image, names=["layer1.0"])[0]
    assert (first.before.largest, first.before.smallest) == (pytest.approx(1), pytest.approx(1))
    assert (first.residual.largest, first.residual.smallest) == (0, None)
    assert first.after.largest == pytest.approx(1)


def test_single_precision_and_progress(image: Tensor) -> None:
    net, told = small(VARIANTS["pad"]), []
    exact = block_spectra(net, image)
    single = block_spectra(net.float(), image.float(), dense_below=0, on_progress=lambda *args: told.append(args))
    assert told == [(1, 2), (2, 2)]
    for one, other in zip(exact, single, strict=True):
        assert other.before.largest == pytest.approx(one.before.largest, rel=1e-4)
        assert other.before.smallest == pytest.approx(one.before.smallest, rel=0.02, abs=1e-6)


def test_block_spectra_say_what_is_wrong(image: Tensor) -> None:
    net = small(VARIANTS["pad"])
    with pytest.raises(InputError, match="of one image, got 2"):
        block_spectra(net, image.repeat(2, 1, 1, 1))
    with pytest.raises(InputError, match=r"'layer1.9' is not known .* Try: layer1.0"):
        block_spectra(net, image, names=["layer1.9"])
    with pytest.raises(InputError, match=r"^steps: must be at least 1, got 0. Try: 256$"):
        singular_values(lambda x: 2 * x, torch.ones(3), dense_below=0, steps=0)
    alone = block_spectra(net, image, names="layer1.0")
    assert [each.block for each in alone] == ["layer1.0"]
    with pytest.raises(InputError, match="no residual blocks of ours"):
        block_spectra(nn.Conv2d(3, 3, 3).double(), image)


def test_the_net_stays_as_it_was(image: Tensor) -> None:
    net = small(VARIANTS["preact"]).train()
    net.layer1.eval()
    net.fc.requires_grad_(False)

    def state() -> tuple[object, ...]:
        parts = [(m.training, sorted(m.__dict__), len(m._forward_pre_hooks)) for m in net.modules()]
        gradients = [(id(p), p.requires_grad, p.grad) for p in net.parameters()]
        return str(net.state_dict()), parts, gradients, torch.get_rng_state().tolist()

    before = state()
    block_spectra(net, image, dense_below=0, steps=4)
    assert state() == before


def test_a_function_without_a_gradient_is_refused() -> None:
    with pytest.raises(InputError, match="function: has no gradient"):
        singular_values(lambda x: x.detach() * 2, torch.ones(3))
