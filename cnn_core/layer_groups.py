"""What nets are made of: a convolution or a dense layer with its normalisation and activation,
pooling, and the dense layers at the end.
"""

from cnn_core.initializers import initializer
from cnn_core.kernels.window import Padding, Pair
from cnn_core.layers import (
    LAYERS,
    Activation,
    BatchNormalization,
    Convolution,
    Dense,
    Dropout,
    Flatten,
    Layer,
    LpPooling,
    MaxPooling,
)
from cnn_core.spec import ModelSpec

ACTIVATIONS = {kind: layer for kind, layer in LAYERS.items() if issubclass(layer, Activation)}

PADDINGS: dict[str | None, Padding] = {"valid": "valid", "same": "same"}  # what a spec may ask for


def activated(layer: Layer, spec: ModelSpec) -> list[Layer]:
    """Put the activation after a layer, and batch normalisation before or after it."""
    activation = ACTIVATIONS[spec.activation]()
    if spec.batch_norm == "before":
        return [layer, BatchNormalization(), activation]
    return (
        [layer, activation, BatchNormalization()]
        if spec.batch_norm == "after"
        else [layer, activation]
    )


def convolution(
    spec: ModelSpec, filters: int, kernel: int, padding: Padding, stride: int | Pair = 1
) -> list[Layer]:
    """Return a convolution with its normalisation and activation; `padding` unless the spec has
    one.
    """
    # Batch normalisation directly after a convolution subtracts any bias again.
    bias = spec.batch_norm != "before"
    return activated(
        Convolution(
            filters,
            kernel,
            stride,
            PADDINGS.get(spec.padding, padding),
            initializer(spec.init, spec.init_std),
            bias,
        ),
        spec,
    )


def pooled(spec: ModelSpec) -> list[Layer]:
    """Return pooling by the spec's window and power, nothing where it is a single pixel."""
    if spec.pool == 1:
        return []
    return [pooling(spec, spec.pool)]


def pooling(spec: ModelSpec, size: int | Pair) -> Layer:
    """Return max pooling, or with the spec's P the mean of that power."""
    return MaxPooling(size) if spec.pool_p is None else LpPooling(size, p=spec.pool_p)


def head(spec: ModelSpec, classes: int, first_dropout: bool = True) -> list[Layer]:
    """Flatten, then dense layers; dropout before each, but not on the pixels themselves
    (`first_dropout` False).
    """
    init = initializer(spec.init, spec.init_std)
    layers: list[Layer] = [Flatten()]
    for i, units in enumerate((*spec.hidden, classes)):
        if spec.dropout > 0 and (i > 0 or first_dropout):
            layers.append(Dropout(spec.dropout))
        layers += (
            activated(Dense(units, init), spec) if i < len(spec.hidden) else [Dense(units, init)]
        )
    return layers
