"""Every layer of the table in cases.py keeps the laws of layers, and what is said of each alone."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.random import default_rng

from cnn_core.axes import Shape
from cnn_core.errors import InputError
from cnn_core.laws.layer_laws import LAYER_LAWS, Case
from cnn_core.layers import (
    LAYERS,
    BatchNormalization,
    Convolution,
    Dense,
    Dropout,
    Layer,
    LeakyReLU,
    MaxPooling,
    MomentNormalization,
    Scaling,
    Sigmoid,
    Tanh,
    Whitening,
)
from tests.core.cases import CASES


def test_every_layer_has_a_case() -> None:
    missing = set(LAYERS) - {case.make().kind for case in CASES.values()}
    assert not missing, f"tests/core/cases.py lacks a case for {sorted(missing)}"


@pytest.mark.parametrize("law", LAYER_LAWS, ids=lambda law: law.__name__)
@pytest.mark.parametrize("name", CASES)
def test_every_layer_keeps_the_laws(name: str, law: Callable[[Case], None]) -> None:
    law(CASES[name])


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
    with pytest.raises(InputError, match="scaling: factor must be above 0, got nan"):
        Scaling(float("nan"))
    rule = "moment_normalization: frame must be one of similar, box, width, got 'boks'"
    with pytest.raises(InputError, match=rule):
        MomentNormalization("boks")
    rule = r"moment_normalization: jitter must be at least 0 and below 0\.5, got 0\.5"
    with pytest.raises(InputError, match=rule):
        MomentNormalization("box", jitter=0.5)


@pytest.mark.parametrize("layer", [MaxPooling(2), Whitening(4, 3)], ids=lambda layer: layer.kind)
def test_layers_of_windows_need_an_image(layer: Layer) -> None:
    rule = rf'{layer.kind} "{layer.kind}": input must be \(C, H, W\), got shape \(64,\)'
    with pytest.raises(InputError, match=rule):
        layer.build((64,), default_rng(0))


WINDOW = {"stride": [1, 1], "padding": [0, 0, 0, 0]}


@pytest.mark.parametrize(
    ("layer", "shape", "op", "says"),
    [
        (
            Convolution,
            (9,),
            {"op": "convolution", "W": "W", "b": "v", **WINDOW},
            r"convolution: input must be \(C, H, W\), got \(9,\)",
        ),
        (
            BatchNormalization,
            (9,),
            {"op": "affine", "scale": "v", "shift": "v", "flat": False},
            r"affine: flat must say whether the input is flat, got \(9,\)",
        ),
        (
            BatchNormalization,
            (9, 2, 2),
            {"op": "affine", "scale": "v", "shift": "v"},
            r"affine: flat must say whether the input is flat, got \(9, 2, 2\)",
        ),
    ],
)
def test_an_operation_that_does_not_fit_its_input_is_refused(
    layer: type[Layer], shape: Shape, op: dict[str, Any], says: str
) -> None:
    arrays = {"W": np.zeros((9, 9, 1, 1), np.float32), "v": np.zeros(9, np.float32)}
    with pytest.raises(InputError, match=says):
        layer.extent(shape, op, arrays)


def test_dropout_that_drops_nothing_leaves_the_gradient_alone() -> None:
    layer, dy = Dropout(0.001), np.arange(6.0).reshape(2, 3)  # of 256 levels, 0.001 is none
    assert layer.forward(dy, training=True) is dy
    np.testing.assert_array_equal(layer.backward(dy.copy()), dy)


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
