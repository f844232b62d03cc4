"""Checks that all readers share: sizes that a file can hold, labels, pixels, labelled sets."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cnn_core.axes import Images, Indices, Labels
from cnn_core.errors import InputError

# A compressed file may state this much whatever its own size; beyond it, at most MAX_RATIO times
# its size (MNIST's ratio is 5).
ALWAYS_ALLOWED_BYTES = 64 << 20
MAX_RATIO = 100
MAX_BYTES = 4 << 30


def check_plausible_size(path: Path, stated_bytes: int, where: str) -> None:
    """Refuse a file that states more bytes than it can reasonably hold; nothing of that size has
    been allocated yet.
    """
    limit = min(MAX_BYTES, max(ALWAYS_ALLOWED_BYTES, MAX_RATIO * path.stat().st_size))
    if stated_bytes > limit:
        raise InputError(
            f"{path}: {where}: a file of {path.stat().st_size:,} bytes may hold at most {limit:,}, "
            f"it states {stated_bytes:,}"
        )


def check_labels(labels: Labels, classes: int, place: Callable[[int], str]) -> None:
    """Refuse labels outside 0 .. classes - 1, naming the first; `place` turns its index into file
    and offset or line.
    """
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if wrong.size:
        first = int(wrong[0])
        raise InputError(
            f"{place(first)}: labels must be from 0 to {classes - 1}, got {int(labels[first])}"
        )


def check_labelled(images: Images, labels: Labels, classes: int, where: str) -> None:
    """Refuse images and labels that are not a labelled set: (N, C, H, W) uint8 and (N,) int64 in
    range, N at least 1.
    """
    if images.ndim != 4 or images.dtype != np.uint8 or min(images.shape) < 1:
        raise InputError(
            f"{where}: images must be (N, C, H, W) uint8 with no empty axis, got {images.shape} "
            f"{images.dtype}"
        )
    if labels.shape != (len(images),) or labels.dtype != np.int64:
        raise InputError(
            f"{where}: labels must be ({len(images)},) int64, one an image, got {labels.shape} "
            f"{labels.dtype}"
        )
    check_labels(labels, classes, lambda i: f"{where}: image {i}")


def check_groups(groups: Indices, count: int, where: str) -> None:
    """Refuse groups that are not (count,) int64, the index of each picture's group's first one."""
    fits = groups.shape == (count,) and groups.dtype == np.int64
    if fits and count:
        numbers = np.arange(count)
        fits = bool(
            ((groups >= 0) & (groups <= numbers)).all() and (groups[groups] == groups).all()
        )
    if not fits:
        raise InputError(
            f"{where}: groups must be ({count},) int64, the index of the first picture of each "
            f"one's group, got {groups.shape} {groups.dtype}"
        )


def as_images(values: npt.NDArray[np.generic], where: str) -> Images:
    """Return (N, H, W), (N, C, H, W) or (N, square) whole numbers from 0 to 255 as (N, C, H, W)
    uint8; refuse anything else.
    """
    if values.dtype.kind not in "uif" or values.ndim not in (2, 3, 4) or min(values.shape) < 1:
        raise InputError(
            f"{where}: images must be numbers, (N, pixels), (N, H, W) or (N, C, H, W), got "
            f"{values.shape} {values.dtype}"
        )
    if values.dtype != np.uint8:
        with np.errstate(invalid="ignore"):
            low, high = values.min(), values.max()
        if not (low >= 0 and high <= 255):  # nan too
            raise InputError(f"{where}: pixels must be from 0 to 255, got {low} to {high}")
        if values.dtype.kind == "f" and not np.array_equal(values, np.rint(values)):
            raise InputError(
                f"{where}: pixels must be whole numbers from 0 to 255, got fractions (scale images "
                "in [0, 1] by 255)"
            )
    pixels = np.ascontiguousarray(values, dtype=np.uint8)
    if pixels.ndim == 4:
        return pixels
    if pixels.ndim == 3:
        return pixels[:, None]
    side = round(pixels.shape[1] ** 0.5)
    if side * side != pixels.shape[1]:
        raise InputError(
            f"{where}: a row must be a square image such as 784 = 28 x 28, got {pixels.shape[1]} "
            "values"
        )
    return pixels.reshape(-1, 1, side, side)
