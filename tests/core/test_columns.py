"""Lowering and its transpose, on worked examples and over random windows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.random import default_rng

from cnn_core.errors import InputError
from cnn_core.kernels.window import (
    Padding,
    Window,
    col2im,
    im2col,
    make_window,
)

pairs = st.tuples(st.integers(1, 4), st.integers(1, 4))


@st.composite
def windows(draw: st.DrawFn) -> Window:
    """A window that fits, over images up to 9x9."""
    size = (draw(st.integers(1, 9)), draw(st.integers(1, 9)))
    padding = draw(st.sampled_from(["same", (0, 0), (1, 2), (2, 0)]))
    extra = (0, 0) if padding == "same" else (2 * padding[0], 2 * padding[1])
    kernel = tuple(min(k, n + e) for k, n, e in zip(draw(pairs), size, extra, strict=True))
    return make_window(
        "drawn", kernel, draw(st.tuples(st.integers(1, 3), st.integers(1, 3))), padding, size
    )


def padding_of(window: Window) -> Padding:
    """The padding to ask for: only "same" pads the two sides differently."""
    top, bottom, left, right = window.padding
    return (top, left) if (top, left) == (bottom, right) else "same"


def test_im2col_has_the_shape_of_the_lecture() -> None:
    assert im2col(np.zeros((10, 3, 7, 7)), 5).shape == (90, 75)


def test_im2col_of_the_course_notes() -> None:
    x = np.arange(32.0).reshape(2, 1, 4, 4)
    columns = im2col(x, 3)
    assert columns.shape == (8, 9)
    np.testing.assert_array_equal(columns[0], [0, 1, 2, 4, 5, 6, 8, 9, 10])
    np.testing.assert_array_equal(columns[3], [5, 6, 7, 9, 10, 11, 13, 14, 15])
    np.testing.assert_array_equal(columns[4], columns[0] + 16)
    covered = np.array([[1, 2, 2, 1], [2, 4, 4, 2], [2, 4, 4, 2], [1, 2, 2, 1]])
    np.testing.assert_array_equal(col2im(columns, x.shape, 3), x * covered)


def test_output_size_of_the_course_notes() -> None:
    assert make_window("w", 2, 1, 1, (6, 6)).output == (7, 7)  # OH = (H + 2P - FH) / S + 1


def test_same_padding_gives_one_output_a_stride() -> None:
    for size in range(1, 12):
        for kernel in range(1, 6):
            for stride in range(1, 4):
                window = make_window("w", kernel, stride, "same", (size, size))
                assert window.output == (-(-size // stride),) * 2
                assert window.padding[0] <= window.padding[1] <= window.padding[0] + 1


@given(windows(), st.integers(1, 3), st.integers(1, 3))
def test_im2col_copies_what_a_loop_copies(window: Window, n: int, c: int) -> None:
    x = default_rng(0).standard_normal((n, c, *window.size))
    top, bottom, left, right = window.padding
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    (kh, kw), (sh, sw), (oh, ow) = window.kernel, window.stride, window.output
    rows = [
        padded[m, :, r * sh : r * sh + kh, q * sw : q * sw + kw].ravel()
        for m in range(n)
        for r in range(oh)
        for q in range(ow)
    ]
    columns = im2col(x, window.kernel, window.stride, padding_of(window))
    np.testing.assert_array_equal(columns, rows)


@given(windows(), st.integers(1, 3), st.integers(1, 3))
def test_col2im_is_the_transpose_of_im2col(window: Window, n: int, c: int) -> None:
    """<im2col(x), d> = <x, col2im(d)>."""
    rng, sliding = default_rng(1), (window.kernel, window.stride, padding_of(window))
    x = rng.standard_normal((n, c, *window.size))
    columns = im2col(x, *sliding)
    d = rng.standard_normal(columns.shape)
    raised = col2im(d, x.shape, *sliding)
    assert np.sum(columns * d) == pytest.approx(np.sum(x * raised), abs=1e-9)


def test_windows_that_cannot_be_are_refused() -> None:
    with pytest.raises(
        InputError, match=r"w: kernel must fit in the padded input, got kernel 5x5, input 3x3$"
    ):
        make_window("w", 5, 1, "valid", (3, 3))
    with pytest.raises(InputError, match="got kernel 6x6, input 3x3 padded to 5x5"):
        make_window("w", 6, 1, 1, (3, 3))
    with pytest.raises(
        InputError, match="kernel and stride must be at least 1, got kernel 3x3, stride 0x0"
    ):
        make_window("w", 3, 0, "valid", (3, 3))
    with pytest.raises(
        InputError,
        match=r'padding must be "valid", "same", a number or a pair of numbers, got \'full\'',
    ):
        make_window("w", 3, 1, "full", (3, 3))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="padding must be at least 0, got 0x-1"):
        make_window("w", 3, 1, (0, -1), (3, 3))
    with pytest.raises(
        InputError,
        match=r"col2im: columns must be \(8, 9\) for images \(2, 1, 4, 4\), got \(8, 8\)",
    ):
        col2im(np.zeros((8, 8)), (2, 1, 4, 4), 3)
