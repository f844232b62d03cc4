"""Named nets: each a function from a ModelSpec to layers. Shapes below are for 28x28 images and the
net's own dimensions (`REFERENCE`).
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.random import Generator
from numpy.typing import DTypeLike

from cnn_core.axes import Shape
from cnn_core.errors import InputError
from cnn_core.kernels.window import Padding
from cnn_core.layer_groups import ACTIVATIONS, convolution, head, pooled
from cnn_core.layers import Layer, MomentNormalization, Scaling, Whitening
from cnn_core.low_rank import compress
from cnn_core.model import Sequential
from cnn_core.pyramid import pyramid
from cnn_core.spec import ModelSpec


def contest(spec: ModelSpec, classes: int, shape: Shape) -> list[Layer]:
    """Conv 5x5, 32 filters, same padding - activation - max pool 2 - dropout 0.4 - dense. Source: a
    contest report's best single net.
    """
    return [
        *convolution(spec, spec.filters, spec.kernel, "same"),
        *pooled(spec),
        *head(spec, classes),
    ]


def simple_convnet(spec: ModelSpec, classes: int, shape: Shape) -> list[Layer]:
    """Conv 5x5, 30 filters, no padding - activation - max pool 2 - dense 100 - activation - dense.
    Source: a lecture on im2col.
    """
    return [
        *convolution(spec, spec.filters, spec.kernel, "valid"),
        *pooled(spec),
        *head(spec, classes),
    ]


def two_conv(spec: ModelSpec, classes: int, shape: Shape) -> list[Layer]:
    """Conv 5x5, 20 - pool 2 - conv 5x5, 50 - pool 2 - 800 - dense 500 - dense. Source: an article
    on a CNN with only NumPy.

    The article names neither activation nor head; ReLU and 800-500-classes are ours. The second
    width is 5/2 of the first.
    """
    first = convolution(spec, spec.filters, spec.kernel, "valid")
    second = convolution(spec, max(1, round(spec.filters * 5 / 2)), spec.kernel, "valid")
    return [*first, *pooled(spec), *second, *pooled(spec), *head(spec, classes)]


def three_conv(spec: ModelSpec, classes: int, shape: Shape) -> list[Layer]:
    """Conv 3x3, 32 - pool 2 - conv 64 - pool 2 - conv 128 - pool 2 - dense 64 - dense, no padding.
    Source: course slides on CNNs.
    """
    layers: list[Layer] = []
    for width in (1, 2, 4):
        layers += [*convolution(spec, width * spec.filters, spec.kernel, "valid"), *pooled(spec)]
    return [*layers, *head(spec, classes)]


def mlp(spec: ModelSpec, classes: int, shape: Shape) -> list[Layer]:
    """Dense layers of the sizes `hidden`, each with its activation. Source: course notes
    (784-40-20-10). Ignores `filters`.
    """
    return head(spec, classes, first_dropout=False)


def vgg_bn(spec: ModelSpec, classes: int, shape: Shape) -> list[Layer]:
    """Conv 3x3 same 32 - 32 - pool 2 - 64 - 64 - pool 2 - dropout 0.4 - dense, batch normalisation
    before each ReLU; also fits 8x8 images.

    Source: Simonyan and Zisserman (2015), the idea; Ioffe and Szegedy (2015), the normalisation.
    """
    layers: list[Layer] = []
    for width in (1, 2):
        for _ in range(2):
            layers += convolution(spec, width * spec.filters, spec.kernel, "same")
        layers += pooled(spec)
    return [*layers, *head(spec, classes)]


def vgg_valid(spec: ModelSpec, classes: int, shape: Shape) -> list[Layer]:
    """Conv 3x3 valid 32 - 32 - pool 2 - 64 - 64 - pool 2 - 128 - dropout - dense on 512 features:
    10 million multiply-adds.

    With kernel 3 a block has two convolutions, with a larger one a single convolution whose
    receptive field is as large; the last is always 3x3. Without padding the later convolutions cost
    a third of `vgg_bn`'s. Source: the usual shape of the best nets on MNIST.
    """
    layers: list[Layer] = []
    for width in (1, 2):
        for _ in range(2 if spec.kernel <= 3 else 1):
            layers += convolution(spec, width * spec.filters, spec.kernel, "valid")
        layers += pooled(spec)
    return [*layers, *convolution(spec, 4 * spec.filters, 3, "valid"), *head(spec, classes)]


def vgg_deep(spec: ModelSpec, classes: int, shape: Shape) -> list[Layer]:
    """Conv 3x3 valid 32 - 32 - pool 2 - same 64 - valid 64 - 64 - pool 2 - valid 128 - dropout -
    dense on 512 features.

    `vgg_valid` with one more convolution in its second block: 14.5 million multiply-adds, and the
    last features see 26 of 28 pixels each way instead of 24. With a larger kernel each block has
    one convolution fewer, as there.
    """
    layers: list[Layer] = []
    blocks: tuple[tuple[int, tuple[Padding, ...]], ...] = (
        (1, ("valid", "valid")),
        (2, ("same", "valid", "valid")),
    )
    for width, paddings in blocks:
        for padding in paddings if spec.kernel <= 3 else paddings[:-1]:
            layers += convolution(spec, width * spec.filters, spec.kernel, padding)
        layers += pooled(spec)
    return [*layers, *convolution(spec, 4 * spec.filters, 3, "valid"), *head(spec, classes)]


# A net from its spec, the number of classes and the shape of what it sees, (C, H, W).
ARCHITECTURES: dict[str, Callable[[ModelSpec, int, Shape], list[Layer]]] = {
    "contest": contest,
    "simple_convnet": simple_convnet,
    "two_conv": two_conv,
    "three_conv": three_conv,
    "mlp": mlp,
    "vgg_bn": vgg_bn,
    "vgg_valid": vgg_valid,
    "vgg_deep": vgg_deep,
    "pyramid": pyramid,
}

# Each net with the dimensions that its source gives.
REFERENCE: dict[str, ModelSpec] = {
    "contest": ModelSpec(name="contest", filters=32, kernel=5, pool=2, dropout=0.4),
    "simple_convnet": ModelSpec(name="simple_convnet", filters=30, kernel=5, pool=2, hidden=(100,)),
    "two_conv": ModelSpec(name="two_conv", filters=20, kernel=5, pool=2, hidden=(500,)),
    "three_conv": ModelSpec(name="three_conv", filters=32, kernel=3, pool=2, hidden=(64,)),
    "mlp": ModelSpec(name="mlp", hidden=(40, 20)),
    "vgg_bn": ModelSpec(
        name="vgg_bn", filters=32, kernel=3, pool=2, dropout=0.4, batch_norm="before"
    ),
    "vgg_valid": ModelSpec(
        name="vgg_valid", filters=32, kernel=3, pool=2, dropout=0.4, batch_norm="before"
    ),
    "vgg_deep": ModelSpec(
        name="vgg_deep", filters=32, kernel=3, pool=2, dropout=0.4, batch_norm="before"
    ),
    "pyramid": ModelSpec(name="pyramid", filters=32, kernel=3, depth=2, batch_norm="before"),
}


def build_model(
    spec: ModelSpec, image_shape: Shape, classes: int, rng: Generator, dtype: DTypeLike = np.float32
) -> Sequential:
    """Return the net of `spec`, built for (C, H, W) images and `classes` classes, its weights drawn
    from `rng`; with a rank it is compressed to it.

    Raises InputError for a value out of range, and for a net that does not fit the image, naming
    the shapes.
    """
    if spec.name not in ARCHITECTURES:
        raise InputError(
            f"model.name: must be one of {', '.join(ARCHITECTURES)}, got {spec.name!r}"
        )
    if len(image_shape) != 3 or min(image_shape) < 1 or classes < 2:
        raise InputError(
            f"model {spec.name}: images must be (C, H, W) of at least 2 classes, got "
            f"{tuple(image_shape)} and {classes}"
        )
    before: list[Layer] = []
    seen: Shape = image_shape
    if spec.frame != "none":
        before.append(MomentNormalization(spec.frame, spec.frame_jitter, spec.frame_beside))
    if spec.input_scale != 1:
        before.append(Scaling(spec.input_scale))
    try:
        if spec.whiten:
            first = Whitening(spec.whiten_filters, spec.whiten, spec.whiten_stride)
            before += [first, ACTIVATIONS[spec.activation]()]
            for layer in before:
                seen = layer.build(seen, rng)
        model = Sequential([*before, *ARCHITECTURES[spec.name](spec, classes, seen)])
        model.build(image_shape, rng, dtype)
        return model if spec.rank is None else compress(model, spec.rank)
    except InputError as error:
        channels, height, width = image_shape
        raise InputError(
            f"model {spec.name} does not fit images {channels}x{height}x{width} (CxHxW): {error}"
        ) from error


def reference(name: str, **changes: object) -> ModelSpec:
    """Return a spec of its source's sizes, some changed: ``reference("contest", filters=8)``."""
    if name not in REFERENCE:
        raise InputError(f"model.name: must be one of {', '.join(REFERENCE)}, got {name!r}")
    return replace(REFERENCE[name], **changes)  # type: ignore[arg-type]
