"""Pictures of any size, range and polarity become what the training's were; pictures that are so
already stay what they are.
"""

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy.ndimage import center_of_mass

from cnn_core.data.figures import as_mnist, fill_box, ink_of
from cnn_core.data.image_form import ImageForm, as_bytes, full_scale_of
from cnn_core.data.resampling_weights import resized
from cnn_core.errors import InputError


def _seven(
    width: int,
    height: int,
    ink: int = 0,
    paper: int = 255,
    at: tuple[int, int] = (0, 0),
    zoom: float = 1.0,
) -> np.ndarray:
    picture = Image.new("L", (width, height), paper)
    points = [(at[0] + zoom * x, at[1] + zoom * y) for x, y in ((10, 10), (70, 10), (35, 90))]
    ImageDraw.Draw(picture).line(points, fill=ink, width=round(12 * zoom))
    return np.asarray(picture)


def test_the_digit_fits_the_box_and_its_mass_is_centred() -> None:
    out = as_mnist(_seven(400, 300, at=(250, 40)), (28, 28))
    rows, columns = np.flatnonzero((out > 20).any(axis=1)), np.flatnonzero((out > 20).any(axis=0))
    assert rows.size == 20 and columns.size < 20
    mass = center_of_mass(out.astype(float))
    np.testing.assert_allclose(mass, (14, 14), atol=0.75)
    assert out.max() == 255 and out[0].max() == 0


def test_polarity_size_and_place_do_not_matter() -> None:
    reference = as_mnist(_seven(100, 110), (28, 28)).astype(float)
    for other in (
        _seven(100, 110, ink=255, paper=0),
        _seven(300, 400, at=(100, 200)),
        _seven(300, 330, zoom=3.0),
        _seven(100, 110, ink=60, paper=190),
    ):
        difference = np.abs(as_mnist(other, (28, 28)) - reference).mean()
        assert difference < 4, difference


def test_a_wide_dash_keeps_its_shape() -> None:
    x = np.full((50, 200), 255, np.uint8)
    x[20:30, 30:170] = 0
    out = as_mnist(x, (28, 28))
    rows, columns = np.flatnonzero((out > 100).any(axis=1)), np.flatnonzero((out > 100).any(axis=0))
    assert columns.size == 20 and rows.size in (1, 2)


def test_blank_pictures_are_black() -> None:
    for grey in (0, 128, 255):
        assert as_mnist(np.full((50, 60), grey, np.uint8), (28, 28)).max() == 0
        assert fill_box(np.full((50, 60), grey, np.uint8), (8, 8)).max() == 0
    faint = np.full((50, 60), 250, np.uint8)
    faint[20:30, 20:30] = 245
    assert ink_of(faint).max() == 0


def test_the_other_size_of_images() -> None:
    out = as_mnist(_seven(100, 110), (8, 8))
    assert out.shape == (8, 8) and np.flatnonzero((out > 30).any(axis=1)).size == 6


def test_a_figure_fills_the_height_and_counts_the_ink_of_blocks() -> None:
    drawn = np.zeros((64, 64), np.uint8)
    drawn[10:42, 20:36] = 255  # 32 x 16, so 8 x 4 blocks of 4 x 4
    expected = np.zeros((8, 8), np.uint8)
    expected[:, 2:6] = 255
    np.testing.assert_array_equal(fill_box(drawn, (8, 8)), expected)
    np.testing.assert_array_equal(fill_box(255 - drawn, (8, 8)), expected)
    drawn[12:14, 20:24] = 0  # half a block, inside the figure
    assert fill_box(drawn, (8, 8))[0, 2] == 128


@pytest.mark.parametrize("size", [(28, 28), (15, 40), (64, 64), (90, 31)])
def test_resampling_is_pillows_lanczos(size: tuple[int, int]) -> None:
    y, x = np.mgrid[0:48, 0:60]
    waves = 127 + 60 * np.sin(x / 7) + 50 * np.cos(y / 6 + x / 11)
    plane = np.rint(waves).astype(np.uint8)
    planes = np.stack([plane, plane[::-1]])
    for mine, source in zip(resized(planes, size), planes, strict=True):
        theirs = Image.fromarray(source).resize(size[::-1], Image.Resampling.LANCZOS)
        assert np.abs(mine.astype(int) - np.asarray(theirs).astype(int)).max() <= 2


def test_pictures_of_the_size_asked_for_are_not_touched() -> None:
    planes = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    assert resized(planes, (3, 4)) is planes


@pytest.mark.parametrize("width", [28, 40, 97])
def test_an_edge_rings_as_pillows_lanczos_does(width: int) -> None:
    edge = np.full((20, 60), 60, np.uint8)
    edge[:, 31:] = 190
    theirs = Image.fromarray(edge).resize((width, 20), Image.Resampling.LANCZOS)
    ours = resized(edge[None], (20, width))[0].astype(int)
    assert np.abs(ours - np.asarray(theirs)).max() <= 1
    assert ours.max() > 195  # beyond both sides


def test_colours_become_pillows_grey_to_the_bit() -> None:
    colours = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    form = ImageForm(channels=1, height=200, width=300)
    expected = np.asarray(Image.fromarray(colours).convert("L"))
    np.testing.assert_array_equal(form.apply(colours.transpose(2, 0, 1))[0], expected)


def test_grey_becomes_three_equal_planes() -> None:
    grey = np.arange(12, dtype=np.uint8).reshape(1, 3, 4)
    found = ImageForm(channels=3, height=3, width=4).apply(grey)
    np.testing.assert_array_equal(found, np.repeat(grey, 3, axis=0))
    with pytest.raises(InputError, match=r"must be colour as in training, got 4 channels in a.png"):
        ImageForm(channels=3, height=3, width=4).apply(np.zeros((4, 3, 4), np.uint8), "a.png")


def test_values_of_another_range_are_scaled_and_rounded() -> None:
    twelve_bits = np.array([[0, 8, 9, 2048, 4095]], np.uint16)
    # 255 / 4095 = 0.06227: 8 -> 0.498, 9 -> 0.560, 2048 -> 127.53
    assert as_bytes(twelve_bits, 4095).tolist() == [[0, 0, 1, 128, 255]]
    assert as_bytes(np.array([0.0, 0.1, 0.5, 1.0], np.float32), 1).tolist() == [0, 26, 128, 255]
    assert as_bytes(np.array([False, True]), 1).tolist() == [0, 255]
    digits = as_bytes(np.array([0, 7, 16], np.uint8), 16)
    assert digits.tolist() == [0, 112, 255] and digits.dtype == np.uint8
    plain = np.arange(256, dtype=np.uint8)
    assert as_bytes(plain, 255) is plain


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([0.5, -0.25]), "from 0 to 1, got -0.25 in x.png"),
        (np.array([0.5, 1.5]), "from 0 to 1, got 1.5"),
        (np.array([0.5, np.nan]), "from 0 to 1, got nan"),
        (np.array([3, 2], np.uint8), "from 0 to 1, got 3"),
        (np.array(["a"]), "pixels must be numbers, got <U1"),
    ],
)
def test_values_out_of_range_are_refused(values: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        as_bytes(values, 1, "x.png")


def test_the_full_scale_is_the_next_usual_one() -> None:
    found = [full_scale_of(value) for value in (0.7, 1, 16, 17, 254, 255, 256, 1000, 4095, 65535)]
    assert found == [1, 1, 16, 255, 255, 255, 1023, 1023, 4095, 65535]
    assert full_scale_of(70000) == 70000


def test_a_form_inverts_refuses_other_sizes_and_keeps_its_own() -> None:
    dark = np.full((1, 2, 3), 200, np.uint8)
    form = ImageForm(channels=1, height=2, width=3, invert=True, other_sizes="refuse")
    assert (form.apply(dark) == 55).all()
    with pytest.raises(InputError, match=r"must have the size 2x3, got 4x3 in b.png"):
        form.apply(np.zeros((1, 4, 3), np.uint8), "b.png")
    together = form.apply_all(np.stack([dark, dark]))
    assert together.shape == (2, 1, 2, 3) and (together == 55).all()
    assert form.apply_all([]).shape == (0, 1, 2, 3)


def test_other_sizes_are_brought_into_mnists_form_or_stretched() -> None:
    seven = _seven(90, 100)
    mnist = ImageForm(channels=1, height=28, width=28, other_sizes="mnist").apply(seven[None])
    np.testing.assert_allclose(center_of_mass(mnist[0].astype(float)), (14, 14), atol=0.75)
    stretched = ImageForm(channels=1, height=28, width=28).apply(seven[None])
    assert stretched[0, 0, 0] == 255  # paper stays paper
    corner = np.zeros((1, 28, 28), np.uint8)
    corner[0, 2:8, 1:4] = 200
    unmoved = ImageForm(channels=1, height=28, width=28, other_sizes="mnist").apply(corner)
    np.testing.assert_array_equal(unmoved, corner)
    moved = ImageForm(channels=1, height=28, width=28, normalize="mnist").apply(corner)
    np.testing.assert_allclose(center_of_mass(moved[0].astype(float)), (14, 14), atol=0.75)


def test_a_form_says_itself_in_words() -> None:
    form = ImageForm(
        channels=3, height=32, width=24, full_scale=4095, invert=True, normalize="mnist"
    )
    assert form.lines() == (
        "32x24, colour, values 0 to 4095, inverted to light on dark, "
        "centred and scaled as MNIST was"
    )


@pytest.mark.parametrize("largest", [1e-30, 0.001, np.nextafter(0.25, 1), np.nextafter(0.5, 0)])
def test_dark_fractions_become_visible(largest: float) -> None:
    scale = full_scale_of(largest)
    assert largest <= scale < 2 * largest and np.frexp(scale)[0] == 0.5  # a power of two
    assert as_bytes(np.array([largest]), scale)[0] >= 127
    assert [full_scale_of(value) for value in (0, 0.25, 0.5, 1)] == [1, 0.25, 1, 1]
