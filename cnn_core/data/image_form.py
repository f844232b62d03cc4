"""What is done to a picture before a net sees it, in training and ever after: range, colour,
polarity, size. NumPy alone: a bundle's predict.py holds this file.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn_core.data.figures import as_mnist, background_of, fill_box
from cnn_core.data.resampling_weights import Bytes, resized
from cnn_core.errors import InputError

NORMALIZATIONS = ("none", "mnist")
OTHER_SIZES = ("resample", "mnist", "box", "refuse")
# What a picture's brightest value can be: two levels, 8x8 digits of 17, and 8 to 16 bits.
FULL_SCALES = (1.0, 16.0, 255.0, 1023.0, 4095.0, 16383.0, 65535.0)
# Of one picture, before it is brought to a net's size: what it takes stays below 200 MB.
MAX_PIXELS, MAX_SIDE = 16_000_000, 1 << 15
_ROWS = 64  # that become grey at once
_GREY = np.array([19595, 38470, 7471], np.int64)  # of 65536: red, green, blue (ITU-R BT.601)


@dataclass(frozen=True, kw_only=True)
class ImageForm:
    """How pictures become (channels, height, width) bytes.

    In this order: values from 0 to `full_scale` become 0 to 255; colours become grey, or grey
    becomes colours; `invert` makes dark on light light on dark; `normalize="mnist"` cuts, scales
    and centres every figure as MNIST was. Else pictures of this size stay as they are, and
    `other_sizes` says what is done to others: "resample" stretches them, "mnist" brings them into
    MNIST's form, "box" lets the figure fill the height, "refuse" does what it says.
    """

    channels: int
    height: int
    width: int
    full_scale: float = 255.0
    invert: bool = False
    normalize: str = "none"  # none | mnist
    other_sizes: str = "resample"  # resample | mnist | box | refuse
    # What the training data looked like: the background of grey figures, "" where it is not one and
    # the same; the shape of a table's rows, () where it is that of the form; its columns.
    background: str = ""  # dark | light
    source: tuple[int, ...] = ()
    columns: tuple[str, ...] = ()  # a table's pixels in their order, where their names do not count

    def __post_init__(self) -> None:
        for name in ("source", "columns"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # JSON has lists

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return (channels, height, width)."""
        return self.channels, self.height, self.width

    def apply(self, picture: NDArray[Any], where: str = "") -> Bytes:
        """Return one picture (C, H, W) as (channels, height, width) uint8. Raises InputError for
        values out of range or channels that do not fit; `where` names the picture.
        """
        check_pixels(picture.shape[1], picture.shape[2], where)
        planes = _with_channels(as_bytes(picture, self.full_scale, where), self.channels, where)
        if self.invert:
            planes = 255 - planes
        size = self.height, self.width
        if self.normalize == "none" and planes.shape[1:] == size:
            return planes
        how = "mnist" if self.normalize == "mnist" else self.other_sizes
        if how == "refuse":
            got = "x".join(map(str, planes.shape[1:]))
            raise InputError(
                f"pictures must have the size {self.height}x{self.width}, got {got}{_at(where)}"
            )
        if how == "resample":
            return resized(planes, size)
        centred = as_mnist if how == "mnist" else fill_box
        return np.stack([centred(plane, size) for plane in planes])

    def apply_all(self, pictures: Iterable[NDArray[Any]], where: str = "") -> Bytes:
        """Return pictures, (N, C, H, W) or one by one, as (N, channels, height, width) uint8."""
        plain = self.normalize == "none" and not self.invert
        if isinstance(pictures, np.ndarray) and pictures.shape[1:] == self.shape and plain:
            return as_bytes(pictures, self.full_scale, where)
        given = pictures if isinstance(pictures, Sequence | np.ndarray) else list(pictures)
        found = np.empty((len(given), *self.shape), np.uint8)
        for place, picture in zip(found, given, strict=True):
            place[...] = self.apply(picture, where)
        return found

    def matched(self, images: Bytes) -> "ImageForm":
        """Return the form that turns light and dark round where images in this form, (N, C, H, W),
        have certainly the other background than the training data had; else the form itself.
        """
        found = background_of(images) if self.normalize == "none" else ""
        opposite = {self.background, found} == {"dark", "light"}
        return replace(self, invert=not self.invert) if opposite else self

    def lines(self) -> str:
        """Return the form in words: size, colour, polarity, range, normalisation."""
        parts = [f"{self.height}x{self.width}", _colour(self.channels)]
        if self.full_scale != 255:
            parts.append(f"values 0 to {self.full_scale:g}")
        if self.invert:
            parts.append("inverted to light on dark")
        if self.normalize != "none":
            parts.append("centred and scaled as MNIST was")
        return ", ".join(parts)


def fits_limits(height: int, width: int) -> bool:
    """Tell whether a picture may be that large."""
    return height * width <= MAX_PIXELS and max(height, width) <= MAX_SIDE


def check_pixels(height: int, width: int, where: str = "") -> None:
    """Raise InputError for a picture of more than 16 megapixels or a side beyond 32,768."""
    if height * width > MAX_PIXELS:
        raise InputError(
            f"a picture must have at most {MAX_PIXELS:,} pixels, got {width}x{height}{_at(where)}; "
            "make it smaller (a JPEG is reduced while it is read)"
        )
    if max(height, width) > MAX_SIDE:
        raise InputError(
            f"a picture's sides may have at most {MAX_SIDE:,} pixels, got {width}x{height}"
            f"{_at(where)}"
        )


def full_scale_of(largest: float) -> float:
    """Return the value that stands for white where the brightest value found is `largest`: the next
    of `FULL_SCALES`, or `largest` itself beyond them; for fractions below one half, which would be
    black beside 1, the next power of two.
    """
    if 0 < largest < 0.5:
        share, exponent = math.frexp(largest)  # largest = share 2^exponent, share from 1/2
        return math.ldexp(1.0, exponent - (share == 0.5))
    return next((scale for scale in FULL_SCALES if largest <= scale), float(largest))


def as_bytes(values: NDArray[Any], full_scale: float, where: str = "") -> Bytes:
    """Return round(255 v / full_scale) as uint8; bytes of full scale 255 are not touched.

    Raises InputError for a value that is below 0, above `full_scale`, or not a number.
    """
    if values.dtype == np.uint8 and full_scale == 255:
        return np.asarray(values)
    if values.dtype.kind not in "uifb":
        raise InputError(f"pixels must be numbers, got {values.dtype}{_at(where)}")
    with np.errstate(invalid="ignore"):
        wrong = ~((values >= 0) & (values <= full_scale))  # NaN compares False
    if wrong.any():
        found = values[tuple(axis[0] for axis in np.nonzero(wrong))]
        raise InputError(f"pixels must be from 0 to {full_scale:g}, got {found:g}{_at(where)}")
    scaled = np.asarray(values * (255.0 / full_scale))
    return np.rint(scaled, out=scaled).astype(np.uint8)


def _with_channels(planes: Bytes, channels: int, where: str) -> Bytes:
    """Return (C, H, W) with that many channels: colours as grey, grey as colours."""
    if len(planes) == channels:
        return planes
    if channels == 1 and len(planes) == 3:
        grey = np.empty((1, *planes.shape[1:]), np.uint8)
        for top in range(0, planes.shape[1], _ROWS):
            rows = planes[:, top : top + _ROWS].astype(np.int64)
            grey[0, top : top + _ROWS] = (np.tensordot(_GREY, rows, axes=1) + 32768) >> 16
        return grey
    if len(planes) == 1:
        return np.repeat(planes, channels, axis=0)
    raise InputError(
        f"pictures must be {_colour(channels)} as in training, got {_colour(len(planes))}"
        f"{_at(where)}"
    )


def _colour(channels: int) -> str:
    return {1: "grey", 3: "colour"}.get(channels, f"{channels} channels")


def _at(where: str) -> str:
    return f" in {where}" if where else ""
