"""Which axis of an array of pictures is what: decided once, said in words, and refused where two
readings are possible.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn_core.data.image_form import check_pixels
from cnn_core.errors import InputError
from pipeline.inputs.pictures.pictures import on_paper

_CHANNELS = (1, 3, 4)
_SMOOTHER = 0.8  # of the other reading's roughness: natural pictures reach 0.3 to 0.6


@dataclass(frozen=True)
class ArrayLayout:
    """How one picture lies in the file, `each`, with its channels first or last."""

    each: tuple[int, int, int]
    channels_last: bool
    words: str

    def pictures(self, part: NDArray[Any]) -> NDArray[Any]:
        """Return (n, C, H, W) of a part (n, ...) of the file, transparency laid on paper."""
        found = part.reshape(len(part), *self.each)
        if self.channels_last:
            found = np.moveaxis(found, -1, 1)
        if found.shape[1] == 4:
            return np.stack([on_paper(picture) for picture in found])
        return found


def layout_of(
    shape: tuple[int, ...],
    wanted: tuple[int, ...],
    where: str,
    sample: Callable[[], NDArray[Any]],
    labelled: bool = False,
) -> ArrayLayout:
    """Return the layout of an array of that shape, (N, H, W), (N, C, H, W), (N, H, W, C) or
    (N, pixels).

    `wanted` is the picture's shape where it is known, `sample` gives some rows where the order of
    the channels can only be told by them. Raises InputError where nothing fits, or two things do.
    """
    if len(shape) not in (2, 3, 4) or 0 in shape:
        raise InputError(
            "an array of images must be (N, H, W), (N, C, H, W), (N, H, W, C) or (N, pixels) and "
            f"hold at least one, got shape {shape} in {where}"
        )
    each = shape[1:]
    if len(each) == 2 and 1 in each:
        each = (math.prod(each),)
    if len(each) == 1:
        if shape[0] == shape[1] and not (wanted or labelled):
            raise InputError(
                f"an array of images must be (N, ...), got shape {shape} in {where}: one picture "
                "alone? add an axis in front; rows of pixels? give shape"
            )
        found = _rows(each[0], wanted, where, sample)
    elif len(each) == 2:
        _check_not_one(shape, wanted, where)
        _check_first_axis(shape, wanted, where)
        found = ArrayLayout((1, *each), False, f"{each[0]}x{each[1]}, grey")
    else:
        found = _channels((each[0], each[1], each[2]), wanted, where)
    check_pixels(*(found.each[:2] if found.channels_last else found.each[1:]), where)
    return found


def _check_first_axis(shape: tuple[int, ...], wanted: tuple[int, ...], where: str) -> None:
    """Refuse (H, W, N) where the picture's size is known and only that reading has it."""
    size = wanted[:2] if len(wanted) == 3 and wanted[2] in _CHANNELS else wanted[-2:]
    if len(size) == 2 and shape[1:] != size and shape[:2] == size:
        raise InputError(
            f"an array of images must be (N, H, W), got shape {shape} in {where}: pictures of "
            f"{size[0]}x{size[1]} on the last axis? numpy.moveaxis(x, -1, 0) brings it to the front"
        )


def _rows(
    pixels: int, wanted: tuple[int, ...], where: str, sample: Callable[[], NDArray[Any]]
) -> ArrayLayout:
    if wanted:
        if math.prod(wanted) != pixels:
            raise InputError(
                f"a row must have {math.prod(wanted)} values (shape {list(wanted)}), got {pixels} "
                f"in {where}"
            )
        return _shaped(wanted, where)
    side = math.isqrt(pixels)
    if side * side == pixels:
        return ArrayLayout((1, side, side), False, f"{pixels} values a row: {side}x{side}, grey")
    side = math.isqrt(pixels // 3)
    if 3 * side * side != pixels:
        raise InputError(
            f"a row must be a square image, grey or colour, or shape must say what it is, such as "
            f"shape=[20,30], got {pixels} values in {where}"
        )
    last = channels_last(sample(), side, where)
    order = "red, green and blue of each pixel" if last else "a plane each of red, green and blue"
    words = f"{pixels} values a row: {side}x{side}, colour, {order}"
    return ArrayLayout((side, side, 3) if last else (3, side, side), last, words)


def _shaped(wanted: tuple[int, ...], where: str) -> ArrayLayout:
    """Return the layout of rows whose shape is given."""
    if len(wanted) == 2:
        height, width = wanted
        return ArrayLayout((1, height, width), False, f"{height}x{width}, grey")
    if len(wanted) == 3:
        return _channels((wanted[0], wanted[1], wanted[2]), wanted, where)
    raise InputError(
        f"shape must be [height,width] or [channels,height,width], got {list(wanted)} for {where}"
    )


def channels_last(rows: NDArray[Any], side: int, where: str) -> bool:
    """Return whether rows of 3 side^2 values, (n, 3 side^2), hold the three colours pixel by pixel:
    neighbours differ less in the right reading than in the wrong one.

    Raises InputError, with the choices, where neither reading is clearly smoother.
    """
    x = rows[:64].astype(np.float64)
    first = _roughness(x.reshape(-1, 3, side, side))
    last = _roughness(np.moveaxis(x.reshape(-1, side, side, 3), -1, 1))
    if min(first, last) < _SMOOTHER * max(first, last):
        return last < first
    raise InputError(
        f"a row of {3 * side * side} values may be three planes or pixels of three colours: give "
        f"shape=[3,{side},{side}] or shape=[{side},{side},3] for {where}"
    )


def _roughness(x: NDArray[np.float64]) -> float:
    """Return the mean difference of neighbours, of (n, C, H, W)."""
    across, down = np.abs(np.diff(x, axis=3)), np.abs(np.diff(x, axis=2))
    return float(across.sum() + down.sum()) / max(1, across.size + down.size)


def _check_not_one(shape: tuple[int, ...], wanted: tuple[int, ...], where: str) -> None:
    """Refuse what may be one colour picture: it would be a grey one a channel, or one a row.

    Where colour pictures are wanted any three planes may be, and any pixels of three colours.
    """
    colour = len(wanted) == 3 and not {3, 4}.isdisjoint((wanted[0], wanted[2]))
    if colour and (shape[0] == 3 or shape[2] in (3, 4)):
        raise InputError(
            f"an array of images must be (N, ...), got shape {shape} in {where}, where colour "
            f"pictures are expected ({'x'.join(map(str, wanted))}): one alone? add an axis in "
            "front, x[None]; grey ones? add one for their channel, x[:, None]"
        )
    if min(shape[1:]) in _CHANNELS and max(shape[1:]) > 8:
        raise InputError(
            f"an array of images must be (N, ...), got shape {shape} in {where}: one colour "
            "picture alone? add an axis in front"
        )


def _channels(each: tuple[int, int, int], wanted: tuple[int, ...], where: str) -> ArrayLayout:
    first, last = each[0] in _CHANNELS, each[2] in _CHANNELS
    if first and last:
        first, last = wanted == each, wanted == (each[2], each[0], each[1])
        if first == last:
            raise InputError(
                f"the channels of an image {each} may be its first or its last axis: give "
                f"shape=[channels,height,width] for {where}"
            )
    if not first and not last:
        raise InputError(
            "an image must have 1, 3 or 4 channels, first or last, as (C, H, W) or (H, W, C), got "
            f"{each} in {where}"
        )
    height, width = each[:2] if last else each[1:]
    colour = {1: "grey", 3: "colour", 4: "colour with transparency"}[each[2] if last else each[0]]
    return ArrayLayout(
        each, last, f"{height}x{width}, {colour}, channels {'last' if last else 'first'}"
    )
