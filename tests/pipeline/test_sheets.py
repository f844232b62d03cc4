"""Contact sheets: every image in its place, enlarged, with its caption."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.picture_sheet import sheet_png
from pipeline.showing.sheets import framed, write_augment_sheet


def _pixels(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as picture:
        return np.asarray(picture)


def test_images_stand_in_rows_enlarged() -> None:
    images = (np.arange(3, dtype=np.uint8) * 100)[:, None, None, None] * np.ones(
        (1, 1, 4, 5), np.uint8
    )
    sheet = _pixels(sheet_png(images, columns=2, zoom=3))
    assert sheet.shape == (2 * (12 + 2) + 2, 2 * (15 + 2) + 2, 3)
    assert (
        (sheet[2:14, 2:17] == 0).all()
        and (sheet[2:14, 19:34] == 100).all()
        and (sheet[16:28, 2:17] == 200).all()
    )


def test_colour_captions_and_other_channels() -> None:
    images = np.zeros((1, 3, 8, 8), np.uint8)
    images[:, 1] = 250
    sheet = _pixels(sheet_png(images, captions=["3 as 5"]))
    assert (sheet[3, 3] == (0, 250, 0)).all() and sheet.shape[0] == 2 + 16 + 11 + 2
    two = np.stack([np.full((8, 8), 100, np.uint8), np.full((8, 8), 201, np.uint8)])
    assert (
        _pixels(sheet_png(two[None]))[3, 3] == 150
    ).all()  # other numbers of channels: their mean


def test_an_augmentation_sheet_begins_each_row_with_the_image_itself(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 1, 8, 8), dtype=np.uint8)
    path = write_augment_sheet(tmp_path / "sheet.png", images, {"noise": 0.2}, variants=3)
    sheet = _pixels(path.read_bytes())
    assert sheet.shape[:2] == (2 * 18 + 2, 4 * 18 + 2)
    np.testing.assert_array_equal(sheet[2:18:2, 2:18:2, 0], images[0, 0])
    assert (sheet[2:18:2, 20:36:2, 0] != images[0, 0]).mean() > 0.5


def test_a_frame_shows_the_copies_as_its_net_sees_them(tmp_path: Path) -> None:
    """A block in a corner comes to the middle in the copy, which nothing else changes, and stays in
    the image itself.
    """
    images = np.zeros((1, 1, 28, 28), np.uint8)
    images[0, 0, 1:10, 2:8] = 255
    np.testing.assert_array_equal(framed(images, "none"), images)
    sheet = _pixels(
        write_augment_sheet(
            tmp_path / "sheet.png", images, {}, variants=1, frame="box"
        ).read_bytes()
    )[2::2, 2::2, 0]
    np.testing.assert_array_equal(sheet[:28, :28], images[0, 0])
    copy = sheet[:28, 29:57].astype(float)
    np.testing.assert_array_equal(copy, framed(images, "box")[0, 0])
    rows, columns = np.mgrid[:28, :28]
    centre = [float((copy * axis).sum() / copy.sum()) for axis in (rows, columns)]
    np.testing.assert_allclose(centre, 13.5, atol=0.1)
    assert not framed(images, "similar")[0, 0, 1:4, 2:5].any()
