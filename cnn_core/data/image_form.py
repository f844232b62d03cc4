"""What is done to a picture before a net sees it, in training and ever after: range, colour,
polarity, size. NumPy alone: a bundle's predict.py holds this file.

Source of the resampling: C. Lanczos, the windowed sinc; of MNIST's form: LeCun, Cortes, Burges,
"The MNIST database": digits in a box of 20 x 20 pixels with their aspect ratio, their centre of
mass in the middle of 28 x 28. The box grows with the side. Detecting polarity and background is
our addition: the background is the border's median.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn_core.errors import InputError

Bytes = NDArray[np.uint8]
NORMALIZATIONS = ("none", "mnist")
OTHER_SIZES = ("resample", "mnist", "box", "refuse")
# What a picture's brightest value can be: two levels, 8x8 digits of 17, and 8 to 16 bits.
FULL_SCALES = (1.0, 16.0, 255.0, 1023.0, 4095.0, 16383.0, 65535.0)
_GREY = np.array([19595, 38470, 7471], np.int64)  # of 65536: red, green, blue (ITU-R BT.601)
_INK = 0.2  # of the strongest ink: fainter pixels count as paper


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
    # the same; the shape of a table's rows, () where it is that of the form.
    background: str = ""  # dark | light
    source: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "source", tuple(self.source))  # JSON has lists

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return (channels, height, width)."""
        return self.channels, self.height, self.width

    def apply(self, picture: NDArray[Any], where: str = "") -> Bytes:
        """Return one picture (C, H, W) as (channels, height, width) uint8. Raises InputError for
        values out of range or channels that do not fit; `where` names the picture.
        """
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
        found = [self.apply(picture, where) for picture in pictures]
        return np.stack(found) if found else np.empty((0, *self.shape), np.uint8)

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


def background_of(images: Bytes) -> str:
    """Return "dark" or "light" where at least nine in ten of grey images, (N, 1, H, W), have a
    border of that kind; "" where they have not, or are coloured.
    """
    if not len(images) or images.shape[1] != 1:
        return ""
    light = float(np.mean([border_median(image[0]) > 127 for image in images]))
    return "light" if light >= 0.9 else "dark" if light <= 0.1 else ""


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
    scaled: Bytes = np.rint(values * (255.0 / full_scale)).astype(np.uint8)
    return scaled


def resized(planes: Bytes, size: tuple[int, int]) -> Bytes:
    """Return (C, H, W) resampled to (C, *size); planes of that size already are not touched.

    y = A x B^T with the weights of a Lanczos window of three lobes, as wide as a pixel of the
    coarser of the two grids, so that shrinking does not alias.
    """
    if planes.shape[1:] == size:
        return planes
    rows, columns = _weights(planes.shape[1], size[0]), _weights(planes.shape[2], size[1])
    fine = rows @ planes.astype(np.float32) @ columns.T
    result: Bytes = np.rint(np.clip(fine, 0, 255)).astype(np.uint8)
    return result


@lru_cache(maxsize=64)
def _weights(source: int, target: int) -> NDArray[np.float32]:
    """Return (target, source): the share of each source pixel in a target pixel; rows sum to 1."""
    step = source / target
    centres = (np.arange(target) + 0.5) * step - 0.5
    distance = (np.arange(source) - centres[:, None]) / max(step, 1.0)
    weights = np.sinc(distance) * np.sinc(distance / 3) * (np.abs(distance) < 3)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)


def as_mnist(grey: Bytes, size: tuple[int, int]) -> Bytes:
    """Return a grey picture (H, W) of either polarity as (size) uint8: light on black, in a box of
    20/28 of the side, its centre of mass in the middle; all black where the picture shows nothing.
    """
    ink = ink_of(grey)
    strong = ink > _INK
    rows, columns = np.flatnonzero(strong.any(axis=1)), np.flatnonzero(strong.any(axis=0))
    height, width = size
    if not rows.size:
        return np.zeros(size, np.uint8)
    cut = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = round(min(size) * 20 / 28) / max(cut.shape)
    tall, wide = (max(1, round(side * scale)) for side in cut.shape)
    figure = np.clip(_weights(cut.shape[0], tall) @ cut @ _weights(cut.shape[1], wide).T, 0, 1)
    figure /= max(float(figure.max()), 1e-6)
    canvas = np.zeros(size, np.float32)
    mass_y, mass_x = _centre_of_mass(figure)
    # The pixel grid's middle lies between pixels height / 2 - 1 and height / 2; MNIST's lies on
    # pixel height / 2.
    top = int(np.clip(round(height / 2 - mass_y), 0, height - tall))
    left = int(np.clip(round(width / 2 - mass_x), 0, width - wide))
    canvas[top : top + tall, left : left + wide] = figure
    result: Bytes = np.rint(canvas * 255).astype(np.uint8)
    return result


def fill_box(grey: Bytes, size: tuple[int, int]) -> Bytes:
    """Return a grey picture (H, W) in the form of 8x8 digits: the figure fills the height, each
    pixel counts the ink of its block.

    Source: Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits": 32x32 bitmaps, ink
    counted in blocks of 4x4.
    """
    ink = ink_of(grey)
    strong = ink > _INK
    rows, columns = np.flatnonzero(strong.any(axis=1)), np.flatnonzero(strong.any(axis=0))
    height, width = size
    if not rows.size:
        return np.zeros(size, np.uint8)
    cut = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    fitting = min(width, max(2, round(cut.shape[1] * height / cut.shape[0])))
    figure = areas(cut.shape[0], height) @ cut @ areas(cut.shape[1], fitting).T
    canvas = np.zeros(size, np.float32)
    left = (width - fitting + 1) // 2
    canvas[:, left : left + fitting] = figure / max(float(figure.max()), 1e-6)
    result: Bytes = np.rint(np.clip(canvas, 0, 1) * 255).astype(np.uint8)
    return result


def areas(source: int, target: int) -> NDArray[np.float32]:
    """Return (target, source): the share of each target pixel that a source pixel covers."""
    edges = np.arange(target + 1) * (source / target)
    pixels = np.arange(source)
    covered = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    weights = np.maximum(covered, 0)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)


def ink_of(grey: Bytes) -> NDArray[np.float32]:
    """Return how much ink each pixel holds, 0 to 1: the distance from the background, in the
    direction of the strokes.

    The background is the border's median; strokes are what differs from it most. A picture of one
    colour holds none.
    """
    x = grey.astype(np.float32)
    distance = x - border_median(grey)
    if -distance.min() > distance.max():
        distance = -distance
    strongest = (
        float(np.quantile(distance, 0.999)) if distance.size > 2000 else float(distance.max())
    )
    if strongest < 8:  # of 255: no visible stroke
        return np.zeros(grey.shape, np.float32)
    ink: NDArray[np.float32] = np.clip(distance / np.float32(strongest), 0.0, 1.0)
    return ink


def border_median(grey: Bytes) -> float:
    """Return the median of a plane's border, (H, W): its background."""
    return float(np.median(np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])))


def _centre_of_mass(figure: NDArray[np.floating[Any]]) -> tuple[float, float]:
    rows, columns = figure.sum(axis=1, dtype=np.float64), figure.sum(axis=0, dtype=np.float64)
    whole = max(float(rows.sum()), 1e-12)
    middle_y = float(rows @ np.arange(rows.size)) / whole
    return middle_y, float(columns @ np.arange(columns.size)) / whole


def _with_channels(planes: Bytes, channels: int, where: str) -> Bytes:
    """Return (C, H, W) with that many channels: colours as grey, grey as colours."""
    if len(planes) == channels:
        return planes
    if channels == 1 and len(planes) == 3:
        grey = np.tensordot(_GREY, planes.astype(np.int64), axes=1) + 32768
        return np.asarray(grey >> 16, np.uint8)[None]
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
