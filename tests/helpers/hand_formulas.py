"""Parameters and multiply-adds of every net by formula, one function a family, from its variant and nothing else."""

from __future__ import annotations

from residuum.nets import alexnet, googlenet, lenet, vgg, zfnet
from residuum.nets.catalog import Design
from residuum.nets.resnet import Variant

Cost = tuple[int, int]  # parameters, multiply-adds


def by_hand(variant: Design, input_size: int, num_classes: int) -> Cost:
    """Parameters and multiply-adds of a variant of any family."""
    if isinstance(variant, Variant):
        return resnet_by_hand(variant, input_size, num_classes)
    if isinstance(variant, lenet.Variant):
        return lenet_by_hand(variant)
    if isinstance(variant, alexnet.Variant):
        return alexnet_by_hand(variant)
    if isinstance(variant, zfnet.Variant):
        return zfnet_by_hand(variant)
    if isinstance(variant, vgg.Variant):
        return vgg_by_hand(variant)
    if isinstance(variant, googlenet.Variant):
        return googlenet_by_hand(variant)
    raise TypeError(f"no formula for {variant}")


def conv_cost(cin: int, cout: int, kernel: int, side: int) -> tuple[int, int]:
    """Parameters and multiply-adds of a convolution without bias, at an output of side x side."""
    weights = cin * cout * kernel * kernel
    return weights, weights * side * side


def resnet_by_hand(variant: Variant, input_size: int, num_classes: int) -> tuple[int, int]:
    """Parameters and multiply-adds by formula: convolutions, two values a channel for each BN, the linear layers.

    Without batch normalisation one value a channel is left of each, a bias of the convolution before it or, in
    pre-activation blocks, of the one that ends the sum before it.
    """
    channels = variant.widths[0]
    if variant.stem == "cifar":
        side = input_size
        terms, norms = [conv_cost(3, channels, 3, side)], channels
    elif variant.stem == "imagenet":
        side = input_size // 2
        terms, norms = [conv_cost(3, channels, 7, side)], channels
    else:
        side, half = input_size // 2, channels // 2
        terms = [conv_cost(3, half, 3, side), conv_cost(half, half, 3, side), conv_cost(half, channels, 3, side)]
        norms = half + half + channels
    biases = 0
    side = side if variant.stem == "cifar" else side // 2
    for stage, (count, base) in enumerate(zip(variant.blocks, variant.widths, strict=True)):
        for number in range(count):
            before, width = side, base * variant.widen
            out = 4 * base if variant.block == "bottleneck" else width
            if stage > 0 and number == 0:
                side //= 2
            if variant.block == "basic":
                terms += [conv_cost(channels, width, 3, side), conv_cost(width, width, 3, side)]
                inner = [channels, width] if variant.preactivation else [width, width]
            elif variant.block == "single":
                terms.append(conv_cost(channels, width, 3, side))
                inner = [channels] if variant.preactivation else [width]
            else:
                first_halves = variant.stride_on == "first" or variant.downsampling != "stride"
                reduced = side if first_halves else before
                terms += [
                    conv_cost(channels, width, 1, reduced),
                    conv_cost(width // variant.groups, width, 3, side),  # each output sees the inputs of its group
                    conv_cost(width, out, 1, side),
                ]
                inner = [channels, width, width] if variant.preactivation else [width, width, out]
            norms += sum(inner)
            if variant.preactivation and stage == number == 0:
                norms -= channels  # the stem's activation serves the first block
            if variant.squeeze is not None:
                squeezed = out // variant.squeeze
                terms += [conv_cost(out, squeezed, 1, 1), conv_cost(squeezed, out, 1, 1)]
                biases += squeezed + out
            changes = channels != out or side != before
            if variant.shortcut == "project_all" or (variant.shortcut in ("project", "pool_project") and changes):
                terms.append(conv_cost(channels, out, 1, side))
                norms += 0 if variant.preactivation else out
            if variant.shortcut in ("gated", "gated_shortcut"):
                terms.append(conv_cost(channels, out, 1, side))
                biases += out
            channels = out
    norms += channels if variant.preactivation else 0
    biases += norms * (2 if variant.batch_norm else 1)
    heads = [(channels, num_classes)]
    if variant.head == "linear":
        heads = [(channels * 4 * 4, 256), (256, num_classes)]
    biases += sum(outputs for _, outputs in heads)
    linear_weights = sum(inputs * outputs for inputs, outputs in heads)
    parameters = sum(weights for weights, _ in terms) + biases + linear_weights
    return parameters, sum(macs for _, macs in terms) + linear_weights


def conv(cin: int, cout: int, kernel: int, side: int, *, groups: int = 1) -> Cost:
    """A convolution with bias, at an output of side x side."""
    weights = cin // groups * cout * kernel * kernel
    return weights + cout, weights * side * side


def linear(cin: int, cout: int) -> Cost:
    return cin * cout + cout, cin * cout


def total(*terms: Cost) -> Cost:
    return sum(parameters for parameters, _ in terms), sum(macs for _, macs in terms)


def lenet_by_hand(variant: lenet.Variant) -> Cost:
    """C3 of the paper has 60 kernels; S2 and S4 two values for each map; the RBF nothing that is trained."""
    c1, c5, f6 = conv(1, 6, 5, 28), linear(16 * 5 * 5, 120), linear(120, 84)
    if variant.as_published:
        return total(c1, (2 * 6, 0), (60 * 25 + 16, 60 * 25 * 10 * 10), (2 * 16, 0), c5, f6)
    return total(c1, conv(6, 16, 5, 10), c5, f6, linear(84, 10))


def alexnet_by_hand(variant: alexnet.Variant) -> Cost:
    one, two, three, four, five = variant.widths
    groups = variant.groups
    return total(
        conv(3, one, 11, 55),
        conv(one, two, 5, 27, groups=groups),
        conv(two, three, 3, 13),
        conv(three, four, 3, 13, groups=groups),
        conv(four, five, 3, 13, groups=groups),
        *linear_layers(five * 6 * 6),
    )


def linear_layers(in_features: int) -> tuple[Cost, Cost, Cost]:
    return linear(in_features, 4096), linear(4096, 4096), linear(4096, 1000)


def zfnet_by_hand(variant: zfnet.Variant) -> Cost:
    three, four, five = variant.widths
    return total(
        conv(3, 96, 7, 110),
        conv(96, 256, 5, 26),
        conv(256, three, 3, 13),
        conv(three, four, 3, 13),
        conv(four, five, 3, 13),
        *linear_layers(five * 6 * 6),
    )


def vgg_by_hand(variant: vgg.Variant) -> Cost:
    terms, channels, side = [], 3, 224
    for count, width in zip(variant.convolutions, (64, 128, 256, 512, 512), strict=True):
        for _ in range(count):
            terms += [conv(channels, width, 3, side), (2 * width if variant.batch_norm else 0, 0)]
            channels = width
        side //= 2
    return total(*terms, *(linear_layers(512 * 7 * 7) if variant.head == "linear" else (linear(512, 1000),)))


# Szegedy et al. 2014, Table 1: side, channels in, 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool projection.
INCEPTION = (
    (28, 192, 64, 96, 128, 16, 32, 32),
    (28, 256, 128, 128, 192, 32, 96, 64),
    (14, 480, 192, 96, 208, 16, 48, 64),
    (14, 512, 160, 112, 224, 24, 64, 64),
    (14, 512, 128, 128, 256, 24, 64, 64),
    (14, 512, 112, 144, 288, 32, 64, 64),
    (14, 528, 256, 160, 320, 32, 128, 128),
    (7, 832, 256, 160, 320, 32, 128, 128),
    (7, 832, 384, 192, 384, 48, 128, 128),
)


def googlenet_by_hand(variant: googlenet.Variant) -> Cost:
    """Batch normalisation has two values a channel and takes the bias away; auxiliary heads add no MACs."""
    terms = [conv(3, 64, 7, 112), conv(64, 64, 1, 56), conv(64, 192, 3, 56)]
    channels = 64 + 64 + 192
    for side, cin, one, three_reduce, three, five_reduce, five, pooled in INCEPTION:
        terms += [
            conv(cin, one, 1, side),
            conv(cin, three_reduce, 1, side),
            conv(three_reduce, three, 3, side),
            conv(cin, five_reduce, 1, side),
            conv(five_reduce, five, variant.largest_kernel, side),
            conv(cin, pooled, 1, side),
        ]
        channels += one + three_reduce + three + five_reduce + five + pooled
    heads = [conv(cin, 128, 1, 4)[0] + linear(128 * 4 * 4, 1024)[0] + linear(1024, 1000)[0] for cin in (512, 528)]
    return total(
        *terms,
        linear(1024, 1000),
        (channels if variant.batch_norm else 0, 0),
        (sum(heads) if variant.auxiliary else 0, 0),
    )
