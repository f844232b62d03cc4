"""One picture is read as it was drawn: upright, on paper, with the values of the file; what is no
picture is refused by its name, in one line and little memory.
"""

import io
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnn_core.data import image_form
from cnn_core.errors import InputError
from pipeline.inputs import Hints
from pipeline.inputs.pictures import picture_folder, pictures
from pipeline.inputs.pictures.picture_folder import PictureSource
from pipeline.inputs.pictures.pictures import (
    decode,
    looks_like_picture,
    on_paper,
    read_picture,
    stacked,
)

GREY = np.random.default_rng(0).integers(0, 256, (9, 7), dtype=np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (9, 7, 3), dtype=np.uint8)
ORIENTATION = 0x0112


def _bytes(picture: Image.Image, form: str, **options: object) -> bytes:
    content = io.BytesIO()
    picture.save(content, form, **options)
    return content.getvalue()


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "PPM", "TGA", "GIF", "SGI", "PCX"])
def test_every_lossless_form_gives_the_same_grey(form: str, tmp_path: Path) -> None:
    file = tmp_path / f"a.{form.lower()}"
    file.write_bytes(_bytes(Image.fromarray(GREY), form))
    found = read_picture(file)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found[0], GREY)
    assert len(found) == 1 or (found == found[0]).all()  # a palette of greys is a colour file
    assert looks_like_picture(file.read_bytes()[:16], file.suffix)


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "PPM", "TGA", "WEBP"])
def test_every_lossless_form_gives_the_same_colours(form: str) -> None:
    options = {"lossless": True} if form == "WEBP" else {}
    found = decode(_bytes(Image.fromarray(COLOUR), form, **options), "a")
    np.testing.assert_array_equal(found.transpose(1, 2, 0), COLOUR)


def test_a_palette_gives_its_colours_and_grey_planes_stay_three() -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 200, 210, 220])
    palette.putdata([1, 0])
    found = decode(_bytes(palette, "PNG"), "a")
    assert found[:, 0].T.tolist() == [[200, 210, 220], [10, 20, 30]]
    grey_in_colour = Image.fromarray(GREY).convert("RGB")
    assert decode(_bytes(grey_in_colour, "PNG"), "a").shape == (3, 9, 7)


def test_one_bit_and_cmyk() -> None:
    bits = Image.fromarray((GREY > 127).astype(np.uint8) * 255).convert("1")
    np.testing.assert_array_equal(decode(_bytes(bits, "PNG"), "a")[0], (GREY > 127) * 255)
    ink = Image.new("CMYK", (8, 8), (0, 255, 255, 0))  # cyan none, magenta and yellow full: red
    found = decode(_bytes(ink, "TIFF"), "a")
    assert found[:, 0, 0].tolist() == [255, 0, 0]
    photo = decode(_bytes(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"), "a")
    assert photo[0].min() > 240 and photo[1:].max() < 15


@pytest.mark.parametrize(("form", "top"), [("PNG", 4095), ("TIFF", 65535), ("PNG", 65535)])
def test_sixteen_bits_keep_their_values(form: str, top: int) -> None:
    values = np.random.default_rng(2).integers(0, top + 1, (6, 5)).astype(np.uint16)
    found = decode(_bytes(Image.fromarray(values), form), "a")
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found[0], values)


def test_other_types_of_grey_keep_their_values() -> None:
    big_endian = Image.frombytes("I;16B", (2, 1), bytes([1, 2, 255, 254]))
    found = decode(_bytes(big_endian, "TIFF"), "a")
    assert found.dtype == np.uint16 and found.tolist() == [[[0x0102, 0xFFFE]]]
    whole = Image.fromarray(np.array([[0, 70000], [5, 6]], np.int32))
    assert decode(_bytes(whole, "TIFF"), "a").tolist() == [[[0, 70000], [5, 6]]]
    fractions = np.array([[0.25, 1.5], [3.0, -2.0]], np.float32)
    found = decode(_bytes(Image.fromarray(fractions), "TIFF"), "a")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found[0], fractions)


# What each EXIF orientation asks a reader to do, by the standard's table.
TURNS = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.T,
    6: lambda x: np.rot90(x, -1),
    7: lambda x: np.rot90(x, 2).T,
    8: lambda x: np.rot90(x, 1),
}


@pytest.mark.parametrize("turn", sorted(TURNS))
@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_a_picture_stands_upright(form: str, turn: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = turn
    y, x = np.mgrid[0:16, 0:24]
    drawn = (8 * y + 2 * x).astype(np.uint8)  # smooth: JPEG changes it little
    options = {"lossless": True} if form == "WEBP" else {"quality": 100} if form == "JPEG" else {}
    found = decode(_bytes(Image.fromarray(drawn), form, exif=exif, **options), "a")
    expected = TURNS[turn](drawn)
    assert found.shape[1:] == expected.shape
    assert np.abs(found[0].astype(int) - expected).max() <= (3 if form == "JPEG" else 0)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "PA"])
def test_dark_strokes_on_nothing_lie_on_white_and_light_ones_on_black(mode: str) -> None:
    mask = np.zeros((9, 7), np.uint8)
    mask[2:5, 1:6] = 255
    for ink, paper in ((0, 255), (255, 0)):
        strokes = Image.fromarray(np.full_like(GREY, ink))
        picture = strokes.convert("RGBA" if mode in ("RGBA", "P", "PA") else "LA")
        picture.putalpha(Image.fromarray(mask))
        if mode in ("P", "PA"):
            picture = picture.quantize(4)
        found = decode(_bytes(picture, "PNG"), "a")
        expected = np.where(mask == 255, ink, paper)
        assert len(found) == (1 if mode == "LA" else 3)
        np.testing.assert_array_equal(found, np.broadcast_to(expected, found.shape))


def test_a_colour_that_counts_as_transparent() -> None:
    drawn = np.where(GREY > 127, 0, 90).astype(np.uint8)  # 90 stands for nothing
    found = decode(_bytes(Image.fromarray(drawn), "PNG", transparency=90), "a")
    np.testing.assert_array_equal(found[0], np.where(GREY > 127, 0, 255))
    assert len(found) == 1


def test_half_transparent_pixels_are_mixed_and_opaque_ones_kept() -> None:
    rgba = np.zeros((4, 1, 3), np.uint8)
    rgba[3] = [[0, 102, 255]]  # none, 40 %, all of black ink on white
    assert on_paper(rgba)[0].tolist() == [[255, 153, 0]]
    opaque = np.concatenate([COLOUR.transpose(2, 0, 1), np.full((1, 9, 7), 255, np.uint8)])
    np.testing.assert_array_equal(on_paper(opaque), COLOUR.transpose(2, 0, 1))
    with pytest.raises(InputError, match="transparency must be bytes from 0 to 255, got float64"):
        on_paper(rgba / 255)


@pytest.mark.parametrize("form", ["GIF", "TIFF", "PNG", "WEBP"])
def test_films_and_documents_are_refused(form: str) -> None:
    other = Image.fromarray(255 - GREY)
    content = _bytes(Image.fromarray(GREY), form, save_all=True, append_images=[other])
    with pytest.raises(InputError, match=rf"got a {form} of several frames or pages in a\.x"):
        decode(content, "a.x")


def test_a_phones_two_views_are_one_picture() -> None:
    first, second = Image.fromarray(COLOUR), Image.fromarray(COLOUR[::-1])
    content = _bytes(first, "MPO", save_all=True, append_images=[second], quality=100)
    found = decode(content, "a").transpose(1, 2, 0)
    alone = np.asarray(Image.open(io.BytesIO(_bytes(first, "JPEG", quality=100))))
    np.testing.assert_array_equal(found, alone)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "must not be empty, got 0 bytes"),
        (b"GIF89a not a picture", "a picture must be"),
        (b"%PDF-1.4 ...", "got a PDF document"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "got a PostScript program"),
        (b"PK\x03\x04....", "got a zip archive"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "got a text of tags, such as HTML or SVG"),
        (b"id,label\n1,2\n", "got text"),
        (b"\x00\x01\x02\x03\xff" * 9, "got something else"),
    ],
)
def test_what_is_no_picture_is_called_by_its_name(content: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        decode(content, "folder/x.png")
    assert "\n" not in str(caught.value) and "folder/x.png" in str(caught.value)


def test_broken_pictures_and_bombs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 60), dtype=np.uint8)
    whole = _bytes(Image.fromarray(noise), "PNG")
    for cut in (20, 40, 300, len(whole) - 500):
        with pytest.raises(InputError, match="a picture must be"):
            decode(whole[:cut], "cut.png")
    bomb = _bytes(Image.new("1", (9000, 9000)), "PNG")  # 81 million pixels in 10 KB
    tracemalloc.start()
    with pytest.raises(InputError, match=r"at most 16,000,000 pixels, got 9000x9000 in big\.png"):
        decode(bomb, "big.png")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10e6
    monkeypatch.setattr(pictures, "MAX_FILE_BYTES", 100)
    (tmp_path / "large.png").write_bytes(whole)
    with pytest.raises(InputError, match=r"at most 100 bytes, got [0-9,]+ in .*large\.png"):
        read_picture(tmp_path / "large.png")
    with pytest.raises(InputError, match=r"readable file, got No such file .*none\.png"):
        read_picture(tmp_path / "none.png")


def test_a_jpeg_beyond_the_limit_is_reduced_while_it_is_decoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = np.linspace(0, 255, 200).astype(np.uint8)
    photo = _bytes(Image.fromarray(np.repeat(rows[:, None], 300, 1)), "JPEG", quality=95)
    whole = decode(photo, "a")
    monkeypatch.setattr(image_form, "MAX_PIXELS", 200 * 300)
    np.testing.assert_array_equal(decode(photo, "a"), whole)
    for most, shape in ((59_999, (1, 100, 150)), (15_000, (1, 100, 150)), (1000, (1, 25, 38))):
        monkeypatch.setattr(image_form, "MAX_PIXELS", most)
        reduced = decode(photo, "a")
        assert reduced.shape == shape
        np.testing.assert_allclose(reduced[0].mean(axis=1), rows[:: 200 // shape[1]], atol=8)
    monkeypatch.setattr(image_form, "MAX_PIXELS", 900)
    with pytest.raises(InputError, match=r"at most 900 pixels, got 300x200 in a"):
        decode(photo, "a")
    monkeypatch.setattr(image_form, "MAX_PIXELS", 10**6)
    monkeypatch.setattr(image_form, "MAX_SIDE", 299)
    with pytest.raises(InputError, match=r"sides may have at most 299 pixels, got 300x200 in a"):
        decode(_bytes(Image.new("L", (300, 200)), "PNG"), "a")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "L", "I;16", "F"])
def test_strips_give_what_the_whole_gives(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    bands = Image.getmodebands(mode)
    dtype = {"I;16": np.uint16, "F": np.float32}.get(mode, np.uint8)
    values = rng.integers(0, 250, (23, 17, bands)).astype(dtype)
    picture = Image.fromarray(values.squeeze(2) if bands == 1 else values)
    content = _bytes(picture, "TIFF" if mode == "F" else "PNG")
    whole = decode(content, "a")
    monkeypatch.setattr(pictures, "_STRIP_BYTES", 5 * 4 * 17)
    np.testing.assert_array_equal(decode(content, "a"), whole)
    if "A" not in mode:
        np.testing.assert_array_equal(whole, values.transpose(2, 0, 1))


def test_many_large_pictures_are_not_held_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for k in range(5):
        Image.new("L", (40, 50), k).save(tmp_path / f"{k}.png")
    source = PictureSource(tmp_path, Hints())
    assert [len(block.ids) for block in source.blocks(4)] == [4, 1]
    monkeypatch.setattr(picture_folder, "_BLOCK_BYTES", 3000)
    blocks = list(source.blocks(4))
    assert [block.ids for block in blocks] == [("0.png", "1.png"), ("2.png", "3.png"), ("4.png",)]
    assert [int(p.max()) for block in blocks for p in block.pictures] == [0, 1, 2, 3, 4]


def test_the_largest_picture_takes_less_than_200_megabytes() -> None:
    """NumPy's arrays are traced, Pillow's own 64 MB of such a picture are not."""
    content = _bytes(Image.new("RGB", (4000, 4000), (9, 8, 7)), "PNG", compress_level=1)
    form = image_form.ImageForm(channels=1, height=8, width=8)
    tracemalloc.start()
    assert form.apply(decode(content, "a")).tolist() == np.full((1, 8, 8), 8).tolist()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 136e6


def test_pictures_of_one_size_and_type_are_stacked() -> None:
    a, b = np.zeros((1, 2, 3), np.uint8), np.ones((1, 2, 3), np.uint8)
    together = stacked([a, b])
    assert isinstance(together, np.ndarray) and together.shape == (2, 1, 2, 3)
    assert isinstance(stacked([a, np.zeros((1, 3, 2), np.uint8)]), list)
    assert isinstance(stacked([a, a.astype(np.uint16)]), list)
    assert isinstance(stacked([np.zeros((0, 0, 0), np.uint8)] * 2), list), "damaged ones"


def test_no_format_is_opened_that_runs_a_program_or_hands_on_to_another_library() -> None:
    programs = {"EPS", "PDF", "WMF"}
    handed_on = {"BUFR", "GRIB", "HDF5", "MPEG"}
    of_no_use = {"IPTC", "MCIDAS", "XVTHUMB"}
    assert not (programs | handed_on | of_no_use) & {*pictures._formats()}
    assert {"PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM"} <= {*pictures._formats()}
