"""Winograd's algorithm against the direct one, and its error in float32 against float64."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import default_rng

from cnn_core.axes import Array
from cnn_core.kernels.correlation import Correlation
from cnn_core.kernels.direct import DirectCorrelation
from cnn_core.kernels.tiles import TileAxis, strips, transforms
from cnn_core.kernels.window import make_window
from cnn_core.kernels.winograd import WinogradCorrelation, tile_of


def run(correlation: Correlation, x: Array, W: Array, dy: Array) -> tuple[Array, Array, Array]:
    """Return y, dW and dx of an algorithm."""
    blocks, dx, dW = blocked(correlation, dy), np.empty_like(x), np.empty_like(W)
    y = np.empty_like(blocks)
    correlation.forward(x, W, y)

    def fill(first: int, block: Array) -> None:
        block[...] = blocks[first : first + len(block)]

    correlation.gradients(dx, dW, fill)
    return y, dW, dx


def blocked(correlation: Correlation, images: Array) -> Array:
    """Return (F, rows, width, N) as one block, (rows, pw, F, width / pw, N)."""
    filters, rows, width, n = images.shape
    pw = correlation.pool[1]
    return images.reshape(filters, rows, width // pw, pw, n).transpose(1, 3, 0, 2, 4).copy()


@pytest.mark.parametrize(("m", "k"), [(2, 3), (4, 3), (5, 3), (2, 5), (4, 5)])
def test_the_transforms_compute_a_correlation_in_one_dimension(m: int, k: int) -> None:
    at, g, bt = transforms(m, k)
    d, kernel = default_rng(0).standard_normal(m + k - 1), np.array([1.0, -2.0, 5.0, 3.0, 0.5])[:k]
    np.testing.assert_allclose(
        at @ ((g @ kernel) * (bt @ d)), [d[i : i + k] @ kernel for i in range(m)]
    )


def test_the_transforms_of_two_are_the_published_ones_up_to_the_scale_of_rows() -> None:
    at, g, bt = transforms(2, 3)
    published = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
    np.testing.assert_allclose(np.abs(g), np.abs(published))
    np.testing.assert_allclose(
        np.abs(bt), np.abs([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])
    )
    np.testing.assert_allclose(np.abs(at), [[1, 1, 1, 0], [0, 1, 1, 1]])


@settings(max_examples=30, deadline=None)
@given(
    m=st.sampled_from([2, 4, 5]),
    before=st.integers(0, 2),
    after=st.integers(0, 2),
    inputs=st.integers(3, 15),
    tiles=st.integers(1, 4),
    phases=st.sampled_from([1, 2]),
)
def test_strips_compute_a_correlation_along_an_axis(
    m, before, after, inputs, tiles, phases
) -> None:  # type: ignore[no-untyped-def]
    """Border, part-filled last tiles and the order of the outputs are all in the matrices."""
    tiles *= 2 if m % phases else 1  # a strip begins at a whole pooling window
    outputs = (inputs + before + after - 2) // phases * phases
    axis = TileAxis(kernel=3, before=before, inputs=inputs, outputs=outputs, m=m)
    g = transforms(m, 3)[1]
    x, kernel = default_rng(0).standard_normal(inputs), np.array([1.0, -2.0, 5.0])
    expected = np.correlate(np.pad(x, (before, after)), kernel)[:outputs]
    found = np.full(outputs, np.nan)
    for strip in strips(axis, tiles, np.float64, phases):
        multiplied = (strip.into @ x[strip.inputs]).reshape(axis.n, strip.tiles) * (g @ kernel)[
            :, None
        ]
        ordered = (strip.back @ multiplied.reshape(-1)).reshape(phases, -1).T
        found[strip.outputs] = ordered.reshape(-1)
    np.testing.assert_allclose(found, expected)


@settings(max_examples=60, deadline=None)
@given(
    k_and_tile=st.sampled_from(
        [(3, (2, 2)), (3, (4, 4)), (3, (5, 5)), (3, (2, 5)), (3, (4, 2)), (5, (2, 4)), (5, (4, 4))]
    ),
    size=st.tuples(st.integers(5, 13), st.integers(5, 13)),
    pool=st.sampled_from([(1, 1), (2, 2), (2, 1), (3, 2)]),
    padding=st.sampled_from(["same", "valid", (2, 1)]),
    channels=st.integers(1, 3),
    filters=st.integers(1, 3),
    n=st.sampled_from([1, 2, 5, 70, 150]),  # the last two cut a row into several patches
)
def test_it_equals_the_direct_algorithm(
    k_and_tile, size, pool, padding, channels, filters, n
) -> None:  # type: ignore[no-untyped-def]
    k, tile = k_and_tile
    window = make_window("w", k, 1, padding, size)
    rows, width = (out // p * p for out, p in zip(window.output, pool, strict=True))
    if min(rows, width) < 1:
        return
    rng = default_rng(0)
    shape = (filters, channels, k, k)
    x, W, dy = (
        rng.standard_normal((channels, *size, n)),
        rng.standard_normal(shape),
        rng.standard_normal((filters, rows, width, n)),
    )
    found = run(WinogradCorrelation(window, shape, np.float64, pool, tile), x, W, dy)
    expected = run(DirectCorrelation(window, shape, np.float64, pool), x, W, dy)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-9)


@pytest.mark.parametrize("winograd", [False, True])
@pytest.mark.parametrize("pool", [(1, 1), (2, 2)])
def test_blocks_are_used_and_filled_in_order_and_dy_counts_by_its_scale(
    winograd: bool, pool: tuple[int, int]
) -> None:
    """Without y, blocks that share one array make up the same y; and gradients, asked twice, are
    those of the scaled dy.
    """
    rng, window, shape = default_rng(0), make_window("w", 3, 1, "same", (11, 9)), (2, 3, 3, 3)
    rows, width = 11 // pool[0] * pool[0], 9 // pool[1] * pool[1]
    x, W = rng.standard_normal((3, 11, 9, 5)), rng.standard_normal(shape)
    dy, scale = rng.standard_normal((2, rows, width, 5)), np.array([0.5, -3.0])
    correlation: Correlation = (
        WinogradCorrelation(window, shape, np.float64, pool, (2, 4))
        if winograd
        else DirectCorrelation(window, shape, np.float64, pool)
    )
    y, expected_dW, expected_dx = run(correlation, x, W, dy * scale[:, None, None, None])
    used: list[Array] = []

    blocks = blocked(correlation, dy)

    def use(first: int, block: Array) -> None:
        assert first == sum(map(len, used))
        assert first % pool[0] == len(block) % pool[0] == 0
        used.append(block.copy())

    def fill(first: int, block: Array) -> None:
        block[...] = blocks[first : first + len(block)]

    correlation.forward(x, W, use=use)
    np.testing.assert_array_equal(np.concatenate(used), y)
    for wants_dx in (True, True, False):
        dx, dW = np.full_like(x, np.nan), np.full_like(W, np.nan)
        correlation.gradients(dx if wants_dx else None, dW, fill, scale)
        np.testing.assert_allclose(dW, expected_dW, atol=1e-12)
        if wants_dx:
            np.testing.assert_allclose(dx, expected_dx, atol=1e-12)


def test_a_smaller_last_batch_cuts_its_own_patches() -> None:
    rng, window, shape = default_rng(0), make_window("w", 3, 1, "same", (10, 10)), (2, 3, 3, 3)
    W, kept = (
        rng.standard_normal(shape),
        WinogradCorrelation(window, shape, np.float64, (1, 1), (4, 4)),
    )
    for n in (150, 20, 150):
        x, dy = rng.standard_normal((3, 10, 10, n)), rng.standard_normal((2, 10, 10, n))
        fresh = WinogradCorrelation(window, shape, np.float64, (1, 1), (4, 4))
        for ours, theirs in zip(run(kept, x, W, dy), run(fresh, x, W, dy), strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("m", "k", "bound"), [(2, 3, 1e-5), (4, 3, 1e-4), (5, 3, 1e-4), (4, 5, 1e-4)]
)
def test_the_error_in_float32_is_bounded(m: int, k: int, bound: float) -> None:
    """The largest error of y, dW and dx, relative to their spread, for 64 channels of inputs as
    they leave a ReLU.
    """
    rng, window, shape = default_rng(1), make_window("w", k, 1, "same", (12, 12)), (64, 64, k, k)
    x = np.maximum(rng.standard_normal((64, 12, 12, 8)), 0)
    W, dy = (
        rng.standard_normal(shape) * np.sqrt(2 / (64 * k * k)),
        rng.standard_normal((64, 12, 12, 8)),
    )
    exact = run(DirectCorrelation(window, shape, np.float64), x, W, dy)
    single = [a.astype(np.float32) for a in (x, W, dy)]
    for found, expected in zip(
        run(WinogradCorrelation(window, shape, np.float32, (1, 1), (m, m)), *single),
        exact,
        strict=True,
    ):
        assert np.abs(found - expected).max() < bound * expected.std()


def test_the_tile_that_multiplies_least_is_chosen_for_each_axis() -> None:
    same = make_window("w", 3, 1, "same", (28, 28))
    assert tile_of(same, (28, 28)) == (5, 5)  # 6 tiles of 7: 42, as many as 7 of 6
    assert tile_of(same, (14, 14)) == (5, 5)  # 3 tiles of 7: 21; of 4 in 6: 24; of 2 in 4: 28
    assert tile_of(same, (2, 12)) == (2, 4)
    assert tile_of(make_window("w", 5, 1, "same", (28, 28)), (28, 28)) == (4, 4)
    assert tile_of(make_window("w", 7, 1, "same", (28, 28)), (28, 28)) is None
    assert tile_of(make_window("w", 3, 2, "same", (28, 28)), (14, 14)) is None
    assert tile_of(make_window("w", 3, 1, 3, (28, 28)), (32, 32)) is None
