"""The fixed first layer against scikit-learn's principal components, and what training leaves of
it.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.decomposition import PCA

from cnn_core.architectures import build_model, reference
from cnn_core.axes import Array
from cnn_core.checkpoint import TrainState
from cnn_core.errors import InputError
from cnn_core.layers.whitening import SMALLEST, Whitening, principal_filters
from cnn_core.low_rank import compress
from cnn_core.spec import ModelSpec, Spec
from cnn_core.train_spec import TrainSpec
from cnn_core.training import train_epoch
from cnn_core.training_data import data_of

Make = Callable[..., Spec]
RNG = np.random.default_rng(3)


def smooth(channels: int = 2, side: int = 9, n: int = 40) -> Array:
    """Images whose neighbouring pixels are alike."""
    x = RNG.random((channels, side + 2, side + 2, n))
    shifted = [x[:, i : i + side, j : j + side] for i in range(3) for j in range(3)]
    mean: Array = np.mean(shifted, axis=0)
    return mean


def patches(x: Array, k: int) -> Array:
    """All patches of k x k pixels, one a row."""
    _, rows, columns, n = x.shape
    return np.array(
        [
            x[:, r : r + k, q : q + k, i].ravel()
            for i in range(n)
            for r in range(rows - k + 1)
            for q in range(columns - k + 1)
        ]
    )


def test_filters_are_principal_components_scaled_by_their_deviation() -> None:
    x, count = smooth(), 5
    W, b = principal_filters(x, 3, count)
    rows = patches(x, 3)
    known = PCA(count).fit(rows)
    for k in range(count):
        variance = known.explained_variance_[k] * (len(rows) - 1) / len(rows)
        expected = known.components_[k] / np.sqrt(variance + SMALLEST)
        sign = np.sign(expected[np.abs(expected).argmax()])
        assert_allclose(W[k].ravel(), sign * expected, atol=1e-9)
        assert_allclose(b[k], -W[k].ravel() @ rows.mean(axis=0), atol=1e-9)
    assert_array_equal(W[count:], -W[:count])
    assert_array_equal(b[count:], -b[:count])


def test_outputs_are_white() -> None:
    x = 5 * smooth()  # variances far above SMALLEST
    layer = Whitening(8, 3)
    layer.build((2, 9, 9), RNG, np.float64)
    layer.adapt(x)
    y = layer.forward(x, training=True)[:4].reshape(4, -1)
    assert_allclose(y.mean(axis=1), 0, atol=1e-9)
    assert_allclose(np.cov(y), np.eye(4), atol=0.01)


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        (7, r"filters must be even, from 2 to 18 for 1 channels, got 7"),
        (20, r"filters must be even, from 2 to 18 for 1 channels, got 20"),
    ],
)
def test_wrong_numbers_of_filters_are_refused(filters: int, message: str) -> None:
    spec = ModelSpec(name="contest", whiten=3, whiten_filters=filters)
    with pytest.raises(InputError, match=message):
        build_model(spec, (1, 8, 8), 3, RNG)


def test_a_patch_larger_than_the_image_is_refused() -> None:
    with pytest.raises(InputError, match="whitening"):
        build_model(ModelSpec(name="contest", whiten=9), (1, 8, 8), 3, RNG)


def test_no_gradient_is_needed_before_the_next_layer() -> None:
    spec = reference("contest", whiten=3, whiten_filters=4, whiten_stride=2, filters=3, kernel=3)
    model = build_model(spec, (1, 12, 12), 3, RNG)
    kinds = [layer.kind for layer in model.layers]
    assert kinds[:3] == ["whitening", "relu", "convolution"]
    assert not model.layers[2].needs_input_gradient
    assert set(model.buffers) == {"whitening1.W", "whitening1.b"}


WHITENED = ModelSpec(
    name="contest", filters=3, kernel=3, whiten=3, whiten_filters=6, batch_norm="before"
)


def trained(make: Make, epochs: int, **changes: Any) -> tuple[Spec, list[TrainState]]:
    train = TrainSpec(epochs=epochs, batch_size=33, **changes)
    spec = make(model=WHITENED, optimizer={"name": "muon", "lr": 0.02}, train=train)
    states: list[TrainState] = []
    for _ in range(epochs):
        state, _ = train_epoch(spec, states[-1] if states else None)
        states.append(state)
    return spec, states


@pytest.mark.parametrize("shards", [1, 7])
def test_training_leaves_the_filters_as_they_are(tiny_spec: Make, shards: int) -> None:
    """With seven parts a mean of a buffer's copies would differ from it in the last bit."""
    spec, states = trained(tiny_spec, 2, shards=shards)
    W, b = principal_filters(data_of(spec.data).sample(), 3, 3)
    for state in states:
        assert_array_equal(state.buffers["whitening1.W"], W.astype(np.float32))
        assert_array_equal(state.buffers["whitening1.b"], b.astype(np.float32))
    first, last = (state.buffers["norm1.running_mean"] for state in states)
    assert np.any(first != last)


def test_filters_come_from_training_images_alone(tiny_spec: Make) -> None:
    spec, states = trained(tiny_spec, 1)
    other = replace(spec, data=replace(spec.data, split_seed=spec.data.split_seed + 1))
    changed, _ = train_epoch(other, None)
    same, _ = train_epoch(replace(spec, seed=(9,)), None)
    found = states[0].buffers["whitening1.W"]
    assert np.any(changed.buffers["whitening1.W"] != found)
    assert_array_equal(same.buffers["whitening1.W"], found)


def test_a_compressed_net_keeps_it(tiny_spec: Make) -> None:
    spec, states = trained(tiny_spec, 1)
    model = build_model(spec.model, spec.data.image_shape, spec.data.classes, RNG)
    model.load(states[0].params, states[0].buffers)
    x = RNG.random((*spec.data.image_shape, 5), np.float32)
    thin = compress(model, 1000)
    assert_allclose(
        thin.forward(x, training=False), model.forward(x, training=False), rtol=1e-4, atol=1e-5
    )
