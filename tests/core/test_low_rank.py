"""Low-rank compression: exact where the rank suffices, the best approximation otherwise."""

import numpy as np
import pytest
from numpy.random import default_rng

from cnn_core.architectures import build_model, reference
from cnn_core.errors import InputError
from cnn_core.fused.fuse import fuse
from cnn_core.layers import Convolution, Dense, Flatten, ReLU
from cnn_core.low_rank import compress
from cnn_core.model import Sequential


def test_kernels_of_low_rank_are_kept_exactly() -> None:
    rng = default_rng(0)
    model = Sequential(
        [Convolution(12, 3, stride=2, padding="same"), ReLU(), Flatten(), Dense(20), Dense(4)]
    ).build((3, 9, 9), rng, np.float64)
    for layer, rank in ((model.layers[0], 3), (model.layers[3], 3)):
        W = layer.params["W"]
        flat = rng.standard_normal((len(W), rank)) @ rng.standard_normal((rank, W[0].size))
        W[...] = flat.reshape(W.shape)
        layer.params["b"][...] = rng.standard_normal(len(W))
    thin = compress(model, 3)
    assert [layer.name for layer in thin.layers] == [
        "conv1_basis",
        "conv1",
        "relu1",
        "flatten1",
        "dense1_basis",
        "dense1",
        "dense2",
    ]
    x = rng.standard_normal((3, 9, 9, 5))
    np.testing.assert_allclose(
        thin.forward(x, training=False), model.forward(x, training=False), atol=1e-9
    )
    assert thin.multiply_adds() < model.multiply_adds()
    assert thin.parameter_count() < model.parameter_count()


def test_the_error_is_that_of_the_values_left_out() -> None:
    model = Sequential([Flatten(), Dense(30), Dense(2)]).build(
        (1, 6, 6), default_rng(1), np.float64
    )
    W = model.params["dense1.W"].copy()
    thin = compress(model, 5)
    product = thin.params["dense1.W"] @ thin.params["dense1_basis.W"]
    left_out = np.linalg.svd(W, compute_uv=False)[5:]
    assert np.linalg.norm(product - W) == pytest.approx(np.linalg.norm(left_out))
    np.testing.assert_array_equal(model.params["dense1.W"], W)


def test_a_compressed_net_keeps_statistics_infers_fused_and_trains_on() -> None:
    model = build_model(reference("vgg_bn", filters=8), (1, 28, 28), 10, default_rng(2), np.float64)
    x = default_rng(3).random((1, 28, 28, 6))
    model.forward(x, training=True)
    thin = compress(model, 100)  # nothing is saved at this rank, so nothing changes
    assert [layer.name for layer in thin.layers] == [layer.name for layer in model.layers]
    np.testing.assert_array_equal(thin.forward(x, training=False), model.forward(x, training=False))
    thinner = compress(model, 4)
    np.testing.assert_allclose(
        fuse(thinner).forward(x, training=False), thinner.forward(x, training=False), atol=1e-9
    )
    logits = thinner.forward(x, training=True)
    thinner.backward(np.ones_like(logits))
    assert all(np.isfinite(g).all() for g in thinner.grads.values())


def test_more_rank_comes_nearer() -> None:
    model = build_model(reference("simple_convnet"), (1, 28, 28), 10, default_rng(4))
    x = default_rng(5).random((1, 28, 28, 20), np.float32)
    exact = model.forward(x, training=False).copy()
    far, near = (
        np.linalg.norm(compress(model, rank).forward(x, training=False) - exact) for rank in (1, 90)
    )
    assert near < 0.8 * far


def test_the_last_layer_keeps_a_rank_for_every_class() -> None:
    model = build_model(reference("mlp"), (1, 28, 28), 10, default_rng(6))
    thin = compress(model, 2)
    np.testing.assert_array_equal(thin.params["dense3.W"], model.params["dense3.W"])
    assert "dense2_basis.W" in thin.params


def test_wrong_input_is_refused() -> None:
    with pytest.raises(InputError, match="rank must be at least 1, got 0"):
        compress(build_model(reference("mlp"), (1, 8, 8), 10, default_rng(0)), 0)
    with pytest.raises(InputError, match="must be built and trained"):
        compress(Sequential([Flatten(), Dense(3)]), 2)
