"""How the rows or images of a user's array become what a net takes: their shape, and one scale that
is learned from training data and used ever after.
"""

from dataclasses import dataclass
from math import isqrt, prod
from typing import Any

import numpy as np
import numpy.typing as npt

from cnn_core.axes import Array, Images, Shape
from cnn_core.data.image_form import full_scale_of
from cnn_core.errors import InputError

Values = npt.NDArray[Any]
WHITE = 255.0  # what enters a net as 1
LEAST_SIDE = 8  # of square rows that are taken for images; the product's smallest images
MOST_CHANNELS = 4
_BLOCK = 1024  # rows that are scaled at once, in float64


def shape_of_images(images: Shape) -> Shape:
    """Return (H, W, C) of an array of shape (N, H, W) or (N, H, W, C). Raises InputError for
    another number of axes, no pixels, and more than 4 channels, which are mostly channels first.
    """
    shape = (*images[1:], 1) if len(images) == 3 else tuple(images[1:])
    if len(shape) != 3 or min(shape) < 1:
        raise InputError(
            f"X: must be images (N, H, W) or (N, H, W, C), or rows (N, features), got shape "
            f"{images}; reshape your data"
        )
    if shape[2] > MOST_CHANNELS:
        hint = "; channels first become last by X.transpose(0, 2, 3, 1)"
        raise InputError(
            f"X: images must have at most {MOST_CHANNELS} channels, along the last axis, got shape "
            f"{images}{hint if shape[0] <= MOST_CHANNELS else ''}"
        )
    return shape


def shape_of_rows(features: int, wanted: object = None) -> Shape:
    """Return (H, W, C) of rows of so many values, () where they are no images.

    `wanted`, (H, W) or (H, W, C), decides; without it rows of s * s values, s at least 8, are grey
    images. Raises InputError where `wanted` does not hold that many values.
    """
    if wanted is None:
        side = isqrt(features)
        return (side, side, 1) if side * side == features and side >= LEAST_SIDE else ()
    sides = tuple(wanted) if isinstance(wanted, list | tuple) else ()
    whole = all(isinstance(n, int | np.integer) and not isinstance(n, bool) for n in sides)
    if len(sides) not in (2, 3) or not whole or prod(sides) != features or min(sides) < 1:
        raise InputError(
            f"image_shape: must be (H, W) or (H, W, C) with as many values as a row of X, got "
            f"{wanted!r} for rows of {features}"
        )
    height, width, channels = (*map(int, sides), 1)[:3]
    return height, width, channels


@dataclass(frozen=True)
class InputScaling:
    """``(x - offset) * factor``, which brings training's values near 0 to 255, whose 255 enters the
    net as 1.

    shape: (H, W, C) of an image, () of a row that is none. Images without a negative value are
    divided by the value of white (`full_scale_of`), others by mean and standard deviation of all
    their values; each column of other rows by its own. `whole`: bytes stay bytes, others are
    rounded to them, as augmentation needs.
    """

    shape: Shape
    offset: float | Array
    factor: float | Array
    whole: bool = False

    def images(self, rows: Values) -> Images | Array:
        """Return rows (N, features) as (N, C, H, W), uint8 or float32; (N, 1, 1, features) of rows
        that are no images.
        """
        shape = self.shape or (1, rows.shape[1], 1)
        scaled = rows if self._fits(rows) else self._scaled(rows)
        images = scaled.reshape(len(rows), *shape).transpose(0, 3, 1, 2)
        return np.ascontiguousarray(images)

    def _fits(self, rows: Values) -> bool:
        return rows.dtype == np.uint8 and np.ndim(self.factor) == 0 and self.factor == 1.0

    def _scaled(self, rows: Values) -> Values:
        out: Values = np.empty(rows.shape, np.uint8 if self.whole else np.float32)
        for at in range(0, len(rows), _BLOCK):
            block = (rows[at : at + _BLOCK].astype(np.float64) - self.offset) * self.factor
            out[at : at + _BLOCK] = np.rint(np.clip(block, 0, WHITE)) if self.whole else block
        return out


def scaling_of(rows: Values, shape: Shape, whole: bool) -> InputScaling:
    """Return the scaling that training rows (N, features) ask for. Raises InputError where `whole`
    bytes are wanted of what is no picture.
    """
    picture = bool(shape) and (rows.dtype == np.uint8 or rows.min() >= 0)
    if whole and not picture:
        got = f"values down to {rows.min():g}" if shape else f"rows of {rows.shape[1]} features"
        raise InputError(f"augment: must be None unless X holds images from 0 up, got {got}")
    if picture:
        white = WHITE if rows.dtype == np.uint8 else full_scale_of(float(rows.max()))
        return InputScaling(shape, 0.0, WHITE / white, whole)
    axis = None if shape else 0
    mean = np.mean(rows, axis=axis, dtype=np.float64)
    std = np.std(rows, axis=axis, dtype=np.float64)
    # A column that hardly varies says nothing: its rounding errors are not to be stretched.
    constant = std <= 10 * np.finfo(np.float64).eps * np.abs(mean)
    factor = WHITE / np.where(constant, 1.0, std)
    return InputScaling(shape, mean, factor)
