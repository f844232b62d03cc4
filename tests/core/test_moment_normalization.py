"""Moment normalisation against SciPy's resampling, moments by hand, and what it must undo."""

from typing import Any

import numpy as np
import pytest
from numpy.random import default_rng
from numpy.typing import NDArray
from scipy import ndimage

from cnn_core.architectures import build_model, reference
from cnn_core.errors import InputError
from cnn_core.layers import Convolution, Dense, Flatten, MomentNormalization
from cnn_core.layers.moment_normalization import HEIGHT, NARROW, WIDTH
from cnn_core.model import Sequential

Image = NDArray[np.float64]
SQUARE = (28, 28)


def from_the_middle(shape: tuple[int, int]) -> Image:
    return np.mgrid[: shape[0], : shape[1]] - (np.array(shape).reshape(2, 1, 1) - 1) / 2


def figure(
    height: float = 8.0,
    width: float = 5.0,
    cy: float = 0.0,
    cx: float = 0.0,
    slant: float = 0.0,
    shape: tuple[int, int] = SQUARE,
) -> Image:
    """Return a disc with soft edges, its half axes in pixels, around (cy, cx) from the middle,
    leaning by `slant`.
    """
    y, x = from_the_middle(shape)
    y, x = y - cy, x - cx
    return 1 / (
        1 + np.exp(np.minimum(8 * (np.hypot(y / height, (x - slant * y) / width) - 1), 500))
    )


def built(frame: str, shape: tuple[int, int] = SQUARE, jitter: float = 0.0) -> MomentNormalization:
    layer = MomentNormalization(frame, jitter)
    layer.build((1, *shape), default_rng(0), np.float64)
    return layer


def normalized(image: Image, frame: str) -> Image:
    return (
        built(frame, image.shape)
        .forward(image[None, :, :, None], training=False)[0, :, :, 0]
        .copy()
    )


def placement(image: Image, frame: str) -> NDArray[np.float64]:
    return built(frame, image.shape).placement(image[None, :, :, None])[:, 0]


@pytest.mark.parametrize("frame", MomentNormalization.FRAMES)
@pytest.mark.parametrize(
    "about",
    [
        {"height": 9.0, "width": 6.0, "cy": 1.5, "cx": -2.0, "slant": 0.3},
        {"height": 6.0, "width": 4.0, "cx": 2.0, "slant": -0.4, "shape": (24, 33)},  # not square
        {"height": 5.0, "width": 2.0, "slant": 1.5},  # leans more than is taken out
        {"height": 1.2, "width": 1.2, "cy": 5.0},  # enlarged no further than the bound
        {"height": 40.0, "width": 30.0},  # reduced no further than the bound
    ],
)
def test_it_reads_where_the_moments_say_as_scipy_does(frame: str, about: dict[str, Any]) -> None:
    """The docstring's formula, moments summed pixel by pixel, the reading by scipy.ndimage."""
    image = figure(**about)
    image *= default_rng(1).uniform(0.5, 1, image.shape)
    ink = ndimage.uniform_filter(image, 3, mode="constant") ** 3
    y, x = from_the_middle(image.shape)
    mass = ink.sum()
    cy, cx = (ink * y).sum() / mass, (ink * x).sum() / mass
    vyy, vyx, vxx = (
        (ink * p).sum() / mass for p in ((y - cy) ** 2, (y - cy) * (x - cx), (x - cx) ** 2)
    )
    k = 0.0 if frame == "width" else np.clip(vyx / vyy, -1, 1)
    vxx += -2 * k * vyx + k * k * vyy
    tall, wide = image.shape[0] * HEIGHT, image.shape[1] * (NARROW if frame == "width" else WIDTH)
    a, b = np.sqrt(vyy) / tall, np.sqrt(vxx) / wide
    if frame == "similar":
        a = b = np.sqrt((vyy + vxx) / (tall**2 + wide**2))
    a, b = np.clip([a, b], 0.5, 1.6)
    source = (
        np.array([cy + a * y, cx + k * a * y + b * x])
        + (np.array(image.shape).reshape(2, 1, 1) - 1) / 2
    )
    expected = ndimage.map_coordinates(image, source, order=1, mode="grid-constant")
    np.testing.assert_allclose(
        normalized(image, frame), expected, atol=3e-5
    )  # TINY moves the smallest by that much


def test_place_size_slant_and_proportions_are_undone() -> None:
    """Figures that differ by what a frame takes out look alike behind it; by what it leaves, they
    do not.
    """
    base = figure()
    shifted, leaning, larger, wider = (
        figure(cy=2, cx=-3),
        figure(slant=0.35),
        figure(9.6, 6.0),
        figure(width=7.0),
    )
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


def test_dirt_and_noise_hardly_move_it() -> None:
    """Specks on 3 % of the pixels move the centre by less than a third of a pixel, a plain centre
    of ink by more than half a pixel.
    """
    image, rng = figure(8.0, 5.0, 3.0, 3.0), default_rng(2)
    dirty = np.where(rng.random(image.shape) < 0.03, 1.0, image) + np.abs(
        rng.normal(0, 0.04, image.shape)
    )
    clean, moved = placement(image, "box"), placement(dirty, "box")
    assert np.abs(moved[:2] - clean[:2]).max() < 1 / 3
    plain = [np.array(ndimage.center_of_mass(i)) for i in (image, dirty)]
    assert np.abs(plain[1] - plain[0]).max() > 0.5


@pytest.mark.parametrize("frame", MomentNormalization.FRAMES)
def test_empty_full_and_tiny_figures_stay_finite_and_bounded(frame: str) -> None:
    dot = np.zeros(SQUARE)
    dot[3, 20] = 1.0
    for image in (np.zeros(SQUARE), np.ones(SQUARE), dot, np.eye(28)):
        assert np.isfinite(normalized(image, frame)).all()
        _, _, a, b, lean = placement(image, frame)
        assert 0.5 <= a <= 1.6 and 0.5 <= b <= 1.6 and -1 <= lean <= 1
    assert not normalized(np.zeros(SQUARE), frame).any()


class _Drawn:
    """A generator whose draws are given: a row each for y, x, height, width and slant."""

    def uniform(self, low: float, high: float, shape: tuple[int, ...]) -> NDArray[np.float64]:
        assert (low, high, shape) == (-1, 1, (5, 2))
        return np.array([[1.0, -0.5], [-1.0, 0.25], [0.5, 0.0], [-0.5, 1.0], [1.0, -0.2]])


def test_jitter_by_hand() -> None:
    """Of 30 rows and 20 columns: 0.1 of the side is 3 rows, 2 columns; zooms by e^(0.2 u), the
    slant by 0.2 u.
    """
    layer = built("box", (30, 20), jitter=0.1)
    layer.reseed(_Drawn())  # type: ignore[arg-type]
    before = np.array([[1.0, 2.0], [3.0, 4.0], [1.0, 1.5], [0.8, 1.0], [0.5, 0.0]])
    e = np.exp
    expected = [
        [1 + 3, 2 - 1.5],
        [3 - 2, 4 + 0.5],
        [e(0.1), 1.5],
        [0.8 * e(-0.1), e(0.2)],
        [0.5 + 0.2, -0.04],
    ]
    np.testing.assert_allclose(layer.jittered(before), expected, atol=1e-12)


def test_jitter_moves_training_alone_and_repeats_with_its_stream() -> None:
    images = np.repeat(figure()[None, :, :, None], 50, axis=3)
    layer, steady = built("similar", jitter=0.05), built("similar")
    layer.reseed(default_rng(3))
    first = layer.forward(images, training=True).copy()
    layer.reseed(default_rng(3))
    np.testing.assert_array_equal(layer.forward(images, training=True), first)
    assert np.abs(layer.forward(images, training=True) - first).max() > 0.1
    assert (
        np.abs(first[..., :1] - first[..., 1:]).max(axis=(0, 1, 2)).min() > 0.01
    )  # each image's own
    np.testing.assert_array_equal(
        layer.forward(images, training=False), steady.forward(images, training=True)
    )


def test_beside_keeps_the_images_as_they_are_before_the_framed_ones() -> None:
    images = default_rng(4).random((2, 12, 9, 5))
    framed, beside = MomentNormalization("box"), MomentNormalization("box", beside=True)
    assert framed.build((2, 12, 9), default_rng(0), np.float64) == (2, 12, 9)
    assert beside.build((2, 12, 9), default_rng(0), np.float64) == (4, 12, 9)
    both = beside.forward(images, training=False)
    np.testing.assert_array_equal(both[:2], images)
    np.testing.assert_array_equal(both[2:], framed.forward(images, training=False))


def test_beside_trains_with_the_images_unmoved_and_the_frame_varied() -> None:
    images = np.repeat(figure()[None, :, :, None], 20, axis=3)
    framed, beside = built("box", jitter=0.1), MomentNormalization("box", 0.1, beside=True)
    beside.build((1, *SQUARE), default_rng(0), np.float64)
    for layer in (framed, beside):
        layer.reseed(default_rng(5))
    beside.forward(1 - images, training=True)  # nothing of an earlier batch may be left
    beside.reseed(default_rng(5))
    both = beside.forward(images, training=True)
    np.testing.assert_array_equal(both[:1], images)
    np.testing.assert_array_equal(both[1:], framed.forward(images, training=True))


def test_a_net_with_a_frame_learns_behind_it_alone_and_says_what_is_wrong() -> None:
    model = build_model(
        reference("contest", filters=4, frame="box", frame_jitter=0.1),
        (1, *SQUARE),
        10,
        default_rng(0),
    )
    first, second = model.layers[:2]
    assert isinstance(first, MomentNormalization) and (first.frame, first.jitter) == ("box", 0.1)
    assert second.kind == "convolution" and not second.needs_input_gradient
    assert "input + frame1 (box)" in model.summary()
    both = build_model(
        reference("contest", filters=4, frame="box", frame_beside=True),
        (1, *SQUARE),
        10,
        default_rng(0),
    )
    assert both.params["conv1.W"].shape == (4, 2, 5, 5)
    assert "\nframe1 (box beside the image)" in both.summary()
    for changes, message in (
        ({"frame": "boks"}, r"model\.frame: must be one of none, similar, box, width, got 'boks'"),
        (
            {"frame_jitter": 0.7},
            r"model\.frame_jitter: must be at least 0 and less than 0\.5, got 0\.7",
        ),
    ):
        with pytest.raises(InputError, match=message):
            build_model(reference("contest", **changes), (1, *SQUARE), 10, default_rng(0))
    late = Sequential([Convolution(2, 3), MomentNormalization("box"), Flatten(), Dense(3)])
    with pytest.raises(
        InputError,
        match=r'moment_normalization "frame1": must stand before all layers that learn.*'
        r'got it behind "conv1"',
    ):
        late.build((1, 9, 9), default_rng(0))
    with pytest.raises(
        InputError,
        match=r'moment_normalization "moment_normalization": input must be \(C, H, W\), '
        r"got shape \(9,\)",
    ):
        MomentNormalization("box").build((9,), default_rng(0))
