"""Batch normalisation against its definition."""

import numpy as np
import pytest
from numpy.random import default_rng

from cnn_core.errors import InputError
from cnn_core.layers import BatchNormalization


@pytest.mark.parametrize("shape", [(3, 4, 5, 6), (4, 30)])
def test_training_gives_mean_beta_and_spread_gamma(shape: tuple[int, ...]) -> None:
    layer = BatchNormalization()
    layer.build(shape[:-1], default_rng(0), np.float64)
    channels = np.arange(shape[0])
    layer.params["gamma"][...] = 1 + channels
    layer.params["beta"][...] = 10 * channels
    x = 7 + 5 * default_rng(1).standard_normal(shape)
    y = layer.forward(x, training=True).reshape(shape[0], -1)
    np.testing.assert_allclose(y.mean(axis=1), 10 * channels, atol=1e-10)
    np.testing.assert_allclose(y.std(axis=1), 1 + channels, rtol=1e-5)


def test_running_statistics_move_by_the_momentum_and_serve_inference() -> None:
    layer = BatchNormalization(momentum=0.75, eps=1e-8)
    layer.build((2,), default_rng(0), np.float64)
    x = np.array([[1.0, 3.0], [10.0, 30.0]])
    layer.forward(x, training=True)
    np.testing.assert_allclose(layer.buffers["running_mean"], [0.25 * 2, 0.25 * 20])
    np.testing.assert_allclose(layer.buffers["running_var"], [0.75 + 0.25 * 1, 0.75 + 0.25 * 100])
    kept = {name: value.copy() for name, value in layer.buffers.items()}
    y = layer.forward(np.array([[0.5], [5.0]]), training=False)
    np.testing.assert_allclose(y, 0, atol=1e-12)
    for name in kept:
        np.testing.assert_array_equal(layer.buffers[name], kept[name])


def test_a_large_mean_does_not_swallow_the_variance_in_float32() -> None:
    layer = BatchNormalization()
    layer.build((1, 10, 10), default_rng(0))
    x = (300 + default_rng(1).standard_normal((1, 10, 10, 50))).astype(np.float32)
    y = layer.forward(x, training=True)
    np.testing.assert_allclose(
        y.ravel(), ((x - x.mean(dtype=np.float64)) / x.std(dtype=np.float64)).ravel(), atol=2e-3
    )


def test_wrong_hyperparameters_are_refused() -> None:
    with pytest.raises(InputError, match="momentum must be at least 0 and below 1, got 1"):
        BatchNormalization(momentum=1.0)
    with pytest.raises(InputError, match="eps must be above 0, got 0"):
        BatchNormalization(eps=0.0)
