"""Where a run of joined layers ends: before another activation than ReLU, and with the net."""

import numpy as np
from numpy.random import default_rng

from cnn_core.axes import Array
from cnn_core.fused.fuse import fuse
from cnn_core.layers import (
    BatchNormalization,
    Convolution,
    Dense,
    Flatten,
    Layer,
    LeakyReLU,
    MaxPooling,
    ReLU,
)
from cnn_core.model import Sequential


def results(net: Sequential, x: Array) -> list[Array]:
    """Return the outputs of a training step, and its gradients."""
    y = net.forward(x, training=True).copy()
    net.backward(default_rng(3).standard_normal(y.shape))
    return [y, *(gradient.copy() for gradient in net.grads.values())]


def test_a_normalized_block_without_relu_equals_its_layers() -> None:
    layers: list[Layer] = [
        Convolution(3, 3),
        ReLU(),
        Convolution(2, 3),
        BatchNormalization(),
        MaxPooling(2),
    ]
    layers += [LeakyReLU(), Flatten(), Dense(3)]
    model = Sequential(layers).build((2, 8, 8), default_rng(0), np.float64)
    fused, x = fuse(model), default_rng(1).standard_normal((2, 8, 8, 4))
    assert [type(layer).__name__ for layer in fused.layers[:3]] == [
        "ConvolutionBlock",
        "NormalizedBlock",
        "LeakyReLU",
    ]
    for own, joined in zip(results(model, x), results(fused, x), strict=True):
        np.testing.assert_allclose(joined, own, atol=1e-9)


def test_layers_that_end_a_net_are_joined_too() -> None:
    model = Sequential([Convolution(2, 3), ReLU()]).build((1, 6, 6), default_rng(0), np.float64)
    fused, x = fuse(model), default_rng(2).standard_normal((1, 6, 6, 3))
    assert len(fused.layers) == 1
    own, joined = results(model, x), results(fused, x)
    assert (own[0] == 0).any() and (own[0] > 0).any()
    for expected, got in zip(own, joined, strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-12)
