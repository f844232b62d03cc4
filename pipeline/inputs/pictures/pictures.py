"""One picture, decoded by Pillow: upright, on paper, with the values of the file."""

import io
import os
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import DTypeLike, NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from cnn_core.data.checks import open_regular
from cnn_core.data.image_form import check_pixels, fits_limits
from cnn_core.errors import InputError

MAX_FILE_BYTES = 200_000_000
_STRIP_BYTES = 4 << 20  # of rows that are turned into planes at once
# Containers that run other programs, that only hand on to other libraries, or that hold films.
_LEFT_OUT = {"EPS", "PDF", "WMF", "BUFR", "GRIB", "HDF5", "MPEG", "IPTC", "MCIDAS", "XVTHUMB"}
_COMMON = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"GIF8", b"II*\0", b"MM\0*")
# Several frames that are one picture: a phone's second view, a drawing's layers, an icon's sizes.
_ONE_PICTURE = ("MPO", "PSD", "ICO", "ICNS", "CUR")
_LUMA = (0.299, 0.587, 0.114)  # of red, green and blue: ITU-R BT.601
_OTHERS = (
    (b"%PDF", "a PDF document"),
    (b"%!PS", "a PostScript program"),
    (b"PK", "a zip archive"),
    (b"\x1f\x8b", "a gzip file"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"<", "a text of tags, such as HTML or SVG"),
)


@cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in Image.OPEN if name not in _LEFT_OUT)


def looks_like_picture(start: bytes, suffix: str) -> bool:
    """Return whether Pillow would try to read a file that begins so; formats without a signature
    are told by their ending.
    """
    if start.startswith(_COMMON) or (start[:4] == b"RIFF" and start[8:12] == b"WEBP"):
        return True
    by_ending = _formats() and Image.EXTENSION.get(suffix.lower())
    for name in _formats():
        accept = Image.OPEN[name][1]
        try:
            answer = accept(start[:16]) if accept else name == by_ending
        except Exception:  # a test that fails on short bytes says no
            continue
        if answer and not isinstance(answer, str):  # text: why it is not supported here
            return True
    return False


def read_picture(path: Path) -> NDArray[Any]:
    """Return the picture of a file, as `decode` does."""
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_FILE_BYTES:
                raise InputError(
                    f"a picture must be a file of at most {MAX_FILE_BYTES:,} bytes, got {size:,} "
                    f"in {path}"
                )
            return decode(file, str(path))
    except OSError as error:
        raise InputError(
            f"a picture must be a readable file, got {error.strerror or error} in {path}"
        ) from None


def decode(content: bytes | BinaryIO, where: str) -> NDArray[Any]:
    """Return (C, H, W): one plane of grey, or three of colour; uint8, uint16 for 16-bit grey, or
    float32. It is turned as its EXIF orientation says, and transparency is laid on paper.

    A JPEG of too many pixels is reduced by 2, 4 or 8 while it is decoded. Raises InputError for
    what is not a picture, truncated, too large, or a film of several frames.
    """
    file = io.BytesIO(content) if isinstance(content, bytes) else content
    start = file.read(64)
    if not start:
        raise InputError(f"a picture must not be empty, got 0 bytes in {where}")
    file.seek(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a reduced JPEG may be what Pillow calls a bomb
            with Image.open(file, formats=_formats()) as picture:
                _reduce(picture)
                _check(picture, where)
                # What an icon holds within may have another size than it says.
                warnings.simplefilter("error", Image.DecompressionBombWarning)
                picture.load()
                _check(picture, where)
                ImageOps.exif_transpose(picture, in_place=True)
                return _planes(picture)
    except InputError:
        raise
    except UnidentifiedImageError:
        raise InputError(
            f"a picture must be one that Pillow reads, such as PNG or JPEG, got "
            f"{_name_of(start)} in {where}"
        ) from None
    except Exception as error:  # the decoders of forty formats raise anything
        reason = str(error).partition("\n")[0][:120] or type(error).__name__
        raise InputError(f"a picture must be whole and readable, got {reason} in {where}") from None


def _reduce(picture: Image.Image) -> None:
    """Have a JPEG decoded at a half, a quarter or an eighth of its sides where it is too large."""
    width, height = picture.size
    enough = (by for by in (1, 2, 4, 8) if fits_limits(-(-height // by), -(-width // by)))
    if (by := next(enough, 1)) > 1:
        picture.draft(None, (max(1, width // by), max(1, height // by)))  # no other format does it


def _check(picture: Image.Image, where: str) -> None:
    """Refuse too many pixels and several frames, before anything is decoded."""
    width, height = picture.size
    if width * height == 0:
        raise InputError(f"a picture must have at least one pixel, got {width}x{height} in {where}")
    check_pixels(height, width, where)
    if picture.format not in _ONE_PICTURE and getattr(picture, "is_animated", False):
        raise InputError(
            f"a picture must be one, got a {picture.format} of several frames or pages in {where}"
        )


def _name_of(start: bytes) -> str:
    start = start.lstrip()
    known = next((name for magic, name in _OTHERS if start.startswith(magic)), None)
    return known or ("text" if start.isascii() and b"\0" not in start else "something else")


def _planes(picture: Image.Image) -> NDArray[Any]:
    if picture.mode.startswith("I;16"):
        return _converted(picture, picture.mode, np.uint16)
    if picture.mode == "I":
        values = _converted(picture, "I", np.int32)
        short = values.min() >= 0 and values.max() <= 65535
        return values.astype(np.uint16) if short else values
    if picture.mode == "F":
        return _converted(picture, "F", np.float32)
    grey = picture.mode in ("1", "L", "LA", "La")
    if picture.has_transparency_data:
        return on_paper(_converted(picture, "RGBA", np.uint8))[: 1 if grey else 3]
    return _converted(picture, "L" if grey else "RGB", np.uint8)


def _converted(picture: Image.Image, mode: str, dtype: DTypeLike) -> NDArray[Any]:
    """Return (C, H, W) of a picture in that mode, rows by rows: neither a copy of the whole in the
    other mode is made nor one with the channels last.
    """
    width, height = picture.size
    planes = np.empty((Image.getmodebands(mode), height, width), dtype)
    rows = max(1, _STRIP_BYTES // (4 * width))
    for top in range(0, height, rows):
        strip = picture.crop((0, top, width, min(height, top + rows)))
        values = np.asarray(strip if strip.mode == mode else strip.convert(mode))
        planes[:, top : top + rows] = values if values.ndim == 2 else values.transpose(2, 0, 1)
    return planes


def on_paper(picture: NDArray[Any]) -> NDArray[Any]:
    """Return a transparent drawing, (4, H, W) uint8, laid on white, or on black where its own
    colours are light: (3, H, W).

    Raises InputError for other types, whose full scale is not known.
    """
    if picture.dtype != np.uint8:
        raise InputError(
            f"pictures with transparency must be bytes from 0 to 255, got {picture.dtype}"
        )
    if (picture[3] == 255).all():
        return picture[:3]
    height, width = picture.shape[1:]
    rows = max(1, _STRIP_BYTES // (4 * width))
    strips = [picture[:, top : top + rows] for top in range(0, height, rows)]
    ink, opaque = np.zeros(3, np.int64), 0
    for strip in strips:
        ink += (strip[:3].astype(np.uint16) * strip[3]).sum(axis=(1, 2), dtype=np.int64)
        opaque += int(strip[3].sum(dtype=np.int64))
    paper = 0 if float(np.dot(_LUMA, ink)) > 127 * opaque else 255
    laid = np.empty((3, height, width), np.uint8)
    for k, strip in enumerate(strips):
        alpha = strip[3].astype(np.uint16)
        colours = strip[:3] * alpha  # at most 65025
        colours += paper * (255 - alpha) + np.uint16(127)
        laid[:, k * rows : (k + 1) * rows] = colours // 255
    return laid


def stacked(pictures: Sequence[NDArray[Any]]) -> Sequence[NDArray[Any]] | NDArray[Any]:
    """Return pictures of one size and type as an array (n, C, H, W), others as they are, also where
    all are damaged, hence empty: an array has values.
    """
    first = pictures[0]
    same = all(one.shape == first.shape and one.dtype == first.dtype for one in pictures)
    return np.stack(pictures) if same and first.size else pictures
