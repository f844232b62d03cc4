"""One picture, decoded by Pillow: upright, on paper, with the values of the file."""

import io
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from cnn_core.errors import InputError

MAX_PIXELS = 40_000_000  # of one picture: 160 MB while it is decoded in colour
MAX_FILE_BYTES = 256 << 20
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
        size = path.stat().st_size
        if not path.is_file() or size > MAX_FILE_BYTES:
            raise InputError(
                f"a picture must be a file of at most {MAX_FILE_BYTES:,} bytes, got {size:,} in "
                f"{path}"
            )
        return decode(path.read_bytes(), str(path))
    except OSError as error:
        raise InputError(
            f"a picture must be a readable file, got {error.strerror or error} in {path}"
        ) from None


def decode(content: bytes, where: str) -> NDArray[Any]:
    """Return (C, H, W): one plane of grey, or three of colour; uint8, uint16 for 16-bit grey, or
    float32. It is turned as its EXIF orientation says, and transparency is laid on paper.

    Raises InputError for what is not a picture, truncated, too large, or a film of several frames.
    """
    if not content:
        raise InputError(f"a picture must not be empty, got 0 bytes in {where}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content), formats=_formats()) as picture:
                _check(picture, where)
                return _planes(ImageOps.exif_transpose(picture))
    except InputError:
        raise
    except UnidentifiedImageError:
        raise InputError(
            f"a picture must be one that Pillow reads, such as PNG or JPEG, got "
            f"{_name_of(content)} in {where}"
        ) from None
    except Exception as error:  # the decoders of forty formats raise anything
        reason = str(error).partition("\n")[0][:120] or type(error).__name__
        raise InputError(f"a picture must be whole and readable, got {reason} in {where}") from None


def _check(picture: Image.Image, where: str) -> None:
    """Refuse too many pixels and several frames, before anything is decoded."""
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise InputError(
            f"a picture must have at most {MAX_PIXELS:,} pixels, got {width}x{height} in {where}"
        )
    if width * height == 0:
        raise InputError(f"a picture must have at least one pixel, got {width}x{height} in {where}")
    if picture.format not in _ONE_PICTURE and getattr(picture, "is_animated", False):
        raise InputError(
            f"a picture must be one, got a {picture.format} of several frames or pages in {where}"
        )


def _name_of(content: bytes) -> str:
    start = content[:64].lstrip()
    known = next((name for magic, name in _OTHERS if start.startswith(magic)), None)
    return known or ("text" if start.isascii() and b"\0" not in start else "something else")


def _planes(picture: Image.Image) -> NDArray[Any]:
    if picture.mode.startswith("I;16"):
        return np.asarray(picture).astype(np.uint16)[None]
    if picture.mode == "I":
        values = np.asarray(picture)
        short = values.size and values.min() >= 0 and values.max() <= 65535
        return (values.astype(np.uint16) if short else values)[None]
    if picture.mode == "F":
        return np.asarray(picture, np.float32)[None]
    grey = picture.mode in ("1", "L", "LA", "La")
    if picture.has_transparency_data:
        rgba = np.asarray(picture.convert("RGBA")).transpose(2, 0, 1)
        return on_paper(rgba)[: 1 if grey else 3]
    planes = np.asarray(picture.convert("L" if grey else "RGB"))
    return planes[None] if grey else np.ascontiguousarray(planes.transpose(2, 0, 1))


def on_paper(picture: NDArray[Any]) -> NDArray[Any]:
    """Return a transparent drawing, (4, H, W) uint8, laid on white, or on black where its own
    colours are light: (3, H, W).

    Raises InputError for other types, whose full scale is not known.
    """
    if picture.dtype != np.uint8:
        raise InputError(
            f"pictures with transparency must be bytes from 0 to 255, got {picture.dtype}"
        )
    colours, alpha = picture[:3].astype(np.uint16), picture[3].astype(np.uint16)
    if (alpha == 255).all():
        return picture[:3]
    colours *= alpha  # at most 65025
    ink = float(np.dot(_LUMA, colours.sum(axis=(1, 2), dtype=np.int64)))
    paper = 0 if ink > 127 * int(alpha.sum(dtype=np.int64)) else 255
    colours += paper * (255 - alpha) + np.uint16(127)
    return np.asarray(colours // 255, np.uint8)


def stacked(pictures: Sequence[NDArray[Any]]) -> Sequence[NDArray[Any]] | NDArray[Any]:
    """Return pictures of one size and type as an array (n, C, H, W), others as they are."""
    first = pictures[0]
    same = all(one.shape == first.shape and one.dtype == first.dtype for one in pictures)
    return np.stack(pictures) if same else pictures
