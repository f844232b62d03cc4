"""Winograd's algorithm against the direct one, and its error in float32 against float64."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import default_rng

from cnn_core.axes import Array
from cnn_core.columns import make_window
from cnn_core.correlation import Correlation, DirectCorrelation
from cnn_core.winograd import WinogradCorrelation, tile_of, transforms


def run(correlation: Correlation, x: Array, W: Array, dy: Array) -> tuple[Array, Array, Array]:
    """Return y, dW and dx of an algorithm."""
    y, dx, dW = np.empty_like(dy), np.empty_like(x), np.empty_like(W)
    correlation.load(x, W)
    for first, stop in correlation.blocks:
        correlation.correlate(first, stop, y[:, first:stop])
    correlation.start(dx)
    for first, stop in correlation.blocks:
        correlation.dy_rows(first, stop)[...] = dy[:, first:stop]
        correlation.accumulate(first, stop)
    correlation.finish(dW)
    return y, dW, dx


@pytest.mark.parametrize(("m", "k"), [(2, 3), (4, 3), (2, 5), (4, 5)])
def test_the_transforms_compute_a_correlation_in_one_dimension(m: int, k: int) -> None:
    at, g, bt = transforms(m, k)
    d, kernel = default_rng(0).standard_normal(m + k - 1), np.array([1.0, -2.0, 5.0, 3.0, 0.5])[:k]
    np.testing.assert_allclose(at @ ((g @ kernel) * (bt @ d)), [d[i : i + k] @ kernel for i in range(m)])


def test_the_transforms_of_two_are_the_published_ones_up_to_the_scale_of_rows() -> None:
    at, g, bt = transforms(2, 3)
    published = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
    np.testing.assert_allclose(np.abs(g), np.abs(published))
    np.testing.assert_allclose(np.abs(bt), np.abs([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]]))
    np.testing.assert_allclose(np.abs(at), [[1, 1, 1, 0], [0, 1, 1, 1]])


@settings(max_examples=50, deadline=None)
@given(
    m=st.sampled_from([2, 4]),
    k=st.sampled_from([3, 5]),
    tiles=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    pool=st.sampled_from([(1, 1), (2, 2), (2, 1)]),
    padding=st.sampled_from(["same", "valid", (2, 1)]),
    channels=st.integers(1, 4),
    filters=st.integers(1, 4),
    n=st.integers(1, 4),
)
def test_it_equals_the_direct_algorithm(m, k, tiles, pool, padding, channels, filters, n) -> None:  # type: ignore[no-untyped-def]
    pads = {"same": (k - 1, k - 1), "valid": (0, 0)}.get(padding) or (2 * padding[0], 2 * padding[1])
    size = (m * tiles[0] + k - 1 - pads[0], m * tiles[1] + k - 1 - pads[1])
    if min(size) < 1:
        return
    window = make_window("w", k, 1, padding, size)
    rng = default_rng(0)
    shape = (filters, channels, k, k)
    x, W, dy = rng.standard_normal((channels, *size, n)), rng.standard_normal(shape), rng.standard_normal((filters, *window.output, n))
    found = run(WinogradCorrelation(window, shape, np.float64, pool, m), x, W, dy)
    expected = run(DirectCorrelation(window, shape, np.float64, pool), x, W, dy)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-10)


@pytest.mark.parametrize(("m", "k", "bound"), [(2, 3, 1e-5), (4, 3, 1e-4), (4, 5, 1e-4)])
def test_the_error_in_float32_is_bounded(m: int, k: int, bound: float) -> None:
    """The largest error of y, dW and dx, relative to their spread, for 64 channels of inputs as they leave a ReLU."""
    rng, window, shape = default_rng(1), make_window("w", k, 1, "same", (12, 12)), (64, 64, k, k)
    x = np.maximum(rng.standard_normal((64, 12, 12, 8)), 0)
    W, dy = rng.standard_normal(shape) * np.sqrt(2 / (64 * k * k)), rng.standard_normal((64, 12, 12, 8))
    exact = run(DirectCorrelation(window, shape, np.float64), x, W, dy)
    single = [a.astype(np.float32) for a in (x, W, dy)]
    for found, expected in zip(run(WinogradCorrelation(window, shape, np.float32, (1, 1), m), *single), exact, strict=True):
        assert np.abs(found - expected).max() < bound * expected.std()


def test_it_is_offered_where_tiles_fit() -> None:
    same = make_window("w", 3, 1, "same", (28, 28))
    assert tile_of(same, 28, 28, (1, 1)) == 4
    assert tile_of(same, 14, 14, (2, 2)) == 2
    assert tile_of(same, 11, 11, (1, 1)) is None
    assert tile_of(same, 12, 12, (3, 3)) is None
    assert tile_of(make_window("w", 5, 1, "same", (28, 28)), 28, 28, (1, 1)) == 4
    assert tile_of(make_window("w", 7, 1, "same", (28, 28)), 28, 28, (1, 1)) is None
    assert tile_of(make_window("w", 3, 2, "same", (28, 28)), 14, 14, (1, 1)) is None
