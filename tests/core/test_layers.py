"""Laws that every layer obeys, over the table in cases.py."""

import numpy as np
import pytest
from numpy.random import Generator, default_rng

from cnn_core.axes import Array
from cnn_core.errors import InputError
from cnn_core.layers import LAYERS, Dense, Dropout, Layer, LeakyReLU, Sigmoid, Tanh
from tests.core.cases import CASES, Case

names = pytest.mark.parametrize("name", CASES)
differentiable = pytest.mark.parametrize(
    "name", [name for name, case in CASES.items() if case.make().differentiable]
)


def build(case: Case, rng: Generator, dtype: type = np.float64) -> Layer:
    layer = case.make()
    assert layer.build(case.in_shape, rng, dtype) == case.out_shape == layer.out_shape
    for value in layer.params.values():
        value += 0.3 * rng.standard_normal(value.shape).astype(
            dtype
        )  # biases and scales away from 0 and 1
    return layer


def images(case: Case, rng: Generator, n: int = 4, dtype: type = np.float64) -> Array:
    x = rng.standard_normal((*case.in_shape, n)).astype(dtype)
    return np.abs(x) if case.ink else x


def run(layer: Layer, x: Array, *, training: bool) -> Array:
    layer.reseed(default_rng(5))  # the same dropout mask each time
    return layer.forward(x, training=training).copy()


def test_every_layer_has_a_case() -> None:
    missing = set(LAYERS) - {case.make().kind for case in CASES.values()}
    assert not missing, f"tests/core/cases.py lacks a case for {sorted(missing)}"


@differentiable
def test_backward_is_the_derivative_along_random_directions(name: str) -> None:
    """<dy, (f(x + h u) - f(x - h u)) / 2h> = <dx, u> for the input and for each parameter."""
    rng, case, h = default_rng(1), CASES[name], 1e-6
    layer = build(case, rng)
    x = images(case, rng)
    dy = rng.standard_normal((*case.out_shape, x.shape[-1]))
    run(layer, x, training=True)
    dx = layer.backward(dy.copy()).copy()
    for target, gradient in [
        (x, dx),
        *((layer.params[key], layer.grads[key].copy()) for key in layer.params),
    ]:
        direction = rng.standard_normal(target.shape)
        target += h * direction
        above = run(layer, x, training=True)
        target -= 2 * h * direction
        below = run(layer, x, training=True)
        target += h * direction
        expected = np.sum(dy * (above - below)) / (2 * h)
        assert np.sum(gradient * direction) == pytest.approx(expected, rel=1e-6, abs=1e-8)


@names
def test_float32_agrees_with_float64(name: str) -> None:
    rng, case = default_rng(2), CASES[name]
    double = build(case, rng)
    single = case.make()
    single.build(case.in_shape, rng, np.float32)
    for key, value in double.params.items():
        single.params[key][...] = value
    x, dy = images(case, rng), rng.standard_normal((*case.out_shape, 4))
    for training in (True, False):
        y = run(single, x.astype(np.float32), training=training)
        assert y.dtype == np.float32
        np.testing.assert_allclose(y, run(double, x, training=training), rtol=2e-4, atol=2e-5)
    if not single.differentiable:
        return
    run(single, x.astype(np.float32), training=True)
    run(double, x, training=True)
    np.testing.assert_allclose(
        single.backward(dy.astype(np.float32)), double.backward(dy), rtol=2e-4, atol=2e-5
    )
    for key in double.grads:
        assert single.grads[key].dtype == np.float32
        np.testing.assert_allclose(single.grads[key], double.grads[key], rtol=2e-4, atol=2e-4)


@names
def test_a_batch_equals_its_images_one_by_one(name: str) -> None:
    rng, case = default_rng(3), CASES[name]
    layer = build(case, rng)
    x = images(case, rng, 5)
    whole = run(layer, x, training=False)
    for n in range(5):
        np.testing.assert_allclose(
            run(layer, x[..., n : n + 1], training=False),
            whole[..., n : n + 1],
            rtol=1e-12,
            atol=1e-12,
        )
    if case.per_image:
        np.testing.assert_allclose(run(layer, x, training=True), whole, rtol=1e-12, atol=1e-12)


@names
def test_batches_of_changing_size_do_not_disturb_each_other(name: str) -> None:
    rng, case = default_rng(4), CASES[name]
    used = build(case, rng)
    for n in (6, 2, 5, 6):
        x, dy = images(case, rng, n), rng.standard_normal((*case.out_shape, n))
        fresh = build(case, rng)  # its arrays were never of another size
        for mine, theirs in ((fresh.params, used.params), (fresh.buffers, used.buffers)):
            for key in mine:
                mine[key][...] = theirs[key]
        np.testing.assert_array_equal(run(used, x, training=True), run(fresh, x, training=True))
        if not used.differentiable:
            continue
        np.testing.assert_array_equal(used.backward(dy.copy()), fresh.backward(dy.copy()))
        for key in used.grads:
            np.testing.assert_array_equal(used.grads[key], fresh.grads[key])


@names
def test_forward_leaves_its_input_and_the_steady_state_reuses_memory(name: str) -> None:
    rng, case = default_rng(6), CASES[name]
    layer = build(case, rng, np.float32)
    x = images(case, rng, dtype=np.float32)
    kept = x.copy()
    addresses = {layer.forward(x, training=True).ctypes.data for _ in range(3)}
    np.testing.assert_array_equal(x, kept)
    assert len(addresses) == 1


def test_gradients_are_written_not_added() -> None:
    rng = default_rng(7)
    for case in (case for case in CASES.values() if case.make().differentiable):
        layer = build(case, rng)
        x, dy = images(case, rng), rng.standard_normal((*case.out_shape, 4))
        seen = []
        for _ in range(2):
            run(layer, x, training=True)
            layer.backward(dy.copy())
            seen.append({key: value.copy() for key, value in layer.grads.items()})
        for key in layer.grads:
            np.testing.assert_array_equal(seen[0][key], seen[1][key])


def test_dropout_keeps_the_mean_and_the_rate() -> None:
    layer = Dropout(0.4)
    layer.build((1000,), default_rng(0))
    layer.reseed(default_rng(8))
    x = np.ones((1000, 100), np.float32)
    y = layer.forward(x, training=True)
    assert np.mean(y == 0) == pytest.approx(102 / 256, abs=0.01)
    assert np.mean(y) == pytest.approx(1, abs=0.01)
    np.testing.assert_array_equal(layer.backward(x.copy()), y)
    assert layer.forward(x, training=False) is x


def test_dropout_repeats_with_its_stream_and_not_within_it() -> None:
    layer = Dropout(0.5)
    x = np.ones((50, 10), np.float32)
    layer.reseed(default_rng(1))
    first = layer.forward(x, training=True).copy()
    second = layer.forward(x, training=True).copy()
    layer.reseed(default_rng(1))
    np.testing.assert_array_equal(layer.forward(x, training=True), first)
    assert (first != second).any()


def test_sigmoid_and_tanh_stay_finite_for_any_float() -> None:
    x = np.array([[-3e38, -1000, -34.6, 0, 34.6, 1000, 3e38]], np.float32)
    for layer, low, middle in ((Sigmoid(), 0.0, 0.5), (Tanh(), -1.0, 0.0)):
        y = layer.forward(x, training=True)
        np.testing.assert_allclose(y[0, [0, 3, 6]], [low, middle, 1])
        assert np.isfinite(layer.backward(np.ones_like(x))).all()
    slope = Sigmoid()
    slope.forward(np.linspace(-4, 4, 81)[None], training=True)
    assert slope.backward(np.ones((1, 81))).max() == pytest.approx(0.25)


def test_wrong_hyperparameters_and_shapes_are_refused_with_rule_and_value() -> None:
    dense = Dense(5)
    dense.name = "dense1"
    with pytest.raises(
        InputError, match=r'dense "dense1": input must be flat, got shape \(1, 2, 3\)'
    ):
        dense.build((1, 2, 3), default_rng(0))
    with pytest.raises(InputError, match="dense: units must be at least 1, got 0"):
        Dense(0)
    with pytest.raises(InputError, match=r"dropout: rate must be at least 0 and below 1, got 1"):
        Dropout(1.0)
    with pytest.raises(
        InputError, match=r"leaky_relu: slope must be at least 0 and below 1, got -1"
    ):
        LeakyReLU(-1.0)


@pytest.mark.parametrize(("units", "features"), [(10, 6272), (10, 6271), (3, 40), (40, 6272)])
def test_dense_equals_its_definition_whatever_parts_it_is_cut_into(
    units: int, features: int
) -> None:
    rng, layer = default_rng(9), Dense(units)
    layer.build((features,), rng, np.float64)
    x, dy = rng.standard_normal((features, 100)), rng.standard_normal((units, 100))
    np.testing.assert_allclose(
        layer.forward(x, training=True), np.einsum("ud,dn->un", layer.params["W"], x), atol=1e-9
    )
    np.testing.assert_allclose(
        layer.backward(dy.copy()), np.einsum("ud,un->dn", layer.params["W"], dy), atol=1e-9
    )
    np.testing.assert_allclose(layer.grads["W"], np.einsum("un,dn->ud", dy, x), atol=1e-9)
