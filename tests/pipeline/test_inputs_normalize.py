"""Pictures of any size and polarity become what MNIST's images are; MNIST-like images stay what
they are.
"""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy.ndimage import center_of_mass

from cnn_core.errors import InputError
from pipeline.inputs import Wanted, open_input
from pipeline.inputs.normalize import as_mnist, ink_of

WANTED = Wanted(image_shape=(1, 28, 28), classes=10)


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
    faint = np.full((50, 60), 250, np.uint8)
    faint[20:30, 20:30] = 245
    assert ink_of(faint).max() == 0


def test_the_other_size_of_images() -> None:
    out = as_mnist(_seven(100, 110), (8, 8))
    assert out.shape == (8, 8) and np.flatnonzero((out > 30).any(axis=1)).size == 6


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "I;16", "LA", "1"])
def test_every_kind_of_picture(mode: str, tmp_path: Path) -> None:
    grey = _seven(90, 100)
    if mode == "I;16":
        picture = Image.fromarray(grey.astype(np.uint16) * 257)
    elif mode in ("RGBA", "LA"):  # black strokes on nothing
        picture = Image.fromarray(np.zeros_like(grey)).convert(mode)
        picture.putalpha(Image.fromarray(255 - grey))
    else:
        picture = Image.fromarray(grey).convert(mode)
    picture.save(tmp_path / "x.png")
    (block,) = open_input(tmp_path / "x.png", WANTED).blocks(10)
    assert np.abs(block.images[0, 0].astype(float) - as_mnist(grey, (28, 28))).mean() < 2


def test_a_folder_of_mixed_sizes_is_normalised_as_a_whole(tmp_path: Path) -> None:
    corner = np.zeros((28, 28), np.uint8)
    corner[2:8, 1:4] = 200
    Image.fromarray(corner).save(tmp_path / "a.png")
    (alone,) = open_input(tmp_path, WANTED).blocks(9)
    np.testing.assert_array_equal(alone.images[0, 0], corner)
    Image.fromarray(_seven(90, 100)).save(tmp_path / "b.png")
    (mixed,) = open_input(tmp_path, WANTED).blocks(9)
    np.testing.assert_allclose(
        center_of_mass(mixed.images[0, 0].astype(float)), (14, 14), atol=0.75
    )


def test_normalize_none_asks_for_the_size_and_mnist_moves_even_arrays(tmp_path: Path) -> None:
    Image.fromarray(_seven(90, 100)).save(tmp_path / "x.png")
    with pytest.raises(InputError, match=r"model's size 28x28 .* got 100x90"):
        list(open_input(tmp_path / "x.png", WANTED, "none").blocks(1))
    corner = np.zeros((2, 28, 28), np.uint8)
    corner[:, 2:8, 1:4] = 200
    np.save(tmp_path / "x.npy", corner)
    (plain,) = open_input(tmp_path / "x.npy", WANTED).blocks(9)
    np.testing.assert_array_equal(plain.images[:, 0], corner)
    (moved,) = open_input(tmp_path / "x.npy", WANTED, "mnist").blocks(9)
    np.testing.assert_allclose(
        center_of_mass(moved.images[0, 0].astype(float)), (14, 14), atol=0.75
    )
