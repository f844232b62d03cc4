"""The resampling engine and the geometry, against SciPy's map_coordinates and hand-worked maps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import affine_transform, map_coordinates

from cnn_core.augment_spec import AugmentSpec
from cnn_core.augmentation.geometry import Projection, draw_projections, source_coordinates
from cnn_core.augmentation.resampling import resample


def _images(count: int, channels: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(
        0, 256, (count, channels, height, width), dtype=np.uint8
    )


def _resample(
    images: np.ndarray, y: np.ndarray, x: np.ndarray, nearest: np.ndarray | None = None
) -> np.ndarray:
    count, channels, height, width = images.shape
    out = np.empty((channels, height, width, count), np.float32)
    return resample(images, y.astype(np.float32), x.astype(np.float32), nearest, out)


def _projection(count: int, **values: float) -> Projection:
    base = {
        "yy": 1.0,
        "yx": 0.0,
        "xy": 0.0,
        "xx": 1.0,
        "ty": 0.0,
        "tx": 0.0,
        "py": 0.0,
        "px": 0.0,
    } | values
    return Projection(**{name: np.full(count, value, np.float32) for name, value in base.items()})


@settings(max_examples=30, deadline=None)
@given(
    count=st.integers(1, 5),
    channels=st.integers(1, 3),
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    seed=st.integers(0, 99),
)
def test_bilinear_equals_scipy(
    count: int, channels: int, height: int, width: int, seed: int
) -> None:
    images = _images(count, channels, height, width, seed)
    rng = np.random.default_rng(seed + 1)
    y = rng.uniform(-4, height + 4, (height, width, count)).astype(np.float32)
    x = rng.uniform(-4, width + 4, (height, width, count)).astype(np.float32)
    got = _resample(images, y, x)
    for n in range(count):
        for c in range(channels):
            want = map_coordinates(
                images[n, c].astype(np.float64),
                [y[..., n], x[..., n]],
                order=1,
                mode="grid-constant",
                cval=0.0,
            )
            np.testing.assert_allclose(got[c, :, :, n], want, atol=2e-3)


def test_nearest_equals_scipy_and_only_where_asked() -> None:
    images = _images(4, 1, 9, 9)
    rng = np.random.default_rng(3)
    y, x = rng.uniform(-2, 11, (2, 9, 9, 4)).astype(np.float32)
    got = _resample(images, y, x, np.array([True, False, True, False]))
    for n, order in enumerate((0, 1, 0, 1)):
        want = map_coordinates(
            images[n, 0].astype(np.float64),
            [y[..., n], x[..., n]],
            order=order,
            mode="grid-constant",
            cval=0.0,
        )
        np.testing.assert_allclose(got[0, :, :, n], want, atol=2e-3)


def test_identity_map_returns_the_images() -> None:
    images = _images(3, 2, 7, 5)
    y, x = source_coordinates(_projection(3), (7, 5))
    np.testing.assert_array_equal(
        _resample(images, *np.broadcast_arrays(y, x)), images.transpose(1, 2, 3, 0)
    )


def test_shift_of_whole_pixels_moves_the_picture() -> None:
    images = _images(1, 1, 6, 6)
    y, x = source_coordinates(_projection(1, ty=2.0, tx=-1.0), (6, 6))
    got = _resample(images, y, x)[0, :, :, 0]
    want = np.zeros((6, 6))
    want[:4, 1:] = images[0, 0, 2:, :5]
    np.testing.assert_array_equal(got, want)


def test_quarter_turn_is_rot90() -> None:
    images = _images(1, 1, 8, 8)
    y, x = source_coordinates(_projection(1, yy=0.0, yx=1.0, xy=-1.0, xx=0.0), (8, 8))
    np.testing.assert_allclose(
        _resample(images, y, x)[0, :, :, 0], np.rot90(images[0, 0]), atol=1e-3
    )


def test_affine_part_equals_scipy_affine_transform() -> None:
    images = _images(2, 1, 11, 13)
    spec = AugmentSpec(shift=0.1, rotate=30, scale=0.2, shear=0.2)
    p = draw_projections(spec, 2, (11, 13), np.random.default_rng(5))
    got = _resample(images, *source_coordinates(p, (11, 13)))
    centre = np.array([5.0, 6.0])
    for n in range(2):
        matrix = np.array([[p.yy[n], p.yx[n]], [p.xy[n], p.xx[n]]], dtype=np.float64)
        offset = centre + np.array([p.ty[n], p.tx[n]]) - matrix @ centre
        want = affine_transform(
            images[n, 0].astype(np.float64), matrix, offset, order=1, mode="grid-constant"
        )
        np.testing.assert_allclose(got[0, :, :, n], want, atol=0.02)


def test_drawn_maps_stay_within_their_strengths() -> None:
    spec = AugmentSpec(shift=0.1, rotate=20, scale=0.25)
    p = draw_projections(spec, 4000, (28, 28), np.random.default_rng(0))
    angle = np.rad2deg(np.arctan2(p.yx, p.yy))
    zoom = 1 / np.hypot(p.yy, p.yx)
    assert np.abs(angle).max() <= 20.001 and np.abs(angle).max() > 19.5 and abs(angle.mean()) < 1
    assert 0.75 <= zoom.min() < 0.76 and 1.24 < zoom.max() <= 1.2501
    assert np.abs(p.ty).max() <= 2.8001 and np.abs(p.tx).max() > 2.7


def test_perspective_divides_by_its_denominator() -> None:
    y, x = source_coordinates(_projection(1, py=0.02, px=0.01), (5, 7))
    # The pixel at row 4, column 6 lies 2 below and 3 right of the centre (2, 3).
    scale = 1 / (1 + 0.02 * 2 + 0.01 * 3)
    assert y[4, 6, 0] == pytest.approx(2 + 2 * scale, rel=1e-6)
    assert x[4, 6, 0] == pytest.approx(3 + 3 * scale, rel=1e-6)


def test_a_batch_too_large_for_exact_indices_is_refused() -> None:
    images = np.zeros((1100, 1, 126, 126), np.uint8)
    grid = np.zeros((126, 126, 1100), np.float32)
    with pytest.raises(ValueError, match="2\\^24"):
        resample(images, grid, grid.copy(), None, np.empty((1, 126, 126, 1100), np.float32))
