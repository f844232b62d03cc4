"""What shape the pixels of a row have: a square, three of them, or what is known beforehand."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn_core.errors import InputError
from pipeline.inputs.input_source import Hints
from pipeline.inputs.tables.table_text import is_number

SMALLEST_SIDE = 4
# Neighbours and a pixel's colours differ less in the right order than in the wrong one; by this
# factor one order is certain.
_CLEARLY = 0.8


@dataclass(frozen=True, kw_only=True)
class PixelShape:
    """The image of a row of pixels; `by_pixel`: the three colours of a pixel stand together."""

    channels: int
    height: int
    width: int
    by_pixel: bool = False

    @property
    def count(self) -> int:
        return self.channels * self.height * self.width

    @property
    def words(self) -> str:
        """Return the shape in words."""
        size = f"{self.height}x{self.width}"
        if self.channels == 1:
            return f"{size} grey"
        order = "pixel by pixel" if self.by_pixel else "plane by plane"
        return f"{size}, {self.channels} channels {order}"

    def images(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return rows (n, pixels) as (n, C, H, W)."""
        if self.by_pixel:
            by_pixel = values.reshape(-1, self.height, self.width, self.channels)
            return by_pixel.transpose(0, 3, 1, 2)
        return values.reshape(-1, self.channels, self.height, self.width)


def shapes(count: int, known: tuple[int, ...]) -> list[PixelShape]:
    """Return the shapes that so many pixels may have: the known one alone, or squares."""
    if known:
        shape = _known(known)
        return [shape] if shape.count == count else []
    found = []
    for channels in (1, 3):
        side = isqrt(max(count, 0) // channels)
        if side >= SMALLEST_SIDE and channels * side * side == count:
            found.append(PixelShape(channels=channels, height=side, width=side))
    return found


def _known(shape: tuple[int, ...]) -> PixelShape:
    if len(shape) == 2:
        return PixelShape(channels=1, height=shape[0], width=shape[1])
    if len(shape) != 3 or min(shape) < 1:
        raise InputError(
            f"shape must be height and width, or channels, height and width, got {list(shape)}"
        )
    if shape[0] not in (1, 3, 4) and shape[2] in (1, 3, 4):
        return PixelShape(channels=shape[2], height=shape[0], width=shape[1], by_pixel=True)
    return PixelShape(channels=shape[0], height=shape[1], width=shape[2])


def shape_of(
    shape: PixelShape,
    rows: Sequence[Sequence[str]],
    pixels: Sequence[int],
    told: bool | None,
    where: str,
) -> PixelShape:
    """Return the shape with the order of its colours: `told`, by the user or by the columns' names;
    else as the values say (a pixel is like its neighbours), or refused where they do not.
    """
    if shape.channels == 1:
        return shape
    found = by_pixel(_values(rows, pixels), shape) if told is None else told
    if found is None:
        size = f"{shape.height},{shape.width}"
        raise InputError(
            "the order of a row's colours must be certain, got values that fit both "
            f"shape=[3,{size}] (plane by plane) and shape=[{size},3] (pixel by pixel) in {where}"
        )
    return replace(shape, by_pixel=found)


def planes_of(values: NDArray[Any], hints: Hints, where: str) -> NDArray[Any]:
    """Return one image's values, (pixels,), (H, W), (C, H, W) or (H, W, C), as (C, H, W)."""
    if values.ndim == 2:
        return values[None]
    if values.ndim == 3:
        last = values.shape[0] not in (1, 3, 4) and values.shape[2] in (1, 3, 4)
        return values.transpose(2, 0, 1) if last else values
    found = shapes(values.size, hints.shape) if values.ndim == 1 else []
    if not found:
        size = "x".join(map(str, values.shape))
        raise InputError(
            f"a list of pixels must be a square, or have the known shape, got {size} in {where}; "
            "`shape` says what it is"
        )
    if found[0].channels > 1 and not hints.shape:
        raise InputError(
            f"the order of a list's colours must be known, got {values.size} values in {where}; "
            "`shape` says it"
        )
    image: NDArray[Any] = found[0].images(values[None])[0]
    return image


def by_pixel(values: NDArray[np.float64], shape: PixelShape) -> bool | None:
    """Tell whether the colours of a pixel stand together; None where the values do not say."""
    as_planes = _roughness(replace(shape, by_pixel=False).images(values))
    as_pixels = _roughness(replace(shape, by_pixel=True).images(values))
    if as_planes < _CLEARLY * as_pixels:
        return False
    return True if as_pixels < _CLEARLY * as_planes else None


def _roughness(images: NDArray[np.float64]) -> float:
    """Return how much neighbours in a row, in a column, and the colours of a pixel differ; a tint,
    which makes all pixels' colours differ alike, does not count.
    """
    untinted = images - images.mean(axis=(2, 3), keepdims=True)
    return float(sum(np.abs(np.diff(untinted, axis=axis)).mean() for axis in (1, 2, 3)))


def _values(rows: Sequence[Sequence[str]], columns: Sequence[int]) -> NDArray[np.float64]:
    width = max(columns) + 1
    return np.array(
        [
            [float(row[c]) if is_number(row[c]) else 0.0 for c in columns]
            for row in rows[:100]
            if len(row) >= width
        ]
    )


def brightest(rows: Sequence[Sequence[str]], columns: Sequence[int]) -> float:
    """Return the largest number of these columns in the first rows."""
    return float(_values(rows, columns).max(initial=0.0))
