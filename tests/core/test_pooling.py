"""Pooling against hand-worked values, naive loops and SciPy."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.random import default_rng
from scipy.ndimage import maximum_filter, uniform_filter

from cnn_core.axes import Array
from cnn_core.errors import InputError
from cnn_core.kernels.window import as_pair
from cnn_core.layers import AveragePooling, GlobalAveragePooling, LpPooling, MaxPooling
from cnn_core.layers.pooling import Pooling


def pooled(layer: Pooling, image: list[list[float]]) -> Array:
    x = np.array(image, np.float64)[None, :, :, None]
    layer.build(x.shape[:3], default_rng(0), np.float64)
    return layer.forward(x, training=True)[0, :, :, 0]


def test_the_worked_example_of_the_course_slides() -> None:
    rest = [[8, 5, 2, 3], [4, 2, 1, 4]]
    np.testing.assert_array_equal(
        pooled(MaxPooling(2), [[1, 3, 2, 9], [7, 4, 1, 5], *rest]), [[7, 9], [8, 4]]
    )
    np.testing.assert_array_equal(
        pooled(MaxPooling(2), [[7, 3, 2, 9], [1, 4, 1, 5], *rest]), [[7, 9], [8, 4]]
    )
    np.testing.assert_array_equal(
        pooled(AveragePooling(2), [[1, 3, 2, 9], [7, 4, 1, 5], *rest]), [[3.75, 4.25], [4.75, 2.5]]
    )


def test_padding_adds_zeros_to_a_mean_and_never_wins_a_maximum() -> None:
    np.testing.assert_array_equal(
        pooled(AveragePooling(2, padding=1), [[4, 8], [12, 16]]), [[1, 2], [3, 4]]
    )
    np.testing.assert_array_equal(
        pooled(MaxPooling(2, padding=1), [[-4, -8], [-12, -16]]), [[-4, -8], [-12, -16]]
    )
    assert pooled(MaxPooling(2, stride=1, padding=1), np.zeros((6, 6)).tolist()).shape == (7, 7)


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.sampled_from([0, 1, (0, 2)]),
    shape=st.tuples(st.integers(1, 3), st.integers(3, 7), st.integers(3, 7), st.integers(1, 4)),
    kind=st.sampled_from(["max", "mean", "lp"]),
)
def test_forward_and_backward_equal_a_naive_loop(size, stride, padding, shape, kind) -> None:  # type: ignore[no-untyped-def]
    rows, columns = as_pair(padding)
    assume(kind != "max" or (rows < size[0] and columns < size[1]))
    make = {"max": MaxPooling, "mean": AveragePooling, "lp": lambda *a: LpPooling(*a, p=3.0)}[kind]
    layer = make(size, stride, padding)
    layer.build(shape[:3], default_rng(0), np.float64)
    x = default_rng(1).standard_normal(shape)
    top, bottom, left, right = layer.window.padding
    padded = np.pad(
        x,
        ((0, 0), (top, bottom), (left, right), (0, 0)),
        constant_values=-np.inf if kind == "max" else 0,
    )
    y = layer.forward(x, training=True)
    dy = default_rng(2).standard_normal(y.shape)
    dpadded = np.zeros_like(padded)
    for c, r, q, n in np.ndindex(y.shape):
        at = (
            c,
            slice(r * stride[0], r * stride[0] + size[0]),
            slice(q * stride[1], q * stride[1] + size[1]),
            n,
        )
        window, count = padded[at], size[0] * size[1]
        if kind == "max":
            expected, slope = window.max(), np.zeros(size)
            slope.flat[window.argmax()] = 1
        elif kind == "mean":
            expected, slope = window.mean(), np.full(size, 1 / count)
        else:
            expected = np.mean(np.abs(window) ** 3) ** (1 / 3)
            slope = np.sign(window) * window**2 / count / (expected**2 or 1)
        assert y[c, r, q, n] == pytest.approx(expected, abs=1e-12)
        dpadded[at] += slope * dy[c, r, q, n]
    dx = layer.backward(dy.copy())
    np.testing.assert_allclose(
        dx, dpadded[:, top : top + shape[1], left : left + shape[2]], atol=1e-10
    )


def test_windows_of_stride_one_equal_scipy() -> None:
    image = default_rng(3).standard_normal((9, 8))
    np.testing.assert_array_equal(
        pooled(MaxPooling(3, stride=1), image.tolist()), maximum_filter(image, 3)[1:-1, 1:-1]
    )
    np.testing.assert_allclose(
        pooled(AveragePooling(3, stride=1), image.tolist()),
        uniform_filter(image, 3)[1:-1, 1:-1],
        atol=1e-12,
    )


def test_of_equal_pixels_the_first_gets_the_gradient() -> None:
    layer = MaxPooling(2)
    pooled(layer, [[5, 5], [5, 5]])
    np.testing.assert_array_equal(
        layer.backward(np.full((1, 1, 1, 1), 3.0))[0, :, :, 0], [[3, 0], [0, 0]]
    )


def test_lp_lies_between_mean_and_maximum_and_cannot_overflow() -> None:
    image = np.abs(default_rng(4).standard_normal((4, 4))).tolist()
    np.testing.assert_allclose(
        pooled(LpPooling(2, p=1.0), image), pooled(AveragePooling(2), image), atol=1e-12
    )
    np.testing.assert_allclose(
        pooled(LpPooling(2, p=400.0), image), pooled(MaxPooling(2), image), rtol=0.01
    )
    layer = LpPooling(2, p=30.0)
    layer.build((1, 2, 2), default_rng(0))
    x = np.array([1e30, 2e30, 0, 0], np.float32).reshape(1, 2, 2, 1)
    assert layer.forward(x, training=True)[0, 0, 0, 0] == pytest.approx(
        2e30 * (1 / 4) ** (1 / 30), rel=1e-4
    )
    assert np.isfinite(layer.backward(np.ones((1, 1, 1, 1), np.float32))).all()
    layer.forward(np.zeros_like(x), training=True)
    assert not layer.backward(np.ones((1, 1, 1, 1), np.float32)).any()


def test_global_average_is_the_mean_of_each_channel() -> None:
    layer = GlobalAveragePooling()
    layer.build((3, 4, 5), default_rng(0), np.float64)
    x = default_rng(5).standard_normal((3, 4, 5, 2))
    np.testing.assert_allclose(layer.forward(x, training=True), x.mean(axis=(1, 2)))
    np.testing.assert_allclose(layer.backward(np.full((3, 2), 20.0)), np.ones_like(x))


def test_wrong_windows_are_refused() -> None:
    layer = MaxPooling(3)
    layer.name = "pool3"
    with pytest.raises(
        InputError,
        match='max_pooling "pool3": kernel must fit in the padded input, got kernel 3x3, input 2x2',
    ):
        layer.build((8, 2, 2), default_rng(0))
    with pytest.raises(InputError, match="at most 256 pixels, got 17x17"):
        MaxPooling(17).build((1, 20, 20), default_rng(0))
    with pytest.raises(
        InputError, match="padding must be smaller than the window, got padding 2x0, window 2x2"
    ):
        MaxPooling(2, padding=(2, 0)).build((1, 6, 6), default_rng(0))
    with pytest.raises(InputError, match="p must be at least 1 and finite"):
        LpPooling(2, p=float("inf"))
    with pytest.raises(InputError, match=r"input must be \(C, H, W\), got shape \(4,\)"):
        GlobalAveragePooling().build((4,), default_rng(0))
