"""Sequential: names, flat views, summary, and gradients of whole nets against finite differences in
float64.
"""

from typing import Any

import numpy as np
import pytest

from cnn_core.architectures import (
    ARCHITECTURES,
    REFERENCE,
    build_model,
    reference,
)
from cnn_core.axes import Array, Shape
from cnn_core.layer_groups import ACTIVATIONS
from cnn_core.layers import Convolution, Dense, Dropout, Flatten, MaxPooling, ReLU
from cnn_core.losses import softmax_cross_entropy
from cnn_core.model import Sequential
from cnn_core.spec import ModelSpec
from cnn_core.streams import stream

# The smallest images that each net fits, so that a check costs little.
SMALL: dict[str, Shape] = {
    "contest": (1, 6, 6),
    "simple_convnet": (2, 8, 8),
    "two_conv": (1, 16, 16),
    "three_conv": (1, 22, 22),
    "mlp": (1, 5, 5),
    "vgg_bn": (2, 8, 8),
    "vgg_valid": (1, 24, 24),
    "vgg_deep": (1, 24, 24),
    "pyramid": (2, 8, 8),
}
THREE_CONV = """\
layer              filters  padding  activation shape  activation size  parameters
----------------------------------------------------------------------------------
input                                         28x28x1              784           0
conv1 3x3 + relu1  32       valid            26x26x32           21,632         320
pool1 2x2                   valid            13x13x32            5,408           0
conv2 3x3 + relu2  64       valid            11x11x64            7,744      18,496
pool2 2x2                   valid              5x5x64            1,600           0
conv3 3x3 + relu3  128      valid             3x3x128            1,152      73,856
pool3 2x2                   valid             1x1x128              128           0
flatten1                                          128              128           0
dense1 + relu4                                     64               64       8,256
dense2 + softmax                                   10               10         650
total                                                                      101,578"""


def small_net(spec: ModelSpec, dtype: Any = np.float64) -> Sequential:
    return build_model(spec, SMALL[spec.name], 3, stream((5,), "init"), dtype)


def test_the_slides_table() -> None:
    assert (
        build_model(reference("three_conv"), (1, 28, 28), 10, stream((0,), "init")).summary()
        == THREE_CONV
    )


def test_names_are_unique_and_views_are_live() -> None:
    model = Sequential(
        [
            Convolution(2, 3),
            ReLU(),
            MaxPooling(2),
            Convolution(3, 2),
            Flatten(),
            Dropout(0.5),
            Dense(4),
        ]
    )
    model.build((1, 8, 8), stream((0,), "init"))
    assert [layer.name for layer in model.layers] == [
        "conv1",
        "relu1",
        "pool1",
        "conv2",
        "flatten1",
        "dropout1",
        "dense1",
    ]
    assert list(model.params) == [
        "conv1.W",
        "conv1.b",
        "conv2.W",
        "conv2.b",
        "dense1.W",
        "dense1.b",
    ]
    model.params["conv1.W"][...] = 7
    assert (model.layers[0].params["W"] == 7).all()
    assert [layer.needs_input_gradient for layer in model.layers] == [False, *[True] * 6]


def test_dropout_layers_draw_masks_of_their_own() -> None:
    model = Sequential([Flatten(), Dropout(0.5), Dropout(0.5), Dropout(0.5)]).build(
        (1, 8, 8), stream((0,), "init")
    )
    seen = []
    for epoch in (0, 1, 0):
        model.reseed((3,), epoch)
        model.forward(
            np.ones((1, 8, 8, 10), np.float32),
            training=True,
            observe=lambda layer, y: seen.append((y > 0).copy()),
        )
    masks = [seen[i] for i in (1, 2, 3, 5, 9)]
    assert masks[0].mean() > masks[1].mean() > masks[2].mean() > 0.05, (
        "each layer drops of what the one before left"
    )
    assert (masks[3] != masks[0]).any()
    np.testing.assert_array_equal(masks[4], masks[0])


def test_a_net_without_parameters_has_no_gradients() -> None:
    model = Sequential([Flatten(), Dropout(0.5)]).build((1, 2, 2), stream((0,), "init"))
    logits = model.forward(np.ones((1, 2, 2, 3), np.float32), training=True)
    model.backward(np.ones_like(logits))
    assert dict(model.grads) == {} and model.parameter_count() == 0


def test_counts_by_hand() -> None:
    model = build_model(reference("contest"), (1, 28, 28), 10, stream((0,), "init"))
    assert model.parameter_count() == 32 * 25 + 32 + 32 * 14 * 14 * 10 + 10
    assert model.multiply_adds() == 28 * 28 * 32 * 25 + 32 * 14 * 14 * 10


def test_load_copies_and_refuses_another_nets_parameters() -> None:
    model = small_net(reference("vgg_bn"))
    other = build_model(reference("vgg_bn"), SMALL["vgg_bn"], 3, stream((6,), "init"), np.float64)
    model.load(other.params, other.buffers)
    other.params["conv1.W"][...] = 0
    assert model.params["conv1.W"].any()
    with pytest.raises(ValueError, match=r"the names differ in dense1\.b"):
        model.load({k: p for k, p in model.params.items() if k != "dense1.b"}, model.buffers)
    with pytest.raises(ValueError, match=r"dense1\.b must have shape \(3,\), got \(4,\)"):
        model.load({**model.params, "dense1.b": np.zeros(4)}, model.buffers)


def loss_and_gradient(model: Sequential, x: Array, labels: Any) -> tuple[float, dict[str, Array]]:
    model.reseed((1,), 0)  # the same dropout masks in every call
    loss, dlogits = softmax_cross_entropy(model.forward(x, training=True), labels, 0.1)
    model.backward(dlogits)
    return loss, {name: g.copy() for name, g in model.grads.items()}


def directional_error(model: Sequential, seed: int) -> float:
    """Return the relative difference between the loss's slope along a random direction and its
    finite difference.
    """
    rng = np.random.default_rng(seed)
    x = rng.uniform(0.1, 1.0, (*model.image_shape, 5))
    labels = rng.integers(0, 3, 5)
    _, grads = loss_and_gradient(model, x, labels)
    directions = {name: rng.standard_normal(p.shape) for name, p in model.params.items()}
    slope = sum(float((grads[name] * d).sum()) for name, d in directions.items())
    start = {name: p.copy() for name, p in model.params.items()}
    losses = []
    step = 1e-6
    for sign in (1, -1):
        for name, p in model.params.items():
            p[...] = start[name] + sign * step * directions[name]
        losses.append(loss_and_gradient(model, x, labels)[0])
    difference = (losses[0] - losses[1]) / (2 * step)
    return abs(difference - slope) / max(abs(difference), abs(slope))


def test_every_net_has_a_small_image() -> None:
    assert set(SMALL) == set(ARCHITECTURES) == set(REFERENCE)


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("batch_norm", ("none", "before", "after"))
def test_gradients_of_whole_nets(name: str, batch_norm: str) -> None:
    # tanh has no kinks; max pooling's are far away for random images.
    spec = reference(
        name, filters=2, activation="tanh", batch_norm=batch_norm, init="xavier", dropout=0.3
    )
    assert min(directional_error(small_net(spec), seed) for seed in (1, 2)) < 1e-5


@pytest.mark.parametrize("batch_norm", ("none", "before", "after"))
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS.keys() - {"tanh"}))
def test_gradients_with_the_other_activations(activation: str, batch_norm: str) -> None:
    for name in ("contest", "two_conv", "mlp"):
        # A kink between the two points of the difference spoils a seed; that three in a row meet
        # one is next to impossible.
        errors = [
            directional_error(
                small_net(reference(name, filters=2, activation=activation, batch_norm=batch_norm)),
                seed,
            )
            for seed in (1, 2, 3)
        ]
        assert min(errors) < 1e-5


def test_the_check_sees_a_wrong_gradient() -> None:
    model = small_net(reference("contest", filters=2, activation="tanh", dropout=0.0))
    layer = model.layers[0]
    right = layer.backward

    def wrong(dy: Array) -> Array:
        dx = right(dy)
        layer.grads["W"] *= 1.001
        return dx

    layer.backward = wrong  # type: ignore[method-assign]
    assert min(directional_error(model, seed) for seed in (1, 2)) > 1e-5


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_batched_equals_one_by_one(name: str) -> None:
    model = small_net(reference(name, filters=3), np.float32)
    images = np.random.default_rng(0).integers(0, 256, (7, *SMALL[name])).astype(np.uint8)
    together = model.predict_proba(images, batch_size=4)
    alone = np.concatenate([model.predict_proba(image[None]) for image in images])
    assert together.shape == (7, 3) and together.dtype == np.float32
    np.testing.assert_allclose(together, alone, atol=2e-6)
    np.testing.assert_allclose(together.sum(axis=1), 1, atol=1e-6)


def test_prediction_of_nothing_and_of_a_wrong_size() -> None:
    model = small_net(reference("contest"), np.float32)
    assert model.predict_proba(np.empty((0, 1, 6, 6), np.uint8)).shape == (0, 3)
    with pytest.raises(ValueError, match=r"images must be \(N, 1, 6, 6\), got \(2, 1, 7, 7\)"):
        model.predict_proba(np.empty((2, 1, 7, 7), np.uint8))
    with pytest.raises(ValueError, match=r"images must be uint8 from 0 to 255, got float32"):
        model.predict_proba(np.zeros((2, 1, 6, 6), np.float32))  # type: ignore[arg-type]


def test_all_zero_weights_give_every_unit_the_same_gradient() -> None:
    model = small_net(ModelSpec(name="mlp", hidden=(4,), activation="sigmoid", init="zeros"))
    for _ in range(3):
        _, grads = loss_and_gradient(
            model, np.random.default_rng(0).random((1, 5, 5, 6)), np.array([0, 1, 2, 0, 1, 0])
        )
        for name, p in model.params.items():
            p -= grads[name]
    first = model.params["dense1.W"]
    np.testing.assert_allclose(first, np.broadcast_to(first[:1], first.shape), atol=1e-15)
    assert first.any()
