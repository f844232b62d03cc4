"""Convolution against a naive loop, SciPy and its own transposes."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.random import default_rng
from scipy.signal import correlate as scipy_correlate

from cnn_core.axes import Array
from cnn_core.errors import InputError
from cnn_core.kernels.direct import DirectCorrelation
from cnn_core.layers import Convolution


def naive(
    x: Array, W: Array, b: Array, stride: tuple[int, int], sides: tuple[int, int, int, int]
) -> Array:
    """The definition, one multiplication at a time over the output's pixels."""
    top, bottom, left, right = sides
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
    (f, _, kh, kw), (sh, sw) = W.shape, stride
    oh, ow = (padded.shape[1] - kh) // sh + 1, (padded.shape[2] - kw) // sw + 1
    y = np.empty((f, oh, ow, x.shape[3]))
    for k in range(f):
        for r in range(oh):
            for q in range(ow):
                patch = padded[:, r * sh : r * sh + kh, q * sw : q * sw + kw]
                y[k, r, q] = np.sum(W[k][..., None] * patch, axis=(0, 1, 2)) + b[k]
    return y


def naive_gradients(
    x: Array, W: Array, dy: Array, stride: tuple[int, int], sides: tuple[int, int, int, int]
) -> tuple[Array, Array]:
    """dx and dW by the same loop, transposed."""
    top, bottom, left, right = sides
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
    (f, _, kh, kw), (sh, sw) = W.shape, stride
    dpadded, dW = np.zeros_like(padded), np.zeros_like(W)
    for k in range(f):
        for r in range(dy.shape[1]):
            for q in range(dy.shape[2]):
                window = (slice(None), slice(r * sh, r * sh + kh), slice(q * sw, q * sw + kw))
                dpadded[window] += W[k][..., None] * dy[k, r, q]
                dW[k] += padded[window] @ dy[k, r, q]
    return dpadded[:, top : top + x.shape[1], left : left + x.shape[2]], dW


def set_block_bytes(layer: Convolution, block_bytes: int) -> None:
    """Choose how many rows are lowered together."""
    assert isinstance(layer.correlation, DirectCorrelation)
    layer.correlation.budget = block_bytes


@settings(max_examples=60, deadline=None)
@given(
    channels=st.integers(1, 4),
    filters=st.integers(1, 5),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.sampled_from(["valid", "same", (1, 0), (0, 2), (5, 4)]),
    size=st.tuples(st.integers(4, 9), st.integers(4, 9)),
    n=st.integers(1, 4),
    block_bytes=st.sampled_from([1, 3000, 1 << 20]),
)
@example(  # the outer columns of the kernel meet nothing but padding
    channels=2,
    filters=2,
    kernel=(3, 3),
    stride=(1, 1),
    padding=(1, 1),
    size=(4, 1),
    n=2,
    block_bytes=1 << 20,
)
def test_forward_and_backward_equal_the_naive_loop(
    channels, filters, kernel, stride, padding, size, n, block_bytes
) -> None:  # type: ignore[no-untyped-def]
    rng = default_rng(0)
    layer = Convolution(filters, kernel, stride, padding)
    layer.build((channels, *size), rng, np.float64)
    set_block_bytes(layer, block_bytes)
    layer.params["b"][...] = rng.standard_normal(filters)
    x = rng.standard_normal((channels, *size, n))
    y = layer.forward(x, training=True)
    sides = layer.window.padding
    np.testing.assert_allclose(
        y, naive(x, layer.params["W"], layer.params["b"], stride, sides), atol=1e-10
    )
    dy = rng.standard_normal(y.shape)
    dx, dW = naive_gradients(x, layer.params["W"], dy, stride, sides)
    np.testing.assert_allclose(layer.backward(dy.copy()), dx, atol=1e-10)
    np.testing.assert_allclose(layer.grads["W"], dW, atol=1e-10)
    np.testing.assert_allclose(layer.grads["b"], dy.sum(axis=(1, 2, 3)), atol=1e-10)


@pytest.mark.parametrize("mode", ["valid", "same"])
def test_forward_equals_scipy(mode: str) -> None:
    rng = default_rng(1)
    layer = Convolution(3, 5, padding=mode)  # type: ignore[arg-type]
    layer.build((2, 12, 9), rng, np.float64)
    x = rng.standard_normal((2, 12, 9, 4))
    y = layer.forward(x, training=False)
    for f in range(3):
        for n in range(4):
            expected = sum(
                scipy_correlate(x[c, :, :, n], layer.params["W"][f, c], mode=mode) for c in range(2)
            )
            np.testing.assert_allclose(y[f, :, :, n], expected, atol=1e-10)


def test_a_worked_example_shows_that_the_kernel_is_not_flipped() -> None:
    layer = Convolution(1, 2, bias=False)
    layer.build((1, 2, 3), default_rng(0), np.float64)
    layer.params["W"][...] = [[[[1, 2], [3, 4]]]]
    x = np.array([[1.0, 0, 0], [0, 5, 0]]).reshape(1, 2, 3, 1)
    np.testing.assert_array_equal(layer.forward(x, training=False).ravel(), [1 + 20, 15])


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("stride", [1, 2])
def test_the_same_seed_gives_the_same_bits_whatever_the_block_size(
    padding: str, stride: int
) -> None:
    """float32, few pairs (the direct algorithm): y, dx, dW and db of blocks of one row, of some
    rows and of the whole image.
    """
    rng = default_rng(2)
    x = rng.standard_normal((24, 13, 13, 20)).astype(np.float32)
    results = []
    for block_bytes in (1, 100_000, 1 << 20, 1 << 30):
        layer = Convolution(5, 3, stride, padding)  # type: ignore[arg-type]
        layer.build((24, 13, 13), default_rng(3))
        set_block_bytes(layer, block_bytes)
        y = layer.forward(x, training=True)
        dx = layer.backward(default_rng(4).standard_normal(y.shape).astype(np.float32))
        results.append([array.tobytes() for array in (y, dx, layer.grads["W"], layer.grads["b"])])
    assert all(result == results[0] for result in results)


def test_without_need_the_input_gradient_is_not_computed() -> None:
    layer = Convolution(2, 3)
    layer.build((1, 5, 5), default_rng(0))
    x = np.ones((1, 5, 5, 2), np.float32)
    dy = np.ones((2, 3, 3, 2), np.float32)
    layer.forward(x, training=True)
    layer.backward(dy.copy())
    expected = layer.grads["W"].copy()
    layer.params["W"][...] = np.nan  # dx would become nan
    layer.needs_input_gradient = False
    layer.forward(x, training=True)
    assert not np.isnan(layer.backward(dy.copy())).any()
    np.testing.assert_array_equal(layer.grads["W"], expected)


def test_errors_name_the_layer_the_rule_and_the_shapes() -> None:
    layer = Convolution(2, 5)
    layer.name = "conv1"
    with pytest.raises(
        InputError,
        match='convolution "conv1": kernel must fit in the padded input, got kernel 5x5, input 3x3',
    ):
        layer.build((1, 3, 3), default_rng(0))
    with pytest.raises(
        InputError, match=r'convolution "conv1": input must be \(C, H, W\), got shape \(9,\)'
    ):
        layer.build((9,), default_rng(0))
    Convolution(1, 55, padding="same").build((1, 28, 28), default_rng(0))
    for kernel, size in ((300, (28, 28)), ((3, 16), (28, 8)), ((16, 3), (8, 28))):
        with pytest.raises(
            InputError,
            match=r"kernel must be at most \d+x\d+ on \d+x\d+ pixels "
            r"\(padding .same.; .*\), got \d+x\d+$",
        ):
            Convolution(1, kernel, padding="same").build((1, *size), default_rng(0))
    with pytest.raises(InputError, match="convolution: filters must be at least 1, got 0"):
        Convolution(0, 3)


def test_multiply_adds_counts_the_direct_algorithm() -> None:
    layer = Convolution(32, 5, padding="same")
    layer.build((1, 28, 28), default_rng(0))
    assert layer.multiply_adds() == 32 * 25 * 784
