"""Moment normalisation against SciPy's resampling, moments worked by hand, and what it must undo."""

import numpy as np
import pytest
from numpy.random import default_rng
from numpy.typing import NDArray
from scipy import ndimage

from cnn_core.architectures import build_model, reference
from cnn_core.errors import InputError
from cnn_core.layers import Convolution, Dense, Flatten, MomentNormalization
from cnn_core.layers.moment_normalization import HEIGHT, NARROW, ROUND, WIDTH
from cnn_core.model import Sequential

Image = NDArray[np.float64]
SIDE = 28
MIDDLE = (SIDE - 1) / 2


def figure(height: float = 8.0, width: float = 5.0, cy: float = 0.0, cx: float = 0.0, slant: float = 0.0) -> Image:
    """Return a disc with soft edges, its half axes in pixels, around (cy, cx) from the middle, leaning by `slant`."""
    y, x = np.mgrid[:SIDE, :SIDE] - MIDDLE
    y, x = y - cy, x - cx
    return 1 / (1 + np.exp(8 * (np.hypot(y / height, (x - slant * y) / width) - 1)))


def normalized(image: Image, frame: str) -> Image:
    layer = MomentNormalization(frame)
    layer.build((1, *image.shape), default_rng(0), np.float64)
    return layer.forward(image[None, :, :, None], training=False)[0, :, :, 0].copy()


def placement(image: Image, frame: str) -> NDArray[np.float64]:
    layer = MomentNormalization(frame)
    layer.build((1, *image.shape), default_rng(0), np.float64)
    return layer.placement(image[None, :, :, None])[:, 0]


@pytest.mark.parametrize("frame", MomentNormalization.FRAMES)
def test_it_reads_where_the_moments_say_as_scipy_does(frame: str) -> None:
    """The docstring's formula, moments summed pixel by pixel, the reading by scipy.ndimage."""
    rng = default_rng(1)
    image = figure(9.0, 6.0, 1.5, -2.0, 0.3) * rng.uniform(0.5, 1, (SIDE, SIDE))
    ink = ndimage.uniform_filter(image, 3, mode="constant") ** 3
    y, x = np.mgrid[:SIDE, :SIDE] - MIDDLE
    mass = ink.sum()
    cy, cx = (ink * y).sum() / mass, (ink * x).sum() / mass
    vyy, vyx, vxx = ((ink * p).sum() / mass for p in ((y - cy) ** 2, (y - cy) * (x - cx), (x - cx) ** 2))
    tall, wide = SIDE * HEIGHT, SIDE * (NARROW if frame == "width" else WIDTH)
    if frame == "turned":
        turn = np.arctan2(2 * vyx, vyy - vxx + ROUND * (vyy + vxx)) / 2
        s = np.sqrt((vyy + vxx) / (tall**2 + wide**2))
        matrix = s * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    else:
        k = 0.0 if frame == "width" else vyx / vyy
        vxx += -2 * k * vyx + k * k * vyy
        a, b = np.sqrt(vyy) / tall, np.sqrt(vxx) / wide
        if frame == "similar":
            a = b = np.sqrt((vyy + vxx) / (tall**2 + wide**2))
        matrix = np.array([[a, 0], [k * a, b]])
    source = np.tensordot(matrix, np.array([y, x]), axes=1) + np.array([cy, cx])[:, None, None] + MIDDLE
    expected = ndimage.map_coordinates(image, source, order=1, mode="grid-constant")
    np.testing.assert_allclose(normalized(image, frame), expected, atol=1e-6)


def test_place_size_slant_and_proportions_are_undone() -> None:
    """Figures that differ by what a frame takes out look alike behind it; by what it leaves, they do not."""
    base = figure()
    shifted, leaning, larger, wider = figure(cy=2, cx=-3), figure(slant=0.35), figure(9.6, 6.0), figure(width=7.0)
    for frame, same, other in (
        ("similar", (shifted, leaning, larger), (wider,)),
        ("box", (shifted, leaning, larger, wider), ()),
        ("width", (shifted, larger, wider), (leaning,)),
    ):
        seen = normalized(base, frame)
        for image in same:
            assert np.abs(normalized(image, frame) - seen).max() < 0.05, frame
        for image in other:
            assert np.abs(normalized(image, frame) - seen).max() > 0.12, frame


def test_turned_undoes_the_better_part_of_a_rotation_of_long_figures_and_leaves_round_ones() -> None:
    """Read from the principal axis of what comes out; what is left of a turn follows from the docstring's formula and the figure's axes."""

    def axis(image: Image) -> float:
        y, x = np.mgrid[:SIDE, :SIDE] - MIDDLE
        y, x = y - (image * y).sum() / image.sum(), x - (image * x).sum() / image.sum()
        return float(np.rad2deg(np.arctan2(2 * (image * y * x).sum(), (image * (y * y - x * x)).sum()) / 2))

    for width in (2.5, 5.0):
        turned = ndimage.rotate(figure(width=width), 25, reshape=False, order=1)
        assert abs(axis(turned)) == pytest.approx(25, abs=1)
        long = (8.0**2 - width**2) / (8.0**2 + width**2)
        undone = np.rad2deg(np.arctan2(long * np.sin(np.deg2rad(50)), long * np.cos(np.deg2rad(50)) + ROUND) / 2)
        left = axis(normalized(turned, "turned"))
        assert left * axis(turned) > 0 and abs(left) == pytest.approx(25 - undone, abs=1.5)
    round_one = figure(7.0, 7.0) * (1 + 0.5 * (np.mgrid[:SIDE, :SIDE][1] > MIDDLE + 2))
    _, _, yy, yx, _, _ = placement(ndimage.rotate(round_one, 25, reshape=False, order=1), "turned")
    assert abs(np.rad2deg(np.arctan2(yx, yy))) < 6


def test_dirt_and_noise_hardly_move_it() -> None:
    """Specks on 3 % of the pixels move the centre by less than a third of a pixel, a plain centre of ink by more than half a pixel."""
    image, rng = figure(8.0, 5.0, 3.0, 3.0), default_rng(2)
    dirty = np.where(rng.random(image.shape) < 0.03, 1.0, image) + np.abs(rng.normal(0, 0.04, image.shape))
    clean, moved = placement(image, "box"), placement(dirty, "box")
    assert np.abs(moved[:2] - clean[:2]).max() < 1 / 3
    plain = [np.array(ndimage.center_of_mass(i)) for i in (image, dirty)]
    assert np.abs(plain[1] - plain[0]).max() > 0.5


@pytest.mark.parametrize("frame", MomentNormalization.FRAMES)
def test_empty_full_and_tiny_figures_stay_finite_and_bounded(frame: str) -> None:
    dot = np.zeros((SIDE, SIDE))
    dot[3, 20] = 1.0
    for image in (np.zeros((SIDE, SIDE)), np.ones((SIDE, SIDE)), dot):
        assert np.isfinite(normalized(image, frame)).all()
        _, _, yy, yx, xy, xx = placement(image, frame)
        assert 0.5 <= np.hypot(yy, yx) <= 1.6 and 0.5 <= np.hypot(yx, xx) <= 1.6 and abs(xy) <= 1.6
    assert not normalized(np.zeros((SIDE, SIDE)), frame).any()


def test_jitter_moves_each_image_of_a_training_batch_within_its_bounds_and_repeats_with_its_stream() -> None:
    images = np.repeat(figure()[None, :, :, None], 400, axis=3)
    layer, steady = MomentNormalization("similar", jitter=0.05), MomentNormalization("similar")
    for one in (layer, steady):
        one.build((1, SIDE, SIDE), default_rng(0), np.float64)
    layer.reseed(default_rng(3))
    first = layer.forward(images, training=True).copy()
    layer.reseed(default_rng(3))
    np.testing.assert_array_equal(layer.forward(images, training=True), first)
    assert np.abs(layer.forward(images, training=True) - first).max() > 0.1
    np.testing.assert_array_equal(layer.forward(images, training=False), steady.forward(images, training=True))
    centres = np.array([ndimage.center_of_mass(first[0, :, :, n]) for n in range(400)]) - MIDDLE
    reach = 0.05 * SIDE / steady.placement(images)[2, 0]  # moved in pixels of the image, seen in those of the frame, zoomed by up to e^0.1
    assert 0.9 * reach < np.abs(centres).max() < 1.15 * reach
    np.testing.assert_allclose(centres.mean(axis=0), 0, atol=0.15)
    sizes = first.sum(axis=(0, 1, 2)) / steady.forward(images, training=False).sum(axis=(0, 1, 2))  # the area grows by 1 / (a b)
    assert 1.1 < sizes.max() < np.exp(0.2) * 1.02 and 0.98 * np.exp(-0.2) < sizes.min() < 0.9


def test_a_net_with_a_frame_learns_behind_it_alone_and_says_what_is_wrong() -> None:
    model = build_model(reference("contest", filters=4, frame="box"), (1, SIDE, SIDE), 10, default_rng(0))
    assert [layer.kind for layer in model.layers[:2]] == ["moment_normalization", "convolution"]
    assert not model.layers[1].needs_input_gradient
    with pytest.raises(InputError, match=r"model\.frame: must be one of none, similar, box, width, turned, got 'boks'"):
        build_model(reference("contest", frame="boks"), (1, SIDE, SIDE), 10, default_rng(0))
    late = Sequential([Convolution(2, 3), MomentNormalization("box"), Flatten(), Dense(3)])
    with pytest.raises(InputError, match='moment_normalization "frame1": must stand before all layers that learn'):
        late.build((1, 9, 9), default_rng(0))
    with pytest.raises(InputError, match=r'moment_normalization "moment_normalization": input must be \(C, H, W\), got shape \(9,\)'):
        MomentNormalization("box").build((9,), default_rng(0))
